"""From measured arteries to voxels: the label image, and the shell of fat around an artery."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array, Image

from .ccta_labels import LUMEN, PLAQUE, WALL, Tube, voxels
from .ccta_vessels import Tree
from .course import VesselCourse
from .fat import FatAttenuation, fat_attenuation
from .plaque_composition import classify

#: From the beginning of these segments, over these mm: RCA 10 to 50, the first 40 of LAD and LCX (see `fat`).
_FAT = {"LAD": (6, 0.0, 40.0), "LCX": (11, 0.0, 40.0), "RCA": (1, 10.0, 50.0)}
_LEAST_FAT_MM, _LEAST_FAT_VOXELS = 20.0, 100


def _tube(course: VesselCourse, keep: Array, inner: Array, outer: Array) -> Tube:
    """The sections of a course at indices `keep` with radii ``(len(keep), a)``."""
    return Tube(course.line[keep], course.frames[keep, 1], course.frames[keep, 2], inner, outer)


def draw(image: Image, tree: Tree) -> Array:
    """Lumen, plaque by class and wall of all arteries ``(i, j, k)`` uint8; where two lines run, the first one counts.

    Between lumen and outer wall, what lies in a lesion and inside of the normal wall is plaque.
    """
    drawn = np.zeros(image.shape, np.uint8)
    for course in tree.arteries.values():
        keep = np.flatnonzero(course.usable)
        if not len(keep):
            continue
        plain = course.plaque_reason is not None
        outer = course.lumen[keep] if plain else np.maximum(course.wall[keep], course.lumen[keep])
        found = voxels(image, _tube(course, keep, course.lumen[keep], outer))
        at = tuple(found.index.T)
        label = np.where(found.radius <= found.inner, LUMEN, WALL).astype(np.uint8)
        if not plain:
            ill = np.zeros(len(course.distance), bool)
            for lesion in course.lesions:
                ill[course.between(lesion.start_mm, lesion.end_mm)] = True
            inside = found.radius <= np.maximum(found.outer - course.normal_wall_mm, found.inner)
            plaque = (label == WALL) & inside & ill[keep][found.section]
            kinds = classify(image.array[at][plaque], course.classes)
            label[plaque] = np.where(kinds > 0, np.take((WALL, *PLAQUE), kinds), WALL)
        free = drawn[at] == 0
        drawn[tuple(found.index[free].T)] = label[free]
    return drawn


def pericoronary_fat(image: Image, tree: Tree) -> dict[str, FatAttenuation | str]:
    """Fat around the proximal RCA, LAD and LCX; a sentence where that stretch was not followed."""
    made: dict[str, FatAttenuation | str] = {}
    for vessel, (number, start, end) in _FAT.items():
        first = tree.segments[number]
        if tree.plaque_reason:
            made[vessel] = tree.plaque_reason
        elif first.artery is None:
            made[vessel] = first.reason or "not followed"
        else:
            made[vessel] = _fat(image, tree.arteries[first.artery], first.start_mm + start, first.start_mm + end)
    return made


def _fat(image: Image, course: VesselCourse, start_mm: float, end_mm: float) -> FatAttenuation | str:
    end_mm = min(end_mm, course.length_mm)
    if end_mm - start_mm < _LEAST_FAT_MM:
        return f"{max(end_mm - start_mm, 0):.0f} mm of the stretch were followed; {_LEAST_FAT_MM:.0f} mm are needed."
    part = course.between(start_mm, end_mm)
    keep = np.arange(part.start, part.stop)[course.usable[part]]
    if len(keep) < 0.75 * (part.stop - part.start):
        return "The artery could not be drawn over enough of the stretch."
    wall = np.maximum(course.wall[keep], course.lumen[keep])
    # One diameter of the vessel beyond its outer wall.
    diameter = float(np.mean(2 * wall))
    found = voxels(image, _tube(course, keep, wall, wall + diameter))
    shell = found.radius > found.inner
    return fat_attenuation(image.array[tuple(found.index[shell].T)], min_voxels=_LEAST_FAT_VOXELS)
