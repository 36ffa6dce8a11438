"""Negation, doubt, history, condition: which words of a sentence they reach.

The idea (cue words with a scope that ends at other words) is that of NegEx and ConText (Chapman 2001, J Biomed Inform
34:301; Harkema 2009, 42:839); cues and scopes are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

from .finding import Status
from .tokens import Token


class Flag:
    """What reaches a token, as bits of a plain int (an IntFlag is ten times slower, and every token is asked)."""

    NONE = 0
    NEGATED = 1
    UNCERTAIN = 2
    HISTORY = 4
    FAMILY = 8
    HYPOTHETICAL = 16
    REFERENCE = 32


#: Things that a scope can be about.
CONCEPTS = frozenset(
    {"quantity", "stenosis", "occlusion", "plaque", "high_risk_plaque", "finding", "calcification", "valve_lesion"}
    | {"valve_letters", "regurgitation", "scar", "wall_motion", "wall_motion_word", "calcium_site"}
)
_FORWARD = {
    "negation": Flag.NEGATED,
    "uncertain": Flag.UNCERTAIN,
    "history": Flag.HISTORY,
    "history_short": Flag.HISTORY,
    "family": Flag.FAMILY,
    "hypothetical": Flag.HYPOTHETICAL,
    "reference": Flag.REFERENCE,
}
_BACKWARD = {"negation_after": Flag.NEGATED, "uncertain_after": Flag.UNCERTAIN, "history_after": Flag.HISTORY}
#: How many tokens a cue reaches back.
REACH_BACK = 12


def flags_of(tokens: Sequence[Token]) -> list[int]:
    """For every token of one sentence the flags that reach it."""
    flags = [Flag.NONE] * len(tokens)
    for i, token in enumerate(tokens):
        cat = token.cat
        if cat in _FORWARD:
            reached = _forward(tokens, i, flags, _FORWARD[cat])
            if cat == "history" and not reached:
                _backward(tokens, i, flags, Flag.HISTORY, commas=False)
        elif cat in _BACKWARD:
            _backward(tokens, i, flags, _BACKWARD[cat], commas=cat == "negation_after")
        elif cat == "unmeasured":
            _backward(tokens, i, flags, Flag.UNCERTAIN, commas=False)
        elif cat == "date":
            _date(tokens, i, flags)
    return flags


def _forward(tokens: Sequence[Token], i: int, flags: list[int], flag: int) -> bool:
    """Set `flag` after the cue `i`; whether it met anything but small words."""
    short = tokens[i].cat == "history_short"
    concept_seen = met = False
    depth = 0
    for j in range(i + 1, len(tokens)):
        token = tokens[j]
        cat, text = token.cat, token.text
        if cat in ("stop", "now") or text == ";" or (flag is Flag.NEGATED and cat == "negation" and text != "nor"):
            break
        if flag is Flag.NEGATED and cat == "uncertain" and concept_seen:
            break
        if text in "([":
            depth += 1
        elif text in ")]":
            depth -= 1
            if depth < 0:
                break
        if short and cat == "with":
            break
        if text == "," and depth <= 0 and _comma_ends(tokens, i, j, flag, concept_seen):
            break
        if cat == "and" and flag in (Flag.NEGATED, Flag.UNCERTAIN) and concept_seen and _new_statement(tokens, j + 1):
            break
        if cat == "with" and flag is Flag.NEGATED and concept_seen:
            break
        if flag is Flag.HISTORY and cat == "to" and _from_before(tokens, i, j):
            break
        concept_seen |= cat in CONCEPTS
        met |= cat in CONCEPTS or cat in ("num", "vessel", "branch", "cad")
        flags[j] |= flag
    return met


def _from_before(tokens: Sequence[Token], i: int, j: int) -> bool:
    return any(token.cat == "from" for token in tokens[max(0, i - 2) : j]) and tokens[j - 1].cat == "num"


def _comma_ends(tokens: Sequence[Token], i: int, j: int, flag: int, concept_seen: bool) -> bool:
    if flag in (Flag.HISTORY, Flag.HYPOTHETICAL, Flag.REFERENCE):
        return True
    if flag is Flag.FAMILY:
        return False
    return concept_seen and _new_statement(tokens, j + 1)


def _new_statement(tokens: Sequence[Token], j: int) -> bool:
    """Whether a positive statement of its own begins at `j`: a degree, a number, or a site with one."""
    for k in range(j, min(j + 6, len(tokens))):
        cat = tokens[k].cat
        if cat in ("grade", "num", "scar_pattern", "normal", "comparator") or cat in ("is", "with", "uncertain"):
            return True
        if cat in CONCEPTS or cat == "or" or tokens[k].text == ",":
            return False
    return False


def _backward(tokens: Sequence[Token], i: int, flags: list[int], flag: int, *, commas: bool) -> None:
    """Set `flag` before the cue `i`, back to the clause's beginning; over commas that part the items of a list."""
    depth = 0
    for j in range(i - 1, max(-1, i - 1 - REACH_BACK), -1):
        token = tokens[j]
        if token.cat in ("stop", "now") or token.text == ";":
            return
        if token.text == ")":
            depth += 1
        elif token.text == "(":
            depth -= 1
            if depth < 0:
                return
        if token.text == "," and depth == 0 and not (commas and j + 1 < i and tokens[j + 1].cat in CONCEPTS):
            return
        flags[j] |= flag


def _date(tokens: Sequence[Token], i: int, flags: list[int]) -> None:
    """A year or a date beside a value makes it an earlier one; the date of an examination that is told does not."""
    before = tokens[i - 1] if i else None
    if before is None or not (before.text in ("in", "on", "from", "since", "dated", "of") or before.text == "("):
        return
    if before.text == "in" and i == 1:  # "In 2019, EF was 35 %"
        _over_commas(tokens, i, flags)
        return
    value_before = any(t.cat in ("num", "cad") or t.cat in CONCEPTS for t in tokens[max(0, i - 12) : i])
    if before.text == "on" and not (value_before and _no_verb_between(tokens, i)):
        return
    if before.text in ("in", "on", "since", "dated", "("):
        _backward(tokens, i, flags, Flag.HISTORY, commas=False)
    if not any(t.cat == "num" for t in tokens[max(0, i - 12) : i]):
        _forward(tokens, i, flags, Flag.HISTORY)


def _no_verb_between(tokens: Sequence[Token], i: int) -> bool:
    return not any(t.text in ("performed", "acquired", "obtained", "done", "ct", "mri", "scan") for t in tokens[:i])


def _over_commas(tokens: Sequence[Token], i: int, flags: list[int]) -> None:
    for j in range(i + 1, len(tokens)):
        if tokens[j].cat in ("stop", "now") or tokens[j].text == ";":
            return
        flags[j] |= Flag.HISTORY


def status_of(flag: int, section: str, *, number: bool = False) -> Status | None:
    """The status that flags and section give; None where a report states nothing (conditions, normal ranges).

    `number`: the value is a number, which a "no" before it does not take away ("no change of EF, 55 %").
    """
    if flag & (Flag.HYPOTHETICAL | Flag.REFERENCE) or section == "recommendation":
        return None
    if flag & (Flag.HISTORY | Flag.FAMILY):
        return Status.HISTORICAL
    if flag & Flag.UNCERTAIN:
        return Status.UNCERTAIN
    if flag & Flag.NEGATED and not number:
        return Status.ABSENT
    if section in ("history", "indication", "comparison"):
        return Status.HISTORICAL
    return Status.PRESENT
