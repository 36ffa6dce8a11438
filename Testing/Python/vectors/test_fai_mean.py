"""Mean attenuation of the fat around a vessel."""

import json

import numpy as np
from CoronaryPlaqueLib.fat import fat_attenuation
from vector_rows import check, compare


def one(row):
    found = fat_attenuation(np.array(json.loads(row["voxel_hu"])))
    return [
        *compare("fat voxels", found.fat_voxels, row, "expected_n_fat"),
        *compare("mean", found.mean_hu, row, "expected_mean_hu", absolute=float(row["tolerance_abs"])),
        *compare("high", int(found.high), row, "expected_high"),
    ]


def test_fai_mean():
    check("fai_mean", one)
