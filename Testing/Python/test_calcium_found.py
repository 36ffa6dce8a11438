"""Calcium without a reader's labels: candidates, calls, coverage and what is made of them.

The first tests put the phantom's truth in the place of the two networks, so that everything around them is tested
without their weights and independently of how good they are; the last ones run the networks.
"""

from __future__ import annotations

import numpy as np
import pytest
from calcium_cases import bundles_are_ready, numbers, patient, sample, score_files, write_dicom
from CardioPrecisionLib.image import Image, write_nifti
from CoronaryPlaqueLib import calling, territory
from CoronaryPlaqueLib.axial import axial
from CoronaryPlaqueLib.calcium import CalciumScore
from CoronaryPlaqueLib.scoring import score
from CoronaryPlaqueLib.vessels import OTHER, SITES


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    return write_dicom(tmp_path_factory.mktemp("ct") / "dicom")


def rows_of(outcome):
    return {(m.name, m.site): m for m in outcome.result.measurements}


def table_of(outcome, name):
    return next(t for t in outcome.result.tables if t.name == name).columns


@pytest.fixture
def truth(monkeypatch):
    """The pericardial sac instead of the territory network, the phantom's own labels instead of the calling one."""

    def territories(grid, **options):
        hu, inside, affine = grid
        index = np.stack(np.meshgrid(*map(np.arange, hu.shape), indexing="ij"), -1).reshape(-1, 3)
        heart = patient().inside_pericardium(index @ affine[:3, :3].T + affine[:3, 3]).reshape(hu.shape) & inside
        probability = np.zeros((len(territory.CLASSES), *hu.shape), np.float32)
        probability[territory.HEART], probability[0] = heart, ~heart
        return territory.Territories(probability, affine, inside, {"name": territory.BUNDLE, "version": "truth"})

    def call(candidates):
        labels = axial(sample().image.with_array(sample().labels)).array
        called = [np.bincount(labels[tuple(c.at)], minlength=OTHER + 1)[1:] for c in candidates]
        label = np.array([1 + int(n.argmax()) if n.any() else OTHER for n in called], np.uint8)
        probability = np.full((len(candidates), OTHER), 0.01, np.float32)
        probability[np.arange(len(candidates)), label - 1] = 0.93
        return calling.Calls(label, probability, {"name": calling.BUNDLE, "version": "truth"})

    monkeypatch.setattr(territory, "find_territories", territories)
    monkeypatch.setattr(calling, "call", call)


def drawn(outcome):
    """The labels of a run as an axial stack."""
    labels = outcome.result.labels
    return axial(Image(labels.array[0], labels.affine)).array


def stack(array):
    return axial(sample().image.with_array(array)).array


def test_candidates_with_true_calls(truth, ct, tmp_path):
    """All calcium of the heart is found and drawn whole, bone is left alone, and each site has its score."""
    done = score_files(ct, None, tmp_path / "run")
    rows, found = rows_of(done), drawn(done)
    bright, labels = stack(sample().image.array) >= 130, stack(sample().labels)
    for label, site in SITES.items():
        assert rows["agatston_score", site].state == "measured"
        if site != "aorta":  # most of which lies outside of the sac
            own = (labels == label) & bright
            assert (found[own] == label).mean() > 0.85, site  # single faint voxels count for nothing
            assert rows["agatston_score", site].value >= score(sample().image, sample().labels).by_label[label].agatston
    assert not (found[stack(sample().bones)] % OTHER).any()
    assert "found and called by MONAI bundles" in rows["agatston_score", "total"].method
    # The numbers are those of the segmentation, and what is drawn is at or above the threshold.
    again = score(Image(stack(sample().image.array), axial(sample().image).affine), found)
    assert rows["agatston_score", "total"].value == pytest.approx(again.total().agatston, rel=1e-4)
    assert bright[found > 0].all()
    assert [m["name"] for m in done.result.record["models"]] == list(CalciumScore.bundles)


def test_every_call_has_its_probability_and_its_picture(truth, ct, tmp_path):
    done = score_files(ct, None, tmp_path / "run", parameters={"figures": True})
    lesions = table_of(done, "lesions")
    assert lesions["probability"] == pytest.approx([0.93] * len(lesions["lesion"]))
    figure = next(f for f in done.result.figures if f.name == "candidates")
    pictures = figure.data.decode()
    assert pictures.count("<image ") == done.result.record["candidates"]
    assert pictures.count("93 %") >= done.result.record["candidates"]
    assert "candidate with its call" in figure.caption
    assert "--vessels" in figure.caption


@pytest.mark.parametrize("kind", ["segmentation.nii.gz", "segmentation.seg.nrrd"])
def test_a_result_given_back_is_scored_alike(truth, ct, tmp_path, monkeypatch, kind):
    first = score_files(ct, None, tmp_path / "first")

    def broken(*arguments, **options):
        raise AssertionError("a network was asked although there are labels")

    monkeypatch.setattr(territory, "find_territories", broken)
    monkeypatch.setattr(calling, "call", broken)
    again = score_files(ct, first.output / kind, tmp_path / "again")
    for key, value in numbers(first).items():
        if key[0] in ("agatston_score", "calcium_volume", "calcium_lesion_count"):
            assert rows_of(again)[key].state == "measured" or value == 0.0, key
            if rows_of(again)[key].value is not None:
                assert rows_of(again)[key].value == pytest.approx(value), key
    assert numbers(again)["agatston_score", "total"] == numbers(first)["agatston_score", "total"]


def as_file(array, path):
    write_nifti(path, np.ascontiguousarray(array), sample().image.affine)
    return path


def test_a_heart_without_calcium_is_0_and_measured(truth, tmp_path):
    """The same chest with everything dense turned into soft tissue."""
    soft = np.where(sample().image.array >= 110, 50, sample().image.array).astype(np.int16)
    done = score_files(as_file(soft, tmp_path / "ct.nii.gz"), None, tmp_path / "run", parameters={"figures": True})
    rows = rows_of(done)
    for site in ("total", *SITES.values()):
        assert (rows["agatston_score", site].state, rows["agatston_score", site].value) == ("measured", 0.0)
    assert rows["cac_drs", None].value == "A0/N0"
    assert not [f for f in done.result.figures if f.name == "candidates"]
    assert done.exit_code == 0


@pytest.mark.parametrize("where", ["above", "below", "at the side"])
def test_a_scan_that_cuts_the_heart_off(truth, tmp_path, where):
    """Nothing is scored, and every row says why."""
    array = sample().image.array
    n = array.shape
    cut = {"above": array[:, :, : n[2] // 2], "below": array[:, :, n[2] // 2 :], "at the side": array[: n[0] // 2]}
    affine = sample().image.affine.copy()
    affine[2, 3] += affine[2, 2] * (n[2] // 2 if where == "below" else 0)
    write_nifti(tmp_path / "ct.nii.gz", np.ascontiguousarray(cut[where]), affine)
    done = score_files(tmp_path / "ct.nii.gz", None, tmp_path / "run", parameters={"figures": True})
    assert done.exit_code == 3
    rows = list(done.result.measurements)
    assert {str(m.state) for m in rows} == {"not_assessable"}
    assert {m.value for m in rows} == {None}
    assert {m.site for m in rows} == {"total", *SITES.values()}
    assert all(where in m.reason for m in rows)
    assert where in " ".join(done.result.warnings)
    assert done.result.labels is None
    assert (done.output / "report.html").is_file()


# -- with the networks -------------------------------------------------------------------------------------------------
needs_models = pytest.mark.skipif(not bundles_are_ready(), reason="the weights of the calcium models are not here")


@needs_models
@pytest.mark.slow
def test_networks_find_calcium_and_say_how_sure_they_are(ct, tmp_path):
    done = score_files(ct, None, tmp_path / "run", parameters={"figures": True})
    rows = rows_of(done)
    assert rows["agatston_score", "total"].state == "measured"
    assert rows["agatston_score", "total"].value > 0
    known = [p for p in table_of(done, "lesions")["probability"] if p is not None]
    assert known
    assert all(0 < p <= 1 for p in known)
    models = done.result.record["models"]
    assert [m["name"] for m in models] == list(CalciumScore.bundles)
    assert all(m["version"] and m["sha256"] for m in models)


@needs_models
@pytest.mark.slow
def test_networks_leave_a_heart_without_calcium_at_0(tmp_path):
    soft = np.where(sample().image.array >= 110, 50, sample().image.array).astype(np.int16)
    done = score_files(as_file(soft, tmp_path / "ct.nii.gz"), None, tmp_path / "run")
    assert (rows_of(done)["agatston_score", "total"].state, numbers(done)["agatston_score", "total"]) == (
        "measured",
        0.0,
    )


@needs_models
@pytest.mark.slow
def test_networks_see_that_the_heart_is_cut_off(tmp_path):
    half = sample().image.array[:, :, sample().image.shape[2] // 2 :]
    done = score_files(as_file(half, tmp_path / "ct.nii.gz"), None, tmp_path / "run")
    assert done.exit_code == 3
    assert {str(m.state) for m in done.result.measurements} == {"not_assessable"}
