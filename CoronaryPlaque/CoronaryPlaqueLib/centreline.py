"""The middle line of a coronary artery between a reader's points.

A walker spreads from the ostium at a speed that is high in bright tubes and low everywhere else (fast marching); its
way back from the distal point is the path. The path is then moved to the lumen's middle on cross-sections, below a
voxel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import arc_length, stretches
from scipy import ndimage

from .centring import centred
from .sections import sample
from .seeds import VesselSeeds
from .side_by_side import side_by_side
from .vesselness import Field, field, thick, working_box, working_grid

#: Below this the blood at an ostium holds no contrast that an artery could be followed by.
LEAST_CONTRAST_HU = 150.0
_SNAP_MM = 2.0
_OSTIUM_ZONE_MM = 9.0
#: A ball of this radius fits into the aorta, but into no left main artery.
_AORTA_RADIUS_MM = 6.0
#: The search looks no farther than this beyond the points.
_WIDEST_MM = 80.0
_TRIES = 4
#: Slower than this the walker is in no tube.
_NO_TUBE = 0.06


class Untraceable(Exception):
    """Why there is no middle line for a vessel; the message is one line for the user."""


@dataclass(frozen=True)
class CentrelineParameters:
    """How an artery is followed.

    Attributes
    ----------
    margin_mm : float
        The search looks this far beyond the box around the points; arteries bulge.
    step_mm : float
        Of the grid of the search.
    spacing_mm : float
        Between the points of the result.
    gap_mm : float
        Longest stretch without contrast that is bridged; it is told as a gap.
    chamber_mm : float
        Longest stretch inside a chamber or the aorta, beyond the ostium, that is let through.
    """

    margin_mm: float = 35.0
    step_mm: float = 0.6
    spacing_mm: float = 0.4
    gap_mm: float = 25.0
    chamber_mm: float = 4.0


@dataclass(frozen=True, eq=False)
class Centreline:
    """The middle line of one artery from its ostium on.

    Attributes
    ----------
    vessel : str
    points : numpy.ndarray
        ``(n, 3)`` RAS mm at even steps.
    radius_mm : numpy.ndarray
        ``(n,)`` radius of the circle with the lumen's area; NaN where no lumen was seen.
    lumen_hu : numpy.ndarray
        ``(n,)`` blood, without partial volume.
    gaps : tuple of (start mm, end mm)
        Stretches in which no contrast was seen.
    noise_hu : float
        Standard deviation of the scan's noise.
    """

    vessel: str
    points: Array
    radius_mm: Array
    lumen_hu: Array
    gaps: tuple[tuple[float, float], ...] = ()
    noise_hu: float = 0.0

    @property
    def s(self) -> Array:
        """Distance from the ostium ``(n,)`` in mm."""
        return arc_length(self.points)

    @property
    def length_mm(self) -> float:
        return float(self.s[-1])


def noise_of(image: Image) -> float:
    """Standard deviation of the noise in HU, from second differences over two voxels in fat, soft tissue and blood.

    Neighbours are correlated by the kernel: they are two voxels apart. 20 where there is too little tissue.
    """
    step = max(1, int(np.prod(image.shape) // 2_000_000))
    a = image.array.transpose(np.argsort([-s for s in image.array.strides], kind="stable")).reshape(-1)
    left, middle, right = (a[n : a.size - 4 + n : step].astype(np.float32) for n in (0, 2, 4))
    bend = left - 2 * middle + right
    tissue = (middle > -200) & (middle < 800) & (np.abs(left - right) < 150)
    if tissue.sum() < 1000:
        return 20.0
    return float(np.median(np.abs(bend)[tissue]) / (0.6745 * np.sqrt(6)))


def trace_all(
    image: Image,
    seeds: Iterable[VesselSeeds],
    parameters: CentrelineParameters | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, Centreline], dict[str, str]]:
    """Follow several arteries.

    Returns
    -------
    lines : dict of str to Centreline
    reasons : dict of str to str
        For every vessel without a line, why.
    """
    seeds = list(seeds)

    def followed(one: VesselSeeds, told: Progress) -> Centreline | str:
        try:
            return trace(image, one, parameters, told)
        except Untraceable as error:
            return str(error)

    made = side_by_side(followed, seeds, progress, lambda one: f"{one.vessel}: middle line")
    lines: dict[str, Centreline] = {}
    reasons: dict[str, str] = {}
    for one, found in zip(seeds, made, strict=True):
        if isinstance(found, str):
            reasons[one.vessel] = found
        else:
            lines[one.vessel] = found
    return lines, reasons


def trace(
    image: Image, seeds: VesselSeeds, parameters: CentrelineParameters | None = None, progress: Progress = silent
) -> Centreline:
    """Follow one artery from its ostium to its distal point.

    Parameters
    ----------
    image : Image
        HU.
    seeds : VesselSeeds
    parameters : CentrelineParameters, optional
    progress : callable

    Raises
    ------
    Untraceable
        A point lies outside of the scan or of any artery, there is no contrast, or the way would lead through a chamber
        or a long stretch without contrast.
    """
    parameters = parameters or CentrelineParameters()
    name = seeds.vessel
    progress(0.0, f"{name}: search")
    _inside(image, seeds)
    noise = noise_of(image)
    grid = working_grid(image, seeds.points, parameters.margin_mm, parameters.step_mm)
    blood = _blood(grid, seeds)
    made = field(grid, blood, 0.4 * noise)
    points = _snapped(made, seeds, blood)
    speed = made.speed.copy()
    # In the ostium the artery hangs on the aorta: there the way may begin inside of it.
    zone = _ball(grid, points[0], _OSTIUM_ZONE_MM)
    here = speed[zone[0]]
    here[zone[1] & made.body[zone[0]]] = 0.3
    progress(0.3, f"{name}: search")
    legs = [_leg(grid, speed, a, b, name) for a, b in pairwise(points)]
    rough = np.concatenate([legs[0], *(leg[1:] for leg in legs[1:])])
    wider = replace(parameters, margin_mm=parameters.margin_mm + 25.0) if parameters.margin_mm < _WIDEST_MM else None
    if wider and _along_border(image, grid, rough):
        # An artery that bulges beyond the box would be cut short along its border.
        return trace(image, seeds, wider, progress)
    rough = _from_ostium(grid, rough, points[0], blood)
    _no_chamber(made, rough, points[0], blood, parameters, name)
    progress(0.6, f"{name}: middle of the lumen")
    if len(rough) < 8 or arc_length(rough)[-1] < 4.0:
        raise Untraceable(f"{name}: the way between the points is shorter than 4 mm.")
    line = centred(image, rough, blood, noise, parameters.spacing_mm)
    gaps = _gaps(image, line, noise)
    for start, end in gaps:
        if end - start > parameters.gap_mm:
            if wider and grid.shape != working_box(image, seeds.points, wider.margin_mm, wider.step_mm)[1]:
                # The artery may run around, outside of the box.
                return trace(image, seeds, wider, progress)
            raise Untraceable(
                f"{name}: between {start:.0f} and {end:.0f} mm from the ostium no contrast was found on the way; set a "
                "point in between, or one on the same artery."
            )
    progress(1.0, f"{name}: done")
    return Centreline(name, line[0], line[1], line[2], gaps, noise)


# -- seeds -------------------------------------------------------------------------------------------------------------
def _inside(image: Image, seeds: VesselSeeds) -> None:
    for role, point in _roles(seeds):
        index = image.to_index(point[None])[0]
        if (index < 0).any() or (index > np.array(image.shape) - 1).any():
            raise Untraceable(f"{seeds.vessel}: the {role} point {_place(point)} lies outside of the scan.")


def _roles(seeds: VesselSeeds) -> list[tuple[str, Array]]:
    roles = ["ostium", *["via"] * len(seeds.via), "distal"]
    return list(zip(roles, seeds.points, strict=True))


def _place(point: Array) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in point) + " mm RAS)"


def _offsets(grid: Image, box: tuple[slice, slice, slice], point: Array) -> Array:
    """From a point to the voxels of a box ``(i, j, k, 3)`` in mm, on the working grid."""
    index = np.stack(np.meshgrid(*(np.arange(b.start, b.stop) for b in box), indexing="ij"), -1)
    return np.asarray((index - grid.to_index(point[None])[0]) * grid.spacing)


def _ball(grid: Image, point: Array, radius_mm: float) -> tuple[tuple[slice, slice, slice], Array]:
    """The box around a point, and which of its voxels lie within `radius_mm`."""
    step = grid.spacing
    index = grid.to_index(point[None])[0]
    low = np.maximum(np.ceil(index - radius_mm / step), 0).astype(int)
    high = np.minimum(np.floor(index + radius_mm / step) + 1, grid.shape).astype(int)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    return box, (_offsets(grid, box, point) ** 2).sum(-1) <= radius_mm**2


def _blood(grid: Image, seeds: VesselSeeds) -> float:
    """Blood at the ostium: the bright part of a ball around the point, calcium cut off."""
    box, ball = _ball(grid, seeds.ostium, 3.0)
    values = grid.array[box][ball]
    bright = float(np.percentile(values, 95)) if values.size else -1024.0
    if bright > 900:
        # Calcium or a stent at the point: the level that most of the bright voxels have.
        bright = float(np.median(values[values > LEAST_CONTRAST_HU]))
    if bright < LEAST_CONTRAST_HU:
        whole = grid.array[grid.array > 0]
        most = float(np.percentile(whole, 99)) if whole.size else -1024.0
        if most < LEAST_CONTRAST_HU:
            raise Untraceable(
                f"{seeds.vessel}: around the ostium point {_place(seeds.ostium)} the blood has {bright:.0f} HU; "
                "this is no contrast-enhanced scan."
            )
        raise Untraceable(
            f"{seeds.vessel}: the ostium point {_place(seeds.ostium)} is not in contrast-filled blood "
            f"({bright:.0f} HU); set it where the artery leaves the aorta."
        )
    return bright


def _snapped(made: Field, seeds: VesselSeeds, blood: float) -> list[Array]:
    """The points moved to the fastest place nearby; a point without an artery nearby is told."""
    out = []
    for role, point in _roles(seeds):
        box, ball = _ball(made.image, point, _SNAP_MM)
        reach = np.linalg.norm(_offsets(made.image, box, point), axis=-1) / _SNAP_MM
        speed = np.where(ball, made.speed[box] * (1 - 0.6 * reach**2), 0.0)
        best = np.unravel_index(int(speed.argmax()), speed.shape)
        if role == "ostium":
            # It stays where it is: the aorta's edge is no tube.
            out.append(point)
            continue
        if made.speed[box][best] < _NO_TUBE:
            most = float(made.image.array[box][ball].max())
            inside = bool(made.body[box][ball].mean() > 0.5) and most > 0.5 * blood
            dark = f"finds at most {most:.0f} HU within 2 mm"
            what = "lies in a chamber, a great vessel or muscle" if inside else dark
            raise Untraceable(
                f"{seeds.vessel}: the {role} point {_place(point)} {what}; set it in the contrast-filled artery."
            )
        out.append(made.image.to_world(np.array(best)[None] + [b.start for b in box])[0])
    return out


# -- search ------------------------------------------------------------------------------------------------------------
def _leg(grid: Image, speed: Array, start: Array, end: Array, name: str) -> Array:
    """The fastest way ``(n, 3)`` RAS mm between two points, from the first to the second."""
    import SimpleITK as sitk

    limit = np.array(grid.shape) - 1
    a, b = (np.clip(np.rint(grid.to_index(p[None])[0]).astype(int), 0, limit) for p in (start, end))
    step = float(grid.spacing[0])
    picture = sitk.GetImageFromArray(speed)
    picture.SetSpacing([step] * 3)
    march = sitk.FastMarchingImageFilter()
    # The array's first axis is the picture's last.
    march.AddTrialPoint([int(v) for v in a[::-1]])
    stop = 3.0 * float(np.linalg.norm(start - end)) + 60.0
    for _ in range(_TRIES):
        march.SetStoppingValue(stop)
        time = sitk.GetArrayFromImage(march.Execute(picture))
        if float(time[tuple(b)]) < stop:
            return np.asarray(grid.to_world(descend(time, a, b)))
        stop *= 4
    raise Untraceable(f"{name}: no way through contrast leads from one point to the next; are both on the same artery?")


def _along_border(image: Image, grid: Image, points: Array) -> bool:
    """Whether a path comes within two voxels of the border of the search, where the image goes on beyond it."""
    index = grid.to_index(points)
    low, high = index < 2.0, index > np.array(grid.shape) - 3.0
    near = (low | high).any(1)
    if not near.any():
        return False
    beyond = image.to_index(grid.to_world(index[near] + 5.0 * (high[near].astype(float) - low[near])))
    return bool(((beyond >= 0) & (beyond <= np.array(image.shape) - 1)).all(1).any())


def descend(time: Array, start: Array, end: Array) -> Array:
    """Voxels from `start` to `end`: back from the end, always to the neighbour that was reached first.

    Parameters
    ----------
    time : numpy.ndarray
        ``(i, j, k)`` times of arrival.
    start : numpy.ndarray
        ``(3,)`` voxel, or a mask ``(i, j, k)`` of voxels of which the first one met is the start.
    end : numpy.ndarray
        ``(3,)`` voxel.

    Returns
    -------
    numpy.ndarray
        ``(n, 3)`` float; it begins elsewhere where the way back ends in a hollow.
    """
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    shifts = shifts[np.abs(shifts).sum(1) > 0]
    length = np.linalg.norm(shifts, axis=1)
    way = [np.asarray(end)]
    limit = np.array(time.shape)
    while not (start[tuple(way[-1])] if start.ndim == 3 else (way[-1] == start).all()):
        near = way[-1] + shifts
        fine = ((near >= 0) & (near < limit)).all(1)
        now = float(time[tuple(way[-1])])
        drop = np.where(fine, now - time[tuple(np.clip(near, 0, limit - 1).T)].astype(float), -np.inf) / length
        best = int(drop.argmax())
        if drop[best] <= 0:
            break
        way.append(near[best])
    return np.array(way[::-1], float)


def _from_ostium(grid: Image, points: Array, ostium: Array, blood: float) -> Array:
    """The path without its first stretch, as far as that lies in the aorta."""
    box, _ = _ball(grid, ostium, 25.0)
    aorta = thick(grid.array[box] > 0.65 * blood, float(grid.spacing[0]), _AORTA_RADIUS_MM)
    index = np.rint(grid.to_index(points)).astype(int) - [b.start for b in box]
    near = ((index >= 0) & (index < aorta.shape)).all(1)
    inside = np.zeros(len(points), bool)
    inside[near] = aorta[tuple(index[near].T)]
    s = arc_length(points)
    runs = [(a, b) for a, b in stretches(inside) if s[a] < 2.0]
    begin = runs[-1][1] if runs else 0
    return points[min(begin, max(len(points) - 3, 0)) :]


def _no_chamber(
    made: Field, points: Array, ostium: Array, blood: float, parameters: CentrelineParameters, name: str
) -> None:
    """Bright ways that are no tube lead through a chamber or along its edge."""
    index = np.clip(np.rint(made.image.to_index(points)).astype(int), 0, np.array(made.image.shape) - 1)
    at = tuple(index.T)
    bright = ndimage.median_filter(made.image.array[at], 3, mode="nearest") > 0.45 * blood
    none = ndimage.maximum_filter1d(made.speed[at], 3, mode="nearest") < _NO_TUBE
    beyond = np.linalg.norm(points - ostium, axis=1) > _OSTIUM_ZONE_MM
    s = arc_length(points)
    inside = stretches((made.body[at] | (none & bright)) & beyond)
    # An occluded artery does not run on a chamber's surface for long.
    beside = [(a, b) for a, b in stretches(none & beyond) if _by_body(made.body, index[a : b + 1]) > 0.6]
    limits = [(parameters.chamber_mm, run) for run in inside] + [(2 * parameters.chamber_mm, run) for run in beside]
    for limit, (start, end) in limits:
        length = float(s[end] - s[start])
        if length > limit:
            raise Untraceable(
                f"{name}: the way runs {length:.0f} mm through a chamber, a great vessel or muscle, {s[start]:.0f} mm "
                "from the ostium; set a point on the artery in between, or check that both points are on it."
            )


def _by_body(body: Array, index: Array) -> float:
    """Share of voxels ``(n, 3)`` that lie within two voxels of a body."""
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    near = np.clip(index[:, None] + steps, 0, np.array(body.shape) - 1)
    return float(body[near[..., 0], near[..., 1], near[..., 2]].any(1).mean())


def _gaps(image: Image, line: tuple[Array, Array, Array], noise: float) -> tuple[tuple[float, float], ...]:
    """Where nothing brighter than plaque lies on the line, over 1.5 mm or more."""
    points, _, level = line
    s = arc_length(points)
    hu = ndimage.gaussian_filter1d(np.nan_to_num(sample(image, points, order=1), nan=-1024.0), 1.5, mode="nearest")
    dark = hu < 0.28 * level + 0.5 * noise
    return tuple((float(s[a]), float(s[b])) for a, b in stretches(dark) if s[b] - s[a] >= 1.5)
