"""Labelled voxels as points, and what hangs together among them.

Calcium is a few thousand voxels of some ten million. They are found in one pass over the volume; everything after that
works on the points alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from CardioPrecisionLib.image import Array


@dataclass(frozen=True, eq=False)
class Points:
    """Voxels of an axial stack, ordered by index.

    Attributes
    ----------
    at : numpy.ndarray
        ``(3, n)`` indices.
    hu, label : numpy.ndarray
        ``(n,)``; HU as float64.
    """

    at: Array
    hu: Array
    label: Array


def where(mask: Array) -> Array:
    """``(3, n)`` indices of the true voxels in index order; reads the mask in the order in which it lies in memory."""
    order = np.argsort([-s for s in mask.strides], kind="stable")
    inner = mask.transpose(order)
    found = np.array(np.unravel_index(np.flatnonzero(inner), inner.shape))[np.argsort(order)]
    return np.array(np.unravel_index(np.sort(np.ravel_multi_index(tuple(found), mask.shape)), mask.shape))


def connected(points: Points, in_plane: bool) -> tuple[Array, int]:
    """Number the points that hang together, with 8 neighbours in their slice or with 26 in space.

    Points of different labels never hang together.

    Returns
    -------
    component : numpy.ndarray
        ``(n,)`` from 0.
    count : int
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = points.hu.size
    if not n:
        return np.zeros(0, np.intp), 0
    # A margin of one voxel on either side keeps the end of one row from being the neighbour of the next one's start.
    _, nj, nk = points.at.max(axis=1) + 3
    step = np.array([nj * nk, nk, 1])
    place = step @ (points.at + 1)
    ahead = [o for o in product((-1, 0, 1), repeat=3) if o > (0, 0, 0) and not (in_plane and o[2])]
    pairs = []
    for offset in ahead:
        wanted = place + int(step @ offset)
        there = np.minimum(np.searchsorted(place, wanted), n - 1)
        near = np.flatnonzero((place[there] == wanted) & (points.label[there] == points.label))
        pairs.append(np.stack([near, there[near]]))
    one, other = np.concatenate(pairs, axis=1)
    count, component = connected_components(coo_array((np.ones(one.size, bool), (one, other)), (n, n)), directed=False)
    return component.astype(np.intp), int(count)


@dataclass(frozen=True, eq=False)
class Components:
    """In-plane components that are large enough, and their points.

    Attributes
    ----------
    points : Points
    component : numpy.ndarray
        ``(n,)`` the component of each point.
    pixels, peak_hu, label, level : numpy.ndarray
        ``(components,)``: number of points, highest HU, label and slice.
    """

    points: Points
    component: Array
    pixels: Array
    peak_hu: Array
    label: Array
    level: Array


def components(points: Points, min_pixels: int) -> Components:
    """Components of each label within each slice (8 neighbours) that have at least `min_pixels`."""
    component, count = connected(points, in_plane=True)
    pixels = np.bincount(component, minlength=count)
    keep = pixels >= min_pixels
    counted = keep[component]
    points = Points(points.at[:, counted], points.hu[counted], points.label[counted])
    component = (np.cumsum(keep) - 1)[component[counted]]
    kept = int(keep.sum())
    peak = np.full(kept, -np.inf)
    np.maximum.at(peak, component, points.hu)
    label, level = np.zeros(kept, points.label.dtype), np.zeros(kept, np.intp)
    label[component], level[component] = points.label, points.at[2]
    return Components(points, component, pixels[keep], peak, label, level)
