"""What a calcium score means: percentile of age, sex and race, arterial age, categories, severity of aortic stenosis.

MESA percentiles: McClelland et al., Circulation 2006;113:30. Percentiles by age and sex: Hoff et al., Am J Cardiol
2001;87:1335. Arterial age: McClelland et al., Am J Cardiol 2009;103:59. CAC-DRS: Hecht et al., J Cardiovasc Comput
Tomogr 2018;12:185. Burden: Rumberger et al., Mayo Clin Proc 1999;74:243. Aortic valve: ESC/EACTS guideline, Eur Heart
J 2022;43:561.

The tables lie in ``norms``; each says where its figures come from. Outside of what they cover `NotCovered` is raised:
nothing is carried over from the nearest age.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import NormalDist

MESA_RACES = ("white", "chinese", "black", "hispanic")
MESA_AGES = (45, 85)  # from, below
_NORMAL = NormalDist()
_SATURATED = 99.0  # the percentiles of the MESA calculator end here


class NotCovered(ValueError):
    """The reference says nothing about this age, sex, race or percentile. The message can serve as a reason."""


@dataclass(frozen=True)
class Percentile:
    """Place of a score among the reference population.

    Attributes
    ----------
    value : float or None
        Best estimate, 0 to 100; None where only bounds are known: a score of 0, which many share, and a score above the
        last percentile of the table.
    low, high : float
        Bounds by the table. With a score of 0, `high` is the percentage of the reference population that has 0.
    """

    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Burden:
    """Category of a coronary Agatston score: range, plaque burden, and whether it is extreme (1000 and more)."""

    name: str
    burden: str
    extreme: bool


# -- MESA --------------------------------------------------------------------------------------------------------------
def mesa_percentile(cac: float, age_years: float, sex: str, race: str) -> Percentile:
    """Percentile of a coronary Agatston score by age, sex and race.

    The age counts in completed years. Between the scores of the table the percentile runs linearly on the normal scale
    over ln(score), which comes closer to the published values than a straight line of percentiles does (mean deviation
    0.4 instead of 0.7 points); below a score of 1 it runs linearly down to the share of people with 0. At 50, 60, 70
    and 80 years the percentiles of Table 2 are met exactly.

    Parameters
    ----------
    cac : float
        Agatston score, 0 and above.
    age_years : float
        45 to below 85.
    sex : {"male", "female"}
    race : {"white", "chinese", "black", "hispanic"}

    Raises
    ------
    NotCovered
        For other ages, sexes and races.
    ValueError
        For a negative or not finite score.
    """
    cac = _score(cac)
    zero, knots = _mesa_cell(age_years, sex, race)
    if cac == 0:
        return Percentile(None, 0.0, zero)
    top = knots[-1]
    if cac > top[0] or (cac == top[0] and top[1] >= _SATURATED):
        return Percentile(None, top[1], 100.0)
    place = bisect_left(knots, (cac, 0.0))
    upper = knots[place]
    if place == 0:
        value = zero + (upper[1] - zero) * cac / upper[0]
    elif cac == upper[0]:
        value = upper[1]
    else:
        lower = knots[place - 1]
        share = math.log(cac / lower[0]) / math.log(upper[0] / lower[0])
        low, high = _to_normal(lower[1]), _to_normal(upper[1])
        value = 100.0 * _NORMAL.cdf(low + share * (high - low))
    return Percentile(value, value, value)


def mesa_cac_at(percentile: float, age_years: float, sex: str, race: str) -> float:
    """Lowest Agatston score that reaches a percentile, the inverse of `mesa_percentile`; 0 where so many have none.

    Raises
    ------
    NotCovered
        As `mesa_percentile`, and for percentiles beyond the table (99 and above, less where scores of 4000 are common).
    """
    zero, knots = _mesa_cell(age_years, sex, race)
    if not 0 <= percentile <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {percentile:g}")
    if percentile <= zero:
        return 0.0
    place = next((n for n, k in enumerate(knots) if k[1] >= percentile), None)
    if place is None or percentile >= _SATURATED:
        raise NotCovered(f"the MESA percentiles end at {knots[-1][1]:g} for this age, sex and race")
    upper = knots[place]
    if place == 0:
        return upper[0] * (percentile - zero) / (upper[1] - zero)
    if percentile == upper[1]:
        return upper[0]
    lower = knots[place - 1]
    low, high = _to_normal(lower[1]), _to_normal(upper[1])
    share = (_to_normal(percentile) - low) / (high - low)
    return float(lower[0] * (upper[0] / lower[0]) ** share)


def mesa_cac_positive(age_years: float, sex: str, race: str) -> float:
    """Percentage of the reference population with a score above 0."""
    return 100.0 - _mesa_cell(age_years, sex, race)[0]


def _to_normal(percentile: float) -> float:
    return _NORMAL.inv_cdf(percentile / 100.0)


def _mesa_cell(age_years: float, sex: str, race: str) -> tuple[float, list[tuple[float, float]]]:
    """Percentage with a score of 0, and the (score, percentile) knots above it."""
    first, end = MESA_AGES
    if race not in MESA_RACES:
        raise NotCovered(f"MESA percentiles exist for {', '.join(MESA_RACES)}, not for {race or 'an unknown race'}")
    _sex(sex)
    if not first <= age_years < end:
        raise NotCovered(f"MESA percentiles exist for {first} to {end - 1} years, not for {age_years:g}")
    return _mesa()[race, sex, int(age_years)]


@cache
def _mesa() -> dict[tuple[str, str, int], tuple[float, list[tuple[float, float]]]]:
    exact: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for row in _rows("mesa_2006_table2.csv"):
        points = [(float(v), float(name[5:])) for name, v in row.items() if name.startswith("cac_p")]
        exact[row["race"], row["sex"], int(row["age_years"])] = [p for p in points if p[0] > 0]
    cells = {}
    for row in _rows("mesa_by_age.csv"):
        key = row["race"], row["sex"], int(row["age_years"])
        ladder = [(float(name[14:]), float(v)) for name, v in row.items() if name.startswith("percentile_of_")]
        table = exact.get(key, [])
        # The ladder is rounded to whole percentiles; where it contradicts the printed table, the table stands.
        agreeing = [(c, p) for c, p in ladder if all((c - d) * (p - q) > 0 for d, q in table)]
        # Shares are whole too: where the table has a score above 0 at the very percentile, they end just below it.
        zero = min(100.0 - float(row["cac_positive_pct"]), *(p - 0.25 for _, p in table), 100.0)
        # No score lies below the people who have none; and all beyond the first 99 says the same.
        knots = [(c, max(p, zero)) for c, p in sorted(agreeing + table)]
        end = next((n + 1 for n, k in enumerate(knots) if k[1] >= _SATURATED), len(knots))
        cells[key] = zero, knots[:end]
    return cells


# -- Hoff --------------------------------------------------------------------------------------------------------------
HOFF_PERCENTILES = (25, 50, 75, 90)


def hoff_cac(age_years: float, sex: str) -> dict[int, float]:
    """Agatston score at the 25th, 50th, 75th and 90th percentile of people of this age band and sex.

    Raises
    ------
    NotCovered
        Below 30 and above 90 years.
    """
    _sex(sex)
    for row in _rows("hoff_2001.csv"):
        if row["sex"] == sex and float(row["age_from"]) <= age_years < float(row["age_below"]):
            return {p: float(row[f"cac_p{p}"]) for p in HOFF_PERCENTILES}
    raise NotCovered(f"the percentiles of Hoff 2001 exist for 30 to 90 years, not for {age_years:g}")


def hoff_percentile(cac: float, age_years: float, sex: str) -> Percentile:
    """Percentile of a coronary Agatston score by age band and sex.

    `low` and `high` are the table's own percentiles around the score (0 and 100 beyond them), `low` being reached.
    `value` runs linearly over ln(score + 1) between them.

    Raises
    ------
    NotCovered
        As `hoff_cac`.
    """
    cac = _score(cac)
    table = hoff_cac(age_years, sex)
    if cac == 0:
        return Percentile(None, 0.0, float(next((p for p, c in table.items() if c > 0), 100)))
    reached = [p for p, c in table.items() if c <= cac]
    low = float(reached[-1]) if reached else 0.0
    above = [(float(p), c) for p, c in table.items() if c > cac]
    if not above:
        return Percentile(None, low, 100.0)
    high, upper = above[0]
    lower = table[reached[-1]] if reached else 0.0
    share = math.log((cac + 1) / (lower + 1)) / math.log((upper + 1) / (lower + 1))
    return Percentile(low + share * (high - low), low, high)


# -- one number, one meaning -------------------------------------------------------------------------------------------
def arterial_age(cac: float) -> float:
    """Age in years with the same estimated coronary risk: 39.1 + 7.25 ln(CAC + 1)."""
    return 39.1 + 7.25 * math.log(_score(cac) + 1.0)


def cac_drs(cac: float, n_vessels: int) -> str:
    """CAC-DRS by Agatston score and number of vessels with calcium (LM, LAD, LCX, RCA): ``A2/N3``.

    Raises
    ------
    ValueError
        For 0 vessels with a score above 0, vessels with a score of 0, or more than four.
    """
    cac = _score(cac)
    if n_vessels not in range(5) or (cac > 0) != (n_vessels > 0):
        raise ValueError(f"an Agatston score of {cac:g} does not go with {n_vessels} calcified vessels")
    return f"A{(cac > 0) + (cac >= 100) + (cac >= 300)}/N{n_vessels}"


def burden(cac: float) -> Burden:
    """Category of a coronary Agatston score: 0, 1-10, 11-100, 101-400, >400; scores are compared unrounded."""
    cac = _score(cac)
    for limit, name, word in ((0, "0", "none"), (10, "1-10", "minimal"), (100, "11-100", "mild")):
        if cac <= limit:
            return Burden(name, word, False)
    return Burden("101-400", "moderate", False) if cac <= 400 else Burden(">400", "extensive", cac >= 1000)


#: Agatston score of the aortic valve: severe stenosis is unlikely below the first, likely from the second and highly
#: likely from the third on. The guideline prints < and >; a score at a limit goes to the higher band.
AORTIC_VALVE_LIMITS = {"male": (1600, 2000, 3000), "female": (800, 1200, 1600)}


def aortic_stenosis(avc_agatston: float, sex: str) -> str:
    """Whether an aortic valve's score speaks for severe stenosis.

    Returns
    -------
    str
        ``unlikely``, ``indeterminate``, ``likely`` or ``highly likely``.

    Raises
    ------
    NotCovered
        Where the sex is not known: the limits differ by a factor of two.
    """
    _sex(sex)
    reached = sum(_score(avc_agatston) >= limit for limit in AORTIC_VALVE_LIMITS[sex])
    return ("unlikely", "indeterminate", "likely", "highly likely")[reached]


def _sex(sex: str) -> None:
    if sex not in ("male", "female"):
        raise NotCovered(f"this reference exists for male and female, not for {sex or 'an unknown sex'}")


def _score(cac: float) -> float:
    cac = float(cac)
    if not (math.isfinite(cac) and cac >= 0):
        raise ValueError(f"a calcium score is 0 or above, not {cac:g}")
    return cac


@cache
def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath("norms", name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
