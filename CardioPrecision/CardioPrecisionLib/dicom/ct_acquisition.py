"""How a CT volume was acquired, as far as its header says, and the volume itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Sequential
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..image import Image
from ..measurement import Patient
from .findings import Finding
from .planes import Plane


@dataclass(frozen=True)
class CTAcquisition:
    """Facts of the header that a number on CT depends on; no descriptions, no identifiers.

    Attributes
    ----------
    kvp : float or None
        Peak tube voltage, kV.
    kernel : str or None
        Convolution kernel as the vendor names it.
    sharp_kernel : bool or None
        Whether it enhances edges (lung, bone); None where the name is not known. See `is_sharp`.
    thickness_mm : float or None
        Slice thickness from the header.
    increment_mm : float
        Distance of neighbouring slices along their normal, from the positions alone.
    contrast : bool or None
        Intravenous contrast agent by header field or description; None where nothing says so or both disagree.
    contrast_reason : str or None
        Where `contrast` comes from, or why it is open.
    gated : bool or None
        Synchronised to the heart beat; None where nothing says so.
    manufacturer, model, series_uid : str
    """

    kvp: float | None = None
    kernel: str | None = None
    sharp_kernel: bool | None = None
    thickness_mm: float | None = None
    increment_mm: float = 0.0
    contrast: bool | None = None
    contrast_reason: str | None = None
    gated: bool | None = None
    manufacturer: str = ""
    model: str = ""
    series_uid: str = ""


@dataclass(frozen=True, eq=False)
class CTVolume:
    """A CT volume in Hounsfield units.

    Attributes
    ----------
    image : Image
        ``(i, j, k)`` HU, k along the slice normal; int16 where slope and intercept are whole numbers, else float32.
        Nothing is below -1024 HU. Slices that are missing are filled with -1024 and listed in `details`.
    acquisition : CTAcquisition
    patient : Patient
        What the header says of the patient; no identifiers.
    findings : list of Finding
        The code ``uncalibrated_hu`` means that the values are no Hounsfield units.
    usable : bool
        False where no number could stand on the volume.
    unusable_reason : str or None
    source : str
        Series UID, or the file name's stem.
    details : dict
        JSON-able facts for the record.
    """

    image: Image
    acquisition: CTAcquisition
    patient: Patient = field(default_factory=Patient)
    findings: list[Finding] = field(default_factory=list)
    usable: bool = True
    unusable_reason: str | None = None
    source: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def finding(self, code: str) -> Finding | None:
        """The finding with this code, if there is one."""
        return next((f for f in self.findings if f.code == code), None)


# -- kernel ------------------------------------------------------------------------------------------------------------
_SIEMENS = re.compile(r"(?:[a-z]{1,2})(\d{2})[a-z]?$")
_CANON = re.compile(r"fc(\d{2})(?!\d)")
_SHARP_WORDS = re.compile(r"lung|bone|edge|sharp|ultra|hi.?res|inner ear")
_SOFT_WORDS = re.compile(r"soft|standard|stnd|smooth|detail|medium|body|cardiac|chest|brain")
_PHILIPS_SHARP = re.compile(r"x?cd$|[def]$|l$|y[a-d]?$|ec$")
_PHILIPS_SOFT = re.compile(r"x?c[a-c]$|[abc]$|ub$|ua$|uc$")


def is_sharp(kernel: str | None, manufacturer: str = "") -> bool | None:
    """Whether a convolution kernel enhances edges, by its name.

    Parameters
    ----------
    kernel : str or None
        ConvolutionKernel; of several values the first counts.
    manufacturer : str

    Returns
    -------
    bool or None
        None for a name that is not known. The vendors publish no common scale; what counts as sharp here is: Siemens
        numbers from 50 (B50f, Bl57, Br64), GE LUNG, BONE, EDGE and the like, Philips D, E, F, L, the Y family and the
        detailed cardiac CD, Canon (Toshiba) FC30-39, FC50-59 and FC80-89.
    """
    name = (kernel or "").split("\\")[0].strip().lower()
    if not name:
        return None
    if found := _CANON.match(name):
        return int(found[1]) // 10 in (3, 5, 8)
    if _SHARP_WORDS.search(name):
        return True
    if _SOFT_WORDS.search(name):
        return False
    vendor = manufacturer.lower()
    if found := _SIEMENS.match(name):
        return int(found[1]) >= 50
    if "philips" in vendor or not vendor:
        if _PHILIPS_SHARP.match(name):
            return True
        if _PHILIPS_SOFT.match(name):
            return False
    return None


# -- contrast and gating -----------------------------------------------------------------------------------------------
_NATIVE = re.compile(
    r"non.?contrast|non.?con\b|\bncct\b|un.?enh|\bnativ|w/?o\b|without|\bsans\b|\bohne\b|\bsin c|calci|\bca.?sc|cacs|"
    r"\bcac\b|scor(e|ing)|agatston|\bplain\b|\bnc\b|\bc-(?!\w)",
    re.I,
)
_ENHANCED = re.compile(
    r"angio|\bc?cta\b|\bcorcta|\bc\+|\bce\b|with.?(iv.?)?contrast|\bw/? ?(iv|contrast)|post.?con|"
    r"(?<!un)(?<!un-)enhanced|arterial|venous|portal|\bk\.?m\.?\b|\bmit km|\+c\b",
    re.I,
)
_GATED = re.compile(r"\becg|\bekg|(?<!non)(?<!non[- ])(?<!un)gated|triggered|ca.?sc\b|calcium scor|cacs", re.I)
_UNGATED = re.compile(r"(non|un|not)[- ]?gated", re.I)
_GATED_OPTIONS = re.compile(r"ECG|(?<!NON)(?<!NON[-_ ])(?<!UN)GATED|CARDIAC|PROSPECTIVE|RETROSPECTIVE|PACED|TRIGGER")


def _said(texts: Sequential[str], yes: re.Pattern[str], no: re.Pattern[str]) -> bool | None:
    """What the first text that says anything says; a text that says both says nothing."""
    for text in (t.replace("_", " ") for t in texts):
        yea, nay = bool(yes.search(text)), bool(no.search(text))
        if yea != nay:
            return yea
    return None


def contrast_of(planes: Sequential[Plane]) -> tuple[bool | None, str | None]:
    """Whether contrast agent was given, and where that is said; pixels are not looked at.

    A contrast field in the header is often filled for a whole examination, its unenhanced series included, so a series
    description that says otherwise leaves the question open.
    """
    heads = [p.ct for p in planes if p.ct is not None]
    texts = [t for h in heads[:1] for t in (h.series_text, h.protocol_text)]
    described = _said(texts, _ENHANCED, _NATIVE)
    if any(h.agent for h in heads):
        if described is False:
            return None, "The header names a contrast agent, the series description says there was none."
        return True, "The header names a contrast agent (Contrast/Bolus fields)."
    if described is not None:
        what = "contrast" if described else "no contrast"
        return described, f"The series description says {what}."
    if heads and all(h.agent is False for h in heads):
        oral = any(h.oral_only for h in heads)
        return False, "The header names oral contrast only." if oral else "The header's contrast field says none."
    if _said([h.study_text for h in heads[:1]], _NATIVE, _ENHANCED):
        return False, "The study description says no contrast."
    return None, None


def gated_of(planes: Sequential[Plane]) -> bool | None:
    """Whether the images were synchronised to the heart beat."""
    heads = [p.ct for p in planes if p.ct is not None]
    if any(h.phase_percent is not None or _GATED_OPTIONS.search(h.gating) for h in heads):
        return True
    if any(p.trigger_ms or p.rr_interval_ms or p.heart_rate for p in planes):
        return True
    return _said([t for h in heads[:1] for t in (h.series_text, h.protocol_text)], _GATED, _UNGATED)


# -- all of it ---------------------------------------------------------------------------------------------------------
def _usual(values: Iterable[Any]) -> Any:
    """The commonest value that is there."""
    found = Counter(v for v in values if v not in (None, ""))
    return found.most_common(1)[0][0] if found else None


def acquisition_of(planes: Sequential[Plane], increment_mm: float) -> CTAcquisition:
    """The acquisition of the planes of one volume."""

    def usual(value: Callable[[Any], Any]) -> Any:
        return _usual(value(p.ct) for p in planes if p.ct is not None)

    thickness = [p.thickness for p in planes if p.thickness]
    kernel, manufacturer = usual(lambda h: h.kernel), _usual(p.manufacturer for p in planes) or ""
    contrast, reason = contrast_of(planes)
    return CTAcquisition(
        kvp=usual(lambda h: h.kvp),
        kernel=kernel,
        sharp_kernel=is_sharp(kernel, manufacturer),
        thickness_mm=float(np.median(thickness)) if thickness else None,
        increment_mm=increment_mm,
        contrast=contrast,
        contrast_reason=reason,
        gated=gated_of(planes),
        manufacturer=manufacturer,
        model=_usual(p.model for p in planes) or "",
        series_uid=planes[0].series_uid,
    )


def header_details(planes: Sequential[Plane]) -> dict[str, Any]:
    """More of the header for the record."""
    heads = [p.ct for p in planes if p.ct is not None]
    return {
        "series_number": _usual(p.series_number for p in planes),
        "image_type": list(planes[0].image_type),
        "tube_current_ma": _usual(h.tube_current_ma for h in heads),
        "exposure_mas": _usual(h.exposure_mas for h in heads),
        "reconstruction_diameter_mm": _usual(h.diameter_mm for h in heads),
        "cardiac_phase_percent": _usual(h.phase_percent for h in heads),
        "files": len({p.stored.file for p in planes}),
        "enhanced": planes[0].stored.n_frames > 1,
        "transfer_syntax": planes[0].stored.syntax,
    }
