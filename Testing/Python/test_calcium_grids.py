"""Coronary calcium on other grids: thin slices, all ways to store a volume, oblique and anisotropic copies."""

from __future__ import annotations

import numpy as np
import pytest
from calcium_cases import copies, moved_to, numbers, sample, score_files, solids, write_labels
from CardioPrecisionLib import calcium_norms as norms
from CardioPrecisionLib.image import Image, write_nifti
from CoronaryPlaqueLib.scoring import score
from CoronaryPlaqueLib.vessels import SITES
from scipy.spatial.transform import Rotation


def test_thin_slices_give_the_score_of_3_mm_averages(tmp_path):
    """The one that reference populations compare with, in every row that compares."""
    image, labels = solids(0.8, 1.0)
    write_nifti(tmp_path / "ct.nii.gz", image.array, image.affine)
    given = write_labels(tmp_path / "labels.nii.gz", labels, image.affine)
    done = score_files(
        tmp_path / "ct.nii.gz", given, tmp_path / "run", clinical={"sex": "male", "age_years": 60, "race": "white"}
    )
    found, truth = numbers(done), score(image, labels)
    for label, site in SITES.items():
        assert found["agatston_score_3mm", site] == pytest.approx(truth.by_label[label].agatston_3mm)
    thick = found["agatston_score_3mm", "total"]
    assert thick != pytest.approx(found["agatston_score", "total"], rel=0.01)
    assert found["arterial_age", None] == pytest.approx(norms.arterial_age(thick))
    rows = {(m.name, m.site): m for m in done.result.measurements}
    place = norms.mesa_percentile(thick, 60, "male", "white").value
    assert place is not None
    assert rows["cac_percentile_mesa", None].value == pytest.approx(place)
    assert "not this one, compares with MESA" in rows["agatston_score", "total"].method
    assert "compares with MESA" in rows["agatston_score_3mm", "total"].method


def analysed(image: Image, labels: np.ndarray, tmp_path, name: str):
    write_nifti(tmp_path / f"{name}.nii.gz", image.array, image.affine)
    write_nifti(tmp_path / f"{name}-labels.nii.gz", labels, image.affine)
    return numbers(score_files(tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-labels.nii.gz", tmp_path / name))


def test_flipped_and_permuted_copies_give_identical_scores(tmp_path):
    """All 48 ways to store a volume, through NIfTI files and the whole analysis."""
    whole = sample()
    image = Image(whole.image.array[55:170, 50:180], whole.image.affine)
    labels = whole.labels[55:170, 50:180]
    base = None
    for name, copy, turned in copies(image, labels):
        found = analysed(copy, turned, tmp_path, name)
        base = base or found
        assert found.keys() == base.keys()
        for key, value in found.items():
            assert value == (pytest.approx(base[key], rel=1e-6) if isinstance(value, float) else base[key]), (name, key)
    assert base["agatston_score", "total"] > 0


#: Largest deviation from the upright scan: of the coronary total, and of a single site (two lesions).
TOLERANCES = [
    # pixel and slice distance, degrees, new voxels, total, site
    pytest.param(0.6, 0.6, (10, 15, 20), None, 0.06, 0.10, id="oblique, 0.6 mm"),
    pytest.param(0.6, 0.6, (0, 0, 0), (0.75, 0.9, 0.6), 0.06, 0.10, id="anisotropic, 0.6 mm"),
    pytest.param(0.6, 3.0, (0, 0, 0), (0.75, 0.9, 3.0), 0.06, 0.10, id="anisotropic, 3 mm"),
    pytest.param(0.6, 3.0, (10, 15, 0), None, 0.20, 0.35, id="oblique, 3 mm"),
]


@pytest.mark.parametrize(("pixel", "increment", "degrees", "voxels", "total", "site"), TOLERANCES)
def test_resampled_copies_within_stated_tolerances(tmp_path, pixel, increment, degrees, voxels, total, site):
    """Linear interpolation smooths, and a fixed threshold turns smoothing into volume: the scores rise a little."""
    image, labels = solids(pixel, increment)
    base = analysed(image, labels, tmp_path, "upright")
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    copy, moved = moved_to(image, labels, turn, image.spacing if voxels is None else voxels, 1.2 if any(degrees) else 1)
    found = analysed(copy, moved, tmp_path, "copy")
    for name in ("agatston_score", "calcium_volume"):
        assert found[name, "total"] == pytest.approx(base[name, "total"], rel=total), name
        for each in SITES.values():
            assert found[name, each] == pytest.approx(base[name, each], rel=site), (name, each)


def test_an_oblique_scan_of_the_same_body(tmp_path):
    """Scanned obliquely instead of resampled: nothing is smoothed, and the scores stay closer."""
    base = analysed(*solids(0.6, 0.6), tmp_path, "upright")
    turn = Rotation.from_euler("xyz", (12, -15, 20), degrees=True).as_matrix()
    found = analysed(*solids(0.6, 0.6, turned=turn), tmp_path, "oblique")
    for name in ("agatston_score", "calcium_volume"):
        assert found[name, "total"] == pytest.approx(base[name, "total"], rel=0.015), name
        for each in SITES.values():
            assert found[name, each] == pytest.approx(base[name, each], rel=0.05), (name, each)
