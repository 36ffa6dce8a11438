"""Body surface area against published formulas."""

from CardioPrecisionLib.body import body_surface_area
from vector_rows import check, compare


def one(row):
    got = body_surface_area(float(row["height_cm"]), float(row["weight_kg"]), row["formula"])
    return compare("BSA", got, row, "expected_bsa_m2", absolute=float(row["tolerance_abs"]))


def test_bsa():
    check("bsa", one)
