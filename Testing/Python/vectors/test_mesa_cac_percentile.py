"""MESA percentiles: the printed table by its percentiles and back, the calculator by scores."""

from CardioPrecisionLib.calcium_norms import mesa_cac_at, mesa_percentile
from vector_rows import check, compare

TABLES = ("MESA2006_Table2", "MESA_calculator_per_age")


def one(row):
    if row["table"] not in TABLES:
        return [f"unknown table {row['table']}"]
    person = float(row["age_years"]), row["sex"], row["race"]
    cac, percentile = float(row["cac_agatston"]), float(row["percentile"])
    wrong = []
    if row["tolerance_rel_cac"]:
        rel = float(row["tolerance_rel_cac"])
        wrong += compare("score", mesa_cac_at(percentile, *person), row, "cac_agatston", rel=rel)
    if row["tolerance_pct_points"]:
        got = mesa_percentile(cac, *person)
        points = float(row["tolerance_pct_points"])
        wrong += compare("percentile", got.low, row, "percentile", absolute=points)
        if got.value is None and percentile < 99 and row["table"] == TABLES[1] and cac < 4000:
            wrong.append("no percentile")
    elif cac == 0 and mesa_percentile(0.0, *person).high < percentile:
        wrong.append("fewer people have no calcium than the table says")
    return wrong


def test_mesa_cac_percentile():
    check("mesa_cac_percentile", one)
