"""Find stacks of parallel cine slices among the runs of a grid, and lay them on one regular grid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from ..image import Array
from .findings import Finding, plural
from .pixels import Blend
from .runs import SAME_PLACE_MM, Grid, Run
from .timing import ENOUGH_FRAMES

MIN_SLICES = 3
MIN_EXTENT_MM = 20.0
#: Two slices nearer than this share of the slice distance are one slice that was planned again.
SAME_SLICE = 0.35
#: A gap may differ this much (share of the slice distance) from the others and still be regular.
REGULAR = 0.1
UNEVEN = 0.25
OFFSET_MM = 1.0


@dataclass(eq=False)
class Stack:
    """Runs of one grid that make a stack, sorted along its normal.

    Attributes
    ----------
    runs : list of Run
        One per acquired slice.
    n_phases : int
    findings : list of Finding
    """

    grid: Grid
    runs: list[Run]
    n_phases: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def extent_mm(self) -> float:
        """From the first to the last slice, with half a slice distance at both ends."""
        places = np.array([r.position for r in self.runs])
        return float(places[-1] - places[0] + np.median(np.diff(places))) if len(places) > 1 else 0.0


def stacks_of(grid: Grid) -> tuple[list[Stack], list[Run]]:
    """Stacks by phase count, the one with most slices first, and the runs that belong to none."""
    rest = list(grid.runs)
    stacks, left = [], []
    while rest:
        places: dict[int, set[int]] = defaultdict(set)
        for r in rest:
            places[r.n].add(round(r.position / SAME_PLACE_MM))
        n = max(places, key=lambda count: (len(places[count]), count))
        fits = [r for r in rest if ENOUGH_FRAMES * n <= r.n <= (2 * n if n > 1 else 1)]
        stack = _choose(grid, fits, n)
        rest = [r for r in rest if not any(r is f for f in fits)]
        if len(stack.runs) < MIN_SLICES:
            left += fits
            continue
        rest = _take_incomplete(stack, rest)
        stacks.append(stack)
    return stacks, left


def _choose(grid: Grid, runs: list[Run], n: int) -> Stack:
    """One run per place: the latest complete one."""
    runs = sorted(runs, key=lambda r: r.position)
    places = np.array([r.position for r in runs])
    gaps = np.diff(places)
    gaps = gaps[gaps > SAME_PLACE_MM]
    # Only the larger half of the gaps counts: slices planned again a little aside make the others.
    usual = float(np.median(gaps[gaps >= np.median(gaps)])) if len(gaps) else 0.0
    thickness = [p.thickness for r in runs for p in r.planes if p.thickness]
    usual = min([usual, *thickness])  # missing slices widen the gaps, never the slices
    same = max(SAME_PLACE_MM, SAME_SLICE * usual)
    clusters: list[list[Run]] = []
    for r in runs:
        if not clusters or r.position - clusters[-1][0].position > same:
            clusters.append([])
        clusters[-1].append(r)
    stack = Stack(grid, [], n)
    repeated = fallback = 0
    for cluster in clusters:
        by_time = sorted(cluster, key=lambda r: r.moment)
        complete = [r for r in by_time if r.n == n] or [r for r in by_time if r.n > n] or by_time
        stack.runs.append(complete[-1])
        repeated += len(cluster) > 1
        fallback += complete[-1] is not by_time[-1]
    if repeated:
        text = (
            f"{plural(repeated, 'slice')} of {len(clusters)} had been acquired more than once; the latest "
            "acquisition was used"
        )
        text += f", in {plural(fallback, 'slice')} the latest complete one." if fallback else "."
        stack.findings.append(Finding("warning", "slice_repeated", text, repeated))
    return stack


def _take_incomplete(stack: Stack, rest: list[Run]) -> list[Run]:
    """Slices of this stack with too few frames: named, and left out as if missing."""
    if stack.n_phases < 2:
        return rest
    taken = np.array([r.position for r in stack.runs])
    series = {s for r in stack.runs for s in r.series}
    short = [
        r
        for r in rest
        if r.n < ENOUGH_FRAMES * stack.n_phases
        and (r.n > 1 or r.series & series)
        and np.abs(taken - r.position).min() > SAME_PLACE_MM
    ]
    if not short or len(short) > len(stack.runs) / 2:
        return rest
    counts = ", ".join(str(r.n) for r in short)
    stack.findings.append(
        Finding(
            "warning",
            "slice_incomplete",
            f"{plural(len(short), 'slice')} had only {counts} of {stack.n_phases} frames and could not be used.",
            len(short),
        )
    )
    return [r for r in rest if not any(r is s for s in short)]


@dataclass
class Layout:
    """A stack on a regular grid.

    Attributes
    ----------
    affine : numpy.ndarray
        ``(4, 4)`` index (i: column of the picture, j: row, k: slice along the normal) to RAS mm.
    blends : list of Blend
        Where every slice of the grid comes from.
    error : str or None
        Why no number can stand on this stack.
    """

    affine: Array
    blends: list[Blend]
    findings: list[Finding]
    error: str | None = None


def lay_out(stack: Stack) -> Layout:
    """Spacing, missing slices, offsets and the affine of a stack, all from ImagePositionPatient.

    The slice distance is the median of the differences along the normal. One missing interior slice is interpolated
    from its neighbours; more than one, or distances that fit no common step, make the stack unusable.
    """
    places = np.array([r.position for r in stack.runs])
    gaps = np.diff(places)
    step = _step(gaps)
    ratios = gaps / step
    holes = np.maximum(np.rint(ratios).astype(int) - 1, 0)
    holes[(ratios > 1 + UNEVEN) & (ratios < 1.6)] = 0
    missing = int(holes.sum())
    uneven = np.abs(ratios / (holes + 1) - 1.0)
    findings: list[Finding] = []
    error = None
    if missing == 1:
        findings.append(
            Finding(
                "warning",
                "slice_missing",
                "One interior slice is missing; it was interpolated from its two neighbours in every frame.",
                1,
            )
        )
    elif missing > 1:
        error = (
            f"{missing} interior slices are missing (slice positions leave gaps of up to {gaps.max():.1f} mm at a "
            f"slice distance of {step:.1f} mm)."
        )
        findings.append(Finding("error", "slices_missing", error, missing))
    thickness = [p.thickness for r in stack.runs for p in r.planes if p.thickness]
    if thickness and step > 2.2 * float(np.median(thickness)):
        findings.append(
            Finding(
                "warning",
                "slices_far_apart",
                f"The slices lie {step:.1f} mm apart and are "
                f"{np.median(thickness):.1f} mm thick; every other slice may be missing.",
            )
        )
    if uneven.max() > UNEVEN:
        text = (
            f"The slices are unevenly spaced ({gaps.min():.1f} to {gaps.max():.1f} mm); no volume can be built on them."
        )
        error = error or text
        findings.append(Finding("error", "spacing_uneven", text, int((uneven > UNEVEN).sum())))
    elif uneven.max() > REGULAR:
        findings.append(
            Finding(
                "warning",
                "spacing_uneven",
                f"The slice distance varies from {gaps.min():.1f} to "
                f"{gaps.max():.1f} mm; the slices were brought to an even distance.",
                int((uneven > REGULAR).sum()),
            )
        )
    count = len(places) + missing
    step = float(places[-1] - places[0]) / (count - 1)
    blends = _blends(places, step, count)
    affine, offset = _affine(stack, step)
    if offset > OFFSET_MM:
        findings.append(
            Finding(
                "warning",
                "slice_offset",
                f"Slices lie up to {offset:.1f} mm beside the stack's axis, "
                "within their plane; volumes do not change, contours are shown shifted there.",
            )
        )
    return Layout(affine, blends, findings, error)


def _step(gaps: Array) -> float:
    """The median gap, or the smallest one where every gap is a whole multiple of it."""
    least = float(gaps.min())
    multiples = gaps / least
    if np.abs(multiples - np.rint(multiples)).max() < REGULAR * 1.5:
        return float(np.median(gaps[np.rint(multiples) == 1]))
    return float(np.median(gaps))


def _blends(places: Array, step: float, count: int) -> list[Blend]:
    out: list[Blend] = []
    for target in places[0] + step * np.arange(count):
        nearest = int(np.abs(places - target).argmin())
        if abs(places[nearest] - target) <= 0.3 * step:
            out.append((nearest, nearest, 0.0))
            continue
        high = int(np.clip(np.searchsorted(places, target), 1, len(places) - 1))
        low = high - 1
        out.append((low, high, float((target - places[low]) / (places[high] - places[low]))))
    return out


def _affine(stack: Stack, step: float) -> tuple[Array, float]:
    """Affine in RAS, and how far slices lie beside the straight axis (mm)."""
    grid = stack.grid
    spacing = grid.first.pixel_spacing
    assert spacing is not None
    origins = np.array([r.origin for r in stack.runs])
    inplane = origins - np.outer(origins @ grid.normal, grid.normal)
    centre = np.median(inplane, axis=0)
    offset = float(np.linalg.norm(inplane - centre, axis=1).max())
    affine = np.eye(4)
    affine[:3, 0] = grid.row * spacing[1]  # PixelSpacing is (between rows, between columns)
    affine[:3, 1] = grid.col * spacing[0]
    affine[:3, 2] = grid.normal * step
    affine[:3, 3] = centre + grid.normal * stack.runs[0].position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, offset
