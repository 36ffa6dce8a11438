"""Labels of lumen, wall and plaque on the scan's grid: drawn from contours, and read back into contours.

Codes: SNOMED CT where it has the structure; classes of plaque by HU are a convention of CT reading and have codes of
our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.analysis import Segment
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.measurement import Code
from CardioPrecisionLib.polyline import frames
from scipy.spatial import cKDTree

LUMEN, LOW_ATTENUATION, FIBROFATTY, FIBROUS, CALCIFIED, WALL = range(1, 7)
#: Labels of plaque; label - 1 is the class of `plaque_composition`.
PLAQUE = (LOW_ATTENUATION, FIBROFATTY, FIBROUS, CALCIFIED)

_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
_ABNORMAL = Code("SCT", "49755003", "Morphologically Altered Structure")


def _plaque(value: int, name: str, color: tuple[float, float, float], code: str) -> Segment:
    return Segment(value, name, color, _ABNORMAL, Code("99CARDIOPREC", code, name))


SEGMENTS = (
    Segment(LUMEN, "Coronary lumen", (0.90, 0.30, 0.26), _ANATOMY, Code("SCT", "67170007", "Lumen of artery")),
    _plaque(LOW_ATTENUATION, "Low-attenuation plaque", (0.85, 0.15, 0.75), "plaque-low-attenuation"),
    _plaque(FIBROFATTY, "Fibro-fatty plaque", (0.98, 0.85, 0.20), "plaque-fibrofatty"),
    _plaque(FIBROUS, "Fibrous plaque", (0.20, 0.70, 0.35), "plaque-fibrous"),
    _plaque(CALCIFIED, "Calcified plaque", (0.20, 0.65, 0.95), "plaque-calcified"),
    Segment(
        WALL, "Coronary wall without plaque", (0.75, 0.72, 0.66), _ANATOMY, Code("SCT", "41801008", "Coronary artery")
    ),
)
COLORS = {s.value: f"rgb({', '.join(str(round(255 * c)) for c in s.color)})" for s in SEGMENTS}


@dataclass(frozen=True, eq=False)
class Tube:
    """Radii around a line, at even angles.

    Attributes
    ----------
    points, first, second : numpy.ndarray
        ``(n, 3)`` RAS mm, and the normals that span the cross-sections.
    inner, outer : numpy.ndarray
        ``(n, a)`` mm from the point.
    """

    points: Array
    first: Array
    second: Array
    inner: Array
    outer: Array


@dataclass(frozen=True, eq=False)
class Inside:
    """Voxels of a tube.

    Attributes
    ----------
    index : numpy.ndarray
        ``(m, 3)``.
    section : numpy.ndarray
        ``(m,)`` the nearest cross-section.
    radius, inner, outer : numpy.ndarray
        ``(m,)`` distance from the line, and the tube's radii at that angle, mm.
    """

    index: Array
    section: Array
    radius: Array
    inner: Array
    outer: Array


def voxels(image: Image, tube: Tube) -> Inside:
    """The voxels whose middle lies within the outer radius of a tube."""
    n, angles = tube.outer.shape
    if not n:
        empty = np.zeros(0)
        return Inside(np.zeros((0, 3), int), np.zeros(0, int), empty, empty, empty)
    step = 0.45 * float(image.spacing.min())
    # Points that are closer together than voxels find every voxel at least once.
    count = int(np.ceil(2 * np.pi * float(tube.outer.max()) / step))
    fine = np.linspace(0, 2 * np.pi, max(count, angles), endpoint=False)
    position = fine * angles / (2 * np.pi)
    left = np.floor(position).astype(int) % angles
    share = position - np.floor(position)
    reach = tube.outer[:, left] * (1 - share) + tube.outer[:, (left + 1) % angles] * share
    found: list[Array] = []
    for r in np.arange(0.0, float(tube.outer.max()) + step, step):
        section, angle = np.nonzero(reach + step > r)
        world = tube.points[section] + r * (
            np.cos(fine[angle])[:, None] * tube.first[section] + np.sin(fine[angle])[:, None] * tube.second[section]
        )
        index = np.rint(image.to_index(world)).astype(np.int64)
        index = index[((index >= 0) & (index < image.shape)).all(1)]
        found.append(np.unique(np.ravel_multi_index(tuple(index.T), image.shape)))
    flat = np.unique(np.concatenate(found))
    index = np.stack(np.unravel_index(flat, image.shape), 1)
    world = image.to_world(index)
    _, section = cKDTree(tube.points).query(world)
    aside = world - tube.points[section]
    u, v = (aside * tube.first[section]).sum(1), (aside * tube.second[section]).sum(1)
    position = (np.arctan2(v, u) % (2 * np.pi)) * angles / (2 * np.pi)
    left = np.floor(position).astype(int) % angles
    share = position - np.floor(position)

    def at(radii: Array) -> Array:
        return np.asarray(radii[section, left] * (1 - share) + radii[section, (left + 1) % angles] * share)

    radius, outer = np.hypot(u, v), at(tube.outer)
    keep = radius <= outer
    # Beyond the ends of the line nothing belongs to it.
    tangent = np.cross(tube.first[section], tube.second[section])
    ends = (section == 0) | (section == n - 1)
    keep &= ~(ends & (np.abs((aside * tangent).sum(1)) > float(image.spacing.max())))
    return Inside(index[keep], section[keep], radius[keep], at(tube.inner)[keep], outer[keep])


def radii_of(mask: Image, points: Array, angles: int, reach_mm: float = 6.0) -> Array:
    """How far a mask reaches from points of a line, ``(n, angles)`` mm, to less than half a voxel; 0 outside of it.

    Parameters
    ----------
    mask : Image
        0 and 1 on the scan's grid.
    points : numpy.ndarray
        ``(n, 3)`` RAS mm.
    """
    from scipy import ndimage

    _, first, second = frames(points)
    angle = np.arange(angles) * 2 * np.pi / angles
    directions = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]
    r = np.arange(0.0, reach_mm + 1e-6, 0.1)
    world = points[:, None, None] + r[:, None] * directions[:, :, None]
    index = mask.to_index(world.reshape(-1, 3))
    low = np.maximum(np.floor(index.min(0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(index.max(0)).astype(int) + 3, mask.shape)
    part = mask.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    values = ndimage.map_coordinates(part, (index - low).T, order=1, mode="constant").reshape(world.shape[:3])
    # Of what is inside up to where the mask ends or another piece begins, the circle with the same area: the half-way
    # place of a few voxels across would be too near.
    below = np.logical_or.accumulate(values < 0.5, -1)
    rising = np.diff(values, axis=-1, prepend=values[..., :1]) > 1e-6
    ended = np.logical_or.accumulate(below & rising, -1)
    area = (np.where(ended, 0.0, values) * r).sum(-1) * (r[1] - r[0])
    return np.asarray(np.where(values[..., 0] < 0.5, 0.0, np.sqrt(2 * area)))
