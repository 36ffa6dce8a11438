"""Whole-volume inference by a bundle: class probabilities on a grid that the caller has made.

MONAI's sliding window does the work; a volume that fits its window goes through at once. When memory runs out the
window shrinks, then the CPU takes over, and the record says so.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import Any

import numpy as np
import torch

from ..analysis import Progress, part, silent
from ..errors import CardioPrecisionError, InputError
from ..image import Array
from . import licence, memory, precision
from .registry import Bundle
from .runner import CPU, Placement, free_cache, place
from .safety import load_members

log = logging.getLogger(__name__)

_OVERLAP = 0.25
_CHECK_SIDE = 48


class VolumeEngine:
    """Runs the members of a bundle whose networks are 3-D and averages their probabilities.

    Parameters
    ----------
    bundle : Bundle
        Settings used: ``classes``, ``channels``, ``multiple`` (sides must divide by it), ``window`` (three sides in
        voxels).
    device : str or Placement
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    precision : str
        ``auto``, ``float32``, ``bfloat16`` or ``float16``; less than float32 only where it agrees with it on the middle
        of the volume at hand (Dice at least 0.99 per class).
    deterministic : bool
    threads : int, optional

    Raises
    ------
    InputError
        Licence not accepted, a file missing or changed, an unknown device or precision.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str | Placement = "auto",
        precision: str = "auto",
        deterministic: bool = True,
        threads: int | None = None,
    ):
        licence.require(bundle)
        self.bundle = bundle
        self.placement = place(device) if isinstance(device, str) else device
        self.wanted, self.deterministic = precision, deterministic
        self.threads = threads or torch.get_num_threads()
        settings = bundle.settings
        try:
            self.classes, self.channels = int(settings["classes"]), int(settings["channels"])
            self.multiple = int(settings.get("multiple", 16))
            self.window = tuple(int(n) for n in settings["window"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"Bundle {bundle.name}: the 'cardioprecision' section of configs/metadata.json is incomplete ({error})."
            ) from None
        self._members, self.hashes = load_members(bundle)

    def predict(self, x: Array, progress: Progress = silent) -> tuple[Array, dict[str, Any]]:
        """Class probabilities of one volume.

        Parameters
        ----------
        x : numpy.ndarray
            ``(channels, i, j, k)`` float32, as the bundle was trained on.
        progress : callable

        Returns
        -------
        probabilities : numpy.ndarray
            ``(classes, i, j, k)`` float32.
        record : dict
            JSON-able: bundle, version, hashes, device, precision, window, fallbacks, seconds.
        """
        if x.ndim != 4 or x.shape[0] != self.channels:
            raise ValueError(f"{self.channels} channels in 3-D are needed, not an array of shape {x.shape}")
        started = time.perf_counter()
        padded = [math.ceil(n / self.multiple) * self.multiple for n in x.shape[1:]]
        image = torch.zeros((1, self.channels, *padded))
        image[0, :, : x.shape[1], : x.shape[2], : x.shape[3]] = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        run = _Run(self, image)
        with precision.settings(self.threads, self.deterministic, self.placement.device.type), torch.inference_mode():
            total = run.mean(progress)
        found = total[0, :, : x.shape[1], : x.shape[2], : x.shape[3]].numpy()
        record = {
            "name": self.bundle.name,
            "version": self.bundle.version,
            "licence": self.bundle.licence_name,
            "sha256": self.hashes,
            "device": run.placement.name,
            "precision": run.precision,
            "threads": self.threads,
            "deterministic": self.deterministic,
            "window": list(run.window),
            "fallbacks": run.fallbacks,
            "seconds": {"network": round(time.perf_counter() - started, 3)},
        }
        return found, record


class _Run:
    """One volume through all members, with what has been given up on the way."""

    def __init__(self, engine: VolumeEngine, image: torch.Tensor):
        self.engine, self.image = engine, image
        self.placement = engine.placement
        self.precision = "float32"
        self.window = [min(n, w) for n, w in zip(image.shape[2:], engine.window, strict=True)]
        self.fallbacks: list[dict[str, Any]] = []

    def mean(self, progress: Progress) -> torch.Tensor:
        members = [network for _, network in self.engine._members]
        self._choose_precision(members[0])
        total: torch.Tensor | None = None
        for n, network in enumerate(members):
            share = part(progress, n / len(members), (n + 1) / len(members))
            found = self._member(network, share)
            total = found if total is None else total + found
        if total is None:
            raise InputError(f"Bundle {self.engine.bundle.name}: it has no members.")
        return total / len(members)

    def _choose_precision(self, network: torch.nn.Module) -> None:
        name = self.placement.name if self.placement.device.type == self.placement.name else "other"
        sides = [min(n, _CHECK_SIDE) for n in self.image.shape[2:]]
        lower = [(n - s) // 2 for n, s in zip(self.image.shape[2:], sides, strict=True)]
        i, j, k = (slice(a, a + s) for a, s in zip(lower, sides, strict=True))
        middle = self.image[:, :, i, j, k]
        reference: torch.Tensor | None = None
        for choice in precision.candidates(name, self.engine.wanted):
            if choice == "float32":
                break
            if reference is None:
                reference = self._forward(self._placed(network, "float32"), middle, "float32").argmax(1)
            found = self._forward(self._placed(network, choice), middle, choice).argmax(1)
            agreed = precision.agreement(found, reference, self.engine.classes)
            if all(dice >= precision.LEAST_DICE for dice in agreed.values()):
                self.precision = choice
                return
        self.precision = "float32"

    def _placed(self, network: torch.nn.Module, choice: str) -> torch.nn.Module:
        device = self.placement.device
        if device.type == "cpu" and choice == "float32":
            return network
        dtype = precision.DTYPES[choice] if device.type == "cpu" else torch.float32
        return copy.deepcopy(network).to(device=device, dtype=dtype)

    def _forward(self, network: torch.nn.Module, x: torch.Tensor, choice: str) -> torch.Tensor:
        device = self.placement.device
        if device.type == "cpu":
            return network(x.to(precision.DTYPES[choice])).float().softmax(1)
        with torch.autocast(device.type, precision.DTYPES[choice], enabled=choice != "float32"):
            logits = network(x.to(device))
        found: torch.Tensor = logits.float().softmax(1).cpu()
        return found

    def _member(self, network: torch.nn.Module, progress: Progress) -> torch.Tensor:
        while True:
            try:
                return self._slide(self._placed(network, self.precision), progress)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
            self._shrink()  # outside the handler, so that its traceback no longer holds the tensors

    def _slide(self, network: torch.nn.Module, progress: Progress) -> torch.Tensor:
        from monai.inferers import SlidingWindowInferer

        interval = [max(1, int(w * (1 - _OVERLAP))) for w in self.window]
        counts = [
            1 if n <= w else math.ceil((n - w) / step) + 1
            for n, w, step in zip(self.image.shape[2:], self.window, interval, strict=True)
        ]
        windows, done = math.prod(counts), 0
        progress(0.0, "Running the network")

        def predictor(x: torch.Tensor) -> torch.Tensor:
            nonlocal done
            found = self._forward(network, x, self.precision)
            done += x.shape[0]
            progress(min(done / windows, 1.0), "Running the network")
            return found

        slide: Any = SlidingWindowInferer(self.window, sw_batch_size=1, overlap=_OVERLAP, mode="gaussian")
        found: torch.Tensor = slide(self.image, predictor)
        return found

    def _shrink(self) -> None:
        """One step down: half the longest side of the window, then the CPU."""
        free_cache(self.placement)
        least = 4 * self.engine.multiple
        before, longest = list(self.window), max(self.window)
        if longest > least:
            half = max(least, math.ceil(longest / 2 / self.engine.multiple) * self.engine.multiple)
            self.window = [min(w, half) for w in self.window]
            action = f"window of {' x '.join(map(str, self.window))}"
        elif self.placement.name != "cpu":
            self.placement, self.precision = CPU, "float32"
            self.window = [min(n, w) for n, w in zip(self.image.shape[2:], self.engine.window, strict=True)]
            action = "CPU, float32"
        else:
            raise CardioPrecisionError("There is not enough memory to run the model even on a small window.")
        self.fallbacks.append({"reason": "out of memory", "window": before, "then": action})
        log.warning("Out of memory with a window of %s; going on with: %s.", before, action)
