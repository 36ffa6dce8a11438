"""Calcium scores of labelled CT: Agatston, volume, mass, density, lesions.

Agatston et al., J Am Coll Cardiol 1990;15:827 (score); Callister et al., Radiology 1998;208:807 (interpolated volume);
McCollough et al., Radiology 2007;243:527 (mass); Criqui et al., JAMA 2014;311:271 (density); Gräni et al., Eur Heart J
Cardiovasc Imaging 2018;19:1362 (thresholds below 120 kVp).

The numbers are those of the labels that are given: nothing is searched for here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Image

from .axial import axial
from .components import Components, Points, components, connected, where
from .slabs import slabs
from .vessels import CORONARY, SCORED

#: Lowest HU of the factors 1, 2, 3 and 4 by kVp; the first is the threshold of calcium. Published as ranges of whole HU
#: (130-199, 200-299, ...), so that a factor holds until the lowest whole HU of the next is reached.
FACTOR_EDGES_HU: dict[float, tuple[int, int, int, int]] = {
    70.0: (207, 319, 478, 637),
    80.0: (177, 272, 409, 545),
    100.0: (145, 223, 335, 447),
    120.0: (130, 200, 300, 400),
}
SLICE_MM = 3.0  # of the 1990 protocol
THIN_MM = 2.5  # below this the score of 3 mm averages is given too


@dataclass(frozen=True)
class Lesion:
    """Calcium of one label that hangs together in space (26 neighbours).

    Attributes
    ----------
    label : int
    center_mm : tuple of float
        RAS mm, the mean place of its voxels.
    slices : tuple of int
        First and last slice, as k of ``axial(image)``.
    agatston, volume_mm3, area_mm2, mean_hu, max_hu : float
        The area is summed over slices.
    """

    label: int
    center_mm: tuple[float, float, float]
    slices: tuple[int, int]
    agatston: float
    volume_mm3: float
    area_mm2: float
    mean_hu: float
    max_hu: float


@dataclass(frozen=True)
class LabelScore:
    """Scores of one label, or of several taken together (`label` None).

    Attributes
    ----------
    label : int or None
    agatston : float
    agatston_3mm : float or None
        The score of contiguous 3 mm averages; None for slices of 2.5 mm and more, which need none.
    volume_mm3 : float
        Voxels that count for the Agatston score times the voxel volume.
    volume_interpolated_mm3 : float
        Volume after linear interpolation between slices.
    area_mm2 : float
        Area summed over slices.
    mean_hu, max_hu : float or None
        Of the voxels that count; None without calcium.
    lesion_count : int
    """

    label: int | None
    agatston: float
    agatston_3mm: float | None
    volume_mm3: float
    volume_interpolated_mm3: float
    area_mm2: float
    mean_hu: float | None
    max_hu: float | None
    lesion_count: int

    def mass_mg(self, calibration: float | None) -> float | None:
        """Calcium mass in mg hydroxyapatite: calibration (mg/mL per HU) x mean HU x volume.

        None without a calibration factor: it belongs to scanner, tube voltage and kernel and comes from a phantom.
        """
        if calibration is None:
            return None
        if not (math.isfinite(calibration) and calibration > 0):
            raise InputError(f"The mass calibration factor must be above 0 mg/mL per HU, not {calibration:g}.")
        return calibration * (self.mean_hu or 0.0) * self.volume_mm3 / 1000.0

    @property
    def density(self) -> float | None:
        """Calcium density score, 1 to 4 (Criqui 2014): Agatston over area, the area being volume / 3 mm.

        Taking the area so, it does not depend on the slice distance. None without calcium.
        """
        # Rounded, or a mean of factors 1 could come out just below 1.
        return round(self.agatston / (self.volume_mm3 / SLICE_MM), 9) if self.volume_mm3 else None


@dataclass(frozen=True)
class Scores:
    """What `score` found.

    Attributes
    ----------
    by_label : dict
        Label -> `LabelScore`, for every label asked for; all 0 where it holds no calcium.
    lesions : tuple of Lesion
        By label, then from below upwards.
    factor_edges_hu : tuple of int
        Lowest HU of the factors 1 to 4, as used; the first is the threshold.
    increment_mm, pixel_area_mm2 : float
        Distance of slices and area of a pixel, as used.
    min_pixels : int
        The minimum area in pixels.
    """

    by_label: dict[int, LabelScore]
    lesions: tuple[Lesion, ...]
    factor_edges_hu: tuple[int, int, int, int]
    increment_mm: float
    pixel_area_mm2: float
    min_pixels: int

    def total(self, labels: Iterable[int] = CORONARY) -> LabelScore:
        """Several labels taken together (default: the coronary arteries).

        Everything is the sum of theirs: calcium that runs from one vessel into the next counts as two lesions.
        """
        parts = [self.by_label[n] for n in labels]
        volume = math.fsum(p.volume_mm3 for p in parts)
        thin = [p.agatston_3mm for p in parts if p.agatston_3mm is not None]
        return LabelScore(
            label=None,
            agatston=math.fsum(p.agatston for p in parts),
            agatston_3mm=math.fsum(thin) if self.increment_mm < THIN_MM else None,
            volume_mm3=volume,
            volume_interpolated_mm3=math.fsum(p.volume_interpolated_mm3 for p in parts),
            area_mm2=math.fsum(p.area_mm2 for p in parts),
            mean_hu=math.fsum((p.mean_hu or 0.0) * p.volume_mm3 for p in parts) / volume if volume else None,
            max_hu=max((p.max_hu for p in parts if p.max_hu is not None), default=None),
            lesion_count=sum(p.lesion_count for p in parts),
        )


def factor_edges(kvp: float | None = None) -> tuple[int, int, int, int]:
    """Lowest HU of the factors 1 to 4: the 1990 ones, or those adapted to a tube voltage of 70, 80, 100 or 120 kVp.

    Raises
    ------
    InputError
        For a voltage that nothing was published for.
    """
    edges = FACTOR_EDGES_HU.get(120.0 if kvp is None else float(kvp))
    if edges is None:
        raise InputError(
            f"Thresholds adapted to the tube voltage are published for {', '.join(f'{v:g}' for v in FACTOR_EDGES_HU)} "
            f"kVp, not for {kvp:g} kVp; score with the usual 130 HU instead."
        )
    return edges


def density_factor(max_hu: float | Array, kvp: float | None = None) -> Array:
    """Agatston's factor 1 to 4 for the highest HU of a component in its slice; 0 below the threshold."""
    return np.searchsorted(factor_edges(kvp), max_hu, side="right")


def score(
    image: Image,
    labels: Array,
    *,
    kvp: float | None = None,
    min_area_mm2: float = 1.0,
    increment_mm: float | None = None,
    values: Sequence[int] = SCORED,
) -> Scores:
    """Score labelled calcium on CT.

    In each slice the voxels of a label at or above the threshold fall into components (8 neighbours). One of at least
    `min_area_mm2` counts with its area x the factor of its own highest HU x slice distance / 3 mm. The other numbers
    are of the same voxels, so that volume, mass, density and lesions describe what the Agatston score counts; smaller
    components are noise to all of them. Labels that touch are kept apart.

    The interpolated volume is the limit of Callister's isotropic interpolation for fine steps: between two slices HU
    runs linearly, and each counted voxel reaches half-way to a neighbour at or above the threshold, otherwise to where
    the line falls below it. It thus does not depend on where a finer grid would start.

    Parameters
    ----------
    image : Image
        CT in HU, in any orientation; slices lie across the axis that is closest to S.
    labels : numpy.ndarray
        Integers on the image's grid, as in `vessels`. A label may be larger than its calcium.
    kvp : float, optional
        Use the thresholds adapted to this tube voltage instead of 130, 200, 300 and 400 HU.
    min_area_mm2 : float
        Inclusive; 0.01 % are granted for pixel sizes that a header rounds.
    increment_mm : float, optional
        Distance of slices, where it is known better than from the affine.
    values : sequence of int
        Labels to score; others are left out.

    Raises
    ------
    InputError
        For HU that are not finite, labels on another grid or not whole numbers, an unknown `kvp`.
    """
    if labels.shape != image.shape:
        raise InputError(f"The labels are {labels.shape} voxels and the CT is {image.shape}; both must be on one grid.")
    if labels.dtype.kind not in "iub":
        raise InputError(f"Labels must be whole numbers, not {labels.dtype}.")
    labels = labels.view(np.uint8) if labels.dtype == bool else labels
    edges = factor_edges(kvp)
    stack = axial(image)
    hu, lab = stack.array, axial(image.with_array(labels)).array
    pixel = float(np.linalg.norm(np.cross(stack.affine[:3, 0], stack.affine[:3, 1])))
    # Across the slices, not along a column of voxels: a tilted gantry shears the stack.
    increment = stack.voxel_ml * 1000.0 / pixel if increment_mm is None else float(increment_mm)
    if not (math.isfinite(increment) and increment > 0):
        raise InputError(f"The distance of slices must be above 0 mm, not {increment:g}.")
    increment = round(increment, 9)  # 2.5 mm from an oblique affine is not thinner than 2.5 mm
    min_pixels = max(math.ceil(min_area_mm2 * (1 - 1e-4) / pixel), 1)

    calcium = _calcium(hu, lab, edges[0], values)
    found = components(calcium, min_pixels)
    unit = pixel * increment / SLICE_MM  # Agatston score of a pixel of factor 1
    points = found.pixels * np.searchsorted(edges, found.peak_hu, side="right")
    reach = _reach(hu, found.points, edges[0])
    lesions = _lesions(stack, found, points, unit, pixel, increment)
    thin: dict[int, float] = {}
    if increment < THIN_MM:
        averaged, thickness = slabs(hu, lab, calcium.at, values, edges[0], increment, SLICE_MM)
        thin = _thick_scores(averaged, thickness, min_pixels, edges, pixel, values)

    by_label = {}
    for value in values:
        own = found.points.label == value
        own_hu = found.points.hu[own]
        area = own_hu.size * pixel
        by_label[value] = LabelScore(
            label=value,
            agatston=float(points[found.label == value].sum()) * unit,
            agatston_3mm=thin.get(value),
            volume_mm3=area * increment,
            volume_interpolated_mm3=float(reach[own].sum()) * pixel * increment,
            area_mm2=area,
            mean_hu=float(own_hu.mean()) if own_hu.size else None,
            max_hu=float(own_hu.max()) if own_hu.size else None,
            lesion_count=sum(x.label == value for x in lesions),
        )
    return Scores(by_label, lesions, edges, increment, pixel, min_pixels)


def _calcium(hu: Array, labels: Array, threshold_hu: int, values: Sequence[int]) -> Points:
    """Voxels of the labels at or above the threshold."""
    labelled = labels != 0
    if hu.dtype.kind == "f":
        strange = where(labelled & ~np.isfinite(hu))
        if np.isin(labels[tuple(strange)], values).any():
            raise InputError("The CT holds values that are not finite within the labels; it cannot be scored.")
    at = where(labelled & (hu >= threshold_hu))
    label = labels[tuple(at)]
    asked = np.isin(label, values)
    at, label = at[:, asked], label[asked]
    return Points(at, hu[tuple(at)].astype(np.float64), label)


def _lesions(
    stack: Image, found: Components, points: Array, unit: float, pixel: float, increment: float
) -> tuple[Lesion, ...]:
    at, hu = found.points.at, found.points.hu
    lesion, count = connected(found.points, in_plane=False)
    size = np.bincount(lesion, minlength=count)
    mean = np.bincount(lesion, hu, count) / size
    peak = np.full(count, -np.inf)
    np.maximum.at(peak, lesion, hu)
    low, high = np.full(count, stack.shape[2]), np.zeros(count, np.intp)
    np.minimum.at(low, lesion, at[2])
    np.maximum.at(high, lesion, at[2])
    label = np.zeros(count, np.intp)
    label[lesion] = found.points.label
    of_component = np.zeros(points.size, np.intp)
    of_component[found.component] = lesion
    total = np.bincount(of_component, points, count)
    middle = np.stack([np.bincount(lesion, axis, count) for axis in at], 1) / size[:, None]
    center = stack.to_world(middle)
    return tuple(
        Lesion(
            label=int(label[n]),
            center_mm=(float(center[n, 0]), float(center[n, 1]), float(center[n, 2])),
            slices=(int(low[n]), int(high[n])),
            agatston=float(total[n]) * unit,
            volume_mm3=float(size[n]) * pixel * increment,
            area_mm2=float(size[n]) * pixel,
            mean_hu=float(mean[n]),
            max_hu=float(peak[n]),
        )
        for n in np.lexsort((middle[:, 0], middle[:, 1], low, label))
    )


def _reach(hu: Array, points: Points, threshold_hu: int) -> Array:
    """How much of the way to its two neighbours in z each point's calcium goes, ``(n,)`` in slice distances."""
    i, j, k = points.at
    reach = np.zeros(points.hu.size)
    for step in (-1, 1):
        inside = (k + step >= 0) & (k + step < hu.shape[2])
        # Beyond the stack nothing is known: the voxel ends at its own face.
        other = np.where(inside, hu[i, j, np.clip(k + step, 0, hu.shape[2] - 1)], threshold_hu).astype(np.float64)
        if not np.isfinite(other).all():
            raise InputError("The CT holds values that are not finite next to labelled calcium; it cannot be scored.")
        below = other < threshold_hu
        reach += np.where(below, (points.hu - threshold_hu) / np.where(below, points.hu - other, 1.0), 0.5)
    return reach


def _thick_scores(
    points: Points, thickness_mm: Array, min_pixels: int, edges: tuple[int, ...], pixel: float, values: Sequence[int]
) -> dict[int, float]:
    """Agatston score of each label on slabs of the given thicknesses."""
    found = components(points, min_pixels)
    weight = found.pixels * np.searchsorted(edges, found.peak_hu, side="right")
    part = weight * pixel * thickness_mm[found.level] / SLICE_MM
    return {v: float(part[found.label == v].sum()) for v in values}
