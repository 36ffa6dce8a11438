"""The engine for 3-D bundles, on a generated bundle whose answer is known: a threshold on one voxel."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_bundle
import torch
from CardioPrecisionLib.bundle import volume
from CardioPrecisionLib.bundle.runner import Placement
from CardioPrecisionLib.bundle.volume import VolumeEngine
from CardioPrecisionLib.errors import Cancelled, CardioPrecisionError, InputError

DEFINITION = {
    "_target_": "torch.nn.Conv3d",
    "in_channels": 2,
    "out_channels": len(tiny_bundle.THRESHOLDS) + 1,
    "kernel_size": 1,
}


def weights():
    """Class c where the first channel lies between threshold c and c + 1."""
    flat = tiny_bundle.threshold_weights(channel=0)
    weight = torch.zeros(len(tiny_bundle.THRESHOLDS) + 1, 2, 1, 1, 1)
    weight[:, 0, 0, 0, 0] = flat["weight"][:, 0, 1, 1]
    return {"weight": weight, "bias": flat["bias"]}


def make(root, **settings):
    chosen = {"channels": 2, "window": [32, 32, 32], "multiple": 8, **settings}
    return tiny_bundle.make(root, {"threshold": weights()}, definition=DEFINITION, settings=chosen)


@pytest.fixture
def bundle(tmp_path):
    return make(tmp_path / "tiny")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).uniform(0, 1, (2, 37, 21, 50)).astype(np.float32)


def expected(image):
    return np.searchsorted(tiny_bundle.THRESHOLDS, image[0])


def test_windows_give_what_every_voxel_says(bundle, image):
    seen = []
    found, record = VolumeEngine(bundle, device="cpu", precision="float32").predict(image, lambda f, s: seen.append(f))
    assert found.shape == (4, *image.shape[1:])
    assert np.array_equal(found.argmax(0), expected(image))
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert record["window"] == [32, 24, 32]  # sides are padded to multiples of 8
    assert record["fallbacks"] == []
    assert record["sha256"]
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_same_input_same_bytes(bundle, image):
    engine = VolumeEngine(bundle, device="cpu")
    assert engine.predict(image)[0].tobytes() == engine.predict(image)[0].tobytes()


def test_out_of_memory_shrinks_the_window_then_takes_the_cpu(bundle, image, monkeypatch):
    real, tries = volume._Run._forward, []

    def forward(self, network, x, choice):
        tries.append((self.placement.name, tuple(x.shape[2:])))
        if self.placement.name != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(self, network, x, choice)

    monkeypatch.setattr(volume._Run, "_forward", forward)
    small = make(bundle.root.parent / "small", window=[64, 64, 64])
    engine = VolumeEngine(small, device=Placement("cuda", torch.device("cpu")), precision="float32")
    found, record = engine.predict(image)
    assert np.array_equal(found.argmax(0), expected(image))
    assert record["device"] == "cpu"
    assert [f["then"] for f in record["fallbacks"]] == ["window of 32 x 24 x 32", "CPU, float32"]
    assert all(f["reason"] == "out of memory" for f in record["fallbacks"])


def test_no_memory_at_all_is_said(bundle, image, monkeypatch):
    def forward(self, network, x, choice):
        raise MemoryError

    monkeypatch.setattr(volume._Run, "_forward", forward)
    with pytest.raises(CardioPrecisionError, match="not enough memory"):
        VolumeEngine(bundle, device="cpu", precision="float32").predict(image)


def test_other_errors_are_not_taken_for_memory(bundle, image, monkeypatch):
    def forward(self, network, x, choice):
        raise RuntimeError("a bug")

    monkeypatch.setattr(volume._Run, "_forward", forward)
    with pytest.raises(RuntimeError, match="a bug"):
        VolumeEngine(bundle, device="cpu", precision="float32").predict(image)


def test_cancel(bundle, image):
    def stop(fraction, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        VolumeEngine(bundle, device="cpu").predict(image, stop)


def test_wrong_channels_and_incomplete_settings(bundle, image, tmp_path):
    with pytest.raises(ValueError, match="2 channels"):
        VolumeEngine(bundle, device="cpu").predict(image[:1])
    with pytest.raises(InputError, match="incomplete"):
        VolumeEngine(make(tmp_path / "other", window="large"), device="cpu")
