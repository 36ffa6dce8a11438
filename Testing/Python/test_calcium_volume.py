"""Calcium volume against the exact volume of solids: within 2 % where it can be, and the bias where it cannot."""

from __future__ import annotations

import calcium_accuracy as accuracy
import numpy as np
import pytest
from calcium_accuracy import FAT_HU, TISSUE_HU, half_way, study
from conftest import REPOSITORY

FINE, THICK = (0.5, 0.5), (0.5, 3.0)


@pytest.mark.parametrize("background", [TISSUE_HU, FAT_HU])
@pytest.mark.parametrize("seed", [0, 1])
def test_volume_within_2_percent_where_partial_volume_is_even(background, seed):
    """30 random nodules, rods and plates at 0.5 mm, 130 HU half-way between calcium and its surroundings."""
    errors = study(FINE, half_way(background), background, seed=seed)
    assert np.abs(errors.voxels).mean() <= 2.0
    assert abs(errors.voxels.mean()) <= 2.0
    assert np.abs(errors.voxels).max() <= 10.0
    assert errors.exact_mm3.min() < 60
    assert errors.exact_mm3.max() > 100


def test_finer_voxels_come_closer():
    """What is left is the voxels' size: nothing is wrong with the geometry."""
    coarse, fine = (study((mm, mm), half_way(TISSUE_HU), n=12) for mm in (0.5, 0.25))
    assert np.abs(fine.voxels).mean() < 0.6 * np.abs(coarse.voxels).mean()


def test_a_fixed_threshold_makes_dense_calcium_bloom():
    """The bias for other HU, stated: it grows with density, and with slices of 3 mm."""
    fine = [study(FINE, hu, n=15).voxels.mean() for hu in (half_way(TISSUE_HU), 400.0, 1000.0)]
    thick = [study(THICK, hu, n=15, kernel="medium").voxels.mean() for hu in (half_way(TISSUE_HU), 400.0, 1000.0)]
    assert fine[0] < fine[1] < fine[2]
    assert thick[0] < thick[1] < thick[2]
    assert 5 < fine[1] < 25
    assert thick[2] > 2 * fine[2]
    assert thick[0] < -10  # faint calcium is lost in thick slices


def test_the_table_in_the_docs_is_what_the_script_prints(capsys):
    text = accuracy.table()
    with capsys.disabled():
        print(f"\n{text}")
    documented = (REPOSITORY / "docs" / "calcium.md").read_text(encoding="utf-8")
    for row in text.splitlines()[4:]:
        title, *values = (cell.strip() for cell in row.strip("|").split("|"))
        found = next((line for line in documented.splitlines() if line.startswith(f"| {title} |")), None)
        assert found is not None, f"docs/calcium.md lacks the row {title}"
        numbers = [float(cell) for cell in found.strip("| ").split("|")[1:]]
        assert numbers == pytest.approx([float(v) for v in values], abs=0.5), title
