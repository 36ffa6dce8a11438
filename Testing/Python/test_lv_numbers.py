"""LV function on labels with exact truth: volumes, phases, rates, wall thickness, plausibility, intervals."""

import numpy as np
import pytest
from CardioPrecisionLib.analysis import LabelMap, Loaded, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Sequence
from CardioPrecisionLib.measurement import Patient, State, document, validate
from hypothesis import given, settings
from hypothesis import strategies as st
from LVFunctionLib import plausibility, postprocess
from LVFunctionLib.intervals import conformal_factor, coverage_left_out, intervals
from LVFunctionLib.phases import find_phases, rates
from LVFunctionLib.segments import LV, MYOCARDIUM, RV, SEGMENTS
from LVFunctionLib.thickness import clock, wall_thickness
from LVFunctionLib.volumes import LVParameters, LVVolumes, frame_volumes

SHAPE, SPACING = (96, 96, 12), np.array([1.5, 1.5, 8.0])


def heart(radius=25.0, wall=10.0, length=80.0, offset=0.0, shape=SHAPE, spacing=SPACING, rv=True):
    """Half-ellipsoid LV with its base at slice 1 and an RV ball beside it."""
    i, j, k = np.indices(shape)
    x, y = (i - shape[0] / 2) * spacing[0], (j - shape[1] / 2) * spacing[1]
    z = (k - 0.5) * spacing[2] + offset
    inner = (x**2 + y**2) / radius**2 + (z / length) ** 2
    outer = (x**2 + y**2) / (radius + wall) ** 2 + (z / (length + wall)) ** 2
    labels = np.zeros(shape, np.uint8)
    labels[(outer < 1) & (z >= 0)] = MYOCARDIUM
    labels[(inner < 1) & (z >= 0)] = LV
    if rv:
        ball = ((x - radius - wall - 14) ** 2 + y**2 + (z - 30) ** 2) < 22**2
        labels[ball & (labels == 0)] = RV
    return labels


def study(labels, affine=None, **more):
    affine = np.diag([*SPACING, 1.0]) if affine is None else affine
    rng = np.random.default_rng(0)
    images = (100 + 300 * np.isin(labels, (LV, RV)) + rng.normal(0, 5, labels.shape)).astype(np.int16)
    sequence = Sequence.from_array(images, affine, **more)
    return Loaded(sequence), LabelMap(labels, sequence.affine, SEGMENTS)


def run(labels, patient=None, parameters=None, **more):
    loaded, given_labels = study(labels, **more)
    return LVVolumes().run(
        {"cine_sax": loaded},
        parameters or LVParameters(figures=False),
        silent,
        patient=patient or Patient(),
        labels=given_labels,
    )


@pytest.fixture(scope="module")
def beat():
    """Twelve phases: cosine contraction from radius 25 to 18 mm, wall thickening from 10 to 14 mm."""
    phase = (1 - np.cos(2 * np.pi * np.arange(12) / 12)) / 2
    return np.stack([heart(25 - 7 * p, 10 + 4 * p) for p in phase])


def test_volumes_follow_the_grid(beat):
    result = run(beat, times_ms=np.arange(12) * 75.0, rr_ms=900.0, full_cycle=True)
    m = result.measurements
    exact = 2 / 3 * np.pi * 25**2 * 80 / 1000
    assert m.value("lv_edv") == pytest.approx(exact, rel=0.01)
    assert m.value("lv_esv") == pytest.approx(2 / 3 * np.pi * 18**2 * 80 / 1000, rel=0.01)
    assert m.value("lv_ef") == pytest.approx(100 * (1 - 18**2 / 25**2), abs=0.5)
    outer = 2 / 3 * np.pi * 35**2 * 90 / 1000
    assert m.value("lv_mass") == pytest.approx(1.05 * (outer - exact), rel=0.02)
    assert m.value("heart_rate") == pytest.approx(60000 / 900)
    assert m.value("cardiac_output") == pytest.approx(m.value("lv_sv") * 60 / 900, rel=1e-6)
    assert result.record["ed_frame"] == 1
    assert result.record["es_frame"] == 7
    validate(document("lv-function", Patient(), m, result.warnings))


@settings(max_examples=15, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3), st.integers(0, 2**31))
def test_any_orientation_gives_the_same_numbers(order, flips, seed):
    """Frames turned, mirrored and with the slice axis elsewhere, as a file may hold them."""
    from LVFunctionLib.cine import slices_last

    labels = np.stack([heart(), heart(20, 12)])
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = q * SPACING
    affine[:3, 3] = rng.normal(0, 100, 3)
    reference = run(labels, affine=affine).measurements
    moved, turned = labels.transpose(0, *(o + 1 for o in order)), affine.copy()
    turned[:, :3] = affine[:, list(order)]
    for axis, flip in enumerate(flips):
        if flip:
            moved = np.flip(moved, axis + 1)
            turned[:3, 3] += turned[:3, axis] * (moved.shape[axis + 1] - 1)
            turned[:3, axis] *= -1
    back, affine_back, _ = slices_last(moved, turned)
    got = run(np.ascontiguousarray(back), affine=affine_back).measurements
    for name in ("lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_ef"):
        assert got.value(name) == pytest.approx(reference.value(name), rel=1e-9), name
    for name in ("wall_thickness_ed_mean", "wall_thickness_ed_max", "wall_thickening_sd"):
        assert got.value(name) == pytest.approx(reference.value(name), rel=1e-4), name


def test_single_phase_has_volumes_but_no_ejection_fraction():
    m = run(heart()[None]).measurements
    assert m["lv_edv"].state is State.MEASURED
    assert m["lv_ef"].state is State.NOT_ASSESSABLE
    assert m["lv_ef"].value is None


def test_two_phases():
    m = run(np.stack([heart(20, 12), heart()])).measurements
    assert m.value("lv_edv") > m.value("lv_esv")
    assert m["heart_rate"].state is State.NOT_ASSESSABLE
    assert m["cardiac_output"].state is State.NOT_ASSESSABLE


def test_frames_without_labels_are_not_end_systole(beat):
    labels = beat.copy()
    labels[3:6] = 0
    result = run(labels)
    assert result.record["es_frame"] == 7
    assert result.tables[0].columns["lv_ml"][3] is None


def test_indices_and_reference_need_the_patient(beat):
    bare = run(beat).measurements
    assert bare["lv_edv_index"].state is State.NOT_ASSESSABLE
    result = run(beat, Patient(sex="female", height_cm=165, weight_kg=60, age_years=50))
    bsa = (165 * 60 / 3600) ** 0.5
    assert result.measurements.value("lv_edv_index") == pytest.approx(result.measurements.value("lv_edv") / bsa)
    table = next(t for t in result.tables if t.name == "reference")
    ef = table.columns["name"].index("lv_ef")
    assert table.columns["z"][ef] == pytest.approx((result.measurements.value("lv_ef") - 67) / 5)


def test_no_heart_is_not_found_and_never_zero():
    labels = np.zeros((2, *SHAPE), np.uint8)
    labels[:, 40:42, 40:42, 5] = RV
    m = run(labels).measurements
    assert {row.state for row in m} == {State.NOT_FOUND}


def test_cut_apex_is_not_assessable():
    labels = np.stack([heart(), heart(18, 14)])[..., :5]
    m = run(labels).measurements
    assert m["lv_edv"].state is State.NOT_ASSESSABLE
    assert "ends inside the ventricle" in m["lv_edv"].reason


def test_cut_base_is_a_warning():
    result = run(np.stack([heart(), heart(18, 14)])[..., 2:])
    assert result.measurements["lv_edv"].state is State.MEASURED
    assert any("most basal slice" in w for w in result.warnings)


def test_still_frames_have_no_ejection_fraction():
    m = run(np.stack([heart(), heart()])).measurements
    assert m["lv_ef"].state is State.NOT_ASSESSABLE
    assert m["lv_edv"].state is State.MEASURED


def test_changing_mass_and_an_empty_slice_are_said():
    ed, es = heart(), heart(18, 22)
    ed[..., 5] = 0
    found = plausibility.check(np.stack([ed, es]), 0, 1, frame_volumes(np.stack([ed, es]), 0.018), 8.0)
    assert any("myocardial volume differs" in w for w in found.warnings)
    assert any("holds no left ventricle" in w for w in found.warnings)


def test_labels_of_another_size_are_refused(beat):
    loaded, labels = study(beat)
    wrong = LabelMap(labels.array[:, :-1], labels.affine, SEGMENTS)
    with pytest.raises(InputError, match="same grid"):
        LVVolumes().run({"cine_sax": loaded}, LVParameters(), silent, patient=Patient(), labels=wrong)


def test_phases_ignore_one_noisy_frame():
    curve = 100 + 50 * np.cos(2 * np.pi * np.arange(20) / 20)
    curve[9] += 8
    curve[12] -= 30  # a dropped basal slice
    found = find_phases(curve, np.ones(20, bool), True)
    assert found.ed == 0
    assert abs(found.es - 10) <= 2


def test_rates_of_a_known_curve():
    """A cosine of amplitude A and period T has peak rates pi * 2A / T."""
    n, rr, amplitude = 24, 900.0, 40.0
    t = np.arange(n) * rr / n
    found = rates(100 + amplitude * np.cos(2 * np.pi * t / rr), t, rr, 0, 12)
    expected = amplitude * 2 * np.pi / (rr / 1000)
    assert found.peak_ejection_ml_s == pytest.approx(expected, rel=1e-3)
    assert found.peak_filling_ml_s == pytest.approx(expected, rel=1e-3)
    assert found.time_to_peak_ejection_ms == pytest.approx(rr / 4, abs=rr / 200)


def test_rates_need_phases():
    assert rates(np.array([100.0, 50.0]), np.array([0.0, 300.0]), 900.0, 0, 1) is None


@pytest.mark.parametrize(("tilt", "aspect"), [(0.0, 1.0), (0.35, 1.0), (0.0, 1.25)])
def test_wall_thickness_is_perpendicular(tilt, aspect):
    """A shell 9 mm thick: cylinder (round or oval) or cone, whose slices show it 1/cos(tilt) thicker."""
    spacing, shape, thickness = np.array([1.25, 1.25, 6.0]), (110, 110, 8), 9.0
    i, j, k = np.indices(shape)
    x, y = (i - 55) * spacing[0], (j - 55) * spacing[1]
    radius = 30 - np.tan(tilt) * (k - 4) * spacing[2]
    if aspect == 1.0:
        r = np.hypot(x, y)
    else:  # an oval by its true distance: points nearer than 9 mm outside the ellipse
        theta = np.linspace(0, 2 * np.pi, 2000)
        outline = np.stack([30 * np.cos(theta), 30 * aspect * np.sin(theta)], 1)
        from scipy.spatial import cKDTree

        distance = cKDTree(outline).query(np.stack([x[..., 0], y[..., 0]], -1))[0][..., None]
        inside = (x / 30) ** 2 + (y / (30 * aspect)) ** 2 < 1
        labels = np.where(inside, LV, np.where(distance < thickness, MYOCARDIUM, 0)).astype(np.uint8)
    if aspect == 1.0:
        labels = np.where(r < radius, LV, np.where(r < radius + thickness / np.cos(tilt), MYOCARDIUM, 0)).astype(
            np.uint8
        )
    stats = wall_thickness(labels, spacing, clock(labels, np.diag([*spacing, 1.0]))).statistics()
    assert stats["mean"] == pytest.approx(thickness, abs=0.25)
    assert stats["sd"] < 0.35


def test_wall_without_a_ring_is_not_measured():
    labels = heart()
    labels[:48][labels[:48] == MYOCARDIUM] = 0
    assert wall_thickness(labels, SPACING, clock(labels, np.diag([*SPACING, 1.0]))).statistics() is None


def test_postprocessing_keeps_one_heart():
    labels = heart()
    clean = labels.copy()
    labels[2:6, 2:6, 3] = LV
    labels[90:94, 2:6, 3] = RV
    labels[47, 47, 4] = 0
    postprocess.clean(labels)
    assert np.array_equal(labels, clean)


def test_postprocessing_drops_what_does_not_continue():
    """A ring above the base that touches the ventricle in one voxel column only: an aorta, not the ventricle."""
    labels = heart()
    clean = labels.copy()
    i, j = np.indices(SHAPE[:2])
    ring = np.hypot(i - 48, j - 48 + 26) < 10
    assert (ring & (labels[:, :, 1] > 0)).any()
    labels[ring, 0] = MYOCARDIUM
    labels[np.hypot(i - 48, j - 48 + 26) < 6, 0] = LV
    postprocess.clean(labels)
    assert np.array_equal(labels, clean)


def test_conformal_intervals_cover():
    rng = np.random.default_rng(1)
    scales = rng.uniform(1, 3, 400)
    errors = rng.normal(0, scales)
    assert coverage_left_out(errors, scales, 0.9) == pytest.approx(0.9, abs=0.04)
    assert conformal_factor([1, 2, 3], [1, 1, 1], 0.9) == 3


def test_intervals_widen_with_disagreement():
    calibration = {"level": 0.9, "factors": {"lv_edv": 1.5}}
    areas = np.zeros((4, 2, 10, 4), np.float32)
    areas[:, 0, :, 3], areas[:, 1, :, 3] = 1500, 700
    still = intervals({"lv_edv": 120.0}, areas, 8.0, calibration)["lv_edv"]
    areas[:2, 0, :, 3] = 1800
    wide = intervals({"lv_edv": 120.0}, areas, 8.0, calibration)["lv_edv"]
    assert wide.half_width > 2 * still.half_width > 0
    assert intervals({"lv_edv": 120.0}, areas, 8.0, None) == {}
