"""The heart of generator two: an egg with rounded atria, described by angles around its long axis.

Nothing is shared with generator one but the solids: the ventricles are one egg, the atria are capsules, and the
arteries are curves of (mm along the long axis, degree around it) that are shot outwards onto the surface. Angles: 0
where the anterior groove runs in an average heart (up), 90 the left ventricle's free wall, 180 the inferior groove,
-90 the right ventricle. The courses follow the textbook grooves (anterior and inferior interventricular, left and right
atrioventricular), not the tables that generator one uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ...image import Array
from ...polyline import arc_length
from .coronaries import Course, resampled
from .render import Part
from .shapes import Box, Shape, SmoothUnion, Tube, at, unit


@dataclass(frozen=True, eq=False)
class Egg:
    """An ellipsoid (`radii` along the rows of `axes`) that narrows towards the end of its third axis by `taper`."""

    center: Array
    radii: Any
    axes: Array
    taper: float

    def box(self) -> Box:
        reach = np.sqrt(((self.axes * (np.asarray(self.radii) * [1.25, 1.25, 1.0])[:, None]) ** 2).sum(0))
        return self.center - reach, self.center + reach

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        p = (x - self.center[0], y - self.center[1], z - self.center[2])
        u, v, w = (sum(float(c) * part for c, part in zip(row, p, strict=True)) for row in self.axes)
        along = np.clip(w / self.radii[2], -1, 1)
        wide = 1 - self.taper * along
        a, b, c = (float(r) for r in self.radii)
        ua, vb, wc = u / (a * wide), v / (b * wide), w / c
        q = np.sqrt(ua * ua + vb * vb + wc * wc)
        g = np.sqrt((ua / a) ** 2 + (vb / b) ** 2 + (wc / c) ** 2 + 1e-9)
        return np.asarray(q * (q - 1) / g)


@dataclass(frozen=True)
class SecondHeartShape:
    """One heart of generator two: angles in degrees, lengths in mm."""

    azimuth: float = 45.0
    elevation: float = -32.0
    roll: float = 0.0
    length: float = 104.0
    left: float = 38.0
    right: float = 58.0
    height: float = 42.0
    taper: float = 0.16
    atrium: float = 22.0
    root: float = 17.0
    aorta: float = 17.0
    fat: float = 5.0


@dataclass(frozen=True, eq=False)
class SecondHeart:
    """A placed heart: its surface, sac, frame (rows: up, left, along) and named vessels."""

    shape: SecondHeartShape
    base: Array
    axes: Array
    myocardium: Shape
    pericardium: Shape
    vessels: dict[str, Tube]
    landmarks: dict[str, Array]
    root_axis: Array

    def point(self, along: float, angle: float, radius: float) -> Array:
        return _point(self.base, self.axes, along, angle, radius)

    def shoot(self, along: Array, angle: Array, off: Array) -> Array:
        """Points ``(n, 3)`` that lie `off` mm outside the surface, straight out from the long axis."""
        reach = np.linspace(12, 95, 167)
        up, left, w = self.axes
        t = np.radians(angle)
        out = np.cos(t)[:, None] * up + np.sin(t)[:, None] * left
        start = self.base + along[:, None] * w
        cloud = start[:, None] + reach[None, :, None] * out[:, None]
        d = at(self.myocardium, cloud.reshape(-1, 3)).reshape(len(along), -1) - off[:, None]
        # From far outside inwards: the outermost crossing.
        last = np.where(d <= 0, np.arange(len(reach)), 0).max(1)
        return np.asarray(start + (reach[last] + 0.25)[:, None] * out)

    def wrapped(self) -> list[Shape]:
        """What the lungs keep clear of: the sac and the vessels (these with few points)."""
        return [self.pericardium, *(Tube(t.points[::3], t.radii[::3]) if len(t.points) > 6 else t
                                    for t in self.vessels.values())]  # fmt: skip

    def parts(self, courses: tuple[Course, ...], contrast: float = 6.0) -> list[Part]:
        blood = 36.0
        muscle = ((0.0, blood + contrast), (9.0, blood))
        out = [Part(self.pericardium, ((0.0, -20.0), (1.0, -96.0)), "pericardium", smooth_mm=1.6),
               Part(self.myocardium, muscle, "heart", smooth_mm=1.6)]  # fmt: skip
        out += [Part(Tube(c.points[::5], 2.2 * c.radii[::5] + 1.6), ((0.0, -88.0),), "groove") for c in courses]
        out.append(Part(self.myocardium, tuple((d + 1.6, v) for d, v in muscle), "heart", smooth_mm=1.6))
        out += [Part(Tube(c.points[::2], c.radii[::2] + 0.5), ((0.0, blood + 4),), "artery") for c in courses]
        out += [Part(v, ((0.0, blood + 10), (2.0, blood)), name) for name, v in self.vessels.items()]
        return out


def _point(base: Array, axes: Array, along: float, angle: float, radius: float) -> Array:
    t = np.radians(angle)
    return np.asarray(base + along * axes[2] + radius * (np.cos(t) * axes[0] + np.sin(t) * axes[1]))


def _by(point: Array, x: float, y: float, z: float) -> Array:
    return point + np.array([x, y, z])


def build_second_heart(shape: SecondHeartShape, base: Array, arch_top: float, spine_x: float) -> SecondHeart:
    """Place a heart whose base (middle of the atrioventricular plane) is at `base`."""
    az, el = np.radians(shape.azimuth), np.radians(shape.elevation)
    w = np.array([-np.sin(az) * np.cos(el), np.cos(az) * np.cos(el), np.sin(el)])
    up = unit(np.array([0.0, 0.0, 1.0]) - w * w[2])
    left = -np.cross(w, up)
    r = np.radians(shape.roll)
    up, left = np.cos(r) * up + np.sin(r) * left, np.cos(r) * left - np.sin(r) * up
    axes = np.stack([up, left, w])

    def p(along: float, angle: float, radius: float) -> Array:
        return _point(base, axes, along, angle, radius)

    k = shape.length / 104.0
    half = (shape.left + shape.right) / 2
    middle = base + 0.40 * shape.length * w + (shape.left - shape.right) / 2 * left
    egg = Egg(middle, (shape.height, half * 0.96, 0.60 * shape.length), axes, shape.taper)
    root = p(-7 * k, -36, 22 * k)
    root_axis = unit(np.array([0.3, 0.2, 0.95]) + 0.15 * up)
    bulb = Tube(np.stack([root - 10 * root_axis, root, root + 12 * root_axis]),
                (0.85 * shape.root, shape.root, 0.9 * shape.root))  # fmt: skip
    valve = p(5 * k, -19, 45 * k)
    cone = Tube(np.stack([p(42 * k, -62, 26 * k), p(22 * k, -38, 36 * k), valve]), (21.0 * k, 18.0 * k, 13.5))
    a = shape.atrium
    la_middle = p(-22 * k, 100, 8)
    la = Tube(np.stack([_by(la_middle, 18, -8, 4), _by(la_middle, -12, -2, -2)]), (a, a))
    ra_middle = p(-8 * k, -128, 38 * k)
    ra = Tube(np.stack([_by(ra_middle, 0, -3, 15), _by(ra_middle, -1, -2, -14)]), (a, 1.05 * a))
    solids = (egg, bulb, cone, la, ra)
    myocardium = SmoothUnion(solids, 4.0)
    pericardium = SmoothUnion(solids, 26.0, shape.fat)

    top = arch_top - shape.aorta
    climb = np.stack([root + 10 * root_axis, root + 28 * root_axis, [root[0] + 14, root[1] + 2, top - 14],
                      [root[0] + 2, root[1] - 12, top + 2], [spine_x - 16, 26.0, top - 2],
                      [spine_x - 27, 8.0, top - 24]])  # fmt: skip
    from scipy.interpolate import CubicSpline

    aorta = CubicSpline(np.arange(6.0), climb)(np.linspace(0, 5, 26))
    # However wide it is above, it begins as wide as the bulb: a wider end would swallow the arteries' mouths.
    width = np.minimum(np.linspace(shape.aorta, 0.78 * shape.aorta, 26), 0.9 * shape.root + 0.35 * arc_length(aorta))
    fork = root + np.array([-22.0, -14.0, 40.0])
    vessels = {
        "pulmonary": Tube(np.stack([valve, _by(0.5 * (valve + fork), -3, 3, 2), fork]), (13.0, 13.5, 13.0)),
        "right_pulmonary": Tube(np.stack([fork, [12.0, 34.0, fork[2] - 6], [54.0, 22.0, fork[2] - 24]]), 9.0),
        "left_pulmonary": Tube(np.stack([fork, [-46.0, 26.0, fork[2]], [-58.0, 16.0, fork[2] - 14]]), 9.5),
        "svc": Tube(np.stack([_by(ra_middle, 0, -3, 20), [ra_middle[0] - 6, root[1] - 14, arch_top - 10]]), 9.5),
        "ivc": Tube(np.stack([_by(ra_middle, -2, -8, -16), [ra_middle[0] - 10, 22.0, -230.0]]), 12.5),
        "vein_right": Tube(np.stack([_by(la_middle, 18, -8, 0), [54.0, 14.0, la_middle[2] - 8]]), 6.0),
        "vein_left": Tube(np.stack([_by(la_middle, -12, -8, 0), [-56.0, 12.0, la_middle[2] - 6]]), 6.0),
        "aorta": Tube(aorta, width),
        "descending": Tube(np.stack([aorta[-1], [spine_x - 25, 4.0, -20.0], [spine_x - 14, 8.0, -230.0]]),
                           0.74 * shape.aorta),
    }  # fmt: skip
    landmarks = {
        "heart_center": p(0.35 * shape.length, -90, 6.0),
        "apex": middle + 0.60 * shape.length * w,
        "aortic_root": root,
        "left_ostium": root + shape.root * unit(p(-19, 5, 22) - root),
        "right_ostium": root + shape.root * unit(p(5, -63, 33) - root),
        "mitral_center": p(-2.0, 75, 6.0),
    }
    return SecondHeart(shape, base, axes, myocardium, pericardium, vessels, landmarks, root_axis)


def _beside(points: Array, radius_mm: float, vessel: Shape, *, begins_there: bool = False) -> Array:
    """The same course moved out of a great vessel that would else lie around it.

    The first point stays; a course that begins at the vessel comes clear of it over its first 4 mm.
    """
    gap = np.full(len(points), radius_mm + 0.8)
    if begins_there:
        gap = np.minimum(gap, gap * arc_length(points) / 4.0)
    gap[0] = -np.inf
    moved, e = points.copy(), 0.5
    for _ in range(40):
        near = np.flatnonzero(at(vessel, moved) < gap)
        if not len(near):
            break
        here = moved[near]
        slope = np.stack([at(vessel, here + e * v) - at(vessel, here - e * v) for v in np.eye(3)], axis=1)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
        moved[near] = here + np.minimum(gap[near] - at(vessel, here), 1.0)[:, None] * slope
        moved[1:-1] = 0.25 * moved[:-2] + 0.5 * moved[1:-1] + 0.25 * moved[2:]
    return moved


def _left_of_trunk(heart: SecondHeart, along: Array, angle: Array, off: Array) -> Array:
    """Points ``(n, 3)`` on the surface, turned about the long axis to the left until the pulmonary trunk is passed.

    The left artery comes forward between the trunk and the left atrium, never over the trunk or through it.
    """
    trunk, turned = heart.vessels["pulmonary"], np.zeros(len(along))
    for _ in range(40):
        points = heart.shoot(along, angle + turned, off)
        inside = at(trunk, points) < off + 0.8
        if not inside.any():
            break
        turned[inside] += 2.0
        turned = np.maximum(turned, gaussian_filter1d(turned, 6.0, mode="nearest"))
    return points


#: Name -> site, lumen diameters at start and end, knots (mm along for a heart of 104 mm, degrees).
_LINES: dict[str, tuple[str, tuple[float, float], tuple[tuple[float, float], ...]]] = {
    "LAD": ("LAD", (3.8, 1.2), ((-6, 10), (8, 14), (28, 12), (50, 8), (72, 6), (90, 2), (98, -20))),
    "LCX": ("LCX", (3.5, 1.4), ((-6, 10), (-4, 42), (-2, 72), (2, 102), (8, 132), (14, 152))),
    "RCA": ("RCA", (4.1, 2.6), ((8, -62), (13, -84), (17, -106), (20, -130), (21, -154), (20, -168))),
    "PDA": ("RCA", (2.4, 1.1), ((20, -168), (42, -172), (62, -176), (80, 176))),
    "PL": ("RCA", (2.3, 1.0), ((20, -168), (18, -182), (28, -202), (44, -212))),
    "D1": ("LAD", (2.1, 1.0), ((22, 13), (40, 40), (58, 54))),
    "D2": ("LAD", (1.9, 0.9), ((44, 9), (62, 34), (76, 46))),
    "M1": ("LCX", (2.2, 1.0), ((0, 78), (26, 88), (52, 92))),
    "M2": ("LCX", (2.0, 1.0), ((5, 118), (30, 122), (50, 126))),
}


def second_courses(
    heart: SecondHeart, rng: np.random.Generator, dominance: str, calibre: float, missing: tuple[str, ...]
) -> tuple[Course, ...]:
    """Arteries as splines around the long axis, each knot shifted by a few mm and degrees."""
    from scipy.interpolate import CubicSpline

    k = heart.shape.length / 104.0
    ostium = heart.landmarks["left_ostium"]
    turn = rng.normal(0, 6.0)
    shift: dict[tuple[float, float], Array] = {}
    made: list[Course] = []
    left_start = _left_of_trunk(heart, np.array([-6.0 * k]), np.array([10.0 + turn]), np.array([2.5]))[0]
    way = left_start - ostium
    fork = ostium + way * min(1.0, float(rng.uniform(6, 15)) / max(float(np.linalg.norm(way)), 1.0))
    n = max(4, int(np.linalg.norm(fork - ostium)))
    aorta = heart.vessels["aorta"]
    stem = _beside(ostium + np.linspace(0, 1, n)[:, None] * (fork - ostium), 2.3 * calibre, aorta, begins_there=True)
    fork = stem[-1]
    made.append(Course("LM", "LM", stem, np.full(n, 2.3 * calibre)))
    for name, (site, (d0, d1), knots) in _LINES.items():
        if name in missing or (name == "PL" and dominance != "right"):
            continue
        if dominance == "left":
            if name == "LCX":
                knots, d0, d1 = (*knots, (19, 176), (20, 190)), 4.2, 2.2
            elif name == "RCA":
                knots, d0, d1 = knots[:4], 2.7, 1.0
            elif name == "PDA":
                site, knots = "LCX", ((20, 190), *knots[1:])
        rows = []
        for knot in knots:
            if knot not in shift:
                shift[knot] = rng.normal(0, (2.5, 4.0))
            # Angles are kept increasing or decreasing without a jump at 180.
            rows.append(np.array([knot[0] * k, knot[1] + turn]) + shift[knot])
        table = np.array(rows)
        table[:, 1] = np.degrees(np.unwrap(np.radians(table[:, 1])))
        t = np.linspace(0, len(rows) - 1, 40 * len(rows))
        along, angle = CubicSpline(np.arange(len(rows)), table)(t).T
        radii = np.linspace(d0, d1, len(t)) / 2 * calibre
        off = radii + float(rng.uniform(0.8, 2.2))
        left = site in ("LAD", "LCX")
        points = _left_of_trunk(heart, along, angle, off) if left else heart.shoot(along, angle, off)
        for _ in range(12):
            points[1:-1] = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
        if name in ("LAD", "LCX"):
            points = np.concatenate([np.linspace(fork, points[0], 6)[:-1], points])
        elif name == "RCA":
            points = np.concatenate([np.linspace(heart.landmarks["right_ostium"], points[0], 8)[:-1], points])
        points = resampled(points, 1.0)
        points = _beside(points, d0 / 2 * calibre, aorta, begins_there=name == "RCA")
        points = _beside(points, d0 / 2 * calibre, heart.vessels["ivc"])
        made.append(Course(name, site, points, np.linspace(d0, d1, len(points)) / 2 * calibre))
    return tuple(made)
