"""Which artery a middle line is: by its name, else by where it runs.

Directions are those of the patient (RAS): the right coronary artery leaves to the right, the anterior descending artery
ends in front and below, the circumflex runs backwards to the left and then to the right. Hearts that lie otherwise
(dextrocardia, anomalous origins) need names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from CardioPrecisionLib.image import Array
from CardioPrecisionLib.polyline import arc_length

from .branching import STEP_MM, parting

#: What a line can be, in the order in which lines carry each other.
ROLES = ("LM", "LAD", "LCX", "RI", "D1", "D2", "OM1", "OM2", "RCA", "PDA", "PLB")
_NAMES = {
    **{name: name for name in ROLES},
    "LMCA": "LM", "LEFTMAIN": "LM", "CX": "LCX", "LCIRC": "LCX", "RAMUS": "RI", "INTERMEDIATE": "RI", "IM": "RI",
    "DIAG1": "D1", "DIAG2": "D2", "M1": "OM1", "M2": "OM2", "OM": "OM1", "RPDA": "PDA", "LPDA": "PDA", "PD": "PDA",
    "PL": "PLB", "RPLB": "PLB", "LPLB": "PLB", "PLV": "PLB", "RPL": "PLB", "LPL": "PLB", "RPD": "PDA", "LPD": "PDA",
}  # fmt: skip
_RIGHT, _FRONT, _DOWN = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
#: Where on a line its side is told.
_SIDE_MM = 35.0
#: The crux is not nearer to the right ostium, and the anterior descending artery leaves the left main before this.
_CRUX_MM, _LONGEST_LM_MM = 60.0, 40.0
_NEAR_SPLIT_MM = 7.0


def role_of(name: str) -> str | None:
    """The artery that a name stands for, or None."""
    return _NAMES.get(re.sub(r"[^A-Z0-9]", "", name.upper()))


def roles(lines: Mapping[str, Array]) -> dict[str, str]:
    """Line -> artery, each artery once; lines that are none of them are left out.

    Parameters
    ----------
    lines : mapping of str to numpy.ndarray
        ``(n, 3)`` RAS mm as of `branching.evenly`.
    """
    found: dict[str, str] = {}
    for name in lines:
        role = role_of(name)
        if role and role not in found.values():
            found[name] = role
    open_ = [name for name in lines if role_of(name) is None]
    right = [name for name in open_ if _goes_right(lines, name, found)]
    # The right side first: a posterior descending artery that leaves the right coronary artery is none of the left.
    _name_right(lines, right, found)
    _name_left(lines, [n for n in open_ if n not in right], found)
    return found


def _goes_right(lines: Mapping[str, Array], name: str, found: Mapping[str, str]) -> bool:
    for other, role in found.items():
        if parting(lines[other], lines[name]) is not None:
            return role == "RCA" or (role in ("PDA", "PLB") and _goes_right(lines, other, {}))
    points = lines[name]
    return bool((_ahead(points, 0.0, _SIDE_MM) - points[0]) @ _RIGHT > 0)


def _of(found: Mapping[str, str], role: str) -> str | None:
    return next((name for name, r in found.items() if r == role), None)


def _ahead(points: Array, mm: float, beyond_mm: float) -> Array:
    """The point ``(3,)`` of a line `beyond_mm` after `mm`, or its last one."""
    return np.asarray(points[min(int((mm + beyond_mm) / STEP_MM), len(points) - 1)])


def _find_lad(lines: Mapping[str, Array], names: list[str]) -> str | None:
    """The line that soon runs forward and ends nearest to the apex."""
    soon = {n: float((_ahead(lines[n], 0.0, _SIDE_MM + 15.0) - lines[n][0]) @ _FRONT) for n in names}
    end = {n: lines[n][-1] - lines[n][0] for n in names}
    # In a heart that lies to the left the artery turns forward late.
    ahead = [n for n in names if soon[n] > 15.0] or [n for n in names if soon[n] > 0.0 and end[n] @ _FRONT > 10.0]
    return max(ahead, key=lambda n: float(end[n] @ (_FRONT + _DOWN + 0.5 * _RIGHT)), default=None)


def _find_lcx(lines: Mapping[str, Array], names: list[str], split: Mapping[str, tuple[float, float]]) -> str | None:
    """The line that leaves the left main stem backwards and keeps to the groove.

    Where two lines part, the circumflex is the one that runs more to the right, backwards and upwards; its branches
    turn to the left and to the apex.
    """
    best: str | None = None
    for n in names:
        beyond = lines[n][int(split[n][0] / STEP_MM) :]
        if split[n][1] > _LONGEST_LM_MM or ((beyond - beyond[0]) @ -_FRONT).max() < 3.0:
            continue
        at = parting(lines[best], lines[n]) if best else None
        if best is None or (at and _beside(lines[best], lines[n], at) @ (_RIGHT - _FRONT - _DOWN) > 0):
            best = n
    return best


def _name_left(lines: Mapping[str, Array], names: list[str], found: dict[str, str]) -> None:
    lad = _of(found, "LAD") or _find_lad(lines, names)
    if lad:
        found[lad] = "LAD"
    rest = [n for n in names if n != lad]
    split = {n: (lad and parting(lines[lad], lines[n])) or (0.0, 0.0) for n in rest}
    lcx = _of(found, "LCX") or _find_lcx(lines, rest, split)
    if lcx:
        found[lcx] = "LCX"
    stem = (lad and lcx and parting(lines[lad], lines[lcx])) or (0.0, 0.0)
    diagonals: list[tuple[float, str]] = []
    marginals: list[tuple[float, str]] = []
    for n in rest:
        if n == lcx:
            continue
        on_lcx = (lcx and parting(lines[lcx], lines[n])) or (0.0, 0.0)
        along_lad, along_lcx = split[n][1] - stem[1], on_lcx[1] - stem[0]
        if lad and lcx and max(along_lad, along_lcx) < _NEAR_SPLIT_MM:
            if "RI" not in found.values():
                found[n] = "RI"
        elif lad and (not lcx or along_lad > along_lcx):
            if _beside(lines[lad], lines[n], split[n]) @ _RIGHT < 0:
                diagonals.append((split[n][1], n))
        elif lcx and "PDA" not in found.values() and _posterior_descending(lines[lcx], lines[n], on_lcx):
            found[n] = "PDA"
        elif lcx:
            marginals.append((on_lcx[1], n))
    _number(diagonals, ("D1", "D2"), found)
    _number(marginals, ("OM1", "OM2"), found)


def _number(branches: list[tuple[float, str]], free: tuple[str, ...], found: dict[str, str]) -> None:
    """Branches in the order in which they leave take the names that no other line has."""
    left = [role for role in free if role not in found.values()]
    for (_, name), role in zip(sorted(branches), left, strict=False):
        found[name] = role


def _beside(line: Array, branch: Array, at: tuple[float, float]) -> Array:
    """From the parent to the branch, 40 mm beyond their parting ``(3,)``."""
    return _ahead(branch, at[0], 40.0) - _ahead(line, at[1], 40.0)


def _posterior_descending(lcx: Array, branch: Array, at: tuple[float, float]) -> bool:
    """Whether a branch of the circumflex leaves it at the crux and runs forward on the underside."""
    crux, ostium = branch[int(at[0] / STEP_MM)], lcx[0]
    return bool((crux - ostium) @ _RIGHT > -5.0 and (branch[-1] - crux) @ _FRONT > 5.0)


def _name_right(lines: Mapping[str, Array], names: list[str], found: dict[str, str]) -> None:
    names = list(names)
    rca = _of(found, "RCA")
    if rca is None:
        # Two lines that part far from the ostium part at the crux.
        pairs = []
        for a, b in combinations(names, 2):
            at = parting(lines[a], lines[b])
            if at is not None and at[0] > _CRUX_MM:
                pairs.append((at[0], a, b, at))
        if pairs and "PDA" not in found.values() and "PLB" not in found.values():
            _, a, b, at = max(pairs)
            ahead = _beside(lines[a], lines[b], at) @ _FRONT
            found[a], found[b] = ("PLB", "PDA") if ahead > 0 else ("PDA", "PLB")
        elif names and not any(r in ("PDA", "PLB") and _goes_right(lines, n, {}) for n, r in found.items()):
            found[max(names, key=lambda n: len(lines[n]))] = "RCA"
        return
    for n in names:
        at = parting(lines[rca], lines[n])
        if at is None or at[0] < _CRUX_MM:
            continue
        role = "PDA" if (lines[n][-1] - lines[n][int(at[0] / STEP_MM)]) @ _FRONT > 0 else "PLB"
        if role not in found.values():
            found[n] = role


def crux_mm(points: Array, right: bool) -> float | None:
    """Where a line that leads on into the posterior descending artery passes the crux; None where it ends before.

    The right coronary artery is hindmost there, the circumflex rightmost and still far behind. From there the line runs
    15 mm or more, and 10 mm of them forward.
    """
    first = int(_CRUX_MM / STEP_MM)
    if len(points) <= first:
        return None
    at = first + int(np.argmax(points[first:] @ (-_FRONT if right else 1.5 * _RIGHT - _FRONT)))
    rest = points[at:]
    if (len(rest) - 1) * STEP_MM < 15.0 or (rest[-1] - rest[0]) @ _FRONT < 10.0:
        return None
    return float(arc_length(points)[at])
