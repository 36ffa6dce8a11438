"""One order and one direction of the axes for every copy of an image, whatever order it is stored in.

Nothing is interpolated: axes are swapped and reversed as views, and the affine follows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..image import Array, Sequence

#: An axis whose voxels are this much longer than those of the others is the slice axis.
_COARSER = 1.5
#: Slices run to this side: from the base of the heart to its apex, from head to feet.
_ALONG = np.array([-1.0, 1.0, -1.0])
#: Columns run to this side: to the feet, and on axial slices to the back.
_DOWN = np.array([0.0, -0.5, -1.0])


def slice_axes(affine: Array, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """How a stack of slices is to be turned: ``(order of axes, which of them are reversed afterwards)``.

    The last axis runs across the slices: the one with a single slice, or with clearly the longest voxels, or else the
    one closest to head-feet.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    single = [axis for axis in range(3) if shape[axis] == 1]
    longest = np.sort(spacing)
    if len(single) == 1:
        k = single[0]
    elif longest[2] > _COARSER * longest[1]:
        k = int(spacing.argmax())
    else:
        k = int(np.abs(direction[2]).argmax())
    j = max((axis for axis in range(3) if axis != k), key=lambda axis: abs(float(direction[:, axis] @ _DOWN)))
    i = 3 - j - k
    flip_k = bool(direction[:, k] @ _ALONG < 0)
    flip_j = bool(direction[:, j] @ _DOWN < 0)
    # The first axis follows from the other two: no copy is the mirror image of another.
    handed = np.linalg.det(direction[:, [i, j, k]]) * (-1 if flip_j else 1) * (-1 if flip_k else 1)
    return (i, j, k), (bool(handed > 0), flip_j, flip_k)


def ras_axes(affine: Array) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The same for a volume that is to run along R, A, S as closely as its axes can."""
    from nibabel.orientations import io_orientation

    ornt = io_orientation(affine)
    order = [int(np.flatnonzero(ornt[:, 0] == axis)[0]) for axis in range(3)]
    flips = [bool(ornt[axis, 1] < 0) for axis in order]
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def turned(sequence: Sequence, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Sequence:
    """The sequence with its axes in another order and some of them reversed; frames stay views of what is loaded."""
    step = tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)
    a, b, c = (sequence.shape[axis] for axis in order)
    affine = sequence.affine.copy()
    affine[:, :3] = sequence.affine[:, list(order)]
    for axis, (flip, n) in enumerate(zip(flips, (a, b, c), strict=True)):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (n - 1)
            affine[:3, axis] *= -1
    load, times = sequence.load, sequence.frame_time_ms()  # times of single slices would have to be turned as well
    return replace(
        sequence, load=lambda t: load(t).transpose(order)[step], shape=(a, b, c), affine=affine, times_ms=times
    )


def slices_in_order(sequence: Sequence) -> Sequence:
    """A stack of slices in the one order (see `slice_axes`)."""
    return turned(sequence, *slice_axes(sequence.affine, sequence.shape))


def along_ras(sequence: Sequence) -> Sequence:
    """A volume in the one order (see `ras_axes`)."""
    return turned(sequence, *ras_axes(sequence.affine))
