"""Columns of one table added to another, patient by patient: what was measured elsewhere becomes a cohort's own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.replacing import replacing

from ..clinical.files import PATIENT_COLUMNS, read_text
from .cohort_table import CellTable

#: Names of patient and visit in tables that the project writes.
ID, VISIT = "patient_id", "visit"
#: Columns that say why a cell is empty: for people, not for a model.
_FOR_PEOPLE = ("_reason",)


@dataclass(frozen=True)
class Joined:
    """What was joined.

    Attributes
    ----------
    output : Path
    rows, matched : int
        Rows of the cohort, and how many of them found their line in the table.
    columns : tuple of str
        What was added.
    warnings : tuple of str
    """

    output: Path
    rows: int
    matched: int
    columns: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def row_of_key(table: CellTable, id: str, visit: str | None) -> dict[tuple[str, str], int]:
    """Patient and visit -> row; raises `InputError` where one is there twice or not named, telling lines, not names."""
    ids = table.column(id, "which tells patients apart")
    visits = table.column(visit, "which tells visits apart") if visit else ("",) * len(ids)
    rows: dict[tuple[str, str], int] = {}
    for i, (who, when) in enumerate(zip(ids, visits, strict=True)):
        key = (who.strip(), when.strip())
        if not key[0]:
            raise InputError(f"{table.place(i)}: {id} is empty; every row needs it.")
        if key in rows:
            what = "visit" if visit else "patient"
            todo = "keep one row per visit" if visit else "keep one row, or tell visits apart in both tables"
            raise InputError(f"{table.place(i)}: the {what} of line {table.lines[rows[key]]} is there again; {todo}.")
        rows[key] = i
    return rows


def check_join(
    cohort_csv: Path, list_csv: Path, columns: Sequence[str], id: str | None = None, visit: str | None = None
) -> None:
    """Raise what `join_columns` would raise, before the table with `columns` has been made from the list."""
    cohort, listed = CellTable.of_csv(Path(cohort_csv)), CellTable.of_csv(Path(list_csv))
    _matches(cohort, listed, id, visit)
    _refuse_same(cohort, columns)


def check_output(path: Path, mark: str, inputs: Sequence[Path | None] = ()) -> None:
    """Raise `InputError` where a table would be written over an input, or over something that is none of ours.

    Parameters
    ----------
    path : Path
    mark : str
        A column that only our own tables have.
    inputs : sequence of Path or None
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: the table is a CSV; give a name that ends in .csv.")
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give the name of a table with -o.")
    if any(given is not None and path.resolve() == given.resolve() for given in inputs):
        raise InputError(f"{path}: the table would overwrite an input; give another name.")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: there is no such folder to write to.")
    if not path.exists():
        return
    head = read_text(path).split("\n", 1)[0]
    if mark not in [name.strip() for name in next(csv.reader([head]), [])]:
        raise InputError(f"{path}: this file was not made by this command; choose another name with -o.")


def _keys(cohort: CellTable, table: CellTable, id: str | None, visit: str | None) -> tuple[str, str | None]:
    """The columns of the cohort that tell patients and, where the table has them, visits apart."""
    who = id or next((name for name in cohort.names if name.lower() in PATIENT_COLUMNS), None)
    if who is None or who not in cohort.cells:
        named = repr(id) if id else "of the usual names"
        raise InputError(f"{cohort.path}: no column {named} tells patients apart; name it with --id.")
    if VISIT not in table.cells:
        if visit is not None:
            raise InputError(f"{table.path}: there are no visits to join by; it needs a column {VISIT!r}.")
        return who, None
    when = visit or VISIT
    if when not in cohort.cells:
        raise InputError(f"{cohort.path}: there is no column {when!r} of visits to join by; name it with --visit.")
    return who, when


def _refuse_same(cohort: CellTable, columns: Sequence[str]) -> None:
    twice = [name for name in columns if name in cohort.cells]
    if twice:
        raise InputError(f"{cohort.path}: the column {twice[0]!r} is there already; take it out of one of the tables.")


def _matches(cohort: CellTable, table: CellTable, id: str | None, visit: str | None) -> tuple[list[int | None], int]:
    """For every row of the cohort its row of the table; and how many rows of the table no patient of the cohort has."""
    who, when = _keys(cohort, table, id, visit)
    mine = row_of_key(cohort, who, when)
    theirs = row_of_key(table, ID, VISIT if when else None)
    rows = [theirs.get(key) for key in mine]
    matched = sum(row is not None for row in rows)
    if not matched:
        raise InputError(
            f"{table.path}: no patient{' and visit' if when else ''} of it is in {cohort.path}; they must be written "
            "alike in both."
        )
    return rows, len(theirs) - matched


def join_columns(
    cohort_csv: str | Path,
    table_csv: str | Path,
    output: str | Path,
    id: str | None = None,
    visit: str | None = None,
) -> Joined:
    """Write a cohort table with the columns of another table.

    Parameters
    ----------
    cohort_csv : path
        Its rows are kept, all of them, in their order; a row without a line in the table gets empty cells.
    table_csv : path
        With the column ``patient_id`` and, if it has visits, ``visit``: then it is joined by both. All other columns
        are joined but those that give reasons (``…_reason``).
    output : path
        It appears when it is complete, or not at all.
    id, visit : str, optional
        The columns of the cohort that tell patients and visits apart; by default one of the usual names.

    Raises
    ------
    InputError
        A patient (or visit) that is there twice in either, a column that both have, nothing that matches, an output
        that would overwrite an input.
    """
    cohort_csv, table_csv, output = Path(cohort_csv), Path(table_csv), Path(output)
    for given in (cohort_csv, table_csv):
        if output.resolve() == given.resolve():
            raise InputError(f"{output}: the output would overwrite the table {given}; give another name.")
    cohort, table = CellTable.of_csv(cohort_csv), CellTable.of_csv(table_csv)
    rows, over = _matches(cohort, table, id, visit)
    added = [name for name in table.names if name not in (ID, VISIT) and not name.endswith(_FOR_PEOPLE)]
    if not added:
        raise InputError(f"{table_csv}: there is no column to join.")
    _refuse_same(cohort, added)
    lines = [
        [
            *(cohort.cells[name][i] for name in cohort.names),
            *("" if row is None else table.cells[name][row] for name in added),
        ]
        for i, row in enumerate(rows)
    ]
    write_rows(output, [*cohort.names, *added], lines)
    warnings = []
    gaps = sum(row is None for row in rows)
    if gaps:
        warnings.append(f"{gaps} of {len(rows)} rows of the cohort are not in the table; their new cells are empty.")
    if over:
        warnings.append(f"{over} rows of the table belong to no row of the cohort and were left out.")
    return Joined(output, len(rows), len(rows) - gaps, tuple(added), tuple(warnings))


def write_rows(output: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV under a temporary name and rename it.

    Raises
    ------
    InputError
        The place cannot be written to.
    """
    try:
        with replacing(output) as beside, beside.open("w", encoding="utf-8", newline="") as sink:
            csv.writer(sink, lineterminator="\n").writerows([names, *rows])
    except OSError as error:
        raise InputError(f"{output}: the table cannot be written ({error.strerror}).") from None
