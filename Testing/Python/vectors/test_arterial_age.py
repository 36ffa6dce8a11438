"""Arterial age from the coronary calcium score."""

from CardioPrecisionLib.calcium_norms import arterial_age
from vector_rows import check, compare


def one(row):
    got = arterial_age(float(row["cac_agatston"]))
    return compare("age", got, row, "expected_arterial_age_years", absolute=float(row["tolerance_abs"]))


def test_arterial_age():
    check("arterial_age", one)
