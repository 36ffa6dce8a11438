"""The measurement rows of a calcium score: names, units, codes, and what is said where a site was not seen.

Codes: SNOMED CT and LOINC where they exist (LOINC 44872-5 is no longer active and is not used).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CardioPrecisionLib.measurement import Code, Measurement, Measurements, State

from .scoring import THIN_MM, LabelScore, Scores
from .vessels import CORONARY, SITES

TOTAL = "total"
_CODES = {
    "agatston_score": Code("DCM", "112058", "Calcium score"),
    "calcium_volume": Code("SCT", "118565006", "Volume"),
    "calcium_mass": Code("SCT", "118538004", "Mass"),
}
UNITS = {
    "agatston_score": "1",
    "agatston_score_3mm": "1",
    "calcium_volume": "mm3",
    "calcium_volume_isotropic": "mm3",
    "calcium_mass": "mg",
    "calcium_density": "1",
    "calcium_attenuation_mean": "[hnsf'U]",
    "calcium_attenuation_max": "[hnsf'U]",
    "calcium_lesion_count": "1",
}
#: Given for the whole coronary tree only.
_TOTAL_ONLY = ("calcium_density", "calcium_attenuation_mean", "calcium_attenuation_max")
NO_CALIBRATION = (
    "Mass needs the scanner's calibration factor (mg/mL per HU, from a phantom); give it with "
    "--calibration-mg-per-ml-hu."
)
NO_CALCIUM = "There is no calcium to describe."


@dataclass(frozen=True)
class Seen:
    """Which sites were looked at: site -> None, or why it was not."""

    reasons: Mapping[str, str | None]

    def why_not(self, site: str) -> str | None:
        if site == TOTAL:
            return next((r for r in (self.reasons[SITES[n]] for n in CORONARY) if r), None)
        return self.reasons[site]


def comparable_agatston(total: LabelScore) -> float:
    """The score that population data compare with: of 3 mm slices, so of 3 mm averages where slices are thinner."""
    return total.agatston if total.agatston_3mm is None else total.agatston_3mm


def score_rows(scores: Scores, seen: Seen, method: str, source: str, calibration: float | None) -> Measurements:
    """All rows of all sites.

    Parameters
    ----------
    scores : Scores
    seen : Seen
    method, source : str
    calibration : float or None
        mg/mL per HU.
    """
    rows = Measurements()
    parts = {TOTAL: scores.total(), **{site: scores.by_label[label] for label, site in SITES.items()}}
    for site, part in parts.items():
        reason = seen.why_not(site)
        for name, value in _values(part, scores, calibration).items():
            if site != TOTAL and (name in _TOTAL_ONLY or (name == "calcium_mass" and calibration is None)):
                continue
            more: dict[str, Any] = {"site": site, "method": _method(name, method, scores), "source": source}
            more["code"] = _CODES.get(name)
            if reason:
                rows.add(Measurement.missing(name, UNITS[name], reason, **more))
            elif value is None and name == "calcium_mass":
                rows.add(Measurement.missing(name, UNITS[name], NO_CALIBRATION, **more))
            elif value is None:
                rows.add(Measurement.missing(name, UNITS[name], NO_CALCIUM, State.NOT_FOUND, **more))
            else:
                rows.add(Measurement(name, float(value), UNITS[name], **more))
    return rows


def _values(part: LabelScore, scores: Scores, calibration: float | None) -> dict[str, float | None]:
    values: dict[str, float | None] = {"agatston_score": part.agatston}
    if scores.increment_mm < THIN_MM:
        values["agatston_score_3mm"] = part.agatston_3mm
    return {
        **values,
        "calcium_volume": part.volume_mm3,
        "calcium_volume_isotropic": part.volume_interpolated_mm3,
        "calcium_mass": part.mass_mg(calibration),
        "calcium_density": part.density,
        "calcium_attenuation_mean": part.mean_hu,
        "calcium_attenuation_max": part.max_hu,
        "calcium_lesion_count": float(part.lesion_count),
    }


def _method(name: str, method: str, scores: Scores) -> str:
    threshold = f"threshold {scores.factor_edges_hu[0]} HU"
    increment = f"{scores.increment_mm:g} mm"
    if name == "agatston_score":
        text = f"Agatston 1990, {threshold}, slices of {increment} scaled to 3 mm"
        if scores.increment_mm < THIN_MM:
            text += "; agatston_score_3mm, not this one, compares with MESA"
    elif name == "agatston_score_3mm":
        text = f"Agatston 1990, {threshold}, on contiguous 3 mm averages; compares with MESA"
    elif name == "calcium_volume":
        text = f"voxels that count for the Agatston score ({threshold}) times their volume"
    elif name == "calcium_volume_isotropic":
        text = f"Callister 1998: volume after linear interpolation between slices ({threshold})"
    elif name == "calcium_mass":
        text = "calibration factor x mean HU x volume (McCollough 2007)"
    elif name == "calcium_density":
        text = "Agatston score over area, area as volume / 3 mm (Criqui 2014)"
    else:
        text = f"voxels that count for the Agatston score ({threshold})"
    return f"{text}; {method}"


def all_missing(reason: str, source: str) -> Measurements:
    """The main rows where nothing could be scored at all."""
    rows = Measurements()
    for site in (TOTAL, *SITES.values()):
        names = ("agatston_score", "calcium_volume", "calcium_lesion_count")
        for name in (*names, "calcium_mass") if site == TOTAL else names:
            rows.add(Measurement.missing(name, UNITS[name], reason, site=site, source=source, code=_CODES.get(name)))
    return rows
