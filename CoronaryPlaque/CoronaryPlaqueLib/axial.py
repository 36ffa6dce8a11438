"""Volumes as a stack of axial slices, whichever way they are stored."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Image


def axial(image: Image) -> Image:
    """The same voxels with k along the body's axis, as a view: axes are permuted and flipped, nothing is resampled.

    k becomes the axis closest to S; of the other two, i the one closer to R. Each then runs towards +R, +A, +S, so that
    permuted and flipped copies of one volume give the same array. Labels on the same grid are turned the same way:
    ``axial(image.with_array(labels)).array``.
    """
    axes = image.affine[:3, :3] / image.spacing
    k = int(np.argmax(np.abs(axes[2])))
    i, j = sorted((n for n in range(3) if n != k), key=lambda n: -abs(axes[0, n]))
    order = (i, j, k)
    array = image.array.transpose(order)
    affine = image.affine.copy()
    affine[:3, :3] = image.affine[:3, order]
    for axis in range(3):
        if affine[axis, axis] < 0:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    return Image(array, affine)
