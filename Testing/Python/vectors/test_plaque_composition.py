"""Volumes per class and percent atheroma volume."""

import json

import numpy as np
from CoronaryPlaqueLib.plaque_composition import composition, percent_atheroma_volume
from vector_rows import check, compare


def one(row):
    found = composition(np.array(json.loads(row["plaque_hu"])), float(row["voxel_volume_mm3"]))
    tolerance = float(row["tolerance_abs"])
    got = {
        "expected_lap_mm3": found.low_attenuation_mm3,
        "expected_fibrofatty_mm3": found.fibrofatty_mm3,
        "expected_fibrous_mm3": found.fibrous_mm3,
        "expected_calcified_mm3": found.calcified_mm3,
        "expected_tpv_mm3": found.total_mm3,
        "expected_pav_pct": percent_atheroma_volume(found.total_mm3, float(row["lumen_volume_mm3"])),
    }
    return [p for column, value in got.items() for p in compare(column, value, row, column, absolute=tolerance)]


def test_plaque_composition():
    check("plaque_composition", one)
