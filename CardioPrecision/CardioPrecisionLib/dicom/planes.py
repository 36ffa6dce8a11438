"""One image plane as a DICOM header describes it, the same row for classic files and for enhanced multi-frame ones."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from .ct_header import CT_KEYWORDS, CTHeader, ct_header_of
from .values import (
    Vector,
    as_integer,
    as_number,
    as_text,
    as_texts,
    as_vector,
    first_of,
    moment_of,
    moment_of_datetime,
    value_of,
)

#: Everything that sorting needs; the rest of a header is skipped.
KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "PatientName",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "MagneticFieldStrength",
    "StudyDate",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionNumber",
    "InstanceNumber",
    "ImageType",
    "ComplexImageComponent",
    "SequenceName",
    "PulseSequenceName",
    "ScanningSequence",
    "SequenceVariant",
    "MRAcquisitionType",
    "EchoTime",
    "InversionTime",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalInterval",
    "HeartRate",
    "CardiacNumberOfImages",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "SeriesDate",
    "SeriesTime",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
#: Position of an overlay inside the pixel words (group 6000); other overlays have their own data.
OVERLAY_BIT = 0x60000102
TAGS: list[Any] = [tag for tag in map(tag_for_keyword, (*KEYWORDS, *CT_KEYWORDS)) if tag is not None] + [OVERLAY_BIT]


@dataclass(frozen=True, slots=True)
class Stored:
    """How the pixels of a file are stored.

    Attributes
    ----------
    file : Path
    syntax : str
        Transfer syntax UID.
    offset : int or None
        Byte at which uncompressed little-endian pixels begin; None where they must be decoded.
    bits_allocated, bits_stored, samples, n_frames : int
    signed : bool
    overlay_bits : bool
        An overlay lies in unused bits of the pixel words.
    """

    file: Path
    syntax: str
    offset: int | None
    bits_allocated: int
    bits_stored: int
    signed: bool
    samples: int
    n_frames: int
    overlay_bits: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame of one file. Lengths in mm (DICOM's LPS), times in ms, moments in seconds on an arbitrary clock.

    `patient` and all UIDs serve to tell planes apart; `patient` is a one-way hash, never the ID itself. `ct` is there
    for images of modality CT.
    """

    stored: Stored
    frame: int
    patient: str | None
    sop_uid: str
    sop_class: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    modality: str
    manufacturer: str
    model: str
    field_strength: float | None
    study_date: str
    series_number: int | None
    description: str
    acquisition_number: int | None
    instance_number: int | None
    image_type: tuple[str, ...]
    component: str
    sequence_name: str
    technique: tuple[str, ...]
    acquisition_type: str
    echo_time: float | None
    inversion_time: float | None
    rows: int
    cols: int
    position: Vector | None
    orientation: Vector | None
    pixel_spacing: Vector | None
    thickness: float | None
    trigger_ms: float | None
    temporal_position: int | None
    rr_interval_ms: float | None
    heart_rate: float | None
    cardiac_images: int | None
    acquired_s: float | None
    content_s: float | None
    series_s: float | None
    slope: float
    intercept: float
    ct: CTHeader | None = None

    @property
    def has_geometry(self) -> bool:
        """Whether position, orientation (two perpendicular unit vectors) and pixel spacing are all there."""
        if self.position is None or self.orientation is None or self.pixel_spacing is None:
            return False
        a, b = self.orientation[:3], self.orientation[3:]
        dot = sum(x * y for x, y in zip(a, b))
        unit = all(abs(math.hypot(*v) - 1.0) < 0.01 for v in (a, b))
        return unit and abs(dot) < 0.01 and min(self.pixel_spacing) > 0

    @property
    def moment(self) -> tuple[float, float, float, int, int, int]:
        """Sorts acquisitions by when they were made."""
        first = self.acquired_s if self.acquired_s is not None else self.series_s
        return (
            first if first is not None else -1.0,
            self.series_s or -1.0,
            self.content_s or -1.0,
            self.series_number or 0,
            self.acquisition_number or 0,
            self.instance_number or 0,
        )


def _patient_hash(ds: Dataset) -> str | None:
    identity = as_text(value_of(ds, "PatientID")) or as_text(value_of(ds, "PatientName"))
    return hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:16] if identity else None


def _component(image_type: tuple[str, ...], given: str) -> str:
    """Magnitude, phase, real or imaginary: from the enhanced attribute or from the vendor's image type."""
    if given and given != "MIXED":
        return given.upper()
    words = {w.upper() for w in image_type}
    if words & {"P", "PHASE", "PHASE MAP", "VELOCITY MAP", "PHASE_CONTRAST_M_P"} or "VELOCITY" in words:
        return "PHASE"
    if words & {"R", "REAL"}:
        return "REAL"
    return "IMAGINARY" if words & {"I", "IMAGINARY"} else "MAGNITUDE"


def _technique(ds: Dataset, name: str) -> tuple[str, ...]:
    """What tells a cine from tagging or perfusion at the same place; numbers in the name vary by slice."""
    letters = "".join(c for c in name.lower().split("_")[0] if c.isalpha())
    return (
        letters,
        *sorted(as_texts(value_of(ds, "ScanningSequence"))),
        "/",
        *sorted(as_texts(value_of(ds, "SequenceVariant"))),
    )


def planes_of(ds: Dataset, stored: Stored) -> list[Plane]:
    """The rows of one file; more than one for an enhanced multi-frame file."""
    shared = first_of(value_of(ds, "SharedFunctionalGroupsSequence"))
    per_frame = value_of(ds, "PerFrameFunctionalGroupsSequence")
    frames: list[Any] = list(per_frame) if per_frame is not None else []
    # De-identification tools leave an empty sequence behind in classic files, so a short one is ignored.
    frames = frames if len(frames) == stored.n_frames else [None] * stored.n_frames
    common = _common(ds)
    return [
        _plane(ds, stored, index, common, shared if isinstance(shared, Dataset) else None, item)
        for index, item in enumerate(frames)
    ]


def _common(ds: Dataset) -> dict[str, Any]:
    name = as_text(value_of(ds, "SequenceName")) or as_text(value_of(ds, "PulseSequenceName"))
    return {
        "patient": _patient_hash(ds),
        "sop_uid": as_text(value_of(ds, "SOPInstanceUID")),
        "sop_class": as_text(value_of(ds, "SOPClassUID")),
        "study_uid": as_text(value_of(ds, "StudyInstanceUID")),
        "series_uid": as_text(value_of(ds, "SeriesInstanceUID")),
        "frame_of_reference_uid": as_text(value_of(ds, "FrameOfReferenceUID")),
        "modality": as_text(value_of(ds, "Modality")).upper(),
        "manufacturer": as_text(value_of(ds, "Manufacturer")),
        "model": as_text(value_of(ds, "ManufacturerModelName")),
        "field_strength": as_number(value_of(ds, "MagneticFieldStrength")),
        "study_date": as_text(value_of(ds, "StudyDate")),
        "series_number": as_integer(value_of(ds, "SeriesNumber")),
        "description": " ".join(
            filter(None, (as_text(value_of(ds, k)) for k in ("SeriesDescription", "ProtocolName")))
        ),
        "acquisition_number": as_integer(value_of(ds, "AcquisitionNumber")),
        "sequence_name": name,
        "technique": _technique(ds, name),
        "acquisition_type": as_text(value_of(ds, "MRAcquisitionType")),
        "rows": as_integer(value_of(ds, "Rows")) or 0,
        "cols": as_integer(value_of(ds, "Columns")) or 0,
        "cardiac_images": as_integer(value_of(ds, "CardiacNumberOfImages")),
        "content_s": moment_of(as_text(value_of(ds, "ContentDate")), as_text(value_of(ds, "ContentTime"))),
        "series_s": moment_of(as_text(value_of(ds, "SeriesDate")), as_text(value_of(ds, "SeriesTime"))),
    }


def _plane(
    ds: Dataset, stored: Stored, index: int, common: dict[str, Any], shared: Dataset | None, item: Dataset | None
) -> Plane:
    def look(keyword: str, *macros: str) -> Any:
        """From the frame's own group, the shared group or the top level, in that order."""
        for group in (item, shared):
            for macro in macros:
                inner = first_of(value_of(group, macro))
                value = value_of(inner, keyword) if isinstance(inner, Dataset) else None
                if value is not None:
                    return value
        return value_of(ds, keyword)

    def number(keyword: str, *macros: str) -> float | None:
        return as_number(look(keyword, *macros))

    def positive(*found: float | None) -> float | None:
        return next((x for x in found if x is not None and x > 0), None)

    def first(*found: float | None) -> float | None:
        return next((x for x in found if x is not None), None)

    sync, content = ("CardiacSynchronizationSequence", "CardiacTriggerSequence"), "FrameContentSequence"
    frame_types = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence")
    image_type = as_texts(look("FrameType", *frame_types)) or as_texts(value_of(ds, "ImageType"))
    component = as_text(look("ComplexImageComponent", "MRImageFrameTypeSequence"))
    acquired = (
        moment_of_datetime(as_text(look("FrameAcquisitionDateTime", content)))
        or moment_of(as_text(value_of(ds, "AcquisitionDate")), as_text(value_of(ds, "AcquisitionTime")))
        or moment_of_datetime(as_text(value_of(ds, "AcquisitionDateTime")))
    )
    delays = (number("NominalCardiacTriggerDelayTime", *sync), number("ActualCardiacTriggerDelayTime", *sync))
    instance = as_integer(value_of(ds, "InstanceNumber"))
    return Plane(
        stored=stored,
        frame=index,
        **common,
        image_type=image_type,
        component=_component(image_type, component),
        acquired_s=acquired,
        instance_number=instance if stored.n_frames == 1 else index + 1,
        echo_time=first(number("EffectiveEchoTime", "MREchoSequence"), number("EchoTime")),
        inversion_time=positive(number("InversionTime"), number("InversionTimes", "MRModifierSequence")),
        position=as_vector(look("ImagePositionPatient", "PlanePositionSequence"), 3),
        orientation=as_vector(look("ImageOrientationPatient", "PlaneOrientationSequence"), 6),
        pixel_spacing=as_vector(look("PixelSpacing", "PixelMeasuresSequence"), 2),
        thickness=positive(number("SliceThickness", "PixelMeasuresSequence")),
        trigger_ms=first(*delays, number("TriggerTime")) if item is not None else first(number("TriggerTime"), *delays),
        temporal_position=as_integer(
            first(number("TemporalPositionIndex", content), number("TemporalPositionIdentifier"))
        ),
        rr_interval_ms=positive(number("RRIntervalTimeNominal", *sync), number("NominalInterval")),
        heart_rate=positive(number("HeartRate")),
        slope=first(number("RescaleSlope", "PixelValueTransformationSequence"), 1.0) or 1.0,
        intercept=first(number("RescaleIntercept", "PixelValueTransformationSequence"), 0.0) or 0.0,
        ct=ct_header_of(ds, look) if common["modality"] == "CT" else None,
    )
