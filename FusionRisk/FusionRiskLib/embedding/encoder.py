"""The frozen encoder of a bundle: an image in, the pooled features of one layer out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence as Seq
from typing import Any

import numpy as np
import torch
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.bundle import licence, memory, precision
from CardioPrecisionLib.bundle.features import Layer, LayerReader, Pool, deepest, layers, spatial_dims, tiles
from CardioPrecisionLib.bundle.registry import Bundle
from CardioPrecisionLib.bundle.runner import CPU, Placement, free_cache, place, target_pixels
from CardioPrecisionLib.bundle.safety import load_members
from CardioPrecisionLib.dicom.findings import plural
from CardioPrecisionLib.errors import CardioPrecisionError, InputError
from CardioPrecisionLib.image import Array, Sequence

from .inputs import Made, Preparation, Prepared, Slices, Volumes

#: Frames of a series that are embedded where none are named, evenly spaced from the first on.
FRAMES = 4


def chosen_frames(n_frames: int) -> tuple[int, ...]:
    """The frames that stand for a series: up to `FRAMES` of them, evenly spaced, the first one among them."""
    count = min(n_frames, FRAMES)
    return tuple(round(i * n_frames / count) for i in range(count))


class Encoder:
    """Reads one layer of one network of a bundle.

    Parameters
    ----------
    bundle : Bundle
        Its licence must have been accepted; its weights are checked against their hashes here.
    layer : str, optional
        Name of a module of the network; the deepest one by default (see `features.deepest`).
    member : str, optional
        Which of the bundle's networks; the first by default.
    sd : bool
        Also the standard deviation of every channel over the image.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    made : callable, optional
        Makes the network's input where only the bundle's own analysis can (see `inputs.Made`).

    Attributes
    ----------
    layer : Layer
    features : int
        Numbers per image, or per frame where frames are named.
    warnings : list of str
        Of the last image: the bundle may run on it, but was trained on others.
    facts : dict
        Of the last image, JSON-able: the box that counted, or the grid.
    fallbacks : list of dict
        What was given up for want of memory.

    Raises
    ------
    InputError
        Licence not accepted, a file missing or changed, an unknown layer, member or device, or a network that does not
        read images.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        layer: str | None = None,
        member: str | None = None,
        sd: bool = False,
        device: str = "auto",
        made: Made | None = None,
    ):
        licence.require(bundle)
        self.bundle, self.sd = bundle, sd
        self.placement: Placement = place(device)
        members, self.hashes = load_members(bundle)
        names = [name for name, _ in members]
        self.member = member or names[0]
        if self.member not in names:
            raise InputError(f"Bundle {bundle.name} has no network {member!r}; it has {', '.join(names)}.")
        self._network = dict(members)[self.member]
        try:
            dims = spatial_dims(self._network)
        except InputError:
            raise InputError(
                f"Bundle {bundle.name}: its networks do not read images, so there is nothing to embed an image with."
            ) from None
        self.preparation: Preparation = Slices(bundle, device) if dims == 2 else Volumes(bundle, made)
        found = self._layers(dims)
        self.layer = _named(found, layer, bundle.name) if layer else deepest(found)
        self.features = self.layer.channels * (2 if sd else 1)
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        self.fallbacks: list[dict[str, Any]] = []
        self._batch_pixels = target_pixels(self.placement)
        self._placed: tuple[Placement, LayerReader] | None = None

    def _layers(self, dims: int) -> list[Layer]:
        side = max(2 * self.preparation.multiple, 64 if dims == 2 else 32)
        # A network that takes one size only says so by failing on another.
        tries = [(side,) * dims, *([self.preparation.window] if self.preparation.window else [])]
        error: Exception | None = None
        for size in tries:
            try:
                return layers(self._network, self.preparation.channels, size)
            except (RuntimeError, ValueError, TypeError) as failed:
                error = failed
        raise InputError(
            f"Bundle {self.bundle.name}: its network does not take {self.preparation.channels} channels in {dims}-D "
            f"({type(error).__name__})."
        ) from None

    def embed(self, sequence: Sequence, frames: Seq[int] | None = None, progress: Progress = silent) -> Array:
        """The features of one image.

        Parameters
        ----------
        sequence : Sequence
            One frame for a single image.
        frames : sequence of int, optional
            Each is read by itself, one after the other in the result. By default the `chosen_frames` are pooled
            together, so that images and series give as many numbers.
        progress : callable
            Called at least once per batch; what it raises stops the work.

        Returns
        -------
        numpy.ndarray
            ``(features,)``, or ``(frames * features,)`` float64: means of the channels, then their spreads.

        Raises
        ------
        InputError
            The bundle must not run on this image, or there is nothing on it to embed.
        Cancelled
            Whatever `progress` raised.
        """
        groups = [tuple(chosen_frames(sequence.n_frames))] if frames is None else [(int(t),) for t in frames]
        used = tuple(t for group in groups for t in group)
        missing = [t for t in used if not 0 <= t < sequence.n_frames]
        if missing or not used:
            asked = f"frame {missing[0] + 1} was" if missing else "no frames were"
            raise InputError(f"The image has {plural(sequence.n_frames, 'frame')}; {asked} asked for.")
        self.warnings, self.facts = [], {}
        with precision.settings(torch.get_num_threads(), True, self.placement.device.type), torch.inference_mode():
            prepared = self.preparation.prepare(sequence, used, part(progress, 0.0, 0.4))
            self.warnings, self.facts = prepared.warnings, prepared.record
            blocks = []
            for n, group in enumerate(groups):
                pool = Pool()
                for m, t in enumerate(group):
                    start = (n * len(group) + m) / len(used)
                    share = part(part(progress, 0.4, 1.0), start, start + 1 / len(used))
                    self._read(prepared, t, pool, share)
                blocks += [pool.mean(), pool.sd()] if self.sd else [pool.mean()]
        found: Array = torch.cat(blocks).numpy()
        if not np.isfinite(found).all():
            raise InputError("The network gives values on this image that are no numbers.")
        return found

    def _read(self, prepared: Prepared, t: int, pool: Pool, progress: Progress) -> None:
        """One frame into the pool: every window, in batches of slices."""
        x, weight = prepared.frame(t), prepared.weight
        boxes, cover = tiles(weight.shape, self.preparation.window or tuple(weight.shape))
        weight = weight / cover
        for n, box in enumerate(boxes):
            if not weight[box].any():
                continue  # nothing but padding
            part_of, done = x[(slice(None), slice(None), *box)], 0
            while done < x.shape[0]:
                count = max(1, self._batch_pixels // math.prod(part_of.shape[2:]))
                features = self._forward(part_of[done : done + count])
                if features is None:
                    continue  # less at a time, or the CPU
                pool.add(features, weight[box])
                done += count
                progress((n + min(done / x.shape[0], 1.0)) / len(boxes), "Embedding")

    def _forward(self, x: torch.Tensor) -> torch.Tensor | None:
        """Features of a batch; None where memory ran out and the next try has to ask for less."""
        try:
            if self._placed is None or self._placed[0] != self.placement:
                on_cpu = self.placement.device.type == "cpu"
                network = self._network if on_cpu else copy.deepcopy(self._network).to(self.placement.device)
                self._placed = self.placement, LayerReader(network, self.layer.name)
            return self._placed[1](x.to(self.placement.device))
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
        self._shrink(x.shape[0], math.prod(x.shape[2:]))  # outside the handler: its traceback holds the tensors
        return None

    def _shrink(self, slices: int, area: int) -> None:
        free_cache(self.placement)
        device = self.placement.name
        if slices > 1:
            self._batch_pixels = (slices // 2) * area
            action = f"batch of {slices // 2}"
        elif device != "cpu":
            self._placed = None
            free_cache(self.placement)
            self.placement, self._batch_pixels = CPU, target_pixels(CPU)
            action = "CPU"
        else:
            raise CardioPrecisionError("There is not enough memory to run the model on even one slice or window.")
        self.fallbacks.append({"reason": "out of memory", "device": device, "batch": slices, "then": action})

    def record(self) -> dict[str, Any]:
        """JSON-able: what read the images."""
        return {
            "name": self.bundle.name,
            "version": self.bundle.version,
            "licence": self.bundle.licence_name,
            "sha256": self.hashes,
            "source": self.bundle.source,
            "network": self.member,
            "layer": self.layer.name,
            "channels": self.layer.channels,
            "device": self.placement.name,
            "precision": "float32",
            "fallbacks": self.fallbacks,
        }


def _named(found: list[Layer], name: str, bundle: str) -> Layer:
    for layer in found:
        if layer.name == name:
            return layer
    some = ", ".join(layer.name for layer in found[:6])
    raise InputError(
        f"Bundle {bundle}: its network has no layer {name!r} whose output is a map of features; there are "
        f"{len(found)}, as {some}."
    )
