"""How likely a place is the inside of a contrast-filled artery: brightness, tube shape, and not a chamber.

Everything here works on a grid of even spacing that is aligned with the patient, so that the scan's own orientation and
slice distance do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from scipy import ndimage

#: Scales (mm) of the tube filter: arteries of about 1.2 to 6 mm.
SCALES_MM = (0.75, 1.1, 1.6, 2.3)
#: A bright body that holds a ball of this radius is no coronary artery.
BODY_RADIUS_MM = 4.5
_LOWEST_HU = -100.0
_FAT_HU = -30.0


@dataclass(frozen=True, eq=False)
class Field:
    """What the search walks on.

    Attributes
    ----------
    image : Image
        Smoothed HU on the working grid, float32.
    speed : numpy.ndarray
        ``(i, j, k)`` float32 in 0..1: 1 in the middle of an artery.
    body : numpy.ndarray
        ``(i, j, k)`` bool: inside of chambers, aorta and other thick bright bodies, muscle included.
    """

    image: Image
    speed: Array
    body: Array


def working_grid(image: Image, points: Array, margin_mm: float, step_mm: float) -> Image:
    """The part of a scan around points ``(n, 3)`` RAS mm, smoothed, on a grid of `step_mm` aligned with the patient.

    Outside of the scan it holds -1024.
    """
    low, shape, high = working_box(image, points, margin_mm, step_mm)
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = low
    # Only the voxels that the box needs are smoothed.
    corners = np.array([[(low, high)[(n >> a) & 1][a] for a in range(3)] for n in range(8)])
    index = image.to_index(corners)
    first, last = np.floor(index.min(0)).astype(int) - 3, np.ceil(index.max(0)).astype(int) + 4
    part = image.crop((first[0], first[1], first[2]), (last[0], last[1], last[2]))
    sigma = 0.5 * step_mm / part.spacing
    smooth = part.with_array(ndimage.gaussian_filter(part.array.astype(np.float32), sigma, mode="nearest"))
    return smooth.resample(affine, shape, order=1, fill=-1024.0)


def working_box(
    image: Image, points: Array, margin_mm: float, step_mm: float
) -> tuple[Array, tuple[int, int, int], Array]:
    """Lower corner (RAS mm), shape and upper corner of what `working_grid` makes."""
    box = _corners(image)
    low = np.maximum(points.min(0) - margin_mm, box.min(0))
    high = np.minimum(points.max(0) + margin_mm, box.max(0))
    i, j, k = (int(n) for n in np.maximum(np.ceil((high - low) / step_mm), 1) + 1)
    return low, (i, j, k), high


def _corners(image: Image) -> Array:
    n = np.array(image.shape) - 1
    return image.to_world(np.array([[(0, n[a])[(m >> a) & 1] for a in range(3)] for m in range(8)]))


def field(image: Image, lumen_hu: float, noise_hu: float) -> Field:
    """Speed of a walker on the working grid.

    Parameters
    ----------
    image : Image
        As of `working_grid`.
    lumen_hu : float
        Blood in the artery at its ostium.
    noise_hu : float
        Standard deviation on the working grid; calcium begins well above it.
    """
    step = float(image.spacing[0])
    low, high = 0.22 * lumen_hu, 0.6 * lumen_hu
    hu = np.clip(image.array, _LOWEST_HU, None)
    # Calcium is mirrored: it is no lumen, but in doubt a way through it is better than one through fat.
    most = 1.12 * lumen_hu + 2 * noise_hu
    hu = np.where(hu > most, np.maximum(2 * most - hu, 1.2 * low), hu)
    body = thick(image.array > 0.36 * lumen_hu, step, BODY_RADIUS_MM)
    bright = hu > low
    where = np.flatnonzero(bright & ~body)
    tube = tubeness(hu, where, step, lumen_hu)
    gate = np.clip((hu.reshape(-1)[where] - low) / (high - low), 0, 1)
    speed = np.where(image.array > _FAT_HU, np.float32(0.03), np.float32(0.012))
    speed.reshape(-1)[where] = np.maximum(0.03, (gate * (0.12 + 0.88 * tube)) ** 1.5)
    speed[body] = 0.012
    return Field(image, speed.astype(np.float32), body)


def thick(mask: Array, step_mm: float, radius_mm: float) -> Array:
    """The parts of a mask that balls of `radius_mm` fill, and their rim (a morphological opening by distances)."""
    import SimpleITK as sitk

    if not mask.any() or mask.all():
        return mask.copy()

    def inside(m: Array) -> Array:
        picture = sitk.GetImageFromArray(m.astype(np.uint8))
        picture.SetSpacing([step_mm] * 3)
        measure = sitk.SignedMaurerDistanceMapImageFilter()
        measure.SetInsideIsPositive(True)
        measure.SetSquaredDistance(False)
        measure.SetUseImageSpacing(True)
        return np.asarray(sitk.GetArrayFromImage(measure.Execute(picture)))

    core = inside(mask) > radius_mm
    if not core.any():
        return np.zeros_like(mask)
    # Distances count from the outermost voxels of either side: both steps together lose a voxel and a half. One
    # more takes in the rim, which is round enough to look like a tube.
    return mask & (inside(core) > -radius_mm - 2.5 * step_mm)


def tubeness(hu: Array, where: Array, step_mm: float, contrast_hu: float) -> Array:
    """How much like a bright tube the surroundings look, 0..1, at flat indices `where` ``(n,)``.

    The lesser of the two curvatures across, at the best of several scales: a bright plane has one, a tube two. It is
    measured against what a tube of `contrast_hu` with a Gaussian profile of the same scale gives. Eigenvalues of the
    Hessian as in Sato Y et al., Med Image Anal 1998;2:143.
    """
    best = np.zeros(len(where), np.float32)
    if not len(where):
        return best
    i = np.stack(np.unravel_index(where, hu.shape))
    for scale in SCALES_MM:
        smooth = ndimage.gaussian_filter(hu, scale / step_mm, mode="nearest", truncate=3.0)
        h = max(1, round(0.6 * scale / step_mm))

        def both(*step: int, smooth: Array = smooth, h: int = h) -> Array:
            """The sum of the two voxels that lie `step` ahead and behind."""
            total = np.zeros(len(where), np.float32)
            for sign in (-h, h):
                at = [np.clip(axis + sign * d, 0, n - 1) for axis, d, n in zip(i, step, hu.shape, strict=True)]
                total += smooth[at[0], at[1], at[2]]
            return total

        middle = both(0, 0, 0)
        xx, yy, zz = both(1, 0, 0) - middle, both(0, 1, 0) - middle, both(0, 0, 1) - middle
        xy = (both(1, 1, 0) - both(1, -1, 0)) / 4
        xz = (both(1, 0, 1) - both(1, 0, -1)) / 4
        yz = (both(0, 1, 1) - both(0, 1, -1)) / 4
        along = _middle_eigenvalue(xx, yy, zz, xy, xz, yz) * (scale / (h * step_mm)) ** 2
        np.maximum(best, np.clip(-along / (0.22 * contrast_hu), 0, 1), out=best)
    return best


def _middle_eigenvalue(xx: Array, yy: Array, zz: Array, xy: Array, xz: Array, yz: Array) -> Array:
    """The middle eigenvalue of symmetric 3 x 3 matrices, in closed form."""
    q = (xx + yy + zz) / 3
    a, b, c = xx - q, yy - q, zz - q
    p = np.sqrt(np.maximum((a * a + b * b + c * c + 2 * (xy * xy + xz * xz + yz * yz)) / 6, 1e-12))
    det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(np.clip(det / (2 * p**3), -1, 1)) / 3
    largest = q + 2 * p * np.cos(angle)
    smallest = q + 2 * p * np.cos(angle + 2 * np.pi / 3)
    return np.asarray(3 * q - largest - smallest)
