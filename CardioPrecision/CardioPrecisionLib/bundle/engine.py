"""Slice-wise segmentation of a cine stack by a bundle: find the heart, then run every frame in its box only.

Each frame is read once, resampled once (its slices are shared as each other's neighbours), run through all members in
batches, averaged as probabilities, taken back to the stored grid and labelled. One group of frames is held as floating
point at a time; what stays is one byte per voxel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..analysis import Progress, part, silent
from ..errors import CardioPrecisionError, InputError
from ..image import Array, Sequence
from . import dihedral, guard, licence, locate, memory, precision
from .fuse import fused
from .registry import Bundle
from .resample import Lattice, Window, largest, with_context
from .runner import Placement, Runner, place, target_pixels
from .safety import load_members

Box = tuple[int, int, int, int]
_MAX_GROWTHS = 3
_CHECK_SLICES = 6
_MEMORY_SHARE = 0.5


@dataclass
class Segmentation:
    """What the engine found.

    Attributes
    ----------
    labels : numpy.ndarray
        ``(frames, i, j, k)`` uint8 on the sequence's grid, in the bundle's label values; 0 outside `box`.
    areas_mm2 : numpy.ndarray
        ``(variant, frame, k, class)`` float32: the area of each class in each slice by each variant alone (a member
        under one symmetry), counted on the network's lattice after argmax, inside `box`. Their spread is what the
        ensemble disagrees about; the labels come from the mean of the probabilities.
    variants : tuple of str
        ``"<member>/<symmetry number>"``.
    frames : tuple of int
        Frames of the sequence that were segmented.
    box : tuple of int or None
        ``(i0, i1, j0, j1)``, half-open pixel ranges; None where no heart was found.
    warnings : list of str
    record : dict
        JSON-able: bundle, version, hashes, device, precision, threads, batch, window, fallbacks, seconds, memory.
    """

    labels: Array
    areas_mm2: Array
    variants: tuple[str, ...]
    frames: tuple[int, ...]
    box: Box | None
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


class SliceEngine:
    """Runs the members of one bundle.

    Parameters
    ----------
    bundle : Bundle
        Its licence must have been accepted; its weights are checked against their hashes here.
    device : str or Placement
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision : str
        ``auto``, ``float32``, ``bfloat16`` or ``float16``. Less than float32 is used only if it agrees with it on a
        batch of the image at hand (Dice at least 0.99 per class).
    deterministic : bool
        Same input, same bytes of labels.
    threads : int, optional
        CPU threads; torch's own number by default.
    batch_slices : int, optional
        Slices of 128 x 128 per batch to begin with, instead of the device's usual number.
    before_batch : callable, optional
        ``before_batch(placement, slices)`` before each batch, for watching and for tests of what happens when memory
        runs out.

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
        batch_slices: int | None = None,
        before_batch: Callable[[Placement, int], None] | None = None,
    ):
        licence.require(bundle)
        self.bundle = bundle
        self.placement = place(device) if isinstance(device, str) else device
        self.precisions = _precisions(self.placement, precision)
        self.deterministic = deterministic
        self.threads = threads or torch.get_num_threads()
        self.batch_slices, self.before_batch = batch_slices, before_batch
        s = bundle.settings
        try:
            self.step_mm = float(s["spacing_mm"])
            self.multiple = int(s.get("multiple", 16))
            self.context = int(s.get("context_slices", 0))
            self.classes = int(s["classes"])
            low, high = s.get("intensity_percentiles", (0.5, 99.5))
            self.percentiles = (float(low), float(high))
            self.margin_mm = float(s.get("box_margin_mm", 20.0))
            self.least = int(s.get("least_window", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"Bundle {bundle.name}: the 'cardioprecision' section of configs/metadata.json is incomplete ({error})."
            ) from None
        members, self.hashes = load_members(bundle)
        self.channels = 2 * self.context + 1
        self.names = [name for name, _ in members]
        try:
            self._networks = [
                fused(network, self.channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                for _, network in members
            ]
            self._bytes_per_pixel = max(memory.bytes_per_pixel(n, self.channels) for n in self._networks)
        except (RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"Bundle {bundle.name}: its network does not take {self.channels} channels in 2-D "
                f"({type(error).__name__})."
            ) from None

    # -- public ----------------------------------------------------------------------------------------------------
    def segment(
        self,
        sequence: Sequence,
        *,
        frames: Seq[int] | None = None,
        box: Box | None = None,
        tta: int = 1,
        progress: Progress = silent,
    ) -> Segmentation:
        """Segment a sequence.

        Parameters
        ----------
        sequence : Sequence
            Slices along k.
        frames : sequence of int, optional
            All of them by default.
        box : tuple of int, optional
            ``(i0, i1, j0, j1)`` to look in, instead of searching for the heart.
        tta : int
            1, 2, 4 or 8 symmetries of the square to average over.
        progress : callable
            Called at least once per batch; what it raises stops the run.

        Raises
        ------
        InputError
            The guard says that the model must not run on this image.
        Cancelled
            Whatever `progress` raised.
        """
        chosen = tuple(range(sequence.n_frames)) if frames is None else tuple(int(t) for t in frames)
        if not chosen or not all(0 <= t < sequence.n_frames for t in chosen):
            raise InputError(f"Frames {list(chosen)} were asked for; the image has 0 to {sequence.n_frames - 1}.")
        if tta not in dihedral.COUNTS:
            raise InputError(f"Test-time augmentation of {tta} was asked for; it can be 1, 2, 4 or 8.")
        ni, nj, _ = sequence.shape
        if box is not None and not (0 <= box[0] < box[1] <= ni and 0 <= box[2] < box[3] <= nj):
            raise InputError(f"The box {box} does not lie in the image of {ni} x {nj} pixels.")
        clock = _Clock()
        progress(0.0, "Looking at the image")
        with clock("survey"):
            values = guard.survey(sequence, self.percentiles)
            warnings = guard.check(self.bundle, sequence, values)
        run = _Run(self, sequence, chosen, values, dihedral.SYMMETRIES[:tta], clock)
        with precision.settings(self.threads, self.deterministic, self.placement.device.type), torch.inference_mode():
            try:
                return run.result(box, warnings, progress)
            finally:
                run.runner.close()

    def find_heart(
        self, sequence: Sequence, frames: Seq[int], progress: Progress = silent
    ) -> tuple[tuple[Window, Box] | None, guard.Survey, list[str]]:
        """Where the heart is, without segmenting it; the values of the image; warnings.

        The window is what the network must see, the box (``(i0, i1, j0, j1)`` on the lattice) the heart with the
        bundle's margin; None where no heart was found. Of `frames` two at most are looked at.

        Raises
        ------
        InputError
            The guard says that the model must not run on this image.
        Cancelled
            Whatever `progress` raised.
        """
        values = guard.survey(sequence, self.percentiles)
        warnings = guard.check(self.bundle, sequence, values)
        run = _Run(self, sequence, tuple(frames), values, dihedral.SYMMETRIES[:1], _Clock())
        with precision.settings(self.threads, self.deterministic, self.placement.device.type), torch.inference_mode():
            try:
                window = run._locate(progress)
                box = locate.heart_box(run.foreground)
                if window is None or box is None:
                    return None, values, warnings
                margin, (h, w) = round(self.margin_mm / self.step_mm), run.lattice.size
                i0, i1, j0, j1 = box
                around = (max(i0 - margin, 0), min(i1 + margin, h), max(j0 - margin, 0), min(j1 + margin, w))
                return (window, around), values, warnings
            finally:
                run.runner.close()

    def starting_pixels(self) -> int:
        """Pixels per batch that fit into the memory that is free now."""
        wanted = self.batch_slices * 128 * 128 if self.batch_slices else target_pixels(self.placement)
        free = memory.available_bytes(self.placement.device)
        return max(1, min(wanted, int(_MEMORY_SHARE * free / self._bytes_per_pixel)))

    def new_runner(self) -> Runner:
        return Runner(
            self._networks,
            self.placement,
            self.starting_pixels(),
            fixed_batches=self.deterministic,
            before_batch=self.before_batch,
        )

    def memory_record(self, pixels: int) -> dict[str, float]:
        """The estimate that the batch was chosen by, in MiB."""
        mib = 1024.0**2
        network = sum(memory.parameter_bytes(n) for n in self._networks) / mib
        batch = pixels * self._bytes_per_pixel / mib
        return {
            "free_mib": round(memory.available_bytes(self.placement.device) / mib, 1),
            "network_mib": round(network, 1),
            "batch_mib": round(batch, 1),
            "peak_estimate_mib": round(network + batch, 1),
        }


def _precisions(placement: Placement, wanted: str) -> list[str]:
    return precision.candidates(placement.name if placement.device.type == placement.name else "other", wanted)


class _Run:
    """One call of `SliceEngine.segment`."""

    def __init__(
        self,
        engine: SliceEngine,
        sequence: Sequence,
        frames: tuple[int, ...],
        values: guard.Survey,
        symmetries: tuple[tuple[bool, bool, bool], ...],
        clock: _Clock,
    ):
        self.engine, self.sequence, self.frames, self.values = engine, sequence, frames, values
        self.symmetries, self.clock = symmetries, clock
        spacing = sequence.spacing
        self.lattice = Lattice(
            (sequence.shape[0], sequence.shape[1]),
            (float(spacing[0]), float(spacing[1])),
            engine.step_mm,
            engine.multiple,
        )
        self.memory = engine.memory_record(engine.starting_pixels())
        self.runner = engine.new_runner()
        self.runner.precision = engine.precisions[0]
        self.variants = tuple(f"{n}/{s}" for n in engine.names for s in range(len(symmetries)))
        self.checks: list[dict[str, Any]] = []
        self.growths = 0
        self.foreground = np.zeros((0, 0, 0), bool)  # (k, h, w) on the lattice: what `_locate` saw last

    # -- stages ----------------------------------------------------------------------------------------------------
    def result(self, box: Box | None, warnings: list[str], progress: Progress) -> Segmentation:
        if box is not None:
            window: Window | None = self.lattice.window_of_box(box)
        else:
            with self.clock("locate"):
                window = self._locate(part(progress, 0.02, 0.15))
        if window is None:
            warnings = [*warnings, "The model found no heart in this image; the segmentation is empty."]
            labels = np.zeros((len(self.frames), *self.sequence.shape), np.uint8)
            areas = np.zeros((len(self.variants), *labels.shape[::3], self.engine.classes), np.float32)
            return self._segmentation(labels, areas, None, warnings)
        with self.clock("precision check"):
            self._choose_precision(window, part(progress, 0.15, 0.2))
        while True:
            with self.clock("segment"):
                labels, areas, touched = self._segment(
                    window, part(progress, 0.2, 1.0), stop_at_edge=box is None and self.growths < _MAX_GROWTHS
                )
            if touched is None:
                return self._segmentation(labels, areas, window, warnings)
            self.growths += 1
            window = window.grown(touched)

    def _read(self, t: int, window: Window) -> torch.Tensor:
        frame = self.sequence.frame(t)
        if frame.shape != self.sequence.shape:
            raise InputError(f"Frame {t + 1} has {frame.shape} voxels, the first one {self.sequence.shape}.")
        return with_context(window.read(frame, self.values.low, self.values.high), self.engine.context)

    def _locate(self, progress: Progress) -> Window | None:
        """First pass over whole slices of two frames; member by member, until one finds a heart."""
        whole = self.lattice.whole()
        plan = locate.scouting_plan(self.frames, self.sequence.shape[2])
        inputs = torch.cat([self._read(t, whole)[slices] for t, slices in plan])
        numbers = dict.fromkeys((self.runner.precision, "float32"))
        tries = [(m, p) for p in numbers for m in range(len(self.engine.names))]
        total, done = len(tries) * inputs.shape[0], 0

        def tick(n: int) -> None:
            nonlocal done
            done += n
            progress(done / total, "Finding the heart")

        kept = self.runner.precision
        try:
            for member, number in tries:
                if self.runner.placement == self.engine.placement:
                    self.runner.precision = number
                found = largest(self.runner.predict(member, inputs, tick)).numpy() > 0
                stack = np.zeros((self.sequence.shape[2], *whole.size), bool)
                for at, k in enumerate(k for _, slices in plan for k in slices):
                    stack[k] |= found[at]
                self.foreground = stack
                window = locate.window_around(self.lattice, stack, self.engine.margin_mm, self.engine.least)
                if window is not None:
                    return window
            return None
        finally:
            if self.runner.placement == self.engine.placement:
                self.runner.precision = kept

    def _mean(
        self,
        x: torch.Tensor,
        tick: Callable[[int], None],
        each: Callable[[int, torch.Tensor], None] = lambda v, p: None,
    ) -> torch.Tensor:
        """Mean probabilities ``(n, c, h, w)`` over all variants; `each` sees those of every variant."""
        total: torch.Tensor | None = None
        for member in range(len(self.engine.names)):
            for s, symmetry in enumerate(self.symmetries):
                p = dihedral.backward(self.runner.predict(member, dihedral.forward(x, symmetry), tick), symmetry)
                if p.shape[1] != self.engine.classes:
                    raise InputError(
                        f"Bundle {self.engine.bundle.name}: the network gives {p.shape[1]} classes, the "
                        f"metadata says {self.engine.classes}."
                    )
                each(member * len(self.symmetries) + s, p)
                total = p.clone() if total is None else total.add_(p)
        assert total is not None
        return total.div_(len(self.variants))

    def _choose_precision(self, window: Window, progress: Progress) -> None:
        """The first precision that agrees with float32 on some slices of the first frame."""
        if self.runner.precision == "float32":
            return
        x = self._read(self.frames[0], window)
        x = x[np.unique(np.linspace(0, x.shape[0] - 1, _CHECK_SLICES).round().astype(int))]
        symmetries, self.symmetries = self.symmetries, dihedral.SYMMETRIES[:1]
        variants, self.variants = self.variants, tuple(self.engine.names)
        try:
            self.runner.precision = "float32"
            reference = largest(self._mean(x, lambda n: progress(0.5, "Checking the precision")))
            for number in self.engine.precisions:
                if self.runner.placement != self.engine.placement:
                    return  # memory ran out meanwhile; the runner has chosen
                if number == "float32":
                    self.runner.precision = number
                    return
                self.runner.precision = number
                mean = self._mean(x, lambda n: progress(1.0, "Checking the precision"))
                scores = precision.agreement(largest(mean), reference, self.engine.classes)
                passed = bool(torch.isfinite(mean).all()) and all(v >= precision.LEAST_DICE for v in scores.values())
                self.checks.append(
                    {"precision": number, "agrees": passed, "dice": {str(c): round(v, 5) for c, v in scores.items()}}
                )
                if passed:
                    return
                self.runner.fallbacks.append(
                    {"reason": "disagrees with float32", "precision": number, "dice": self.checks[-1]["dice"]}
                )
        finally:
            self.symmetries, self.variants = symmetries, variants

    def _segment(
        self, window: Window, progress: Progress, stop_at_edge: bool
    ) -> tuple[Array, Array, tuple[bool, bool, bool, bool] | None]:
        """All frames in one window; stops with the sides at which the heart leaves it."""
        n, (i, j, k) = len(self.frames), self.sequence.shape
        labels = np.zeros((n, k, i, j), np.uint8).transpose(0, 2, 3, 1)
        areas = np.zeros((len(self.variants), n, k, self.engine.classes), np.float32)
        pixel_mm2 = self.engine.step_mm**2
        i0, i1, j0, j1 = window.box
        group = max(1, self.runner.batch_size(*window.size) // k)
        done, total = 0, n * k * len(self.variants)

        def tick(slices: int) -> None:
            nonlocal done
            done += slices
            progress(done / total, f"Segmenting frame {min(n, done * n // total + 1)} of {n}")

        for start in range(0, n, group):
            some = self.frames[start : start + group]
            x = torch.cat([self._read(t, window) for t in some])

            def count(variant: int, p: torch.Tensor, start: int = start, some: tuple[int, ...] = some) -> None:
                flat = largest(p).view(len(some), k, -1)
                for c in range(self.engine.classes):
                    areas[variant, start : start + len(some), :, c] = (flat == c).sum(-1).numpy() * pixel_mm2

            mean = self._mean(x, tick, count)
            for f in range(len(some)):
                own = mean[f * k : (f + 1) * k]
                if stop_at_edge:
                    touched = locate.sides_touched(window, largest(own))
                    if any(touched):
                        return labels, areas, touched
                labels[start + f, i0:i1, j0:j1] = largest(window.back(own)).numpy().transpose(1, 2, 0)
        return labels, areas, None

    # -- the record ------------------------------------------------------------------------------------------------
    def _segmentation(self, labels: Array, areas: Array, window: Window | None, warnings: list[str]) -> Segmentation:
        engine, runner = self.engine, self.runner
        record = {
            "bundle": engine.bundle.name,
            "version": engine.bundle.version,
            "source": engine.bundle.source,
            "licence": engine.bundle.licence_name,
            "weights_sha256": engine.hashes,
            "members": engine.names,
            "symmetries": len(self.symmetries),
            "device": runner.placement.name,
            "device_asked_for": engine.placement.name,
            "precision": runner.precision,
            "precision_checks": self.checks,
            "deterministic": engine.deterministic,
            "threads": engine.threads,
            "torch": torch.__version__,
            "intensity_range": [self.values.low, self.values.high],
            "lattice": list(self.lattice.size),
            "spacing_mm": engine.step_mm,
            "largest_batch": runner.largest_batch,
            "fallbacks": runner.fallbacks,
            "found": window is not None,
            "box_growths": self.growths,
            "window": {"lower": list(window.lower), "size": list(window.size)} if window else None,
            "memory": self.memory,
            "seconds": {k: round(v, 3) for k, v in self.clock.seconds.items()},
        }
        for step in runner.fallbacks:
            if step["reason"] == "out of memory" and step["then"].startswith("CPU"):
                warnings = [*warnings, f"The {step['device']} device ran out of memory; the CPU did the rest."]
        return Segmentation(labels, areas, self.variants, self.frames, window.box if window else None, warnings, record)


__all__ = ["CardioPrecisionError", "Segmentation", "SliceEngine"]
