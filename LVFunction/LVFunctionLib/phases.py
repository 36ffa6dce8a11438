"""End-diastole, end-systole and rates from the volume curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array
from numpy.typing import NDArray

#: Below this many phases a cycle is too coarsely sampled for rates and for smoothing.
MIN_PHASES_FOR_RATES = 10


@dataclass(frozen=True)
class Phases:
    """Frames (0-based) of end-diastole and end-systole."""

    ed: int
    es: int


def smooth(curve: NDArray[np.float64], closed: bool) -> NDArray[np.float64]:
    """A three-point (1, 2, 1)/4 mean over the frames; `closed` joins the last to the first."""
    if curve.size < 4:
        return curve
    padded = (
        np.concatenate([curve[-1:], curve, curve[:1]]) if closed else np.concatenate([curve[:1], curve, curve[-1:]])
    )
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4


def find_phases(lv_ml: NDArray[np.float64], valid: NDArray[np.bool_], full_cycle: bool) -> Phases:
    """Largest and smallest LV volume among the valid frames.

    From ten phases on the frames are chosen on the smoothed curve, so that one noisy frame does not become
    end-systole; the volumes reported are those of the chosen frames, not the smoothed ones.
    """
    curve = lv_ml.astype(np.float64).copy()
    if curve.size >= MIN_PHASES_FOR_RATES and valid.all():
        curve = smooth(curve, full_cycle)
    frames = np.flatnonzero(valid)
    return Phases(int(frames[np.argmax(curve[frames])]), int(frames[np.argmin(curve[frames])]))


@dataclass(frozen=True)
class Rates:
    """Peak rates in mL/s (both positive) and their times after end-diastole / end-systole in ms."""

    peak_ejection_ml_s: float
    time_to_peak_ejection_ms: float
    peak_filling_ml_s: float
    time_to_peak_filling_ms: float


def rates(lv_ml: NDArray[np.float64], times_ms: Array, rr_ms: float, ed: int, es: int) -> Rates | None:
    """Peak ejection and filling rate of a full cycle by a periodic harmonic fit.

    The curve is fitted with a truncated Fourier series (up to six harmonics, fewer for few frames), whose derivative
    is exact: differences between single frames would amplify segmentation noise.

    Returns None where the cycle is too coarsely sampled.
    """
    n = lv_ml.size
    if n < MIN_PHASES_FOR_RATES or rr_ms <= 0:
        return None
    order = min(6, (n - 1) // 3)
    t = np.asarray(times_ms, float)
    w = 2 * np.pi / rr_ms
    orders = np.arange(1, order + 1)
    basis = np.concatenate([np.ones((n, 1)), np.cos(w * np.outer(t, orders)), np.sin(w * np.outer(t, orders))], axis=1)
    coefficients, *_ = np.linalg.lstsq(basis, lv_ml, rcond=None)
    fine = t[ed] + np.linspace(0, rr_ms, 721)[:-1]
    a, b = coefficients[1 : order + 1], coefficients[order + 1 :]
    slope = (
        -(np.sin(w * np.outer(fine, orders)) * (w * orders)) @ a
        + (np.cos(w * np.outer(fine, orders)) * (w * orders)) @ b
    ) * 1000.0  # mL/s
    systole = (t[es] - t[ed]) % rr_ms
    ejecting = fine - fine[0] <= systole
    if ejecting.all() or not ejecting.any():
        return None
    ejection = int(np.argmin(np.where(ejecting, slope, np.inf)))
    filling = int(np.argmax(np.where(ejecting, -np.inf, slope)))
    return Rates(
        float(-slope[ejection]),
        float(fine[ejection] - fine[0]),
        float(slope[filling]),
        float(fine[filling] - fine[0] - systole),
    )
