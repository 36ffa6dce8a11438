"""SCORE2 and SCORE2-OP against the papers' examples and the authors' program."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "risk_region",
    "sex",
    "age_years",
    "sbp_mmhg",
    "total_chol_mmol_l",
    "hdl_chol_mmol_l",
    "current_smoker",
    "diabetes",
]
NAMES = {"SCORE2": "risk_score2_cvd_10y", "SCORE2-OP": "risk_score2op_cvd_10y"}


def test_score2_op_2021():
    scored = score_table("score2_op_2021", lambda r: NAMES[r["algorithm"]], lambda r: {f: r[f] for f in FIELDS})
    check("score2_op_2021", lambda row: compare_risk(scored, row, "expected_risk_pct", "tolerance_abs_pct"))
