"""The coarse grid of the territory network, the coverage of the heart, and contrast in the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from CardioPrecisionLib.image import Image
from CoronaryPlaqueLib import contrast, territory
from CoronaryPlaqueLib.territory_training import VolumeSampler
from scipy.spatial.transform import Rotation


def field(world):
    """A smooth HU field of the world, so that any grid must show the same values at the same places."""
    return 60.0 * np.sin(world[..., 0] / 25) + 40.0 * np.cos(world[..., 1] / 30) + 0.4 * world[..., 2]


def scan(spacing=(0.8, 0.8, 2.0), size=120.0, turn=(0.0, 0.0, 0.0), flips=(1, 1, 1), axes=(0, 1, 2)):
    shape = np.ceil(size / np.array(spacing)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.diag(np.array(spacing) * flips)
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    array = field(index @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    turned = affine.copy()
    turned[:3, :3] = affine[:3, list(axes)]
    return Image(array.transpose(axes), turned)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"flips": (-1, -1, 1)},
        {"axes": (2, 0, 1)},
        {"turn": (8, -5, 12)},
        {"spacing": (0.5, 0.5, 0.5)},
        {"spacing": (1.5, 1.5, 5.0)},
    ],
)
def test_coarse_grid_shows_the_world(how):
    hu, inside, affine = territory.coarse(scan(**how))
    assert np.allclose(affine[:3, :3], np.diag([territory.STEP_MM] * 3))
    index = np.argwhere(inside)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    middle = np.abs(world).max(1) < 40
    assert middle.sum() > 5000
    error = hu[tuple(index[middle].T)] - field(world[middle])
    assert np.abs(error).max() < 6.0
    assert (hu[~inside] == territory.OUTSIDE_HU).all()


def ball(radius_mm=52.0, cut=0.0):
    """Territories that are a ball of heart, cut from below by that share of its height."""
    n = 50
    at = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) - (n - 1) / 2) * territory.STEP_MM
    heart = np.linalg.norm(at, axis=-1) < radius_mm
    inside = np.ones_like(heart)
    inside[:, :, : round(n / 2 - radius_mm / territory.STEP_MM * (1 - 2 * cut))] = False
    probability = np.zeros((len(territory.CLASSES), n, n, n), np.float32)
    probability[territory.HEART], probability[0] = heart & inside, ~(heart & inside)
    return territory.Territories(probability, np.diag([3.0, 3.0, 3.0, 1.0]), inside)


def test_coverage():
    assert territory.coverage_problem(ball()) is None
    assert territory.coverage_warning(ball()) is None
    assert territory.coverage_problem(ball(cut=0.5)) == "The scan cuts the heart off below."
    near = ball(cut=0.1)
    assert territory.coverage_problem(near) is None
    assert "below" in str(territory.coverage_warning(near))
    assert "No whole heart" in str(territory.coverage_problem(ball(radius_mm=20.0)))


def test_contrast_in_the_pixels():
    hu = np.full((60, 60, 40), 40.0, np.float32)
    assert contrast.bright_body(hu) is None
    hu[28:32, 5:9, :] = 600.0  # a spine, dense but thin
    assert contrast.bright_body(hu) is None
    hu[20:40, 20:40, 10:30] = 320.0  # filled chambers
    assert contrast.bright_body(hu) == pytest.approx(320.0)


def test_training_boxes_keep_image_and_territory_together():
    """A bright cube is its own label: wherever a box is taken and however it is bent, both stay in one place."""
    label = np.zeros((60, 60, 50), np.uint8)
    label[22:38, 22:38, 18:34] = 4
    hu = np.where(label > 0, 180.0, -100.0).astype(np.float16)
    sampler = VolumeSampler([(hu, np.ones(label.shape, bool), label)], size=(48, 48, 32), batch_size=6, seed=3)
    x, y = sampler.batch()
    assert x.shape == (6, 3, 48, 48, 32)
    assert set(np.unique(y)) <= {0, 4}
    inside = x[:, 2] > 0.5
    bright, labelled = (x[:, 0] > 0.5) & inside, (y == 4) & inside
    assert labelled.sum() > 3000
    assert 2 * (bright & labelled).sum() / (bright.sum() + labelled.sum()) > 0.85
    state = sampler.state()
    again = sampler.batch()[0]
    sampler.load_state(state)
    assert np.array_equal(sampler.batch()[0], again)
