"""From the courses of a chest to a connected tree of vessels, with the names of its segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...image import Array
from ...polyline import arc_length
from ..ct.coronaries import Course
from ..ct.shapes import Shape, at
from .vessel import Vessel

#: Who carries whom; the posterior branches hang on the artery that their calcium counts for.
_PARENT = {"LAD": "LM", "LCX": "LM", "ramus": "LM", "D1": "LAD", "D2": "LAD", "M1": "LCX", "M2": "LCX"}
_END = ("LAD", "LCX", "ramus")


def _parent(course: Course) -> str:
    if course.name in ("PDA", "PL"):
        return course.site
    return _PARENT.get(course.name, "")


def build_tree(courses: Sequence[Course], aorta: Shape, wall_mm: float = 0.6) -> tuple[Vessel, ...]:
    """Connect the arteries of a chest to each other and to the aorta.

    The main arteries are led 3 mm into the aorta. A branch whose tabulated origin lies beside its parent is bent over
    its first 12 mm so that it begins on the parent's axis.

    Parameters
    ----------
    courses : sequence of Course
    aorta : Shape
        The aorta's blood.
    wall_mm : float
        Thickness of a healthy coronary wall.
    """
    made: dict[str, Vessel] = {}
    order = sorted(courses, key=lambda c: (_parent(c) != "", _parent(c) in _PARENT, c.name in ("PDA", "PL")))
    for course in order:
        parent = made.get(_parent(course))
        points, radii = np.array(course.points, float), np.array(course.radii, float)
        start = 0.0
        if parent is None:
            points, radii = _into(points, radii, aorta)
        else:
            start = parent.length_mm if course.name in _END else parent.place(points[0])
            if course.name in ("PDA", "PL"):
                start = min(start, parent.length_mm - 1.0)
            root = parent.points[int(np.argmin(np.abs(parent.s - start)))]
            along = arc_length(points)
            points = points + (np.clip(1 - along / 12, 0, 1) ** 2)[:, None] * (root - points[0])
        smooth = np.column_stack([points, radii])
        for _ in range(12):
            smooth[1:-1] = 0.25 * smooth[:-2] + 0.5 * smooth[1:-1] + 0.25 * smooth[2:]
        vessel = Vessel.along(course.name, smooth[:, :3], smooth[:, 3], site=course.site,
                              parent=parent.name if parent else "", wall_mm=wall_mm, parent_mm=start)  # fmt: skip
        if parent is None:
            outside = np.flatnonzero(at(aorta, vessel.points) > 0)
            object.__setattr__(vessel, "ostium_mm", float(vessel.s[outside[0]]) if len(outside) else 0.0)
        made[course.name] = vessel
    return tuple(made.values())


def _into(points: Array, radii: Array, aorta: Shape) -> tuple[Array, Array]:
    """The same artery begun 3 mm inside the aorta, on the shortest way to it."""
    e = 0.5
    way = [points[0]]
    for _ in range(60):
        p = way[-1]
        depth = float(at(aorta, p)[0])
        if depth < -3.0:
            break
        slope = np.array([float(at(aorta, p + e * v)[0] - at(aorta, p - e * v)[0]) for v in np.eye(3)])
        way.append(p - 0.5 * slope / max(float(np.linalg.norm(slope)), 1e-9))
    ahead = np.array(way[:0:-1])
    if not len(ahead):
        return points, radii
    return np.concatenate([ahead, points]), np.concatenate([np.full(len(ahead), radii[0]), radii])


def path(vessels: Sequence[Vessel], name: str) -> tuple[Array, Array]:
    """The whole way from the ostium to the end of a vessel.

    Returns
    -------
    points : numpy.ndarray
        ``(n, 3)`` the lumen's middle, from where it leaves the aorta.
    radii : numpy.ndarray
        ``(n,)`` lumen radius in mm.
    """
    by_name = {v.name: v for v in vessels}
    points: list[Array] = []
    radii: list[Array] = []
    vessel: Vessel | None = by_name[name]
    until = np.inf
    while vessel is not None:
        keep = (vessel.s >= vessel.ostium_mm) & (vessel.s < until)
        points.insert(0, vessel.lumen_line[keep])
        radii.insert(0, vessel.profile().lumen[keep])
        until = vessel.parent_mm
        vessel = by_name.get(vessel.parent)
    return np.concatenate(points), np.concatenate(radii)


def segment(vessels: Sequence[Vessel], name: str, at_mm: float) -> int:
    """The SCCT segment (1 to 18) at a place on a vessel.

    Numbers as in Leipsic J et al., J Cardiovasc Comput Tomogr 2014;8:342. Where the guideline's landmark cannot be told
    from a phantom, this holds instead: thirds of the right coronary artery from ostium to crux; the proximal anterior
    descending artery ends at the first diagonal (without one, after a quarter), the middle one half-way to the end; the
    proximal circumflex ends at the first marginal (without one, after a third). A heart whose only diagonal is called
    ``D2`` here has a first diagonal all the same, and so with ``M2``.
    """
    by_name = {v.name: v for v in vessels}
    vessel = by_name[name]
    from_right = vessel.site == "RCA"
    diagonals: list[str] = [n for n in ("D1", "D2") if n in by_name]
    marginals: list[str] = [n for n in ("M1", "M2") if n in by_name]
    numbered = (*zip(diagonals, (9, 10), strict=False), *zip(marginals, (12, 14), strict=False))
    fixed: dict[str, int] = {"LM": 5, "ramus": 17, **dict(numbered)}
    if name in fixed:
        return fixed[name]
    if name == "PDA":
        return 4 if from_right else 15
    if name == "PL":
        return 16 if from_right else 18
    length = vessel.length_mm
    if name == "RCA":
        share = (at_mm - vessel.ostium_mm) / max(length - vessel.ostium_mm, 1e-9)
        return 1 + min(int(3 * max(share, 0.0)), 2)
    if name == "LAD":
        first = by_name[diagonals[0]].parent_mm if diagonals else length / 4
        return 6 if at_mm <= first else 7 if at_mm <= 0.5 * (first + length) else 8
    first = by_name[marginals[0]].parent_mm if marginals else length / 3
    return 11 if at_mm <= first else 13
