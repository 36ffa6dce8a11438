"""The Coronary Plaque widget on real MRML and real Qt: scores that follow a reader, arteries, CAD-RADS."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the libraries of the system that it uses")
from qt_bench import cells, picture, turn


@pytest.fixture(scope="module")
def scan():
    from CoronaryPlaqueLib.scene_logic import sample_scan

    return sample_scan()


@pytest.fixture
def plaque(desktop, widget_of, monkeypatch, scan):
    monkeypatch.setattr("CoronaryPlaqueLib.scene_logic.sample_scan", lambda seed=5: scan)
    return widget_of("CoronaryPlaque")


def add_labels(desktop, scan, volume, labels):
    from CardioPrecisionLib import scene as mrml
    from CardioPrecisionLib.analysis import LabelMap
    from CardioPrecisionLib.scene_batch import SceneBatch
    from CoronaryPlaqueLib.vessels import SEGMENTS

    with SceneBatch(desktop.mrmlScene, "reader") as batch:
        return mrml.segmentation_to_node(
            batch, LabelMap(labels[None], scan.image.affine, SEGMENTS), 0, "Reader", volume
        )


def score(widget, desktop, scan):
    """A run on the sample with its true labels."""
    [volume] = sys.modules["CoronaryPlaque"].loadSampleData()
    node = widget._parameterNode
    node.inputNode, node.labelsNode = volume, add_labels(desktop, scan, volume, scan.labels)
    widget.ui.applyButton.click()
    turn(lambda: not widget.running)
    assert widget.ui.statusLabel.text == "Done.", widget.ui.statusLabel.text


def scores(widget):
    from CardioPrecisionLib.widget_scene import table_columns

    columns = table_columns(widget.chosenRun.table)
    rows = zip(columns["name"], columns["site"], columns["value"], strict=True)
    return {site: value for name, site, value in rows if name == "agatston_score"}


def test_the_panel_shows_what_the_analysis_needs(plaque):
    ui, node = plaque.ui, plaque._parameterNode
    assert "Choose the CT" in ui.applyButton.toolTip
    assert ui.seedsCollapsibleButton.isHidden()
    node.analysis = "plaque"
    assert not ui.seedsCollapsibleButton.isHidden()
    assert "found by themselves" in ui.seedsLabel.text
    assert ui.analysisComboBox.currentIndex == 1
    assert not plaque.needsModel()
    ui.analysisComboBox.currentIndex = 0
    assert node.analysis == "calcium"
    assert plaque.needsModel()


def test_unknown_is_left_out(plaque):
    module, node = sys.modules["CoronaryPlaque"], plaque._parameterNode
    assert module.runParameters(node) == ({"device": "auto"}, {})
    plaque.ui.agatstonSpinBox.value = 0
    node.ageYears, node.sex, node.calibrationMgPerMlHu = 61.0, "male", 0.8
    assert module.runParameters(node) == (
        {"device": "auto", "calibration_mg_per_ml_hu": 0.8},
        {"sex": "male", "age_years": 61.0},
    )
    node.analysis, node.stent, node.ischaemia = "plaque", True, "absent"
    parameters, clinical = module.runParameters(node)
    assert parameters == {"setting": "stable", "stent": True, "ischaemia": "absent"}
    assert clinical["cac_agatston"] == 0  # an entered 0 is not unknown


def test_a_lesion_gets_another_vessel_and_the_scores_follow(plaque, desktop, scan):
    from CardioPrecisionLib.widget_scene import runs_of
    from CoronaryPlaqueLib.scoring import score as truth_of
    from CoronaryPlaqueLib.vessels import RCA, SITES

    score(plaque, desktop, scan)
    ui = plaque.ui
    before = scores(plaque)
    truth = truth_of(scan.image, scan.labels)
    for label, site in SITES.items():
        assert before[site] == pytest.approx(truth.by_label[label].agatston, abs=1e-6)
    assert "Agatston score" in ui.summaryLabel.text
    assert not ui.relabelButton.enabled
    assert "Choose a lesion" in ui.relabelButton.toolTip
    vessels = cells(ui.lesionsTable, 1)
    row = max((n for n, v in enumerate(vessels) if v == "LCX"), key=lambda n: float(cells(ui.lesionsTable, 2)[n]))
    points = float(cells(ui.lesionsTable, 2)[row])
    ui.lesionsTable.setCurrentCell(row, 0)
    plaque.onLesionClicked(row)
    ui.vesselComboBox.currentIndex = RCA - 1
    ui.relabelButton.click()
    assert "is RCA calcium now" in ui.statusLabel.text
    after = scores(plaque)
    assert after["RCA"] - before["RCA"] == pytest.approx(points, rel=1e-3)
    assert before["LCX"] - after["LCX"] == pytest.approx(points, rel=1e-3)
    assert after["total"] == pytest.approx(before["total"])
    assert len(runs_of(desktop.mrmlScene)) == 1  # in the place of the first
    picture(plaque.uiWidget, "panel-calcium")
    assert plaque.chosenRun.report is None
    assert "no report" in ui.reportButton.toolTip
    ui.recomputeButton.click()
    turn(lambda: not plaque.running)
    assert scores(plaque) == pytest.approx(after)
    assert "<html" in plaque.chosenRun.report.GetText()
    ui.removeRunButton.click()
    assert runs_of(desktop.mrmlScene) == []


def test_no_calcification_there(scan):
    from CardioPrecisionLib.analysis import LabelMap
    from CardioPrecisionLib.errors import InputError
    from CoronaryPlaqueLib.scene_relabel import moved
    from CoronaryPlaqueLib.vessels import SEGMENTS

    labels = LabelMap(scan.labels[None], scan.image.affine, SEGMENTS)
    with pytest.raises(InputError, match="no calcification at that place"):
        moved(labels, (0.0, 0.0, 9999.0), 4)
    with pytest.raises(InputError, match="Label 9 is no vessel"):
        moved(labels, (0.0, 0.0, 0.0), 9)


def test_only_what_hangs_together_moves():
    """Two of one vessel, one of another that touches the first: only the first moves, on an oblique grid."""
    from CardioPrecisionLib.analysis import LabelMap
    from conftest import oblique_affine
    from CoronaryPlaqueLib.scene_relabel import moved
    from CoronaryPlaqueLib.vessels import SEGMENTS

    array = np.zeros((20, 20, 8), np.uint8)
    array[2:5, 2:5, 2:4] = 2
    array[5, 5, 4] = 2  # by a corner
    array[5:7, 2:5, 2:4] = 3
    array[12:14, 12:14, 5] = 2
    affine = oblique_affine()
    place = affine @ [3, 3, 2.5, 1]
    changed = moved(LabelMap(array[None], affine, SEGMENTS), tuple(place[:3]), 4, only=2)
    wanted = array.copy()
    wanted[2:5, 2:5, 2:4] = 4
    wanted[5, 5, 4] = 4
    assert (changed == wanted).all()


def test_arteries_by_points_and_what_a_reader_does_with_them(desktop, widget_of):
    """Points placed one by one; CAD-RADS, lesions, the straightened artery."""
    from CardioPrecisionLib import scene as mrml
    from CardioPrecisionLib.scene_batch import SceneBatch
    from ccta_case import right_side, seeds_of

    with SceneBatch(desktop.mrmlScene, "input") as batch:
        volume = mrml.image_to_node(batch, right_side(), "angiogram")
    widget = widget_of("CoronaryPlaque")
    ui, node = widget.ui, widget._parameterNode
    node.analysis, node.inputNode = "plaque", volume
    [seed] = seeds_of("RCA")
    ui.arteryComboBox.currentText = "RCA"
    for button, point in ((ui.ostiumButton, seed.ostium), (ui.distalButton, seed.distal)):
        button.click()
        node.seedsNode.AddControlPoint(mrml.vtk.vtkVector3d(*point))
    assert ui.seedsLabel.text == "From ostium to distal end: RCA."
    ui.distalButton.click()  # once more: it takes the first one's place
    node.seedsNode.AddControlPoint(mrml.vtk.vtkVector3d(*seed.distal))
    assert node.seedsNode.GetNumberOfControlPoints() == 2
    node.stent = True
    ui.applyButton.click()
    turn(lambda: not widget.running)
    assert ui.statusLabel.text == "Done.", ui.statusLabel.text
    assert "CAD-RADS not assessable" in ui.summaryLabel.text  # one artery says nothing of the others
    assert "largest stenosis" in ui.summaryLabel.text
    assert cells(ui.lesionsTable, 0)
    assert ui.relabelButton.isHidden()
    assert ui.straightComboBox.currentText == "RCA"
    assert ui.straightButton.enabled
    ui.straightButton.click()
    node.seedsNode.RemoveNthControlPoint(1)
    widget.updateApply()
    assert not ui.applyButton.enabled
    assert "distal" in ui.applyButton.toolTip


def test_sample_angiogram_is_as_it_says(desktop):
    """Points on the lumen, the stenosis that the docstring names."""
    from CardioPrecisionLib.scene import image_from_node
    from CoronaryPlaqueLib import scene_ccta

    volume, points = scene_ccta.add_sample(desktop.mrmlScene)
    assert "LAD, LCX, RCA" in scene_ccta.points_seen(points)
    from CardioPrecisionLib.phantom.ccta import random_ccta

    lad = random_ccta(3).vessel("LAD")
    assert max(lesion.stenosis_pct for lesion in lad.lesions) == pytest.approx(82, abs=1)
    image = image_from_node(volume)
    for n in range(points.GetNumberOfControlPoints()):
        where = [0.0, 0.0, 0.0]
        points.GetNthControlPointPositionWorld(n, where)
        index = np.rint(image.to_index(np.array([where]))[0]).astype(int)
        assert image.array[tuple(index)] > 200, points.GetNthControlPointLabel(n)


def test_a_folder_of_dicom(plaque, desktop, scan, tmp_path, monkeypatch):
    """The CT of a folder comes with what its header says, and nothing of the patient before stays."""
    from CardioPrecisionLib import widget_qt as gui
    from CardioPrecisionLib.scene import image_from_node

    scan.write_dicom(tmp_path / "study")
    node = plaque._parameterNode
    node.ageYears, node.cacAgatston, node.race, node.stent = 71, 300, "white", True
    monkeypatch.setattr(gui, "choose_folder", lambda title: str(tmp_path / "study"))
    plaque.ui.folderButton.click()
    assert plaque.ui.statusLabel.text.startswith("CT without contrast is open."), plaque.ui.statusLabel.text
    image = image_from_node(node.inputNode)
    np.testing.assert_allclose(image.affine, scan.image.affine, atol=1e-3)
    np.testing.assert_allclose(image.array, scan.image.array, atol=1)
    assert node.inputNode.GetAttribute("CardioPrecision.Role") == "cardiac_ct"
    assert (node.cacAgatston, node.race, node.stent) == (-1, "", False)
    assert node.ageYears != 71
    node.analysis = "plaque"
    plaque.openFolder(str(tmp_path / "nowhere"))
    assert "there is no such" in plaque.ui.statusLabel.text
