"""Lesions of an artery: stretches with plaque or a narrowing, and what is told of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import stretches
from scipy import ndimage

from .high_risk import low_attenuation, positive_remodelling, spotty_calcification
from .plaque import PlaqueCells, calcified_extents, plaque_cells, volumes
from .plaque_composition import Composition
from .sections import WALL_HU

if TYPE_CHECKING:
    from .course import VesselCourse

#: Cells are averaged over this (mm, sigma) before a dark core is looked for; the core is at least this large.
_CORE_MM, _CORE_MM3 = 0.4, 1.0


@dataclass(frozen=True)
class LesionParameters:
    """What counts as a lesion.

    Attributes
    ----------
    plaque_mm2 : float
        Plaque in a cross-section, beyond the normal wall, from which on a stretch is ill.
    edge_mm2 : float
        A lesion reaches as far as there is this much.
    stenosis_pct : float
        Diameter stenosis from which on a stretch is ill whatever its wall.
    least_length_mm : float
        Shorter ones are noise.
    join_mm : float
        Lesions closer than this are one.
    """

    plaque_mm2: float = 1.5
    edge_mm2: float = 0.5
    stenosis_pct: float = 20.0
    least_length_mm: float = 2.0
    join_mm: float = 1.5


@dataclass(frozen=True)
class Lesion:
    """A stretch of an artery with plaque or a narrowing.

    Attributes
    ----------
    start_mm, end_mm, at_mm : float
        Distance from the ostium: its ends, and where the lumen is narrowest against its reference.
    diameter_stenosis, area_stenosis : float
        %, at `at_mm`.
    minimal_lumen_area : float
        mm2.
    minimal_lumen_diameter, reference_diameter : float
        mm; the reference is that at `at_mm`.
    remodeling_index : float or None
        Largest outer diameter over that without disease at the same place; None where the wall is not assessable.
    volumes : Composition or None
        Plaque by class; None where plaque is not assessable.
    lumen_mm3 : float
        Lumen volume from start to end.
    positive_remodelling, low_attenuation, spotty_calcium, napkin_ring : bool or None
        High-risk features; None where not assessable.
    """

    start_mm: float
    end_mm: float
    at_mm: float
    diameter_stenosis: float
    area_stenosis: float
    minimal_lumen_area: float
    minimal_lumen_diameter: float
    reference_diameter: float
    remodeling_index: float | None
    volumes: Composition | None
    lumen_mm3: float
    positive_remodelling: bool | None = None
    low_attenuation: bool | None = None
    spotty_calcium: bool | None = None
    napkin_ring: bool | None = None

    @property
    def length_mm(self) -> float:
        return self.end_mm - self.start_mm


def find_lesions(image: Image, course: VesselCourse, p: LesionParameters) -> tuple[Lesion, ...]:
    """All lesions of a course in their order from the ostium; only sections that are usable count."""
    plaque = plaque_area(course)
    step = float(course.distance[1] - course.distance[0])
    narrow = np.nan_to_num(course.diameter_stenosis)
    smooth = ndimage.gaussian_filter1d(plaque, 0.75 / step, mode="nearest")
    sure = ((smooth >= p.plaque_mm2) | (narrow >= p.stenosis_pct)) & course.usable
    reach = ((smooth >= p.edge_mm2) | (narrow >= 0.5 * p.stenosis_pct)) & course.usable
    runs = [(a, b) for a, b in stretches(_joined(reach, round(p.join_mm / step)) & course.usable)
            if _longest(sure[a : b + 1]) * step >= p.least_length_mm]  # fmt: skip
    return tuple(_lesion(image, course, a, b) for a, b in runs)


def plaque_area(course: VesselCourse) -> Array:
    """Area in mm2 between the lumen and the inner side of a normal wall ``(N,)``, below 0 by noise; 0 if unknown."""
    if course.plaque_reason is not None:
        return np.zeros(len(course.distance))
    inner = np.sqrt(course.wall_area / np.pi) - course.normal_wall_mm
    return np.nan_to_num(np.pi * np.maximum(inner, 0.0) ** 2 - course.lumen_area)


def _joined(flags: Array, gap: int) -> Array:
    """Flags with holes of up to `gap` filled."""
    out = flags.copy()
    for a, b in stretches(~flags):
        if a > 0 and b < len(flags) - 1 and b - a + 1 <= gap:
            out[a : b + 1] = True
    return out


def _longest(flags: Array) -> int:
    return max((b - a + 1 for a, b in stretches(flags)), default=0)


def _lesion(image: Image, course: VesselCourse, a: int, b: int) -> Lesion:
    here = slice(a, b + 1)
    worst = a + int(np.nanargmax(course.diameter_stenosis[here]))
    least = a + int(np.nanargmin(course.lumen_area[here]))
    s = course.distance
    lumen_mm3 = float(np.trapezoid(course.lumen_area[here], s[here]))
    index = content = dark = spotty = None
    if course.plaque_reason is None:
        outer = ndimage.gaussian_filter1d(2 * np.sqrt(course.wall_area[here] / np.pi), 2.0, mode="nearest")
        index = float((outer / course.reference_wall_diameter[here]).max())
        cells = plaque_cells(image, course, here)
        content = volumes(cells, course.classes)
        dark = low_attenuation(core_hu(cells))
        spotty = spotty_calcification(calcified_extents(cells, course.classes), content.noncalcified_mm3)
    return Lesion(
        float(s[a]), float(s[b]), float(s[worst]), float(course.diameter_stenosis[worst]),
        float(course.area_stenosis[worst]), float(course.lumen_area[least]),
        float(2 * np.sqrt(course.lumen_area[least] / np.pi)), float(course.reference_diameter[worst]), index, content,
        lumen_mm3, positive_remodelling(index), dark, spotty,
    )  # fmt: skip


def core_hu(cells: PlaqueCells) -> float | None:
    """Mean HU of the darkest part of a plaque that has at least 1 mm3; None where the plaque is smaller than that.

    Single voxels are noise: cells are averaged over their neighbours first.
    """
    weight = np.clip(cells.mm3, 0, None)
    if weight.sum() < _CORE_MM3:
        return None
    n = len(weight)
    step = max(float(np.linalg.norm(np.diff(cells.world[:, 0, 0], axis=0), axis=1).mean()) if n > 1 else 1.0, 0.05)
    around = max(float(np.linalg.norm(cells.world[:, 0] - cells.world[:, 1], axis=-1).mean()), 0.05)
    sigma = (_CORE_MM / step, _CORE_MM / around, 1.0)
    mode = ("nearest", "wrap", "nearest")
    hu = np.nan_to_num(cells.hu, nan=WALL_HU)
    mean = ndimage.gaussian_filter(hu * weight, sigma, mode=mode) / np.maximum(
        ndimage.gaussian_filter(weight, sigma, mode=mode), 1e-9
    )
    order = np.argsort(mean, axis=None)
    filled = np.cumsum(weight.ravel()[order])
    last = int(np.searchsorted(filled, _CORE_MM3)) + 1
    chosen = order[:last]
    return float(np.average(mean.ravel()[chosen], weights=np.maximum(weight.ravel()[chosen], 1e-9)))
