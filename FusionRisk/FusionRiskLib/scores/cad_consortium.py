"""CAD Consortium models of obstructive coronary disease, 2011 and 2012.

Genders TSS et al., Eur Heart J 2011;32:1316-1330 (updated Diamond-Forrester); Genders TSS et al., BMJ 2012;344:e3485
(basic, clinical, and clinical with calcium score), in settings of low prevalence.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from .columns import Array, Columns
from .score import Need, Score

_C2011 = "Genders TSS et al. A clinical prediction rule for the diagnosis of CAD. Eur Heart J 2011;32:1316-1330"
_C2012 = "Genders TSS et al. Prediction model to estimate presence of coronary artery disease. BMJ 2012;344:e3485"
_D2011, _D2012 = "10.1093/eurheartj/ehr014", "10.1136/bmj.e3485"
#: Yes/no inputs of the clinical models.
_CLINICAL = ("diabetes", "hypertension", "dyslipidaemia", "ever_smoker")
_MODELS: dict[str, Mapping[str, float]] = {
    "cad1_basic": {"constant": -4.37, "age": 0.04, "male": 1.34, "atypical": 0.64, "typical": 1.91},
    "cad2_basic": {"constant": -6.917, "age": 0.063, "male": 1.358, "atypical": 0.658, "typical": 1.975},
    "cad2_clinical": {
        "constant": -7.539, "age": 0.062, "male": 1.332, "atypical": 0.633, "typical": 1.998, "diabetes": 0.828,
        "hypertension": 0.338, "dyslipidaemia": 0.422, "ever_smoker": 0.461, "diabetes_typical": -0.402,
    },
    "cad2_calcium": {
        "constant": -5.975, "age": 0.011, "male": 0.786, "atypical": 0.718, "typical": 2.024, "diabetes": 0.658,
        "hypertension": 0.235, "dyslipidaemia": 0.185, "ever_smoker": 0.207, "calcium": 0.577,
        "diabetes_typical": -0.780,
    },
}  # fmt: skip


def probability(columns: Columns, model: str) -> Array:
    """``(rows,)`` probability in %; without a value where there is no chest pain."""
    weights = _MODELS[model]
    typical = columns.is_choice("chest_pain", "typical")
    terms = {
        "age": columns.number("age_years"),
        "male": columns.is_choice("sex", "male"),
        "atypical": columns.is_choice("chest_pain", "atypical"),
        "typical": typical,
        **{field: columns.number(field) for field in _CLINICAL},
        "diabetes_typical": columns.number("diabetes") * typical,
        "calcium": np.log1p(columns.number("cac_agatston")),
    }
    logit = np.full(columns.size, weights["constant"])
    for term, weight in weights.items():
        if term != "constant":
            logit += weight * terms[term]
    return np.where(columns.is_choice("chest_pain", "none"), np.nan, 100.0 / (1.0 + np.exp(-logit)))


def _score(model: str, title: str, citation: str, doi: str) -> Score:
    clinical = tuple(Need(field) for field in _CLINICAL) if "diabetes" in _MODELS[model] else ()
    calcium = (Need("cac_agatston"),) if "calcium" in _MODELS[model] else ()
    return Score(
        name=f"pretest_{model}_cad",
        family="cad_consortium",
        title=f"CAD Consortium {title}: obstructive coronary disease",
        citation=citation,
        doi=doi,
        unit="%",
        needs=(Need("age_years", 30), Need("sex"), Need("chest_pain"), *clinical, *calcium),
        formula=partial(probability, model=model),
        undefined="chest_pain is none: the model is for people with chest pain",
        note="Setting of low prevalence." if model != "cad1_basic" else "",
    )


SCORES = (
    _score("cad1_basic", "2011", _C2011, _D2011),
    _score("cad2_basic", "2012, basic", _C2012, _D2012),
    _score("cad2_clinical", "2012, clinical", _C2012, _D2012),
    _score("cad2_calcium", "2012, clinical with calcium", _C2012, _D2012),
)
