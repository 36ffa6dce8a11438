"""An encoder that turns a recording into a few numbers, trained by itself on recordings alone.

Two windows of one recording, each changed at random in noise, size, wander, speed and missing parts, shall come to lie
near each other and far from those of other recordings (Chen et al. 2020, SimCLR; for ECGs Kiyasseh et al. 2021, CLOCS).
That, and not the filling of masked samples, because noise and wander of a recording should not be in its numbers:
what the changes touch is unlearned, what makes a heart differ from others is kept. No outcome is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.analysis import Progress

from ..fusion.joint_net import one_thread
from .encoder_net import compared, contrast, encode, start
from .encoder_steps import Steps
from .recording import Array
from .windows import Layout, Prepared

#: Recordings that a training needs.
MIN_RECORDINGS = 20
_BATCH = 24
_TEMPERATURE = 0.2
_RATE, _DECAY = 2e-3, 1e-4
#: Of a recording, seconds that training keeps in memory.
KEPT_S = 120.0
#: Changes: noise of this size at most, speed and size within these factors, share of a window that is blanked.
_NOISE, _SPEED, _SIZE, _BLANK = 0.08, 1.12, 1.4, 0.15
_DROP_LEAD = 0.15
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Encoder:
    """A trained encoder.

    Attributes
    ----------
    layout : Layout
    size : int
        Numbers that it makes of a recording.
    weights : mapping
        Name -> float32 array.
    """

    layout: Layout
    size: int
    weights: Mapping[str, Array]

    def embed(self, prepared: Prepared) -> Array:
        """``(size,)`` mean over the windows of a recording."""
        import torch

        windows = prepared.windows(self.layout.samples)
        if not len(windows):  # what there is lies between the places of the windows
            at = prepared.starts(self.layout.samples)[:1]
            windows = np.stack([prepared.x[:, a : a + self.layout.samples] for a in at])
        w = {name: torch.as_tensor(array) for name, array in self.weights.items()}
        total = np.zeros(self.size)
        with torch.no_grad(), one_thread():
            for begin in range(0, len(windows), _CHUNK):
                x = torch.as_tensor(windows[begin : begin + _CHUNK], dtype=torch.float32)
                total += encode(w, x, stride_of(self.layout)).double().sum(dim=0).numpy()
        return total / len(windows)


def stride_of(layout: Layout) -> int:
    """Of the first convolution: heart sounds come with many samples."""
    return 2 if layout.kind == "ecg" else 6


def train(
    recordings: Sequence[Prepared],
    layout: Layout,
    size: int,
    epochs: int,
    seed: int,
    progress: Progress,
    steps: Steps,
) -> tuple[Encoder, list[float]]:
    """Train an encoder.

    Parameters
    ----------
    recordings : sequence of Prepared
        At least `MIN_RECORDINGS`.
    layout : Layout
    size, epochs, seed : int
        The same recordings and numbers give the same encoder, in one go or in several.
    progress : callable
    steps : Steps
        Where finished epochs are kept.

    Returns
    -------
    Encoder
    list of float
        Mean loss of every epoch.
    """
    import torch

    w = start(layout.channels, size, seed)
    names = sorted(w)
    for value in w.values():
        value.requires_grad_()
    optimizer = torch.optim.AdamW([w[name] for name in names], lr=_RATE, weight_decay=_DECAY)
    done, losses = steps.load(w, names, optimizer)
    with one_thread():
        for epoch in range(done, epochs):
            rng = np.random.default_rng([seed, epoch])
            for group in optimizer.param_groups:
                group["lr"] = _RATE * 0.5 * (1 + np.cos(np.pi * epoch / max(epochs, 1)))
            order = rng.permutation(len(recordings))
            # as many in each batch as can be alike: a last batch of one has nothing to compare with
            batches = np.array_split(order, max(round(len(order) / _BATCH), 1))
            total = 0.0
            for k, batch in enumerate(batches):
                progress((epoch + k / len(batches)) / epochs, f"Epoch {epoch + 1} of {epochs}")
                one, other = (_views(recordings, batch, layout, rng) for _ in range(2))
                z = [compared(w, encode(w, torch.as_tensor(x), stride_of(layout))) for x in (one, other)]
                loss = contrast(z[0], z[1], _TEMPERATURE)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(batch) / len(order)
            losses.append(total)
            steps.save(w, names, optimizer, epoch + 1, losses)
    weights = {name: np.asarray(w[name].detach().numpy()) for name in names if not name.startswith("head.")}
    return Encoder(layout, size, weights), losses


def _views(recordings: Sequence[Prepared], batch: Array, layout: Layout, rng: np.random.Generator) -> Array:
    """``(recordings, channels, samples)`` float32: a window of each, changed."""
    return np.stack([_view(recordings[i], layout.samples, rng) for i in batch]).astype(np.float32)


def _view(recording: Prepared, length: int, rng: np.random.Generator) -> Array:
    speed = _SPEED ** rng.uniform(-1, 1)
    span = min(max(round(length * speed), length // 2), recording.x.shape[1])
    starts = recording.starts(span)
    if not len(starts):
        span, starts = length, recording.starts(length)
    begin = int(rng.choice(starts))
    x = recording.x[:, begin : begin + span].astype(np.float64)
    at = np.linspace(0, span - 1, length)
    x = np.stack([np.interp(at, np.arange(span), row) for row in x])
    x = x * _SIZE ** rng.uniform(-1, 1)
    x = x + rng.normal(0, rng.uniform(0, _NOISE), x.shape)
    t = np.arange(length) / length
    x = x + rng.uniform(0, 0.1) * np.sin(2 * np.pi * (rng.uniform(0.3, 3) * t + rng.uniform()))
    width = int(rng.uniform(0, _BLANK) * length)
    place = int(rng.integers(0, length - width + 1))
    x[:, place : place + width] = 0
    if len(x) > 1:
        gone = rng.random(len(x)) < _DROP_LEAD
        gone[rng.integers(len(x))] = False
        x[gone] = 0
    return np.asarray(x)


def found_again(encoder: Encoder, recordings: Sequence[Prepared]) -> float | None:
    """Share of recordings whose second half is nearest to their first; chance is one over their number.

    None where fewer than two are long enough to be halved.
    """
    halves = []
    for r in recordings:
        middle = r.x.shape[1] // 2
        two = [Prepared(r.x[:, part], r.missing[part]) for part in (slice(None, middle), slice(middle, None))]
        if all(len(h.starts(encoder.layout.samples)) for h in two):
            halves.append([encoder.embed(h) for h in two])
    if len(halves) < 2:
        return None
    z: Array = np.array(halves)
    z = (z - z.mean(axis=(0, 1))) / np.maximum(z.std(axis=(0, 1)), 1e-9)
    distance = ((z[:, None, 0] - z[None, :, 1]) ** 2).sum(axis=2)
    return float((distance.argmin(axis=1) == np.arange(len(z))).mean())


def kept_part(prepared: Prepared, layout: Layout) -> Prepared:
    """The first `KEPT_S` seconds, for training."""
    end = round(KEPT_S * layout.rate)
    return Prepared(prepared.x[:, :end].copy(), prepared.missing[:end].copy())
