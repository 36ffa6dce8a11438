"""Sort planes into runs: one acquisition of one slice, its frames in time order.

Planes that share study, matrix, pixel spacing, orientation and technique make a `Grid`; within it, the place along
the normal tells slices apart, whatever series they were written to.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Sequential
from dataclasses import dataclass, field, replace

import numpy as np

from ..image import Array
from .planes import Plane

#: Planes whose row and column directions differ by less lie on one grid (headers round direction cosines).
SAME_DIRECTION_DEG = 0.5
#: Planes closer than this along the normal are one slice.
SAME_PLACE_MM = 0.5


@dataclass(frozen=True, eq=False)
class Run:
    """One acquisition of one slice.

    Attributes
    ----------
    planes : tuple of Plane
        In time order.
    times : numpy.ndarray or None
        ``(n,)`` trigger times in ms; None where the order had to come from something else.
    ordered_by : str
        ``trigger time``, ``temporal position``, ``instance number``, ``acquisition time`` or ``file name``.
    position : float
        Along the grid's normal, mm.
    repeated_frames : int
        Frames of which an earlier copy at the same trigger time was left out.
    """

    planes: tuple[Plane, ...]
    times: Array | None
    ordered_by: str
    position: float
    repeated_frames: int = 0

    @property
    def n(self) -> int:
        return len(self.planes)

    @property
    def origin(self) -> Array:
        """First pixel in LPS mm."""
        return np.median([p.position for p in self.planes], axis=0)

    @property
    def moment(self) -> tuple[float, ...]:
        return max(p.moment for p in self.planes)

    @property
    def series(self) -> set[str]:
        return {p.series_uid for p in self.planes}

    @property
    def rr_ms(self) -> float | None:
        """RR interval that the header gives for this slice; the interval measured goes before the rate entered."""
        values = [p.rr_interval_ms for p in self.planes if p.rr_interval_ms and 240 <= p.rr_interval_ms <= 3000]
        if not values:
            values = [60000 / p.heart_rate for p in self.planes if p.heart_rate and 20 <= p.heart_rate <= 250]
        return float(np.median(values)) if values else None

    @property
    def step_ms(self) -> float | None:
        return float(np.median(np.diff(self.times))) if self.times is not None and self.n > 1 else None

    def over_several_beats(self) -> bool:
        """Perfusion and the like: frames that were acquired beats apart, or times beyond any heart beat."""
        if self.n < 2:
            return False
        if self.times is not None and self.times[-1] - self.times[0] > 3000:
            return True
        acquired = sorted(p.acquired_s for p in self.planes if p.acquired_s is not None)
        if len(acquired) < self.n:
            return False
        apart = (acquired[-1] - acquired[0]) / (self.n - 1)
        return apart > 0.25 and apart > 1.5e-3 * (self.step_ms or 0.0)

    def is_mapping(self) -> bool:
        """Several echo or inversion times at one place: a relaxation map's raw data."""
        return any(
            len({round(v, digits) for v in values if v is not None}) >= 3
            for values, digits in (
                ([p.echo_time for p in self.planes], 1),
                ([p.inversion_time for p in self.planes], 0),
            )
        )


@dataclass(eq=False)
class Grid:
    """Planes of one study, matrix, pixel spacing, orientation, technique and component.

    Attributes
    ----------
    row, col, normal : numpy.ndarray
        Unit vectors in LPS: direction of rising column index, of rising row index, and their cross product.
    """

    row: Array
    col: Array
    normal: Array
    planes: list[Plane] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def first(self) -> Plane:
        return self.planes[0]


def angle_deg(a: Array, b: Array) -> float:
    return math.degrees(math.acos(float(np.clip(a @ b, -1.0, 1.0))))


def axes_of(plane: Plane) -> tuple[Array, Array, Array]:
    """Row direction, column direction and normal, made exactly perpendicular."""
    assert plane.orientation is not None
    row = np.array(plane.orientation[:3])
    row /= np.linalg.norm(row)
    col = np.array(plane.orientation[3:])
    col -= row * (row @ col)
    col /= np.linalg.norm(col)
    return row, col, np.cross(row, col)


def grids_of(planes: Iterable[Plane]) -> list[Grid]:
    """Group planes that could be stacked; the largest grid first."""
    exact: dict[tuple[object, ...], list[Plane]] = defaultdict(list)
    for p in planes:
        exact[p.study_uid, p.rows, p.cols, p.component, p.technique, p.pixel_spacing, p.orientation].append(p)
    grids: list[Grid] = []
    for members in sorted(exact.values(), key=len, reverse=True):
        row, col, normal = axes_of(members[0])
        home = next((g for g in grids if _fits(g, members[0], row, col)), None)
        if home is None:
            grids.append(Grid(row, col, normal, members))
        else:
            home.planes += members
    for grid in grids:
        grid.runs = _runs_of(grid)
    return grids


def _fits(grid: Grid, p: Plane, row: Array, col: Array) -> bool:
    q = grid.first
    assert p.pixel_spacing is not None
    assert q.pixel_spacing is not None
    return (
        (p.study_uid, p.rows, p.cols, p.component, p.technique)
        == (q.study_uid, q.rows, q.cols, q.component, q.technique)
        and np.allclose(p.pixel_spacing, q.pixel_spacing, rtol=2e-3)
        and angle_deg(row, grid.row) < SAME_DIRECTION_DEG
        and angle_deg(col, grid.col) < SAME_DIRECTION_DEG
    )


def _runs_of(grid: Grid) -> list[Run]:
    places: list[list[Plane]] = []
    last = -math.inf
    for depth, plane in sorted(
        ((float(grid.normal @ np.array(p.position)), p) for p in grid.planes), key=lambda pair: pair[0]
    ):
        if depth - last > SAME_PLACE_MM:
            places.append([])
        places[-1].append(plane)
        last = depth
    by_series = [_series_at(place) for place in places]
    expected = _expected_phases([len(part) for parts in by_series for part in parts], grid.planes)
    runs = []
    for parts in by_series:
        for part in parts:
            for one in _split_acquisitions(part, expected):
                run = make_run(one)
                runs.append(replace(run, position=float(grid.normal @ run.origin)))
    return runs


def _series_at(place: list[Plane]) -> list[list[Plane]]:
    """The planes of one place by series; series of one plane each that differ in time are the phases of one run."""
    parts: dict[str, list[Plane]] = defaultdict(list)
    for p in place:
        parts[p.series_uid].append(p)
    if len(parts) > 1 and max(map(len, parts.values())) == 1:
        times = {p.trigger_ms for p in place}
        if None not in times and len(times) == len(place):
            return [place]
    return list(parts.values())


def _expected_phases(counts: list[int], planes: list[Plane]) -> int:
    """The usual number of frames per slice; what the header says where that is a whole fraction of it."""
    usual = max(Counter(counts).items(), key=lambda item: (item[1], -item[0]))[0]
    said = Counter(p.cardiac_images for p in planes if p.cardiac_images and p.cardiac_images > 1).most_common(1)
    if said and said[0][0] is not None and usual > said[0][0] and usual % said[0][0] == 0:
        return said[0][0]
    return usual


def _split_acquisitions(planes: list[Plane], expected: int) -> list[list[Plane]]:
    """Take apart a slice that was acquired more than once within one series."""
    if len(planes) <= 1.25 * expected or expected < 2:
        return [planes]
    keys: tuple[Callable[[Plane], object], ...] = (lambda p: p.acquisition_number, lambda p: p.acquired_s)
    for key in keys:
        groups: dict[object, list[Plane]] = defaultdict(list)
        for p in planes:
            groups[key(p)].append(p)
        sizes = [len(g) for g in groups.values()]
        if len(groups) > 1 and min(sizes) > 1 and max(sizes) <= 1.25 * expected:
            return list(groups.values())
    # Walking on in instance order, the trigger time falls back where the next acquisition begins.
    runs: list[list[Plane]] = []
    for p in sorted(planes, key=lambda p: (p.instance_number or 0, p.moment)):
        if not runs or (p.trigger_ms or 0.0) < (runs[-1][-1].trigger_ms or 0.0):
            runs.append([])
        runs[-1].append(p)
    whole = len(runs) > 1 and min(map(len, runs)) > 1 and max(map(len, runs)) <= 1.25 * expected
    return runs if whole else [planes]


def make_run(planes: Sequential[Plane]) -> Run:
    """Put the frames of one slice into time order."""
    kept, repeated = _latest_of_each_time(planes)
    values: dict[str, Callable[[Plane], float | None]] = {
        "trigger time": lambda p: p.trigger_ms,
        "temporal position": lambda p: p.temporal_position,
        "instance number": lambda p: p.instance_number,
        "acquisition time": lambda p: p.acquired_s,
    }
    for how, value in values.items():
        found = [value(p) for p in kept]
        if None not in found and len(set(found)) == len(kept):
            ordered = tuple(sorted(kept, key=value))  # type: ignore[arg-type]
            times = np.array([p.trigger_ms for p in ordered], float) if how == "trigger time" else None
            return Run(ordered, times, how, 0.0, repeated)
    ordered = tuple(sorted(kept, key=lambda p: (p.moment, str(p.stored.file), p.frame)))
    return Run(ordered, None, "file name", 0.0, repeated)


def _latest_of_each_time(planes: Sequential[Plane]) -> tuple[list[Plane], int]:
    times = [p.trigger_ms for p in planes]
    positions = {p.temporal_position for p in planes}
    distinct = len(set(times))
    # Equal times with their own temporal positions are coarse clocks, not repeats; all equal says nothing.
    if None in times or distinct in (1, len(planes)) or (None not in positions and len(positions) == len(planes)):
        return list(planes), 0
    latest: dict[float | None, Plane] = {}
    for p in sorted(planes, key=lambda p: p.moment):
        latest[p.trigger_ms] = p
    return list(latest.values()), len(planes) - distinct
