"""AHA PREVENT against the paper's worked example, a peer's tests, and two implementations."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "sex",
    "age_years",
    "total_chol_mg_dl",
    "hdl_chol_mg_dl",
    "sbp_mmhg",
    "bp_treated",
    "statin",
    "diabetes",
    "current_smoker",
    "bmi_kg_m2",
    "egfr_ckdepi2021_ml_min_173",
    "uacr_mg_g",
    "hba1c_pct",
    "sdi_decile",
]
MODELS = {"base": "base", "acr": "uacr", "hba1c": "hba1c", "sdi": "sdi", "full": "full"}


def name(row):
    return f"risk_prevent_{MODELS[row['model']]}_{row['outcome']}_{int(row['horizon_years'])}y"


def test_prevent_2023():
    scored = score_table("prevent_2023", name, lambda row: {f: row[f] for f in FIELDS})
    check("prevent_2023", lambda row: compare_risk(scored, row, "expected_risk_pct", "tolerance_abs_pct"))
