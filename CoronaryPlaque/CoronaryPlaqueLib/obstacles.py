"""What keeps a stretch of an artery from being measured: a stent, a step between slabs of slices."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import stretches
from scipy import ndimage

from .sections import Rays

#: Metal, or a ring of calcium as dense: brighter than this and than blood by the second, HU.
METAL_HU, ABOVE_BLOOD_HU = 1000.0, 450.0
#: On this share of the rays, over this length in mm.
_ROUND, _STENT_MM = 0.7, 5.0
#: Difference between two neighbouring slices against that between the slices around, and least difference in noise.
_STEP_RATIO, _STEP_NOISE = 2.0, 3.0
_AROUND_MM, _BESIDE_MM = 8.0, 1.5


def stents(rays: Rays, lumen: Array, lumen_hu: Array, step_mm: float) -> Array:
    """Sections ``(n,)`` in a stretch with metal all the way round.

    Parameters
    ----------
    rays : Rays
    lumen : numpy.ndarray
        ``(n, rays)`` border in mm.
    lumen_hu : numpy.ndarray
        ``(n,)``.
    step_mm : float
        Between sections.
    """
    limit = np.maximum(METAL_HU, np.asarray(lumen_hu) + ABOVE_BLOOD_HU)
    near = rays.radius <= lumen[..., None] + 1.2
    peak = np.where(near, np.nan_to_num(rays.hu, nan=0.0), 0.0).max(-1)
    ring = (peak > limit[:, None]).mean(1) >= _ROUND
    # Struts leave gaps.
    ring = ndimage.binary_closing(np.pad(ring, 8), np.ones(round(2.0 / step_mm) | 1))[8:-8]
    out = np.zeros(len(ring), bool)
    for a, b in stretches(ring):
        if (b - a + 1) * step_mm >= _STENT_MM:
            out[a : b + 1] = True
    return out


def slab_steps(image: Image, line: Array, noise_hu: float) -> Array:
    """Sections ``(n,)`` of a middle line ``(n, 3)`` beside a place where the picture leaps from one slice to the next.

    Scans of several heartbeats are put together from slabs; where the heart has moved in between, arteries are cut and
    shifted. There the slices on both sides differ far more than their neighbours do.
    """
    index = image.to_index(line)
    reach = _AROUND_MM / image.spacing
    low = np.maximum(np.floor(index.min(0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(index.max(0) + reach) + 1, image.shape).astype(int)
    out = np.zeros(len(line), bool)
    if (high - low).min() < 4 or high[2] - low[2] < 9:
        return out
    for leap in _leaps(image, index, low, high, noise_hu):
        height = (index[:, 2] - (leap + 0.5)) * image.spacing[2]
        # At an end of the line the artery itself may end.
        if height.min() < -_BESIDE_MM - 0.5 and height.max() > _BESIDE_MM + 0.5:
            out |= np.abs(height) < _BESIDE_MM
    return out


def _leaps(image: Image, index: Array, low: Array, high: Array, noise_hu: float) -> list[int]:
    """Slices k after which the picture leaps, near the line."""
    spacing = image.spacing
    differs = np.full(high[2] - low[2] - 1, np.nan)
    for n in range(differs.size):
        k = int(low[2] + n)
        here = np.abs(index[:, 2] - k) * spacing[2] < _AROUND_MM
        if not here.any():
            continue
        a = np.maximum(np.floor(index[here, :2].min(0) - _AROUND_MM / spacing[:2]), low[:2]).astype(int)
        b = np.minimum(np.ceil(index[here, :2].max(0) + _AROUND_MM / spacing[:2]) + 1, high[:2]).astype(int)
        pair = image.array[a[0] : b[0], a[1] : b[1], k : k + 2].astype(np.float32)
        change = ndimage.gaussian_filter(pair[..., 1] - pair[..., 0], 0.6 / spacing[:2], mode="nearest")
        differs[n] = np.percentile(np.abs(change), 99)
    out = []
    for n in map(int, np.flatnonzero(np.isfinite(differs))):
        around = np.r_[differs[max(n - 5, 0) : n], differs[n + 1 : n + 6]]
        usual = np.nanpercentile(around, 90) if np.isfinite(around).any() else np.inf
        if differs[n] > _STEP_RATIO * usual and differs[n] > _STEP_NOISE * noise_hu:
            out.append(int(low[2] + n))
    return out
