"""AHA PREVENT 2023: total CVD, ASCVD, heart failure, CHD and stroke over 10 and 30 years, five models.

Khan SS et al., Circulation 2024;149:430-449, coefficients of its supplement (``data/prevent``). Logistic models by sex.
"""

from __future__ import annotations

import csv
import itertools
from functools import cache, partial
from importlib import resources

import numpy as np

from .columns import Array, Columns
from .score import Caveat, Exclusion, Need, Score

CITATION = "Khan SS et al. Development and Validation of the AHA PREVENT Equations. Circulation 2024;149:430-449"
DOI = "10.1161/CIRCULATIONAHA.123.067626"
MODELS = ("base", "uacr", "hba1c", "sdi", "full")
OUTCOMES = {"cvd": "total_cvd", "ascvd": "ascvd", "hf": "heart_failure", "chd": "chd", "stroke": "stroke"}
TITLES = {"cvd": "cardiovascular disease", "ascvd": "ASCVD", "hf": "heart failure", "chd": "CHD", "stroke": "stroke"}
#: Years -> oldest age; the youngest is 30.
HORIZONS = {10: 79.0, 30: 59.0}
MMOL_PER_MG = 0.02586
#: Rows at a time: a block of terms stays in the cache.
BLOCK = 4096

#: Label of the published table -> term. The age label differs between tables; it begins with "Age, ".
_TERMS = {
    "Age squared": "age2",
    "non-HDL-C per 1 mmol/L": "nonhdl",
    "HDL-C per 0.3 mmol/L": "hdl",
    "SBP <110 per 20 mmHg": "sbp_low",
    "SBP ≥110 per 20 mmHg": "sbp_high",
    "Diabetes": "diabetes",
    "Current smoking": "smoking",
    "BMI <30, per 5 kg/m2": "bmi_low",
    "BMI 30+, per 5 kg/m2": "bmi_high",
    "eGFR <60, per -15 ml": "egfr_low",
    "eGFR 60+, per -15 ml": "egfr_high",
    "Anti-hypertensive use": "treated",
    "Statin use": "statin",
    "Treated SBP ≥110 mm Hg per 20 mm Hg": "treated_sbp",
    "Treated non-HDL-C": "treated_nonhdl",
    "Age per 10yr * non-HDL-C per 1 mmol/L": "age_nonhdl",
    "Age per 10yr * HDL-C per 0.3 mmol/L": "age_hdl",
    "Age per 10yr * SBP ≥110 mm Hg per 20 mmHg": "age_sbp",
    "Age per 10yr * diabetes": "age_diabetes",
    "Age per 10yr * current smoking": "age_smoking",
    "Age per 10yr * BMI 30+ per 5 kg/m2": "age_bmi",
    "Age per 10yr * eGFR <60, per -15 ml": "age_egfr",
    "SDI decile categories 4-6 vs. 1-3": "sdi_4_6",
    "SDI decile categories 7-10 vs. 1-3": "sdi_7_10",
    "Missing SDI": "sdi_missing",
    "ln-ACR, mg/g, per 1 ln unit": "uacr",
    "Missing ACR/PCR/Dipstick": "uacr_missing",
    "HbA1c in DM, per 1%": "hba1c_diabetes",
    "HbA1c no DM, per 1%": "hba1c_no_diabetes",
    "Missing HbA1c": "hba1c_missing",
    "Constant": "constant",
}
_EXTRA = {"uacr": "uacr_mg_g", "hba1c": "hba1c_pct", "sdi": "sdi_decile"}


@cache
def coefficients(model: str, years: int) -> tuple[tuple[str, ...], Array]:
    """Terms, and their coefficients ``(outcomes * 2, terms)``: of each outcome first women, then men."""
    file = resources.files(__package__).joinpath(f"data/prevent/prevent_{model}_{years}yr.csv")
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    labels = [row["beta_coefficients"] for row in rows]
    terms = tuple("age" if label.startswith("Age, ") else _TERMS[label] for label in labels)
    names = [f"{sex}_{column}" for column in OUTCOMES.values() for sex in ("female", "male")]
    return terms, np.array([[float(row[name]) for row in rows] for name in names])


def _term_values(columns: Columns, part: slice, model: str) -> dict[str, Array]:
    """Every term of a model for some rows; unknown and unneeded inputs give 0 (`Need` has judged them)."""

    def raw(name: str) -> Array:
        return columns.number(name)[part]

    def number(name: str) -> Array:
        return np.nan_to_num(raw(name))

    age = (number("age_years") - 55.0) / 10.0
    hdl_mmol = number("hdl_chol_mg_dl") * MMOL_PER_MG
    nonhdl = number("total_chol_mg_dl") * MMOL_PER_MG - hdl_mmol - 3.5
    hdl = (hdl_mmol - 1.3) / 0.3
    sbp, bmi, egfr = number("sbp_mmhg"), number("bmi_kg_m2"), number("egfr_ckdepi2021_ml_min_173")
    sbp_high = (np.maximum(sbp, 110.0) - 130.0) / 20.0
    bmi_high = (np.maximum(bmi, 30.0) - 30.0) / 5.0
    egfr_low = (np.minimum(egfr, 60.0) - 60.0) / -15.0
    diabetes, smoking = number("diabetes"), number("current_smoker")
    treated, statin = number("bp_treated"), number("statin")
    values = {
        "constant": np.ones_like(age),
        "age": age,
        "age2": age * age,
        "nonhdl": nonhdl,
        "hdl": hdl,
        "sbp_low": (np.minimum(sbp, 110.0) - 110.0) / 20.0,
        "sbp_high": sbp_high,
        "diabetes": diabetes,
        "smoking": smoking,
        "bmi_low": (np.minimum(bmi, 30.0) - 25.0) / 5.0,
        "bmi_high": bmi_high,
        "egfr_low": egfr_low,
        "egfr_high": (np.maximum(egfr, 60.0) - 90.0) / -15.0,
        "treated": treated,
        "statin": statin,
        "treated_sbp": treated * sbp_high,
        "treated_nonhdl": statin * nonhdl,
        "age_nonhdl": age * nonhdl,
        "age_hdl": age * hdl,
        "age_sbp": age * sbp_high,
        "age_diabetes": age * diabetes,
        "age_smoking": age * smoking,
        "age_bmi": age * bmi_high,
        "age_egfr": age * egfr_low,
    }
    if model == "base":
        return values
    uacr, hba1c, sdi = raw("uacr_mg_g"), raw("hba1c_pct"), raw("sdi_decile")
    glycated = np.nan_to_num(hba1c - 5.3)
    return values | {
        "uacr": np.nan_to_num(np.log(np.where(uacr > 0, uacr, np.nan))),
        "uacr_missing": np.isnan(uacr) * 1.0,
        "hba1c_diabetes": glycated * diabetes,
        "hba1c_no_diabetes": glycated * (1.0 - diabetes),
        "hba1c_missing": np.isnan(hba1c) * 1.0,
        "sdi_4_6": ((sdi >= 4) & (sdi <= 6)) * 1.0,
        "sdi_7_10": (sdi >= 7) * 1.0,
        "sdi_missing": np.isnan(sdi) * 1.0,
    }


def _all_outcomes(columns: Columns, model: str, years: int) -> Array:
    """Risk in %, ``(outcomes, rows)``."""
    terms, betas = coefficients(model, years)
    male = columns.is_choice("sex", "male")
    risk = np.empty((len(OUTCOMES), columns.size))
    for start in range(0, columns.size, BLOCK):
        part = slice(start, min(start + BLOCK, columns.size))
        values = _term_values(columns, part, model)
        linear = betas @ np.stack([values[term] for term in terms])
        risk[:, part] = 100.0 / (1.0 + np.exp(-np.where(male[part], linear[1::2], linear[::2])))
    return risk


def _risk(columns: Columns, model: str, outcome: str, years: int) -> Array:
    risks = columns.cached(("prevent", model, years), lambda: _all_outcomes(columns, model, years))
    value = risks[list(OUTCOMES).index(outcome)]
    if model == "full":  # with none of the three there is nothing that the base model does not have
        known = np.any([~np.isnan(columns.number(name)) for name in _EXTRA.values()], axis=0)
        return np.where(known, value, np.nan)
    return np.asarray(value)


def _unknown(columns: Columns, field: str) -> Array:
    return np.isnan(columns.number(field))


def _needs(model: str, outcome: str, years: int) -> tuple[Need, ...]:
    """The heart failure model has no lipids, the others no body mass index. Ranges of the AHA calculator."""
    lipids = (Need("total_chol_mg_dl", 130, 320), Need("hdl_chol_mg_dl", 20, 100), Need("statin"))
    extra = {
        "uacr": Need("uacr_mg_g", 0.1, 25000, required=model != "full"),
        "hba1c": Need("hba1c_pct", 4.5, 15, required=model != "full"),
        "sdi": Need("sdi_decile", 1, 10, required=model != "full"),
    }
    return (
        Need("age_years", 30, HORIZONS[years]),
        Need("sex"),
        *((Need("bmi_kg_m2", 18.5, 39.99),) if outcome == "hf" else lipids),
        Need("sbp_mmhg", 90, 200),
        Need("bp_treated"),
        Need("diabetes"),
        Need("current_smoker"),
        Need("egfr_ckdepi2021_ml_min_173", 15, 140),
        *(need for name, need in extra.items() if model in (name, "full")),
    )


def _score(model: str, outcome: str, years: int) -> Score:
    unknown = tuple(
        Caveat(partial(_unknown, field=field), f"{field} is unknown: the model's term for that was used")
        for field in _EXTRA.values()
    )
    return Score(
        name=f"risk_prevent_{model}_{outcome}_{years}y",
        family="prevent",
        title=f"PREVENT ({model}): {TITLES[outcome]} in {years} years",
        citation=CITATION,
        doi=DOI,
        unit="%",
        needs=_needs(model, outcome, years),
        formula=partial(_risk, model=model, outcome=outcome, years=years),
        exclusions=(
            Exclusion("prior_ascvd", "PREVENT is for people without cardiovascular disease"),
            Exclusion("heart_failure", "PREVENT is for people without cardiovascular disease"),
        ),
        undefined="missing: one of uacr_mg_g, hba1c_pct, sdi_decile; use the base model",
        caveats=unknown if model == "full" else (),
        note="Blood pressure above 180 mmHg is accepted as by the AHA calculator. Thresholds of the Pooled Cohort "
        "Equations do not apply to PREVENT.",
    )


SCORES = tuple(_score(*key) for key in itertools.product(MODELS, OUTCOMES, HORIZONS))
