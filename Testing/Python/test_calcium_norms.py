"""Percentiles and categories of calcium scores: the whole tables, monotone in between, and what they do not cover."""

import itertools

import pytest
from CardioPrecisionLib import calcium_norms as norms
from CardioPrecisionLib.calcium_norms import NotCovered
from hypothesis import given
from hypothesis import strategies as st

PEOPLE = list(itertools.product(("male", "female"), norms.MESA_RACES))
LADDER = (1, 2, 5, 12, 30, 80, 200, 500, 1500, 4000)
people = st.tuples(st.integers(45, 84), st.sampled_from(("male", "female")), st.sampled_from(norms.MESA_RACES))


def test_mesa_tables_are_complete():
    by_age = norms._rows("mesa_by_age.csv")
    cells = {(r["race"], r["sex"], int(r["age_years"])) for r in by_age}
    assert cells == {(race, sex, age) for sex, race in PEOPLE for age in range(45, 85)}
    assert len(by_age) == len(cells)
    assert len(norms._rows("mesa_2006_table2.csv")) == 32
    assert len(norms._rows("hoff_2001.csv")) == 18


def test_mesa_calculator_is_met_everywhere():
    """More than the rounding is lost only where the printed table stands against it."""
    worst = 0.0
    for row in norms._rows("mesa_by_age.csv"):
        for cac in LADDER:
            got = norms.mesa_percentile(cac, float(row["age_years"]), row["sex"], row["race"])
            worst = max(worst, abs(got.low - float(row[f"percentile_of_{cac}"])))
    assert worst <= 1.5


def test_mesa_table_2_is_met_exactly():
    for row in norms._rows("mesa_2006_table2.csv"):
        person = float(row["age_years"]), row["sex"], row["race"]
        for percentile in (25, 50, 75, 90, 95):
            cac = float(row[f"cac_p{percentile}"])
            assert norms.mesa_cac_at(percentile, *person) == pytest.approx(cac, rel=1e-9)
            got = norms.mesa_percentile(cac, *person)
            if cac:
                assert got.value == pytest.approx(percentile, abs=1e-9)
            else:
                assert got.value is None
                assert got.low == 0
                assert got.high >= percentile


#: Collected from the MESA calculator by another public tool (KlugRads): age, P(CAC > 0), 25th, 50th, 75th, 90th.
COLLECTED = {
    ("male", "white"): ((55, 56, 0, 6, 68, 234), (65, 77, 5, 71, 307, 802), (75, 90, 52, 248, 820, 2030)),
    ("female", "white"): ((55, 26, 0, 0, 1, 38), (65, 47, 0, 0, 54, 228), (84, 98, 46, 159, 488, 1168)),
    ("male", "black"): ((65, 56, 0, 8, 95, 330), (84, 92, 52, 224, 726, 1794)),
    ("female", "black"): ((65, 37, 0, 0, 26, 159), (84, 85, 13, 78, 282, 698)),
    ("male", "chinese"): ((65, 64, 0, 18, 121, 372), (84, 86, 20, 112, 391, 971)),
    ("female", "chinese"): ((65, 46, 0, 0, 45, 194), (84, 81, 6, 50, 190, 483)),
    ("male", "hispanic"): ((65, 64, 0, 22, 141, 429), (84, 99, 59, 203, 619, 1468)),
    ("female", "hispanic"): ((65, 38, 0, 0, 19, 106), (84, 83, 12, 83, 309, 768)),
}


def test_mesa_agrees_with_values_collected_elsewhere():
    apart = []
    for (sex, race), rows in COLLECTED.items():
        for age, positive, *scores in rows:
            assert norms.mesa_cac_positive(age, sex, race) == positive
            for percentile, cac in zip((25, 50, 75, 90), scores, strict=True):
                got = norms.mesa_percentile(cac, age, sex, race)
                if cac:
                    apart.append(abs(got.value - percentile))
                else:
                    assert got.high >= percentile
    assert max(apart) < 1.2
    assert sum(apart) / len(apart) < 0.5


@given(people, st.floats(0, 6000), st.floats(0, 6000))
def test_mesa_percentile_never_falls(person, a, b):
    low, high = (norms.mesa_percentile(c, *person) for c in sorted((a, b)))
    assert low.low <= high.low + 1e-9
    assert low.high <= high.high + 1e-9


@given(people, st.floats(0, 98))
def test_mesa_inverse(person, percentile):
    try:
        cac = norms.mesa_cac_at(percentile, *person)
    except NotCovered:
        assert norms.mesa_percentile(4700, *person).low < percentile
        return
    got = norms.mesa_percentile(cac, *person)
    if cac == 0:
        assert got.high >= percentile
    else:
        assert got.low == pytest.approx(percentile, abs=1e-6)


def test_mesa_zero_has_no_percentile_but_a_bound():
    got = norms.mesa_percentile(0, 60, "female", "white")
    assert (got.value, got.low, got.high) == (None, 0, 64)


def test_mesa_above_the_table_is_a_bound():
    got = norms.mesa_percentile(9000, 45, "female", "hispanic")
    assert (got.value, got.low, got.high) == (None, 99, 100)
    got = norms.mesa_percentile(9000, 84, "male", "white")
    assert (got.value, got.low, got.high) == (None, 90, 100)


def test_age_counts_in_completed_years():
    assert norms.mesa_percentile(50, 62.9, "male", "black") == norms.mesa_percentile(50, 62, "male", "black")
    assert norms.mesa_percentile(50, 84.9, "male", "black") == norms.mesa_percentile(50, 84, "male", "black")


@pytest.mark.parametrize(
    ("person", "word"),
    [
        ((44.9, "male", "white"), "44.9"),
        ((85, "male", "white"), "85"),
        ((60, "male", "other"), "other"),
        ((60, "male", ""), "unknown race"),
        ((60, "", "white"), "unknown sex"),
        ((float("nan"), "male", "white"), "nan"),
    ],
)
def test_mesa_says_what_it_does_not_cover(person, word):
    for call in (norms.mesa_percentile, norms.mesa_cac_at):
        with pytest.raises(NotCovered, match=word):
            call(50, *person)


@pytest.mark.parametrize("score", [-1, float("nan"), float("inf")])
def test_scores_that_are_none(score):
    for call in (
        lambda: norms.mesa_percentile(score, 60, "male", "white"),
        lambda: norms.hoff_percentile(score, 60, "male"),
        lambda: norms.arterial_age(score),
        lambda: norms.burden(score),
        lambda: norms.cac_drs(score, 1),
        lambda: norms.aortic_stenosis(score, "male"),
    ):
        with pytest.raises(ValueError):
            call()


def test_percentile_beyond_the_table():
    with pytest.raises(NotCovered, match="end at"):
        norms.mesa_cac_at(99, 60, "male", "white")
    with pytest.raises(ValueError, match="between 0 and 100"):
        norms.mesa_cac_at(101, 60, "male", "white")


def test_hoff_between_its_percentiles():
    assert norms.hoff_cac(52, "male") == {25: 1, 50: 15, 75: 103, 90: 332}
    got = norms.hoff_percentile(40, 52, "male")
    assert (got.low, got.high) == (50, 75)
    assert 50 < got.value < 75
    assert norms.hoff_percentile(0, 52, "male") == norms.Percentile(None, 0, 25)
    assert norms.hoff_percentile(0, 52, "female") == norms.Percentile(None, 0, 75)
    assert norms.hoff_percentile(500, 52, "male") == norms.Percentile(None, 90, 100)
    got = norms.hoff_percentile(100, 80, "male")
    assert (got.low, got.high) == (0, 25)
    assert 0 < got.value < 25


@given(st.integers(30, 90), st.sampled_from(("male", "female")), st.floats(0, 2500), st.floats(0, 2500))
def test_hoff_percentile_never_falls(age, sex, a, b):
    low, high = (norms.hoff_percentile(c, age, sex) for c in sorted((a, b)))
    assert low.low <= high.low
    assert low.high <= high.high
    if low.value is not None and high.value is not None:
        assert low.value <= high.value + 1e-9


@pytest.mark.parametrize("age", [29.9, 91])
def test_hoff_ages(age):
    with pytest.raises(NotCovered, match="30 to 90"):
        norms.hoff_percentile(10, age, "female")


def test_burden_at_its_limits():
    expected = {0: "0", 0.4: "1-10", 10: "1-10", 10.1: "11-100", 100: "11-100", 101: "101-400", 400: "101-400"}
    assert {c: norms.burden(c).name for c in expected} == expected
    assert norms.burden(400.5) == norms.Burden(">400", "extensive", False)
    assert norms.burden(999.9).extreme is False
    assert norms.burden(1000).extreme is True


def test_cac_drs_needs_vessels_that_fit():
    assert norms.cac_drs(0, 0) == "A0/N0"
    assert norms.cac_drs(0.5, 1) == "A1/N1"
    assert norms.cac_drs(99.9, 1) == "A1/N1"
    for score, vessels in ((0, 1), (50, 0), (50, 5)):
        with pytest.raises(ValueError, match="does not go with"):
            norms.cac_drs(score, vessels)


def test_aortic_stenosis_needs_the_sex():
    assert norms.aortic_stenosis(1700, "female") == "highly likely"
    assert norms.aortic_stenosis(1700, "male") == "indeterminate"
    with pytest.raises(NotCovered):
        norms.aortic_stenosis(1700, "")
