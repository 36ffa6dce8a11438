"""Reformatted pictures of an artery: straightened, curved, and across; and what is drawn on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from scipy import ndimage
from scipy.spatial import cKDTree

from .ccta_labels import LUMEN, PLAQUE
from .course import VesselCourse
from .plaque_composition import classify
from .sections import sample

AIR_HU = -1024.0


@dataclass(frozen=True, eq=False)
class Strip:
    """A cut along a straightened artery.

    Attributes
    ----------
    hu : numpy.ndarray
        ``(2 r + 1, N)``: rows run from one side of the middle line to the other, columns along it.
    offset : numpy.ndarray
        ``(2 r + 1,)`` mm from the middle line, of each row.
    kinds : numpy.ndarray
        Shaped as `hu`: labels of plaque (see `ccta_labels`), 0 elsewhere.
    lumen, wall : numpy.ndarray
        ``(2, N)`` offset of either border, NaN where it was not drawn.
    """

    hu: Array
    offset: Array
    kinds: Array
    lumen: Array
    wall: Array


def ill(course: VesselCourse) -> Array:
    """Sections within lesions ``(N,)`` bool."""
    inside = np.zeros(len(course.distance), bool)
    for lesion in course.lesions:
        inside[course.between(lesion.start_mm, lesion.end_mm)] = True
    return inside


def _kinds(course: VesselCourse, hu: Array, radius: Array, inner: Array, outer: Array, here: Array) -> Array:
    """Labels of plaque where `radius` lies between lumen and normal wall, within lesions."""
    made = np.zeros(hu.shape, np.uint8)
    if course.plaque_reason is not None:
        return made
    plaque = here & (radius > inner) & (radius <= outer - course.normal_wall_mm)
    made[plaque] = np.take((0, *PLAQUE), classify(np.nan_to_num(hu[plaque], nan=AIR_HU), course.classes))
    return made


def straightened(image: Image, course: VesselCourse, quarter: bool = False, half_mm: float = 6.0) -> Strip:
    """The artery pulled straight, cut along ray 0 and its opposite, or a quarter turn further."""
    angles = course.lumen.shape[1]
    a = angles // 4 if quarter else 0
    b = (a + angles // 2) % angles
    turn = 2 * np.pi * a / angles
    direction = np.cos(turn) * course.frames[:, 1] + np.sin(turn) * course.frames[:, 2]
    offset = np.linspace(-half_mm, half_mm, int(half_mm / 0.1) * 2 + 1)
    world = course.line[None] + offset[:, None, None] * direction[None]
    hu = sample(image, world.reshape(-1, 3), order=1).reshape(world.shape[:2])
    side = np.where(offset[:, None] >= 0, a, b)
    column = np.arange(len(course.line))[None]
    inner, outer = course.lumen[column, side], course.wall[column, side]
    kinds = _kinds(course, hu, np.abs(offset)[:, None], inner, outer, np.broadcast_to(ill(course), hu.shape))
    blank = np.where(course.usable, 1.0, np.nan)
    plain = blank if course.plaque_reason is None else blank * np.nan
    lumen = np.stack([course.lumen[:, a], -course.lumen[:, b]]) * blank
    wall = np.stack([course.wall[:, a], -course.wall[:, b]]) * plain
    return Strip(np.nan_to_num(hu, nan=AIR_HU), offset, kinds, lumen, wall)


def across(
    image: Image, course: VesselCourse, n: int, half_mm: float = 6.0, step_mm: float = 0.1
) -> tuple[Array, Array]:
    """A cross-section: HU ``(row, column)`` and labels of lumen and plaque on it, first normal right, second down."""
    axis = np.linspace(-half_mm, half_mm, round(2 * half_mm / step_mm) + 1)
    x, y = np.meshgrid(axis, axis)
    world = course.line[n] + x[..., None] * course.frames[n, 1] + y[..., None] * course.frames[n, 2]
    hu = sample(image, world.reshape(-1, 3), order=1).reshape(x.shape)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    angles = course.lumen.shape[1]
    position = (angle % (2 * np.pi)) * angles / (2 * np.pi)
    left, share = np.floor(position).astype(int) % angles, position - np.floor(position)

    def at(radii: Array) -> Array:
        return np.asarray(radii[left] * (1 - share) + radii[(left + 1) % angles] * share)

    inner, outer = at(course.lumen[n]), at(course.wall[n])
    labels = _kinds(course, hu, radius, inner, outer, np.full(hu.shape, bool(ill(course)[n])))
    labels[radius <= inner] = LUMEN
    return np.nan_to_num(hu, nan=AIR_HU), labels


def ring(radii: Array, half_mm: float) -> str:
    """Radii of a cross-section as an SVG path in tenths of a millimetre from the upper left corner."""
    angle = np.arange(len(radii)) * 2 * np.pi / len(radii)
    x = np.round(10 * (half_mm + radii * np.cos(angle))).astype(int)
    y = np.round(10 * (half_mm + radii * np.sin(angle))).astype(int)
    return "M" + "L".join(f"{a} {b}" for a, b in zip(x, y, strict=True)) + "z"


@dataclass(frozen=True, eq=False)
class Curved:
    """A curved reformat: a surface through the artery, looked at straight on.

    Attributes
    ----------
    hu : numpy.ndarray
        ``(row, column)``, rows downwards.
    line : numpy.ndarray
        ``(N, 2)`` column and row of the middle line.
    right, down : numpy.ndarray
        RAS directions of the picture.
    """

    hu: Array
    line: Array
    right: Array
    down: Array


def curved(image: Image, course: VesselCourse, margin_mm: float = 12.0, pixel_mm: float = 0.35) -> Curved:
    """The artery in the plane in which it spreads most; away from it the surface goes on as deep as it lies nearest."""
    line = course.line[::2]
    _, _, axes = np.linalg.svd(line - line.mean(0), full_matrices=False)
    # Downwards as nearly to the feet as the plane allows, and to the right the patient's left.
    depth = axes[2]
    down = np.array([0.0, 0.0, -1.0]) - depth * -depth[2]
    if np.linalg.norm(down) < 0.3:
        down = np.array([0.0, -1.0, 0.0]) + depth * depth[1]
    down /= np.linalg.norm(down)
    right = np.cross(down, depth)
    if right @ np.array([-1.0, -0.5, 0.0]) < 0:
        right = -right
    x, y, z = line @ right, line @ down, line @ depth
    columns = np.arange(x.min() - margin_mm, x.max() + margin_mm, pixel_mm)
    rows = np.arange(y.min() - margin_mm, y.max() + margin_mm, pixel_mm)
    gx, gy = np.meshgrid(columns, rows)
    _, nearest = cKDTree(np.stack([x, y], 1)).query(np.stack([gx.ravel(), gy.ravel()], 1))
    surface = ndimage.gaussian_filter(z[nearest].reshape(gx.shape), 1.0 / pixel_mm, mode="nearest")
    world = gx[..., None] * right + gy[..., None] * down + surface[..., None] * depth
    hu = sample(image, world.reshape(-1, 3), order=1).reshape(gx.shape)
    place = np.stack([(course.line @ right - columns[0]) / pixel_mm, (course.line @ down - rows[0]) / pixel_mm], 1)
    return Curved(np.nan_to_num(hu, nan=AIR_HU), place, right, down)
