"""Pre-test probability of obstructive coronary disease: basic, RF-CL and CACS-CL models, and the ESC 2024 table.

Winther S et al., J Am Coll Cardiol 2020;76:2421-2432. Vrints C et al., 2024 ESC Guidelines for chronic coronary
syndromes, Eur Heart J 2024;45:3415-3537, Figure 4 (``data/esc2024_figure4.csv``).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

import numpy as np

from ..clinical.fields import fields
from .columns import Array, Columns
from .score import Caveat, Need, Score

CITATION = "Winther S et al. Incorporating CAC Into Pre-Test Assessment. J Am Coll Cardiol 2020;76:2421-2432"
DOI = "10.1016/j.jacc.2020.09.585"
ESC2024 = "Vrints C et al. 2024 ESC Guidelines for chronic coronary syndromes, Figure 4. Eur Heart J 2024;45:3415-3537"
RISK_FACTORS = ("family_history_cad", "ever_smoker", "dyslipidaemia", "hypertension", "diabetes")
#: CACS-CL: intercept and slope on the RF-CL probability, and what a class of the Agatston score adds to them.
_CALCIUM_BASE = (0.0013, 0.2021)
_CALCIUM = (
    (0, 0.0, 0.0),
    (1, 0.0082, 0.1311),
    (10, 0.0238, 0.2909),
    (100, 0.1131, 0.4077),
    (400, 0.2306, 0.4658),
    (1000, 0.4040, 0.4489),
)


def _symptoms(columns: Columns) -> tuple[Array, Array, Array]:
    """``(rows,)`` bool: typical, non-anginal without dyspnoea, any symptom. Dyspnoea counts as atypical angina."""
    dyspnoea = columns.number("dyspnoea") == 1
    typical = columns.is_choice("chest_pain", "typical")
    nonanginal = columns.is_choice("chest_pain", "nonanginal") & ~dyspnoea
    return typical, nonanginal, ~columns.is_choice("chest_pain", "none") | dyspnoea


def _count(columns: Columns) -> Array:
    return np.sum([columns.number(field) for field in RISK_FACTORS], axis=0)


def _percent(logit: Array) -> Array:
    return np.asarray(100.0 / (1.0 + np.exp(-logit)))


def basic(columns: Columns) -> Array:
    """``(rows,)`` probability in % from age, sex and symptoms; dyspnoea counts only where there is no chest pain."""
    typical, _, any_symptom = _symptoms(columns)
    nonanginal = columns.is_choice("chest_pain", "nonanginal")
    age, male = columns.number("age_years"), columns.is_choice("sex", "male")
    logit = -7.0753 + 1.2308 * male + 0.0642 * age + 2.2501 * typical - 0.5095 * nonanginal - 0.0191 * age * typical
    return np.where(any_symptom, _percent(logit), np.nan)


def rf_cl(columns: Columns) -> Array:
    """``(rows,)`` risk-factor-weighted clinical likelihood in %."""
    typical, nonanginal, any_symptom = _symptoms(columns)
    age, male = columns.number("age_years"), columns.is_choice("sex", "male")
    group = 1.0 + (_count(columns) >= 2) + (_count(columns) >= 4)
    logit = (
        -9.5260 + 1.6128 * male + 0.08440 * age + 2.7112 * typical - 0.4675 * nonanginal + 1.4940 * group
        - 0.0187 * age * typical - 0.0131 * age * group - 0.2799 * typical * group - 0.2091 * male * group
    )  # fmt: skip
    return np.where(any_symptom, _percent(logit), np.nan)


def cacs_cl(columns: Columns) -> Array:
    """``(rows,)`` calcium-score-weighted clinical likelihood in %."""
    starts, intercepts, slopes = np.array(_CALCIUM).T
    calcium = columns.number("cac_agatston")
    calcium = np.where((calcium > 0) & (calcium < 1), 1.0, np.nan_to_num(calcium))  # between 0 and 1 is not 0
    place = np.searchsorted(starts, calcium, side="right") - 1
    intercept, slope = _CALCIUM_BASE[0] + intercepts[place], _CALCIUM_BASE[1] + slopes[place]
    return np.asarray(100.0 * intercept + slope * rf_cl(columns))


@cache
def _figure4() -> Array:
    """``(symptom score, sex, risk factors, age)`` percent; symptom score 0-1, 2, 3; sex in the order of the field."""
    text = resources.files(__package__).joinpath("data/esc2024_figure4.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    symptoms, counts = ("0-1", "2", "3"), ("0-1", "2-3", "4-5")
    table = np.full((3, 2, 3, 5), np.nan)
    for row in rows:
        place = (
            symptoms.index(row["symptom_score"]),
            fields()["sex"].choices.index(row["sex"]),
            counts.index(row["risk_factors"]),
        )
        table[place] = [float(v) for k, v in row.items() if k.startswith("age_")]
    return table


def esc2024(columns: Columns) -> Array:
    """``(rows,)`` percent of the guideline's table. No chest pain and no dyspnoea is symptom score 0."""
    typical, nonanginal, any_symptom = _symptoms(columns)
    symptom = np.where(typical, 2, np.where(nonanginal | ~any_symptom, 0, 1))
    count = (_count(columns) >= 2).astype(np.intp) + (_count(columns) >= 4)
    band = np.clip(np.nan_to_num(columns.number("age_years")) // 10 - 3, 0, 4).astype(np.intp)  # 80 is in 70-80
    return np.asarray(_figure4()[symptom, columns.is_choice("sex", "male").astype(np.intp), count, band])


def _unknown_dyspnoea(columns: Columns) -> Array:
    return np.isnan(columns.number("dyspnoea")) & ~columns.is_choice("chest_pain", "typical")


_AGE, _SEX, _PAIN = Need("age_years", 30), Need("sex"), Need("chest_pain")
_DYSPNOEA = Need("dyspnoea", required=False)
_FACTORS = tuple(Need(field) for field in RISK_FACTORS)
_CAVEATS = (Caveat(_unknown_dyspnoea, "dyspnoea is unknown: counted as absent"),)
_NO_SYMPTOM = "chest_pain is none and dyspnoea is not yes: the score is for people with symptoms"

SCORES = (
    Score("pretest_basic_cad", "cad_pretest", "Basic pre-test probability of obstructive coronary disease", CITATION,
          DOI, "%", (_AGE, _SEX, _PAIN, _DYSPNOEA), basic, caveats=_CAVEATS, undefined=_NO_SYMPTOM),
    Score("pretest_rfcl_cad", "cad_pretest", "Risk-factor-weighted clinical likelihood (RF-CL)", CITATION, DOI, "%",
          (_AGE, _SEX, _PAIN, _DYSPNOEA, *_FACTORS), rf_cl, caveats=_CAVEATS, undefined=_NO_SYMPTOM,
          note="ESC 2024: up to 5 % very low, up to 15 % low, up to 50 % moderate, up to 85 % high."),
    Score("pretest_cacscl_cad", "cad_pretest", "Calcium-score-weighted clinical likelihood (CACS-CL)", CITATION, DOI,
          "%", (_AGE, _SEX, _PAIN, _DYSPNOEA, *_FACTORS, Need("cac_agatston")), cacs_cl, caveats=_CAVEATS,
          undefined=_NO_SYMPTOM),
    Score("pretest_esc2024_cad", "cad_pretest", "ESC 2024 table of clinical likelihood (Figure 4)", ESC2024,
          "10.1093/eurheartj/ehae177", "%", (Need("age_years", 30, 80), _SEX, _PAIN, _DYSPNOEA, *_FACTORS), esc2024,
          caveats=_CAVEATS, note="Whole percents of the printed table; RF-CL is the formula behind it."),
)  # fmt: skip
