"""The CT phantoms: exact volumes, a faithful scanner, calcium where anatomy puts it, and DICOM that reads back."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.image import spacing_of
from CardioPrecisionLib.phantom.ct import (
    CORONARY,
    LABELS,
    NOT_SCORED,
    ArcPlate,
    BentCapsule,
    Calcification,
    CTGeometry,
    Ellipsoid,
    calcified_ellipsoid,
    close_up,
    random_thorax,
    render,
    second_thorax,
)
from CardioPrecisionLib.phantom.ct.coronaries import normal_point, to_ras
from CardioPrecisionLib.phantom.ct.render import Part
from CardioPrecisionLib.phantom.ct.shapes import Column, SmoothUnion, Tube, at, frame
from CardioPrecisionLib.phantom.dicom_ct import write_ct_dicom

GENERATORS = (random_thorax, second_thorax)
AXES = frame([0.3, -0.5, 0.8])
SOLIDS = {
    "ellipsoid": Ellipsoid(np.array([3.0, -2.0, 5.0]), np.array([4.0, 2.0, 1.2]), AXES),
    "rod": BentCapsule(np.array([0.0, 0.0, 0.0]), AXES, 18.0, 0.6, 1.3),
    "plate": ArcPlate(np.array([1.0, 2.0, 3.0]), AXES, 14.0, 1.1, 9.0, 0.5),
    "ring": ArcPlate(np.array([1.0, 2.0, 3.0]), AXES, 2.0, 0.9, 9.0, pi),
}
SKEW = CTGeometry((44, 46), (0.45, 0.55), 60, 0.6, 0.6, rotation=frame([0.2, 0.3, 0.9]))


@pytest.mark.parametrize("name", SOLIDS)
def test_stated_volume_is_what_random_points_find(name):
    """Independent of the renderer: the share of random points inside the box."""
    solid = SOLIDS[name]
    low, high = solid.box()
    points = np.random.default_rng(0).uniform(low, high, (800_000, 3))
    inside = at(solid, points) < 0
    expected = float(np.prod(high - low)) * inside.mean()
    error = float(np.prod(high - low)) * np.sqrt(inside.mean() * (1 - inside.mean()) / len(points))
    assert solid.volume_mm3 == pytest.approx(expected, abs=4 * error)
    # Nothing sticks out of the box.
    shell = np.random.default_rng(1).uniform(low - 2, high + 2, (200_000, 3))
    out = ((shell < low) | (shell > high)).any(1)
    assert not (at(solid, shell[out]) < 0).any()


@pytest.mark.parametrize("name", SOLIDS)
@pytest.mark.parametrize("kernel", ["none", "soft", "sharp"])
def test_rendering_keeps_the_integral(name, kernel):
    solid = SOLIDS[name]
    geometry = CTGeometry(SKEW.matrix, SKEW.pixel_mm, SKEW.n_slices, SKEW.thickness_mm, SKEW.increment_mm,
                          tuple(solid.center), SKEW.rotation)  # fmt: skip
    sample = render([], [Calcification("LAD", solid, 840.0)], geometry, noise_hu=0, kernel=kernel, background=40.0)
    voxel = abs(np.linalg.det(sample.image.affine[:3, :3]))
    found = (sample.image.array.astype(float) - 40.0).sum() * voxel / 800.0
    # Values are stored as whole HU: a bound of 0.5 HU per voxel does not add up, being random.
    assert found == pytest.approx(solid.volume_mm3, rel=0.005)
    assert sample.truth["in_view_mm3"]["LAD"] == pytest.approx(solid.volume_mm3, rel=0.002)
    assert sample.truth["volume_mm3"]["LAD"] == solid.volume_mm3


def test_thick_slices_keep_the_integral_and_labels_follow():
    ball = Ellipsoid(np.array([0.4, -0.3, 0.7]), np.array([3.0, 3.0, 3.0]))
    geometry = CTGeometry((40, 40), (0.5, 0.5), 12, 3.0, 3.0, (0.0, 0.0, 0.0))
    sample = render([], [Calcification("RCA", ball, 500.0)], geometry, noise_hu=0, kernel="none", background=0.0)
    assert sample.image.array.astype(float).sum() * 0.75 / 500 == pytest.approx(ball.volume_mm3, rel=0.005)
    assert set(np.unique(sample.labels)) == {0, LABELS["RCA"]}
    # A voxel is labelled where calcium fills half of it, which is where its value is at least half.
    clear = np.abs(sample.image.array - 250) > 3
    assert ((sample.labels > 0) == (sample.image.array >= 250))[clear].all()
    assert (sample.owner[sample.labels > 0] == 1).all()


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.3, -0.2, 0.45)])
def test_close_up_of_an_ellipsoid(shift):
    """Half-height threshold at 0.5 mm finds the volume, whatever the phase of the grid."""
    body = Ellipsoid(np.zeros(3), np.array([4.0, 3.0, 2.5]))
    geometry = close_up(body, shift=shift, rotation=AXES)
    sample = calcified_ellipsoid((4.0, 3.0, 2.5), 640.0, geometry=geometry, kernel="none")
    assert sample.image.shape[0] < 60
    assert not (sample.image.array[[0, -1]] > 60).any(), "the body does not reach the border"
    volume = (sample.image.array >= 340).sum() * 0.125
    assert volume == pytest.approx(body.volume_mm3, rel=0.02)
    assert sample.truth["volume_mm3"] == {"LAD": body.volume_mm3}


def test_close_up_of_a_patient_costs_little():
    patient = random_thorax(4, calcium="coronary")
    plaque = max(patient.calcifications, key=lambda c: c.volume_mm3)
    sample = patient.render(close_up(plaque.shape), noise_hu=0, kernel="none")
    row = sample.truth["calcifications"][patient.calcifications.index(plaque)]
    assert row["in_view_mm3"] == pytest.approx(plaque.volume_mm3, rel=0.005)
    assert (sample.owner == patient.calcifications.index(plaque) + 1).any()
    assert sample.image.array.max() == pytest.approx(plaque.hu, abs=2)


def test_overlapping_slices_each_average_their_own_thickness():
    ball = Ellipsoid(np.zeros(3), np.array([2.0, 2.0, 2.0]))
    geometry = CTGeometry((24, 24), (0.5, 0.5), 17, 3.0, 1.0)
    sample = render([], [Calcification("LM", ball, 1000.0)], geometry, noise_hu=0, kernel="none", background=0.0)
    per_slice = sample.image.array.astype(float).sum((0, 1)) * 0.25 / 1000
    z = np.arange(17) - 8.0
    low, high = np.clip(z - 1.5, -2, 2), np.clip(z + 1.5, -2, 2)
    area = pi * ((4 * high - high**3 / 3) - (4 * low - low**3 / 3)) / 3.0
    np.testing.assert_allclose(per_slice, area, atol=0.05)


def test_tissue_has_partial_volume_and_turned_grids_agree():
    parts = [Part(Ellipsoid(np.zeros(3), np.array([20.0, 14.0, 17.0])), ((0.0, 100.0), (4.0, 300.0)))]
    sums = []
    for rotation, flips in ((np.eye(3), (False,) * 3), (frame([0.5, 0.2, 0.8]), (True, False, True))):
        geometry = CTGeometry((60, 60), (1.0, 1.0), 24, 2.5, 2.5, (0, 0, 0), rotation, flips)
        sample = render(parts, [], geometry, noise_hu=0, kernel="none", background=0.0)
        assert np.linalg.det(sample.image.affine[:3, :3]) * (-1) ** (flips.count(True)) > 0
        sums.append(sample.image.array.astype(float).sum() * 2.5)
    outer, inner = 4 / 3 * pi * 20 * 14 * 17, 4 / 3 * pi * 16 * 10 * 13
    # The inner border lies 4 mm inside by first-order distance, not on an ellipsoid 4 mm smaller: a loose bound there.
    assert sums[0] == pytest.approx(100 * outer + 200 * inner, rel=0.06)
    assert sums[0] == pytest.approx(sums[1], rel=0.01)


def test_coarse_distance_of_smooth_parts_changes_nothing_much():
    shape = Ellipsoid(np.zeros(3), np.array([30.0, 40.0, 20.0]))
    geometry = CTGeometry((128, 128), (0.7, 0.7), 8, 3.0, 3.0)
    fine, coarse = (render([Part(shape, ((0.0, 50.0),), smooth_mm=s)], [], geometry, noise_hu=0, background=-100.0)
                    for s in (0.0, 2.1))  # fmt: skip
    assert np.abs(fine.image.array - coarse.image.array.astype(int)).max() < 8


def test_kernel_noise_and_circle():
    geometry = CTGeometry((96, 96), (0.5, 0.5), 10, 3.0, 3.0, circle=True)
    spread = {}
    for kernel in ("soft", "medium", "sharp"):
        a = render([], [], geometry, noise_hu=20, kernel=kernel, background=40.0).image.array
        middle = a[24:72, 24:72].astype(float)
        assert middle.std() == pytest.approx(20, rel=0.08)
        assert (a[0, 0] == -1024).all()
        spread[kernel] = np.corrcoef(middle[:-1].ravel(), middle[1:].ravel())[0, 1]
    assert spread["soft"] > spread["medium"] > spread["sharp"]
    with pytest.raises(ValueError, match="kernel"):
        render([], [], geometry, kernel="unknown")


def test_sharp_kernel_overshoots_at_an_edge():
    parts = [Part(Column(np.array([-50.0, 50.0]), 15.0, 15.0, 0.0, 0.0, 0.0), ((0.0, 300.0),))]
    geometry = CTGeometry((96, 96), (0.5, 0.5), 2, 3.0, 3.0)
    top = {
        k: render(parts, [], geometry, noise_hu=0, kernel=k, background=0.0).image.array.max()
        for k in ("soft", "sharp")
    }
    assert top["soft"] <= 301
    assert 305 < top["sharp"] < 380


@pytest.mark.parametrize("make", GENERATORS)
def test_same_seed_same_bytes_and_other_seed_other_patient(make):
    def small(patient, seed=3):
        geometry = patient.geometry("cardiac", matrix=64, thickness_mm=9.0)
        return patient.render(geometry, seed=seed)

    one, two, other = make(5), make(5), make(6)
    a, b = small(one), small(two)
    assert a.image.array.tobytes() == b.image.array.tobytes()
    assert a.labels.tobytes() == b.labels.tobytes()
    assert a.truth == b.truth
    assert not np.array_equal(a.image.array, small(one, 4).image.array)
    assert not np.allclose(one.landmarks["apex"], other.landmarks["apex"])


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize("seed", range(6))
def test_calcium_lies_where_it_belongs(make, seed):
    patient = make(seed, calcium="heavy")
    coronary = [c for c in patient.calcifications if c.site in CORONARY]
    assert coronary
    for c in coronary:
        # Within the wall of its own artery, in the sac (the stem's ostium may touch its border).
        assert patient.course_distance(c.center, c.site) < 5.5
        assert patient.distance_to_pericardium(c.center[None])[0] < 1.0
        assert c.volume_mm3 < 400
    for c in patient.calcifications:
        assert c.label == LABELS.get(c.site, NOT_SCORED)
        assert c.volume_mm3 > 0
        assert 150 <= c.hu <= 3000
    root = patient.landmarks["aortic_root"]
    for c in patient.calcifications:
        if c.site == "aortic_valve":
            assert np.linalg.norm(c.center - root) < 24
        if c.site == "mitral_valve":
            assert np.linalg.norm(c.center - patient.landmarks["mitral_center"]) < 30
    for a, b in pairwise(patient.calcifications):
        if "lead" not in (a.site, b.site):
            assert not a.overlaps(b, 0.0)


@pytest.mark.parametrize("make", GENERATORS)
def test_anatomy_is_the_right_way_round(make):
    for seed in range(8):
        patient = make(seed)
        m = patient.landmarks
        assert m["apex"][0] < m["heart_center"][0], "the apex points to the left"
        assert m["apex"][1] > m["heart_center"][1], "and forwards"
        assert m["apex"][2] < m["aortic_root"][2] < m["carina"][2]
        assert m["left_ostium"][0] < m["right_ostium"][0], "+x is the patient's right"
        assert m["left_ostium"][1] < m["right_ostium"][1], "the right ostium lies in front"
        lines = {c.name: c for c in patient.courses}
        assert lines["RCA"].points[:, 0].max() > lines["LAD"].points[:, 0].max()
        assert lines["LCX"].points[:, 1].min() < lines["LAD"].points[:, 1].min(), "the circumflex turns to the back"
        assert np.linalg.norm(lines["LAD"].points[0] - lines["LM"].points[-1]) < 6
        assert np.linalg.norm(lines["LCX"].points[0] - lines["LM"].points[-1]) < 6
        assert (lines["PDA"].site == "LCX") == (patient.dominance == "left")
        for c in patient.courses:
            assert (patient.distance_to_pericardium(c.points) < 1.5).mean() > 0.95, (seed, c.name)
        assert patient.inside_pericardium(m["heart_center"][None])[0]
        assert not patient.inside_pericardium(m["heart_center"][None] + 150)[0]


@pytest.mark.parametrize("make", GENERATORS)
def test_a_scan_looks_like_a_chest(make):
    patient = make(2, calcium="none")
    assert not patient.calcifications
    sample = patient.render(patient.geometry("chest", matrix=128, thickness_mm=6.0), noise_hu=10)
    hu = sample.image.array
    assert not sample.labels.any()
    assert not sample.owner.any()
    share = {name: ((hu > a) & (hu < b)).mean() for name, a, b in
             (("air", -1025, -950), ("lung", -930, -750), ("fat", -130, -70), ("soft", 10, 90))}  # fmt: skip
    assert all(v > 0.03 for v in share.values()), share
    assert 0.002 < sample.bones.mean() < 0.08
    assert np.median(hu[sample.bones]) > 150
    inside = patient.inside_pericardium(sample.image.to_world(np.argwhere(np.ones(hu.shape, bool)))).reshape(hu.shape)
    assert -110 < np.percentile(hu[inside], 5) < 0
    assert 20 < np.median(hu[inside]) < 70
    assert not (sample.bones & inside).any()
    # Blur and noise aside, nothing in the sac of a patient without calcium is bright.
    assert (hu[inside] > 130).mean() < 1e-3


def test_courses_follow_the_tables():
    """Published mean positions (Dodge 1988) and the frame that they are in."""
    np.testing.assert_allclose(to_ras(1.0, 90, 0), [-10, 0, 0], atol=1e-9)
    np.testing.assert_allclose(to_ras(1.0, 0, 90), [0, 0, 10], atol=1e-9)
    patient = random_thorax(11)
    lines = {c.name: c for c in patient.courses}
    start = patient.landmarks["left_ostium"]
    for name, vessel in (("L2m", "LAD"), ("L3m", "LAD"), ("C2m", "LCX"), ("R2m", "RCA")):
        away = np.linalg.norm(lines[vessel].points - (start + normal_point(name)), axis=1).min()
        assert away < 32, "the paper's standard deviations are 5 to 15 mm per axis; the heart is turned and scaled too"
    assert 110 < lines["LAD"].length_mm < 200
    assert 90 < lines["RCA"].length_mm < 180


@pytest.mark.parametrize("generator", GENERATORS)
def test_no_artery_runs_inside_of_a_great_vessel(generator):
    for seed in range(20):
        patient = generator(seed, calcium="none")
        great = [p for p in patient.parts if p.kind in ("aorta", "pulmonary", "left_pulmonary", "ivc", "svc")]
        assert len(great) >= 4
        for course in patient.courses:
            points = np.asarray(course.points)
            for part in great:
                assert (at(part.shape, points) < -0.5).sum() <= 2, (seed, course.name, part.kind)


def test_options_of_the_second_generator():
    patient = second_thorax(9, lead=True, streaks=True)
    wires = [c for c in patient.calcifications if c.site == "lead"]
    assert wires
    assert all(c.label == NOT_SCORED for c in wires)
    assert patient.artefact is not None
    geometry = patient.geometry("cardiac", matrix=96, thickness_mm=5.0)
    flat = np.zeros(geometry.shape, np.float32)
    patient.artefact(flat, geometry)
    assert flat.max() > 10
    assert flat.min() < -10
    facts = [second_thorax(s).facts for s in range(40)]
    assert any(f["ectatic"] for f in facts)
    assert any(f["missing"] for f in facts)
    assert any(f["thorax_shape"].pectus > 0 for f in facts)


def test_views_and_cuts():
    patient = random_thorax(1)
    full, cut = patient.geometry("cardiac"), patient.geometry("cardiac", cut_bottom_mm=60.0)
    assert full.n_slices - cut.n_slices == 20
    heart = patient.landmarks["heart_center"]
    index = np.linalg.inv(full.affine) @ np.r_[heart, 1]
    assert (np.abs(index[:2] / np.array(full.matrix) - 0.5) < 0.1).all()
    assert full.affine[0, 0] < 0
    assert full.affine[1, 1] < 0
    assert full.affine[2, 2] > 0


def test_pieces_of_shapes():
    tube = Tube(np.array([[0.0, 0, 0], [0, 0, 10]]), 2.0)
    assert at(tube, np.array([[3.0, 0, 5]]))[0] == pytest.approx(1.0, abs=1e-5)
    pair = [Ellipsoid(np.array([x, 0.0, 0.0]), np.array([5.0, 5.0, 5.0])) for x in (-5.0, 5.0)]
    hard, soft = SmoothUnion(pair, 0.0), SmoothUnion(pair, 8.0)
    probe = np.array([[0.0, 2.0, 0.0]])
    assert at(soft, probe)[0] < at(hard, probe)[0]
    assert at(SmoothUnion(pair, 0.0, 1.5), probe)[0] == pytest.approx(at(hard, probe)[0] - 1.5, abs=1e-5)


def _read(folder):
    files = [pydicom.dcmread(f) for f in folder.iterdir()]
    return sorted(files, key=lambda ds: ds.InstanceNumber)


def test_dicom_reads_back_with_the_same_geometry_and_hu(tmp_path):
    patient = random_thorax(3)
    geometry = CTGeometry((48, 40), (2.0, 2.4), 6, 3.0, 2.5, tuple(patient.landmarks["heart_center"]),
                          frame([0.1, -0.2, 0.95], [1.0, 0.0, 0.1]), (True, False, False))  # fmt: skip
    sample = patient.render(geometry)
    files = sample.write_dicom(tmp_path, sex=patient.sex, age_years=patient.age_years, height_cm=170.0)
    assert len(files) == 6
    read = _read(tmp_path)
    assert {len({getattr(ds, k) for ds in read}) for k in ("SeriesInstanceUID", "StudyInstanceUID")} == {1}
    assert len({ds.SOPInstanceUID for ds in read}) == 6
    first = read[0]
    assert first.Modality == "CT"
    assert first.SOPClassUID == pydicom.uid.CTImageStorage
    assert (first.SliceThickness, first.KVP, first.ContrastBolusAgent) == (3.0, 120.0, "")
    array = np.stack([ds.pixel_array.T * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in read], -1)
    np.testing.assert_array_equal(array, sample.image.array)
    lps = np.array([-1.0, -1.0, 1.0])
    for k, ds in enumerate(read):
        expected = sample.image.to_world(np.array([[0, 0, k]]))[0]
        np.testing.assert_allclose(np.array(ds.ImagePositionPatient, float) * lps, expected, atol=1e-6)
    cosines = np.array(first.ImageOrientationPatient, float).reshape(2, 3) * lps
    spacing = spacing_of(sample.image.affine)
    np.testing.assert_allclose(cosines.T, sample.image.affine[:3, :2] / spacing[:2], atol=1e-6)
    np.testing.assert_allclose(np.array(first.PixelSpacing, float), spacing[[1, 0]], atol=1e-9)


def test_dicom_faults_for_readers(tmp_path):
    sample = random_thorax(3).render(CTGeometry((16, 16), (10.0, 10.0), 8, 3.0, 3.0, (0, 60, 0)))
    sample.write_dicom(tmp_path / "a", contrast_agent="IOHEXOL", kvp=100, kernel=("B35f", "2"), missing=(3,),
                       shift_mm=((5, 0.8),), rescale=False, gated=False)  # fmt: skip
    read = _read(tmp_path / "a")
    assert [ds.InstanceNumber for ds in read] == [1, 2, 3, 5, 6, 7, 8]
    assert read[0].ContrastBolusAgent == "IOHEXOL"
    assert read[0].KVP == 100
    assert list(read[0].ConvolutionKernel) == ["B35f", "2"]
    assert "RescaleSlope" not in read[0]
    assert "ScanOptions" not in read[0]
    z = np.array([float(ds.ImagePositionPatient[2]) for ds in read])
    np.testing.assert_allclose(np.diff(z), [3, 3, 6, 3.8, 2.2, 3], atol=1e-9)
    again = write_ct_dicom(tmp_path / "b", sample.image)
    other = write_ct_dicom(tmp_path / "c", sample.image, seed=1)
    assert [p.name for p in again] == [p.name for p in write_ct_dicom(tmp_path / "d", sample.image)]
    assert not {p.name for p in again} & {p.name for p in other}
    with pytest.raises(ValueError, match="int16"):
        write_ct_dicom(tmp_path / "e", sample.image.with_array(sample.image.array.astype(np.float32)))
