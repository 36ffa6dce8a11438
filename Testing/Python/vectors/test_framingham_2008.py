"""Framingham 2008 against the paper's worked example and other implementations."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "sex",
    "age_years",
    "total_chol_mg_dl",
    "hdl_chol_mg_dl",
    "bmi_kg_m2",
    "sbp_mmhg",
    "bp_treated",
    "current_smoker",
    "diabetes",
]


def test_framingham_2008():
    scored = score_table(
        "framingham_2008",
        lambda row: f"risk_framingham_{row['model']}_cvd_10y",
        lambda row: {f: row[f] for f in FIELDS},
    )
    check("framingham_2008", lambda row: compare_risk(scored, row, "expected_risk_pct", "tolerance_abs_pct"))
