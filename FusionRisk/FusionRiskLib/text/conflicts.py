"""Statements of one report that contradict each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .finding import Finding, Status

#: Findings of which a patient can have several at once; different ones do not contradict each other.
_SEVERAL = frozenset({"coronary_plaque", "high_risk_plaque", "scar", "wall_motion"})


#: Notes of findings that state no value to compare.
NO_VALUE = ("not measured", "no degree given", "not assessable")


def interval(finding: Finding) -> tuple[float, float] | None:
    """What a finding allows, as an interval; None for words. A plain number is as exact as its digits."""
    if finding.low is not None or finding.high is not None:
        low = finding.low if finding.low is not None else float("-inf")
        return low, finding.high if finding.high is not None else float("inf")
    if not isinstance(finding.value, float):
        return None
    half = 0.5 if finding.value % 1 == 0 else 0.05
    if finding.unit == "1" and finding.kind != "agatston_score":
        half = 0.005
    if finding.comparator == "~":
        half = max(half, 0.05 * abs(finding.value))
    return finding.value - half, finding.value + half


def agree(first: Finding, second: Finding) -> bool:
    """Whether two statements on the same thing can both be true."""
    a, b = interval(first), interval(second)
    if a is not None and b is not None:
        return a[0] <= b[1] and b[0] <= a[1]
    if first.kind in _SEVERAL:
        return (first.status is Status.ABSENT) == (second.status is Status.ABSENT)
    if first.value is None or second.value is None:
        return (first.status is Status.ABSENT) == (second.status is Status.ABSENT) or a is not None or b is not None
    return first.value == second.value


def conflicting(found: Sequence[Finding]) -> list[bool]:
    """For every finding whether another one contradicts it.

    Compared are current statements of the same kind and site that are certain. Within one section several stenoses of
    a segment, or several grades of a valve, are several lesions and no contradiction; across sections the greatest
    counts.
    """
    marks = [False] * len(found)
    groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for i, finding in enumerate(found):
        if finding.current and finding.status is not Status.UNCERTAIN and finding.note not in NO_VALUE:
            groups[(finding.kind, finding.site)].append(i)
    for members in groups.values():
        if len(members) < 2:
            continue
        several = found[members[0]].kind == "diameter_stenosis"
        compared = _greatest(found, members) if several else members
        compared = _distinct(found, compared)
        clashing = {
            (found[i].value, found[i].low, found[i].high, found[i].status)
            for i in compared
            if any(not agree(found[i], found[j]) for j in compared)
        }
        for i in members:
            if (found[i].value, found[i].low, found[i].high, found[i].status) in clashing and (
                not several or i in compared
            ):
                marks[i] = True
    return marks


def _greatest(found: Sequence[Finding], members: Sequence[int]) -> list[int]:
    """Of each section the greatest stenosis."""
    best: dict[str, int] = {}
    for i in members:
        section = found[i].section
        top = (interval(found[i]) or (-1.0, -1.0))[1]
        if section not in best or top > (interval(found[best[section]]) or (-1.0, -1.0))[1]:
            best[section] = i
    return list(best.values())


def _distinct(found: Sequence[Finding], members: Sequence[int]) -> list[int]:
    """One of each different statement, so that a long text of repetitions stays cheap."""
    seen: dict[object, int] = {}
    for i in members:
        finding = found[i]
        key = (finding.value, finding.low, finding.high, finding.status, finding.comparator)
        seen.setdefault(key, i)
    return list(seen.values())[:200]
