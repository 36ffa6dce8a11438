"""Cross-sections of an artery: square to its smooth axis, each with its point in the middle of the lumen.

Beside an eccentric plaque the lumen swerves from the axis within a millimetre or two. Cross-sections square to the
lumen's own middle line would there cut the artery at a slant, and its areas and volumes would come out too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import arc_length, even_steps, frames
from scipy import ndimage

from .centring import blood_within, level_line
from .lumen import find_lumen
from .sections import Rays, cast

STEP_MM = 0.25
_SMOOTH_MM = 2.5
_CENTRE_REACH_MM, _TURNS = 6.0, 3
#: Moves below this need no further turn.
_STILL_MM = 0.25


@dataclass(frozen=True, eq=False)
class Axis:
    """An artery's axis with the middle of the lumen on every cross-section.

    Attributes
    ----------
    points : numpy.ndarray
        ``(n, 3)`` RAS mm of the axis, at even steps.
    middle : numpy.ndarray
        ``(n, 3)`` RAS mm, in the planes through `points`.
    frames : numpy.ndarray
        ``(n, 3, 3)``: rows are the tangent of the axis and the two normals.
    blood : numpy.ndarray
        ``(n,)`` HU.
    """

    points: Array
    middle: Array
    frames: Array
    blood: Array

    @property
    def distance(self) -> Array:
        """``(n,)`` mm along the axis."""
        return arc_length(self.points)

    def rays(self, image: Image, reach_mm: float, order: int = 3) -> Rays:
        """HU around the middle of the lumen, in the planes square to the axis."""
        return cast(image, self.middle, reach_mm, order, (self.frames[:, 1], self.frames[:, 2]))


def find_axis(image: Image, line: Array, blood: Array, noise_hu: float) -> Axis:
    """Axis and middles from a line that runs within the lumen.

    Parameters
    ----------
    image : Image
        HU.
    line : numpy.ndarray
        ``(n, 3)`` RAS mm.
    blood : numpy.ndarray
        ``(n,)`` HU there; measured again on the cross-sections.
    noise_hu : float
    """
    dense = even_steps(np.column_stack([line, blood]), STEP_MM)
    smooth = _smooth(dense[:, :3], _SMOOTH_MM / STEP_MM)
    both = even_steps(np.column_stack([smooth, dense]), STEP_MM)
    points = both[:, :3]
    basis = np.stack(frames(points), 1)
    axis = Axis(points, points + _in_plane(both[:, 3:6] - points, basis[:, 0]), basis, both[:, 6])
    for _ in range(_TURNS):
        rays = axis.rays(image, _CENTRE_REACH_MM, 1)
        found = find_lumen(rays, axis.blood, noise_hu)
        level = level_line(axis.distance, blood_within(rays, found.border), float(np.median(axis.blood)))
        move = found.center - axis.middle
        move *= np.minimum(1.0, 0.8 / np.maximum(np.linalg.norm(move, axis=1, keepdims=True), 1e-9))
        weight = (found.found > 0.5)[:, None] + 1e-3
        mean = ndimage.gaussian_filter1d(np.concatenate([move * weight, weight], 1), 1.5, axis=0, mode="nearest")
        move = _in_plane(mean[:, :3] / mean[:, 3:], basis[:, 0])
        axis = Axis(points, axis.middle + move, basis, level)
        if np.linalg.norm(move, axis=1).max() < _STILL_MM:
            break
    return axis


def _in_plane(offset: Array, tangent: Array) -> Array:
    return np.asarray(offset - (offset * tangent).sum(1, keepdims=True) * tangent)


def _smooth(points: Array, sigma: float) -> Array:
    """A curve smoothed without being drawn in at its ends."""
    pad = min(int(4 * sigma), len(points) - 1)
    before = 2 * points[0] - points[pad:0:-1]
    after = 2 * points[-1] - points[-2 : -pad - 2 : -1]
    whole = np.concatenate([before, points, after])
    return np.asarray(ndimage.gaussian_filter1d(whole, sigma, axis=0)[pad : pad + len(points)])
