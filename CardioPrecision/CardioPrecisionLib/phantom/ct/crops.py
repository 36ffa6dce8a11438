"""Small scans for exact truth: one calcified body in a uniform background, or a close view of a patient's one."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from ...image import Array
from .calcium import Calcification
from .render import CTGeometry, CTSample, render
from .shapes import Ellipsoid, Solid


def close_up(
    shape: Solid,
    *,
    pixel_mm: float = 0.5,
    thickness_mm: float = 0.5,
    increment_mm: float | None = None,
    margin_mm: float = 4.0,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rotation: Array | None = None,
    flips: tuple[bool, bool, bool] = (False, False, False),
) -> CTGeometry:
    """A grid that holds a body with a margin around it.

    Parameters
    ----------
    shape : Solid
    pixel_mm, thickness_mm, increment_mm : float
        `increment_mm` defaults to the thickness.
    margin_mm : float
    shift : tuple of float
        Of the grid, in voxels: the phase of the partial volume.
    rotation, flips
        As in `CTGeometry`.
    """
    step = increment_mm or thickness_mm
    turn = np.eye(3) if rotation is None else np.asarray(rotation, float)
    low, high = shape.box()
    half = float(np.linalg.norm(high - low)) / 2 + margin_mm if rotation is not None else 0.0
    reach = np.full(3, half) if half else (high - low) / 2 + margin_mm
    nx, ny, nz = (2 * ceil(r / s) for r, s in zip(reach, (pixel_mm, pixel_mm, step), strict=True))
    middle = (low + high) / 2 + turn @ (np.asarray(shift) * (pixel_mm, pixel_mm, step))
    center = (float(middle[0]), float(middle[1]), float(middle[2]))
    return CTGeometry((nx, ny), (pixel_mm, pixel_mm), nz, thickness_mm, step, center, turn, flips)


def calcified_ellipsoid(
    radii_mm: tuple[float, float, float],
    hu: float,
    *,
    background_hu: float = 40.0,
    site: str = "LAD",
    axes: Array | None = None,
    geometry: CTGeometry | None = None,
    noise_hu: float = 0.0,
    **scan: Any,
) -> CTSample:
    """An ellipsoid about the origin in a uniform background; a sphere where the radii are equal.

    Parameters
    ----------
    radii_mm : tuple of float
    hu, background_hu : float
    site : str
    axes : numpy.ndarray, optional
        Rows: directions of the radii.
    geometry : CTGeometry, optional
        `close_up` of the body at 0.5 mm if not given.
    noise_hu, **scan
        Passed on to `render`.
    """
    body = Ellipsoid(np.zeros(3), np.asarray(radii_mm, float), np.eye(3) if axes is None else axes)
    grid = geometry or close_up(body)
    return render([], [Calcification(site, body, hu)], grid, noise_hu=noise_hu, background=background_hu, **scan)
