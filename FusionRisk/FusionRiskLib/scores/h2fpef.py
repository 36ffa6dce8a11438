"""H2FPEF 2018: heart failure with preserved ejection fraction in unexplained dyspnoea on exertion.

Reddy YNV et al., Circulation 2018;138:861-870: points and category, and the continuous model.
"""

from __future__ import annotations

import numpy as np

from .columns import Array, Columns
from .score import Need, Score

CITATION = (
    "Reddy YNV et al. A Simple, Evidence-Based Approach to Help Guide Diagnosis of HFpEF. Circulation 2018;138:861-870"
)
_DOI = "10.1161/CIRCULATIONAHA.118.034646"


def points(columns: Columns) -> Array:
    """``(rows,)`` 0 to 9 points."""
    return np.asarray(
        2.0 * (columns.number("bmi_kg_m2") > 30)
        + (columns.number("n_antihypertensives") >= 2)
        + 3 * columns.number("atrial_fibrillation")
        + (columns.number("pasp_mmhg") > 35)
        + (columns.number("age_years") > 60)
        + (columns.number("e_over_eprime") > 9)
    )


def category(columns: Columns) -> Array:
    """``(rows,)`` object: low (0-1), intermediate (2-5) or high (6-9)."""
    total = points(columns)
    return np.where(total <= 1, "low", np.where(total <= 5, "intermediate", "high")).astype(object)


def probability(columns: Columns) -> Array:
    """``(rows,)`` probability in %."""
    logit = (
        -9.1917
        + 0.0451 * columns.number("age_years")
        + 0.1307 * columns.number("bmi_kg_m2")
        + 0.0859 * columns.number("e_over_eprime")
        + 0.0520 * columns.number("pasp_mmhg")
        + 1.6997 * columns.number("atrial_fibrillation")
    )
    return np.asarray(100.0 / (1.0 + np.exp(-logit)))


_CONTINUOUS = (
    Need("age_years", 18),
    Need("bmi_kg_m2"),
    Need("e_over_eprime"),
    Need("pasp_mmhg"),
    Need("atrial_fibrillation"),
)
_NEEDS = (*_CONTINUOUS, Need("n_antihypertensives"))

SCORES = (
    Score("h2fpef_points", "h2fpef", "H2FPEF points", CITATION, _DOI, "{points}", _NEEDS, points),
    Score("h2fpef_category", "h2fpef", "H2FPEF category", CITATION, _DOI, "1", _NEEDS, category, kind="category"),
    Score("h2fpef_probability", "h2fpef", "H2FPEF probability of HFpEF", CITATION, _DOI, "%", _CONTINUOUS, probability),
)
