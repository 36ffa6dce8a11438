"""Clinical records from files: JSON, CSV with a column mapping, FHIR R4 bundles."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from CardioPrecisionLib.errors import InputError

from .cells import refuse_formulas
from .fhir import record_from_bundle
from .fields import field_name, fields
from .record import SCHEMA, Record, make_entry, make_record, record_from_values, validate

#: The column that tells patients apart; never read as a clinical value, never repeated in a message.
PATIENT_COLUMNS = frozenset({"patient_id", "patient", "id", "record_id", "subject_id"})
#: CSV column -> field name, or ``{"field": name, "unit": accepted unit}``.
ColumnMapping = Mapping[str, Any]


@dataclass(frozen=True)
class Header:
    """What the columns of a table mean.

    Attributes
    ----------
    names : list of str
        As in the file.
    fields : mapping
        Column number -> (field name, unit or None).
    patient : int or None
        The column of patient identifiers.
    unused : list of str
        Columns that are no clinical field.
    """

    names: list[str]
    fields: Mapping[int, tuple[str, str | None]]
    patient: int | None
    unused: list[str]


def read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: the file is not UTF-8 text; save it as UTF-8.") from None


def delimiter_of(first_line: str) -> str:
    return max(",;\t", key=first_line.count)


def read_header(names: list[str], mapping: ColumnMapping | None, path: Path) -> Header:
    """What the columns mean, by `mapping` first and by the field table else.

    Raises
    ------
    InputError
        A column that is there twice, a mapped column that is missing, or a mapping to what is no field.
    """
    names = [name.strip() for name in names]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} is there more than once.")
    mapping = mapping or {}
    for column in mapping:
        if column not in names:
            raise InputError(f"{path}: the mapping names the column {column!r}, which is not in the file.")
    found: dict[int, tuple[str, str | None]] = {}
    patient: int | None = None
    unused = []
    for i, name in enumerate(names):
        target = mapping.get(name, name)
        unit = None
        if isinstance(target, Mapping):
            target, unit = target.get("field", ""), target.get("unit")
        if str(target).lower() in PATIENT_COLUMNS:
            if patient is not None:
                raise InputError(f"{path}: the columns {names[patient]!r} and {name!r} both say who the patient is.")
            patient = i
            continue
        field = field_name(str(target))
        if field is None:
            if name in mapping:
                raise InputError(f"{path}: the mapping sends {name!r} to {target!r}, which is no clinical field.")
            unused.append(name)
            continue
        if unit is not None and unit not in fields()[field].units:
            accepted = ", ".join(fields()[field].units) or "no other unit"
            raise InputError(f"{path}: the mapping reads {name!r} in {unit!r}; {field} is accepted in {accepted}.")
        twice = next((j for j, (other, _) in found.items() if other == field), None)
        if twice is not None:
            raise InputError(f"{path}: the columns {names[twice]!r} and {name!r} are both {field}.")
        found[i] = (field, unit)
    if not found:
        raise InputError(f"{path}: no column is a clinical field; give a column mapping.")
    return Header(names, found, patient, unused)


def table_rows(reader: Iterator[list[str]], width: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """``(line number, cells)`` of every row that is not empty; every row has as many cells as the header."""
    for row in reader:
        if not row or not any(cell.strip() for cell in row):
            continue
        number = reader.line_num  # type: ignore[attr-defined]
        if len(row) != width:
            raise InputError(f"{path}, line {number}: {len(row)} cells; the header has {width}.")
        yield number, row


def read_csv_records(path: str | Path, mapping: ColumnMapping | None = None) -> list[Record]:
    """One record per row of a CSV (comma, semicolon or tab).

    Raises
    ------
    InputError
        An empty table, a formula in a cell, a value that cannot be, or the same patient twice; the message names the
        line and the field, never the patient.
    """
    path = Path(path)
    text = read_text(path)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter_of(text.split("\n", 1)[0]))
    names = next(reader, None)
    if not names:
        raise InputError(f"{path}: the table is empty; it needs a header line and a line per patient.")
    header = read_header(names, mapping, path)
    warnings = tuple(f"The column {name!r} is no clinical field and was not used." for name in header.unused)
    seen: dict[str, int] = {}
    records = []
    for number, row in table_rows(reader, len(header.names), path):
        place = f"{path}, line {number}"
        for name, cell in zip(header.names, row, strict=True):
            refuse_formulas(name, [cell], lambda _, place=place: place)  # type: ignore[misc]
        refuse_duplicate(header, row, number, seen, path)
        entries = {
            name: make_entry(fields()[name], row[i], place, unit, "CSV")
            for i, (name, unit) in header.fields.items()
            if row[i].strip()
        }
        records.append(make_record(entries, warnings))
    if not records:
        raise InputError(f"{path}: the table has a header and no row; add a line per patient.")
    return records


def refuse_duplicate(header: Header, row: list[str], number: int, seen: dict[str, int], path: Path) -> None:
    if header.patient is None:
        return
    who = row[header.patient].strip()
    if not who:
        raise InputError(f"{path}, line {number}: {header.names[header.patient]} is empty; every row needs it.")
    if who in seen:
        raise InputError(
            f"{path}, line {number}: the patient of line {seen[who]} is there again "
            f"(column {header.names[header.patient]}); keep one row per patient."
        )
    seen[who] = number


def read_record(path: str | Path, mapping: ColumnMapping | None = None, on: date | None = None) -> Record:
    """One patient's record: a JSON object, a record document, a FHIR R4 bundle, or a CSV with one row.

    Parameters
    ----------
    path : path
        ``.json`` is JSON, anything else CSV.
    mapping : mapping or None
        For CSV: column -> field name, or ``{"field": name, "unit": unit}``.
    on : date or None
        For FHIR: the day at which the patient has its age.

    Raises
    ------
    InputError
        Naming file, field and what to do.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        records = read_csv_records(path, mapping)
        if len(records) != 1:
            raise InputError(
                f"{path}: {len(records)} rows of values; one patient's record has one. Score many with --table."
            )
        return records[0]
    try:
        values = json.loads(read_text(path), object_pairs_hook=_unique(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: this is not JSON ({error.msg}).") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: a clinical JSON file holds one object of field names and values.")
    if "resourceType" in values:
        return record_from_bundle(values, path, on)
    if values.get("schema") == SCHEMA:
        import jsonschema

        try:
            validate(values)
        except jsonschema.ValidationError as error:
            where = ".".join(str(part) for part in error.absolute_path) or "the document"
            raise InputError(f"{path}: {where} does not fit the schema of a clinical record.") from None
        values = values["fields"]
    return record_from_values(values, str(path), "JSON")


def _unique(path: Path) -> Any:
    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{path}: {name} is given twice.")
        return dict(pairs)

    return checked
