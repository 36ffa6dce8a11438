"""Small CT series whose voxels and geometry are known exactly, as classic or enhanced DICOM, for the CT tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
from CardioPrecisionLib.phantom.dicom_cine import decimal
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

N, K, STEP = 64, 12, 3.0
_LPS = np.array([-1.0, -1.0, 1.0])


def thorax(k=K, seed=0, n=N):
    """``(i, j, k)`` int16 HU: air, fat, muscle, lungs, a spine; noise tells every voxel from its neighbours."""
    x, y = np.meshgrid(*2 * [(np.arange(n) - (n - 1) / 2) / (n / 2)], indexing="ij")
    hu = np.full((n, n), -1000.0)
    body = (x / 0.85) ** 2 + (y / 0.65) ** 2
    hu[body < 1] = -95
    hu[body < 0.8] = 45
    for side in (-1, 1):
        hu[((x - side * 0.42) / 0.28) ** 2 + (y / 0.42) ** 2 < 1] = -860
    hu[(x / 0.1) ** 2 + ((y - 0.4) / 0.1) ** 2 < 1] = 450
    noise = np.random.default_rng(seed).normal(0, 12, (n, n, k))
    return np.clip(np.rint(hu[..., None] + noise), -1024, 3000).astype(np.int16)


def affine_of(spacing=(0.7, 0.8, STEP), rotation=None, origin=(20.0, 30.0, -100.0), tilt_deg=0.0):
    """RAS; an ordinary supine transverse scan unless turned; the slices sheared along j by a tilted gantry."""
    turn = np.diag([-1.0, -1.0, 1.0]) if rotation is None else Rotation.from_rotvec(rotation).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 2] += turn[:, 1] * np.tan(np.radians(tilt_deg)) * spacing[2]
    affine[:3, 3] = origin
    return affine


def _decimals(values):
    return [decimal(float(v)) for v in values]


def _base(series, study, uid):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPInstanceUID = uid
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[study])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[study, str(series)])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
    ds.Modality = "CT"
    ds.Manufacturer = "Phantom"
    ds.ManufacturerModelName = "CT 1"
    ds.PatientID = "PHANTOM"
    ds.PatientSex = "F"
    ds.PatientAge = "061Y"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20240115"
    ds.StudyTime = "100000"
    ds.SeriesNumber = series
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def write_ct(
    folder, hu=None, affine=None, *, series=5, study="study", slope=1, intercept=-1024, signed=False, **header
):
    """One classic file per slice, names in no order; header keywords replace or (None) remove elements."""
    hu = thorax() if hu is None else hu
    affine = affine_of() if affine is None else affine
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unit = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    files = []
    for k in range(hu.shape[2]):
        uid = generate_uid(entropy_srcs=[study, str(series), str(k)])
        ds = _base(series, study, uid)
        ds.SOPClassUID = CTImageStorage
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.KVP, ds.ConvolutionKernel, ds.SliceThickness = "120", "Qr36d", _decimals([np.linalg.norm(affine[:3, 2])])[0]
        ds.AcquisitionTime = f"10{series % 60:02d}{k:02d}"
        ds.AcquisitionNumber, ds.InstanceNumber = 1, hu.shape[2] - k
        ds.ImagePositionPatient = _decimals((affine[:3, 3] + k * affine[:3, 2]) * _LPS)
        ds.ImageOrientationPatient = _decimals(np.concatenate([unit[:, 0] * _LPS, unit[:, 1] * _LPS]))
        ds.PixelSpacing = _decimals(np.linalg.norm(affine[:3, [1, 0]], axis=0))
        ds.SliceLocation = str(7.0 * k)  # says nothing
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = str(slope), str(intercept), "HU"
        if signed:
            ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 15, 1
        stored = np.rint((hu[:, :, k].T.astype(float) - intercept) / slope)
        set_pixels(ds, stored.astype("<i2" if signed else "<u2"))
        _apply(ds, header)
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, uid
        files.append(folder / hashlib.sha256(uid.encode()).hexdigest()[:10])
        ds.save_as(files[-1], enforce_file_format=True)
    return files


def set_pixels(ds, stored):
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.PixelData = np.ascontiguousarray(stored).tobytes()
    ds["PixelData"].VR = "OW"


def _apply(ds, header):
    for keyword, value in header.items():
        if value is not None:
            setattr(ds, keyword, value)
        elif keyword in ds:
            delattr(ds, keyword)


def _item(**values):
    ds = Dataset()
    _apply(ds, values)
    return Sequence([ds])


def write_enhanced_ct(folder, hu, affine, *, contrast=False, given=None, series=7, study="study"):
    """One Enhanced CT file, frames in reversed order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    uid = generate_uid(entropy_srcs=[study, "enhanced"])
    ds = _base(series, study, uid)
    ds.SOPClassUID = EnhancedCTImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    unit = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence = _item(
        ImageOrientationPatient=_decimals(np.concatenate([unit[:, 0] * _LPS, unit[:, 1] * _LPS]))
    )
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=_decimals(np.linalg.norm(affine[:3, [1, 0]], axis=0)),
        SliceThickness=_decimals([np.linalg.norm(affine[:3, 2])])[0],
    )
    shared.CTXRayDetailsSequence = _item(KVP="100")
    shared.CTReconstructionSequence = _item(ConvolutionKernel="B60f", ReconstructionDiameter="200")
    shared.CTExposureSequence = _item(XRayTubeCurrentInmA=250.0)
    shared.PixelValueTransformationSequence = _item(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
    shared.CardiacSynchronizationSequence = _item(NominalPercentageOfCardiacPhase=75.0)
    if contrast:
        ds.ContrastBolusAgentSequence = _item(CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning="Iohexol")
    if given is not None:
        shared.ContrastBolusUsageSequence = _item(ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered=given)
    order = range(hu.shape[2])[::-1]
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = _item(ImagePositionPatient=_decimals((affine[:3, 3] + k * affine[:3, 2]) * _LPS))
        frame.CTImageFrameTypeSequence = _item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.NumberOfFrames = hu.shape[2]
    set_pixels(ds, np.stack([hu[:, :, k].T + 1024 for k in order]).astype("<u2"))
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, uid
    path = folder / "enhanced"
    ds.save_as(path, enforce_file_format=True)
    return path


def change_pixels(path, change):
    """`change` gets the stored words ``(rows, columns)`` and gives new ones."""
    ds = pydicom.dcmread(path)
    set_pixels(ds, change(ds.pixel_array))
    ds.save_as(path)


def check_same_world(image, hu, affine, atol=2e-3):
    """Every voxel that was written has its value at the same point in space."""
    assert sorted(image.shape) == sorted(hu.shape)
    index = np.stack(np.meshgrid(*map(np.arange, hu.shape), indexing="ij"), -1).reshape(-1, 3)
    found = image.to_index(index @ affine[:3, :3].T + affine[:3, 3])
    rounded = np.rint(found).astype(int)
    assert np.abs((found - rounded) * image.spacing).max() < atol
    assert (image.array[tuple(rounded.T)] == hu[tuple(index.T)]).all()
