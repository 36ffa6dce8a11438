"""CAD-RADS 2.0 from segment readings: boundaries, left main, three vessels, what was not seen, modifiers, advice."""

import json
from importlib import resources

import pytest
from CardioPrecisionLib.errors import InputError
from CoronaryPlaqueLib.cadrads import CATEGORIES, Entered, Ischaemia, cad_rads, stenosis_category
from CoronaryPlaqueLib.management import Setting, management
from CoronaryPlaqueLib.plaque_burden import PlaqueBurden, plaque_burden
from CoronaryPlaqueLib.reading import Readings, SegmentReading, Sight
from CoronaryPlaqueLib.segments import SEGMENTS, TRUNK, Dominance, segment, segments_of
from hypothesis import given
from hypothesis import strategies as st

PERCENT = st.floats(0, 100, allow_nan=False)


def study(stenoses=None, *, without=(), **sights):
    """All trunks read without plaque, but for the given stenoses; ``n7=Sight.ABSENT`` says how segment 7 was seen."""
    of = {n: SegmentReading(n, 0.0, False) for n in TRUNK - set(without)}
    for number, pct in (stenoses or {}).items():
        of[number] = SegmentReading(number, pct, True)
    for key, sight in sights.items():
        of[int(key[1:])] = SegmentReading(int(key[1:]), sight=sight)
    return Readings(of.values())


def category(stenoses=None, **more):
    return cad_rads(study(stenoses, **more)).category


# -- segments ----------------------------------------------------------------------------------------------------------
def test_the_18_segments():
    assert sorted(SEGMENTS) == list(range(1, 19))
    assert {s.number for s in SEGMENTS.values() if s.vessel == "RCA"} == {1, 2, 3, 4, 16}
    assert {s.number for s in SEGMENTS.values() if s.vessel == "LAD"} == {6, 7, 8, 9, 10}
    assert {s.number for s in SEGMENTS.values() if s.vessel == "LCX"} == {11, 12, 13, 14, 15, 17, 18}
    assert SEGMENTS[5].site == "LM"
    assert SEGMENTS[7].site == "scct07"
    assert len({s.label for s in SEGMENTS.values()}) == len({s.name for s in SEGMENTS.values()}) == 18


@pytest.mark.parametrize(
    ("dominance", "there", "not_there"),
    [
        (Dominance.RIGHT, {4, 16}, {15, 18}),
        (Dominance.LEFT, {15, 18}, {4, 16}),
        (Dominance.CODOMINANT, {4, 18}, {15, 16}),
    ],
)
def test_dominance_moves_the_posterior_branches(dominance, there, not_there):
    numbers = set(segments_of(dominance))
    assert there <= numbers
    assert not numbers & not_there
    assert len(numbers) == 16
    assert numbers >= TRUNK


def test_sites_are_those_of_report_text():
    sites = pytest.importorskip("FusionRiskLib.text.sites")
    assert {n: sites.segment_site(n) for n in SEGMENTS} == {n: s.site for n, s in SEGMENTS.items()}


@pytest.mark.parametrize("number", [0, 19, -1])
def test_unknown_segment(number):
    with pytest.raises(InputError, match="1 to 18"):
        segment(number)


# -- readings ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segment": 7, "stenosis_pct": 101.0, "plaque": True}, "mLAD.*0 to 100"),
        ({"segment": 7, "stenosis_pct": float("nan"), "plaque": True}, "0 to 100"),
        ({"segment": 7, "stenosis_pct": 20.0}, "both stenosis and plaque"),
        ({"segment": 7, "plaque": True}, "both stenosis and plaque"),
        ({"segment": 7, "stenosis_pct": 0.0, "sight": Sight.NON_DIAGNOSTIC}, "give no stenosis"),
        ({"segment": 22, "stenosis_pct": 0.0, "plaque": False}, "22"),
    ],
)
def test_a_reading_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        SegmentReading(**arguments)


def test_a_segment_given_twice():
    with pytest.raises(InputError, match="mLAD was given twice"):
        Readings([SegmentReading(7, 0.0, False), SegmentReading(7, 80.0, True)])


# -- category ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pct", "expected"),
    [
        (0, "0"), (0.1, "1"), (1, "1"), (24, "1"), (24.9, "1"), (25, "2"), (49.9, "2"), (50, "3"), (69.9, "3"),
        (70, "4A"), (99, "4A"), (99.9, "4A"), (100, "5"),
    ],
)  # fmt: skip
def test_boundaries(pct, expected):
    assert stenosis_category(pct) == expected
    assert category({7: pct} if pct else None) == expected


def test_plaque_without_stenosis_is_1():
    found = cad_rads(study({7: 0.0}))
    assert (found.category, found.segments) == ("1", (7,))


@pytest.mark.parametrize(("pct", "expected"), [(49.9, "2"), (50, "4B"), (69, "4B"), (99, "4B"), (100, "5")])
def test_left_main(pct, expected):
    assert category({5: pct}) == expected


@pytest.mark.parametrize(
    ("stenoses", "expected"),
    [
        ({2: 70, 7: 70, 13: 70}, "4B"),
        ({2: 70, 7: 70, 13: 69.9}, "4A"),
        ({4: 70, 9: 80, 12: 90}, "4B"),  # branches belong to their vessels
        ({6: 70, 7: 80, 9: 90}, "4A"),  # one vessel
        ({2: 70, 7: 70, 17: 70}, "4B"),  # the ramus counts for the LCX
        ({15: 70, 18: 70, 7: 70}, "4A"),  # left posterior branches are LCX, not RCA
        ({2: 100, 7: 70, 13: 70}, "5"),
    ],
)
def test_three_vessels(stenoses, expected):
    assert category(stenoses) == expected


@given(
    st.dictionaries(st.sampled_from(sorted(SEGMENTS)), PERCENT, max_size=8), st.sampled_from(sorted(SEGMENTS)), PERCENT
)
def test_a_worse_stenosis_never_lowers_the_category(stenoses, number, pct):
    worse = stenoses | {number: max(pct, stenoses.get(number, 0.0))}
    before, after = (CATEGORIES.index(category(s)) for s in (stenoses, worse))
    assert before <= after


@given(st.dictionaries(st.sampled_from(sorted(SEGMENTS)), PERCENT, max_size=8))
def test_the_category_does_not_depend_on_the_order(stenoses):
    readings = study(stenoses)
    assert cad_rads(readings) == cad_rads(Readings(readings.segments[::-1]))


def test_deciding_segments():
    assert cad_rads(study({7: 60, 2: 55, 13: 20})).segments == (2, 7)
    assert cad_rads(study({5: 60, 7: 80})).segments == (5,)


def test_a_stenosis_within_the_measurement_error_and_without_plaque():
    narrow = Readings([*(r for r in study(without=(7,)).segments), SegmentReading(7, 6.0, False)])
    assert cad_rads(narrow).category == "1"
    assert cad_rads(narrow, ignore_below_pct=10).category == "0"
    assert cad_rads(study({7: 6.0}), ignore_below_pct=10).category == "1"  # there is plaque


# -- what was not seen -------------------------------------------------------------------------------------------------
def test_a_non_diagnostic_segment():
    assert cad_rads(study({7: 40}, n2=Sight.NON_DIAGNOSTIC)).text == "CAD-RADS N"
    assert cad_rads(study({7: 50}, n2=Sight.NON_DIAGNOSTIC)).text == "CAD-RADS 3/N"
    assert "mRCA" in cad_rads(study({7: 50}, n2=Sight.NON_DIAGNOSTIC)).reason


def test_a_non_diagnostic_study_has_no_modifier():
    found = cad_rads(study({7: 80}), Entered(True, stent=True), "P3", study_diagnostic=False)
    assert found.text == "CAD-RADS N"


def test_an_unread_trunk_leaves_the_category_open():
    found = cad_rads(study({7: 60}, without=(2, 13)))
    assert (found.category, found.at_least, found.text) == (None, "3", None)
    assert found.reason == "mRCA, m/dLCX not read; the other segments give CAD-RADS 3 at least."


def test_nothing_can_raise_an_occlusion():
    assert category({7: 100}, without=(2, 13)) == "5"


def test_nothing_read_is_not_a_healthy_heart():
    all_small = Readings(SegmentReading(n, sight=Sight.TOO_SMALL) for n in TRUNK)
    for nothing in (Readings([]), all_small):
        assert (cad_rads(nothing).category, cad_rads(nothing).at_least) == (None, None)


def test_absent_and_small_segments_are_accounted_for():
    assert category({7: 30}, n5=Sight.ABSENT, n3=Sight.TOO_SMALL) == "2"


def test_a_branch_that_was_not_read_is_no_gap():
    assert category({7: 30}) == "2"  # study() has trunks only


def test_a_bypassed_stenosis_does_not_count_but_its_plaque_does():
    by = Readings([*study(without=(6,)).segments, SegmentReading(6, 100.0, True, bypassed=True)])
    assert cad_rads(by, Entered(graft=True)).text == "CAD-RADS 1/G"


def test_a_bypassed_segment_that_cannot_be_read_is_no_n():
    by = Readings([*study(without=(6,)).segments, SegmentReading(6, sight=Sight.NON_DIAGNOSTIC, bypassed=True)])
    assert cad_rads(by, Entered(graft=True)).text == "CAD-RADS 0/G"


# -- burden, modifiers, text -------------------------------------------------------------------------------------------
def test_the_order_of_modifiers():
    entered = Entered(True, Ischaemia.PRESENT, stent=True, graft=True, exception=True)
    found = cad_rads(study({7: 80}, n2=Sight.NON_DIAGNOSTIC), entered, "P3")
    assert found.text == "CAD-RADS 4A/P3/N/HRP/I+/S/G/E"


def test_a_stented_segment_sets_s():
    stented = Readings([*study(without=(7,)).segments, SegmentReading(7, 20.0, True, stent=True)])
    assert cad_rads(stented).modifiers == ("S",)


def test_p0_is_not_printed_and_plaque_is_not_0():
    assert cad_rads(study(), burden="P0").text == "CAD-RADS 0"
    assert cad_rads(study(), burden=plaque_burden(cac_agatston=50)).text == "CAD-RADS 1/P1"
    assert cad_rads(study({7: 30}), burden=PlaqueBurden(None, None)).text == "CAD-RADS 2"


def test_a_calcium_score_of_0_is_no_burden_of_soft_plaque():
    found = cad_rads(study({7: 30}), burden=plaque_burden(cac_agatston=0))
    assert (found.category, found.burden) == ("2", None)
    assert "segments with plaque" in found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: cad_rads(study(), burden="P5"),
        lambda: Entered(ischaemia="I++"),
        lambda: stenosis_category(-1),
        lambda: management(cad_rads(study()), "screening"),
    ],
)
def test_wrong_input_is_one_line(wrong):
    with pytest.raises(InputError) as error:
        wrong()
    assert "\n" not in str(error.value)


# -- management --------------------------------------------------------------------------------------------------------
def test_every_category_has_its_suggestions():
    data = json.loads((resources.files("CoronaryPlaqueLib") / "cad_rads_management.json").read_text(encoding="utf-8"))
    assert set(data["settings"]) == set(Setting)
    modifiers = {"N", "HRP", *Ischaemia, "E"}
    for setting in data["settings"].values():
        assert set(setting["categories"]) == {*CATEGORIES, "N"}
        assert set(setting["modifiers"]) == modifiers
        for entry in setting["categories"].values():
            assert entry["meaning"]
            assert entry["all"]
            assert set(entry) <= {"meaning", "all", "P1", "P2", "P3", "P4", *modifiers}


def test_suggestions_follow_category_burden_modifier_and_setting():
    invasive = management(cad_rads(study({5: 60})), Setting.STABLE)
    assert any("angiography is recommended" in text for text in invasive.consider)
    assert any("2022;16:536" in source for source in invasive.sources)
    assert "Check" in invasive.note
    few, many = (management(cad_rads(study({7: 30}), burden=p), "stable").consider for p in ("P1", "P4"))
    assert set(few) < set(many)
    plain, risky = (management(cad_rads(study({7: 30}), e), "acute").consider for e in (Entered(), Entered(True)))
    assert any("admission" in text for text in set(risky) - set(plain))
    tested = management(cad_rads(study({7: 60}), Entered(ischaemia="I-")), "stable").consider
    assert any("No ischaemia" in text for text in tested)


def test_no_category_no_suggestion():
    assert management(cad_rads(Readings([])), "stable") is None
