"""The pictures of a cine short-axis report: outlines on images, cine viewer, volume curve, wall map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Figure
from CardioPrecisionLib.image import Array, Sequence
from CardioPrecisionLib.measurement import Measurements
from CardioPrecisionLib.report.cine import Overlay, cine_viewer
from CardioPrecisionLib.report.display import Crop, SliceView, crop_around, slice_view
from CardioPrecisionLib.report.figures import path_of, to_grey, window_of
from CardioPrecisionLib.report.montage import Tile, montage

from .plots import curve_plot, wall_plot
from .segments import LV, MYOCARDIUM, RV

#: The segments' colours, lightened so that they stand out on a dark picture.
ENDO, EPI, RIGHT = "#ff5f56", "#4fd06e", "#62aaff"
LEGEND = (("LV endocardium", ENDO), ("LV epicardium", EPI), ("RV endocardium", RIGHT))
MAX_MONTAGE_SLICES = 12
MAX_VIEWER_SLICES = 16
MAX_VIEWER_FRAMES = 60

#: Anatomical direction from base to apex of a heart in its usual place: left, anterior, inferior (RAS).
_TO_APEX = np.array([-1.0, 1.0, -1.0]) / np.sqrt(3)


def base_to_apex(labels: Array, affine: Array, ed: int) -> list[int]:
    """Slice indices in order from the base to the apex.

    The LV narrows towards the apex; without labels, the apex is taken to lie left, anterior and inferior.
    """
    n = labels.shape[3]
    area = np.isin(labels[ed], (LV, MYOCARDIUM)).sum(axis=(0, 1))
    used = np.flatnonzero(area)
    towards_apex = float(affine[:3, 2] @ _TO_APEX) >= 0
    if used.size >= 2:
        slope = float(np.polyfit(used, area[used], 1)[0])
        if abs(slope) > 1e-9:
            towards_apex = slope < 0
    return list(range(n)) if towards_apex else list(range(n - 1, -1, -1))


def _evenly(items: list[int], most: int) -> list[int]:
    if len(items) <= most:
        return items
    return [items[round(x)] for x in np.linspace(0, len(items) - 1, most)]


@dataclass(frozen=True)
class _Stage:
    """How slices of this study are shown."""

    sequence: Sequence
    labels: Array
    view: SliceView
    crop: Crop
    order: list[int]  # base to apex, only slices worth showing
    window: tuple[float, float]

    @property
    def size_mm(self) -> tuple[float, float]:
        rows, columns = self.crop.shape
        return columns * self.view.column_mm, rows * self.view.row_mm

    def picture(self, frame: Array, k: int) -> Array:
        """uint8 ``(row, column)`` of one slice."""
        return to_grey(self.view.apply(frame[:, :, k])[self.crop.window], self.window)

    def paths(self, t: int, k: int) -> tuple[str, str, str]:
        """SVG paths of the LV endocardium, LV epicardium and RV endocardium."""
        plane = self.view.apply(self.labels[t, :, :, k])[self.crop.window]
        cavity, wall, right = plane == LV, plane == MYOCARDIUM, plane == RV
        mm = (self.view.row_mm, self.view.column_mm)
        # Without muscle the epicardium would lie on the endocardium.
        return path_of(cavity, *mm), path_of(cavity | wall, *mm) if wall.any() else "", path_of(right, *mm)

    def name(self, k: int) -> str:
        end = ", base" if k == self.order[0] else ", apex" if k == self.order[-1] else ""
        return f"Slice {k + 1}{end if len(self.order) > 2 else ''}"


def _stage(sequence: Sequence, labels: Array, ed: int, es: int) -> _Stage:
    view = slice_view(sequence.affine)
    present: Array = np.any(labels > 0, axis=0)
    crop = crop_around(view.apply(np.asarray(present.any(axis=2))), view.row_mm, view.column_mm)
    order = base_to_apex(labels, sequence.affine, ed)
    filled = [n for n, k in enumerate(order) if present[:, :, k].any()]
    if filled:  # one slice beyond either end shows whether a slice was left out
        order = order[max(filled[0] - 1, 0) : filled[-1] + 2]
    return _Stage(sequence, labels, view, crop, order, _window(sequence, labels, view, crop, order, (ed, es)))


def _window(
    sequence: Sequence, labels: Array, view: SliceView, crop: Crop, order: list[int], key_frames: tuple[int, int]
) -> tuple[float, float]:
    """Grey window of all pictures: over the crop, but not so wide that bright fat leaves the heart dark."""
    frames = sorted(set(key_frames))
    grey = [view.apply(sequence.frame(t))[crop.window][:, :, order] for t in frames]
    black, white = window_of(grey)
    heart = [g[view.apply(labels[t])[crop.window][:, :, order] > 0] for g, t in zip(grey, frames, strict=True)]
    if any(h.size > 100 for h in heart):
        white = min(white, black + 1.25 * (window_of(heart, 1.0, 98.0)[1] - black))
    return black, white if white > black else black + 1.0


def _phases(sequence: Sequence, ed: int, es: int) -> list[tuple[int, str]]:
    if sequence.n_frames == 1:
        return [(0, "")]
    return [(ed, "ED")] if ed == es else [(ed, "ED"), (es, "ES")]


def contours_figure(stage: _Stage, ed: int, es: int) -> Figure:
    """Every labelled slice from base to apex, ED above ES."""
    order = _evenly(stage.order, MAX_MONTAGE_SLICES)
    frames = [(t, mark, stage.sequence.frame(t)) for t, mark in _phases(stage.sequence, ed, es)]
    columns = []
    for k in order:
        tiles = []
        for t, mark, frame in frames:
            colors = (color for _, color in LEGEND)
            tiles.append(Tile(stage.picture(frame, k), mark, mark or "image", list(zip(stage.paths(t, k), colors))))
        columns.append((stage.name(k), tiles))
    what = "end-diastole (ED) above, end-systole (ES) below" if len(frames) > 1 else "the single phase of the study"
    left_out = f" {len(order)} of {len(stage.order)} slices are shown." if len(order) < len(stage.order) else ""
    empty = "" if stage.labels.any() else " Nothing was segmented."
    caption = (
        f"From base to apex: {what}. Slices are numbered as stored; the ends of the stack are seen one slice "
        f"beyond the outlines where there is one.{left_out}{empty}"
    )
    return Figure(
        "contours",
        "Outlines at end-diastole and end-systole" if len(frames) > 1 else "Outlines",
        caption,
        montage(columns, stage.size_mm, LEGEND, stage.view.letters),
        "text/html",
    )


def cine_figure(stage: _Stage, ed: int, es: int, time_ms: Array | None, budget_bytes: int | None = None) -> Figure:
    """All slices over the cycle."""
    sequence = stage.sequence
    order = _evenly(stage.order, MAX_VIEWER_SLICES)
    # Very long series are thinned; end-diastole and end-systole stay.
    frames = sorted({*_evenly(list(range(sequence.n_frames)), MAX_VIEWER_FRAMES), ed, es})
    rows, columns = stage.crop.shape
    pictures = [np.empty((len(frames), rows, columns), np.uint8) for _ in order]
    for n, t in enumerate(frames):  # one frame at a time: a series may be larger than memory
        frame = sequence.frame(t)
        for s, k in enumerate(order):
            pictures[s][n] = stage.picture(frame, k)
    paths = [[stage.paths(t, k) for t in frames] for k in order]
    overlays = [Overlay(name, color, [[p[n] for p in row] for row in paths]) for n, (name, color) in enumerate(LEGEND)]
    marks = dict(_phases(sequence, ed, es)) if sequence.n_frames > 1 else {}
    names = []
    for t in frames:
        parts = [f"Frame {t + 1} of {sequence.n_frames}"]
        if time_ms is not None:
            parts.append(f"{time_ms[t]:.0f} ms")
        if t in marks:
            parts.append(marks[t])
        names.append(" · ".join(parts))
    cycle = None
    if time_ms is not None and sequence.n_frames > 2:
        step = float(np.median(np.diff(time_ms)))
        cycle = float(sequence.rr_ms or step * sequence.n_frames)
        if not 200 <= cycle <= 5000:
            cycle = None
    more: dict[str, Any] = {} if budget_bytes is None else {"budget_bytes": budget_bytes}
    data = cine_viewer(
        pictures,
        stage.size_mm,
        overlays,
        slice_names=[stage.name(k) for k in order],
        frame_names=names,
        marks={frames.index(t): m for t, m in marks.items()},
        cycle_ms=cycle,
        start=(len(order) // 2, frames.index(ed)),
        letters=stage.view.letters,
        **more,
    )
    caption = (
        "All frames with the outlines that the volumes were computed from. Click the picture to play or stop; "
        "show all slices to find the one where an outline leaves the wall."
    )
    if len(order) < len(stage.order) or len(frames) < sequence.n_frames:
        caption += (
            f" {len(order)} of {len(stage.order)} slices and {len(frames)} of {sequence.n_frames} frames are shown."
        )
    return Figure("cine", "Cine", caption, data, "text/html")


def make_figures(
    sequence: Sequence,
    labels: Array,
    ed: int,
    es: int,
    curve: Mapping[str, Any],
    *,
    measurements: Measurements | None = None,
    wall: Mapping[str, Any] | None = None,
) -> list[Figure]:
    """The figures of a cine short-axis run.

    Parameters
    ----------
    sequence : Sequence
        The images, slices stacked along k.
    labels : numpy.ndarray
        ``(t, i, j, k)`` uint8 with this module's labels; may be empty of labels.
    ed, es : int
        Frames of end-diastole and end-systole (the same for a single phase).
    curve : mapping
        Columns of the volume table: ``time_ms`` and ``lv_ml``, ``rv_ml``, ``myocardium_ml``, ``(t,)`` each; None or
        NaN where a frame has no time or volume. A column that is absent or None is not drawn.
    measurements : Measurements, optional
        Their intervals of the volumes at ED and ES become error bars of the curve.
    wall : mapping, optional
        Columns of the wall table: ``slice`` and ``sector`` (from 1), ``from_deg`` and ``to_deg`` (the sector's edges in
        the slice, from its i axis towards its j axis), ``ed_mm``, ``es_mm`` (None or NaN where not measured).

    Returns
    -------
    list of Figure
        Outlines, viewer, curve (from two frames on) and wall map (where given and measured).
    """
    if labels.shape != (sequence.n_frames, *sequence.shape):
        raise ValueError(
            f"labels of shape {labels.shape} do not lie on a sequence of {(sequence.n_frames, *sequence.shape)}"
        )
    stage = _stage(sequence, labels, ed, es)
    given = curve.get("time_ms")
    time_ms = None if given is None else np.asarray(given, float)
    if time_ms is not None and not np.isfinite(time_ms).all():
        time_ms = None
    figures = [contours_figure(stage, ed, es), cine_figure(stage, ed, es, time_ms)]
    if sequence.n_frames > 1 and (volume_curve := curve_plot(curve, time_ms, ed, es, measurements)):
        figures.append(volume_curve)
    if wall is not None and (wall_map := wall_plot(wall, stage.view, stage.order, sequence.shape[2])):
        figures.append(wall_map)
    return figures
