"""Reading a cohort from a CSV or a small Parquet table and its schema; the rules of what its columns mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError

from ..clinical.cells import read_cells, refuse_formulas
from ..clinical.fields import UNKNOWN_WORDS, YES_NO_WORDS, Field, fields
from ..clinical.files import delimiter_of, read_text, table_rows
from .cohort import Array, Cohort, Column, Outcome, class_outcome, survival_outcome
from .modalities import clinical_field, modality_of
from .schema import CohortSchema, like, read_schema

#: A column of words with more different ones than this is free text or an identifier.
MAX_CHOICES = 20
#: Columns that say how a value of a run came about.
_ASIDE = ("_state", "_reason", "_low", "_high", "_level", "_method", "_source")


class CellTable:
    """Named columns of cells, as a CSV would hold them, with their line numbers.

    Parameters
    ----------
    path : Path
    names : list of str
    lines : sequence of int
        Of the rows, counted as `line` says.
    cells : mapping
        Column -> ``(rows,)`` text.
    line : str
        "line" of a text file, "row" of another table.
    """

    def __init__(
        self, path: Path, names: list[str], lines: Sequence[int], cells: Mapping[str, Sequence[str]], line: str = "line"
    ):
        self.path, self.names, self.lines, self.line = path, names, lines, line
        self.cells: dict[str, Sequence[str]] = dict(cells)

    @classmethod
    def of_csv(
        cls, path: Path, what: str = "the cohort is empty; it needs a header line and a line per patient"
    ) -> CellTable:
        """Read a CSV; `what` is said of one that has no line."""
        text = read_text(path)
        try:
            reader = csv.reader(io.StringIO(text), delimiter=delimiter_of(text.split("\n", 1)[0]), strict=True)
            names = [name.strip() for name in next(reader, [])]
            lines = list(table_rows(reader, len(names), path)) if names else []
        except csv.Error as error:
            raise InputError(f"{path}: this is not a CSV table ({error}).") from None
        if not lines:
            raise InputError(f"{path}: {what}.")
        refuse_twice(names, path)
        cells = dict(zip(names, zip(*(row for _, row in lines), strict=True), strict=True))
        table = cls(path, names, [number for number, _ in lines], cells)
        for name in names:
            refuse_formulas(name, cells[name], table.place)
        return table

    def place(self, i: int) -> str:
        return f"{self.path}, {self.line} {self.lines[i]}"

    def column(self, name: str, use: str) -> Sequence[str]:
        """The cells of a column; an `InputError` that says its use where it is missing."""
        if name not in self.cells:
            raise InputError(f"{self.path}: the column {name!r}, {use}, is not in the table.")
        return self.cells[name]

    def keep(self, rows: Sequence[int]) -> None:
        self.lines = [self.lines[i] for i in rows]
        self.cells = {name: tuple(column[i] for i in rows) for name, column in self.cells.items()}


def refuse_twice(names: Sequence[str], path: Path) -> None:
    """Refuse a table with a column that is there twice."""
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} is there more than once.")


def need_named(names: Collection[str], schema: CohortSchema, path: Path, outcome: bool) -> None:
    """Refuse a table that lacks a column of the schema; the outcome's are needed where `outcome` is to be read."""
    wanted = schema.named
    if not outcome:
        known = schema.outcome.names if schema.outcome else ()
        wanted = {name: use for name, use in wanted.items() if name not in (*known, schema.outcome_at)}
    uses = {name: f"named in the schema as {use}" for name, use in wanted.items()}
    for name in {*schema.exclude, *schema.columns, *(c for group in schema.modalities.values() for c in group)}:
        uses.setdefault(name, "named in the schema")
    for name, use in uses.items():
        if not like(name, names):
            raise InputError(f"{path}: the column {name!r}, {use}, is not in the table.")


def read_cohort(path: str | Path, schema: CohortSchema | str | Path, outcome: bool = True) -> Cohort:
    """Read a cohort.

    Parameters
    ----------
    path : path
        CSV in UTF-8 (comma, semicolon or tab): a header line, one row per patient or per visit. Or Parquet, which is
        read as a whole here; `big` streams it. Columns are clinical fields by name or alias, measurements (``lv_ef``,
        ``wall_thickness@aha01``), and what the schema names.
    schema : CohortSchema or path
    outcome : bool
        False for a table to predict on: its outcome, if there, is not read.

    Returns
    -------
    Cohort
        Without rows that have no consent or no outcome; `warnings` say how many these were.

    Raises
    ------
    InputError
        With file, line or column, and what to do; never with a patient's identifier.
    """
    if not isinstance(schema, CohortSchema):
        schema = read_schema(schema)
    from .big.parquet import is_parquet, read_cells_of

    path, warnings = Path(path), list[str]()
    table = read_cells_of(path) if is_parquet(path) else CellTable.of_csv(path)
    need_named(table.cells, schema, path, outcome)
    keep_usable(table, schema, warnings, outcome)
    patient = _patients(table, schema)
    columns, values = _predictors(table, schema, warnings)
    site, sites = (None, ()) if schema.site is None else codes(table, schema.site)
    times, in_days = read_times(table, schema, outcome)
    return Cohort(
        columns=columns,
        values=values,
        patient=patient,
        outcome=read_outcome(table, schema, patient) if outcome and schema.outcome is not None else None,
        visit=None if schema.visit is None else _moments(table, schema.visit)[0],
        site=site,
        sites=sites,
        times=times,
        times_in_days=in_days,
        accept=schema.accept,
        warnings=tuple(warnings),
    )


def _word(cell: str) -> str:
    return cell.strip().lower()


def keep_usable(table: CellTable, schema: CohortSchema, warnings: list[str], outcome: bool) -> None:
    """Leave out rows without consent and, where it is to be read, without an outcome."""
    _consent(table, schema, warnings)
    if outcome and schema.outcome is not None:
        _drop_without_outcome(table, schema, warnings)


def _drop(table: CellTable, keep: Callable[[int], bool], why: str, warnings: list[str]) -> None:
    rows = [i for i in range(len(table.lines)) if keep(i)]
    gone = len(table.lines) - len(rows)
    if not rows:
        raise InputError(f"{table.path}: the cohort is empty: all {gone} rows are {why}.")
    if gone:
        warnings.append(f"{gone} of {gone + len(rows)} rows are {why} and were left out.")
        table.keep(rows)


def _consent(table: CellTable, schema: CohortSchema, warnings: list[str]) -> None:
    if schema.consent is None:
        return
    cells = [_word(cell) for cell in table.cells[schema.consent]]
    for i, cell in enumerate(cells):
        if cell not in YES_NO_WORDS and cell not in UNKNOWN_WORDS:
            raise InputError(f"{table.place(i)}: {schema.consent} must be yes or no.")
    _drop(table, lambda i: YES_NO_WORDS.get(cells[i]) == 1.0, "without consent", warnings)


def _drop_without_outcome(table: CellTable, schema: CohortSchema, warnings: list[str]) -> None:
    assert schema.outcome is not None
    cells = [table.cells[name] for name in schema.outcome.names]
    _drop(table, lambda i: all(_word(c[i]) not in UNKNOWN_WORDS for c in cells), "without an outcome", warnings)


def _patients(table: CellTable, schema: CohortSchema) -> Array:
    """A number for every patient, in order of appearance."""
    seen: dict[str, int] = {}
    lines: dict[tuple[str, str], int] = {}
    ids = table.cells[schema.id]
    visits = table.cells[schema.visit] if schema.visit is not None else ("",) * len(ids)
    for i, (who, visit) in enumerate(zip(ids, visits, strict=True)):
        key = (who.strip(), visit.strip())
        if not key[0]:
            raise InputError(f"{table.place(i)}: {schema.id} is empty; every row needs it.")
        if key in lines:
            what = "visit" if schema.visit is not None else "patient"
            todo = "keep one row per visit" if schema.visit else "name a visit column in the schema or keep one row"
            first = f"{table.line} {table.lines[lines[key]]}"
            raise InputError(f"{table.place(i)}: the {what} of {first} is there again; {todo}.")
        lines[key] = i
        seen.setdefault(key[0], len(seen))
    return np.array([seen[who.strip()] for who in ids], dtype=np.int64)


def codes(table: CellTable, name: str) -> tuple[Array, tuple[str, ...]]:
    cells = [cell.strip() for cell in table.cells[name]]
    for i, cell in enumerate(cells):
        if cell.lower() in UNKNOWN_WORDS:
            raise InputError(f"{table.place(i)}: {name} is empty; every row needs it.")
    names = sorted(set(cells))
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[cell] for cell in cells], dtype=np.int64), tuple(names)


@dataclass(frozen=True)
class Planned:
    """A column of the table that is a predictor: its name there and in the project, modality, field and unit."""

    column: str
    name: str
    modality: str
    field: Field | None
    unit: str | None


def plan_predictors(names: Sequence[str], schema: CohortSchema, path: Path, warnings: list[str]) -> list[Planned]:
    """The predictors of a table, those of one modality side by side."""
    aside = {*schema.named, *schema.exclude}
    if schema.outcome is not None:
        aside |= set(schema.outcome.names)
    given: dict[str, str] = {}
    for modality, group in schema.modalities.items():
        for named in group:
            # what a pattern takes in by the way may be named for something else
            own = [named] if named in names else [n for n in like(named, names) if n not in aside]
            given |= dict.fromkeys(own, modality)
    clash = [column for column in given if column in aside]
    if clash:
        raise InputError(f"{path}: {clash[0]!r} is named as a predictor and as {schema.named.get(clash[0])}.")
    found: dict[str, Planned] = {}
    for column in names:
        if column in aside:
            continue
        name, unit = schema.target(column)
        of = given.get(column) or modality_of(name)
        if of is None or (column not in given and name.endswith(_ASIDE)):
            warnings.append(f"The column {column!r} belongs to no modality and was not used.")
            continue
        known = clinical_field(name)
        f = fields()[known] if known is not None else None
        if f is not None and f.kind == "date":
            warnings.append(f"The column {column!r} is a date and was not used.")
            continue
        name = known or name
        if name in found:
            raise InputError(f"{path}: two columns are {name}; exclude one of them in the schema.")
        found[name] = Planned(column, name, of, f, unit)
    groups = list(dict.fromkeys(one.modality for one in found.values()))
    if not found:
        raise InputError(f"{path}: no column is a predictor; name columns of modalities in the schema.")
    return sorted(found.values(), key=lambda one: groups.index(one.modality))


def _predictors(table: CellTable, schema: CohortSchema, warnings: list[str]) -> tuple[tuple[Column, ...], Array]:
    """The columns of all modalities and their values."""
    columns, values = [], []
    for one in plan_predictors(table.names, schema, table.path, warnings):
        kind, choices, numbers = _read(table, one.column, one.field, one.unit)
        columns.append(Column(one.name, one.modality, kind, choices))
        values.append(numbers)
    return tuple(columns), np.column_stack(values)


def _read(table: CellTable, name: str, f: Field | None, unit: str | None) -> tuple[Any, tuple[str, ...], Array]:
    """Kind, choices and numbers of one column."""
    cells = table.cells[name]
    if f is not None:
        return *kind_of_field(f), read_cells(f, cells, table.place, unit)
    words = [_word(cell) for cell in cells]
    kind, choices = kind_of_words(dict.fromkeys(words), name, table.path, lambda word: table.place(words.index(word)))
    number = numbers_of_words(dict.fromkeys(words), kind, choices)
    return kind, choices, np.array([number[word] for word in words])


def kind_of_field(f: Field) -> tuple[Any, tuple[str, ...]]:
    """Kind and choices of a column that is a clinical field."""
    return ("number" if f.numeric else f.kind), f.choices


def kind_of_words(
    words: Iterable[str], name: str, path: Path, where: Callable[[str], str]
) -> tuple[Any, tuple[str, ...]]:
    """Kind and choices of a column, from all different words in it.

    Parameters
    ----------
    words : iterable of str
        Stripped and in lower case, in the order of the table.
    name : str
    path : Path
    where : callable
        Place of a word, for messages.
    """
    known = [word for word in words if word not in UNKNOWN_WORDS]
    numbers = {word for word in known if _is_number(word)}
    if len(numbers) == len(known):
        endless = [word for word in known if not np.isfinite(float(word))]
        if endless:
            raise InputError(f"{where(endless[0])}: {name} is not a finite number.")
        return "number", ()
    if all(word in YES_NO_WORDS for word in known):
        return "yes_no", ()
    if numbers:
        stray = next(word for word in known if word not in numbers)
        raise InputError(f"{where(stray)}: {name} is {stray[:40]!r} among numbers; give a number or leave it empty.")
    if len(known) > MAX_CHOICES:
        raise InputError(
            f"{path}: {name} has {len(known)} different words, over {MAX_CHOICES}; exclude it in the schema."
        )
    return "choice", tuple(sorted(known))


def numbers_of_words(words: Iterable[str], kind: str, choices: Sequence[str]) -> dict[str, float]:
    """The number of each word of a column of that kind; NaN where it says nothing."""
    known = set(words) - UNKNOWN_WORDS
    if kind == "number":
        number = {word: float(word) for word in known}
    elif kind == "yes_no":
        number = {word: YES_NO_WORDS[word] for word in known}
    else:
        number = {word: float(choices.index(word)) for word in known}
    return {**dict.fromkeys(words, np.nan), **number}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _moments(table: CellTable, name: str) -> tuple[Array, bool]:
    """A column of times as numbers, and whether they are days of dates."""
    cells = [cell.strip() for cell in table.cells[name]]
    known = [cell for cell in cells if cell.lower() not in UNKNOWN_WORDS]
    dates = any("-" in cell[1:] for cell in known)
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if cell.lower() in UNKNOWN_WORDS:
            continue
        try:
            values[i] = date.fromisoformat(cell).toordinal() if dates else float(cell)
        except ValueError:
            wanted = "a date as YYYY-MM-DD" if dates else "a number or a date as YYYY-MM-DD"
            raise InputError(f"{table.place(i)}: {name} must be {wanted}.") from None
    if name and not len(known):
        raise InputError(f"{table.path}: {name} is empty; it must say when.")
    return values, dates


def read_times(table: CellTable, schema: CohortSchema, outcome: bool) -> tuple[dict[str, Array], bool]:
    named = {f"measured:{modality}": column for modality, column in schema.measured_at.items()}
    if schema.baseline_at:
        named["baseline"] = schema.baseline_at
    if schema.outcome_at and outcome:
        named["outcome"] = schema.outcome_at
    read = {name: _moments(table, column) for name, column in named.items()}
    scales = {dates for _, dates in read.values()}
    if len(scales) > 1:
        raise InputError(f"{table.path}: the times of the schema mix dates and numbers; write all in one way.")
    return {name: values for name, (values, _) in read.items()}, scales == {True}


def read_outcome(table: CellTable, schema: CohortSchema, patient: Array | None = None) -> Outcome:
    spec = schema.outcome
    assert spec is not None
    place = str(table.path)
    if spec.kind != "survival":
        words = [cell.strip() for cell in table.cells[spec.column]]
        if all(word.lower() in YES_NO_WORDS for word in words) and not spec.classes:
            # "yes", "1" and "true" are one class; the positive one is yes unless the schema says otherwise
            words = ["yes" if YES_NO_WORDS[word.lower()] else "no" for word in words]
            if spec.positive is not None:
                said = YES_NO_WORDS.get(spec.positive.lower())
                if said is not None:
                    spec = replace(spec, positive="yes" if said else "no")
        result = class_outcome(words, spec, place)
        _same_within(patient, result.y, table, spec.column)
        return result
    time, event = np.empty(len(table.lines)), np.empty(len(table.lines))
    for i, (t, e) in enumerate(zip(table.cells[spec.time], table.cells[spec.event], strict=True)):
        if not _is_number(t) or not 0 < float(t) < np.inf:
            raise InputError(f"{table.place(i)}: {spec.time} must be a number above 0.")
        if _word(e) not in YES_NO_WORDS:
            raise InputError(f"{table.place(i)}: {spec.event} must be yes or no (1 or 0).")
        time[i], event[i] = float(t), YES_NO_WORDS[_word(e)]
    _same_within(patient, event, table, spec.event)
    return survival_outcome(time, event, spec, place)


def _same_within(patient: Array | None, value: Array, table: CellTable, name: str) -> None:
    """The outcome of a patient is the same in all visits; without `patient` each has one row."""
    if patient is None:
        return
    first = np.unique(patient, return_index=True)[1]
    other = np.flatnonzero(value != value[first][patient])
    if other.size:
        raise InputError(f"{table.place(int(other[0]))}: {name} differs from the patient's first row; it must not.")
