"""Coronary stenoses by segment: numbers, ranges, words; "no stenosis" and "no significant stenosis".

Words stand for the ranges of CAD-RADS 2.0 (Cury 2022, JCCT 16:536): minimal 1-24 %, mild 25-49 %, moderate 50-69 %,
severe 70-99 %, occluded 100 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .finding import Finding, Status
from .scope import Scope, ends
from .sites import Mention, place, sites_for
from .tokens import Number, Token

RULE = "stenosis"
KIND = "diameter_stenosis"
GRADES = {
    "minimal": (1.0, 24.0),
    "trace": (1.0, 24.0),
    "minimal_to_mild": (1.0, 49.0),
    "mild": (25.0, 49.0),
    "mild_to_moderate": (25.0, 69.0),
    "moderate": (50.0, 69.0),
    "mild_to_severe": (25.0, 99.0),
    "moderate_to_severe": (50.0, 99.0),
    "severe": (70.0, 99.0),
}
#: Below this a stenosis is not called significant or obstructive.
SIGNIFICANT = 50.0
_CORES = ("stenosis", "occlusion", "nonobstructive")
_BLOCKS = ("valve_lesion", "regurgitation", "quantity", "plaque", "finding", "wall_motion", "scar", "calcification")


def stenoses(scope: Scope) -> Iterator[Finding]:
    """All coronary stenoses of a sentence."""
    if not scope.any(*_CORES, "normal", "num", "grade") or _not_coronary(scope):
        return
    tokens = scope.tokens
    for i, token in enumerate(tokens):
        if token.cat in _CORES and i not in scope.used:
            yield from _core(scope, i)
    if scope.coronary:
        yield from _bare(scope)
        yield from _again(scope)


def _not_coronary(scope: Scope) -> bool:
    """A valve or an artery elsewhere is what the sentence is about."""
    if scope.coronary or any("coronary" in token.text for token in scope.tokens):
        return False
    return scope.any("valve", "valve_lesion", "other_vessel") or (
        scope.carried.valve is not None and scope.carried.label is None
    )


def _sites(scope: Scope, first: int, stop: int) -> tuple[str | None, ...]:
    return sites_for(scope.tokens, scope.coronary, first, stop, scope.carried.vessel, scope.carried.label)


def _each(
    scope: Scope, status: Status, at: tuple[int, int], around: tuple[int, int], number: Number, word: str | None = None,
    note: str | None = None, rule: str = RULE,
) -> Iterator[Finding]:  # fmt: skip
    """One finding per site; the value is written in the tokens `at`, the statement spans `around`."""
    for site in _sites(scope, *around):
        yield scope.finding(KIND, number.value, "%", status, *at, rule, site=site, word=word, note=note, **ends(number))


def _graded(word: str) -> Number:
    low, high = GRADES[word]
    return Number((low + high) / 2, "%", low, high)


def _core(scope: Scope, i: int) -> Iterator[Finding]:
    """What the word "stenosis" (narrowing, lesion, occlusion, …) at `i` says."""
    tokens = scope.tokens
    token = tokens[i]
    status = scope.status(i)
    if status is None:
        return
    weak = token.value == "weak"
    if weak and status is not Status.ABSENT and not scope.coronary and scope.carried.label is None:
        return
    degree = _degree(scope, i)
    if status is Status.ABSENT:
        yield from _absent(scope, i, weak)
    elif degree is not None:
        j = degree
        scope.used |= {i, j}
        around = (min(i, j), max(i, j) + 1)
        scope.used |= {k for k in range(*around) if tokens[k].cat == "grade"}
        if tokens[j].cat == "grade":
            yield from _each(scope, status, (j, j + 1), around, _graded(tokens[j].value), tokens[j].value)
        else:
            yield from _each(scope, status, (j, j + 1), around, tokens[j].value)
    elif token.cat == "occlusion":
        scope.used.add(i)
        yield from _each(scope, status, (i, i + 1), (i, i + 1), Number(float(token.value), "%"), "occluded")
    elif token.cat == "nonobstructive" or (weak and _nonobstructive_before(scope, i)):
        at = i if token.cat == "nonobstructive" else i - 1
        if at not in scope.used and status is not Status.ABSENT:
            scope.used |= {at, i}
            bound = Number(None, "%", None, SIGNIFICANT, "<")
            yield from _each(scope, status, (at, at + 1), (at, i + 1), bound, "nonobstructive")
    elif not weak:
        scope.used.add(i)
        unclear = any(t.cat == "unmeasured" for t in tokens[i + 1 : i + 6])
        note = "not assessable" if unclear else "no degree given"
        yield from _each(scope, status, (i, i + 1), (i, i + 1), Number(None, "%"), note=note)


def _nonobstructive_before(scope: Scope, i: int) -> bool:
    return i > 0 and scope.tokens[i - 1].cat == "nonobstructive"


def _degree(scope: Scope, i: int) -> int | None:
    """The token that holds the degree of the stenosis at `i`: a percentage, else a grade; before it, else behind."""
    tokens = scope.tokens
    number = grade = None
    for j in range(i - 1, max(-1, i - 9), -1):
        token = tokens[j]
        if j in scope.used or token.cat in _CORES or token.cat in _BLOCKS or token.text == ";" or token.cat == "stop":
            break
        if token.text == "," or token.cat in ("is", "now"):
            break
        if token.cat == "with" and (number is not None or grade is not None):
            break
        if token.cat in ("num", "old") and token.value.unit == "%" and number is None:
            number = j
        elif token.cat == "grade" and token.value in GRADES and grade is None:
            grade = j
        elif token.cat in ("vessel", "branch") and j < i - 4:
            break
    if tokens[i].cat == "occlusion":
        return None
    if number is not None:
        return number
    ahead = _ahead(scope, i)
    if grade is not None and ahead is not None and tokens[ahead].cat == "num" and _in_brackets(tokens, i, ahead):
        return ahead
    return grade if grade is not None else ahead


def _in_brackets(tokens: Sequence[Token], i: int, j: int) -> bool:
    """Whether a bracket opens between `i` and `j` and nothing but a comparator stands in it before `j`."""
    while j - 1 > i and tokens[j - 1].cat == "comparator":
        j -= 1
    return tokens[j - 1].text == "("


def _ahead(scope: Scope, i: int) -> int | None:
    """A degree behind the word: "stenosis of 60 %", "stenosis (50-69 %)", "stenosis of the PDA is mild"."""
    tokens = scope.tokens
    for j in range(i + 1, min(i + 12, len(tokens))):
        token = tokens[j]
        if token.cat in _CORES or token.cat in _BLOCKS or token.text in (",", ";") or token.cat in ("stop", "and"):
            return None
        if token.cat in ("num", "old") and token.value.unit == "%":
            following = tokens[j + 1 : j + 4]
            return None if any(t.cat == "stenosis" for t in following) else j
        if token.cat == "grade" and token.value in GRADES and any(t.cat == "is" for t in tokens[i + 1 : j]):
            return j
    return None


def _absent(scope: Scope, i: int, weak: bool) -> Iterator[Finding]:
    """ "No stenosis" is 0 %; "no significant stenosis" and "no stenosis > 50 %" are bounds."""
    tokens = scope.tokens
    words: set[str] = set()
    bound: float | None = None
    for j in range(i - 1, max(-1, i - 12), -1):
        token = tokens[j]
        if token.cat == "negation":
            break
        if token.cat == "qualifier":
            words.add("significant")
        elif token.cat == "grade":
            words.add(token.value)
        elif token.cat == "num" and token.value.unit == "%":
            bound = _limit(token.value)
            scope.used.add(j)
        scope.used |= {j} if token.cat == "grade" else set()
    for j in range(i + 1, min(i + 6, len(tokens))):
        if tokens[j].cat == "num" and tokens[j].value.unit == "%" and j not in scope.used:
            bound = _limit(tokens[j].value)
            scope.used.add(j)
        elif tokens[j].cat in _CORES or tokens[j].text in (",", ";"):
            break
    if weak and not words and not scope.coronary and scope.carried.label is None:
        return
    lows = [GRADES[word][0] for word in words if word in GRADES]
    if bound is None and lows and not words & {"minimal", "mild", "minimal_to_mild", "mild_to_moderate"}:
        bound = min(lows)
    if bound is None and "significant" in words and not lows:
        bound = SIGNIFICANT
    scope.used.add(i)
    exact = Number(0.0, "%") if bound is None else Number(None, "%", None, bound, "<")
    yield from _each(scope, Status.ABSENT, (i, i + 1), (i, i + 1), exact)


def _limit(number: Number) -> float | None:
    """What a number in "no stenosis > 50 %" excludes: everything from there on."""
    return next((v for v in (number.low, number.value, number.high) if v is not None), None)


def _again(scope: Scope) -> Iterator[Finding]:
    """The second degree of "25 % stenosis in the proximal segment; 60 % in the mid segment"."""
    tokens = scope.tokens
    if "quantity" in scope.cats or not scope.any("stenosis"):
        return
    for i, token in enumerate(tokens):
        if token.cat not in ("num", "old") or token.value.unit != "%" or i in scope.used:
            continue
        follows = i + 2 < len(tokens) and tokens[i + 1].cat == "preposition"
        reached = follows and any(mention.first in (i + 2, i + 3) for mention in scope.coronary)
        status = scope.status(i, number=True) if reached else None
        if status is not None:
            scope.used.add(i)
            yield from _each(scope, status, (i, i + 1), (i, i + 1), token.value)


def _normal_before(scope: Scope, mention: Mention) -> Iterator[Finding]:
    """ "Normal left main.": only where nothing but the place is called normal."""
    tokens = scope.tokens
    j = mention.first - 1
    while j > 0 and tokens[j].cat == "filler":
        j -= 1
    follows = tokens[mention.stop] if mention.stop < len(tokens) else None
    closed = follows is None or follows.cat in ("punct", "and", "stop") or follows.cat == "negation"
    if j < 0 or tokens[j].cat != "normal" or j in scope.used or not closed or mention.partial:
        return
    status = scope.status(j, number=True)
    if status is not None:
        scope.used.add(j)
        status = Status.ABSENT if status is Status.PRESENT else status
        yield from _each(scope, status, (j, j + 1), (j, mention.stop), Number(0.0, "%"), "normal")


def _shared_word(scope: Scope, mention: Mention) -> Iterator[Finding]:
    """The first degree of "mild LAD and moderate RCA stenosis", where the word comes once, at the end."""
    tokens = scope.tokens
    j, stop = mention.first - 1, mention.stop
    while j > 0 and tokens[j].cat == "filler":
        j -= 1
    if j < 0 or j in scope.used or tokens[j].cat != "grade" or tokens[j].value not in GRADES:
        return
    while stop < len(tokens) and tokens[stop].cat in ("vessel_glue", "segment_word"):
        stop += 1
    if stop >= len(tokens) or tokens[stop].cat != "and" or not any(t.cat == "stenosis" for t in tokens[stop:]):
        return
    status = scope.status(j)
    if status is None or status is Status.ABSENT:
        return
    scope.used.add(j)
    yield from _each(scope, status, (j, j + 1), (j, mention.stop), _graded(tokens[j].value), tokens[j].value)


def _position_behind(scope: Scope, mention: Mention, i: int) -> str | None:
    """ "LAD 30 % prox": the position behind the number `i`."""
    tokens = scope.tokens
    if mention.vessel is None or mention.sites != (mention.vessel,) or i + 1 >= len(tokens):
        return None
    if tokens[i + 1].cat != "position" or (i + 2 < len(tokens) and tokens[i + 2].cat in ("num", "grade", "vessel")):
        return None
    return place(mention.vessel, tokens[i + 1].value)


def _bare(scope: Scope) -> Iterator[Finding]:
    """ "mid LAD: 60 %", "LM normal", "LAD - mild": a place and right behind it a degree."""
    tokens = scope.tokens
    joints = (":", "-", "=", "(")
    for mention in scope.coronary:
        yield from _shared_word(scope, mention)
        yield from _normal_before(scope, mention)
        i = mention.stop
        while i < len(tokens) and (
            tokens[i].text in joints or tokens[i].cat in ("is", "filler", "vessel_glue", "segment_word", "comparator")
        ):
            i += 1
        if i >= len(tokens) or i in scope.used or i > mention.stop + 4:
            continue
        token = tokens[i]
        behind = tokens[i + 1] if i + 1 < len(tokens) else None
        closed = behind is None or behind.cat in ("stop", "and", "punct")
        status = scope.status(i, number=True)
        if status is None:
            continue
        around = (i, i + 1)
        if token.cat in ("num", "old") and token.value.unit == "%" and "quantity" not in scope.cats:
            scope.used.add(i)
            where = _position_behind(scope, mention, i)
            if where is not None:
                yield scope.finding(
                    KIND, token.value.value, "%", status, i, i + 1, RULE, site=where, **ends(token.value)
                )
            else:
                yield from _each(scope, status, around, around, token.value)
        elif token.cat == "normal" and (closed or (behind is not None and behind.cat == "negation")):
            status = Status.ABSENT if status is Status.PRESENT else status
            scope.used.add(i)
            yield from _each(scope, status, around, around, Number(0.0, "%"), "normal")
        elif token.cat == "grade" and token.value in GRADES and closed:
            if behind is not None and behind.text == "(" and i + 2 < len(tokens) and tokens[i + 2].cat == "num":
                continue
            scope.used.add(i)
            yield from _each(scope, status, around, around, _graded(token.value), token.value)
