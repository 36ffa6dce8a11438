"""Visits read in their order by a gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), several members at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_STATE = 6


class Width(NamedTuple):
    """Features of a modality: `static` ones, then steps of so many `channels`, the last of which says 1 where there was
    a visit; no steps where `channels` is 0."""

    static: int
    channels: int = 0


def shapes(name: str, channels: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Of the weights of one member."""
    own = {
        "in": (channels, 3 * _STATE), "bias": (1, 3 * _STATE), "memory": (_STATE, 3 * _STATE), "out": (_STATE, outputs),
    }  # fmt: skip
    return {f"{name}.visits.{key}": shape for key, shape in own.items()}


def reads_visits(w: Mapping[str, Any], name: str) -> bool:
    return f"{name}.visits.in" in w


def read_visits(w: Mapping[str, Any], name: str, steps: Any) -> Any:
    """``(members, rows, outputs)`` from ``(rows, steps * channels)``, the earliest visit first."""
    import torch

    enter, memory, bias = w[f"{name}.visits.in"], w[f"{name}.visits.memory"], w[f"{name}.visits.bias"]
    visits = steps.reshape(len(steps), -1, enter.shape[1])
    # of all visits at once: what follows is small, and every operation has its price
    given = visits.transpose(0, 1)[:, None] @ enter + bias
    state = enter.new_zeros((len(enter), len(steps), _STATE))
    for entering, there in zip(given, visits[:, :, -1].T > 0.5, strict=True):
        kept = state @ memory
        gates = torch.sigmoid(entering[..., : 2 * _STATE] + kept[..., : 2 * _STATE])
        new = torch.tanh(entering[..., 2 * _STATE :] + gates[..., _STATE:] * kept[..., 2 * _STATE :])
        # what was no visit changes nothing
        state = torch.where(there[:, None], torch.lerp(new, state, gates[..., :_STATE]), state)
    return state @ w[f"{name}.visits.out"]
