"""One look at every column of a large table, one column as a whole at a time: exact medians, quantiles, gaps; leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent

from .. import big
from ..cohort import Array, Cohort, Column, Outcome, check_patients, refuse_constant
from ..leakage import LeakageError, check_columns, check_times
from ..preprocess import Impute, Preprocessor
from .rows import BigTable

#: Values of columns that are held at a time.
_HELD = 10_000_000
#: Patients of the rarest class (or with an event) that the sample holds where there are as many.
_RARE = 200


class Alone(NamedTuple):
    """What a `Preprocessor` keeps of a column, whose meaning is there."""

    center: float
    scale: float
    fill: float
    typical: float

    @classmethod
    def of(cls, ordered: Array, column: Column) -> Alone:
        """From all known values in ascending order, as `Preprocessor.fit` finds it."""
        if column.kind == "choice":
            return cls(0.0, 1.0, 0.0, float(np.bincount(ordered.astype(np.int64)).argmax()))
        center, spread = float(ordered.mean()), float(ordered.std())
        scale = spread if spread > 0 else 1.0
        return cls(center, scale, (_quantile(ordered, 0.5) - center) / scale, center)


def _quantile(ordered: Array, share: float) -> float:
    """As `numpy.quantile` of values that are in order already."""
    place = share * (len(ordered) - 1)
    left = int(place)
    right = min(left + 1, len(ordered) - 1)
    return float(ordered[left] + (place - left) * (ordered[right] - ordered[left]))


@dataclass(frozen=True, eq=False)
class Looked:
    """What is known of the columns of a table.

    Attributes
    ----------
    table : BigTable
    alone : tuple of Alone
        Of every column by itself.
    known : numpy.ndarray
        ``(columns,)`` int64 rows with a value.
    ranges : numpy.ndarray
        ``(columns, 2)`` quantiles 0.005 and 0.995 of the known values.
    gaps : tuple of bytes
        A hash of which rows are known, one per column.
    present : mapping
        Modality -> ``(rows,)`` bool: some value of it is known.
    rows : numpy.ndarray
        ``(sample,)`` rows of the sample, ascending.
    sample : Cohort
    warnings : tuple of str
        Of examinations after the baseline.
    """

    table: BigTable
    alone: tuple[Alone, ...]
    known: Array
    ranges: Array
    gaps: tuple[bytes, ...]
    present: Mapping[str, Array]
    rows: Array
    sample: Cohort
    warnings: tuple[str, ...]

    def preprocessor(self, columns: Sequence[int], rows: int, impute: Impute) -> Preprocessor:
        """For some columns on `rows` rows that hold all of their values; mean and fingerprint are still to come."""
        one = [self.alone[j] for j in columns]
        own = tuple(self.table.columns[j] for j in columns)
        patterns: dict[bytes, int] = {}
        for place, j in enumerate(columns):
            if self.known[j] < rows:
                patterns.setdefault(self.gaps[j], place)
        filled: dict[str, Any] = {"coefficients": np.zeros((len(own), len(own) + 1)), "residual": np.zeros(len(own))}
        if impute == "chained":  # regressions of the sample
            fitted = Preprocessor.fit(self.sample.values[:, list(columns)], own, impute)
            filled = {name: getattr(fitted, name) for name in filled}
        joined: dict[str, Any] = {name: np.array([getattr(p, name) for p in one]) for name in Alone._fields}
        gaps = np.array(list(patterns.values()), dtype=np.int64)
        return Preprocessor(own, gaps=gaps, mean=np.zeros(0), fitted_on="", **filled, **joined)


def look(table: BigTable, seed: int = 0, progress: Progress = silent) -> Looked:
    """Read every column once; check what `cohort.check_trainable` and `leakage.check_all` check.

    Leaks are looked for in the sample, and what is suspicious there is confirmed on the whole.

    Raises
    ------
    InputError
        Too few patients or of a class, a column that is empty or never changes, or a leak.
    """
    n = len(table)
    everybody = Cohort(
        (), np.empty((n, 0)), np.arange(n), table.target, times=table.times, times_in_days=table.times_in_days
    )
    check_patients(everybody)
    warnings = check_times(everybody)
    rows = sample_rows(table.target, big.SAMPLE_ROWS, seed)
    values = np.empty((len(rows), len(table.columns)))
    own = table.target.take(rows)
    present = {name: np.zeros(n, dtype=bool) for name in table.modalities}
    alone, known, ranges, gaps = [], [], [], []
    for j, whole in _columns(table):
        progress(j / len(table.columns), "Columns")
        column, there = table.columns[j], np.isfinite(whole)
        ordered = np.sort(whole[there])
        ends = ordered[[0, -1]] if len(ordered) else np.array([np.inf, -np.inf])
        refuse_constant((column.name,), ends[:1], ends[1:])
        alone.append(Alone.of(ordered, column))
        known.append(len(ordered))
        ranges.append([_quantile(ordered, 0.005), _quantile(ordered, 0.995)])
        gaps.append(hashlib.blake2b(np.packbits(there).tobytes(), digest_size=16).digest())
        present[column.modality] |= there
        values[:, j] = whole[rows]
        _check(column, whole, values[:, j], alone[-1], table, own)
    return Looked(
        table, tuple(alone), np.array(known), np.array(ranges), tuple(gaps), present, rows,
        table.cohort(values, rows), tuple(warnings),
    )  # fmt: skip


def sample_rows(outcome: Outcome | int, size: int, seed: int) -> Array:
    """Rows drawn at random, ascending; of a rare class, or of events, at least 200 where there are as many."""
    rng = np.random.default_rng((seed, 11))
    n = outcome if isinstance(outcome, int) else len(outcome)
    if n <= size:
        return np.arange(n)
    drawn = rng.choice(n, size, replace=False)
    if not isinstance(outcome, int):
        strata = outcome.e.astype(np.int64) if outcome.kind == "survival" else outcome.y
        for stratum in np.unique(strata):
            own = np.flatnonzero(strata == stratum)
            if (strata[drawn] == stratum).sum() < _RARE:
                drawn = np.union1d(drawn, rng.choice(own, min(_RARE, len(own)), replace=False))
    return np.sort(drawn)


def sample_cohort(table: BigTable, size: int, seed: int) -> Cohort:
    """Rows drawn at random as an ordinary cohort, read in one pass."""
    rng = np.random.default_rng((seed, 11))
    rows = np.sort(rng.choice(len(table), min(size, len(table)), replace=False))
    values = np.empty((len(rows), len(table.columns)))
    for start, batch in table.batches():
        inside = slice(*np.searchsorted(rows, (start, start + len(batch))))
        values[inside] = batch[rows[inside] - start]
    return table.cohort(values, rows)


def _columns(table: BigTable) -> Iterator[tuple[int, Array]]:
    """Place and ``(rows,)`` values of every column, a few read at a time."""
    step = max(1, _HELD // len(table))
    for first in range(0, len(table.columns), step):
        wanted = range(first, min(first + step, len(table.columns)))
        values = table.read(wanted)
        for i, j in enumerate(wanted):
            yield j, values[:, i]


def _check(column: Column, whole: Array, drawn: Array, alone: Alone, table: BigTable, own: Outcome) -> None:
    """Look for a leak in the sample, and on the whole where the sample is suspicious."""
    one = Cohort((column,), drawn[:, None], np.arange(len(drawn)), own, accept=table.accept)
    suspicious = column.kind == "number" and _prepared_perhaps(drawn, alone)
    try:
        check_columns(one)
    except LeakageError:
        suspicious = True
    if suspicious:
        check_columns(replace(one, values=whole[:, None], patient=np.arange(len(whole)), outcome=table.target))


def _prepared_perhaps(drawn: Array, alone: Alone) -> bool:
    """The column may have been standardised or filled in with its mean: only the whole can tell."""
    center, scale = alone.center, alone.scale
    if abs(center) < 1e-6 and abs(scale - 1) < 1e-5:
        return True
    distinct, counts = np.unique(drawn[np.isfinite(drawn)], return_counts=True)
    most: Any = distinct[counts.argmax()] if len(distinct) else np.inf
    return bool(abs(most - center) < 1e-6 * scale)
