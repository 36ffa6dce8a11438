"""Everything in and around the heart that could be calcium, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from scipy import ndimage

from .axial import axial
from .scoring import SLICE_MM, THIN_MM
from .territory import CLASSES, STEP_MM, Territories
from .vessels import AORTIC_VALVE, MITRAL_VALVE

#: How far outside of the heart's outline candidates are looked for.
MARGIN_MM = 9.0
#: The least calcium that can count: 1 mm² in one slice of 3 mm.
LEAST_MM3 = 3.0
LEAST_AREA_MM2 = 1.0
MAX_CANDIDATES = 400
#: Standard deviations of the blood in 3 mm averages that a candidate on thin slices must stand out by.
NOISE_SD = 4.0
_THROUGH = np.ones((3, 3, 3), bool)
#: Shell around a candidate in which its surroundings are looked at, in mm from its surface.
_SHELL_MM = 5.0

FEATURES = (
    *("p elsewhere", "p heart", "p sites"),
    *(f"share {name}" for name in CLASSES[1:8]),
    *("x in heart", "y in heart", "z in heart"),
    *("log volume", "max HU", "mean HU", "longest mm", "elongation", "fill"),
    *("fat around", "soft around", "lung around", "dense around", "depth in heart"),
    *("along ventricle", "toward aortic valve", "across", "from axis", "from aortic valve", "from mitral valve"),
    *(f"from {name} territory" for name in CLASSES[1:8]),
)
#: A territory further away than this (mm) is just far.
_FAR_MM = 45.0
_USUAL_HEART_MM = 85.0


@dataclass(frozen=True, eq=False)
class _Frame:
    """Where a heart lies and how it is turned.

    Attributes
    ----------
    center, half : numpy.ndarray
        Middle and half-widths of the heart along R, A, S in mm, robust to its fringes.
    size : float
        1 for a heart of usual size.
    aortic_valve, mitral_valve : numpy.ndarray
        RAS mm.
    axes : numpy.ndarray
        ``(3, 3)`` rows: from the mitral valve to the apex; across it towards the aortic valve; the third one.
    distance : numpy.ndarray
        ``(7, i, j, k)`` mm to each territory on the coarse grid.
    """

    center: Array
    half: Array
    size: float
    aortic_valve: Array
    mitral_valve: Array
    axes: Array
    distance: Array

    def place(self, point: Array) -> list[float]:
        """Features of a point that do not depend on how the heart lies in the chest."""
        scale = self.size * 40.0
        along, toward, across = (self.axes @ (point - self.mitral_valve) / scale).tolist()
        away = [float(np.linalg.norm(point - valve)) / scale for valve in (self.aortic_valve, self.mitral_valve)]
        return [along, toward, across, float(np.hypot(toward, across)), *away]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One connected region at or above the threshold.

    Attributes
    ----------
    at : numpy.ndarray
        ``(3, n)`` voxel indices in ``axial(image)``.
    center_mm : numpy.ndarray
        RAS mm.
    volume_mm3, max_hu : float
    features : numpy.ndarray
        As `FEATURES`.
    """

    at: Array
    center_mm: Array
    volume_mm3: float
    max_hu: float
    features: Array


def _region(found: Territories) -> tuple[Array, Array]:
    """Where candidates may lie ``(i, j, k)`` bool on the coarse grid, and the depth below the heart's surface in mm."""
    heart = found.heart()
    grown = heart | (found.probability[1:8].sum(0) > 0.5)
    distance = ndimage.distance_transform_edt(~grown, sampling=STEP_MM)
    depth = ndimage.distance_transform_edt(heart, sampling=STEP_MM) - ndimage.distance_transform_edt(
        ~heart, sampling=STEP_MM
    )
    return distance <= MARGIN_MM, depth


def find_candidates(image: Image, found: Territories, threshold_hu: int = 130) -> list[Candidate]:
    """Candidates, the largest first.

    Thin slices are noisy: there a candidate must also show in 3 mm averages, with 1 mm² above the threshold and above
    the noise of the blood.

    Parameters
    ----------
    image : Image
        CT in HU, in any orientation.
    found : Territories
    threshold_hu : int
    """
    region, depth = _region(found)
    if not region.any():
        return []
    stack = axial(image)
    coarse_grid = Image(region, found.affine)
    lower, upper = _box(stack, coarse_grid)
    if (upper <= lower).any():
        return []
    box = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    hu = stack.array[box]
    bright = hu >= threshold_hu
    at = np.stack(np.nonzero(bright))
    if not at.size:
        return []
    world = stack.to_world((at + lower[:, None]).T)
    inside = _nearest(region, coarse_grid, world)
    bright[tuple(at[:, ~inside])] = False
    parts, count = ndimage.label(bright, _THROUGH)
    if not count:
        return []
    voxel = stack.voxel_ml * 1000.0
    pixel = voxel / stack.spacing[2]
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    good = sizes * voxel >= min(LEAST_MM3, max(LEAST_AREA_MM2 * stack.spacing[2], voxel))
    good &= sizes * pixel >= LEAST_AREA_MM2 * (1 - 1e-4)
    good[0] = False
    if stack.spacing[2] < THIN_MM:
        n = max(round(SLICE_MM / stack.spacing[2]), 1)
        thick = ndimage.uniform_filter1d(hu.astype(np.float32), n, axis=2, mode="nearest")
        least = max(float(threshold_hu), _above_noise(thick, stack, lower, depth, coarse_grid))
        reaches = np.bincount(parts[bright & (thick >= least)], minlength=count + 1)
        good &= reaches * pixel >= LEAST_AREA_MM2 * (1 - 1e-4)
    chosen = np.flatnonzero(good)
    chosen = chosen[np.argsort(-sizes[chosen], kind="stable")][:MAX_CANDIDATES]
    frame = _heart_frame(found)
    boxes = ndimage.find_objects(parts)
    return [_candidate(stack, hu, parts, int(n), boxes[n - 1], lower, found, depth, frame) for n in chosen]


def _above_noise(thick: Array, stack: Image, lower: Array, depth: Array, coarse_grid: Image) -> float:
    """HU that noise in the heart hardly reaches: its median and `NOISE_SD` robust standard deviations."""
    centers = np.argwhere(depth > 12.0)
    index = np.rint(stack.to_index(coarse_grid.to_world(centers))).astype(int) - lower
    inside = ((index >= 0) & (index < thick.shape)).all(axis=1)
    values = thick[tuple(index[inside].T)]
    if values.size < 100:
        return -np.inf
    middle = float(np.median(values))
    return middle + NOISE_SD * 1.4826 * float(np.median(np.abs(values - middle)))


def _box(stack: Image, region: Image) -> tuple[Array, Array]:
    """Half-open box of stack indices that holds the region."""
    where = np.argwhere(region.array)
    low, high = where.min(0) - 0.5, where.max(0) + 0.5
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    index = stack.to_index(region.to_world(corners))
    lower = np.clip(np.floor(index.min(0)).astype(int), 0, stack.shape)
    upper = np.clip(np.ceil(index.max(0)).astype(int) + 1, 0, stack.shape)
    return lower, upper


def _nearest(values: Array, grid: Image, world: Array) -> Array:
    """Values of the grid's nearest voxels at RAS points; of the outermost ones beyond it."""
    index = np.rint(grid.to_index(world)).astype(int)
    inside = np.clip(index, 0, np.array(values.shape) - 1)
    picked: Array = values[tuple(inside.T)]
    return picked


def _heart_frame(found: Territories) -> _Frame:
    heart = found.heart()
    grid = Image(found.inside, found.affine)
    points = grid.to_world(np.argwhere(heart))
    low, middle, high = np.percentile(points, (5, 50, 95), axis=0)
    aortic, mitral = (_center(found, label, middle) for label in (AORTIC_VALVE, MITRAL_VALVE))
    away = np.linalg.norm(points - aortic, axis=1)
    apex = points[away >= np.quantile(away, 0.98)].mean(0)
    axis = _unit(apex - mitral, np.array([-0.6, 0.6, -0.5]))
    toward = aortic - mitral
    toward = _unit(toward - (toward @ axis) * axis, np.cross(axis, (0.0, 0.0, 1.0)))
    kinds = found.probability.argmax(0)
    distance = np.full((7, *heart.shape), _FAR_MM, np.float32)
    for n in range(7):
        own = kinds == n + 1
        if own.any():
            distance[n] = np.minimum(ndimage.distance_transform_edt(~own, sampling=STEP_MM), _FAR_MM)
    size = (len(points) * STEP_MM**3) ** (1 / 3) / _USUAL_HEART_MM
    axes = np.stack([axis, toward, np.cross(axis, toward)])
    return _Frame(middle, np.maximum((high - low) / 2, 10.0), max(size, 0.5), aortic, mitral, axes, distance)


def _center(found: Territories, label: int, otherwise: Array) -> Array:
    """RAS mm of the middle of a territory, by probability, so that an unsure one has a middle as well."""
    weight = found.probability[label] ** 2
    if not weight.any():
        return otherwise
    index = np.argwhere(weight > 0.05 * weight.max())
    world = Image(found.inside, found.affine).to_world(index)
    middle: Array = np.average(world, axis=0, weights=weight[tuple(index.T)])
    return middle


def _unit(vector: Array, otherwise: Array) -> Array:
    size = float(np.linalg.norm(vector))
    unit: Array = vector / size if size > 1.0 else otherwise / np.linalg.norm(otherwise)
    return unit


def _candidate(
    stack: Image,
    hu: Array,
    parts: Array,
    number: int,
    box: tuple[slice, ...],
    lower: Array,
    found: Territories,
    depth: Array,
    frame: _Frame,
) -> Candidate:
    spacing = stack.spacing
    own = parts[box] == number
    at = np.stack(np.nonzero(own)) + np.array([s.start for s in box])[:, None]
    values = hu[tuple(at)].astype(np.float64)
    index = at + lower[:, None]
    world = stack.to_world(index.T)
    center = world.mean(0)
    volume = values.size * stack.voxel_ml * 1000.0
    # Size along its own axes; a voxel's own extent keeps small ones from being flat.
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(world.T) if values.size > 1 else np.zeros((3, 3))), 0))
    spread = np.sqrt(spread**2 + (float(spacing.mean()) ** 2) / 12)
    longest = 3.46 * spread[2]  # the length of a uniform rod with this spread
    fill = volume / max(float(np.prod(3.46 * spread)), 1e-6)
    around = _around(hu, parts, number, box, spacing)
    probability = found.at(world).mean(0)
    place = (center - frame.center) / frame.half
    grid = Image(found.inside, found.affine)
    features = np.array(
        [
            *_shares(probability),
            *place,
            np.log10(volume),
            values.max() / 500.0,
            values.mean() / 300.0,
            longest / 10.0,
            spread[2] / spread[1] / 3.0,
            fill,
            *around,
            float(_nearest(depth, grid, center[None])[0]) / 20.0,
            *frame.place(center),
            *(float(_nearest(d, grid, center[None])[0]) / 20.0 for d in frame.distance),
        ],
        np.float32,
    )
    return Candidate(index, center, float(volume), float(values.max()), features)


def _shares(probability: Array) -> Array:
    """Elsewhere, heart, all sites together, and each site's share of them: which one counts even where none is sure."""
    sites = probability[1:8]
    total = sites.sum()
    return np.array([probability[0], probability[8], total, *(sites / (total + 0.02))])


def _around(hu: Array, parts: Array, number: int, box: tuple[slice, ...], spacing: Array) -> tuple[float, ...]:
    """Shares of fat, soft tissue, lung and other dense voxels in a shell around a candidate."""
    reach = np.ceil(_SHELL_MM / spacing).astype(int)
    wide = tuple(slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in zip(box, reach, hu.shape, strict=True))
    own = parts[wide] == number
    distance = ndimage.distance_transform_edt(~own, sampling=spacing)
    shell = hu[wide][(distance > 1.0) & (distance <= _SHELL_MM)]
    if not shell.size:
        return 0.0, 0.0, 0.0, 0.0
    fat = float(((shell > -180) & (shell < -20)).mean())
    soft = float(((shell >= -20) & (shell < 130)).mean())
    lung = float((shell < -400).mean())
    dense = float((shell >= 130).mean())
    return fat, soft, lung, dense
