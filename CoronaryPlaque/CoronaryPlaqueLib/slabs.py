"""Thin slices averaged into contiguous thick ones, for the score that reference values were made with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array

from .components import Points


def slabs(
    hu: Array,
    labels: Array,
    calcium: Array,
    values: Sequence[int],
    threshold_hu: float,
    increment_mm: float,
    slab_mm: float,
) -> tuple[Points, Array]:
    """Average contiguous slabs of an axial stack, counted from the lower face of its lowest slice.

    A slice that lies in two slabs goes into both with the share that lies in each. A slab's pixel belongs to the label
    that most of its thin voxels at or above the threshold carry; voxels of none of `values` vote for no label, and a
    tie goes to the label.

    Parameters
    ----------
    hu, labels : numpy.ndarray
        ``(i, j, k)``, k upwards.
    calcium : numpy.ndarray
        ``(3, n)`` indices of the labelled voxels at or above the threshold: only their columns are averaged.
    values : sequence of int
        Labels that count.
    threshold_hu, increment_mm, slab_mm : float
        `increment_mm` is the slice distance.

    Returns
    -------
    points : Points
        The slabs' pixels that belong to a label and whose average reaches the threshold; the last index is the slab.
    thickness_mm : numpy.ndarray
        Of every slab of the stack: `slab_mm`, less for the topmost one of a stack that is no multiple of it.

    Raises
    ------
    InputError
        Where a value to be averaged is not finite.
    """
    # Faces are counted in slabs; rounded, or 5 x 0.6 mm would end just above the face of the first slab.
    ratio = increment_mm / slab_mm
    height = round(hu.shape[2] * ratio, 9)
    thickness = np.minimum(height - np.arange(np.ceil(height)), 1.0) * slab_mm
    if not calcium.shape[1]:
        return Points(np.zeros((3, 0), np.intp), np.zeros(0), np.zeros(0, labels.dtype)), thickness
    i, j = np.unravel_index(np.unique(np.ravel_multi_index((calcium[0], calcium[1]), hu.shape[:2])), hu.shape[:2])
    first = int(np.floor(round(int(calcium[2].min()) * ratio, 9)))
    last = int(np.ceil(round((int(calcium[2].max()) + 1) * ratio, 9)))
    lower = max(int(first / ratio) - 1, 0)
    upper = min(int(np.ceil(last / ratio)) + 1, hu.shape[2])
    faces = np.arange(lower, upper + 1) * ratio
    slab = np.arange(first, last)
    overlap = np.minimum(faces[1:, None], slab + 1) - np.maximum(faces[:-1, None], slab)
    share = np.round(np.maximum(overlap, 0.0), 9)  # (slices, slabs)

    columns = hu[i, j, lower:upper].astype(np.float64)
    if not np.isfinite(columns[:, share.any(axis=1)]).all():
        raise InputError("The CT holds values that are not finite in line with labelled calcium; it cannot be scored.")
    columns = np.where(share.any(axis=1), columns, 0.0)
    mean = np.round(columns @ share / share.sum(axis=0), 6)  # equal voxels average to themselves, whatever their shares
    carried = labels[i, j, lower:upper]
    dense = columns >= threshold_hu
    voters = [(carried == v) & dense for v in values]
    voters.append(dense & ~np.logical_or.reduce(voters))
    votes = np.round(np.stack([v @ share for v in voters]), 6)
    of = np.array([*values, 0], labels.dtype)[votes.argmax(axis=0)]
    of[votes.max(axis=0) == 0] = 0
    column, level = np.nonzero((of != 0) & (mean >= threshold_hu))
    return Points(np.stack([i[column], j[column], level + first]), mean[column, level], of[column, level]), thickness
