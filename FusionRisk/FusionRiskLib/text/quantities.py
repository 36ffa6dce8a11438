"""Measured quantities: a name and the numbers that belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .finding import Finding, Status
from .lexicon import Quantity
from .scope import Scope, converted, ends
from .sites import sites_for
from .tokens import Number, Token

RULE = "quantity"
#: How many tokens after its name a number may stand.
REACH = 24
_SEPARATE = frozenset({"agatston_score", "cac_percentile", "other"})
_ENDS_REACH = frozenset(
    {"quantity", "calcium_site", "stenosis", "occlusion", "plaque", "valve_lesion", "valve_letters", "regurgitation"}
    | {"cad", "high_risk_plaque"}
)
_UNIT_WORDS = {"ml": "mL", "g": "g", "mm": "mm", "cm": "cm", "ms": "ms", "bpm": "/min"}


def quantities(scope: Scope) -> Iterator[Finding]:
    """All quantities of a sentence but calcium scores and percentiles."""
    tokens = scope.tokens
    at = [i for i, token in enumerate(tokens) if token.cat == "quantity"]
    i = 0
    while i < len(at):
        run = _run(tokens, at[i:])
        numbers = _paired(tokens, run) if len(run) > 1 else []
        if numbers:
            for concept, number in zip(run, numbers, strict=True):
                yield from _paired_finding(scope, concept, number, tokens[numbers[-1]].value.unit)
        else:
            for concept in run:
                if tokens[concept].value.kind not in _SEPARATE:
                    yield from _one(scope, concept)
        i += len(run)


def _run(tokens: Sequence[Token], at: list[int]) -> list[int]:
    """The names that follow each other directly ("EDV, ESV and EF")."""
    run = at[:1]
    for following in at[1:]:
        between = tokens[run[-1] + 1 : following]
        if not between or not all(t.cat in ("and", "filler", "chamber") or t.text in (",", "/", "&") for t in between):
            break
        run.append(following)
    return run


def _paired(tokens: Sequence[Token], run: list[int]) -> list[int]:
    """Indices of as many numbers, one after the other, as there are names; empty where there are not."""
    numbers: list[int] = []
    for j in range(run[-1] + 1, min(run[-1] + REACH, len(tokens))):
        token = tokens[j]
        if token.cat == "num":
            numbers.append(j)
            if len(numbers) == len(run):
                return numbers
        elif token.cat in _ENDS_REACH or (
            numbers and not (token.cat in ("and", "filler", "comparator") or token.text in (",", "/", "&"))
        ):
            return []
    return []


def _paired_finding(scope: Scope, concept: int, j: int, unit: str | None) -> Iterator[Finding]:
    quantity: Quantity = scope.tokens[concept].value
    number: Number = scope.tokens[j].value
    if quantity.kind in _SEPARATE:
        return
    fitted = _fitted(quantity, number if number.unit else number._replace(unit=unit))
    status = scope.status(j, number=True)
    if fitted is not None and status is not None:
        scope.used.add(j)
        yield _finding(scope, quantity, fitted, status, concept, j, _site(scope, quantity, concept, j))


def _one(scope: Scope, concept: int) -> Iterator[Finding]:
    tokens = scope.tokens
    quantity: Quantity = tokens[concept].value
    if _other_valve(scope, concept, quantity):
        return
    kinds: set[tuple[str, bool, str | None]] = set()
    found = False
    hint = None
    for j in range(concept + 1, min(concept + 1 + REACH, len(tokens))):
        token = tokens[j]
        if token.cat in _ENDS_REACH or (token.cat == "unmeasured" and not found):
            break
        if token.cat == "word" and token.text in _UNIT_WORDS and not found:
            hint = _UNIT_WORDS[token.text]
        if token.cat not in ("num", "old") or j in scope.used or _is_reference(tokens, j):
            continue
        number: Number = token.value
        fitted = _fitted(quantity, number if number.unit else number._replace(unit=hint))
        status = scope.status(j, number=True)
        if fitted is None or (number.unit is None and hint is None and not _close(tokens, concept, j)):
            continue
        if status is None:
            continue
        where = _site(scope, quantity, concept, j, found)
        key = (fitted.kind, status is Status.HISTORICAL, where)
        if key in kinds:
            continue
        kinds.add(key)
        found = True
        scope.used.add(j)
        yield _finding(scope, quantity, fitted, status, concept, j, where)
    if not found:
        yield from _before(scope, concept, quantity)


def _before(scope: Scope, concept: int, quantity: Quantity) -> Iterator[Finding]:
    """ "a 45 % ejection fraction"; or that there is none: "EF was not calculated"."""
    tokens = scope.tokens
    j = concept - 1
    while j >= 0 and tokens[j].cat in ("filler", "chamber"):
        j -= 1
    if j >= 0 and tokens[j].cat == "num" and j not in scope.used and tokens[j].value.unit is not None:
        fitted = _fitted(quantity, tokens[j].value)
        status = scope.status(j, number=True)
        if fitted is not None and status is not None:
            scope.used.add(j)
            yield _finding(scope, quantity, fitted, status, concept, j, _site(scope, quantity, concept, j))
        return
    if is_unmeasured(scope, concept) and scope.status(concept) is not None:
        status = Status.ABSENT if scope.current else Status.HISTORICAL
        kind = _chambered(scope, quantity.kind, concept, concept)
        yield scope.finding(
            kind, None, quantity.unit, status, concept, concept + 1, RULE, site=quantity.site, note="not measured"
        )


def _close(tokens: Sequence[Token], concept: int, j: int) -> bool:
    """Whether a bare number belongs to the name: hardly a strange word between, and none that it counts."""
    strange = sum(token.cat == "word" for token in tokens[concept + 1 : j])
    follows = tokens[j + 1].cat if j + 1 < len(tokens) else ""
    return strange <= 1 and follows not in ("word", "segment_word", "vessel", "branch")


def is_unmeasured(scope: Scope, concept: int) -> bool:
    """Whether the sentence says that the quantity was not measured."""
    tokens = scope.tokens
    for j in range(concept + 1, min(concept + 8, len(tokens))):
        if tokens[j].cat == "unmeasured":
            return True
        if tokens[j].cat in ("num", "quantity", "stop"):
            return False
    done = {"obtained", "performed", "calculated", "given", "available", "reported", "measured", "acquired"}
    negated = any(token.cat == "negation" for token in tokens[max(0, concept - 2) : concept])
    return negated and any(token.text.split()[-1] in done for token in tokens[concept + 1 : concept + 4])


@dataclass(frozen=True)
class _Fitted:
    """A number in the unit of its quantity, with the name that the unit makes of it."""

    kind: str
    number: Number
    credible: bool


def _fitted(quantity: Quantity, number: Number) -> _Fitted | None:
    """The number as this quantity, also as its index; None where the unit does not fit."""
    kind, unit, low, high = quantity.kind, quantity.unit, quantity.low, quantity.high
    if quantity.indexed and number.unit == f"{unit}/m2":
        kind, unit = f"{kind}_index", f"{unit}/m2"
        low, high = quantity.indexed
    fraction = quantity.fraction and number.unit is None and 0 < (number.value or number.low or number.high or 0) <= 1
    if kind.endswith("_mass") and number.unit is None:
        return None
    fitted = converted(number, unit, 100.0 if fraction else 1.0)
    if fitted is None and number.unit is None and unit == "mm" and (number.value or 0) >= 8:
        fitted = number._replace(unit=unit)
    if fitted is None:
        return None
    if quantity.negative and number.negative:
        fitted = fitted._replace(value=None if fitted.value is None else -abs(fitted.value))
    credible = all(v is None or low <= v <= high for v in (fitted.value, fitted.low, fitted.high))
    return _Fitted(kind, fitted, credible)


def _finding(
    scope: Scope, quantity: Quantity, fitted: _Fitted, status: Status, concept: int, j: int, site: str | None
) -> Finding:
    minus = fitted.number.negative and quantity.negative
    return scope.finding(
        _chambered(scope, fitted.kind, concept, j),
        fitted.number.value,
        str(fitted.number.unit),
        status,
        j,
        j + 1,
        RULE,
        lead=1 if minus else 0,
        site=site,
        note=None if fitted.credible else f"outside the credible range {quantity.low:g} to {quantity.high:g}",
        **ends(fitted.number),
    )


def _site(scope: Scope, quantity: Quantity, concept: int, j: int, listed: bool = False) -> str | None:
    """Of FFR the place in the arteries (of a further number of a list the one beside it); else the lexicon's."""
    if quantity.kind != "ffr_ct":
        return quantity.site
    carried, first = scope.carried, j if listed else min(concept, j)
    return sites_for(scope.tokens, scope.coronary, first, max(concept, j) + 1, carried.vessel, carried.label)[0]


def _chambered(scope: Scope, kind: str, concept: int, j: int) -> str:
    """``{chamber}_ef`` → ``lv_ef`` or ``rv_ef``: named between, else before, else by a label, else the left."""
    if not kind.startswith("{"):
        return kind
    tokens = scope.tokens
    between = [token.value for token in tokens[concept:j] if token.cat == "chamber"]
    before = [token.value for token in tokens[:concept] if token.cat == "chamber"]
    chamber = between[0] if between else before[-1] if before else scope.carried.chamber or "lv"
    return kind.replace("{chamber}", chamber)


def _other_valve(scope: Scope, concept: int, quantity: Quantity) -> bool:
    """Gradient, velocity and area are kept for the aortic valve only."""
    if not quantity.kind.startswith("aortic_valve"):
        return False
    if "aortic" in scope.tokens[concept].text or scope.tokens[concept].text == "ava":
        return False
    near = [t for t in scope.tokens if t.cat in ("valve", "valve_lesion")]
    named = [str(t.value).split("_")[0] for t in near if t.value != "valves"] or [scope.carried.valve or "aortic"]
    return "aortic" not in named


def _is_reference(tokens: Sequence[Token], j: int) -> bool:
    """ "(normal 52-72 %)": a number right behind "normal", in brackets or after a comma."""
    k = j - 1
    while k >= 0 and (tokens[k].cat == "comparator" or tokens[k].text in (":", "=")):
        k -= 1
    if k < 0 or tokens[k].cat not in ("normal", "reference"):
        return False
    return tokens[k].cat == "reference" or (k > 0 and tokens[k - 1].text in ("(", "[", ",", ";"))
