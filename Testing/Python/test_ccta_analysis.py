"""A coronary CT angiogram end to end: files in; stenosis, plaque, labels and report out; and what is refused."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib import measurement
from CardioPrecisionLib.analysis import LabelMap
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.fronts.runner import run_analysis
from CardioPrecisionLib.image import Image, read_frames
from CardioPrecisionLib.labels import LabelSource
from CardioPrecisionLib.segfile import read_seg_nrrd
from ccta_case import (
    BLOOD,
    QUIET,
    STENOSIS_MM,
    STENOSIS_PCT,
    analyse,
    angiogram,
    line,
    right_side,
    scene,
    seeds_of,
    with_aorta,
    write_case,
    write_seeds,
)
from CoronaryPlaqueLib.cadrads import stenosis_category
from CoronaryPlaqueLib.ccta_labels import CALCIFIED, FIBROUS, LUMEN, PLAQUE, SEGMENTS, WALL
from CoronaryPlaqueLib.seeds import VesselSeeds, read_seeds

UNSEEN = ("scct04", "scct09", "scct10", "scct12", "scct14", "scct16", "scct17")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("ccta"))


@pytest.fixture(scope="module")
def outcome(files, tmp_path_factory):
    ct, seeds = files
    return run_analysis("plaque", {"ccta": ct, "seeds": seeds}, tmp_path_factory.mktemp("run") / "run")


def rows(result):
    return {(m.name, m.site): m for m in result.measurements}


def value(result, name, site=None):
    return result.measurements.value(name, site)


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_the_stenosis_is_found_where_it_is(outcome):
    found = outcome.result
    assert value(found, "diameter_stenosis", "LAD") == pytest.approx(STENOSIS_PCT, abs=12)
    assert value(found, "diameter_stenosis") == value(found, "diameter_stenosis", "LAD")
    assert value(found, "diameter_stenosis", "RCA") < 50
    assert value(found, "diameter_stenosis", "LCX") < 25
    assert rows(found)["cad_rads", None].value == stenosis_category(value(found, "diameter_stenosis", "LAD"))
    with open(outcome.output / "lesions.csv", encoding="utf-8") as file:
        lesions = list(csv.DictReader(file))
    worst = max(lesions, key=lambda r: float(r["diameter_stenosis"]))
    place = np.array([float(worst[c]) for c in "ras"])
    lad = scene().vessel("LAD")
    true = lad.lumen_line[np.argmin(np.abs(lad.s - STENOSIS_MM))]
    assert np.linalg.norm(place - true) < 3.0
    truth = scene().truth()["lesions"][0]
    assert float(worst["plaque_volume"]) == pytest.approx(truth["plaque_volume_mm3"], rel=0.3)
    assert float(worst["remodeling_index"]) == pytest.approx(truth["remodelling_index"], abs=0.12)


def test_where_arteries_part_there_is_no_plaque(outcome):
    """The left main and the circumflex are healthy; the blood of the branch is not taken for their wall."""
    for vessel in ("LM", "LCX"):
        assert value(outcome.result, "plaque_volume", vessel) < 12
        assert value(outcome.result, "diameter_stenosis", vessel) < 25


def test_calcium_is_calcium(outcome):
    """The RCA's plaque is calcified through and through; the LAD's holds none."""
    share = {v: value(outcome.result, "plaque_volume_calcified", v) / value(outcome.result, "plaque_volume", v)
             for v in ("RCA", "LAD")}  # fmt: skip
    assert share["RCA"] > 0.4
    assert share["LAD"] < 0.2


def test_sums_are_sums(outcome):
    """A stretch that two lines share counts once: segments add up to vessels, vessels to the tree."""
    found = outcome.result
    of = {"LAD": (6, 7, 8), "LCX": (11, 13), "RCA": (1, 2, 3)}
    total = value(found, "plaque_volume", "LM")
    for vessel, numbers in of.items():
        parts = [value(found, "plaque_volume", f"scct{n:02d}") for n in numbers]
        assert value(found, "plaque_volume", vessel) == pytest.approx(sum(parts))
        total += sum(parts)
    assert value(found, "plaque_volume") == pytest.approx(total)
    classes = ("low_attenuation", "fibrofatty", "fibrous", "calcified")
    assert sum(value(found, f"plaque_volume_{c}") for c in classes) == pytest.approx(total)


def test_what_was_not_followed_is_not_0(outcome):
    found = rows(outcome.result)
    for site in UNSEEN:
        for name in ("diameter_stenosis", "plaque_volume"):
            row = found[name, site]
            assert (row.state, row.value) == ("not_assessable", None)
            assert "Not followed" in row.reason
    assert ("diameter_stenosis", "scct15") not in found  # a right-dominant heart has none
    assert found["diameter_stenosis", "LCX"].reason is None


def test_fat_is_that_of_the_phantom(outcome):
    for vessel in ("LAD", "LCX", "RCA"):
        assert value(outcome.result, "pericoronary_fat_attenuation", vessel) == pytest.approx(-90, abs=6)


# -- files -------------------------------------------------------------------------------------------------------------
def test_files_of_a_run(outcome, files):
    names = {p.name for p in outcome.output.iterdir()}
    assert names >= {
        "measurements.json", "measurements.csv", "segmentation.nii.gz", "segmentation.seg.nrrd", "report.html",
        "run.json", "segments.csv", "lesions.csv", "centrelines.mrk.json", "courses.json",
    }  # fmt: skip
    document = json.loads((outcome.output / "measurements.json").read_text(encoding="utf-8"))
    measurement.validate(document)
    assert document["analysis"] == "plaque"
    record = json.loads((outcome.output / "run.json").read_text(encoding="utf-8"))
    assert {i["role"] for i in record["inputs"]} == {"ccta", "seeds"}
    array, affine, _ = read_frames(outcome.output / "segmentation.nii.gz")
    assert np.allclose(affine, angiogram().affine, atol=1e-3)
    labels, *_ = read_seg_nrrd(outcome.output / "segmentation.seg.nrrd")
    assert set(np.unique(labels)) >= {0, LUMEN, WALL, *PLAQUE[1:]}
    # What is drawn is what was measured.
    voxel = float(np.prod(angiogram().spacing))
    assert (array[0] == LUMEN).sum() * voxel == pytest.approx(_lumen_mm3(outcome), rel=0.12)
    bright = angiogram().array[array[0] == CALCIFIED]
    assert bright.min() > BLOOD


def _lumen_mm3(outcome):
    with open(outcome.output / "segments.csv", encoding="utf-8") as file:
        return sum(float(r["lumen_volume"]) for r in csv.DictReader(file) if r["lumen_volume"])


def test_lines_are_near_the_truth_and_can_be_given_back(outcome):
    lines = {s.vessel: s.points for s in read_seeds(outcome.output / "centrelines.mrk.json")}
    assert list(lines) == ["LAD", "LCX", "RCA"]
    for name, points in lines.items():
        truth = line(name)
        away = np.linalg.norm(points[2:-2, None] - truth[None], axis=-1).min(1)
        assert np.percentile(away, 90) < 0.5


def test_report_shows_the_reading_and_links_lesions_to_their_pictures(outcome):
    page = (outcome.output / "report.html").read_text(encoding="utf-8")
    assert f"CAD-RADS {rows(outcome.result)['cad_rads', None].value}/P" in page
    assert "firm control of risk factors" in page
    assert "Cury RC et al. CAD-RADS 2.0" in page
    for number in set(re.findall(r'href="#(lesion-\d+)"', page)):
        assert f'id="{number}"' in page
    assert page.count("curved reformat") == 3
    lesions = page[page.index("ccta-cards") :]
    count = len(re.findall(r'id="lesion-\d+"', lesions))
    assert count >= 2
    assert lesions.count("data:image/jpeg") >= 2 * count  # before, narrowest and behind, as far as followed
    assert not re.search(r'(src|href)="http', page)


# -- a reader's labels -------------------------------------------------------------------------------------------------
def test_own_labels_give_the_same(outcome, files, tmp_path):
    """The run's own segmentation and lines given back."""
    inputs = {"ccta": files[0], "centrelines": outcome.output / "centrelines.mrk.json"}
    labels = LabelSource((outcome.output / "segmentation.seg.nrrd",))
    again = run_analysis("plaque", inputs, tmp_path / "again", parameters={"figures": False}, labels=labels).result
    first = outcome.result
    # Contours become voxels of half a millimetre in between.
    assert value(again, "diameter_stenosis", "LAD") == pytest.approx(value(first, "diameter_stenosis", "LAD"), abs=5)
    assert value(again, "plaque_volume") == pytest.approx(value(first, "plaque_volume"), rel=0.12)
    assert rows(again)["diameter_stenosis", "LAD"].method.endswith("a reader's labels")


def test_corrected_labels_change_the_numbers():
    """The reader calls all plaque lumen, then half of the artery's lumen as well plaque."""
    image = right_side()
    first = analyse(image, seeds_of("RCA"))
    lines = _lines_of(first)

    def corrected(array):
        return analyse(image, lines, role="centrelines", labels=LabelMap(array[None], image.affine, SEGMENTS))

    array = first.labels.array[0]
    open_artery = corrected(np.where(np.isin(array, PLAQUE), LUMEN, array).astype(np.uint8))
    assert value(open_artery, "plaque_volume") < 0.2 * value(first, "plaque_volume")
    assert value(open_artery, "diameter_stenosis") < value(first, "diameter_stenosis") - 10
    rca = scene().vessel("RCA")
    near = image.to_index(rca.points[np.abs(rca.s - 20) < 3])
    low, high = np.floor(near.min(0)).astype(int) - 6, np.ceil(near.max(0)).astype(int) + 7
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    closed = array.copy()
    closed[box][closed[box] == LUMEN] = FIBROUS
    occluded = corrected(closed)
    assert value(occluded, "diameter_stenosis") == 100
    assert value(occluded, "plaque_volume") > value(first, "plaque_volume") + 30


def _lines_of(result):
    curves = result.documents["centrelines.mrk"]["markups"]
    points = [np.array([p["position"] for p in c["controlPoints"]]) for c in curves]
    names = [c["controlPoints"][0]["label"].rsplit("-", 1)[0] for c in curves]
    return tuple(VesselSeeds(n, p[0], p[-1], p[1:-1]) for n, p in zip(names, points, strict=True))


# -- what cannot be read -----------------------------------------------------------------------------------------------
def test_without_points_and_arteries_it_says_what_to_give():
    """Fat and muscle alone: neither an aorta nor an artery is there to be found."""
    image = right_side()
    empty = image.with_array(np.minimum(image.array, 40).astype(np.int16))
    with pytest.raises(InputError, match="--seeds POINTS"):
        analyse(empty, None)


def test_points_outside_of_the_image():
    [good] = seeds_of("RCA")
    with pytest.raises(InputError, match=r"RCA: the point .* lies outside of the image"):
        analyse(right_side(), (replace(good, distal=good.distal - np.array([0, 0, 300.0])),))


def test_a_ct_without_contrast():
    image = right_side()
    plain = image.with_array(np.minimum(image.array, 55).astype(np.int16))
    with pytest.raises(InputError, match="holds no contrast"):
        analyse(plain, seeds_of("RCA"))


def test_points_beside_the_vessel():
    """The others are read all the same."""
    rca, lcx = seeds_of("RCA", "LCX")
    found = analyse(angiogram(), (rca, replace(lcx, distal=np.array([-10.0, -25.0, -20.0]))))
    row = rows(found)["diameter_stenosis", "LCX"]
    assert (row.state, row.value) == ("not_assessable", None)
    assert "set it in the contrast-filled artery" in row.reason
    assert row.reason in found.warnings
    assert value(found, "diameter_stenosis", "RCA") is not None
    assert rows(found)["cad_rads", None].value is None  # trunks are missing


def test_points_on_another_vessel():
    lad, lcx = seeds_of("LAD", "LCX")
    found = analyse(angiogram(), (lad, replace(lcx, distal=line("LAD")[-60])))
    assert "LCX: its distal point lies on the way of LAD" in rows(found)["diameter_stenosis", "LCX"].reason
    assert value(found, "diameter_stenosis", "LAD") is not None


def test_no_aorta_in_view():
    """Cut off before the ostium: the vessel cannot be placed, and nothing is measured in it."""
    image = right_side()
    edge = image.to_index(np.array([[15.0, 0, 0]]))[0, 0]
    low, high = (int(edge), image.shape[0]) if image.affine[0, 0] > 0 else (0, int(edge))
    part = image.crop((low, 0, 0), (high, image.shape[1], image.shape[2]))
    [rca] = seeds_of("RCA")
    inside = line("RCA")[line("RCA")[:, 0] > 17][0]
    found = analyse(part, (replace(rca, ostium=inside),))
    assert "there is no aorta at its ostium point" in rows(found)["diameter_stenosis", "RCA"].reason
    assert not found.measurements.assessable


def test_a_step_between_slices():
    """The heart moved by 3 mm between two beats: segments across are not read, the others are."""
    image = right_side()
    k = round(float(image.to_index(np.array([[30.0, 0.0, -18.0]]))[0, 2]))
    moved = image.array.copy()
    up = slice(k + 1, None) if image.affine[2, 2] > 0 else slice(0, k + 1)
    moved[:, :, up] = np.roll(moved[:, :, up], 6, axis=1)
    shift = np.array([0.0, 6 * image.affine[1, 1], 0.0])
    rca = line("RCA")
    way = np.where((rca[:, 2] > -18.0)[:, None], rca + shift, rca)
    points = replace(seeds_of("RCA")[0], ostium=way[6], distal=way[-8], via=way[20:-20:12])
    found = analyse(image.with_array(moved), (points,), role="centrelines")
    assert any("leaps between two slices" in text for text in found.warnings)
    reasons = {site: rows(found)["diameter_stenosis", site].reason for site in ("scct01", "scct02", "scct03")}
    assert any(reason and "leaps between two slices" in reason for reason in reasons.values())
    assert any(reason is None for reason in reasons.values())


def test_a_stent_is_not_read():
    image = right_side()
    rca = scene().vessel("RCA")
    hu = image.array.copy()
    part = (rca.s > 12) & (rca.s < 26)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), -1).reshape(-1, 3)
    world = image.to_world(index)
    from scipy.spatial import cKDTree

    near = cKDTree(rca.points[part]).query(world, distance_upper_bound=2.5)[0]
    ring = (near > 1.4) & (near < 2.1)
    hu[tuple(index[ring].T)] = 1500
    found = analyse(image.with_array(hu), seeds_of("RCA"))
    assert any("a stent" in text for text in found.warnings)
    unread = [s for s in ("scct01", "scct02") if rows(found)["diameter_stenosis", s].state == "not_assessable"]
    assert unread
    assert all("stent" in rows(found)["diameter_stenosis", s].reason for s in unread)


def test_too_coarse():
    """At 1.5 mm the lines are there, and nothing is measured."""
    image = angiogram()
    affine = image.affine.copy()
    affine[:3, :3] *= 3
    shape = tuple(n // 3 for n in image.shape)
    from scipy.ndimage import uniform_filter

    smooth = image.with_array(uniform_filter(image.array.astype(np.float32), 3))
    coarse = smooth.resample(affine, shape)
    coarse = with_aorta(Image(np.rint(coarse.array).astype(np.int16), affine))
    found = analyse(coarse, seeds_of("LAD", "LCX", "RCA"))
    assert any("1.5 mm" in text for text in found.warnings)
    assert not found.measurements.assessable
    assert all(m.value is None for m in found.measurements if m.name in ("diameter_stenosis", "plaque_volume"))
    assert "1.5 mm" in rows(found)["diameter_stenosis", "scct01"].reason
    assert "1.5 mm" in rows(found)["cad_rads", None].reason
    assert len(found.documents["centrelines.mrk"]["markups"]) >= 2


def test_a_flipped_copy_gives_the_same():
    image = right_side()
    affine = image.affine.copy()
    affine[:3, 3] = image.to_world(np.array([[0, image.shape[1] - 1, image.shape[2] - 1]]))[0]
    affine[:3, 1:3] *= -1
    flipped = Image(image.array[:, ::-1, ::-1], affine)
    one, other = (analyse(i, seeds_of("RCA")) for i in (image, flipped))
    assert value(one, "diameter_stenosis", "RCA") == pytest.approx(value(other, "diameter_stenosis", "RCA"), abs=3)
    assert value(one, "plaque_volume", "RCA") == pytest.approx(value(other, "plaque_volume", "RCA"), rel=0.1)


# -- the reader's word -------------------------------------------------------------------------------------------------
def test_modifiers_and_setting(outcome):
    entered = replace(
        QUIET, stent=True, graft=True, exceptions=True, ischaemia="present", high_risk_plaque="absent",
        cac_agatston=250.0,
    )  # fmt: skip
    found = analyse(right_side(), seeds_of("RCA"), entered)
    assert rows(found)["cad_rads", None].value is None
    assert rows(found)["high_risk_plaque", None].state == "entered"
    assert rows(found)["high_risk_plaque", None].value == "absent"
    with pytest.raises(InputError, match="ischaemia 'maybe' is not known"):
        replace(QUIET, ischaemia="maybe")
    with pytest.raises(InputError, match="setting"):
        replace(QUIET, setting="home")


def test_cancel_leaves_nothing(files, tmp_path):
    def stop(fraction, stage):
        if "RCA" in stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_analysis("plaque", {"ccta": files[0], "seeds": files[1]}, tmp_path / "run", progress=stop)
    assert not (tmp_path / "run").exists()


def test_command_line(files, tmp_path, capsys):
    from CardioPrecisionLib.fronts.cli import main

    seeds = write_seeds(tmp_path / "seeds.csv", seeds_of("RCA"))
    out = tmp_path / "run"
    code = main(["plaque", str(files[0]), "--seeds", str(seeds), "-o", str(out), "--setting", "acute", "--no-figures"])
    assert code == 0
    assert (out / "measurements.csv").is_file()
    code = main(["plaque", str(files[0]), "--seeds", str(tmp_path / "none.csv"), "-o", str(tmp_path / "none")])
    assert code == 2
    assert "there is no such file" in capsys.readouterr().err
