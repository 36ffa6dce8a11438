"""Agatston score, volume, lesions and mass of blocks of known HU."""

import json

import numpy as np
from CardioPrecisionLib.image import Image
from CoronaryPlaqueLib.scoring import score
from CoronaryPlaqueLib.vessels import LAD
from vector_rows import check, compare

MASS_CALIBRATION = 0.8  # of the column expected_mass_mg_at_0p8_mg_per_ml_per_hu


def one(row):
    shape = tuple(int(n) for n in row["dims_xyz"].split("x"))
    array = np.full(shape, int(row["background_hu"]), np.int16)
    for x, y, z, nx, ny, nz, hu in json.loads(row["blocks_x0_y0_z0_nx_ny_nz_hu"]):
        array[x : x + nx, y : y + ny, z : z + nz] = hu
    affine = np.diag([*(float(row[f"spacing_{axis}_mm"]) for axis in "xyz"), 1.0])
    found = score(Image(array, affine), np.full(shape, LAD, np.uint8)).total()
    # The rows print four decimals.
    exact = {"rel": float(row["tolerance_rel"]), "absolute": 5.1e-5}
    wrong = compare("Agatston", found.agatston, row, "expected_agatston", **exact)
    wrong += compare("volume", found.volume_mm3, row, "expected_volume_mm3", **exact)
    wrong += compare("lesions", found.lesion_count, row, "expected_n_lesions")
    mass = found.mass_mg(MASS_CALIBRATION)
    return wrong + compare("mass", mass, row, "expected_mass_mg_at_0p8_mg_per_ml_per_hu", **exact)


def test_agatston_phantom():
    check("agatston_phantom", one)
