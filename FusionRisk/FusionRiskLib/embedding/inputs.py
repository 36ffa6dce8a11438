"""An image as the encoder of a bundle takes it, prepared as the bundle prepares it; and how much every place counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from CardioPrecisionLib.analysis import Progress
from CardioPrecisionLib.bundle import guard
from CardioPrecisionLib.bundle.engine import SliceEngine
from CardioPrecisionLib.bundle.orient import along_ras, slices_in_order
from CardioPrecisionLib.bundle.registry import Bundle
from CardioPrecisionLib.bundle.resample import Lattice, Window, with_context
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Image, Sequence

#: What a front hands over for a bundle whose input only its own analysis can make: an image to the network's channels
#: ``(channels, i, j, k)`` float32 and where there is an image ``(i, j, k)`` bool.
Made = Callable[[Image], tuple[Array, Array]]


class Nothing(InputError):
    """The image was read, but there is nothing on it to embed."""


@dataclass
class Prepared:
    """One image, ready for the network.

    Attributes
    ----------
    frame : callable
        ``frame(t)`` gives the input ``(n, channels, *size)`` float32 of a frame, made when it is asked for.
    weight : torch.Tensor
        ``(*size)``: 1 where the image is, 0 in what pads it.
    warnings : list of str
    record : dict
        JSON-able.
    """

    frame: Callable[[int], torch.Tensor]
    weight: torch.Tensor
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)


class Preparation(Protocol):
    """How the images of a bundle are prepared.

    Attributes
    ----------
    channels : int
        Of the network's input.
    window : tuple of int or None
        What the network takes at most; None for all that there is.
    multiple : int
        What the sides of its input must divide by.
    """

    channels: int
    window: tuple[int, ...] | None
    multiple: int

    def prepare(self, sequence: Sequence, frames: tuple[int, ...], progress: Progress) -> Prepared:
        """Make an image ready; raises `InputError` where the bundle must not run on it, `Nothing` where it is empty."""
        ...


class Slices:
    """For bundles of 2-D networks: all slices; of each the box around the heart that the bundle itself finds counts."""

    def __init__(self, bundle: Bundle, device: str):
        self._engine = SliceEngine(bundle, device=device, precision="float32")
        self.channels, self.multiple = self._engine.channels, self._engine.multiple
        self.window = _sides(bundle, 2)

    def prepare(self, sequence: Sequence, frames: tuple[int, ...], progress: Progress) -> Prepared:
        engine, stack = self._engine, slices_in_order(sequence)
        found, values, warnings = engine.find_heart(stack, frames, progress)
        if found is None:
            raise Nothing("The model found no heart in this image.")
        window, box = found
        self._check(stack, frames)

        def frame(t: int) -> torch.Tensor:
            return with_context(window.read(stack.frame(t), values.low, values.high), engine.context)

        return Prepared(frame, _counted(window, box), warnings, {"box": list(box), "slices": stack.shape[2]})

    def _check(self, stack: Sequence, frames: tuple[int, ...]) -> None:
        for t in frames:
            if stack.frame(t).shape != stack.shape:
                raise InputError(f"Frame {t + 1} has {stack.frame(t).shape} voxels, the first one {stack.shape}.")


def _counted(window: Window, box: tuple[int, int, int, int]) -> torch.Tensor:
    """1 at the points of a window that lie in the heart's box and in the stored slice.

    The network sees more than that, because what it says near the end of its window depends on where that is.
    """
    lattice: Lattice = window.lattice
    axes = []
    for axis in (0, 1):
        at = lattice.to_native(axis, window.lower[axis] + np.arange(window.size[axis]))
        there = (at > -0.5 - 1e-6) & (at < lattice.native[axis] - 0.5 + 1e-6)
        place = window.lower[axis] + np.arange(window.size[axis])
        there &= (place >= box[2 * axis]) & (place < box[2 * axis + 1])
        axes.append(torch.from_numpy(there.astype(np.float32)))
    return torch.outer(axes[0], axes[1])


class Volumes:
    """For bundles of 3-D networks: one volume, all of it, as the bundle's own analysis or its metadata says.

    Without `made` the settings of the bundle must say ``spacing_mm``, ``channels`` 1, and ``intensity_range`` or
    ``intensity_percentiles``, which are scaled to 0..1.
    """

    def __init__(self, bundle: Bundle, made: Made | None):
        settings = bundle.settings
        self._bundle, self._made = bundle, made
        try:
            self.channels, self.multiple = int(settings["channels"]), int(settings.get("multiple", 16))
            steps = settings["spacing_mm"]
            self._steps = np.array([float(s) for s in (steps if isinstance(steps, list) else [steps] * 3)])
            self._range = _pair(settings.get("intensity_range"))
            self._percentiles = _pair(settings.get("intensity_percentiles"))
        except (KeyError, TypeError, ValueError) as error:
            raise _says_nothing(bundle, str(error)) from None
        self.window = _sides(bundle, 3)
        if len(self._steps) != 3 or not (self._steps > 0).all():
            raise _says_nothing(bundle, "'spacing_mm'")
        if made is None and (self.channels != 1 or not (self._range or self._percentiles)):
            raise _says_nothing(bundle, "'intensity_range' or 'intensity_percentiles' of one channel")

    def prepare(self, sequence: Sequence, frames: tuple[int, ...], progress: Progress) -> Prepared:
        warnings = guard.check(self._bundle, sequence, guard.survey(sequence, self._percentiles or (0.5, 99.5)))
        progress(0.5, "Preparing")
        make = self._own(sequence) if self._made is None else self._made
        first = make(sequence.image(frames[0]))
        inside = first[1]
        if not inside.any():
            raise Nothing("There is no image in this file.")
        size = [max(1, math.ceil(n / self.multiple)) * self.multiple for n in inside.shape]
        a, b, c = inside.shape
        weight = torch.zeros(size)
        weight[:a, :b, :c] = torch.from_numpy(inside.astype(np.float32))

        def frame(t: int) -> torch.Tensor:
            channels = first[0] if t == frames[0] else make(sequence.image(t))[0]
            if channels.shape != (self.channels, *inside.shape):
                raise InputError(
                    f"Bundle {self._bundle.name}: its network takes {self.channels} channels, and {channels.shape[0]} "
                    "were made."
                )
            x = torch.zeros((1, self.channels, *size))
            x[0, :, :a, :b, :c] = torch.from_numpy(np.ascontiguousarray(channels, np.float32))
            return x

        return Prepared(frame, weight, warnings, {"grid": list(inside.shape)})

    def _own(self, sequence: Sequence) -> Made:
        """By the metadata: along R, A, S as closely as the axes can, the bundle's spacing and range of values."""
        low, high = self._range or _limits(along_ras(sequence), self._percentiles or (0.5, 99.5))

        def make(image: Image) -> tuple[Array, Array]:
            volume = along_ras(Sequence.from_array(image.array[None], image.affine)).image(0)
            channel = resampled(volume, self._steps, low, high)
            return channel[None], np.ones(channel.shape, bool)

        return make


def resampled(image: Image, steps: Array, low: float, high: float) -> Array:
    """A volume on the bundle's grid about the same middle, scaled from ``low..high`` to 0..1: ``(i, j, k)`` float32.

    Where the grid is much coarser than the image, voxels are averaged first.
    """
    factor = np.clip((steps / image.spacing + 0.25).astype(int), 1, image.shape)
    shape = np.array(image.shape) // factor
    a, b, c = (shape * factor).tolist()
    f, g, h = factor.tolist()
    small = (
        image.array[:a, :b, :c].reshape(shape[0], f, shape[1], g, shape[2], h).mean(axis=(1, 3, 5), dtype=np.float32)
    )
    small = np.clip((small - low) / (high - low), 0, 1).astype(np.float32)
    affine = image.affine.copy()
    affine[:3, :3] *= factor
    affine[:3, 3] = image.to_world(((factor - 1) / 2)[None])[0]
    averaged = Image(small, affine)
    size = np.maximum(np.round(np.array(averaged.shape) * averaged.spacing / steps).astype(int), 1)
    target = affine.copy()
    target[:3, :3] = affine[:3, :3] / averaged.spacing * steps
    middle = averaged.to_world(((np.array(averaged.shape) - 1) / 2)[None])[0]
    target[:3, 3] = middle - target[:3, :3] @ ((size - 1) / 2)
    from scipy.ndimage import affine_transform

    matrix = np.linalg.inv(affine) @ target
    # "nearest" beyond the outermost centres: half a voxel there still belongs to the image.
    found: Array = affine_transform(
        small, matrix[:3, :3], matrix[:3, 3], output_shape=tuple(size.tolist()), order=1, mode="nearest"
    )
    return found


def _limits(volume: Sequence, percentiles: tuple[float, float]) -> tuple[float, float]:
    values = guard.survey(volume, percentiles)
    return values.low, values.high


def _pair(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = (float(v) for v in value)
    if not low < high:
        raise ValueError("a range that is empty")
    return low, high


def _sides(bundle: Bundle, dims: int) -> tuple[int, ...] | None:
    window = bundle.settings.get("window")
    if window is None:
        return None
    if not isinstance(window, list) or len(window) != dims or not all(isinstance(n, int) and n > 0 for n in window):
        raise _says_nothing(bundle, f"'window' as {dims} sides")
    return tuple(window)


def _says_nothing(bundle: Bundle, what: str) -> InputError:
    return InputError(
        f"Bundle {bundle.name}: its metadata does not say how an image becomes the input of its network ({what}); "
        "no embedding can be read from it."
    )
