"""The eight symmetries of the square, for test-time augmentation: exact, nothing is interpolated."""

from __future__ import annotations

import torch

#: (transpose, flip i, flip j), applied in that order; any prefix of length 1, 2, 4 or 8 is balanced.
SYMMETRIES = (
    (False, False, False),
    (False, True, True),
    (True, False, True),
    (True, True, False),
    (False, True, False),
    (False, False, True),
    (True, False, False),
    (True, True, True),
)
COUNTS = (1, 2, 4, 8)


def forward(x: torch.Tensor, symmetry: tuple[bool, bool, bool]) -> torch.Tensor:
    """Apply a symmetry to the last two axes."""
    transpose, flip_i, flip_j = symmetry
    x = x.transpose(-2, -1) if transpose else x
    axes = [axis for axis, flip in ((-2, flip_i), (-1, flip_j)) if flip]
    return x.flip(axes) if axes else x


def backward(x: torch.Tensor, symmetry: tuple[bool, bool, bool]) -> torch.Tensor:
    """Undo `forward`."""
    transpose, flip_i, flip_j = symmetry
    axes = [axis for axis, flip in ((-2, flip_i), (-1, flip_j)) if flip]
    x = x.flip(axes) if axes else x
    return x.transpose(-2, -1) if transpose else x
