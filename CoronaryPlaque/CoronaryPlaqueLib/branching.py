"""Where the middle lines of arteries part: lines that begin in the same trunk become a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array
from CardioPrecisionLib.polyline import arc_length, even_steps

STEP_MM = 0.5
#: Two lines have parted where they stay this far apart; the place is the last one at which they were still together.
_APART_MM, _TOGETHER_MM = 2.2, 0.8
_STAY_MM = 3.0
#: A branch that was begun in its parent's lumen may begin this far from the parent's middle.
_BEGIN_MM = 4.0
#: Lines that part before this share no trunk: each has its own ostium.
_TRUNK_MM = 2.0


@dataclass(frozen=True, eq=False)
class Twig:
    """One line, and where it leaves another.

    Attributes
    ----------
    name : str
    points : numpy.ndarray
        ``(n, 3)`` RAS mm from the ostium on, at even steps of about `STEP_MM`.
    parent : str or None
        The line that it leaves; None where it has its own ostium.
    start_mm, parent_mm : float
        Where it leaves the parent, along itself and along the parent.
    """

    name: str
    points: Array
    parent: str | None = None
    start_mm: float = 0.0
    parent_mm: float = 0.0

    @property
    def length_mm(self) -> float:
        return float(arc_length(self.points)[-1])

    def at(self, mm: float) -> Array:
        """The point ``(3,)`` at `mm` from the beginning; the last one beyond the end."""
        s = arc_length(self.points)
        return np.array([np.interp(mm, s, self.points[:, c]) for c in range(3)])


def evenly(lines: Mapping[str, Array]) -> dict[str, Array]:
    """Lines at even steps of about `STEP_MM`; those without two different points are left out."""
    out = {}
    for name, points in lines.items():
        points = np.asarray(points, float)
        if len(points) >= 2 and arc_length(points)[-1] > STEP_MM:
            out[name] = even_steps(points[:, :3], STEP_MM)
    return out


def tree(lines: Mapping[str, Array]) -> dict[str, Twig]:
    """Every line with the earlier one that it follows longest, in the order given.

    Parameters
    ----------
    lines : mapping of str to numpy.ndarray
        ``(n, 3)`` RAS mm as of `evenly`; earlier lines carry later ones.
    """
    made: dict[str, Twig] = {}
    for name, points in lines.items():
        best: tuple[float, str, float] | None = None
        for other in made:
            found = parting(lines[other], points)
            if found is not None and (best is None or found[0] > best[0] + STEP_MM):
                best = (found[0], other, found[1])
        made[name] = Twig(name, points) if best is None else Twig(name, points, best[1], best[0], best[2])
    return made


def parting(line: Array, other: Array) -> tuple[float, float] | None:
    """Where `other` leaves `line`, both as of `evenly`.

    Returns
    -------
    (other_mm, line_mm) or None
        Along either of them; ``other_mm`` is 0 where `other` begins beside the middle of `line`. None where it does not
        begin on `line`, or shares less than 2 mm from a common beginning.
    """
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(line).query(other)
    s, along = arc_length(other), arc_length(line)
    if distance[s <= _BEGIN_MM].min() > _BEGIN_MM:
        return None
    first = int(np.argmax(distance <= _BEGIN_MM))
    apart = distance > (_APART_MM if distance[first] <= _APART_MM else _BEGIN_MM)
    stay = max(1, round(_STAY_MM / STEP_MM))
    leave = next((n for n in range(first, len(other)) if apart[n : n + stay].all()), len(other))
    together = np.flatnonzero(distance[:leave] < _TOGETHER_MM)
    at = int(together[-1]) if len(together) else int(np.argmin(distance[: max(leave, 1)]))
    if s[at] < _TRUNK_MM and along[nearest[at]] < _TRUNK_MM:
        return None
    return float(s[at]), float(along[nearest[at]])
