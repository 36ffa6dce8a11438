"""Plaque burden by three methods, SIS and SSS, and the rows that the rules of CCTA reading give."""

import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import State
from CoronaryPlaqueLib.cadrads import Entered, cad_rads
from CoronaryPlaqueLib.ccta_rows import plaque_rows, reading_rows
from CoronaryPlaqueLib.involvement import involvement, segment_grade, segment_involvement_score, segment_stenosis_score
from CoronaryPlaqueLib.plaque_burden import burden_by_cac, burden_by_eye, burden_by_sis, plaque_burden
from CoronaryPlaqueLib.plaque_composition import Composition
from CoronaryPlaqueLib.reading import Readings, SegmentReading, Sight
from CoronaryPlaqueLib.segments import TRUNK
from hypothesis import given
from hypothesis import strategies as st


def trunks(**stenoses):
    pct = {int(k[1:]): v for k, v in stenoses.items()}
    return Readings(SegmentReading(n, pct.get(n, 0.0), n in pct) for n in TRUNK | set(pct))


# -- burden ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cac", "grade"),
    [
        (0, "P0"), (0.3, "P1"), (100, "P1"), (100.9, "P1"), (101, "P2"), (300, "P2"), (300.9, "P2"), (301, "P3"),
        (999.9, "P3"), (1000, "P4"), (1001, "P4"), (5000, "P4"),
    ],
)  # fmt: skip
def test_by_calcium(cac, grade):
    assert burden_by_cac(cac) == grade


def test_by_segments():
    assert [burden_by_sis(n) for n in range(10)] == ["P0", "P1", "P1", "P2", "P2", "P3", "P3", "P3", "P4", "P4"]


@pytest.mark.parametrize(
    ("lad", "lcx", "rca", "grade"),
    [
        ("none", "none", "none", "P0"),
        ("mild", "none", "none", "P1"),
        ("mild", "mild", "none", "P1"),
        ("mild", "mild", "mild", "P2"),
        ("moderate", "none", "none", "P2"),
        ("moderate", "moderate", "mild", "P2"),
        ("moderate", "moderate", "moderate", "P3"),
        ("severe", "none", "none", "P3"),
        ("severe", "moderate", "moderate", "P3"),
        ("severe", "severe", "none", "P4"),
        ("severe", "severe", "severe", "P4"),
    ],
)
def test_by_eye(lad, lcx, rca, grade):
    assert burden_by_eye({"LAD": lad, "LCX": lcx, "RCA": rca}) == grade
    assert burden_by_eye({"RCA": lad, "LAD": lcx, "LCX": rca}) == grade


def test_the_left_main_counts_with_the_lad():
    others = {"LCX": "none", "RCA": "none"}
    assert burden_by_eye({"LM": "severe", "LAD": "severe", **others}) == "P3"
    assert burden_by_eye({"LM": "moderate", "LAD": "none", **others}) == "P2"


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_more_calcium_never_lowers_the_grade(a, b):
    low, high = sorted((a, b))
    assert burden_by_cac(low) <= burden_by_cac(high)


def test_which_method_is_reported():
    assert plaque_burden(cac_agatston=150, sis=3).method == "cac"
    assert plaque_burden(cac_agatston=150, sis=6, stent=True).grade == "P3"
    soft = plaque_burden(cac_agatston=0, sis=3)
    assert (soft.grade, soft.method, soft.by_method) == ("P2", "sis", {"cac": "P0", "sis": "P2"})
    assert plaque_burden(cac_agatston=0, sis=0).grade == "P0"
    differ = plaque_burden(cac_agatston=50, sis=6)
    assert differ.grade == "P1"
    assert "sis P3" in differ.reason


@pytest.mark.parametrize("known", [{}, {"cac_agatston": 400.0, "stent": True}])
def test_nothing_to_grade(known):
    found = plaque_burden(**known)
    assert found.grade is None
    assert found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: burden_by_cac(-1),
        lambda: burden_by_cac(float("nan")),
        lambda: burden_by_sis(19),
        lambda: burden_by_sis(2.5),
        lambda: burden_by_eye({"LAD": "mild", "LCX": "none"}),
        lambda: burden_by_eye({"LAD": "huge", "LCX": "none", "RCA": "none"}),
        lambda: burden_by_eye({"D1": "mild"}),
        lambda: segment_stenosis_score([4]),
        lambda: segment_involvement_score([-1]),
        lambda: segment_grade(SegmentReading(7, sight=Sight.ABSENT)),
    ],
)
def test_wrong_input_is_one_line(wrong):
    with pytest.raises(InputError) as error:
        wrong()
    assert "\n" not in str(error.value)


# -- SIS and SSS -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pct", "plaque", "grade"),
    [
        (0, False, 0), (0, True, 1), (49.9, True, 1), (50, True, 2), (69.9, True, 2), (70, True, 3), (100, True, 3),
        (60, False, 0),
    ],
)  # fmt: skip
def test_the_grade_of_a_segment(pct, plaque, grade):
    assert segment_grade(SegmentReading(7, pct, plaque)) == grade


@given(st.lists(st.integers(0, 3), max_size=16))
def test_sis_bounds_sss(grades):
    sis, sss = segment_involvement_score(grades), segment_stenosis_score(grades)
    assert sis <= sss <= 3 * sis <= 48


def test_scores_are_not_given_where_a_segment_was_not_seen():
    whole = trunks(n6=20, n7=75, n4=10)
    assert (involvement(whole).sis, involvement(whole).sss) == (3, 5)
    gap = Readings([r for r in whole.segments if r.segment != 2])
    assert (involvement(gap).sis, involvement(gap).sis_at_least) == (None, 3)
    assert "mRCA" in involvement(gap).reason
    blurred = Readings([*gap.segments, SegmentReading(2, sight=Sight.NON_DIAGNOSTIC)])
    assert involvement(blurred).sss is None
    assert involvement(blurred).sss_at_least == 5
    assert involvement(Readings([])).reason


# -- rows --------------------------------------------------------------------------------------------------------------
def test_rows_of_a_reading():
    readings = trunks(n7=75, n2=30)
    involved = involvement(readings)
    burden = plaque_burden(sis=involved.sis)
    rows = reading_rows(cad_rads(readings, Entered(True), burden), involved, burden, state=State.ENTERED)
    assert {r.name: r.value for r in rows} == {
        "cad_rads": "4A",
        "cad_rads_modifiers": "HRP",
        "plaque_burden_grade": "P1",
        "segment_involvement_score": 2.0,
        "segment_stenosis_score": 4.0,
    }
    assert all(r.state is State.ENTERED for r in rows)
    assert rows["plaque_burden_grade"].method.endswith("by sis")


def test_rows_say_what_was_not_seen():
    readings = Readings([SegmentReading(7, 75.0, True)])
    rows = reading_rows(cad_rads(readings), involvement(readings))
    assert {r.name for r in rows} >= {"cad_rads", "plaque_burden_grade", "segment_involvement_score"}
    assert all(r.state is State.NOT_ASSESSABLE and r.reason for r in rows)
    assert "CAD-RADS 4A at least" in rows["cad_rads"].reason


def test_a_row_does_not_give_p0_where_plaque_was_seen():
    readings, burden = trunks(n7=30), plaque_burden(cac_agatston=0)
    row = reading_rows(cad_rads(readings, burden=burden), involvement(readings), burden)["plaque_burden_grade"]
    assert row.state is State.NOT_ASSESSABLE
    assert "contradicts" in row.reason


def test_rows_of_plaque():
    plaque = Composition(10, 60, 150, 40)
    rows = plaque_rows(plaque, 2340)
    assert rows.value("plaque_volume") == 260
    assert rows.value("plaque_volume_low_attenuation") == 10
    assert rows.value("percent_atheroma_volume") == pytest.approx(10)
    assert (rows.value("plaque_stage_by_volume"), rows.value("plaque_stage_by_percent")) == (2, 2)
    lesion = plaque_rows(plaque, site="lesion001")
    assert lesion.get("percent_atheroma_volume", "lesion001").state is State.NOT_ASSESSABLE
    assert lesion.get("plaque_stage_by_volume", "lesion001") is None
