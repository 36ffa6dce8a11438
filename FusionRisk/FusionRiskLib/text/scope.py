"""One sentence ready for the rules, and what earlier sentences leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .context import flags_of, status_of
from .finding import NOT_CURRENT, Finding, Status
from .numbers import joined
from .sentences import Sentence
from .sites import Mention, coronary, walls
from .tokens import Number, Token


@dataclass
class Carried:
    """What a label ("LAD:", "Right ventricle:") or an earlier sentence says of the sentences after it."""

    section: str = ""
    vessel: str | None = None
    label: str | None = None
    chamber: str | None = None
    valve: str | None = None
    calcium_table: bool = False


@dataclass
class Scope:
    """The tokens of one sentence with their flags; rules turn it into findings.

    Attributes
    ----------
    text : str
        The whole report.
    tokens : sequence of Token
    sentence : Sentence
    carried : Carried
    used : set of int
        Tokens that a rule has taken; no other rule takes them.
    """

    text: str
    tokens: Sequence[Token]
    sentence: Sentence
    carried: Carried
    used: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tokens = joined([self._capitals(token) for token in self.tokens])
        self.cats = {token.cat for token in self.tokens}

    def _capitals(self, token: Token) -> Token:
        """Letters like AS are a lesion in capitals only."""
        if token.cat == "valve_letters" and not self.text[token.start : token.end].isupper():
            return token._replace(cat="filler")
        return token

    @cached_property
    def flags(self) -> list[int]:
        return flags_of(self.tokens)

    @cached_property
    def coronary(self) -> list[Mention]:
        return coronary(self.tokens)

    @cached_property
    def walls(self) -> list[Mention]:
        return walls(self.tokens)

    def any(self, *cats: str) -> bool:
        return not self.cats.isdisjoint(cats)

    def status(self, i: int, *, number: bool = False) -> Status | None:
        """Of token `i`; None where nothing is stated."""
        if self.tokens[i].cat == "old":
            return Status.HISTORICAL if self.sentence.section != "recommendation" else None
        status = status_of(self.flags[i], self.sentence.section, number=number)
        question = i and self.tokens[i - 1].text == "?"
        return Status.UNCERTAIN if question and status is Status.PRESENT else status

    def finding(
        self,
        kind: str,
        value: float | str | None,
        unit: str,
        status: Status,
        first: int,
        stop: int,
        rule: str,
        *,
        lead: int = 0,
        **more: Any,
    ) -> Finding:
        """A finding whose value is written in the tokens `first` up to `stop`, and `lead` characters before them."""
        start, end = self.tokens[first].start - lead, self.tokens[stop - 1].end
        sentence = self.sentence
        return Finding(
            kind,
            value,
            unit,
            status,
            start,
            end,
            self.text[start:end],
            self.text[sentence.start : sentence.end],
            sentence.start,
            sentence.section,
            rule,
            **more,
        )

    @property
    def current(self) -> bool:
        return self.sentence.section not in NOT_CURRENT


#: Unit as written → unit asked for: factor.
_FACTORS = {
    ("cm", "mm"): 10.0, ("mm", "cm"): 0.1, ("L", "mL"): 1000.0, ("kg", "g"): 1000.0, ("m", "mm"): 1000.0,
    ("cm/s", "m/s"): 0.01, ("mm2", "cm2"): 0.01, ("mL", "mm3"): 1000.0,
}  # fmt: skip
#: Quantities that are written without their unit often enough, and cannot be mistaken.
BARE = frozenset({"%", "mL", "mL/m2", "g", "g/m2", "1", "mm3", "mg", "ms", "/min", "mm[Hg]", "L/min", "L/min/m2"})


def converted(number: Number, unit: str, factor_of_bare: float = 1.0) -> Number | None:
    """The number in `unit`; None where its own unit cannot become that."""
    if number.unit == unit:
        factor = 1.0
    elif number.unit is None:
        if unit not in BARE:
            return None
        factor = factor_of_bare
    elif (number.unit, unit) in _FACTORS:
        factor = _FACTORS[(number.unit, unit)]
    else:
        return None

    def scaled(value: float | None) -> float | None:
        return None if value is None else round(value * factor, 6)

    return number._replace(value=scaled(number.value), low=scaled(number.low), high=scaled(number.high), unit=unit)


def ends(number: Number) -> dict[str, Any]:
    """The fields of a finding that say range, bound and comparator."""
    return {"low": number.low, "high": number.high, "comparator": number.comparator}
