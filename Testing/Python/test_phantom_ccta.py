"""The synthetic coronary angiogram: what is painted is what the truth says, on any grid."""

import numpy as np
import pytest
from CardioPrecisionLib.dicom.ct import load_ct
from CardioPrecisionLib.phantom import ccta
from CardioPrecisionLib.phantom.ccta import KINDS, PLAQUE_HU, Lesion, around, path, random_ccta, render_ccta, tube
from CardioPrecisionLib.phantom.ct.shapes import at
from CardioPrecisionLib.polyline import arc_length, even_steps, frames
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

MIXED = (("low_attenuation", 0.2), ("fibrofatty", 0.2), ("fibrous", 0.3), ("calcified", 0.3))
TURN = Rotation.from_euler("xyz", (25, -35, 50), degrees=True).as_matrix()


def clean(scene, **grid):
    n = grid.pop("supersample", 3)
    return render_ccta(scene, around(scene.vessels[0].points, **grid), noise_hu=0, blur_fwhm_mm=0, supersample=n)


def excess(sample):
    """Integral of HU above the background, HU mm3."""
    image = sample.image
    return (image.array.astype(float) - sample.scene.background).sum() * abs(np.linalg.det(image.affine[:3, :3]))


def expected(scene):
    """The same from the truth: integrals along the vessel."""
    v, p = scene.vessels[0], scene.vessels[0].profile()
    lumen = np.trapezoid(np.pi * p.lumen**2 * (1 - (p.shift * v.bend).sum(1)), v.s)
    whole = np.trapezoid(np.pi * p.outer**2, v.s)
    plaque = {}
    for row in scene.truth()["lesions"]:
        for kind, mm3 in row["plaque_mm3"].items():
            plaque[kind] = plaque.get(kind, 0.0) + mm3
    total = lumen * scene.lumen_hu + (whole - lumen - sum(plaque.values())) * scene.wall_hu
    total += sum(mm3 * scene.plaque_hu[kind] for kind, mm3 in plaque.items())
    return total - whole * scene.background


@pytest.mark.parametrize("pattern", ["layers", "sectors"])
@pytest.mark.parametrize("bend", [None, 25.0])
@pytest.mark.parametrize("grid", [{}, {"rotation": TURN, "flips": (True, False, True), "spacing_mm": (0.4, 0.4, 0.6)}])
def test_painted_contrast_is_that_of_the_truth(pattern, bend, grid):
    lesion = Lesion(20, 10, 50, 0.7, 40, 1.2, MIXED, pattern)
    scene = tube(lesion, diameter_mm=(3.8, 3.0), bend_mm=bend, axis=(0.3, -0.5, 0.8))
    assert excess(clean(scene, **grid)) == pytest.approx(expected(scene), rel=0.01)


def test_one_kind_of_plaque_has_its_volume_in_the_picture():
    """The difference between two renderings that differ in the HU of one kind is its volume."""
    lesion = Lesion(20, 12, 40, 0.6, 70, 1.25, MIXED)
    base = tube(lesion)
    rows = base.truth()["lesions"][0]["plaque_mm3"]
    for kind in KINDS:
        other = tube(lesion, plaque_hu=PLAQUE_HU | {kind: PLAQUE_HU[kind] + 1000})
        got = (excess(clean(other)) - excess(clean(base))) / 1000
        assert got == pytest.approx(rows[kind], rel=0.04), kind


def test_measures_of_a_concentric_lesion_by_hand():
    scene = tube(Lesion(20, 10, 60, composition=(("fibrous", 1.0),), flat=0.5), diameter_mm=4.0, wall_mm=0.5)
    (row,) = scene.truth()["lesions"]
    assert row["diameter_stenosis_pct"] == pytest.approx(60)
    assert row["area_stenosis_pct"] == pytest.approx(84)
    assert row["minimal_lumen_diameter_mm"] == pytest.approx(1.6)
    assert row["minimal_lumen_area_mm2"] == pytest.approx(np.pi * 0.64)
    assert row["remodelling_index"] == pytest.approx(1.0)
    # Over the flat half 1 - 0.4**2, over the ramps the mean of 1 - (1 - 0.6 f)**2 with f = (1 + cos) / 2.
    ramp = 2 * 0.6 * 0.5 - 0.36 * 3 / 8
    assert row["plaque_volume_mm3"] == pytest.approx(np.pi * 4 * (5 * 0.84 + 5 * ramp), rel=0.003)
    assert row["wall_mm3"] - row["plaque_volume_mm3"] == pytest.approx(np.pi * (2.5**2 - 2**2) * 10, rel=0.01)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 95), st.floats(0, 1), st.floats(0, 360), st.floats(1, 1.4), st.floats(0, 0.8),
    st.floats(0.05, 0.95), st.sampled_from(["layers", "sectors"]),
)  # fmt: skip
def test_volumes_add_up_and_shares_hold(pct, eccentric, direction, grown, flat, share, pattern):
    kinds = (("calcified", share), ("fibrous", 1 - share))
    lesion = Lesion(20, 8, pct, eccentric, direction, grown, kinds, pattern, flat)
    (row,) = tube(lesion).truth()["lesions"]
    assert sum(row["plaque_mm3"].values()) == pytest.approx(row["plaque_volume_mm3"])
    assert 0 <= row["plaque_volume_mm3"] <= row["wall_mm3"] <= row["vessel_mm3"]
    assert row["diameter_stenosis_pct"] == pytest.approx(pct, abs=0.02 + 0.01 * pct)
    if pattern == "layers" and row["plaque_volume_mm3"] > 1:
        # 40 rings over the plaque's depth.
        assert row["plaque_mm3"]["calcified"] / row["plaque_volume_mm3"] == pytest.approx(share, abs=0.03)


def test_blur_makes_calcium_bloom_into_the_lumen():
    scene = tube(Lesion(20, 8, 60, composition=(("calcified", 1.0),), remodelling=1.3, flat=0.6))
    v, grid = scene.vessels[0], around(scene.vessels[0].points)
    middle = v.points[np.abs(v.s - 20) < 2]
    hu = []
    for blur in (0.0, 0.6, 1.2):
        image = render_ccta(scene, grid, noise_hu=0, blur_fwhm_mm=blur).image
        hu.append(float(np.mean(image.array[tuple(np.rint(image.to_index(middle)).astype(int).T)])))
    assert hu[0] == pytest.approx(400, abs=1)
    assert hu[0] < hu[1] < hu[2]


def test_noise_has_its_deviation_and_its_seed():
    scene = tube()
    grid = around(scene.vessels[0].points)
    one, same, other = (render_ccta(scene, grid, noise_hu=25, seed=n).image.array for n in (1, 1, 2))
    quiet = render_ccta(scene, grid, noise_hu=0).image.array
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one.astype(float) - quiet).std() == pytest.approx(25, rel=0.05)


@pytest.mark.parametrize(
    "bad",
    [
        {"composition": (("fibrous", 0.5),)},
        {"composition": (("gold", 1.0),)},
        {"stenosis_pct": 101},
        {"length_mm": 0},
        {"eccentricity": 2},
    ],
)
def test_impossible_lesions(bad):
    with pytest.raises(ValueError):
        Lesion(**({"at_mm": 20, "length_mm": 8} | bad))


def test_lesions_keep_to_their_vessel_and_apart():
    with pytest.raises(ValueError, match="overlap"):
        tube(Lesion(15, 10), Lesion(22, 10))
    with pytest.raises(ValueError, match="beyond"):
        tube(Lesion(2, 10))


@pytest.mark.parametrize(("seed", "generator", "dominance"), [
    (1, "first", "right"), (2, "first", "left"), (3, "first", "balanced"), (4, "second", None), (7, "second", None),
])  # fmt: skip
def test_the_tree_hangs_together(seed, generator, dominance):
    scene = random_ccta(seed, generator=generator, dominance=dominance)
    if dominance:
        assert scene.dominance == dominance
    names = {v.name for v in scene.vessels}
    assert {"LM", "LAD", "LCX", "RCA"} <= names
    for v in scene.vessels:
        if v.parent:
            parent = scene.vessel(v.parent)
            assert np.linalg.norm(parent.points - v.points[0], axis=1).min() < 0.3
        else:
            assert at(scene.aorta, v.points[:1])[0] < -1
            assert at(scene.aorta, v.points[v.s > v.ostium_mm + 3]).min() > -0.5
        points, radii = path(scene.vessels, v.name)
        assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 1.0
        assert radii.min() >= 0
        # It gets thinner on the whole; left main stems hardly do.
        assert v.radii[-10:].mean() <= v.radii[:10].mean() * (1.05 if v.name == "LM" else 1.0)
    right = scene.dominance != "left"
    if "PDA" in names:
        assert ccta.segment(scene.vessels, "PDA", 5.0) == (4 if right else 15)


def test_segments_in_their_order():
    scene = random_ccta(1, dominance="right", lesions="none")
    for name, wanted in {"RCA": [1, 2, 3], "LAD": [6, 7, 8], "LCX": [11, 13], "LM": [5]}.items():
        v = scene.vessel(name)
        found = [ccta.segment(scene.vessels, name, s) for s in np.linspace(v.ostium_mm, v.length_mm, 60)]
        assert list(dict.fromkeys(found)) == wanted


def test_a_patient_is_the_same_again_and_lesions_are_listed():
    one, other = random_ccta(11), random_ccta(11)
    assert one.truth() == other.truth()
    rows = one.truth()["lesions"]
    assert len(rows) == sum(len(v.lesions) for v in one.vessels)
    assert all(1 <= r["scct_segment"] <= 18 for r in rows)


@pytest.mark.parametrize("generator", ["first", "second"])
def test_blood_where_it_belongs(generator):
    scene = random_ccta(5, generator=generator, lesions="none", fall_hu_per_cm=0.0)
    rca = scene.vessel("RCA")
    grid = around(rca.points[rca.s < 25], spacing_mm=(0.5, 0.5, 0.5), margin_mm=12)
    sample = render_ccta(scene, grid, noise_hu=0, blur_fwhm_mm=0.0)
    points = rca.points[(rca.s > rca.ostium_mm + 4) & (rca.s < 24)]
    index = np.rint(sample.image.to_index(points)).astype(int)
    hu = sample.image.array[tuple(index.T)]
    assert np.median(hu) == pytest.approx(scene.lumen_hu, abs=3)
    # The way out of the aorta is open: nothing dark between its blood and the artery's.
    way = rca.points[rca.s < rca.ostium_mm + 4]
    open_hu = sample.image.array[tuple(np.rint(sample.image.to_index(way)).astype(int).T)]
    assert open_hu.min() > 0.8 * scene.lumen_hu


def test_as_dicom(tmp_path):
    scene = tube(Lesion(20, 8, 50))
    sample = render_ccta(scene, around(scene.vessels[0].points, rotation=TURN), noise_hu=10)
    sample.write_dicom(tmp_path / "ct")
    volume = load_ct(tmp_path / "ct")
    assert volume.usable
    back = volume.image.to_index(sample.image.to_world(np.array([[10.0, 12.0, 8.0]])))[0]
    index = tuple(np.rint(back).astype(int))
    assert volume.image.array[index] == sample.image.array[10, 12, 8]


def test_frames_are_orthonormal_and_do_not_turn_on_a_plane_curve():
    a = np.linspace(0, 2, 80)
    circle = 20 * np.stack([np.cos(a), np.sin(a), 0 * a], 1)
    for points in (circle, np.column_stack([circle[:, :2], 8 * a])):
        t, u, v = frames(points)
        matrix = np.stack([t, u, v], 1)
        np.testing.assert_allclose(
            matrix @ matrix.transpose(0, 2, 1), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-9
        )
        assert (np.linalg.det(matrix) > 0).all()
    _, u, v = frames(circle)
    assert np.ptp(u[:, 2]) < 1e-6
    assert np.ptp(v[:, 2]) < 1e-6


def test_even_steps_keep_ends_and_length():
    a = np.linspace(0, np.pi, 12)
    arc = 10 * np.stack([np.cos(a), np.sin(a), 0 * a, a], 1)
    line = even_steps(arc, 0.5)
    np.testing.assert_allclose(line[[0, -1]], arc[[0, -1]], atol=1e-9)
    steps = np.diff(arc_length(line))
    assert steps.max() <= 0.5 + 1e-6
    assert np.ptp(steps) < 0.01
    assert arc_length(line)[-1] == pytest.approx(10 * np.pi, rel=0.002)
    with pytest.raises(ValueError, match="two different"):
        even_steps(np.zeros((3, 3)), 0.5)
