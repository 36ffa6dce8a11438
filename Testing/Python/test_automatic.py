"""The coronary tree without a reader's points, on heart phantoms and on the real angiogram."""

import numpy as np
import pytest
from CardioPrecisionLib.errors import Cancelled
from CardioPrecisionLib.image import Image, read_image
from CardioPrecisionLib.phantom.ccta import heart_view, random_ccta, render_ccta
from CardioPrecisionLib.polyline import arc_length
from CoronaryPlaqueLib.aorta import NoAorta, aorta_candidates, find_aorta
from CoronaryPlaqueLib.automatic import find_tree
from CoronaryPlaqueLib.segments import SEGMENTS
from tree_accuracy import false_branches, overlap


def scan(scene, seed, **more):
    """A coarse heart view: quick to render, and coarser than what is read."""
    return render_ccta(scene, heart_view(scene, matrix=270, pixel_mm=0.7, slice_mm=0.7, **more), noise_hu=25, seed=seed)


def ostia(scene):
    return np.array([v.points[np.argmin(np.abs(v.s - v.ostium_mm))] for v in scene.vessels if not v.parent])


@pytest.fixture(scope="module")
def scene():
    return random_ccta(9, dominance="left")


@pytest.fixture(scope="module")
def heart(scene):
    return scan(scene, 9).image


@pytest.mark.slow
def test_tree_of_the_first_generator(scene, heart):
    found = find_tree(heart)
    assert not found.not_found
    assert overlap(scene, found.lines) > 0.95
    assert not false_branches(scene, found.lines)
    assert {"LAD", "LCX", "RCA"} <= set(found.lines)
    starts = ostia(scene)
    for line in found.lines.values():
        assert np.linalg.norm(starts - line.points[0], axis=1).min() < 4.0
        assert np.diff(line.s).max() < 0.5
    assert {SEGMENTS[i.segment].vessel for i in found.labelling} >= {"LM", "LAD", "LCX", "RCA"}


@pytest.mark.slow
def test_tree_of_the_second_generator():
    scene = random_ccta(7, generator="second")
    found = find_tree(scan(scene, 7).image)
    assert overlap(scene, found.lines) >= 0.85
    assert len(false_branches(scene, found.lines)) <= 1


def test_aorta_in_every_orientation(scene, heart):
    assert find_aorta(heart).blood_hu == pytest.approx(scene.lumen_hu, rel=0.06)
    turned = Image(heart.array[::-1].transpose(2, 0, 1), _turned(heart))
    for image in (heart, turned):
        aorta = find_aorta(image)
        away = np.linalg.norm(aorta.points[:, None] - ostia(scene), axis=-1).min(0)
        assert (away < aorta.radius_mm.max() + 6.0).all()
        assert np.diff(aorta.points[:, 2]).min() > 0


def _turned(image):
    """The affine of the array reversed along its first axis and with its axes turned."""
    first = image.affine.copy()
    first[:3, 3] += first[:3, 0] * (image.shape[0] - 1)
    first[:3, 0] *= -1
    return first[:, [2, 0, 1, 3]]


def test_without_contrast_there_is_no_aorta(heart):
    plain = heart.with_array(np.minimum(heart.array, 60))
    with pytest.raises(NoAorta, match="contrast"):
        aorta_candidates(plain)
    found = find_tree(plain)
    assert not found.lines
    assert "contrast" in found.not_found["aorta"]


def test_without_an_aorta_in_view_it_says_so(heart, scene):
    """Only the lower third of the heart is in the scan."""
    n = int(heart.to_index(np.array([[0, 0, scene.landmarks["heart_bottom"][2] + 25.0]]))[0, 2])
    low = heart.crop((0, 0, 0), (*heart.shape[:2], n))
    found = find_tree(low)
    assert not found.lines
    assert "--seeds" in found.not_found["aorta"]


def test_it_can_be_stopped(heart):
    def stop(fraction, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        find_tree(heart, stop)


@pytest.mark.shared
def test_aorta_of_the_real_angiogram(shared_data):
    image = read_image(shared_data / "cta" / "ct.nii.gz")
    truth = read_image(shared_data / "cta" / "aorta.nii.gz")
    aorta = find_aorta(image)
    seen = aorta.points[aorta.root :]
    index = tuple(np.rint(truth.to_index(seen)).astype(int).T)
    assert truth.array[index].all()
    assert arc_length(seen)[-1] > 20.0
