"""Pooled Cohort Equations against the guideline's worked examples and other implementations."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "sex",
    "race",
    "age_years",
    "total_chol_mg_dl",
    "hdl_chol_mg_dl",
    "sbp_mmhg",
    "bp_treated",
    "current_smoker",
    "diabetes",
]


def test_pce_2013():
    scored = score_table("pce_2013", lambda row: "risk_pce_ascvd_10y", lambda row: {f: row[f] for f in FIELDS})
    check("pce_2013", lambda row: compare_risk(scored, row, "expected_risk_pct", "tolerance_abs_pct"))
