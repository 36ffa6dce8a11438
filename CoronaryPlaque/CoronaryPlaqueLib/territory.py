"""Which vessel calcium would belong to, at every place of the chest: a 3-D network on a coarse grid.

Coronary arteries cannot be seen on a CT without contrast, but the heart, its fat and the great vessels can. The network
says for every place which territory it lies in; candidates are then called by where they lie (`calling`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.image import Array, Image
from scipy import ndimage

from .axial import axial

BUNDLE = "calcium_territories"
STEP_MM = 3.0
OUTSIDE_HU = -1024
#: Classes of the network. The first values are those of `vessels`; then the heart around them, and all the rest is 0.
HEART = 8
CLASSES = ("elsewhere", "LM", "LAD", "LCX", "RCA", "aorta", "aortic valve", "mitral valve", "heart")
#: Share of its largest cross-section with which a heart may still meet the last slice above and below: less is its tip.
#: From `_NEAR_SHARE` on the user is told that the tip may be missing.
_CUT_SHARE = {"above": 0.4, "below": 0.5}
_NEAR_SHARE = 0.3
_LEAST_HEART_ML = 150.0


@dataclass(frozen=True, eq=False)
class Territories:
    """Class probabilities on a coarse grid in RAS.

    Attributes
    ----------
    probability : numpy.ndarray
        ``(class, i, j, k)`` float32.
    affine : numpy.ndarray
        ``(4, 4)``, index to RAS mm.
    inside : numpy.ndarray
        ``(i, j, k)`` bool: where there is an image.
    record : dict
        Of the engine.
    """

    probability: Array
    affine: Array
    inside: Array
    record: dict[str, Any] = field(default_factory=dict)

    def heart(self) -> Array:
        """The heart with its coronary and valve territories ``(i, j, k)`` bool, its largest part without holes."""
        # The aorta is left out: it leaves the heart upwards, and that it does so is no cut.
        p = self.probability
        mask = (p[1:5].sum(0) + p[6:].sum(0)) > 0.5
        parts, count = ndimage.label(mask)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            mask = parts == sizes.argmax()
        filled: Array = ndimage.binary_fill_holes(mask)
        return filled

    def at(self, world: Array) -> Array:
        """Probabilities ``(n, class)`` at RAS points ``(n, 3)``, linear; "elsewhere" beyond the grid."""
        index = Image(self.inside, self.affine).to_index(world).T
        values = [ndimage.map_coordinates(c, index, order=1, mode="constant", cval=0.0) for c in self.probability]
        found = np.stack(values, 1)
        found[:, 0] += np.maximum(1.0 - found.sum(1), 0.0)
        return found


#: HU, whether inside the scan, affine: what `coarse` gives.
Grid = tuple[Array, Array, Array]


def coarse(image: Image, step_mm: float = STEP_MM) -> Grid:
    """The image averaged onto a grid along R, A, S.

    Returns
    -------
    hu : numpy.ndarray
        ``(i, j, k)`` float32; `OUTSIDE_HU` where there is no image.
    inside : numpy.ndarray
        ``(i, j, k)`` bool.
    affine : numpy.ndarray
        ``(4, 4)``.
    """
    stack = axial(image)
    factor = np.maximum((step_mm / stack.spacing + 0.25).astype(int), 1)
    factor = np.minimum(factor, stack.shape)
    shape = np.array(stack.shape) // factor
    a, b, c = (shape * factor).tolist()
    f, g, h = factor.tolist()
    blocks = stack.array[:a, :b, :c].reshape(shape[0], f, shape[1], g, shape[2], h)
    small = np.maximum(blocks.mean(axis=(1, 3, 5), dtype=np.float32), OUTSIDE_HU)
    affine = stack.affine.copy()
    affine[:3, :3] *= factor
    affine[:3, 3] = stack.to_world(((factor - 1) / 2)[None])[0]
    averaged = Image(small, affine)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in averaged.shape], indexing="ij")).reshape(3, -1).T
    world = averaged.to_world(corners)
    low, high = world.min(0), world.max(0)
    size = np.maximum(np.ceil((high - low) / step_mm - 0.05).astype(int), 1)
    target = np.diag([step_mm, step_mm, step_mm, 1.0])
    target[:3, 3] = (low + high) / 2 - (size - 1) / 2 * step_mm
    grid = (int(size[0]), int(size[1]), int(size[2]))
    # "nearest" beyond the outermost centres: an average with the fill value would look like lung.
    matrix = np.linalg.inv(affine) @ target
    hu = ndimage.affine_transform(
        small, matrix[:3, :3], matrix[:3, 3], output_shape=grid, order=1, mode="nearest", output=np.float32
    )
    index = [np.arange(n) for n in grid]
    place = sum(matrix[:3, n, None, None, None] * index[n].reshape([-1 if m == n else 1 for m in range(3)])
                for n in range(3)) + matrix[:3, 3, None, None, None]  # fmt: skip
    limit = np.array(small.shape)[:, None, None, None] - 0.45
    inside: Array = np.asarray(((place > -0.55) & (place < limit)).all(axis=0))
    hu[~inside] = OUTSIDE_HU
    return hu, inside, target


def network_input(hu: Array, inside: Array) -> Array:
    """Channels ``(3, i, j, k)`` float32: soft tissue window, whole range, where there is an image."""
    soft = np.clip((hu + 160.0) / 400.0, 0.0, 1.0)
    wide = np.clip((hu + 1000.0) / 1600.0, 0.0, 1.0)
    return np.stack([soft, wide, inside.astype(np.float32)]).astype(np.float32)


def find_territories(
    grid: Grid,
    *,
    device: str = "auto",
    precision: str = "auto",
    deterministic: bool = True,
    threads: int | None = None,
    progress: Progress = silent,
) -> Territories:
    """Run the network on a chest or heart CT.

    Parameters
    ----------
    grid : tuple
        Of `coarse`.
    device, precision, deterministic, threads
        See `VolumeEngine`.
    progress : callable

    Raises
    ------
    InputError
        The bundle's files are missing or changed, or the device is not there.
    Cancelled
        `progress` asked to stop.
    """
    from CardioPrecisionLib.bundle import registry
    from CardioPrecisionLib.bundle.volume import VolumeEngine

    engine = VolumeEngine(
        registry.get_bundle(BUNDLE), device=device, precision=precision, deterministic=deterministic, threads=threads
    )
    hu, inside, affine = grid
    probability, record = engine.predict(network_input(hu, inside), progress)
    return Territories(probability, affine, inside, record)


def edge_shares(found: Territories) -> dict[str, float]:
    """How large the heart still is at the upper and lower end of the scan, as a share of its largest cross-section."""
    areas = found.heart().sum(axis=(0, 1))
    levels = np.flatnonzero(found.inside.any(axis=(0, 1)))
    largest = max(int(areas.max()), 1)
    return {
        "above": float(areas[levels[-2:]].min() / largest),
        "below": float(areas[levels[:2]].min() / largest),
    }


def coverage_problem(found: Territories) -> str | None:
    """Why the heart is not there as a whole, in words; None where it is."""
    heart = found.heart()
    if heart.sum() * STEP_MM**3 / 1000.0 < _LEAST_HEART_ML:
        return "No whole heart was found in the scan."
    cut = [end for end, share in edge_shares(found).items() if share > _CUT_SHARE[end]]
    # Sideways: heart voxels at the edge of the field of view.
    rim = found.inside & ~ndimage.binary_erosion(found.inside, np.ones((3, 3, 1)))
    if (heart & rim).sum() > 0.03 * heart.sum():
        cut.append("at the side")
    return f"The scan cuts the heart off {' and '.join(cut)}." if cut else None


def coverage_warning(found: Territories) -> str | None:
    """What may be missing at an end of the scan although the heart was taken as whole."""
    near = [end for end, share in edge_shares(found).items() if _NEAR_SHARE < share <= _CUT_SHARE[end]]
    if not near:
        return None
    return (
        f"The heart reaches the last slice {' and '.join(near)}: its tip may lie outside of the scan, and calcium "
        "there is not counted."
    )
