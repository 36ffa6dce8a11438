"""The networks of the conditional variational autoencoder that fills gaps, and how they are trained.

A variational autoencoder with arbitrary conditioning (Ivanov, Figurnov and Vetrov 2019): what is known of a row goes
into a *prior* over a few hidden numbers and, beside these, into the *decoder*, which gives a distribution of every
column. In training more values are hidden at random; a *proposal* that also sees them guides the prior. Which columns
are hidden changes at every step, so that one network answers for any pattern of gaps. As in MIWAE (Mattei and Frellsen
2019) only values that are known count in the loss: rows with gaps of their own are trained on as they are.

Several members, each of which stops early on another part of the rows, are trained side by side as one batch of small
matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cohort import Array
from .joint_net import Pace, descend

MEMBERS, LATENT = 5, 4
_HIDDEN = 32
_DECAY = 0.1
_PACE = Pace(steps=1500, patience=200, look_every=20, rate=0.005, gain=1e-3)
_BATCH = 256
#: Cases per member that say when it stops, and draws of the hidden numbers for each.
_JUDGED, _JUDGED_DRAWS = 512, 4
#: Share of the known values that is hidden: anything between these in training, that one where stopping is judged.
_HIDE, _HIDE_JUDGED = (0.05, 0.6), 0.25


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns in slots: one slot of a number or of a column with two values, one per choice of a word.

    Attributes
    ----------
    owner : numpy.ndarray
        ``(slots,)`` int64, column of a slot.
    number, pair : numpy.ndarray
        ``(columns,)`` bool; the rest are words.
    """

    owner: Array
    number: Array
    pair: Array

    @classmethod
    def of(cls, choices: Array, pair: Array) -> Layout:
        """From ``(columns,)`` number of choices (0 of a number), and which numbers have two values only."""
        return cls(np.repeat(np.arange(len(choices)), np.maximum(choices, 1)), (choices == 0) & ~pair, pair)

    @property
    def words(self) -> list[Array]:
        """Slots of every word."""
        return [np.flatnonzero(self.owner == j) for j in np.flatnonzero(~self.number & ~self.pair)]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Weights of one member by name."""
        slots, columns, h, d = len(self.owner), len(self.number), _HIDDEN, LATENT
        sides = {
            "prior": (slots + columns, 2 * d),
            "proposal": (slots + 2 * columns, 2 * d),
            "decoder": (d + slots + columns, 2 * slots),
        }
        shapes: dict[str, tuple[int, ...]] = {}
        for name, (wide, out) in sides.items():
            own = {"in": (wide, h), "in_bias": (1, h), "out": (h, out), "skip": (wide, out), "bias": (1, out)}
            shapes |= {f"{name}.{key}": shape for key, shape in own.items()}
        return shapes


# -- forward ----------------------------------------------------------------------------------------------------------
def _layer(w: Mapping[str, Any], name: str, x: Any) -> Any:
    """One hidden layer beside a straight line."""
    import torch

    hidden = torch.nn.functional.silu(x @ w[f"{name}.in"] + w[f"{name}.in_bias"])
    return hidden @ w[f"{name}.out"] + x @ w[f"{name}.skip"] + w[f"{name}.bias"]


def _bounded(log_spread: Any) -> Any:
    """A log standard deviation that stays between -3 and 3."""
    import torch

    return 3 * torch.tanh(log_spread / 3)


def _gaussian(said: Any) -> tuple[Any, Any]:
    """Mean and log standard deviation of two halves."""
    mean, spread = said.chunk(2, dim=-1)
    return mean, _bounded(spread)


def prior(w: Mapping[str, Any], x: Any, known: Any) -> tuple[Any, Any]:
    """Mean and log standard deviation ``(members, rows, LATENT)`` given what is known; `x` is 0 elsewhere."""
    import torch

    return _gaussian(_layer(w, "prior", torch.cat([x, known], dim=-1)))


def decode(w: Mapping[str, Any], z: Any, x: Any, known: Any) -> tuple[Any, Any]:
    """Mean (or logit) and log standard deviation ``(members, rows, slots)`` of every column."""
    import torch

    return _gaussian(_layer(w, "decoder", torch.cat([z, x, known], dim=-1)))


def _log_likelihood(layout: Layout, said: tuple[Any, Any], x: Any, wanted: Any) -> Any:
    """Log density of the values ``(members, rows, slots)`` of the `wanted` columns ``(members, rows, columns)``, summed
    to ``(members, rows)``."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

    place, spread = said
    total = torch.zeros(wanted.shape[:-1])
    numbers = np.flatnonzero(layout.number[layout.owner])
    if len(numbers):
        loc, log_sd = place[..., numbers], spread[..., numbers]
        each = -0.5 * ((x[..., numbers] - loc) * torch.exp(-log_sd)) ** 2 - log_sd
        total = total + (each * wanted[..., layout.owner[numbers]]).sum(-1)
    pairs = np.flatnonzero(layout.pair[layout.owner])
    if len(pairs):
        logits = place[..., pairs]
        target = ((x[..., pairs] + 1) / 2).expand_as(logits)
        each = -binary_cross_entropy_with_logits(logits, target, reduction="none")
        total = total + (each * wanted[..., layout.owner[pairs]]).sum(-1)
    for slots in layout.words:
        each = (log_softmax(place[..., slots], dim=-1) * x[..., slots]).sum(-1)
        total = total + each * wanted[..., layout.owner[slots[0]]]
    return total


# -- training ---------------------------------------------------------------------------------------------------------
def train(layout: Layout, x: Array, known: Array, learn: Array, counts: Array, seed: int) -> dict[str, Array]:
    """Fit all members.

    Parameters
    ----------
    layout : Layout
    x : numpy.ndarray
        ``(rows, slots)``, 0 where unknown; rows that differ from each other.
    known : numpy.ndarray
        ``(rows, columns)`` bool.
    learn : numpy.ndarray
        ``(columns,)`` bool, whose values the networks learn to say.
    counts : numpy.ndarray
        ``(rows,)`` how often each row is there: equal rows lie together in what is trained on or in what is held out.
    seed : int

    Returns
    -------
    dict
        Name -> ``(members, ...)`` float32.
    """
    import torch

    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    n = len(x)
    w = _start(layout, x, known, counts, generator)
    values, there = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(known, dtype=torch.float32)
    wanted, weight = torch.as_tensor(learn, dtype=torch.float32), torch.as_tensor(counts, dtype=torch.float32)
    parts = np.array_split(rng.permutation(n), MEMBERS)
    train_rows = [np.setdiff1d(np.arange(n), part) for part in parts]
    judge = _judge(layout, values, there, wanted, weight, parts, rng, generator)
    size = min(_BATCH, min(len(rows) for rows in train_rows))

    def losses() -> Any:
        rows = np.stack([rng.choice(own, size, replace=False) for own in train_rows])
        own, full = values[rows], there[rows]
        shown = full * _shown(full, generator)
        loss = -_bound(layout, w, own, full, shown, wanted, generator)
        share = weight[rows]
        return (loss * share).sum(1) / share.sum(1)

    return descend(w, losses, lambda _step: judge(w), _PACE, _DECAY, (".in", ".out", ".skip"))


def _start(layout: Layout, x: Array, known: Array, counts: Array, generator: Any) -> dict[str, Any]:
    """Small random weights; the decoder begins with the shares of words and of two values."""
    import torch

    w: dict[str, Any] = {}
    for name, shape in layout.shapes.items():
        if name.endswith("bias"):
            w[name] = torch.zeros((MEMBERS, *shape))
            continue
        spread = {"in": 1.0, "out": 0.3, "skip": 0.1}[name.split(".")[1]] / shape[0] ** 0.5
        w[name] = torch.randn((MEMBERS, *shape), generator=generator) * spread
    each = known[:, layout.owner] * counts[:, None]
    mean = (x * each).sum(axis=0) / np.maximum(each.sum(axis=0), 1)
    start = np.zeros(len(layout.owner))
    pairs = layout.pair[layout.owner]
    share = np.clip((mean[pairs] + 1) / 2, 0.02, 0.98)
    start[pairs] = np.log(share / (1 - share))
    for slots in layout.words:
        start[slots] = np.log(np.maximum(mean[slots], 0.02))
    w["decoder.bias"][..., : len(start)] += torch.as_tensor(start, dtype=torch.float32)
    return {name: v.requires_grad_() for name, v in w.items()}


def _shown(full: Any, generator: Any) -> Any:
    """What stays when values are hidden at random, a share of its own in every row."""
    import torch

    low, high = _HIDE
    share = low + (high - low) * torch.rand((*full.shape[:2], 1), generator=generator)
    return (torch.rand(full.shape, generator=generator) >= share).float()


def _bound(layout: Layout, w: Mapping[str, Any], x: Any, full: Any, shown: Any, wanted: Any, generator: Any) -> Any:
    """``(members, rows)`` lower bound of the log density of what is hidden, given what is shown."""
    import torch

    seen = x * shown[..., layout.owner]
    mean, log_sd = prior(w, seen, shown)
    to_mean, to_log_sd = _gaussian(_layer(w, "proposal", torch.cat([x, full, shown], dim=-1)))
    z = to_mean + torch.exp(to_log_sd) * torch.randn(to_mean.shape, generator=generator)
    apart = (
        log_sd - to_log_sd + 0.5 * (torch.exp(2 * to_log_sd) + (to_mean - mean) ** 2) * torch.exp(-2 * log_sd) - 0.5
    ).sum(-1)
    return _log_likelihood(layout, decode(w, z, seen, shown), x, (full - shown) * wanted) - apart


def _judge(
    layout: Layout, values: Any, there: Any, wanted: Any, weight: Any, parts: list[Array], rng: Any, generator: Any
) -> Any:
    """A function of the weights: each member's mean loss on its held-out rows, the same gaps and draws every time."""
    import torch

    smallest = min(len(part) for part in parts)
    rows = np.stack(
        [np.tile(part[:smallest], -(-_JUDGED // smallest))[:_JUDGED] for part in map(rng.permutation, parts)]
    )
    x, full, share = values[rows], there[rows], weight[rows]
    shown = full * (torch.rand(full.shape, generator=generator) >= _HIDE_JUDGED).float()
    noise = torch.randn((_JUDGED_DRAWS, *rows.shape, LATENT), generator=generator)
    seen = x * shown[..., layout.owner]
    hidden = (full - shown) * wanted

    def loss(w: Mapping[str, Any]) -> Any:
        mean, log_sd = prior(w, seen, shown)
        each = [
            _log_likelihood(layout, decode(w, mean + torch.exp(log_sd) * one, seen, shown), x, hidden) for one in noise
        ]
        found = torch.logsumexp(torch.stack(each), dim=0) - float(np.log(len(each)))
        return -(found * share).sum(1) / share.sum(1)

    return loss
