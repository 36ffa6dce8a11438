"""Outer wall and lumen along an artery, on any grid, and what keeps a stretch from being measured."""

import numpy as np
import pytest
from CardioPrecisionLib.image import Image
from CardioPrecisionLib.phantom.ccta import PLAQUE_HU, Lesion, around, render_ccta, tube
from ccta_scenes import TURN
from CoronaryPlaqueLib.course import measure_vessel
from CoronaryPlaqueLib.surface import first_basin, rounded, smooth_surface, without_runaways
from CoronaryPlaqueLib.wall import normal_thickness, thickness
from scipy import ndimage
from scipy.spatial import cKDTree

SOFT = PLAQUE_HU | {"fibrofatty": 60.0}


def tube_of(*lesions, diameter=3.6, wall=0.6, length=34, **more):
    return tube(*lesions, length_mm=length, diameter_mm=diameter, wall_mm=wall, axis=(0.3, -0.2, 0.9),
                plaque_hu=SOFT, **more)  # fmt: skip


def image_of(scene, seed=1, noise=30, **grid):
    return render_ccta(scene, around(scene.vessels[0].lumen_line, margin_mm=6, **grid), noise_hu=noise, seed=seed).image


def line_of(scene):
    return scene.vessels[0].lumen_line[8:-8:2]


def truth_at(scene, course):
    profile = scene.vessels[0].profile()
    _, nearest = cKDTree(scene.vessels[0].points).query(course.axis)
    inner = (course.distance > 2) & (course.distance < course.length_mm - 2)
    return profile.lumen[nearest], profile.outer[nearest], inner


@pytest.mark.parametrize("wall", [0.4, 0.8])
def test_lumen_and_wall_of_a_healthy_artery(wall):
    scene = tube_of(wall=wall, bend_mm=25.0)
    course = measure_vessel(image_of(scene), line_of(scene), "LAD")
    lumen, outer, inner = truth_at(scene, course)
    assert np.abs(course.diameter / 2 - lumen)[inner].max() < 0.15
    assert np.abs(np.sqrt(course.wall_area / np.pi) - outer)[inner].max() < 0.2
    assert course.normal_wall_mm == pytest.approx(wall, abs=0.1)
    assert (course.wall >= course.lumen).all()
    assert np.nanmax(course.diameter_stenosis[inner]) <= 10
    assert course.lesions == ()
    assert course.usable.all()
    assert course.plaque_reason is None
    assert np.median(course.lumen_hu) == pytest.approx(400, abs=10)


GRIDS = {
    "straight": {},
    "oblique": {"rotation": TURN},
    "flipped": {"flips": (True, False, True)},
    "anisotropic": {"spacing_mm": (0.4, 0.4, 0.6), "rotation": TURN},
}


@pytest.fixture(scope="module")
def diseased():
    return tube_of(Lesion(16, 11, 50, 0.7, 120, 1.2, (("fibrofatty", 1.0),)), bend_mm=25.0)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_the_same_on_any_grid(diseased, grid):
    course = measure_vessel(image_of(diseased, **grid), line_of(diseased), "LAD")
    (truth,) = diseased.truth()["lesions"]
    (lesion,) = course.lesions
    assert lesion.diameter_stenosis == pytest.approx(50, abs=5)
    assert lesion.area_stenosis == pytest.approx(75, abs=5)
    assert lesion.minimal_lumen_area == pytest.approx(truth["minimal_lumen_area_mm2"], abs=0.6)
    assert lesion.minimal_lumen_diameter == pytest.approx(1.8, abs=0.2)
    assert lesion.reference_diameter == pytest.approx(3.6, abs=0.15)
    assert lesion.remodeling_index == pytest.approx(1.2, abs=0.06)
    assert lesion.positive_remodelling is True
    assert lesion.volumes.total_mm3 == pytest.approx(truth["plaque_volume_mm3"], rel=0.1)
    assert lesion.length_mm == pytest.approx(11, abs=3)
    # The plane of each section holds the middle of its lumen.
    assert np.abs(((course.line - course.axis) * course.frames[:, 0]).sum(1)).max() < 1e-6


def test_an_occlusion_is_one():
    scene = tube_of(Lesion(17, 9, 100, composition=(("fibrofatty", 1.0),), flat=0.6))
    course = measure_vessel(image_of(scene), line_of(scene), "LAD")
    (lesion,) = course.lesions
    assert lesion.diameter_stenosis >= 95
    assert lesion.minimal_lumen_area < 0.1


# -- stretches that are not measured -----------------------------------------------------------------------------------
def test_a_stent_is_told_and_not_measured():
    scene = tube_of()
    image = image_of(scene)
    grid = image.to_world(np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1).reshape(-1, 3))
    vessel = scene.vessels[0]
    distance, nearest = cKDTree(vessel.points).query(grid)
    ring = (np.abs(distance - 1.9) < 0.25) & (np.abs(vessel.s[nearest] - 17) < 5)
    metal = ndimage.gaussian_filter(ring.reshape(image.shape).astype(np.float32) * 3000, 0.6)
    course = measure_vessel(Image((image.array + metal).astype(np.int16), image.affine), line_of(scene), "LAD")
    (why,) = course.unusable
    assert "stent" in why.reason
    assert why.end_mm - why.start_mm == pytest.approx(10, abs=2)
    at = (course.distance >= why.start_mm) & (course.distance <= why.end_mm)
    assert not course.usable[at].any()
    assert np.isnan(course.diameter_stenosis[at]).all()
    assert course.usable[~at].all()


def test_calcium_is_no_stent():
    scene = tube_of(Lesion(17, 10, 40, composition=(("calcified", 1.0),)))
    assert measure_vessel(image_of(scene), line_of(scene), "LAD").usable.all()


def test_a_leap_between_slabs_is_told():
    scene = tube_of()
    image = image_of(scene)
    moved = image.array.copy()
    half = image.shape[2] // 2
    moved[:, :, half:] = np.roll(moved[:, :, half:], 4, axis=0)
    course = measure_vessel(Image(moved, image.affine), line_of(scene), "LAD")
    (why,) = course.unusable
    assert "leaps between two slices" in why.reason
    place = image.to_index(course.axis)[~course.usable, 2]
    assert abs(place.mean() - (half - 0.5)) < 1.5
    assert course.lesions == ()


def test_an_artery_that_leaves_the_scan():
    scene = tube_of()
    image = image_of(scene)
    cut = image.crop((0, 0, 0), (*image.shape[:2], image.shape[2] // 2))
    course = measure_vessel(cut, line_of(scene), "LAD")
    assert "leaves the scan" in course.unusable[-1].reason
    assert not course.usable[-20:].any()
    assert np.isnan(course.lumen_area[-20:]).all()


def test_coarse_voxels_allow_no_plaque(diseased):
    image = image_of(diseased, spacing_mm=(0.5, 0.5, 1.5), noise=10)
    course = measure_vessel(image, line_of(diseased), "LAD")
    assert "1.5 mm are too coarse for plaque" in course.plaque_reason
    assert all(one.volumes is None and one.remodeling_index is None for one in course.lesions)
    assert all(one.low_attenuation is None and one.spotty_calcium is None for one in course.lesions)


# -- parts -------------------------------------------------------------------------------------------------------------
def test_a_surface_passes_over_what_only_one_ray_says():
    place = np.arange(40)
    cost = np.abs(place - 20.0)[None, None].repeat(12, 0).repeat(16, 1)
    cost[6, 4] = np.abs(place - 5.0)
    np.testing.assert_allclose(smooth_surface(cost, 3.0, 3.0), 20, atol=0.6)
    assert smooth_surface(cost, 0.0, 0.0)[6, 4] == pytest.approx(5, abs=0.6)


def test_the_first_basin_counts():
    cost = np.array([3.0, 1, 0, 2, 6, 2, -5, -6])
    assert first_basin(cost, 4.0).argmin() == 2
    assert first_basin(cost, 10.0).argmin() == 7


def test_rays_that_run_off_are_drawn_on():
    border = np.full((3, 32), 1.5)
    border[1, 3:6] = 5.0
    np.testing.assert_allclose(without_runaways(border), 1.5)
    wavy = 2 + 0.2 * np.cos(np.arange(32) * 2 * np.pi / 32 * 9)
    np.testing.assert_allclose(rounded(np.tile(wavy, (5, 1)), 4, 1.0), 2.0, atol=1e-9)


def test_normal_thickness_is_that_of_the_thin_healthy_part():
    lumen = np.full(160, np.pi * 1.8**2)
    wall = np.full(160, np.pi * 2.4**2)
    wall[60:110] = np.pi * 3.0**2
    thick = thickness(lumen, wall)
    assert thick[0] == pytest.approx(0.6)
    assert normal_thickness(thick, np.zeros(160), 0.25) == pytest.approx(0.6, abs=0.01)
    # Ill from end to end: no more than 1 mm is believed.
    assert normal_thickness(np.full(160, 1.6), np.full(160, 30.0), 0.25) == 1.0
