"""Plaque between lumen and outer wall: where it is, how much, and of what kind by its CT numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import arc_length

from .plaque_composition import CALCIFIED, Composition, HuClasses, classify
from .sections import ANGLES, sample

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


def section_steps(line: Array) -> Array:
    """Length in mm that each section stands for ``(n,)``."""
    return np.gradient(arc_length(line)) if len(line) > 1 else np.ones(1)


def plaque_cells(
    image: Image, line: Array, frames: Array, lumen: Array, outer: Array, ends: tuple[float, float] = (1.0, 1.0)
) -> PlaqueCells:
    """Cut the space between two borders into cells.

    Parameters
    ----------
    image : Image
    line : numpy.ndarray
        ``(n, 3)`` RAS mm.
    frames : numpy.ndarray
        ``(n, 3, 3)``: rows are the tangent and the two normals.
    lumen, outer : numpy.ndarray
        ``(n, rays)`` mm: plaque lies between; the normal wall is already taken off `outer`.
    ends : tuple of float
        Share of the first and the last section that counts.
    """
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    direction = np.cos(angle)[:, None] * frames[:, 1][:, None] + np.sin(angle)[:, None] * frames[:, 2][:, None]
    share = (np.arange(_SHELLS) + 0.5) / _SHELLS
    depth = outer**2 - lumen**2
    # Shells of the same area.
    radius = np.sqrt(np.maximum(lumen[..., None] ** 2 + share * depth[..., None], 0.0))
    world = line[:, None, None] + radius[..., None] * direction[:, :, None]
    hu = sample(image, world.reshape(-1, 3), order=1).reshape(radius.shape)
    length = section_steps(line)
    length[0] *= ends[0]
    length[-1] *= ends[1]
    bend = _bend(line)
    stretch = 1.0 - np.einsum("nrsc,nc->nrs", world - line[:, None, None], bend)
    mm3 = depth[..., None] * np.pi / ANGLES / _SHELLS * length[:, None, None] * np.clip(stretch, 0.2, 2.0)
    return PlaqueCells(hu, np.where(np.isfinite(hu), mm3, 0.0), world)


def _bend(line: Array) -> Array:
    """Curvature vectors ``(n, 3)`` in 1/mm, smoothed: cells on the outside of a bend are longer."""
    from scipy import ndimage

    if len(line) < 5:
        return np.zeros_like(line)
    smooth = ndimage.gaussian_filter1d(line, 4.0, axis=0, mode="nearest")
    s = arc_length(line)
    first = np.gradient(smooth, s, axis=0)
    second = np.gradient(first, s, axis=0)
    second[[0, 1, 2, 3, -4, -3, -2, -1]] = 0.0 if len(line) < 24 else second[[4, 4, 4, 4, -5, -5, -5, -5]]
    return np.asarray(second - (second * first).sum(1, keepdims=True) * first)


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
