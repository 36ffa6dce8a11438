"""The cine phantom: closed forms against integration, labels against closed forms, images, files."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import phantom_accuracy
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import read_frames
from CardioPrecisionLib.phantom import CineHeart, CineSample, Geometry, demo_patient
from CardioPrecisionLib.phantom.sampling import label_frames, random_rotation
from scipy.integrate import quad

SMALL = Geometry(pixel_mm=(2.0, 2.0), matrix=(128, 120))


@pytest.fixture(scope="module")
def cine() -> CineSample:
    return demo_patient().sample


# -- the truth ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("group", phantom_accuracy.GROUPS)
@pytest.mark.parametrize("phase", [0.0, 0.2, 0.36, 0.6])
def test_volumes_are_the_integrals_of_the_areas(group: str, phase: float) -> None:
    heart = CineHeart.random(3, group)
    base, apex = heart.shape(phase).base_mm, heart.length_mm
    truth = heart.truth(phase)
    for structure, expected in enumerate((truth.lv_ml, truth.lv_ml + truth.myocardium_ml, truth.rv_ml)):
        shape = heart.shape(phase)
        ends = [base + length for length in (shape.endo_length, shape.epi_length, shape.rv_length)]
        integral = quad(
            lambda z, s=structure: float(heart.areas(phase, z)[s]),
            base,
            apex,
            points=ends,
            epsabs=1e-4,
            epsrel=1e-10,
            limit=200,
        )[0]
        assert integral / 1000 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("group", phantom_accuracy.GROUPS)
def test_volumes_are_those_of_the_solid(group: str) -> None:
    """A fine lattice of points, told apart by `inside` alone, fills the exact volumes."""
    heart = CineHeart.random(5, group)
    step = 1.0
    x, y = np.meshgrid(np.arange(-130, 90, step), np.arange(-110, 110, step), indexing="ij")
    for phase in (0.0, 0.36):
        z = heart.shape(phase).base_mm + np.arange(0.5, heart.length_mm, 1.0) * step
        counts = np.zeros(4)
        for level in z:
            counts += np.bincount(heart.inside(x, y, level, phase).ravel(), minlength=4)
        truth = heart.truth(phase)
        expected = [truth.lv_ml, truth.myocardium_ml, truth.rv_ml]
        np.testing.assert_allclose(counts[1:] * step**3 / 1000, expected, rtol=0.004)


def test_measurements_follow_from_the_parameters() -> None:
    m = CineHeart().true_measurements()
    expected = {
        "lv_edv": 150,
        "lv_esv": 60,
        "lv_sv": 90,
        "lv_ef": 60,
        "lv_mass": 110,
        "rv_edv": 164,
        "rv_esv": 74,
        "rv_sv": 90,
        "rv_ef": 100 * 90 / 164,
        "heart_rate": 60000 / 900,
        "cardiac_output": 6.0,
    }
    assert m == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_frames", [15, 20, 25, 30, 50])
def test_any_usual_number_of_frames_meets_the_extremes(n_frames: int) -> None:
    heart = CineHeart()
    assert heart.true_measurements(n_frames) == pytest.approx(heart.true_measurements(), rel=1e-12)


def test_cycle_ejects_once_and_fills_once() -> None:
    heart = replace(CineHeart(), ed_phase=0.37)
    lv = np.roll(heart.truth(np.arange(1000) / 1000).lv_ml, -370)
    assert np.argmax(lv) == 0
    falling = np.diff(lv[:365])
    assert (falling <= 1e-9).all()
    assert (np.diff(lv[365:]) >= -1e-9).all()
    assert lv.min() == 60.0
    assert lv.max() == 150.0


def test_late_right_ventricle_is_measured_at_the_left_ones_frames() -> None:
    heart = replace(CineHeart(), rv_delay=0.1)
    assert heart.true_measurements()["rv_esv"] > 74.0 + 1
    assert heart.truth(0.365 + 0.1).rv_ml == pytest.approx(74.0)


def test_myocardium_is_conserved_or_prescribed() -> None:
    phases = np.linspace(0, 1, 21)
    assert np.ptp(CineHeart().truth(phases).myocardium_ml) == 0
    assert replace(CineHeart(), mass_change_es=0.05).truth(0.36).myocardium_ml == pytest.approx(110 / 1.05 * 1.05)


# -- the labels --------------------------------------------------------------------------------------------------------
def test_labels_at_any_base_offset_and_orientation() -> None:
    errors = phantom_accuracy.study((8, 10))
    assert np.abs(errors.volume_percent.mean(0)).max() <= 1.0
    assert errors.share_of_bound.max() <= 1.0
    assert np.abs(errors.ef_points).mean() <= 2.0
    print(phantom_accuracy.report("8-10 mm", errors))


def test_labels_with_the_base_on_a_slab_border() -> None:
    """End-diastolic volumes; and end-systolic ones where the base descends by exactly one slice distance."""
    anywhere_in_systole = phantom_accuracy.study((8, 10), on_border=True)
    at_ed = [phantom_accuracy.NAMES.index(n) for n in ("lv_edv", "lv_mass", "rv_edv")]
    assert np.abs(anywhere_in_systole.volume_percent[:, at_ed]).max() <= 3.0
    both = phantom_accuracy.study((8, 10), on_border=True, es_on_border=True)
    assert np.abs(both.volume_percent).max() <= 3.0
    assert np.abs(both.ef_points).max() <= 0.5


@pytest.mark.slow
def test_labels_of_thin_slices() -> None:
    errors = phantom_accuracy.study((2, 2))
    assert np.abs(errors.volume_percent).max() <= 1.5
    assert np.abs(errors.ef_points).mean() <= 2.0


def test_outlines_are_those_of_the_solid() -> None:
    """The labels differ from sampling at voxel centres by border voxels only."""
    heart, phase = CineHeart(), 0.36
    geometry = Geometry(base_offset_mm=3.0)
    labels = label_frames(heart, geometry, np.array([phase]))[0]
    x, y = geometry.in_heart(*geometry.plane())
    centres = heart.inside(x[..., None], y[..., None], geometry.levels(heart), phase)
    for value in (1, 2, 3):
        a, b = labels == value, centres == value
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.97
        assert a.any((0, 1))[:6].tolist() == b.any((0, 1))[:6].tolist()


def test_orientation_and_flips_change_no_number() -> None:
    heart, phases = CineHeart(), np.array([0.0, 0.36])
    plain = label_frames(heart, SMALL, phases)
    rng = np.random.default_rng(1)
    twin_geometry = replace(
        SMALL, rotation=random_rotation(rng), flips=(True, False, True), center_ras_mm=(5.0, -90.0, 40.0)
    )
    twin = label_frames(heart, twin_geometry, phases)
    np.testing.assert_array_equal(twin, plain[:, ::-1, :, ::-1])
    assert abs(np.linalg.det(twin_geometry.affine(heart)[:3, :3])) == pytest.approx(
        abs(np.linalg.det(SMALL.affine(heart)[:3, :3]))
    )
    # The same voxel of both is the same point of the patient, turned.
    index = np.array([30, 50, 4])
    ni, _, nk = plain.shape[1:]
    p = SMALL.affine(heart) @ [*index, 1] - np.array([*SMALL.center_ras_mm, 0])
    q = twin_geometry.affine(heart) @ [ni - 1 - index[0], index[1], nk - 1 - index[2], 1]
    np.testing.assert_allclose(twin_geometry.rotation @ p[:3] + twin_geometry.center_ras_mm, q[:3], atol=1e-9)


def test_anatomy_lies_as_in_a_supine_patient() -> None:
    """Apex to the left, front and foot; right ventricle to the right of and in front of the left one."""
    heart = CineHeart()
    labels = label_frames(heart, SMALL, np.array([0.0]))[0]
    affine = SMALL.affine(heart)

    def centre(mask: np.ndarray) -> np.ndarray:
        return affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]

    lv = labels == 1
    levels = np.nonzero(lv.any((0, 1)))[0]
    first, last = lv.copy(), lv.copy()
    first[..., levels[0] + 1 :], last[..., : levels[-1]] = False, False
    apex = centre(last) - centre(first)
    assert apex[0] < 0 < apex[1]
    assert apex[2] < 0
    right = centre(labels == 3) - centre(lv)
    assert right[0] > 0
    assert right[1] > 0


def test_resting_base_and_gaps() -> None:
    heart = replace(CineHeart(), base_descent_mm=0.0)
    sample = heart.sample(Geometry(thickness_mm=6.0, gap_mm=4.0), 20, images=False)
    counted, truth = sample.label_volumes(), sample.truth
    for got, expected in zip(counted, truth, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0.005)
    assert sample.sequence.spacing[2] == pytest.approx(10.0)
    assert sample.sequence.thickness_mm == 6.0


# -- the images --------------------------------------------------------------------------------------------------------
def test_frames_look_like_cine_mr(cine: CineSample) -> None:
    frames = cine.frames()
    assert frames.dtype == np.int16
    assert frames.shape == (20, 192, 192, 10) == cine.labels.shape
    assert frames.min() >= 0
    frame, labels = frames[cine.ed_frame], cine.labels[cine.ed_frame]
    inner = np.s_[..., 2:7]
    blood, muscle, right = (float(np.median(frame[inner][labels[inner] == v])) for v in (1, 2, 3))
    assert 0.25 < muscle / blood < 0.5
    assert 0.7 < right / blood < 1.1


def test_images_show_partial_volume_of_the_base() -> None:
    """Where the wall is, the slice through the base shades from muscle to atrium with the share of each."""
    heart = replace(CineHeart(), base_descent_mm=0.0)
    means = []
    for offset in (0.0, 2.0, 4.0, 6.0, 8.0):
        geometry = Geometry(thickness_mm=8.0, gap_mm=0.0, n_slices=3, slices_above_base=1, base_offset_mm=offset)
        still = heart.sample(geometry, 1, noise=0.0, coil=0.0)
        x, y = geometry.in_heart(*geometry.plane())
        u, v = heart.unit_frame(x, y, np.zeros(1))
        endo, epi, _ = heart.areas(0.0, 4.0)
        ring = (np.hypot(u, v) > np.sqrt(endo / np.pi) + 3) & (np.hypot(u, v) < np.sqrt(epi / np.pi) - 2)
        means.append(still.sequence.frame(0)[..., 1][ring & (np.abs(y) < 20) & (x > 0)].mean())
    assert np.ptp(means) > 40
    # linear in the share: the middle one lies between the ends
    assert means[2] == pytest.approx((means[0] + means[4]) / 2, abs=0.25 * np.ptp(means))


def test_noise_is_rician() -> None:
    quiet = CineHeart().sample(SMALL, 1, noise=0.0).frames().astype(float)
    noisy = CineHeart().sample(SMALL, 1, noise=0.05).frames().astype(float)
    bright = quiet > 500
    assert (noisy - quiet)[bright].std() == pytest.approx(0.05 * 620, rel=0.1)
    dark = quiet < 15
    assert noisy[dark].mean() == pytest.approx(0.05 * 620 * np.sqrt(np.pi / 2), rel=0.15)


def test_same_seed_same_study() -> None:
    a, b, c = (CineHeart().sample(SMALL, 2, seed=s) for s in (4, 4, 5))
    np.testing.assert_array_equal(a.frames(), b.frames())
    assert (a.frames() != c.frames()).any()
    np.testing.assert_array_equal(a.labels, c.labels)
    assert CineHeart.random(7, "dilated") == CineHeart.random(7, "dilated") != CineHeart.random(8, "dilated")


def test_sequence_says_what_it_is(cine: CineSample) -> None:
    s = cine.sequence
    assert (s.modality, s.full_cycle, s.rr_ms, s.n_frames) == ("MR", True, 880.0, 20)
    np.testing.assert_allclose(s.times_ms, np.arange(20) * 44.0)
    assert cine.measurements == pytest.approx(cine.heart.true_measurements(), rel=1e-12)


def test_demo_labels_meet_the_truth(cine: CineSample) -> None:
    counted = cine.label_volumes()
    for frame in (cine.ed_frame, cine.es_frame):
        for got, expected in zip(counted, cine.truth, strict=True):
            assert got[frame] == pytest.approx(expected[frame], rel=0.01)


def test_nifti_comes_back(tmp_path: Path) -> None:
    turned = replace(SMALL, flips=(False, True, False), rotation=random_rotation(np.random.default_rng(2)))
    sample = CineHeart().sample(turned, 3)
    sample.write_nifti(tmp_path / "cine.nii.gz", tmp_path / "labels.nii.gz")
    for name, expected in (("cine", sample.frames()), ("labels", sample.labels)):
        array, affine, _ = read_frames(tmp_path / f"{name}.nii.gz")
        np.testing.assert_array_equal(array, expected)
        np.testing.assert_allclose(affine, sample.sequence.affine, atol=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cine.nii.gz", "labels.nii.gz"]


def test_dicom_carries_the_geometry(tmp_path: Path) -> None:
    pytest.importorskip("CardioPrecisionLib.phantom.dicom_cine", reason="the DICOM writer is not there")
    import pydicom

    sample = CineHeart().sample(replace(SMALL, rotation=random_rotation(np.random.default_rng(3))), 3)
    sample.write_dicom(tmp_path / "d", "siemens")
    files = [p for p in (tmp_path / "d").rglob("*") if p.is_file()]
    assert len(files) == 3 * sample.sequence.shape[2]
    lps = np.diag([-1.0, -1.0, 1.0])
    positions = {
        tuple(np.round(lps @ (sample.sequence.affine @ [0, 0, k, 1])[:3], 2)) for k in range(sample.sequence.shape[2])
    }
    found = {
        tuple(np.round([float(v) for v in pydicom.dcmread(f, stop_before_pixels=True).ImagePositionPatient], 2))
        for f in files
    }
    assert np.allclose(sorted(found), sorted(positions), atol=0.02)


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"lv_edv_ml": -1.0},
        {"lv_esv_ml": 200.0},
        {"rv_esv_ml": 200.0},
        {"lv_mass_g": float("nan")},
        {"base_descent_mm": 99.0},
        {"es_start": 0.5, "es_end": 0.3},
        {"lv_mass_g": 6.0, "apex_wall_mm": 30.0},
        {"ed_phase": 1.5},
    ],
)
def test_impossible_hearts_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="phantom: "):
        replace(CineHeart(), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"rotation": np.diag([1.0, 1.0, -1.0])},
        {"rotation": np.zeros((2, 2))},
        {"thickness_mm": 0.0},
        {"matrix": (2, 2)},
        {"n_slices": 0},
        {"pixel_mm": (0.0, 1.0)},
    ],
)
def test_impossible_geometries_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="phantom: "):
        Geometry(**change)  # type: ignore[arg-type]


def test_other_refusals() -> None:
    with pytest.raises(InputError, match="group"):
        CineHeart.random(1, "nobody")
    with pytest.raises(InputError, match="outside the image"):
        CineHeart().sample(Geometry(heart_shift_mm=(900.0, 0.0)), 2)
    with pytest.raises(InputError, match="n_frames"):
        CineHeart().sample(SMALL, 0)


def test_all_parameters_are_described() -> None:
    for cls in (CineHeart, Geometry):
        assert all(f.name in (cls.__doc__ or "") for f in fields(cls))
