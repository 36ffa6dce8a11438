"""Logistic regression with a ridge penalty by Newton steps, each from sums of one pass over the rows.

The objective is scikit-learn's: C times the log loss, plus half the squares of the coefficients without the intercepts.
Two classes have one line, more have one each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.errors import InputError
from scipy.linalg import cho_factor, cho_solve

from ..cohort import Array, Outcome
from ..learners import Learned, Logistic
from .asked import LAST_STEP, MAX_PASSES, Asked, Fitted
from .features import Features

#: Curvature of a shift of all intercepts of several classes, which changes nothing: in shares of the mean curvature.
_SHIFT = 1e-6


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one pass: by fold the gradient ``(folds, q, p)`` and curvature ``(folds, q p, q p)``; gradients of members."""

    loss: float
    gradient: Array
    curvature: Array
    members: Array


def fit_logistic(features: Features, outcome: Outcome, c: float, start: Logistic | None, asked: Asked) -> Fitted:
    """Fit in as few passes as a start near the solution allows.

    Parameters
    ----------
    features : Features
    outcome : Outcome
        Of the same rows.
    c : float
        Inverse strength of the penalty, as of scikit-learn.
    start : Logistic or None
        For example of a sample.
    asked : Asked

    Raises
    ------
    InputError
        No solution.
    """
    k = len(outcome.classes)
    q, p = (1 if k == 2 else k), features.width + 1
    theta = np.zeros((q, p))
    if start is not None:
        line = start.coef[1:] - start.coef[:1] if q == 1 else start.coef
        rise = start.intercept[1:] - start.intercept[:1] if q == 1 else start.intercept
        theta = np.column_stack([line, np.clip(rise, -10, 10)])
    before, least = theta, np.inf
    for _ in range(MAX_PASSES):
        sums = _pass(features, outcome, theta, asked)
        value = c * sums.loss + 0.5 * float((theta[:, :-1] ** 2).sum())
        if not value <= least * (1 + 1e-12) + 1e-9:  # too far: half of the way
            theta = (theta + before) / 2
            continue
        least, before = value, theta
        step = _Solver(c, sums.curvature.sum(axis=0), theta, q).step(sums.gradient.sum(axis=0))
        theta = theta + step
        if np.abs(step).max() < LAST_STEP:
            break
    else:
        raise InputError("Logistic regression finds no solution; leave out columns that tell the same.")
    # what a step from `before` gives for all rows is `theta`; the others are steps from there with their own sums
    everybody = _Solver(c, sums.curvature.sum(axis=0), before, q)
    without: dict[tuple[int, ...], Learned] = {}
    for folds in asked.without:
        rest = [f for f in range(len(sums.gradient)) if f not in folds]
        solver = _Solver(c, sums.curvature[rest].sum(axis=0), before, q)
        without[folds] = _learned(before + solver.step(sums.gradient[rest].sum(axis=0)))
    members = tuple(_learned(before + everybody.step(gradient)) for gradient in sums.members)
    full = _learned(theta)

    def move(learned: Learned, gradient: Array) -> Logistic:
        assert isinstance(learned, Logistic)
        by = _learned(c * everybody.solve(gradient).reshape(q, p))
        return Logistic(learned.coef + by.coef, learned.intercept + by.intercept)

    def gradient_of(x: Array, of: Outcome) -> Array:
        ones = np.column_stack([x, np.ones(len(x))])
        return ((_truth(of, q) - _probability(ones @ theta.T)).T @ ones).ravel()

    return Fitted(full, without, members, move, gradient_of)


class _Solver:
    """Newton steps with one curvature ``(q p, q p)`` of the log loss."""

    def __init__(self, c: float, curvature: Array, at: Array, q: int):
        p = at.shape[1]
        penalty = np.ones((q, p))
        penalty[:, -1] = 0.0
        shift = np.zeros((q, p))
        shift[:, -1] = _SHIFT * c * np.trace(curvature) / len(curvature) if q > 1 else 0.0
        self._c, self._shape, self._pull = c, (q, p), (penalty * at).ravel()
        try:
            self._factor = cho_factor(c * curvature + np.diag((penalty + shift).ravel()))
        except (np.linalg.LinAlgError, ValueError):
            raise InputError("Logistic regression finds no solution; leave out columns that tell the same.") from None

    def solve(self, gradient: Array) -> Array:
        return np.asarray(cho_solve(self._factor, gradient.ravel()))

    def step(self, gradient: Array) -> Array:
        """From where the curvature was taken, by a gradient ``(q, p)`` of the log likelihood there."""
        return self.solve(self._c * gradient.ravel() - self._pull).reshape(self._shape)


def _pass(features: Features, outcome: Outcome, theta: Array, asked: Asked) -> _Sums:
    q, p = theta.shape
    folds = int(asked.fold.max(initial=0)) + 1
    gradient, curvature = np.zeros((folds, q, p)), np.zeros((folds, q * p, q * p))
    members = np.zeros((asked.weights.shape[1], q, p))
    loss = 0.0
    for start, x in features.batches():
        rows = slice(start, start + len(x))
        truth = _truth(outcome.take(np.arange(start, start + len(x))), q)
        ones = np.empty((len(x), p), order="F" if x.flags.fnc else "C")
        ones[:, :-1], ones[:, -1] = x, 1.0
        probability = _probability(ones @ theta.T)
        hit = np.where(truth > 0, probability, 1 - probability) if q == 1 else (probability * truth).sum(axis=1)
        loss -= float(np.log(np.maximum(hit, 1e-300)).sum())
        residual = truth - probability
        for j in range(len(members[0]) if len(members) else 0):
            members[:, j] += (asked.weights[rows] * residual[:, [j]]).T @ ones
        of_fold = asked.fold[rows]
        for f in range(folds):
            own = np.flatnonzero(of_fold == f) if folds > 1 else slice(None)
            part, said = ones[own], probability[own]
            gradient[f] += residual[own].T @ part
            _add_curvature(curvature[f], part, said)
    return _Sums(loss, gradient, curvature, members)


def _add_curvature(total: Array, x: Array, probability: Array) -> None:
    """Add the curvature of the log loss of some rows ``(rows, p)`` with probabilities ``(rows, q)``."""
    q, p = probability.shape[1], x.shape[1]
    for a in range(q):
        scaled = x * np.sqrt(probability[:, [a]] * (1 - probability[:, [a]]))
        total[a * p : (a + 1) * p, a * p : (a + 1) * p] += scaled.T @ scaled
        for b in range(a + 1, q):
            block = -(x * (probability[:, [a]] * probability[:, [b]])).T @ x
            total[a * p : (a + 1) * p, b * p : (b + 1) * p] += block
            total[b * p : (b + 1) * p, a * p : (a + 1) * p] += block.T


def _truth(outcome: Outcome, q: int) -> Array:
    """``(rows, q)`` 1 for the class of a row."""
    return np.asarray(outcome.y[:, None] == (np.array([1]) if q == 1 else np.arange(q)), dtype=np.float64)


def _probability(eta: Array) -> Array:
    if eta.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-np.clip(eta, -700, 700))))
    weight = np.exp(eta - eta.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _learned(theta: Array) -> Logistic:
    """As `learners` keeps it: of two classes the first has zeros."""
    if len(theta) == 1:
        theta = np.vstack([np.zeros_like(theta), theta])
    return Logistic(theta[:, :-1].copy(), theta[:, -1].copy())


def mapped(start: Logistic, names: Sequence[str], wanted: Sequence[str]) -> Logistic:
    """A learner of features called `names` for those called `wanted`; new ones count nothing."""
    place = {name: i for i, name in enumerate(names)}
    coef = np.zeros((len(start.coef), len(wanted)))
    for j, name in enumerate(wanted):
        if name in place:
            coef[:, j] = start.coef[:, place[name]]
    return Logistic(coef, start.intercept)
