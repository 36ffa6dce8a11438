"""H2FPEF points, category and probability."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = ["age_years", "bmi_kg_m2", "e_over_eprime", "pasp_mmhg", "atrial_fibrillation", "n_antihypertensives"]


def test_h2fpef_2018():
    def score(name):
        return score_table("h2fpef_2018", lambda row: name, lambda row: {f: row[f] for f in FIELDS})

    points, category, probability = (score(f"h2fpef_{kind}") for kind in ("points", "category", "probability"))

    def one(row):
        wrong = compare_risk(points, row, "expected_points", "tolerance_abs")
        wrong += compare_risk(probability, row, "expected_probability", "tolerance_abs", 0.01)
        found = category[row["vector_id"]][0]
        return wrong + ([] if found == row["expected_category"] else [f"{found}, expected {row['expected_category']}"])

    check("h2fpef_2018", one)
