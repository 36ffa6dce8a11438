"""SCORE2-Diabetes 2023: cardiovascular disease in 10 years in type 2 diabetes, 40 to 69 years.

SCORE2-Diabetes working group, Eur Heart J 2023;44:2544-2556: SCORE2 with diabetes, with age at diagnosis, HbA1c and
eGFR added and its own terms adjusted.
"""

from __future__ import annotations

import numpy as np

from .columns import Array, Columns
from .score import Need, Score
from .score2 import PRIOR, SCALES, SURVIVAL, TERMS, by_sex, centred, has_diabetes, linear_predictor, needs, recalibrated

CITATION = "SCORE2-Diabetes working group. SCORE2-Diabetes. Eur Heart J 2023;44:2544-2556"

#: Added terms, for women, men.
_ADDED = {
    "age_at_diagnosis": (-0.1180, -0.0998),
    "hba1c": (0.1173, 0.0955),
    "egfr": (-0.0640, -0.0591),
    "egfr2": (0.0062, 0.0058),
    "age_hba1c": (-0.0196, -0.0134),
    "age_egfr": (0.0169, 0.0115),
}
#: What is added to the coefficients of SCORE2 in people with diabetes.
_ADJUSTMENT = {
    "age": (0.1976, 0.1626),
    "sbp": (-0.1709, -0.1454),
    "chol": (0.0126, -0.0356),
    "hdl": (0.1038, 0.1611),
    "smoker": (-0.1605, -0.1238),
    "age_sbp": (0.0111, -0.0013),
    "age_chol": (0.0026, 0.0100),
    "age_hdl": (-0.0426, -0.0331),
    "age_smoker": (-0.0033, 0.0083),
}


def risk(columns: Columns) -> Array:
    """``(rows,)`` risk in %; without a value in people without diabetes."""
    values = centred(columns)
    hba1c = (columns.number("hba1c_mmol_mol") - 31.0) / 9.34
    egfr = (np.log(columns.number("egfr_ckdepi2021_ml_min_173")) - 4.5) / 0.15
    added = {
        "age_at_diagnosis": (columns.number("age_at_diabetes_dx_years") - 50.0) / 5.0,
        "hba1c": hba1c,
        "egfr": egfr,
        "egfr2": egfr * egfr,
        "age_hba1c": values["age"] * hba1c,
        "age_egfr": values["age"] * egfr,
    }
    sex = by_sex(columns)
    linear = linear_predictor(values, TERMS, sex) + linear_predictor(values, _ADJUSTMENT, sex)
    linear += linear_predictor(added, _ADDED, sex)
    possible = columns.number("age_at_diabetes_dx_years") <= columns.number("age_years")
    return np.where(has_diabetes(columns) & possible, recalibrated(linear, SURVIVAL, SCALES, columns), np.nan)


SCORES = (
    Score(
        name="risk_score2diabetes_cvd_10y",
        family="score2diabetes",
        title="SCORE2-Diabetes: cardiovascular disease in 10 years",
        citation=CITATION,
        doi="10.1093/eurheartj/ehad260",
        unit="%",
        needs=(
            *needs(40, 69),
            Need("age_at_diabetes_dx_years"),
            Need("hba1c_mmol_mol"),
            Need("egfr_ckdepi2021_ml_min_173", 1),
        ),
        formula=risk,
        exclusions=(PRIOR,),
        undefined="SCORE2-Diabetes needs diabetes: yes, diagnosed at or before age_years",
        note="Type 2 diabetes, age 40 to 69.",
    ),
)
