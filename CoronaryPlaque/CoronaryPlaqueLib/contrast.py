"""Is there contrast in the blood? From the pixels, since a header often does not say."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.image import Array
from scipy import ndimage

from .territory import STEP_MM, Territories

#: Above this the blood itself is nearly as bright as calcium; without contrast it measures 30 to 60 HU.
CONTRAST_HU = 110.0
#: Depth below its surface at which a bright body still counts: bones are thinner than filled chambers.
_DEPTH_STEPS = 5
_LEAST_ML = 8.0


def bright_body(hu: Array) -> float | None:
    """Median HU of the largest thick bright body on the coarse grid; None where there is none.

    Parameters
    ----------
    hu : numpy.ndarray
        ``(i, j, k)`` as of `territory.coarse`.
    """
    core = ndimage.binary_erosion(hu > CONTRAST_HU, iterations=_DEPTH_STEPS)
    parts, count = ndimage.label(core)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if sizes.max() * STEP_MM**3 / 1000.0 < _LEAST_ML:
        return None
    return float(np.median(hu[parts == sizes.argmax()]))


def blood_hu(hu: Array, found: Territories) -> float | None:
    """Median HU well inside heart and aorta; None where neither is in view."""
    inner = ndimage.binary_erosion(found.heart(), iterations=3) | ndimage.binary_erosion(
        found.probability[5] > 0.5, iterations=2
    )
    return float(np.median(hu[inner])) if inner.sum() > 30 else None
