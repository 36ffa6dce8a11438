"""SCORE2-Diabetes against the paper's graphical abstract and the authors' program."""

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
    "age_at_diabetes_dx_years",
    "hba1c_mmol_mol",
    "egfr_ml_min_173",
]


def test_score2_diabetes_2023():
    scored = score_table(
        "score2_diabetes_2023",
        lambda row: "risk_score2diabetes_cvd_10y",
        lambda row: {f: row[f] for f in FIELDS} | {"diabetes": "yes"},
    )
    check("score2_diabetes_2023", lambda row: compare_risk(scored, row, "expected_risk_pct", "tolerance_abs_pct"))
