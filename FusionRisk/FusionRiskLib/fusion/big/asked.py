"""What a streamed fit is asked for besides the model itself, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..cohort import Array, Outcome
from ..learners import Learned

#: Folds that models which had not seen a row come from.
FOLDS = 5
#: A step shorter than this, in any coefficient, was the last: the next would be its square.
LAST_STEP = 1e-5
MAX_PASSES = 30
_DRAWN = 50_000


@dataclass(frozen=True, eq=False)
class Asked:
    """The other fits.

    Attributes
    ----------
    fold : numpy.ndarray
        ``(rows,)`` int8 fold of each row.
    weights : numpy.ndarray
        ``(rows, members)`` uint8: how often a member drew each row.
    without : sequence of tuple of int
        Folds that a fit has not seen.
    """

    fold: Array
    weights: Array
    without: Sequence[tuple[int, ...]] = ()

    @classmethod
    def nothing(cls, rows: int) -> Asked:
        return cls(np.zeros(rows, np.int8), np.zeros((rows, 0), np.uint8))

    def take(self, rows: Array) -> Asked:
        return Asked(self.fold[rows], self.weights[rows], self.without)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A learner fitted to all rows, and its neighbours one Newton step away.

    The step starts at the solution of all rows and uses the gradient of the other rows or weights; what it leaves out
    is of the order of one over the number of rows.

    Attributes
    ----------
    learned : Learned
    without : mapping
        Folds left out -> learner.
    members : tuple of Learned
    move : callable
        ``(learned, gradient)``: a learner one step further, by a gradient ``(parameters,)``.
    gradient : callable
        ``(x, outcome)``: of the log likelihood at the solution, of rows in memory.
    """

    learned: Learned
    without: dict[tuple[int, ...], Learned]
    members: tuple[Learned, ...]
    move: Callable[[Learned, Array], Learned]
    gradient: Callable[[Array, Outcome], Array]


def singles() -> list[tuple[int, ...]]:
    """Every fold left out."""
    return [(k,) for k in range(FOLDS)]


def pairs() -> list[tuple[int, ...]]:
    """Every two folds left out."""
    return list(combinations(range(FOLDS), 2))


def deal(outcome: Outcome, seed: int) -> Array:
    """``(rows,)`` int8: folds that share out classes, or events and thirds of the follow-up, alike."""
    rng: Any = np.random.default_rng((seed, 12))
    order = np.lexsort((rng.random(len(outcome)), outcome.strata))
    fold = np.empty(len(outcome), dtype=np.int8)
    fold[order] = rng.permutation(FOLDS)[np.arange(len(outcome)) % FOLDS]
    return fold


def draw(rows: int, members: int, seed: int) -> Array:
    """``(rows, members)`` uint8 of Poisson weights, the bootstrap of many rows."""
    rng = np.random.default_rng((seed, 13))
    weights = np.empty((rows, members), dtype=np.uint8)
    for start in range(0, rows, _DRAWN):  # as drawn they take eight bytes each
        weights[start : start + _DRAWN] = rng.poisson(1.0, (min(_DRAWN, rows - start), members))
    return weights
