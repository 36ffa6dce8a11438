"""What a report says: one finding with its value, status and place in the text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Sections that speak of the past or of a question; nothing in them is a current measurement.
NOT_CURRENT = frozenset({"history", "indication", "comparison", "recommendation"})


class Status(StrEnum):
    """How a report holds a finding."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    HISTORICAL = "historical"


@dataclass(frozen=True)
class Finding:
    """One statement of a report.

    Attributes
    ----------
    kind : str
        What it is about: a measurement name of the project where there is one (``lv_ef``), else ``aortic_stenosis``,
        ``scar``, …
    value : float, str or None
        Number in `unit`, or a word (grade, pattern, category). None where the report gives none, or only a bound.
    unit : str
        UCUM; ``"1"`` for words and pure numbers.
    status : Status
    start, end : int
        Characters of the value in the original text, ``text[start:end] == self.text``; of the term where there is no
        value.
    text : str
    sentence : str
        The sentence around it, and `sentence_start`, where that begins.
    section : str
        ``history``, ``indication``, ``technique``, ``comparison``, ``findings``, ``impression``, ``recommendation`` or
        ``""``.
    rule : str
        The rule that found it.
    site : str or None
        As in measurements (``scct07``, ``LAD``, ``total``, ``aha04``); ``graft_svg`` for a bypass, ``inferior`` for a
        wall without a level.
    low, high : float or None
        Ends of a range (both), or the one end of a bound.
    word : str or None
        The grade that the range stands for, where the report gives a word.
    comparator : str
        ``"="``, ``"~"`` (approximately), ``"<"``, ``"<="``, ``">"``, ``">="``.
    modifiers : tuple of str
        Of a CAD-RADS category: N, HRP, I+, S, G, E.
    note : str or None
        What limits it.
    conflict : bool
        Another statement of the same report contradicts it.
    """

    kind: str
    value: float | str | None
    unit: str
    status: Status
    start: int
    end: int
    text: str
    sentence: str
    sentence_start: int
    section: str
    rule: str
    site: str | None = None
    low: float | None = None
    high: float | None = None
    word: str | None = None
    comparator: str = "="
    modifiers: tuple[str, ...] = ()
    note: str | None = None
    conflict: bool = False

    @property
    def current(self) -> bool:
        """Whether it speaks of this examination and of this patient."""
        return self.status is not Status.HISTORICAL and self.section not in NOT_CURRENT
