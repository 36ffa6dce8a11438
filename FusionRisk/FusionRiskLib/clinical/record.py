"""One patient's clinical record: entered values, what is known to be unknown, and where each came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Patient

from .cells import read_cells, read_date, unusual
from .fields import Field, field_name, fields

SCHEMA = "cardioprecision/clinical-record/1"
ENTERED, UNKNOWN = "entered", "unknown"


@dataclass(frozen=True)
class Entry:
    """One value of a record.

    Attributes
    ----------
    value : float, bool, str or None
        In the unit of the field; None where the state is ``unknown``.
    state : {"entered", "unknown"}
        ``unknown``: asked for, and nobody knows. A field that was never asked for has no entry.
    source : str or None
        What kind of file or resource it comes from; no identifiers.
    """

    value: float | bool | str | None
    state: str = ENTERED
    source: str | None = None


@dataclass(frozen=True)
class Record:
    """Entries by field name, in the order of the form, and what a user must know of them."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def value(self, name: str) -> float | bool | str | None:
        entry = self.entries.get(name)
        return entry.value if entry else None

    def column_values(self) -> dict[str, Any]:
        """What `FusionRiskLib.scores.Columns` takes."""
        return {name: e.value for name, e in self.entries.items() if fields()[name].kind != "date"}

    def patient(self) -> Patient:
        """The part of the record that every run knows of its patient."""
        names = ("sex", "age_years", "height_cm", "weight_kg", "study_date")
        return Patient(**{name: self.value(name) for name in names})  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """A document that `validate` accepts and `record_from_json` reads."""
        rows = {n: {"value": e.value, "state": e.state, "source": e.source} for n, e in self.entries.items()}
        return {"schema": SCHEMA, "fields": rows}


def make_entry(f: Field, raw: Any, place: str, unit: str | None = None, source: str | None = None) -> Entry:
    """Check one value. Raises `InputError` naming `place` and field."""
    if f.kind == "date":
        day = read_date(f, raw, place)
        return Entry(day, ENTERED if day else UNKNOWN, source)
    number = float(read_cells(f, [raw], lambda _: place, unit)[0])
    if np.isnan(number):
        return Entry(None, UNKNOWN, source)
    value: float | bool | str = number
    if f.kind == "yes_no":
        value = bool(number)
    elif f.kind == "choice":
        value = f.choices[int(number)]
    return Entry(value, ENTERED, source)


def make_record(entries: Mapping[str, Entry], warnings: tuple[str, ...] = ()) -> Record:
    """A record with a warning for every value that is possible and unusual."""
    ordered = {name: entries[name] for name in fields() if name in entries}
    found = list(warnings)
    for name, entry in ordered.items():
        f = fields()[name]
        if f.numeric and entry.state == ENTERED and bool(unusual(f, np.array([entry.value], dtype=float))[0]):
            found.append(f"{name} is {f.with_unit(f'{entry.value:g}')}, which is unusual: please check it.")
    return Record(ordered, (*found, *_contradictions(ordered)))


def completed(record: Record, entered: Record) -> Record:
    """A record with values that were entered beside it.

    Parameters
    ----------
    record : Record
        From an export, say.
    entered : Record
        Its values win; where both know a value and differ, that is a warning.
    """
    differing = [
        f"{name} was entered as {_shown(entry.value)}, the record says {_shown(record.entries[name].value)}; the "
        "entered value was used."
        for name, entry in entered.entries.items()
        if name in record.entries and record.entries[name].value not in (None, entry.value)
    ]
    merged = make_record({**record.entries, **entered.entries})
    return Record(
        merged.entries, tuple(dict.fromkeys((*record.warnings, *entered.warnings, *differing, *merged.warnings)))
    )


def _shown(value: float | bool | str | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value or UNKNOWN)


def _contradictions(entries: Mapping[str, Entry]) -> list[str]:
    """The same quantity given in two units that do not agree within 2 %."""
    found: dict[frozenset[str], str] = {}
    for name, entry in entries.items():
        for source in fields()[name].sources:
            other = entries.get(source.source)
            if other is None or not isinstance(entry.value, float) or not isinstance(other.value, float):
                continue
            if abs(other.value * source.factor + source.offset - entry.value) > 0.02 * abs(entry.value):
                text = f"{name} and {source.source} are both given and do not agree; please check them."
                found.setdefault(frozenset((name, source.source)), text)
    return list(found.values())


def record_from_values(values: Mapping[str, Any], place: str, source: str | None = None) -> Record:
    """A record from field names and values.

    Parameters
    ----------
    values : mapping
        Field name or alias -> value, or ``{"value": …, "unit": …}`` with an accepted unit, or an entry of
        `Record.to_json`. None counts as not entered, "unknown" as unknown.
    place : str
        For messages: a file name.

    Raises
    ------
    InputError
        A value that cannot be, or a field given twice; the message names it.
    """
    entries: dict[str, Entry] = {}
    unknown_names = []
    for given, raw in values.items():
        name = field_name(given)
        if name is None:
            unknown_names.append(given)
            continue
        if name in entries:
            raise InputError(f"{place}: {name} is given twice (once as {given}).")
        unit, own_source = None, source
        if isinstance(raw, Mapping):
            extra = sorted(set(raw) - {"value", "unit", "state", "source"})
            if extra:
                raise InputError(f"{place}: {name} has {extra[0]!r}; a value has value, unit, state and source.")
            unit, own_source = raw.get("unit"), raw.get("source", source)
            for part, text in (("unit", unit), ("source", own_source)):
                if not isinstance(text, (str, type(None))):
                    raise InputError(f"{place}: the {part} of {name} must be text.")
            raw = UNKNOWN if raw.get("state") == UNKNOWN else raw.get("value")
        if isinstance(raw, (list, tuple, Mapping)):
            raise InputError(f"{place}: {name} is a list or an object; give one value.")
        if raw is None or (isinstance(raw, str) and not raw.strip()):
            continue
        entries[name] = make_entry(fields()[name], raw, place, unit, own_source)
    warnings = tuple(f"The field {name} is not known here and was not used." for name in unknown_names)
    return make_record(entries, warnings)


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a record document, as shipped."""
    text = resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: Mapping[str, Any]) -> None:
    """Check a record document against the shipped schema; raises ``jsonschema.ValidationError``."""
    import jsonschema

    jsonschema.validate(document, schema())
