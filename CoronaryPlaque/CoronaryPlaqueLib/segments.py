"""The 18 coronary segments of the SCCT: numbers, names, vessels, and which of them a heart has by its dominance.

Leipsic et al., J Cardiovasc Comput Tomogr 2014;8:342. Sites are written as in findings from report text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from CardioPrecisionLib.errors import InputError

#: The vessels that count for three-vessel disease; the left main is a vessel of its own.
MAJOR_VESSELS = ("LAD", "LCX", "RCA")


class Dominance(StrEnum):
    """Which artery gives the posterior descending artery; codominant: PDA from the RCA, PLB from the LCX."""

    RIGHT = "right"
    LEFT = "left"
    CODOMINANT = "codominant"


@dataclass(frozen=True)
class CoronarySegment:
    """One segment of the SCCT model.

    Attributes
    ----------
    number : int
        1 to 18.
    label, name : str
        Short and long name.
    vessel : str
        ``LM``, ``LAD``, ``LCX`` or ``RCA``. The ramus counts for the LCX: the model gives it no vessel, and both its
        neighbours are in use.
    trunk : bool
        Part of a main artery. Nearly every heart has it; a branch may be absent or too small to read.
    dominance : tuple of Dominance
        Where the segment exists.
    """

    number: int
    label: str
    name: str
    vessel: str
    trunk: bool
    dominance: tuple[Dominance, ...] = tuple(Dominance)

    @property
    def site(self) -> str:
        """Site of a measurement: ``LM`` for segment 5, otherwise ``scct01`` to ``scct18``."""
        return "LM" if self.number == 5 else f"scct{self.number:02d}"


_RIGHT, _LEFT, _CO = Dominance.RIGHT, Dominance.LEFT, Dominance.CODOMINANT
SEGMENTS: dict[int, CoronarySegment] = {
    s.number: s
    for s in (
        CoronarySegment(1, "pRCA", "proximal right coronary artery", "RCA", True),
        CoronarySegment(2, "mRCA", "mid right coronary artery", "RCA", True),
        CoronarySegment(3, "dRCA", "distal right coronary artery", "RCA", True),
        CoronarySegment(4, "R-PDA", "posterior descending artery from the RCA", "RCA", False, (_RIGHT, _CO)),
        CoronarySegment(5, "LM", "left main coronary artery", "LM", True),
        CoronarySegment(6, "pLAD", "proximal left anterior descending artery", "LAD", True),
        CoronarySegment(7, "mLAD", "mid left anterior descending artery", "LAD", True),
        CoronarySegment(8, "dLAD", "distal left anterior descending artery", "LAD", True),
        CoronarySegment(9, "D1", "first diagonal branch", "LAD", False),
        CoronarySegment(10, "D2", "second diagonal branch", "LAD", False),
        CoronarySegment(11, "pLCX", "proximal left circumflex artery", "LCX", True),
        CoronarySegment(12, "OM1", "first obtuse marginal branch", "LCX", False),
        CoronarySegment(13, "m/dLCX", "mid and distal left circumflex artery", "LCX", True),
        CoronarySegment(14, "OM2", "second obtuse marginal branch", "LCX", False),
        CoronarySegment(15, "L-PDA", "posterior descending artery from the LCX", "LCX", False, (_LEFT,)),
        CoronarySegment(16, "R-PLB", "posterolateral branch from the RCA", "RCA", False, (_RIGHT,)),
        CoronarySegment(17, "RI", "ramus intermedius", "LCX", False),
        CoronarySegment(18, "L-PLB", "posterolateral branch from the LCX", "LCX", False, (_LEFT, _CO)),
    )
}
TRUNK: frozenset[int] = frozenset(n for n, s in SEGMENTS.items() if s.trunk)
LEFT_MAIN = 5


def segment(number: int) -> CoronarySegment:
    """A segment by its number; `InputError` for a number outside 1 to 18."""
    try:
        return SEGMENTS[number]
    except KeyError:
        raise InputError(f"Coronary segment {number}: the SCCT numbers are 1 to 18; use one of these.") from None


def segments_of(dominance: Dominance) -> tuple[int, ...]:
    """Numbers of the segments that a heart can have: 16 for each dominance."""
    return tuple(n for n, s in SEGMENTS.items() if dominance in s.dominance)


def labels(numbers: frozenset[int] | set[int]) -> str:
    """Short names in the order of the numbers, for messages."""
    return ", ".join(SEGMENTS[n].label for n in sorted(numbers))
