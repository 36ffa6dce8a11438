"""The pictures of a calcium report: every candidate with its call, and the score among people of the same age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.analysis import Figure
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.measurement import Patient
from CardioPrecisionLib.report.calcium import percentile_plot
from CardioPrecisionLib.report.figures import path_of, to_grey
from CardioPrecisionLib.report.montage import Tile, montage

from .axial import axial
from .calcium_rows import comparable_agatston
from .calling import Calls
from .candidates import Candidate
from .scoring import Scores
from .vessels import CORONARY, OTHER, SEGMENTS, SITES

_SIDE_MM = 72.0
_WINDOW_HU = (-150.0, 350.0)
MAX_TILES = 120
_ACROSS = 6
_SHORT = {**SITES, OTHER: "other"}
_COLORS = {s.value: f"rgb({', '.join(str(round(255 * c)) for c in s.color)})" for s in SEGMENTS}


@dataclass(frozen=True)
class _Shown:
    """One picture: where, whose and what is said of it."""

    label: int
    center_mm: Array
    k: int
    name: str
    size: float


def make_figures(
    image: Image,
    labels: Array,
    scores: Scores,
    candidates: list[Candidate],
    calls: Calls | None,
    patient: Patient,
    race: str | None,
) -> list[Figure]:
    """The figures of a calcium run.

    Parameters
    ----------
    image : Image
        CT in HU.
    labels : numpy.ndarray
        ``(i, j, k)`` on its grid.
    scores : Scores
    candidates, calls
        Of the model; with a reader's labels there are none, and the scored lesions are shown.
    patient, race
        For the percentile plot, which is left out where age or sex is not known.
    """
    figures = []
    stack = axial(image)
    drawn = axial(image.with_array(labels)).array
    shown = list(_from_model(candidates, calls) if calls is not None else _from_scores(scores))
    if shown:
        figures.append(_montage(stack, drawn, shown, calls is not None))
    if plot := percentile_plot(comparable_agatston(scores.total()), patient, race):
        figures.append(plot)
    return figures


def _from_model(candidates: list[Candidate], calls: Calls) -> Iterator[_Shown]:
    for candidate, label, p in zip(candidates, calls.label.tolist(), calls.probability, strict=True):
        name = f"{_SHORT[label].replace('_', ' ')} · {100 * p[label - 1]:.0f} %"
        counts = np.bincount(candidate.at[2])
        yield _Shown(label, candidate.center_mm, int(counts.argmax()), name, candidate.volume_mm3)


def _from_scores(scores: Scores) -> Iterator[_Shown]:
    for lesion in scores.lesions:
        name = f"{_SHORT[lesion.label].replace('_', ' ')} · {lesion.agatston:.0f}"
        middle = sum(lesion.slices) // 2
        yield _Shown(lesion.label, np.array(lesion.center_mm), middle, name, lesion.volume_mm3)


def _order(item: _Shown) -> tuple[int, int, float]:
    rank = 0 if item.label in CORONARY else 2 if item.label == OTHER else 1
    return rank, item.label, -item.size


def _montage(stack: Image, drawn: Array, shown: list[_Shown], called: bool) -> Figure:
    """Axial pictures as a radiologist sees them: patient's right on the left, front above."""
    pixel = stack.spacing[:2]
    half = np.maximum(np.round(_SIDE_MM / 2 / pixel).astype(int), 4)
    present = sorted({item.label for item in shown})
    chosen = sorted(shown, key=_order)[:MAX_TILES]
    columns = []
    for number, item in enumerate(chosen, 1):
        i, j, _ = np.rint(stack.to_index(item.center_mm[None])[0]).astype(int)
        plane = _square(stack.array[:, :, item.k], (i, j), half, -1000)
        marks = _square(drawn[:, :, item.k], (i, j), half, 0)
        # i runs to R and j to A: the picture's columns run to L and its rows to P.
        grey = to_grey(plane[::-1, ::-1].T, _WINDOW_HU)
        paths = [
            (path_of((marks == label)[::-1, ::-1].T, float(pixel[1]), float(pixel[0])), _COLORS[label])
            for label in present
            if (marks == label).any()
        ]
        site = item.name.split(" · ")[0]
        columns.append((f"{number} {item.name}", [Tile(grey, "", f"slice {item.k + 1}, {site}", paths)]))
    size = (float((2 * half[0] + 1) * pixel[0]), float((2 * half[1] + 1) * pixel[1]))
    legend = [(s.name, _COLORS[s.value]) for s in SEGMENTS if s.value in present]
    letters = {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    what = "candidate with its call and the call's probability" if called else "scored lesion with its Agatston score"
    caption = f"Every {what}, {_SIDE_MM:.0f} mm wide, in the slice that holds most of it; window -150 to 350 HU."
    if len(chosen) < len(shown):
        caption += f" The {len(chosen)} of {len(shown)} with the largest coronary ones first."
    if called:
        caption += " To correct a call, re-label the segmentation and give it with --vessels."
    data = montage(columns, size, legend, letters, across=_ACROSS)
    return Figure("candidates", "Calcifications", caption, data, "text/html")


def _square(plane: Array, center: tuple[int, int], half: Array, fill: float) -> Array:
    """A window of a slice around a pixel, filled up where it leaves the slice."""
    out = np.full(tuple(2 * half + 1), fill, plane.dtype)
    target, source = [], []
    for at, h, n in zip(center, half, plane.shape, strict=True):
        low, high = max(at - h, 0), min(at + h + 1, n)
        source.append(slice(low, high))
        target.append(slice(low - (at - h), high - (at - h)))
    out[tuple(target)] = plane[tuple(source)]
    return out
