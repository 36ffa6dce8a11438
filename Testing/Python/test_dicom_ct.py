"""CT from DICOM: geometry, values, and every fault named; none gives a silently wrong volume."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.ct import load_ct
from CardioPrecisionLib.dicom.ct_acquisition import is_sharp
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from ct_cases import (
    STEP,
    K,
    N,
    affine_of,
    change_pixels,
    check_same_world,
    set_pixels,
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
    SecondaryCaptureImageStorage,
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


# -- which series ------------------------------------------------------------------------------------------------------
def test_localizer_dose_report_and_others_are_left_out(tmp_path):
    hu = thorax()
    write_ct(tmp_path / "a", hu)
    write_ct(tmp_path / "scout", thorax(2), series=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_ct(tmp_path / "dose", thorax(1), series=999, SOPClassUID=SecondaryCaptureImageStorage)
    write_ct(tmp_path / "screen", thorax(1), series=998, ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    write_ct(tmp_path / "pet", thorax(), series=3, Modality="PT")
    write_ct(tmp_path / "bolus", thorax(2), series=4)
    write_ct(tmp_path / "nowhere", thorax(1), series=8, ImagePositionPatient=None)
    (tmp_path / "readme.txt").write_text("no image")
    volume = load_ct(tmp_path)
    check_same_world(volume.image, hu, affine_of())
    assert codes(volume.findings) == {
        "localizer",
        "secondary_capture",
        "other_modality",
        "not_used",
        "no_geometry",
        "not_dicom",
    }


@pytest.mark.parametrize(
    "kind",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CSA MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]},
        {"ImageType": ["DERIVED", "PRIMARY"], "SeriesDescription": "MIP 10/3"},
    ],
)
def test_reformats_come_last(tmp_path, kind):
    write_ct(tmp_path / "mpr", thorax(20), series=9, **kind)
    alone = load_ct(tmp_path)
    assert "reformatted" in codes(alone.findings, "warning")
    write_ct(tmp_path / "axial", thorax(), series=5)
    volume = load_ct(tmp_path)
    assert volume.details["series_number"] == 5
    asked = load_ct(tmp_path, series="9")
    assert asked.details["series_number"] == 9


COMMON = {"SliceThickness": "3"}
BETTER = [
    ("noncontrast", {"ContrastBolusAgent": "Iomeprol"}, {}),
    ("noncontrast", {"SeriesDescription": "CTA 0.6"}, {"SeriesDescription": "CaScore 3.0"}),
    ("contrast", {"SeriesDescription": "CaScore 3.0"}, {"ContrastBolusAgent": "Iomeprol"}),
    ("contrast", {}, {"ContrastBolusAgent": "Iomeprol", "ConvolutionKernel": "B70f"}),
    ("noncontrast", {"ConvolutionKernel": "B70f"}, {}),
    ("noncontrast", {"SliceThickness": "3.4"}, {"SliceThickness": "3"}),
    ("contrast", {"SliceThickness": "3"}, {"SliceThickness": "2.9"}),
    ("noncontrast", {}, {"ScanOptions": "ECG_GATED"}),
    ("noncontrast", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, {}),
]


@pytest.mark.parametrize(("prefer", "worse", "better"), BETTER)
@pytest.mark.parametrize("first", [True, False])
def test_choice_among_series(tmp_path, prefer, worse, better, first):
    numbers = (2, 3) if first else (3, 2)
    write_ct(tmp_path / "w", series=numbers[0], **(COMMON | worse))
    write_ct(tmp_path / "b", series=numbers[1], **(COMMON | better))
    volume = load_ct(tmp_path, prefer=prefer)
    assert volume.details["series_number"] == numbers[1]
    said = volume.finding("series_chosen")
    assert said is not None
    assert said.severity == "info"
    assert f"series {numbers[1]}: 12 slices" in said.message
    assert f"Not used: series {numbers[0]}: 12 slices" in said.message
    asked = load_ct(tmp_path, prefer=prefer, series=str(numbers[0]))
    assert asked.details["series_number"] == numbers[0]
    assert load_ct(tmp_path, series=asked.source).source == asked.source


def test_the_heart_covered_goes_before_thickness_and_more_slices_before_time(tmp_path):
    write_ct(tmp_path / "short", thorax(10), series=2)
    write_ct(tmp_path / "long", thorax(24), affine_of((0.7, 0.8, 5.0)), series=1)
    assert load_ct(tmp_path).details["series_number"] == 1
    write_ct(tmp_path / "later", thorax(24), affine_of((0.7, 0.8, 5.0)), series=3)
    volume = load_ct(tmp_path)
    assert volume.details["series_number"] == 3  # the latest of equals, and the user hears of it
    assert volume.finding("series_chosen").severity == "warning"


def test_a_regular_series_goes_before_a_better_one_with_a_gap(tmp_path):
    write_ct(tmp_path / "gap", series=2)[4].unlink()
    write_ct(tmp_path / "whole", series=1, ConvolutionKernel="B70f")
    assert load_ct(tmp_path).usable


def test_phases_of_one_series(tmp_path):
    volumes = {phase: thorax(seed=phase) for phase in (40, 70, 90)}
    for phase, hu in volumes.items():
        for n, f in enumerate(write_ct(tmp_path / str(phase), hu, NominalPercentageOfCardiacPhase=float(phase))):
            edit(f, SOPInstanceUID=f"1.2.3.{phase}.{n + 1}")
    volume = load_ct(tmp_path, prefer="contrast")
    check_same_world(volume.image, volumes[70], affine_of())
    assert volume.acquisition.gated
    assert "gated at 70 %" in volume.finding("series_chosen").message
    assert volume.details["other_volumes"] == 2


def test_series_that_is_not_there(tmp_path):
    write_ct(tmp_path)
    with pytest.raises(InputError, match=r"no CT volume of that series number or UID.*there is series 5: 12 slices"):
        load_ct(tmp_path, series="77")


def test_no_descriptions_or_identifiers_in_words(tmp_path):
    secret = "DOE JOHN CTA"
    write_ct(tmp_path / "a", SeriesDescription=secret, PatientName="DOE^JOHN", ProtocolName=secret)
    write_ct(tmp_path / "b", series=6, SeriesDescription=secret, StudyDescription=secret)
    volume = load_ct(tmp_path)
    words = repr((volume.findings, volume.details, volume.acquisition, volume.patient, volume.unusable_reason))
    assert "DOE" not in words
    assert "PHANTOM" not in words


# -- contrast, kernel, gating ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "contrast"),
    [
        ({}, None),
        ({"ContrastBolusAgent": "Ultravist 370"}, True),
        ({"ContrastBolusVolume": "80"}, True),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusAgent": "Without contrast"}, False),
        ({"ContrastBolusAgent": "Gastrografin", "ContrastBolusRoute": "ORAL"}, False),
        ({"ContrastBolusAgent": "Oral & I.V."}, True),
        ({"SeriesDescription": "Calcium Scoring 3.0 Qr36"}, False),
        ({"SeriesDescription": "CaSc 3.0 B35f"}, False),
        ({"SeriesDescription": "Thorax nativ 1.0"}, False),
        ({"SeriesDescription": "Chest w/o contrast"}, False),
        ({"SeriesDescription": "Chest unenhanced"}, False),
        ({"SeriesDescription": "Chest enhanced"}, True),
        ({"SeriesDescription": "CorCTA 0.6 Bv40"}, True),
        ({"SeriesDescription": "Coronary 0.6"}, None),
        ({"SeriesDescription": "CT Angio Thorax"}, True),
        ({"SeriesDescription": "Chest C+"}, True),
        ({"SeriesDescription": "3.0", "ProtocolName": "CTA_with_CaScore"}, None),
        ({"SeriesDescription": "3.0", "StudyDescription": "CT chest without contrast"}, False),
        ({"SeriesDescription": "3.0", "StudyDescription": "CTA coronaries"}, None),
        ({"SeriesDescription": "CaScore", "ContrastBolusAgent": "Ultravist"}, None),
    ],
)
def test_contrast(tmp_path, header, contrast):
    write_ct(tmp_path, thorax(3, n=32), **header)
    volume = load_ct(tmp_path)
    assert volume.acquisition.contrast is contrast
    assert (volume.acquisition.contrast_reason is None) == (contrast is None and "ContrastBolusAgent" not in header)
    assert ("contrast_unclear" in codes(volume.findings)) == (contrast is None and "ContrastBolusAgent" in header)


@pytest.mark.parametrize(
    ("header", "gated"),
    [
        ({}, None),
        ({"ScanOptions": "HELIX"}, None),
        ({"ScanOptions": ["HELIX", "ECG_GATED"]}, True),
        ({"CardiacSynchronizationTechnique": "PROSPECTIVE"}, True),
        ({"CardiacSynchronizationTechnique": "NONE"}, None),
        ({"HeartRate": "61"}, True),
        ({"SeriesDescription": "Chest non-gated"}, False),
        ({"SeriesDescription": "ECG gated 0.75"}, True),
    ],
)
def test_gated(tmp_path, header, gated):
    write_ct(tmp_path, thorax(3, n=32), **header)
    assert load_ct(tmp_path).acquisition.gated is gated


@pytest.mark.parametrize(
    ("kernel", "vendor", "sharp"),
    [
        ("B35f", "SIEMENS", False),
        ("Qr36d\\3", "Siemens Healthineers", False),
        ("Sa36f", "SIEMENS", False),
        ("B70f", "SIEMENS", True),
        ("Bl57d", "SIEMENS", True),
        ("STANDARD", "GE MEDICAL SYSTEMS", False),
        ("LUNG", "GE MEDICAL SYSTEMS", True),
        ("BONEPLUS", "GE MEDICAL SYSTEMS", True),
        ("D", "Philips", True),
        ("B", "Philips", False),
        ("XCB", "Philips", False),
        ("YA", "Philips", True),
        ("FC12", "TOSHIBA", False),
        ("FC51", "TOSHIBA", True),
        ("FC08-H", "TOSHIBA", False),
        ("Z9", "Other", None),
        ("", "SIEMENS", None),
        (None, "", None),
    ],
)
def test_kernels(kernel, vendor, sharp):
    assert is_sharp(kernel, vendor) is sharp


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
