"""Fields that follow from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..clinical.fields import fields

Array = np.ndarray[Any, Any]
#: ``number(name) -> (rows,)``
Numbers = Callable[[str], Array]


def body_mass_index(number: Numbers) -> Array:
    """kg/m² from height and weight."""
    height, weight = number("height_cm"), number("weight_kg")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(weight / (height / 100.0) ** 2)


def egfr_ckd_epi_2021(number: Numbers) -> Array:
    """eGFR in mL/min/1.73 m² from creatinine, age and sex.

    Inker et al., N Engl J Med 2021;385:1737 (the equation without race):
    142 · min(Scr/κ, 1)^α · max(Scr/κ, 1)^-1.200 · 0.9938^age · 1.012 for women;
    κ 0.7 and α -0.241 for women, κ 0.9 and α -0.302 for men.
    """
    sex = number("sex")
    female = sex == fields()["sex"].choices.index("female")
    ratio = number("creatinine_mg_dl") / np.where(female, 0.7, 0.9)
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.minimum(ratio, 1.0) ** np.where(female, -0.241, -0.302)
        value = 142.0 * low * np.maximum(ratio, 1.0) ** -1.2 * 0.9938 ** number("age_years")
    return np.where(np.isnan(sex), np.nan, value * np.where(female, 1.012, 1.0))


DERIVED: Mapping[str, Callable[[Numbers], Array]] = {
    "bmi_kg_m2": body_mass_index,
    "egfr_ckdepi2021_ml_min_173": egfr_ckd_epi_2021,
}
#: What each of them cannot do without.
DERIVED_FROM: Mapping[str, tuple[str, ...]] = {
    "bmi_kg_m2": ("height_cm", "weight_kg"),
    "egfr_ckdepi2021_ml_min_173": ("creatinine_mg_dl", "age_years", "sex"),
}
