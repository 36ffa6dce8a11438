"""SCORE2 2021: fatal and non-fatal cardiovascular disease in 10 years, 40 to 69 years, four European risk regions.

SCORE2 working group, Eur Heart J 2021;42:2439-2454; scaling factors as in the authors' program (skkceu/stata).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .columns import Array, Columns
from .score import Caveat, Exclusion, Need, Score

CITATION = "SCORE2 working group. SCORE2 risk prediction algorithms. Eur Heart J 2021;42:2439-2454"

#: Term -> coefficient for women, men.
TERMS: Mapping[str, tuple[float, float]] = {
    "age": (0.4648, 0.3742),
    "smoker": (0.7744, 0.6012),
    "sbp": (0.3131, 0.2777),
    "diabetes": (0.8096, 0.6457),
    "chol": (0.1002, 0.1458),
    "hdl": (-0.2606, -0.2698),
    "age_smoker": (-0.1088, -0.0755),
    "age_sbp": (-0.0277, -0.0255),
    "age_diabetes": (-0.1272, -0.0983),
    "age_chol": (-0.0226, -0.0281),
    "age_hdl": (0.0613, 0.0426),
}
SURVIVAL = (0.9776, 0.9605)
#: Intercept and slope of the recalibration, by region (low, moderate, high, very high), for women, men.
SCALES = np.array(
    [
        [[-0.737966, 0.701868], [-0.569857, 0.747593]],
        [[-0.314269, 0.770149], [-0.156481, 0.800869]],
        [[0.570963, 0.936893], [0.320717, 0.936004]],
        [[0.941177, 0.832923], [0.583578, 0.829368]],
    ]
)


def by_sex(columns: Columns) -> Array:
    """``(rows,)`` 0 for women, 1 for men."""
    return columns.is_choice("sex", "male").astype(np.intp)


def centred(columns: Columns) -> dict[str, Array]:
    """The terms of the linear predictor, centred and scaled as in the paper."""
    age = (columns.number("age_years") - 60.0) / 5.0
    base = {
        "smoker": columns.number("current_smoker"),
        "sbp": (columns.number("sbp_mmhg") - 120.0) / 20.0,
        "diabetes": columns.number("diabetes"),
        "chol": columns.number("total_chol_mmol_l") - 6.0,
        "hdl": (columns.number("hdl_chol_mmol_l") - 1.3) / 0.5,
    }
    return {"age": age} | base | {f"age_{name}": age * value for name, value in base.items()}


def linear_predictor(values: Mapping[str, Array], terms: Mapping[str, tuple[float, float]], sex: Array) -> Array:
    total = np.zeros(sex.shape)
    for name, pair in terms.items():
        total += np.array(pair)[sex] * values[name]
    return total


def recalibrated(linear: Array, survival: tuple[float, float], scales: Array, columns: Columns) -> Array:
    """Risk in % after the region's recalibration: 1 - exp(-exp(a + b · ln(-ln(1 - r))))."""
    sex = by_sex(columns)
    region = np.nan_to_num(columns.number("risk_region")).astype(np.intp)
    scale = scales[region, sex]
    # ln(-ln(1 - r)) with r = 1 - S0^exp(lp) is ln(-ln S0) + lp: no loss at high risk
    log_hazard = np.log(-np.log(np.array(survival)))[sex] + linear
    return np.asarray(100.0 * -np.expm1(-np.exp(scale[:, 0] + scale[:, 1] * log_hazard)))


def risk(columns: Columns) -> Array:
    """``(rows,)`` risk in %."""
    linear = linear_predictor(centred(columns), TERMS, by_sex(columns))
    return recalibrated(linear, SURVIVAL, SCALES, columns)


def needs(low: float, high: float) -> tuple[Need, ...]:
    """Inputs that SCORE2 and its relatives share, for an age range."""
    return (
        Need("age_years", low, high),
        Need("sex"),
        Need("risk_region"),
        Need("sbp_mmhg"),
        Need("total_chol_mmol_l"),
        Need("hdl_chol_mmol_l"),
        Need("current_smoker"),
        Need("diabetes"),
    )


PRIOR = Exclusion("prior_ascvd", "SCORE2 is for people without cardiovascular disease")


def has_diabetes(columns: Columns) -> Array:
    return np.asarray(columns.number("diabetes") == 1)


SCORES = (
    Score(
        name="risk_score2_cvd_10y",
        family="score2",
        title="SCORE2: cardiovascular disease in 10 years",
        citation=CITATION,
        doi="10.1093/eurheartj/ehab309",
        unit="%",
        needs=needs(40, 69),
        formula=risk,
        exclusions=(PRIOR,),
        caveats=(Caveat(has_diabetes, "in diabetes the guideline uses SCORE2-Diabetes"),),
        note="Age 40 to 69; from 70 on SCORE2-OP.",
    ),
)
