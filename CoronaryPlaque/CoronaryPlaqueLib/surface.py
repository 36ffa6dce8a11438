"""A smooth closed border on a stack of cross-sections, from what each radius would cost on each ray."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array
from scipy import ndimage


def smooth_surface(cost: Array, across: float, along: float) -> Array:
    """The cheapest radius on every ray, without leaps to the neighbours.

    Costs are handed on from ray to ray and from section to section, in both directions of each, and added up
    (semi-global matching: Hirschmüller H, IEEE Trans Pattern Anal Mach Intell 2008;30:328).

    Parameters
    ----------
    cost : numpy.ndarray
        ``(n, rays, radii)``: sections in their order, rays all the way round.
    across, along : float
        Price of a step of one radius between neighbouring rays, and between neighbouring sections.

    Returns
    -------
    numpy.ndarray
        ``(n, rays)`` index of the radius, between the steps.
    """
    cost = np.asarray(cost, np.float32)
    n, rays, _ = cost.shape
    total = -3.0 * cost
    for way in (1, -1):
        # Once around to begin with, so that the first ray knows its neighbour.
        carried = np.zeros_like(cost[:, 0])
        for turn in range(2):
            for a in range(rays)[::way]:
                carried = cost[:, a] + _handed_on(carried, across)
                if turn:
                    total[:, a] += carried
    # Both ways at once: the arrays are small.
    both = np.zeros_like(cost[:1], shape=(2, *cost.shape[1:]))
    for s in range(n):
        both = cost[[s, n - 1 - s]] + _handed_on(both, along)
        total[s] += both[0]
        total[n - 1 - s] += both[1]
    return _lowest(total)


def first_basin(cost: Array, rise: float) -> Array:
    """Costs along the last axis with a step of a thousand once they have risen by `rise` above their least so far.

    A border lies before the first gap, whatever lies beyond: a chamber beside an artery is as bright as its lumen.
    """
    risen = np.maximum.accumulate(cost - np.minimum.accumulate(cost, -1), -1) > rise
    return np.where(risen, cost + 1000.0, cost)


def without_runaways(border: Array) -> Array:
    """Rays that run off into a branch or a neighbour get the length of the rays beside them ``(n, rays)``."""
    usual = np.median(border, axis=1, keepdims=True)
    odd = border > 1.7 * usual + 0.3
    out = border.copy()
    place = np.arange(border.shape[1])
    for n in np.flatnonzero(odd.any(1) & ~odd.all(1)):
        good = ~odd[n]
        out[n, ~good] = np.interp(place[~good], place[good], border[n, good], period=border.shape[1])
    return out


def _handed_on(cost: Array, price: float) -> Array:
    """The least of ``cost[r'] + price * |r - r'|`` for every radius r, from 0 on."""
    slope = price * np.arange(cost.shape[-1], dtype=np.float32)
    rising = np.minimum.accumulate(cost - slope, -1) + slope
    falling = np.minimum.accumulate((cost + slope)[..., ::-1], -1)[..., ::-1] - slope
    out = np.minimum(rising, falling)
    return np.asarray(out - out.min(-1, keepdims=True))


def _lowest(total: Array) -> Array:
    """Place of the minimum, by a parabola through it and its neighbours."""
    best = total.argmin(-1)
    inner = np.clip(best, 1, total.shape[-1] - 2)
    left, middle, right = (np.take_along_axis(total, (inner + d)[..., None], -1)[..., 0] for d in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where((best == inner) & (bend > 1e-6), 0.5 * (left - right) / np.maximum(bend, 1e-6), 0.0)
    return np.asarray(best + np.clip(shift, -0.5, 0.5), np.float64)


def rounded(border: Array, waves: int, along: float) -> Array:
    """A border ``(n, rays)`` without detail finer than `waves` around, smoothed over sections (sigma `along`)."""
    spectrum = np.fft.rfft(border, axis=1)
    fade = np.clip(waves + 1 - np.arange(spectrum.shape[1]), 0, 1)
    smooth = np.fft.irfft(spectrum * fade, n=border.shape[1], axis=1)
    return np.asarray(ndimage.gaussian_filter1d(smooth, along, axis=0, mode="nearest"))
