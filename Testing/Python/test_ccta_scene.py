"""A coronary CT angiogram node to node on slicer-core: curves, tree, straightened volumes; all or nothing."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")

from CardioPrecisionLib import scene as mrml  # noqa: E402
from CardioPrecisionLib.errors import Cancelled, InputError  # noqa: E402
from CardioPrecisionLib.scene_batch import SceneBatch, nodes_of, remove_run  # noqa: E402
from ccta_case import BLOOD, QUIET, line, right_side, seeds_of  # noqa: E402
from CoronaryPlaqueLib import scene_ccta  # noqa: E402
from scene_cases import cancelling, contents, fail_at  # noqa: E402
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402


@pytest.fixture
def app(tmp_path):
    (tmp_path / "cache").mkdir()
    return mrml.MrmlApplication(str(tmp_path / "cache"))


@pytest.fixture
def volume(app):
    with SceneBatch(app.scene, "input") as batch:
        node = mrml.image_to_node(batch, right_side(), "DOE JOHN coronaries")
        batch.item(node)
    return node


@pytest.fixture
def points(app):
    node = app.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "reader's points")
    for one in seeds_of("RCA"):
        for role, point in (("ostium", one.ostium), ("distal", one.distal)):
            node.AddControlPoint(mrml.vtk.vtkVector3d(*point), f"{one.vessel} {role}")
    return node


@pytest.fixture
def done(app, volume, points):
    return scene_ccta.run_on_nodes(app.scene, volume, [points], parameters=QUIET, run_id="run-1")


def numbers(result):
    return {(m.name, m.site): m.value for m in result.measurements}


def test_nodes_to_nodes(app, volume, done):
    found = numbers(done)
    assert found["diameter_stenosis", "RCA"] < 50
    # the curve: on the artery, with its radius at every point
    curve = done.curves["RCA"]
    places = slicer.util.arrayFromMarkupsControlPoints(curve)
    away = np.linalg.norm(places[2:-2, None] - line("RCA")[None], axis=-1).min(1)
    assert away.max() < 0.8
    radius = vtk_to_numpy(curve.GetMeasurement("Radius").GetControlPointValues())
    assert len(radius) == curve.GetNumberOfControlPoints()
    assert 1.2 < np.nanmedian(radius) < 2.3
    # the tree: tubes as wide as the lumen, coloured by stenosis
    poly = done.tree.GetPolyData()
    stenosis = vtk_to_numpy(poly.GetPointData().GetArray("DiameterStenosis"))
    assert np.nanmax(stenosis) == pytest.approx(found["diameter_stenosis", "RCA"], abs=0.01)
    surface = vtk_to_numpy(poly.GetPoints().GetData())
    from_line = np.linalg.norm(surface[::7, None] - line("RCA")[None, ::2], axis=-1).min(1)
    assert 1.0 < np.median(from_line) < 2.4
    # straightened: blood along the middle, whatever the course
    straight = mrml.image_from_node(done.straightened["RCA"]).array
    middle = straight[straight.shape[0] // 2, straight.shape[1] // 2]
    assert np.median(middle) == pytest.approx(BLOOD, abs=40)
    assert sorted(done.tables) == ["course RCA", "lesions", "segments"]
    assert done.segmentation.GetSegmentation().GetNumberOfSegments() == 6
    mine = [n for n in nodes_of(app.scene) if n.GetAttribute("CardioPrecision.Run") == "run-1"]
    assert not any("DOE" in n.GetName() for n in mine)


def test_curves_and_segmentation_given_back(app, volume, done):
    """A reader corrects them in Slicer; uncorrected they give nearly the same."""
    again = scene_ccta.run_on_nodes(
        app.scene, volume, done.curves.values(), curves=True, labels_node=done.segmentation, parameters=QUIET
    )
    one, other = numbers(done), numbers(again)
    assert other["diameter_stenosis", "RCA"] == pytest.approx(one["diameter_stenosis", "RCA"], abs=12)
    assert remove_run(app.scene, again.run_id) > 5


def test_failing_leaves_the_scene_as_it_was(app, volume, points, monkeypatch):
    before = contents(app.scene)
    with pytest.raises(Cancelled):
        scene_ccta.run_on_nodes(app.scene, volume, [points], parameters=QUIET, progress=cancelling)
    assert contents(app.scene) == before
    fail_at(monkeypatch, "vtkMRMLModelNode")
    with pytest.raises(OSError, match="disk full"):
        scene_ccta.run_on_nodes(app.scene, volume, [points], parameters=QUIET)
    assert contents(app.scene) == before


def test_child_process(app, volume, points):
    """The same numbers from another process, loaded from its output folder; taken away, nothing is left of them."""
    before = contents(app.scene)
    there = scene_ccta.run_in_child(app.scene, volume, [points], parameters={"figures": False})
    here = scene_ccta.run_on_nodes(app.scene, volume, [points], parameters=QUIET)
    one, other = numbers(here), numbers(there)
    assert one.keys() == other.keys()
    assert other["diameter_stenosis", "RCA"] == pytest.approx(one["diameter_stenosis", "RCA"], abs=0.5)
    assert there.curves["RCA"].GetNumberOfControlPoints() == here.curves["RCA"].GetNumberOfControlPoints()
    for made in (here, there):
        remove_run(app.scene, made.run_id)
    assert contents(app.scene) == before


def test_wrong_nodes(app, volume):
    with pytest.raises(InputError, match="choose a point list or curves"):
        scene_ccta.run_on_nodes(app.scene, volume, [volume], parameters=QUIET)
    with pytest.raises(InputError, match="No input was chosen"):
        scene_ccta.run_on_nodes(app.scene, None, [], parameters=QUIET)
