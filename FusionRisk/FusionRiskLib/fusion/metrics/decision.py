"""What predictions are worth when somebody acts on them, and what a second prediction adds to a first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .survival import kaplan_meier

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class DecisionPoint:
    """Net benefit at one threshold: of the model, of treating all; of treating none it is 0."""

    threshold: float
    model: float
    treat_all: float


@dataclass(frozen=True)
class Reclassification:
    """Net reclassification: of events upwards, of non-events downwards, and their sum (-2..2)."""

    events: float
    nonevents: float
    total: float


def _check(thresholds: Sequence[float]) -> Array:
    t = np.asarray(thresholds, dtype=float)
    if ((t <= 0) | (t >= 1)).any():
        raise ValueError("a decision threshold lies between 0 and 1")
    return t


def decision_curve(y: Array, p: Array, thresholds: Sequence[float]) -> list[DecisionPoint]:
    """Net benefit of acting where the predicted risk reaches a threshold.

    Parameters
    ----------
    y, p : numpy.ndarray
        ``(n,)`` event and its predicted probability.
    thresholds : sequence of float
        Each strictly between 0 and 1.

    References
    ----------
    Vickers and Elkin 2006, doi:10.1177/0272989X06295361: TP/n - FP/n * t/(1-t).
    """
    y = np.asarray(y, dtype=float)
    rate = float(y.mean())
    points = []
    for t in _check(thresholds).tolist():
        act = p >= t
        odds = t / (1 - t)
        model = float((act * y).mean() - (act * (1 - y)).mean() * odds)
        points.append(DecisionPoint(t, model, rate - (1 - rate) * odds))
    return points


def survival_decision_curve(
    time: Array, event: Array, risk: Array, horizon: float, thresholds: Sequence[float]
) -> list[DecisionPoint]:
    """Net benefit at a horizon under censoring.

    Parameters
    ----------
    time, event : numpy.ndarray
        ``(n,)``.
    risk : numpy.ndarray
        ``(n,)`` predicted probability of an event by the horizon.

    Notes
    -----
    Events among those acted on are counted by Kaplan-Meier within them (Vickers et al. 2008,
    doi:10.1186/1472-6947-8-53). That is right where censoring is independent within them.
    """
    rate = 1 - float(kaplan_meier(time, event).at(horizon))
    points = []
    for t in _check(thresholds).tolist():
        act = risk >= t
        odds = t / (1 - t)
        model = 0.0
        if act.any():
            within = 1 - float(kaplan_meier(time[act], event[act]).at(horizon))
            model = float(act.mean()) * (within - (1 - within) * odds)
        points.append(DecisionPoint(t, model, rate - (1 - rate) * odds))
    return points


def reclassification(y: Array, before: Array, after: Array, thresholds: Sequence[float] = ()) -> Reclassification:
    """Net reclassification improvement of `after` over `before`.

    Parameters
    ----------
    y, before, after : numpy.ndarray
        ``(n,)`` event, and its probability by two models.
    thresholds : sequence of float
        Between categories (Pencina et al. 2008, doi:10.1002/sim.2929); empty for any change up or down (the continuous
        NRI, Pencina et al. 2011), which also rises with noise in an ill-calibrated model: read it with calibration.
    """
    y = np.asarray(y, dtype=bool)
    if len(thresholds):
        before, after = (np.searchsorted(np.sort(_check(thresholds)), p, side="right") for p in (before, after))
    moved = np.sign(after - before)
    events = float(moved[y].mean()) if y.any() else float("nan")
    nonevents = -float(moved[~y].mean()) if (~y).any() else float("nan")
    return Reclassification(events, nonevents, events + nonevents)


def discrimination_improvement(y: Array, before: Array, after: Array) -> float:
    """Integrated discrimination improvement: by how much events and non-events move apart (Pencina et al. 2008)."""
    y = np.asarray(y, dtype=bool)
    if not y.any() or y.all():
        return float("nan")
    gain = after - before
    return float(gain[y].mean() - gain[~y].mean())
