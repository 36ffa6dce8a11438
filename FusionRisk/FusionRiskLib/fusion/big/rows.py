"""A Parquet table too large to be held: its outcome in memory, its predictors in batches.

The rules are those of `cohort_table`: the columns that are no predictors become its cells and go through the same
functions, the predictors are decoded a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.errors import InputError

from ...clinical.cells import read_cells, refuse_formulas
from ...clinical.fields import UNKNOWN_WORDS, YES_NO_WORDS
from .. import big
from ..cohort import Array, Cohort, Column, Outcome, WithColumns
from ..cohort_table import (
    CellTable,
    Planned,
    codes,
    keep_usable,
    kind_of_field,
    kind_of_words,
    need_named,
    numbers_of_words,
    plan_predictors,
    read_outcome,
    read_times,
)
from ..schema import CohortSchema
from .parquet import ParquetTable, numbers_of, words_of

#: Different words of one column that are looked at; `cohort_table.MAX_CHOICES` are allowed.
_MOST_WORDS = 1000
#: Rows read at a time of the columns that are no numbers.
_SCANNED = 65_536


@dataclass(frozen=True, eq=False)
class BigTable(WithColumns):
    """What is known of a table after one pass, and its predictors in batches.

    Attributes
    ----------
    table : ParquetTable
    planned : tuple of Planned
        Its predictors, in the order of `columns`.
    columns : tuple of Column
    kept : numpy.ndarray or None
        ``(rows of the file,)`` bool: has consent and an outcome; None where all have.
    outcome : Outcome or None
        Of the rows that were kept.
    sites : tuple of str
    times : mapping
        As of `Cohort`.
    times_in_days : bool
    accept : mapping
    warnings : tuple of str
    """

    table: ParquetTable
    planned: tuple[Planned, ...]
    columns: tuple[Column, ...]
    kept: Array | None
    outcome: Outcome | None = None
    sites: tuple[str, ...] = ()
    times: Mapping[str, Array] = field(default_factory=dict)
    times_in_days: bool = False
    accept: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.table.rows if self.kept is None else int(self.kept.sum())

    def of(self, modality: str) -> list[int]:
        """Places of the columns of a modality."""
        return [i for i, column in enumerate(self.columns) if column.modality == modality]

    def batches(self, columns: Sequence[int] | None = None, size: int | None = None) -> Iterator[tuple[int, Array]]:
        """Number of the first row and ``(rows, columns)`` float64, NaN where unknown, of the rows that were kept."""
        wanted = range(len(self.columns)) if columns is None else columns
        names = [self.planned[j].column for j in wanted]
        start = 0
        for first, arrays in self.table.batches(names, size or big.BATCH_ROWS):
            # columns in one piece of memory each: they are written one by one
            values = np.empty((len(arrays[0]), len(names)), order="F")
            for i, (j, array) in enumerate(zip(wanted, arrays, strict=True)):
                values[:, i] = _decoded(array, self.planned[j], self.columns[j], self.table, first)
            if self.kept is not None:
                values = values[self.kept[first : first + len(values)]]
            if len(values):
                yield start, values
                start += len(values)

    def read(self, columns: Sequence[int]) -> Array:
        """``(rows, columns)``: a few columns as a whole."""
        values = np.empty((len(self), len(columns)), order="F")
        for start, batch in self.batches(columns):
            values[start : start + len(batch)] = batch
        return values

    def cohort(self, values: Array, rows: Array) -> Cohort:
        """Some rows as an ordinary cohort."""
        times = {name: at[rows] for name, at in self.times.items()}
        return Cohort(
            self.columns, values, np.arange(len(rows)), None if self.outcome is None else self.outcome.take(rows),
            sites=self.sites, times=times, times_in_days=self.times_in_days, accept=self.accept, warnings=self.warnings,
        )  # fmt: skip


def open_rows(path: Path, schema: CohortSchema, outcome: bool = True, progress: Progress = silent) -> BigTable:
    """Read all but the numbers among the predictors, and check it.

    Parameters
    ----------
    path : Path
        Parquet.
    schema : CohortSchema
    outcome : bool
        False for a table to predict on.
    progress : callable

    Raises
    ------
    InputError
        As of `cohort_table.read_cohort`; and repeated visits, which are not streamed.
    """
    table = ParquetTable(path)
    warnings = [f"The column {name!r} holds no single values and was not used." for name in table.unreadable]
    need_named(table.names, schema, path, outcome)
    if schema.visit is not None:
        raise InputError(
            f"{path}: a table of this size is streamed, one row per patient; keep one row of each (the first visit, or "
            "the last with changes as columns), and take the visit out of the schema."
        )
    planned = plan_predictors(table.names, schema, path, warnings)
    cells, ids, words = _scanned(table, schema, planned, outcome, progress)
    rows = CellTable(path, list(cells), range(1, table.rows + 1), cells, "row")
    keep_usable(rows, schema, warnings, outcome)
    numbers = np.asarray(rows.lines, dtype=np.int64) - 1
    kept = None
    if len(numbers) < table.rows:
        kept = np.zeros(table.rows, dtype=bool)
        kept[numbers] = True
    _refuse_repeated(ids, numbers, schema.id, path)
    columns = []
    for one in planned:
        if one.field is not None:
            kind, choices = kind_of_field(one.field)
        elif table.is_number(one.column):
            kind, choices = "number", ()
        else:
            where = partial(_first_place, path, words[one.column])
            kind, choices = kind_of_words(words[one.column], one.column, path, where)
        columns.append(Column(one.name, one.modality, kind, choices))
    times, in_days = read_times(rows, schema, outcome)
    return BigTable(
        table,
        tuple(planned),
        tuple(columns),
        kept,
        read_outcome(rows, schema) if outcome and schema.outcome is not None else None,
        codes(rows, schema.site)[1] if schema.site is not None else (),
        times,
        in_days,
        schema.accept,
        tuple(warnings),
    )


def _scanned(
    table: ParquetTable, schema: CohortSchema, planned: Sequence[Planned], outcome: bool, progress: Progress
) -> tuple[dict[str, list[str]], Array, dict[str, dict[str, int]]]:
    """Cells of the columns that are no predictors, a number for every patient, and the words of each predictor."""
    named = [name for name in schema.named if name != schema.id]
    if not outcome:
        named = [n for n in named if n not in (schema.outcome.names if schema.outcome else ()) and n in table.names]
    worded = [one.column for one in planned if one.field is None and not table.is_number(one.column)]
    cells: dict[str, list[str]] = {name: [] for name in named}
    found: dict[str, dict[str, int]] = {name: {} for name in worded}
    ids = np.empty(table.rows, dtype=np.int64)
    for start, arrays in table.batches([schema.id, *named, *worded], _SCANNED):
        progress(start / table.rows, "Reading")
        code, words = words_of(arrays[0])
        # 64 bits: two of a million patients share a hash by chance in one of 30 million tables
        ids[start : start + len(code)] = np.array([hash(word.strip()) for word in words], dtype=np.int64)[code]
        for name, array in zip((*named, *worded), arrays[1:], strict=True):
            code, words = words_of(array)
            where = partial(_row_of_word, table.path, start, code)
            refuse_formulas(name, words, where)
            if name in cells:
                cells[name] += [words[i] for i in code]
            else:
                _gather(found[name], words, code, start)
    return cells, ids, found


def _row_of_word(path: Path, start: int, code: Array, i: int) -> str:
    """The first row of a batch with the `i`-th of its words."""
    at = np.flatnonzero(code == i)
    return f"{path}, row {start + (int(at[0]) if at.size else 0) + 1}"


def _first_place(path: Path, found: Mapping[str, int], word: str) -> str:
    return f"{path}, row {found[word]}"


def _gather(found: dict[str, int], words: Sequence[str], code: Array, start: int) -> None:
    """Add the words of a batch with their rows; of numbers only those that decide what the column is."""
    for i, word in enumerate(words):
        word = word.strip().lower()
        if word in found or word in UNKNOWN_WORDS or len(found) > _MOST_WORDS:
            continue
        try:
            finite = bool(np.isfinite(float(word)))
        except ValueError:
            finite = False
        else:
            if finite and word not in YES_NO_WORDS and "" in found:
                continue
        found[word] = start + int(np.argmax(code == i)) + 1
        if finite and word not in YES_NO_WORDS:
            found[""] = 0  # one number other than 0 and 1 is enough; the empty word says nothing


def _refuse_repeated(ids: Array, rows: Array, name: str, path: Path) -> None:
    """Refuse a patient without an identifier or with two rows; `ids` ``(rows of the file,)``."""
    own = ids[rows]
    empty = np.flatnonzero(own == hash(""))
    if empty.size:
        raise InputError(f"{path}, row {rows[empty[0]] + 1}: {name} is empty; every row needs it.")
    order = np.argsort(own, kind="stable")
    again = order[1:][own[order[1:]] == own[order[:-1]]]
    if again.size:
        second = int(again.min())
        first = int(np.flatnonzero(own == own[second])[0])
        raise InputError(
            f"{path}, row {rows[second] + 1}: the patient of row {rows[first] + 1} is there again; keep one."
        )


def _decoded(array: Any, one: Planned, column: Column, table: ParquetTable, start: int) -> Array:
    """``(rows,)`` numbers of a batch of one predictor."""
    path = table.path
    if table.is_number(one.column) and (one.field is None or one.field.numeric):
        values = numbers_of(array)
        if one.field is not None:
            return read_cells(one.field, values, lambda i: f"{path}, row {start + i + 1}", one.unit)
        if np.isinf(values).any():
            row = start + int(np.isinf(values).argmax()) + 1
            raise InputError(f"{path}, row {row}: {one.column} is not a finite number.")
        return values
    code, words = words_of(array)
    if one.field is not None:
        return read_cells(one.field, words, partial(_row_of_word, path, start, code), one.unit)[code]
    words = [word.strip().lower() for word in words]
    number = numbers_of_words(words, column.kind, column.choices)
    return np.array([number[word] for word in words])[code]
