"""A cine viewer as an HTML fragment: every slice over the cycle, with outlines, with no file or network beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..image import Array
from .figures import data_uri, jpeg, resize
from .templating import environment

#: Raw size that the pictures of one viewer may have (a third more as base64).
BUDGET_BYTES = 2_000_000
#: Long side in pixels and JPEG quality, tried until the pictures fit.
_SIZES = ((192, 82), (160, 80), (128, 76), (104, 70), (80, 62), (64, 50))


@dataclass(frozen=True)
class Overlay:
    """One structure's outlines.

    Attributes
    ----------
    name : str
    color : str
        CSS colour that can be seen on a dark picture.
    paths : list of list of str
        ``paths[slice][frame]``: SVG path in tenths of a millimetre, "" where there is nothing.
    """

    name: str
    color: str
    paths: list[list[str]]


def _sprite(frames: Array, width: int, height: int, columns: int, quality: int) -> bytes:
    """The frames ``(t, row, column)`` of one slice as one JPEG, row by row."""
    import numpy as np

    rows = math.ceil(len(frames) / columns)
    sheet = np.zeros((rows * height, columns * width), np.uint8)
    for t, frame in enumerate(frames):
        y, x = (t // columns) * height, (t % columns) * width
        sheet[y : y + height, x : x + width] = resize(frame, width, height)
    return jpeg(sheet, quality)


def cine_viewer(
    pictures: Sequence[Array],
    size_mm: tuple[float, float],
    overlays: Sequence[Overlay],
    *,
    slice_names: Sequence[str],
    frame_names: Sequence[str],
    marks: Mapping[int, str],
    cycle_ms: float | None,
    start: tuple[int, int] = (0, 0),
    letters: Mapping[str, str] | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> bytes:
    """Build the viewer.

    Parameters
    ----------
    pictures : sequence of numpy.ndarray
        One ``(t, row, column)`` uint8 array for each slice.
    size_mm : tuple of float
        (width, height) of a picture.
    overlays : sequence of Overlay
    slice_names, frame_names : sequence of str
        What is written for each slice and each frame.
    marks : mapping
        Frame → short mark on the time slider ("ED", "ES").
    cycle_ms : float or None
        Duration of all frames together; None plays at 20 frames a second.
    start : tuple of int
        Slice and frame shown first.
    letters : mapping, optional
        Patient direction at the picture's edges: ``left right top bottom``.
    budget_bytes : int
        The pictures are made smaller until they fit.

    Returns
    -------
    bytes
        UTF-8 HTML.
    """
    n_frames = len(pictures[0])
    columns = math.ceil(math.sqrt(n_frames))
    width_mm, height_mm = size_mm
    sprites: list[bytes] = []
    width = height = 0
    for longest, quality in _SIZES:
        scale = longest / max(size_mm)
        width, height = max(8, round(width_mm * scale)), max(8, round(height_mm * scale))
        sprites = []
        for frames in pictures:
            sprites.append(_sprite(frames, width, height, columns, quality))
            if sum(map(len, sprites)) > budget_bytes:
                break
        else:
            break
    data = {
        "width": width,
        "height": height,
        "columns": columns,
        "widthMm": round(width_mm, 2),
        "heightMm": round(height_mm, 2),
        "frames": n_frames,
        "frameNames": list(frame_names),
        "sliceNames": list(slice_names),
        "frameMs": round(cycle_ms / n_frames, 2) if cycle_ms else 50,
        "slice": start[0],
        "frame": start[1],
        "letters": dict(letters or {}),
        "sprites": [data_uri(s, "image/jpeg") for s in sprites],
        "overlays": [{"name": o.name, "color": o.color, "paths": o.paths} for o in overlays],
    }
    # "<" cannot end the data block early; JSON reads the escape as the same character.
    block = Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704
    return (
        environment()
        .get_template("cine.html.j2")
        .render(
            data=block,
            overlays=overlays,
            n_frames=n_frames,
            n_slices=len(pictures),
            slice_names=slice_names,
            frame_names=frame_names,
            marks=sorted(marks.items()),
            start=start,
        )
        .encode("utf-8")
    )
