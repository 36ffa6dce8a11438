"""Reading the cells of one field: words, numbers and units checked, nothing converted or dropped in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError

from .fields import UNKNOWN_WORDS, YES_NO_WORDS, Field, fields

Array = np.ndarray[Any, Any]
#: ``place(i)`` says where cell i is: "ROWS.csv, row 5".
Place = Callable[[int], str]

#: What a spreadsheet would run: = and @, control characters, + and - before anything but a number.
_FORMULA = re.compile(r"\s*(=|@|[+-](?!\s*(\d|\.\d|inf\b|$)))|^[\t\r]")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def is_formula(cell: Any) -> bool:
    return isinstance(cell, str) and _FORMULA.match(cell) is not None


def refuse_formulas(name: str, cells: Sequence[Any], place: Place) -> None:
    """Raise `InputError` where a cell holds a formula."""
    for i, cell in enumerate(cells):
        if cell and isinstance(cell, str) and not cell[0].isalnum() and is_formula(cell):
            raise InputError(f"{place(i)}: {name} holds a formula ({cell[:20]!r}); give values only.")


def read_cells(f: Field, cells: Sequence[Any] | Array, place: Place, unit: str | None = None) -> Array:
    """The cells of a field as numbers.

    Parameters
    ----------
    f : Field
        A number, yes/no or choice.
    cells : sequence
        Text, numbers, booleans or None; or an array of float64.
    place : callable
        For messages.
    unit : str or None
        The unit that the cells are in, one of ``f.units``; None for the field's own.

    Returns
    -------
    numpy.ndarray
        ``(cells,)`` float64 in the field's unit, NaN where unknown; yes is 1, no is 0, a choice is its place.

    Raises
    ------
    InputError
        A cell cannot be read, holds a formula, or lies outside of what the field can be; the message names field, row,
        range, and the unit that the value looks like.
    """
    values = _numbers(f, cells, place)
    if f.numeric:
        if unit is not None and unit != f.unit:
            conversion = f.units.get(unit)
            if conversion is None:
                accepted = ", ".join(f.units) or f.unit
                raise InputError(f"{place(0)}: {f.name} in {unit} is not known; give it in {accepted}.")
            values = values * conversion.factor + conversion.offset
        beyond = np.flatnonzero((values < f.low) | (values > f.high))
        if beyond.size:
            i = int(beyond[0])
            more = f" ({beyond.size - 1} more below)" if beyond.size > 1 else ""
            raise InputError(f"{place(i)}: {_impossible(f, float(values[i]))}{more}")
        if f.kind == "integer":
            broken = np.flatnonzero(~np.isnan(values) & (values != np.rint(values)))
            if broken.size:
                i = int(broken[0])
                raise InputError(f"{place(i)}: {f.name} is {values[i]:g}; it must be a whole number.")
    return values


def _impossible(f: Field, value: float) -> str:
    text = f"{f.name} is {f.with_unit(f'{value:g}')}; it must be {f.low:g} to {f.with_unit(f'{f.high:g}')}"
    for unit, conversion in f.units.items():
        if unit != f.unit and f.usual_low <= value * conversion.factor + conversion.offset <= f.usual_high:
            sibling = next((s.source for s in f.sources if fields()[s.source].unit == unit), None)
            remedy = f"give it as {sibling}" if sibling else "give its unit or convert it"
            return f"{text}. It looks like {unit}: {remedy}."
    return f"{text}."


def unusual(f: Field, values: Array) -> Array:
    """``(cells,)`` bool: possible values that deserve a second look."""
    return np.asarray((values < f.usual_low) | (values > f.usual_high))


def _numbers(f: Field, cells: Sequence[Any] | Array, place: Place) -> Array:
    if f.numeric and isinstance(cells, np.ndarray) and cells.dtype == np.float64:
        return cells
    if f.numeric and not any(isinstance(cell, bool) for cell in cells):
        try:
            return np.asarray(cells, dtype=object).astype(np.float64)
        except (TypeError, ValueError):
            pass  # words and empty cells among the numbers
    known: dict[Any, float] = {}
    out = np.empty(len(cells))
    for i, cell in enumerate(cells):
        word = "" if cell is None else str(cell).strip()
        if word not in known:
            known[word] = _number(f, word, isinstance(cell, bool), partial(place, i))
        out[i] = known[word]
    return out


def _number(f: Field, word: str, boolean: bool, place: Callable[[], str]) -> float:
    if is_formula(word):
        raise InputError(f"{place()}: {f.name} holds a formula ({word[:20]!r}); give values only.")
    token = word.lower()
    if f.kind == "choice":
        choice = f.choice(token)
        if choice is not None:
            return float(f.choices.index(choice))
    if token in UNKNOWN_WORDS:
        return np.nan
    if f.kind == "yes_no" and token in YES_NO_WORDS:
        return YES_NO_WORDS[token]
    if f.numeric and not boolean:
        try:
            return float(word)
        except ValueError:
            pass
    wanted = {"yes_no": "yes, no or unknown", "choice": " or ".join(f.choices)}.get(f.kind, "a number")
    hint = "; write the decimal point as a point" if f.numeric and _DECIMAL_COMMA.fullmatch(word) else ""
    raise InputError(f"{place()}: {f.name} is {word[:40]!r}; it must be {wanted}{hint}.")


def read_date(f: Field, cell: Any, place: str) -> str | None:
    """A date as YYYY-MM-DD; None where unknown."""
    word = "" if cell is None else str(cell).strip()
    if word.lower() in UNKNOWN_WORDS:
        return None
    try:
        return date.fromisoformat(word).isoformat()
    except ValueError:
        raise InputError(f"{place}: {f.name} must be written YYYY-MM-DD.") from None
