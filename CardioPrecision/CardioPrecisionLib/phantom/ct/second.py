"""Generator two: judges what was fitted on generator one, and is never fitted on.

Its own heart (`second_heart`), chest (`second_thorax`), artery courses, plaque shapes and frequencies. It also makes
what generator one leaves out: ectatic aorta, funnel chest, scoliosis, emphysema, absent branches, pacemaker leads,
bypass clips, lung granulomas, and streaks from metal and heavy calcium.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Literal

import numpy as np

from ...image import Array
from . import placing
from .calcium import Calcification
from .coronaries import Course, resampled
from .patients import ThoraxPatient
from .render import CTGeometry
from .second_heart import SecondHeart, SecondHeartShape, build_second_heart, second_courses
from .second_thorax import SecondThoraxShape, build_second_thorax, spine_x
from .shapes import ArcPlate, BentCapsule, Ellipsoid, Tube, at, frame

Rng = np.random.Generator


def second_thorax(
    seed: int,
    *,
    calcium: Literal["random", "none", "coronary", "heavy"] = "random",
    lead: bool | None = None,
    streaks: bool | None = None,
) -> ThoraxPatient:
    """A patient of generator two; the same for the same arguments.

    Parameters
    ----------
    seed : int
    calcium : str
        ``random``, ``none`` (nothing bright but bone), ``coronary`` (arteries only, at least one) or ``heavy``.
    lead, streaks : bool, optional
        Pacemaker lead, streaks from metal; drawn if not given.
    """
    rng = np.random.default_rng([seed, 2])
    age = float(rng.triangular(42, 70, 92))
    female = bool(rng.uniform() < 0.5)
    scale = float(rng.uniform(0.88, 1.06) * (0.96 if female else 1.02))
    ectatic = bool(rng.uniform() < 0.15)
    heart_shape = SecondHeartShape(
        azimuth=float(rng.uniform(32, 58)),
        elevation=float(rng.uniform(-46, -20)),
        roll=float(rng.uniform(-12, 12)),
        length=104.0 * scale * float(rng.uniform(0.93, 1.1)),
        left=38.0 * scale * float(rng.uniform(0.92, 1.18)),
        right=58.0 * scale * float(rng.uniform(0.9, 1.1)),
        height=42.0 * scale * float(rng.uniform(0.93, 1.1)),
        taper=float(rng.uniform(0.08, 0.24)),
        atrium=22.0 * scale * float(rng.uniform(0.9, 1.25)),
        root=float(rng.uniform(15.0, 19.0)) * (1.2 if ectatic else 1.0),
        aorta=float(rng.uniform(22, 28) if ectatic else rng.uniform(14, 19)),
        fat=float(rng.uniform(3.5, 11)),
    )
    pectus = float(rng.uniform(10, 32)) if rng.uniform() < 0.12 else 0.0
    base = np.array([rng.uniform(-26, -8), rng.uniform(58, 70), rng.uniform(-40, -18)])
    arch_top = float(rng.uniform(74, 100))
    scoliosis = float(rng.uniform(-20, 20)) if rng.uniform() < 0.2 else 0.0
    heart = build_second_heart(heart_shape, base, arch_top, 0.5 * scoliosis)
    front = float(heart.myocardium.box()[1][1])
    low = float(heart.myocardium.box()[0][2])
    chest = SecondThoraxShape(
        width=float(rng.uniform(116, 146)),
        front=front + float(rng.uniform(1, 18)) + 0.3 * pectus,
        pectus=min(pectus, 26.0),
        scoliosis=scoliosis,
        rib_tilt=float(rng.uniform(18, 34)),
        fat=float(rng.uniform(6, 44)),
        muscle=float(rng.uniform(10, 22)),
        bone=float(rng.uniform(0.6, 1.35)),
        emphysema=float(rng.uniform(0, 70)),
        liver_top=low + float(rng.uniform(14, 42)),
    )
    carina = np.array([rng.uniform(-2, 7), 20.0, arch_top - rng.uniform(34, 46)])
    before, after, cartilages = build_second_thorax(chest, heart.wrapped(), carina, rng)
    dominance = str(rng.choice(["right", "left"], p=[0.88, 0.12]))
    optional = ("D1", "D2", "M1", "M2", "PL")
    missing = tuple(n for n in optional if rng.uniform() < 0.25)
    lines = second_courses(heart, rng, dominance, float(rng.uniform(0.8, 1.25)), missing)
    has_lead = bool(rng.uniform() < 0.07) if lead is None else lead
    bag = _calcium(rng, calcium, age, heart, lines, cartilages, has_lead and calcium != "none", carina)
    metal = [c for c in bag if c.site in ("lead", "stent", "clip")]
    show = bool(rng.uniform() < 0.8) if streaks is None else streaks
    artefact = _streaks(metal, float(rng.uniform(60, 220)), seed) if metal and show else None
    c = heart.landmarks["heart_center"]
    landmarks = heart.landmarks | {
        "carina": carina,
        "heart_top": np.array([c[0], c[1], heart.landmarks["aortic_root"][2] + 22.0]),
        "heart_bottom": np.array([c[0], c[1], low + 2.0]),
    }
    body = next(p for p in before if p.kind == "body").shape.box()
    facts = {"body_center": (body[0] + body[1]) / 2, "heart_shape": heart_shape, "thorax_shape": chest,
             "ectatic": ectatic, "missing": missing, "spine_x": spine_x(chest, 0.0)}  # fmt: skip
    parts = (*before, *heart.parts(lines, float(rng.uniform(2, 12))), *after)
    return ThoraxPatient(seed, parts, tuple(bag), lines, landmarks, heart.pericardium, "female" if female else "male",
                         round(age), dominance, artefact, facts)  # fmt: skip


def _plaque(course: Course, rng: Rng) -> Calcification:
    """A lump, a bar that follows the artery, or a thin crescent; uniform rather than log-normal in size and HU."""
    n = len(course.points)
    k = int(np.clip(n * rng.uniform(0.02, 0.9) ** 1.6, 1, n - 2))
    lumen, along = float(course.radii[k]), course.tangent(k)
    u, v, w = frame(along, rng.normal(size=3))
    hu = float(rng.uniform(200, 1150))
    draw = rng.uniform()
    if draw < 0.5:
        size = float(rng.uniform(0.5, 2.4))
        radii = size * rng.uniform(0.6, 1.3, 3)
        shape: Ellipsoid | BentCapsule | ArcPlate = Ellipsoid(
            course.points[k] + u * (lumen + 0.3 * size), radii, np.stack([u, v, w])
        )
    elif draw < 0.8:
        wall = course.points + u * lumen
        shape = placing.rod_along(wall, k, float(rng.uniform(3, 14)), float(rng.uniform(0.5, 1.4)))
    else:
        shape = ArcPlate(course.points[k], np.stack([u, v, w]), lumen + 0.4, float(rng.uniform(0.5, 1.0)),
                         float(rng.uniform(2, 6)), float(rng.uniform(0.3, 0.9) * pi))  # fmt: skip
    return Calcification(course.site, shape, hu)


def _calcium(
    rng: Rng, how: str, age: float, heart: SecondHeart, lines: tuple[Course, ...], cartilages: list[Tube],
    lead: bool, carina: Array,
) -> list[Calcification]:  # fmt: skip
    bag: list[Calcification] = []
    if how == "none":
        return bag
    by_name = {c.name: c for c in lines}
    if how in ("coronary", "heavy") or rng.uniform() < 0.68:
        count = int(rng.integers(1, 26 if how != "heavy" else 40))
        affected = [
            c for c in lines if rng.uniform() < {"LAD": 0.85, "RCA": 0.6, "LCX": 0.5, "LM": 0.3}.get(c.name, 0.2)
        ]
        affected = affected or [by_name["LAD"]]
        weights = np.array([max(c.length_mm, 25.0) for c in affected])
        for _ in range(count):
            placing.add(bag, _plaque(affected[int(rng.choice(len(affected), p=weights / weights.sum()))], rng))
    if how == "coronary":
        return bag
    if rng.uniform() < 0.10:
        for c in placing.stent(by_name[str(rng.choice(["LAD", "RCA", "LCX"]))], rng):
            placing.add(bag, c)
    share = float(np.clip((age - 42) / 50, 0.1, 1)) if how != "heavy" else 1.0
    if rng.uniform() < 0.3 + 0.6 * share:
        for _ in range(int(rng.integers(1, 16))):
            name = str(rng.choice(["aorta", "descending"], p=[0.7, 0.3]))
            tube = heart.vessels[name]
            placing.add(bag, placing.wall_plaque(_dense(tube), rng))
    if rng.uniform() < 0.10 + 0.4 * share:
        _valve(bag, rng, heart)
    if rng.uniform() < 0.05 + 0.3 * share:
        _annulus(bag, rng, heart)
    if rng.uniform() < 0.25:
        stations = [carina + np.array(v) for v in ((0, -6, -14.0), (42, -4, -30.0), (-46, -4, -34.0), (10, 10, 18.0))]
        for c in placing.nodes(rng, stations, int(rng.integers(1, 6))):
            placing.add(bag, c)
    if rng.uniform() < 0.15:
        side = float(rng.choice([-1, 1]))
        spot = np.array([side * rng.uniform(70, 100), rng.uniform(0, 90), rng.uniform(-40, 50)])
        placing.add(bag, Calcification("lung", Ellipsoid(spot, rng.uniform(1.2, 4.0, 3)), float(rng.uniform(300, 900))))
    if rng.uniform() < 0.06:
        for _ in range(int(rng.integers(1, 4))):
            placing.add(bag, placing.pericardial(heart.pericardium, heart.landmarks["heart_center"], rng))
    for _ in range(int(rng.integers(0, 14)) if rng.uniform() < 0.6 else 0):
        placing.add(bag, placing.cartilage(_dense(cartilages[int(rng.integers(len(cartilages)))]), rng))
    if rng.uniform() < 0.04:
        for _ in range(int(rng.integers(3, 9))):
            way = np.array([rng.uniform(-55, 20), rng.uniform(25, 60), rng.uniform(-40, 60)])
            spot = heart.landmarks["heart_center"] + way
            if at(heart.myocardium, spot)[0] > 1.0:
                clip = Ellipsoid(spot, (0.6, 0.6, 2.2), frame(rng.normal(size=3)))
                placing.add(bag, Calcification("clip", clip, 2500.0))
    if lead:
        svc = heart.vessels["svc"].points
        tip = heart.point(0.8 * heart.shape.length, -95, 20.0)
        route = np.stack([svc[-1], svc[0], heart.point(5.0, -115, 32.0), heart.point(35.0, -120, 30.0), tip])
        bag += placing.rod_chain(route, float(rng.uniform(0.9, 1.3)), 3000.0, "lead")
    return bag


def _dense(tube: Tube) -> Tube:
    """The same tube with points every few mm, so that plaques may lie anywhere along it."""
    line = resampled(np.column_stack([tube.points, tube.radii]), 5.0)
    return Tube(line[:, :3], line[:, 3])


def _valve(bag: list[Calcification], rng: Rng, heart: SecondHeart) -> None:
    """Lumps along the three lines where the leaflets meet."""
    u, v, w = frame(heart.root_axis, heart.landmarks["left_ostium"] - heart.landmarks["aortic_root"])
    for _ in range(int(rng.integers(1, 16))):
        t = 2 * pi * (rng.integers(3) + 0.5) / 3 + rng.normal(0, 0.2)
        out = np.cos(t) * u + np.sin(t) * v
        spot = heart.landmarks["aortic_root"] + out * heart.shape.root * rng.uniform(0.0, 0.75) - w * rng.uniform(1, 8)
        body = Ellipsoid(spot, rng.uniform(0.6, 2.6, 3), frame(rng.normal(size=3)))
        placing.add(bag, Calcification("aortic_valve", body, float(rng.uniform(220, 1200))))


def _annulus(bag: list[Calcification], rng: Rng, heart: SecondHeart) -> None:
    """A chain of lumps, or one bent bar, on the outer half of the mitral ring."""
    center, w = heart.landmarks["mitral_center"], heart.axes[2]
    u, v, _ = frame(w, center - heart.landmarks["aortic_root"])
    ring = float(rng.uniform(15, 21))
    start, end = np.sort(rng.uniform(-1.7, 1.7, 2))
    if rng.uniform() < 0.5 and end - start > 0.2:
        middle = (start + end) / 2
        axes = np.stack([np.cos(middle) * u + np.sin(middle) * v, np.cos(middle) * v - np.sin(middle) * u, w])
        bar = BentCapsule(center, axes, ring, (end - start) / 2, float(rng.uniform(1.5, 4.0)))
        placing.add(bag, Calcification("mitral_valve", bar, float(rng.uniform(350, 1200))))
        return
    for t in np.arange(start, end + 0.2, 0.28):
        spot = center + ring * (np.cos(t) * u + np.sin(t) * v) + rng.normal(0, 0.8, 3)
        body = Ellipsoid(spot, rng.uniform(0.8, 2.8, 3), frame(rng.normal(size=3)))
        placing.add(bag, Calcification("mitral_valve", body, float(rng.uniform(250, 1100))))


def _streaks(metal: list[Calcification], strength_hu: float, seed: int) -> Callable[[Array, CTGeometry], None]:
    """Bright and dark rays in the slices that metal lies in."""
    sources = [(c.center, c.volume_mm3) for c in metal][:12]

    def apply(hu: Array, geometry: CTGeometry) -> None:
        rng = np.random.default_rng([seed, 5])
        inverse = np.linalg.inv(geometry.affine)
        i = np.arange(geometry.matrix[0], dtype=np.float32)[:, None]
        j = np.arange(geometry.matrix[1], dtype=np.float32)[None, :]
        for center, volume in sources:
            at_index = inverse[:3, :3] @ center + inverse[:3, 3]
            lobes, phase = int(rng.integers(2, 6)), rng.uniform(0, 2 * pi)
            dx, dy = (i - at_index[0]) * geometry.pixel_mm[0], (j - at_index[1]) * geometry.pixel_mm[1]
            r = np.hypot(dx, dy)
            ray = np.cos(2 * lobes * np.arctan2(dy, dx) + phase) ** 5
            plane = np.float32(strength_hu * min(1.0, volume / 25.0)) * ray * np.exp(-r / 28.0) * (r > 1.5)
            reach = 0.5 * (geometry.thickness_mm + 3.0) / geometry.increment_mm
            first, last = int(np.ceil(at_index[2] - reach)), int(np.floor(at_index[2] + reach))
            for k in range(max(first, 0), min(last, geometry.n_slices - 1) + 1):
                hu[:, :, k] += plane

    return apply
