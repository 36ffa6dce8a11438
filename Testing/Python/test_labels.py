"""A reader's labels: values, frames, grids."""

from __future__ import annotations

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Image, Sequence, write_nifti
from CardioPrecisionLib.labels import LabelSource, read_labels
from CardioPrecisionLib.measurement import Code
from CardioPrecisionLib.segfile import write_seg_nrrd
from conftest import oblique_affine
from threshold_analysis import SCHEMES, SEGMENTS

AFFINE = oblique_affine(spacing=(1.5, 1.5, 8.0))


def heart(shape=(20, 18, 4)):
    """A ring of myocardium around the LV cavity and an RV beside it, in our values."""
    i, j = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(i - 8, j - 9)
    plane = np.where(radius < 3, 1, np.where(radius < 5, 2, np.where((i >= 13) & (i < 18) & (abs(j - 9) < 3), 3, 0)))
    labels = np.zeros(shape, np.uint8)
    labels[:, :, 1:-1] = plane[:, :, None]
    return labels


def cine(n, shape=(20, 18, 4), affine=AFFINE):
    return Sequence.from_array(np.zeros((n, *shape), np.int16), affine)


def write(path, array, affine=AFFINE):
    write_nifti(path, array, affine)
    return path


def read(source, data):
    return read_labels(source, data, SEGMENTS, SCHEMES)


def test_all_frames(tmp_path):
    labels = np.stack([heart()] * 3)
    path = write(tmp_path / "l.nii.gz", labels)
    found, warnings, record = read(LabelSource((path,)), cine(3))
    assert np.array_equal(found.array, labels)
    assert not warnings
    assert record["frames"] == "all"
    assert record["files"] == ["l.nii.gz"]


def test_acdc_values_and_mix_up(tmp_path):
    acdc = np.choose(heart(), (0, 3, 2, 1)).astype(np.uint8)
    path = write(tmp_path / "l.nii.gz", acdc)
    found, warnings, _ = read(LabelSource((path,), "acdc"), cine(1))
    assert np.array_equal(found.array[0], heart())
    assert not warnings
    found, warnings, _ = read(LabelSource((path,)), cine(1))
    assert len(warnings) == 1
    assert "exchanged" in warnings[0]


def test_ed_and_es_only(tmp_path):
    ed, es = write(tmp_path / "ed.nii.gz", heart()), write(tmp_path / "es.nii.gz", np.where(heart() == 1, 2, heart()))
    both = write(tmp_path / "both.nii.gz", np.stack([heart(), np.where(heart() == 1, 2, heart())]))
    for paths in ((ed, es), (both,)):
        found, _, record = read(LabelSource(paths, ed_frame=10, es_frame=4), cine(10))
        assert found.array.shape == (10, 20, 18, 4)
        assert found.key_frames == {"ed": 9, "es": 3}
        assert [t for t in range(10) if found.array[t].any()] == [3, 9]
        assert np.array_equal(found.array[9], heart())
        assert record["frames"] == [4, 10] or record["frames"] == [10, 4]
    one, _, _ = read(LabelSource((es,), es_frame=4), cine(10))
    assert one.key_frames == {"es": 3}


@pytest.mark.parametrize(
    ("count", "named", "said"),
    [
        (1, {}, "say which one"),
        (1, {"ed_frame": 1, "es_frame": 5}, "say which one"),
        (2, {"ed_frame": 1}, "say which ones"),
        (3, {"ed_frame": 1, "es_frame": 5}, "labels for 3 frames"),
        (1, {"ed_frame": 11}, "frames 1 to 10"),
        (1, {"ed_frame": 0}, "frames 1 to 10"),
        (2, {"ed_frame": 2, "es_frame": 2}, "same frame"),
    ],
)
def test_frames_that_do_not_fit(tmp_path, count, named, said):
    path = write(tmp_path / "l.nii.gz", np.stack([heart()] * count))
    with pytest.raises(InputError, match=said):
        read(LabelSource((path,), **named), cine(10))


def test_partly_labelled_file(tmp_path):
    labels = np.zeros((6, 20, 18, 4), np.uint8)
    labels[[0, 3]] = heart()
    path = write(tmp_path / "l.nii.gz", labels)
    found, warnings, record = read(LabelSource((path,)), cine(6))
    assert np.array_equal(found.array, labels)
    assert "2 of 6 frames" in warnings[0]
    assert record["frames"] == [1, 4]
    with pytest.raises(InputError, match="no labels in frame 2"):
        read(LabelSource((path,), ed_frame=2), cine(6))


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_flipped_and_turned_storage_is_the_same_place(tmp_path, axes):
    """The same voxels stored in another order are moved without loss and without a warning."""
    flipped, affine = heart(), AFFINE.copy()
    for axis in axes:
        flipped = np.flip(flipped, axis)
        affine[:3, 3] += affine[:3, axis] * (heart().shape[axis] - 1)
        affine[:3, axis] *= -1
    turned, turn = flipped.transpose(1, 0, 2), affine[:, [1, 0, 2, 3]]
    for n, (array, grid) in enumerate(((flipped, affine), (turned, turn))):
        path = write(tmp_path / f"{n}.nii.gz", np.ascontiguousarray(array), grid)
        found, warnings, _ = read(LabelSource((path,)), cine(1))
        assert np.array_equal(found.array[0], heart())
        assert not warnings


def test_finer_grid_is_resampled_and_told(tmp_path):
    fine = np.repeat(np.repeat(heart(), 2, 0), 2, 1)
    affine = AFFINE @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    found, warnings, _ = read(LabelSource((write(tmp_path / "l.nii.gz", fine, affine),)), cine(1))
    assert np.array_equal(found.array[0], heart())
    assert "another grid" in warnings[0]


def test_labels_of_another_place_or_size(tmp_path):
    moved = AFFINE.copy()
    moved[:3, 3] += 300
    with pytest.raises(InputError, match=r"100 % of the labels .* outside"):
        read(LabelSource((write(tmp_path / "l.nii.gz", heart(), moved),)), cine(1))
    big = np.zeros((40, 40, 8), np.uint8)
    big[25:35, 25:35] = 1
    with pytest.raises(InputError, match="outside"):
        read(LabelSource((write(tmp_path / "b.nii.gz", big),)), cine(1))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((20, 18, 4), np.uint8), "none of the label values"),
        (np.full((20, 18, 4), 7, np.uint8), "none of the label"),
        (np.full((20, 18, 4), 0.5, np.float32), "whole numbers"),
        (np.full((20, 18, 4), np.nan, np.float32), "whole numbers"),
    ],
)
def test_no_labels(tmp_path, array, said):
    with pytest.raises(InputError, match=said):
        read(LabelSource((write(tmp_path / "l.nii.gz", array),)), cine(1))


def test_float_labels_and_strange_values(tmp_path):
    labels = heart().astype(np.float32)
    labels[0, 0, 0] = 9
    found, warnings, _ = read(LabelSource((write(tmp_path / "l.nii.gz", labels),)), cine(1))
    assert np.array_equal(found.array[0], heart())
    assert "value 9 has no meaning" in warnings[0]


def test_files_that_are_no_labels(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(LabelSource((tmp_path / "none.nii.gz",)), cine(1))
    (tmp_path / "l.txt").write_text("x")
    for path in (tmp_path, tmp_path / "l.txt"):
        with pytest.raises(InputError, match="labels are read from"):
            read(LabelSource((path,)), cine(1))
    with pytest.raises(InputError, match="label-scheme"):
        read(LabelSource((tmp_path,), "other"), cine(1))


def test_slicer_segmentation_by_terminology_and_name(tmp_path):
    """Label values of a .seg.nrrd mean nothing by themselves: codes and names do."""
    shuffled = np.choose(heart(), (0, 5, 6, 4)).astype(np.uint8)
    shuffled[0, 0, 0] = 9
    wrong = Code("SCT", "85756007", "Tissue")
    stored = tuple(
        type(s)(v, name, s.color, s.category, kind)
        for s, v, name, kind in (
            (SEGMENTS[0], 5, "something", SEGMENTS[0].type),  # by code
            (SEGMENTS[1], 6, "LV Myo", SEGMENTS[0].type),  # the chamber's code, but a wall by name
            (SEGMENTS[2], 4, "Right ventricle", wrong),  # by name
            (SEGMENTS[2], 9, "Scribble", wrong),
        )
    )
    path = tmp_path / "l.seg.nrrd"
    write_seg_nrrd(path, shuffled, AFFINE, stored)
    found, warnings, _ = read(LabelSource((path,), ed_frame=2), cine(3))
    assert np.array_equal(found.array[1], heart())
    assert warnings == ["l.seg.nrrd: 1 segment(s) that are none of LV cavity, LV myocardium, RV cavity were ignored."]
    write_seg_nrrd(path, shuffled, AFFINE, stored[3:])
    with pytest.raises(InputError, match="none of its segments"):
        read(LabelSource((path,)), cine(1))


def test_several_label_images_for_one_image(tmp_path):
    image = Image(np.zeros((6, 5, 4), np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    paths = []
    for n in (1, 2):
        paths.append(tmp_path / f"labels{n}.nii.gz")
        write_nifti(paths[-1], np.full(image.shape, n, np.uint8), image.affine)
    with pytest.raises(InputError, match="the input is one image; give one label image"):
        read_labels(LabelSource(tuple(paths)), image, SEGMENTS, SCHEMES)
