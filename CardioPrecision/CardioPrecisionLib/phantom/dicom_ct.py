"""Write a CT volume as classic CT Image Storage: one series, with the header fields that calcium scoring reads."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ..image import Array, Image, spacing_of
from ..replacing import replacing
from .dicom_cine import decimal

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_INTERCEPT = -1024


def write_ct_dicom(
    folder: str | Path,
    image: Image,
    *,
    thickness_mm: float | None = None,
    kvp: float | None = 120.0,
    kernel: str | Sequence[str] | None = "Qr36d",
    contrast_agent: str | None = None,
    rescale: bool = True,
    rescale_type: str | None = "HU",
    missing: Sequence[int] = (),
    shift_mm: Sequence[tuple[int, float]] = (),
    patient_id: str = "PHANTOM",
    sex: str | None = None,
    age_years: float | None = None,
    height_cm: float | None = None,
    weight_kg: float | None = None,
    study_date: str = "2025-01-15",
    series_description: str = "calcium score",
    protocol: str = "CaScore",
    manufacturer: str = "CardioPrecision",
    gated: bool = True,
    seed: int | str = 0,
) -> list[Path]:
    """Write ``(i, j, k)`` int16 HU as one file per slice.

    Parameters
    ----------
    folder : path
        Made if it is not there; files get names that say nothing.
    image : Image
        ``i`` becomes the column, ``j`` the row; the first two axes must be perpendicular.
    thickness_mm : float, optional
        SliceThickness; the slice distance if not given.
    kvp, kernel, contrast_agent : optional
        KVP, ConvolutionKernel, ContrastBolusAgent; None leaves the attribute out (contrast: empty).
    rescale : bool
        False leaves out rescale slope and intercept: stored values that say nothing of HU.
    rescale_type : str, optional
    missing : sequence of int
        Slices (k) that are not written.
    shift_mm : sequence of (int, float)
        Slices moved along the slice axis in the header, for uneven spacing.
    patient_id, sex, age_years, height_cm, weight_kg, study_date, series_description, protocol, manufacturer
        What goes into the header (sex as ``male`` or ``female``).
    gated : bool
        Say in ScanOptions that the scan was triggered.
    seed : int or str
        All UIDs and file names follow from it.

    Returns
    -------
    list of Path
        The files, by slice.

    Raises
    ------
    ValueError
        The image cannot be written.
    """
    affine = image.affine
    spacing = spacing_of(affine)
    unit = affine[:3, :3] / spacing
    if image.array.dtype != np.int16 or abs(unit[:, 0] @ unit[:, 1]) > 1e-4:
        raise ValueError("the image must be int16 with its first two axes perpendicular")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def uid(*parts: object) -> str:
        return str(generate_uid(entropy_srcs=[str(seed), patient_id, series_description, *map(str, parts)]))

    base = Dataset()
    base.SpecificCharacterSet = "ISO_IR 100"
    base.SOPClassUID = CTImageStorage
    base.PatientName, base.PatientID, base.PatientBirthDate = "Phantom^CardioPrecision", patient_id, ""
    base.PatientSex = {"male": "M", "female": "F"}.get(sex or "", "")
    if age_years is not None:
        base.PatientAge = f"{round(age_years):03d}Y"
    if height_cm is not None:
        base.PatientSize = decimal(height_cm / 100.0)
    if weight_kg is not None:
        base.PatientWeight = decimal(weight_kg)
    base.StudyInstanceUID, base.SeriesInstanceUID = uid("study"), uid("series")
    base.FrameOfReferenceUID, base.PositionReferenceIndicator = uid("frame of reference"), ""
    base.StudyID, base.AccessionNumber, base.ReferringPhysicianName, base.SeriesNumber = "1", "", "", 2
    base.StudyDate = base.SeriesDate = base.AcquisitionDate = base.ContentDate = study_date.replace("-", "")
    base.StudyTime = base.SeriesTime = base.AcquisitionTime = base.ContentTime = "101500"
    base.Modality, base.Manufacturer, base.ManufacturerModelName = "CT", manufacturer, "Phantom"
    base.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    base.SeriesDescription, base.ProtocolName = series_description, protocol
    base.BodyPartExamined, base.PatientPosition = "CHEST", "HFS"
    base.ContrastBolusAgent = contrast_agent or ""
    if kvp is not None:
        base.KVP = decimal(kvp)
    if kernel is not None:
        base.ConvolutionKernel = kernel if isinstance(kernel, str) else list(kernel)
    if gated:
        base.ScanOptions = "ECG GATED"
    base.SamplesPerPixel, base.PhotometricInterpretation = 1, "MONOCHROME2"
    base.Columns, base.Rows = image.array.shape[:2]
    base.BitsAllocated, base.BitsStored, base.HighBit, base.PixelRepresentation = 16, 16, 15, 0
    if rescale:
        base.RescaleIntercept, base.RescaleSlope = decimal(_INTERCEPT), decimal(1)
        if rescale_type:
            base.RescaleType = rescale_type
    base.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    base.SliceThickness = decimal(thickness_mm or float(spacing[2]))
    base.ImageOrientationPatient = [decimal(x) for x in np.concatenate([unit[:, n] * _RAS_TO_LPS for n in (0, 1)])]
    moved = dict(shift_mm)
    made = []
    for k in range(image.array.shape[2]):
        if k in missing:
            continue
        ds = Dataset()
        ds.update(base)
        ds.SOPInstanceUID = uid("instance", k)
        position = affine[:3, 3] + (k + moved.get(k, 0.0) / spacing[2]) * affine[:3, 2]
        ds.ImagePositionPatient = [decimal(x) for x in position * _RAS_TO_LPS]
        ds.SliceLocation = decimal(float(position[2]))
        ds.InstanceNumber, ds.AcquisitionNumber = k + 1, 1
        ds.PixelData = _stored(image.array[:, :, k])
        made.append(_save(ds, folder))
    return made


def _stored(plane: Array) -> bytes:
    values = np.clip(plane.T.astype(np.int32) - _INTERCEPT, 0, 65535)
    return np.ascontiguousarray(values).astype("<u2").tobytes()


def _save(ds: Dataset, folder: Path) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    name = sha256(str(ds.SOPInstanceUID).encode()).hexdigest()[:16]
    with replacing(folder / name) as beside:
        ds.save_as(beside, enforce_file_format=True)
    return folder / name
