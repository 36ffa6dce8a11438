"""Where calcium lies: on the walls of given vessels, valves and rings, and what looks like it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import pi

import numpy as np

from ...image import Array
from .calcium import Calcification
from .coronaries import Course
from .shapes import ArcPlate, BentCapsule, Ellipsoid, Shape, Solid, Tube, at, frame, unit

Rng = np.random.Generator


def add(bag: list[Calcification], made: Calcification | None) -> bool:
    """Put a body into the bag unless it touches one that is there."""
    if made is None or any(made.overlaps(c) for c in bag):
        return False
    bag.append(made)
    return True


def any_direction(rng: Rng) -> Array:
    return unit(rng.normal(size=3))


def density(rng: Rng) -> float:
    """HU of pure plaque material: 180 to 1200, most between 300 and 700."""
    return float(np.clip(rng.lognormal(np.log(470), 0.45), 180, 1200))


def plaque(course: Course, rng: Rng, where: float, length_mm: float) -> Calcification | None:
    """A coronary plaque on the wall of `course` at the share `where` of its length: a grain, a rod or a shell."""
    points = course.points
    n = int(np.clip(where * (len(points) - 1), 1, len(points) - 2))
    along = course.tangent(n)
    lumen = float(course.radii[n])
    sideways = frame(along, any_direction(rng))[0]
    hu = density(rng)
    kind = rng.choice(["grain", "rod", "shell"], p=[0.45, 0.35, 0.20])
    if length_mm < 2.5 or kind == "grain":
        long = min(length_mm, 6.0) / 2
        thick = float(np.clip(rng.uniform(0.35, 0.8) * long, 0.45, max(1.3, 0.8 * lumen)))
        wide = float(np.clip(rng.uniform(0.5, 1.0) * long, thick, max(1.6, 1.1 * lumen)))
        center = points[n] + sideways * lumen * rng.uniform(0.6, 1.0)
        axes = frame(along, sideways)
        shape: Solid = Ellipsoid(center, np.array([thick, wide, long]), axes)
    elif kind == "rod":
        radius = float(np.clip(rng.uniform(0.35, 0.75) * lumen, 0.5, 1.5))
        shape = rod_along(points + sideways * lumen * 0.8, n, length_mm, radius)
    else:
        # A shell is straight: it is kept to a length over which the vessel is straight too.
        shape = ArcPlate(points[n], frame(along, sideways), max(lumen, 0.9), float(rng.uniform(0.6, 1.1)),
                         min(length_mm, 8.0), float(rng.uniform(0.25, 0.8)) * pi)  # fmt: skip
    return Calcification(course.site, shape, hu)


def rod_along(points: Array, n: int, length_mm: float, radius: float) -> BentCapsule:
    """A bent rod through point `n` of a curve that follows its bend over the length."""
    reach = max(2, int(length_mm / 2))
    a, m, b = points[max(n - reach, 0)], points[n], points[min(n + reach, len(points) - 1)]
    chord = unit(b - a)
    off = m - a - chord * ((m - a) @ chord)
    sag = float(np.linalg.norm(off))
    half = float(np.linalg.norm(b - a)) / 2
    out = unit(off) if sag > 0.02 else frame(chord)[0]
    bend = float(np.clip((half**2 + sag**2) / (2 * max(sag, 1e-3)), 6.0, 400.0))
    straight = max(length_mm - 2 * radius, 0.6)
    axes = np.stack([out, chord, np.cross(out, chord)])
    return BentCapsule(m - out * bend, axes, bend, straight / (2 * bend), radius)


def wall_plaque(tube: Tube, rng: Rng, site: str = "aorta") -> Calcification | None:
    """A plate or grain in the wall of a large vessel."""
    n = int(rng.integers(1, len(tube.points) - 1))
    along = unit(tube.points[n + 1] - tube.points[n - 1])
    radius = float(tube.radii[n])
    axes = frame(along, any_direction(rng))
    hu = float(np.clip(rng.lognormal(np.log(560), 0.4), 200, 1300))
    if rng.uniform() < 0.6:
        thick = float(rng.uniform(0.8, 2.2))
        shape: Solid = ArcPlate(tube.points[n], axes, radius - thick / 2, thick, float(rng.uniform(2, 14)),
                                float(rng.uniform(1.5, 11)) / radius)  # fmt: skip
    else:
        shape = Ellipsoid(tube.points[n] + axes[0] * (radius - 0.8), np.sort(rng.uniform(0.7, 3.0, 3)), axes)
    return Calcification(site, shape, hu)


def ring_arcs(
    center: Array, normal: Array, radius: float, rng: Rng, site: str, thick: tuple[float, float], toward: Array,
    n: int, spread: float, arc: tuple[float, float],
) -> list[Calcification]:  # fmt: skip
    """Bent rods along a ring: annulus or leaflet edges. `spread` and `arc` in radians."""
    made: list[Calcification] = []
    for _ in range(n):
        turn = rng.normal(0, spread)
        u, v, w = frame(normal, toward)
        axes = np.stack([np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u, w])
        body = BentCapsule(center + w * rng.normal(0, 1.0), axes, radius * float(rng.uniform(0.93, 1.05)),
                           float(rng.uniform(*arc)), float(rng.uniform(*thick)))  # fmt: skip
        add(made, Calcification(site, body, float(np.clip(rng.lognormal(np.log(600), 0.4), 220, 1300))))
    return made


def leaflets(root: Array, axis: Array, radius: float, rng: Rng, n: int) -> list[Calcification]:
    """Grains and short bars on the three aortic leaflets, a few mm below the sinuses' middle."""
    made: list[Calcification] = []
    base = frame(axis)
    for _ in range(n):
        angle = 2 * pi * (int(rng.integers(3)) / 3 + rng.normal(0, 0.08))
        out = np.cos(angle) * base[0] + np.sin(angle) * base[1]
        r = radius * rng.uniform(0.15, 0.8)
        center = root + out * r + axis * (rng.normal(-5, 1.5) + 4.0 * r / radius)
        long = float(rng.uniform(0.8, 4.5))
        shape = Ellipsoid(center, np.array([long, float(rng.uniform(0.6, 2.0)), float(rng.uniform(0.5, 1.6))]),
                          frame(axis + rng.normal(0, 0.3, 3), out)[[0, 1, 2]])  # fmt: skip
        add(made, Calcification("aortic_valve", shape, density(rng)))
    return made


def nodes(rng: Rng, stations: Sequence[Array], n: int) -> list[Calcification]:
    """Calcified lymph nodes at the hila and along the airways: lumps in twos and threes."""
    made: list[Calcification] = []
    for _ in range(n):
        center = stations[int(rng.integers(len(stations)))] + rng.normal(0, 7.0, 3)
        for _ in range(int(rng.integers(1, 4))):
            shape = Ellipsoid(center + rng.normal(0, 3, 3), rng.uniform(1.2, 5.0, 3), frame(any_direction(rng)))
            add(made, Calcification("node", shape, float(rng.uniform(250, 1100))))
    return made


def pericardial(surface: Shape, inside: Array, rng: Rng) -> Calcification | None:
    """A flat plaque on the pericardium, seen from `inside` in a random direction."""
    way = any_direction(rng)
    reach = np.linspace(5, 140, 271)
    d = at(surface, inside + reach[:, None] * way)
    n = int(np.argmax(d > 0))
    if n == 0:
        return None
    point = inside + way * reach[n]
    e = np.eye(3) * 0.5
    normal = unit([float(at(surface, point + v)[0] - at(surface, point - v)[0]) for v in e])
    shape = Ellipsoid(point, np.array([rng.uniform(0.7, 1.8), rng.uniform(2, 9), rng.uniform(2, 9)]),
                      frame(any_direction(rng), normal))  # fmt: skip
    return Calcification("pericardium", shape, float(rng.uniform(250, 900)))


def cartilage(tube: Tube, rng: Rng) -> Calcification:
    """A spot or crust in a costal cartilage."""
    n = int(rng.integers(1, len(tube.points) - 1))
    along = tube.points[n + 1] - tube.points[n - 1]
    axes = frame(along, any_direction(rng))
    center = tube.points[n] + axes[0] * tube.radii[n] * rng.uniform(0.2, 1.0)
    return Calcification("cartilage", Ellipsoid(center, rng.uniform(0.8, 3.4, 3), axes), float(rng.uniform(200, 800)))


def stent(course: Course, rng: Rng) -> list[Calcification]:
    """A stent: a row of closed metal rings along the vessel."""
    start = int(rng.uniform(0.05, 0.45) * len(course.points))
    length = int(rng.uniform(10, 28))
    made = []
    hu = float(rng.uniform(1500, 2600))
    for n in range(start, min(start + length, len(course.points) - 2), 3):
        shape = ArcPlate(course.points[n], frame(course.tangent(n)), float(course.radii[n]) + 0.1, 0.3, 2.6, pi)
        made.append(Calcification("stent", shape, hu))
    return made


def rod_chain(points: Array, radius: float, hu: float, site: str) -> list[Calcification]:
    """A wire through points (a pacemaker lead) as straight rods, end to end."""
    made = []
    for a, b in pairwise(points):
        way = b - a
        long = float(np.linalg.norm(way))
        out, across, w = frame(way)
        bend = 1500.0
        axes = np.stack([out, w, -across])
        half = max(long - 2 * radius, 0.2) / (2 * bend)
        made.append(Calcification(site, BentCapsule((a + b) / 2 - out * bend, axes, bend, half, radius), hu))
    return made


def scatter(
    courses: Sequence[Course], rng: Rng, count: int, weights: dict[str, float], even: bool = False
) -> list[Calcification]:
    """`count` coronary plaques: vessel by weight, place mostly proximal or (`even`) anywhere, in clusters."""
    made: list[Calcification] = []
    main = {c.name: c for c in courses}
    names = [n for n in weights if n in main]
    p = np.array([weights[n] for n in names])
    while count > 0:
        course = main[names[int(rng.choice(len(names), p=p / p.sum()))]]
        where = float(rng.uniform(0.02, 0.95) if even else rng.beta(1.25, 2.4))
        for _ in range(int(rng.integers(1, 4))):
            length = float(np.clip(rng.lognormal(np.log(3.2), 0.65), 1.0, 15.0))
            add(made, plaque(course, rng, float(np.clip(where + rng.normal(0, 0.05), 0.02, 0.95)), length))
            count -= 1
    return made
