"""MESA 2015: coronary heart disease in 10 years, with and without coronary calcium.

McClelland RL et al., J Am Coll Cardiol 2015;66:1643-1653.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from .columns import Array, Columns
from .score import Exclusion, Need, Score

CITATION = "McClelland RL et al. 10-Year CHD Risk Prediction Using CAC (MESA). J Am Coll Cardiol 2015;66:1643-1653"

#: Field or race -> coefficient without and with calcium.
_TERMS = {
    "age_years": (0.0455, 0.0172),
    "diabetes": (0.5168, 0.3892),
    "current_smoker": (0.4732, 0.3717),
    "total_chol_mg_dl": (0.0053, 0.0043),
    "hdl_chol_mg_dl": (-0.0140, -0.0114),
    "lipid_med": (0.2473, 0.1206),
    "sbp_mmhg": (0.0085, 0.0066),
    "bp_treated": (0.3381, 0.2278),
    "family_history_mi": (0.4522, 0.3239),
}
_MALE = (0.7496, 0.4079)
_RACE = {"white": (0.0, 0.0), "chinese": (-0.5055, -0.3475), "black": (-0.2111, 0.0353), "hispanic": (-0.1900, -0.0222)}
_LN_CAC = 0.2743
_SURVIVAL = (0.99963, 0.99833)


def risk(columns: Columns, calcium: bool) -> Array:
    """``(rows,)`` risk in %; without a value for a race that MESA did not study."""
    which = int(calcium)
    linear = _MALE[which] * columns.is_choice("sex", "male")
    for field, pair in _TERMS.items():
        linear = linear + pair[which] * columns.number(field)
    studied = np.zeros(columns.size, bool)
    for race, shift in _RACE.items():
        is_race = columns.is_choice("race", race)
        linear = linear + shift[which] * is_race
        studied |= is_race
    if calcium:
        linear = linear + _LN_CAC * np.log1p(columns.number("cac_agatston"))
    return np.where(studied, 100.0 * (1.0 - _SURVIVAL[which] ** np.exp(linear)), np.nan)


def _score(name: str, title: str, calcium: bool) -> Score:
    return Score(
        name=name,
        family="mesa",
        title=f"MESA {title}: coronary heart disease in 10 years",
        citation=CITATION,
        doi="10.1016/j.jacc.2015.08.035",
        unit="%",
        needs=(
            Need("age_years", 45, 85),
            *(Need(field) for field in _TERMS if field != "age_years"),
            Need("sex"),
            Need("race"),
            *((Need("cac_agatston"),) if calcium else ()),
        ),
        formula=partial(risk, calcium=calcium),
        exclusions=(Exclusion("prior_ascvd", "the MESA score is for people without cardiovascular disease"),),
        undefined="race is other: MESA studied white, black, Hispanic and Chinese people",
    )


SCORES = (
    _score("risk_mesa_chd_10y", "without calcium", False),
    _score("risk_mesa_cac_chd_10y", "with calcium", True),
)
