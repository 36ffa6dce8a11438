"""From a path of voxels to the lumen's middle, below a voxel."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import arc_length, even_steps, frames
from scipy import ndimage

from .lumen import find_lumen
from .sections import Rays, cast, mirrored, sample

#: Half width and step of the grid on which the brightest way is looked for, across the path.
_HALF_MM, _GRID_MM = 1.8, 0.2


def centred(image: Image, rough: Array, blood: float, noise: float, spacing: float) -> tuple[Array, Array, Array]:
    """Move a path to the lumen's middle.

    Parameters
    ----------
    image : Image
        HU.
    rough : numpy.ndarray
        ``(n, 3)`` RAS mm, a voxel or two from the lumen.
    blood, noise : float
        HU of the blood at the ostium, and standard deviation of a voxel.
    spacing : float
        mm between the points of the result.

    Returns
    -------
    points : numpy.ndarray
        ``(m, 3)`` RAS mm.
    radius : numpy.ndarray
        ``(m,)`` mm; NaN where no lumen was seen.
    level : numpy.ndarray
        ``(m,)`` HU of the blood along the way.
    """
    smooth = ndimage.gaussian_filter1d(rough, 2.0, axis=0, mode="nearest")
    smooth[[0, -1]] = rough[[0, -1]]
    points = even_steps(smooth, 0.5)
    points = even_steps(_to_brightest(image, points, blood, noise), 0.5)
    level = np.full(len(points), blood)
    for turn in range(4):
        rays = cast(image, points, 5.0, order=1)
        lumen = find_lumen(rays, level, noise)
        inner = blood_within(rays, lumen.border)
        move = lumen.center - points
        size = np.linalg.norm(move, axis=1, keepdims=True)
        move *= np.minimum(1.0, 0.8 / np.maximum(size, 1e-9))
        weight = (lumen.found * (lumen.radius_mm > 0.2))[:, None] + 1e-3
        # The ends see half of the neighbours: their own weight counts more.
        sigma = 2.0 if turn < 2 else 1.5
        blurred = ndimage.gaussian_filter1d(np.concatenate([move * weight, weight], 1), sigma, axis=0, mode="nearest")
        points = even_steps(points + blurred[:, :3] / blurred[:, 3:], 0.5)
        place = np.linspace(0, 1, len(points))
        level = np.interp(place, np.linspace(0, 1, len(inner)), level_line(arc_length(rays.points), inner, blood))
    level_at = np.column_stack([ndimage.gaussian_filter1d(points, 1.0, axis=0, mode="nearest"), level])
    level_at[[0, -1], :3] = points[[0, -1]]
    line = even_steps(level_at, spacing)
    lumen = find_lumen(cast(image, line[:, :3], 5.0), line[:, 3], noise)
    radius = np.where((lumen.found > 0.6) & (lumen.radius_mm > 0.1), lumen.radius_mm, np.nan)
    return line[:, :3], radius, line[:, 3]


def _to_brightest(image: Image, points: Array, blood: float, noise: float) -> Array:
    """The path ``(n, 3)`` moved to where the cross-sections are brightest, without a leap from one to the next.

    The best way through the stack of cross-sections by dynamic programming. It finds a thin lumen beside plaque, which
    the way over voxels misses by a millimetre.
    """
    _, first, second = frames(points)
    axis = np.arange(-_HALF_MM, _HALF_MM + 1e-6, _GRID_MM)
    m = len(axis)
    across = axis[:, None, None] * first[:, None, None] + axis[:, None] * second[:, None, None]
    hu = sample(image, (points[:, None, None] + across).reshape(-1, 3), order=1).reshape(-1, m, m)
    likeness = mirrored(np.nan_to_num(hu, nan=-100.0), np.asarray(blood), noise) / blood
    sigma = 0.3 / _GRID_MM
    smooth = ndimage.gaussian_filter(np.clip(likeness, -0.2, 1.0), (1.0, sigma, sigma), mode="nearest")
    cost = (1.0 - smooth) ** 2 + 0.01 * (axis[:, None] ** 2 + axis**2)
    shifts = [(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2) if i * i + j * j <= 5]
    price = 0.25 * _GRID_MM**2 * np.array([i * i + j * j for i, j in shifts])
    total = cost[0]
    came = np.empty((len(points), m, m), np.uint8)
    for n in range(1, len(points)):
        padded = np.pad(total, 2, constant_values=np.inf)
        ways = np.stack([padded[2 + i : 2 + i + m, 2 + j : 2 + j + m] for i, j in shifts]) + price[:, None, None]
        came[n] = ways.argmin(0)
        total = cost[n] + ways.min(0)
    i, j = np.unravel_index(int(total.argmin()), total.shape)
    offset = np.empty((len(points), 2))
    for n in range(len(points) - 1, -1, -1):
        offset[n] = axis[i], axis[j]
        if n:
            di, dj = shifts[came[n, i, j]]
            i, j = i + di, j + dj
    offset = ndimage.gaussian_filter1d(offset, 1.0, axis=0, mode="nearest")
    return np.asarray(points + offset[:, :1] * first + offset[:, 1:] * second)


def blood_along(image: Image, points: Array) -> Array:
    """Blood in HU at points ``(n, 3)`` of a middle line whose lumen is not yet known."""
    hu = sample(image, points, order=1)
    # Plaque and calcium on the line are the lesser part.
    blood = float(np.nanpercentile(hu, 60)) if np.isfinite(hu).any() else 0.0
    return level_line(arc_length(points), hu, blood)


def blood_within(rays: Rays, border: Array) -> Array:
    """Mean HU ``(n,)`` of the inner half of each lumen; NaN where it is too thin to show unmixed blood."""
    inner = 0.5 * border.min(1)
    weight = np.where(rays.radius <= inner[:, None], np.maximum(rays.radius, 0.05), 0.0)
    mean = (np.nan_to_num(rays.hu).mean(1) * weight).sum(1) / weight.sum(1)
    return np.where(inner > 0.4, mean, np.nan)


def level_line(s: Array, hu: Array, blood: float) -> Array:
    """Blood along the artery ``(n,)``: a straight line through what was seen of it at places `s`, NaN left out."""
    good = np.isfinite(hu) & (hu > 0.5 * blood) & (hu < 1.35 * blood)
    if good.sum() < 12 or np.ptp(s[good]) < 10:
        return np.full(len(s), blood)
    slope, start = 0.0, float(np.median(hu[good]))
    for _ in range(5):
        slope, start = (float(v) for v in np.polyfit(s[good], hu[good], 1))
        rest = hu - (slope * s + start)
        spread = 1.4826 * float(np.median(np.abs(rest[good]))) + 1.0
        kept = good & (np.abs(rest) < 2.5 * spread)
        if kept.sum() < 12 or np.ptp(s[kept]) < 10:
            break
        good = kept
    # Beyond where it was seen the line is not drawn on.
    seen = np.clip(s, s[good].min(), s[good].max())
    return np.asarray(np.clip(slope * seen + start, 0.6 * blood, 1.2 * blood))
