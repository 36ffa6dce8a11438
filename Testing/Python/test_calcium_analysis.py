"""Coronary calcium end to end with a reader's labels: files in, numbers, segmentation and report out."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from calcium_cases import (
    AGE,
    SEX,
    copies,
    numbers,
    sample,
    score_files,
    solids,
    write_dicom,
    write_labels,
)
from CardioPrecisionLib import calcium_norms as norms
from CardioPrecisionLib import measurement
from CardioPrecisionLib.dicom.ct import load_ct
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import read_frames, write_nifti
from CardioPrecisionLib.labels import LabelSource
from CardioPrecisionLib.segfile import read_seg_nrrd, write_seg_nrrd
from CoronaryPlaqueLib.calcium import CalciumScore
from CoronaryPlaqueLib.scoring import score
from CoronaryPlaqueLib.vessels import CORONARY, LAD, LCX, OTHER, RCA, SEGMENTS, SITES
from PIL import Image as Picture

CORONARY_SITES = tuple(SITES[n] for n in CORONARY)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The scan as DICOM and its true labels as NIfTI."""
    folder = tmp_path_factory.mktemp("calcium")
    return write_dicom(folder / "dicom"), write_labels(folder / "labels.nii.gz", sample().labels)


@pytest.fixture(scope="module")
def outcome(files, tmp_path_factory):
    return score_files(*files, tmp_path_factory.mktemp("run") / "run", parameters={"figures": True})


def rows_of(outcome):
    return {(m.name, m.site): m for m in outcome.result.measurements}


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_numbers_are_the_scores_of_the_same_voxels(outcome, files):
    """What DICOM, label file and rows make of it is what `score` says of the arrays."""
    truth = score(sample().image, sample().labels)
    found = numbers(outcome)
    for label, site in SITES.items():
        one = truth.by_label[label]
        assert one.agatston > 0, site
        assert found["agatston_score", site] == pytest.approx(one.agatston, rel=1e-4)
        assert found["calcium_volume", site] == pytest.approx(one.volume_mm3, rel=1e-4)
        assert found["calcium_volume_isotropic", site] == pytest.approx(one.volume_interpolated_mm3, rel=1e-4)
        assert found["calcium_lesion_count", site] == one.lesion_count
    total = truth.total()
    assert found["agatston_score", "total"] == pytest.approx(total.agatston, rel=1e-4)
    assert found["agatston_score", "total"] == pytest.approx(sum(found["agatston_score", s] for s in CORONARY_SITES))
    assert found["calcium_density", "total"] == pytest.approx(total.density, rel=1e-4)
    assert found["calcium_attenuation_mean", "total"] == pytest.approx(total.mean_hu)
    assert found["calcium_attenuation_max", "total"] == total.max_hu
    assert ("agatston_score_3mm", "total") not in found  # slices of 3 mm need no averages
    assert outcome.exit_code == 0
    assert outcome.result.warnings == []


def test_meaning_of_the_numbers(outcome):
    found = numbers(outcome)
    total, valve = found["agatston_score", "total"], found["agatston_score", "aortic_valve"]
    assert found["cac_drs", None] == norms.cac_drs(total, 4)
    assert found["agatston_category", None].startswith(norms.burden(total).name)
    assert found["arterial_age", None] == pytest.approx(norms.arterial_age(total))
    assert found["cac_percentile_hoff", None] == pytest.approx(norms.hoff_percentile(total, AGE, SEX).value)
    assert found["aortic_valve_stenosis_likelihood", "aortic_valve"] == norms.aortic_stenosis(valve, SEX)
    mesa = rows_of(outcome)["cac_percentile_mesa", None]
    assert mesa.state == "not_assessable"  # no header says the race
    assert "--race" in mesa.reason


def test_entered_facts_choose_the_percentile(files, tmp_path):
    who = {"sex": "female", "age_years": 58, "race": "Black"}
    done = score_files(*files, tmp_path / "run", clinical=who)
    found = numbers(done)
    total = found["agatston_score", "total"]
    expected = norms.mesa_percentile(total, 58, "female", "black").value
    assert found["cac_percentile_mesa", None] == pytest.approx(expected)
    assert found["cac_percentile_hoff", None] == pytest.approx(norms.hoff_percentile(total, 58, "female").value)
    assert expected != pytest.approx(norms.mesa_percentile(total, 58, "female", "white").value)
    assert any("Sex was entered as female, the header says male" in text for text in done.result.warnings)
    # The option wins over the file.
    option = numbers(score_files(*files, tmp_path / "again", clinical=who, parameters={"race": "white"}))
    expected = norms.mesa_percentile(total, 58, "female", "white").value
    assert option["cac_percentile_mesa", None] == pytest.approx(expected)


@pytest.mark.parametrize(("age", "beyond"), [(41, "cac_percentile_mesa"), (92, "cac_percentile_hoff")])
def test_ages_that_no_reference_covers(files, tmp_path, age, beyond):
    done = score_files(*files, tmp_path / "run", clinical={"sex": "male", "age_years": age, "race": "white"})
    row = rows_of(done)[beyond, None]
    assert (row.state, row.value) == ("out_of_range", None)
    assert str(age) in row.reason


@pytest.mark.parametrize("missing", ["sex", "age_years"])
def test_without_age_or_sex_nothing_is_guessed(files, tmp_path, missing):
    header = {"sex": SEX, "age_years": AGE} | {missing: None}
    done = score_files(write_dicom(tmp_path / "ct", **header), files[1], tmp_path / "run", parameters={"race": "white"})
    rows = rows_of(done)
    for name in ("cac_percentile_mesa", "cac_percentile_hoff"):
        assert (rows[name, None].state, rows[name, None].value) == ("not_assessable", None)
        assert "Age and sex are needed" in rows[name, None].reason
    stenosis = rows["aortic_valve_stenosis_likelihood", "aortic_valve"]
    assert stenosis.state == ("not_assessable" if missing == "sex" else "measured")
    assert rows["agatston_score", "total"].state == "measured"  # the score itself needs neither
    assert rows["arterial_age", None].state == "measured"


def test_an_image_file_says_nothing_of_the_patient(files, tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", sample().image.array, sample().image.affine)
    done = score_files(tmp_path / "ct.nii.gz", files[1], tmp_path / "run")
    rows = rows_of(done)
    assert rows["agatston_score", "total"].value == pytest.approx(
        score(sample().image, sample().labels).total().agatston
    )
    assert rows["cac_percentile_hoff", None].state == "not_assessable"
    assert rows["aortic_valve_stenosis_likelihood", "aortic_valve"].state == "not_assessable"
    assert any("says nothing of tube voltage" in text for text in done.result.warnings)


def test_mass_only_with_a_calibration(outcome, files, tmp_path):
    row = rows_of(outcome)["calcium_mass", "total"]
    assert (row.state, row.value) == ("not_assessable", None)
    assert "--calibration-mg-per-ml-hu" in row.reason
    assert not [key for key in numbers(outcome) if key[0] == "calcium_mass" and key[1] != "total"]
    found = numbers(score_files(*files, tmp_path / "run", parameters={"calibration_mg_per_ml_hu": 0.743}))
    truth = score(sample().image, sample().labels)
    for label, site in SITES.items():
        assert found["calcium_mass", site] == pytest.approx(truth.by_label[label].mass_mg(0.743), rel=1e-4)
    assert found["calcium_mass", "total"] == pytest.approx(sum(found["calcium_mass", s] for s in CORONARY_SITES))
    assert found["agatston_score", "total"] == numbers(outcome)["agatston_score", "total"]


# -- tube voltage ------------------------------------------------------------------------------------------------------
def test_thresholds_of_100_kvp(files, outcome, tmp_path):
    ct = write_dicom(tmp_path / "ct", kvp=100.0)
    plain = score_files(ct, files[1], tmp_path / "plain")
    assert numbers(plain)["agatston_score", "total"] == numbers(outcome)["agatston_score", "total"]
    assert any("100 kVp" in text and "--kvp-adapted" in text for text in plain.result.warnings)
    adapted = score_files(ct, files[1], tmp_path / "adapted", parameters={"kvp_adapted": True})
    truth = score(sample().image, sample().labels, kvp=100.0).total()
    row = rows_of(adapted)["agatston_score", "total"]
    assert row.value == pytest.approx(truth.agatston, rel=1e-4)
    assert row.value < numbers(plain)["agatston_score", "total"]
    assert "threshold 145 HU" in row.method
    assert "threshold 130 HU" in rows_of(plain)["agatston_score", "total"].method


def test_adapting_needs_a_voltage_that_is_known_and_published(files, tmp_path):
    adapted = {"kvp_adapted": True}
    without = write_dicom(tmp_path / "without", kvp=None)
    with pytest.raises(InputError, match="needs the tube voltage"):
        score_files(without, files[1], tmp_path / "run", parameters=adapted)
    done = score_files(without, files[1], tmp_path / "plain")
    assert any("does not give the tube voltage" in text for text in done.result.warnings)
    with pytest.raises(InputError, match="not for 140 kVp"):
        score_files(write_dicom(tmp_path / "140", kvp=140.0), files[1], tmp_path / "run", parameters=adapted)
    write_nifti(tmp_path / "ct.nii.gz", sample().image.array, sample().image.affine)
    with pytest.raises(InputError, match="needs the tube voltage"):
        score_files(tmp_path / "ct.nii.gz", files[1], tmp_path / "run", parameters=adapted)
    assert not (tmp_path / "run").exists()


# -- what was looked at ------------------------------------------------------------------------------------------------
def only(*labels):
    return np.where(np.isin(sample().labels, labels), sample().labels, 0).astype(np.uint8)


def test_labels_of_the_aortic_valve_alone(files, tmp_path):
    """Nobody looked at the coronary arteries: they are not 0."""
    done = score_files(files[0], write_labels(tmp_path / "valve.nii.gz", only(6)), tmp_path / "run")
    rows = rows_of(done)
    assert rows["agatston_score", "aortic_valve"].value > 0
    assert rows["aortic_valve_stenosis_likelihood", "aortic_valve"].state == "measured"
    for key in ("agatston_score", "calcium_volume", "calcium_lesion_count"):
        for site in ("total", *CORONARY_SITES, "aorta", "mitral_valve"):
            assert (rows[key, site].state, rows[key, site].value) == ("not_assessable", None)
            assert rows[key, site].reason.startswith("The labels hold no ")
    for name in ("agatston_category", "cac_drs", "arterial_age", "cac_percentile_mesa", "cac_percentile_hoff"):
        assert rows[name, None].state == "not_assessable"
    assert done.exit_code == 0
    vessels = next(t for t in done.result.tables if t.name == "vessels")
    assert vessels.columns["site"] == ["aortic valve"]


def test_labels_of_one_artery_speak_for_all_four(files, tmp_path):
    rows = rows_of(score_files(files[0], write_labels(tmp_path / "lad.nii.gz", only(LAD)), tmp_path / "run"))
    assert rows["agatston_score", "total"].value == rows["agatston_score", "LAD"].value > 0
    for site in ("LM", "LCX", "RCA"):
        assert (rows["agatston_score", site].state, rows["agatston_score", site].value) == ("measured", 0.0)
    assert rows["agatston_score", "aorta"].state == "not_assessable"
    assert rows["cac_drs", None].value.endswith("/N1")


@pytest.mark.parametrize("what", ["other", "nothing"])
def test_a_heart_without_calcium_is_0_and_measured(files, tmp_path, what):
    """Everything put aside as "other", or a label file without labels: looked at, and nothing found."""
    labels = np.where(sample().labels > 0, OTHER, 0).astype(np.uint8) if what == "other" else only()
    done = score_files(files[0], write_labels(tmp_path / "labels.nii.gz", labels), tmp_path / "run")
    rows = rows_of(done)
    for site in ("total", *SITES.values()):
        assert (rows["agatston_score", site].state, rows["agatston_score", site].value) == ("measured", 0.0)
        assert rows["calcium_volume", site].value == 0.0
        assert rows["calcium_lesion_count", site].value == 0.0
    for name in ("calcium_density", "calcium_attenuation_mean", "calcium_attenuation_max"):
        assert (rows[name, "total"].state, rows[name, "total"].value) == ("not_found", None)
    assert rows["cac_drs", None].value == "A0/N0"
    assert rows["agatston_category", None].value.startswith("0 ")
    assert rows["arterial_age", None].value == pytest.approx(39.1)
    percentile = rows["cac_percentile_hoff", None]
    assert percentile.value is None  # many share a score of 0
    assert percentile.reason
    assert any("labels are empty" in text for text in done.result.warnings) == (what == "nothing")
    assert done.exit_code == 0


# -- re-labelling ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["segmentation.nii.gz", "segmentation.seg.nrrd"])
def test_the_segmentation_of_a_run_can_be_relabelled(outcome, files, tmp_path, kind):
    """Output in again: the same numbers; with a vessel renamed, its score moves; no model runs."""
    given = outcome.output / kind
    same = score_files(files[0], given, tmp_path / "same")
    assert numbers(same) == numbers(outcome)
    assert same.result.warnings == []

    moved = tmp_path / kind
    if kind.endswith(".nii.gz"):
        array, affine, _ = read_frames(given)
        array = array[0].astype(np.uint8)
    else:
        layers, affine, segments = read_seg_nrrd(given)
        assert {s.type.value for s in segments} == {s.type.value for s in SEGMENTS}
        array = layers[0].astype(np.uint8)
    np.testing.assert_array_equal(np.unique(array), np.unique(sample().labels))
    array = np.where(array == LCX, LAD, np.where(array == RCA, OTHER, array)).astype(np.uint8)
    if kind.endswith(".nii.gz"):
        write_nifti(moved, array, affine)
    else:
        write_seg_nrrd(moved, array, affine, SEGMENTS)
    done = score_files(files[0], moved, tmp_path / "moved")
    before, after = numbers(outcome), numbers(done)
    assert after["agatston_score", "LCX"] == after["agatston_score", "RCA"] == 0.0
    assert after["agatston_score", "LAD"] == pytest.approx(
        before["agatston_score", "LAD"] + before["agatston_score", "LCX"]
    )
    assert after["agatston_score", "LM"] == before["agatston_score", "LM"]
    assert after["agatston_score", "total"] == pytest.approx(
        before["agatston_score", "total"] - before["agatston_score", "RCA"]
    )
    assert after["cac_drs", None].endswith("/N2")
    assert not done.result.record.get("models")


# -- command line ------------------------------------------------------------------------------------------------------
def test_command(files, outcome, tmp_path, capsys):
    from CardioPrecisionLib.fronts import cli

    given = ["calcium", str(files[0]), "--vessels", str(files[1])]
    assert cli.main([*given, "-o", str(tmp_path / "json"), "--no-figures", "--race", "white", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {(row["name"], row["site"]): row["value"] for row in document["measurements"]}
    assert found["agatston_score", "total"] == numbers(outcome)["agatston_score", "total"]
    assert found["cac_percentile_mesa", None] is not None
    assert cli.main([*given, "-o", str(tmp_path / "human"), "--no-figures"]) == 0
    said = capsys.readouterr().out
    assert "Agatston score" in said
    assert f"{found['agatston_score', 'total']:.3g}" in said or f"{found['agatston_score', 'total']:.1f}" in said
    assert cli.main(["calcium", "--help"]) == 0
    said = capsys.readouterr().out
    for option in ("--vessels", "--kvp-adapted", "--calibration-mg-per-ml-hu", "--race", "--clinical"):
        assert option in said, option
    for option in ("--ed-frame", "--label-scheme"):  # nothing here has frames or schemes
        assert option not in said, option


# -- files -------------------------------------------------------------------------------------------------------------
def test_what_a_run_leaves(outcome):
    names = {p.name for p in outcome.output.iterdir()}
    assert names == {
        *("measurements.json", "measurements.csv", "run.json", "report.html"),
        *("segmentation.nii.gz", "segmentation.seg.nrrd", "vessels.csv", "lesions.csv"),
    }
    document = json.loads((outcome.output / "measurements.json").read_text(encoding="utf-8"))
    measurement.validate(document)
    assert document["analysis"] == "calcium"
    array, affine, _ = read_frames(outcome.output / "segmentation.nii.gz")
    back = load_ct_of(outcome)
    np.testing.assert_allclose(affine, back.affine, atol=1e-3)
    assert array.shape == (1, *back.shape)
    lesions = next(t for t in outcome.result.tables if t.name == "lesions")
    assert len(lesions.columns["lesion"]) == len(score(sample().image, sample().labels).lesions)
    assert "probability" not in lesions.columns  # a reader's calls have none
    record = json.loads((outcome.output / "run.json").read_text(encoding="utf-8"))
    assert record["inputs"][0]["acquisition"]["kvp"] == 120.0
    text = "".join(p.read_text(encoding="utf-8") for p in outcome.output.glob("*.json"))
    assert "PHANTOM" not in text


def load_ct_of(outcome):
    record = json.loads((outcome.output / "run.json").read_text(encoding="utf-8"))
    return load_ct(record["inputs"][0]["path"]).image


def test_report_shows_every_lesion_and_the_percentile(outcome):
    figures = {f.name: f for f in outcome.result.figures}
    assert list(figures) == ["candidates", "percentile"]
    pictures = figures["candidates"].data.decode()
    lesions = next(t for t in outcome.result.tables if t.name == "lesions")
    assert pictures.count("<image ") == len(lesions.columns["lesion"])
    assert "LAD" in pictures
    html = (outcome.output / "report.html").read_text(encoding="utf-8")
    assert pictures.count("<image ") == html.count("<image ")
    for word in ("Calcium by vessel", "Calcified lesions", "Agatston score by age", "Hoff", "CAC-DRS"):
        assert word in html, word
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html


def test_pictures_have_the_lesion_in_the_middle_under_its_outline(outcome):
    pictures = next(f for f in outcome.result.figures if f.name == "candidates").data.decode()
    tiles = re.findall(r'<svg viewBox="0 0 (\d+) .*?base64,([^"]+)".*?</svg>', pictures, re.DOTALL)
    outlines = [re.findall(r'<path d="([^"]+)"', tile) for tile in pictures.split("<svg ")[1:]]
    assert len(tiles) == len(outlines) > 5
    for (side, encoded), paths in zip(tiles, outlines, strict=True):
        picture = np.asarray(Picture.open(io.BytesIO(base64.b64decode(encoded))).convert("L")).astype(float)
        points = np.concatenate([corners(path) for path in paths]) / int(side)
        nearest = points[np.linalg.norm(points - 0.5, axis=1).argmin()]
        assert np.linalg.norm(nearest - 0.5) * 72 < 6  # mm; a rod may bend around its middle
        # 130 HU in a window from -150 to 350 HU is grey level 143; outlines run around what is brighter.
        row, column = (np.clip(points[:, ::-1] * picture.shape, 0, np.array(picture.shape) - 1)).astype(int).T
        around = [picture[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].max() for r, c in zip(row, column, strict=True)]
        assert np.median(around) > 120


def corners(path):
    """Corners of an outline of the montage, in tenths of mm, columns first."""
    out = []
    for piece in filter(None, path.split("M")):
        first, steps = piece.rstrip("z").split("l")
        moves = np.array(steps.split(), float).reshape(-1, 2)
        out.append(np.cumsum(np.vstack([np.array(first.split(), float), moves]), axis=0))
    return np.concatenate(out)


def test_pictures_are_the_same_however_the_scan_is_stored(tmp_path):
    base = None
    for name, copy, labels in list(copies(*solids(1.0, 2.5)))[::11]:
        write_nifti(tmp_path / f"{name}.nii.gz", copy.array, copy.affine)
        given = write_labels(tmp_path / f"{name}-labels.nii.gz", labels, copy.affine)
        done = score_files(tmp_path / f"{name}.nii.gz", given, tmp_path / name, parameters={"figures": True})
        (figure,) = done.result.figures
        base = base or figure.data
        assert figure.data == base, name


def test_figures_without_calcium_or_patient(files, tmp_path):
    empty = write_labels(tmp_path / "empty.nii.gz", only())
    done = score_files(write_dicom(tmp_path / "ct", sex=None), empty, tmp_path / "run", parameters={"figures": True})
    assert done.result.figures == []
    assert (done.output / "report.html").is_file()


# -- labels on another grid -------------------------------------------------------------------------------------------
def test_labels_on_another_grid_are_moved_by_place(outcome, files, tmp_path):
    """A reader's labels on a cropped and flipped grid."""
    _, copy, turned = list(copies(sample().image, sample().labels))[13]
    box = np.argwhere(turned).min(0), np.argwhere(turned).max(0) + 1
    cut = copy.with_array(turned).crop(tuple(box[0] - 2), tuple(box[1] + 2))
    done = score_files(files[0], write_labels(tmp_path / "cut.nii.gz", cut.array, cut.affine), tmp_path / "run")
    assert numbers(done) == numbers(outcome)


# -- the analysis itself -----------------------------------------------------------------------------------------------
def test_shape_of_the_analysis():
    from CardioPrecisionLib.analysis import Analysis

    assert isinstance(CalciumScore(), Analysis)
    assert [s.value for s in SEGMENTS] == list(range(1, 9))
    assert CalciumScore.labels_option == "--vessels"


def test_cancel_leaves_nothing(files, tmp_path):
    from CardioPrecisionLib.errors import Cancelled
    from CardioPrecisionLib.fronts.runner import run_analysis

    def stop(fraction, stage):
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_analysis(
            "calcium",
            {"cardiac_ct": files[0]},
            tmp_path / "run",
            parameters={"figures": False},
            labels=LabelSource((files[1],)),
            progress=stop,
        )
    assert list(tmp_path.iterdir()) == []
