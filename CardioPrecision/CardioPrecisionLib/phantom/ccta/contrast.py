"""What contrast does to a chest: bright blood in the aorta and the chambers, muscle in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...image import Array
from ..ct.coronaries import Course
from ..ct.heart import SMOOTH
from ..ct.patients import ThoraxPatient
from ..ct.render import Part
from ..ct.second_heart import Egg
from ..ct.shapes import Cut, Ellipsoid, HalfSpace, Shape, SmoothUnion, Tube, at

_AORTA = ("ascending", "arch", "arch_branch_0", "arch_branch_1", "arch_branch_2", "descending", "aorta")
_PULMONARY = ("pulmonary", "right_pulmonary", "left_pulmonary")
_CAVAL = ("svc", "brachiocephalic")
_GREAT = (*_AORTA, *_PULMONARY, *_CAVAL, "ivc")


@dataclass(frozen=True)
class Contrast:
    """HU of blood and tissue in a coronary angiogram.

    Attributes
    ----------
    aorta, left, right, caval, inferior : float
        Blood of the aorta, the left heart with its veins, the right heart with the pulmonary artery, the superior and
        the inferior caval vein.
    muscle : float
        Myocardium.
    vessel_wall : float
        Walls of great vessels and atria.
    """

    aorta: float = 400.0
    left: float = 390.0
    right: float = 230.0
    caval: float = 260.0
    inferior: float = 110.0
    muscle: float = 105.0
    vessel_wall: float = 60.0


def _by(shape: Any, mm: float) -> Any:
    return replace(shape, radii=np.maximum(np.asarray(shape.radii, float) + mm, 1.0))


def _first_cavities(shapes: tuple[Any, ...], c: Contrast) -> tuple[list[Part], Shape]:
    lv, rv, rvot, la, ra, root, laa = shapes
    right = Cut(SmoothUnion((_by(rv, -4.5), _by(rvot, -3.5)), 3.0), without=(lv, root))
    left_atrium = Cut(SmoothUnion((_by(la, -2.5), _by(laa, -2.0)), 2.0), without=(root,))
    return [
        _blood(right, c.right),
        _blood(Cut(_by(ra, -2.5), without=(la, root, lv)), c.right),
        _blood(left_atrium, c.left),
        _blood(_by(lv, -10.0), c.left),
    ], root


def _second_cavities(shapes: tuple[Any, ...], c: Contrast) -> tuple[list[Part], Shape]:
    egg, bulb, cone, la, ra = shapes
    _, left, along = egg.axes
    wide = float(egg.radii[1])
    lv = Ellipsoid(egg.center + 0.30 * wide * left - 0.05 * float(egg.radii[2]) * along,
                   np.array([0.74 * egg.radii[0], 0.62 * wide, 0.88 * egg.radii[2]]), egg.axes)  # fmt: skip
    inside = Egg(egg.center, tuple(float(r) - 4.5 for r in egg.radii), egg.axes, egg.taper)
    rv = Cut(SmoothUnion((inside, _by(cone, -3.5)), 3.0), without=(_by(lv, 10.0), bulb, la))
    # What lies between the left ventricle's wall and the outside on the left is muscle as well.
    middle = lv.center - 0.35 * wide * left
    return [
        _blood(Cut(rv, within=HalfSpace(middle, left)), c.right),
        _blood(Cut(_by(ra, -2.5), without=(la, bulb)), c.right),
        _blood(Cut(_by(la, -2.5), without=(bulb,)), c.left),
        _blood(lv, c.left),
    ], bulb


def _blood(shape: Shape, hu: float) -> Part:
    return Part(shape, ((0.0, hu),), "blood", smooth_mm=SMOOTH)


def contrast_parts(patient: ThoraxPatient, contrast: Contrast) -> tuple[tuple[Part, ...], Shape]:
    """The tissues of a chest during a coronary angiogram, without its coronary arteries.

    Parameters
    ----------
    patient : ThoraxPatient
        Of either generator.
    contrast : Contrast

    Returns
    -------
    parts : tuple of Part
    aorta : Shape
        The blood of root and ascending aorta, out of which the coronary arteries come.
    """
    hearts = [n for n, p in enumerate(patient.parts) if p.kind == "heart"]
    union = patient.parts[hearts[-1]].shape
    assert isinstance(union, SmoothUnion)
    make = _first_cavities if len(union.shapes) == 7 else _second_cavities
    cavities, root = make(tuple(union.shapes), contrast)
    root_blood = _by(root, -1.5)
    ascending = next(p.shape for p in patient.parts if p.kind in ("ascending", "aorta"))
    out: list[Part] = []
    for part in patient.parts:
        if part.kind == "artery":
            continue
        if part.kind == "heart":
            out.append(replace(part, layers=((part.layers[0][0], contrast.muscle),)))
        elif part.kind in _GREAT or part.kind.startswith(("pulmonary_vein", "vein_")):
            out.append(_vessel(part, contrast))
        else:
            out.append(part)
    # After the great vessels: chambers stay open to them, coronary arteries are freed by fat, the root stays open.
    last = max(n for n, p in enumerate(out) if p.kind in _GREAT)
    blood = [replace(p, shape=Cut(p.shape, without=(ascending,))) for p in cavities]
    out[last + 1 : last + 1] = [*blood, *_sheaths(patient, root, ascending), _blood(root_blood, contrast.aorta),
                                _blood(_by(ascending, -1.4), contrast.aorta)]  # fmt: skip
    return tuple(out), SmoothUnion((root_blood, _by(ascending, -1.4)), 0.0)


def _vessel(part: Part, c: Contrast) -> Part:
    if part.kind in _AORTA:
        hu = c.aorta
    elif part.kind in _PULMONARY:
        hu = c.right
    elif part.kind in _CAVAL:
        hu = c.caval
    else:
        hu = c.inferior if part.kind == "ivc" else c.left
    return replace(part, layers=((0.0, c.vessel_wall), (1.2, hu)))


def _sheaths(patient: ThoraxPatient, root: Shape, ascending: Shape) -> list[Part]:
    """Fat around arteries where a great vessel other than the aorta was painted over their course."""
    out = []
    near = [p.shape for p in patient.parts if p.kind in (*_PULMONARY, *_CAVAL) or "vein" in p.kind]
    for course in patient.courses:
        for shape in near:
            out += _sheath(course, shape, (root, ascending))
    return out


def _sheath(course: Course, shape: Shape, keep: tuple[Shape, ...]) -> list[Part]:
    depth: Array = at(shape, course.points) - course.radii
    inside = np.flatnonzero(depth < 2.5)
    if len(inside) < 2:
        return []
    span = slice(max(int(inside[0]) - 2, 0), int(inside[-1]) + 3)
    tube = Tube(course.points[span][::2], course.radii[span][::2] + 1.8)
    if len(tube.points) < 2:
        return []
    return [Part(Cut(tube, within=_by(shape, 0.5), without=keep), ((0.0, -90.0),), "groove")]
