"""What a CT header says beside its geometry, the same for classic and for enhanced multi-frame files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from .values import as_integer, as_number, as_text, as_texts, first_of, value_of

#: Read from the header of every file, beside what sorting needs.
CT_KEYWORDS = (
    "StudyDescription",
    "ScanOptions",
    "KVP",
    "ConvolutionKernel",
    "GantryDetectorTilt",
    "ReconstructionDiameter",
    "XRayTubeCurrent",
    "Exposure",
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "ContrastBolusVolume",
    "ContrastBolusAgentSequence",
    "RescaleType",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "CardiacSynchronizationTechnique",
    "NominalPercentageOfCardiacPhase",
)

#: Agents that are none, as they are written into the field by hand or by protocol.
_NO_AGENT = re.compile(r"$|[-0]$|(no|non|none|n|n/a|na|nil|native?|without|w/o|unenhanced|ohne|sans|sin)\b", re.I)
_INTRAVENOUS = re.compile(r"\bi\.?v\b|intraven|&|\+", re.I)


@dataclass(frozen=True, slots=True)
class CTHeader:
    """How a CT image was made. Lengths in mm; texts serve as hints and are never shown.

    Attributes
    ----------
    kvp, tilt_deg, diameter_mm, tube_current_ma, exposure_mas : float or None
    kernel : str
        Convolution kernel as the vendor names it; several values joined by a backslash.
    agent : bool or None
        Whether an intravenous contrast agent is named: True; False where the field says none; None where it is absent.
    oral_only : bool
        The only agent named was swallowed.
    rescale_type : str
        "" where absent (which means HU for a CT image).
    padding : tuple of int or None
        First and last stored value that stand for "outside of the picture".
    gating : str
        ScanOptions and synchronisation technique, upper case.
    phase_percent : float or None
        Share of the cardiac cycle.
    series_text, protocol_text, study_text : str
    """

    kvp: float | None
    kernel: str
    tilt_deg: float | None
    diameter_mm: float | None
    tube_current_ma: float | None
    exposure_mas: float | None
    agent: bool | None
    oral_only: bool
    rescale_type: str
    padding: tuple[int, int] | None
    gating: str
    phase_percent: float | None
    series_text: str
    protocol_text: str
    study_text: str


def ct_header_of(ds: Dataset, look: Callable[..., Any]) -> CTHeader:
    """The CT part of a header.

    Parameters
    ----------
    ds : pydicom.Dataset
    look : callable
        ``look(keyword, *functional_groups)``: from the frame's own groups, the shared ones or the top level.
    """
    agent, oral = _agent(ds)
    if as_text(look("ContrastBolusAgentAdministered", "ContrastBolusUsageSequence")).upper() == "NO":
        agent = False  # an enhanced file says for every frame whether the agent it names was already in
    padding = as_integer(value_of(ds, "PixelPaddingValue"))
    limit = as_integer(value_of(ds, "PixelPaddingRangeLimit"))
    sync = as_text(look("CardiacSynchronizationTechnique"))
    return CTHeader(
        kvp=_positive(look("KVP", "CTXRayDetailsSequence")),
        kernel="\\".join(as_texts(look("ConvolutionKernel", "CTReconstructionSequence"))),
        tilt_deg=as_number(look("GantryDetectorTilt", "CTAcquisitionDetailsSequence")),
        diameter_mm=_positive(look("ReconstructionDiameter", "CTReconstructionSequence")),
        tube_current_ma=_positive(look("XRayTubeCurrentInmA", "CTExposureSequence"))
        or _positive(value_of(ds, "XRayTubeCurrent")),
        exposure_mas=_positive(look("ExposureInmAs", "CTExposureSequence")) or _positive(value_of(ds, "Exposure")),
        agent=agent,
        oral_only=oral,
        rescale_type=as_text(look("RescaleType", "PixelValueTransformationSequence")).upper(),
        padding=None if padding is None else (padding, padding if limit is None else limit),
        gating=" ".join((*as_texts(value_of(ds, "ScanOptions")), sync)).upper().strip(),
        phase_percent=as_number(look("NominalPercentageOfCardiacPhase", "CardiacSynchronizationSequence")),
        series_text=as_text(value_of(ds, "SeriesDescription")),
        protocol_text=as_text(value_of(ds, "ProtocolName")),
        study_text=as_text(value_of(ds, "StudyDescription")),
    )


def _positive(value: Any) -> float | None:
    number = as_number(value)
    return number if number is not None and number > 0 else None


def _agent(ds: Dataset) -> tuple[bool | None, bool]:
    """Whether an intravenous agent is named, and whether the only one named was given by mouth."""
    text = as_text(value_of(ds, "ContrastBolusAgent")).upper()
    routes = [as_text(value_of(ds, "ContrastBolusRoute")).upper()]
    items = value_of(ds, "ContrastBolusAgentSequence") or []
    for item in items:
        code = first_of(value_of(item, "ContrastBolusAdministrationRouteSequence"))
        routes.append(as_text(value_of(code, "CodeMeaning")).upper() if isinstance(code, Dataset) else "")
    volume = _positive(value_of(ds, "ContrastBolusVolume"))
    if not text and volume is None and not items:
        return None, False
    if _NO_AGENT.match(text) and volume is None and not items:
        return False, False
    said = " ".join((text, *routes))
    oral = "ORAL" in said and not _INTRAVENOUS.search(said)
    return (False, True) if oral else (True, False)
