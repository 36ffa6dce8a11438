"""Faulty cine DICOM: each fault is named, and none gives a silently wrong stack."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.cine import load_cine_sax
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from dicom_cases import (
    NI,
    NJ,
    STEP,
    K,
    affine_of,
    check_same_world,
    codes,
    edit,
    frames_of,
    interpolated,
    of_slice,
    write,
)
from scipy.spatial.transform import Rotation


@pytest.mark.parametrize("style", ["siemens", "ge"])
def test_one_interior_slice_missing(tmp_path, style):
    files, frames, affine = write(tmp_path, style)
    for f in of_slice(files, 3):
        f.unlink()
    stack = load_cine_sax(tmp_path)
    assert stack.usable
    assert codes(stack.findings, "warning") == {"slice_missing"}
    assert len(stack.interpolated_slices) == 1
    check_same_world(stack.sequence, interpolated(frames, 3), affine)


@pytest.mark.parametrize("gone", [(2, 3), (2, 4), (1, 2, 3, 4), (1, 3)])
def test_more_slices_missing(tmp_path, gone):
    files, _, _ = write(tmp_path, "siemens")
    for k in gone:
        for f in of_slice(files, k):
            f.unlink()
    stack = load_cine_sax(tmp_path)
    assert not stack.usable
    assert f"{len(gone)} interior slices are missing" in stack.unusable_reason
    assert next(f.count for f in stack.findings if f.code == "slices_missing") == len(gone)


def test_every_other_slice_missing_is_seen_from_the_thickness(tmp_path):
    files, _, _ = write(tmp_path, "siemens", thickness_mm=7.0)
    for k in (1, 3, 5):
        for f in of_slice(files, k):
            f.unlink()
    assert "slices_far_apart" in codes(load_cine_sax(tmp_path).findings, "warning")


def test_missing_frame(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    of_slice(files, 4)[5].unlink()
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"frames_missing"}
    neighbour = frames.copy()
    neighbour[5, ..., 4] = frames[4, ..., 4]
    other = frames.copy()
    other[5, ..., 4] = frames[6, ..., 4]
    k = np.rint((affine @ [0, 0, 4, 1] - stack.sequence.affine[:, 3])[:3] @ stack.sequence.affine[:3, 2] / STEP**2)
    taken = stack.sequence.frame(5)[..., int(k)]
    stand_in = neighbour if (taken == neighbour[5, ..., 4]).all() else other
    check_same_world(stack.sequence, stand_in, affine)


def test_half_of_the_frames_missing_is_a_missing_slice(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    for f in of_slice(files, 4)[6:]:
        f.unlink()
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"slice_incomplete", "slice_missing"}
    check_same_world(stack.sequence, interpolated(frames, 4), affine)


def test_truncated_file(tmp_path):
    files, _, _ = write(tmp_path, "ge")
    broken = of_slice(files, 2)[3]
    broken.write_bytes(broken.read_bytes()[:-20])
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"truncated", "frames_missing"}


def test_cut_off_in_the_header(tmp_path):
    files, _, _ = write(tmp_path, "ge")
    broken = of_slice(files, 2)[3]
    broken.write_bytes(broken.read_bytes()[:700])
    stack = load_cine_sax(tmp_path)
    assert "frames_missing" in codes(stack.findings, "warning")
    assert codes(stack.findings, "warning") & {"truncated", "unreadable"}


def test_file_copied_twice(tmp_path):
    files, frames, affine = write(tmp_path, "ge")
    shutil.copy(files[10], tmp_path / "copy of it")
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert codes(stack.findings) == {"duplicate_file"}


def test_duplicated_slice_in_one_series(tmp_path):
    """The same slice exported twice under new instance UIDs."""
    files, frames, affine = write(tmp_path, "ge")
    for n, f in enumerate(of_slice(files, 2)):
        copy = tmp_path / f"again{n}"
        shutil.copy(f, copy)
        edit(copy, SOPInstanceUID=f"1.2.3.4.{n + 1}")
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert codes(stack.findings, "warning") <= {"frame_repeated", "slice_repeated"}
    assert codes(stack.findings, "warning")


@pytest.mark.parametrize("same_series", [True, False])
@pytest.mark.parametrize("aside_mm", [0.0, 1.5])
def test_later_acquisition_wins(tmp_path, same_series, aside_mm):
    affine = affine_of()
    files, frames, _ = write(tmp_path, "ge")
    again = frames_of(k=1, seed=9)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 2] / STEP * (3 * STEP + aside_mm)
    later = write_cine_dicom(tmp_path, again, moved, style="ge", seed=0, first_series=40, start_s=38000.0, rr_ms=950.0)
    if same_series:
        uid = pydicom.dcmread(files[0]).SeriesInstanceUID
        for f in later:
            edit(f, SeriesInstanceUID=uid)
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") <= {"slice_repeated", "spacing_uneven"}
    assert "slice_repeated" in codes(stack.findings)
    frames[..., 3] = again[..., 0]
    check_same_world(stack.sequence, frames, affine, atol=1e-2)


def test_mixed_matrix_sizes(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    for f in of_slice(files, 3):
        ds = pydicom.dcmread(f)
        ds.Rows, ds.PixelData = NJ - 2, ds.PixelData[: (NJ - 2) * NI * 2]
        ds.save_as(f)
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"grid_differs", "slice_missing"}
    check_same_world(stack.sequence, interpolated(frames, 3), affine)


@pytest.mark.parametrize("degrees", [3.0, 12.0])
def test_non_parallel_slice(tmp_path, degrees):
    files, frames, affine = write(tmp_path, "siemens")
    for f in of_slice(files, 3):
        ds = pydicom.dcmread(f)
        axes = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        turned = Rotation.from_rotvec(np.radians(degrees) * axes[0]).apply(axes[1])
        edit(f, ImageOrientationPatient=[f"{x:.9f}" for x in [*axes[0], *turned]])
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"non_parallel_slice", "slice_missing"}
    check_same_world(stack.sequence, interpolated(frames, 3), affine)


def test_sheared_stack_is_named(tmp_path):
    affine = affine_of()
    affine[:3, 2] += affine[:3, 0] * 2
    write(tmp_path, "philips", affine=affine)
    assert "slice_offset" in codes(load_cine_sax(tmp_path).findings, "warning")


def test_rescale_that_differs_between_slices(tmp_path):
    files, frames, affine = write(tmp_path, "philips", t=3)
    for k in range(K):
        for f in of_slice(files, k, 3):
            edit(f, RescaleSlope=str(1 + k), RescaleIntercept=str(-10 * k))
    scaled = frames * (1.0 + np.arange(K)) - 10.0 * np.arange(K)
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, scaled.astype(np.float32), affine)
    assert stack.sequence.frame(0).dtype == np.float32
