"""The coronary tree grown out of the aorta: where a walker that starts there gets to through bright tubes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import arc_length
from scipy import ndimage
from scipy.spatial import cKDTree

from .aorta import Aorta
from .centreline import descend
from .vesselness import Field, field, working_grid

STEP_MM = 0.7
#: How far coronary arteries run from the lowest place where the aorta stands alone, in mm to the left, behind and
#: below, and from the highest of their origins to the right, in front and above; and how high origins are looked for.
_REACH_MM = (np.array([-95.0, -75.0, -125.0]), np.array([70.0, 110.0, 15.0]))
_ORIGINS_MM = 32.0
#: A vessel around which this share of a small cube is lung is none of the heart's.
_LUNG_HU, _LUNG_CUBE_MM, _LUNG_SHARE = -400.0, 7.7, 0.5
#: So much of an artery's beginning shows whether it opens into the vessel out of which it was grown.
_OPENING_MM = 6.0
#: Where nothing leads through.
_SLOWEST = 0.012
#: What is reached later is no part of the tree. What lies between two pieces of an artery is plaque or muscle: neither
#: fat nor, as bright as this share of the blood, a chamber. A piece beyond a gap is thinner than this on average.
_LATEST, _SOLID_HU, _CHAMBER_SHARE, _WIDEST_MM2 = 900.0, 0.0, 0.5, 20.0


@dataclass(frozen=True)
class GrowingParameters:
    """How the tree is grown.

    Attributes
    ----------
    tube : float
        From this speed on a voxel is taken for the inside of an artery.
    gap_mm : float
        A stretch without contrast up to this length is bridged, where no fat fills it and what lies beyond is longer.
    piece_mm : float
        Shorter pieces beyond a gap are left.
    branch_mm : float
        Shorter branches are left.
    speed : float
        Branches on which the mean speed is lower are left: edges of chambers and ways through muscle.
    wide_mm : float
        Around a line that was found nothing new is looked for within this distance.
    most : int
        At most so many lines.
    """

    tube: float = 0.18
    gap_mm: float = 14.0
    piece_mm: float = 8.0
    branch_mm: float = 12.0
    speed: float = 0.46
    wide_mm: float = 3.0
    most: int = 24


@dataclass(frozen=True, eq=False)
class Grown:
    """What was grown.

    Attributes
    ----------
    ways : tuple of numpy.ndarray
        ``(n, 3)`` RAS mm, each from the aorta's edge to the end of a branch; they share what they have in common.
    own_mm : tuple of float
        Length of each that no earlier one has.
    opens : tuple of bool
        Whether contrast leads on from the vessel's blood into the artery: there is no wall in between.
    """

    ways: tuple[Array, ...]
    own_mm: tuple[float, ...]
    opens: tuple[bool, ...]

    @property
    def open_mm(self) -> float:
        """Length of all that opens into the vessel's blood."""
        return float(sum(mm for mm, one in zip(self.own_mm, self.opens, strict=True) if one))


def grow(
    image: Image,
    aorta: Aorta,
    noise_hu: float,
    parameters: GrowingParameters | None = None,
    progress: Progress = silent,
) -> Grown:
    """Grow the coronary tree.

    Parameters
    ----------
    image : Image
        HU.
    aorta : Aorta
    noise_hu : float
        Of a voxel of the scan.
    parameters : GrowingParameters, optional
    progress : callable
    """
    parameters = parameters or GrowingParameters()
    progress(0.0, "Coronary tree: tubes")
    low = aorta.points[aorta.root]
    origins = aorta.points[:, 2] <= low[2] + _ORIGINS_MM
    aorta = replace(aorta, points=aorta.points[origins], radius_mm=aorta.radius_mm[origins])
    top = np.array([*low[:2], aorta.points[-1, 2]])
    corners = np.stack([low + _REACH_MM[0], top + _REACH_MM[1]])
    grid = working_grid(image, corners, 0.0, STEP_MM)
    made = field(grid, aorta.blood_hu, 0.4 * noise_hu)
    lung = (grid.array < _LUNG_HU).astype(np.float32)
    made.speed[ndimage.uniform_filter(lung, round(_LUNG_CUBE_MM / STEP_MM)) > _LUNG_SHARE] = _SLOWEST
    progress(0.5, "Coronary tree: growing")
    core, blood, wall = _aorta_masks(made, aorta)
    speed = made.speed.copy()
    # The walker begins in the aorta; around it arteries look thick, and their first millimetres are let through.
    # Where the blood is as bright as in the aorta it is an ostium; the aorta's own wall is darker.
    share = (grid.array[wall] / aorta.blood_hu - 0.45) / 0.35
    speed[wall] = np.maximum(speed[wall], 0.3 * np.clip(share, 0.05, 1.0))
    time = _march(speed, core)
    kept = _accepted(made, time, wall, aorta.blood_hu, parameters)
    progress(0.8, "Coronary tree: branches")
    ways, own = _branches(_length(kept, wall), time, made.speed, core, parameters, part(progress, 0.8, 1.0))
    ways = [_outside(w, blood) for w in ways]
    bright = [float(grid.array[tuple(w[: round(_OPENING_MM / STEP_MM)].T)].min()) for w in ways]
    opens = tuple(hu > _CHAMBER_SHARE * aorta.blood_hu for hu in bright)
    return Grown(tuple(grid.to_world(w) for w in ways), tuple(own), opens)


def _outside(way: Array, blood: Array) -> Array:
    """A way from the last of its voxels in the aorta on."""
    inside = np.flatnonzero(blood[tuple(way.T)])
    return way[min(int(inside[-1]) if len(inside) else 0, len(way) - 2) :]


def _aorta_masks(made: Field, aorta: Aorta) -> tuple[Array, Array, Array]:
    """The middle of the aorta, its blood, and blood with the rim in which arteries begin."""
    grid = made.image
    box_low, box_high = aorta.points.min(0) - 40.0, aorta.points.max(0) + 40.0
    a = np.clip(np.floor(grid.to_index(box_low[None])[0]), 0, grid.shape).astype(int)
    b = np.clip(np.ceil(grid.to_index(box_high[None])[0]), 0, grid.shape).astype(int)
    box = tuple(slice(x, y) for x, y in zip(a, b, strict=True))
    index = np.stack(np.meshgrid(*(np.arange(x, y) for x, y in zip(a, b, strict=True)), indexing="ij"), -1)
    world = grid.to_world(index.reshape(-1, 3))
    distance, nearest = cKDTree(aorta.points).query(world)
    inside = (distance < 0.8 * aorta.radius_mm[nearest]).reshape(index.shape[:3])
    inside &= grid.array[box] > 0.6 * aorta.blood_hu
    # Nothing begins above the highest origin.
    below = world[:, 2] <= aorta.points[-1, 2] + STEP_MM
    near = ((distance < aorta.radius_mm[nearest] + 9.0) & below).reshape(index.shape[:3])
    core, blood, wall = (np.zeros(grid.shape, bool) for _ in range(3))
    core[box] = inside
    # All of its blood that a short way through bright voxels leads to.
    bright = near & (grid.array[box] > 0.6 * aorta.blood_hu) & made.body[box]
    blood[box] = ndimage.binary_propagation(inside, mask=bright)
    rim = ndimage.binary_dilation(blood[box], iterations=3) & near & (grid.array[box] > 0.3 * aorta.blood_hu)
    wall[box] = blood[box] | rim
    return core, blood, wall


def _march(speed: Array, start: Array) -> Array:
    """Time of arrival from `start` (0 there)."""
    import SimpleITK as sitk

    edge = start & ~ndimage.binary_erosion(start)
    picture = sitk.GetImageFromArray(speed)
    picture.SetSpacing([STEP_MM] * 3)
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints([[int(v) for v in p[::-1]] for p in np.argwhere(edge)])
    march.SetStoppingValue(_LATEST)
    time = sitk.GetArrayFromImage(march.Execute(picture))
    time[start] = 0.0
    return np.asarray(time)


def _accepted(made: Field, time: Array, root: Array, blood_hu: float, p: GrowingParameters) -> Array:
    """Tubes that hang on the aorta `root`, by themselves or beyond short gaps, with the aorta, as a mask."""
    tube = (made.speed > p.tube) & (time < _LATEST) & ~root
    label, count = ndimage.label(tube, np.ones((3, 3, 3)))
    kept = root.copy()
    if not count:
        return kept
    boxes = ndimage.find_objects(label)
    extent = np.array([np.linalg.norm([(s.stop - s.start) * STEP_MM for s in b]) for b in boxes])
    touching = np.unique(label[ndimage.binary_dilation(root, np.ones((3, 3, 3)), iterations=2)])
    for n in touching[touching > 0]:
        kept[boxes[n - 1]] |= label[boxes[n - 1]] == n
    entries = []
    for n in np.setdiff1d(np.flatnonzero(extent >= p.piece_mm) + 1, touching):
        box = boxes[n - 1]
        own = np.where(label[box] == n, time[box], np.inf)
        at = np.array(np.unravel_index(int(own.argmin()), own.shape)) + [s.start for s in box]
        entries.append((float(own.min()), int(n), at))
    for _, n, at in sorted(entries, key=lambda e: e[:2]):
        way = descend(time, kept, at).astype(int)
        gap = float(arc_length(way)[-1]) * STEP_MM
        between = float(np.median(made.image.array[tuple(way.T)]))
        solid = _SOLID_HU < between < _CHAMBER_SHARE * blood_hu
        piece = label[boxes[n - 1]] == n
        thin = piece.sum() * STEP_MM**3 < _WIDEST_MM2 * extent[n - 1]
        if kept[tuple(way[0])] and solid and thin and gap <= min(p.gap_mm, 0.6 * extent[n - 1]):
            kept[boxes[n - 1]] |= piece
            _widen(kept, way)
    return kept


def _widen(kept: Array, way: Array) -> None:
    """Take a way of voxels and their neighbours into a mask, so that it hangs together by faces."""
    for shift in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)):
        kept[tuple(np.minimum(way + shift, np.array(kept.shape) - 1).T)] = True


def _length(kept: Array, root: Array) -> Array:
    """Length of the way from the aorta within a mask, NaN outside of it and in the aorta."""
    inside = np.where(kept, np.float32(1.0), np.float32(0.02))
    length = _march(inside, root)
    return np.where(kept & ~root & (length < 400.0), length, np.nan)


def _branches(
    length: Array, time: Array, speed: Array, core: Array, p: GrowingParameters, progress: Progress
) -> tuple[list[Array], list[float]]:
    """Ways to the farthest places, one after the other, until what is new is too short."""
    places = np.argwhere(np.isfinite(length))
    far = length[tuple(places.T)]
    near = cKDTree(places)
    on_way = core.copy()
    paths: list[Array] = []
    own: list[float] = []
    first_on: dict[tuple[int, ...], int] = {}
    while len(paths) < p.most and (far > 0).any():
        progress(len(paths) / p.most, "Coronary tree: branches")
        tip = int(np.argmax(far))
        new = descend(time, on_way, places[tip]).astype(int)
        for found in near.query_ball_point(new, p.wide_mm / STEP_MM):
            far[found] = 0.0
        far[tip] = 0.0
        own_mm = float(arc_length(new)[-1]) * STEP_MM
        if own_mm < p.branch_mm or float(speed[tuple(new.T)].mean()) < p.speed:
            continue
        trunk = first_on.get(tuple(new[0].tolist()))
        whole = new
        if trunk is not None:
            joint = int(np.flatnonzero((paths[trunk] == new[0]).all(1))[0])
            whole = np.concatenate([paths[trunk][:joint], new])
        for v in new.tolist():
            first_on.setdefault(tuple(v), len(paths))
        on_way[tuple(new.T)] = True
        paths.append(whole)
        own.append(own_mm)
    return paths, own
