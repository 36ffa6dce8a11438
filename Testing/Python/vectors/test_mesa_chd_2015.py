"""MESA CHD risk with and without calcium against three implementations."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "sex",
    "race",
    "age_years",
    "total_chol_mg_dl",
    "hdl_chol_mg_dl",
    "lipid_med",
    "sbp_mmhg",
    "bp_med",
    "current_smoker",
    "diabetes",
    "family_history_mi",
    "cac_agatston",
]


def name(row):
    return "risk_mesa_cac_chd_10y" if row["cac_agatston"] else "risk_mesa_chd_10y"


def test_mesa_chd_2015():
    scored = score_table("mesa_chd_2015", name, lambda row: {f: row[f] for f in FIELDS})
    check("mesa_chd_2015", lambda row: compare_risk(scored, row, "expected_risk_pct", "tolerance_abs_pct"))
