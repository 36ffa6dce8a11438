"""Biplane disks and area-length on half-ellipsoids, whose volume is exact."""

import numpy as np
from LVFunctionLib import function as fn
from vector_rows import check, compare


def one(row):
    if row["body"] != "half-ellipsoid":
        return [f"unknown body {row['body']}"]
    a, b, length = (float(row[c]) for c in ("semi_axis_a_mm", "semi_axis_b_mm", "length_mm"))
    middle = (np.arange(20) + 0.5) / 20
    taper = np.sqrt(1 - middle**2)
    rel = {"rel": float(row["tolerance_rel"])}
    disks = fn.biplane_disks(2 * a * taper, 2 * b * taper, length)
    area = fn.area_length(np.pi * a * length / 2, np.pi * b * length / 2, length)
    wrong = compare("disks", disks, row, "expected_biplane_20_disks_ml", **rel)
    return wrong + compare("area-length", area, row, "expected_area_length_8AA_over_3piL_ml", **rel)


def test_lv_volume_analytic():
    check("lv_volume_analytic", one)
