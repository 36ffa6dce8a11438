"""The home widget on real MRML and real Qt: what a study holds, everything at one press, models, workflows."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from CardioPrecisionLib import environment

pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the libraries of the system that it uses")
from qt_bench import cells, picture, turn


@pytest.fixture(scope="module")
def patient():
    from CardioPrecisionLib.phantom import demo_patient

    return demo_patient()


@pytest.fixture(scope="module")
def scan():
    from CoronaryPlaqueLib.scene_logic import sample_scan

    return sample_scan()


@pytest.fixture
def home(desktop, widget_of, monkeypatch, patient, scan):
    monkeypatch.setattr("CardioPrecisionLib.phantom.demo_patient", lambda seed=1: patient)
    monkeypatch.setattr("CoronaryPlaqueLib.scene_logic.sample_scan", lambda seed=5: scan)
    from slicer_stand_ins import ROOT as root

    monkeypatch.setattr(desktop.util, "modulePath", lambda name: str(root / name / f"{name}.py"))
    return widget_of("CardioPrecision")


def volume(desktop, image, name):
    from CardioPrecisionLib import scene as mrml
    from CardioPrecisionLib.scene_batch import SceneBatch

    with SceneBatch(desktop.mrmlScene, "input") as batch:
        return mrml.image_to_node(batch, image, name)


def test_what_a_study_holds(home, desktop):
    ui = home.ui
    assert "nothing that has a role" in ui.applyButton.toolTip
    ui.sampleButton.click()
    roles = {s.node.GetName(): s.role for s in home.logic.series()}
    assert sorted(roles.values()) == ["cardiac_ct", "cine_sax"]
    assert [box.currentText for box in home._roleBoxes] == ["cine short axis", "CT without contrast"]
    assert [analysis for analysis, _ in home.logic.steps()] == ["lv-function", "calcium", "risk"]
    assert ui.applyButton.enabled
    assert ui.applyButton.text == "Run everything"
    home._roleBoxes[0].currentIndex = 3  # nothing
    assert [analysis for analysis, _ in home.logic.steps()] == ["calcium", "risk"]
    ui.refreshButton.click()
    assert home._roleBoxes[0].currentText == "nothing"


def test_contrast_and_mr_are_told_apart(desktop):
    """An angiogram by its bright blood; an MR volume without frames is nothing."""
    from CardioPrecisionLib.image import Image
    from CardioPrecisionLib.scene_study import series_of
    from CoronaryPlaqueLib.scene_ccta import sample_angiogram

    volume(desktop, sample_angiogram().image, "a")
    volume(desktop, Image(np.full((20, 20, 8), 300, np.int16), np.eye(4)), "b")
    found = series_of(desktop.mrmlScene)
    assert [s.role for s in found] == ["ccta", ""]
    assert "HU" in found[0].why


def give_labels(desktop, scan):
    """Reader's labels for both modules, so that no network has to run."""
    from CardioPrecisionLib import scene as mrml
    from CardioPrecisionLib.analysis import LabelMap
    from CardioPrecisionLib.phantom import demo_patient
    from CardioPrecisionLib.scene_batch import SceneBatch
    from CoronaryPlaqueLib.vessels import SEGMENTS as VESSELS
    from LVFunctionLib.segments import SEGMENTS

    truth = demo_patient().sample
    lv, plaque = sys.modules["LVFunction"], sys.modules["CoronaryPlaque"]
    sequence = desktop.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceNode")
    with SceneBatch(desktop.mrmlScene, "reader") as batch:
        cine = LabelMap(truth.labels, truth.sequence.affine, SEGMENTS)
        reader = mrml.segmentation_sequence_to_node(batch, cine, sequence, "Reader")[0]
        calcium = LabelMap(scan.labels[None], scan.image.affine, VESSELS)
        other = mrml.segmentation_to_node(batch, calcium, 0, "Calcium reader")
    lv.LVFunctionLogic().getParameterNode().labelsNode = reader
    plaque.CoronaryPlaqueLogic().getParameterNode().labelsNode = other


def test_everything_at_one_press(home, desktop, scan):
    """Cine, CT and record, one after the other; risk sees what the other two have measured."""
    from CardioPrecisionLib.widget_scene import plain_rows

    home.loadSample()
    give_labels(desktop, scan)
    assert not home.needsModel()
    assert home.bundles == ()
    ui = home.ui
    ui.applyButton.click()
    assert home.running
    assert ui.applyButton.text == "Cancel"
    turn(lambda: not home.running)
    assert ui.statusLabel.text == "3 of 3 done.", ui.statusLabel.text
    titles = [ui.runComboBox.itemText(n) for n in range(ui.runComboBox.count)]
    assert titles == ["All runs", "LV function", "Coronary calcium", "Risk scores"]
    names = cells(ui.measurementsTable)
    assert "LV function: LV ejection fraction" in names
    assert any(name.startswith("Coronary calcium: Agatston score") for name in names)
    assert "Choose one run" in ui.reportButton.toolTip
    picture(home.uiWidget, "panel-home")
    ui.runComboBox.currentIndex = 3
    values = home.chosenRun.first("vtkMRMLTableNode", "Clinical values")
    assert "lv_ef_pct" in [name for [name] in plain_rows(values, ["name"])]
    assert ui.reportButton.enabled
    assert home._parameterNode.chosenRun == home.chosenRun.run_id
    asked = []
    desktop.util.selectModule = asked.append
    ui.openModuleButton.click()
    assert asked == ["FusionRisk"]
    ui.removeRunButton.click()
    assert ui.runComboBox.count == 3


def test_cancel_stops_all_of_it(home, desktop, scan):
    home.loadSample()
    give_labels(desktop, scan)
    home.ui.applyButton.click()
    home.ui.applyButton.click()
    turn(lambda: not home.running)
    assert home.ui.statusLabel.text == "Cancelled."
    assert home._queue == []
    assert home.ui.runComboBox.count == 1


def test_one_that_fails_does_not_stop_the_others(home, desktop, scan):
    """A CT whose labels are of something else: named, and the rest is done."""
    home.loadSample()
    give_labels(desktop, scan)
    plaque = sys.modules["CoronaryPlaque"].CoronaryPlaqueLogic().getParameterNode()
    plaque.labelsNode = sys.modules["LVFunction"].LVFunctionLogic().getParameterNode().labelsNode
    home._roleBoxes[0].currentIndex = 3
    empty = desktop.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "Another record")
    for s in home.logic.series():
        if s.role == "cardiac_ct":
            s.node.SetAttribute("CardioPrecision.Role", "cine_sax")
    assert empty is not None
    assert [analysis for analysis, _ in home.logic.steps()] == ["lv-function", "risk"]
    home.ui.applyButton.click()
    turn(lambda: not home.running)
    assert home.ui.statusLabel.text.startswith("1 of 2 done.\nLV function: "), home.ui.statusLabel.text


def test_environment_is_told(home):
    home.ui.checkButton.click()
    table = home.ui.environmentTable
    found = dict(zip(cells(table, 0), zip(cells(table, 1), cells(table, 2), strict=True), strict=True))
    assert found["nibabel"][0] == "ok"
    assert found["PyTorch"][0] == "ok"
    assert found["cine_sax_ventricles"][0] == "ok"
    assert "GiB" in found["Free memory"][1]


def test_packages_that_are_missing_or_old():
    facts = environment.packages(["# a comment", "", "numpy>=1.26", "numpy>=99", "no-such-package-here>=1.0"])
    assert [(f.what, f.state) for f in facts] == [
        ("numpy", "ok"),
        ("numpy", "missing"),
        ("no-such-package-here", "missing"),
    ]
    assert "99 or newer" in facts[1].detail


def test_models_and_their_licences(home):
    ui = home.ui
    assert not ui.cardButton.enabled
    ui.verifyButton.click()
    names = cells(ui.modelsTable, 0)
    assert "cine_sax_ventricles" in names
    row = names.index("cine_sax_ventricles")
    assert "not accepted yet" in cells(ui.modelsTable, 2)[row]
    ui.modelsTable.setCurrentCell(row, 0)
    home.onModelClicked(row)
    ui.cardButton.click()
    ui.acceptButton.click()
    assert "(accepted)" in cells(ui.modelsTable, 2)[row]
    free = next(n for n, name in enumerate(names) if name != "cine_sax_ventricles")
    ui.modelsTable.setCurrentCell(free, 0)
    home.onModelClicked(free)
    assert "does not restrict" in ui.acceptButton.toolTip


def test_a_workflow_goes_through_a_file(home, tmp_path):
    nodes = home.logic.parameterNodes()
    nodes["LVFunction"].edFrame = 3
    nodes["CoronaryPlaque"].setting = "acute"
    home.saveWorkflow(tmp_path / "w.json")
    nodes["LVFunction"].edFrame, nodes["CoronaryPlaque"].setting = 0, "stable"
    home.loadWorkflow(tmp_path / "w.json")
    assert home.ui.statusLabel.text == "The parameters are set."
    assert (nodes["LVFunction"].edFrame, nodes["CoronaryPlaque"].setting) == (3, "acute")
    document = json.loads((tmp_path / "w.json").read_text())
    assert "inputNode" not in document["modules"]["LVFunction"]
    assert list(tmp_path.iterdir()) == [tmp_path / "w.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{", "cannot be read"),
        (lambda d: json.dumps({"schema": "x"}), "no workflow"),
        (lambda d: d["modules"]["LVFunction"].update(sex="x") or json.dumps(d), "sex cannot be 'x'"),
        (lambda d: d["modules"]["LVFunction"].update(edFrame="3") or json.dumps(d), "it must be of type int"),
        (lambda d: d["modules"]["LVFunction"].update(edFrme=3) or json.dumps(d), "no parameter 'edFrme'"),
        (lambda d: d["modules"].update(LVFunction=[]) or json.dumps(d), "parameters by name"),
    ],
)
def test_a_workflow_that_cannot_be_changes_nothing(home, tmp_path, change, message):
    nodes = home.logic.parameterNodes()
    nodes["LVFunction"].device = "cpu"
    home.saveWorkflow(tmp_path / "w.json")
    nodes["LVFunction"].device = "auto"
    (tmp_path / "w.json").write_text(change(json.loads((tmp_path / "w.json").read_text())))
    home.loadWorkflow(tmp_path / "w.json")
    assert message in home.ui.statusLabel.text
    assert nodes["LVFunction"].device == "auto"
