"""The lumen without disease where arteries part: a branch is narrower than the trunk that it leaves, and not ill.

A reference that is fitted through a parting would call the step a stenosis, and the wide place where the two lumens
still touch would lift the reference of all that lies before it. So the sections of a parting are left out, and beyond
it the reference is fitted anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from CardioPrecisionLib.image import Array, Image
from scipy.spatial import cKDTree

from .branching import evenly, parting
from .course import CourseParameters, VesselCourse
from .lesions import find_lesions
from .stenosis import reference

#: An artery whose branch is thinner than this share of it goes on as before; else its reference begins anew.
_EQUALS = 0.7
#: The wide lumen of a parting reaches so far before it, and at most so far beyond (mm).
_BEFORE_MM, _LONGEST_MM = 1.5, 12.0
#: An own reference needs so much of the artery beyond the parting (mm).
_OWN_MM = 4.0
#: Width beyond a parting is taken over this length (mm).
_BEYOND_MM = 6.0
#: Partings closer than this are one (mm).
_SAME_MM = 2.0
#: A trunk's diameter is 0.678 of the sum of its branches' (Finet G et al., EuroIntervention 2007;3:490-8). Nine tenths
#: of that are put under a trunk's own reference: a left main stem may be ill from end to end.
_FLOOR = 0.9 * 0.678
#: A left main stem is no longer than this (mm).
_STEM_MM = 25.0


@dataclass(frozen=True)
class Parting:
    """Where an artery and another part; mm from this one's ostium.

    Attributes
    ----------
    at_mm : float
        Their middles part.
    end_mm : float
        Their lumens no longer touch.
    own_mm, other_mm : float
        Diameters just beyond; NaN where not seen.
    """

    at_mm: float
    end_mm: float
    own_mm: float
    other_mm: float

    @property
    def anew(self) -> bool:
        return bool(self.other_mm >= _EQUALS * self.own_mm)


def with_partings(
    image: Image, arteries: Mapping[str, VesselCourse], parameters: CourseParameters | None = None
) -> dict[str, VesselCourse]:
    """The same arteries with references that know where they part, and with their lesions found again.

    Parameters
    ----------
    image : Image
        HU.
    arteries : mapping of str to VesselCourse
    parameters : CourseParameters, optional
        Those that they were measured with.
    """
    p = parameters or CourseParameters()
    out = dict(arteries)
    for name, found in partings(arteries).items():
        course = arteries[name]
        if not found:
            continue
        healthy = reference_with(course.distance, course.diameter, found, p.reference_mm)
        given = course.with_reference(healthy)
        out[name] = replace(given, lesions=find_lesions(image, given, p.lesions))
    return out


def partings(arteries: Mapping[str, VesselCourse]) -> dict[str, list[Parting]]:
    """Where every artery parts from others, in order from its ostium."""
    lines = evenly({name: a.line for name, a in arteries.items()})
    out: dict[str, list[Parting]] = {name: [] for name in arteries}
    for name in lines:
        for trunk in lines:
            found = parting(lines[trunk], lines[name]) if trunk != name else None
            if found is None:
                continue
            here, there = arteries[name], arteries[trunk]
            a, b = _apart(here, there, found[0]), _apart(there, here, found[1])
            own, other = _width(here, a), _width(there, b)
            out[name].append(Parting(found[0], a, own, other))
            out[trunk].append(Parting(found[1], b, other, own))
    return {name: _merged(found) for name, found in out.items()}


def _apart(course: VesselCourse, other: VesselCourse, from_mm: float) -> float:
    """How far along `course` its lumen touches that of `other`, from where their middles part."""
    near = course.between(from_mm, from_mm + _LONGEST_MM)
    distance, nearest = cKDTree(other.line).query(course.line[near])
    reach = (np.nan_to_num(course.diameter[near], nan=2.0) + np.nan_to_num(other.diameter[nearest], nan=2.0)) / 2
    free = np.flatnonzero(distance > reach + 0.5)
    return float(course.distance[near][free[0] if len(free) else -1])


def _width(course: VesselCourse, from_mm: float) -> float:
    values = course.diameter[course.between(from_mm, from_mm + _BEYOND_MM)]
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def _merged(found: Sequence[Parting]) -> list[Parting]:
    """One parting for those at the same place; of the others there, the widest counts."""
    out: list[Parting] = []
    for q in sorted(found, key=lambda one: one.at_mm):
        if out and q.at_mm - out[-1].at_mm < _SAME_MM:
            last = out[-1]
            widest = float(np.fmax(last.other_mm, q.other_mm))
            beyond = q if q.end_mm > last.end_mm else last
            out[-1] = Parting(last.at_mm, beyond.end_mm, beyond.own_mm, widest)
        else:
            out.append(q)
    return out


def reference_with(s: Array, diameter: Array, found: Sequence[Parting], reach_mm: float) -> Array:
    """The diameter without disease ``(n,)``, as `stenosis.reference`, piece by piece between partings.

    Parameters
    ----------
    s, diameter : numpy.ndarray
        ``(n,)`` mm; diameters are NaN where no lumen was seen.
    found : sequence of Parting
        In order.
    reach_mm : float
        Half width of the stretch of the fit.
    """
    seen = diameter.copy()
    for q in found:
        seen[(s >= q.at_mm - _BEFORE_MM) & (s <= q.end_mm)] = np.nan
    cuts = [q for q in found if q.anew and s[-1] - q.end_mm >= _OWN_MM]
    edges = [0, *(int(np.searchsorted(s, q.at_mm)) for q in cuts), len(s)]
    out = np.full(len(s), np.nan)
    least = 0.0
    for n in range(len(edges) - 2, -1, -1):
        piece = slice(edges[n], edges[n + 1])
        if piece.stop <= piece.start:
            continue
        fit = reference(s[piece], seen[piece], reach_mm)
        if not np.isfinite(fit).any():
            # Too short between two partings: as wide as it is seen to be, or as what follows.
            fit = np.full(piece.stop - piece.start, _or_zero(diameter[piece]))
        out[piece] = np.maximum(fit, least)
        least = float(out[piece][0])
        if n == 1 and cuts[0].at_mm < _STEM_MM:
            least = max(least, _FLOOR * (least + float(np.nan_to_num(cuts[0].other_mm))))
    return np.where(out > 0, out, np.nan)


def _or_zero(values: Array) -> float:
    return float(np.nanpercentile(values, 70)) if np.isfinite(values).any() else 0.0
