"""Anatomy that labels of a beating heart must obey, applied to a network's output frame by frame."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array
from scipy import ndimage

from .segments import LV, MYOCARDIUM, RV

#: Least share of a part in one slice that must lie over the left ventricle of the slice before, towards the middle. The
#: right ventricle has no such rule: its outflow tract does leave the rest at the base.
OVERLAP = 0.4
_THROUGH = ndimage.generate_binary_structure(3, 1)


def _largest(mask: Array) -> Array:
    labels, count = ndimage.label(mask, _THROUGH)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: Array = labels == sizes.argmax()
    return kept


def _continuous(mask: Array, least: float) -> Array:
    """The parts of each slice that continue those of the slice before, from the largest slice outwards.

    A ventricle does not jump: what a network takes for a ventricle above its base (aorta, atrium) or below its apex
    (stomach, chest wall) may touch the true one in the corner of a voxel, but does not lie over it.
    """
    areas = mask.sum(axis=(0, 1))
    middle = int(areas.argmax())
    kept = np.zeros_like(mask)
    kept[:, :, middle] = mask[:, :, middle]
    for step, stop in ((-1, -1), (1, mask.shape[2])):
        for k in range(middle + step, stop, step):
            parts, count = ndimage.label(mask[:, :, k])
            if not count:
                continue
            size = np.bincount(parts.ravel(), minlength=count + 1)
            shared = np.bincount(parts[kept[:, :, k - step]], minlength=count + 1)
            good = shared >= least * size
            good[0] = False
            kept[:, :, k] = good[parts]
    return kept


def clean(labels: Array) -> Array:
    """Keep one heart: in place, on one frame ``(i, j, k)``.

    The largest connected part of each ventricle (the left with its wall) is kept, the left as far as it continues from
    slice to slice; holes in the left cavity are filled. What is removed becomes background.
    """
    found = np.argwhere(labels)
    if not len(found):
        return labels
    lower, upper = found.min(0), found.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    view = labels[box]
    left = np.isin(view, (LV, MYOCARDIUM))
    if left.any():
        view[left & ~_largest(_continuous(_largest(left), OVERLAP))] = 0
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
