"""Conditions as data with three truth values: true, false, and not known (Kleene's strong logic)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..clinical.fields import fields
from ..scores import scores
from .facts import Fact

Facts = Mapping[str, Fact]
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Because:
    """One comparison that decided, or kept undecided, what a condition came to; `test` as in "not >= 7.5"."""

    fact: Fact
    text: str
    test: str = ""


@dataclass(frozen=True)
class Verdict:
    """`truth` is None where the facts do not decide; `because` holds only the comparisons that matter for it."""

    truth: bool | None
    because: tuple[Because, ...]


class Condition:
    """Base of all conditions."""

    def names(self) -> Iterator[str]:
        """The facts it asks for, in the order they are written; a name may come twice."""
        raise NotImplementedError

    def judge(self, facts: Facts) -> Verdict:
        raise NotImplementedError


@dataclass(frozen=True)
class Compare(Condition):
    """A fact against a constant."""

    name: str
    op: str
    value: float | bool | str | tuple[float | str, ...]

    def names(self) -> Iterator[str]:
        yield self.name

    def judge(self, facts: Facts) -> Verdict:
        fact = facts.get(self.name) or Fact.missing(self.name)
        if not fact.known:
            return Verdict(None, (Because(fact, fact.words()),))
        value, problem = _comparable(fact, self.value)
        if problem:
            return Verdict(None, (Because(fact, f"{self.name} cannot be compared ({problem})"),))
        if self.op in _ORDER:
            limit = float(self.value)  # type: ignore[arg-type]  # the schema asks for a number
            truth = _ORDER[self.op](value, limit)
            test = f"{'' if truth else 'not '}{self.op} {limit:g}"
            return Verdict(truth, (Because(fact, fact.words(_digits(value, limit)), test),))
        truth = value in self.value if isinstance(self.value, tuple) else value == self.value
        return Verdict(truth, (Because(fact, fact.words()),))


@dataclass(frozen=True)
class Join(Condition):
    """All of the parts, or any of them."""

    parts: tuple[Condition, ...]
    every: bool

    def names(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.names()

    def judge(self, facts: Facts) -> Verdict:
        verdicts = [part.judge(facts) for part in self.parts]
        truths = [verdict.truth for verdict in verdicts]
        decides = not self.every  # one true part decides "any", one false part decides "all"
        if decides in truths:
            truth: bool | None = decides
        else:
            truth = None if None in truths else self.every
        because = (reason for verdict in verdicts if verdict.truth is truth for reason in verdict.because)
        return Verdict(truth, tuple(dict.fromkeys(because)))


@dataclass(frozen=True)
class Not(Condition):
    part: Condition

    def names(self) -> Iterator[str]:
        yield from self.part.names()

    def judge(self, facts: Facts) -> Verdict:
        verdict = self.part.judge(facts)
        return Verdict(None if verdict.truth is None else not verdict.truth, verdict.because)


def read_condition(data: Mapping[str, Any]) -> Condition:
    """A condition from its data, which the schema of the rule files has accepted."""
    if "all" in data or "any" in data:
        every = "all" in data
        return Join(tuple(read_condition(part) for part in data["all" if every else "any"]), every)
    if "not" in data:
        return Not(read_condition(data["not"]))
    value = data["value"]
    return Compare(data["name"], data["op"], tuple(value) if isinstance(value, list) else value)


def _digits(value: float, limit: float) -> int:
    """As many digits as it takes to show on which side of the limit a value is, and at least four."""
    for digits in range(4, 17):
        shown = float(f"{value:.{digits}g}")
        if (shown < limit, shown > limit) == (value < limit, value > limit):
            return digits
    return 17


def _comparable(fact: Fact, constant: Any) -> tuple[Any, str]:
    """The fact's value as the constant's kind and in the unit that rules use; or why that cannot be."""
    value = fact.value
    sample = constant[0] if isinstance(constant, tuple) else constant
    if isinstance(sample, bool):
        if value in (0, 1):  # also False, True, 0.0, 1.0
            return bool(value), ""
        return None, "it must be yes or no"
    if isinstance(sample, str):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return f"{value:g}", ""  # a category that is a number in a table, as CAD-RADS 3
        return (value, "") if isinstance(value, str) else (None, "it must be text")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None, "it must be a number"
    return _in_unit(fact, float(value))


def _in_unit(fact: Fact, value: float) -> tuple[float | None, str]:
    f = fields().get(fact.name)
    score = scores().get(fact.name)
    wanted = f.unit if f else score.unit if score else fact.unit
    if fact.unit == wanted:
        return value, ""
    if f and fact.unit in f.units:
        conversion = f.units[fact.unit]
        return value * conversion.factor + conversion.offset, ""
    counted = wanted == "1" or wanted.startswith("{")
    if counted and (fact.unit in ("", "1", "%") or fact.unit.startswith("{")):
        return value, ""  # points, Agatston units, percentiles: names of one and the same number
    return None, f"its unit is {fact.unit or 'not given'}, not {wanted}"
