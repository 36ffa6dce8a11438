"""Batches of slices through the members of an ensemble, on a device that may run out of memory."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import CardioPrecisionError, InputError
from .memory import is_out_of_memory
from .precision import DTYPES

log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "mps")
#: Slices of 128 x 128 per batch; on a CPU more than this does not pay (measured: 2 to 16 take the same time) and costs
#: memory.
_TARGET_PIXELS = {"cpu": 4 * 128 * 128, "mps": 32 * 128 * 128, "cuda": 256 * 128 * 128}


@dataclass(frozen=True)
class Placement:
    """Where networks run: what it is called in choices and records, and torch's device for it."""

    name: str
    device: torch.device


CPU = Placement("cpu", torch.device("cpu"))


def place(wanted: str) -> Placement:
    """The device called `wanted`, or the best one for ``auto``; raises `InputError` where it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        name = next(n for n in ("cuda", "mps", "cpu") if there[n])
        return Placement(name, torch.device(name))
    name = wanted.split(":")[0]
    if name not in there:
        raise InputError(f"Device {wanted!r} is not known; there are: {', '.join(DEVICES)}.")
    if not there[name]:
        raise InputError(f"Device {wanted!r} was asked for, but torch finds none here; use --device auto or cpu.")
    return Placement(name, torch.device(wanted))


class Runner:
    """Runs members on batches; when memory runs out: a smaller batch, then the CPU, each step recorded.

    Parameters
    ----------
    networks : list of torch.nn.Module
        Evaluation mode, float32, channels last, on the CPU.
    placement : Placement
    pixels : int
        Pixels per batch (slices x height x width) to begin with.
    fixed_batches : bool
        Fill the last batch up, so that a library never picks another algorithm for it.
    before_batch : callable, optional
        ``before_batch(placement, slices)`` is called before each batch; what it raises counts as raised by the batch.
    """

    def __init__(
        self,
        networks: list[torch.nn.Module],
        placement: Placement,
        pixels: int,
        *,
        fixed_batches: bool = True,
        before_batch: Callable[[Placement, int], None] | None = None,
    ):
        self._networks = networks
        self.placement, self.pixels, self.precision = placement, pixels, "float32"
        self.fixed_batches, self.before_batch = fixed_batches, before_batch
        self.fallbacks: list[dict[str, Any]] = []
        self.largest_batch = 0
        self._ready: dict[tuple[int, str, str], torch.nn.Module] = {}

    def batch_size(self, height: int, width: int) -> int:
        return max(1, self.pixels // (height * width))

    def _network(self, member: int) -> torch.nn.Module:
        """The member where it runs, in the precision it runs in; on CUDA autocast chooses per operation."""
        device = self.placement.device
        if device.type == "cpu" and self.precision == "float32":
            return self._networks[member]
        key = (member, self.placement.name, self.precision)
        if key not in self._ready:
            # An accelerator without its own type (a stand-in in a test) is treated as the device that it is.
            dtype = DTYPES[self.precision] if device.type == "cpu" else torch.float32
            self._ready[key] = copy.deepcopy(self._networks[member]).to(device=device, dtype=dtype)
        return self._ready[key]

    def _forward(self, member: int, x: torch.Tensor) -> torch.Tensor:
        if self.before_batch is not None:
            self.before_batch(self.placement, x.shape[0])
        network, device = self._network(member), self.placement.device
        if device.type == "cpu":
            x = x.to(dtype=DTYPES[self.precision], memory_format=torch.channels_last)
            return network(x).float().softmax(1)
        x = x.to(device, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(device.type, DTYPES[self.precision], enabled=self.precision != "float32"):
            logits = network(x)
        return logits.float().softmax(1).cpu()

    def predict(self, member: int, x: torch.Tensor, tick: Callable[[int], None] = lambda n: None) -> torch.Tensor:
        """Class probabilities ``(n, c, h, w)`` float32 of ``(n, channels, h, w)``, both on the CPU.

        `tick` is called with the number of slices done after each batch, and may raise.
        """
        parts: list[torch.Tensor] = []
        done, n = 0, x.shape[0]
        while done < n:
            size = self.batch_size(*x.shape[-2:])
            part = x[done : done + size]
            count = part.shape[0]
            if self.fixed_batches and count < size and self.placement.device.type != "cpu":
                part = torch.cat([part, part.new_zeros(size - count, *part.shape[1:])])
            failed: tuple[str, int] | None = None
            try:
                parts.append(self._forward(member, part)[:count])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failed = (self.placement.name, part.shape[0])
            if failed is not None:  # outside the handler, so that its traceback no longer holds the tensors
                self._shrink(*failed, x.shape[-2] * x.shape[-1])
                continue
            self.largest_batch = max(self.largest_batch, part.shape[0])
            done += count
            tick(count)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _shrink(self, device: str, slices: int, area: int) -> None:
        """One step down: half the batch, then the CPU."""
        free_cache(self.placement)
        if slices > 1:
            self.pixels = (slices // 2) * area
            action = f"batch of {slices // 2}"
        elif self.placement.device.type != "cpu" or self.placement.name != "cpu":
            self._ready = {k: v for k, v in self._ready.items() if k[1] != self.placement.name}
            free_cache(self.placement)
            self.placement, self.precision, self.pixels = CPU, "float32", _TARGET_PIXELS["cpu"]
            action = "CPU, float32"
        else:
            raise CardioPrecisionError("There is not enough memory to run the model on even one slice.") from None
        self.fallbacks.append({"reason": "out of memory", "device": device, "batch": slices, "then": action})
        log.warning("Out of memory on %s with %d slices per batch; going on with: %s.", device, slices, action)

    def close(self) -> None:
        """Give the memory of the networks on the device back."""
        self._ready.clear()
        free_cache(self.placement)


def free_cache(placement: Placement) -> None:
    if placement.device.type == "cuda":
        torch.cuda.empty_cache()
    elif placement.device.type == "mps":
        torch.mps.empty_cache()


def target_pixels(placement: Placement) -> int:
    return _TARGET_PIXELS[placement.name]
