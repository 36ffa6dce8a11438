"""What was seen in one coronary segment: the input of every rule of CCTA reading, measured or entered."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from CardioPrecisionLib.errors import InputError

from .segments import TRUNK, labels, segment

SMALLEST_MM = 1.5  # CAD-RADS 2.0 grades vessels of at least this diameter


class Sight(StrEnum):
    """How a segment was seen."""

    READ = "read"
    NON_DIAGNOSTIC = "non_diagnostic"  # it is there, the image does not allow an answer
    ABSENT = "absent"  # this heart does not have it
    TOO_SMALL = "too_small"  # below 1.5 mm: not graded


@dataclass(frozen=True)
class SegmentReading:
    """One segment.

    Attributes
    ----------
    segment : int
        SCCT number, 1 to 18.
    stenosis_pct : float or None
        Largest diameter stenosis, 0 to 100 (100: occluded), in-stent stenosis included. Only where it was read.
    plaque : bool or None
        Any plaque, also without stenosis. Only where it was read.
    sight : Sight
    stent : bool
        A stent lies in it. A stent that cannot be seen through makes the segment `Sight.NON_DIAGNOSTIC`.
    bypassed : bool
        An open graft supplies it beyond the stenosis: the stenosis no longer counts for CAD-RADS.

    Raises
    ------
    InputError
        For a number outside the model, a stenosis outside 0 to 100 %, a read segment without its two findings or one
        that was not read but has them.
    """

    segment: int
    stenosis_pct: float | None = None
    plaque: bool | None = None
    sight: Sight = Sight.READ
    stent: bool = False
    bypassed: bool = False

    def __post_init__(self) -> None:
        label = segment(self.segment).label
        object.__setattr__(self, "sight", Sight(self.sight))
        if self.sight is not Sight.READ:
            if self.stenosis_pct is not None or self.plaque is not None:
                raise InputError(f"Segment {label} is {self.sight}: give no stenosis and no plaque for it.")
            return
        if self.stenosis_pct is None or self.plaque is None:
            raise InputError(f"Segment {label}: give both stenosis and plaque, or say why it was not read.")
        if not (math.isfinite(self.stenosis_pct) and 0 <= self.stenosis_pct <= 100):
            raise InputError(f"Segment {label}: a stenosis is 0 to 100 %, not {self.stenosis_pct:g} %.")


@dataclass(frozen=True)
class Readings:
    """The segments of one study, each at most once.

    Attributes
    ----------
    segments : tuple of SegmentReading
    required : frozenset of int
        Segments that must be accounted for (read, non-diagnostic, absent or too small) before a whole-patient answer
        can be given; by default the trunks of the main arteries.
    """

    segments: tuple[SegmentReading, ...]
    required: frozenset[int] = TRUNK

    def __init__(self, readings: Iterable[SegmentReading], required: Iterable[int] = TRUNK):
        object.__setattr__(self, "segments", tuple(readings))
        object.__setattr__(self, "required", frozenset(segment(n).number for n in required))
        numbers = [r.segment for r in self.segments]
        if twice := {n for n in numbers if numbers.count(n) > 1}:
            raise InputError(f"Segment {labels(twice)} was given twice; give one reading per segment.")

    @property
    def read(self) -> tuple[SegmentReading, ...]:
        return tuple(r for r in self.segments if r.sight is Sight.READ)

    @property
    def non_diagnostic(self) -> frozenset[int]:
        return frozenset(r.segment for r in self.segments if r.sight is Sight.NON_DIAGNOSTIC)

    @property
    def missing(self) -> frozenset[int]:
        """Required segments that nothing was said about."""
        return self.required - {r.segment for r in self.segments}
