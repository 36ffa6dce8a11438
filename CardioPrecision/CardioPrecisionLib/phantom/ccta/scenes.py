"""Ready scenes: single tubes for exact tests, and whole patients drawn from a seed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...image import Array
from ..ct.patients import ThoraxPatient, random_thorax
from ..ct.render import CTGeometry
from ..ct.second import second_thorax
from .contrast import Contrast, contrast_parts
from .lesion import Lesion
from .render import Scene
from .tree import build_tree
from .vessel import Vessel

_SHARES = {
    "calcified": (("calcified", 0.85), ("fibrous", 0.15)),
    "mixed": (("fibrous", 0.35), ("low_attenuation", 0.15), ("fibrofatty", 0.2), ("calcified", 0.3)),
    "soft": (("fibrous", 0.3), ("fibrofatty", 0.4), ("low_attenuation", 0.3)),
    "fibrous": (("fibrous", 0.7), ("fibrofatty", 0.3)),
}


def tube(
    *lesions: Lesion,
    length_mm: float = 40.0,
    diameter_mm: float | tuple[float, float] = 3.5,
    bend_mm: float | None = None,
    wall_mm: float = 0.6,
    center: tuple[float, float, float] = (0.0, 0.0, 0.0),
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
    **scene: Any,
) -> Scene:
    """One vessel in fat.

    Parameters
    ----------
    *lesions : Lesion
    length_mm : float
    diameter_mm : float or (float, float)
        Healthy lumen, or its diameters at the beginning and the end.
    bend_mm : float, optional
        Radius of the circle along which it runs; straight if not given.
    wall_mm : float
    center, axis
        RAS mm of the middle, and direction there.
    **scene
        Fields of `Scene`.
    """
    from ..ct.shapes import frame

    across, _, along = frame(axis)
    s = np.linspace(-length_mm / 2, length_mm / 2, int(length_mm / 0.5) + 1)[:, None]
    if bend_mm is None:
        points = np.asarray(center) + s * along
    else:
        a = s / bend_mm
        points = np.asarray(center) + bend_mm * (np.sin(a) * along + (1 - np.cos(a)) * across)
    d0, d1 = diameter_mm if isinstance(diameter_mm, tuple) else (diameter_mm, diameter_mm)
    vessel = Vessel.along("LAD", points, np.linspace(d0, d1, len(s)) / 2, wall_mm=wall_mm, lesions=lesions)
    return Scene((vessel,), **scene)


def random_ccta(
    seed: int,
    *,
    generator: Literal["first", "second"] = "first",
    lesions: Literal["random", "none"] = "random",
    dominance: str | None = None,
    contrast: Contrast | None = None,
    wide: bool = False,
    **scene: Any,
) -> Scene:
    """A patient; the same for the same arguments.

    Parameters
    ----------
    seed : int
    generator : str
        ``first`` for fitting; ``second`` has its own heart, chest and courses and is only for judging.
    lesions : str
        ``random`` or ``none``.
    dominance : str, optional
        ``right``, ``balanced`` or ``left``, drawn if not given (first generator).
    contrast : Contrast, optional
        Drawn if not given.
    wide : bool
        First generator: hearts and arteries beyond what is usual.
    **scene
        Fields of `Scene` instead of those drawn.
    """
    rng = np.random.default_rng([seed, 31 if generator == "first" else 32])
    patient: ThoraxPatient
    if generator == "first":
        patient = random_thorax(seed, calcium="none", dominance=dominance, wide=wide)
    else:
        patient = second_thorax(seed, calcium="none", lead=False, streaks=False)
    if contrast is None:
        aorta = float(rng.normal(430, 60)) if generator == "first" else float(rng.uniform(300, 560))
        aorta = float(np.clip(aorta, 280, 620))
        right = float(rng.uniform(110, 0.95 * aorta))
        contrast = Contrast(aorta, aorta * float(rng.uniform(0.92, 1.02)), right, right * float(rng.uniform(0.8, 1.5)),
                            float(rng.uniform(60, 140)), float(rng.uniform(80, 130)))  # fmt: skip
    parts, blood = contrast_parts(patient, contrast)
    vessels = build_tree(patient.courses, blood, wall_mm=float(rng.uniform(0.4, 0.8)))
    if lesions == "random":
        starts = {v.name: [w.parent_mm for w in vessels if w.parent == v.name] for v in vessels}
        vessels = tuple(v.with_lesions(*_draw(v, starts[v.name], rng)) for v in vessels)
    usual: dict[str, Any] = {
        "lumen_hu": contrast.aorta, "wall_hu": float(rng.uniform(40, 80)), "background": -1000.0,
        "fall_hu_per_cm": float(rng.uniform(0, 8)), "landmarks": patient.landmarks, "dominance": patient.dominance,
    }  # fmt: skip
    return Scene(vessels, parts, blood, **(usual | scene))


def _draw(vessel: Vessel, branches: list[float], rng: np.random.Generator) -> list[Lesion]:
    """A few plaques that keep clear of each other, of branches and of vessels too thin for them."""
    made: list[Lesion] = []
    for _ in range(int(rng.poisson(1.2 if vessel.name in ("LAD", "RCA", "LCX") else 0.4))):
        length = float(rng.uniform(6, 18))
        first = vessel.ostium_mm + 2.0 + length / 2
        last = min(vessel.length_mm - 4.0, float(vessel.s[vessel.radii > 0.75].max(initial=0.0))) - length / 2
        if last <= first:
            continue
        kind = str(rng.choice(list(_SHARES)))
        lesion = Lesion(
            float(rng.uniform(first, last)), length, float(rng.choice([rng.uniform(0, 49), rng.uniform(50, 90)])),
            float(rng.uniform(0, 1)), float(rng.uniform(0, 360)), float(rng.uniform(1.0, 1.3)), _SHARES[kind],
            "sectors" if kind == "mixed" else "layers", float(rng.uniform(0.1, 0.5)),
        )  # fmt: skip
        clear = all(lesion.end_mm + 1 < o.start_mm or o.end_mm + 1 < lesion.start_mm for o in made)
        if clear and all(not lesion.start_mm - 2 < b < lesion.end_mm + 2 for b in branches):
            made.append(lesion)
    return sorted(made, key=lambda n: n.at_mm)


def heart_view(
    scene: Scene,
    *,
    matrix: int = 512,
    n_slices: int | None = None,
    pixel_mm: float = 0.4,
    slice_mm: float = 0.5,
    rotation: Array | None = None,
    flips: tuple[bool, bool, bool] = (False, False, False),
) -> CTGeometry:
    """A field of view of the heart alone: the coronary tree in the middle, as many slices as it takes if not said."""
    points = np.concatenate([v.points for v in scene.vessels])
    low, high = points.min(0), points.max(0)
    center = (low + high) / 2
    count = n_slices or int(np.ceil((high[2] - low[2] + 24.0) / slice_mm))
    return CTGeometry((matrix, matrix), (pixel_mm, pixel_mm), count, slice_mm, slice_mm,
                      (float(center[0]), float(center[1]), float(center[2])),
                      np.eye(3) if rotation is None else np.asarray(rotation, float), flips)  # fmt: skip
