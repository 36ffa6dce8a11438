"""Named columns of clinical values, one row per patient: what every score is computed on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
from CardioPrecisionLib.errors import InputError

from ..clinical.fields import UNKNOWN_WORDS, YES_NO_WORDS, Field, field_name, fields
from .derived import DERIVED, DERIVED_FROM

Array = np.ndarray[Any, Any]
T = TypeVar("T")
#: Rows at a time: few enough for the caches, many enough that the calls between computations do not count.
BLOCK = 65536


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
        self._first_row, self._of_many = 0, False
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
        self._of_many = self.size > 1

    @classmethod
    def of_numbers(cls, numbers: Mapping[str, Array], size: int) -> Columns:
        """Columns that were read already: field name -> ``(size,)`` float64 as `number` gives them."""
        columns = cls({})
        columns.size = size
        columns._raw = dict(numbers)
        columns._read_already, columns._of_many = True, size > 1
        return columns

    def blocks(self) -> tuple[Columns, ...]:
        """The same rows in blocks of `BLOCK`, as views; made once, so that scores share what was read and derived."""
        if self.size <= BLOCK:
            return (self,)
        return self.cached(
            ("blocks", BLOCK),
            lambda: tuple(self._rows(start, min(start + BLOCK, self.size)) for start in range(0, self.size, BLOCK)),
        )

    def _rows(self, start: int, stop: int) -> Columns:
        part = Columns({})
        part.size = stop - start
        part._raw = {name: raw[start:stop] if raw.size == self.size else raw for name, raw in self._raw.items()}
        part._read_already, part._of_many = self._read_already, self._of_many
        part._first_row = self._first_row + start
        return part

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def given(self, name: str) -> bool:
        """Whether there is a column that a field can come from; where there is none it is unknown in every row."""
        f = fields()[name]
        direct = name in self._raw or any(source.source in self._raw for source in f.sources)
        if direct or any(map(self.given, f.implied_by)):
            return True
        return name in DERIVED_FROM and all(map(self.given, DERIVED_FROM[name]))

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
            if f.kind == "yes_no" and not ((values == 0) | (values == 1)).all():
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

    def _refuse(self, f: Field, bad: Array, raw: Array) -> None:
        if not bad.any():
            return
        row = int(np.flatnonzero(bad)[0])
        wanted = {"yes_no": "yes or no", "choice": " or ".join(f.choices)}.get(f.kind, "a number")
        where = f"row {self._first_row + row + 1}: " if self._of_many and raw.size == self.size else ""
        raise InputError(f"{where}{f.name} is {str(raw[row])[:40]!r}; it must be {wanted}.")

    def _filled(self, f: Field, values: Array) -> Array:
        """Unknown values from the fields they follow from; a view of the caller's column is never written to."""
        if not _some_unknown(values):
            return values.view()
        for source in f.sources:
            if source.source in self._raw and _some_unknown(values):
                other = self._read(fields()[source.source]) * source.factor + source.offset
                values = np.where(np.isnan(values), other, values)
        for name in f.implied_by:
            if self.given(name) and _some_unknown(values):
                values = np.where(np.isnan(values) & (self.number(name) == 1), 1.0, values)
        if f.name in DERIVED and all(map(self.given, DERIVED_FROM[f.name])) and _some_unknown(values):
            unknown = np.flatnonzero(np.isnan(values))
            values = values.copy()
            values[unknown] = DERIVED[f.name](lambda name: self.number(name)[unknown])
        return values.view()


def _some_unknown(values: Array) -> bool:
    return bool(values.size) and bool(np.isnan(values.min()))  # a minimum passes NaN on, and needs no second array


def _same_text(raw: Array, row: int) -> Array:
    """``raw == raw[row]`` for fixed-width text, compared 8 bytes at a time where that goes."""
    if raw.itemsize % 8 or not raw.flags.c_contiguous:
        return np.asarray(raw == raw[row])
    words = raw.view(np.uint64).reshape(raw.size, -1)
    same = words[:, 0] == words[row, 0]
    for place in range(1, words.shape[1]):
        same &= words[:, place] == words[row, place]
    return np.asarray(same)


def _few_words(f: Field, raw: Array, most: int = 8) -> Array | None:
    """A column of `most` different words or fewer, one pass per word; None where it is not such a column."""
    meanings = [np.nan]
    place = np.zeros(raw.size, np.uint8)  # in `meanings`; 0 where no word has been found to be there
    while not place.all():
        row = int(place.argmin())
        value = _value(f, str(raw[row]).strip().lower())
        if value is None or len(meanings) > most:
            return None
        place += _same_text(raw, row).view(np.uint8) * np.uint8(len(meanings))
        meanings.append(value)
    return np.take(np.array(meanings), place)


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
