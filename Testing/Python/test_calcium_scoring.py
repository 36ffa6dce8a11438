"""Calcium scores by hand, on edges, in any orientation, and against a slow plain implementation."""

import itertools

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Image
from conftest import oblique_affine
from CoronaryPlaqueLib.axial import axial
from CoronaryPlaqueLib.scoring import LabelScore, density_factor, factor_edges, score
from CoronaryPlaqueLib.vessels import AORTA, CORONARY, LAD, LCX, LM, OTHER, RCA, SCORED
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage


def volume(*blocks, shape=(20, 20, 8), spacing=(0.5, 0.5, 3.0), background=0, dtype=np.int16):
    """Image and labels from blocks ``(label, i, j, k, HU)``; i, j, k are slices or numbers."""
    array, labels = np.full(shape, background, dtype), np.zeros(shape, np.uint8)
    for label, i, j, k, hu in blocks:
        array[i, j, k] = hu
        labels[i, j, k] = label
    return Image(array, np.diag([*spacing, 1.0])), labels


def agatston(*blocks, label=LAD, **more):
    return score(*volume(*blocks, **more)).by_label[label].agatston


# -- by hand -----------------------------------------------------------------------------------------------------------
def test_each_component_has_the_factor_of_its_own_maximum_in_its_own_slice():
    one = (LAD, slice(0, 2), slice(0, 4), 2, 150)  # 2 mm2 x 1
    two = (LAD, slice(8, 12), slice(0, 4), 2, 250)  # 4 mm2 x 2
    above = (LAD, slice(0, 2), slice(0, 4), 3, 450)  # 2 mm2 x 4: the same lesion as the first, one slice further up
    assert agatston(one, two, above) == pytest.approx(2 + 8 + 8)
    found = score(*volume(one, two, above))
    assert found.by_label[LAD].lesion_count == 2
    assert [x.agatston for x in found.lesions] == pytest.approx([10, 8])
    assert [x.slices for x in found.lesions] == [(2, 3), (2, 2)]


@pytest.mark.parametrize(
    ("hu", "factor"),
    [(129, 0), (130, 1), (199, 1), (199.9, 1), (200, 2), (299, 2), (300, 3), (399, 3), (400, 4), (1500, 4)],
)
def test_edges_of_the_factor(hu, factor):
    block = (LAD, slice(3, 7), slice(3, 7), 4, hu)
    assert agatston(block, dtype=np.float32) == pytest.approx(4.0 * factor)
    assert density_factor(hu) == factor


def test_one_voxel_at_the_maximum_decides():
    assert agatston((LAD, slice(3, 7), slice(3, 7), 4, 130), (LAD, 5, 5, 4, 400)) == pytest.approx(16)


@pytest.mark.parametrize("pixel", [0.1, 0.2, 0.25, 0.5, 1.0])
def test_one_square_millimetre_counts_whatever_the_rounding(pixel):
    """1 / pixel**2 is just above a whole number for some of these."""
    side = round(1 / pixel)
    block = (LAD, slice(0, side), slice(0, side), 1, 150)
    assert agatston(block, spacing=(pixel, pixel, 3.0)) == pytest.approx(1.0)
    image, labels = volume(block, spacing=(pixel, pixel, 3.0))
    image.array[0, 0, 1] = 0  # one pixel less
    assert score(image, labels).by_label[LAD].agatston == 0


def test_spacing_rounded_by_a_header_still_counts():
    assert agatston((LAD, slice(0, 2), 0, 1, 150), spacing=(0.707106, 0.707106, 3.0)) == pytest.approx(1.0, rel=1e-4)


def test_minimum_area_is_of_a_component_and_holds_for_all_numbers():
    small = (LAD, slice(0, 3), 0, 1, 500)
    assert agatston(small) == 0
    found = score(*volume(small)).by_label[LAD]
    assert found == LabelScore(LAD, 0.0, None, 0.0, 0.0, 0.0, None, None, 0)
    # Two of them do not add up; without a minimum they count.
    apart = (LAD, slice(0, 3), 4, 1, 500)
    assert agatston(small, apart) == 0
    image, labels = volume(small, apart)
    assert score(image, labels, min_area_mm2=0).by_label[LAD].agatston == pytest.approx(6 * 0.25 * 4)


def test_corners_touch_in_a_slice():
    a = (LAD, slice(0, 2), slice(0, 1), 1, 150)
    b = (LAD, slice(2, 4), slice(1, 2), 1, 450)
    assert agatston(a, b) == pytest.approx(4.0)  # one component of 1 mm2, factor 4


def test_slices_are_scored_apart_but_lesions_hang_together():
    a = (LAD, slice(0, 4), slice(0, 4), 1, 150)
    b = (LAD, slice(4, 8), slice(4, 8), 2, 450)  # touches by a corner in space only
    found = score(*volume(a, b)).by_label[LAD]
    assert found.agatston == pytest.approx(4 + 16)
    assert found.lesion_count == 1
    gap = (LAD, slice(0, 4), slice(0, 4), 3, 150)
    assert score(*volume(a, gap)).by_label[LAD].lesion_count == 2


def test_labels_that_touch_are_kept_apart():
    """A component of one label that another label cuts in two has two maxima."""
    left = (LAD, slice(0, 4), slice(0, 4), 1, 150)
    between = (LCX, slice(4, 8), slice(0, 4), 1, 350)
    right = (LAD, slice(8, 12), slice(0, 4), 1, 450)
    found = score(*volume(left, between, right))
    assert found.by_label[LAD].agatston == pytest.approx(4 * 1 + 4 * 4)
    assert found.by_label[LCX].agatston == pytest.approx(4 * 3)
    assert found.by_label[LAD].lesion_count == 2
    assert found.total().agatston == pytest.approx(32)


def test_a_label_may_be_larger_than_its_calcium():
    image, labels = volume((LAD, slice(3, 7), slice(3, 7), 4, 250))
    assert score(image, np.full_like(labels, LAD)).by_label[LAD] == score(image, labels).by_label[LAD]


def test_without_calcium_everything_is_zero():
    found = score(*volume())
    assert set(found.by_label) == set(SCORED)
    assert found.lesions == ()
    total = found.total()
    assert (total.agatston, total.volume_mm3, total.lesion_count) == (0, 0, 0)
    assert (total.mean_hu, total.max_hu, total.density) == (None, None, None)
    assert total.mass_mg(0.8) == 0


def test_other_labels_are_left_out():
    found = score(*volume((OTHER, slice(3, 7), slice(3, 7), 4, 900), (AORTA, slice(9, 13), slice(3, 7), 4, 900)))
    assert OTHER not in found.by_label
    assert found.total().agatston == 0
    assert found.by_label[AORTA].agatston == pytest.approx(16)


def test_scores_scale_with_spacing():
    block = (LAD, slice(2, 8), slice(2, 8), slice(1, 7), 250)
    base = score(*volume(block)).by_label[LAD]
    wide = score(*volume(block, spacing=(1.0, 0.5, 3.0))).by_label[LAD]
    thin = score(*volume(block, spacing=(0.5, 0.5, 1.0))).by_label[LAD]
    assert wide.agatston == pytest.approx(2 * base.agatston)
    assert thin.agatston == pytest.approx(base.agatston / 3)
    assert thin.volume_mm3 == pytest.approx(base.volume_mm3 / 3)
    assert thin.density == pytest.approx(base.density) == pytest.approx(2.0)
    image, labels = volume(block)
    assert score(image, labels, increment_mm=1.0).by_label[LAD] == thin


def test_numbers_of_a_lesion():
    found = score(
        *volume((LAD, slice(2, 6), slice(10, 14), slice(3, 5), 200), (LAD, 2, 10, 3, 432), spacing=(0.5, 0.5, 3.0))
    )
    (lesion,) = found.lesions
    assert lesion.center_mm == pytest.approx((3.5 * 0.5, 11.5 * 0.5, 3.5 * 3))
    assert lesion.slices == (3, 4)
    assert lesion.agatston == pytest.approx(4 * 4 + 4 * 2)
    assert lesion.volume_mm3 == pytest.approx(32 * 0.75)
    assert lesion.area_mm2 == pytest.approx(8)
    assert lesion.mean_hu == pytest.approx((31 * 200 + 432) / 32)
    assert lesion.max_hu == 432
    one = found.by_label[LAD]
    assert one.mass_mg(0.8) == pytest.approx(0.8 * lesion.mean_hu * 24 / 1000)
    assert one.mass_mg(None) is None
    with pytest.raises(InputError, match="calibration"):
        one.mass_mg(0.0)


def test_total_is_the_sum():
    found = score(
        *volume(
            (LM, slice(0, 4), slice(0, 4), 1, 150),
            (RCA, slice(8, 16), slice(0, 4), 5, 450),
            (AORTA, slice(8, 16), slice(8, 12), 5, 450),
        )
    )
    total = found.total()
    assert total.agatston == pytest.approx(4 + 32)
    assert total.lesion_count == 2
    assert total.mean_hu == pytest.approx((16 * 150 + 32 * 450) / 48)
    assert total.max_hu == 450
    assert found.total((*CORONARY, AORTA)).agatston == pytest.approx(68)


# -- tube voltage ------------------------------------------------------------------------------------------------------
def test_thresholds_by_tube_voltage():
    block = (LAD, slice(3, 7), slice(3, 7), 4, 150)
    image, labels = volume(block)
    assert score(image, labels, kvp=120).by_label[LAD].agatston == pytest.approx(4)
    assert score(image, labels, kvp=100).by_label[LAD].agatston == pytest.approx(4)
    assert score(image, labels, kvp=80).by_label[LAD].agatston == 0
    assert factor_edges() == factor_edges(120) == (130, 200, 300, 400)
    with pytest.raises(InputError, match="140 kVp"):
        score(image, labels, kvp=140)


# -- interpolated volume -----------------------------------------------------------------------------------------------
def sampled_volume(profile, increment, area, steps=20000):
    """Volume of a column by brute force: linear between slices, constant in the outer half slices."""
    z = (np.arange(steps) + 0.5) / steps * len(profile) - 0.5
    return float((np.interp(z, np.arange(len(profile)), profile) >= 130).mean()) * len(profile) * increment * area


@pytest.mark.parametrize("profile", [(0, 0, 400, 0, 0), (0, 150, 500, 300, -50), (400, 0, 0, 0, 700), (131, 131, 0, 0)])
def test_interpolated_volume_is_that_of_the_straight_lines(profile):
    image, labels = volume(shape=(6, 6, len(profile)))
    image.array[1:5, 1:5] = profile
    labels[1:5, 1:5] = LAD
    found = score(image, labels).by_label[LAD]
    assert found.volume_interpolated_mm3 == pytest.approx(sampled_volume(profile, 3.0, 4.0), rel=2e-3)


def test_interpolated_volume_does_not_reach_into_other_calcium():
    below = (LAD, slice(0, 4), slice(0, 4), 2, 300)
    above = (LCX, slice(0, 4), slice(0, 4), 3, 900)
    found = score(*volume(below, above))
    # Half-way up, and down to where 300 to 0 HU crosses 130.
    assert found.by_label[LAD].volume_interpolated_mm3 == pytest.approx(4 * 3 * (0.5 + 170 / 300))
    assert found.by_label[LCX].volume_interpolated_mm3 == pytest.approx(4 * 3 * (0.5 + 770 / 900))


# -- 3 mm averages -----------------------------------------------------------------------------------------------------
def test_no_averages_of_thick_slices():
    block = (LAD, slice(3, 7), slice(3, 7), 4, 250)
    assert score(*volume(block, spacing=(0.5, 0.5, 2.5))).total().agatston_3mm is None
    assert score(*volume(spacing=(0.5, 0.5, 2.4))).total().agatston_3mm == 0


def test_averages_of_1_mm_slices_by_hand():
    # Slab 0: (600 + 0 + 0) / 3 = 200 HU, factor 2. Slab 1: (0 + 390 + 0) / 3 = 130 HU, factor 1. Slab 2: 129 HU.
    blocks = [(LAD, slice(0, 4), slice(0, 4), k, hu) for k, hu in ((0, 600), (4, 390), (7, 387))]
    found = score(*volume(*blocks, shape=(8, 8, 9), spacing=(0.5, 0.5, 1.0))).by_label[LAD]
    assert found.agatston_3mm == pytest.approx(4 * 2 + 4 * 1)
    assert found.agatston == pytest.approx((4 * 4 + 4 * 3 + 4 * 3) / 3)


def test_averages_share_a_slice_between_slabs():
    # 2 mm slices: the second lies half in either slab. (2 x 0 + 1 x 450) / 3 = 150 below; (1 x 450 + 2 x 0) / 3 above.
    found = score(*volume((LAD, slice(0, 4), slice(0, 4), 1, 450), shape=(8, 8, 6), spacing=(0.5, 0.5, 2.0)))
    assert found.by_label[LAD].agatston_3mm == pytest.approx(4 + 4)


def test_equal_voxels_average_to_themselves():
    for increment in (0.4, 0.6, 0.625, 0.7, 1.25, 1.5, 2.0):
        block = (LAD, slice(0, 4), slice(0, 4), slice(None), 130)
        found = score(*volume(block, shape=(8, 8, 30), spacing=(0.5, 0.5, increment))).by_label[LAD]
        assert found.agatston_3mm == pytest.approx(4 * 30 * increment / 3), increment
        assert found.agatston_3mm == pytest.approx(found.agatston)


def test_a_slab_pixel_goes_to_the_label_of_most_of_its_calcium():
    blocks = [(label, slice(0, 4), slice(0, 4), k, 300) for label, k in ((LCX, 0), (LAD, 1), (LAD, 2))]
    found = score(*volume(*blocks, shape=(8, 8, 6), spacing=(0.5, 0.5, 1.0)))
    assert found.by_label[LAD].agatston_3mm == pytest.approx(12)
    assert found.by_label[LCX].agatston_3mm == 0
    # Dense voxels without a label vote too: a rib over the edge of a plaque is not plaque.
    image, labels = volume(*blocks, shape=(8, 8, 6), spacing=(0.5, 0.5, 1.0))
    labels[labels == LAD] = 0
    assert score(image, labels).total().agatston_3mm == 0


# -- orientation -------------------------------------------------------------------------------------------------------
def busy(dtype=np.int16, seed=3):
    rng = np.random.default_rng(seed)
    array = ndimage.gaussian_filter(rng.normal(0, 900, (24, 20, 18)), (1, 1, 0.7)).astype(dtype)
    return array, rng.integers(0, 9, array.shape).repeat(4, 0)[: array.shape[0]].astype(np.uint8)


def copies(array, labels, affine):
    """All 48 ways to store the same volume."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turned = affine.copy()
            turned[:3, :3] = affine[:3, order] * signs
            for axis, sign in enumerate(signs):
                if sign < 0:
                    turned[:3, 3] += affine[:3, order[axis]] * (array.shape[order[axis]] - 1)
            step = tuple(slice(None, None, s) for s in signs)
            yield Image(np.ascontiguousarray(array.transpose(order)[step]), turned), labels.transpose(order)[step]


@pytest.mark.parametrize("spacing", [(0.4, 0.5, 3.0), (0.5, 0.4, 1.1)])
def test_permuted_and_flipped_copies_are_the_same(spacing):
    array, labels = busy()
    base = None
    for image, turned in copies(array, labels, oblique_affine(spacing, degrees=(12.0, -9.0, 20.0))):
        found = score(image, turned)
        base = base or found
        assert found.by_label.keys() == base.by_label.keys()
        for label, one in found.by_label.items():
            assert one.agatston == pytest.approx(base.by_label[label].agatston, rel=1e-12)
            thin = base.by_label[label].agatston_3mm
            assert one.agatston_3mm == (None if thin is None else pytest.approx(thin, rel=1e-12))
            assert one.volume_interpolated_mm3 == pytest.approx(base.by_label[label].volume_interpolated_mm3)
            assert one.lesion_count == base.by_label[label].lesion_count
        for a, b in zip(found.lesions, base.lesions, strict=True):
            assert a.center_mm == pytest.approx(b.center_mm, abs=1e-6)
            assert (a.label, a.slices) == (b.label, b.slices)
    assert base.total().agatston > 0


def test_axial_is_a_view_towards_ras():
    array, labels = busy()
    for image, turned in copies(array, labels, oblique_affine((0.4, 0.5, 3.0), degrees=(12.0, -9.0, 20.0))):
        stack = axial(image)
        assert np.shares_memory(stack.array, image.array)
        assert stack.shape == array.shape
        np.testing.assert_array_equal(axial(image.with_array(turned)).array, labels)
        corner = np.array([[0, 0, 0], [5, 7, 11]])
        inside = np.rint(image.to_index(stack.to_world(corner))).astype(int)
        for at, there in zip(corner, inside, strict=True):
            assert stack.array[tuple(at)] == image.array[tuple(there)]


def test_a_tilted_gantry_keeps_the_distance_across_slices():
    block = (LAD, slice(2, 8), slice(2, 8), slice(1, 7), 250)
    image, labels = volume(block)
    sheared = image.affine.copy()
    sheared[1, 2] = 1.2  # slices shifted along y, still 3 mm apart
    assert score(Image(image.array, sheared), labels).increment_mm == pytest.approx(3.0)
    assert score(Image(image.array, sheared), labels).total().agatston == score(image, labels).total().agatston


# -- input -------------------------------------------------------------------------------------------------------------
def test_stored_type_and_order_in_memory_do_not_matter():
    array, labels = busy()
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    base = score(Image(array, affine), labels)
    for other in (array.astype(np.float32), array.astype(np.float64), array.astype(np.int32), np.asfortranarray(array)):
        assert score(Image(other, affine), labels) == base
    for other in (labels.astype(np.int64), labels.astype(np.int8), np.asfortranarray(labels)):
        assert score(Image(array, affine), other) == base
    only = labels == LM  # a mask is label 1
    assert score(Image(array, affine), only) == score(Image(array, affine), only.astype(np.int16))


def test_input_is_left_alone():
    array, labels = busy()
    before = array.copy(), labels.copy()
    array.setflags(write=False)
    labels.setflags(write=False)
    score(Image(array, np.diag([0.5, 0.5, 1.0, 1.0])), labels)
    np.testing.assert_array_equal(array, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad):
    image, labels = volume((LAD, slice(3, 7), slice(3, 7), 4, 250), dtype=np.float32, spacing=(0.5, 0.5, 1.0))
    image.array[0, 0, 0] = bad  # away from calcium: the padding of a scan
    score(image, labels)
    for place in ((4, 4, 4), (4, 4, 5)):
        broken = image.array.copy()
        broken[place] = bad
        with pytest.raises(InputError, match="not finite"):
            score(Image(broken, image.affine), labels)


def test_labels_that_do_not_fit():
    image, labels = volume((LAD, slice(3, 7), slice(3, 7), 4, 250))
    with pytest.raises(InputError, match="one grid"):
        score(image, labels[1:])
    with pytest.raises(InputError, match="whole numbers"):
        score(image, labels.astype(np.float32))
    with pytest.raises(InputError, match="distance"):
        score(image, labels, increment_mm=0.0)


# -- against a plain implementation ------------------------------------------------------------------------------------
def plain(array, labels, spacing, edges=(130, 200, 300, 400)):
    """Loops over labels, slices and components, with scipy's labelling of each slice."""
    area = spacing[0] * spacing[1]
    results = {}
    for label in SCORED:
        agatston, kept = 0.0, np.zeros(array.shape, bool)
        for k in range(array.shape[2]):
            dense = (labels[:, :, k] == label) & (array[:, :, k] >= edges[0])
            numbered, count = ndimage.label(dense, np.ones((3, 3)))
            for n in range(1, count + 1):
                component = numbered == n
                if component.sum() * area < 1.0 - 1e-6:
                    continue
                factor = sum(array[:, :, k][component].max() >= edge for edge in edges)
                agatston += component.sum() * area * factor * spacing[2] / 3.0
                kept[:, :, k] |= component
        values = array[kept]
        results[label] = (
            agatston,
            kept.sum() * area * spacing[2],
            ndimage.label(kept, np.ones((3, 3, 3)))[1],
            values.mean() if values.size else None,
        )
    return results


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.int16,
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
        elements=st.sampled_from([-900, 0, 129, 130, 150, 199, 200, 260, 300, 399, 400, 1200]),
    ),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0.5, 0.5, 3.0), (0.33, 0.33, 2.5), (0.7, 0.7, 1.5), (1.0, 1.0, 0.5), (0.2, 0.9, 3.0)]),
)
@example(np.full((1, 3, 3), 130, np.int16), 1, (1.0, 1.0, 0.5))
def test_same_as_the_plain_implementation(array, seed, spacing):
    labels = np.random.default_rng(seed).integers(0, 9, array.shape).astype(np.uint8)
    if seed % 2:
        labels = np.minimum(labels, 2)  # large labels that touch
    found = score(Image(array, np.diag([*spacing, 1.0])), labels)
    for label, (points, size, lesions, mean) in plain(array, labels, spacing).items():
        one = found.by_label[label]
        assert one.agatston == pytest.approx(points, rel=1e-9)
        assert one.volume_mm3 == pytest.approx(size, rel=1e-9)
        assert one.lesion_count == lesions
        assert one.mean_hu == pytest.approx(mean)
        own = [x for x in found.lesions if x.label == label]
        assert sum(x.agatston for x in own) == pytest.approx(one.agatston)
        assert sum(x.volume_mm3 for x in own) == pytest.approx(one.volume_mm3)
        if one.density is not None:
            assert 1 <= one.density <= 4 + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.75, 1.0, 1.5]))
def test_averages_are_scores_of_the_averaged_volume(seed, increment):
    """Where one label covers all, averaging first and scoring then gives the same."""
    rng = np.random.default_rng(seed)
    per = round(3 / increment)
    array = rng.integers(0, 700, (9, 8, 4 * per)).astype(np.int16)
    thin = score(Image(array, np.diag([0.6, 0.6, increment, 1.0])), np.full(array.shape, RCA, np.uint8))
    averaged = array.reshape(9, 8, 4, per).mean(axis=3)
    thick = score(Image(averaged, np.diag([0.6, 0.6, 3.0, 1.0])), np.full(averaged.shape, RCA, np.uint8))
    assert thin.total().agatston_3mm == pytest.approx(thick.total().agatston, rel=1e-9)
