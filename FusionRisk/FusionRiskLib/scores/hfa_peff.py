"""HFA-PEFF 2019, step E: echocardiographic and natriuretic peptide score of HFpEF. Not verified against the paper.

Pieske B et al., Eur Heart J 2019;40:3297-3317. Each of three domains gives 2 points for a major, 1 for a minor
criterion. The thresholds here come from secondary knowledge of the paper; there are no published test cases.
"""

from __future__ import annotations

import numpy as np

from .columns import Array, Columns
from .score import Caveat, Need, Score

CITATION = "Pieske B et al. How to diagnose HFpEF: the HFA-PEFF diagnostic algorithm. Eur Heart J 2019;40:3297-3317"
_DOI = "10.1093/eurheartj/ehz641"
#: Fields of each domain; a domain is judged with what is known of it.
_FUNCTION = ("septal_eprime_cm_s", "lateral_eprime_cm_s", "e_over_eprime", "tr_velocity_m_s", "pasp_mmhg", "gls_pct")
_SHAPE = ("la_volume_index_ml_m2", "lv_mass_index_g_m2", "relative_wall_thickness", "wall_thickness_mm")
_PEPTIDE = ("ntprobnp_pg_ml", "bnp_pg_ml")


def _domain(major: Array, minor: Array) -> Array:
    return np.where(major, 2.0, np.where(minor, 1.0, 0.0))


def _known(columns: Columns, domain: tuple[str, ...]) -> Array:
    return np.any([~np.isnan(columns.number(field)) for field in domain], axis=0)


def points(columns: Columns) -> Array:
    """``(rows,)`` 0 to 6 points. Unknown values give none; without a value where a whole domain is unknown."""
    number = columns.number
    old, female = number("age_years") >= 75, columns.is_choice("sex", "female")
    fibrillation = number("atrial_fibrillation") == 1
    ee = number("e_over_eprime")
    function = _domain(
        (number("septal_eprime_cm_s") < np.where(old, 5, 7))
        | (number("lateral_eprime_cm_s") < np.where(old, 7, 10))
        | (ee >= 15)
        | (number("tr_velocity_m_s") > 2.8)
        | (number("pasp_mmhg") > 35),
        ((ee >= 9) & (ee < 15)) | (number("gls_pct") < 16),
    )
    atrium, mass = number("la_volume_index_ml_m2"), number("lv_mass_index_g_m2")
    relative = number("relative_wall_thickness")
    shape = _domain(
        (atrium > np.where(fibrillation, 40, 34)) | ((mass >= np.where(female, 122, 149)) & (relative > 0.42)),
        (atrium >= np.where(fibrillation, 34, 29))
        | (mass >= np.where(female, 95, 115))
        | (relative > 0.42)
        | (number("wall_thickness_mm") >= 12),
    )
    pro, bnp = number("ntprobnp_pg_ml"), number("bnp_pg_ml")
    factor = np.where(fibrillation, 3.0, 1.0)
    peptide = _domain(
        (pro > 220 * factor) | (bnp > 80 * factor),
        (pro >= np.where(fibrillation, 365, 125)) | (bnp >= 35 * factor),
    )
    known = np.all([_known(columns, domain) for domain in (_FUNCTION, _SHAPE, _PEPTIDE)], axis=0)
    return np.where(known, function + shape + peptide, np.nan)


def category(columns: Columns) -> Array:
    """``(rows,)`` object: unlikely (0-1), intermediate (2-4) or HFpEF (5-6)."""
    total = points(columns)
    words = np.where(total <= 1, "unlikely", np.where(total <= 4, "intermediate", "hfpef")).astype(object)
    words[np.isnan(total)] = None
    return words


def _incomplete(columns: Columns) -> Array:
    return np.any([np.isnan(columns.number(field)) for field in (*_FUNCTION, *_SHAPE)], axis=0)


_NEEDS = (
    Need("age_years", 18),
    Need("sex"),
    Need("atrial_fibrillation"),
    *(Need(field, required=False) for field in (*_FUNCTION, *_SHAPE, *_PEPTIDE)),
)
_CAVEATS = (Caveat(_incomplete, "some echocardiographic values are unknown and gave no points"),)
_UNDEFINED = "missing: at least one value of each domain (function, morphology, natriuretic peptide)"
_NOTE = "Unverified: thresholds from secondary knowledge of the paper, no published test cases."

SCORES = (
    Score("hfapeff_points", "hfapeff", "HFA-PEFF points", CITATION, _DOI, "{points}", _NEEDS, points,
          caveats=_CAVEATS, undefined=_UNDEFINED, verified=False, note=_NOTE),
    Score("hfapeff_category", "hfapeff", "HFA-PEFF category", CITATION, _DOI, "1", _NEEDS, category,
          caveats=_CAVEATS, undefined=_UNDEFINED, kind="category", verified=False, note=_NOTE),
)  # fmt: skip
