"""Discrimination and accuracy of survival predictions, weighted by the inverse probability of censoring (IPCW).

Censoring is taken to be independent of the predictors: its distribution is a Kaplan-Meier curve of the judged rows.
An event and a censoring at the same time: the event comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .calibration import CalibrationBin, bins_of

Array = np.ndarray[Any, Any]
#: Pairs compared at a time.
_BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class Steps:
    """A curve that falls in steps: 1 before ``times[0]``, ``values[i]`` from ``times[i]`` on."""

    times: Array
    values: Array

    def at(self, t: Any) -> Array:
        """Its value at `t`, a step at `t` taken."""
        return np.asarray(np.r_[1.0, self.values][np.searchsorted(self.times, t, side="right")])

    def before(self, t: Any) -> Array:
        """Its value just before `t`."""
        return np.asarray(np.r_[1.0, self.values][np.searchsorted(self.times, t, side="left")])


def kaplan_meier(time: Array, event: Array) -> Steps:
    """Survival curve (Kaplan and Meier 1958); ``time`` ``(n,)``, ``event`` ``(n,)`` bool."""
    times, place = np.unique(time, return_inverse=True)
    died = np.bincount(place, weights=np.asarray(event, dtype=float))
    seen = np.bincount(place)
    at_risk = seen[::-1].cumsum()[::-1]
    return Steps(times, np.cumprod(1 - died / at_risk))


def censoring_curve(time: Array, event: Array) -> Steps:
    """Probability of being watched still; who has the event at a time is no longer at risk of censoring then."""
    times, place = np.unique(time, return_inverse=True)
    died = np.bincount(place, weights=np.asarray(event, dtype=float))
    seen = np.bincount(place)
    at_risk = seen[::-1].cumsum()[::-1] - died
    lost = seen - died
    return Steps(times, np.cumprod(1 - np.divide(lost, at_risk, out=np.zeros(len(times)), where=at_risk > 0)))


def _case_weights(time: Array, event: Array, until: float) -> Array:
    """1 / G(T-) for events up to `until`, 0 for the rest."""
    weights = np.zeros(len(time))
    case = event & (time <= until)
    weights[case] = 1 / censoring_curve(time, event).before(time[case])
    return weights


def concordance_ipcw(time: Array, event: Array, risk: Array, until: float | None = None) -> float:
    """Uno's C: the chance that of two patients the one with the earlier event has the higher risk.

    Parameters
    ----------
    time, event, risk : numpy.ndarray
        ``(n,)``.
    until : float or None
        Only events before this time count; None for all.

    Returns
    -------
    float
        NaN where no pair can be compared.

    References
    ----------
    Uno et al. 2011, doi:10.1002/sim.4154; the weights are 1 / G(T-)^2.
    """
    event = np.asarray(event, dtype=bool)
    weights = _case_weights(time, event, np.inf) ** 2
    if until is not None:
        weights[time >= until] = 0
    return _concordance(time, event, risk, weights)


def concordance_harrell(time: Array, event: Array, risk: Array) -> float:
    """Harrell's C: the same without weights; with much censoring it depends on the censoring."""
    event = np.asarray(event, dtype=bool)
    return _concordance(time, event, risk, event.astype(float))


def _concordance(time: Array, event: Array, risk: Array, weights: Array) -> float:
    cases = np.flatnonzero(weights > 0)
    block = max(1, _BLOCK // max(len(time), 1))
    won = compared = 0.0
    for start in range(0, len(cases), block):
        i = cases[start : start + block]
        later = (time > time[i, None]) | ((time == time[i, None]) & ~event)
        ahead = risk[i, None] > risk
        tied = risk[i, None] == risk
        won += float(weights[i] @ ((later & ahead).sum(axis=1) + 0.5 * (later & tied).sum(axis=1)))
        compared += float(weights[i] @ later.sum(axis=1))
    return won / compared if compared else float("nan")


def auc_at(time: Array, event: Array, risk: Array, horizon: float) -> float:
    """Time-dependent AUC: events by the horizon against those event-free beyond it, cases weighted by 1 / G(T-).

    References
    ----------
    Uno et al. 2007, doi:10.1198/016214507000000149; Blanche et al. 2013, doi:10.1002/bimj.201200045 (cumulative cases,
    dynamic controls).
    """
    event = np.asarray(event, dtype=bool)
    weights = _case_weights(time, event, horizon)
    control = time > horizon
    case = weights > 0
    if not control.any() or not case.any():
        return float("nan")
    below = np.sort(risk[control])
    wins = np.searchsorted(below, risk[case], side="left") + np.searchsorted(below, risk[case], side="right")
    return float(weights[case] @ wins / (2 * len(below) * weights[case].sum()))


def brier_at(time: Array, event: Array, survival: Array, horizon: float) -> float:
    """IPCW Brier score at a horizon.

    Parameters
    ----------
    time, event : numpy.ndarray
        ``(n,)``.
    survival : numpy.ndarray
        ``(n,)`` predicted probability of no event by the horizon.

    Returns
    -------
    float
        NaN where nobody is watched beyond the horizon and somebody had been censored before.

    References
    ----------
    Graf et al. 1999, doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5.
    """
    event = np.asarray(event, dtype=bool)
    weights = _case_weights(time, event, horizon)
    free = time > horizon
    if free.any():
        weights[free] = 1 / censoring_curve(time, event).at(horizon)
    return float(np.mean(weights * (free - survival) ** 2))


def integrated_brier(time: Array, event: Array, survival: Array, times: Sequence[float]) -> float:
    """Mean of the Brier score over a span of time, by the trapezoid rule; ``survival`` is ``(n, times)``."""
    scores = [brier_at(time, event, survival[:, j], t) for j, t in enumerate(times)]
    return float(np.trapezoid(scores, times) / (times[-1] - times[0]))


def survival_calibration_curve(
    time: Array, event: Array, risk: Array, horizon: float, bins: int = 5
) -> list[CalibrationBin]:
    """Mean predicted risk at the horizon against Kaplan-Meier, in groups of equal size."""
    return [
        CalibrationBin(float(risk[i].mean()), 1 - float(kaplan_meier(time[i], event[i]).at(horizon)), len(i))
        for i in bins_of(risk, bins)
    ]


def observed_to_expected(time: Array, event: Array, risk: Array, horizon: float) -> float:
    """Kaplan-Meier risk at the horizon over mean predicted risk; 1 when calibrated on the whole."""
    return (1 - float(kaplan_meier(time, event).at(horizon))) / float(risk.mean())


def survival_calibration_slope(time: Array, event: Array, risk: Array) -> float:
    """Cox regression on the complementary log-log of the predicted risk: 1 when calibrated, below 1 when too extreme.

    Parameters
    ----------
    time, event : numpy.ndarray
        ``(n,)``.
    risk : numpy.ndarray
        ``(n,)`` predicted probability of an event by one horizon.

    Returns
    -------
    float
        NaN where the likelihood has no maximum. Ties by Breslow.
    """
    event = np.asarray(event, dtype=bool)
    clipped = np.clip(risk, 1e-12, 1 - 1e-12)
    x = np.log(-np.log1p(-clipped))
    x = x - x.mean()
    order = np.argsort(-time, kind="stable")
    x, t, e = x[order], time[order], event[order]
    # rows still at risk at the time of row i are 0 .. last[i] in this order
    last = np.searchsorted(-t, -t[e], side="right") - 1
    beta = 0.0
    for _ in range(50):
        weight = np.exp(np.clip(beta * x, -500, 500))
        s0, s1, s2 = (np.cumsum(weight * x**k)[last] for k in range(3))
        information = float((s2 / s0 - (s1 / s0) ** 2).sum())
        if not information > 1e-10:
            break
        step = float((x[e] - s1 / s0).sum()) / information
        beta += float(np.clip(step, -2, 2))
        if abs(step) < 1e-9:
            return beta
    return float("nan")
