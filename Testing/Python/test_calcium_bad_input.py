"""Calcium on input that cannot bear a number: exit code 2 and one line; with a reader's labels, a warning."""

from __future__ import annotations

from pathlib import Path

import dicom_cases
import numpy as np
import pytest
from calcium_cases import bundles_are_ready, moved_to, sample, score_files, solids, write_dicom, write_labels
from CardioPrecisionLib.image import write_nifti
from CardioPrecisionLib.phantom.ct import CTGeometry, Ellipsoid, Part, render
from CoronaryPlaqueLib import contrast, territory
from ct_cases import affine_of, thorax, write_ct
from dicom_cases import edit
from refusals import listing, refuse, refuse_locked_folder

HU = thorax()


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Runs ``calcium`` on an input in `tmp_path` and returns the one line that it must answer."""

    def run(given: Path, *options: str | Path, output: str = "run", code: int = 2) -> str:
        monkeypatch.chdir(tmp_path)
        return refuse(["calcium", str(given), "-o", output, *map(str, options)], tmp_path, capfd, code)

    return run


@pytest.fixture
def labels(tmp_path):
    """A reader's label on the dense column of `thorax`, which is above 400 HU."""
    found = np.zeros(HU.shape, np.uint8)
    found[HU > 400] = 2
    return write_labels(tmp_path / "labels.nii.gz", found, affine_of())


def scored(ct: Path, labels: Path, tmp_path: Path):
    """A run with labels that goes through: its warnings, and that something was scored."""
    done = score_files(ct, labels, tmp_path / "run")
    assert done.exit_code == 0
    assert done.result.measurements.value("agatston_score", "total") > 0
    return done.result.warnings


# -- contrast ----------------------------------------------------------------------------------------------------------
HEADERS = [
    {"ContrastBolusAgent": "IOPAMIDOL"},
    {"SeriesDescription": "Coronary CTA 0.6"},
]


@pytest.mark.parametrize("header", HEADERS, ids=["agent", "description"])
def test_contrast_in_the_header(refused, labels, tmp_path, header):
    write_ct(tmp_path / "ct", HU, **header)
    line = refused(tmp_path / "ct")
    assert "made with contrast" in line
    assert "--vessels" in line
    warnings = scored(tmp_path / "ct", labels, tmp_path)
    assert any("made with contrast" in text and "scored as they are" in text for text in warnings)


def test_a_contrast_field_that_the_description_denies_is_a_warning(labels, tmp_path):
    """The field is often filled for a whole examination; what the blood measures decides then."""
    write_ct(tmp_path / "ct", HU, ContrastBolusAgent="IOPAMIDOL", SeriesDescription="CaScore native")
    warnings = scored(tmp_path / "ct", labels, tmp_path)
    assert any("contrast agent" in text for text in warnings)
    assert not any("made with contrast" in text for text in warnings)


def filled_heart(blood_hu: float):
    """A trunk with lungs and a blood pool of 32 mm radius; the header says nothing."""
    parts = [
        Part(Ellipsoid(np.zeros(3), np.array([110.0, 80.0, 200.0])), ((0.0, -95.0), (12.0, 45.0)), "body"),
        Part(Ellipsoid(np.array([55.0, 0.0, 0.0]), np.array([32.0, 50.0, 70.0])), ((0.0, -860.0),), "lung"),
        Part(Ellipsoid(np.array([-62.0, 0.0, 0.0]), np.array([26.0, 50.0, 70.0])), ((0.0, -860.0),), "lung"),
        Part(Ellipsoid(np.array([-8.0, 20.0, 0.0]), np.array([32.0, 32.0, 32.0])), ((0.0, blood_hu),), "blood"),
    ]
    return render(parts, [], CTGeometry((128, 128), (2.0, 2.0), 34, 3.0, 3.0), noise_hu=12, seed=1).image


@pytest.mark.parametrize("blood", [180.0, 350.0])
def test_contrast_in_the_pixels_alone(refused, tmp_path, blood):
    image = filled_heart(blood)
    write_nifti(tmp_path / "ct.nii.gz", image.array, image.affine)
    line = refused(tmp_path / "ct.nii.gz")
    assert f"The blood measures {blood:.0f} HU" in line or f"The blood measures {blood - 1:.0f} HU" in line
    assert "--vessels" in line


@pytest.mark.parametrize(("blood", "seen"), [(45.0, False), (100.0, False), (150.0, True), (300.0, True)])
def test_bright_bodies(blood, seen):
    found = contrast.bright_body(territory.coarse(filled_heart(blood))[0])
    assert (found is not None) == seen
    if seen:
        assert found == pytest.approx(blood, abs=3)


def test_bones_are_no_bright_body():
    assert contrast.bright_body(territory.coarse(sample().image)[0]) is None


@pytest.mark.parametrize("blood", [40.0, 120.0, 220.0])
def test_blood_is_measured_inside_the_heart(blood):
    image = filled_heart(blood)
    hu, inside, affine = territory.coarse(image)
    points = np.stack(np.meshgrid(*map(np.arange, hu.shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    heart = np.linalg.norm(points - [-8.0, 20.0, 0.0], axis=-1) < 38  # with some wall around the blood
    probability = np.zeros((len(territory.CLASSES), *hu.shape), np.float32)
    probability[territory.HEART] = heart
    probability[0] = ~heart
    found = territory.Territories(probability, affine, inside)
    assert contrast.blood_hu(hu, found) == pytest.approx(blood, abs=3)
    probability[territory.HEART], probability[0] = 0, 1
    assert contrast.blood_hu(hu, found) is None


@pytest.mark.slow
@pytest.mark.skipif(not bundles_are_ready(), reason="the weights of the calcium models are not here")
def test_blood_without_contrast_as_the_model_sees_it():
    """The bound of 110 HU is far from what the heart of a plain scan measures."""
    grid = territory.coarse(sample().image)
    assert 20 < contrast.blood_hu(grid[0], territory.find_territories(grid, device="cpu")) < 80


# -- values ------------------------------------------------------------------------------------------------------------
def test_uncalibrated_values(refused, labels, tmp_path):
    """Stored values whose offset of 1024 is not in the header."""
    write_ct(tmp_path / "ct", HU, RescaleIntercept="0", RescaleType=None)
    line = refused(tmp_path / "ct")
    assert "not Hounsfield units" in line
    warnings = scored(tmp_path / "ct", labels, tmp_path)
    assert any("not Hounsfield units" in text and "scored as they are" in text for text in warnings)


def test_grey_levels(refused, tmp_path):
    grey = np.clip((HU.astype(float) + 1024) / 8, 0, 255).astype(np.uint8)
    write_nifti(tmp_path / "ct.nii.gz", grey, affine_of())
    assert "not Hounsfield units" in refused(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_nan_in_the_picture(refused, labels, tmp_path, suffix):
    import SimpleITK as sitk

    array = HU.astype(np.float32)
    array[30, 30, 5] = np.nan
    path = tmp_path / f"ct.{suffix}"
    if suffix == "nrrd":
        image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
        image.SetSpacing((0.7, 0.8, 3.0))
        sitk.WriteImage(image, str(path))
    else:
        write_nifti(path, array, affine_of())
    assert "NaN" in refused(path)
    if suffix == "nii.gz":
        assert "NaN" in refused(path, "--vessels", labels)


def test_nan_at_the_border_is_only_told(labels, tmp_path):
    array = HU.astype(np.float32)
    array[0, 0] = np.nan
    write_nifti(tmp_path / "ct.nii.gz", array, affine_of())
    assert any("no number" in text for text in scored(tmp_path / "ct.nii.gz", labels, tmp_path))


# -- slices ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 2])
def test_single_slices(refused, labels, tmp_path, count):
    write_ct(tmp_path / "ct", HU[..., 4 : 4 + count])
    assert "3 or more" in refused(tmp_path / "ct")
    write_nifti(tmp_path / "ct.nii.gz", HU[..., 4 : 4 + count], affine_of())
    assert "too few slices" in refused(tmp_path / "ct.nii.gz")
    refused(tmp_path / "ct.nii.gz", "--vessels", labels)


@pytest.mark.parametrize("gone", [(5,), (3, 8)])
def test_missing_slices(refused, labels, tmp_path, gone):
    """A gap is refused with labels as well: what lies in it was not seen."""
    files = write_ct(tmp_path / "ct", HU)
    for k in gone:
        files[k].unlink()
    for options in ((), ("--vessels", labels)):
        line = refused(tmp_path / "ct", *options)
        assert f"{len(gone)} interior slice" in line


def test_uneven_slices(refused, tmp_path):
    files = write_ct(tmp_path / "ct", HU)
    import pydicom

    x, y, z = pydicom.dcmread(files[6]).ImagePositionPatient
    edit(files[6], ImagePositionPatient=[x, y, f"{z + 1.1:.6g}"])
    assert "unevenly spaced" in refused(tmp_path / "ct")


# -- acquisition: told, not refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"thickness_mm": 5.0}, "5 mm thick"),
        ({"kernel": "B70f"}, "kernel B70f is sharp"),
        ({"kvp": 100.0}, "100 kVp"),
        ({"kvp": None}, "does not give the tube voltage"),
    ],
    ids=["thick", "sharp", "100 kVp", "no voltage"],
)
def test_acquisitions_that_are_not_comparable(tmp_path, header, said):
    given = write_labels(tmp_path / "labels.nii.gz", sample().labels)
    warnings = scored(write_dicom(tmp_path / "ct", **header), given, tmp_path)
    assert any(said in text for text in warnings), warnings


def test_a_usual_acquisition_needs_no_word(tmp_path):
    given = write_labels(tmp_path / "labels.nii.gz", sample().labels)
    assert scored(write_dicom(tmp_path / "ct"), given, tmp_path) == []


# -- what is no CT -----------------------------------------------------------------------------------------------------
def test_path_that_is_not_there(refused, tmp_path):
    assert "no such file or folder" in refused(tmp_path / "nowhere")


def test_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty")


def test_text_files_renamed(refused, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.dcm").write_text("Dear colleague, enclosed you will find " * 20)
    assert "DICOM" in refused(folder)
    refused(folder / "0.dcm")


def test_mr(refused, tmp_path):
    dicom_cases.write(tmp_path / "study")
    line = refused(tmp_path / "study")
    assert "there is no CT" in line
    assert "MR" in line


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_broken_image_file(refused, tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image" * 50)
    assert "cannot be read" in refused(tmp_path / name)


def test_more_than_one_frame(refused, tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", np.stack([HU, HU]), affine_of(), 40.0)
    assert "2 frames" in refused(tmp_path / "ct.nii.gz")


# -- output ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def ct(tmp_path):
    """A readable CT; what is refused is something else."""
    write_nifti(tmp_path / "ct.nii.gz", HU, affine_of())
    return tmp_path / "ct.nii.gz"


def test_foreign_output_folder(refused, tmp_path, ct, labels):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "not an earlier run" in refused(ct, "--vessels", labels, output="mine")
    assert "not an earlier run" in refused(ct, "--vessels", labels, output=".")
    (tmp_path / "taken").write_text("x")
    assert "is a file" in refused(ct, "--vessels", labels, output="taken")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_unwritable_output_folder(tmp_path, ct, labels):
    refuse_locked_folder(["calcium", str(ct), "--vessels", str(labels)], tmp_path)


# -- options -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--calibration-mg-per-ml-hu", "0"), "it must be from 0.1 to 2"),
        (("--calibration-mg-per-ml-hu", "-0.8"), "it must be from 0.1 to 2"),
        (("--calibration-mg-per-ml-hu", "800"), "it must be from 0.1 to 2"),
        (("--calibration-mg-per-ml-hu", "nan"), "it must be from 0.1 to 2"),
        (("--calibration-mg-per-ml-hu", "plenty"), "--calibration-mg-per-ml-hu"),
        (("--kvp-adapted",), "needs the tube voltage"),
        (("--vessels", "nowhere.nii.gz"), "nowhere.nii.gz"),
        (("--vessels", "clinical.json"), "labels are read from"),
        (("--vessels", "far.nii.gz"), "lie outside of the image"),
        (("--vessels", "strange.nii.gz"), "none of the label values"),
        (("--vessels", "halves.nii.gz"), "not labels"),
        (("--vessels", "frames.nii.gz"), "frames.nii.gz"),
        (("--clinical", "clinical.json"), "age_years"),
        (("--device", "abacus"), "abacus"),
        (("--ed-frame", "1"), "--ed-frame"),
    ],
)
def test_bad_options(refused, tmp_path, ct, labels, options, said):
    (tmp_path / "clinical.json").write_text('{"age_years": 640}')
    own = np.zeros(HU.shape, np.uint8)
    own[20:30, 20:30] = 2
    away = affine_of()
    away[:3, 3] += 900
    write_nifti(tmp_path / "far.nii.gz", own, away)
    write_nifti(tmp_path / "strange.nii.gz", own * 21, affine_of())
    write_nifti(tmp_path / "halves.nii.gz", own * np.float32(0.25), affine_of())
    write_nifti(tmp_path / "frames.nii.gz", np.stack([own, own, own]), affine_of(), 40.0)
    given = options if "--vessels" in options else (*options, "--vessels", labels)
    assert said in refused(ct, *given)


def test_a_race_that_no_reference_covers_is_said_so(ct, labels, tmp_path):
    done = score_files(ct, labels, tmp_path / "run", clinical={"sex": "male", "age_years": 60, "race": "other"})
    row = next(m for m in done.result.measurements if m.name == "cac_percentile_mesa")
    assert (row.state, row.value) == ("out_of_range", None)
    assert "white, chinese, black, hispanic" in row.reason


def test_labels_of_a_neighbouring_scan_are_refused_and_told_apart_from_a_resampled_one(refused, tmp_path):
    """Another grid of the same place is moved with a warning; another place is refused."""
    image, own = solids(1.0, 2.0)
    write_nifti(tmp_path / "ct.nii.gz", image.array, image.affine)
    copy, moved = moved_to(image, own, np.eye(3), (1.5, 1.5, 2.0))
    given = write_labels(tmp_path / "coarse.nii.gz", moved, copy.affine)
    warnings = scored(tmp_path / "ct.nii.gz", given, tmp_path)
    assert any("another grid" in text for text in warnings)
    before = listing(tmp_path)
    away = copy.affine.copy()
    away[2, 3] += 300
    assert "outside of the image" in refused(
        tmp_path / "ct.nii.gz", "--vessels", write_labels(tmp_path / "coarse.nii.gz", moved, away), output="other"
    )
    assert [name for name, _ in listing(tmp_path)] == [name for name, _ in before]
