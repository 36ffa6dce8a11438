"""ACC/AHA Pooled Cohort Equations 2013: first hard ASCVD event in 10 years.

Goff DC Jr et al., Circulation 2014;129(25 Suppl 2):S49-S73, Appendix 7, Table A; baseline survival and means with one
more digit, as the ACC/AHA workbook gives them.
"""

from __future__ import annotations

import numpy as np

from .columns import Array, Columns
from .score import Caveat, Exclusion, Need, Score

CITATION = (
    "Goff DC Jr et al. 2013 ACC/AHA Guideline on the Assessment of Cardiovascular Risk. Circulation 2014;129:S49-S73"
)

#: Term -> coefficient for white women, black women, white men, black men. Logarithms of age in years, mg/dL and mmHg.
_TERMS = {
    "age": (-29.799, 17.114, 12.344, 2.469),
    "age2": (4.884, 0.0, 0.0, 0.0),
    "chol": (13.540, 0.940, 11.853, 0.302),
    "age_chol": (-3.114, 0.0, -2.664, 0.0),
    "hdl": (-13.578, -18.920, -7.990, -0.307),
    "age_hdl": (3.149, 4.475, 1.769, 0.0),
    "sbp_treated": (2.019, 29.291, 1.797, 1.916),
    "age_sbp_treated": (0.0, -6.432, 0.0, 0.0),
    "sbp_untreated": (1.957, 27.820, 1.764, 1.809),
    "age_sbp_untreated": (0.0, -6.087, 0.0, 0.0),
    "smoker": (7.574, 0.691, 7.837, 0.549),
    "age_smoker": (-1.665, 0.0, -1.795, 0.0),
    "diabetes": (0.661, 0.874, 0.658, 0.645),
}
_MEAN = np.array([-29.1817, 86.6081, 61.1816, 19.5425])
_SURVIVAL = np.array([0.96652, 0.95334, 0.91436, 0.89536])


def _group(columns: Columns) -> Array:
    """``(rows,)`` 0..3: white women, black women, white men, black men. People of other races as white."""
    return columns.is_choice("race", "black") + 2 * columns.is_choice("sex", "male")


def risk(columns: Columns) -> Array:
    """``(rows,)`` risk in %."""
    age = np.log(columns.number("age_years"))
    chol, hdl = np.log(columns.number("total_chol_mg_dl")), np.log(columns.number("hdl_chol_mg_dl"))
    sbp, treated = np.log(columns.number("sbp_mmhg")), columns.number("bp_treated")
    smoker = columns.number("current_smoker")
    values = {
        "age": age,
        "age2": age * age,
        "chol": chol,
        "age_chol": age * chol,
        "hdl": hdl,
        "age_hdl": age * hdl,
        "sbp_treated": sbp * treated,
        "age_sbp_treated": age * sbp * treated,
        "sbp_untreated": sbp * (1 - treated),
        "age_sbp_untreated": age * sbp * (1 - treated),
        "smoker": smoker,
        "age_smoker": age * smoker,
        "diabetes": columns.number("diabetes"),
    }
    group = _group(columns)
    linear = -_MEAN[group]
    for term, value in values.items():
        linear += np.array(_TERMS[term])[group] * value
    return np.asarray(100.0 * (1.0 - _SURVIVAL[group] ** np.exp(linear)))


def _other_race(columns: Columns) -> Array:
    return ~(columns.is_choice("race", "white") | columns.is_choice("race", "black"))


SCORES = (
    Score(
        name="risk_pce_ascvd_10y",
        family="pce",
        title="Pooled Cohort Equations: ASCVD in 10 years",
        citation=CITATION,
        doi="10.1161/01.cir.0000437741.48606.98",
        unit="%",
        needs=(
            Need("age_years", 40, 79),
            Need("sex"),
            Need("race"),
            Need("total_chol_mg_dl", 130, 320),
            Need("hdl_chol_mg_dl", 20, 100),
            Need("sbp_mmhg", 90, 200),
            Need("bp_treated"),
            Need("current_smoker"),
            Need("diabetes"),
        ),
        formula=risk,
        exclusions=(Exclusion("prior_ascvd", "the Pooled Cohort Equations are for people without ASCVD"),),
        caveats=(Caveat(_other_race, "the equations of white people were used, as the guideline says"),),
        note="Ranges are those of the ACC/AHA estimator.",
    ),
)
