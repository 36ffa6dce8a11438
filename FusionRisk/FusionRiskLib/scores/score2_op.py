"""SCORE2-OP 2021: cardiovascular disease in 10 years in people of 70 and older.

SCORE2-OP working group, Eur Heart J 2021;42:2455-2467; coefficients to full precision from the authors' program
(skkceu/stata), because the paper's rounded ones change the risk by up to 0.4 percentage points.
"""

from __future__ import annotations

import numpy as np

from .columns import Array, Columns
from .score import Score
from .score2 import PRIOR, by_sex, linear_predictor, needs, recalibrated

CITATION = "SCORE2-OP working group. SCORE2-OP risk prediction algorithms. Eur Heart J 2021;42:2455-2467"

#: Term -> coefficient for women, men.
_TERMS = {
    "age": (0.0789191229, 0.0633767915),
    "diabetes": (0.6009874438, 0.4245248910),
    "age_diabetes": (-0.0106909701, -0.0173654217),
    "smoker": (0.4921147010, 0.3523957899),
    "age_smoker": (-0.0255496313, -0.0247205945),
    "sbp": (0.0101993091, 0.0094362177),
    "age_sbp": (-0.0004404728, -0.0004794522),
    "chol": (0.0604939598, 0.0849594156),
    "age_chol": (-0.0009121461, 0.0073336663),
    "hdl": (-0.3040280248, -0.3563571842),
    "age_hdl": (0.0153779923, 0.0091317857),
}
_MEAN = np.array([0.2287676, 0.09285225])
_SURVIVAL = (1 - 0.19178759, 1 - 0.24235298)
_SCALES = np.array(
    [
        [[-0.516054, 1.007238], [-0.343484, 1.193038]],
        [[-0.101044, 1.099621], [0.005320, 1.248514]],
        [[0.375720, 1.089031], [0.084305, 1.151902]],
        [[0.379293, 0.691530], [0.045959, 0.703625]],
    ]
)


def risk(columns: Columns) -> Array:
    """``(rows,)`` risk in %."""
    age = columns.number("age_years") - 73.0
    base = {
        "diabetes": columns.number("diabetes"),
        "smoker": columns.number("current_smoker"),
        "sbp": columns.number("sbp_mmhg") - 150.0,
        "chol": columns.number("total_chol_mmol_l") - 6.0,
        "hdl": columns.number("hdl_chol_mmol_l") - 1.4,
    }
    values = {"age": age} | base | {f"age_{name}": age * value for name, value in base.items()}
    sex = by_sex(columns)
    return recalibrated(linear_predictor(values, _TERMS, sex) - _MEAN[sex], _SURVIVAL, _SCALES, columns)


SCORES = (
    Score(
        name="risk_score2op_cvd_10y",
        family="score2op",
        title="SCORE2-OP: cardiovascular disease in 10 years, 70 years and older",
        citation=CITATION,
        doi="10.1093/eurheartj/ehab312",
        unit="%",
        needs=needs(70, 89),
        formula=risk,
        exclusions=(PRIOR,),
        note="Age 70 to 89.",
    ),
)
