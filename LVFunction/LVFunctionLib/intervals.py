"""Prediction intervals of volumes, mass and ejection fraction from the spread of an ensemble.

Members and mirrored or turned copies of the image (test-time augmentation) each give their own volumes. Their spread
says where the network is unsure but not how far it errs; the factor between the two, and a floor for errors that all
members share, come from patients that no member has seen (split-conformal: Vovk et al. 2005; Papadopoulos et al. 2002)
and are stored in the bundle's metadata with the number of patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.image import Array
from numpy.typing import NDArray

#: Errors that all members may share, added in quadrature to the spread: (percent of the value, mL or g or points).
FLOORS = {
    "lv_edv": (2.5, 2.0),
    "lv_esv": (4.0, 3.0),
    "lv_sv": (3.0, 3.0),
    "lv_ef": (0.0, 1.5),
    "lv_mass": (5.0, 3.0),
    "rv_edv": (4.0, 3.0),
    "rv_esv": (5.0, 5.0),
    "rv_sv": (5.0, 5.0),
    "rv_ef": (0.0, 3.0),
}


@dataclass(frozen=True)
class Interval:
    """A symmetric interval in the unit of its quantity."""

    half_width: float
    level: float

    def around(self, value: float) -> dict[str, float]:
        return {"low": max(0.0, value - self.half_width), "high": value + self.half_width, "level": self.level}


def quantities(lv_ed: Any, lv_es: Any, myocardium_ed: Any, rv_ed: Any, rv_es: Any) -> dict[str, Any]:
    """The quantities that carry an interval, from volumes in mL (numbers or arrays over variants)."""
    return {
        "lv_edv": lv_ed,
        "lv_esv": lv_es,
        "lv_sv": lv_ed - lv_es,
        "lv_ef": 100 * (lv_ed - lv_es) / np.maximum(lv_ed, 1e-6),
        "lv_mass": 1.05 * myocardium_ed,
        "rv_edv": rv_ed,
        "rv_esv": rv_es,
        "rv_sv": rv_ed - rv_es,
        "rv_ef": 100 * (rv_ed - rv_es) / np.maximum(rv_ed, 1e-6),
    }


def scale(name: str, value: float, variants: NDArray[np.float64]) -> float:
    """Spread of the variants and the floor, in quadrature."""
    percent, absolute = FLOORS[name]
    spread = float(np.std(variants)) if variants.size > 1 else 0.0
    return math.hypot(spread, percent / 100 * value, absolute)


def conformal_factor(errors: Sequence[float], scales: Sequence[float], level: float) -> float:
    """The split-conformal quantile of |error| / scale.

    With n calibration patients it is the ceil((n + 1) · level)-th smallest ratio, at most the largest.
    """
    ratios = np.sort(np.abs(np.asarray(errors, float)) / np.asarray(scales, float))
    rank = min(len(ratios), math.ceil((len(ratios) + 1) * level))
    return float(ratios[rank - 1])


def coverage_left_out(errors: Sequence[float], scales: Sequence[float], level: float) -> float:
    """Share of patients inside the interval that the other patients give."""
    hits = 0
    for i in range(len(errors)):
        rest_e = [e for j, e in enumerate(errors) if j != i]
        rest_s = [s for j, s in enumerate(scales) if j != i]
        hits += abs(errors[i]) <= conformal_factor(rest_e, rest_s, level) * scales[i]
    return hits / len(errors)


def intervals(
    values: Mapping[str, float | None], areas_mm2: Array, slice_mm: float, calibration: Mapping[str, Any] | None
) -> dict[str, Interval]:
    """Intervals of the run's values.

    Parameters
    ----------
    values : mapping
        What is reported, by name; None where missing.
    areas_mm2 : numpy.ndarray
        ``(variant, frame, k, class)`` with frames ED, ES and the bundle's classes 1 RV, 2 myocardium, 3 LV.
    slice_mm : float
    calibration : mapping or None
        ``{"level": .., "factors": {name: ..}}`` of the bundle's metadata; without it there are no intervals.
    """
    if not calibration or areas_mm2.shape[0] < 2:
        return {}
    ml = areas_mm2.sum(axis=2) * slice_mm / 1000.0  # (variant, frame, class)
    last = ml.shape[1] - 1
    spread = quantities(ml[:, 0, 3], ml[:, last, 3], ml[:, 0, 2], ml[:, 0, 1], ml[:, last, 1])
    out = {}
    for name, factor in calibration["factors"].items():
        value = values.get(name)
        if value is not None:
            out[name] = Interval(float(factor) * scale(name, value, spread[name]), float(calibration["level"]))
    return out
