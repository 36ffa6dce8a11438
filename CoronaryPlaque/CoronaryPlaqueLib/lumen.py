"""The lumen's border from what the scanner's blur makes of blood, plaque and what lies beyond.

First the border at which what is bright, blood or calcium, falls to soft tissue. Then, on each ray, blurred profiles of
blood, a layer of plaque and what follows are fitted to the HU up to a little beyond it. The level of the layer is
found with its border: fibrous and calcified plaque are told from blood, and a lumen that the blur has paled keeps its
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from CardioPrecisionLib.image import Array
from scipy import ndimage, special

from .sections import FAT_HU, RAY_STEP_MM, WALL_HU, Lumen, Rays, lumen_peak, polygon_center
from .surface import first_basin, rounded, smooth_surface, without_runaways

#: Standard deviation of a scanner's point spread where it is not measured: 0.6 mm (FWHM).
_POINT_MM = 0.255
#: What the prices and the averaging below are made for; larger voxels hold fewer independent samples.
_VOXEL_MM = 0.4
_LARGEST_MM = 5.0
#: What is tried, in steps of a ray: how far the outer border lies from the first one, and the layer's thickness.
_SHIFTS = tuple(range(-6, 4))
_LAYERS = (0, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20)
#: How far beyond the first border, and beyond a layer's, the profile is looked at, in steps of a ray.
_BEYOND, _BEYOND_LAYER = 5, 1
#: Layers differ at least so much from blood: darker, brighter (HU).
_DARKER_HU, _BRIGHTER_HU = 40.0, 90.0
#: What a layer must gain to be believed, in units of the misfit: darker, brighter than blood.
_DARK_PRICE, _BRIGHT_PRICE = 14.0, 24.0
_ACROSS, _ALONG = 5.0, 2.0
#: Averaging before the fit: sections, rays.
_SMOOTH = (0.8, 1.0, 0)
_FAR = 1e4
#: Darker by this much, added up in tenths of the half height, is a gap between two bright bodies.
_GAP = 12.0
_BLURS_MM = (0.2, 0.26, 0.32, 0.4, 0.5, 0.65, 0.85)
#: A border this far inside of the first one lies behind a layer.
_AGAIN_MM = 0.25


def find_lumen(
    rays: Rays, lumen_hu: Array, noise_hu: float, blur_mm: float | None = None, fat_from: Array | None = None
) -> Lumen:
    """Borders of the lumen on every cross-section.

    Parameters
    ----------
    rays : Rays
    lumen_hu : numpy.ndarray
        ``(n,)`` blood where partial volume does not count.
    noise_hu : float
        Standard deviation of a voxel.
    blur_mm : float, optional
        Standard deviation of the point spread; the usual one for the voxels if not given.
    fat_from : numpy.ndarray, optional
        ``(n, rays)`` where fat begins, in mm, infinite where there is none. Fat is then replaced by wall, its blur
        included; without it, what is darker than a wall is taken for wall. Otherwise the border would lie half-way
        between blood and fat where the wall is thin, and elsewhere half-way between blood and plaque.
    """
    blur_mm = usual_blur(rays) if blur_mm is None else blur_mm
    grain = rays.voxel_mm / _VOXEL_MM
    hu = _without_fat(rays, blur_mm, fat_from)
    blood = np.asarray(lumen_hu, np.float32)
    bright = bright_border(hu, blood, rays.radius)
    spread = _spread(hu, bright, blood, rays.radius, 0.45 * noise_hu * grain)
    cost = _costs(hu, bright, blood, spread, blur_mm, grain)
    border = smooth_surface(cost, grain * _ACROSS, grain * _ALONG) * RAY_STEP_MM
    # Behind the layer that was found there may be another one nearer to the blood: calcium with fibrous plaque before.
    layered = border < bright - _AGAIN_MM
    cost[layered] = _costs(hu, border, blood, spread, blur_mm, grain, layered)[layered]
    border = smooth_surface(cost, grain * _ACROSS, grain * _ALONG) * RAY_STEP_MM
    # What is thin is round as far as can be seen.
    mean = ndimage.gaussian_filter1d(border.mean(1), 2.0, mode="nearest")
    fine = np.clip((mean - 0.4) / 0.5, 0, 1)[:, None]
    border = np.maximum(fine * rounded(border, 4, 0.5) + (1 - fine) * rounded(border, 0, 0.5), 0.0)
    center, area = polygon_center(border, rays)
    seen = np.isfinite(rays.hu[:, :, :30]).mean((1, 2))
    return Lumen(border, seen, center, area)


def usual_blur(rays: Rays) -> float:
    """Standard deviation (mm) of the blur of a usual scanner, of these voxels and of the interpolation between them."""
    voxel = rays.voxel_mm**2 / 12 + (rays.voxel_mm**2 / 6 if rays.order == 1 else 0.0)
    return round(float(np.sqrt(_POINT_MM**2 + voxel)), 2)


def _spread(hu: Array, bright: Array, blood: Array, radius: Array, usual: float) -> float:
    """Standard deviation of smoothed HU in blood: how noise is coloured tells how much of it the smoothing leaves."""
    inner = 0.5 * bright.min(1)
    core = (radius <= inner[:, None]) & (radius > 0.1) & (inner > 0.5)[:, None]
    values = (hu - blood[:, None, None]).transpose(0, 2, 1)[core]
    if len(values) < 100:
        return max(usual, 4.0)
    middle = np.median(values)
    return max(float(1.4826 * np.median(np.abs(values - middle))), 4.0)


def _without_fat(rays: Rays, blur_mm: float, fat_from: Array | None) -> Array:
    """HU of the rays, smoothed, with fat as bright as a wall."""
    hu = np.nan_to_num(rays.hu, nan=WALL_HU)
    if fat_from is not None:
        hu = hu + (WALL_HU - FAT_HU) * special.ndtr((rays.radius - fat_from[..., None]) / blur_mm)
    hu = ndimage.gaussian_filter(hu, _SMOOTH, mode=("nearest", "wrap", "nearest"))
    return np.asarray(hu if fat_from is not None else np.maximum(hu, WALL_HU))


def bright_border(hu: Array, blood: Array, radius: Array) -> Array:
    """Where blood, with calcium and bright plaque that lies against it, falls half-way to soft tissue ``(n, rays)``."""
    level = np.clip(lumen_peak(np.minimum(hu, blood[:, None, None]), blood, radius), WALL_HU + 40.0, blood)
    halfway = 0.5 * (level + WALL_HU)[:, None, None]
    reach = 0.5 * (level - WALL_HU)[:, None, None]
    against = np.clip((halfway - hu) / reach, -0.7, 1.0)
    against += np.where(radius > _LARGEST_MM, 2.0, 0.03)
    cost = 10.0 * (np.cumsum(against, -1) - 0.5 * against)
    border = smooth_surface(first_basin(cost, _GAP), 2.0, 2.0) * float(radius[1] - radius[0])
    return without_runaways(border)


def _costs(
    hu: Array,
    near: Array,
    blood: Array,
    spread: float,
    blur_mm: float,
    grain: float,
    where: Array | None = None,
) -> Array:
    """Misfit of the best profile with the lumen's border at each radius ``(n, rays, radii)``, tried about `near`.

    Only on rays `where` ``(n, rays)``, if given.
    """
    beyond = _BEYOND if where is None else _BEYOND_LAYER
    darker, brighter = max(_DARKER_HU / spread, 2.5), max(_BRIGHTER_HU / spread, 6.0)
    radii = round(_LARGEST_MM / RAY_STEP_MM) + 1
    y = ((hu - blood[:, None, None]) / spread).astype(np.float32).reshape(-1, hu.shape[-1])
    place = np.clip(np.rint(near / RAY_STEP_MM).astype(int), 1, min(radii, hu.shape[-1] - beyond) - 1).ravel()
    out = np.full((len(y), radii), _FAR, np.float32)
    if where is not None:
        place[~where.ravel()] = -1
    for n in np.unique(place[place >= 0]):
        cells = np.flatnonzero(place == n)
        design = _design(round(float(blur_mm), 3), int(n), radii, beyond)
        misfit = design.misfit(y[cells, : design.samples], darker, brighter, grain)
        for border in np.unique(design.border):
            out[cells, border] = misfit[:, design.border == border].min(1)
    return out.reshape(*hu.shape[:2], radii)


@dataclass(frozen=True, eq=False)
class _Design:
    """Blurred profiles for a first border, and what the fit of their levels needs.

    Attributes
    ----------
    border : numpy.ndarray
        ``(k,)`` index of the lumen's border of every profile.
    thin : numpy.ndarray
        ``(k,)`` whether it has no layer.
    first, second : numpy.ndarray
        ``(samples, k)`` layer and what follows, times the weights.
    weight : numpy.ndarray
        ``(samples,)``.
    a11, a12, a22 : numpy.ndarray
        ``(k,)`` normal equations.
    """

    border: Array
    thin: Array
    first: Array
    second: Array
    weight: Array
    a11: Array
    a12: Array
    a22: Array

    @property
    def samples(self) -> int:
        return len(self.weight)

    def misfit(self, y: Array, darker: float, brighter: float, grain: float) -> Array:
        """Least squares ``(cells, k)`` of profiles `y` ``(cells, samples)`` in HU above blood over the noise."""
        y1, y2, yy = y @ self.first, y @ self.second, (y * y) @ self.weight
        det = np.maximum(self.a11 * self.a22 - self.a12**2, 1e-4)
        p = np.where(self.thin, 0.0, _apart((self.a22 * y1 - self.a12 * y2) / det, darker, brighter))
        q = (y2 - self.a12 * p) / np.maximum(self.a22, 1e-4)
        # Without a layer, what follows must itself differ from blood.
        q = np.where(self.thin, _apart(q, darker, brighter), q)
        cost = yy[:, None] - 2 * (p * y1 + q * y2) + p * p * self.a11 + 2 * p * q * self.a12 + q * q * self.a22
        return np.asarray(cost + grain * np.where(self.thin, 0.0, np.where(p > 0, _BRIGHT_PRICE, _DARK_PRICE)))


def _apart(level: Array, darker: float, brighter: float) -> Array:
    """Levels moved out of the range that blood may have."""
    near = np.where(level < 0.5 * (brighter - darker), -darker, brighter)
    return np.where((level > -darker) & (level < brighter), near, level)


@lru_cache(maxsize=512)
def _design(blur: float, first: int, radii: int, beyond: int) -> _Design:
    pairs = [(first + d, first + d - t) for d in _SHIFTS for t in _LAYERS if 0 <= first + d - t < radii]
    outer, border = (np.array(v) for v in zip(*pairs, strict=True))
    samples = first + beyond + 1
    disc = _discs(blur, radii + max(_SHIFTS), samples)
    r = np.arange(samples) * RAY_STEP_MM
    # All rays share the middle.
    weight = np.maximum(r, 0.1) / max(first * RAY_STEP_MM, 0.5)
    b1, b2 = (disc[outer] - disc[border]).T, (1 - disc[outer]).T
    w = weight[:, None]
    f32 = np.float32
    return _Design(border, outer == border, (w * b1).astype(f32), (w * b2).astype(f32), weight.astype(f32),
                   *(((w * p * q).sum(0)).astype(f32) for p, q in ((b1, b1), (b1, b2), (b2, b2))))  # fmt: skip


@lru_cache(maxsize=512)
def _discs(blur: float, radii: int, samples: int) -> Array:
    """Brightness ``(radii, samples)`` along a ray from the middle of discs that a Gaussian blurs; both in its steps."""
    fine = 10
    step = RAY_STEP_MM / fine
    b = (np.arange((radii - 1) * fine) + 0.5) * step / blur
    a = np.arange(samples)[:, None] * RAY_STEP_MM / blur
    density = special.i0e(a * b) * np.exp(-0.5 * (a - b) ** 2) * b * (step / blur)
    whole = np.concatenate([np.zeros((samples, 1)), np.cumsum(density, 1)], 1)
    return np.asarray(np.clip(whole[:, ::fine].T, 0, 1))


def blurred_share(border: Array, radius: Array, blur_mm: float) -> Array:
    """How much of a disc with its border at `border` ``(...)`` mm is left at distances `radius` ``(r,)``: 1 to 0.

    Parameters
    ----------
    border : numpy.ndarray
    radius : numpy.ndarray
        In steps of a ray from 0 on.
    blur_mm : float
    """
    table = _discs(round(blur_mm, 3), round((float(border.max()) + 0.2) / RAY_STEP_MM) + 2, len(radius))
    place = np.maximum(border, 0.0) / RAY_STEP_MM
    low = place.astype(int)
    w = (place - low)[..., None]
    return np.asarray(table[low] * (1 - w) + table[low + 1] * w)


def estimate_blur(rays: Rays, lumen_hu: Array, noise_hu: float) -> float:
    """Standard deviation (mm) of the point spread, from how steeply blood falls to what surrounds the artery.

    The blur with which the profiles of up to 24 cross-sections fit best; the usual one where no lumen is wide enough.
    """
    grain = rays.voxel_mm / _VOXEL_MM
    hu = _without_fat(rays, usual_blur(rays), None)
    blood = np.asarray(lumen_hu, np.float32)
    bright = bright_border(hu, blood, rays.radius)
    spread = _spread(hu, bright, blood, rays.radius, 0.45 * noise_hu * grain)
    wide = np.flatnonzero((bright.min(1) > 0.9) & (bright.max(1) < _LARGEST_MM - 0.5))
    if len(wide) < 6:
        return usual_blur(rays)
    chosen = wide[np.linspace(0, len(wide) - 1, min(24, len(wide))).astype(int)]
    total = [np.median(_costs(hu[chosen], bright[chosen], blood[chosen], spread, b, grain).min(-1)) for b in _BLURS_MM]
    best = int(np.argmin(total))
    if 0 < best < len(total) - 1:
        curve = np.polyfit(_BLURS_MM[best - 1 : best + 2], total[best - 1 : best + 2], 2)
        return round(float(np.clip(-curve[1] / (2 * curve[0]), _BLURS_MM[best - 1], _BLURS_MM[best + 1])), 2)
    return _BLURS_MM[best]
