"""Framingham general cardiovascular risk 2008 in 10 years, with lipids or with body mass index.

D'Agostino RB Sr et al., Circulation 2008;117:743-753. The model with lipids: Table 2. The office model without
laboratory values: its appendix.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from .columns import Array, Columns
from .score import Exclusion, Need, Score
from .score2 import by_sex

CITATION = "D'Agostino RB Sr et al. General cardiovascular risk profile. Circulation 2008;117:743-753"

#: Term -> coefficient for women, men.
_MODELS = {
    "lipid": {
        "age": (2.32888, 3.06117),
        "chol": (1.20904, 1.12370),
        "hdl": (-0.70833, -0.93263),
        "sbp_untreated": (2.76157, 1.93303),
        "sbp_treated": (2.82263, 1.99881),
        "smoker": (0.52873, 0.65451),
        "diabetes": (0.69154, 0.57367),
        "mean": (26.1931, 23.9802),
        "survival": (0.95012, 0.88936),
    },
    "bmi": {
        "age": (2.72107, 3.11296),
        "bmi": (0.51125, 0.79277),
        "sbp_untreated": (2.81291, 1.85508),
        "sbp_treated": (2.88267, 1.92672),
        "smoker": (0.61868, 0.70953),
        "diabetes": (0.77763, 0.53160),
        "mean": (26.0145, 23.9388),
        "survival": (0.94833, 0.88431),
    },
}


def risk(columns: Columns, model: str) -> Array:
    """``(rows,)`` risk in %."""
    sex = by_sex(columns)
    weights = {term: np.array(pair)[sex] for term, pair in _MODELS[model].items()}
    treated = columns.number("bp_treated") == 1
    logs = {"age": "age_years", "chol": "total_chol_mg_dl", "hdl": "hdl_chol_mg_dl", "bmi": "bmi_kg_m2"}
    linear = np.where(treated, weights["sbp_treated"], weights["sbp_untreated"]) * np.log(columns.number("sbp_mmhg"))
    for term, field in logs.items():
        if term in weights:
            linear += weights[term] * np.log(columns.number(field))
    linear += weights["smoker"] * columns.number("current_smoker") + weights["diabetes"] * columns.number("diabetes")
    return np.asarray(100.0 * (1.0 - weights["survival"] ** np.exp(linear - weights["mean"])))


def _score(model: str, own: tuple[Need, ...], title: str) -> Score:
    return Score(
        name=f"risk_framingham_{model}_cvd_10y",
        family="framingham",
        title=f"Framingham {title}: cardiovascular disease in 10 years",
        citation=CITATION,
        doi="10.1161/CIRCULATIONAHA.107.699579",
        unit="%",
        needs=(
            Need("age_years", 30, 74),
            Need("sex"),
            *own,
            Need("sbp_mmhg"),
            Need("bp_treated"),
            Need("current_smoker"),
            Need("diabetes"),
        ),
        formula=partial(risk, model=model),
        exclusions=(Exclusion("prior_ascvd", "the Framingham score is for people without cardiovascular disease"),),
    )


SCORES = (
    _score("lipid", (Need("total_chol_mg_dl"), Need("hdl_chol_mg_dl")), "with lipids"),
    _score("bmi", (Need("bmi_kg_m2"),), "with body mass index"),
)
