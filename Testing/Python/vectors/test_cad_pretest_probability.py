"""Pre-test probability of coronary disease against two implementations, and the ESC 2024 table."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "sex",
    "age_years",
    "chest_pain",
    "dyspnoea",
    "family_history",
    "dyslipidaemia",
    "hypertension",
    "diabetes",
    "cac_agatston",
]
NAMES = {
    "winther2020_basic": "pretest_basic_cad",
    "RF-CL": "pretest_rfcl_cad",
    "CACS-CL": "pretest_cacscl_cad",
    "ESC2024_Fig4_pct": "pretest_esc2024_cad",
    "CAD1_2011_basic": "pretest_cad1_basic_cad",
    "CAD2_2012_basic": "pretest_cad2_basic_cad",
    "CAD2_2012_clinical": "pretest_cad2_clinical_cad",
    "CAD2_2012_clinical_CCS": "pretest_cad2_calcium_cad",
}


def test_cad_pretest_probability():
    scored = score_table(
        "cad_pretest_probability",
        lambda row: NAMES[row["model"]],
        lambda row: {f: row[f] for f in FIELDS} | {"ever_smoker": row["smoking"]},
    )

    def one(row):
        scale = 1.0 if row["model"].endswith("_pct") else 0.01
        return compare_risk(scored, row, "expected_probability", "tolerance_abs", scale)

    check("cad_pretest_probability", one)
