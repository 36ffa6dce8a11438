"""The network of joint fusion: one encoder per modality, a head on all of them, several members trained at once.

An encoder turns the features of its modality into a few numbers; the head sees these, their products between
modalities (a low-rank bilinear fusion, Kim et al. 2017, "Hadamard product for low-rank bilinear pooling") and which
modalities are there. A modality that is absent is a learned token; in training every modality is dropped at times
(modality dropout, Neverova et al. 2016, "ModDrop"). Members are fitted to bootstrap samples of the patients, stop early
on the patients that they did not draw, and are trained side by side as one batch of small matrices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress

from . import sequence_net
from .cohort import Array, Outcome
from .sequence_net import Width, read_visits, reads_visits

#: Of an answer, and for a look at a setting.
MEMBERS, SCOUTS = 16, 5
_HIDDEN, _LATENT = 12, 4
_DROP = 0.3
_BATCH, _JUDGED = 128, 4096
#: Names of weights that decay end so; biases and tokens are free.
_WEIGHTS = (".in", ".out", ".skip", ".memory")
#: Rows that are predicted at once: bounds the memory.
_CHUNK = 4096


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: the matrices are small, and sums come out the same on every machine load."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Pace:
    """How members are trained: steps at the most, steps without a gain, steps between looks, rate, smallest gain."""

    steps: int
    patience: int
    look_every: int
    rate: float
    gain: float


_PACE = Pace(steps=400, patience=60, look_every=5, rate=0.02, gain=1e-4)


def descend(
    w: Mapping[str, Any],
    losses: Callable[[], Any],
    judge: Callable[[int], Any],
    pace: Pace,
    decay: float,
    decaying: tuple[str, ...],
) -> dict[str, Array]:
    """Train members side by side, each until its own judgement gets no better.

    Parameters
    ----------
    w : mapping
        Name -> ``(members, ...)`` tensor to be changed.
    losses : callable
        ``(members,)`` on the rows of the next step.
    judge : callable
        From the number of the step ``(members,)`` on rows that are not trained on.
    pace : Pace
    decay : float
        Of weights (AdamW).
    decaying : tuple of str
        How the names of those that decay end.

    Returns
    -------
    dict
        Name -> ``(members, ...)`` float32, of every member where it was judged best.
    """
    import torch

    slow = [v for name, v in w.items() if name.endswith(decaying)]
    free = [v for name, v in w.items() if not name.endswith(decaying)]
    groups: list[dict[str, Any]] = [{"params": slow, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=pace.rate)
    best = {name: v.detach().clone() for name, v in w.items()}
    best_loss: Any = torch.inf
    improved = 0
    with one_thread():
        for step in range(pace.steps + 1):
            if step % pace.look_every == 0:
                with torch.no_grad():
                    loss = judge(step)
                better = loss < best_loss - pace.gain
                if bool(better.any()):
                    improved = step
                    best_loss = torch.where(better, loss, best_loss)
                    for name, v in w.items():
                        best[name][better] = v.detach()[better]
                if step - improved >= pace.patience:
                    break
            optimizer.zero_grad()
            losses().sum().backward()
            optimizer.step()
    return {name: v.numpy() for name, v in best.items()}


@dataclass(frozen=True, eq=False)
class Goal:
    """What the outputs are fitted to.

    Attributes
    ----------
    labels : numpy.ndarray or None
        ``(rows,)`` int64 class.
    at_risk, hit : numpy.ndarray or None
        ``(rows, intervals)`` bool: lived through or ended by the event in the interval; the event came in it.
    outputs : int
    """

    outputs: int
    labels: Array | None = None
    at_risk: Array | None = None
    hit: Array | None = None

    @staticmethod
    def width(kind: str, classes: Sequence[str], ends: Array) -> int:
        """Number of outputs: one per class, or per interval and one more for the risk that all intervals share."""
        return len(ends) + 1 if kind == "survival" else len(classes)

    @classmethod
    def of(cls, outcome: Outcome, ends: Array) -> Goal:
        """`ends` ``(intervals,)`` of discrete time, empty for classes."""
        width = cls.width(outcome.kind, outcome.classes, ends)
        if outcome.kind != "survival":
            return cls(width, labels=outcome.y)
        from .discrete_time import intervals_lived

        lived, hit_at = intervals_lived(outcome, ends)
        place = np.arange(len(ends))
        return cls(width, at_risk=place < lived[:, None], hit=place == hit_at[:, None])


@dataclass(frozen=True, eq=False)
class Net:
    """Trained members.

    Attributes
    ----------
    weights : mapping
        Name -> ``(members, ...)`` float32; ``encoder{m}.*`` of modality m, ``head.*``.
    """

    weights: Mapping[str, Array]

    @property
    def modalities(self) -> int:
        return sum(name.endswith(".absent") for name in self.weights)

    @property
    def members(self) -> int:
        return len(self.weights["head.bias"])

    def check(self, features: Sequence[Width], outputs: int) -> None:
        """Raise ValueError where the weights are not those of a net for these features and outputs."""
        expected = {name: (self.members, *shape) for name, shape in _shapes(features, outputs).items()}
        found = {name: array.shape for name, array in self.weights.items()}
        if expected != found:
            raise ValueError("the weights of the net do not fit its features")

    def latents(self, features: Sequence[Array]) -> Array:
        """``(members, rows, modalities * latent)`` of the encoders."""
        import torch

        w = _tensors(self.weights)
        with torch.no_grad(), one_thread():
            encoded = [_encode(w, m, torch.as_tensor(x, dtype=torch.float32)) for m, x in enumerate(features)]
            return np.asarray(torch.cat(encoded, dim=2).numpy())

    def absent(self) -> Array:
        """``(members, modalities * latent)`` tokens of absent modalities."""
        tokens = [self.weights[f"encoder{m}.absent"][:, 0] for m in range(self.modalities)]
        return np.concatenate(tokens, axis=1)

    def logits(self, latents: Array, present: Array) -> Array:
        """``(members, rows, outputs)`` from latents ``(members, rows, modalities * latent)``; `present` is
        ``(rows, modalities)`` bool, what is not present is replaced by its token."""
        import torch

        w = _tensors(self.weights)
        found = []
        with torch.no_grad(), one_thread():
            for start in range(0, latents.shape[1], _CHUNK):
                rows = slice(start, start + _CHUNK)
                z = torch.as_tensor(latents[:, rows], dtype=torch.float32)
                parts = list(z.split(_LATENT, dim=2))
                keep = torch.as_tensor(present[None, rows])
                found.append(_head(w, parts, keep.expand(len(z), -1, -1)).numpy())
        return np.concatenate(found, axis=1)

    def predict(self, features: Sequence[Array], present: Array) -> Array:
        """``(members, rows, outputs)`` logits from ``(rows, features)`` of every modality."""
        chunks = []
        for start in range(0, len(present), _CHUNK):
            rows = slice(start, start + _CHUNK)
            chunks.append(self.logits(self.latents([x[rows] for x in features]), present[rows]))
        return np.concatenate(chunks, axis=1) if chunks else np.zeros((self.members, 0, self._outputs))

    @property
    def _outputs(self) -> int:
        return int(self.weights["head.bias"].shape[2])


def probabilities(logits: Array) -> Array:
    """Softmax over the last axis."""
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def survival(logits: Array) -> Array:
    """``(..., intervals)`` probability of no event by the end of each interval."""
    eta = logits[..., 1:] + logits[..., :1]
    # log(1 - hazard), written so that it neither overflows nor loses small hazards
    return np.asarray(np.exp(-np.cumsum(np.logaddexp(0, eta), axis=-1)))


# -- the network ------------------------------------------------------------------------------------------------------
def _shapes(features: Sequence[Width], outputs: int) -> dict[str, tuple[int, ...]]:
    h, d, m = _HIDDEN, _LATENT, len(features)
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (f, channels) in enumerate(features):
        own = {"in": (f, h), "in_bias": (1, h), "out": (h, d), "skip": (f, d), "bias": (1, d), "absent": (1, d)}
        shapes |= {f"encoder{i}.{name}": shape for name, shape in own.items()}
        if channels:
            shapes |= sequence_net.shapes(f"encoder{i}", channels, d)
    seen = m * d + m * (m - 1) // 2 * d + m
    head = {"in": (seen, h), "in_bias": (1, h), "out": (h, outputs), "skip": (seen, outputs), "bias": (1, outputs)}
    return shapes | {f"head.{name}": shape for name, shape in head.items()}


def _tensors(weights: Mapping[str, Array]) -> dict[str, Any]:
    import torch

    return {name: torch.as_tensor(array) for name, array in weights.items()}


def _layer(w: Mapping[str, Any], name: str, x: Any) -> Any:
    """One hidden layer beside a straight line."""
    import torch

    hidden = torch.relu(x @ w[f"{name}.in"] + w[f"{name}.in_bias"])
    return hidden @ w[f"{name}.out"] + x @ w[f"{name}.skip"] + w[f"{name}.bias"]


def _encode(w: Mapping[str, Any], m: int, x: Any) -> Any:
    name = f"encoder{m}"
    if not reads_visits(w, name):
        return _layer(w, name, x)
    static = w[f"{name}.in"].shape[1]
    return _layer(w, name, x[:, :static]) + read_visits(w, name, x[:, static:])


def _head(w: Mapping[str, Any], encoded: Sequence[Any], keep: Any) -> Any:
    import torch

    z = [torch.where(keep[:, :, [m]], e, w[f"encoder{m}.absent"]) for m, e in enumerate(encoded)]
    products = [a * b for a, b in itertools.combinations(z, 2)]
    return _layer(w, "head", torch.cat([*z, *products, keep.float()], dim=2))


def _row_loss(logits: Any, goal: Mapping[str, Any]) -> Any:
    """``(members, rows)`` negative log-likelihood."""
    import torch
    from torch.nn import functional

    if "labels" in goal:
        log_p = torch.log_softmax(logits, dim=2)
        return -log_p.gather(2, goal["labels"][None, :, None].expand(len(logits), -1, 1))[..., 0]
    eta = logits[..., 1:] + logits[..., :1]
    each = functional.binary_cross_entropy_with_logits(eta, goal["hit"].expand_as(eta), reduction="none")
    return (each * goal["at_risk"]).sum(dim=2)


# -- training ---------------------------------------------------------------------------------------------------------
def train(
    features: Sequence[Array],
    present: Array,
    goal: Goal,
    counts: Array,
    decay: float,
    seed: int,
    progress: Progress,
    widths: Sequence[Width] | None = None,
) -> tuple[Net, float]:
    """Fit all members.

    Parameters
    ----------
    features : sequence of numpy.ndarray
        ``(rows, features)`` of every modality, without gaps.
    present : numpy.ndarray
        ``(rows, modalities)`` bool.
    goal : Goal
    counts : numpy.ndarray
        ``(members, rows)`` how often a member's bootstrap sample holds a row; those with 0 say when it stops.
    decay : float
        Of the weights (AdamW).
    seed : int
    progress : callable
    widths : sequence of Width, optional
        Of the features of every modality, where some are visits.

    Returns
    -------
    Net
    float
        Mean loss of rows, each by the members that did not draw it.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    members, n = counts.shape
    widths = widths or [Width(f.shape[1]) for f in features]
    w = _start(widths, goal, members, generator)
    x = [torch.as_tensor(f, dtype=torch.float32) for f in features]
    here, weight = torch.as_tensor(present), torch.as_tensor(counts, dtype=torch.float32)
    aim = {
        name: torch.as_tensor(value, dtype=torch.int64 if name == "labels" else torch.float32)
        for name, value in (("labels", goal.labels), ("at_risk", goal.at_risk), ("hit", goal.hit))
        if value is not None
    }
    judged = np.sort(rng.permutation(n)[:_JUDGED])
    out = weight[:, judged] == 0

    def run(rows: Array, keep: Any) -> Any:
        logits = _head(w, [_encode(w, m, f[rows]) for m, f in enumerate(x)], keep)
        return _row_loss(logits, {name: value[rows] for name, value in aim.items()})

    def judge(step: int) -> Any:
        progress(step / _PACE.steps, "joint net")
        loss = (run(judged, here[None, judged].expand(members, -1, -1)) * out).sum(1)
        return loss / out.sum(1).clamp(min=1)

    def losses() -> Any:
        rows = np.arange(n) if n <= _BATCH else rng.choice(n, _BATCH, replace=False)
        drop = torch.rand((members, len(rows), len(x)), generator=generator) < (_DROP if len(x) > 1 else 0.0)
        own = weight[:, rows]
        return (run(rows, here[None, rows] & ~drop) * own).sum(1) / own.sum(1).clamp(min=1)

    net = Net(descend(w, losses, judge, _PACE, decay, _WEIGHTS))
    return net, _out_of_bag(net, [f[judged] for f in features], present[judged], aim, judged, out.numpy())


def _start(widths: Sequence[Width], goal: Goal, members: int, generator: Any) -> dict[str, Any]:
    """Small random weights, and a bias that predicts the share of each class or the hazard of each interval."""
    import torch

    w: dict[str, Any] = {}
    for name, shape in _shapes(widths, goal.outputs).items():
        if name.endswith((*_WEIGHTS, ".absent")):
            spread = (0.5 if ".skip" in name else 1.0) / max(shape[0], 1) ** 0.5
            w[name] = torch.randn((members, *shape), generator=generator) * spread
        else:
            w[name] = torch.zeros((members, *shape))
    if goal.labels is not None:
        share = (np.bincount(goal.labels, minlength=goal.outputs) + 0.5) / (len(goal.labels) + 0.5 * goal.outputs)
        start = np.log(share)
    else:
        assert goal.hit is not None
        assert goal.at_risk is not None
        hazard = (goal.hit.sum(axis=0) + 0.5) / (goal.at_risk.sum(axis=0) + 1.0)
        start = np.r_[0.0, np.log(hazard / (1 - np.minimum(hazard, 0.99)))]
    w["head.bias"] += torch.as_tensor(start, dtype=torch.float32)
    w["head.out"] *= 0.3
    w["head.skip"] *= 0.3
    return {name: v.requires_grad_() for name, v in w.items()}


def _out_of_bag(
    net: Net, features: Sequence[Array], present: Array, aim: Mapping[str, Any], rows: Array, out: Array
) -> float:
    """Mean loss of the mean prediction of those members that did not draw a row."""
    logits = net.predict(features, present)
    use = out.any(axis=0)
    share = (out / np.maximum(out.sum(axis=0), 1))[:, :, None]
    if "labels" in aim:
        p = (probabilities(logits) * share).sum(axis=0)[use]
        return float(-np.mean(np.log(np.maximum(p[np.arange(len(p)), aim["labels"].numpy()[rows][use]], 1e-15))))
    curve = (survival(logits) * share).sum(axis=0)
    before = np.hstack([np.ones((len(curve), 1)), curve[:, :-1]])
    hazard = np.clip(1 - curve / np.maximum(before, 1e-15), 1e-9, 1 - 1e-9)
    hit, at_risk = aim["hit"].numpy()[rows], aim["at_risk"].numpy()[rows]
    loss = -(np.where(hit > 0, np.log(hazard), np.log1p(-hazard)) * at_risk).sum(axis=1)
    return float(loss[use].mean())
