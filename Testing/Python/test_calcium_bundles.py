"""The shipped calcium bundles: their cards' numbers, patients of the second generator, and the real chest CT."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest
from calcium_cases import bundles_are_ready
from CardioPrecisionLib.bundle import registry
from CoronaryPlaqueLib import calling, calls_training, candidates, territory

pytestmark = pytest.mark.skipif(not bundles_are_ready(), reason="the weights of the calcium models are not here")


def test_bundles_are_as_described():
    assert tuple(registry.get_bundle(calling.BUNDLE).settings["features"]) == candidates.FEATURES
    for name in (territory.BUNDLE, calling.BUNDLE):
        bundle = registry.get_bundle(name)
        assert registry.verify(bundle)
        assert not bundle.restricted
        assert bundle.metadata["eval_metrics"]
        assert "seen no patient" in (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_card_shows_the_evaluation():
    folder = resources.files("CoronaryPlaqueLib").joinpath("bundles", calling.BUNDLE, "docs")
    stored = json.loads(folder.joinpath("evaluation.json").read_text(encoding="utf-8"))
    counts = np.array(list(stored["confusion"].values()))
    assert counts.sum() == stored["candidates"]
    assert f"{100 * stored['accuracy']:.1f} %" in folder.joinpath("README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_patients_of_the_second_generator():
    rows = [calls_training.measure(("second", seed)) for seed in (500, 501, 502)]
    assert not any(row["problem"] for row in rows)
    judged = calls_training.judge(rows)
    assert judged["candidates"] > 20
    assert judged["accuracy"] >= 0.8
    assert judged["other_as_coronary"] <= 0.1
    assert judged["clear_found"] is None or judged["clear_found"] >= 0.8


@pytest.mark.slow
@pytest.mark.shared
def test_real_chest(shared_data, tmp_path):
    """No rib, no spine in the score, few calls of noise, and well under half a minute."""
    from CardioPrecisionLib.fronts.runner import run_analysis
    from CardioPrecisionLib.image import read_frames
    from CoronaryPlaqueLib.axial import axial
    from CoronaryPlaqueLib.ct_input import load
    from CoronaryPlaqueLib.vessels import SCORED
    from scipy import ndimage

    outcome = run_analysis("calcium", {"cardiac_ct": shared_data / "chest_ct"}, tmp_path / "run")
    found = outcome.result.measurements
    total = found.value("agatston_score", "total")
    assert total is not None
    assert 5 < total < 60  # one calcified plaque of the anterior descending artery
    assert found.value("agatston_score", "LAD") > 5
    image = load(shared_data / "chest_ct").data
    labels, _, _ = read_frames(tmp_path / "run" / "segmentation.nii.gz")
    parts, _ = ndimage.label(axial(image).array >= 130, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel()) * image.voxel_ml * 1000.0
    scored = np.isin(axial(image.with_array(labels[0])).array, SCORED)
    assert sizes[parts[scored]].max() < 1000.0  # mm³: ribs, sternum and vertebrae are larger
