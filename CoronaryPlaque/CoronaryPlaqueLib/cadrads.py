"""CAD-RADS 2.0: category, plaque burden and modifiers of a coronary CT angiogram.

Cury et al., J Cardiovasc Comput Tomogr 2022;16:536 (also JACC Cardiovasc Imaging 2022;15:1974). The category is that of
the worst stenosis: 0 none, 1 1-24 % or plaque without stenosis, 2 25-49 %, 3 50-69 %, 4A 70-99 % in one or two vessels,
4B left main from 50 % or three vessels from 70 %, 5 occluded, N non-diagnostic. The ranges are printed in whole
numbers; a measured stenosis belongs to a range until it reaches the next one's lowest number, so 69.6 % is 50-69 %.

Who says what: stenosis, plaque, N and S by stented segments follow from the readings; HRP from `high_risk` or entered;
I (CT-FFR or stress perfusion), G and E (causes other than atherosclerosis) are entered, no software here sees them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum

from CardioPrecisionLib.errors import InputError

from .plaque_burden import GRADES, PlaqueBurden
from .reading import Readings, Sight
from .segments import LEFT_MAIN, MAJOR_VESSELS, labels, segment

CATEGORIES = ("0", "1", "2", "3", "4A", "4B", "5")
NON_DIAGNOSTIC = "N"
_FROM_PCT = (25.0, 50.0, 70.0, 100.0)
_OF_RANGE = ("1", "2", "3", "4A", "5")
LEFT_MAIN_FROM_PCT = 50.0
SEVERE_FROM_PCT = 70.0
P0_WITH_PLAQUE = "P0 contradicts the plaque that was seen; grade it by the segments with plaque."


class Ischaemia(StrEnum):
    """Result of CT-FFR or stress CT perfusion, as the modifier is written."""

    PRESENT = "I+"
    ABSENT = "I-"
    BORDERLINE = "I±"


@dataclass(frozen=True)
class Entered:
    """What a reader adds.

    Attributes
    ----------
    high_risk_plaque : bool or None
        From `high_risk.high_risk_plaque` or by eye; None where it was not assessed.
    ischaemia : Ischaemia or None
        None where no test was made.
    stent, graft, exception : bool
        Modifiers S, G, E. S is also set by a reading with a stent.
    """

    high_risk_plaque: bool | None = None
    ischaemia: Ischaemia | None = None
    stent: bool = False
    graft: bool = False
    exception: bool = False

    def __post_init__(self) -> None:
        if self.ischaemia is not None:
            try:
                object.__setattr__(self, "ischaemia", Ischaemia(self.ischaemia))
            except ValueError:
                known = ", ".join(Ischaemia)
                raise InputError(f"CAD-RADS: ischaemia {self.ischaemia!r} is not one of {known}.") from None


@dataclass(frozen=True)
class CadRads:
    """A CAD-RADS 2.0 classification.

    Attributes
    ----------
    category : str or None
        ``0`` to ``5``, ``4A``, ``4B``, ``N``; None where segments were not read that could raise it.
    at_least : str or None
        The category of the segments that were read; None where none was.
    burden : str or None
        ``P0`` to ``P4``; None where it was not assessed.
    modifiers : tuple of str
        In the guideline's order: N, HRP, I, S, G, E.
    segments : tuple of int
        Where the stenoses are that decide the category.
    reason : str or None
        Why there is no category, or what limits it.
    """

    category: str | None
    at_least: str | None
    burden: str | None = None
    modifiers: tuple[str, ...] = ()
    segments: tuple[int, ...] = ()
    reason: str | None = None

    @property
    def text(self) -> str | None:
        """As it is written in a report: ``CAD-RADS 4A/P2/HRP/I+/S``. None without a category."""
        if self.category is None:
            return None
        burden = [self.burden] if self.burden and self.burden != GRADES[0] else []
        return "/".join([f"CAD-RADS {self.category}", *burden, *self.modifiers])


def stenosis_category(stenosis_pct: float) -> str:
    """Category of one stenosis outside the left main, of an artery that it shares with no other: ``0`` to ``5``."""
    if not 0 <= stenosis_pct <= 100:
        raise InputError(f"A stenosis is 0 to 100 %, not {stenosis_pct:g} %.")
    return _OF_RANGE[bisect_right(_FROM_PCT, stenosis_pct)] if stenosis_pct > 0 else CATEGORIES[0]


def cad_rads(
    readings: Readings,
    entered: Entered | None = None,
    burden: PlaqueBurden | str | None = None,
    *,
    study_diagnostic: bool = True,
    ignore_below_pct: float = 0.0,
) -> CadRads:
    """Classify a study.

    Absent segments, those below 1.5 mm and stenoses that an open graft bypasses do not count (plaque there does). A
    non-diagnostic segment makes the study N unless a stenosis of 50 % or more is seen elsewhere, which keeps its
    category and gets the modifier N. A required segment that nothing was said about leaves the category open, except
    that nothing can raise 5. Plaque burden P1 and more is plaque: with it a category 0 becomes 1. P0 although plaque
    was seen (a calcium score of 0 and soft plaque) is no burden.

    Parameters
    ----------
    readings : Readings
    entered : Entered, optional
    burden : PlaqueBurden or str, optional
        From `plaque_burden`.
    study_diagnostic : bool
        False: the image as a whole allows no answer. The result is N alone.
    ignore_below_pct : float
        A stenosis below it in a segment without plaque counts as none. A measured diameter is never exactly its
        reference; the measurement knows its own error. The guideline's own reading is 0.

    Raises
    ------
    InputError
        For an unknown plaque burden.
    """
    entered = entered or Entered()
    if not study_diagnostic:
        return CadRads(NON_DIAGNOSTIC, None, reason="The study is non-diagnostic.")
    grade = burden.grade if isinstance(burden, PlaqueBurden) else burden
    if grade is not None and grade not in GRADES:
        raise InputError(f"Plaque burden {grade!r} is not one of {', '.join(GRADES)}.")

    if not readings.read and not readings.non_diagnostic:
        return CadRads(None, None, grade, reason="No coronary segment was read.")
    seen, deciding = _worst(readings, ignore_below_pct)
    notes = []
    if seen == "0" and grade not in (None, GRADES[0]):
        seen = "1"
        notes.append(f"Plaque burden {grade}, but no plaque in the segments that were read.")
    if grade == GRADES[0] and any(r.plaque for r in readings.read):
        grade = None
        notes.append(P0_WITH_PLAQUE)
    category: str | None = seen
    modifiers = []
    if blurred := {r.segment for r in readings.segments if r.sight is Sight.NON_DIAGNOSTIC and not r.bypassed}:
        if CATEGORIES.index(seen) < CATEGORIES.index("3"):
            category, deciding = NON_DIAGNOSTIC, ()
            notes.append(f"{labels(blurred)} non-diagnostic, and no stenosis of 50 % or more elsewhere.")
        else:
            modifiers.append("N")
            notes.append(f"{labels(blurred)} non-diagnostic.")
    if readings.missing and seen != "5":
        category = None
        rest = f"; the other segments give CAD-RADS {seen} at least." if readings.read else "."
        notes.insert(0, f"{labels(readings.missing)} not read{rest}")
    modifiers += _modifiers(readings, entered)
    at_least = seen if readings.read else None
    return CadRads(category, at_least, grade, tuple(modifiers), deciding, " ".join(notes) or None)


def _worst(readings: Readings, ignore_below_pct: float) -> tuple[str, tuple[int, ...]]:
    """Category of the segments that were read, and which of them decide it."""
    pct = {r.segment: r.stenosis_pct or 0.0 for r in readings.read if not r.bypassed}
    for r in readings.read:
        if not r.plaque and pct.get(r.segment, 0.0) < ignore_below_pct:
            pct.pop(r.segment, None)
    worst = max(pct.values(), default=0.0)
    category = stenosis_category(worst)
    deciding = tuple(n for n, p in sorted(pct.items()) if p > 0 and stenosis_category(p) == category)
    if category == "5":
        return category, deciding
    severe = {segment(n).vessel for n, p in pct.items() if p >= SEVERE_FROM_PCT}
    if pct.get(LEFT_MAIN, 0.0) >= LEFT_MAIN_FROM_PCT:
        return "4B", (LEFT_MAIN,)
    if severe.issuperset(MAJOR_VESSELS):
        return "4B", deciding
    if category == "0" and any(r.plaque for r in readings.read):
        return "1", tuple(sorted(r.segment for r in readings.read if r.plaque))
    return category, deciding


def _modifiers(readings: Readings, entered: Entered) -> list[str]:
    found = ["HRP"] if entered.high_risk_plaque else []
    if entered.ischaemia is not None:
        found.append(entered.ischaemia.value)
    if entered.stent or any(r.stent for r in readings.segments):
        found.append("S")
    return found + ["G"] * entered.graft + ["E"] * entered.exception
