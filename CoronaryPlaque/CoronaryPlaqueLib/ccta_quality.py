"""Points and lines that cannot be right: outside of the scan, without contrast, off the aorta, on another artery."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import arc_length
from scipy.spatial import cKDTree

from .centreline import LEAST_CONTRAST_HU
from .contrast import bright_body
from .seeds import VesselSeeds
from .territory import coarse
from .vesselness import thick, working_grid

#: A ball of this radius fits into an aorta, but into no coronary artery.
_AORTA_RADIUS_MM = 6.0
_AORTA_REACH_MM = 7.0
_SAME_MM = 1.5


def check_seeds(image: Image, seeds: tuple[VesselSeeds, ...]) -> None:
    """Refuse seeds outside of the scan, and scans without contrast.

    Raises
    ------
    InputError
        A point lies outside of the image, or there is no contrast at any ostium nor in any chamber.
    """
    limit = np.array(image.shape) - 0.5
    brightest = -1024.0
    for one in seeds:
        index = image.to_index(one.points)
        for point, at in zip(one.points, index, strict=True):
            if (at < -0.5).any() or (at > limit).any():
                place = ", ".join(f"{v:.1f}" for v in point)
                raise InputError(
                    f"{one.vessel}: the point ({place}) lies outside of the image; seeds are in RAS mm of this scan."
                )
        brightest = max(brightest, _around(image, index[0]))
    if brightest >= LEAST_CONTRAST_HU:
        return
    blood = bright_body(coarse(image)[0])
    if blood is None or blood < LEAST_CONTRAST_HU:
        said = "nothing that thick is bright" if blood is None else f"the blood measures {blood:.0f} HU"
        raise InputError(
            f"This CT holds no contrast in heart or aorta ({said}): coronary lumen cannot be seen. "
            "Give a CT angiogram; for a CT without contrast there is the command calcium."
        )


def _around(image: Image, index: Array, radius_mm: float = 4.0) -> float:
    """95th percentile of HU in a box around a voxel."""
    half = np.ceil(radius_mm / image.spacing).astype(int)
    low = np.maximum(np.rint(index).astype(int) - half, 0)
    high = np.minimum(np.rint(index).astype(int) + half + 1, image.shape)
    return float(np.percentile(image.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 95))


def at_aorta(image: Image, ostium: Array) -> bool:
    """Whether a thick body of contrast lies at a point: the aorta, from which an artery leaves."""
    grid = working_grid(image, ostium[None], 24.0, 0.8)
    distance = np.linalg.norm(_places(grid) - ostium, axis=-1)
    near = grid.array[distance < 4.0]
    blood = float(np.percentile(near, 95)) if near.size else -1024.0
    if blood < LEAST_CONTRAST_HU:
        return False
    body = thick(grid.array > 0.6 * min(blood, 900.0), 0.8, _AORTA_RADIUS_MM)
    return bool((body & (distance < _AORTA_REACH_MM)).any())


def _places(grid: Image) -> Array:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return grid.to_world(index.reshape(-1, 3)).reshape(*grid.shape, 3)


def same_vessel(lines: Mapping[str, Array]) -> dict[str, str]:
    """Vessels whose line ends on another's: vessel -> why it is not the vessel that it is called."""
    wrong: dict[str, str] = {}
    trees = {name: cKDTree(points) for name, points in lines.items()}
    for one, other in permutations(lines, 2):
        points = lines[one]
        s = arc_length(points)
        if other in wrong or s[-1] > arc_length(lines[other])[-1] + 1.0:
            continue
        tail = points[s > s[-1] - 6.0]
        if float(trees[other].query(tail)[0].max()) < _SAME_MM:
            wrong[one] = f"{one}: its distal point lies on the way of {other}; set it on {one} itself."
    for name in ("LAD", "LCX", "LM"):
        if "RCA" not in lines or name not in lines or {"RCA", name} & set(wrong):
            continue
        s = arc_length(lines["RCA"])
        beginning = lines["RCA"][(s > 2.0) & (s < 9.0)]
        if len(beginning) and float(trees[name].query(beginning)[0].max()) < _SAME_MM:
            wrong["RCA"] = f"RCA: its ostium is that of {name}; set it where the right artery leaves the aorta."
    return wrong
