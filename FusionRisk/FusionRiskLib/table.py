"""Scores for a whole table of patients, in pieces: value, state and reason per row and score."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.replacing import replacing

from .clinical.cells import read_cells, refuse_formulas, unusual
from .clinical.fields import fields
from .clinical.files import ColumnMapping, Header, delimiter_of, read_header, refuse_duplicate, table_rows
from .scores.columns import Array, Columns
from .scores.registry import select
from .scores.score import MEASURED, Score, Scored

CHUNK_ROWS = 20_000


@dataclass
class TableSummary:
    """What was done with a table.

    Attributes
    ----------
    rows : int
    measured : dict
        Score name -> rows with a value.
    warnings : list of str
    """

    rows: int = 0
    measured: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def score_table(
    path_in: str | Path,
    path_out: str | Path,
    scores: Iterable[str] | None = None,
    mapping: ColumnMapping | None = None,
    progress: Progress = silent,
    chunk_rows: int = CHUNK_ROWS,
) -> TableSummary:
    """Score every row of a CSV.

    Parameters
    ----------
    path_in : path
        CSV in UTF-8 (comma, semicolon or tab), a header line and one row per patient. Columns are clinical fields by
        name or alias, or by `mapping`; other columns are carried over.
    path_out : path
        CSV with the columns of the input and, per score, ``<name>``, ``<name>_state`` and ``<name>_reason``. It appears
        when all rows are done, or not at all.
    scores : iterable of str or None
        Names, families or patterns; None for all.
    mapping : mapping or None
        Column -> field name, or ``{"field": name, "unit": accepted unit}``.
    progress : callable
    chunk_rows : int
        Rows held at a time.

    Returns
    -------
    TableSummary

    Raises
    ------
    InputError
        An empty table, a formula in a cell, a value that cannot be read or cannot be, or a patient who is there twice;
        the message names line and field, never the patient.
    """
    path_in, path_out = Path(path_in), Path(path_out)
    chosen = select(scores)
    if path_out.resolve() == path_in.resolve():
        raise InputError(f"{path_out}: the output would overwrite the table itself; give another name.")
    try:
        size = max(path_in.stat().st_size, 1)
        source = path_in.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise InputError(f"{path_in}: the table cannot be read ({error.strerror}).") from None
    with source:
        try:
            with replacing(path_out) as beside, beside.open("w", encoding="utf-8", newline="") as sink:
                summary = _score(source, sink, path_in, chosen, mapping, chunk_rows, size, progress)
        except UnicodeDecodeError:
            raise InputError(f"{path_in}: the table is not UTF-8 text; save it as UTF-8.") from None
        except csv.Error as error:
            raise InputError(f"{path_in}: this is not a CSV table ({error}).") from None
        except OSError as error:
            raise InputError(f"{path_out}: the output cannot be written ({error.strerror}).") from None
    return summary


def _score(
    source: Any, sink: Any, path: Path, chosen: list[Score], mapping: ColumnMapping | None, chunk_rows: int, size: int,
    progress: Progress,
) -> TableSummary:  # fmt: skip
    delimiter = delimiter_of(source.readline())
    source.seek(0)
    read = 0

    def counted() -> Iterator[str]:
        nonlocal read
        for line in source:
            read += len(line)
            yield line

    reader = csv.reader(counted(), delimiter=delimiter, strict=True)
    names = next(reader, None)
    if not names:
        raise InputError(f"{path}: the table is empty; it needs a header line and a line per patient.")
    header = read_header(names, mapping, path)
    added = [name for score in chosen for name in (score.name, f"{score.name}_state", f"{score.name}_reason")]
    taken = set(added) & set(header.names)
    if taken:
        raise InputError(f"{path}: the table has a column {min(taken)!r} already; rename it.")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*header.names, *added])
    summary = TableSummary(measured={score.name: 0 for score in chosen})
    summary.warnings += [f"The column {n!r} is no clinical field; it was carried over." for n in header.unused]
    odd: dict[str, int] = {}
    seen: dict[str, int] = {}
    rows = table_rows(reader, len(header.names), path)
    while chunk := list(islice(rows, chunk_rows)):
        columns = _read(chunk, header, path, seen, odd)
        results = [score.evaluate(columns) for score in chosen]
        _write(writer, chunk, chosen, results)
        summary.rows += len(chunk)
        for score, result in zip(chosen, results, strict=True):
            summary.measured[score.name] += int((result.state == MEASURED).sum())
        progress(min(read / size, 1.0), f"{summary.rows} rows")
    if not summary.rows:
        raise InputError(f"{path}: the table has a header and no row; add a line per patient.")
    summary.warnings += [f"{name} has {count} unusual values: please check them." for name, count in odd.items()]
    return summary


def _read(
    chunk: list[tuple[int, list[str]]], header: Header, path: Path, seen: dict[str, int], odd: dict[str, int]
) -> Columns:
    """One piece of the table as columns, checked."""

    def place(i: int) -> str:
        return f"{path}, line {chunk[i][0]}"

    cells = list(zip(*(row for _, row in chunk), strict=True))
    for name, column in zip(header.names, cells, strict=True):
        refuse_formulas(name, column, place)
    for number, row in chunk:
        refuse_duplicate(header, row, number, seen, path)
    numbers: dict[str, Array] = {}
    for i, (name, unit) in header.fields.items():
        f = fields()[name]
        if f.kind == "date":
            continue
        numbers[name] = read_cells(f, cells[i], place, unit)
        count = int(unusual(f, numbers[name]).sum()) if f.numeric else 0
        if count:
            odd[name] = odd.get(name, 0) + count
    _agree(numbers, place)
    return Columns.of_numbers(numbers, len(chunk))


def _agree(numbers: Mapping[str, Array], place: Any) -> None:
    """The same quantity in two units must be the same, within 2 %."""
    for name, values in numbers.items():
        for source in fields()[name].sources:
            if source.source in numbers:
                other = numbers[source.source] * source.factor + source.offset
                apart = np.flatnonzero(np.abs(other - values) > 0.02 * np.abs(values))
                if apart.size:
                    raise InputError(f"{place(int(apart[0]))}: {name} and {source.source} do not agree; keep one.")


def _texts(score: Score, result: Scored) -> list[str]:
    if score.kind == "category":
        return ["" if value is None else value for value in result.values.tolist()]
    return ["" if value != value else f"{value:.6g}" for value in result.values.tolist()]


def _write(writer: Any, chunk: list[tuple[int, list[str]]], chosen: list[Score], results: list[Scored]) -> None:
    added: list[list[Any]] = []
    for score, result in zip(chosen, results, strict=True):
        added += [_texts(score, result), result.state.tolist(), result.reason.tolist()]  # the writer leaves None empty
    writer.writerows([*row, *more] for (_, row), more in zip(chunk, zip(*added, strict=True), strict=True))
