"""Whether predicted probabilities are what happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_EPSILON = 1e-12


@dataclass(frozen=True)
class CalibrationBin:
    """One point of a calibration plot: mean prediction, share observed, rows."""

    predicted: float
    observed: float
    count: int


def logit(p: Array) -> Array:
    p = np.clip(p, _EPSILON, 1 - _EPSILON)
    return np.asarray(np.log(p) - np.log1p(-p))


def bins_of(p: Array, bins: int) -> list[Array]:
    """Row numbers in groups of nearly equal size by rising `p`; equal values stay together, so groups may merge."""
    order = np.argsort(p, kind="stable")
    edges = np.linspace(0, len(p), bins + 1).round().astype(int)[1:-1]
    # an edge between equal values moves up to where they end
    moved = np.searchsorted(p[order], p[order[np.maximum(edges - 1, 0)]], side="right")
    return [part for part in np.split(order, np.unique(moved)) if len(part)]


def calibration_curve(y: Array, p: Array, bins: int = 10) -> list[CalibrationBin]:
    """Groups of equal size by rising prediction; ``y``, ``p`` ``(n,)``, the event and its probability."""
    return [CalibrationBin(float(p[i].mean()), float(y[i].mean()), len(i)) for i in bins_of(p, bins)]


def ece(y: Array, p: Array, bins: int = 10) -> float:
    """Expected calibration error over groups of equal size.

    Parameters
    ----------
    y : numpy.ndarray
        ``(n,)`` int.
    p : numpy.ndarray
        ``(n, classes)``. With two classes the event's probability is judged; with more the probability of the most
        probable class against how often that class is right (Guo et al. 2017, with groups of equal size).
    bins : int

    Notes
    -----
    Biased upwards in small cohorts: a perfect forecast of 100 rows in 10 groups shows about 0.1.
    """
    if p.shape[1] == 2:
        hit, said = y.astype(float), p[:, 1]
    else:
        hit, said = (p.argmax(axis=1) == y).astype(float), p.max(axis=1)
    return sum(b.count * abs(b.observed - b.predicted) for b in calibration_curve(hit, said, bins)) / len(y)


def _fit(y: Array, x: Array, offset: Array) -> Array:
    """Maximum likelihood of a logistic model by Newton steps; NaN where there is none (separation, one class)."""
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        mu = 1 / (1 + np.exp(-np.clip(offset + x @ beta, -500, 500)))
        weight = mu * (1 - mu)
        information = x.T @ (x * weight[:, None])
        if np.linalg.cond(information) > 1e12:
            break
        step = np.linalg.solve(information, x.T @ (y - mu))
        beta = beta + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            return np.asarray(beta)
    return np.full(x.shape[1], np.nan)


def calibration_slope(y: Array, p: Array) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of the event on the logit of its prediction.

    Parameters
    ----------
    y, p : numpy.ndarray
        ``(n,)`` event and its predicted probability.

    Returns
    -------
    slope, intercept : float
        1 and 0 when calibrated; a slope below 1 says that predictions are too extreme (Cox 1958; Van Calster et al.
        2019, doi:10.1186/s12916-019-1466-7). NaN where the predictions separate the classes.
    """
    x = np.column_stack([np.ones(len(y)), logit(p)])
    intercept, slope = _fit(np.asarray(y, dtype=float), x, np.zeros(len(y)))
    return float(slope), float(intercept)


def calibration_in_the_large(y: Array, p: Array) -> float:
    """Intercept with the slope held at 1: above 0 where risk is underestimated on the whole."""
    return float(_fit(np.asarray(y, dtype=float), np.ones((len(y), 1)), logit(p))[0])
