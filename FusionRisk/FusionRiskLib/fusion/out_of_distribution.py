"""Whether a patient is like those that a model was trained on: flagged where unusual, refused where far outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from .cohort import Array, Column

#: Central share of the training values of a column; this share of the training rows is flagged by their distance.
_TAIL, _FLAGGED = 0.005, 0.01
#: How far beyond the central range, in units of its half, a value is refused; and a distance beyond its flag.
_BEYOND, _TWICE = 0.5, 2.0
_STATE = ("low", "middle", "high", "center", "scale", "covariance", "cuts", "gaps")


class Likeness(StrEnum):
    """How a patient compares with the training patients."""

    INSIDE = "inside"
    FLAGGED = "flagged"
    REFUSED = "refused"


@dataclass(frozen=True)
class Judgement:
    """Of one row: how alike, and why; no reason where it is inside."""

    likeness: Likeness
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class OutOfDistribution:
    """Ranges and spread of the training patients.

    Attributes
    ----------
    columns : tuple of Column
    low, middle, high : numpy.ndarray
        ``(columns,)`` quantiles 0.005, 0.5, 0.995 of the known training values; no value of a single patient.
    center, scale : numpy.ndarray
        ``(columns,)`` median and interquartile range / 1.349.
    covariance : numpy.ndarray
        ``(columns, columns)`` of the scaled values, shrunk (Ledoit and Wolf 2004).
    cuts : numpy.ndarray
        ``(2,)`` scores of distance from which a row is flagged and refused.
    gaps : numpy.ndarray
        ``(columns,)`` bool: was missing in some training row.
    """

    columns: tuple[Column, ...]
    low: Array
    middle: Array
    high: Array
    center: Array
    scale: Array
    covariance: Array
    cuts: Array
    gaps: Array

    @classmethod
    def fit(cls, values: Array, columns: Sequence[Column]) -> OutOfDistribution:
        """From training rows ``(rows, columns)``, NaN where unknown, every column known in some row."""
        from sklearn.covariance import ledoit_wolf

        low, first, middle, third, high = np.nanquantile(values, (_TAIL, 0.25, 0.5, 0.75, 1 - _TAIL), axis=0)
        spread = np.nanstd(values, axis=0)
        scale = np.where(third > first, (third - first) / 1.349, np.where(spread > 0, spread, 1.0))
        z = np.clip(np.nan_to_num((values - middle) / scale), -5, 5)
        covariance = ledoit_wolf(z, assume_centered=True)[0]
        made = cls(
            tuple(columns), low, middle, high, middle, scale, covariance + 1e-6 * np.eye(len(middle)), np.zeros(2),
            np.asarray(np.isnan(values).any(axis=0)),
        )  # fmt: skip
        score = made.distance(values)
        usual, flagged = np.nanquantile(score, (0.5, 1 - _FLAGGED))
        cuts = np.array([flagged, usual + _TWICE * (flagged - usual)])
        return cls(**{**{name: getattr(made, name) for name in _STATE}, "columns": made.columns, "cuts": cuts})

    @property
    def _numbers(self) -> Array:
        """Words have no distance: one that training never saw reaches a model as missing."""
        return np.array([column.kind != "choice" for column in self.columns], dtype=bool)

    def distance(self, values: Array) -> Array:
        """``(rows,)`` Mahalanobis distance of what is known, as a normal score whatever its number of columns.

        NaN where nothing is known. (Cube root of chi-square over its degrees of freedom: Wilson and Hilferty 1931.)
        """
        z = (values - self.center) / self.scale
        known = np.isfinite(values) & self._numbers
        score = np.full(len(values), np.nan)
        patterns, of_row = np.unique(known, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            if not pattern.any():
                continue
            rows = np.flatnonzero(of_row.ravel() == i)
            own = z[rows][:, pattern]
            squared = (own * np.linalg.solve(self.covariance[np.ix_(pattern, pattern)], own.T).T).sum(axis=1)
            k = int(pattern.sum())
            score[rows] = (np.cbrt(squared / k) - (1 - 2 / (9 * k))) / np.sqrt(2 / (9 * k))
        return score

    def judge(self, values: Array) -> list[Judgement]:
        """One judgement per row of ``(rows, columns)``."""
        return [self._judge(row, d) for row, d in zip(values, self.distance(values).tolist(), strict=True)]

    def _judge(self, row: Array, distance: float) -> Judgement:
        if not np.isfinite(row).any():
            return Judgement(Likeness.REFUSED, ("nothing that the model needs is known",))
        far: list[str] = []
        unusual: list[str] = []
        for j, column in enumerate(self.columns):
            value = float(row[j])
            if np.isnan(value):
                if not self.gaps[j]:
                    unusual.append(f"{column.name} is unknown, which it was in no training patient")
                continue
            if column.kind != "number" or self.low[j] <= value <= self.high[j]:
                continue
            edge, side = (self.high[j], 1) if value > self.high[j] else (self.low[j], -1)
            beyond = side * (value - edge) > _BEYOND * side * (edge - self.middle[j])
            range_ = f"{self.low[j]:.4g} to {self.high[j]:.4g} in training"
            (far if beyond else unusual).append(
                f"{column.name} {value:.7g} lies {'far ' if beyond else ''}outside ({range_})"
            )
        if distance > self.cuts[1]:
            far.append("the values together are unlike those of any training patient")
        elif distance > self.cuts[0]:
            unusual.append("the values together are unusual")
        if far:
            return Judgement(Likeness.REFUSED, (*far, *unusual))
        return Judgement(Likeness.FLAGGED if unusual else Likeness.INSIDE, tuple(unusual))

    def state(self) -> dict[str, Array]:
        """Everything but the columns, as arrays."""
        return {name: getattr(self, name) for name in _STATE}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], columns: Sequence[Column]) -> OutOfDistribution:
        made = cls(columns=tuple(columns), **{name: state[name] for name in _STATE})
        n = len(made.columns)
        shapes = {"covariance": (n, n), "cuts": (2,)}
        if any(getattr(made, name).shape != shapes.get(name, (n,)) for name in _STATE):
            raise ValueError("the ranges do not fit the columns")
        return made
