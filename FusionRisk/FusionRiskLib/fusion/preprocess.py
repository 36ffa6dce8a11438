"""From columns with gaps to features without: fitted on training rows only, missingness kept visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from .cohort import Array, Column
from .leakage import fingerprint

Impute = Literal["median", "chained"]
#: Rounds of the chained equations, and the penalty of their regressions in units of one row.
_ROUNDS, _PENALTY = 10, 1.0
_STATE = ("center", "scale", "fill", "coefficients", "gaps", "typical", "mean")


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """A fitted preparation.

    Numbers are standardised and filled in; a word becomes one feature per choice, all 0 where unknown. Every pattern of
    gaps in training rows becomes a feature ``NAME is missing``, one for columns that are always missing together.

    Attributes
    ----------
    columns : tuple of Column
        Of the values that it takes.
    center, scale : numpy.ndarray
        ``(columns,)``; 0 and 1 for words.
    fill : numpy.ndarray
        ``(columns,)`` of the standardised column.
    coefficients : numpy.ndarray
        ``(columns, columns + 1)`` of the chained equations, intercept last; all 0 for the median.
    gaps : numpy.ndarray
        ``(indicators,)`` int64, the column whose gaps an indicator shows.
    typical : numpy.ndarray
        ``(columns,)`` mean of the known numbers, most frequent word.
    mean : numpy.ndarray
        ``(features,)`` of the prepared training rows.
    fitted_on : str
        `leakage.fingerprint` of the training values.
    """

    columns: tuple[Column, ...]
    center: Array
    scale: Array
    fill: Array
    coefficients: Array
    gaps: Array
    typical: Array
    mean: Array
    fitted_on: str

    @classmethod
    def fit(cls, values: Array, columns: Sequence[Column], impute: Impute = "median") -> Preprocessor:
        """Fit on training rows.

        Parameters
        ----------
        values : numpy.ndarray
            ``(rows, columns)``, NaN where unknown.
        columns : sequence of Column
        impute : {"median", "chained"}
            ``chained``: each number is regressed on all others (ridge), gaps filled in turn until it settles: the
            conditional mean of multiple imputation by chained equations (van Buuren 2018), as a single imputation.
        """
        numeric = np.array([column.kind != "choice" for column in columns], dtype=bool)
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        count = np.maximum(known.sum(axis=0), 1)
        center = np.where(numeric, filled.sum(axis=0) / count, 0.0)
        spread = np.sqrt(np.where(known, (values - center) ** 2, 0.0).sum(axis=0) / count)
        scale = np.where(numeric & (spread > 0), spread, 1.0)
        z = (values - center) / scale
        fill = np.array(
            [np.median(z[known[:, j], j]) if numeric[j] and known[:, j].any() else 0.0 for j in range(len(columns))]
        )
        patterns: dict[bytes, int] = {}
        for j in np.flatnonzero(~known.all(axis=0)):
            patterns.setdefault(known[:, j].tobytes(), int(j))
        coefficients = np.zeros((len(columns), len(columns) + 1))
        if impute == "chained":
            coefficients = _chain(z, known, fill, numeric)
        typical = center.copy()
        for j in np.flatnonzero(~numeric):
            words = values[known[:, j], j].astype(np.int64)
            typical[j] = np.bincount(words).argmax() if len(words) else np.nan
        made = cls(
            tuple(columns), center, scale, fill, coefficients,
            np.array(list(patterns.values()), dtype=np.int64), typical, np.zeros(0), fingerprint(values),
        )  # fmt: skip
        return replace(made, mean=made.transform(values).mean(axis=0))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what `transform` gives."""
        names: list[str] = []
        for column in self.columns:
            names += [f"{column.name}={c}" for c in column.choices] if column.kind == "choice" else [column.name]
        return (*names, *(f"{self.columns[j].name} is missing" for j in self.gaps))

    @property
    def owners(self) -> Array:
        """``(features,)`` int64: the column that each feature belongs to."""
        width = [len(column.choices) if column.kind == "choice" else 1 for column in self.columns]
        return np.r_[np.repeat(np.arange(len(self.columns)), width), self.gaps].astype(np.int64)

    def transform(self, values: Array) -> Array:
        """``(rows, features)`` without gaps."""
        known = np.isfinite(values)
        z = self._filled((values - self.center) / self.scale, known)
        owners = self.owners
        # a table that comes column by column is kept so
        out = np.empty((len(values), len(owners)), order="F" if values.flags.fnc else "C")
        joined = len(owners) - len(self.gaps)
        numeric = np.array([self.columns[j].kind != "choice" for j in owners[:joined]], dtype=bool)
        if numeric.all():
            out[:, :joined] = z
        else:
            out[:, np.flatnonzero(numeric)] = z[:, owners[:joined][numeric]]
        for j, column in enumerate(self.columns):
            if column.kind == "choice":
                out[:, np.flatnonzero(owners[:joined] == j)] = values[:, [j]] == np.arange(len(column.choices))
        out[:, joined:] = ~known[:, self.gaps]
        return out

    def unforeseen(self, values: Array) -> Array:
        """``(rows,)`` number of columns that are missing here and were in no training row: filled in, not shown."""
        shown = np.zeros(len(self.columns), dtype=bool)
        shown[self.gaps] = True
        return (~np.isfinite(values) & ~shown).sum(axis=1)

    def _filled(self, z: Array, known: Array) -> Array:
        numeric = np.array([column.kind != "choice" for column in self.columns], dtype=bool)
        z = np.where(known & numeric, z, self.fill)
        z[:, ~numeric] = 0.0
        if not self.coefficients.any():
            return z
        gaps = ~known & numeric
        for _ in range(_ROUNDS):
            for j in np.flatnonzero(gaps.any(axis=0)):
                rows = gaps[:, j]
                z[rows, j] = z[rows] @ self.coefficients[j, :-1] + self.coefficients[j, -1]
        return z

    def state(self) -> dict[str, Array]:
        """Everything but columns and fingerprint, as arrays."""
        return {name: getattr(self, name) for name in _STATE}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], columns: Sequence[Column], fitted_on: str) -> Preprocessor:
        return cls(columns=tuple(columns), fitted_on=fitted_on, **{name: state[name] for name in _STATE})


def _chain(z: Array, known: Array, fill: Array, numeric: Array) -> Array:
    """Coefficients of every number on all others, from rounds of filling in."""
    p = z.shape[1]
    x = np.where(known & numeric, z, fill)
    x[:, ~numeric] = 0.0
    coefficients = np.zeros((p, p + 1))
    incomplete = np.flatnonzero(~known.all(axis=0) & known.any(axis=0) & numeric)
    # a column that is complete in training may be missing later: its equation is fitted once, at the end
    complete = np.flatnonzero(known.all(axis=0) & numeric)
    for round_ in range(_ROUNDS):
        for j in [*incomplete, *(complete if round_ == _ROUNDS - 1 else ())]:
            rows = known[:, j]
            others = x[rows].copy()
            others[:, j] = 0.0
            mean, target = others.mean(axis=0), x[rows, j]
            centered = others - mean
            gram = centered.T @ centered + _PENALTY * np.eye(p)
            beta = np.linalg.solve(gram, centered.T @ (target - target.mean()))
            beta[j] = 0.0
            coefficients[j] = np.r_[beta, target.mean() - mean @ beta]
            gaps = ~rows
            x[gaps, j] = x[gaps] @ beta + coefficients[j, -1]
    return coefficients
