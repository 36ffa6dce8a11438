"""CHA2DS2-VASc (Lip GYH et al., Chest 2010;137:263-272) and CHA2DS2-VA (ESC 2024): stroke in atrial fibrillation."""

from __future__ import annotations

from functools import partial

import numpy as np

from .columns import Array, Columns
from .score import Caveat, Need, Score

_POINTS = {"heart_failure": 1, "hypertension": 1, "diabetes": 1, "stroke_tia_te": 2, "vascular_disease": 1}


def points(columns: Columns, sex: bool) -> Array:
    """``(rows,)`` points."""
    age = columns.number("age_years")
    total = 1.0 * (age >= 65) + (age >= 75)
    for field, weight in _POINTS.items():
        total = total + weight * columns.number(field)
    return np.asarray(total + columns.is_choice("sex", "female")) if sex else np.asarray(total)


def _no_fibrillation(columns: Columns) -> Array:
    return np.asarray(columns.number("atrial_fibrillation") == 0)


_NEEDS = (Need("age_years", 18), *(Need(field) for field in _POINTS))
_CAVEATS = (Caveat(_no_fibrillation, "atrial_fibrillation is no: the score was made for people who have it"),)

SCORES = (
    Score("cha2ds2_vasc_points", "cha2ds2_vasc", "CHA2DS2-VASc",
          "Lip GYH et al. Refining clinical risk stratification in atrial fibrillation. Chest 2010;137:263-272",
          "10.1378/chest.09-1584", "{points}", (*_NEEDS, Need("sex")), partial(points, sex=True), caveats=_CAVEATS),
    Score("cha2ds2_va_points", "cha2ds2_vasc", "CHA2DS2-VA",
          "Van Gelder IC et al. 2024 ESC Guidelines for atrial fibrillation. Eur Heart J 2024;45:3314-3414",
          "10.1093/eurheartj/ehae176", "{points}", _NEEDS, partial(points, sex=False), caveats=_CAVEATS),
)  # fmt: skip
