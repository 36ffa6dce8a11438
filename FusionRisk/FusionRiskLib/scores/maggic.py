"""MAGGIC 2013: death in 1 and 3 years in heart failure.

Pocock SJ et al., Eur Heart J 2013;34:1404-1413: integer points, and the risk that belongs to 0 to 50 points
(``data/maggic_mortality.csv``).
"""

from __future__ import annotations

import csv
from functools import cache, partial
from importlib import resources

import numpy as np

from .columns import Array, Columns
from .score import Need, Score

CITATION = "Pocock SJ et al. Predicting survival in heart failure (MAGGIC). Eur Heart J 2013;34:1404-1413"

#: Lower ends of the classes and their points; by ejection fraction (<30, 30-39, 40 and more) for age and pressure.
_EF = ((20, 25, 30, 35, 40), (7, 6, 5, 3, 2, 0))
_AGE = (55, 60, 65, 70, 75, 80), ((0, 1, 2, 4, 6, 8, 10), (0, 2, 4, 6, 8, 10, 13), (0, 3, 5, 7, 9, 12, 15))
_SBP = (110, 120, 130, 140, 150), ((5, 4, 3, 2, 1, 0), (3, 2, 1, 1, 0, 0), (2, 1, 1, 0, 0, 0))
_BMI = ((15, 20, 25, 30), (6, 5, 3, 2, 0))
_CREATININE = ((90, 110, 130, 150, 170, 210, 250), (0, 1, 2, 3, 4, 5, 6, 8))
_NYHA = (0, 2, 6, 8)


def _class(values: Array, edges: tuple[int, ...]) -> Array:
    return np.searchsorted(edges, np.nan_to_num(values), side="right")


def points(columns: Columns) -> Array:
    """``(rows,)`` points."""
    ef = columns.number("lv_ef_pct")
    band = _class(ef, (30, 40))
    total = np.array(_EF[1])[_class(ef, _EF[0])].astype(float)
    total += np.array(_AGE[1])[band, _class(columns.number("age_years"), _AGE[0])]
    total += np.array(_SBP[1])[band, _class(columns.number("sbp_mmhg"), _SBP[0])]
    total += np.array(_BMI[1])[_class(columns.number("bmi_kg_m2"), _BMI[0])]
    total += np.array(_CREATININE[1])[_class(columns.number("creatinine_umol_l"), _CREATININE[0])]
    total += np.array(_NYHA)[np.clip(np.nan_to_num(columns.number("nyha")).astype(int) - 1, 0, 3)]
    total += columns.is_choice("sex", "male") + columns.number("current_smoker") + 3 * columns.number("diabetes")
    total += 2 * columns.number("copd") + 2 * columns.number("hf_dx_ge_18_months_ago")
    total += 3 * (1 - columns.number("on_beta_blocker")) + (1 - columns.number("on_acei_arb"))
    return total


@cache
def _mortality() -> Array:
    """``(51, 2)`` risk of death in % in 1 and 3 years, by points."""
    text = resources.files(__package__).joinpath("data/maggic_mortality.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return np.array([[float(row["death_1y_pct"]), float(row["death_3y_pct"])] for row in rows])


def death(columns: Columns, column: int) -> Array:
    """``(rows,)`` risk in %; without a value above 50 points, where the paper gives none."""
    total = np.nan_to_num(points(columns)).astype(int)
    table = _mortality()
    return np.where(total < len(table), table[np.minimum(total, len(table) - 1), column], np.nan)


_NEEDS = (
    Need("lv_ef_pct", 1, 95),
    Need("age_years", 18, 110),
    Need("sbp_mmhg", 50, 250),
    Need("bmi_kg_m2", 10, 60),
    Need("creatinine_umol_l", 20, 1400),
    Need("nyha"),
    Need("sex"),
    Need("current_smoker"),
    Need("diabetes"),
    Need("copd"),
    Need("hf_dx_ge_18_months_ago"),
    Need("on_beta_blocker"),
    Need("on_acei_arb"),
)
_DOI = "10.1093/eurheartj/ehs337"
_ABOVE = "more than 50 points: the paper gives no risk"

SCORES = (
    Score("maggic_points", "maggic", "MAGGIC points", CITATION, _DOI, "{points}", _NEEDS, points),
    Score("risk_maggic_death_1y", "maggic", "MAGGIC: death in 1 year", CITATION, _DOI, "%", _NEEDS,
          partial(death, column=0), undefined=_ABOVE),
    Score("risk_maggic_death_3y", "maggic", "MAGGIC: death in 3 years", CITATION, _DOI, "%", _NEEDS,
          partial(death, column=1), undefined=_ABOVE),
)  # fmt: skip
