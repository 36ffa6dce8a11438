"""Write cine frames as real DICOM in the manner of different scanners, for the phantom and for tests.

What the vendors do differently is kept: series per slice or one for all, trigger times that follow each slice's own
RR interval, slice locations that are not the slice positions, and enhanced multi-frame files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from ..image import Array, spacing_of
from ..replacing import replacing

Style = Literal["siemens", "ge", "philips", "philips_enhanced"]
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class _Vendor:
    manufacturer: str
    model: str
    sequence_name: str
    image_type: tuple[str, ...]


_VENDORS: dict[str, _Vendor] = {
    "siemens": _Vendor("SIEMENS", "Phantom S", "*tfi2d1_15", ("ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "DIS2D")),
    "ge": _Vendor("GE MEDICAL SYSTEMS", "Phantom G", "", ("ORIGINAL", "PRIMARY", "CARDIAC", "NONE")),
    "philips": _Vendor("Philips Medical Systems", "Phantom P", "", ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE")),
    "philips_enhanced": _Vendor("Philips Medical Systems", "Phantom P", "", ("ORIGINAL", "PRIMARY", "CARDIAC", "NONE")),
}


@dataclass
class _Job:
    """Everything that the files of one call share."""

    frames: Array
    affine: Array
    style: str
    vendor: _Vendor
    times: Array
    rr: Array
    seed: str
    patient: dict[str, Any]
    study_date: str
    thickness_mm: float
    description: str
    study_key: str
    first_series: int
    start_s: float
    made: list[Path] = field(default_factory=list)

    def uid(self, *parts: object) -> str:
        return str(generate_uid(entropy_srcs=[self.seed, *map(str, parts)]))

    @property
    def slice_distance(self) -> float:
        return float(spacing_of(self.affine)[2])

    def position(self, k: int) -> list[float]:
        point = self.affine[:3, 3] + k * self.affine[:3, 2]
        return [float(x) for x in point * _RAS_TO_LPS]

    def orientation(self) -> list[float]:
        unit = self.affine[:3, :2] / spacing_of(self.affine)[:2]
        return [float(x) for x in np.concatenate([unit[:, 0] * _RAS_TO_LPS, unit[:, 1] * _RAS_TO_LPS])]

    def acquired(self, k: int) -> str:
        """Slices are acquired one breath-hold of 15 s after the other."""
        return _clock(self.start_s + 15.0 * k)

    def pixels(self, t: int, k: int) -> bytes:
        array = np.ascontiguousarray(self.frames[t, :, :, k].T)
        return array.astype(array.dtype.newbyteorder("<")).tobytes()


def write_cine_dicom(
    folder: str | Path,
    frames: Array,
    affine: Array,
    *,
    style: Style = "siemens",
    times_ms: Array | None = None,
    rr_ms: float = 900.0,
    rr_jitter: float = 0.06,
    patient_id: str = "PHANTOM",
    sex: str | None = None,
    age_years: float | None = None,
    height_cm: float | None = None,
    weight_kg: float | None = None,
    study_date: str = "2024-01-15",
    thickness_mm: float | None = None,
    series_description: str = "cine_sax",
    seed: int | str = 0,
    study_key: str = "study",
    first_series: int = 5,
    start_s: float = 36000.0,
) -> list[Path]:
    """Write ``(t, i, j, k)`` frames as MR Image Storage or Enhanced MR Image Storage files.

    Parameters
    ----------
    folder : path
        Made if it is not there; files get names that say nothing.
    frames : numpy.ndarray
        ``(t, i, j, k)`` uint16 or int16; ``i`` becomes the column of the picture, ``j`` its row.
    affine : numpy.ndarray
        ``(4, 4)`` index to RAS mm; the first two axes perpendicular. A sheared third axis is written as it is.
    style : str
        ``siemens``: one series per slice, each with its own RR interval and trigger times. ``ge``: one series, instance
        numbers interleaved over slices, SliceLocation and SpacingBetweenSlices that differ from the slice positions.
        ``philips``: one series. ``philips_enhanced``: one multi-frame file.
    times_ms : numpy.ndarray, optional
        ``(t,)`` trigger times; evenly over the RR interval if not given.
    rr_ms, rr_jitter : float
        RR interval, and by how much (share of it) each slice's own one may differ.
    patient_id, sex, age_years, height_cm, weight_kg, study_date
        What goes into the header (sex as ``male`` or ``female``).
    thickness_mm : float, optional
        Slice thickness; the slice distance if not given.
    series_description : str
    seed : int or str
        All UIDs and file names follow from it, from `study_key` and from the place of the image.
    study_key : str
        Two calls with the same seed, patient and key write into one study.
    first_series, start_s
        Number of the first series; second of the day at which the first slice was acquired.

    Returns
    -------
    list of Path
        The files, by slice and frame.

    Raises
    ------
    ValueError
        The frames or the affine cannot be written.
    """
    frames = np.asarray(frames)
    affine = np.asarray(affine, float)
    _check(frames, affine, style)
    n, n_slices = frames.shape[0], frames.shape[3]
    times = np.arange(n) * rr_ms / n if times_ms is None else np.asarray(times_ms, float)
    if times.shape != (n,):
        raise ValueError(f"times_ms must have one value for each of the {n} frames")
    rng = np.random.default_rng(int.from_bytes(sha256(f"{seed}".encode()).digest()[:8], "big"))
    rr = np.rint(rr_ms * (1.0 + rng.uniform(-rr_jitter, rr_jitter, n_slices)))
    patient = _patient(patient_id, sex, age_years, height_cm, weight_kg)
    job = _Job(frames, affine, style, _VENDORS[style], times / rr_ms, rr, str(seed), patient,
               study_date.replace("-", ""), thickness_mm or float(spacing_of(affine)[2]), series_description,
               study_key, first_series, start_s)  # fmt: skip
    Path(folder).mkdir(parents=True, exist_ok=True)
    if style == "philips_enhanced":
        from .dicom_enhanced import enhanced_dataset

        job.made.append(_save(_header(job, EnhancedMRImageStorage, 0), enhanced_dataset, job, Path(folder)))
    else:
        for k in range(n_slices):
            for t in range(n):
                ds = _classic(job, t, k)
                job.made.append(_save(ds, None, job, Path(folder)))
    return job.made


def _check(frames: Array, affine: Array, style: str) -> None:
    if style not in get_args(Style):
        raise ValueError(f"style must be one of {', '.join(get_args(Style))}")
    if frames.ndim != 4 or frames.dtype not in (np.uint16, np.int16):
        raise ValueError("frames must be (t, i, j, k) uint16 or int16")
    unit = affine[:3, :3] / spacing_of(affine)
    if not np.isfinite(affine).all() or abs(unit[:, 0] @ unit[:, 1]) > 1e-4:
        raise ValueError("the first two axes of the affine must be perpendicular")


def _patient(patient_id: str, sex: str | None, age: float | None, height: float | None, weight: float | None) -> dict[
        str, Any]:  # fmt: skip
    values: dict[str, Any] = {
        "PatientName": "Phantom^CardioPrecision",
        "PatientID": patient_id,
        "PatientBirthDate": "",
        "PatientSex": {"male": "M", "female": "F"}.get(sex or "", ""),
    }
    if age is not None:
        values["PatientAge"] = f"{round(age):03d}Y"
    if height is not None:
        values["PatientSize"] = decimal(height / 100.0)
    if weight is not None:
        values["PatientWeight"] = decimal(weight)
    return values


def decimal(value: float) -> DSfloat:
    """A decimal string of at most 16 characters."""
    return DSfloat(float(value), auto_format=True)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return (
        f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{round((seconds - whole) * 1e6) % 1000000:06d}"
    )


def _series_of(job: _Job, k: int) -> int:
    return k if job.style == "siemens" else 0


def _header(job: _Job, sop_class: str, k: int) -> Dataset:
    """Patient, study, series, equipment: what every file has."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = sop_class
    for keyword, value in job.patient.items():
        setattr(ds, keyword, value)
    series = _series_of(job, k)
    ds.StudyInstanceUID = job.uid(job.study_key, job.patient["PatientID"])
    ds.FrameOfReferenceUID = job.uid(job.study_key, job.patient["PatientID"], "frame of reference")
    ds.SeriesInstanceUID = job.uid(job.study_key, job.description, job.first_series, "series", series)
    ds.SeriesNumber = job.first_series + series
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = job.study_date
    ds.StudyTime = _clock(job.start_s - 600.0)
    ds.SeriesTime = job.acquired(series)
    ds.AcquisitionTime = ds.ContentTime = job.acquired(k)
    ds.Modality = "MR"
    ds.Manufacturer, ds.ManufacturerModelName = job.vendor.manufacturer, job.vendor.model
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "CardioPrecision phantom"
    ds.SeriesDescription = ds.ProtocolName = job.description
    ds.PositionReferenceIndicator, ds.PatientPosition, ds.BodyPartExamined = "", "HFS", "HEART"
    ds.MagneticFieldStrength = decimal(1.5)
    ds.ImageType = list(job.vendor.image_type)
    pixel_module(ds, job.frames)
    return ds


def pixel_module(ds: Dataset, frames: Array) -> None:
    """Size and type of the pixels."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Columns, ds.Rows = frames.shape[1], frames.shape[2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(frames.dtype == np.int16)


def _classic(job: _Job, t: int, k: int) -> Dataset:
    n, _, _, n_slices = job.frames.shape
    ds = _header(job, MRImageStorage, k)
    ds.SOPInstanceUID = job.uid(ds.SeriesInstanceUID, "instance", t, k)
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "SS", "CG", "2D"
    ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = decimal(3.2), decimal(1.5), decimal(50)
    ds.EchoTrainLength, ds.ImagedNucleus, ds.NumberOfAverages = 1, "1H", decimal(1)
    if job.vendor.sequence_name:
        ds.SequenceName = job.vendor.sequence_name
    ds.ImagePositionPatient = [decimal(x) for x in job.position(k)]
    ds.ImageOrientationPatient = [decimal(x) for x in job.orientation()]
    spacing = spacing_of(job.affine)
    ds.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    ds.SliceThickness = decimal(job.thickness_mm)
    ds.AcquisitionNumber = 1
    ds.TriggerTime = decimal(job.times[t] * job.rr[k])
    ds.NominalInterval, ds.CardiacNumberOfImages = int(job.rr[k]), n
    row, col = np.array(job.orientation()).reshape(2, 3)
    depth = float(np.cross(row, col) @ np.array(job.position(k)))
    if job.style == "siemens":
        ds.InstanceNumber = t + 1
        ds.SliceLocation, ds.SpacingBetweenSlices = decimal(depth), decimal(job.slice_distance)
    elif job.style == "ge":
        ds.InstanceNumber = t * n_slices + k + 1
        # As in scans seen: the position along a body axis, not along the normal, and the thickness without the gap.
        ds.SliceLocation, ds.SpacingBetweenSlices = decimal(0.72 * depth), decimal(1.3 * job.slice_distance)
        ds.HeartRate = round(60000 / job.rr[k])
    else:
        ds.InstanceNumber = k * n + t + 1
        ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = t + 1, n
        ds.SpacingBetweenSlices = decimal(job.slice_distance)
        ds.HeartRate = round(60000 / job.rr[k])
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = decimal(0), decimal(1), "normalized"
    ds.PixelData = job.pixels(t, k)
    return ds


def _save(ds: Dataset, finish: Callable[[Dataset, _Job], None] | None, job: _Job, folder: Path) -> Path:
    if finish is not None:
        finish(ds, job)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    name = sha256(str(ds.SOPInstanceUID).encode()).hexdigest()[:16]
    with replacing(folder / name) as beside:
        ds.save_as(beside, enforce_file_format=True)
    return folder / name
