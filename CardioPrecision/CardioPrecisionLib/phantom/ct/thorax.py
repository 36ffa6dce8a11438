"""The chest around the heart of generator one: skin, fat, muscle, bones, airways, lungs with vessels, upper abdomen.

Distances between landmarks follow a supine adult of about 1.72 m; every patient scales and shifts them.
z = 0 is the level of the left coronary ostium, x = 0 the midline, y = 0 the front of the vertebral bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...image import Array
from .coronaries import curve
from .render import Part
from .shapes import Column, Cut, Ellipsoid, HalfSpace, Shape, SmoothUnion, Tube, frame

AIR, LUNG, FAT, MUSCLE, SKIN = -1000.0, -855.0, -104.0, 52.0, 5.0
TOP, BOTTOM = 190.0, -230.0
SMOOTH = 1.6


@dataclass(frozen=True)
class ThoraxShape:
    """How one chest differs: half width and depth of the cavity in mm, fat, bone density, sex, age."""

    half_width: float = 132.0
    depth: float = 158.0
    fat_side_mm: float = 22.0
    fat_front_mm: float = 16.0
    square: float = 0.55
    bone: float = 1.0
    female: bool = False
    age_years: float = 60.0
    dome_mm: float = 0.0
    stomach: str = "soft"
    arms: bool = False
    table: bool = True


@dataclass(frozen=True, eq=False)
class Thorax:
    """The solids of a chest, in two groups: what is painted before the heart and what comes after."""

    shape: ThoraxShape
    cavity: Column
    before: list[Part]
    after: list[Part]
    ribs: list[Tube]
    cartilages: list[Tube]


def build_thorax(shape: ThoraxShape, mediastinum: list[Shape], heart_bottom: float, rng: np.random.Generator) -> Thorax:
    """A chest around `mediastinum` (pericardium, great vessels, airways), which is wrapped in fat between the lungs."""
    cavity = _cavity(shape)
    before = _outer(shape, cavity)
    before.append(Part(cavity, ((0.0, LUNG),), "lung", smooth_mm=SMOOTH))
    before += _lung_vessels(cavity, rng)
    wrap = SmoothUnion(mediastinum, 16.0, float(rng.uniform(1.5, 5.0)))
    before.append(Part(Cut(wrap, within=cavity), ((0.0, FAT),), "mediastinum", smooth_mm=3.5))
    # Fat behind the sternum, between the lungs' front edges, and where they leave the heart bare.
    for z, wide, deep in ((45.0, rng.uniform(9, 20), 34.0), (-45.0, rng.uniform(22, 44), rng.uniform(9, 16))):
        pad = Ellipsoid(np.array([-6.0, front_at(cavity, z) - 8.0, z]), (float(wide), float(deep), 68.0))
        before.append(Part(Cut(pad, within=cavity), ((0.0, FAT),), "mediastinum", smooth_mm=2.5))
    before += _abdomen(shape, cavity, heart_bottom + shape.dome_mm)
    spine = Column(np.array([BOTTOM, TOP]), 25.0, 36.0, 0.0, -33.0, 0.4)
    before.append(Part(spine, ((0.0, FAT), (4.0, MUSCLE)), "muscle", smooth_mm=SMOOTH))
    before += _airways()
    ribs, cartilages, bones = _cage(shape, cavity)
    after = bones + _vertebrae(shape, rng) + _sternum(shape, cavity)
    return Thorax(shape, cavity, before, after, ribs, cartilages)


def front_at(cavity: Column, z: float) -> float:
    """y of the sternum's middle at a height: just before the cavity."""
    _, b, _, cy = cavity.at_level(z)
    return float(cy + b) + 6.0


def _cavity(shape: ThoraxShape) -> Column:
    levels = np.array([-230.0, -140.0, -60.0, 0.0, 40.0, 80.0, 115.0, 140.0, 160.0, 178.0])
    width = np.array([1.02, 1.05, 1.04, 1.0, 0.95, 0.86, 0.70, 0.52, 0.36, 0.2]) * shape.half_width
    half = np.array([1.02, 1.04, 1.03, 1.0, 0.96, 0.88, 0.76, 0.6, 0.42, 0.28]) * (shape.depth + 48.0) / 2
    # The back wall is nearly straight, the front wall leans forwards towards the feet.
    back = np.array([-50, -50, -50, -48, -45, -41, -36, -30, -24, -16.0])
    return Column(levels, width, half, np.zeros(len(levels)), back + half, shape.square)


def _outer(shape: ThoraxShape, cavity: Column) -> list[Part]:
    wall_side, wall_front, wall_back = 22.0, 9.0, 24.0
    a, b, _, cy = cavity.at_level(cavity.levels)
    low_width = np.where(cavity.levels < 100, a, np.maximum(a, 0.80 * shape.half_width))
    low_depth = np.where(cavity.levels < 100, b, np.maximum(b, 0.70 * shape.depth / 2 + 24))
    middle = np.where(cavity.levels < 100, cy, -41 + low_depth)
    muscle_b = low_depth + (wall_front + wall_back) / 2
    muscle_y = middle + (wall_front - wall_back) / 2
    muscle = Column(cavity.levels, low_width + wall_side, muscle_b, np.zeros(len(a)), muscle_y, 0.6)
    body_a = low_width + wall_side + shape.fat_side_mm
    body_b = muscle_b + shape.fat_front_mm / 2 + 10
    body_y = muscle_y + shape.fat_front_mm / 2 - 10
    body = Column(cavity.levels, body_a, body_b, np.zeros(len(a)), body_y, 0.62)
    back = float(np.min(body_y - body_b))
    parts: list[Part] = []
    if shape.table:
        ring = Column(np.array([-600.0, 600.0]), 330.0, 330.0, 0.0, back + 318.0, 0.0)
        hollow = Column(np.array([-600.0, 600.0]), 327.5, 327.5, 0.0, back + 318.0, 0.0)
        half = HalfSpace(np.array([0, back + 45.0, 0]), np.array([0, 1.0, 0]))
        parts.append(Part(Cut(ring, within=half, without=(hollow,)), ((0.0, 60.0),), "table"))
    skin = ((0.0, SKIN), (2.0, FAT))
    if shape.arms:
        for side in (-1, 1):
            arm = Tube(np.array([[side * (body_a[3] + 48), 10.0, 150.0], [side * (body_a[3] + 58), 5.0, -230.0]]), 44.0)
            bone = Tube(arm.points + np.array([side * 4.0, 0, 0]), 12.0)
            parts += [Part(arm, (*skin, (10.0, MUSCLE)), "arm"), Part(bone, ((0.0, 900.0), (4.0, 40.0)), "rib")]
    parts.append(Part(body, skin, "body", smooth_mm=SMOOTH))
    front = float(body_y[3] + body_b[3])
    if shape.female:
        for side in (-1, 1):
            breast = Ellipsoid(np.array([side * 78.0, front - 14, -20.0]), np.array([62.0, 44.0, 66.0]))
            gland = Ellipsoid(np.array([side * 82.0, front - 8, -22.0]), np.array([32.0, 22.0, 36.0]))
            parts.append(Part(breast, skin, "breast", smooth_mm=SMOOTH))
            parts.append(Part(gland, ((0.0, -50.0), (6.0, 25.0)), "breast", smooth_mm=SMOOTH))
    parts.append(Part(muscle, ((0.0, MUSCLE),), "muscle", smooth_mm=SMOOTH))
    for side in (-1, 1):
        pectoral = Ellipsoid(np.array([side * 66.0, front_at(cavity, 60.0) + 3, 60.0]), np.array([56.0, 13.0, 56.0]),
                             frame([0, -0.3, 1.0], [1.0, 0.28 * side, 0.0])[[0, 1, 2]])  # fmt: skip
        lat = Ellipsoid(np.array([side * (shape.half_width + 8), 5.0, 60.0]), np.array([24.0, 62.0, 92.0]))
        under = Ellipsoid(np.array([side * 92.0, -56.0, 62.0]), np.array([48.0, 19.0, 78.0]))
        for muscle_shape in (pectoral, lat, under):
            parts.append(Part(Cut(muscle_shape, within=body), ((3.0, MUSCLE),), "muscle", smooth_mm=SMOOTH))
        blade = Ellipsoid(np.array([side * 104.0, -55.0, 72.0]), np.array([42.0, 4.2, 66.0]),
                          frame([0, 0.12, 1.0], [1.0, -0.45 * side, 0.0]))  # fmt: skip
        parts.append(Part(blade, ((0.0, 620.0 * shape.bone), (1.4, 220.0 * shape.bone)), "scapula"))
        back_muscle = Tube(np.array([[side * 26.0, -58.0, TOP], [side * 30.0, -62.0, BOTTOM]]), 21.0)
        parts.append(Part(back_muscle, ((0.0, MUSCLE),), "muscle", smooth_mm=SMOOTH))
    return parts


def _abdomen(shape: ThoraxShape, cavity: Column, level: float) -> list[Part]:
    # The heart lies on the middle of the diaphragm; the right dome stands higher than the left one.
    up = level + 98.0
    w = shape.half_width
    right = Ellipsoid(np.array([0.52 * w, 40.0, -170.0 + up]), np.array([0.72 * w, 100.0, 100.0]))
    left = Ellipsoid(np.array([-0.54 * w, 34.0, -190.0 + up]), np.array([0.66 * w, 96.0, 96.0]))
    middle = Ellipsoid(np.array([-20.0, 84.0, -172.0 + up]), np.array([92.0, 84.0, 76.0]))
    gas = Ellipsoid(np.array([-0.48 * w, 66.0, -158.0 + up]), np.array([40.0, 40.0, 44.0]))
    spleen = Ellipsoid(np.array([-0.68 * w, -4.0, -175.0 + up]), np.array([30.0, 46.0, 56.0]))
    parts = [
        Part(Cut(left, within=cavity), ((0.0, MUSCLE), (3.0, FAT)), "abdomen", smooth_mm=SMOOTH),
        Part(Cut(spleen, within=cavity), ((0.0, 50.0),), "spleen", smooth_mm=SMOOTH),
        Part(Cut(right, within=cavity), ((0.0, MUSCLE), (2.0, 58.0)), "liver", smooth_mm=SMOOTH),
        Part(Cut(middle, within=cavity), ((0.0, MUSCLE), (2.0, 57.0)), "liver", smooth_mm=SMOOTH),
    ]
    value = {"gas": AIR, "contrast": 320.0, "soft": 25.0}[shape.stomach]
    parts.append(Part(Cut(gas, within=cavity), ((0.0, 40.0), (4.0, value)), "stomach", smooth_mm=SMOOTH))
    return parts


def _airways() -> list[Part]:
    carina = np.array([3.0, 20.0, 48.0])
    right = np.stack([carina, carina + np.array([18, -2, -18.0]), carina + np.array([42, -4, -34.0])])
    left = np.stack([carina, carina + np.array([-22, -2, -16.0]), carina + np.array([-50, -6, -28.0])])
    wall = ((0.0, 30.0), (1.4, AIR))
    return [
        Part(Tube(curve(left, 6.0), 6.8), wall, "airway"),
        Part(Tube(curve(right, 6.0), 7.6), wall, "airway"),
        Part(Tube(np.array([[4.0, 18.0, TOP], carina]), 9.4), wall, "airway"),
        Part(Tube(np.array([[-4.0, 9.0, TOP], [-3.0, 9.0, 40.0], [-3.0, 11.0, -40.0], [-12.0, 26.0, -150.0]]), 6.0),
             ((0.0, 38.0),), "oesophagus"),
    ]  # fmt: skip


def _lung_vessels(cavity: Column, rng: np.random.Generator) -> list[Part]:
    """A tree from each hilum: every branch goes on or forks, thinner and turned, until it leaves the lung."""
    parts = []
    for side in (-1, 1):
        stack = []
        for _ in range(11):
            out = np.array([side * abs(rng.normal(0.75, 0.35)), rng.normal(0.1, 0.7), rng.normal(-0.25, 0.75)])
            stack.append((np.array([side * 46.0, 20.0, 12.0]), out / np.linalg.norm(out), 4.4 * rng.uniform(0.7, 1.1)))
        for _ in range(170):
            if not stack:
                break
            start, way, radius = stack.pop(0)
            end = start + way * rng.uniform(12, 24) * (0.5 + radius / 6)
            a, b, _, cy = cavity.at_level(end[2])
            if (end[0] / (a - 8)) ** 2 + ((end[1] - cy) / (b - 8)) ** 2 > 1 or radius < 0.55 or end[2] < -120:
                continue
            parts.append(
                Part(Tube(np.stack([start, end]), np.array([radius, radius * 0.88])), ((0.0, 32.0),), "vessel")
            )
            for share in (0.84, 0.68):
                turn = way + rng.normal(0, 0.42, 3)
                stack.append((end, turn / np.linalg.norm(turn), radius * share))
    return parts


def _cage(shape: ThoraxShape, cavity: Column) -> tuple[list[Tube], list[Tube], list[Part]]:
    ribs, cartilages, parts = [], [], []
    cortex, marrow = 780.0 * shape.bone, 210.0 * shape.bone
    for n in range(12):
        head = 146.0 - 25.2 * n
        drop = (28.0, 48.0, 60.0, 68.0, 74.0, 78.0, 80.0, 80.0, 76.0, 66.0, 40.0, 20.0)[n]
        reach = (0.80, 0.82, 0.84, 0.84, 0.82, 0.80, 0.77, 0.73, 0.70, 0.66, 0.5, 0.36)[n]
        for side in (-1, 1):
            angle = np.linspace(0.14 * np.pi, reach * np.pi, 13)
            z = head - drop * (1 - np.cos(angle)) / 2 - 4
            x, y = cavity.rim(angle, z)
            _, _, _, cy = cavity.at_level(z)
            out = np.stack([x, y - cy], 1)
            out *= 1 + 5.5 / np.linalg.norm(out, axis=1, keepdims=True)
            line = np.stack([side * out[:, 0], out[:, 1] + cy, z], 1)
            line = np.concatenate([[[side * 18.0, -19.0, head]], line])
            tube = Tube(curve(line, 9.0), 3.9, (1.0, 1.0, 1.65))
            ribs.append(tube)
            parts.append(Part(tube, ((0.0, cortex), (1.1, marrow)), "rib"))
            if n < 10:
                level = (92.0, 66.0, 42.0, 18.0, -6.0, -24.0, -38.0, -62.0, -82.0, -100.0)[n]
                target = np.array([side * (19.0 + 9.0 * max(n - 6, 0)), front_at(cavity, level), level])
                bend = 0.5 * (line[-1] + target) + np.array([0, 7.0, -9.0])
                soft = Tube(curve(np.stack([line[-1], bend, target]), 6.0), 4.6, (1.0, 1.0, 1.4))
                cartilages.append(soft)
                parts.append(Part(soft, ((0.0, 92.0), (1.6, 80.0)), "cartilage"))
    return ribs, cartilages, parts


def _vertebrae(shape: ThoraxShape, rng: np.random.Generator) -> list[Part]:
    parts = []
    cortex, marrow = 430.0 * shape.bone, 165.0 * shape.bone
    column = Column(np.array([BOTTOM, TOP]), 15.5, 14.0, 0.0, -14.5, 0.35)
    parts.append(Part(column, ((0.0, 75.0),), "disc"))
    shell = ((0.0, cortex), (1.5, marrow))
    for n in range(-2, 15):
        z = 146.0 - 25.2 * n
        body = Column(np.array([z - 10.2, z + 10.2]), 16.8, 15.2, 0.0, -15.0, 0.42)
        parts.append(Part(body, shell, "vertebra"))
        if shape.age_years > 58 and rng.uniform() < 0.35:
            side = float(rng.choice([-1, 1]))
            spur = Ellipsoid(np.array([side * rng.uniform(6, 15), 0.5, z - 11.5]), np.array([5.0, 3.4, 4.0]))
            parts.append(Part(spur, ((0.0, 520.0 * shape.bone),), "vertebra"))
        for side in (-1, 1):
            neck = np.array([[side * 12.0, -25.0, z + 3], [side * 13.5, -38.0, z + 1], [side * 34.0, -47.0, z + 4]])
            lamina = np.array([[side * 13.0, -38.0, z], [0.0, -49.0, z - 7]])
            parts += [Part(Tube(p, r), shell, "vertebra") for p, r in ((neck, 4.4), (lamina, 3.6))]
        spine = np.array([[0.0, -48.0, z - 6], [0.0, -68.0, z - 22]])
        parts.append(Part(Tube(spine, 3.4, (1.0, 1.0, 1.5)), shell, "vertebra"))
    canal = Column(np.array([BOTTOM, TOP]), 9.0, 8.0, 0.0, -38.5, 0.0)
    parts.append(Part(canal, ((0.0, -20.0), (1.5, 28.0)), "canal"))
    return parts


def _sternum(shape: ThoraxShape, cavity: Column) -> list[Part]:
    layers = ((0.0, 460.0 * shape.bone), (1.2, 120.0 * shape.bone))

    def line(*heights: float) -> Array:
        return np.array([[0.0, front_at(cavity, z), z] for z in heights])

    body = Tube(line(50.0, 20.0, -15.0, -52.0), (4.8, 5.0, 5.2, 4.8), (3.1, 1.0, 1.0))
    manubrium = Tube(line(60.0, 80.0, 98.0), (5.6, 6.2, 6.4), (4.3, 1.0, 1.0))
    xiphoid = Tube(line(-58.0, -78.0), (3.4, 2.4), (2.0, 1.0, 1.0))
    out = [Part(b, layers, "sternum") for b in (body, manubrium, xiphoid)]
    y = front_at(cavity, 102.0)
    for side in (-1, 1):
        clavicle = np.array([[side * 22.0, y, 102.0], [side * 70.0, y - 6, 124.0], [side * 120.0, y - 56, 148.0]])
        out.append(Part(Tube(clavicle, 6.0), ((0.0, 800.0 * shape.bone), (1.8, 180.0)), "sternum"))
    return out
