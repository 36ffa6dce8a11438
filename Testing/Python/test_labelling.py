"""The segments along middle lines, against the phantoms' own."""

from itertools import pairwise

import numpy as np
import pytest
from CardioPrecisionLib.phantom.ccta import random_ccta
from CardioPrecisionLib.polyline import arc_length
from CoronaryPlaqueLib.artery_names import role_of
from CoronaryPlaqueLib.branching import evenly, parting, tree
from CoronaryPlaqueLib.labelling import USUAL_LM_MM, label_segments
from CoronaryPlaqueLib.segments import Dominance
from tree_accuracy import segment_at, whole_way


def judged(scene, named):
    """Length labelled rightly and length of all lines, in mm, and the labelling."""
    carriers = {v.parent for v in scene.vessels if v.name in ("PDA", "PL", "LAD", "LCX", "ramus")}
    ways = {}
    for n, v in enumerate(scene.vessels):
        if v.name != "LM" and (named or v.name != "RCA" or "RCA" not in carriers):
            ways[v.name if named else f"branch{n}"] = whole_way(scene.vessels, v.name)
    found = label_segments({name: points for name, (points, _) in ways.items()})
    right = total = 0.0
    for name, (points, truth) in ways.items():
        s = arc_length(points)
        step = np.gradient(s)
        right, total = right + step[segment_at(found, name, s) == truth].sum(), total + step.sum()
    return right, total, found


def totals(scenes, named):
    parts = [judged(scene, named)[:2] for scene in scenes]
    return sum(r for r, _ in parts) / sum(t for _, t in parts)


@pytest.fixture(scope="module")
def first():
    return [random_ccta(n, dominance=d, lesions="none") for n, d in enumerate(("right", "left", "balanced", "left"))]


@pytest.fixture(scope="module")
def second():
    return [random_ccta(n, generator="second", lesions="none") for n in range(4)]


@pytest.mark.parametrize("named", [True, False])
def test_first_generator(first, named):
    assert totals(first, named) >= 0.9


@pytest.mark.parametrize("named", [True, False])
def test_second_generator(second, named):
    assert totals(second, named) >= 0.9


def test_dominance_is_told_from_the_lines(first):
    assert judged(first[0], True)[2].dominance is Dominance.RIGHT
    assert judged(first[1], True)[2].dominance is Dominance.LEFT
    assert judged(first[3], False)[2].dominance is Dominance.LEFT


def line(*knots):
    """A polyline through knots, every 0.4 mm."""
    steps = [(a, b, max(2, int(np.linalg.norm(np.subtract(b, a)) / 0.4))) for a, b in pairwise(knots)]
    return np.concatenate([np.linspace(*step) for step in steps])


LAD = line((0, 0, 0), (-10, 0, 0), (-30, 60, -60))
LCX = line((0, 0, 0), (-10, 0, 0), (-30, -30, -30))
D1 = line((0, 0, 0), (-10, 0, 0), (-20, 30, -30), (-50, 45, -45))


def test_shared_stretches_are_counted_once_and_told_for_each_line():
    found = label_segments({"LCX": LCX, "LAD": LAD, "D1": D1})
    assert [i.segment for i in found] == [5, 6, 7, 8, 9, 11, 13]
    assert [i.vessel for i in found if i.segment == 5] == ["LAD"]
    assert [i.segment for i in found.lines["D1"]] == [5, 6, 9]
    for name, points in (("LAD", LAD), ("LCX", LCX), ("D1", D1)):
        ends = [0.0, *[i.end_mm for i in found.lines[name]]]
        assert [i.start_mm for i in found.lines[name]] == pytest.approx(ends[:-1], abs=0.6)
        assert ends[-1] == pytest.approx(arc_length(points)[-1], abs=0.1)
    stem = next(i for i in found if i.segment == 5)
    assert stem.end_mm == pytest.approx(10.0, abs=1.0)


def test_a_left_main_line_carries_the_left_main():
    found = label_segments({"LM": LAD[arc_length(LAD) < 10], "LAD": LAD, "LCX": LCX})
    assert [(i.segment, i.vessel) for i in found][:2] == [(5, "LM"), (6, "LAD")]
    assert next(i for i in found if i.segment == 6).start_mm == pytest.approx(10.0, abs=1.0)


def test_a_branch_may_begin_on_its_parent():
    whole, own = label_segments({"LAD": LAD, "LCX": LCX, "D1": D1}), D1[arc_length(D1) > 55]
    found = label_segments({"LAD": LAD, "LCX": LCX, "D1": own + np.array([0.0, 1.0, 1.0])})
    assert [i.segment for i in found.lines["D1"]] == [9]
    first = next(i for i in found if i.segment == 6)
    assert first.end_mm == pytest.approx(next(i for i in whole if i.segment == 6).end_mm, abs=3.0)


def test_what_no_line_shows_is_told():
    found = label_segments({"LAD": LAD})
    assert next(i for i in found if i.segment == 5).end_mm == pytest.approx(USUAL_LM_MM, abs=0.5)
    assert len(found.notes) == 1
    assert "left main" in found.notes[0]
    assert not label_segments({"LAD": LAD, "LCX": LCX}).notes
    apart = label_segments({"LAD": LAD, "LCX": line((0, -12, 0), (-30, -40, -30))})
    assert 5 not in {i.segment for i in apart}


def test_the_dominance_asked_for_places_a_branch_that_leaves_nothing():
    pda = line((10, -30, -60), (0, 20, -80))
    rca = line((10, 0, 0), (40, -10, -40), (10, -30, -55))
    lines = {"LAD": LAD, "LCX": LCX, "RCA": rca, "PDA": pda}
    assert {i.segment for i in label_segments(lines, "right") if i.vessel == "PDA"} == {4}
    assert {i.segment for i in label_segments(lines, Dominance.LEFT) if i.vessel == "PDA"} == {15}


def test_third_branches_have_no_number():
    more = {
        f"OM{n}": line((0, 0, 0), (-10, 0, 0), (-10 - 6 * n, -9 * n, -9 * n), (-70, -9 * n, -40)) for n in (1, 2, 3)
    }
    found = label_segments({"LAD": LAD, "LCX": LCX} | more)
    assert {i.segment for i in found.lines["OM3"]} <= {5, 11, 13}


def test_a_short_branch_is_no_right_coronary_artery_beside_posterior_branches():
    way, stub = ((10, 0, 0), (40, -10, -40), (10, -30, -55)), line((10, 0, 0), (22, 4, -8))
    lines = {"PDA": line(*way, (0, 10, -80)), "PLB": line(*way, (-20, -40, -60)), "branch1": stub}
    found = label_segments(lines)
    assert "branch1" not in found.roles
    first = next(i for i in found if i.segment == 1)
    assert first.end_mm > 25.0


def test_nothing_and_points_that_are_no_line():
    assert not tuple(label_segments({}))
    assert label_segments({"LAD": np.zeros((1, 3))}).lines == {"LAD": ()}


def test_names():
    assert [role_of(n) for n in ("R-PDA", "om 1", "Cx", "ramus", "branch1", "LAD")] == [
        "PDA", "OM1", "LCX", "RI", None, "LAD"]  # fmt: skip


def test_partings():
    even = evenly({"LAD": LAD, "D1": D1, "far": LAD + 50})
    own, along = parting(even["LAD"], even["D1"])
    assert own == pytest.approx(along, abs=1.0)
    assert 50 < own < 56
    assert parting(even["LAD"], even["far"]) is None
    made = tree(even)
    assert made["far"].parent is None
    assert made["D1"].parent == "LAD"
