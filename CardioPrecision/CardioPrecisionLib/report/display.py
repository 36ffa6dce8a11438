"""How a slice is laid on the screen: right way round and up, cropped, with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ..image import Array

# Viewing convention of radiology for all three planes at once: to the right of the picture the patient's left or back,
# downwards the patient's back or feet (axial L/P, coronal L/F, sagittal P/F; a short axis lies between them). RAS.
_TO_RIGHT = np.array([-1.0, -1.0, 0.0]) / np.sqrt(2)
_DOWNWARDS = np.array([0.0, -1.0, -1.0]) / np.sqrt(2)
_LETTERS = ("RL", "AP", "HF")


def direction_letters(direction: Array, share: float = 0.35) -> str:
    """Patient direction of a RAS vector as DICOM writes it, the main one first: "L", "PF"; small parts are left out."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(unit))
    return "".join(_LETTERS[a][0 if unit[a] > 0 else 1] for a in order if abs(unit[a]) >= share)[:2]


@dataclass(frozen=True)
class SliceView:
    """From a slice's ``(i, j)`` array to the ``(row, column)`` of a picture: a transposition and flips, no resampling.

    Attributes
    ----------
    transpose : bool
        True where rows of the picture run along j (the usual case), False where they run along i.
    flip_rows, flip_columns : bool
    right, down : numpy.ndarray
        RAS unit vectors of the picture's axes.
    row_mm, column_mm : float
        Distance between rows and between columns.
    tilted : bool
        Whether any voxel axis is oblique to the patient. A short axis always is; where it is not, the file has lost
        its orientation and direction letters would be an invention.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    right: Array
    down: Array
    row_mm: float
    column_mm: float
    tilted: bool

    def apply(self, plane: Array) -> Array:
        """A view of ``(i, j, ...)`` as ``(row, column, ...)``."""
        picture = plane.swapaxes(0, 1) if self.transpose else plane
        return picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def direction(self, along_i: float, along_j: float) -> tuple[float, float]:
        """A direction in the slice, in mm along i and j, as (right, down) of the picture."""
        across, downwards = (along_i, along_j) if self.transpose else (along_j, along_i)
        return (-across if self.flip_columns else across, -downwards if self.flip_rows else downwards)

    @property
    def letters(self) -> dict[str, str]:
        """Patient directions at the four edges; empty where the file does not know them."""
        if not self.tilted:
            return {}
        return {
            "right": direction_letters(self.right),
            "left": direction_letters(-self.right),
            "bottom": direction_letters(self.down),
            "top": direction_letters(-self.down),
        }


def slice_view(affine: Array) -> SliceView:
    """The view of ``(i, j)`` slices that comes closest to the viewing convention.

    Parameters
    ----------
    affine : numpy.ndarray
        ``(4, 4)`` index to RAS mm; slices are stacked along k.
    """
    matrix = np.asarray(affine, float)[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    axes = matrix / spacing
    best: tuple[float, SliceView] | None = None
    for transpose, flip_rows, flip_columns in product((True, False), (False, True), (False, True)):
        row_axis, column_axis = (1, 0) if transpose else (0, 1)
        down = axes[:, row_axis] * (-1 if flip_rows else 1)
        right = axes[:, column_axis] * (-1 if flip_columns else 1)
        score = float(right @ _TO_RIGHT + down @ _DOWNWARDS)
        if best is None or score > best[0] + 1e-9:
            best = (
                score,
                SliceView(
                    transpose,
                    flip_rows,
                    flip_columns,
                    right,
                    down,
                    float(spacing[row_axis]),
                    float(spacing[column_axis]),
                    bool((np.abs(axes).max(0) < 0.9995).any()),
                ),
            )
    assert best is not None
    return best[1]


@dataclass(frozen=True)
class Crop:
    """A window of a picture: ``top <= row < bottom``, ``left <= column < right``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left


def crop_around(mask: Array, row_mm: float, column_mm: float, margin_mm: float = 14.0) -> Crop:
    """A square (in mm) about everything that is set in a ``(row, column)`` mask; all of it where nothing is set."""
    rows, columns = mask.shape
    if not mask.any():
        return Crop(0, rows, 0, columns)
    at_rows, at_columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height = (at_rows[-1] - at_rows[0] + 1) * row_mm
    width = (at_columns[-1] - at_columns[0] + 1) * column_mm
    side = max(height, width) + 2 * margin_mm

    def bounds(first: int, last: int, mm: float, n: int) -> tuple[int, int]:
        size = min(n, int(np.ceil(side / mm)))
        start = round((first + last + 1) / 2 - size / 2)
        start = min(max(start, 0), n - size)
        return start, start + size

    top, bottom = bounds(at_rows[0], at_rows[-1], row_mm, rows)
    left, right = bounds(at_columns[0], at_columns[-1], column_mm, columns)
    return Crop(top, bottom, left, right)
