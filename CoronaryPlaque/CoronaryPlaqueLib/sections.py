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
#: Beyond the border: where the level outside is taken, mm.
_OUTSIDE_MM = (0.5, 0.9)


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
    """

    points: Array
    first: Array
    second: Array
    radius: Array
    hu: Array

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
    rays = Rays(points, first, second, radius, np.empty((len(points), ANGLES, len(radius)), np.float32))
    directions = rays.directions()
    for a in range(0, len(points), _CHUNK):
        here = slice(a, a + _CHUNK)
        world = points[here, None, None] + radius[:, None] * directions[here, :, None]
        rays.hu[here] = sample(image, world.reshape(-1, 3), order).reshape(world.shape[:3])
    return rays


def sample(image: Image, world: Array, order: int = 3) -> Array:
    """HU at RAS points ``(n, 3)``, float32; NaN outside of the scan. Only the part that they need is looked at."""
    index = image.to_index(world)
    outside = ((index < -0.5) | (index > np.array(image.shape) - 0.5)).any(1)
    if outside.all():
        return np.full(len(world), np.nan, np.float32)
    low = np.maximum(np.floor(index[~outside].min(0)).astype(int) - 8, 0)
    high = np.minimum(np.ceil(index[~outside].max(0)).astype(int) + 9, image.shape)
    part = image.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    out = ndimage.map_coordinates(part, (index - low).T, order=order, mode="nearest", output=np.float32)
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


def find_lumen(rays: Rays, lumen_hu: Array, noise_hu: float, wall_hu: float = WALL_HU) -> Lumen:
    """Lumen borders at half height between the blood and what lies outside.

    Calcium counts as outside: brightness is mirrored above the blood, so that the border to it lies half-way as well.

    Parameters
    ----------
    rays : Rays
    lumen_hu : numpy.ndarray
        ``(n,)`` blood where partial volume does not count.
    noise_hu : float
        Standard deviation of a voxel.
    wall_hu : float
        Least level outside.
    """
    blood = np.asarray(lumen_hu, float)[:, None, None]
    likeness = mirrored(np.where(np.isnan(rays.hu), wall_hu, rays.hu), blood, noise_hu)
    # A thin lumen never gets as bright as the blood in it: its own middle is what the border is half of.
    peak = lumen_peak(likeness, blood[:, 0, 0], rays.radius)
    top = np.clip(peak, wall_hu + 3.0 * noise_hu, blood[:, 0, 0])
    # A first border that bright plaque does not pass; what lies beyond it tells where half height is.
    first = np.repeat(np.maximum(0.7 * top, 0.5 * (top + wall_hu))[:, None], ANGLES, 1)
    border, met = _first_below(likeness, first, rays.radius)
    outside = _outside(likeness, border, rays.radius)
    level = np.clip(outside, wall_hu, np.maximum(0.72 * top, wall_hu)[:, None])
    border, met = _first_below(likeness, 0.5 * (top[:, None] + level), rays.radius)
    border = np.minimum(border, _calcium(rays, border, blood[:, 0, 0], noise_hu))
    border, found = _fill(border, met)
    center, area = polygon_center(border, rays)
    around = level.mean(1)
    small = _contrast_area(likeness, border, around, blood[:, 0, 0], rays.radius, noise_hu)
    radius = np.sqrt(area / np.pi)
    w = np.clip((radius - 0.75) / 0.35, 0, 1)
    bright = _bright_center(likeness, around + noise_hu, rays)
    center = w[:, None] * center + (1 - w)[:, None] * bright
    return Lumen(border, found, center, w * area + (1 - w) * small)


def lumen_peak(likeness: Array, blood: Array, radius: Array) -> Array:
    """How bright the lumen gets ``(n,)``: in the middle, or close by where the middle lies in plaque."""
    middle = ndimage.uniform_filter1d(likeness[:, :, :4].mean((1, 2)), 3, mode="nearest")
    near = ndimage.uniform_filter(likeness[:, :, radius <= 0.65], (3, 5, 4), mode=("nearest", "wrap", "nearest"))
    return np.where(middle < 0.75 * blood, np.maximum(middle, near.max((1, 2))), middle)


def _first_below(values: Array, threshold: Array, radius: Array) -> tuple[Array, Array]:
    """Where each ray first falls below its threshold, and whether it does."""
    below = values < threshold[..., None]
    met = below.any(-1)
    n = np.where(met, below.argmax(-1), values.shape[-1] - 1)
    left = np.maximum(n - 1, 0)
    a = np.take_along_axis(values, left[..., None], -1)[..., 0]
    b = np.take_along_axis(values, n[..., None], -1)[..., 0]
    share = np.where(n > 0, (a - threshold) / np.maximum(a - b, 1e-6), 0.0)
    return radius[left] + np.clip(share, 0, 1) * (radius[n] - radius[left]), np.asarray(met)


def _calcium(rays: Rays, border: Array, blood: Array, noise_hu: float) -> Array:
    """Where each ray has half risen from the blood to calcium that lies within `border`; infinite without calcium.

    A thin layer of calcium, paled by blur, would otherwise pass for lumen up to its outer side.
    """
    hu = ndimage.uniform_filter(np.nan_to_num(rays.hu, nan=-100.0), (3, 3, 2), mode=("nearest", "wrap", "nearest"))
    # Such a layer lies against the wall; further in, what is bright is noise.
    within = (rays.radius <= border[..., None]) & (rays.radius >= np.maximum(border[..., None] - 0.9, 0.3))
    before = np.where(within, hu, -np.inf)
    top = before.argmax(-1)
    rise = np.take_along_axis(hu, top[..., None], -1)[..., 0] - blood[:, None]
    risen = (hu >= (blood[:, None] + 0.5 * rise)[..., None]) & within
    calcium = within.any(-1) & (rise > np.maximum(3.5 * noise_hu, 0.2 * blood)[:, None])
    return np.where(calcium, rays.radius[risen.argmax(-1)], np.inf)


def _outside(values: Array, border: Array, radius: Array) -> Array:
    """Level just beyond the border ``(n, ANGLES)``, smoothed over neighbouring rays and sections."""
    places = [np.minimum(((border + d) / RAY_STEP_MM).round().astype(int), len(radius) - 1) for d in _OUTSIDE_MM]
    cumulated = np.concatenate([np.zeros((*values.shape[:2], 1)), np.cumsum(values, -1)], -1)
    high, low = (np.take_along_axis(cumulated, p[..., None], -1)[..., 0] for p in (places[1] + 1, places[0]))
    level = (high - low) / (places[1] + 1 - places[0])
    return np.asarray(ndimage.uniform_filter(level, (3, 7), mode=("nearest", "wrap")))


def _fill(border: Array, met: Array) -> tuple[Array, Array]:
    """Rays that met nothing, or that run off into a branch, get the length of their neighbours."""
    known = np.where(met, border, np.nan)
    with np.errstate(all="ignore"):
        middle = np.nanmedian(np.where(met.any(1, keepdims=True), known, 0.0), axis=1, keepdims=True)
    odd = ~met | (border > 1.7 * middle + 0.3)
    out = border.copy()
    angle = np.arange(ANGLES)
    for n in np.flatnonzero(odd.any(1)):
        good = ~odd[n]
        out[n, ~good] = np.interp(angle[~good], angle[good], border[n, good], period=ANGLES) if good.any() else 0.0
    wrapped = ndimage.median_filter(out, size=(1, 5), mode="wrap")
    return wrapped, 1.0 - odd.mean(1)


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


def _bright_center(likeness: Array, level: Array, rays: Rays) -> Array:
    """Middle of what is brighter than `level` within 1.5 mm ``(n, 3)``: of lumens too thin for a border."""
    near = rays.radius <= 1.5
    r = rays.radius[near]
    mean = ndimage.uniform_filter1d(likeness[:, :, near], 3, axis=0, mode="nearest")
    weight = np.clip(mean - level[:, None, None], 0, None) * r
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    total = np.maximum(weight.sum((1, 2)), 1e-6)
    x = (weight * (r * np.cos(angle)[:, None])).sum((1, 2)) / total
    y = (weight * (r * np.sin(angle)[:, None])).sum((1, 2)) / total
    return np.asarray(rays.points + x[:, None] * rays.first + y[:, None] * rays.second)


def _contrast_area(likeness: Array, border: Array, level: Array, blood: Array, radius: Array, noise_hu: float) -> Array:
    """Area that blood of full brightness would need to give the contrast that is seen: blur does not change it.

    0 where the middle is no brighter than noise lets the surroundings be: an occlusion.
    """
    mean = ndimage.uniform_filter1d(likeness.mean(1), 3, axis=0, mode="nearest")
    share = np.clip((mean - level[:, None]) / np.maximum(blood - level, 30.0)[:, None], 0, 1)
    within = radius[None] <= border.mean(1)[:, None] + 0.7
    area = (2 * np.pi * radius * share * within).sum(1) * RAY_STEP_MM
    # The middle 0.3 mm of three sections: about two independent voxels.
    seen = mean[:, :4].mean(1) - level > 1.0 * noise_hu
    return np.where(seen, area, 0.0)
