"""Prepared features in batches, from a table that is streamed or from an array that is held."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent

from .. import big
from ..cohort import Array
from ..leakage import canonical_bytes
from ..preprocess import Preprocessor
from .rows import BigTable


def rising(progress: Progress, stage: str) -> Progress:
    """Progress of passes of which nobody knows how many there will be: each takes a part of what is left."""
    last, passes = 0.0, 0

    def told(fraction: float, _: str) -> None:
        nonlocal last, passes
        passes += fraction < last
        last = fraction
        progress(1 - 0.7**passes * (1 - 0.3 * fraction), stage)

    return told


class Features(Protocol):
    """What a learner is fitted to, pass by pass."""

    @property
    def width(self) -> int: ...

    def __len__(self) -> int: ...

    def batches(self) -> Iterator[tuple[int, Array]]:
        """Number of the first row and ``(rows, width)`` features."""
        ...


@dataclass(frozen=True, eq=False)
class Streamed:
    """Prepared columns of a table.

    Attributes
    ----------
    table : BigTable
    columns : tuple of int
    preprocessor : Preprocessor
    rows : numpy.ndarray or None
        ``(rows of the table,)`` bool: which are used; None for all.
    progress : callable
        Asked at every batch whether to go on.
    """

    table: BigTable
    columns: tuple[int, ...]
    preprocessor: Preprocessor
    rows: Array | None = None
    progress: Progress = silent

    @property
    def width(self) -> int:
        return len(self.preprocessor.features)

    def __len__(self) -> int:
        return len(self.table) if self.rows is None else int(self.rows.sum())

    def values(self) -> Iterator[tuple[int, Array]]:
        """Number of the first row, among those used, and ``(rows, columns)`` values."""
        start, n = 0, len(self.table)
        for first, values in self.table.batches(self.columns):
            self.progress(first / n, "fitting")
            if self.rows is not None:
                values = values[self.rows[first : first + len(values)]]
            yield start, values
            start += len(values)

    def batches(self) -> Iterator[tuple[int, Array]]:
        for start, values in self.values():
            yield start, self.preprocessor.transform(values)


@dataclass(frozen=True, eq=False)
class Held:
    """Features ``(rows, width)`` in memory."""

    x: Array

    @property
    def width(self) -> int:
        return int(self.x.shape[1])

    def __len__(self) -> int:
        return len(self.x)

    def batches(self) -> Iterator[tuple[int, Array]]:
        for start in range(0, len(self.x), 8 * big.BATCH_ROWS):
            yield start, self.x[start : start + 8 * big.BATCH_ROWS]


def finished(features: Streamed) -> Streamed:
    """The same with the mean of the features and the fingerprint of the values, from one pass.

    The fingerprint is that of `leakage.fingerprint` of all values at once.
    """
    n = len(features)
    digest = hashlib.sha256(repr((n, len(features.columns))).encode())
    total = np.zeros(features.width)
    for _, values in features.values():
        digest.update(canonical_bytes(values))
        total += features.preprocessor.transform(values).sum(axis=0)
    own = replace(features.preprocessor, mean=total / n, fitted_on=digest.hexdigest())
    return replace(features, preprocessor=own)
