"""Which of several CT series is read, and what its header says of contrast, kernel and gating."""

from __future__ import annotations

import pytest
from CardioPrecisionLib.dicom.ct import load_ct
from CardioPrecisionLib.dicom.ct_acquisition import is_sharp
from CardioPrecisionLib.errors import InputError
from ct_cases import (
    affine_of,
    check_same_world,
    thorax,
    write_ct,
)
from dicom_cases import codes, edit
from pydicom.uid import (
    SecondaryCaptureImageStorage,
)


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
