"""One image plane as a DICOM header describes it, the same row for classic files and for enhanced multi-frame ones."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

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
TAGS: list[Any] = [tag for tag in map(tag_for_keyword, KEYWORDS) if tag is not None]

Vector = tuple[float, ...]


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
    """

    file: Path
    syntax: str
    offset: int | None
    bits_allocated: int
    bits_stored: int
    signed: bool
    samples: int
    n_frames: int


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame of one file. Lengths in mm (DICOM's LPS), times in ms, moments in seconds on an arbitrary clock.

    `patient` and all UIDs serve to tell planes apart; `patient` is a one-way hash, never the ID itself.
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


@contextmanager
def tolerant() -> Iterator[None]:
    """Read what scanners and anonymisers wrote without a warning on each malformed value.

    Neither warnings nor log lines: they quote header values, and those may name the patient.
    """
    silenced = config.logger.disabled
    config.logger.disabled = True
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.logger.disabled = silenced


def _get(ds: Dataset | None, keyword: str) -> Any:
    """A value, or None where it is absent, empty or cannot be understood."""
    if ds is None:
        return None
    try:
        value = ds.get(keyword)
    except Exception:  # a malformed element raises whatever its converter raises; it is as good as absent
        return None
    return None if value is None or value == "" else value


def _first(value: Any) -> Any:
    """The first of several values, or the value itself."""
    if isinstance(value, Sized) and not isinstance(value, (str, bytes, Dataset)) and hasattr(value, "__getitem__"):
        return value[0] if len(value) else None
    return value


def _number(value: Any) -> float | None:
    try:
        number = float(_first(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _vector(value: Any, n: int) -> Vector | None:
    try:
        vector = tuple(float(x) for x in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if len(vector) == n and all(math.isfinite(x) for x in vector) else None


def _text(value: Any) -> str:
    return "" if value is None else str(_first(value)).strip()


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value.strip(),) if isinstance(value, str) else tuple(str(x).strip() for x in value)


def moment_of(date: str, time: str) -> float | None:
    """Seconds on a clock that only orders; de-identified dates such as 20120000 are taken as they are."""
    if not time:
        return None
    head, _, fraction = time.replace(":", "").partition(".")
    head = head.ljust(6, "0")
    if not head[:6].isdigit():
        return None
    seconds = int(head[:2]) * 3600 + int(head[2:4]) * 60 + int(head[4:6])
    days = 0
    if len(date) >= 8 and date[:8].isdigit():
        days = int(date[:4]) * 372 + int(date[4:6]) * 31 + int(date[6:8])
    return days * 86400.0 + seconds + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def _moment_of_datetime(text: str) -> float | None:
    return moment_of(text[:8], text[8:].split("+")[0].split("-")[0])


def _patient_hash(ds: Dataset) -> str | None:
    identity = _text(_get(ds, "PatientID")) or _text(_get(ds, "PatientName"))
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
    return (letters, *sorted(_texts(_get(ds, "ScanningSequence"))), "/", *sorted(_texts(_get(ds, "SequenceVariant"))))


def planes_of(ds: Dataset, stored: Stored) -> list[Plane]:
    """The rows of one file; more than one for an enhanced multi-frame file."""
    shared = _first(_get(ds, "SharedFunctionalGroupsSequence"))
    per_frame = _get(ds, "PerFrameFunctionalGroupsSequence")
    frames: list[Any] = list(per_frame) if per_frame is not None else []
    # De-identification tools leave an empty sequence behind in classic files, so a short one is ignored.
    frames = frames if len(frames) == stored.n_frames else [None] * stored.n_frames
    common = _common(ds)
    return [
        _plane(ds, stored, index, common, shared if isinstance(shared, Dataset) else None, item)
        for index, item in enumerate(frames)
    ]


def _common(ds: Dataset) -> dict[str, Any]:
    name = _text(_get(ds, "SequenceName")) or _text(_get(ds, "PulseSequenceName"))
    return {
        "patient": _patient_hash(ds),
        "sop_uid": _text(_get(ds, "SOPInstanceUID")),
        "sop_class": _text(_get(ds, "SOPClassUID")),
        "study_uid": _text(_get(ds, "StudyInstanceUID")),
        "series_uid": _text(_get(ds, "SeriesInstanceUID")),
        "frame_of_reference_uid": _text(_get(ds, "FrameOfReferenceUID")),
        "modality": _text(_get(ds, "Modality")).upper(),
        "manufacturer": _text(_get(ds, "Manufacturer")),
        "model": _text(_get(ds, "ManufacturerModelName")),
        "field_strength": _number(_get(ds, "MagneticFieldStrength")),
        "study_date": _text(_get(ds, "StudyDate")),
        "series_number": _integer(_get(ds, "SeriesNumber")),
        "description": " ".join(filter(None, (_text(_get(ds, k)) for k in ("SeriesDescription", "ProtocolName")))),
        "acquisition_number": _integer(_get(ds, "AcquisitionNumber")),
        "sequence_name": name,
        "technique": _technique(ds, name),
        "acquisition_type": _text(_get(ds, "MRAcquisitionType")),
        "rows": _integer(_get(ds, "Rows")) or 0,
        "cols": _integer(_get(ds, "Columns")) or 0,
        "cardiac_images": _integer(_get(ds, "CardiacNumberOfImages")),
        "content_s": moment_of(_text(_get(ds, "ContentDate")), _text(_get(ds, "ContentTime"))),
        "series_s": moment_of(_text(_get(ds, "SeriesDate")), _text(_get(ds, "SeriesTime"))),
    }


def _plane(
    ds: Dataset, stored: Stored, index: int, common: dict[str, Any], shared: Dataset | None, item: Dataset | None
) -> Plane:
    def look(keyword: str, *macros: str) -> Any:
        """From the frame's own group, the shared group or the top level, in that order."""
        for group in (item, shared):
            for macro in macros:
                inner = _first(_get(group, macro))
                value = _get(inner, keyword) if isinstance(inner, Dataset) else None
                if value is not None:
                    return value
        return _get(ds, keyword)

    def number(keyword: str, *macros: str) -> float | None:
        return _number(look(keyword, *macros))

    def positive(*found: float | None) -> float | None:
        return next((x for x in found if x is not None and x > 0), None)

    def first(*found: float | None) -> float | None:
        return next((x for x in found if x is not None), None)

    sync, content = ("CardiacSynchronizationSequence", "CardiacTriggerSequence"), "FrameContentSequence"
    image_type = _texts(look("FrameType", "MRImageFrameTypeSequence")) or _texts(_get(ds, "ImageType"))
    component = _text(look("ComplexImageComponent", "MRImageFrameTypeSequence"))
    acquired = (
        _moment_of_datetime(_text(look("FrameAcquisitionDateTime", content)))
        or moment_of(_text(_get(ds, "AcquisitionDate")), _text(_get(ds, "AcquisitionTime")))
        or _moment_of_datetime(_text(_get(ds, "AcquisitionDateTime")))
    )
    delays = (number("NominalCardiacTriggerDelayTime", *sync), number("ActualCardiacTriggerDelayTime", *sync))
    instance = _integer(_get(ds, "InstanceNumber"))
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
        position=_vector(look("ImagePositionPatient", "PlanePositionSequence"), 3),
        orientation=_vector(look("ImageOrientationPatient", "PlaneOrientationSequence"), 6),
        pixel_spacing=_vector(look("PixelSpacing", "PixelMeasuresSequence"), 2),
        thickness=positive(number("SliceThickness", "PixelMeasuresSequence")),
        trigger_ms=first(*delays, number("TriggerTime")) if item is not None else first(number("TriggerTime"), *delays),
        temporal_position=_integer(
            first(number("TemporalPositionIndex", content), number("TemporalPositionIdentifier"))
        ),
        rr_interval_ms=positive(number("RRIntervalTimeNominal", *sync), number("NominalInterval")),
        heart_rate=positive(number("HeartRate")),
        slope=first(number("RescaleSlope", "PixelValueTransformationSequence"), 1.0) or 1.0,
        intercept=first(number("RescaleIntercept", "PixelValueTransformationSequence"), 0.0) or 0.0,
    )
