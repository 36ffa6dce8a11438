"""Cross-sections perpendicular to an artery: HU along rays, and the lumen's border on each ray below a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import frames
from scipy import ndimage

ANGLES = 32
RAY_STEP_MM = 0.1
#: Plaque and healthy wall without contrast; where the outside is darker (fat), this stands in for the thin wall.
WALL_HU = 60.0
FAT_HU = -90.0
_CHUNK = 48


@dataclass(frozen=True, eq=False)
class Rays:
    """HU around points of a curve.

    Attributes
    ----------
    points, first, second : numpy.ndarray
        ``(n, 3)`` RAS mm, and the two normals that span each cross-section.
    radius : numpy.ndarray
        ``(r,)`` distances from the point in mm, from 0 on.
    hu : numpy.ndarray
        ``(n, ANGLES, r)`` float32; NaN outside of the scan.
    voxel_mm : float
        Edge of a cube of a voxel's volume.
    order : int
        Of the interpolation: 1 blurs by itself.
    """

    points: Array
    first: Array
    second: Array
    radius: Array
    hu: Array
    voxel_mm: float
    order: int = 3

    def directions(self) -> Array:
        """Unit vectors ``(n, ANGLES, 3)``."""
        angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
        return np.asarray(np.cos(angle)[:, None] * self.first[:, None] + np.sin(angle)[:, None] * self.second[:, None])


def cast(
    image: Image, points: Array, reach_mm: float, order: int = 3, normals: tuple[Array, Array] | None = None
) -> Rays:
    """HU along rays from points ``(n, 3)`` of a curve, by cubic splines (order 3) or linearly (order 1).

    The cross-sections are those of `normals`, two times ``(n, 3)``, or square to the curve.
    """
    first, second = frames(points)[1:] if normals is None else normals
    radius = np.arange(0.0, reach_mm + 1e-6, RAY_STEP_MM)
    hu = np.empty((len(points), ANGLES, len(radius)), np.float32)
    rays = Rays(points, first, second, radius, hu, float(np.prod(image.spacing) ** (1 / 3)), order)
    # Places on a ray are evenly spaced as voxel indices, too.
    matrix = np.linalg.inv(image.affine[:3, :3])
    begin, step = image.to_index(points), rays.directions() @ matrix.T
    for a in range(0, len(points), _CHUNK):
        here = slice(a, a + _CHUNK)
        index = np.stack([begin[here, c, None, None] + radius * step[here, :, c, None] for c in range(3)])
        rays.hu[here] = _at(image, index.reshape(3, -1), order).reshape(index.shape[1:])
    return rays


def sample(image: Image, world: Array, order: int = 3) -> Array:
    """HU at RAS points ``(n, 3)``, float32; NaN outside of the scan. Only the part that they need is looked at."""
    return _at(image, image.to_index(world).T, order)


def _at(image: Image, index: Array, order: int) -> Array:
    """HU at voxel indices ``(3, n)``."""
    outside = np.zeros(index.shape[1], bool)
    for place, count in zip(index, image.shape, strict=True):
        outside |= (place < -0.5) | (place > count - 0.5)
    if outside.all():
        return np.full(index.shape[1], np.nan, np.float32)
    inner = index[:, ~outside] if outside.any() else index
    low = np.maximum(np.floor(inner.min(1)).astype(int) - 8, 0)
    high = np.minimum(np.ceil(inner.max(1)).astype(int) + 9, image.shape)
    part = image.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    out = ndimage.map_coordinates(part, index - low[:, None], order=order, mode="nearest", output=np.float32)
    out[outside] = np.nan
    return np.asarray(out)


def mirrored(hu: Array, blood: Array, noise_hu: float) -> Array:
    """HU with what is brighter than blood turned down by as much as it exceeds it: calcium is no lumen."""
    most = 1.05 * blood + 2.0 * noise_hu
    return np.where(hu > most, 2 * most - hu, hu)


@dataclass(frozen=True, eq=False)
class Lumen:
    """The lumen's border on cross-sections.

    Attributes
    ----------
    border : numpy.ndarray
        ``(n, ANGLES)`` mm from the point; filled in from the neighbours where a ray met none.
    found : numpy.ndarray
        ``(n,)`` share of rays that met a border.
    center : numpy.ndarray
        ``(n, 3)`` middle of the lumen's area, RAS mm.
    area_mm2 : numpy.ndarray
        ``(n,)``. Of small lumens, which the scanner's blur widens and pales, by their share of the contrast.
    """

    border: Array
    found: Array
    center: Array
    area_mm2: Array

    @property
    def radius_mm(self) -> Array:
        """``(n,)`` radius of the circle of the same area."""
        return np.sqrt(self.area_mm2 / np.pi)


def lumen_peak(likeness: Array, blood: Array, radius: Array) -> Array:
    """How bright the lumen gets ``(n,)``: in the middle, or close by where the middle lies in plaque."""
    middle = ndimage.uniform_filter1d(likeness[:, :, :4].mean((1, 2)), 3, mode="nearest")
    near = ndimage.uniform_filter(likeness[:, :, radius <= 0.65], (3, 5, 4), mode=("nearest", "wrap", "nearest"))
    return np.where(middle < 0.75 * blood, np.maximum(middle, near.max((1, 2))), middle)


def polygon_area(border: Array) -> Array:
    """Area in mm2 ``(n,)`` within borders ``(n, rays)`` in mm."""
    turn = 2 * np.pi / border.shape[1]
    # Neighbouring rays span triangles, which lack a little of the circle's sectors that they stand for.
    return np.asarray(0.5 * turn * (border * np.roll(border, -1, 1)).sum(1))


def polygon_center(border: Array, rays: Rays) -> tuple[Array, Array]:
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    x, y = border * np.cos(angle), border * np.sin(angle)
    x2, y2 = np.roll(x, -1, 1), np.roll(y, -1, 1)
    cross = x * y2 - x2 * y
    safe = np.maximum(3 * cross.sum(1), 1e-9)
    cx, cy = ((x + x2) * cross).sum(1) / safe, ((y + y2) * cross).sum(1) / safe
    center = rays.points + cx[:, None] * rays.first + cy[:, None] * rays.second
    return center, polygon_area(border)
