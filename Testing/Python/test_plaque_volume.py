"""Plaque volumes against exact truth, by class, lesion, stretch and artery, and the features of high risk."""

import numpy as np
import pytest
from CardioPrecisionLib.phantom.ccta import PLAQUE_HU, Lesion, around, render_ccta, tube
from CoronaryPlaqueLib.course import CourseParameters, measure_vessel, plaque_between
from CoronaryPlaqueLib.plaque_composition import percent_atheroma_volume

MIXED = (("fibrous", 0.35), ("low_attenuation", 0.15), ("fibrofatty", 0.2), ("calcified", 0.3))


def measured(*lesions, seed=1, length=36, parameters=None, **more):
    scene = tube(*lesions, length_mm=length, diameter_mm=3.8, bend_mm=30.0, axis=(0.2, 0.3, 0.9), **more)
    line = scene.vessels[0].lumen_line
    image = render_ccta(scene, around(line, margin_mm=6), noise_hu=30, seed=seed).image
    return image, scene.truth()["lesions"], measure_vessel(image, line[6:-6:2], "LAD", parameters)


CASES = {
    "soft": ((("fibrofatty", 1.0),), "layers", {}),
    "fibrous": ((("fibrous", 1.0),), "layers", {}),
    "calcified": ((("calcified", 1.0),), "layers", {}),
    "layers": ((("fibrofatty", 0.4), ("fibrous", 0.6)), "layers", {}),
    "sectors": (MIXED, "sectors", {}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_volumes_of_plaques(case):
    composition, pattern, hu = case
    plaque = Lesion(18, 12, 45, 0.6, 70, 1.2, composition, pattern, 0.4)
    image, (truth,), course = measured(plaque, plaque_hu=PLAQUE_HU | hu)
    assert truth["plaque_volume_mm3"] > 50
    whole = plaque_between(image, course, 0.0, course.length_mm)
    assert whole.total_mm3 == pytest.approx(truth["plaque_volume_mm3"], rel=0.1)
    by_truth = truth["plaque_mm3"]
    if "calcified" in by_truth:
        assert whole.calcified_mm3 == pytest.approx(by_truth["calcified"], rel=0.35)
    else:
        assert whole.calcified_mm3 < 0.05 * whole.total_mm3
    if set(by_truth) == {"fibrofatty"}:
        assert whole.fibrofatty_mm3 > 0.6 * whole.total_mm3


def test_stretches_add_up_and_healthy_wall_is_no_plaque():
    first = Lesion(10, 8, 40, composition=(("fibrofatty", 1.0),), remodelling=1.15)
    second = Lesion(32, 10, 55, composition=(("fibrous", 1.0),), remodelling=1.1)
    image, truth, course = measured(first, second, length=46)
    assert len(course.lesions) == 2
    for lesion, row in zip(course.lesions, truth, strict=True):
        # The line begins 1.5 mm along the tube.
        assert abs(lesion.at_mm - (row["at_mm"] - 1.5)) < 3
        assert lesion.volumes.total_mm3 == pytest.approx(row["plaque_volume_mm3"], rel=0.15)
    whole = plaque_between(image, course, 0.0, course.length_mm).total_mm3
    assert whole == pytest.approx(sum(one.volumes.total_mm3 for one in course.lesions), rel=1e-6)
    middle = 0.5 * (course.lesions[0].end_mm + course.lesions[1].start_mm)
    assert plaque_between(image, course, middle - 1, middle + 1).total_mm3 == 0
    halves = [plaque_between(image, course, a, b).total_mm3 for a, b in ((0, 9), (9, course.length_mm))]
    assert sum(halves) == pytest.approx(whole, rel=0.05)
    lumen = float(np.nansum(course.lumen_area) * 0.25)
    assert 0 < percent_atheroma_volume(whole, lumen) < 60


def test_a_fixed_limit_takes_the_edge_of_bright_blood_for_calcium():
    """Why calcified begins above the lumen: 350 HU lie within the blur of 400 HU blood."""
    plaque = Lesion(18, 12, 45, 0.6, 70, 1.2, (("fibrofatty", 1.0),))
    _, _, adaptive = measured(plaque)
    _, _, fixed = measured(plaque, parameters=CourseParameters(lumen_adaptive=False))
    assert adaptive.classes.fibrous_to > 400
    assert fixed.classes.fibrous_to == 350
    assert adaptive.lesions[0].volumes.calcified_mm3 <= fixed.lesions[0].volumes.calcified_mm3


def test_features_of_high_risk():
    dark = Lesion(18, 12, 40, 0.6, 70, 1.3, (("low_attenuation", 1.0),))
    _, _, course = measured(dark)
    (lesion,) = course.lesions
    assert lesion.low_attenuation is True
    assert lesion.positive_remodelling is True
    assert lesion.spotty_calcium is False
    # The sign is for the eye: it is not measured here.
    assert lesion.napkin_ring is None
    fibrous = Lesion(18, 12, 40, 0.6, 70, 1.0, (("fibrous", 1.0),))
    _, _, course = measured(fibrous)
    assert course.lesions[0].low_attenuation is False
    assert course.lesions[0].positive_remodelling is False


def test_plaque_is_refused_where_it_is_not_assessable():
    plaque = Lesion(18, 12, 45, composition=(("fibrofatty", 1.0),))
    image, _, course = measured(plaque, parameters=CourseParameters(plaque_voxel_mm=0.3))
    assert course.lesions
    with pytest.raises(ValueError, match="too coarse"):
        plaque_between(image, course, 0.0, 10.0)
