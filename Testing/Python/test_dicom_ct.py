"""CT from DICOM: every voxel at its place with its value, in every way that files store them."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.ct import load_ct
from CardioPrecisionLib.errors import InputError
from ct_cases import (
    STEP,
    K,
    N,
    affine_of,
    change_pixels,
    check_same_world,
    thorax,
    write_ct,
    write_enhanced_ct,
)
from dicom_cases import codes, edit
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)


# -- geometry and values -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rotation", [None, (0.3, -0.2, 0.1), (1.1, 0.4, -2.0)])
@pytest.mark.parametrize("spacing", [(0.7, 0.8, 3.0), (0.4, 0.4, 0.5), (0.9, 0.5, 5.0)])
def test_every_voxel_at_its_place(tmp_path, rotation, spacing):
    hu, affine = thorax(), affine_of(spacing, rotation)
    write_ct(tmp_path, hu, affine)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine)
    assert volume.usable
    assert volume.findings == []
    assert volume.image.array.dtype == np.int16
    assert volume.acquisition.increment_mm == pytest.approx(spacing[2], abs=1e-3)
    i, j, k = volume.image.affine[:3, :3].T
    assert np.cross(i * [-1, -1, 1], j * [-1, -1, 1]) @ (k * [-1, -1, 1]) > 0  # k along the normal


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*3 * [st.floats(-1.5, 1.5)]),
    st.tuples(*2 * [st.floats(0.3, 1.2)], st.floats(0.4, 6.0)),
    st.floats(-25, 25),
)
def test_any_orientation(tmp_path_factory, rotation, spacing, tilt):
    folder = tmp_path_factory.mktemp("ct")
    hu, affine = thorax(5, n=24), affine_of(spacing, rotation, tilt_deg=tilt if abs(tilt) > 0.5 else 0.0)
    write_ct(folder, hu, affine)
    volume = load_ct(folder)
    check_same_world(volume.image, hu, affine)
    assert volume.image.voxel_ml == pytest.approx(np.prod(spacing) / 1000, rel=1e-3)


def test_acquisition_and_patient(tmp_path):
    write_ct(tmp_path)
    volume = load_ct(tmp_path)
    facts = asdict(volume.acquisition)
    assert facts.pop("series_uid") == volume.source
    assert facts == {
        "kvp": 120.0,
        "kernel": "Qr36d",
        "sharp_kernel": False,
        "thickness_mm": STEP,
        "increment_mm": STEP,
        "contrast": None,
        "contrast_reason": None,
        "gated": None,
        "manufacturer": "Phantom",
        "model": "CT 1",
    }
    assert (volume.patient.sex, volume.patient.age_years) == ("female", 61.0)
    assert volume.patient.key != "PHANTOM"


def test_enhanced_multiframe(tmp_path):
    hu, affine = thorax(), affine_of()
    path = write_enhanced_ct(tmp_path, hu, affine, contrast=True)
    for given_path in (tmp_path, path):
        volume = load_ct(given_path)
        check_same_world(volume.image, hu, affine)
        assert volume.findings == []
        a = volume.acquisition
        assert (a.kvp, a.kernel, a.sharp_kernel, a.contrast, a.gated) == (100.0, "B60f", True, True, True)
        assert volume.details["enhanced"]
        assert volume.details["cardiac_phase_percent"] == 75.0


@pytest.mark.parametrize(("given", "contrast"), [("NO", False), ("YES", True)])
def test_enhanced_frames_before_the_agent_was_given(tmp_path, given, contrast):
    write_enhanced_ct(tmp_path, thorax(4), affine_of(), contrast=True, given=given)
    assert load_ct(tmp_path).acquisition.contrast is contrast


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_native_syntaxes(tmp_path, syntax):
    hu = thorax()
    hu[:4] = -2000
    for f in write_ct(tmp_path, hu, signed=True, intercept=0, PixelPaddingValue=-2000):
        ds = pydicom.dcmread(f)
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = ds.pixel_array.astype(">i2").tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
        again = pydicom.dataset.Dataset(ds)
        again.file_meta = ds.file_meta
        again.save_as(f, enforce_file_format=True)
    volume = load_ct(tmp_path)
    hu[:4] = -1024
    check_same_world(volume.image, hu, affine_of())
    assert volume.findings == []


@pytest.mark.parametrize("compress", ["RLE", "JPEG", "JPEG2000"])
def test_compressed(tmp_path, compress):
    hu, affine = thorax(), affine_of()
    files = write_ct(tmp_path, hu, affine)
    for f in files:
        if compress == "RLE":
            ds = pydicom.dcmread(f)
            ds.compress(RLELossless)
            ds.save_as(f)
        else:
            _compress_by_itk(f, compress)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine)
    assert volume.details["transfer_syntax"] != "1.2.840.10008.1.2.1"


def _compress_by_itk(path, compressor):
    import SimpleITK as sitk

    source = pydicom.dcmread(path)
    image = sitk.GetImageFromArray(source.pixel_array.astype(np.uint16))
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    other = path.with_suffix(".dcm")
    writer.SetFileName(str(other))
    writer.Execute(image)
    made = pydicom.dcmread(other)
    source.file_meta.TransferSyntaxUID = made.file_meta.TransferSyntaxUID
    source.PixelData = made.PixelData
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    source.BitsStored, source.HighBit = made.BitsStored, made.HighBit
    source.save_as(path)
    other.unlink()


def test_syntax_that_cannot_be_decoded(tmp_path):
    for f in write_ct(tmp_path):
        ds = pydicom.dcmread(f)
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        ds.PixelData = pydicom.encaps.encapsulate([b"no code stream"])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(f)
    with pytest.raises(InputError, match="cannot be decoded"):
        load_ct(tmp_path)


@pytest.mark.parametrize(
    "how",
    [
        {"signed": True, "intercept": 0},
        {"signed": True, "intercept": -1024},
        {"intercept": -1000},
        {"intercept": -8192},
    ],
)
def test_signed_unsigned_and_intercepts(tmp_path, how):
    hu = np.maximum(thorax(), -1000) if how["intercept"] == -1000 else thorax()
    more = {"BitsStored": 16, "HighBit": 15} if how["intercept"] == -8192 else {}
    write_ct(tmp_path, hu, **how, **more)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert volume.findings == []


def test_slope_and_intercept_of_each_slice(tmp_path):
    hu = thorax() // 2 * 2
    files = write_ct(tmp_path, hu)
    for k, f in enumerate(files):
        if k % 3 == 1:
            change_pixels(f, lambda words: ((words.astype(int) - 24) // 2).clip(0).astype("<u2"))
            edit(f, RescaleSlope="2", RescaleIntercept="-1000")
    hu[..., 1::3] = np.maximum(hu[..., 1::3], -1000)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert codes(volume.findings) == {"rescale_differs"}
    assert volume.image.array.dtype == np.int16


def test_a_slope_that_is_no_whole_number_gives_float(tmp_path):
    hu = thorax()
    write_ct(tmp_path, hu, slope=0.5)
    volume = load_ct(tmp_path)
    assert volume.image.array.dtype == np.float32
    check_same_world(volume.image, hu, affine_of())


@pytest.mark.parametrize("padding", [-2000, -3024])
def test_padding_below_air(tmp_path, padding):
    hu = thorax()
    hu[:4] = padding
    write_ct(tmp_path, hu, signed=True, intercept=0, PixelPaddingValue=padding)
    volume = load_ct(tmp_path)
    hu[:4] = -1024
    check_same_world(volume.image, hu, affine_of())
    assert volume.usable


@pytest.mark.parametrize(("word", "signed"), [(0, True), (4095, False)])
def test_padding_with_the_value_of_tissue_counts_only_outside_of_the_circle(tmp_path, word, signed):
    """0 HU is water, and 3071 HU metal, within the picture."""
    hu = thorax()
    x, y = np.meshgrid(*2 * [np.arange(N) - (N - 1) / 2], indexing="ij")
    outside = x**2 + y**2 > (N / 2) ** 2
    value = 0 if signed else 3071
    hu[outside] = value
    hu[N // 2, N // 2] = value
    write_ct(tmp_path, hu, signed=signed, intercept=0 if signed else -1024, PixelPaddingValue=word)
    volume = load_ct(tmp_path)
    assert (volume.image.array[outside] == -1024).all()
    assert (volume.image.array[N // 2, N // 2] == value).all()
    assert codes(volume.findings) == {"padding"}


def test_values_beyond_bits_stored_do_not_wrap(tmp_path):
    """Bone at 2500 HU in signed words that the header calls 12 bits wide: cut to 12 bits it would be -1596."""
    hu = thorax()
    hu[30:33, 30:33, 4] = 2500
    write_ct(tmp_path, hu, signed=True, intercept=0, BitsStored=12, HighBit=11)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert codes(volume.findings) == {"bits_stored_wrong"}
    assert next(f.count for f in volume.findings) == 1


def test_overlay_in_the_high_bits_is_cleared(tmp_path):
    hu = thorax()
    for f in write_ct(tmp_path, hu):
        change_pixels(f, lambda words: (words | (np.arange(N) % 5 == 0) * np.uint16(0x1000)).astype("<u2"))
        ds = pydicom.dcmread(f)
        ds.add_new(0x60000102, "US", 12)
        ds.save_as(f)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert volume.findings == []


def test_negative_numbers_called_unsigned(tmp_path):
    hu = thorax()
    write_ct(tmp_path, hu, signed=True, intercept=0, PixelRepresentation=0)
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert codes(volume.findings) == {"sign_mended"}


# -- no Hounsfield units -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"RescaleType": "US"}, "type US"),
        ({"RescaleIntercept": None, "RescaleSlope": None}, "no tissue does"),
        ({"RescaleIntercept": "-824"}, "soft tissue lies around 2"),
        ({"RescaleIntercept": "-1424"}, "lie around -3"),
        ({"RescaleSlope": "4", "RescaleIntercept": "-1024"}, "no tissue does"),
    ],
)
def test_uncalibrated(tmp_path, header, words):
    write_ct(tmp_path, thorax(), **header)
    volume = load_ct(tmp_path)
    found = volume.finding("uncalibrated_hu")
    assert found is not None
    assert words in found.message
    assert found.severity == "error"
    assert not volume.usable


def test_air_at_a_wrong_value(tmp_path):
    hu = thorax().astype(int)
    hu[hu < -940] += 150
    write_ct(tmp_path, hu)
    assert "air around the body lies at -8" in load_ct(tmp_path).unusable_reason


def test_contrast_filled_heart_is_no_calibration_fault(tmp_path):
    hu = thorax()
    hu[14:50, 22:40] = np.random.default_rng(1).normal(420, 15, (36, 18, K)).astype(np.int16)
    hu = hu[12:52, 16:44]
    write_ct(tmp_path, hu)
    assert load_ct(tmp_path).usable


def test_one_value_throughout(tmp_path):
    write_ct(tmp_path, np.full((N, N, K), 40, np.int16))
    assert "every voxel has the value 40" in load_ct(tmp_path).unusable_reason


# -- a real one --------------------------------------------------------------------------------------------------------
@pytest.mark.shared
def test_chest_ct(shared_data):
    import SimpleITK as sitk

    folder = shared_data / "chest_ct"
    began = time.perf_counter()
    volume = load_ct(folder)
    seconds = time.perf_counter() - began
    assert seconds < 10  # 0.4 s on two idle cores
    assert volume.usable
    assert volume.findings == []
    assert volume.image.shape == (512, 512, 130)
    a = volume.acquisition
    assert (a.kvp, a.thickness_mm, a.increment_mm, a.kernel, a.contrast) == (120.0, 1.0, 1.0, "D", None)
    assert (volume.patient.sex, a.manufacturer) == ("female", "Philips")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    other = reader.Execute()
    corners = np.array(np.meshgrid([0, 511], [0, 511], [0, 129])).reshape(3, -1).T
    lps = np.array([other.TransformContinuousIndexToPhysicalPoint(c.astype(float).tolist()) for c in corners])
    assert np.abs(volume.image.to_world(corners) - lps * [-1, -1, 1]).max() < 1e-3
    array = sitk.GetArrayFromImage(other).transpose(2, 1, 0)
    assert (volume.image.array == np.maximum(array, -1024)).all()
    counts, edges = np.histogram(volume.image.array, np.arange(-1024, 300, 8))
    middle = edges[:-1] + 4
    air = middle[(counts * (middle < -940)).argmax()]
    soft = middle[(counts * (middle > 0)).argmax()]
    assert -1020 < air < -970
    assert 0 < soft < 80
