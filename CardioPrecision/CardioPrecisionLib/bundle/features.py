"""What a layer of a bundle's network says about an image: found by a dry run, read by a hook, pooled over voxels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import nn

from ..errors import InputError

_OVERLAP = 0.25
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Layer:
    """A module of a network by what comes out of it.

    Attributes
    ----------
    name : str
        As of ``named_modules()``.
    channels : int
    extent : tuple of int
        Spatial size of its output in the dry run.
    """

    name: str
    channels: int
    extent: tuple[int, ...]


def spatial_dims(network: nn.Module) -> int:
    """2 or 3, told from the first convolution; raises `InputError` where there is none."""
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            return 2 if isinstance(module, nn.Conv2d) else 3
    raise InputError("The network has no convolution, so it does not read images.")


def layers(network: nn.Module, channels: int, size: Sequence[int]) -> list[Layer]:
    """All modules whose output is a map of features, in the order in which they finish.

    Parameters
    ----------
    network : torch.nn.Module
        Evaluation mode, on the CPU.
    channels : int
        Of its input.
    size : sequence of int
        Spatial size of the input that is tried, all zeros.
    """
    found: dict[str, Layer] = {}
    hooks = []
    for name, module in network.named_modules():

        def note(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == len(size) + 2 and name and name not in found:
                found[name] = Layer(name, output.shape[1], tuple(output.shape[2:]))

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.inference_mode():
            network(torch.zeros(1, channels, *size))
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def deepest(found: Sequence[Layer]) -> Layer:
    """The layer of the smallest extent; there, the one with the most channels; of equals the last to finish.

    Raises
    ------
    InputError
        There is none.
    """
    if not found:
        raise InputError("The network has no layer whose output is a map of features.")
    least = min(math.prod(layer.extent) for layer in found)
    smallest = [layer for layer in found if math.prod(layer.extent) == least]
    most = max(layer.channels for layer in smallest)
    return [layer for layer in smallest if layer.channels == most][-1]


class _Enough(Exception):
    """Ends a forward pass once the layer has been read: what comes after it would be computed for nothing."""


class LayerReader:
    """Runs a network up to one of its layers.

    Parameters
    ----------
    network : torch.nn.Module
    name : str
        Of the layer.
    """

    def __init__(self, network: nn.Module, name: str):
        modules = dict(network.named_modules())
        if not name or name not in modules:
            raise InputError(f"The network has no layer {name!r}.")
        self._network, self._module = network, modules[name]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, c, *size)`` in, the layer's ``(n, channels, *extent)`` out."""
        read: list[torch.Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            read.append(output)
            raise _Enough

        hook = self._module.register_forward_hook(keep)
        try:
            self._network(x)
        except _Enough:
            pass
        finally:
            hook.remove()
        return read[0]


class Pool:
    """Weighted mean and spread per channel over everything that was added, in float64."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._first: torch.Tensor | None = None
        self._second: torch.Tensor | None = None

    def add(self, features: torch.Tensor, weight: torch.Tensor) -> None:
        """Add a batch.

        Parameters
        ----------
        features : torch.Tensor
            ``(n, channels, *extent)``.
        weight : torch.Tensor
            ``(*size)`` of the network's input, the same for all of the batch: how much each place counts. A feature
            counts as much as the places that it stands for.
        """
        extent = features.shape[2:]
        pool: Any = nn.functional.adaptive_avg_pool2d if len(extent) == 2 else nn.functional.adaptive_avg_pool3d
        share = pool(weight[None, None].float(), tuple(extent))[0, 0].double() * (weight.numel() / math.prod(extent))
        values = features.float().cpu().double().flatten(2)
        w = share.flatten()
        first, second = (values @ w).sum(0), (values.square() @ w).sum(0)
        self.weight += float(w.sum()) * features.shape[0]
        self._first = first if self._first is None else self._first + first
        self._second = second if self._second is None else self._second + second

    def mean(self) -> torch.Tensor:
        """``(channels,)``; NaN where nothing was added that counts."""
        assert self._first is not None
        return self._first / (self.weight or math.nan)

    def sd(self) -> torch.Tensor:
        """``(channels,)``."""
        assert self._second is not None
        return (self._second / (self.weight or math.nan) - self.mean().square()).clamp_min(0).sqrt()


def tiles(size: Sequence[int], window: Sequence[int]) -> tuple[list[tuple[slice, ...]], torch.Tensor]:
    """Windows that cover an image, and how often they cover each place.

    Parameters
    ----------
    size, window : sequence of int
        A window that is longer than the image along an axis is cut to it.

    Returns
    -------
    windows : list of tuple of slice
        Evenly spaced, with an overlap of at least a quarter.
    cover : torch.Tensor
        ``(*size)`` float32. Dividing by it, every place counts once.
    """
    window = [min(w, n) for w, n in zip(window, size, strict=True)]

    def starts(n: int, w: int) -> list[int]:
        count = 1 if w == n else math.ceil((n - w) / max(1, int(w * (1 - _OVERLAP)))) + 1
        return [round(i * (n - w) / max(count - 1, 1)) for i in range(count)]

    def boxes() -> Iterator[tuple[slice, ...]]:
        for corner in product(*(starts(n, w) for n, w in zip(size, window, strict=True))):
            yield tuple(slice(a, a + w) for a, w in zip(corner, window, strict=True))

    found = list(boxes())
    cover = torch.zeros(tuple(size))
    for box in found:
        cover[box] += 1
    return found, cover
