"""Faulty CT series: each fault is named, and none gives a silently wrong volume."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.ct import load_ct
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from ct_cases import (
    STEP,
    K,
    N,
    affine_of,
    check_same_world,
    set_pixels,
    thorax,
    write_ct,
)
from dicom_cases import codes, edit


# -- slices ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("gone", [(4,), (3, 4), (2, 7), (1, 10)])
def test_missing_slices_make_it_unusable(tmp_path, gone):
    hu = thorax()
    files = write_ct(tmp_path, hu)
    for k in gone:
        files[k].unlink()
    volume = load_ct(tmp_path)
    assert not volume.usable
    assert volume.unusable_reason.startswith(f"{len(gone)} interior slice")
    assert next(f.count for f in volume.findings if f.code == "slices_missing") == len(gone)
    assert volume.details["missing_slices"] == sorted(gone)
    hu[..., list(gone)] = -1024
    check_same_world(volume.image, hu, affine_of())


def test_slices_missing_at_the_ends_are_only_a_shorter_volume(tmp_path):
    hu = thorax()
    files = write_ct(tmp_path, hu)
    files[0].unlink()
    files[-1].unlink()
    volume = load_ct(tmp_path)
    assert volume.usable
    affine = affine_of()
    affine[:3, 3] += affine[:3, 2]
    check_same_world(volume.image, hu[..., 1:-1], affine)


def test_truncated_file_is_a_missing_slice(tmp_path):
    files = write_ct(tmp_path)
    files[5].write_bytes(files[5].read_bytes()[:-100])
    volume = load_ct(tmp_path)
    assert not volume.usable
    assert codes(volume.findings) == {"truncated", "slices_missing"}


def _move(file, mm):
    ds = pydicom.dcmread(file)
    x, y, z = ds.ImagePositionPatient
    edit(file, ImagePositionPatient=[x, y, f"{z + mm:.6g}"])


def test_uneven_by_less_than_a_tenth(tmp_path):
    hu = thorax()
    files = write_ct(tmp_path, hu)
    for k, f in enumerate(files):
        _move(f, (0.2, -0.1)[k % 2])
    volume = load_ct(tmp_path)
    assert volume.usable
    assert codes(volume.findings) == {"spacing_uneven"}
    assert volume.acquisition.increment_mm == pytest.approx(STEP, abs=0.03)
    check_same_world(volume.image, hu, affine_of(), atol=0.3)


@pytest.mark.parametrize("mm", [0.5, 1.2, -1.0])
def test_uneven_by_more(tmp_path, mm):
    files = write_ct(tmp_path)
    _move(files[6], mm)
    volume = load_ct(tmp_path)
    assert not volume.usable
    assert "unevenly spaced" in volume.unusable_reason


def test_a_slice_far_away_is_not_laid_out(tmp_path):
    files = write_ct(tmp_path)
    _move(files[-1], 90000.0)
    volume = load_ct(tmp_path)
    assert not volume.usable
    assert "slices_missing" in codes(volume.findings, "error")
    assert volume.image.shape == (N, N, K)


def test_two_increments_in_one_series(tmp_path):
    files = write_ct(tmp_path)
    for k, f in enumerate(files[7:]):
        _move(f, 1.5 * (k + 1))
    assert not load_ct(tmp_path).usable


def test_positions_rounded_to_a_tenth(tmp_path):
    hu, affine = thorax(), affine_of((0.4, 0.4, 0.625))
    for f in write_ct(tmp_path, hu, affine):
        ds = pydicom.dcmread(f)
        edit(f, ImagePositionPatient=[f"{x:.1f}" for x in ds.ImagePositionPatient])
    volume = load_ct(tmp_path)
    assert volume.usable
    assert volume.findings == []
    assert volume.acquisition.increment_mm == pytest.approx(0.625, abs=0.01)


def test_overlapping_slices(tmp_path):
    write_ct(tmp_path, SliceThickness="5")
    volume = load_ct(tmp_path)
    assert volume.usable
    assert codes(volume.findings) == {"overlap"}
    assert (volume.acquisition.thickness_mm, volume.acquisition.increment_mm) == (5.0, STEP)


@pytest.mark.parametrize(("thickness", "severity"), [("2.5", "warning"), ("1", "error")])
def test_slices_apart(tmp_path, thickness, severity):
    write_ct(tmp_path, SliceThickness=thickness)
    volume = load_ct(tmp_path)
    assert codes(volume.findings, severity) == {"slices_far_apart"}
    assert volume.usable == (severity == "warning")


def test_duplicates_latest_is_taken(tmp_path):
    hu = thorax()
    write_ct(tmp_path / "one", hu)
    again = write_ct(tmp_path / "two", thorax(seed=3))
    for k, f in enumerate(again):
        if k == 5:
            edit(f, SOPInstanceUID="1.2.3.4.5", AcquisitionTime="110000")
        else:
            f.unlink()
    hu[..., 5] = thorax(seed=3)[..., 5]
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert codes(volume.findings) == {"slice_repeated"}


def test_file_copied(tmp_path):
    files = write_ct(tmp_path)
    shutil.copy(files[3], tmp_path / "copy")
    volume = load_ct(tmp_path)
    assert volume.usable
    assert codes(volume.findings) == {"duplicate_file"}


def test_gantry_tilt_is_kept(tmp_path):
    hu, affine = thorax(), affine_of(tilt_deg=18)
    write_ct(tmp_path, hu, affine, SliceThickness="3", GantryDetectorTilt="18")
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine)
    assert codes(volume.findings) == {"gantry_tilt"}
    assert volume.details["gantry_tilt_deg"] == pytest.approx(18, abs=0.01)
    assert volume.acquisition.increment_mm == pytest.approx(STEP, abs=1e-3)
    assert volume.image.voxel_ml == pytest.approx(0.7 * 0.8 * STEP / 1000, rel=1e-4)


def test_gantry_tilt_that_the_positions_do_not_show(tmp_path):
    write_ct(tmp_path, GantryDetectorTilt="12")
    assert codes(load_ct(tmp_path).findings) == {"tilt_disagrees"}


def _series_of(file):
    return pydicom.dcmread(file).SeriesInstanceUID


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        ({"n": 48}, "grid_differs"),
        ({"spacing": (0.9, 0.8, STEP)}, "grid_differs"),
        ({"turn": (0.1, 0.0, 0.0)}, "non_parallel_slice"),
        ({"turn": (1.5, 0.0, 0.0)}, "orientation_differs"),
        ({"turn": (0.0, 0.0, 0.3)}, "orientation_differs"),
    ],
)
def test_a_slice_that_does_not_belong(tmp_path, odd, code):
    hu = thorax()
    files = write_ct(tmp_path / "a", hu)
    affine = affine_of(odd.get("spacing", (0.7, 0.8, STEP)))
    if "turn" in odd:
        from scipy.spatial.transform import Rotation

        affine[:3, :3] = Rotation.from_rotvec(odd["turn"]).as_matrix() @ affine[:3, :3]
    other = write_ct(tmp_path / "b", thorax(1, n=odd.get("n", N)), affine, series=6, SliceThickness="3")
    edit(other[0], SeriesInstanceUID=_series_of(files[0]), SeriesNumber=5)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert code in codes(volume.findings, "warning")


# -- refused -----------------------------------------------------------------------------------------------------------
def test_nothing_usable(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        load_ct(tmp_path / "nowhere")
    with pytest.raises(InputError, match="the folder is empty"):
        load_ct(tmp_path)
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(InputError, match="none of the 1 file is DICOM"):
        load_ct(tmp_path)


@pytest.mark.parametrize("modality", ["PT", "US"])
def test_another_modality(tmp_path, modality):
    write_ct(tmp_path, Modality=modality)
    with pytest.raises(InputError, match=f"there is no CT, only 12 {modality} images"):
        load_ct(tmp_path)


def test_mr_is_named(tmp_path):
    write_cine_dicom(tmp_path, np.zeros((2, 8, 8, 3), np.uint16), affine_of((1.0, 1.0, 8.0)))
    with pytest.raises(InputError, match="there is no CT, only 6 MR images"):
        load_ct(tmp_path)


@pytest.mark.parametrize("n", [1, 2])
def test_single_slice(tmp_path, n):
    write_ct(tmp_path, thorax(n))
    with pytest.raises(InputError, match=r"no CT volume of 3 or more parallel slices"):
        load_ct(tmp_path)


def test_only_localizers(tmp_path):
    write_ct(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(InputError, match="localisers"):
        load_ct(tmp_path)


def test_colour_pictures(tmp_path):
    for f in write_ct(tmp_path):
        ds = pydicom.dcmread(f)
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        set_pixels(ds, np.zeros((N, N), np.uint8))
        ds.PixelData = bytes(3 * N * N)
        ds.save_as(f)
    with pytest.raises(InputError, match="localisers, reports"):
        load_ct(tmp_path)


def test_two_patients(tmp_path):
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", series=6, study="other", PatientID="SOMEBODY")
    with pytest.raises(InputError, match="2 different patients"):
        load_ct(tmp_path)


def test_two_studies(tmp_path):
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", series=6, study="other")
    assert "several_studies" in codes(load_ct(tmp_path).findings, "warning")


def test_progress_and_cancel(tmp_path):
    write_ct(tmp_path)
    seen = []
    load_ct(tmp_path, lambda fraction, stage: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction, stage):
        if fraction > 0.6:
            raise Cancelled

    with pytest.raises(Cancelled):
        load_ct(tmp_path, stop)
