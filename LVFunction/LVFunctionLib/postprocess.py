"""Anatomy that labels of a beating heart must obey, applied to a network's output frame by frame."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array
from scipy import ndimage

from .segments import LV, MYOCARDIUM, RV

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[:, :, 1] = ndimage.generate_binary_structure(2, 1)
_THROUGH = ndimage.generate_binary_structure(3, 1)


def _largest(mask: Array) -> Array:
    labels, count = ndimage.label(mask, _THROUGH)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: Array = labels == sizes.argmax()
    return kept


def clean(labels: Array) -> Array:
    """Keep one heart: in place, on one frame ``(i, j, k)``.

    The largest connected part of the left ventricle (cavity and wall) is kept, and the largest part of the right
    ventricle that touches it or lies nearest; holes in the cavity are filled. What is removed becomes background.
    """
    found = np.argwhere(labels)
    if not len(found):
        return labels
    lower, upper = found.min(0), found.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    view = labels[box]
    left = np.isin(view, (LV, MYOCARDIUM))
    if left.any():
        view[left & ~_largest(left)] = 0
        cavity = view == LV
        if cavity.any():
            view[cavity & ~_largest(cavity)] = MYOCARDIUM
            for k in range(view.shape[2]):
                left_k = np.isin(view[:, :, k], (LV, MYOCARDIUM))
                if left_k.any():
                    holes = ndimage.binary_fill_holes(left_k) & ~left_k
                    view[:, :, k][holes] = LV
                    cavity_k = view[:, :, k] == LV
                    filled = ndimage.binary_fill_holes(cavity_k) & (view[:, :, k] == MYOCARDIUM)
                    view[:, :, k][filled] = LV
    right = view == RV
    if right.any():
        view[right & ~_largest(right)] = 0
    return labels


def clean_frames(labels: Array) -> Array:
    """`clean` on every frame of ``(t, i, j, k)``, in place."""
    for frame in labels:
        clean(frame)
    return labels
