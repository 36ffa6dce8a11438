"""``.seg.nrrd`` as 3D Slicer reads it: voxel positions, names, colours, terminology."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from CardioPrecisionLib.analysis import Segment
from CardioPrecisionLib.measurement import Code
from CardioPrecisionLib.segfile import read_seg_nrrd, stored_segments, terminology_entry, write_seg_nrrd
from conftest import oblique_affine
from threshold_analysis import SEGMENTS

GRIDS = {
    "aligned": oblique_affine(degrees=(0, 0, 0)),
    "oblique": oblique_affine(),
    "flipped": oblique_affine(degrees=(0, 0, 0), flip=(0,)),
    "oblique flipped": oblique_affine(flip=(0, 2)),
}


@pytest.fixture
def labels():
    array = np.zeros((9, 8, 5), np.uint8)
    array[2:5, 3:6, 1:4] = 1
    array[5, 3:6, 2] = 2
    return array  # the third segment stays empty


@pytest.fixture(scope="module")
def storage():
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (extra 'mrml')")
    return slicer, pytest.importorskip("vtk")


def in_slicer(modules, path):
    """(scene, segmentation node) of a file opened with MRML's own reader."""
    scene = modules[0].vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    store = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    store.SetFileName(str(path))
    assert store.ReadData(node)
    return scene, node


def voxels_in_world(modules, node, segment_id):
    """RAS positions of a segment's voxels, rounded, as Slicer has them."""
    vtk = modules[1]
    from vtkmodules.util.numpy_support import vtk_to_numpy

    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation("Binary labelmap")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_world = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    extent = image.GetExtent()
    size = [extent[2 * a + 1] - extent[2 * a] + 1 for a in range(3)]
    if min(size) <= 0:
        return np.zeros((0, 3))
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1]).transpose(2, 1, 0)
    index = np.argwhere(array == segment.GetLabelValue()) + np.array(extent[::2])
    return index @ to_world[:3, :3].T + to_world[:3, 3]


def same_points(a, b):
    order = lambda p: p[np.lexsort(np.round(p, 2).T)]  # noqa: E731
    return a.shape == b.shape and np.allclose(order(a), order(b), atol=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
def test_slicer_reads_it(tmp_path, storage, labels, grid):
    affine = GRIDS[grid]
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(path, labels, affine, SEGMENTS)
    _scene, node = in_slicer(storage, path)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    for n, wanted in enumerate(SEGMENTS):
        identity = segmentation.GetNthSegmentID(n)
        segment = segmentation.GetSegment(identity)
        assert segment.GetName() == wanted.name
        assert segment.GetColor() == pytest.approx(wanted.color, abs=1e-3)
        assert segment.GetLabelValue() == wanted.value
        entry = storage[1].reference("")
        assert segment.GetTag("TerminologyEntry", entry)
        parts = entry.get().split("~")
        assert parts[1] == "SCT^123037004^Anatomical Structure"
        assert parts[2] == f"SCT^{wanted.type.value}^{wanted.type.meaning}"
        index = np.argwhere(labels == wanted.value)
        mine = index @ affine[:3, :3].T + affine[:3, 3]
        assert same_points(voxels_in_world(storage, node, identity), mine)


@pytest.mark.parametrize("grid", GRIDS)
def test_read_back(tmp_path, labels, grid):
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(path, labels, GRIDS[grid], SEGMENTS)
    array, affine, segments = read_seg_nrrd(path)
    assert np.array_equal(array, labels[None])
    assert np.allclose(affine, GRIDS[grid], atol=1e-5)
    assert [(s.name, s.value, s.layer, s.type) for s in segments] == [(s.name, s.value, 0, s.type) for s in SEGMENTS]


def test_slicer_file_is_read(tmp_path, storage, labels):
    """What Slicer itself saves, cropped or not, is read with the same positions and terminology."""
    affine = GRIDS["oblique flipped"]
    write_seg_nrrd(tmp_path / "a.seg.nrrd", labels, affine, SEGMENTS)
    mine = np.argwhere(labels == 1) @ affine[:3, :3].T + affine[:3, 3]
    for crop in (False, True):
        scene, node = in_slicer(storage, tmp_path / "a.seg.nrrd")
        store = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        store.SetCropToMinimumExtent(crop)
        saved = tmp_path / f"slicer{crop}.seg.nrrd"
        store.SetFileName(str(saved))
        assert store.WriteData(node)
        array, found, segments = read_seg_nrrd(saved)
        cavity = next(s for s in segments if s.type.value == "87878005")
        index = np.argwhere(array[cavity.layer] == cavity.value)
        assert same_points(index @ found[:3, :3].T + found[:3, 3], mine)
        assert crop == (array.shape[1:] != labels.shape)


def test_same_bytes_again_and_wide_labels(tmp_path, labels):
    for name in ("a", "b"):
        write_seg_nrrd(tmp_path / f"{name}.seg.nrrd", labels, np.eye(4), SEGMENTS)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()
    wide = labels.astype(np.uint16) * 300
    write_seg_nrrd(tmp_path / "w.seg.nrrd", wide, np.eye(4), SEGMENTS[:1])
    assert np.array_equal(read_seg_nrrd(tmp_path / "w.seg.nrrd")[0][0], wide)
    with pytest.raises(ValueError, match="8 or 16 bit"):
        write_seg_nrrd(tmp_path / "f.seg.nrrd", labels.astype(float), np.eye(4), SEGMENTS)


def test_names_that_would_break_the_header(tmp_path, labels):
    odd = Segment(1, "Höhle\nlinks", (1, 0, 0), Code("SCT", "1", "a~b"), Code("SCT", "2", "c^d|e"))
    write_seg_nrrd(tmp_path / "a.seg.nrrd", labels, np.eye(4), (odd, odd))
    segments = read_seg_nrrd(tmp_path / "a.seg.nrrd")[2]
    assert [s.name for s in segments] == ["Höhle links"] * 2
    assert segments[0].type == Code("SCT", "2", "c d e")
    assert terminology_entry(odd).count("~") == 6


def test_files_of_older_slicers():
    """Before layers, each segment was its own binary component."""
    header = {f"Segment{n}_{k}": v for n, k in itertools.product(range(2), ("ID", "Name")) for v in [f"s{n}"]}
    assert [(s.name, s.layer, s.value) for s in stored_segments(header)] == [("s0", 0, 1), ("s1", 1, 1)]
