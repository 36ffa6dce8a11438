"""References at partings: a branch is narrower than its trunk and not ill; a lesion at its mouth is still seen."""

from __future__ import annotations

import numpy as np
import pytest
from CardioPrecisionLib.phantom.ccta import Scene, Vessel, around, render_ccta
from CardioPrecisionLib.polyline import even_steps
from CoronaryPlaqueLib.ccta_vessels import SeenSegment, _placed
from CoronaryPlaqueLib.centreline import CentrelineParameters, trace
from CoronaryPlaqueLib.course import VesselCourse
from CoronaryPlaqueLib.lesions import Lesion
from CoronaryPlaqueLib.partings import Parting, partings, reference_with
from CoronaryPlaqueLib.reading import Sight
from CoronaryPlaqueLib.seeds import VesselSeeds

S = np.arange(0.0, 80.0, 0.25)
PARTING = Parting(20.0, 24.0, 3.0, 2.8)


def stepped(trunk=4.2, branch=3.0, taper=0.008, bump=0.0):
    """A trunk to 20 mm, a wide mouth to 24 mm, a tapering branch."""
    diameter = np.where(S < 20.0, trunk, branch - taper * (S - 24.0))
    mouth = (S >= 19.0) & (S <= 24.0)
    diameter[mouth] = np.maximum(diameter[mouth], trunk * (1 - (S[mouth] - 19.0) / 5 * (1 - branch / trunk)) + bump)
    return diameter


def stenosis(diameter, found):
    return 100 * (1 - diameter / reference_with(S, diameter, found, 30.0))


def test_a_step_at_a_parting_is_no_stenosis():
    found = stenosis(stepped(), [PARTING])
    assert found.max() < 6
    # Told nothing of the parting, the same artery looks ill.
    assert stenosis(stepped(), []).max() > 15


def test_a_wide_mouth_does_not_lift_the_reference():
    found = stenosis(stepped(trunk=3.2, bump=1.5), [Parting(20.0, 24.0, 3.0, 1.5)])
    assert found.max() < 6


@pytest.mark.parametrize(("at", "pct"), [(27.0, 50.0), (45.0, 70.0), (10.0, 60.0)])
def test_a_narrowing_near_a_parting_is_measured(at, pct):
    shape = np.clip(1 - np.abs(S - at) / 4.0, 0, 1)
    found = stenosis(stepped() * (1 - pct / 100 * np.minimum(1, 2 * shape)), [PARTING])
    worst = int(found.argmax())
    assert found[worst] == pytest.approx(pct, abs=8)
    assert S[worst] == pytest.approx(at, abs=3)


def test_a_stem_that_is_ill_from_end_to_end_is_seen():
    """Its own lumen tells nothing of its healthy width; that of its two branches does (Finet's rule)."""
    diameter = stepped(trunk=2.2)
    trunk = stenosis(diameter, [Parting(20.0, 24.0, 3.0, 2.8)])[S < 18]
    assert trunk.min() > 30


def test_far_from_the_ostium_no_rule_is_put_under_a_trunk():
    """A piece of artery between two partings may be as thin as what follows it; only a left main stem is a stem."""
    s = np.arange(0.0, 120.0, 0.25)
    diameter = np.full(len(s), 2.4)
    healthy = reference_with(s, diameter, [Parting(60.0, 62.0, 2.4, 2.4)], 30.0)
    assert np.nanmax(np.abs(healthy - 2.4)) < 0.1


def test_nothing_seen_gives_no_reference():
    assert np.isnan(reference_with(S, np.full(len(S), np.nan), [Parting(20.0, 24.0, np.nan, np.nan)], 30.0)).all()


def course(line, diameter, name="X", lesions=()):
    """An artery with round sections, without image."""
    line = np.asarray(line, float)
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    n = len(line)
    lumen = np.repeat(np.broadcast_to(diameter, n)[:, None] / 2.0, 8, 1)
    area = np.pi * np.broadcast_to(diameter, n) ** 2 / 4
    none, ones = np.zeros(n), np.ones(n)
    return VesselCourse(name, line, distance, lumen, lumen + 0.5, np.zeros((n, 3, 3)), area, area,
                        ones * diameter, ones * diameter + 1, none, none, np.ones(n, bool), (), tuple(lesions),
                        ones * 400.0, 20.0, 0.5, None, None, line)  # fmt: skip


def forked():
    stem = np.column_stack([np.arange(0, 20, 0.25), np.zeros(80), np.zeros(80)])
    far = np.arange(0, 40, 0.25)
    left = stem[-1] + np.column_stack([far * 0.7, far * 0.7, 0 * far])
    right = stem[-1] + np.column_stack([far * 0.7, -far * 0.7, 0 * far])
    return np.vstack([stem, left[1:]]), np.vstack([stem, right[1:]])


def test_both_arteries_know_where_they_part():
    a, b = forked()
    wide = np.r_[np.full(80, 4.0), np.full(len(a) - 80, 3.0)]
    found = partings({"LAD": course(a, wide), "LCX": course(b, wide)})
    for name in ("LAD", "LCX"):
        (one,) = found[name]
        assert one.at_mm == pytest.approx(19.75, abs=1.0)
        # At a right angle a point of one line is as far from the other as from their parting; 0.5 mm are for the blur.
        assert one.end_mm == pytest.approx(19.75 + 3.5, abs=1.0)
        assert one.own_mm == pytest.approx(3.0, abs=0.05)
        assert one.other_mm == pytest.approx(3.0, abs=0.05)
        assert one.anew


def test_a_thin_side_branch_begins_no_new_reference():
    assert not Parting(20.0, 22.0, 3.4, 1.6).anew
    assert Parting(20.0, 22.0, 3.4, 2.6).anew
    assert not Parting(20.0, 22.0, 3.4, float("nan")).anew


# -- lesions in segments -----------------------------------------------------------------------------------------------
def lesion(start, end, at, pct):
    return Lesion(start, end, at, pct, 0.0, 1.0, 1.0, 3.0, None, None, 1.0, None, None, None, None)


def placed(of_lad, of_lcx, shared_mm=20.0):
    """Two arteries; the stem counts for the LAD, the LCX from the parting on."""
    a, b = forked()
    arteries = {"LAD": course(a, 3.0, "LAD", of_lad), "LCX": course(b, 3.0, "LCX", of_lcx)}

    def seen(number, artery, start, end):
        return SeenSegment(number, Sight.READ, None, artery, start, end, 0.0, 0.0)

    segments = {5: seen(5, "LAD", 0, shared_mm), 6: seen(6, "LAD", shared_mm, 55), 11: seen(11, "LCX", shared_mm, 55)}
    return [(n.artery, n.segment, n.lesion.at_mm) for n in _placed(arteries, segments)]


def test_a_lesion_of_the_stem_that_both_lines_tell_counts_once():
    assert placed([lesion(5, 15, 10, 40)], [lesion(5, 15, 10, 44)]) == [("LAD", 5, 10)]


def test_a_lesion_whose_narrowest_place_lies_just_before_its_segment_is_not_lost():
    assert placed([], [lesion(15, 30, 19.5, 80)]) == [("LCX", 11, 19.5)]


def test_a_slight_lesion_of_a_neighbour_does_not_hide_a_severe_one():
    found = placed([lesion(14, 26, 19.0, 14)], [lesion(15, 30, 19.5, 88)])
    assert ("LCX", 11, 19.5) in found
    assert len(found) == 2


def test_lesions_are_numbered_in_the_order_of_segments():
    found = placed([lesion(40, 46, 43, 30), lesion(2, 8, 5, 30)], [lesion(30, 36, 33, 70)])
    assert [one[1] for one in found] == [5, 6, 11]


# -- a search that was too narrow --------------------------------------------------------------------------------------
def test_an_artery_that_bulges_beyond_the_search_is_followed_around():
    """Between two points 36 mm apart an arc reaches 40 mm to the side: a box of 35 mm would cut it short."""

    angle = np.linspace(-0.35, np.pi + 0.35, 60)
    arc = np.column_stack([20 * np.cos(angle), 26 * np.sin(angle) + 10, 2 * np.sin(3 * angle)])
    line = even_steps(arc, 0.5)
    scene = Scene((Vessel.along("RCA", line, np.full(len(line), 1.7), wall_mm=0.5),), lumen_hu=400.0)
    image = render_ccta(scene, around(line, spacing_mm=(0.6, 0.6, 0.6), margin_mm=9), noise_hu=15, seed=1).image
    found = trace(image, VesselSeeds("RCA", line[6], line[-7], np.zeros((0, 3))), CentrelineParameters(margin_mm=12.0))
    true = scene.vessels[0].lumen_line
    assert found.length_mm == pytest.approx(np.linalg.norm(np.diff(line[6:-6], axis=0), axis=1).sum(), rel=0.04)
    assert max(np.linalg.norm(true - p, axis=1).min() for p in found.points) < 1.0
