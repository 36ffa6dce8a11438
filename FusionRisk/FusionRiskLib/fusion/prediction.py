"""What every model predicts, and how much the model itself is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Interval:
    """Model uncertainty of predicted probabilities.

    Attributes
    ----------
    low, high : numpy.ndarray
        ``(rows, classes)``; of survival ``(rows,)`` risk by the horizon.
    level : float
        Share of the refitted models between them. It is no coverage: nothing promises that the truth lies inside.
    """

    low: Array
    high: Array
    level: float

    @property
    def width(self) -> Array:
        return self.high - self.low


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities of classes, or survival curves.

    Attributes
    ----------
    probabilities : numpy.ndarray or None
        ``(rows, classes)``.
    times, survival : numpy.ndarray or None
        ``(t,)`` rising grid and ``(rows, t)`` probability of no event by then.
    """

    probabilities: Array | None = None
    times: Array | None = None
    survival: Array | None = None

    @property
    def p(self) -> Array:
        if self.probabilities is None:
            raise ValueError("a survival prediction has no classes")
        return self.probabilities

    @property
    def curves(self) -> tuple[Array, Array]:
        if self.times is None or self.survival is None:
            raise ValueError("a class prediction has no survival curves")
        return self.times, self.survival

    def survival_at(self, times: Sequence[float] | Array) -> Array:
        """``(rows, times)``: linear between grid points, 1 at time 0, level after the last."""
        right, share = self._between(times)
        survival = self.curves[1]
        padded = np.column_stack([np.ones(len(survival)), survival])
        return np.asarray(padded[:, right - 1] * (1 - share) + padded[:, right] * share)

    def survival_each(self, times: Array) -> Array:
        """``(rows,)``: each row at a time of its own, read as `survival_at` reads it."""
        right, share = self._between(times)
        survival = self.curves[1]
        rows = np.arange(len(survival))
        before = np.where(right == 1, 1.0, survival[rows, np.maximum(right - 2, 0)])
        return np.asarray(before * (1 - share) + survival[rows, right - 1] * share)

    def _between(self, times: Sequence[float] | Array) -> tuple[Array, Array]:
        """The point of the grid, with 0 before it, that follows each time, and the share of the way to it."""
        grid = np.r_[0.0, self.curves[0]]
        times = np.asarray(times, dtype=float)
        right = np.clip(np.searchsorted(grid, times, side="right"), 1, len(grid) - 1)
        return right, np.clip((times - grid[right - 1]) / (grid[right] - grid[right - 1]), 0, 1)

    def take(self, rows: Array) -> Prediction:
        """Some of the rows."""
        if self.probabilities is not None:
            return Prediction(probabilities=self.p[rows])
        times, survival = self.curves
        return Prediction(times=times, survival=survival[rows])

    def risk(self, horizon: float) -> Array:
        """``(rows,)`` probability of an event by the horizon."""
        return 1 - self.survival_at([horizon])[:, 0]

    def __len__(self) -> int:
        return len(self.p if self.probabilities is not None else self.curves[1])
