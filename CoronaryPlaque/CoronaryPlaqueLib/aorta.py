"""The ascending aorta of a contrast-enhanced scan, found as round bright discs that lie above each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from scipy import ndimage

from .centreline import LEAST_CONTRAST_HU
from .territory import coarse

STEP_MM = 1.5
#: A disc of the aorta: radius (mm), share of its enclosing circle, spread of its HU as a share of their middle.
_RADIUS_MM = (7.0, 28.0)
#: Without the descending aorta beside it, a smaller one may be that.
_ASCENDING_MM, _ALONE_MM = 10.0, 12.0
_ROUND, _SPREAD = 0.62, 0.22
#: Discs of neighbouring slices belong together within this distance, and where their radii differ by less than a third.
#: Some slices may lack one.
_SHIFT_MM, _RATIO, _MISSING = 4.5, 0.75, 2
_LEAST_MM, _ENOUGH_MM, _LONGEST_MM, _WIDER = 9.0, 36.0, 75.0, 1.2
_LEAST_ML = 10.0
#: The ascending aorta lies at least so far in front of the descending one, and their blood differs by less than this.
_IN_FRONT_MM, _SAME_BLOOD = 40.0, 0.15
#: Bridges to neighbours up to these widths are cut: walls between vessels are thinner than voxels.
_BRIDGE_MM = (6.0, 12.0)
#: The root reaches so far below the lowest disc that stands alone.
_ROOT_MM = 30.0


class NoAorta(Exception):
    """Why the aorta was not found; the message is one line for the user."""


@dataclass(frozen=True, eq=False)
class Aorta:
    """The ascending aorta with its root.

    Attributes
    ----------
    points : numpy.ndarray
        ``(n, 3)`` RAS mm, its middle from below upwards, one point per `STEP_MM`; the lowest `_ROOT_MM` are the root,
        where the middle is drawn on from above.
    radius_mm : numpy.ndarray
        ``(n,)``.
    blood_hu : float
    root : int
        Number of points that belong to the root.
    descending : bool
        Whether the descending aorta was found beside it.
    """

    points: Array
    radius_mm: Array
    blood_hu: float
    root: int
    descending: bool


@dataclass(frozen=True, eq=False)
class _Discs:
    """Bright discs in axial slices: slice ``(n,)``, middle ``(n, 3)``, radius in mm, mean HU, roundness."""

    level: Array
    points: Array
    radius: Array
    hu: Array
    roundness: Array

    def some(self, which: Array) -> _Discs:
        return _Discs(self.level[which], self.points[which], self.radius[which], self.hu[which], self.roundness[which])

    @property
    def length_mm(self) -> float:
        return float(self.level[-1] - self.level[0] + 1) * STEP_MM


def find_aorta(image: Image) -> Aorta:
    """The most likely of `aorta_candidates`."""
    return aorta_candidates(image)[0]


def aorta_candidates(image: Image) -> list[Aorta]:
    """Vessels that may be the ascending aorta, the most likely one first.

    Parameters
    ----------
    image : Image
        HU, any orientation.

    Raises
    ------
    NoAorta
        There is no contrast, or no round bright vessel of the size of an aorta stands in the scan.
    """
    hu, inside, affine = coarse(image, STEP_MM)
    grid = Image(hu, affine)
    bright = hu[inside & (hu > LEAST_CONTRAST_HU)]
    if bright.size * STEP_MM**3 / 1000 < _LEAST_ML:
        raise NoAorta("The scan holds hardly any contrast; the coronary arteries are found in a CT angiogram only.")
    # Blood is one of the levels that many bright voxels have; which one is not known beforehand.
    levels = np.outer(np.percentile(bright, (10, 35, 60, 80)), (0.7, 0.85)).ravel()
    levels = np.unique(np.round(np.maximum(levels, LEAST_CONTRAST_HU)))
    chains = _linked(_best(_joined([_discs(grid, float(t), mm) for t in levels for mm in _BRIDGE_MM])))
    ranked: list[tuple[float, _Discs, bool]] = []
    for chain in chains:
        blood = float(np.median(chain.hu))
        differ = [abs(float(np.median(other.hu)) / blood - 1) for other in chains if _pair(chain, other)]
        descending = any(_pair(other, chain) for other in chains)
        if descending or chain.radius.mean() < (_ASCENDING_MM if differ else _ALONE_MM):
            continue
        # The pulmonary trunk is as round; its blood is another's, and mostly darker.
        score = min(chain.length_mm, _ENOUGH_MM) * float(chain.roundness.mean()) ** 2 * blood
        score *= 2.5 * (1 - 2 * min(differ)) if differ else 1.0
        ranked.append((score, chain, bool(differ)))
    if not ranked:
        raise NoAorta(
            "No ascending aorta was found: no round vessel of its size with contrast stands in the scan. Set ostium "
            "and distal points of the arteries instead (--seeds)."
        )
    return [_with_root(grid, chain, pair) for _, chain, pair in sorted(ranked, key=lambda r: -r[0])]


def _pair(front: _Discs, back: _Discs) -> bool:
    """Whether two chains may be ascending and descending aorta."""
    if back is front:
        return False
    common = np.intersect1d(front.level, back.level)
    if len(common) * STEP_MM < _LEAST_MM / 2:
        return False
    a = front.points[np.isin(front.level, common)].mean(0)
    b = back.points[np.isin(back.level, common)].mean(0)
    same = abs(np.median(front.hu) - np.median(back.hu)) < _SAME_BLOOD * np.median(front.hu)
    return bool(same and a[1] - b[1] > _IN_FRONT_MM and a[0] - b[0] > -15.0)


def _discs(grid: Image, threshold: float, bridge_mm: float) -> _Discs:
    """Round pieces of what is brighter than a threshold, slice by slice, with bridges up to `bridge_mm` cut."""
    n = round(bridge_mm / 2 / STEP_MM)
    i, j = np.mgrid[-n : n + 1, -n : n + 1]
    brush = (i * i + j * j <= n * n)[:, :, None]
    mask = ndimage.binary_opening(grid.array > threshold, brush)
    label, count = ndimage.label(mask, np.pad(np.ones((3, 3, 1)), ((0, 0), (0, 0), (1, 1))))
    at = np.array(np.nonzero(label))
    own = label[tuple(at)] - 1
    size = np.maximum(np.bincount(own, minlength=count), 1)
    middle = np.stack([np.bincount(own, axis, count) for axis in at], 1) / size[:, None]
    values = grid.array[tuple(at)].astype(float)
    mean = np.bincount(own, values, count) / size
    spread = np.sqrt(np.maximum(np.bincount(own, values**2, count) / size - mean**2, 0))
    farthest = np.zeros(count)
    np.maximum.at(farthest, own, np.hypot(at[0] - middle[own, 0], at[1] - middle[own, 1]))
    radius = np.sqrt(size / np.pi) * STEP_MM
    roundness = size / (np.pi * (farthest + 0.5) ** 2)
    good = (radius > _RADIUS_MM[0]) & (radius < _RADIUS_MM[1]) & (roundness > _ROUND) & (spread < _SPREAD * mean)
    level = np.rint(middle[:, 2]).astype(int)
    return _Discs(level, grid.to_world(middle), radius, mean, roundness).some(np.flatnonzero(good))


def _joined(found: list[_Discs]) -> _Discs:
    fields = ("level", "points", "radius", "hu", "roundness")
    return _Discs(*(np.concatenate([getattr(d, name) for d in found]) for name in fields))


def _best(discs: _Discs) -> _Discs:
    """Of discs in the same place at several thresholds the roundest, in the order of the slices."""
    kept: list[int] = []
    for d in np.argsort(-discs.roundness).tolist():
        same = [k for k in kept if discs.level[k] == discs.level[d]]
        if all(np.linalg.norm(discs.points[k] - discs.points[d]) > _RADIUS_MM[0] for k in same):
            kept.append(d)
    return discs.some(np.array(sorted(kept, key=lambda d: discs.level[d]), int))


def _linked(discs: _Discs) -> list[_Discs]:
    """Discs that lie above each other."""
    chains: list[list[int]] = []
    for d in range(len(discs.level)):
        near = [
            (float(np.linalg.norm(discs.points[d, :2] - discs.points[c[-1], :2])), n)
            for n, c in enumerate(chains)
            if 0 < discs.level[d] - discs.level[c[-1]] <= _MISSING + 1
            and _RATIO < discs.radius[d] / discs.radius[c[-1]] < 1 / _RATIO
        ]
        distance, best = min(near, default=(np.inf, -1))
        if distance < _SHIFT_MM:
            chains[best].append(d)
        else:
            chains.append([d])
    made = [_above_heart(discs.some(np.array(c))) for c in chains]
    return [c for c in made if c.length_mm >= _LEAST_MM]


def _above_heart(chain: _Discs) -> _Discs:
    """A chain without the lower part that is wider than its upper part: a chamber of the heart."""
    top = chain.level > chain.level[-1] - _LEAST_MM / STEP_MM
    wide = np.flatnonzero(chain.radius > _WIDER * np.median(chain.radius[top]))
    first = max(int(wide[-1]) + 1 if len(wide) else 0, len(chain.level) - round(_LONGEST_MM / STEP_MM))
    return chain.some(np.arange(min(first, len(chain.level) - 1), len(chain.level)))


def _with_root(grid: Image, chain: _Discs, descending: bool) -> Aorta:
    """The chain with its course drawn on below: the root, whose discs hang together with the heart."""
    blood = float(np.median(chain.hu))
    line = chain.points
    low = line[: max(2, round(15.0 / STEP_MM))]
    # The root goes on as the lowest part goes, pulled to the middle of the blood slice by slice.
    slope = np.array([np.polyfit(low[:, 2], low[:, a], 1)[0] for a in (0, 1)])
    slope = np.clip(slope, -0.6, 0.6)
    radius = float(np.median(chain.radius[: len(low)]))
    steps = np.arange(round(_ROOT_MM / STEP_MM), 0, -1) * STEP_MM
    root = np.stack([low[0, 0] - slope[0] * steps, low[0, 1] - slope[1] * steps, low[0, 2] - steps], 1)
    bottom = grid.to_world(np.zeros((1, 3)))[0, 2]
    root = root[root[:, 2] > bottom]
    points = np.concatenate([root, line])
    radii = np.concatenate([np.full(len(root), radius), chain.radius])
    return Aorta(points, radii, blood, len(root), descending)
