"""Named columns of clinical values, one row per patient: what every score is computed on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
from CardioPrecisionLib.errors import InputError

from ..clinical.fields import UNKNOWN_WORDS, YES_NO_WORDS, Field, field_name, fields
from .derived import DERIVED

Array = np.ndarray[Any, Any]
T = TypeVar("T")


class Columns:
    """Clinical values as columns of numbers.

    Parameters
    ----------
    data : mapping
        Field name or alias -> a value for all rows, or one value per row. Unknown is None, NaN, an empty string or
        "unknown". Yes/no fields take booleans, 0 and 1, "yes" and "no"; choices take their spelling.

    Raises
    ------
    InputError
        A name that is no field, a field given twice, columns of different length, or a value that cannot be read;
        the message names field and row.

    Notes
    -----
    A column that is not given is made from another where that is the same quantity in another unit, or where the field
    table says how it follows. Values are not judged here: a score says what lies outside of its range.
    """

    def __init__(self, data: Mapping[str, Any]):
        self._raw: dict[str, Array] = {}
        self._numbers: dict[str, Array] = {}
        self._cache: dict[Hashable, Any] = {}
        self._read_already = False
        size: int | None = None
        for given, values in data.items():
            name = field_name(given)
            if name is None:
                raise InputError(f"{given} is not a clinical field; use a name of the field table.")
            if name in self._raw:
                raise InputError(f"{name} is given twice (once as {given}).")
            array = np.asarray(values) if not isinstance(values, (str, bytes)) else np.asarray([values], dtype=object)
            array = np.atleast_1d(array)
            if array.ndim != 1:
                raise InputError(f"{given} has {array.ndim} dimensions; a column has one value per row.")
            if array.size != 1:
                if size not in (None, array.size):
                    raise InputError(f"{given} has {array.size} rows, other columns have {size}.")
                size = array.size
            self._raw[name] = array
        self.size: int = 1 if size is None else size

    @classmethod
    def of_numbers(cls, numbers: Mapping[str, Array], size: int) -> Columns:
        """Columns that were read already: field name -> ``(size,)`` float64 as `number` gives them."""
        columns = cls({})
        columns.size = size
        columns._raw = dict(numbers)
        columns._read_already = True
        return columns

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """What several scores share on the same rows, made once."""
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value

    def number(self, name: str) -> Array:
        """A field as ``(rows,)`` float64, NaN where unknown; yes is 1, no is 0, a choice is its place in the table."""
        if name not in self._numbers:
            f = fields()[name]
            values = self._read(f) if name in self._raw else np.full(self.size, np.nan)
            values = self._filled(f, values)
            values.flags.writeable = False
            self._numbers[name] = values
        return self._numbers[name]

    def is_choice(self, name: str, choice: str) -> Array:
        """``(rows,)`` bool: the field is this choice."""
        return self.number(name) == fields()[name].choices.index(choice)

    def _read(self, f: Field) -> Array:
        raw = self._raw[f.name]
        if self._read_already:
            return raw
        if raw.dtype.kind in "fiub" and f.kind in ("number", "integer", "yes_no"):
            values = raw.astype(np.float64, copy=False)
            if f.kind == "yes_no":
                self._refuse(f, (values != 0) & (values != 1) & ~np.isnan(values), raw)
        else:
            values = self._of_objects(f, raw)
        return np.broadcast_to(values, (self.size,)) if values.size != self.size else values

    def _of_objects(self, f: Field, raw: Array) -> Array:
        if raw.dtype.kind == "U" and (values := _few_words(f, raw)) is not None:
            return values
        cells = raw.tolist()
        known: dict[Any, float] = {}
        bad = set()
        for cell in set(cells):  # few different ones: each is read once
            value = _value(f, "" if cell is None else str(cell).strip().lower())
            if value is None:
                bad.add(cell)
            known[cell] = np.nan if value is None else value
        if bad:
            self._refuse(f, np.asarray([cell in bad for cell in cells]), raw)
        return np.fromiter(map(known.__getitem__, cells), np.float64, len(cells))

    @staticmethod
    def _refuse(f: Field, bad: Array, raw: Array) -> None:
        if not bad.any():
            return
        row = int(np.flatnonzero(bad)[0])
        wanted = {"yes_no": "yes or no", "choice": " or ".join(f.choices)}.get(f.kind, "a number")
        where = f"row {row + 1}: " if raw.size > 1 else ""
        raise InputError(f"{where}{f.name} is {str(raw[row])[:40]!r}; it must be {wanted}.")

    def _filled(self, f: Field, values: Array) -> Array:
        """Unknown values from the fields they follow from; a view of the caller's column is never written to."""
        for source in f.sources:
            if source.source in self._raw and np.isnan(values).any():
                other = self._read(fields()[source.source]) * source.factor + source.offset
                values = np.where(np.isnan(values), other, values)
        for name in f.implied_by:
            if np.isnan(values).any():
                values = np.where(np.isnan(values) & (self.number(name) == 1), 1.0, values)
        if f.name in DERIVED and np.isnan(values).any():
            values = np.where(np.isnan(values), DERIVED[f.name](self.number), values)
        return values.view()


def _few_words(f: Field, raw: Array, most: int = 8) -> Array | None:
    """A column of `most` different words or fewer, one pass per word; None where it is not such a column."""
    values = np.empty(raw.size)
    left = np.ones(raw.size, bool)
    for _ in range(most):
        row = int(left.argmax())
        if not left[row]:
            return values
        value = _value(f, str(raw[row]).strip().lower())
        if value is None:
            return None
        same = raw == raw[row]
        values[same] = value
        left &= ~same
    return None if left.any() else values


def _value(f: Field, word: str) -> float | None:
    """A lower-case word as the field's number; NaN for unknown, None for what cannot be read."""
    if f.kind == "choice":
        choice = f.choice(word)
        if choice is not None:
            return float(f.choices.index(choice))
        return np.nan if word in UNKNOWN_WORDS else None
    if word in UNKNOWN_WORDS:
        return np.nan
    if f.kind == "yes_no":
        return YES_NO_WORDS.get(word)
    try:
        number = float(word)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def as_columns(data: Columns | Mapping[str, Any]) -> Columns:
    return data if isinstance(data, Columns) else Columns(data)
