"""Coronary calcium: Agatston scores by vessel, percentiles."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .context import Flag
from .finding import Finding, Status
from .quantities import is_unmeasured
from .scope import Scope, converted, ends
from .tokens import Number, Token

RULE = "calcium score"
#: Agatston scores have two decimals at most, and "1.204" is how much of Europe writes 1204.
AMBIGUOUS = "ambiguous: the point may part thousands or decimals"
#: So many unknown words may stand between name and number.
STRANGE = 1
RULE_PERCENTILE = "calcium percentile"
_SITES = ("vessel", "total", "graft", "branch", "other_vessel")


def calcium(scope: Scope) -> Iterator[Finding]:
    """Scores and percentiles of a sentence, also of the lines of a table under a heading of calcium."""
    yield from _percentiles(scope)
    tokens = scope.tokens
    start = next(
        (
            i
            for i, t in enumerate(tokens)
            if t.cat == "calcium_site" or (t.cat == "quantity" and t.value.kind == "agatston_score")
        ),
        None,
    )
    if start is None:
        if scope.carried.calcium_table and _is_row(scope):
            yield from _scores(scope, 0, None)
        else:
            scope.carried.calcium_table = False
        return
    site = tokens[start].value if tokens[start].cat == "calcium_site" else None
    before = [t for t in tokens[max(0, start - 3) : start] if t.cat in ("vessel", "total")]
    if site is None and before:
        site = str(before[-1].value)
    found = list(_scores(scope, start + 1, site))
    if not found and start > 0:
        found = list(_zero_before(scope, start, site))
    if not found and is_unmeasured(scope, start) and scope.status(start) is not None:
        status = Status.ABSENT if scope.current else Status.HISTORICAL
        where = site or "total"
        yield scope.finding(
            "agatston_score", None, "1", status, start, start + 1, RULE, site=where, note="not measured"
        )
    yield from found
    scope.carried.calcium_table = not found or any(f.site != "total" for f in found)


def _is_row(scope: Scope) -> bool:
    """ "LAD: 45.2": a site, then a number, and nothing else that is known."""
    known = [t.cat for t in scope.tokens if t.cat != "word" and t.cat not in ("punct", "filler", "preposition")]
    known = [cat for cat in known if cat not in ("is", "vessel_glue", "quantity")]
    sites = sum(cat in ("vessel", "total") for cat in known)
    numbers = sum(cat == "num" for cat in known)
    return bool(sites) and bool(numbers) and sites + numbers >= len(known)


def _scores(scope: Scope, start: int, site: str | None) -> Iterator[Finding]:
    """Numbers after `start`, each with the vessel that stands last before it."""
    tokens = scope.tokens
    named = site
    seen: set[tuple[str, bool]] = set()
    strange = 0
    for i in range(start, len(tokens)):
        token = tokens[i]
        if token.cat == "calcium_site" or (token.cat in ("vessel", "total")):
            named, strange = str(token.value), 0
        elif token.cat in ("graft", "branch", "other_vessel") or token.text in ("aorta", "thoracic", "aortic"):
            named = "-"
        elif token.cat in ("stenosis", "cad", "plaque") or _other_quantity(token):
            break
        strange = 0 if token.cat == "quantity" else strange + (token.cat == "word")
        if strange > STRANGE:
            continue
        if token.cat not in ("num", "old", "zero") or i in scope.used or named == "-":
            continue
        number = token.value if token.cat != "zero" else Number(0.0, None)
        score = converted(number, "1")
        status = scope.status(i, number=True)
        if score is None or status is None or _is_count(scope, i):
            continue
        where = named or "total"
        key = (where, status is Status.HISTORICAL)
        if key in seen:
            continue
        seen.add(key)
        strange = 0
        scope.used.add(i)
        credible = all(v is None or 0 <= v <= 20000 for v in (score.value, score.low, score.high))
        note = None if credible else "outside the credible range 0 to 20000"
        if token.cat == "num" and re.fullmatch(r"\d{1,3}\.\d{3}", token.text):
            note = AMBIGUOUS
        yield scope.finding(
            "agatston_score",
            score.value,
            "1",
            status,
            i,
            i + 1,
            RULE,
            site=where,
            note=note,
            **ends(score),
        )
        if where != "total":
            named = None if site is None else site


def _other_quantity(token: Token) -> bool:
    return token.cat == "quantity" and token.value.kind not in ("agatston_score", "cac_percentile")


def _is_count(scope: Scope, i: int) -> bool:
    """ "in 3 vessels", "4 lesions": a number that counts."""
    ahead = scope.tokens[i + 1 : i + 3]
    return any(t.text in ("vessels", "lesions", "vessel", "years", "year", "arteries", "months") for t in ahead)


def _zero_before(scope: Scope, start: int, site: str | None) -> Iterator[Finding]:
    """ "zero calcium score"."""
    i = start - 1
    token = scope.tokens[i]
    zero = token.cat == "zero" or (token.cat == "num" and token.value.value == 0 and token.value.unit is None)
    status = scope.status(i, number=True)
    if zero and status is not None:
        yield scope.finding("agatston_score", 0.0, "1", status, i, i + 1, RULE, site=site or "total")


def _percentiles(scope: Scope) -> Iterator[Finding]:
    tokens = scope.tokens
    names = [i for i, t in enumerate(tokens) if t.cat == "quantity" and t.value.kind == "cac_percentile"]
    written = [i for i, t in enumerate(tokens) if t.cat == "num" and t.value.unit == "percentile"]
    if not names and not written:
        return
    if not written:
        written = [
            j
            for i in names
            for j in range(i + 1, min(i + 6, len(tokens)))
            if tokens[j].cat == "num" and tokens[j].value.unit in (None, "%", "ordinal")
        ][:1]
    schemes = {token.value for token in tokens if token.cat == "scheme"}
    kind = f"cac_percentile_{schemes.pop()}" if len(schemes) == 1 else "cac_percentile"
    for i in written:
        number: Number = tokens[i].value
        status = scope.status(i, number=True)
        if status is None or scope.flags[i] & Flag.REFERENCE:
            continue
        scope.used.add(i)
        credible = all(v is None or 0 <= v <= 100 for v in (number.value, number.low, number.high))
        note = None if credible else "outside the credible range 0 to 100"
        yield scope.finding(kind, number.value, "%", status, i, i + 1, RULE_PERCENTILE, note=note, **ends(number))
