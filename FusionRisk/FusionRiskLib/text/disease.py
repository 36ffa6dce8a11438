"""Valves, scar, wall motion and single findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .finding import Finding, Status
from .scope import Scope
from .sites import sites_for
from .tokens import Token

RULE_VALVE = "valve"
RULE_SCAR = "scar"
RULE_MOTION = "wall motion"
RULE_FINDING = "finding"
_VALVE_GRADES = {"minimal": "trace", "minimal_to_mild": "mild", "small": "mild", "large": "severe"}
_SIZES = {"mild": "small", "minimal": "trace", "severe": "large"}
_OTHER_FINDINGS = frozenset(
    {"pericardial_effusion", "intracardiac_thrombus", "lv_hypertrophy", "bicuspid_aortic_valve"}
)
_LESIONS = ("valve_lesion", "valve_letters", "regurgitation", "stenosis")


def valves(scope: Scope) -> Iterator[Finding]:
    """Stenosis and regurgitation of the four valves with their grades."""
    tokens = scope.tokens
    if not scope.any(*_LESIONS):
        return
    last: str | None = None
    for i, token in enumerate(tokens):
        if token.cat == "valve":
            last = None
        kinds = _lesions(scope, i, last)
        if kinds and token.cat == "valve_lesion":
            last = kinds[0].split("_")[0]
        status = scope.status(i) if kinds and i not in scope.used else None
        if status is None:
            continue
        j = _grade(scope, i)
        if j is not None and j > i and status is not Status.ABSENT:  # "known stenosis, currently severe"
            status = scope.status(j) or status
        if token.cat == "valve_letters" and not _is_lesion(scope, i, j, status):
            continue
        scope.used.add(i)
        graded = j is not None and status is not Status.ABSENT
        value = None
        if graded and j is not None:
            scope.used.add(j)
            value = _VALVE_GRADES.get(tokens[j].value, tokens[j].value)
        at = j if graded and j is not None else i
        for kind in kinds:
            yield scope.finding(kind, value, "1", status, at, at + 1, RULE_VALVE)


def _is_lesion(scope: Scope, i: int, grade: int | None, status: Status) -> bool:
    """Letters like MR are a lesion beside a grade or a "no"; else they may be a scan."""
    if i and scope.tokens[i - 1].text in ("cardiac", "stress", "perfusion", "contrast", "magnetic"):
        return False
    return grade is not None or status is Status.ABSENT


def _lesions(scope: Scope, i: int, last: str | None) -> list[str]:
    """The kinds that the token `i` stands for; several for "aortic and mitral valves: no stenosis"."""
    token = scope.tokens[i]
    if token.cat in ("valve_lesion", "valve_letters"):
        return [token.value]
    if token.cat == "regurgitation":
        lesion = "regurgitation"
    elif token.cat == "stenosis" and token.value == "stenosis" and "coronary" not in token.text and not scope.coronary:
        lesion = "stenosis"
    else:
        return []
    return [f"{valve}_{lesion}" for valve in _valves_of(scope, i, last)]


def _valves_of(scope: Scope, i: int, last: str | None) -> list[str]:
    tokens = scope.tokens
    before = [j for j in range(i) if tokens[j].cat == "valve" and tokens[j].value != "valves"]
    if before:
        run = [before[-1]]
        for j in reversed(before[:-1]):
            between = tokens[j + 1 : run[0]]
            if not all(t.cat in ("and", "or", "filler") or t.text in (",", "valves", "valve") for t in between):
                break
            run.insert(0, j)
        return [str(tokens[j].value).removesuffix("_bare") for j in run]
    behind = [t.value for t in tokens[i + 1 : i + 6] if t.cat == "valve" and t.value != "valves"]
    if behind and any(t.cat == "preposition" for t in tokens[i + 1 : i + 3]):
        return [str(behind[0]).removesuffix("_bare")]
    if last is not None:
        return [last]
    if any(t.cat == "quantity" and t.value.kind.startswith("aortic_valve") for t in tokens):
        return ["aortic"]
    return [scope.carried.valve] if scope.carried.valve else []


def _grade(scope: Scope, i: int) -> int | None:
    """The grade before the lesion ("mild MR"), else behind it ("regurgitation is mild", "MR: mild")."""
    tokens = scope.tokens
    for j in range(i - 1, max(-1, i - 5), -1):
        if tokens[j].cat == "grade":
            return None if j in scope.used else j
        if tokens[j].cat in (*_LESIONS, "quantity") or tokens[j].text in (",", ";", "(", ":"):
            break
    for j in range(i + 1, min(i + 8, len(tokens))):
        token = tokens[j]
        if token.cat in (*_LESIONS, "quantity", "stop", "and") or token.text == ";":
            return None
        if token.cat == "grade" and j not in scope.used:
            joined = any(t.cat == "is" or t.text in (":", ",", "(", "-", "=") for t in tokens[i + 1 : j])
            follows = j + 1 < len(tokens) and tokens[j + 1].cat in (*_LESIONS, "valve")
            return j if joined and not follows else None
    return None


def scars(scope: Scope) -> Iterator[Finding]:
    """Late enhancement: pattern and segments."""
    tokens = scope.tokens
    strong = [i for i, t in enumerate(tokens) if t.cat == "scar" and t.value == "scar"]
    patterns = [i for i, t in enumerate(tokens) if t.cat == "scar_pattern"]
    weak = [i for i, t in enumerate(tokens) if t.cat == "scar" and t.value == "weak"]
    if not strong and not (weak and patterns):
        return
    positive = False
    for i in patterns:
        status = scope.status(i)
        near = scope.status(min(strong or weak, key=lambda j: abs(j - i)))
        if status is None or near is None:
            continue
        status = status if status is not Status.PRESENT else near
        positive |= status is not Status.ABSENT
        yield from _at_walls(scope, "scar", tokens[i].value, status, i, RULE_SCAR)
    for i in strong:
        status = scope.status(i)
        if status is None or (patterns and positive and status is not Status.ABSENT):
            continue
        if patterns and status is Status.ABSENT and not positive:
            continue
        yield from _at_walls(scope, "scar", None, status, i, RULE_SCAR)


def wall_motion(scope: Scope) -> Iterator[Finding]:
    """Hypokinesis, akinesis, dyskinesis by wall; "normal wall motion"."""
    tokens = scope.tokens
    for i, token in enumerate(tokens):
        if token.cat == "wall_motion":
            status = scope.status(i)
            if status is not None:
                yield from _at_walls(scope, "wall_motion", token.value or None, status, i, RULE_MOTION)
        elif token.cat == "wall_motion_word":
            beside = [*tokens[max(0, i - 2) : i], *tokens[i + 1 : i + 4]]
            status = scope.status(i)
            if status is not None and any(t.cat == "normal" for t in beside):
                status = Status.ABSENT if status is Status.PRESENT else status
                yield scope.finding("wall_motion", None, "1", status, i, i + 1, RULE_MOTION)


def _at_walls(scope: Scope, kind: str, value: str | None, status: Status, i: int, rule: str) -> Iterator[Finding]:
    sites: Sequence[str | None] = sites_for(scope.tokens, scope.walls, i, i + 1, None, None)
    if sites == (None,) and kind == "wall_motion" and value:
        near = scope.tokens[max(0, i - 2) : i + 3]
        sites = ("global",) if any(t.cat == "global" for t in near) else sites
    for site in sites:
        yield scope.finding(kind, value, "1", status, i, i + 1, rule, site=site)


def single(scope: Scope) -> Iterator[Finding]:
    """Effusion, thrombus, hypertrophy, bicuspid valve."""
    tokens = scope.tokens
    for i, token in enumerate(tokens):
        if token.cat != "finding" or token.value not in _OTHER_FINDINGS:
            continue
        status = scope.status(i)
        if status is None:
            continue
        value = _size(tokens, i) if token.value == "pericardial_effusion" and status is not Status.ABSENT else None
        yield scope.finding(token.value, value, "1", status, i, i + 1, RULE_FINDING)


def _size(tokens: Sequence[Token], i: int) -> str | None:
    for j in range(i - 1, max(-1, i - 4), -1):
        if tokens[j].cat == "grade":
            return str(_SIZES.get(tokens[j].value, tokens[j].value))
        if tokens[j].cat not in ("filler", "word", "global"):
            return None
    return None
