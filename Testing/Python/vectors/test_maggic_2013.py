"""MAGGIC points and mortality."""

from score_rows import compare_risk, score_table
from vector_rows import check

FIELDS = [
    "ef_pct",
    "age_years",
    "sbp_mmhg",
    "bmi_kg_m2",
    "creatinine_umol_l",
    "nyha",
    "current_smoker",
    "diabetes",
    "copd",
    "hf_dx_ge_18_months_ago",
    "on_beta_blocker",
    "on_acei_arb",
]
SEX = {"1": "male", "0": "female"}


def test_maggic_2013():
    def values(row):
        return {f: row[f] for f in FIELDS} | {"sex": SEX[row["male"]]}

    points = score_table("maggic_2013", lambda row: "maggic_points", values)
    deaths = {y: score_table("maggic_2013", lambda row, y=y: f"risk_maggic_death_{y}y", values) for y in (1, 3)}

    def one(row):
        wrong = compare_risk(points, row, "expected_points", "tolerance_abs")
        for years, scored in deaths.items():
            value, state, reason = scored[row["vector_id"]]
            expected = row[f"expected_{years}y_mortality"]
            if not expected:
                wrong += [] if state == "not_assessable" and "50 points" in reason else [f"{years} y: {value} {state}"]
            elif not abs(value / 100 - float(expected)) <= 1e-9:
                wrong.append(f"{years} y: {value / 100:.6g}, expected {expected}")
        return wrong

    check("maggic_2013", one)
