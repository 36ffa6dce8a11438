"""Percentile bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent

Array = np.ndarray[Any, Any]
#: Where more of the resamples than this have no value (one class only, say), there is no interval.
_MAX_FAILED = 0.1


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes
    ----------
    value : float or None
        On the rows as they are; None where it cannot be computed.
    low, high : float or None
        None where too many resamples had no value.
    level : float
    """

    value: float | None
    low: float | None
    high: float | None
    level: float = 0.95


def bootstrap(
    statistics: Callable[[Array], Mapping[str, float]],
    patient: Array,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    progress: Progress = silent,
) -> dict[str, Estimate]:
    """Intervals of several statistics from the same resamples, so that differences are paired.

    Parameters
    ----------
    statistics : callable
        Row numbers, repeated as drawn, to named values; NaN where there is none.
    patient : numpy.ndarray
        ``(rows,)`` int; a patient is drawn with all rows.
    resamples, seed : int
    level : float
        Of the percentile interval (Efron and Tibshirani 1993, chapter 13).
    progress : callable

    Notes
    -----
    The model is not refitted: the interval is that of judging given predictions on this many patients. It leaves out
    what another training cohort would change.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(patient, kind="stable")
    starts = np.unique(patient[order], return_index=True)[1]
    rows_of = np.split(order, starts[1:])
    single = all(len(rows) == 1 for rows in rows_of)
    rows = np.concatenate(rows_of)
    values = statistics(np.arange(len(patient)))
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for i in range(resamples):
        chosen = rng.integers(0, len(rows_of), len(rows_of))
        sample = rows[chosen] if single else np.concatenate([rows_of[k] for k in chosen])
        for name, value in statistics(sample).items():
            drawn[name].append(value)
        if i % 50 == 0:
            progress(i / resamples, "bootstrap")
    tail = 100 * (1 - level) / 2
    result = {}
    for name, value in values.items():
        sample_values = np.asarray(drawn[name], dtype=float)
        finite = sample_values[np.isfinite(sample_values)]
        low = high = None
        if np.isfinite(value) and resamples and len(finite) >= (1 - _MAX_FAILED) * resamples:
            low, high = (float(x) for x in np.percentile(finite, (tail, 100 - tail)))
        result[name] = Estimate(float(value) if np.isfinite(value) else None, low, high, level)
    return result
