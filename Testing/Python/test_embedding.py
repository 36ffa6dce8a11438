"""Embeddings: the layer that is read, against a hook by hand; copies of an image; what is refused; the projection."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import embedding_cases as cases
import numpy as np
import pytest
import torch
from CardioPrecisionLib.bundle import registry
from CardioPrecisionLib.bundle.features import LayerReader, Pool, deepest, layers, spatial_dims, tiles
from CardioPrecisionLib.bundle.orient import along_ras, slices_in_order, turned
from CardioPrecisionLib.bundle.runner import Placement
from CardioPrecisionLib.bundle.safety import load_members
from CardioPrecisionLib.errors import Cancelled, CardioPrecisionError, InputError
from CardioPrecisionLib.image import Sequence
from CardioPrecisionLib.phantom import CineHeart, Geometry
from CardioPrecisionLib.phantom.sampling import sample
from conftest import oblique_affine
from FusionRiskLib.embedding import encoder as encoding
from FusionRiskLib.embedding.encoder import Encoder, chosen_frames
from FusionRiskLib.embedding.inputs import Nothing, resampled
from FusionRiskLib.embedding.projection import project, projection
from hypothesis import given, settings
from hypothesis import strategies as st

COPIES = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))
CINE = "cine_sax_ventricles"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return cases.unet(tmp_path_factory.mktemp("flat") / "tiny")


@pytest.fixture(scope="module")
def solid(tmp_path_factory):
    return cases.unet(tmp_path_factory.mktemp("solid") / "tiny", 3, settings={"window": [16, 16, 16]})


@pytest.fixture(scope="module")
def cine():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARDIOPRECISION_ACCEPT_LICENSES", CINE)
        return Encoder(registry.get_bundle(CINE), device="cpu")


def by_hand(bundle, x):
    """What comes out of the bottom of the U-Net when the whole of it runs."""
    network = load_members(bundle)[0][0][1]
    seen = []
    hook = dict(network.named_modules())[cases.BOTTOM].register_forward_hook(lambda m, i, o: seen.append(o))
    with torch.inference_mode():
        network(x)
    hook.remove()
    return seen[0]


def input_of(frame):
    """``(i, j, k)`` to slices with their neighbours, scaled by the image's own range."""
    low, high = frame.min(), frame.max()
    x = torch.from_numpy(((frame - low) / (high - low)).transpose(2, 0, 1).copy())
    at = np.arange(len(x))
    return torch.stack([x[np.maximum(at - 1, 0)], x, x[np.minimum(at + 1, len(x) - 1)]], 1)


# -- the layer ---------------------------------------------------------------------------------------------------------
def test_the_deepest_layer_of_networks():
    from monai.networks.nets import BasicUNet, DynUNet, SegResNet

    dyn = DynUNet(2, 3, 4, [3, 3, 3], [1, 2, 2], [2, 2], filters=[8, 16, 24], norm_name="batch").eval()
    found = deepest(layers(dyn, 3, (64, 64)))
    assert (found.name, found.channels, found.extent) == ("bottleneck", 24, (16, 16))
    basic = deepest(layers(BasicUNet(3, 1, 2, features=(4, 4, 8, 8, 16, 4)).eval(), 1, (32, 32, 32)))
    assert (basic.name, basic.channels, basic.extent) == ("down_4", 16, (2, 2, 2))
    res = deepest(layers(SegResNet(2, 8, 1, 2, blocks_down=(1, 2, 2), blocks_up=(1, 1)).eval(), 1, (32, 32)))
    assert (res.channels, res.extent) == (32, (8, 8))
    assert res.name.startswith("down_layers.2")


def test_a_network_without_maps_has_no_layer():
    with pytest.raises(InputError, match="no layer"):
        deepest(layers(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)), 3, (4, 4)))
    with pytest.raises(InputError, match="no convolution"):
        spatial_dims(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="no layer 'x'"):
        LayerReader(torch.nn.Conv2d(1, 1, 1), "x")


def test_nothing_after_the_layer_is_computed():
    class Late(torch.nn.Module):
        def forward(self, x):
            raise AssertionError

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), Late())
    x = torch.rand(1, 1, 4, 4)
    assert torch.equal(LayerReader(network, "0")(x), network[0](x))
    assert not network[0]._forward_hooks


def test_embedding_is_the_mean_of_a_hook_by_hand(bundle):
    image = cases.stack()
    encoder = Encoder(bundle, device="cpu")
    assert (encoder.layer.name, encoder.features) == (cases.BOTTOM, 12)
    hooked = by_hand(bundle, input_of(image.frame(0)))
    assert np.allclose(encoder.embed(image), hooked.mean((0, 2, 3)), atol=1e-6)
    both = Encoder(bundle, device="cpu", sd=True).embed(image)
    flat = hooked.double().transpose(0, 1).flatten(1)
    assert np.allclose(both, torch.cat([flat.mean(1), flat.std(1, unbiased=False)]), atol=1e-6)


def test_another_layer(bundle):
    encoder = Encoder(bundle, device="cpu", layer="model.0")
    assert encoder.embed(cases.stack()).shape == (4,)
    with pytest.raises(InputError, match=r"no layer 'up4'.*as model\.0"):
        Encoder(bundle, device="cpu", layer="up4")
    with pytest.raises(InputError, match="no network 'other'; it has net"):
        Encoder(bundle, device="cpu", member="other")


def test_padding_does_not_count(bundle):
    """Sides of 60 and 70 are padded to 64 and 80, in the middle; a cell counts as far as the slice covers it."""
    image = cases.stack((60, 70, 3))
    x = torch.zeros(3, 3, 64, 80)
    x[:, :, 2:62, 5:75] = input_of(image.frame(0))
    there = torch.zeros(64, 80)
    there[2:62, 5:75] = 1
    weight = torch.nn.functional.avg_pool2d(there[None], 2)[0]
    hooked = by_hand(bundle, x)
    expected = (hooked * weight).sum((0, 2, 3)) / (3 * weight.sum())
    assert np.allclose(Encoder(bundle, device="cpu").embed(image), expected, atol=1e-6)


def test_only_the_heart_and_its_surroundings_count(cine):
    """A phantom of 300 mm: the box that counts is that of its heart and 20 mm around, on the lattice of 1.4 mm."""
    made = sample(CineHeart(), Geometry(), 1)
    seen = cine.preparation.prepare(made.sequence, (0,), lambda f, s: None)
    labels = np.flatnonzero(made.labels[0].any((1, 2))), np.flatnonzero(made.labels[0].any((0, 2)))
    width, height = ((at[-1] + 1 - at[0]) * 1.5625 for at in labels)
    i0, i1, j0, j1 = seen.record["box"]
    assert (i1 - i0) * 1.4 == pytest.approx(width + 40, abs=8)
    assert (j1 - j0) * 1.4 == pytest.approx(height + 40, abs=8)
    assert int(seen.weight.sum()) == (i1 - i0) * (j1 - j0)
    assert seen.weight.shape[0] >= 160


# -- frames ------------------------------------------------------------------------------------------------------------
def test_frames(bundle):
    series = cases.stack(frames=6)
    encoder = Encoder(bundle, device="cpu")
    scaled = replace(series, n_frames=6)  # one range of values for the series, as the bundle scales it
    each = [encoder.embed(scaled, [t]) for t in range(6)]
    assert np.array_equal(encoder.embed(scaled, [4, 1]), np.concatenate([each[4], each[1]]))
    chosen = chosen_frames(6)
    assert chosen[0] == 0
    assert len(set(chosen)) == 4
    assert np.allclose(encoder.embed(scaled), np.mean([each[t] for t in chosen], axis=0))
    assert chosen_frames(1) == (0,)
    assert chosen_frames(30) == (0, 8, 15, 22)
    for wrong in ([6], [-1], []):
        with pytest.raises(InputError, match="6 frames"):
            encoder.embed(series, wrong)


def test_a_series_is_read_frame_by_frame(bundle):
    """No more frames than those that are embedded are read for the network."""
    series = cases.stack(frames=9)
    asked = []

    def load(t):
        asked.append(t)
        return series.load(t).astype(np.int16)  # whole numbers: the survey samples frames instead of reading all

    Encoder(bundle, device="cpu").embed(replace(series, load=load), [3])
    assert asked[-1] == 3
    assert asked.count(3) <= 5


# -- copies of an image ------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=25)
@given(st.sampled_from(COPIES), st.integers(0, 10_000), st.booleans())
def test_a_copy_is_the_same_array_in_order(copy, seed, single):
    rng = np.random.default_rng(seed)
    affine = oblique_affine(spacing=(1.3, 1.4, 8.0), degrees=rng.uniform(-170, 170, 3))
    image = Sequence.from_array(rng.normal(0, 1, (1, 4, 3, 1 if single else 5)), affine)
    for order in (slices_in_order, along_ras):
        one, other = order(image), order(turned(image, *copy))
        assert np.array_equal(one.frame(0), other.frame(0))
        assert np.allclose(one.affine, other.affine, atol=1e-9)
        # and it is the same image: a voxel keeps its place in the patient
        last = tuple(n - 1 for n in one.shape)
        at = np.argwhere(image.frame(0) == one.frame(0)[last])[0]
        assert np.allclose(one.affine @ [*last, 1], affine @ [*at, 1])


def test_slices_run_from_the_base_to_the_apex_and_down():
    made = sample(CineHeart(), Geometry(matrix=(64, 64), pixel_mm=(2.5, 2.5)), 1).sequence
    backwards = turned(made, (1, 0, 2), (True, False, True))
    assert np.allclose(slices_in_order(backwards).affine, made.affine)


@pytest.mark.parametrize("copy", [((2, 0, 1), (True, False, False)), ((1, 0, 2), (False, True, True))])
def test_embeddings_of_copies(bundle, solid, copy):
    affine = oblique_affine(spacing=(1.4, 1.5, 8.0))
    image = cases.stack((60, 66, 5), affine=affine)
    encoder = Encoder(bundle, device="cpu")
    assert np.allclose(encoder.embed(image), encoder.embed(turned(image, *copy)), atol=1e-6)
    volume = cases.stack((30, 41, 22), affine=oblique_affine(spacing=(1.9, 1.5, 2.5)))
    volume = replace(volume, load=lambda t: cases.stack((30, 41, 22)).frame(t) / 1000)
    other = Encoder(solid, device="cpu")
    assert np.allclose(other.embed(volume), other.embed(turned(volume, *copy)), atol=1e-6)


def test_a_finer_copy_and_another_heart(cine):
    """Pixels cut in two along one axis change the embedding far less than another heart does."""
    made = sample(CineHeart(), Geometry(matrix=(128, 128)), 1).sequence
    fine = np.repeat(made.frame(0), 2, axis=0)
    affine = made.affine.copy()
    affine[:3, 0] /= 2
    affine[:3, 3] -= affine[:3, 0] / 2
    one = cine.embed(made)
    copy = cine.embed(Sequence.from_array(fine[None], affine))
    large = CineHeart(lv_edv_ml=240, lv_esv_ml=150, lv_mass_g=150)
    other = cine.embed(sample(large, Geometry(matrix=(128, 128)), 1).sequence)
    assert np.linalg.norm(copy - one) < 0.3 * np.linalg.norm(other - one)


# -- windows -----------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3))
def test_windows_cover_every_place(sides):
    size, window = [n for n, _ in sides], [w for _, w in sides]
    boxes, cover = tiles(size, window)
    assert cover.min() >= 1
    assert sum(float((1 / cover)[box].sum()) for box in boxes) == pytest.approx(math.prod(size), rel=1e-4)
    assert all(cover[box].shape == tuple(min(n, w) for n, w in sides) for box in boxes)


def test_every_voxel_counts_once_over_the_windows(tmp_path):
    """Where a feature hangs on one voxel, windows change nothing."""
    image = Sequence.from_array(np.random.default_rng(2).uniform(0, 1, (1, 37, 20, 26)), np.diag([2.0, 2.0, 2.0, 1]))
    found = []
    for n, window in enumerate(([64, 64, 64], [16, 16, 16], [8, 20, 12])):
        made = cases.unet(tmp_path / f"b{n}", 3, pointwise=True, settings={"window": window})
        found.append(Encoder(made, device="cpu", layer="model.0", sd=True).embed(image))
    assert np.allclose(found[0], found[1], atol=1e-6)
    assert np.allclose(found[0], found[2], atol=1e-6)
    network = load_members(made)[0][0][1]
    with torch.inference_mode():
        x = torch.from_numpy(image.frame(0).astype(np.float32))[None, None]
        assert np.allclose(found[0][:4], network.model[0](x).mean((0, 2, 3, 4)), atol=1e-6)


def test_pool_is_a_weighted_mean():
    rng = np.random.default_rng(3)
    features, weight = torch.from_numpy(rng.normal(0, 1, (5, 2, 4, 6))), torch.from_numpy(rng.uniform(0, 1, (4, 6)))
    pool = Pool()
    pool.add(features[:2], weight)
    pool.add(features[2:], weight)
    w = np.broadcast_to(weight.numpy(), (5, 4, 6))
    for c in range(2):
        mean = np.average(features[:, c], weights=w)
        assert float(pool.mean()[c]) == pytest.approx(mean, abs=1e-6)
        assert float(pool.sd()[c]) == pytest.approx(
            np.sqrt(np.average((features[:, c] - mean) ** 2, weights=w)), abs=1e-6
        )
    empty = Pool()
    empty.add(features, torch.zeros(4, 6))
    assert torch.isnan(empty.mean()).all()


def test_a_volume_on_the_bundles_grid():
    """A ramp in mm stays that ramp, on coarser and finer grids, about the same middle."""
    i = np.arange(40.0)
    image = Sequence.from_array(np.broadcast_to(i[:, None, None], (1, 40, 12, 10)), np.diag([1.0, 2.0, 2.0, 1])).image(
        0
    )
    for step in (0.5, 2.0, 4.0):
        found = resampled(image, np.array([step, 2.0, 2.0]), 0.0, 39.0)
        assert found.shape == (round(40 / step), 12, 10)
        inner = slice(2, -2)
        expected = ((np.arange(found.shape[0]) - (found.shape[0] - 1) / 2) * step + 19.5) / 39
        assert np.allclose(found[inner, 4, 4], expected[inner], atol=1e-6)


# -- what is refused, and what goes wrong ------------------------------------------------------------------------------
def test_bundles_that_cannot_embed_an_image(tmp_path):
    with pytest.raises(InputError, match="calcium_calls: its networks do not read images"):
        Encoder(registry.get_bundle("calcium_calls"), device="cpu")
    with pytest.raises(InputError, match="does not say how an image becomes"):
        Encoder(registry.get_bundle("calcium_territories"), device="cpu")  # only with what its own analysis makes
    for broken in ({"spacing_mm": [1, 2]}, {"window": [8, 8]}, {"intensity_range": [1, 1]}, {"spacing_mm": "thin"}):
        with pytest.raises(InputError, match="does not say how an image becomes"):
            Encoder(cases.unet(tmp_path / f"b{len(list(tmp_path.iterdir()))}", 3, settings=broken), device="cpu")
    with pytest.raises(InputError, match="To accept, once"):
        Encoder(cases.unet(tmp_path / "r", restricted=True), device="cpu")
    changed = cases.unet(tmp_path / "c")
    file = changed.path("models/net.pt")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="SHA-256"):
        Encoder(changed, device="cpu")


def test_a_strangers_bundle_is_read_and_its_code_is_not_run(tmp_path, bundle):
    stranger = cases.unet(tmp_path / "s", source="installed")
    assert np.array_equal(
        Encoder(stranger, device="cpu").embed(cases.stack()), Encoder(bundle, device="cpu").embed(cases.stack())
    )
    ran = tmp_path / "ran"
    evil = cases.unet(tmp_path / "e", source="installed", config={"net": {"_target_": "os.mkdir", "path": str(ran)}})
    with pytest.raises(InputError, match="not on the list"):
        Encoder(evil, device="cpu")
    assert not ran.exists()


def test_images_that_cannot_be_embedded(bundle, tmp_path):
    encoder = Encoder(bundle, device="cpu")
    image = cases.stack()

    def shows(**more):
        return replace(image, **more)

    with pytest.raises(InputError, match="NaN"):
        encoder.embed(shows(load=lambda t: np.where(image.frame(t) > 990, np.nan, image.frame(t))))
    with pytest.raises(InputError, match="constant"):
        encoder.embed(shows(load=lambda t: np.full(image.shape, 3.0)))
    with pytest.raises(InputError, match="Hounsfield"):
        encoder.embed(shows(load=lambda t: image.frame(t) - 1000))
    with pytest.raises(InputError, match="pixels per slice"):
        encoder.embed(cases.stack((20, 20, 3)))
    with pytest.raises(InputError, match="pixel spacing"):
        encoder.embed(shows(affine=np.diag([9.0, 9.0, 30.0, 1.0])))
    with pytest.raises(Nothing, match="no heart"):
        Encoder(cases.unet(tmp_path / "blind", found=False), device="cpu").embed(image)


def test_values_that_are_no_numbers_are_no_embedding(bundle, monkeypatch):
    encoder = Encoder(bundle, device="cpu")
    encoder.embed(cases.stack())
    monkeypatch.setattr(LayerReader, "__call__", lambda self, x: torch.full((x.shape[0], 8, 4, 4), math.inf))
    with pytest.raises(InputError, match="no numbers"):
        encoder.embed(cases.stack())


def test_cancel(bundle):
    def stop(fraction, stage):
        if stage == "Embedding":
            raise Cancelled

    with pytest.raises(Cancelled):
        Encoder(bundle, device="cpu").embed(cases.stack(), progress=stop)


def test_out_of_memory_takes_smaller_batches_then_the_cpu(bundle, monkeypatch):
    expected = Encoder(bundle, device="cpu").embed(cases.stack())
    encoder = Encoder(bundle, device="cpu")
    encoder.placement = Placement("cuda", torch.device("cpu"))  # a card by name only
    encoder._batch_pixels = 4 * 64 * 80
    run, sizes = LayerReader.__call__, []

    def full(self, x):
        sizes.append((encoder.placement.name, x.shape[0]))
        if encoder.placement.name == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run(self, x)

    monkeypatch.setattr(LayerReader, "__call__", full)
    assert np.allclose(encoder.embed(cases.stack()), expected, atol=1e-6)
    assert [n for name, n in sizes if name == "cuda"] == [4, 2, 1]
    assert [step["then"] for step in encoder.record()["fallbacks"]] == ["batch of 2", "batch of 1", "CPU"]

    def never(self, x):
        raise MemoryError

    monkeypatch.setattr(LayerReader, "__call__", never)
    with pytest.raises(CardioPrecisionError, match="not enough memory"):
        encoder.embed(cases.stack())

    def broken(self, x):
        raise RuntimeError("something else")

    monkeypatch.setattr(LayerReader, "__call__", broken)
    with pytest.raises(RuntimeError, match="something else"):
        encoder.embed(cases.stack())
    assert encoding.CPU.name == "cpu"


# -- the projection ----------------------------------------------------------------------------------------------------
@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 2**31))
def test_directions_are_orthonormal_and_hang_on_the_seed_alone(size, features, seed):
    found = projection(size, features, seed)
    if features <= size:
        assert found is None
        return
    assert found.shape == (size, features)
    assert np.allclose(found @ found.T, np.eye(size), atol=1e-10)
    assert np.array_equal(found, projection(size, features, seed))
    assert not np.allclose(found, projection(size, features, seed + 1))


def test_distances_are_nearly_kept():
    """Of 224 features 64 directions keep distances, but for the one factor, within a third (Johnson-Lindenstrauss)."""
    x = np.random.default_rng(5).normal(0, 1, (30, 224))
    y = project(x, projection(64, 224, 0))
    pairs = [(a, b) for a in range(30) for b in range(a)]
    ratio = np.array([np.linalg.norm(y[a] - y[b]) / np.linalg.norm(x[a] - x[b]) for a, b in pairs]) / np.sqrt(64 / 224)
    assert ratio.min() > 0.67
    assert ratio.max() < 1.33
    assert project(x, None) is x
