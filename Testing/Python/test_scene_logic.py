"""LV function node to node on slicer-core: the phantom's truth, all or nothing, saved and opened, both processes."""

from __future__ import annotations

import json

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")

from CardioPrecisionLib import scene as mrml  # noqa: E402
from CardioPrecisionLib.analysis import LabelMap, Result  # noqa: E402
from CardioPrecisionLib.errors import Cancelled, InputError  # noqa: E402
from CardioPrecisionLib.image import Image, Sequence, read_frames, write_nifti  # noqa: E402
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, document  # noqa: E402
from CardioPrecisionLib.phantom import CineHeart, Geometry  # noqa: E402
from CardioPrecisionLib.scene_batch import SceneBatch, children_of, nodes_of  # noqa: E402
from LVFunctionLib import cine, scene_logic  # noqa: E402
from LVFunctionLib.segments import SEGMENTS  # noqa: E402
from LVFunctionLib.volumes import LVParameters  # noqa: E402
from scene_cases import cancelling, contents, fail_at  # noqa: E402

SEGMENT_IDS = {"lv_cavity": 1, "lv_myocardium": 2, "rv_cavity": 3}


@pytest.fixture(scope="module")
def sample():
    """An oblique phantom, 12 phases; truth and labels."""
    heart = CineHeart(lv_edv_ml=142.0, lv_esv_ml=54.0, lv_mass_g=104.0, rv_edv_ml=150.0, rv_esv_ml=64.0, rr_ms=900.0)
    return heart.sample(
        Geometry(pixel_mm=(1.9, 1.9), matrix=(112, 104), thickness_mm=8.0, gap_mm=2.0, n_slices=10), 12, seed=2
    )


@pytest.fixture
def app(tmp_path):
    (tmp_path / "cache").mkdir()
    return mrml.MrmlApplication(str(tmp_path / "cache"))


def add_cine(scene, sample):
    with SceneBatch(scene, "input") as batch:
        node, browser = mrml.sequence_to_node(batch, sample.sequence, "DOE JOHN cine")
        batch.item(browser.GetProxyNode(node))
    return node, browser


def add_labels(scene, sample, node):
    with SceneBatch(scene, "reader") as batch:
        return mrml.segmentation_sequence_to_node(
            batch, LabelMap(sample.labels, sample.sequence.affine, SEGMENTS), node, "reader"
        )[0]


def voxels(segmentation, grid):
    """The labels of a segmentation node on a grid, read voxel by voxel from MRML."""
    found = np.zeros(grid.shape, np.uint8)
    for identity, value in SEGMENT_IDS.items():
        image = slicer.vtkOrientedImageData()
        assert segmentation.GetBinaryLabelmapRepresentation(identity, image)
        matrix = mrml.vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        extent = image.GetExtent()
        index = np.argwhere(mrml.image_array(image, "") > 0) + extent[::2]
        world = Image(np.zeros((1, 1, 1)), mrml.matrix_to_array(matrix)).to_world(index)
        place = np.round((world - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T).astype(int)
        found[tuple(place.T)] = value
    return found


def test_phantom_node_to_node(app, sample):
    scene = app.scene
    node, browser = add_cine(scene, sample)
    reader = add_labels(scene, sample, node)
    done = scene_logic.run_on_nodes(
        scene,
        browser.GetProxyNode(node),
        labels_node=reader,
        run_id="run-1",
        patient=Patient(sex="female", age_years=54, height_cm=168, weight_kg=66),
    )
    counted = sample.label_volumes()
    ed, es = int(np.argmax(counted.lv_ml)), int(np.argmin(counted.lv_ml))
    assert done.measurements.value("lv_edv") == pytest.approx(counted.lv_ml[ed], rel=1e-9)
    assert done.measurements.value("lv_ef") == pytest.approx(sample.measurements["lv_ef"], abs=3)
    assert done.measurements.value("heart_rate") == pytest.approx(60000 / 900, rel=1e-6)
    assert done.measurements.value("lv_edv_index") is not None

    # tables and chart
    table = done.measurement_table.GetTable()
    names = [table.GetColumnByName("name").GetValue(r) for r in range(table.GetNumberOfRows())]
    assert len(names) == len(done.measurements)
    value = table.GetColumnByName("value").GetValue(names.index("lv_edv"))
    assert value == done.measurements.value("lv_edv")
    np.testing.assert_allclose(slicer.util.arrayFromTableColumn(done.curve_table, "lv_ml"), counted.lv_ml, rtol=1e-9)
    np.testing.assert_allclose(slicer.util.arrayFromTableColumn(done.curve_table, "time_ms"), np.arange(12) * 75.0)
    assert done.chart.GetNumberOfPlotSeriesNodes() == 3
    assert done.chart.GetNthPlotSeriesNode(0).GetXColumnName() == "time_ms"
    assert done.chart.GetYAxisTitle() == "Volume (mL)"

    # segmentation sequence, synchronised
    assert done.browser is browser
    assert browser.GetSelectedItemNumber() == ed
    assert done.segmentation_sequence.GetNumberOfDataNodes() == 12
    for t in (ed, es, 3):
        browser.SetSelectedItemNumber(t)
        np.testing.assert_array_equal(voxels(done.segmentation, sample.sequence), sample.labels[t])
        np.testing.assert_array_equal(mrml.image_from_node(browser.GetProxyNode(node)).array, sample.sequence.frame(t))
    role = done.segmentation.GetReferenceImageGeometryReferenceRole()
    assert done.segmentation.GetNodeReference(role) is browser.GetProxyNode(node)

    # subject hierarchy
    hierarchy = scene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemParent(done.folder) == hierarchy.GetItemParent(
        hierarchy.GetItemByDataNode(browser.GetProxyNode(node))
    )
    inside = {hierarchy.GetItemDataNode(item) for item in children_of(hierarchy, done.folder)}
    assert inside == {done.measurement_table, done.curve_table, done.chart, done.segmentation}

    # the input's name could be a patient's: nothing repeats it
    mine = [n for n in nodes_of(scene) if n.GetAttribute("CardioPrecision.Run") == "run-1"]
    assert len(mine) >= 9
    assert not any("DOE" in n.GetName() for n in mine)


def test_run_can_be_taken_back_and_repeated(app, sample):
    node, browser = add_cine(app.scene, sample)
    reader = add_labels(app.scene, sample, node)
    before = contents(app.scene)
    first = scene_logic.run_on_nodes(app.scene, node, labels_node=reader)
    second = scene_logic.run_on_nodes(app.scene, node, labels_node=reader)
    assert first.run_id != second.run_id
    assert first.segmentation is not second.segmentation
    scene_logic.remove_run(app.scene, second.run_id)
    browser.SetSelectedItemNumber(5)
    np.testing.assert_array_equal(voxels(first.segmentation, sample.sequence), sample.labels[5])
    scene_logic.remove_run(app.scene, first.run_id)
    assert contents(app.scene) == before
    assert browser.GetNumberOfSynchronizedSequenceNodes() == 1  # the reader's


@pytest.mark.parametrize("fails", ["input", "cancel", "late"])
def test_failure_leaves_the_scene_alone(app, sample, fails, monkeypatch):
    node, browser = add_cine(app.scene, sample)
    reader = add_labels(app.scene, sample, node)
    browser.SetSelectedItemNumber(7)
    before = contents(app.scene)
    if fails == "input":
        with pytest.raises(InputError, match="frames 1 to 12"):
            scene_logic.run_on_nodes(app.scene, node, labels_node=reader, parameters=LVParameters(tta=1, es_frame=13))
    elif fails == "cancel":
        with pytest.raises(Cancelled):
            scene_logic.run_on_nodes(app.scene, node, labels_node=reader, progress=cancelling)
    else:
        fail_at(monkeypatch, "vtkMRMLSegmentationNode")
        with pytest.raises(OSError, match="disk full"):
            scene_logic.run_on_nodes(app.scene, node, labels_node=reader)
    assert contents(app.scene) == before
    assert browser.GetSelectedItemNumber() == 7
    assert browser.GetNumberOfSynchronizedSequenceNodes() == 1


def test_bad_inputs_are_refused_in_one_line(app, sample):
    scene = app.scene
    with pytest.raises(InputError, match="No input was chosen"):
        scene_logic.run_on_nodes(scene, None)
    with SceneBatch(scene, "r") as batch:
        tiny = mrml.image_to_node(batch, Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), "tiny")
        flat = mrml.image_to_node(batch, Image(np.zeros((128, 128, 8), np.int16), np.diag([2, 2, 8, 1.0])), "flat")
        nan = mrml.image_to_node(batch, Image(np.full((128, 128, 8), np.nan, "f4"), np.diag([2, 2, 8, 1.0])), "nan")
    for node, message in ((tiny, "too small"), (flat, "no image in it"), (nan, "NaN")):
        with pytest.raises(InputError, match=message) as caught:
            scene_logic.run_on_nodes(scene, node)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="another scene"):
        scene_logic.run_on_nodes(slicer.vtkMRMLScene(), tiny)
    node, _ = add_cine(scene, sample)
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    with pytest.raises(InputError, match="labels"):
        scene_logic.run_on_nodes(scene, node, labels_node=empty)


def test_single_phase_volume(app, sample):
    """One 3-D volume: volumes measured, EF not assessable, a plain segmentation without a sequence."""
    ed = sample.ed_frame
    with SceneBatch(app.scene, "input") as batch:
        volume = mrml.image_to_node(batch, sample.sequence.image(ed), "ED")
        labels = LabelMap(sample.labels[ed : ed + 1], sample.sequence.affine, SEGMENTS)
        reader = mrml.segmentation_to_node(batch, labels, 0, "reader", volume)
    done = scene_logic.run_on_nodes(app.scene, volume, labels_node=reader)
    assert done.measurements.value("lv_edv") == pytest.approx(sample.label_volumes().lv_ml[ed], rel=1e-9)
    assert done.measurements["lv_ef"].state == "not_assessable"
    assert (done.segmentation_sequence, done.browser, done.chart) == (None, None, None)
    np.testing.assert_array_equal(voxels(done.segmentation, sample.sequence), sample.labels[ed])


def values(done):
    return {(m.name, m.site): float("nan") if m.value is None else m.value for m in done.measurements}


def test_results_under_a_transform(app, sample):
    """A parent transform moves input and results alike and changes no number."""
    node, browser = add_cine(app.scene, sample)
    plain = scene_logic.run_on_nodes(app.scene, node, labels_node=add_labels(app.scene, sample, node))
    angle = np.radians(25)
    move = np.eye(4)
    move[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    move[:3, 3] = 12, -5, 30
    transform = app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(mrml.array_to_matrix(move))
    for proxy in (browser.GetProxyNode(node), plain.segmentation):
        proxy.SetAndObserveTransformNodeID(transform.GetID())
    moved = scene_logic.run_on_nodes(app.scene, node, labels_node=plain.segmentation)
    assert moved.segmentation.GetParentTransformNode() is transform
    assert values(moved) == pytest.approx(values(plain), rel=1e-6, nan_ok=True)
    browser.SetSelectedItemNumber(4)  # its own geometry is the input's, the transform is on top
    np.testing.assert_array_equal(voxels(moved.segmentation, sample.sequence), sample.labels[4])


def test_turned_twin_gives_the_same_numbers(app, sample):
    """The same study stored with its slices along the first axis and one axis mirrored."""

    def turned(frames):
        return np.flip(frames, 2).transpose(0, 3, 1, 2)

    affine = sample.sequence.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (sample.labels.shape[2] - 1)
    affine[:3, :3] = np.stack([affine[:3, 2], affine[:3, 0], -affine[:3, 1]], axis=1)
    twin = Sequence.from_array(turned(sample.frames()), affine, times_ms=sample.sequence.times_ms, rr_ms=900.0)
    results = []
    for sequence, labels in ((sample.sequence, sample.labels), (twin, turned(sample.labels))):
        with SceneBatch(app.scene, "input") as batch:
            node, _ = mrml.sequence_to_node(batch, sequence, "cine")
            reader = mrml.segmentation_sequence_to_node(batch, LabelMap(labels, sequence.affine, SEGMENTS), node, "r")[
                0
            ]
        results.append(scene_logic.run_on_nodes(app.scene, node, labels_node=reader))
    plain, other = (values(done) for done in results)
    assert other.keys() == plain.keys()
    for key, value in plain.items():
        assert other[key] == pytest.approx(value, rel=1e-6, nan_ok=True), key
    assert any("third axis" in warning for warning in results[1].warnings)
    browser = results[1].browser
    browser.SetSelectedItemNumber(6)
    np.testing.assert_array_equal(voxels(results[1].segmentation, sample.sequence), sample.labels[6])


def test_saved_and_opened_again(app, sample, tmp_path):
    node, _ = add_cine(app.scene, sample)
    reader = add_labels(app.scene, sample, node)
    done = scene_logic.run_on_nodes(app.scene, node, labels_node=reader, run_id="kept")
    path = tmp_path / "scene.mrb"
    app.save(str(path))
    (tmp_path / "other").mkdir()
    again = mrml.MrmlApplication(str(tmp_path / "other"))
    again.open(str(path))
    scene = again.scene

    def twin(original):
        return scene.GetFirstNodeByName(original.GetName())

    found = {name: twin(getattr(done, name)) for name in ("measurement_table", "curve_table", "chart")}
    table = found["measurement_table"].GetTable()
    names = [table.GetColumnByName("name").GetValue(r) for r in range(table.GetNumberOfRows())]
    assert table.GetColumnByName("value").GetValue(names.index("lv_edv")) == pytest.approx(
        done.measurements.value("lv_edv"),
        rel=1e-5,  # six digits in the table's file
    )
    np.testing.assert_allclose(
        slicer.util.arrayFromTableColumn(found["curve_table"], "lv_ml"),
        slicer.util.arrayFromTableColumn(done.curve_table, "lv_ml"),
        rtol=1e-5,
    )
    assert found["chart"].GetNthPlotSeriesNode(0).GetTableNode() is found["curve_table"]

    browsers = mrml.browsers(scene)
    assert len(browsers) == 1
    images = browsers[0].GetMasterSequenceNode()
    assert mrml.sequence_from_node(images).voxel_hash() == sample.sequence.voxel_hash()
    segmentations = [
        n for n in nodes_of(scene) if n.IsA("vtkMRMLSequenceNode") and n.GetAttribute("CardioPrecision.Run") == "kept"
    ]
    assert len(segmentations) == 1
    proxy = browsers[0].GetProxyNode(segmentations[0])
    role = proxy.GetReferenceImageGeometryReferenceRole()
    assert proxy.GetNodeReference(role) is browsers[0].GetProxyNode(images)
    for t in (0, 4, 9):
        browsers[0].SetSelectedItemNumber(t)
        np.testing.assert_array_equal(voxels(proxy, sample.sequence), sample.labels[t])
    for identity, value in SEGMENT_IDS.items():
        segment = proxy.GetSegmentation().GetSegment(identity)
        meaning = next(s for s in SEGMENTS if s.value == value)
        assert segment.GetTerminology().split("~")[2] == f"SCT^{meaning.type.value}^{meaning.type.meaning}"
        assert segment.GetColor() == pytest.approx(meaning.color, abs=0.01)
    hierarchy = scene.GetSubjectHierarchyNode()
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(proxy))
    assert hierarchy.GetItemName(folder) == "LV function"
    count = scene.GetNumberOfNodes()
    assert scene_logic.remove_run(scene, "kept") >= 8
    assert scene.GetNumberOfNodes() <= count - 8
    assert browsers[0].GetNumberOfSynchronizedSequenceNodes() == 1


# -- files between processes -------------------------------------------------------------------------------------------
def test_exported_files_give_the_same_study(app, sample, tmp_path):
    node, _ = add_cine(app.scene, sample)
    reader = add_labels(app.scene, sample, node)
    inputs = scene_logic.export_input(app.scene, node, tmp_path)
    assert list(inputs) == ["cine_sax"]
    here, there = scene_logic.read_cine(app.scene, node).data, cine.load(inputs["cine_sax"]).data
    assert there.voxel_hash() == here.voxel_hash() == sample.sequence.voxel_hash()
    np.testing.assert_allclose(there.times_ms, here.times_ms)
    assert (there.rr_ms, there.full_cycle) == (pytest.approx(here.rr_ms), here.full_cycle)
    labels = scene_logic.export_labels(app.scene, reader, node, tmp_path)
    np.testing.assert_array_equal(read_frames(labels["paths"][0])[0], sample.labels)


def write_output(folder, sample, *, analysis="lv-function", labels=None, affine=None):
    """The output folder of a run, as the fronts write it."""
    folder.mkdir()
    rows = Measurements([Measurement("lv_ef", 61.5, "%"), Measurement.missing("rv_ef", "%", "no RV")])
    (folder / "measurements.json").write_text(json.dumps(document(analysis, Patient(), rows, ["look here"])))
    (folder / "run.json").write_text(json.dumps({"details": {"ed_frame": 3, "es_frame": 8}}))
    write_nifti(
        folder / "segmentation.nii.gz",
        sample.labels if labels is None else labels,
        sample.sequence.affine if affine is None else affine,
        75.0,
    )
    return folder


def test_output_folder_into_the_scene(app, sample, tmp_path):
    node, browser = add_cine(app.scene, sample)
    done = scene_logic.load_results(app.scene, write_output(tmp_path / "run", sample), node)
    assert done.measurements.value("lv_ef") == 61.5
    assert done.measurements["rv_ef"].reason == "no RV"
    assert done.warnings == ["look here"]
    assert browser.GetSelectedItemNumber() == 2  # ED, counted from 1 in the record
    np.testing.assert_allclose(
        slicer.util.arrayFromTableColumn(done.curve_table, "rv_ml"), sample.label_volumes().rv_ml, rtol=1e-9
    )
    for t in (0, 11):
        browser.SetSelectedItemNumber(t)
        np.testing.assert_array_equal(voxels(done.segmentation, sample.sequence), sample.labels[t])


def test_wrong_output_folders_are_refused(app, sample, tmp_path):
    node, _ = add_cine(app.scene, sample)
    before = contents(app.scene)
    with pytest.raises(InputError, match="missing or cannot be read"):
        scene_logic.load_results(app.scene, tmp_path / "nothing", node)
    with pytest.raises(InputError, match="not of lv-function"):
        scene_logic.load_results(app.scene, write_output(tmp_path / "a", sample, analysis="calcium"), node)
    shifted = sample.sequence.affine.copy()
    shifted[0, 3] += 3
    for name, more in (("b", {"affine": shifted}), ("c", {"labels": sample.labels[:5]})):
        with pytest.raises(InputError, match="does not lie on the grid"):
            scene_logic.load_results(app.scene, write_output(tmp_path / name, sample, **more), node)
    assert contents(app.scene) == before


def test_result_without_labels(app, sample):
    """Nothing was assessable: the table still comes, with its reasons."""
    node, _ = add_cine(app.scene, sample)
    rows = Measurements([Measurement.missing("lv_ef", "%", "no left ventricle was found")])
    done = scene_logic.add_results(app.scene, node, Result(rows))
    assert (done.segmentation, done.curve_table, done.chart) == (None, None, None)
    assert done.measurement_table.GetTable().GetColumnByName("reason").GetValue(0) == "no left ventricle was found"


@pytest.mark.slow
def test_child_process_gives_the_same_numbers(app, sample):
    node, _ = add_cine(app.scene, sample)
    reader = add_labels(app.scene, sample, node)
    who = {"sex": "female", "age_years": 54, "height_cm": 168, "weight_kg": 66}
    here = scene_logic.run_on_nodes(app.scene, node, labels_node=reader, patient=Patient(**who))
    said = []
    there = scene_logic.run_in_child(
        app.scene,
        node,
        labels_node=reader,
        clinical=who,
        progress=lambda fraction, stage: said.append((fraction, stage)),
    )
    assert said
    assert values(there) == pytest.approx(values(here), rel=1e-9, nan_ok=True)
    assert there.browser.GetSelectedItemNumber() == here.browser.GetSelectedItemNumber()
    before = contents(app.scene)
    with pytest.raises(InputError, match="frames 1 to 12"):
        scene_logic.run_in_child(app.scene, node, labels_node=reader, parameters={"es_frame": 99})
    with pytest.raises(Cancelled):
        scene_logic.run_in_child(app.scene, node, labels_node=reader, should_stop=lambda: True)
    assert contents(app.scene) == before
