"""Finding the heart before segmenting it, so that the rest of the chest costs nothing."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np
import torch

from .resample import Lattice, Window


def scouting_plan(frames: Seq[int], slices: int) -> list[tuple[int, list[int]]]:
    """Which slices of which frames to look at: the first frame and one about a third on (end-systole is near).

    With more than five slices they are shared out alternately, so that together they are one whole stack.
    """
    first, later = frames[0], frames[len(frames) // 3]
    every = list(range(slices))
    if first == later:
        return [(first, every)]
    if slices <= 5:
        return [(first, every), (later, every)]
    return [(first, every[::2]), (later, every[1::2])]


def largest_component(foreground: np.ndarray) -> np.ndarray | None:
    """The largest connected part (26 neighbours) of a boolean ``(k, h, w)`` array; None where it is empty."""
    from scipy.ndimage import label

    parts, n = label(foreground, structure=np.ones((3, 3, 3)))
    if n == 0:
        return None
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def heart_box(foreground: np.ndarray) -> tuple[int, int, int, int] | None:
    """``(i0, i1, j0, j1)``, half-open, around the largest connected part of ``(k, h, w)``; None where there is none."""
    part = largest_component(foreground)
    if part is None:
        return None
    ends = [np.flatnonzero(part.any(axis=(0, 2 - axis))) for axis in (0, 1)]
    return int(ends[0][0]), int(ends[0][-1]) + 1, int(ends[1][0]), int(ends[1][-1]) + 1


def window_around(lattice: Lattice, foreground: np.ndarray, margin_mm: float, least: int = 0) -> Window | None:
    """The window around the largest connected part of ``(k, h, w)`` plus a margin; None where there is none.

    It measures at least `least` lattice points a side where the slice does: what a network says in a window smaller
    than its training patch depends on where the window ends.
    """
    part = largest_component(foreground)
    if part is None:
        return None
    inplane = part.any(axis=0)
    margin = margin_mm / lattice.step_mm
    lower, upper = [], []
    for axis, n in enumerate(lattice.size):
        at = np.flatnonzero(np.any(inplane, axis=1 - axis))
        more = max(margin, (least - (at[-1] + 1 - at[0])) / 2)
        start = min(max(at[0] - more, 0.0), max(n - (at[-1] + 1 - at[0] + 2 * more), 0.0))
        lower.append(start)
        upper.append(min(start + at[-1] + 1 - at[0] + 2 * more, n))
    return lattice.window((lower[0], lower[1]), (upper[0], upper[1]))


def sides_touched(window: Window, labels: torch.Tensor) -> tuple[bool, bool, bool, bool]:
    """Sides of the window (not edges of the slice) that the largest part of ``(k, h, w)`` labels reaches."""
    inside = labels.numpy() > 0
    opened = window.open_sides()

    def reached(a: np.ndarray) -> list[bool]:
        faces = (a[:, 0], a[:, -1], a[:, :, 0], a[:, :, -1])
        return [o and bool(np.any(face)) for o, face in zip(opened, faces, strict=True)]

    if not any(reached(inside)):
        return (False, False, False, False)
    part = largest_component(inside)
    sides = reached(part) if part is not None else [False] * 4
    return (sides[0], sides[1], sides[2], sides[3])
