"""AHA PREVENT 2023: total CVD, ASCVD, heart failure, CHD and stroke over 10 and 30 years, five models.

Khan SS et al., Circulation 2024;149:430-449, coefficients of its supplement (``data/prevent``). Logistic models by sex.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources

import numpy as np

from .columns import Array, Columns
from .derived import Numbers
from .score import Caveat, Exclusion, Need, Score

CITATION = "Khan SS et al. Development and Validation of the AHA PREVENT Equations. Circulation 2024;149:430-449"
DOI = "10.1161/CIRCULATIONAHA.123.067626"
MODELS = ("base", "uacr", "hba1c", "sdi", "full")
OUTCOMES = {"cvd": "total_cvd", "ascvd": "ascvd", "hf": "heart_failure", "chd": "chd", "stroke": "stroke"}
TITLES = {"cvd": "cardiovascular disease", "ascvd": "ASCVD", "hf": "heart failure", "chd": "CHD", "stroke": "stroke"}
#: Years -> oldest age; the youngest is 30.
HORIZONS = {10: 79.0, 30: 59.0}
MMOL_PER_MG = 0.02586
#: Rows of one matrix product: few enough that the linear algebra library does not start threads of its own.
PRODUCT_ROWS = 2048

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


@dataclass(frozen=True)
class _Weights:
    """One outcome's coefficients: of the values in ``rows``, and of the same values times age.

    Attributes
    ----------
    rows : tuple of str
        Terms without age, each once.
    betas : numpy.ndarray
        ``(4, len(rows))``: women, men; women and men times age.
    """

    rows: tuple[str, ...]
    betas: Array


@cache
def _weights(model: str, outcome: str, years: int) -> _Weights:
    terms, betas = coefficients(model, years)
    first = 2 * list(OUTCOMES).index(outcome)
    pairs = dict(zip(terms, betas[first : first + 2].T, strict=True))
    pairs = {term: pair for term, pair in pairs.items() if pair.any()}
    rows = tuple(dict.fromkeys(_WITH_AGE.get(term, term) for term in pairs))
    both = np.zeros((2, 2, len(rows)))
    for term, pair in pairs.items():
        both[int(term in _WITH_AGE), :, rows.index(_WITH_AGE.get(term, term))] = pair
    return _Weights(rows, both.reshape(4, len(rows)))


#: Writes a term's values into an array: ``write(number, out)``.
_Write = Callable[[Numbers, Array], None]


def _scaled(
    field: str,
    centre: float,
    unit: float,
    *,
    least: float | None = None,
    most: float | None = None,
    factor: float = 1.0,
) -> _Write:
    """``(field - centre) / unit``, the field held at `least` or `most` and multiplied by `factor` first."""
    per = 1.0 / unit

    def write(number: Numbers, out: Array) -> None:
        values = number(field)
        if least is not None:
            values = np.maximum(values, least, out=out)
        if most is not None:
            values = np.minimum(values, most, out=out)
        if factor != 1.0:
            values = np.multiply(values, factor, out=out)
        np.subtract(values, centre, out=out)
        out *= per

    return write


def _plain(term: Callable[[Numbers], Array]) -> _Write:
    """A term that is made in one go."""

    def write(number: Numbers, out: Array) -> None:
        out[:] = term(number)

    return write


def _nonhdl(number: Numbers, out: Array) -> None:
    np.multiply(number("total_chol_mg_dl"), MMOL_PER_MG, out=out)
    out -= number("hdl_chol_mg_dl") * MMOL_PER_MG
    out -= 3.5


def _log_or_nothing(values: Array) -> Array:
    """The logarithm where there is a positive value, else 0."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)


def _hba1c(number: Numbers) -> Array:
    return np.nan_to_num(number("hba1c_pct") - 5.3)


_EGFR = "egfr_ckdepi2021_ml_min_173"
#: Term without age -> how its values come from the fields. Where a needed field is unknown the value is NaN (`Need` has
#: judged it); of the fields that may be unknown it is then 0, and another term says so.
_BASE: Mapping[str, _Write] = {
    "constant": _plain(lambda number: np.asarray(1.0)),
    "age": _scaled("age_years", 55.0, 10.0),
    "nonhdl": _nonhdl,
    "hdl": _scaled("hdl_chol_mg_dl", 1.3, 0.3, factor=MMOL_PER_MG),
    "sbp_low": _scaled("sbp_mmhg", 110.0, 20.0, most=110.0),
    "sbp_high": _scaled("sbp_mmhg", 130.0, 20.0, least=110.0),
    "diabetes": _plain(lambda number: number("diabetes")),
    "smoking": _plain(lambda number: number("current_smoker")),
    "bmi_low": _scaled("bmi_kg_m2", 25.0, 5.0, most=30.0),
    "bmi_high": _scaled("bmi_kg_m2", 30.0, 5.0, least=30.0),
    "egfr_low": _scaled(_EGFR, 60.0, -15.0, most=60.0),
    "egfr_high": _scaled(_EGFR, 90.0, -15.0, least=60.0),
    "treated": _plain(lambda number: number("bp_treated")),
    "statin": _plain(lambda number: number("statin")),
    "uacr": _plain(lambda number: _log_or_nothing(number("uacr_mg_g"))),
    "uacr_missing": _plain(lambda number: np.isnan(number("uacr_mg_g"))),
    "hba1c_diabetes": _plain(lambda number: _hba1c(number) * number("diabetes")),
    "hba1c_no_diabetes": _plain(lambda number: _hba1c(number) * (1.0 - number("diabetes"))),
    "hba1c_missing": _plain(lambda number: np.isnan(number("hba1c_pct"))),
    "sdi_4_6": _plain(lambda number: (number("sdi_decile") >= 4) & (number("sdi_decile") <= 6)),
    "sdi_7_10": _plain(lambda number: number("sdi_decile") >= 7),
    "sdi_missing": _plain(lambda number: np.isnan(number("sdi_decile"))),
}
#: Term -> the two terms whose product it is.
_PRODUCTS = {"treated_sbp": ("treated", "sbp_high"), "treated_nonhdl": ("statin", "nonhdl")}
#: Term -> the term that it is age times.
_WITH_AGE = {
    "age2": "age",
    "age_nonhdl": "nonhdl",
    "age_hdl": "hdl",
    "age_sbp": "sbp_high",
    "age_diabetes": "diabetes",
    "age_smoking": "smoking",
    "age_bmi": "bmi_high",
    "age_egfr": "egfr_low",
}


def _values(columns: Columns, terms: tuple[str, ...]) -> Array:
    """``(terms, rows)``."""
    values = np.empty((len(terms), columns.size))
    place = dict(zip(terms, values, strict=True))
    for term, row in place.items():
        if term not in _PRODUCTS:
            _BASE[term](columns.number, row)
    for term, pair in _PRODUCTS.items():
        if term in place:
            np.multiply(place[pair[0]], place[pair[1]], out=place[term])
    return values


def _risk(columns: Columns, model: str, outcome: str, years: int) -> Array:
    """``(rows,)`` risk in %."""
    weights = _weights(model, outcome, years)
    values = _values(columns, weights.rows)
    age = values[weights.rows.index("age")]
    sums = np.empty((4, columns.size))
    for start in range(0, columns.size, PRODUCT_ROWS):
        part = slice(start, start + PRODUCT_ROWS)
        np.matmul(weights.betas, values[:, part], out=sums[:, part])
    sums[2:] *= age
    sums[:2] += sums[2:]
    x, men = sums[:2]
    men -= x
    men *= columns.is_choice("sex", "male").astype(np.float64)  # choosing row by row is slower than computing
    x += men
    np.exp(np.negative(x, out=x), out=x)
    x += 1.0
    risk = np.divide(100.0, x, out=x)
    if model == "full":  # with none of the three there is nothing that the base model does not have
        known = np.any([~np.isnan(columns.number(name)) for name in _EXTRA.values()], axis=0)
        return np.where(known, risk, np.nan)
    return np.asarray(risk)


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
        Need(_EGFR, 15, 140),
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
