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
#: Rows that lack the same columns are solved together from this number on; numbers held while solving.
_SHARED, _HELD = 4, 2_000_000
_STATE = ("low", "middle", "high", "center", "scale", "covariance", "cuts", "gaps")


#: What the reasons say that refuse a row, rather than flag it.
_NOTHING = "nothing that the model needs is known"
_FAR, _UNLIKE = "lies far outside", "the values together are unlike those of any training patient"


def refuses(reason: str) -> bool:
    """Whether a reason of a `Judgement` is one to refuse a row."""
    return reason in (_NOTHING, _UNLIKE) or f" {_FAR} (" in reason


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
        numbers = np.flatnonzero(self._numbers)
        known = np.isfinite(values[:, numbers])
        z = np.where(known, ((values - self.center) / self.scale)[:, numbers], 0.0)
        precision = np.linalg.inv(self.covariance[np.ix_(numbers, numbers)]) if len(numbers) else np.zeros((0, 0))
        shared = z @ precision
        squared = (shared * z).sum(axis=1) - _of_missing(shared, known, precision)
        k = known.sum(axis=1)
        score = np.full(len(values), np.nan)
        some = k > 0
        k, squared = k[some], np.maximum(squared[some], 0.0)
        score[some] = (np.cbrt(squared / k) - (1 - 2 / (9 * k))) / np.sqrt(2 / (9 * k))
        return score

    def judge(self, values: Array) -> list[Judgement]:
        """One judgement per row of ``(rows, columns)``."""
        distance, known = self.distance(values), np.isfinite(values)
        number = np.array([column.kind == "number" for column in self.columns], dtype=bool)
        with np.errstate(invalid="ignore"):
            above, below = known & number & (values > self.high), known & number & (values < self.low)
            beyond = np.where(
                above,
                values - self.high > _BEYOND * (self.high - self.middle),
                self.low - values > _BEYOND * (self.middle - self.low),
            )
        far: dict[int, list[str]] = {}
        unusual: dict[int, list[str]] = {}
        rows, places = np.nonzero(above | below | (~known & ~self.gaps))
        for i, j in zip(rows.tolist(), places.tolist(), strict=True):
            name = self.columns[j].name
            if not known[i, j]:
                unusual.setdefault(i, []).append(f"{name} is unknown, which it was in no training patient")
                continue
            range_ = f"{self.low[j]:.4g} to {self.high[j]:.4g} in training"
            where, into = (_FAR, far) if beyond[i, j] else ("lies outside", unusual)
            into.setdefault(i, []).append(f"{name} {values[i, j]:.7g} {where} ({range_})")
        for i in np.flatnonzero(distance > self.cuts[1]).tolist():
            far.setdefault(i, []).append(_UNLIKE)
        for i in np.flatnonzero((distance > self.cuts[0]) & (distance <= self.cuts[1])).tolist():
            unusual.setdefault(i, []).append("the values together are unusual")
        nothing = set(np.flatnonzero(~known.any(axis=1)).tolist())
        return [
            Judgement(Likeness.REFUSED, (_NOTHING,)) if i in nothing else _judged(far.get(i, []), unusual.get(i, []))
            for i in range(len(values))
        ]

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


def _judged(far: list[str], unusual: list[str]) -> Judgement:
    if far:
        return Judgement(Likeness.REFUSED, (*far, *unusual))
    return Judgement(Likeness.FLAGGED, tuple(unusual)) if unusual else _INSIDE


_INSIDE = Judgement(Likeness.INSIDE)


def _of_missing(shared: Array, known: Array, precision: Array) -> Array:
    """``(rows,)``: what the squared distance of all columns, unknown ones at 0, has over that of the known ones alone.

    The inverse of a part of the covariance is that part of the precision less its Schur complement, so that only a
    system of the unknown columns is solved for each row: once for rows that lack the same.
    """
    missing = ~known
    found, count = np.zeros(len(known)), missing.sum(axis=1)
    rows = np.flatnonzero(count > 0)
    if not rows.size:
        return found
    packed = np.ascontiguousarray(np.packbits(missing[rows], axis=1))
    _, first, of_row, size = np.unique(
        packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True, return_counts=True
    )
    for i in np.flatnonzero(size >= _SHARED).tolist():
        same: Array = rows[of_row == i]
        lacks = np.flatnonzero(missing[rows[first[i]]])
        v = shared[same][:, lacks]
        found[same] = (np.linalg.solve(precision[np.ix_(lacks, lacks)], v.T).T * v).sum(axis=1)
    alone = rows[size[of_row] < _SHARED]
    for m in np.unique(count[alone]).tolist():
        alike = alone[count[alone] == m]
        step = max(1, _HELD // (m * m))
        for start in range(0, len(alike), step):
            own: Array = alike[start : start + step]
            places: Array = np.nonzero(missing[own])[1].reshape(len(own), m)
            v = shared[own[:, None], places]
            systems = precision[places[:, :, None], places[:, None, :]]
            found[own] = (np.linalg.solve(systems, v[:, :, None])[:, :, 0] * v).sum(axis=1)
    return found
