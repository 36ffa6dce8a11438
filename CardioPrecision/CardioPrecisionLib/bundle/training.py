"""Training of slice-wise segmentation bundles: what a bundle's ``train.yaml`` builds.

The recipe is the YAML file; this module holds the two parts that MONAI has no counterpart for at this size: a sampler
that takes every augmented patch with *one* interpolation straight from the native grid, and a loop that resumes after
an interruption at the iteration where it stopped. Networks and losses come from MONAI.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..replacing import replacing
from .resample import largest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledStack:
    """One labelled stack of slices.

    Attributes
    ----------
    key : str
        Name of the case.
    image : numpy.ndarray
        ``(k, i, j)`` float16, normalised to 0..1.
    label : numpy.ndarray
        ``(k, i, j)`` uint8, 0 is background.
    spacing : tuple of float
        In-plane spacing in mm along i and j.
    """

    key: str
    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Augmentation:
    """How far a training patch may differ from the image it comes from (probabilities and half-ranges)."""

    spacing_mm: float = 1.4
    size: int = 128
    scale: float = 0.3  # log2 half-range
    shear: float = 0.12
    shift_mm: float = 22.0
    elastic_mm: float = 3.0
    elastic_probability: float = 0.35
    gamma: float = 0.6  # log2 half-range
    contrast: float = 0.3
    brightness: float = 0.15
    bias_field: float = 0.35
    noise: float = 0.06
    blur_mm: float = 1.8
    low_resolution: float = 2.5
    neighbour_dropout: float = 0.12
    context_only: float = 0.12  # share of patches taken anywhere in the slice
    far: float = 0.3  # share of patches in which the object may lie near the edge or be cut by it
    far_mm: float = 60.0


class PatchSampler:
    """Batches of augmented patches with the slices above and below as channels.

    Parameters
    ----------
    stacks : sequence of LabelledStack
    classes : int
        Number of labels, background included.
    batch_size : int
    augmentation : Augmentation
    edge_weight : float
        How much more often slices at either end of the labelled range (and those next to them) are drawn.
    small_weight, small_mm2 : float
        How much more often slices are drawn in which the last class is there but smaller than this area.
    """

    def __init__(
        self,
        stacks: Sequence[LabelledStack],
        classes: int = 4,
        batch_size: int = 16,
        augmentation: Augmentation | None = None,
        edge_weight: float = 1.5,
        small_weight: float = 1.0,
        small_mm2: float = 500.0,
        seed: int = 0,
    ):
        if not stacks:
            raise ValueError("no training stack was given")
        self.stacks, self.classes, self.batch_size = list(stacks), classes, batch_size
        self.aug = augmentation or Augmentation()
        self.rng = np.random.default_rng(seed)
        self.index: list[tuple[int, int]] = []
        weights: list[float] = []
        self.centres: list[np.ndarray] = []
        for s, stack in enumerate(self.stacks):
            full = np.flatnonzero((stack.label > 0).any(axis=(1, 2)))
            ij = np.argwhere((stack.label > 0).any(axis=0))
            self.centres.append((ij.min(0) + ij.max(0)) / 2)
            for k in range(stack.image.shape[0]):
                self.index.append((s, k))
                near_end = min(abs(k - full[0]), abs(k - full[-1])) <= 1
                area = float((stack.label[k] == classes - 1).sum()) * stack.spacing[0] * stack.spacing[1]
                small = small_weight if 0 < area < small_mm2 else 1.0
                weights.append((edge_weight if near_end else 1.0) * small)
        self.p = np.asarray(weights) / np.sum(weights)

    def state(self) -> dict:
        return dict(self.rng.bit_generator.state)

    def load_state(self, state: dict) -> None:
        self.rng.bit_generator.state = state

    def _grid(self, stack: LabelledStack, centre: np.ndarray) -> torch.Tensor:
        a, r = self.aug, self.rng
        shape = np.array(stack.image.shape[1:])
        if r.random() < a.context_only:
            centre = r.uniform(0, 1, 2) * shape
            shift = np.zeros(2)
        else:
            reach = a.far_mm if r.random() < a.far else a.shift_mm
            shift = r.uniform(-reach, reach, 2) / np.array(stack.spacing)
        angle = r.uniform(0, 2 * math.pi)
        scale = 2.0 ** r.uniform(-a.scale, a.scale)
        matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix = matrix @ np.array([[1, r.uniform(-a.shear, a.shear)], [0, 1]]) * scale
        if r.random() < 0.5:
            matrix[:, 0] *= -1
        u = (np.arange(a.size) - (a.size - 1) / 2) * a.spacing_mm
        mm = np.stack(np.meshgrid(u, u, indexing="ij"), -1) @ matrix.T
        if r.random() < a.elastic_probability:
            coarse = torch.from_numpy(r.normal(0, a.elastic_mm, (1, 2, 6, 6)))
            mm = (
                mm
                + F.interpolate(coarse, size=(a.size, a.size), mode="bicubic", align_corners=True)[0]
                .permute(1, 2, 0)
                .numpy()
            )
        ij = mm / np.array(stack.spacing) + centre + shift
        norm = 2 * ij / (shape - 1) - 1
        return torch.from_numpy(norm[..., ::-1].astype(np.float32).copy())[None]

    def _sample(self, s: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        stack, r = self.stacks[s], self.rng
        ks = [max(k - 1, 0), k, min(k + 1, stack.image.shape[0] - 1)]
        if r.random() < 0.5:
            ks.reverse()
        if r.random() < self.aug.neighbour_dropout:
            ks[0] = k
        if r.random() < self.aug.neighbour_dropout:
            ks[2] = k
        grid = self._grid(stack, self.centres[s])
        image = torch.from_numpy(stack.image[ks].astype(np.float32))[None]
        onehot = F.one_hot(torch.from_numpy(stack.label[k]).long(), self.classes).permute(2, 0, 1)[None].float()
        x = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        y = F.grid_sample(onehot, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return self._intensity(x), largest(y).long()

    def _intensity(self, x: torch.Tensor) -> torch.Tensor:
        a, r = self.aug, self.rng
        size = x.shape[-1]
        if r.random() < 0.25:  # low in-plane resolution, as in old or fast acquisitions
            small = max(16, int(size / r.uniform(1, a.low_resolution)))
            x = F.interpolate(F.interpolate(x, size=small, mode="area"), size=size, mode="bicubic", align_corners=False)
        if r.random() < 0.25:
            sigma = r.uniform(0.3, a.blur_mm) / a.spacing_mm
            t = torch.arange(-3, 4, dtype=torch.float32)
            g = torch.exp(-0.5 * (t / sigma) ** 2)
            g = (g / g.sum()).repeat(x.shape[1], 1, 1, 1)
            x = F.conv2d(x, g, padding=(0, 3), groups=x.shape[1])
            x = F.conv2d(x, g.transpose(2, 3), padding=(3, 0), groups=x.shape[1])
        x = x.clamp(0, 1)
        if r.random() < 0.6:
            x = x ** float(2.0 ** r.uniform(-a.gamma, a.gamma))
        if r.random() < 0.4:
            coarse = torch.from_numpy(r.normal(0, a.bias_field, (1, 1, 3, 3)).astype(np.float32))
            x = x * torch.exp2(F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True))
        if r.random() < 0.7:
            x = x * float(1 + r.uniform(-a.contrast, a.contrast)) + float(r.uniform(-a.brightness, a.brightness))
        if r.random() < 0.4:
            x = x + torch.from_numpy(r.normal(0, r.uniform(0, a.noise), tuple(x.shape)).astype(np.float32))
        return x

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one batch: ``(b, 3, size, size)`` float32 and ``(b, size, size)`` int64."""
        chosen = self.rng.choice(len(self.index), self.batch_size, p=self.p)
        pairs = [self._sample(*self.index[c]) for c in chosen]
        return torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])


def average_weights(files: Sequence[str | Path], target: str | Path) -> None:
    """Write the mean of several weight files of one network: points of one training, before and after a stage.

    Raises
    ------
    ValueError
        The files are not of one network.
    """
    states = [torch.load(file, map_location="cpu", weights_only=True) for file in files]
    if len({tuple((k, tuple(v.shape)) for k, v in state.items()) for state in states}) != 1:
        raise ValueError("only weights of one network can be averaged")
    once: dict[int, torch.Tensor] = {}  # what is stored once under two names stays so
    mean = {}
    for key, first in states[0].items():
        if first.is_floating_point():
            value = torch.stack([state[key].float() for state in states]).mean(0).to(first.dtype)
        else:
            value = states[-1][key]
        mean[key] = once.setdefault(first.data_ptr(), value) if first.numel() else value
    with replacing(target) as beside:
        torch.save(mean, beside)


class SliceTrainer:
    """For networks on slices or volumes: AdamW, warm-up and cosine decay, bfloat16, averaged weights; it resumes.

    Parameters
    ----------
    network : torch.nn.Module
    loss : callable
        ``loss(logits, labels[b, 1, i, j]) -> scalar``.
    sampler : PatchSampler
        Or anything with its ``batch``, ``state`` and ``load_state``.
    output : str or Path
        Folder for ``checkpoint.pt`` and ``history.jsonl``; a checkpoint found there is continued.
    weights_file : str or Path
        Where the averaged weights go at the end (float16 parameters, float32 statistics).
    validate : callable, optional
        ``validate(network) -> dict`` run on the averaged weights every `validate_every` iterations.
    start_from : str or Path, optional
        Weights to begin with where there is no checkpoint, such as the bundle's own: to train on.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        loss: Callable,
        sampler: PatchSampler,
        output: str | Path,
        weights_file: str | Path,
        iterations: int = 6000,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.03,
        average: float = 0.998,
        validate: Callable | None = None,
        validate_every: int = 500,
        checkpoint_every: int = 250,
        device: str = "cpu",
        seed: int = 0,
        start_from: str | Path | None = None,
    ):
        torch.manual_seed(seed)
        if start_from:
            network.load_state_dict(torch.load(start_from, map_location="cpu", weights_only=True))
        self.device = torch.device(device)
        volumes = any(p.ndim == 5 for p in network.parameters())
        self.layout = torch.channels_last_3d if volumes else torch.channels_last
        self.network = network.to(self.device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.loss, self.sampler, self.iterations = loss, sampler, int(iterations)
        self.output, self.weights_file = Path(output), Path(weights_file)
        self.average, self.learning_rate = average, learning_rate
        self.validate, self.validate_every, self.checkpoint_every = validate, validate_every, checkpoint_every
        decay = [p for p in network.parameters() if p.ndim > 1]
        other = [p for p in network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": weight_decay}, {"params": other, "weight_decay": 0.0}], lr=learning_rate
        )
        self.averaged = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step = 0
        self.output.mkdir(parents=True, exist_ok=True)
        self._resume()

    # -- checkpoints ---------------------------------------------------------------------------------------------
    def _resume(self) -> None:
        file = self.output / "checkpoint.pt"
        if not file.exists():
            return
        state = torch.load(file, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.step = state["averaged"], int(state["step"])
        self.sampler.load_state(json.loads(state["sampler"]))
        log.info("resumed at iteration %d", self.step)

    def _checkpoint(self) -> None:
        file = self.output / "checkpoint.pt"
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
            "sampler": json.dumps(self.sampler.state()),
        }
        with replacing(file) as beside:
            torch.save(state, beside)

    def _save_weights(self) -> None:
        # What a network holds under two names (DynUNet does) is stored once: torch keeps shared tensors shared.
        once: dict[int, torch.Tensor] = {}
        state = {}
        for key, current in self.network.state_dict().items():
            value = self.averaged[key]
            small = value.half() if value.is_floating_point() and "running_" not in key else value
            state[key] = once.setdefault(current.data_ptr(), small) if current.numel() else small
        self.weights_file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.weights_file) as beside:
            torch.save(state, beside)

    # -- the loop ------------------------------------------------------------------------------------------------
    def _rate(self) -> float:
        warm = max(1, int(0.03 * self.iterations))
        if self.step < warm:
            return self.learning_rate * (self.step + 1) / warm
        done = (self.step - warm) / max(1, self.iterations - warm)
        return self.learning_rate * (0.5 * (1 + math.cos(math.pi * done)) * 0.999 + 0.001)

    def _update_average(self) -> None:
        d = min(self.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for k, v in self.network.state_dict().items():
                if v.is_floating_point():
                    self.averaged[k].lerp_(v, 1 - d)
                else:
                    self.averaged[k].copy_(v)

    def _validate(self) -> dict:
        if self.validate is None:
            return {}
        current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        self.network.eval()
        try:
            with torch.no_grad():
                return self.validate(self.network)
        finally:
            self.network.load_state_dict(current)
            self.network.train()

    def run(self) -> None:
        """Train to the last iteration and write the weights."""
        self.network.train()
        started, losses = time.time(), []
        while self.step < self.iterations:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate()
            x, y = self.sampler.batch()
            x = x.to(self.device, memory_format=self.layout)
            y = y.to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.network(x)
            loss = self.loss(logits.float(), y[:, None])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12.0)
            self.optimizer.step()
            losses.append(float(loss.detach()))
            self.step += 1
            self._update_average()
            if self.step % 50 == 0:
                log.info(
                    "iteration %d/%d loss %.4f %.2f s/it",
                    self.step,
                    self.iterations,
                    np.mean(losses[-50:]),
                    (time.time() - started) / len(losses),
                )
            if self.step % self.validate_every == 0 or self.step == self.iterations:
                row = {"step": self.step, "loss": float(np.mean(losses[-self.validate_every :])), **self._validate()}
                log.info("%s", row)
                with open(self.output / "history.jsonl", "a", encoding="utf-8") as f:
                    f.write(json.dumps(row) + "\n")
            if self.step % self.checkpoint_every == 0:
                self._checkpoint()
        self._checkpoint()
        self._save_weights()
