"""CHA2DS2-VASc: every combination of its criteria."""

from score_rows import compare_risk, score_table
from vector_rows import check

AGES = {"lt65": 64.9, "65_74": 65, "ge75": 75}
FIELDS = ["chf", "hypertension", "diabetes", "stroke_tia_te", "vascular_disease", "sex"]


def test_cha2ds2_vasc_2010():
    scored = score_table(
        "cha2ds2_vasc_2010",
        lambda row: "cha2ds2_vasc_points",
        lambda row: {f: row[f] for f in FIELDS} | {"age_years": AGES[row["age_band"]]},
    )
    check("cha2ds2_vasc_2010", lambda row: compare_risk(scored, row, "expected_points", "tolerance_abs"))
