"""What a coronary calcium score means: arterial age and MESA percentile, from `CardioPrecisionLib.calcium_norms`."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib import calcium_norms

from ..clinical.fields import fields
from .columns import Array, Columns
from .score import Caveat, Need, Score


def arterial_age(columns: Columns) -> Array:
    """``(rows,)`` years."""
    calcium = columns.number("cac_agatston")
    different, place = np.unique(np.where(calcium >= 0, calcium, 0.0), return_inverse=True)
    return np.array([calcium_norms.arterial_age(value) for value in different.tolist()])[place]


def percentile(columns: Columns) -> Array:
    """``(rows,)`` percentile; NaN where the reference gives only bounds (a score of 0, above the table) or nothing."""
    rows = np.column_stack([columns.number(name) for name in ("cac_agatston", "age_years", "sex", "race")])
    found = np.full(columns.size, np.nan)
    sexes, races = fields()["sex"].choices, fields()["race"].choices
    for i in np.flatnonzero(~np.isnan(rows).any(axis=1) & (rows[:, 0] >= 0)).tolist():
        cac, age, sex, race = rows[i].tolist()
        try:
            value = calcium_norms.mesa_percentile(cac, age, sexes[int(sex)], races[int(race)]).value
        except calcium_norms.NotCovered:
            continue
        found[i] = np.nan if value is None else value
    return found


def _treated_diabetes(columns: Columns) -> Array:
    return np.asarray(columns.number("diabetes") == 1)


SCORES = (
    Score(
        name="arterial_age",
        family="calcium",
        title="Arterial age",
        citation="McClelland RL et al. Arterial age as a function of coronary calcium. Am J Cardiol 2009;103:59-63",
        doi="10.1016/j.amjcard.2008.08.031",
        unit="a",
        needs=(Need("cac_agatston"),),
        formula=arterial_age,
    ),
    Score(
        name="cac_percentile_mesa",
        family="calcium",
        title="Percentile of coronary calcium by age, sex and race (MESA)",
        citation="McClelland RL et al. Distribution of coronary artery calcium (MESA). Circulation 2006;113:30-37",
        doi="10.1161/CIRCULATIONAHA.105.580696",
        unit="{percentile}",
        needs=(Need("cac_agatston"), Need("age_years", 45, 84.99), Need("sex"), Need("race")),
        formula=percentile,
        caveats=(Caveat(_treated_diabetes, "the reference population had no treated diabetes"),),
        undefined="the reference gives no percentile: score 0, above its table, or a race it did not study",
    ),
)
