"""Middle lines of coronary arteries between seeds: near the truth on any grid, or one line that says why not."""

from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.analysis import silent
from CardioPrecisionLib.errors import Cancelled
from CardioPrecisionLib.image import Image
from CardioPrecisionLib.phantom.ccta import Lesion, around, random_ccta, render_ccta, tube
from CardioPrecisionLib.polyline import arc_length
from ccta_scenes import TURN, judge, scanned, seeds
from CoronaryPlaqueLib.centreline import Untraceable, noise_of, trace, trace_all
from CoronaryPlaqueLib.seeds import VesselSeeds
from CoronaryPlaqueLib.vesselness import thick, tubeness

GRIDS = {
    "axial 0.4": {"spacing_mm": (0.4, 0.4, 0.4)},
    "flipped 0.6": {"spacing_mm": (0.6, 0.6, 0.6), "flips": (True, False, True)},
    "oblique 0.5": {"spacing_mm": (0.5, 0.5, 0.5), "rotation": TURN},
    "oblique, thick slices": {"spacing_mm": (0.4, 0.4, 0.8), "rotation": TURN, "flips": (False, True, False)},
}


@pytest.fixture(scope="module")
def curved():
    lesion = Lesion(24, 8, 50, 0.8, 120, 1.1, (("fibrofatty", 0.6), ("calcified", 0.4)), "sectors")
    return tube(lesion, length_mm=48, diameter_mm=(3.6, 2.4), bend_mm=22, axis=(0.4, 0.2, 0.9))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_curved_tapering_artery_on_any_grid(curved, grid):
    truth = curved.vessels[0].lumen_line
    sample = render_ccta(curved, around(truth, **grid), noise_hu=25, seed=3)
    line = trace(sample.image, seeds(truth, off=(0.5, -0.5, 0.3)))
    distance, radius, covered = judge(line, truth[6:-6], curved.vessels[0].profile().lumen[6:-6])
    assert distance.mean() < 0.15
    assert (distance < np.minimum(radius / 2, 0.5)).mean() > 0.95
    assert covered > 0.97
    assert np.nanmean(np.abs(line.radius_mm - radius)) < 0.12
    assert np.isfinite(line.radius_mm).mean() > 0.95
    # In order from the ostium, at even steps.
    assert np.linalg.norm(line.points[0] - truth[6]) < 1.5
    steps = np.diff(line.s)
    assert steps.max() < 0.42
    assert np.ptp(steps) < 0.05
    assert line.gaps == ()
    assert np.median(line.lumen_hu) == pytest.approx(400, abs=20)


@pytest.mark.parametrize(
    ("generator", "seed", "name", "grid"),
    [
        ("first", 2, "RCA", "oblique 0.5"),
        ("first", 5, "LAD", "flipped 0.6"),
        ("second", 4, "LAD", "flipped 0.6"),
        pytest.param("second", 7, "RCA", "oblique 0.5", marks=pytest.mark.slow),
        pytest.param("first", 8, "LCX", "oblique, thick slices", marks=pytest.mark.slow),
        pytest.param("second", 9, "LCX", "oblique 0.5", marks=pytest.mark.slow),
    ],
)
def test_arteries_on_a_heart(generator, seed, name, grid):
    """From ostium to 60 mm beyond, beside chambers, veins and the aorta."""
    scene = random_ccta(seed, generator=generator)
    image, points, radii = scanned(scene, name, until_mm=70, noise_hu=22, seed=seed, **GRIDS[grid])
    line = trace(image, seeds(points, (4, -4), name))
    distance, _, covered = judge(line, points, radii)
    assert distance.mean() < 0.3
    assert (distance < 0.5).mean() >= 0.9
    assert covered >= 0.9
    # No shortcut: it is as long as the artery between its two ends.
    first, last = (int(np.linalg.norm(points - end, axis=1).argmin()) for end in line.points[[0, -1]])
    assert first < 0.05 * len(points)
    assert last > 0.95 * len(points)
    assert line.length_mm == pytest.approx(arc_length(points[first : last + 1])[-1], rel=0.05)


def test_the_way_begins_at_the_aorta_although_the_point_lies_in_it():
    scene = random_ccta(2, lesions="none")
    rca = scene.vessel("RCA")
    start = int(np.argmin(np.abs(rca.s - rca.ostium_mm)))
    way = rca.points[: start + 120]
    image = render_ccta(scene, around(way, spacing_mm=(0.5,) * 3, margin_mm=16), noise_hu=20).image
    inside = VesselSeeds("RCA", rca.points[0], way[-1], np.zeros((0, 3)))
    line = trace(image, inside)
    assert np.linalg.norm(line.points[0] - rca.points[start]) < 2.5


def test_a_point_on_the_way_leads_around():
    """Of two ways between the ends, the one with the point on it is taken."""
    a = tube(length_mm=40, diameter_mm=3.2, bend_mm=14)
    ends = a.vessels[0].points[[0, -1]]
    middle = ends.mean(0)
    u = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    # The same arch on the other side of the chord.
    offset = a.vessels[0].points - middle
    along = (offset @ u)[:, None] * u
    other = replace(a.vessels[0], name="D1", points=middle + along - (offset - along))
    scene = replace(a, vessels=(a.vessels[0], other))
    image = render_ccta(scene, around(np.concatenate([a.vessels[0].points, other.points])), noise_hu=15).image
    for vessel in scene.vessels:
        via = vessel.points[[len(vessel.points) // 2]]
        line = trace(image, VesselSeeds("LAD", ends[0], ends[1], via))
        distance, _, covered = judge(line, vessel.points, vessel.radii)
        assert covered > 0.95
        assert np.percentile(distance, 90) < 0.5


def test_an_occlusion_is_bridged_and_told():
    scene = tube(Lesion(22, 8, 100, composition=(("fibrofatty", 1.0),), flat=0.6), length_mm=44)
    truth = scene.vessels[0].points
    line = trace(render_ccta(scene, around(truth), noise_hu=20).image, seeds(truth))
    assert len(line.gaps) == 1
    (start, end), shift = line.gaps[0], 1.5
    assert 18 - shift - 3 < start < 22 < end + shift < 26 + 3
    distance, _, covered = judge(line, truth, scene.vessels[0].radii)
    assert covered > 0.9
    assert distance.max() < 1.0


# -- one line that says why not ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def straight():
    scene = tube(length_mm=40, diameter_mm=3.2)
    points = scene.vessels[0].points
    return render_ccta(scene, around(points, margin_mm=12), noise_hu=20).image, points


def why(image, one):
    with pytest.raises(Untraceable) as error:
        trace(image, one)
    message = str(error.value)
    assert message.startswith(f"{one.vessel}: ")
    assert "\n" not in message
    return message


def test_points_outside_of_the_scan(straight):
    image, points = straight
    far = VesselSeeds("LAD", points[5], points[-5] + [0, 0, 60.0], np.zeros((0, 3)))
    assert "distal point (0.0, 0.0, 79.0 mm RAS) lies outside of the scan" in why(image, far)


def test_points_beside_the_artery(straight):
    image, points = straight
    beside = VesselSeeds("LAD", points[5], points[-5] + [7.0, 0, 0], np.zeros((0, 3)))
    assert "set it in the contrast-filled artery" in why(image, beside)
    beside = VesselSeeds("LAD", points[5] + [8.0, 0, 0], points[-5], np.zeros((0, 3)))
    assert "is not in contrast-filled blood" in why(image, beside)


def test_no_contrast(straight):
    image, points = straight
    plain = Image(np.where(image.array > 45, 45, image.array).astype(np.int16), image.affine)
    assert "no contrast-enhanced scan" in why(plain, seeds(points))


def test_the_point_in_another_artery():
    one, other = tube(length_mm=40, diameter_mm=3.0), tube(length_mm=40, diameter_mm=3.0, center=(34.0, 0, 0))
    scene = replace(one, vessels=(one.vessels[0], replace(other.vessels[0], name="D1")))
    points = np.concatenate([v.points for v in scene.vessels])
    image = render_ccta(scene, around(points, margin_mm=6, spacing_mm=(0.6,) * 3), noise_hu=20).image
    wrong = VesselSeeds("LAD", one.vessels[0].points[5], other.vessels[0].points[-5], np.zeros((0, 3)))
    assert "no contrast was found on the way" in why(image, wrong)


def test_a_way_through_a_chamber_is_refused():
    """Two arteries that only a chamber connects."""
    scene = tube(length_mm=60, diameter_mm=3.0)
    points = scene.vessels[0].points
    image = render_ccta(scene, around(points, margin_mm=16, spacing_mm=(0.6,) * 3), noise_hu=15).image
    grid = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1).reshape(-1, 3)
    blob = np.linalg.norm(image.to_world(grid), axis=1).reshape(image.shape) < 12
    chamber = Image(np.where(blob, 400, image.array).astype(np.int16), image.affine)
    assert "through a chamber" in why(chamber, seeds(points))


def test_several_arteries_each_with_its_line_or_its_reason(straight):
    image, points = straight
    good = seeds(points, name="LAD")
    bad = VesselSeeds("RCA", points[5], points[-5] + [7.0, 0, 0], np.zeros((0, 3)))
    told = []
    lines, reasons = trace_all(image, [good, bad], progress=lambda f, stage: told.append((f, stage)))
    assert list(lines) == ["LAD"]
    assert list(reasons) == ["RCA"]
    assert [f for f, _ in told] == sorted(f for f, _ in told)

    def stop(fraction, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        trace_all(image, [good], progress=stop)
    assert silent(0.0, "") is None


def test_noise_is_measured(straight):
    image, _ = straight
    white = np.random.default_rng(0).normal(100, 30, (60, 60, 60)).astype(np.int16)
    assert noise_of(Image(white, np.eye(4))) == pytest.approx(30, rel=0.05)
    assert 5 < noise_of(image) < 30


# -- the field that the search walks on --------------------------------------------------------------------------------
def test_a_tube_is_more_of_a_tube_than_a_plane_a_ball_edge_or_nothing():
    i, j, _ = np.meshgrid(*[np.arange(48) - 23.5] * 3, indexing="ij")
    step, middle = 0.6, np.ravel_multi_index((23, 23, 23), (48, 48, 48))
    shapes = {
        "tube": np.hypot(i, j) * step < 1.5,
        "plane": np.abs(i) * step < 1.5,
        "wide": np.hypot(i, j) * step < 9,
    }
    got = {
        n: float(tubeness(np.where(s, 400.0, 0.0).astype(np.float32), np.array([middle]), step, 400.0)[0])
        for n, s in shapes.items()
    }
    assert got["tube"] > 0.7
    assert got["plane"] < 0.05
    assert got["wide"] < 0.1
    assert len(tubeness(np.zeros((8, 8, 8), np.float32), np.zeros(0, int), step, 400.0)) == 0


def test_thick_keeps_chambers_and_drops_arteries():
    i, j, k = np.meshgrid(*[np.arange(60) * 0.5] * 3, indexing="ij")
    ball = (i - 10) ** 2 + (j - 15) ** 2 + (k - 15) ** 2 < 8**2
    artery = np.hypot(j - 15, k - 15) < 1.75
    found = thick(ball | artery, 0.5, 4.5)
    assert (found & ball).sum() > 0.95 * ball.sum()
    assert (found & artery & (i > 20)).sum() == 0
    assert not thick(artery, 0.5, 4.5).any()
    assert not thick(np.zeros((5, 5, 5), bool), 0.5, 4.5).any()
