"""Bad input: exit code 2, one clear line, nothing written; never a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from CardioPrecisionLib.image import write_nifti
from conftest import oblique_affine
from refusals import refuse, refuse_locked_folder


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Runs ``lv-function`` on an input in `tmp_path` and returns the one line that it must answer."""

    def run(given: Path, *options: str, output: str = "run", code: int = 2) -> str:
        monkeypatch.chdir(tmp_path)
        return refuse(["lv-function", str(given), "-o", output, *options], tmp_path, capfd, code)

    return run


def ct_series(folder: Path, n: int = 4) -> None:
    """A small, valid CT series."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(n):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.PatientName, ds.PatientID, ds.Manufacturer = "CT", "Secret^Name", "SECRET-ID", "SIEMENS"
        ds.StudyDate, ds.SeriesDescription, ds.ImageType = "20250101", "Thorax", ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 3.0 * k], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [0.8, 0.8], 3.0, k + 1
        ds.Rows = ds.Columns = 128
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.PixelData = np.random.default_rng(k).integers(0, 2000, (128, 128)).astype("<i2").tobytes()
        pydicom.dcmwrite(folder / f"{k}.dcm", ds, enforce_file_format=True)


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
    refused(folder)
    refused(folder / "0.dcm")


def test_ct(refused, tmp_path):
    ct_series(tmp_path / "study")
    line = refused(tmp_path / "study")
    assert "CT" in line
    assert "SECRET" not in line.upper().replace("SECRET-ID", "SECRET")


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_nan_volume(refused, tmp_path, suffix):
    import SimpleITK as sitk

    path = tmp_path / f"cine.{suffix}"
    frames = np.random.default_rng(0).uniform(0, 900, (6, 64, 64, 5)).astype(np.float32)
    frames[3, 20, 20, 2] = np.nan
    if suffix == "nrrd":
        image = sitk.GetImageFromArray(frames.transpose(0, 3, 2, 1), isVector=False)
        image.SetSpacing((1.4, 1.4, 8.0, 40.0))
        sitk.WriteImage(image, str(path))
    else:
        write_nifti(path, frames, oblique_affine(), 40.0)
    assert "NaN" in refused(path)


def test_two_by_two(refused, tmp_path):
    path = tmp_path / "cine.nii.gz"
    write_nifti(path, np.random.default_rng(1).integers(0, 255, (6, 2, 2, 5)).astype(np.int16), oblique_affine(), 40.0)
    assert "2" in refused(path)


@pytest.mark.parametrize("name", ["cine.nii.gz", "cine.nrrd", "cine.mha"])
def test_broken_image_file(refused, tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image" * 50)
    assert "cannot be read" in refused(tmp_path / name)


@pytest.fixture
def cine(tmp_path):
    """A readable cine; what is refused is something else."""
    path = tmp_path / "cine.nii.gz"
    frames = np.random.default_rng(1).integers(0, 400, (4, 96, 96, 6)).astype(np.int16)
    write_nifti(path, frames, oblique_affine(), 40.0)
    return path


def test_foreign_output_folder(refused, tmp_path, cine):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "not an earlier run" in refused(cine, output="mine")
    assert "not an earlier run" in refused(cine, output=".")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_output_that_is_a_file(refused, tmp_path, cine):
    (tmp_path / "taken").write_text("x")
    assert "is a file" in refused(cine, output="taken")
    assert "is a file" in refused(cine, output="taken/run")


def test_unwritable_output_folder(tmp_path, cine):
    refuse_locked_folder(["lv-function", str(cine)], tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--clinical", "clinical.json"), "height_cm is 1.7; it must be from 25 to 250"),
        (("--labels", "nowhere.nii.gz"), "nowhere.nii.gz"),
        (("--labels", "clinical.json"), "labels are read from"),
        (("--labels", "small.nii.gz"), "small.nii.gz"),
        (("--labels", "cine.nii.gz", "--label-scheme", "x"), "label-scheme"),
        (("--device", "abacus"), "abacus"),
        (("--accept-license", "nonsense"), "nonsense"),
    ],
)
def test_bad_options(refused, tmp_path, cine, options, said):
    (tmp_path / "clinical.json").write_text('{"height_cm": 1.7}')
    write_nifti(tmp_path / "small.nii.gz", np.ones((4, 96, 96, 6), np.uint8)[:, :8], np.diag([1, 1, 1, 1.0]) * 900)
    assert said in refused(cine, *options)


def test_licence_that_was_not_accepted(refused, cine):
    from CardioPrecisionLib.bundle.registry import list_bundles

    if not any(bundle.name == "cine_sax_ventricles" and bundle.restricted for bundle in list_bundles()):
        pytest.skip("the bundle cine_sax_ventricles is not in this checkout")
    assert "--accept-license" in refused(cine)
