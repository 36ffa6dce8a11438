"""Where a side branch leaves an artery, blood fills what would be wall: no plaque is told there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from CardioPrecisionLib.image import Array, Image
from scipy import ndimage

from .course import STEP_MM, VesselCourse
from .lesions import LesionParameters, find_lesions
from .sections import mirrored, polygon_area, sample

#: On a ray into a branch, blood goes on for so long beyond the outer border; nowhere it is darker than this share.
_BEYOND_MM, _SHARE = 1.5, 0.5
#: A mouth is at least so large along and around, and its rim reaches this much further, in sections and rays.
_SECTIONS, _RAYS = 3, 2
_RIM_MM, _RIM_RAYS = 1.5, 4


def mouths(image: Image, course: VesselCourse) -> Array:
    """Rays ``(N, A)`` bool that leave through the mouth of a side branch, with the rim around it.

    A ray from the lumen outwards that stays as bright as blood until well beyond the outer border. Plaque beside a
    chamber is none: plaque, wall and fat lie in between.
    """
    angles = course.lumen.shape[1]
    angle = np.arange(angles) * 2 * np.pi / angles
    direction = np.cos(angle)[:, None] * course.frames[:, None, 1] + np.sin(angle)[:, None] * course.frames[:, None, 2]
    share = np.linspace(0.0, 1.0, 12)
    start, end = course.lumen - 0.2, np.maximum(course.wall, course.lumen + 0.5) + _BEYOND_MM
    radius = start[..., None] + (end - start)[..., None] * share
    world = course.line[:, None, None] + radius[..., None] * direction[:, :, None]
    hu = sample(image, world.reshape(-1, 3), order=1).reshape(radius.shape)
    # Calcium is no blood: what is brighter is turned down.
    blood = mirrored(np.nan_to_num(hu, nan=-1024.0), course.lumen_hu[:, None, None], course.noise_hu)
    blood = ndimage.gaussian_filter(blood, (1.0, 0.7, 0), mode=("nearest", "wrap", "nearest"))
    through = blood.min(-1) > _SHARE * course.lumen_hu[:, None]
    padded = np.pad(through, ((0, 0), (_RIM_RAYS, _RIM_RAYS)), mode="wrap")
    opened = ndimage.binary_opening(padded, np.ones((_SECTIONS, _RAYS)))
    rim = np.ones((2 * round(_RIM_MM / STEP_MM) + 1, 2 * _RIM_RAYS + 1))
    wide = ndimage.binary_dilation(opened, rim)
    return np.asarray(wide[:, _RIM_RAYS:-_RIM_RAYS])


def without_branches(image: Image, course: VesselCourse, lesions: LesionParameters | None = None) -> VesselCourse:
    """The course with a normal wall in the mouths of side branches, and its lesions found again."""
    if course.plaque_reason is not None:
        return course
    mouth = mouths(image, course)
    if not mouth.any():
        return course
    wall = np.where(mouth, np.minimum(course.wall, course.lumen + course.normal_wall_mm), course.wall)
    area = np.where(np.isfinite(course.wall_area), polygon_area(wall), np.nan)
    given = replace(course, wall=wall, wall_area=area)
    return replace(given, lesions=find_lesions(image, given, lesions or LesionParameters()))
