"""The chest of generator two: two separate lungs, tilted planar ribs, and the deformities that generator one lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...image import Array
from .render import Part
from .shapes import Column, Cut, Ellipsoid, HalfSpace, Shape, SmoothUnion, Tube


@dataclass(frozen=True)
class SecondThoraxShape:
    """One chest of generator two; mm, degrees."""

    width: float = 128.0
    front: float = 158.0
    back: float = -46.0
    pectus: float = 0.0
    scoliosis: float = 0.0
    rib_tilt: float = 28.0
    fat: float = 18.0
    muscle: float = 16.0
    bone: float = 1.0
    emphysema: float = 0.0
    liver_top: float = -70.0


def spine_x(shape: SecondThoraxShape, z: float) -> float:
    """Sideways shift of the spine at a height."""
    return float(shape.scoliosis * np.sin((z + 40.0) / 110.0))


def build_second_thorax(
    shape: SecondThoraxShape, wrapped: list[Shape], carina: Array, rng: np.random.Generator
) -> tuple[list[Part], list[Part], list[Tube]]:
    """Parts before the heart, parts after it, costal cartilages."""
    middle, depth = (shape.front + shape.back) / 2, (shape.front - shape.back) / 2
    z = np.array([-260.0, -120.0, -30.0, 50.0, 110.0, 150.0, 185.0])
    grow = np.array([1.08, 1.05, 1.0, 0.93, 0.80, 0.62, 0.45])
    lean = np.array([6.0, 5.0, 0.0, -6.0, -16.0, -24.0, -28.0])
    hull = Column(z, shape.width * grow, depth * (0.35 + 0.65 * grow), 0.0, middle + lean, 0.3)
    wall = Column(z, hull.a + shape.muscle, hull.b + 0.8 * shape.muscle, 0.0, middle + lean, 0.35)
    skin = Column(z, np.maximum(wall.a, 0.8 * shape.width) + shape.fat, wall.b + 0.5 * shape.fat + 10, 0.0,
                  middle + lean - 8, 0.4)  # fmt: skip
    before = [
        Part(_couch(middle - depth - shape.muscle - shape.fat / 2 - 34), ((0.0, -120.0),), "table"),
        Part(skin, ((0.0, 30.0), (1.8, -95.0)), "body", smooth_mm=1.6),
        Part(wall, ((0.0, 58.0),), "muscle", smooth_mm=1.6),
        Part(hull, ((0.0, 58.0), (1.0, -92.0)), "mediastinum", smooth_mm=1.6),
    ]
    dent = Ellipsoid(np.array([0.0, shape.front + 26.0 - shape.pectus, -15.0]), np.array([48.0, 34.0, 90.0]))
    heart_room = SmoothUnion(wrapped, 10.0, float(rng.uniform(1.0, 4.0)))
    domes = (
        Ellipsoid(np.array([66.0, middle - 8, shape.liver_top - 95]), np.array([84.0, 104.0, 95.0])),
        Ellipsoid(np.array([-66.0, middle - 14, shape.liver_top - 110]), np.array([82.0, 104.0, 95.0])),
        Ellipsoid(np.array([-14.0, middle + 26, shape.liver_top - 90]), np.array([88.0, 84.0, 78.0])),
    )
    air = -845.0 - shape.emphysema
    for side in (-1, 1):
        # The left lung leaves room for the heart; both meet the midline in front only in some.
        inner = float(rng.uniform(0.06, 0.20)) * shape.width
        center = side * (shape.width * grow + inner) / 2
        lung = Column(z, (shape.width * grow - inner) / 2, (hull.b - 2.0), center, middle + lean, 0.72)
        body = Cut(Cut(lung, within=hull, without=(dent, *domes)), without=(heart_room,))
        before.append(Part(body, ((1.2, air),), "lung", smooth_mm=2.4))
    before += [Part(Cut(d, within=hull), ((0.0, 45.0), (2.5, v)), "abdomen", smooth_mm=1.6)
               for d, v in zip(domes, (60.0, float(rng.choice([20.0, 45.0, -60.0])), 58.0), strict=True)]  # fmt: skip
    before += _airways(carina) + _vessels(hull, rng, carina)
    line = np.array([[spine_x(shape, h), -16.0, h] for h in np.linspace(-260, 185, 30)])
    core = Tube(line + np.array([0, -14.0, 0]), 27.0, (1.0, 1.25, 1.0))
    before += [Part(core, ((0.0, 52.0),), "muscle"),
               *(Part(Tube(line + np.array([s * 25.0, -42.0, 0]), 19.0), ((0.0, 55.0),), "muscle")
                 for s in (-1, 1))]  # fmt: skip
    cage, cartilages = _cage(shape, hull)
    return before, cage + _spine(shape) + _sternum(shape, hull), cartilages


def _couch(y: float) -> Shape:
    flat = HalfSpace(np.array([0, y, 0]), np.array([0, 1.0, 0]))
    under = HalfSpace(np.array([0, y - 9.0, 0]), np.array([0, 1.0, 0]))
    return Cut(Column(np.array([-600.0, 600.0]), 215.0, 500.0, 0.0, y, 0.0), within=flat, without=(under,))


def _airways(carina: Array) -> list[Part]:
    wall = ((0.0, 20.0), (1.6, -1000.0))
    top = carina + np.array([1.0, -2.0, 150.0])
    legs = [carina + np.array(v) for v in ((40.0, -8.0, -32.0), (-48.0, -10.0, -34.0))]
    gullet = np.array([[-2.0, 8.0, 185.0], [-4.0, 9.0, 20.0], [-10.0, 18.0, -140.0]])
    return [*(Part(Tube(np.stack([carina, leg]), 7.0), wall, "airway") for leg in legs),
            Part(Tube(np.stack([top, carina]), 8.8, (1.0, 0.9, 1.0)), wall, "airway"),
            Part(Tube(gullet, 6.5, (1.4, 0.8, 1.0)), ((0.0, 42.0), (4.2, -500.0)), "oesophagus")]  # fmt: skip


def _vessels(hull: Column, rng: np.random.Generator, carina: Array) -> list[Part]:
    """Straight spokes from the hila with side twigs."""
    parts = []
    for side in (-1, 1):
        hilum = carina + np.array([side * 46.0, -4.0, -34.0])
        for _ in range(16):
            way = np.array([side * rng.uniform(0.1, 1.0), rng.uniform(-0.8, 1.0), rng.uniform(-1.0, 1.0)])
            way /= np.linalg.norm(way)
            far = hilum + way * rng.uniform(45, 80)
            r = float(rng.uniform(1.6, 3.6))
            parts.append(Part(Cut(Tube(np.stack([hilum, far]), (r, 0.8)), within=hull), ((0.0, 30.0),), "vessel"))
            for share in (0.35, 0.6, 0.8):
                start = hilum + share * (far - hilum)
                end = start + (way + rng.normal(0, 0.6, 3)) * rng.uniform(12, 28)
                twig = Tube(np.stack([start, end]), (r * (1 - 0.6 * share), 0.6))
                parts.append(Part(Cut(twig, within=hull), ((0.0, 30.0),), "vessel"))
    return parts


def _cage(shape: SecondThoraxShape, hull: Column) -> tuple[list[Part], list[Tube]]:
    """Every rib is half an ellipse in a plane that falls forwards by the rib tilt."""
    parts, cartilages = [], []
    fall = np.tan(np.radians(shape.rib_tilt))
    for n in range(11):
        level = 150.0 - 27.0 * n
        share = (0.7, 0.72, 0.74, 0.76, 0.75, 0.74, 0.72, 0.68, 0.62, 0.52, 0.4)[n]
        for side in (-1, 1):
            t = np.linspace(0.12, share, 15) * np.pi
            z = level - fall * 0.5 * (1 - np.cos(t)) * (shape.front - shape.back) * 0.85
            x, y = hull.rim(t, z)
            _, _, cx, cy = hull.at_level(z)
            grow = 1 + 4.5 / np.hypot(x - cx, y - cy)
            line = np.stack([side * (cx + (x - cx) * grow), cy + (y - cy) * grow, z], 1)
            line = np.concatenate([[[spine_x(shape, level) + side * 20.0, -22.0, level]], line])
            rib = Tube(line, 3.4, (1.0, 1.0, 1.9))
            parts.append(Part(rib, ((0.0, 650.0 * shape.bone), (1.3, 260.0 * shape.bone)), "rib"))
            if n < 9:
                end = np.array([side * 20.0, _front(shape, hull, level - 58.0 + 6 * n), level - 58.0 + 6 * n])
                soft = Tube(np.stack([line[-1], 0.5 * (line[-1] + end) + np.array([0, 5.0, -5.0]), end]), 5.0)
                cartilages.append(soft)
                parts.append(Part(soft, ((0.0, 75.0), (2.0, 100.0)), "cartilage"))
    return parts, cartilages


def _front(shape: SecondThoraxShape, hull: Column, z: float) -> float:
    _, b, _, cy = hull.at_level(z)
    sunk = shape.pectus * np.exp(-(((z + 25.0) / 55.0) ** 2))
    return float(cy + b + 5.0 - sunk)


def _sternum(shape: SecondThoraxShape, hull: Column) -> list[Part]:
    heights = np.linspace(100.0, -70.0, 9)
    line = np.array([[0.0, _front(shape, hull, z), z] for z in heights])
    plate = Tube(line, np.interp(heights, [-70, 40, 100], [4.0, 5.0, 6.0]), (3.4, 1.0, 1.0))
    return [Part(plate, ((0.0, 380.0 * shape.bone), (1.4, 90.0 * shape.bone)), "sternum")]


def _spine(shape: SecondThoraxShape) -> list[Part]:
    parts = []
    shell = ((0.0, 500.0 * shape.bone), (1.8, 140.0 * shape.bone))
    for n in range(-1, 15):
        z = 150.0 - 27.0 * n
        x = spine_x(shape, z)
        body = Tube(np.array([[x, -15.0, z - 6], [x, -15.0, z + 6]]), 15.5, (1.1, 0.95, 0.45))
        parts.append(Part(body, shell, "vertebra"))
        for side in (-1, 1):
            arch = np.array([[x + side * 11, -26.0, z], [x + side * 15, -40.0, z], [x + side * 36, -50.0, z + 5]])
            parts.append(Part(Tube(arch, 4.8), shell, "vertebra"))
        back = np.array([[x - 13.0, -42.0, z - 2], [x, -52.0, z - 8], [x + 13.0, -42.0, z - 2]])
        tip = np.array([[x, -52.0, z - 8], [x, -74.0, z - 26]])
        parts += [Part(Tube(p, 3.6), shell, "vertebra") for p in (back, tip)]
        canal = np.array([[x, -39.0, z - 13.5], [spine_x(shape, z + 27), -39.0, z + 13.5]])
        parts.append(Part(Tube(canal, 8.5), ((0.0, 20.0),), "canal"))
    return parts
