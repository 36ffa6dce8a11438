"""Slices with outlines side by side, as an HTML fragment that reflows from a wide screen to a phone and to paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..image import Array
from .figures import data_uri, jpeg, resize
from .templating import environment

#: Long side of a picture in pixels.
_LONGEST = 256


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes
    ----------
    grey : numpy.ndarray
        ``(row, column)`` uint8.
    mark : str
        Written into the corner ("ED").
    label : str
        Read out by a screen reader.
    paths : sequence of tuple
        (SVG path in tenths of a millimetre, CSS colour).
    """

    grey: Array
    mark: str
    label: str
    paths: Sequence[tuple[str, str]]


def montage(
    columns: Sequence[tuple[str, Sequence[Tile]]],
    size_mm: tuple[float, float],
    legend: Sequence[tuple[str, str]],
    letters: Mapping[str, str] | None = None,
    across: int | None = None,
) -> bytes:
    """Named columns of pictures, one below the other in each.

    Parameters
    ----------
    columns : sequence of tuple
        (name, tiles) of each slice.
    size_mm : tuple of float
        (width, height) of every picture.
    legend : sequence of tuple
        (name, CSS colour).
    letters : mapping, optional
        Patient directions at the picture's edges: ``left right top bottom``.
    across : int, optional
        Columns side by side on a wide screen; by default all of up to eight, or half of them.

    Returns
    -------
    bytes
        UTF-8 HTML.
    """
    scale = _LONGEST / max(size_mm)
    width, height = max(8, round(size_mm[0] * scale)), max(8, round(size_mm[1] * scale))
    shown = [
        {
            "name": name,
            "pictures": [
                {
                    "uri": data_uri(jpeg(resize(t.grey, width, height), 84), "image/jpeg"),
                    "mark": t.mark,
                    "label": t.label,
                    "paths": [(path, color) for path, color in t.paths if path],
                }
                for t in tiles
            ],
        }
        for name, tiles in columns
    ]
    if across is None:  # two even rows rather than a full and a short one
        across = len(shown) if len(shown) <= 8 else -(-len(shown) // 2)
    return (
        environment()
        .get_template("montage.html.j2")
        .render(
            columns=shown,
            width=round(size_mm[0] * 10),
            height=round(size_mm[1] * 10),
            legend=legend,
            letters=letters or {},
            across=max(across, 3),
        )
        .encode("utf-8")
    )
