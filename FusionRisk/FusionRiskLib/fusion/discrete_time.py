"""Survival in discrete time: the hazard of each of some intervals, by boosted trees or by a network.

The model is that of Tutz and Schmid 2016, "Modeling Discrete Time-to-Event Data": every patient is a row per interval
lived through, and the answer is whether the event came in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from CardioPrecisionLib.analysis import silent

from .cohort import Array, Outcome
from .joint_net import MEMBERS, Goal, Net, survival, train
from .prediction import Prediction

_INTERVALS = 10


def interval_ends(outcome: Outcome) -> Array:
    """``(intervals,)`` rising ends: quantiles of the times of events, so that every interval has some."""
    shares = np.linspace(0, 1, _INTERVALS + 1)[1:]
    return np.unique(np.quantile(outcome.t[outcome.e], shares))


def intervals_lived(outcome: Outcome, ends: Array) -> tuple[Array, Array]:
    """How many intervals each row says something about, and in which one its event came.

    Returns
    -------
    lived : numpy.ndarray
        ``(rows,)`` int64. An interval in which somebody was censored is not lived through, and says nothing.
    hit_at : numpy.ndarray
        ``(rows,)`` int64 interval of the event, -1 where there is none.
    """
    at = np.searchsorted(ends, outcome.t)  # the interval in which the follow-up ends
    lived = np.minimum(at + outcome.e, len(ends))
    return lived, np.where(outcome.e & (at < len(ends)), at, -1)


def bootstrap_counts(strata: Array, members: int, seed: int) -> Array:
    """``(members, rows)`` int64: how often each row is drawn, within the strata, so that no class is lost."""
    rng = np.random.default_rng((seed, 1))
    counts = np.zeros((members, len(strata)), dtype=np.int64)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        drawn = rng.integers(0, len(rows), (members, len(rows)))
        for m in range(members):
            counts[m, rows] = np.bincount(drawn[m], minlength=len(rows))
    return counts


@dataclass(frozen=True, eq=False)
class DiscreteTime:
    """Networks for the hazards of intervals that end at `ends` ``(intervals,)``."""

    kind: ClassVar[str] = "discrete_time"
    net: Net
    ends: Array

    def predict(self, x: Array) -> Prediction:
        """From ``(rows, features)``."""
        logits = self.net.predict([x], np.ones((len(x), 1), dtype=bool))
        return Prediction(times=self.ends, survival=survival(logits).mean(axis=0))


def fit_discrete_time(x: Array, outcome: Outcome, decay: float, seed: int) -> DiscreteTime:
    """Fit on features ``(rows, features)`` without gaps."""
    ends = interval_ends(outcome)
    counts = bootstrap_counts(outcome.strata, MEMBERS, seed)
    present = np.ones((len(x), 1), dtype=bool)
    net, _ = train([x], present, Goal.of(outcome, ends), counts, decay, seed, silent)
    return DiscreteTime(net, ends)
