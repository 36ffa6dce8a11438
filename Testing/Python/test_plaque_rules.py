"""Plaque classes, stage, high-risk features and fat: edges, missing input, and what must not change the answer."""

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import State
from CoronaryPlaqueLib.fat import fat_attenuation
from CoronaryPlaqueLib.high_risk import (
    HighRiskFeatures,
    NapkinRingRule,
    high_risk_plaque,
    low_attenuation,
    napkin_ring,
    positive_remodelling,
    spotty_calcification,
)
from CoronaryPlaqueLib.plaque_composition import (
    MIN_2022,
    NECROTIC_TO_75,
    Composition,
    HuClasses,
    classify,
    composition,
    percent_atheroma_volume,
)
from CoronaryPlaqueLib.plaque_stage import stage_by_percent, stage_by_volume
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

HU = arrays.arrays(np.int16, st.integers(0, 60), elements=st.integers(-200, 1500))


# -- classes -----------------------------------------------------------------------------------------------------------
def test_edges_of_the_classes():
    hu = np.array([[-300, 29, 30, 130], [131, 350, 351, 2000]])
    assert classify(hu).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert classify(np.array([29.9, 30.0, 130.1, 350.1])).tolist() == [1, 2, 3, 4]
    assert classify(np.array([-31, -30, 75, 76, 130, 131, 351]), NECROTIC_TO_75).tolist() == [0, 1, 1, 2, 2, 3, 4]


@given(HU)
def test_every_voxel_has_one_class(hu):
    found = composition(hu, 0.1)
    assert found.total_mm3 == pytest.approx(0.1 * hu.size)
    assert found.noncalcified_mm3 + found.calcified_mm3 == pytest.approx(found.total_mm3)
    assert (np.diff(classify(np.sort(hu)).astype(int)) >= 0).all()


@given(HU, HU)
def test_lesions_add_up(a, b):
    both, sum_ = composition(np.concatenate([a, b]), 0.2), composition(a, 0.2) + composition(b, 0.2)
    assert [getattr(both, n) for n in vars(both)] == pytest.approx([getattr(sum_, n) for n in vars(sum_)])


def test_no_plaque_is_0_mm3_and_no_vessel_has_no_percentage():
    assert composition(np.array([], np.int16), 0.1) == Composition()
    assert percent_atheroma_volume(0, 0) is None
    assert percent_atheroma_volume(0, 100) == 0
    assert percent_atheroma_volume(25, 75) == 25


@given(st.floats(0, 2000), st.floats(0, 2000), st.floats(1, 2000))
def test_more_plaque_never_lowers_the_percentage(a, b, lumen):
    low, high = sorted((a, b))
    assert percent_atheroma_volume(low, lumen) <= percent_atheroma_volume(high, lumen) <= 100


def test_calcium_lies_above_a_bright_lumen():
    adapted = MIN_2022.for_lumen(450, 20)
    assert (adapted.low_attenuation_below, adapted.fibrous_to) == (30, 490)
    assert MIN_2022.for_lumen(250, 20).fibrous_to == 350
    lumen_edge = np.array([360, 420, 480])
    assert composition(lumen_edge, 1.0).calcified_mm3 == 3
    assert composition(lumen_edge, 1.0, adapted).calcified_mm3 == 0


def test_low_attenuation_moves_only_by_a_given_share():
    assert MIN_2022.for_lumen(450, 20, lumen_share=0.1).low_attenuation_below == pytest.approx(40)
    assert MIN_2022.for_lumen(250, 20, lumen_share=0.1).low_attenuation_below == pytest.approx(20)
    assert MIN_2022.for_lumen(2000, 20, lumen_share=0.9).low_attenuation_below == 129
    assert NECROTIC_TO_75.for_lumen(50, 20, lumen_share=0.9).low_attenuation_below == -29


# -- stage -------------------------------------------------------------------------------------------------------------
def test_edges_of_the_stages():
    assert [stage_by_volume(v) for v in (0, 0.1, 250, 250.1, 750, 750.1)] == [0, 1, 1, 2, 2, 3]
    assert [stage_by_percent(v) for v in (0, 0.1, 5, 5.1, 15, 15.1, 100)] == [0, 1, 1, 2, 2, 3, 3]


@given(st.floats(0, 3000), st.floats(0, 3000))
def test_more_plaque_never_lowers_the_stage(a, b):
    low, high = sorted((a, b))
    assert stage_by_volume(low) <= stage_by_volume(high)


# -- high-risk features ------------------------------------------------------------------------------------------------
def test_edges_of_the_features():
    assert [positive_remodelling(v) for v in (1.09, 1.1, None)] == [False, True, None]
    assert [low_attenuation(v) for v in (29.9, 30, None)] == [True, False, None]
    assert spotty_calcification([2.9], 10)
    assert not spotty_calcification([3.0], 10)
    assert spotty_calcification([8.0, 1.0], 10)  # one small part beside a large one
    assert spotty_calcification([], 10) is False
    assert spotty_calcification([1.0], 0) is False
    assert spotty_calcification(None, 10) is None
    assert spotty_calcification([1.0], None) is None


SIGN = {"core_hu": 20.0, "rim_hu": 90.0, "rim_arc_deg": 200.0, "core_touches_lumen": True}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"rim_hu": 130.0}, True),
        ({"rim_hu": 131.0}, False),  # calcium
        ({"rim_hu": 39.0}, False),  # no contrast between core and rim
        ({"rim_arc_deg": 179.0}, False),
        ({"core_touches_lumen": False}, False),
        ({"core_hu": None}, None),
        ({"rim_arc_deg": None}, None),
        ({"rim_arc_deg": None, "core_touches_lumen": False}, False),  # nothing can make it one
        ({"rule": NapkinRingRule(arc_deg=270.0)}, False),
    ],
)
def test_napkin_ring(change, expected):
    assert napkin_ring(**{**SIGN, **change}) is expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ((True, True, None, None), True),
        ((True, False, False, None), None),
        ((True, False, False, False), False),
        ((False, False, False, None), False),
        ((None, None, None, None), None),
    ],
)
def test_two_of_four_features(features, expected):
    assert HighRiskFeatures(*features).high_risk is expected


def test_features_of_two_plaques_are_not_added():
    one, other = HighRiskFeatures(True, False, False, False), HighRiskFeatures(False, True, False, False)
    assert high_risk_plaque([one, other]) is False
    assert high_risk_plaque([one, HighRiskFeatures()]) is None
    assert high_risk_plaque([HighRiskFeatures(), HighRiskFeatures(True, True)]) is True
    assert high_risk_plaque([]) is False


# -- fat ---------------------------------------------------------------------------------------------------------------
def test_the_window_of_fat_is_inclusive():
    found = fat_attenuation(np.array([-191, -190, -30, -29, 100]))
    assert (found.fat_voxels, found.shell_voxels, found.mean_hu) == (2, 5, -110)


def test_only_the_shell_counts_and_the_grid_must_fit():
    hu = np.full((4, 4, 4), -80, np.int16)
    hu[0] = -120
    shell = np.zeros(hu.shape, bool)
    shell[0] = True
    assert fat_attenuation(hu, shell).mean_hu == -120
    with pytest.raises(InputError, match="one grid"):
        fat_attenuation(hu, shell[:2])


@pytest.mark.parametrize(("hu", "high"), [(-70.2, False), (-70.1, True), (-60.0, True)])
def test_high(hu, high):
    assert fat_attenuation(np.array([hu])).high is high


def test_a_shell_without_fat_has_no_mean():
    found = fat_attenuation(np.array([10, 20]))
    row = found.measurement("RCA")
    assert found.mean_hu is None
    assert found.high is None
    assert row.state is State.NOT_ASSESSABLE
    assert row.value is None
    assert "0 of 2" in row.reason
    assert fat_attenuation(np.array([-80, -90]), min_voxels=3).mean_hu is None
    assert fat_attenuation(np.array([-80, -90])).measurement("RCA").value == -85


@given(arrays.arrays(np.int16, st.integers(1, 50), elements=st.integers(-300, 300)), st.randoms())
def test_the_mean_of_fat_is_fat_and_the_order_does_not_matter(hu, random):
    found = fat_attenuation(hu)
    assert found.mean_hu is None or -190 <= found.mean_hu <= -30
    shuffled = hu.tolist()
    random.shuffle(shuffled)
    assert fat_attenuation(np.array(shuffled, np.int16)).mean_hu == pytest.approx(found.mean_hu)


# -- wrong input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: classify(np.array([1.0, np.nan])),
        lambda: composition(np.array([1]), 0.0),
        lambda: percent_atheroma_volume(-1, 10),
        lambda: percent_atheroma_volume(float("nan"), 10),
        lambda: HuClasses(low_attenuation_below=200),
        lambda: HuClasses(fibrous_to=float("nan")),
        lambda: MIN_2022.for_lumen(float("inf"), 10),
        lambda: MIN_2022.for_lumen(400, 10, lumen_share=1.0),
        lambda: stage_by_volume(-1),
        lambda: stage_by_percent(101),
        lambda: fat_attenuation(np.array([np.nan])),
        lambda: fat_attenuation(np.array([-80]), window_hu=(-30, -190)),
        lambda: fat_attenuation(np.array([-80]), min_voxels=0),
    ],
)
def test_wrong_input_is_one_line(wrong):
    with pytest.raises(InputError) as error:
        wrong()
    assert "\n" not in str(error.value)
