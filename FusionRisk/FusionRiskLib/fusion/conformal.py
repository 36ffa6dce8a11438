"""Conformal prediction: sets of classes, intervals of numbers, lower bounds of survival times.

All of it holds on average over patients who are exchangeable with those calibrated on, not for each kind of patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .metrics.survival import censoring_curve

Array = np.ndarray[Any, Any]
Score = Literal["threshold", "adaptive"]


def conformal_quantile(scores: Array, level: float) -> float:
    """The ``ceil((n + 1) level)``-th smallest score; infinite where `n` is too small for the level."""
    rank = int(np.ceil((len(scores) + 1) * level - 1e-9))
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else float("inf")


# -- classes ----------------------------------------------------------------------------------------------------------
def class_scores(p: Array, how: Score = "threshold", u: Array | None = None) -> Array:
    """How strange each class would be for each row.

    Parameters
    ----------
    p : numpy.ndarray
        ``(n, classes)`` probabilities.
    how : {"threshold", "adaptive"}
        ``threshold``: 1 - p, the smallest sets (Sadinle et al. 2019, doi:10.1080/01621459.2018.1395341). ``adaptive``:
        probability of all classes that are likelier plus a random share of its own, larger sets where it is hard
        (Romano et al. 2020, arXiv:2006.02544).
    u : numpy.ndarray or None
        ``(n,)`` uniform numbers for ``adaptive``; None for one each, which errs on the large side.

    Returns
    -------
    numpy.ndarray
        ``(n, classes)``.
    """
    if how == "threshold":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    share = 1.0 if u is None else np.asarray(u)[:, None]
    total = ranked.cumsum(axis=1) - ranked + share * ranked
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, total, axis=1)
    return scores


def _never_empty(sets: Array, p: Array) -> Array:
    empty = ~sets.any(axis=1)
    sets[empty, p[empty].argmax(axis=1)] = True
    return sets


@dataclass(frozen=True, eq=False)
class SplitClasses:
    """Prediction sets from rows that the model was not trained on.

    Attributes
    ----------
    limits : numpy.ndarray
        ``(classes,)`` largest score that a class is kept with.
    level : float
    how : {"threshold", "adaptive"}
    """

    limits: Array
    level: float
    how: Score = "threshold"

    @classmethod
    def fit(
        cls,
        p: Array,
        y: Array,
        level: float = 0.9,
        how: Score = "threshold",
        per_class: bool = False,
        rng: np.random.Generator | None = None,
    ) -> SplitClasses:
        """Calibrate on ``p`` ``(n, classes)`` and ``y`` ``(n,)``.

        With `per_class` each class is covered at the level by itself (Vovk 2012); a class with too few rows for that
        is then in every set.
        """
        scores = class_scores(p, how, None if rng is None else rng.random(len(p)))[np.arange(len(y)), y]
        if per_class:
            limits = [conformal_quantile(scores[y == k], level) for k in range(p.shape[1])]
        else:
            limits = [conformal_quantile(scores, level)] * p.shape[1]
        return cls(np.array(limits), level, how)

    def sets(self, p: Array, rng: np.random.Generator | None = None) -> Array:
        """``(n, classes)`` bool; never empty: the most probable class is kept, which only adds coverage."""
        scores = class_scores(p, self.how, None if rng is None else rng.random(len(p)))
        return _never_empty(scores <= self.limits, p)


def cross_sets(p: Array, y: Array, fold: Array, p_new: Array, level: float = 0.9, how: Score = "threshold") -> Array:
    """Prediction sets from cross-validation, with no row kept aside.

    Parameters
    ----------
    p, y : numpy.ndarray
        ``(n, classes)`` and ``(n,)``: predictions of training rows by the model that had not seen them.
    fold : numpy.ndarray
        ``(n,)`` which model that was.
    p_new : numpy.ndarray
        ``(models, rows, classes)`` predictions of new rows by each of these models.
    level : float
    how : {"threshold", "adaptive"}

    Returns
    -------
    numpy.ndarray
        ``(rows, classes)`` bool, never empty.

    References
    ----------
    Vovk 2015, doi:10.1007/s10472-013-9368-4; Barber et al. 2021, doi:10.1214/20-AOS1965: at least ``2 level - 1`` is
    guaranteed, about ``level`` is what happens.
    """
    scores = class_scores(p, how)[np.arange(len(y)), y]
    stranger = np.zeros(p_new.shape[1:])
    for k in np.unique(fold):
        known = np.sort(scores[fold == k])
        stranger += len(known) - np.searchsorted(known, class_scores(p_new[k], how), side="left")
    chance = (1 + stranger) / (len(y) + 1)
    return _never_empty(chance > 1 - level + 1e-9, p_new.mean(axis=0))


# -- numbers ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SplitInterval:
    """Intervals from rows that the model was not trained on: prediction ± factor * spread."""

    factor: float
    level: float

    @classmethod
    def fit(cls, y: Array, predicted: Array, level: float = 0.9, spread: Array | None = None) -> SplitInterval:
        """Calibrate; `spread` ``(n,)`` is the model's own guess of its error, so that intervals are wider where it
        expects more (Lei et al. 2018, doi:10.1080/01621459.2017.1307116)."""
        residual = np.abs(y - predicted)
        return cls(conformal_quantile(residual if spread is None else residual / spread, level), level)

    def interval(self, predicted: Array, spread: Array | None = None) -> tuple[Array, Array]:
        """``(n,)`` lower and upper ends; infinite where too few rows were calibrated on."""
        half = self.factor * (np.ones(len(predicted)) if spread is None else spread)
        return predicted - half, predicted + half


def cross_interval(y: Array, predicted: Array, fold: Array, new: Array, level: float = 0.9) -> tuple[Array, Array]:
    """Intervals from cross-validation (CV+ of Barber et al. 2021).

    Parameters
    ----------
    y, predicted, fold : numpy.ndarray
        ``(n,)`` truth, prediction by the model that had not seen the row, and which model that was.
    new : numpy.ndarray
        ``(models, rows)`` predictions of new rows.
    level : float

    Returns
    -------
    low, high : numpy.ndarray
        ``(rows,)``.
    """
    residual = np.abs(y - predicted)
    low = np.sort(new[fold] - residual[:, None], axis=0)
    high = np.sort(new[fold] + residual[:, None], axis=0)
    n = len(y)
    rank = int(np.ceil((n + 1) * level - 1e-9))
    if rank > n:
        return np.full(new.shape[1], -np.inf), np.full(new.shape[1], np.inf)
    return low[n - rank], high[rank - 1]


# -- survival ---------------------------------------------------------------------------------------------------------
#: Candidates for the quantile of the predicted distribution that becomes the bound.
_SHARES = np.linspace(0, 1, 201)
#: No bound lies beyond the time to which this share would be watched: one event there would weigh more than 1 / share.
_WATCHED = 0.5


def time_grid(time: Array) -> Array:
    """Times at which curves are compared ``(t,)``: 200 quantiles of the follow-up."""
    return np.asarray(np.unique(np.quantile(time, np.linspace(0, 1, 201)[1:])))


@dataclass(frozen=True)
class SurvivalBound:
    """A lower bound of the survival time: the model's own quantile, at a share that calibration chose.

    Attributes
    ----------
    share : float
        Quantile of the predicted distribution; 0 says that no bound above zero holds.
    level : float
    how : {"observed", "weighted"}
    cap : float or None
        No bound is later: few are watched for so long, and what is not seen cannot be promised.
    """

    share: float
    level: float
    how: Literal["observed", "weighted"]
    cap: float | None = None

    @classmethod
    def fit(
        cls,
        time: Array,
        event: Array,
        times: Array,
        survival: Array,
        level: float = 0.9,
        how: Literal["observed", "weighted"] = "weighted",
    ) -> SurvivalBound:
        """Calibrate on rows that the model was not trained on.

        Parameters
        ----------
        time, event : numpy.ndarray
            ``(n,)``.
        times, survival : numpy.ndarray
            ``(t,)`` grid and ``(n, t)`` predicted probability of no event by then.
        level : float
        how : {"observed", "weighted"}
            ``observed``: bounds the time until event *or* censoring, hence the event too. Exact in finite samples
            whatever the censoring is, but low where many are censored early. ``weighted``: each event before its bound
            counts 1 / G(T-), so that censored rows are made up for, and no bound lies beyond the time to which half
            would be watched. Close to the level for large `n` where censoring is independent of predictors and outcome;
            no exact guarantee.

        References
        ----------
        Candès, Lei and Ren 2023, doi:10.1093/jrsssb/qkac004 (bounds under censoring; ``observed`` is their naive one);
        Angelopoulos et al. 2022, arXiv:2208.02814 (choosing the largest share whose error with one more row stays
        within 1 - level).
        """
        event = np.asarray(event, dtype=bool)
        n, cap = len(time), None
        bounds = quantile_times(times, survival, _SHARES)
        if how == "observed":
            weights, worst = np.ones(n), np.ones(len(_SHARES))
        else:
            g = censoring_curve(time, event)
            weights = np.where(event, 1 / np.maximum(g.before(time), 1e-12), 0.0)
            cap = float(np.max(times[g.before(times) >= _WATCHED], initial=0.0))
            bounds = np.minimum(bounds, cap)
            worst = 1 / np.maximum(g.before(bounds.max(axis=0)), 1 / n)
        error = (weights @ (time[:, None] < bounds) + worst) / (n + 1)
        good = np.flatnonzero(np.maximum.accumulate(error) <= 1 - level + 1e-12)
        return cls(float(_SHARES[good[-1]]) if good.size else 0.0, level, how, cap)

    def bound(self, times: Array, survival: Array) -> Array:
        """``(rows,)`` time that is survived with the level's probability."""
        found = quantile_times(times, survival, np.array([self.share]))[:, 0]
        return found if self.cap is None else np.minimum(found, self.cap)


def quantile_times(times: Array, survival: Array, shares: Array) -> Array:
    """The time by which a share of the predicted distribution has had the event.

    Parameters
    ----------
    times, survival, shares : numpy.ndarray
        ``(t,)``, ``(n, t)`` and ``(s,)``.

    Returns
    -------
    numpy.ndarray
        ``(n, s)``: linear between grid points; where the curve never falls that far, the end of the grid.
    """
    died = np.maximum.accumulate(1 - np.column_stack([np.ones(len(survival)), survival]), axis=1)
    grid = np.r_[0.0, times]
    result = np.empty((len(survival), len(shares)))
    rows, last = np.arange(len(died)), died.shape[1]
    for i, share in enumerate(shares):
        # where the curve stays level the earliest time counts: a lower bound
        right = (died < share).sum(axis=1)
        inside = (right > 0) & (right < last)
        j = np.where(inside, right, 1)
        before = died[rows, j - 1]
        step = np.where(inside, died[rows, j] - before, 1.0)
        between = grid[j - 1] + (grid[j] - grid[j - 1]) * (share - before) / step
        result[:, i] = np.where(inside, between, np.where(right == 0, 0.0, grid[-1]))
    return result
