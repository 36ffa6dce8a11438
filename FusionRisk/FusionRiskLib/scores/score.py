"""The one shape of every score: what it needs, where it holds, and its value, state and reason per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.measurement import State

from ..clinical.fields import fields
from .columns import Array, Columns, as_columns

MEASURED, NOT_ASSESSABLE, OUT_OF_RANGE = (s.value for s in (State.MEASURED, State.NOT_ASSESSABLE, State.OUT_OF_RANGE))


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


@dataclass(frozen=True)
class Scored:
    """What a score says of every row.

    Attributes
    ----------
    values : numpy.ndarray
        ``(rows,)`` float64, NaN where there is none; of a score of kind ``category``: object, str or None.
    state : numpy.ndarray
        ``(rows,)`` object: ``measured``, ``not_assessable`` or ``out_of_range``.
    reason : numpy.ndarray
        ``(rows,)`` object: why there is no value, or what limits the one there is; None.
    """

    values: Array
    state: Array
    reason: Array


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
        key = ("check", self.needs, self.exclusions)
        bad, state, reason = columns.cached(key, lambda: _check(columns, self.needs, self.exclusions))
        state, reason = state.copy(), reason.copy()
        with np.errstate(all="ignore"):
            values = self.formula(columns)
        values = values.astype(object if self.kind == "category" else np.float64)
        absent: Array
        if self.kind == "category":
            values[bad] = None
            absent = np.fromiter((value is None for value in values.tolist()), bool, values.size)
        else:
            values[bad] = np.nan
            absent = ~np.isfinite(values)
        undefined = absent & ~bad
        if undefined.any():
            state[undefined] = NOT_ASSESSABLE
            reason[undefined] = self.undefined
        usable = ~bad & ~undefined
        for caveat in self.caveats:
            for row in np.flatnonzero(usable & caveat.where(columns)):
                reason[row] = caveat.text if reason[row] is None else f"{reason[row]}; {caveat.text}"
        return Scored(values, state, reason)


def _limits(need: Need) -> tuple[float, float]:
    f = fields()[need.field]
    if not f.numeric:
        return -np.inf, np.inf
    return (f.low if need.low is None else need.low), (f.high if need.high is None else need.high)


def _check(columns: Columns, needs: tuple[Need, ...], exclusions: tuple[Exclusion, ...]) -> tuple[Array, Array, Array]:
    """Rows that cannot have the score, their state and their reason."""
    size = columns.size
    missing = np.zeros(size, np.int64)  # one bit per need
    outside: list[tuple[Need, Array]] = []
    for bit, need in enumerate(needs):
        values = columns.number(need.field)
        low, high = _limits(need)
        whole = fields()[need.field].kind == "integer"
        if values.size and not whole and values.min() >= low and values.max() <= high:  # false where one is unknown
            continue
        if need.required:
            missing |= np.isnan(values).astype(np.int64) << bit
        beyond = (values < low) | (values > high)
        if whole:
            beyond |= ~np.isnan(values) & (values != np.rint(values))
        if beyond.any():
            outside.append((need, beyond))
    state = np.full(size, MEASURED, dtype=object)
    reason = np.full(size, None, dtype=object)
    bad = missing != 0
    for code in np.unique(missing[bad]):
        names = ", ".join(need.field for bit, need in enumerate(needs) if code >> bit & 1)
        reason[missing == code] = f"missing: {names}"
    for exclusion in exclusions:
        excluded = columns.number(exclusion.field) == 1
        for row in np.flatnonzero(excluded).tolist():
            _append(reason, row, f"{exclusion.field} is yes: {exclusion.why}")
        bad = bad | excluded
    state[bad] = NOT_ASSESSABLE
    for need, beyond in outside:
        values = columns.number(need.field)
        text = _range_text(need)
        for row in np.flatnonzero(beyond).tolist():
            _append(reason, row, f"{need.field} {values[row]:g} is outside {text}")
        state[beyond & ~bad] = OUT_OF_RANGE
    for _need, beyond in outside:
        bad = bad | beyond
    return bad, state, reason


def _append(reason: Array, row: int, text: str) -> None:
    reason[row] = text if reason[row] is None else f"{reason[row]}; {text}"


def _range_text(need: Need) -> str:
    low, high = _limits(need)
    f = fields()[need.field]
    whole = "the whole numbers " if f.kind == "integer" else ""
    return f.with_unit(f"{whole}{low:g} to {high:g}")
