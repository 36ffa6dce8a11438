"""The DICOM writer against an independent reader (GDCM inside SimpleITK), and damaged files against the reader."""

from __future__ import annotations

import warnings

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from CardioPrecisionLib.dicom.cine import load_cine_sax
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage
from scipy.spatial.transform import Rotation

SPACING = (1.4, 1.6, 9.0)
T, K = 3, 5


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 3000, (T, 24, 16, K)).astype(np.uint16)


@pytest.fixture
def affine():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.7, 0.2, -0.9]).as_matrix() @ np.diag(SPACING)
    affine[:3, 3] = 10.0, -20.0, 30.0
    return affine


@pytest.mark.parametrize("style", ["siemens", "ge", "philips"])
def test_classic_files_agree_with_gdcm(tmp_path, frames, affine, style):
    files = write_cine_dicom(tmp_path, frames, affine, style=style)
    image = sitk.ReadImage([str(files[k * T + 1]) for k in range(K)])
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    assert image.GetOrigin() == pytest.approx(lps[:3, 3], abs=1e-6)
    assert image.GetSpacing() == pytest.approx(SPACING, abs=1e-6)
    assert image.GetDirection() == pytest.approx((lps[:3, :3] / SPACING).ravel(), abs=1e-6)
    assert (frames[1] == sitk.GetArrayFromImage(image).T).all()
    assert len(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(tmp_path))) == (K if style == "siemens" else 1)
    assert pydicom.dcmread(files[0]).SOPClassUID == MRImageStorage


def test_enhanced_file_agrees_with_gdcm(tmp_path, frames, affine):
    (file,) = write_cine_dicom(tmp_path, frames, affine, style="philips_enhanced")
    ds = pydicom.dcmread(file)
    assert ds.SOPClassUID == EnhancedMRImageStorage
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))
    for picture, item in zip(stored, ds.PerFrameFunctionalGroupsSequence, strict=True):
        k, t = item.FrameContentSequence[0].DimensionIndexValues
        assert (frames[t - 1, :, :, k - 1] == picture.T).all()


def test_same_seed_same_bytes(tmp_path, frames, affine):
    for style in ("ge", "philips_enhanced"):
        a = write_cine_dicom(tmp_path / f"a{style}", frames, affine, style=style, seed=4)
        b = write_cine_dicom(tmp_path / f"b{style}", frames, affine, style=style, seed=4)
        c = write_cine_dicom(tmp_path / f"c{style}", frames, affine, style=style, seed=5)
        assert [f.name for f in a] == [f.name for f in b]
        assert [f.read_bytes() for f in a] == [f.read_bytes() for f in b]
        assert not {f.name for f in a} & {f.name for f in c}
    uids = {pydicom.dcmread(f).SOPInstanceUID for f in (tmp_path / "age").iterdir()}
    assert len(uids) == T * K


@pytest.mark.parametrize(
    ("frames_in", "style"),
    [(np.zeros((2, 3, 4, 5), np.float32), "ge"), (np.zeros((3, 4, 5), np.uint16), "ge"),
     (np.zeros((2, 3, 4, 5), np.uint16), "toshiba")],
)  # fmt: skip
def test_what_cannot_be_written(tmp_path, affine, frames_in, style):
    with pytest.raises(ValueError):
        write_cine_dicom(tmp_path / "out", frames_in, affine, style=style)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])  # lossless, both
def test_compressed_by_another_tool(tmp_path, frames, affine, compressor):
    files = write_cine_dicom(tmp_path / "in", frames, affine, style="philips")
    for file in files:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.SetFileName(str(tmp_path / "one.dcm"))
        writer.Execute(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))
        compressed, ds = pydicom.dcmread(tmp_path / "one.dcm"), pydicom.dcmread(file)
        ds.PixelData = compressed.PixelData
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = compressed.file_meta.TransferSyntaxUID
        ds.save_as(file)
    sequence = load_cine_sax(tmp_path / "in").sequence
    assert pydicom.uid.UID(sequence.details["transfer_syntax"]).is_compressed
    for t in range(T):
        assert (sequence.frame(t) == frames[t]).all()


@pytest.mark.parametrize("style", ["siemens", "philips_enhanced"])
def test_random_damage_is_never_a_traceback(tmp_path, frames, affine, style):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        folder = tmp_path / str(seed)
        for file in write_cine_dicom(folder, frames[:, :8, :6], affine, style=style):
            content = bytearray(file.read_bytes())
            for place in rng.integers(132, len(content), 2 if style == "siemens" else 6):
                content[place] = rng.integers(0, 256)
            file.write_bytes(bytes(content[: rng.integers(200, len(content))] if rng.random() < 0.1 else content))
        refused = None
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pydicom's warnings quote header values
            try:
                sequence = load_cine_sax(folder).sequence
                assert all(sequence.frame(t).shape == sequence.shape for t in range(sequence.n_frames))
            except InputError as error:
                refused = str(error)
        assert refused is None or "\n" not in refused
