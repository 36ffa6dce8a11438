"""One artery measured from end to end: lumen, outer wall, reference, lesions and their plaque."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import even_steps, frames

from .centreline import noise_of
from .centring import blood_along
from .lesions import Lesion, LesionParameters, find_lesions
from .plaque import plaque_cells, volumes
from .plaque_composition import MIN_2022, Composition, HuClasses
from .sections import cast, find_lumen, polygon_area
from .stenosis import reference
from .wall import find_wall, normal_thickness, thickness

STEP_MM = 0.25
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
        ``(N, 3)`` RAS mm in the middle of the lumen, at even steps from the ostium on.
    distance : numpy.ndarray
        ``(N,)`` mm from the ostium.
    lumen, wall : numpy.ndarray
        ``(N, A)`` radii in mm along A even rays around `line`: borders of the lumen and of the artery.
    frames : numpy.ndarray
        ``(N, 3, 3)``: rows are the tangent and the two normals; ray a leaves along
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

    @property
    def diameter(self) -> Array:
        """``(N,)`` mm of the circle of the lumen's area."""
        return 2 * np.sqrt(self.lumen_area / np.pi)

    @property
    def length_mm(self) -> float:
        return float(self.distance[-1])

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
    dense = even_steps(np.column_stack([line, level]), STEP_MM)
    points, blood = dense[:, :3], dense[:, 3]
    rays = cast(image, points, _REACH_MM)
    found = find_lumen(rays, blood, noise)
    distance = np.linspace(0.0, STEP_MM * (len(points) - 1), len(points))
    usable = found.found > 0.5
    lumen_area = np.where(usable, found.area_mm2, np.nan)
    diameter = 2 * np.sqrt(lumen_area / np.pi)
    healthy = reference(distance, diameter, p.reference_mm)
    narrow = np.clip(100 * (1 - diameter / healthy), 0, 100)
    outer = find_wall(rays, found.border, blood, 0.28)
    wall_area = np.where(usable, polygon_area(outer.border), np.nan)
    normal = normal_thickness(thickness(lumen_area, wall_area), narrow, STEP_MM)
    healthy_wall = reference(distance, 2 * np.sqrt(wall_area / np.pi), p.reference_mm)
    course = VesselCourse(
        name, points, distance, found.border, outer.border, np.stack(frames(points), 1), lumen_area, wall_area, healthy,
        healthy_wall, narrow, np.clip(100 * (1 - (diameter / healthy) ** 2), 0, 100), usable, (), (), blood, noise,
        normal, None, p.classes,
    )  # fmt: skip
    return replace(course, lesions=find_lesions(image, course, p.lesions))


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
            outer = course.wall[part] - course.normal_wall_mm
            cells = plaque_cells(image, course.line[part], course.frames[part], course.lumen[part], outer)
            total = total + volumes(cells, course.classes)
    return total
