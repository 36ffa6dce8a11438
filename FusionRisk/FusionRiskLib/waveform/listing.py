"""The list of recordings, the table made of it, and joining that to a cohort table. All of them CSV."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from CardioPrecisionLib.errors import InputError

from ..clinical.cells import refuse_formulas
from ..clinical.files import PATIENT_COLUMNS, delimiter_of, read_text, table_rows

PATIENT, RECORDING, VISIT = "patient_id", "recording", "visit"


@dataclass(frozen=True)
class Sheet:
    """A CSV as it is.

    Attributes
    ----------
    path : Path
    names : tuple of str
    rows : tuple of tuple of str
    lines : tuple of int
        Where each row stands in the file.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> tuple[str, ...]:
        at = self.names.index(name)
        return tuple(row[at].strip() for row in self.rows)

    def place(self, i: int) -> str:
        return f"{self.path}, line {self.lines[i]}"


def read_sheet(path: Path, what: str) -> Sheet:
    """Read a CSV with a header.

    Raises
    ------
    InputError
        No table, no rows, a column twice, or a formula in a cell.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    text = read_text(path)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter_of(text.split("\n", 1)[0]), strict=True)
        names = tuple(name.strip() for name in next(reader, []))
        rows = list(table_rows(reader, len(names), path)) if names else []
    except csv.Error as error:
        raise InputError(f"{path}: this is not a CSV table ({error}).") from None
    if not rows:
        raise InputError(f"{path}: {what} is empty; it needs a header line and a line below.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: the column {twice!r} is there more than once.")
    sheet = Sheet(path, names, tuple(tuple(row) for _, row in rows), tuple(number for number, _ in rows))
    for k, name in enumerate(names):
        refuse_formulas(name, [row[k] for row in sheet.rows], sheet.place)
    return sheet


@dataclass(frozen=True)
class Listed:
    """A line of the list."""

    patient: str
    visit: str | None
    path: Path
    place: str


def read_list(path: Path, patients: bool = True) -> list[Listed]:
    """Read a list of recordings.

    Parameters
    ----------
    path : Path
        Columns ``recording`` (a path, from the folder of the list), ``patient_id`` and, where there is one, ``visit``.
    patients : bool
        ``patient_id`` is needed.

    Raises
    ------
    InputError
        A column or a cell is missing.
    """
    sheet = read_sheet(path, "the list of recordings")
    for name in (RECORDING, PATIENT) if patients else (RECORDING,):
        if name not in sheet.names:
            raise InputError(f"{path}: the list of recordings needs a column {name!r}.")
    who = sheet.column(PATIENT) if PATIENT in sheet.names else ("",) * len(sheet.rows)
    visits = sheet.column(VISIT) if VISIT in sheet.names else (None,) * len(sheet.rows)
    listed = []
    for i, name in enumerate(sheet.column(RECORDING)):
        if not name or (patients and not who[i]):
            raise InputError(f"{sheet.place(i)}: {PATIENT if name else RECORDING} is empty; every line needs it.")
        if "://" in name:
            raise InputError(f"{sheet.place(i)}: this is an address; recordings are read from files of this machine.")
        listed.append(Listed(who[i], visits[i], path.parent / name, sheet.place(i)))
    return listed


def refuse_twice(listed: Sequence[Listed]) -> None:
    """Raise `InputError` where a patient, or a visit of one, has two recordings: a cohort has one row for each."""
    seen: dict[tuple[str, str | None], Listed] = {}
    for one in listed:
        earlier = seen.setdefault((one.patient, one.visit), one)
        if earlier is not one:
            what = "visit" if one.visit is not None else "patient"
            todo = (
                "keep one" if one.visit is not None else f"keep one, or say the {VISIT} of each in a column {VISIT!r}"
            )
            raise InputError(f"{one.place}: the {what} of {earlier.place} has another recording here; {todo}.")


def join(cohort: Sheet, listed: Sequence[Listed], names: Sequence[str], cells: Sequence[Sequence[str]],
         id_column: str | None, visit_column: str | None) -> tuple[Sheet, int, int]:  # fmt: skip
    """A cohort table with columns of recordings.

    Parameters
    ----------
    cohort : Sheet
    listed : sequence of Listed
    names : sequence of str
        Of the columns to add.
    cells : sequence of sequence of str
        For every listed recording.
    id_column, visit_column : str or None
        Of the cohort; None for the usual names.

    Returns
    -------
    Sheet
        Rows of the cohort in their order; cells are empty where there is no recording.
    int, int
        Rows without a recording; recordings of nobody in the cohort.

    Raises
    ------
    InputError
        The same patient, or visit, twice on either side; a column that is missing, or there already.
    """
    refuse_twice(listed)
    who = id_column or next((name for name in cohort.names if name.lower() in PATIENT_COLUMNS), None)
    if who is None or who not in cohort.names:
        raise InputError(f"{cohort.path}: no column tells the patient; name it with --id.")
    with_visits = any(one.visit is not None for one in listed)
    when = (visit_column or VISIT) if with_visits else None
    if when is not None and when not in cohort.names:
        raise InputError(f"{cohort.path}: the list has visits, but there is no column {when!r}; name it with --visit.")
    clash = next((name for name in names if name in cohort.names), None)
    if clash is not None:
        raise InputError(f"{cohort.path}: the column {clash!r} is there already; take it out first.")
    keys: list[tuple[str, str | None]] = []
    seen: dict[tuple[str, str | None], int] = {}
    visits = cohort.column(when) if when is not None else (None,) * len(cohort.rows)
    for i, key in enumerate(zip(cohort.column(who), visits, strict=True)):
        if seen.setdefault(key, i) != i:
            todo = "keep one row" if when else f"add a column {VISIT!r} to the list of recordings, or keep one row"
            raise InputError(
                f"{cohort.place(i)}: the patient of line {cohort.lines[seen[key]]} is there again; {todo}."
            )
        keys.append(key)
    own = {(one.patient, one.visit): row for one, row in zip(listed, cells, strict=True)}
    empty = ("",) * len(names)
    rows = tuple((*row, *own.get(key, empty)) for row, key in zip(cohort.rows, keys, strict=True))
    strangers = sum(key not in seen for key in own)
    lonely = sum(key not in own for key in keys)
    return Sheet(cohort.path, (*cohort.names, *names), rows, cohort.lines), lonely, strangers


def write_sheet(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], mark: str) -> None:
    """Write a CSV, complete or not at all; only a table that has the column `mark` is written over.

    Raises
    ------
    InputError
        Another file is there, or the place cannot be written.
    """
    check_output(path, mark)
    work = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(3)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(work, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([names, *rows])
        os.replace(work, path)
    except OSError as error:
        raise InputError(f"{path}: the table cannot be written ({error.strerror}).") from None
    finally:
        work.unlink(missing_ok=True)


def check_output(path: Path, mark: str) -> None:
    """Raise `InputError` where a table would be written over something that is none of ours."""
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give the name of a table with -o.")
    if not path.exists():
        return
    head = read_text(path).split("\n", 1)[0]
    if mark not in [name.strip() for name in next(csv.reader([head]), [])]:
        raise InputError(f"{path}: this file was not made by this command; choose another name with -o.")


def modality_lines(names: Mapping[str, str], columns: Mapping[str, Sequence[str]], apart: Sequence[str]) -> list[str]:
    """Lines for a cohort schema.

    Parameters
    ----------
    names : mapping
        Column -> modality.
    columns : mapping
        Column -> its cells.
    apart : sequence of str
        Columns that are no predictors.

    Returns
    -------
    list of str
        ``modalities:`` with the columns that differ between rows, ``exclude:`` with all others: a column that is empty
        or always the same is refused there.
    """
    used: dict[str, list[str]] = {}
    left = list(apart)
    for name, modality in names.items():
        known = {cell for cell in columns[name] if cell}
        if len(known) > 1:
            used.setdefault(modality, []).append(name)
        else:
            left.append(name)
    lines = ["modalities:"] + [f"  {modality}: [{', '.join(group)}]" for modality, group in used.items()]
    return (lines if used else []) + [f"exclude: [{', '.join(left)}]"]
