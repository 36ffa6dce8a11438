"""Plaque between lumen and outer wall: where it is, how much, and of what kind by its CT numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from CardioPrecisionLib.image import Array, Image

from .plaque_composition import CALCIFIED, Composition, HuClasses, classify
from .sections import ANGLES, sample

if TYPE_CHECKING:
    from .course import VesselCourse

_SHELLS = 12


@dataclass(frozen=True, eq=False)
class PlaqueCells:
    """Plaque cut into small cells along rays.

    Attributes
    ----------
    hu : numpy.ndarray
        ``(n, rays, shells)``.
    mm3 : numpy.ndarray
        ``(n, rays, shells)`` volume; negative where noise puts the lumen beyond the plaque's outer border, so that
        sums have no bias.
    world : numpy.ndarray
        ``(n, rays, shells, 3)`` RAS mm.
    """

    hu: Array
    mm3: Array
    world: Array

    @property
    def total_mm3(self) -> float:
        return max(float(self.mm3.sum()), 0.0)


def plaque_cells(image: Image, course: VesselCourse, part: slice) -> PlaqueCells:
    """Cut what lies between the lumen and the inner side of a normal wall into cells, on the sections of `part`."""
    frames, middle = course.frames[part], course.line[part]
    lumen, outer = course.lumen[part], np.maximum(course.wall[part] - course.normal_wall_mm, 0.0)
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    direction = np.cos(angle)[:, None] * frames[:, 1][:, None] + np.sin(angle)[:, None] * frames[:, 2][:, None]
    share = (np.arange(_SHELLS) + 0.5) / _SHELLS
    depth = outer**2 - lumen**2
    # Shells of the same area.
    radius = np.sqrt(np.maximum(lumen[..., None] ** 2 + share * depth[..., None], 0.0))
    world = middle[:, None, None] + radius[..., None] * direction[:, :, None]
    hu = sample(image, world.reshape(-1, 3), order=1).reshape(radius.shape)
    # On the outside of a bend cells are longer.
    tangent = frames[:, 0]
    bend = np.gradient(course.frames[:, 0], course.distance, axis=0)[part]
    bend -= (bend * tangent).sum(1, keepdims=True) * tangent
    stretch = 1.0 - np.einsum("nrsc,nc->nrs", world - course.axis[part][:, None, None], bend)
    length = np.gradient(course.distance)[part][:, None, None]
    mm3 = depth[..., None] * np.pi / ANGLES / _SHELLS * length * np.clip(stretch, 0.2, 2.0)
    return PlaqueCells(hu, np.where(np.isfinite(hu), mm3, 0.0), world)


def volumes(cells: PlaqueCells, classes: HuClasses) -> Composition:
    """Volumes by class, in mm3."""
    found = classify(np.nan_to_num(cells.hu), classes)
    by_class = [max(float(cells.mm3[found == c].sum()), 0.0) for c in range(1, 5)]
    known = sum(by_class)
    # Cells of negative volume may leave a class below nothing: the whole is kept.
    scale = cells.total_mm3 / known if known > 0 else 0.0
    return Composition(*(v * scale for v in by_class))


def calcified_extents(cells: PlaqueCells, classes: HuClasses) -> list[float]:
    """Largest extent in mm of every calcified part."""
    from scipy import ndimage

    mask = (classify(np.nan_to_num(cells.hu), classes) == CALCIFIED) & (cells.mm3 > 0)
    # Round the vessel, the first and the last ray are neighbours.
    parts, _ = ndimage.label(np.concatenate([mask, mask], 1), np.ones((3, 3, 3)))
    out = []
    places = np.concatenate([cells.world, cells.world], 1)
    seen: set[int] = set()
    for n in np.unique(parts[:, : mask.shape[1]][mask]):
        points = places[parts == n]
        key = hash(np.round(points.min(0), 2).tobytes() + np.round(points.max(0), 2).tobytes())
        if key in seen:
            continue
        seen.add(key)
        out.append(float(np.linalg.norm(np.ptp(points @ _axes(points), axis=0).max())))
    return out


def _axes(points: Array) -> Array:
    centred = points - points.mean(0)
    return np.asarray(np.linalg.svd(centred, full_matrices=False)[2].T)
