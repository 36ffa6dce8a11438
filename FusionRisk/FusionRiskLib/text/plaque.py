"""Coronary plaque, its high-risk features, calcification, stents and CAD-RADS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from .finding import Finding, Status
from .scope import Scope
from .sites import sites_for

RULE_PLAQUE = "plaque"
RULE_CADRADS = "CAD-RADS"
_CORONARY_FINDINGS = frozenset({"coronary_stent", "coronary_calcification", "myocardial_bridge"})


def plaques(scope: Scope) -> Iterator[Finding]:
    """Plaques, high-risk features, calcification and stents, one finding per site."""
    tokens = scope.tokens
    for i, token in enumerate(tokens):
        kind: str | None = None
        value: str | None = None
        if token.cat == "plaque":
            kind, value = "coronary_plaque", token.value or None
        elif token.cat == "high_risk_plaque":
            kind, value = token.cat, token.value or None
        elif token.cat == "finding" and token.value in _CORONARY_FINDINGS:
            kind = token.value
        elif token.cat == "calcification" and scope.coronary and not scope.any("valve", "other_vessel"):
            kind = "coronary_calcification"
        if kind == "coronary_calcification" and _names_a_score(scope, i):
            continue
        status = scope.status(i) if kind else None
        if kind is None or status is None or i in scope.used:
            continue
        carried = scope.carried
        sites = sites_for(tokens, scope.coronary, i, i + 1, carried.vessel, carried.label)
        for site in sites:
            yield scope.finding(kind, value, "1", status, i, i + 1, RULE_PLAQUE, site=site)


def _names_a_score(scope: Scope, i: int) -> bool:
    """ "coronary calcium (CAC) score": the name of a number, not a statement that there is calcium."""
    near = scope.tokens[i + 1 : i + 4]
    return any(t.text.startswith("scor") or (t.cat == "quantity" and t.value.kind == "agatston_score") for t in near)


def cad_rads(scope: Scope) -> Iterator[Finding]:
    """CAD-RADS category with modifiers, and the plaque burden P1 to P4 (Cury 2022, JCCT 16:536)."""
    for i, token in enumerate(scope.tokens):
        alone = token.cat == "word" and re.fullmatch(r"p[0-4]", token.text) and _speaks_of_burden(scope)
        status = scope.status(i, number=True) if alone or token.cat == "cad" else None
        if status is None:
            continue
        if token.cat == "cad":
            if re.match(r"\s?(?:-|to\b)\s?\d", scope.text[token.end : token.end + 6]):
                status = Status.UNCERTAIN  # "CAD-RADS 1-2" is no category
            first, *rest = (part.strip() for part in re.split(r"[/,]", token.text.upper()))
            burden = [part for part in rest if re.fullmatch(r"P[0-4]", part)]
            modifiers = tuple(part for part in rest if part not in burden)
            found = scope.finding(
                "cad_rads", first.replace(" ", ""), "1", status, i, i + 1, RULE_CADRADS, modifiers=modifiers
            )
            yield found
            if burden:
                yield _burden(scope, i, burden[0], status, found)
        else:
            yield scope.finding("plaque_burden_grade", token.text.upper(), "1", status, i, i + 1, RULE_CADRADS)


def _burden(scope: Scope, i: int, grade: str, status: Status, whole: Finding) -> Finding:
    start = whole.start + whole.text.upper().index(grade)
    return replace(
        whole,
        kind="plaque_burden_grade",
        value=grade,
        start=start,
        end=start + len(grade),
        text=scope.text[start : start + len(grade)],
        modifiers=(),
    )


def _speaks_of_burden(scope: Scope) -> bool:
    return any(t.cat == "cad" or t.text in ("plaque burden", "cad", "rads", "modifier") for t in scope.tokens)
