"""The trainer that the bundles' recipes build: patches, resuming, the weights that it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from CardioPrecisionLib.bundle.training import (
    Augmentation,
    LabelledStack,
    PatchSampler,
    SliceTrainer,
    average_weights,
)
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "LVFunction" / "LVFunctionLib" / "bundles" / "cine_sax_ventricles"
DATA = Path(os.environ.get("CARDIOPRECISION_DATA", ROOT.parent / "shared" / "data"))


def stacks() -> list[LabelledStack]:
    """Bright discs on dark ground, in pixels that are not square."""
    rng = np.random.default_rng(0)
    k, i, j = np.indices((4, 60, 80))
    made = []
    for n in range(3):
        disc = np.hypot((i - 28 - 2 * n) * 1.5, (j - 42 + 3 * n) * 1.0) < 14 + k
        image = (0.2 + 0.6 * disc + rng.normal(0, 0.02, disc.shape)).clip(0, 1).astype(np.float16)
        made.append(LabelledStack(f"disc{n}", image, disc.astype(np.uint8), (1.5, 1.0)))
    return made


def trainer(folder: Path, iterations: int, **more) -> SliceTrainer:
    torch.manual_seed(3)
    network = DynUNet(2, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[8, 16, 16], norm_name="batch")
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    sampler = PatchSampler(
        stacks(), classes=2, batch_size=4, augmentation=Augmentation(size=32, spacing_mm=1.5), seed=5
    )
    return SliceTrainer(
        network,
        loss,
        sampler,
        folder,
        folder / "weights.pt",
        iterations,
        learning_rate=0.01,
        checkpoint_every=6,
        **more,
    )


def test_patches_carry_their_labels():
    """With the intensity changes off, what is bright is what is labelled, however the patch was bent."""
    plain = Augmentation(
        size=48,
        spacing_mm=1.5,
        gamma=0,
        contrast=0,
        brightness=0,
        bias_field=0,
        noise=0,
        blur_mm=0.31,
        low_resolution=1,
    )
    x, y = PatchSampler(stacks(), classes=2, batch_size=12, augmentation=plain, seed=1).batch()
    assert x.shape == (12, 3, 48, 48)
    assert y.shape == (12, 48, 48)
    bright = x[:, 1] > 0.5
    overlap = 2 * (bright & (y == 1)).sum() / (bright.sum() + (y == 1).sum())
    assert overlap > 0.95


class Interrupted(Exception):
    pass


def test_resumes_where_it_stopped(tmp_path):
    """An interrupted training that is started again ends with the weights of one that was not."""
    trainer(tmp_path / "whole", 12).run()
    stopped = trainer(tmp_path / "parts", 12)
    loss = stopped.loss

    def fails(logits, labels):
        if stopped.step == 8:
            raise Interrupted
        return loss(logits, labels)

    stopped.loss = fails
    with pytest.raises(Interrupted):
        stopped.run()
    resumed = trainer(tmp_path / "parts", 12)
    assert resumed.step == 6
    resumed.run()
    one, two = (torch.load(tmp_path / n / "weights.pt", weights_only=True) for n in ("whole", "parts"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=1e-2, atol=1e-3)


def test_learns_and_can_be_trained_on(tmp_path):
    heard = []
    done = trainer(tmp_path / "a", 40, validate=lambda n: heard.append(n.training) or {"seen": 1.0}, validate_every=20)
    done.run()
    assert heard == [False, False]
    x, y = done.sampler.batch()
    done.network.eval()
    with torch.no_grad():
        found = done.network(x).argmax(1)
    assert 2 * ((found == 1) & (y == 1)).sum() / ((found == 1).sum() + (y == 1).sum()) > 0.7
    state = torch.load(tmp_path / "a" / "weights.pt", weights_only=True)
    # What DynUNet holds under two names is stored once, at half precision.
    storages = {v.untyped_storage().data_ptr() for v in state.values() if v.is_floating_point()}
    assert len(storages) < len([v for v in state.values() if v.is_floating_point()])
    assert all(v.dtype == torch.float16 for k, v in state.items() if k.endswith("weight"))
    on = trainer(tmp_path / "b", 1, start_from=tmp_path / "a" / "weights.pt")
    for key, value in on.network.state_dict().items():
        torch.testing.assert_close(value, state[key].to(value.dtype))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not (DATA / "acdc").is_dir(), reason=f"no real images in {DATA}/acdc")
def test_the_recipe_runs(tmp_path):
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.yaml", "--iterations", "2"]
    command += ["--data_dir", str(DATA / "acdc"), "--member", "resunet", "--output_dir", str(tmp_path)]
    command += ["--size", "64", "--batch_size", "2", "--start_from", "models/resunet.pt"]
    done = subprocess.run(command, cwd=BUNDLE, capture_output=True, encoding="utf-8", timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "resunet.pt").stat().st_size > 1e6
    assert (tmp_path / "history.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_average_of_weights(tmp_path):
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    for name, network in (("a", first), ("b", second)):
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
    average_weights([tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path / "mean.pt")
    mean = torch.load(tmp_path / "mean.pt", weights_only=True)
    assert torch.allclose(mean["weight"], (first.weight + second.weight) / 2)
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "c.pt")
    with pytest.raises(ValueError, match="one network"):
        average_weights([tmp_path / "a.pt", tmp_path / "c.pt"], tmp_path / "no.pt")
    assert not (tmp_path / "no.pt").exists()
