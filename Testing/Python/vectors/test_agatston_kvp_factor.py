"""Agatston's factor with thresholds adapted to the tube voltage."""

from CoronaryPlaqueLib.scoring import density_factor
from vector_rows import check, compare


def one(row):
    factor = int(density_factor(float(row["max_hu"]), float(row["kvp"])))
    return compare("factor", factor, row, "expected_factor", absolute=float(row["tolerance_abs"]))


def test_agatston_kvp_factor():
    check("agatston_kvp_factor", one)
