"""How many coronary segments hold plaque and how much they narrow: SIS and SSS.

Min et al., J Am Coll Cardiol 2007;50:1161: segment involvement score 0 to 16, segment stenosis score 0 to 48.

Left out, because a definition or weight table could not be read in a source: the modified Duke index of the same paper
(its abstract confirms the grades below 30, 30-49, 50-69 and from 70 % and two of its six groups only), the Leiden score
and CT-Leaman.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from CardioPrecisionLib.errors import InputError

from .reading import Readings, SegmentReading
from .segments import labels

NO_PLAQUE, MILD, MODERATE, SEVERE = range(4)


@dataclass(frozen=True)
class Involvement:
    """SIS and SSS of a study.

    Attributes
    ----------
    sis, sss : int or None
        None where segments that might hold plaque were not seen.
    sis_at_least, sss_at_least : int
        What the segments that were read give.
    reason : str or None
    """

    sis: int | None
    sss: int | None
    sis_at_least: int
    sss_at_least: int
    reason: str | None = None


def segment_grade(reading: SegmentReading) -> int:
    """0 no plaque, 1 below 50 %, 2 from 50 %, 3 from 70 % diameter stenosis, of a segment that was read.

    Without plaque the grade is 0: the score counts atherosclerosis, not other narrowing.
    """
    if reading.stenosis_pct is None:
        raise InputError(f"Segment {labels({reading.segment})} was not read; it has no grade.")
    if not reading.plaque:
        return NO_PLAQUE
    return MILD + (reading.stenosis_pct >= 50) + (reading.stenosis_pct >= 70)


def segment_involvement_score(grades: Iterable[int]) -> int:
    """Number of segments with plaque, whatever their stenosis."""
    return sum(_grade(g) > NO_PLAQUE for g in grades)


def segment_stenosis_score(grades: Iterable[int]) -> int:
    """Sum of the segments' grades."""
    return sum(_grade(g) for g in grades)


def involvement(readings: Readings) -> Involvement:
    """SIS and SSS of a study; not given where a segment was non-diagnostic or a required one was not read."""
    grades = [segment_grade(r) for r in readings.read]
    sis, sss = segment_involvement_score(grades), segment_stenosis_score(grades)
    unseen = readings.missing | readings.non_diagnostic
    if not grades:
        return Involvement(None, None, 0, 0, "No coronary segment was read.")
    if unseen:
        reason = f"{labels(unseen)} not read; the other segments give SIS {sis} and SSS {sss} at least."
        return Involvement(None, None, sis, sss, reason)
    return Involvement(sis, sss, sis, sss)


def _grade(grade: int) -> int:
    if grade not in (NO_PLAQUE, MILD, MODERATE, SEVERE):
        raise InputError(f"A segment's grade is 0, 1, 2 or 3, not {grade}.")
    return int(grade)
