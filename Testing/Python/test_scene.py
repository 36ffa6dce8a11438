"""MRML border on real nodes of slicer-core: geometry, transforms, time, segmentations, batches."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")

import vtk  # noqa: E402
from CardioPrecisionLib import scene as mrml  # noqa: E402
from CardioPrecisionLib import scene_tables as tables  # noqa: E402
from CardioPrecisionLib.analysis import LabelMap, Segment, Table  # noqa: E402
from CardioPrecisionLib.errors import InputError  # noqa: E402
from CardioPrecisionLib.image import Image, Sequence, read_frames  # noqa: E402
from CardioPrecisionLib.measurement import Code, Measurement  # noqa: E402
from CardioPrecisionLib.scene_batch import RUN_ATTRIBUTE, SceneBatch, children_of, nodes_of, remove_run  # noqa: E402
from CardioPrecisionLib.scene_labels import labels_from_node  # noqa: E402
from CardioPrecisionLib.sequence_file import write_sequence  # noqa: E402

ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
SEGMENTS = (
    Segment(1, "LV cavity", (0.9, 0.2, 0.2), ANATOMY, Code("SCT", "87878005", "Left ventricle")),
    Segment(2, "LV myocardium", (0.2, 0.7, 0.2), ANATOMY, Code("SCT", "49848007", "Left Ventricle Myocardium")),
    Segment(3, "RV cavity", (0.2, 0.4, 0.9), ANATOMY, Code("SCT", "53085002", "Right ventricle")),
)
SHAPE = (13, 11, 5)
LABELMAP = "Binary labelmap"


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """A rotation about three axes, in degrees."""
    a, b, c = np.radians([a, b, c])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def affine_of(flip: bool = False) -> np.ndarray:
    """Oblique and anisotropic; mirrored on request."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(35, -20, 50) * np.array([-1.25 if flip else 1.25, 1.5, 8.0])
    affine[:3, 3] = 12.5, -40.25, 73.0
    return affine


AFFINES = pytest.mark.parametrize("affine", [affine_of(), affine_of(flip=True)], ids=["oblique", "oblique-flipped"])


def frames_of(count: int = 6, dtype: str = "int16") -> np.ndarray:
    return (np.random.default_rng(3).normal(400, 90, (count, *SHAPE))).astype(dtype)


def labels_of(count: int = 6) -> np.ndarray:
    """Three boxes, the first of which changes over time."""
    labels = np.zeros((count, *SHAPE), np.uint8)
    for t in range(count):
        labels[t, 3 : 6 + t % 3, 3:8, 1:4] = 1
        labels[t, 9:11, 3:8, 1:4] = 2
        labels[t, 1:3, 4:9, 2:4] = 3
    return labels


@pytest.fixture
def app(tmp_path):
    (tmp_path / "cache").mkdir()
    return mrml.MrmlApplication(str(tmp_path / "cache"))


def add_cine(scene, affine=None, count=6, **more):
    affine = affine_of() if affine is None else affine
    more = {"times_ms": np.arange(count) * 40.5, **more}
    sequence = Sequence.from_array(frames_of(count), affine, **more)
    with SceneBatch(scene, "input") as batch:
        node, browser = mrml.sequence_to_node(batch, sequence, "cine")
    return sequence, node, browser


def add_transform(scene, node, matrix):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(mrml.array_to_matrix(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def moved() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(-15, 40, 5)
    matrix[:3, 3] = 5, 6, -7
    return matrix


def world_points(segmentation, segment_id):
    """World positions (rounded) of the voxels of a segment, read from MRML alone."""
    image = slicer.vtkOrientedImageData()
    assert segmentation.GetBinaryLabelmapRepresentation(segment_id, image)
    parent = vtk.vtkMatrix4x4()
    if segmentation.GetParentTransformNode() is not None:
        segmentation.GetParentTransformNode().GetMatrixTransformToWorld(parent)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    world = mrml.matrix_to_array(parent) @ mrml.matrix_to_array(matrix)
    index = np.argwhere(mrml.image_array(image, "") > 0) + image.GetExtent()[::2]
    return {tuple(p) for p in np.round(index @ world[:3, :3].T + world[:3, 3], 2)}


def expected_points(labels, value, affine):
    index = np.argwhere(labels == value)
    return {tuple(p) for p in np.round(index @ affine[:3, :3].T + affine[:3, 3], 2)}


# -- volumes -----------------------------------------------------------------------------------------------------------
@AFFINES
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "float64", "uint16", "int32", "bool", ">i2"])
def test_image_round_trip(app, affine, dtype):
    array = frames_of(1)[0]
    array = array > 400 if dtype == "bool" else array.astype(dtype)
    with SceneBatch(app.scene, "r") as batch:
        node = mrml.image_to_node(batch, Image(array, affine), "v")
    again = mrml.image_from_node(node)
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, affine, atol=1e-9)
    assert node.GetImageData().GetDimensions() == SHAPE


def test_image_is_a_view_and_agrees_with_mrml(app):
    with SceneBatch(app.scene, "r") as batch:
        node = mrml.image_to_node(batch, Image(frames_of(1)[0], affine_of()), "v")
    image = mrml.image_from_node(node)
    node.GetImageData().SetScalarComponentFromDouble(4, 3, 2, 0, -77)
    assert image.array[4, 3, 2] == -77
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node).transpose(2, 1, 0), image.array)
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in SHAPE])).reshape(3, -1).T
    world = image.to_world(corners)
    np.testing.assert_allclose(bounds.reshape(3, 2), np.stack([world.min(0), world.max(0)], 1), atol=1e-6)


def test_linear_parent_transforms_are_hardened(app):
    with SceneBatch(app.scene, "r") as batch:
        node = mrml.image_to_node(batch, Image(frames_of(1)[0], affine_of()), "v")
    inner = add_transform(app.scene, node, moved())
    outer = np.eye(4)
    outer[:3, 3] = 100, 0, 0
    add_transform(app.scene, inner, outer)
    np.testing.assert_allclose(mrml.image_from_node(node).affine, outer @ moved() @ affine_of(), atol=1e-9)


def test_unusable_volumes_are_refused(app):
    scene = app.scene
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(InputError, match="no voxels"):
        mrml.image_from_node(empty)
    with pytest.raises(InputError, match="scalar volume is needed"):
        mrml.image_from_node(scene.AddNewNodeByClass("vtkMRMLTableNode", "t"))
    with pytest.raises(InputError, match="no node"):
        mrml.image_from_node(None)
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "rgb")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="3 values per voxel"):
        mrml.image_from_node(colour)
    with SceneBatch(scene, "r") as batch:
        bent = mrml.image_to_node(batch, Image(frames_of(1)[0], affine_of()), "bent")
    warp = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for n, p in enumerate([(0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (30, 30, 30)]):
        source.InsertNextPoint(p)
        target.InsertNextPoint(p[0] + n, p[1], p[2])
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    warp.SetAndObserveTransformToParent(spline)
    bent.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match="bends space"):
        mrml.image_from_node(bent)


# -- sequences ---------------------------------------------------------------------------------------------------------
@AFFINES
def test_sequence_round_trip(app, affine):
    sequence, node, browser = add_cine(app.scene, affine, rr_ms=972.0, full_cycle=True, thickness_mm=8.0, modality="MR")
    proxy = browser.GetProxyNode(node)
    for given in (node, browser, proxy):
        again = mrml.sequence_from_node(given)
        assert again.voxel_hash() == sequence.voxel_hash()
        np.testing.assert_allclose(again.times_ms, sequence.times_ms)
        assert (again.rr_ms, again.full_cycle, again.thickness_mm, again.modality) == (972.0, True, 8.0, "MR")
        assert again.frame(3).dtype == np.int16
    assert np.shares_memory(again.frame(2), again.frame(2))


def test_browser_shows_the_frames(app):
    sequence, node, browser = add_cine(app.scene)
    for t in (4, 0, 2):
        browser.SetSelectedItemNumber(t)
        np.testing.assert_array_equal(mrml.image_from_node(mrml.shown_volume(node)).array, sequence.frame(t))


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("s", 1000), (" MS ", 1), ("", None), ("mm", None)])
def test_only_times_are_times(app, unit, factor):
    _, node, _ = add_cine(app.scene)
    node.SetIndexUnit(unit)
    times = mrml.sequence_from_node(node).times_ms
    if factor is None:
        assert times is None
    else:
        np.testing.assert_allclose(times, np.arange(6) * 40.5 * factor)


def test_single_volume_is_one_frame(app):
    with SceneBatch(app.scene, "r") as batch:
        node = mrml.image_to_node(batch, Image(frames_of(1)[0], affine_of()), "v")
    sequence = mrml.sequence_from_node(node)
    assert (sequence.n_frames, sequence.times_ms) == (1, None)
    np.testing.assert_array_equal(sequence.frame(0), frames_of(1)[0])


def test_transform_of_the_proxy_moves_the_sequence(app):
    _, node, browser = add_cine(app.scene)
    add_transform(app.scene, browser.GetProxyNode(node), moved())
    np.testing.assert_allclose(mrml.sequence_from_node(node).affine, moved() @ affine_of(), atol=1e-9)


def test_transform_that_changes_over_time_is_refused(app):
    _, node, browser = add_cine(app.scene)
    moving = app.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "motion")
    for t in range(6):
        transform = slicer.vtkMRMLLinearTransformNode()
        matrix = np.eye(4)
        matrix[0, 3] = t
        transform.SetMatrixTransformToParent(mrml.array_to_matrix(matrix))
        moving.SetDataNodeAtValue(transform, node.GetNthIndexValue(t))
    browser.AddSynchronizedSequenceNode(moving)
    proxy = browser.GetProxyNode(moving)
    browser.GetProxyNode(node).SetAndObserveTransformNodeID(proxy.GetID())
    with pytest.raises(InputError, match="changes over time"):
        mrml.sequence_from_node(node)


def test_frames_on_different_grids_are_refused(app):
    _, node, _ = add_cine(app.scene)
    other = affine_of()
    other[0, 3] += 2
    node.GetNthDataNode(4).SetIJKToRASMatrix(mrml.array_to_matrix(other))
    with pytest.raises(InputError, match="frame 5 lies on another grid"):
        mrml.sequence_from_node(node)
    empty = app.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "empty")
    with pytest.raises(InputError, match="empty"):
        mrml.sequence_from_node(empty)
    empty.SetDataNodeAtValue(slicer.vtkMRMLTableNode(), "0")
    with pytest.raises(InputError, match="not a scalar volume"):
        mrml.sequence_from_node(empty)


@AFFINES
@pytest.mark.parametrize("count", [1, 6])
def test_sequence_file_reads_back(tmp_path, affine, count):
    sequence = Sequence.from_array(frames_of(count), affine, times_ms=np.arange(count) * 40.5)
    path = write_sequence(tmp_path / "cine.seq.nrrd", sequence)
    array, found, header = read_frames(path)
    np.testing.assert_array_equal(array, frames_of(count))
    np.testing.assert_allclose(found, affine, atol=1e-9)
    assert array.dtype == np.int16
    assert [p.name for p in tmp_path.iterdir()] == ["cine.seq.nrrd"]
    if count > 1:
        assert header["NRRD_units[pixel]"] == "ms"
        assert [float(v) for v in header["axis 3 index values"].split()] == list(np.arange(6) * 40.5)


def test_sequence_file_is_slicers(app, tmp_path):
    """Slicer's own volume sequence reader sees the same frames, geometry and index values."""
    sequence = Sequence.from_array(frames_of(), affine_of(), times_ms=np.arange(6) * 40.5)
    storage = app.scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(write_sequence(tmp_path / "cine.seq.nrrd", sequence)))
    node = app.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "read")
    assert storage.ReadData(node)
    again = mrml.sequence_from_node(node)
    assert again.voxel_hash() == sequence.voxel_hash()
    np.testing.assert_allclose(again.times_ms, sequence.times_ms)


# -- tables and charts -------------------------------------------------------------------------------------------------
def test_measurement_table(app):
    rows = [
        Measurement("lv_edv", 142.25, "mL", low=138.0, high=147.0, level=0.9, method="summation"),
        Measurement.missing("lv_ef", "%", "single phase"),
        Measurement("cad_rads", "3", "1", site="LAD"),
    ]
    with SceneBatch(app.scene, "r") as batch:
        node = tables.measurements_to_node(batch, rows, "numbers")
    table = node.GetTable()
    columns = {table.GetColumnName(i): table.GetColumn(i) for i in range(table.GetNumberOfColumns())}
    assert table.GetNumberOfRows() == 3
    assert columns["value"].GetValue(0) == 142.25
    assert np.isnan(columns["value"].GetValue(1))
    assert columns["text"].GetValue(2) == "3"
    assert [columns["state"].GetValue(r) for r in range(3)] == ["measured", "not_assessable", "measured"]
    assert columns["reason"].GetValue(1) == "single phase"
    assert columns["unit"].GetValue(0) == "mL"
    assert (columns["low"].GetValue(0), columns["high"].GetValue(0), columns["level"].GetValue(0)) == (138, 147, 0.9)


def test_table_and_chart(app):
    table = Table(
        "curve",
        "Curve",
        {"time_ms": [0.0, 40.0, 80.0], "lv_ml": [140.0, None, 60], "note": ["a", None, "c"]},
        {"time_ms": "ms", "lv_ml": "mL"},
    )
    with SceneBatch(app.scene, "r") as batch:
        node = tables.table_to_node(batch, table)
        chart = tables.chart_to_node(batch, node, "time_ms", {"lv_ml": ("LV", (1, 0, 0))}, "Curve", "Time", "Volume")
    np.testing.assert_array_equal(slicer.util.arrayFromTableColumn(node, "lv_ml"), [140, np.nan, 60])
    assert node.GetColumnUnitLabel("lv_ml") == "mL"
    assert node.GetTable().GetColumnByName("note").GetValue(2) == "c"
    series = chart.GetNthPlotSeriesNode(0)
    assert (series.GetXColumnName(), series.GetYColumnName()) == ("time_ms", "lv_ml")
    assert series.GetTableNode() is node
    assert series.GetColor() == (1.0, 0.0, 0.0)
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Time", "Volume")


# -- segmentations -----------------------------------------------------------------------------------------------------
@AFFINES
@pytest.mark.parametrize("transformed", [False, True])
def test_segmentation_lies_where_the_labels_are(app, affine, transformed):
    with SceneBatch(app.scene, "r") as batch:
        volume = mrml.image_to_node(batch, Image(frames_of(1)[0], affine), "v")
    if transformed:
        add_transform(app.scene, volume, moved())
    image = mrml.image_from_node(volume)
    with SceneBatch(app.scene, "r") as batch:
        node = mrml.segmentation_to_node(batch, LabelMap(labels_of(1), image.affine, SEGMENTS), 0, "seg", volume)
    for segment, identity in zip(SEGMENTS, ("lv_cavity", "lv_myocardium", "rv_cavity"), strict=True):
        found = node.GetSegmentation().GetSegment(identity)
        assert found.GetName() == segment.name
        assert found.GetColor() == pytest.approx(segment.color)
        entry = found.GetTerminology().split("~")
        assert entry[1:3] == ["SCT^123037004^Anatomical Structure", f"SCT^{segment.type.value}^{segment.type.meaning}"]
        parsed = slicer.vtkSlicerTerminologyEntry()
        assert slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(found.GetTerminology(), parsed)
        assert parsed.GetTypeObject().GetCodeValue() == segment.type.value
        assert world_points(node, identity) == expected_points(labels_of(1)[0], segment.value, image.affine)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    # The results move with their input.
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()


def test_closed_surface_has_the_volume_of_the_labels(app):
    """The surface converter is there (the segmentations logic registers it) and gives the box's volume."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    labels = np.zeros((1, 40, 40, 40), np.uint8)
    labels[0, 10:30, 10:30, 10:30] = 1
    with SceneBatch(app.scene, "r") as batch:
        node = mrml.segmentation_to_node(batch, LabelMap(labels, affine, SEGMENTS), 0, "seg")
    node.GetSegmentation().SetConversionParameter("Smoothing factor", "0.0")
    assert node.CreateClosedSurfaceRepresentation()
    surface = vtk.vtkPolyData()
    assert node.GetClosedSurfaceRepresentation("lv_cavity", surface)
    triangles, mass = vtk.vtkTriangleFilter(), vtk.vtkMassProperties()
    triangles.SetInputData(surface)
    mass.SetInputConnection(triangles.GetOutputPort())
    assert mass.GetVolume() == pytest.approx(8000, rel=0.03)


@AFFINES
def test_segmentation_sequence_follows_the_browser(app, affine):
    _, node, browser = add_cine(app.scene, affine)
    labels = labels_of()
    with SceneBatch(app.scene, "r") as batch:
        proxy, sequence_node, shown = mrml.segmentation_sequence_to_node(
            batch, LabelMap(labels, affine, SEGMENTS), node, "seg"
        )
    assert shown is browser
    assert sequence_node.GetNumberOfDataNodes() == 6
    assert [sequence_node.GetNthIndexValue(t) for t in range(6)] == [node.GetNthIndexValue(t) for t in range(6)]
    assert proxy.GetNodeReference(proxy.GetReferenceImageGeometryReferenceRole()) is browser.GetProxyNode(node)
    for t in (0, 4, 2):
        browser.SetSelectedItemNumber(t)
        assert browser.GetProxyNode(sequence_node) is proxy
        assert world_points(proxy, "lv_cavity") == expected_points(labels[t], 1, affine)
        assert proxy.GetNodeReference(proxy.GetReferenceImageGeometryReferenceRole()) is browser.GetProxyNode(node)
    with pytest.raises(ValueError), SceneBatch(app.scene, "r2") as batch:
        mrml.segmentation_sequence_to_node(batch, LabelMap(labels[:3], affine, SEGMENTS), node, "seg")


def test_browser_is_made_for_a_sequence_without_one(app):
    frames = frames_of(3)
    node = app.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "bare")
    for t in range(3):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(frames[t].transpose(2, 1, 0)))
        node.SetDataNodeAtValue(volume, str(t))
    with SceneBatch(app.scene, "r") as batch:
        proxy, _, browser = mrml.segmentation_sequence_to_node(
            batch, LabelMap(labels_of(3), np.eye(4), SEGMENTS), node, "seg"
        )
    assert browser.GetMasterSequenceNode() is node
    browser.SetSelectedItemNumber(2)
    np.testing.assert_array_equal(mrml.image_from_node(browser.GetProxyNode(node)).array, frames[2])
    assert world_points(proxy, "lv_cavity") == expected_points(labels_of(3)[2], 1, np.eye(4))
    assert remove_run(app.scene, "r") >= 4
    assert [n.GetName() for n in nodes_of(app.scene) if n.IsA("vtkMRMLSequenceBrowserNode")] == []
    assert node.GetNumberOfDataNodes() == 3


# -- a reader's labels -------------------------------------------------------------------------------------------------
@AFFINES
def test_labels_come_back(app, affine):
    sequence, node, _ = add_cine(app.scene, affine)
    labels = LabelMap(labels_of(), affine, SEGMENTS)
    with SceneBatch(app.scene, "r") as batch:
        proxy, sequence_node, _ = mrml.segmentation_sequence_to_node(batch, labels, node, "seg")
    for given in (proxy, sequence_node):
        np.testing.assert_array_equal(labels_from_node(given, sequence, SEGMENTS).array, labels.array)


def test_labels_by_name_on_a_cropped_grid(app):
    """A reader's own segmentation: other ids, no coded meaning, one layer each, a smaller extent."""
    affine, labels = affine_of(), labels_of(1)[0]
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    for value, name in ((1, "LV"), (2, "Myocardium"), (3, "something else")):
        inside = np.argwhere(labels == value)
        lower, upper = inside.min(0), inside.max(0) + 1
        box = labels[lower[0] : upper[0], lower[1] : upper[1], lower[2] : upper[2]] == value
        image = slicer.vtkOrientedImageData()
        mrml._vtk_image(box, image)
        image.SetExtent(*np.stack([lower, upper - 1], 1).ravel().tolist())
        image.SetGeometryFromImageToWorldMatrix(mrml.array_to_matrix(affine))
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation(LABELMAP, image)
        node.GetSegmentation().AddSegment(segment)
    grid = Sequence.from_array(frames_of(1), affine)
    found = labels_from_node(node, grid, SEGMENTS).array[0]
    np.testing.assert_array_equal(found, np.where(labels == 3, 0, labels))


def test_label_volume_and_frames(app):
    affine = affine_of()
    sequence, node, _ = add_cine(app.scene, affine)
    with SceneBatch(app.scene, "r") as batch:
        label = mrml.image_to_node(batch, Image(labels_of(1)[0], affine), "l", "vtkMRMLLabelMapVolumeNode")
    found = labels_from_node(label, sequence, SEGMENTS, ed_frame=3)
    assert found.key_frames == {"ed": 2}
    np.testing.assert_array_equal(found.array[2], labels_of(1)[0])
    assert not found.array[[0, 1, 3, 4, 5]].any()
    with pytest.raises(InputError, match=r"1 frame\(s\) of labels for 6"):
        labels_from_node(label, sequence, SEGMENTS)
    with pytest.raises(InputError, match="frames 1 to 6"):
        labels_from_node(label, sequence, SEGMENTS, ed_frame=7)
    partial = app.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "two frames")
    for t in (1, 4):
        frame = slicer.vtkMRMLLabelMapVolumeNode()
        frame.SetIJKToRASMatrix(mrml.array_to_matrix(affine))
        frame.SetAndObserveImageData(mrml._vtk_image(labels_of()[t], vtk.vtkImageData()))
        partial.SetDataNodeAtValue(frame, node.GetNthIndexValue(t))
    found = labels_from_node(partial, sequence, SEGMENTS, input_node=node)
    np.testing.assert_array_equal(found.array[[1, 4]], labels_of()[[1, 4]])
    assert not found.array[[0, 2, 3, 5]].any()
    far = affine.copy()
    far[:3, 3] += 500
    label.SetIJKToRASMatrix(mrml.array_to_matrix(far))
    with pytest.raises(InputError, match="none of the labels"):
        labels_from_node(label, sequence, SEGMENTS, ed_frame=1)
    with pytest.raises(InputError, match="segmentation or a label volume"):
        labels_from_node(node, sequence, SEGMENTS)


# -- batches -----------------------------------------------------------------------------------------------------------
def snapshot(scene):
    """What must be as it was after a failed batch."""
    hierarchy = scene.GetSubjectHierarchyNode()
    items, stack = [], [hierarchy.GetSceneItemID()]
    while stack:
        item = stack.pop()
        items.append((item, hierarchy.GetItemName(item), hierarchy.GetItemParent(item)))
        stack += children_of(hierarchy, item)
    browsers = [(b.GetNumberOfSynchronizedSequenceNodes(True), b.GetSelectedItemNumber()) for b in mrml.browsers(scene)]
    return [(n.GetID(), n.GetName()) for n in nodes_of(scene)], items, browsers


def test_a_failed_batch_leaves_no_trace(app):
    _, node, browser = add_cine(app.scene)
    before = snapshot(app.scene)

    def half(batch):
        folder = batch.folder_beside(browser.GetProxyNode(node), "results")
        table = tables.measurements_to_node(batch, [Measurement("lv_ef", 55.0, "%")], "numbers")
        batch.place(table, folder)
        labels = LabelMap(labels_of(), affine_of(), SEGMENTS)
        batch.place(mrml.segmentation_sequence_to_node(batch, labels, node, "seg")[0], folder)
        assert len(batch.added()) > 4
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"), SceneBatch(app.scene, "r") as batch:
        half(batch)
    assert snapshot(app.scene) == before
    assert not app.scene.IsBatchProcessing()
    browser.SetSelectedItemNumber(3)  # and the browser still works
    assert browser.GetNumberOfSynchronizedSequenceNodes() == 0


def test_one_batch_and_removable_run(app):
    _, node, _ = add_cine(app.scene)
    before = snapshot(app.scene)
    events = []
    app.scene.AddObserver(app.scene.EndBatchProcessEvent, lambda *_: events.append(1))
    with SceneBatch(app.scene, "run-7") as batch:
        mrml.segmentation_sequence_to_node(batch, LabelMap(labels_of(), affine_of(), SEGMENTS), node, "seg")
        added = batch.added()
    assert len(events) == 1
    assert {"vtkMRMLSegmentationNode", "vtkMRMLSequenceNode", "vtkMRMLSegmentationDisplayNode"} <= {
        n.GetClassName() for n in added
    }
    assert all(n.GetAttribute(RUN_ATTRIBUTE) == "run-7" for n in added)
    assert node.GetAttribute(RUN_ATTRIBUTE) == "input"
    remove_run(app.scene, "run-7")
    assert snapshot(app.scene) == before
    assert remove_run(app.scene, "run-7") == 0


def test_results_are_placed_in_the_study(app):
    _, node, browser = add_cine(app.scene)
    hierarchy = app.scene.GetSubjectHierarchyNode()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    inner = hierarchy.CreateFolderItem(study, "series")
    proxy = browser.GetProxyNode(node)
    hierarchy.CreateItem(inner, proxy)
    with SceneBatch(app.scene, "r") as batch:
        folder = batch.folder_beside(proxy, "results")
        table = tables.measurements_to_node(batch, [Measurement("lv_ef", 55.0, "%")], "numbers")
        batch.place(table, folder)
    assert hierarchy.GetItemParent(folder) == study
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)) == folder
    mine = app.scene.AddNewNodeByClass("vtkMRMLTableNode", "user's own")
    kept = hierarchy.CreateItem(folder, mine)
    remove_run(app.scene, "r")
    assert hierarchy.GetItemParent(kept) == study  # what the user put into the folder is not lost
    assert hierarchy.GetItemName(folder) == ""
