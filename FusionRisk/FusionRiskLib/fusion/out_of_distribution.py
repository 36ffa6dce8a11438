"""Whether a patient is like those that a model was trained on: flagged where unusual, refused where far outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from .cohort import Array, Column

#: Central share of the training values of a column; this share of the training rows is flagged by their distance, and
#: by the value that lies furthest outside: of many columns one is outside in nearly everybody.
_TAIL, _FLAGGED, _RARE = 0.005, 0.01, 0.001
#: How far beyond the central range, in units of its half, a value is refused at the least; and how far beyond the flag.
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
    reach : numpy.ndarray
        ``(2,)`` how far outside a value is flagged and refused, in units of half its range.
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
    reach: Array = field(default_factory=lambda: np.array([0.0, _BEYOND]))

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
        cuts = _cuts(made.distance(values))
        reach = np.maximum(_cuts(made.outside(values).max(axis=1, initial=0.0)), (0.0, _BEYOND))
        return replace(made, cuts=cuts, reach=reach)

    def outside(self, values: Array) -> Array:
        """``(rows, columns)`` how far each number lies outside of its range, in units of half of it; 0 inside."""
        # of a range without width the spread counts
        up = np.where(self.high > self.middle, self.high - self.middle, self.scale)
        down = np.where(self.middle > self.low, self.middle - self.low, self.scale)
        number = np.array([column.kind == "number" for column in self.columns], dtype=bool)
        with np.errstate(invalid="ignore"):
            found = np.maximum((values - self.high) / up, (self.low - values) / down)
            return np.where((found > 0) & number, found, 0.0)

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
        outside = self.outside(values)
        beyond = outside > self.reach[1]
        far: dict[int, list[str]] = {}
        unusual: dict[int, list[str]] = {}
        rows, places = np.nonzero((outside > self.reach[0]) | (~known & ~self.gaps))
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
        return {name: getattr(self, name) for name in (*_STATE, "reach")}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], columns: Sequence[Column]) -> OutOfDistribution:
        reach = {"reach": state["reach"]} if "reach" in state else {}  # models of earlier versions have none
        made = cls(columns=tuple(columns), **{name: state[name] for name in _STATE}, **reach)
        n = len(made.columns)
        shapes = {"covariance": (n, n), "cuts": (2,), "reach": (2,)}
        if any(getattr(made, name).shape != shapes.get(name, (n,)) for name in (*_STATE, "reach")):
            raise ValueError("the ranges do not fit the columns")
        return made


def _cuts(score: Array) -> Array:
    """``(2,)`` flagged and refused, from the scores of the training rows."""
    usual, flagged = np.nanquantile(score, (0.5, 1 - _FLAGGED))
    # what one in a thousand has is rare, and no reason to refuse; of few rows the second furthest counts
    seen = np.nanquantile(score, 1 - _RARE, method="lower")
    return np.array([flagged, max(usual + _TWICE * (flagged - usual), seen)])


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
