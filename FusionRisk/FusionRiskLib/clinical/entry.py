"""What a person types into the form of `form.form`, checked field by field; Slicer and the browser share it.

A text is empty (not entered), ``unknown``, or a value in one of the field's units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.errors import InputError

from .cells import unusual
from .fields import Conversion, Field, fields
from .record import UNKNOWN, Entry, Record, make_entry, make_record

ENTERED_SOURCE = "entered"
_SAME = Conversion("", 1.0)


@dataclass(frozen=True)
class Typed:
    """What stands in one row of the form.

    Attributes
    ----------
    text : str
    unit : str or None
        One of the field's units; None for its own.
    """

    text: str
    unit: str | None = None


@dataclass(frozen=True)
class Checked:
    """What a row means.

    Attributes
    ----------
    entry : Entry or None
        None where nothing was entered, or where it cannot be.
    problem : str
        Why it cannot be; empty where it can.
    unusual : bool
        Possible, and worth a second look.
    """

    entry: Entry | None
    problem: str = ""
    unusual: bool = False


def _conversion(f: Field, unit: str | None) -> Conversion:
    return _SAME if unit in (None, f.unit) else f.units[str(unit)]


def check(name: str, typed: Typed) -> Checked:
    """Check one row.

    Parameters
    ----------
    name : str
        A field's name.
    typed : Typed
    """
    f = fields()[name]
    if not typed.text.strip():
        return Checked(None)
    try:
        entry = make_entry(f, typed.text, f.title, typed.unit, ENTERED_SOURCE)
    except InputError as error:
        return Checked(None, str(error))
    odd = f.numeric and entry.value is not None and bool(unusual(f, np.array([entry.value], float))[0])
    return Checked(entry, unusual=odd)


def converted(name: str, text: str, before: str, after: str) -> str:
    """The text of a number in another of its units, to five digits; other text as it is."""
    f = fields()[name]
    try:
        value = float(text)
    except ValueError:
        return text
    one, other = _conversion(f, before), _conversion(f, after)
    return f"{(value * one.factor + one.offset - other.offset) / other.factor:.5g}"


def shown(record: Record, name: str) -> Typed:
    """How a record's value stands in the form; a value in the field of another unit is shown in that unit."""
    f = fields()[name]
    entry = record.entries.get(name)
    if entry is not None:
        return Typed(_text(entry), None)
    for source in f.sources:
        other = record.entries.get(source.source)
        if other is not None:
            unit = fields()[source.source].unit
            if unit in f.units:
                return Typed(_text(other), unit)
            if isinstance(other.value, float):
                return Typed(f"{other.value * source.factor + source.offset:.5g}", None)
    return Typed("")


def _text(entry: Entry) -> str:
    if entry.state == UNKNOWN:
        return UNKNOWN
    if isinstance(entry.value, bool):
        return "yes" if entry.value else "no"
    return f"{entry.value:g}" if isinstance(entry.value, float) else str(entry.value)


def with_row(record: Record, name: str, typed: Typed) -> tuple[Record, Checked]:
    """A record with one row of the form as it stands now; unchanged where the row cannot be.

    The field of the same quantity in another unit goes: the form has one row for both.
    """
    checked = check(name, typed)
    if checked.problem:
        return record, checked
    same = {name, *(source.source for source in fields()[name].sources)}
    entries: dict[str, Entry] = {n: e for n, e in record.entries.items() if n not in same}
    if checked.entry is not None:
        entries[name] = checked.entry
    return make_record(entries), checked


def from_rows(rows: Mapping[str, Typed]) -> tuple[Record, dict[str, str]]:
    """A record from the whole form, and the problems by field."""
    record, problems = Record(), {}
    for name, typed in rows.items():
        record, checked = with_row(record, name, typed)
        if checked.problem:
            problems[name] = checked.problem
    return record, problems
