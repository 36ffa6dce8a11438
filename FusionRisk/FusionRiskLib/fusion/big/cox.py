"""Cox regression with a ridge penalty by Newton steps, each from two passes over the rows.

The objective is that of lifelines: the log partial likelihood (ties after Efron), less half the penalty times the
number of rows times the squares of the coefficients of standardised features. The first pass gives every row's linear
predictor; with those, the gradient is a sum over rows (their martingale residuals times their features) and exact. The
curvature takes the mean features of those at risk from spans of time, which changes the way to the solution and not
the solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.errors import InputError
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from ..cohort import Array, Outcome
from ..learners import Cox, Learned
from .asked import LAST_STEP, MAX_PASSES, Asked, Fitted
from .clock import Clock
from .features import Features

#: Linear predictors further from their mean are cut, so that nothing overflows on the way.
_FARTHEST = 50.0
#: The other fits are summed once the last step was this short.
_NEAR = 1e-2


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one pass: gradient ``(p,)``, curvature ``(p, p)``, gradients of the other fits, mean features at risk."""

    gradient: Array
    curvature: Array
    others: Array
    means: Array


def fit_cox(features: Features, outcome: Outcome, penalty: float, start: Cox | None, asked: Asked) -> Fitted:
    """Fit; parameters as of `newton.fit_logistic`, `penalty` as of lifelines.

    Raises
    ------
    InputError
        No solution.
    """
    clock, n = Clock.of(outcome), len(features)
    spread = _spread(features)
    ridge = penalty * np.where(spread > 0, spread, 1.0) ** 2
    beta = np.zeros(features.width) if start is None else start.coef.copy()
    weights = [np.isin(asked.fold, folds, invert=True).astype(np.float64) for folds in asked.without]
    before, least, last = beta, np.inf, np.inf
    for done in range(1, MAX_PASSES + 1):
        eta = _predictors(features, beta)
        value = clock.loss(eta - eta.mean()) + 0.5 * n * float(ridge @ beta**2)
        if not value <= least * (1 + 1e-10) + 1e-9:  # too far: half of the way
            beta = (beta + before) / 2
            continue
        ready = last < _NEAR or done > MAX_PASSES // 2
        residual = _residuals(clock, eta, weights, asked.weights) if ready else np.empty((n, 0), np.float32)
        sums = _pass(features, clock, eta, residual)
        factor = _factored(sums.curvature, n * ridge)
        step = cho_solve(factor, sums.gradient - n * ridge * beta)
        least, before = value, beta
        beta, last = beta + step, float(np.abs(step).max())
        if ready and last < LAST_STEP:
            break
    else:
        raise InputError("Cox regression finds no solution on the training rows; leave out columns that tell the same.")
    center = float(eta.mean())

    def learned(to: Array, weight: Array | None = None) -> Cox:
        """With the baseline hazard of rows and weights; of first order in how far `to` is from `before`."""
        steps = clock.steps(eta - center, weight) * np.exp(-center)
        span = clock.span
        moved = np.exp(-sums.means @ (to - before))
        hazard = np.cumsum(steps * np.where(span >= 0, moved[np.maximum(span, 0)], 1.0))
        return Cox(to, clock.times[clock.kept], hazard[clock.kept])

    without: dict[tuple[int, ...], Learned] = {}
    members = []
    for i, (folds, weight) in enumerate(zip(asked.without, weights, strict=True)):
        share = weight.mean()
        own = _factored(share * sums.curvature, share * n * ridge)
        without[folds] = learned(before + cho_solve(own, sums.others[i] - share * n * ridge * before), weight)
    for i in range(asked.weights.shape[1]):
        pulled = sums.others[len(weights) + i] - n * ridge * before
        members.append(learned(before + cho_solve(factor, pulled), asked.weights[:, i].astype(np.float64)))
    full = learned(beta)

    def move(one: Learned, gradient: Array) -> Cox:
        assert isinstance(one, Cox)
        by = cho_solve(factor, gradient)
        typical = np.exp(-float(sums.means.mean(axis=0) @ by)) if len(sums.means) else 1.0
        return Cox(one.coef + by, one.times, one.hazard * typical)

    def gradient_of(x: Array, of: Outcome) -> Array:
        own = Clock.of(of)
        return np.asarray((own.event - own.expected(_cut(x @ full.coef))) @ x)

    return Fitted(full, without, tuple(members), move, gradient_of)


def _cut(eta: Array) -> Array:
    """Around its mean: a shift of all changes no partial likelihood."""
    return np.asarray(np.clip(eta - eta.mean(), -_FARTHEST, _FARTHEST))


def _spread(features: Features) -> Array:
    """``(width,)`` standard deviation, as pandas has it."""
    n, total, square, shift = len(features), np.zeros(features.width), np.zeros(features.width), None
    for _, x in features.batches():
        shift = x[0] if shift is None else shift
        total += (x - shift).sum(axis=0)
        square += ((x - shift) ** 2).sum(axis=0)
    spread = np.sqrt(np.maximum(square - total**2 / n, 0.0) / max(n - 1, 1))
    return np.where(spread > 1e-9, spread, 0.0)


def _predictors(features: Features, beta: Array) -> Array:
    eta = np.empty(len(features))
    for start, x in features.batches():
        eta[start : start + len(x)] = x @ beta
    return np.clip(eta, eta.mean() - _FARTHEST, eta.mean() + _FARTHEST)


def _residuals(clock: Clock, eta: Array, weights: list[Array], drawn: Array) -> Array:
    """``(rows, others)`` float32: events less those expected, of the other fits."""
    columns = np.empty((len(eta), len(weights) + drawn.shape[1]), dtype=np.float32)
    for i in range(columns.shape[1]):
        weight = weights[i] if i < len(weights) else drawn[:, i - len(weights)].astype(np.float64)
        columns[:, i] = clock.event * weight - clock.expected(eta - eta.mean(), weight)
    return columns


def _pass(features: Features, clock: Clock, eta: Array, residual: Array) -> _Sums:
    p, bins, center = features.width, len(clock.starts), float(eta.mean())
    risk = np.exp(eta - center)
    exact = clock.event - clock.expected(eta - center)
    of_time = clock.span
    span = of_time[clock.at]
    inside = span >= 0
    total = np.bincount(span[inside], risk[inside], minlength=bins)[::-1].cumsum()[::-1]
    events = np.bincount(of_time[of_time >= 0], clock.events()[of_time >= 0], minlength=bins)
    # hazard and means of the same spans, so that the curvature is that of some likelihood and never negative
    weight = np.where(inside, risk * np.cumsum(events / total)[np.maximum(span, 0)], 0.0)
    gradient, first = np.zeros(p), np.zeros((p, p))
    others, at_risk = np.zeros((residual.shape[1], p)), np.zeros((bins, p))
    for start, x in features.batches():
        rows = slice(start, start + len(x))
        gradient += exact[rows] @ x
        others += residual[rows].T @ x
        scaled = x * np.sqrt(weight[rows])[:, None]
        first += scaled.T @ scaled
        own = np.flatnonzero(inside[rows])
        place = (span[rows][own], own)
        at_risk += csr_array((risk[rows][own], place), shape=(bins, len(x))) @ x
    means = at_risk[::-1].cumsum(axis=0)[::-1] / total[:, None]
    weighted = means * np.sqrt(events)[:, None]
    return _Sums(gradient, first - weighted.T @ weighted, others, means)


def _factored(curvature: Array, ridge: Array) -> tuple[Array, bool]:
    try:
        factor: tuple[Array, bool] = cho_factor(curvature + np.diag(ridge))
    except (np.linalg.LinAlgError, ValueError):
        raise InputError(
            "Cox regression finds no solution on the training rows; leave out columns that tell the same."
        ) from None
    return factor
