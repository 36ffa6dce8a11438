"""The in-plane lattice that a slice network sees, and the way there and back.

Interpolation is two-tap and separable, so a value depends on nothing but its neighbours: the same whether a whole
slice or a box of it is resampled, to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

Tap = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _taps(positions: np.ndarray, n: int, zeros_outside: bool) -> Tap:
    """Index pair and weight pair of linear interpolation at `positions` on samples ``0..n-1``."""
    if not zeros_outside:
        positions = np.clip(positions, 0, n - 1)
    first = np.floor(positions).astype(np.int64)
    weight = positions - first

    def tap(index: np.ndarray, w: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        inside = (index >= 0) & (index < n)
        return (
            torch.from_numpy(np.clip(index, 0, n - 1)),
            torch.from_numpy(np.where(inside, w, 0.0).astype(np.float32)),
        )

    (i0, w0), (i1, w1) = tap(first, 1.0 - weight), tap(first + 1, weight)
    return i0, i1, w0, w1


def _apply(x: torch.Tensor, tap: Tap, axis: int) -> torch.Tensor:
    first, second, w0, w1 = tap
    shape = (-1, 1) if axis == -2 else (-1,)
    return x.index_select(axis, first) * w0.view(shape) + x.index_select(axis, second) * w1.view(shape)


@dataclass(frozen=True)
class Lattice:
    """The network's lattice over a whole slice: isotropic, centred on the slice, sizes multiples of `multiple`.

    Attributes
    ----------
    native : tuple of int
        Pixels along i and j of the stored slice.
    spacing : tuple of float
        mm along i and j of the stored slice.
    step_mm : float
        Spacing of the lattice.
    multiple : int
        What the network's sizes must be divisible by.
    """

    native: tuple[int, int]
    spacing: tuple[float, float]
    step_mm: float
    multiple: int

    @property
    def size(self) -> tuple[int, int]:
        a, b = (
            max(1, math.ceil(round(n * s / self.step_mm / self.multiple, 6))) * self.multiple
            for n, s in zip(self.native, self.spacing, strict=True)
        )
        return a, b

    def to_native(self, axis: int, u: np.ndarray) -> np.ndarray:
        """Lattice index to pixel index."""
        return (np.asarray(u, float) - (self.size[axis] - 1) / 2) * self.step_mm / self.spacing[axis] + (
            self.native[axis] - 1
        ) / 2

    def to_lattice(self, axis: int, i: np.ndarray) -> np.ndarray:
        """Pixel index to lattice index."""
        return (np.asarray(i, float) - (self.native[axis] - 1) / 2) * self.spacing[axis] / self.step_mm + (
            self.size[axis] - 1
        ) / 2

    def whole(self) -> Window:
        return Window(self, (0, 0), self.size)

    def window(self, lower: tuple[float, float], upper: tuple[float, float]) -> Window:
        """The smallest window over lattice indices ``lower <= u < upper``.

        It starts and ends on multiples, so that the pooling of a network meets the same pixels as over a whole slice.
        """
        m = self.multiple
        lo = [min(max(0, math.floor(v / m) * m), n - m) for v, n in zip(lower, self.size, strict=True)]
        hi = [min(n, max(a + m, math.ceil(v / m) * m)) for v, n, a in zip(upper, self.size, lo, strict=True)]
        return Window(self, (lo[0], lo[1]), (hi[0] - lo[0], hi[1] - lo[1]))

    def window_of_box(self, box: tuple[int, int, int, int]) -> Window:
        """The smallest window that answers for the pixels ``i0 <= i < i1``, ``j0 <= j < j1``.

        For the `Window.box` of a window this is that window again.
        """
        ends = [
            np.floor(self.to_lattice(axis, np.array([box[2 * axis], box[2 * axis + 1] - 1])) + 0.5) for axis in (0, 1)
        ]
        return self.window((ends[0][0], ends[1][0]), (ends[0][1] + 1, ends[1][1] + 1))


class Window:
    """A part of a lattice: what the network sees, and the pixels that it answers for.

    Attributes
    ----------
    lower, size : tuple of int
        On the lattice.
    box : tuple of int
        ``(i0, i1, j0, j1)``, the pixels whose centre lies inside.
    """

    def __init__(self, lattice: Lattice, lower: tuple[int, int], size: tuple[int, int]):
        self.lattice, self.lower, self.size = lattice, lower, size
        self._in: list[Tap] = []
        self._out: list[Tap] = []
        self._read: list[slice] = []
        box: list[int] = []
        for axis in (0, 1):
            n = lattice.native[axis]
            positions = lattice.to_native(axis, lower[axis] + np.arange(size[axis]))
            # Only the pixels that can contribute are read and converted.
            first = int(np.clip(math.floor(positions[0]), 0, n - 1))
            last = int(np.clip(math.floor(positions[-1]) + 2, first + 1, n))
            tap = _taps(positions, n, zeros_outside=True)
            self._in.append(
                (
                    (tap[0] - first).clamp(0, last - first - 1),
                    (tap[1] - first).clamp(0, last - first - 1),
                    tap[2],
                    tap[3],
                )
            )
            self._read.append(slice(first, last))
            u = lattice.to_lattice(axis, np.arange(n)) - lower[axis]
            inside = np.flatnonzero((u >= -0.5) & (u < size[axis] - 0.5))
            start, stop = (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)
            box += [start, stop]
            self._out.append(_taps(u[start:stop], size[axis], zeros_outside=False))
        self.box = (box[0], box[1], box[2], box[3])

    def read(self, frame: np.ndarray, low: float, high: float) -> torch.Tensor:
        """The window of a stored frame ``(i, j, k)``, scaled from ``low..high`` to 0..1: ``(k, h, w)`` float32."""
        part = np.moveaxis(frame[self._read[0], self._read[1]], 2, 0)
        part = np.ascontiguousarray(part, dtype=np.float32)
        part -= np.float32(low)
        part *= np.float32(1.0 / (high - low))
        x = torch.from_numpy(np.clip(part, 0, 1, out=part))
        return _apply(_apply(x, self._in[0], -2), self._in[1], -1)

    def back(self, x: torch.Tensor) -> torch.Tensor:
        """``(..., h, w)`` on the lattice to ``(..., i1 - i0, j1 - j0)`` on the pixels of `box`."""
        return _apply(_apply(x, self._out[0], -2), self._out[1], -1)

    def grown(self, sides: tuple[bool, bool, bool, bool]) -> Window:
        """One multiple more on the named sides (low i, high i, low j, high j)."""
        m = self.lattice.multiple
        lower = [self.lower[a] - m * sides[2 * a] for a in (0, 1)]
        upper = [self.lower[a] + self.size[a] + m * sides[2 * a + 1] for a in (0, 1)]
        return self.lattice.window((lower[0], lower[1]), (upper[0], upper[1]))

    def open_sides(self) -> tuple[bool, bool, bool, bool]:
        """Which sides are not the edge of the slice."""
        n = self.lattice.size
        return (
            self.lower[0] > 0,
            self.lower[0] + self.size[0] < n[0],
            self.lower[1] > 0,
            self.lower[1] + self.size[1] < n[1],
        )


def with_context(x: torch.Tensor, n: int) -> torch.Tensor:
    """Slices ``(k, h, w)`` with their `n` neighbours on each side as channels ``(k, 2 n + 1, h, w)``, ends repeated."""
    k = torch.arange(x.shape[0])
    return torch.stack([x[(k + d).clamp(0, x.shape[0] - 1)] for d in range(-n, n + 1)], 1)


def largest(x: torch.Tensor) -> torch.Tensor:
    """Index of the largest channel of ``(n, c, h, w)`` as ``(n, h, w)`` uint8; the first one wins a tie."""
    best = x[:, 0].clone()
    label = torch.zeros(best.shape, dtype=torch.uint8, device=x.device)
    for c in range(1, x.shape[1]):
        better = x[:, c] > best
        label.masked_fill_(better, c)
        torch.maximum(best, x[:, c], out=best)
    return label
