"""The network of the encoder: residual convolutions in time, means and maxima, a few numbers.

Written on plain arrays of weights, so that what is saved is what is used. Groups are normalised within a window, never
over a batch: a recording's numbers do not depend on which others it came with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .recording import Array

Weights = Mapping[str, Any]
#: Width of every stage; each halves the time.
_WIDTHS = (24, 32, 48, 64)
_KERNEL, _STEM = 7, 15
_GROUPS = 8
#: Of the head that only training uses.
_HEAD, _SPACE = 64, 32


def shapes(channels: int, size: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all weights that a recording's numbers need."""
    first = _WIDTHS[0]
    found: dict[str, tuple[int, ...]] = {"stem.weight": (first, channels, _STEM), "stem.bias": (first,)}
    before = first
    for k, width in enumerate(_WIDTHS):
        found |= {
            f"stage{k}.one": (width, before, _KERNEL), f"stage{k}.two": (width, width, _KERNEL),
            f"stage{k}.skip": (width, before, 1),
        }  # fmt: skip
        for name, w in (("norm_one", width), ("norm_two", width)):
            found |= {f"stage{k}.{name}.scale": (w,), f"stage{k}.{name}.shift": (w,)}
        before = width
    return found | {"out.weight": (size, 2 * before), "out.bias": (size,)}


def head_shapes(size: int) -> dict[str, tuple[int, ...]]:
    """Of the head that compares recordings in training."""
    return {
        "head.one": (_HEAD, size), "head.one_bias": (_HEAD,), "head.two": (_SPACE, _HEAD), "head.two_bias": (_SPACE,),
    }  # fmt: skip


def start(channels: int, size: int, seed: int) -> dict[str, Any]:
    """Random weights: He et al. 2015 for convolutions, and residual branches that begin small."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    w: dict[str, Any] = {}
    for name, shape in (shapes(channels, size) | head_shapes(size)).items():
        if name.endswith((".scale",)):
            w[name] = torch.ones(shape)
        elif len(shape) == 1:
            w[name] = torch.zeros(shape)
        else:
            fan = int(np.prod(shape[1:]))
            w[name] = torch.randn(shape, generator=generator) * (2.0 / fan) ** 0.5
    return w


def encode(w: Weights, x: Any, stride: int) -> Any:
    """``(windows, size)`` from ``(windows, channels, samples)``."""
    import torch
    from torch.nn import functional as f

    x = f.conv1d(x, w["stem.weight"], w["stem.bias"], stride=stride, padding=_STEM // 2)
    for k in range(len(_WIDTHS)):
        y = f.conv1d(x, w[f"stage{k}.one"], stride=2, padding=_KERNEL // 2)
        y = f.gelu(_norm(w, f"stage{k}.norm_one", y))
        y = _norm(w, f"stage{k}.norm_two", f.conv1d(y, w[f"stage{k}.two"], padding=_KERNEL // 2))
        x = f.gelu(y + f.conv1d(x, w[f"stage{k}.skip"], stride=2))
    pooled = torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1)
    return pooled @ w["out.weight"].T + w["out.bias"]


def _norm(w: Weights, name: str, x: Any) -> Any:
    from torch.nn import functional as f

    return f.group_norm(x, _GROUPS, w[f"{name}.scale"], w[f"{name}.shift"])


def compared(w: Weights, z: Any) -> Any:
    """``(windows, space)`` of length 1, in which training compares windows."""
    from torch.nn import functional as f

    hidden = f.gelu(z @ w["head.one"].T + w["head.one_bias"])
    return f.normalize(hidden @ w["head.two"].T + w["head.two_bias"], dim=1)


def contrast(one: Any, other: Any, temperature: float) -> Any:
    """NT-Xent (Chen et al. 2020, SimCLR): row i of both are of one recording, all other rows are of others."""
    import torch
    from torch.nn import functional as f

    n = len(one)
    both = torch.cat([one, other])
    likeness = both @ both.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    partner = torch.cat([torch.arange(n) + n, torch.arange(n)])
    return f.cross_entropy(likeness, partner)


def check(weights: Mapping[str, Array], channels: int, size: int) -> None:
    """Raise ValueError where weights are not those of an encoder of this layout."""
    found = {name: array.shape for name, array in weights.items()}
    if found != shapes(channels, size) or not all(np.isfinite(a).all() for a in weights.values()):
        raise ValueError("the weights do not fit the encoder")
