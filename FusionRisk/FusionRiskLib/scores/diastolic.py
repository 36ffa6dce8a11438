"""Diastolic function of the left ventricle, ASE/EACVI 2016.

Nagueh SF et al., J Am Soc Echocardiogr 2016;29:277-314, Figures 8A and 8B: whether there is dysfunction in a normal
ejection fraction, and its grade.
"""

from __future__ import annotations

import numpy as np

from .columns import Array, Columns
from .score import Need, Score

CITATION = "Nagueh SF et al. Evaluation of Left Ventricular Diastolic Function. J Am Soc Echocardiogr 2016;29:277-314"
NORMAL, INDETERMINATE = "normal", "indeterminate"
GRADES = ("grade-1", "grade-2", "grade-3")

# A criterion is +1 where it is met, -1 where it is not, 0 where it is unknown.


def criterion(value: Array, limit: float, below: bool = False) -> Array:
    met = value < limit if below else value > limit
    return np.where(np.isnan(value), 0, np.where(met, 1, -1))


def filling_pressure(columns: Columns) -> Array:
    """E/e' above 14; where only one side is known, septal above 15 or lateral above 13."""
    septal_e, lateral_e = columns.number("septal_eprime_cm_s"), columns.number("lateral_eprime_cm_s")
    velocity = columns.number("mitral_e_cm_s")

    def first(given: Array, computed: Array) -> Array:
        return np.where(np.isnan(given), computed, given)

    average = first(columns.number("e_over_eprime"), velocity / ((septal_e + lateral_e) / 2))
    septal = first(columns.number("e_over_eprime_septal"), velocity / septal_e)
    lateral = first(columns.number("e_over_eprime_lateral"), velocity / lateral_e)
    average = first(average, (septal + lateral) / 2)
    judged = criterion(average, 14)
    judged = np.where(judged == 0, criterion(septal, 15), judged)
    return np.where(judged == 0, criterion(lateral, 13), judged)


def relaxation(columns: Columns) -> Array:
    """e' reduced: septal below 7 or lateral below 10 cm/s; not reduced where no known one is."""
    septal = criterion(columns.number("septal_eprime_cm_s"), 7, below=True)
    lateral = criterion(columns.number("lateral_eprime_cm_s"), 10, below=True)
    return np.where((septal == 1) | (lateral == 1), 1, np.minimum(septal, lateral))


def classify(
    diseased: Array, ea: Array, e_high: Array, pressure: Array, reduced: Array, tricuspid: Array, atrium: Array
) -> Array:
    """The two algorithms on criteria.

    Parameters
    ----------
    diseased : numpy.ndarray
        ``(rows,)`` bool: reduced ejection fraction or myocardial disease.
    ea : numpy.ndarray
        ``(rows,)`` mitral E/A, NaN where unknown.
    e_high : numpy.ndarray
        ``(rows,)`` 1 where E is above 50 cm/s, -1 where not, 0 unknown.
    pressure, reduced, tricuspid, atrium : numpy.ndarray
        ``(rows,)`` criteria E/e', e', tricuspid velocity above 2.8 m/s, atrial volume index above 34 mL/m².

    Returns
    -------
    numpy.ndarray
        ``(rows,)`` object: normal, indeterminate, grade-1, grade-2, grade-3; None where too little is known to grade.
    """
    four = np.stack([pressure, reduced, tricuspid, atrium])
    met, unmet = (four == 1).sum(axis=0), (four == -1).sum(axis=0)
    known = met + unmet
    dysfunction = diseased | (met * 2 > known)
    three = np.stack([pressure, tricuspid, atrium])
    high, low = (three == 1).sum(axis=0), (three == -1).sum(axis=0)
    graded = np.select([high + low < 2, high > low, low > high], ["", "grade-2", "grade-1"], INDETERMINATE)
    small = ea <= 0.8
    grade = np.select(
        [np.isnan(ea), ea >= 2, small & (e_high == -1), small & (e_high == 0)],
        ["", "grade-3", "grade-1", ""],
        graded,
    )
    without = np.where(unmet * 2 > known, NORMAL, INDETERMINATE)
    result = np.where(dysfunction, grade, without).astype(object)
    result[result == ""] = None
    return result


def diastolic_function(columns: Columns) -> Array:
    """``(rows,)`` object: the class of every patient; None where no criterion is known."""
    diseased = (columns.number("lv_ef_pct") < 50) | (columns.number("myocardial_disease") == 1)
    criteria = (
        filling_pressure(columns),
        relaxation(columns),
        criterion(columns.number("tr_velocity_m_s"), 2.8),
        criterion(columns.number("la_volume_index_ml_m2"), 34),
    )
    e_high = criterion(columns.number("mitral_e_cm_s"), 50)
    result = classify(diseased, columns.number("mitral_ea_ratio"), e_high, *criteria)
    result[~diseased & ~np.any(criteria, axis=0)] = None
    return result


_ECHO = (
    "mitral_e_cm_s mitral_ea_ratio septal_eprime_cm_s lateral_eprime_cm_s e_over_eprime e_over_eprime_septal "
    "e_over_eprime_lateral tr_velocity_m_s la_volume_index_ml_m2"
)

SCORES = (
    Score(
        name="diastolic_function_ase2016",
        family="diastolic",
        title="Diastolic function (ASE/EACVI 2016)",
        citation=CITATION,
        doi="10.1016/j.echo.2016.01.011",
        unit="1",
        needs=(
            Need("age_years", 18, required=False),
            Need("lv_ef_pct"),
            Need("myocardial_disease"),
            *(Need(field, required=False) for field in _ECHO.split()),
        ),
        formula=diastolic_function,
        kind="category",
        undefined="too few of E/A, E, E/e', e', tricuspid velocity and atrial volume are known to grade",
        note="Not for atrial fibrillation, mitral stenosis, prosthesis or severe mitral annular calcification.",
    ),
)
