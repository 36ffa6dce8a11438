"""CT from NIfTI and NRRD: geometry as in the file, values judged, and what is no CT volume refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from CardioPrecisionLib.dicom.ct import load_ct, load_ct_file
from CardioPrecisionLib.dicom.ct_file import slices_last
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Image, write_nifti
from ct_cases import STEP, affine_of, check_same_world, thorax
from dicom_cases import codes


def _write(path, hu, affine):
    """NIfTI, or NRRD by ITK."""
    if path.suffix == ".nrrd":
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image = sitk.GetImageFromArray(np.ascontiguousarray(hu.transpose(2, 1, 0)))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        sitk.WriteImage(image, str(path))
    else:
        write_nifti(path, hu, affine)
    return path


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "ct.nrrd"])
@pytest.mark.parametrize("rotation", [None, (0.3, -0.2, 0.1)])
def test_every_voxel_at_its_place(tmp_path, name, rotation):
    hu, affine = thorax(), affine_of(rotation=rotation)
    volume = load_ct(_write(tmp_path / name, hu, affine))
    check_same_world(volume.image, hu, affine)
    assert volume.image.array.dtype == np.int16
    assert volume.usable
    assert volume.findings == []
    assert volume.source == "ct"
    assert volume.acquisition.increment_mm == pytest.approx(STEP, abs=1e-4)
    assert volume.acquisition.thickness_mm is None
    assert volume.acquisition.contrast is None


@pytest.mark.parametrize("spacing", [(0.7, 0.8, 3.0), (0.8, 0.8, 0.8)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1), (1, 2, 0)])
def test_axes_in_any_order_give_the_slices_last(tmp_path, spacing, order):
    hu, affine = thorax(), affine_of(spacing)
    moved = affine.copy()
    moved[:, :3] = affine[:, list(order)]
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", hu.transpose(order), moved))
    check_same_world(volume.image, hu, affine)
    assert volume.image.shape[2] == hu.shape[2]
    assert volume.acquisition.increment_mm == pytest.approx(spacing[2], abs=1e-4)
    assert codes(volume.findings) == (set() if order[2] == 2 else {"axes_moved"})
    labels = slices_last(Image(hu.transpose(order), moved))
    assert np.array_equal(labels.array, volume.image.array)
    assert np.allclose(labels.affine, volume.image.affine, atol=1e-4)


def test_a_sheared_file_keeps_its_shear(tmp_path):
    hu, affine = thorax(), affine_of(tilt_deg=15)
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", hu, affine))
    check_same_world(volume.image, hu, affine)
    assert volume.acquisition.increment_mm == pytest.approx(STEP, abs=1e-3)


@pytest.mark.parametrize(
    ("dtype", "kept"), [(np.float32, np.int16), (np.float64, np.int16), (np.int32, np.int16), (np.int16, np.int16)]
)
def test_whole_numbers_become_int16(tmp_path, dtype, kept):
    hu = thorax()
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", hu.astype(dtype), affine_of()))
    assert volume.image.array.dtype == kept
    check_same_world(volume.image, hu, affine_of())


def test_fractions_stay(tmp_path):
    hu = thorax() + np.float32(0.25)
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", hu, affine_of()))
    assert volume.image.array.dtype == np.float32
    check_same_world(volume.image, hu, affine_of())


def test_padding_is_clipped(tmp_path):
    hu = thorax()
    hu[:3] = -3024
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", hu, affine_of()))
    hu[:3] = -1024
    check_same_world(volume.image, hu, affine_of())


def test_nan_at_the_border_and_in_the_middle(tmp_path):
    hu = thorax().astype(np.float32)
    hu[:3] = np.nan
    volume = load_ct_file(_write(tmp_path / "a.nii.gz", hu, affine_of()))
    assert volume.usable
    assert codes(volume.findings) == {"not_finite"}
    assert (volume.image.array[:3] == -1024).all()
    hu[32, 32, 5] = np.inf
    volume = load_ct_file(_write(tmp_path / "b.nii.gz", hu, affine_of()))
    assert not volume.usable
    assert "in the middle" in volume.unusable_reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu: hu + 1024, "no tissue does"),
        (lambda hu: ((hu + 1024.0) / 4096).astype(np.float32), "only range from"),
        (lambda hu: np.clip((hu + 200) // 3, 0, 255).astype(np.uint8), "grey levels"),
        (lambda hu: np.clip((hu.astype(int) + 200) // 2, 0, 255).astype(np.int16), "grey levels"),
    ],
)
def test_uncalibrated(tmp_path, change, words):
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", change(thorax()), affine_of()))
    assert words in volume.finding("uncalibrated_hu").message
    assert not volume.usable


def test_lost_geometry(tmp_path):
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", thorax(), np.eye(4)))
    assert codes(volume.findings, "warning") == {"geometry_default"}


def test_odd_spacing(tmp_path):
    volume = load_ct_file(_write(tmp_path / "ct.nii.gz", thorax(), affine_of((0.0007, 0.0008, 0.003))))
    assert "spacing_odd" in codes(volume.findings, "warning")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.stack([thorax()] * 2, -1), "2 frames"),
        (np.zeros((20, 20, 5), np.int16), "the voxels hold only 0"),
        (np.full((20, 20, 5), np.nan, np.float32), "no voxel holds a number"),
        (thorax(2), "too few slices"),
        (thorax()[..., 0], "too few slices"),
        (thorax().astype(np.complex64), "colour or complex"),
    ],
)
def test_refused(tmp_path, array, words):
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(array, affine_of()), path)
    with pytest.raises(InputError, match=words):
        load_ct_file(path)


def test_rgb_refused(tmp_path):
    rgb = np.zeros((20, 20, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(rgb, affine_of()), tmp_path / "rgb.nii.gz")
    with pytest.raises(InputError, match="colour"):
        load_ct_file(tmp_path / "rgb.nii.gz")
    image = sitk.GetImageFromArray(np.zeros((6, 20, 20, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "rgb.nrrd"))
    with pytest.raises(InputError, match="3 frames or components"):
        load_ct_file(tmp_path / "rgb.nrrd")


def test_no_file_and_no_image(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_ct_file(tmp_path / "nowhere.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(InputError, match="cannot be read"):
        load_ct_file(tmp_path / "text.nii.gz")


@pytest.mark.shared
def test_cta(shared_data):
    volume = load_ct(shared_data / "cta" / "ct.nii.gz")
    assert volume.usable
    assert volume.findings == []
    assert volume.acquisition.increment_mm == pytest.approx(1.5)
