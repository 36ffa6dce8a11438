"""One artery measured from end to end: lumen, outer wall, reference, lesions and their plaque."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import stretches

from .axis import STEP_MM, find_axis
from .centreline import noise_of
from .centring import blood_along
from .lesions import Lesion, LesionParameters, find_lesions
from .lumen import estimate_blur
from .obstacles import slab_steps, stents
from .plaque import plaque_cells, volumes
from .plaque_composition import MIN_2022, Composition, HuClasses
from .sections import Lumen, Rays, polygon_area
from .stenosis import reference, smoothed
from .wall import find_borders, normal_thickness, thickness

_REACH_MM = 7.0
#: Voxels larger than this along any axis blur lumen, plaque and wall into one.
PLAQUE_VOXEL_MM = 0.8


@dataclass(frozen=True)
class CourseParameters:
    """How an artery is measured.

    Attributes
    ----------
    classes : HuClasses
        Limits between kinds of plaque.
    lumen_adaptive : bool
        Calcified begins above the lumen where the lumen is brighter than the fixed limit.
    reference_mm : float
        Half width of the stretch over which the healthy lumen and wall are fitted.
    plaque_voxel_mm : float
        Largest voxel with which plaque is measured.
    lesions : LesionParameters
    """

    classes: HuClasses = MIN_2022
    lumen_adaptive: bool = True
    reference_mm: float = 30.0
    plaque_voxel_mm: float = PLAQUE_VOXEL_MM
    lesions: LesionParameters = field(default_factory=LesionParameters)


@dataclass(frozen=True)
class Unusable:
    """A stretch of an artery that is not measured, and why."""

    start_mm: float
    end_mm: float
    reason: str


@dataclass(frozen=True, eq=False)
class VesselCourse:
    """An artery measured from its ostium on.

    Attributes
    ----------
    name : str
        Vessel, such as ``LAD``.
    line : numpy.ndarray
        ``(N, 3)`` RAS mm in the middle of the lumen, one point for each step of `axis`, from the ostium on.
    distance : numpy.ndarray
        ``(N,)`` mm from the ostium, along `axis`.
    lumen, wall : numpy.ndarray
        ``(N, A)`` radii in mm along A even rays around `line`: borders of the lumen and of the artery.
    frames : numpy.ndarray
        ``(N, 3, 3)``: rows are the tangent of `axis` and the two normals; ray a leaves along
        ``cos(2 pi a / A) * frames[n, 1] + sin(2 pi a / A) * frames[n, 2]``.
    lumen_area, wall_area : numpy.ndarray
        ``(N,)`` mm2 within the two borders; NaN where no lumen was seen.
    reference_diameter, reference_wall_diameter : numpy.ndarray
        ``(N,)`` mm of lumen and outer wall without disease.
    diameter_stenosis, area_stenosis : numpy.ndarray
        ``(N,)`` %, 0 to 100; NaN where not measured.
    usable : numpy.ndarray
        ``(N,)`` bool: sections whose lumen can be stood behind.
    unusable : tuple of Unusable
        The other stretches, with reasons.
    lesions : tuple of Lesion
    lumen_hu : numpy.ndarray
        ``(N,)`` blood.
    noise_hu : float
    normal_wall_mm : float
        Wall thickness without plaque; only what lies beyond counts as plaque.
    plaque_reason : str or None
        Why plaque and wall are not assessable in this scan; None where they are.
    classes : HuClasses
        As used here.
    axis : numpy.ndarray
        ``(N, 3)`` RAS mm, the smooth curve that the cross-sections are square to, at even steps.
    """

    name: str
    line: Array
    distance: Array
    lumen: Array
    wall: Array
    frames: Array
    lumen_area: Array
    wall_area: Array
    reference_diameter: Array
    reference_wall_diameter: Array
    diameter_stenosis: Array
    area_stenosis: Array
    usable: Array
    unusable: tuple[Unusable, ...]
    lesions: tuple[Lesion, ...]
    lumen_hu: Array
    noise_hu: float
    normal_wall_mm: float
    plaque_reason: str | None
    classes: HuClasses
    axis: Array

    @property
    def diameter(self) -> Array:
        """``(N,)`` mm of the circle of the lumen's area."""
        return 2 * np.sqrt(self.lumen_area / np.pi)

    @property
    def length_mm(self) -> float:
        return float(self.distance[-1])

    def with_reference(self, healthy: Array) -> VesselCourse:
        """The same borders against another lumen without disease ``(N,)`` mm; lesions stay those of before."""
        share = self.diameter / healthy
        return replace(
            self,
            reference_diameter=healthy,
            reference_wall_diameter=healthy + 2 * self.normal_wall_mm,
            diameter_stenosis=np.clip(100 * (1 - share), 0, 100),
            area_stenosis=np.clip(100 * (1 - share**2), 0, 100),
        )

    def between(self, start_mm: float, end_mm: float) -> slice:
        """Sections from `start_mm` to `end_mm`, at least one."""
        a, b = np.searchsorted(self.distance, (start_mm - 1e-6, end_mm + 1e-6))
        a = min(int(a), len(self.distance) - 1)
        return slice(a, max(int(b), a + 1))


def measure_vessel(
    image: Image,
    line: Array,
    name: str,
    parameters: CourseParameters | None = None,
    *,
    lumen_hu: Array | float | None = None,
    noise_hu: float | None = None,
) -> VesselCourse:
    """Measure one artery along its middle line.

    Parameters
    ----------
    image : Image
        HU.
    line : numpy.ndarray
        ``(n, 3)`` RAS mm from the ostium on, as of `centreline.trace`.
    name : str
    parameters : CourseParameters, optional
    lumen_hu : numpy.ndarray or float, optional
        Blood at the points of `line`, without partial volume; measured if not given.
    noise_hu : float, optional
        Standard deviation of a voxel; measured if not given.
    """
    p = parameters or CourseParameters()
    noise = noise_of(image) if noise_hu is None else noise_hu
    level = blood_along(image, line) if lumen_hu is None else np.broadcast_to(lumen_hu, (len(line),))
    axis = find_axis(image, line, level, noise)
    blood, distance = axis.blood, axis.distance
    rays = axis.rays(image, _REACH_MM)
    blur = estimate_blur(rays, blood, noise)
    found, outer = find_borders(rays, blood, noise, blur)
    unusable = _unusable(image, rays, found, blood, noise, distance)
    usable = np.ones(len(distance), bool)
    for one in unusable:
        usable[(distance >= one.start_mm) & (distance <= one.end_mm)] = False
    lumen_area = np.where(usable, found.area_mm2, np.nan)
    diameter = smoothed(2 * np.sqrt(lumen_area / np.pi))
    lumen_area = np.pi * diameter**2 / 4
    healthy = reference(distance, diameter, p.reference_mm)
    narrow = np.clip(100 * (1 - diameter / healthy), 0, 100)
    wall_area = np.where(usable, polygon_area(outer.border), np.nan)
    normal = normal_thickness(thickness(lumen_area, wall_area), narrow, STEP_MM)
    classes = p.classes.for_lumen(float(np.median(blood)), noise) if p.lumen_adaptive else p.classes
    course = VesselCourse(
        name, axis.middle, distance, found.border, outer.border, axis.frames, lumen_area, wall_area, healthy,
        healthy + 2 * normal, narrow, np.clip(100 * (1 - (diameter / healthy) ** 2), 0, 100), usable, unusable, (),
        blood, noise, normal, _too_coarse(image, p.plaque_voxel_mm), classes, axis.points,
    )  # fmt: skip
    return replace(course, lesions=find_lesions(image, course, p.lesions))


def _too_coarse(image: Image, most_mm: float) -> str | None:
    largest = float(image.spacing.max())
    if largest <= most_mm + 1e-6:
        return None
    return f"voxels of {largest:.2g} mm are too coarse for plaque and wall; {most_mm:g} mm or less are needed"


def _unusable(
    image: Image, rays: Rays, found: Lumen, blood: Array, noise: float, distance: Array
) -> tuple[Unusable, ...]:
    """Stretches that are not measured, in their order."""
    why = {
        "the artery leaves the scan": found.found < 0.5,
        "a stent, or calcium as dense all the way round, hides the lumen": stents(rays, found.border, blood, STEP_MM),
        "the picture leaps between two slices (motion between slabs)": slab_steps(image, rays.points, noise),
    }
    out = [Unusable(float(distance[a]), float(distance[b]), reason)
           for reason, flags in why.items() for a, b in stretches(flags)]  # fmt: skip
    return tuple(sorted(out, key=lambda one: one.start_mm))


def plaque_between(image: Image, course: VesselCourse, start_mm: float, end_mm: float) -> Composition:
    """Plaque by class between two distances from the ostium: of the lesions there, without the normal wall.

    Raises
    ------
    ValueError
        Where plaque is not assessable (`course.plaque_reason`).
    """
    if course.plaque_reason is not None:
        raise ValueError(course.plaque_reason)
    total = Composition()
    for lesion in course.lesions:
        start, end = max(start_mm, lesion.start_mm), min(end_mm, lesion.end_mm)
        if end > start:
            part = course.between(start, end)
            total = total + volumes(plaque_cells(image, course, part), course.classes)
    return total
