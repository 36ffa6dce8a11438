"""The one shape of every score: what it needs, where it holds, and its value, state and reason per row."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from CardioPrecisionLib.measurement import State

from ..clinical.fields import fields
from .columns import Array, Columns, as_columns

MEASURED, NOT_ASSESSABLE, OUT_OF_RANGE = (s.value for s in (State.MEASURED, State.NOT_ASSESSABLE, State.OUT_OF_RANGE))
T = TypeVar("T")
#: The states that a row can have; a state is stored as its place here.
STATES = (MEASURED, NOT_ASSESSABLE, OUT_OF_RANGE)
_MEASURED, _NOT_ASSESSABLE, _OUT_OF_RANGE = range(3)


@dataclass(frozen=True)
class Need:
    """An input of a score and the closed range in which the score holds (default: what the field can be at all).

    An input that is not `required` may be unknown; the formula then says what it does without it.
    """

    field: str
    low: float | None = None
    high: float | None = None
    required: bool = True


@dataclass(frozen=True)
class Exclusion:
    """A yes/no field whose "yes" puts a patient outside of the people that the score is for. Unknown does not."""

    field: str
    why: str


@dataclass(frozen=True)
class Caveat:
    """Rows whose value is right and whose reader should know something. `where` gives ``(rows,)`` bool."""

    where: Callable[[Columns], Array]
    text: str


@dataclass(frozen=True, eq=False)
class Scored:
    """What a score says of every row.

    Attributes
    ----------
    values : numpy.ndarray
        ``(rows,)`` float64, NaN where there is none; of a score of kind ``category``: object, str or None.
    state_codes : numpy.ndarray
        ``(rows,)`` uint8, places in `STATES`.
    reason_codes : numpy.ndarray
        ``(rows,)`` int32, places in the texts of the row's block.
    texts : tuple
        ``(first row, texts)`` of every block of rows; the first text is None.
    """

    values: Array
    state_codes: Array
    reason_codes: Array
    texts: tuple[tuple[int, list[str | None]], ...]

    @cached_property
    def state(self) -> Array:
        """``(rows,)`` object: ``measured``, ``not_assessable`` or ``out_of_range``."""
        return np.take(np.array(STATES, dtype=object), self.state_codes)

    @cached_property
    def reason(self) -> Array:
        """``(rows,)`` object: why there is no value, or what limits the one there is; None."""
        reason = np.empty(self.reason_codes.size, dtype=object)
        for (start, texts), (stop, _) in pairwise((*self.texts, (reason.size, []))):
            if len(texts) > 1:
                reason[start:stop] = np.take(np.array(texts, dtype=object), self.reason_codes[start:stop])
        return reason


@dataclass(frozen=True)
class Score:
    """One number (or category) of one published score.

    Attributes
    ----------
    name : str
        ``risk_<model>[_<variant>]_<outcome>_<horizon>`` for risks in %, otherwise the score's own name.
    family : str
        The model, by which all its scores are chosen.
    title, citation, doi : str
    unit : str
        UCUM: ``%``, ``1``, ``{points}``.
    needs : tuple of Need
    formula : callable
        ``formula(columns) -> (rows,)``; only rows whose needs are met count.
    exclusions : tuple of Exclusion
    caveats : tuple of Caveat
    kind : {"number", "category"}
    verified : bool
        False where constants are known from secondary sources or memory only.
    note : str
        What everybody who reads the score should know.
    undefined : str
        Why there is no value where all needs are met and the formula still gives none.
    """

    name: str
    family: str
    title: str
    citation: str
    doi: str
    unit: str
    needs: tuple[Need, ...]
    formula: Callable[[Columns], Array]
    exclusions: tuple[Exclusion, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    kind: str = "number"
    verified: bool = True
    note: str = ""
    undefined: str = "what is known is not enough for this score"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields it reads, without those that only exclude."""
        return tuple(need.field for need in self.needs)

    def evaluate(self, data: Columns | Mapping[str, Any]) -> Scored:
        """The score of every row.

        Parameters
        ----------
        data : Columns or mapping
            See `Columns`.

        Returns
        -------
        Scored
            A missing input, an exclusion, or a value outside of the range takes the value away and says so by name;
            nothing is clipped.
        """
        columns = as_columns(data)
        values = np.empty(columns.size, dtype=object if self.kind == "category" else np.float64)
        states, reasons = np.empty(columns.size, np.uint8), np.empty(columns.size, np.int32)
        blocks = columns.blocks()
        starts = [0, *itertools.accumulate(block.size for block in blocks)][: len(blocks)]

        def fill(block: Columns, start: int) -> list[str | None]:
            rows = slice(start, start + block.size)
            return self._evaluate(block, values[rows], states[rows], reasons[rows])

        texts = _on_all_cores(fill, blocks, starts)
        return Scored(values, states, reasons, tuple(zip(starts, texts, strict=True)))

    def _evaluate(self, columns: Columns, values: Array, states: Array, reasons: Array) -> list[str | None]:
        """Fill in value, state and reason (as codes) of every row; the texts of the reasons are returned."""
        key = ("check", self.needs, self.exclusions)
        checked = columns.cached(key, lambda: _check(columns, self.needs, self.exclusions))
        states[:], reasons[:] = checked.states, checked.reasons
        texts, bad = checked.texts, checked.states != _MEASURED
        with np.errstate(all="ignore"):
            values[:] = self.formula(columns)
        if self.kind == "category":
            values[bad] = None
            usable = np.fromiter((value is not None for value in values.tolist()), bool, values.size)
        else:
            values[bad] = np.nan
            usable = np.isfinite(values)
        undefined = ~(usable | bad)
        if undefined.any():
            states[undefined] = _NOT_ASSESSABLE
            reasons[undefined] = len(texts)
            texts = [*texts, self.undefined]
        which = np.zeros(columns.size if self.caveats else 0, np.uint8)  # one bit per caveat
        for bit, caveat in enumerate(self.caveats):
            which |= (usable & caveat.where(columns)).view(np.uint8) << bit
        for found in (np.flatnonzero(np.bincount(which)[1:]) + 1).tolist():
            reasons[which == found] = len(texts)
            texts = [*texts, "; ".join(c.text for bit, c in enumerate(self.caveats) if found >> bit & 1)]
        return texts


def _on_all_cores(fill: Callable[[Columns, int], T], blocks: Sequence[Columns], starts: Sequence[int]) -> list[T]:
    """``fill(block, first row)`` of every block of rows, on all cores that this process may use.

    NumPy lets other threads run while it computes, so threads do; the first block that fails says why.
    """
    workers = min(_cores(), len(blocks))
    if workers < 2:
        return list(map(fill, blocks, starts))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(fill, blocks, starts))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # what a scheduler has left to this process; not known on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limits(need: Need) -> tuple[float, float]:
    f = fields()[need.field]
    if not f.numeric:
        return -np.inf, np.inf
    return (f.low if need.low is None else need.low), (f.high if need.high is None else need.high)


@dataclass(frozen=True, eq=False)
class _Checked:
    """State and reason of every row before anything is computed, as in `Scored`."""

    states: Array
    reasons: Array
    texts: list[str | None]

    def add(self, where: Array, text: str, separator: str = "; ", first: str = "") -> None:
        """Add one text to the reason of some rows."""
        rows = np.flatnonzero(where)
        said = self.reasons[rows]
        for code in np.flatnonzero(np.bincount(said)).tolist():
            self.reasons[rows[said == code]] = len(self.texts)
            self.texts.append(f"{self.texts[code]}{separator}{text}" if code else f"{first}{text}")

    def add_each(self, where: Array, texts: list[str]) -> None:
        """Add a text of its own to the reason of each of some rows."""
        rows = np.flatnonzero(where)
        said = self.reasons[rows]
        for i in np.flatnonzero(said).tolist():
            texts[i] = f"{self.texts[said[i]]}; {texts[i]}"
        self.reasons[rows] = np.arange(len(self.texts), len(self.texts) + len(texts), dtype=np.int32)
        self.texts.extend(texts)


def _check(columns: Columns, needs: tuple[Need, ...], exclusions: tuple[Exclusion, ...]) -> _Checked:
    """Rows that cannot have the score, and why: missing inputs, then exclusions, then what is outside of its range."""
    unknown: list[tuple[Need, Array]] = []
    outside: list[tuple[Need, Array]] = []
    for need in needs:
        values = columns.number(need.field)
        low, high = _limits(need)
        whole = fields()[need.field].kind == "integer"
        if values.size and not whole and values.min() >= low and values.max() <= high:  # false where one is unknown
            continue
        if need.required and (absent := np.isnan(values)).any():
            unknown.append((need, absent))
        beyond = (values < low) | (values > high)
        if whole:
            beyond |= ~np.isnan(values) & (values != np.rint(values))
        if beyond.any():
            outside.append((need, beyond))
    checked = _Checked(np.full(columns.size, _MEASURED, np.uint8), np.zeros(columns.size, np.int32), [None])
    for need, absent in unknown:
        checked.add(absent, need.field, ", ", first="missing: ")
        checked.states[absent] = _NOT_ASSESSABLE
    for exclusion in exclusions:
        if columns.given(exclusion.field):
            excluded = columns.number(exclusion.field) == 1
            checked.add(excluded, f"{exclusion.field} is yes: {exclusion.why}")
            checked.states[excluded] = _NOT_ASSESSABLE
    for need, beyond in outside:
        name, text = need.field, _range_text(need)
        values = columns.number(name)[beyond]
        checked.add_each(beyond, [f"{name} {value:g} is outside {text}" for value in values.tolist()])
        checked.states[beyond & (checked.states == _MEASURED)] = _OUT_OF_RANGE
    return checked


def _range_text(need: Need) -> str:
    low, high = _limits(need)
    f = fields()[need.field]
    whole = "the whole numbers " if f.kind == "integer" else ""
    return f.with_unit(f"{whole}{low:g} to {high:g}")
