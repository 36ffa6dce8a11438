"""Synthetic chests with calcium of known place and volume: the patient, and the first of two generators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ...image import Array
from . import placing
from .calcium import Calcification
from .coronaries import Course, courses
from .heart import Heart, HeartShape, build_heart
from .render import CTGeometry, CTSample, Kernel, Part, render
from .shapes import Shape, at
from .thorax import ThoraxShape, build_thorax

#: Share of plaques by artery: anterior descending > right > circumflex > main stem, as in population studies.
PLAQUES_BY_VESSEL = {
    "LAD": 0.40, "D1": 0.035, "D2": 0.015, "RCA": 0.255, "PDA": 0.015, "PL": 0.01,
    "LCX": 0.145, "M1": 0.02, "M2": 0.01, "ramus": 0.015, "LM": 0.08,
}  # fmt: skip


#: Branches that a patient may lack.
_OPTIONAL = ("D1", "D2", "M1", "M2", "PL")


@dataclass(frozen=True, eq=False)
class ThoraxPatient:
    """A chest of solids.

    Attributes
    ----------
    seed : int
    parts : tuple of Part
        Tissues in painting order.
    calcifications : tuple of Calcification
    courses : tuple of Course
        Coronary arteries and branches.
    landmarks : dict of str to (3,) RAS mm
        ``heart_center``, ``apex``, ``aortic_root``, ``left_ostium``, ``right_ostium``, ``mitral_center``, ``carina``,
        ``heart_top``, ``heart_bottom``.
    pericardium : Shape
    sex, age_years, dominance
    artefact : callable or None
        Streaks and the like, put on every rendering.
    """

    seed: int
    parts: tuple[Part, ...]
    calcifications: tuple[Calcification, ...]
    courses: tuple[Course, ...]
    landmarks: dict[str, Array]
    pericardium: Shape
    sex: str
    age_years: float
    dominance: str
    artefact: Callable[[Array, CTGeometry], None] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def inside_pericardium(self, points: Array) -> Array:
        """Whether RAS points ``(n, 3)`` lie in the pericardial sac: bool ``(n,)``."""
        return at(self.pericardium, points) < 0

    def distance_to_pericardium(self, points: Array) -> Array:
        """Signed distance in mm ``(n,)``, negative inside (correct to first order)."""
        return at(self.pericardium, points)

    def course_distance(self, point: Array, site: str) -> float:
        """Distance in mm from a point to the nearest middle line of the arteries of a site."""
        lines = [c.points for c in self.courses if c.site == site]
        return min((float(np.linalg.norm(p - point, axis=1).min()) for p in lines), default=float("inf"))

    def geometry(
        self,
        view: Literal["chest", "cardiac"] = "chest",
        *,
        matrix: int = 256,
        thickness_mm: float = 3.0,
        increment_mm: float | None = None,
        field_mm: float | None = None,
        cut_top_mm: float = 0.0,
        cut_bottom_mm: float = 0.0,
        **more: Any,
    ) -> CTGeometry:
        """A scan of this patient.

        Parameters
        ----------
        view : str
            ``chest``: 380 mm, from 75 mm above the carina to 40 mm below the heart. ``cardiac``: 220 mm around the
            heart, from 10 mm below the carina to 12 mm below the heart.
        matrix, thickness_mm, increment_mm, field_mm
            `increment_mm` defaults to the thickness.
        cut_top_mm, cut_bottom_mm : float
            Left off on purpose at the ends.
        **more
            `rotation`, `flips`, `circle` of `CTGeometry`.
        """
        step = increment_mm or thickness_mm
        chest = view == "chest"
        carina, bottom = self.landmarks["carina"][2], self.landmarks["heart_bottom"][2]
        top = carina + (75.0 if chest else -10.0) - cut_top_mm
        low = bottom - (40.0 if chest else 12.0) + cut_bottom_mm
        heart = self.landmarks["heart_center"]
        middle = self.facts["body_center"] if chest else heart + np.array([-6.0, 4.0, 0.0])
        pixel = (field_mm or (380.0 if chest else 220.0)) / matrix
        center = (float(middle[0]), float(middle[1]), float((top + low) / 2))
        n = max(1, round(float((top - low) / step)))
        return CTGeometry((matrix, matrix), (pixel, pixel), n, thickness_mm, step, center, **more)

    def render(
        self, geometry: CTGeometry, *, noise_hu: float = 20.0, kernel: Kernel = "medium", seed: int = 0
    ) -> CTSample:
        """Scan the patient; see `render.render`."""
        sample = render(self.parts, self.calcifications, geometry, noise_hu=noise_hu, kernel=kernel,
                        seed=seed, artefact=self.artefact)  # fmt: skip
        sample.truth["landmarks"] = {k: tuple(float(x) for x in v) for k, v in self.landmarks.items()}
        return sample


def random_thorax(
    seed: int,
    *,
    calcium: Literal["random", "none", "coronary", "heavy"] = "random",
    sex: str | None = None,
    age_years: float | None = None,
    dominance: str | None = None,
    stent: bool | None = None,
    wide: bool = False,
) -> ThoraxPatient:
    """A patient of generator one; the same for the same arguments.

    Parameters
    ----------
    seed : int
    calcium : str
        ``random``: about a third without coronary calcium, some with none at all. ``none``: no calcium anywhere.
        ``coronary``: in the coronary arteries only, at least one plaque. ``heavy``: everywhere.
    sex, age_years, dominance, stent
        Fixed instead of drawn.
    wide : bool
        For training: hearts, arteries and tissue beyond what is usual, plaques evenly over all arteries.
    """
    rng = np.random.default_rng([seed, 1])
    # Draws of its own, so that the usual patients stay what they are.
    beyond = np.random.default_rng([seed, 11]) if wide else None
    sex = sex or str(rng.choice(["male", "female"], p=[0.55, 0.45]))
    age = float(age_years if age_years is not None else rng.uniform(40, 88))
    dominance = dominance or str(rng.choice(["right", "balanced", "left"], p=[0.84, 0.07, 0.09]))
    female = sex == "female"
    size = float(rng.normal(0.95 if female else 1.02, 0.05))
    obese = float(rng.beta(1.6, 2.2))
    heart_shape = HeartShape(
        size=float(np.clip(size * rng.normal(1.0, 0.04), 0.84, 1.14)),
        turn_deg=(float(rng.normal(0, 6)), float(rng.normal(0, 6)), float(rng.normal(0, 8))),
        lv=float(np.clip(rng.normal(1.0, 0.05), 0.9, 1.15)),
        rv=float(np.clip(rng.normal(1.0, 0.05), 0.9, 1.12)),
        atria=float(np.clip(rng.normal(1.0 + 0.002 * (age - 60), 0.08), 0.85, 1.35)),
        root=float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.2)),
        fat_mm=float(np.clip(rng.normal(2.0 + 5.0 * obese, 1.2), 1.5, 9.0)),
        groove_mm=float(rng.uniform(12, 24)),
        aorta_mm=float(np.clip(rng.normal(15.5 + 0.05 * (age - 60), 1.5), 12.5, 21)),
    )
    ostium = np.array([rng.normal(-15, 4), rng.normal(64, 4), rng.normal(0, 6)])
    if beyond is not None:
        heart_shape = _wider(heart_shape, beyond)
        ostium = ostium + beyond.normal(0, (4.0, 3.0, 4.0))
    heart = build_heart(heart_shape, ostium, arch_top=float(rng.normal(88, 6)), spine_y=0.0)
    front = float(heart.myocardium.box()[1][1]) + heart_shape.fat_mm
    chest = ThoraxShape(
        half_width=float(np.clip(rng.normal(132, 6) * size, 112, 150)),
        # The heart lies behind the sternum, with a little fat between.
        depth=front + float(rng.uniform(0, 12)),
        fat_side_mm=float(10 + 42 * obese),
        fat_front_mm=float(6 + 30 * obese),
        square=float(rng.uniform(0.45, 0.65)),
        bone=float(np.clip(rng.normal(1.0 - 0.004 * (age - 60), 0.12), 0.65, 1.35)),
        female=female,
        age_years=age,
        dome_mm=float(rng.normal(4, 7)),
        stomach=str(rng.choice(["soft", "gas", "contrast"], p=[0.5, 0.44, 0.06])),
        arms=bool(rng.uniform() < 0.06),
    )
    thorax = build_thorax(chest, heart.wrapped(), float(heart.myocardium.box()[0][2]), rng)
    lines = courses(
        heart.myocardium,
        to_world=heart.to_world,
        dominance=dominance,  # type: ignore[arg-type]
        ramus=bool(rng.uniform() < 0.25),
        calibre=float(rng.normal(0.94 if female else 1.0, 0.1)),
        wander_mm=3.0 if beyond is None else float(beyond.uniform(2.0, 7.0)),
        off_mm=1.2 if beyond is None else float(beyond.uniform(0.6, 2.6)),
        missing=() if beyond is None else tuple(n for n in _OPTIONAL if beyond.uniform() < 0.2),
        rng=rng,
    )
    bag = _calcium(rng, calcium, age, female, heart, lines, thorax.cartilages, stent, wide)
    low, _ = heart.myocardium.box()
    landmarks = heart.landmarks | {
        "carina": np.array([3.0, 20.0, 48.0]),
        "heart_top": np.array([*heart.landmarks["heart_center"][:2], heart.landmarks["aortic_root"][2] + 22.0]),
        "heart_bottom": np.array([*heart.landmarks["heart_center"][:2], low[2] + 2.0]),
    }
    body = next(p for p in thorax.before if p.kind == "body").shape.box()
    facts = {"body_center": (body[0] + body[1]) / 2, "heart_shape": heart_shape, "thorax_shape": chest}
    tissue = heart.parts(lines) if beyond is None else _other_contrast(heart.parts(lines), beyond)
    parts = (*thorax.before, *tissue, *thorax.after)
    return ThoraxPatient(seed, parts, tuple(bag), lines, landmarks, heart.pericardium, sex, round(age), dominance,
                         None, facts)  # fmt: skip


def _wider(shape: HeartShape, rng: np.random.Generator) -> HeartShape:
    """The same heart turned further, with chambers long or round, in more or less fat."""
    turn = np.array(shape.turn_deg) + rng.normal(0, (8.0, 9.0, 9.0))
    return replace(
        shape,
        turn_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
        size=float(shape.size * rng.uniform(0.93, 1.09)),
        build=tuple((float(a), float(b), float(c)) for a, b, c in rng.uniform(0.86, 1.18, (6, 3))),
        fat_mm=float(rng.uniform(1.5, 11.0)),
        groove_mm=float(rng.uniform(8, 28)),
        aorta_mm=float(rng.uniform(12.5, 27.0)),
    )


def _other_contrast(parts: list[Part], rng: np.random.Generator) -> list[Part]:
    """Blood, muscle and fat of the heart at other HU: anaemia, dose, calibration."""
    fat, soft, inner = rng.uniform(-12, 18), rng.uniform(-10, 12), rng.uniform(-8, 4)
    return [
        replace(p, layers=tuple(
            (d, hu + (fat if hu < 0 else soft + (inner if n else 0.0))) for n, (d, hu) in enumerate(p.layers)
        ))
        for p in parts
    ]  # fmt: skip


def _calcium(
    rng: np.random.Generator, how: str, age: float, female: bool, heart: Heart, lines: tuple[Course, ...],
    cartilages: list[Any], stent: bool | None, even: bool = False,
) -> list[Calcification]:  # fmt: skip
    bag: list[Calcification] = []
    if how == "none":
        return bag
    old = float(np.clip((age - 40) / 45, 0, 1))
    heavy = how == "heavy"
    has = how in ("coronary", "heavy") or rng.uniform() < 0.42 + 0.6 * old - 0.12 * female
    if has:
        count = int(np.clip(rng.geometric(0.22 if not heavy else 0.06) + (8 if heavy else 0), 1, 40))
        weights = {n: w**0.5 for n, w in PLAQUES_BY_VESSEL.items()} if even else PLAQUES_BY_VESSEL
        for c in placing.scatter(lines, rng, count, weights, even):
            placing.add(bag, c)
    if how == "coronary" or (not has and rng.uniform() < 0.2):
        return bag
    if stent or (stent is None and rng.uniform() < 0.05 + 0.06 * old):
        course = lines[int(rng.choice([n for n, c in enumerate(lines) if c.name in ("LAD", "RCA", "LCX")]))]
        for c in placing.stent(course, rng):
            placing.add(bag, c)
    marks = heart.landmarks
    if heavy or rng.uniform() < 0.25 + 0.65 * old:
        names = ("ascending", "arch", "descending")
        for _ in range(int(rng.integers(1, 5 + int(14 * old)))):
            name = str(rng.choice(names, p=[0.2, 0.4, 0.4]))
            placing.add(bag, placing.wall_plaque(heart.vessels[name], rng))
    if heavy or rng.uniform() < 0.06 + 0.36 * old:
        radius = 12.0 * heart.shape.size * heart.shape.root
        for c in placing.leaflets(marks["aortic_root"], heart.root_axis, radius, rng, int(rng.integers(1, 13))):
            placing.add(bag, c)
    if heavy or rng.uniform() < 0.03 + (0.28 if female else 0.18) * old:
        # The posterior part of the ring calcifies.
        toward = marks["mitral_center"] - marks["aortic_root"]
        ring = 18.0 * heart.shape.size
        arcs = placing.ring_arcs(marks["mitral_center"], heart.mitral_axis, ring, rng, "mitral_valve", (1.2, 3.4),
                                 toward, int(rng.integers(1, 5)), 0.8, (0.08, 0.7))  # fmt: skip
        for c in arcs:
            placing.add(bag, c)
    if rng.uniform() < 0.22:
        hila = [np.array([s * 44.0, 18.0, z]) for s in (-1, 1) for z in (28.0, 8.0)]
        for c in placing.nodes(
            rng, [*hila, np.array([4.0, 12.0, 30.0]), np.array([12.0, 28.0, 60.0])], int(rng.integers(1, 4))
        ):
            placing.add(bag, c)
    if rng.uniform() < 0.04:
        for _ in range(int(rng.integers(1, 5))):
            placing.add(bag, placing.pericardial(heart.pericardium, marks["heart_center"], rng))
    if rng.uniform() < 0.25 + 0.6 * old:
        for _ in range(int(rng.integers(2, 6 + int(16 * old)))):
            placing.add(bag, placing.cartilage(cartilages[int(rng.integers(len(cartilages)))], rng))
    return bag
