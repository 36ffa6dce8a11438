"""Plaque burden P1 to P4 of CAD-RADS 2.0 by calcium score, by segment involvement and by eye.

Cury et al., J Cardiovasc Comput Tomogr 2022;16:536 (table of the P categories). P0 stands for no plaque; it is not
printed with the category. The guideline leaves the method to the reader.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from CardioPrecisionLib.errors import InputError

from .segments import MAJOR_VESSELS, SEGMENTS

GRADES = ("P0", "P1", "P2", "P3", "P4")
#: Lowest value of P2, P3, P4. The ranges are printed in whole numbers (1-100, 101-300, 301-999, > 1000), so a grade
#: holds until the next one's lowest whole number. A score of exactly 1000 is in no printed range; it counts as P4.
_CAC_FROM = (101.0, 301.0, 1000.0)
_SIS_FROM = (3, 5, 8)


class Amount(StrEnum):
    """Plaque of one vessel by eye."""

    NONE = "none"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


@dataclass(frozen=True)
class PlaqueBurden:
    """The grade that is reported, and what the other methods said.

    Attributes
    ----------
    grade : str or None
        ``P0`` to ``P4``; None where nothing allows a grade.
    method : str or None
        ``cac``, ``sis`` or ``visual``.
    by_method : dict
        Method -> grade, for every method that had its input.
    reason : str or None
        Why there is no grade, or that the methods disagree.
    """

    grade: str | None
    method: str | None
    by_method: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None


def burden_by_cac(cac_agatston: float) -> str:
    """P by the Agatston score: above 0 P1, from 101 P2, from 301 P3, from 1000 P4."""
    if not (math.isfinite(cac_agatston) and cac_agatston >= 0):
        raise InputError(f"A calcium score is 0 or more, not {cac_agatston:g}.")
    return GRADES[1 + bisect_right(_CAC_FROM, cac_agatston)] if cac_agatston > 0 else GRADES[0]


def burden_by_sis(sis: int) -> str:
    """P by the number of segments with plaque: 1-2 P1, 3-4 P2, 5-7 P3, 8 and more P4."""
    if not 0 <= sis <= len(SEGMENTS) or sis != int(sis):
        raise InputError(f"A segment involvement score is a whole number from 0 to {len(SEGMENTS)}, not {sis:g}.")
    return GRADES[1 + bisect_right(_SIS_FROM, sis)] if sis > 0 else GRADES[0]


def burden_by_eye(amounts: Mapping[str, str]) -> str:
    """P by the amount of plaque in each vessel.

    P1: one or two vessels mild. P2: one or two moderate, or three mild. P3: three moderate, or one severe. P4: two or
    three severe. A mixed picture takes the highest line that it fulfils, a vessel of a higher amount counting for the
    lower ones too.

    Parameters
    ----------
    amounts : mapping of str to str
        ``LAD``, ``LCX``, ``RCA`` -> ``none``, ``mild``, ``moderate``, ``severe``. ``LM`` may be given too and counts
        with the LAD, which usually continues its plaque; that is our reading of a table that counts three vessels.

    Raises
    ------
    InputError
        For an unknown vessel or amount, or where one of the three vessels is missing.
    """
    order = list(Amount)
    level = dict.fromkeys(MAJOR_VESSELS, 0)
    for vessel, amount in amounts.items():
        if vessel not in (*MAJOR_VESSELS, "LM"):
            raise InputError(f"Plaque by eye: vessel {vessel!r} is not one of LM, {', '.join(MAJOR_VESSELS)}.")
        if amount not in order:
            raise InputError(f"Plaque by eye, {vessel}: {amount!r} is not one of {', '.join(order)}.")
        counted = "LAD" if vessel == "LM" else vessel
        level[counted] = max(level[counted], order.index(Amount(amount)))
    if unseen := [v for v in MAJOR_VESSELS if v not in amounts]:
        raise InputError(f"Plaque by eye: say something about {', '.join(unseen)} too ('none' where there is none).")
    mild, moderate, severe = (sum(n >= least for n in level.values()) for least in (1, 2, 3))
    if severe:
        return "P4" if severe >= 2 else "P3"
    if moderate:
        return "P3" if moderate == 3 else "P2"
    if mild:
        return "P2" if mild == 3 else "P1"
    return "P0"


def plaque_burden(
    *,
    cac_agatston: float | None = None,
    sis: int | None = None,
    visual: Mapping[str, str] | None = None,
    stent: bool = False,
) -> PlaqueBurden:
    """The grade to report from whatever is known.

    Calcium first, then segments, then the eye. A calcium score is passed over where a stent lies in the coronaries,
    because it cannot be told from calcium, and where it is 0 although plaque was seen. This order is ours: the
    guideline allows each method. The other methods' grades are kept, and a disagreement is said.
    """
    grades: dict[str, str] = {}
    if cac_agatston is not None:
        grades["cac"] = burden_by_cac(cac_agatston)
    if sis is not None:
        grades["sis"] = burden_by_sis(sis)
    if visual is not None:
        grades["visual"] = burden_by_eye(visual)
    usable = dict(grades)
    if stent or (grades.get("cac") == "P0" and max(grades.values()) > "P0"):
        usable.pop("cac", None)
    if not usable:
        why = "a stent makes the calcium score unusable" if grades else "no calcium score, segments or visual grade"
        return PlaqueBurden(None, None, grades, f"No plaque burden: {why}; give the segments with plaque.")
    method = next(m for m in ("cac", "sis", "visual") if m in usable)
    differ = len(set(usable.values())) > 1
    said = ", ".join(f"{m} {g}" for m, g in grades.items())
    return PlaqueBurden(usable[method], method, grades, f"The methods differ: {said}." if differ else None)
