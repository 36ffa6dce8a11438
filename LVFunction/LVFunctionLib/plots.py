"""Volume curve and wall map of a cine short-axis run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Figure
from CardioPrecisionLib.image import Array
from CardioPrecisionLib.measurement import Measurements
from CardioPrecisionLib.report.display import SliceView
from CardioPrecisionLib.report.figures import THEME, new_plot, style_axes, to_svg

from .thickness import SECTORS

_CURVES = (
    ("lv_ml", "LV cavity", "red", "lv"),
    ("rv_ml", "RV cavity", "blue", "rv"),
    ("myocardium_ml", "LV myocardium", "green", None),
)


def curve_plot(
    curve: Mapping[str, Any],
    time_ms: Array | None,
    ed: int,
    es: int,
    measurements: Measurements | None = None,
) -> Figure | None:
    """Volumes over the cycle with ED and ES marked; None where there is no volume at all.

    Parameters are as for `figures.make_figures`.
    """
    rows = [
        (name, role, ventricle, np.asarray(curve[key], float))
        for key, name, role, ventricle in _CURVES
        if curve.get(key) is not None
    ]
    rows = [row for row in rows if np.isfinite(row[3]).any() and np.nanmax(row[3]) > 0]
    if not rows:
        return None
    n = len(rows[0][3])
    timed = time_ms is not None and n > 2
    x = np.asarray(time_ms if timed else np.arange(1, n + 1), float)
    plot = new_plot(5.2, 3.2)
    axes = plot.add_subplot()
    style_axes(axes)
    top, barred = max(float(np.nanmax(row[3])) for row in rows), False
    for name, role, ventricle, values in rows:
        color, muscle, known = THEME[role], ventricle is None, np.isfinite(values)
        # Between two outlined frames nothing is known of the course: dots only lead the eye.
        style: Any = (0, (1, 2)) if known.sum() < max(3, n) else (0, (4, 2)) if muscle else "-"
        size = 5.0 if known.sum() < 3 else 2.0 if muscle else 3.0
        axes.plot(
            x[known],
            values[known],
            color=color,
            linewidth=1.0 if muscle else 1.8,
            alpha=0.75 if muscle else 1.0,
            linestyle=style,
            marker="o",
            markersize=size,
            label=name,
        )
        for t, low, high in _ends(measurements, ventricle, ed, es):
            if known[t]:
                reach = [[max(values[t] - low, 0)], [max(high - values[t], 0)]]
                axes.errorbar(x[t], values[t], reach, color=color, capsize=4, capthick=1.2, elinewidth=1.2, fmt="none")
                top, barred = max(top, high), True
    for t, mark in ((ed, "ED"), (es, "ES")) if ed != es else ():
        axes.axvline(x[t], color=THEME["muted"], linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(mark, (x[t], 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9,
                      color=THEME["ink"], annotation_clip=False)  # fmt: skip
    axes.set_ylim(0, top * 1.1)
    axes.set_ylabel("Volume (mL)")
    axes.set_xlabel("Time (ms)" if timed else "Frame")
    if not timed:
        axes.set_xticks(x if n <= 12 else x[:: max(1, n // 10)])
        margin = 0.5 if n < 4 else 1
        axes.set_xlim(1 - margin, n + margin)
    handles, labels = axes.get_legend_handles_labels()
    plot.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=THEME["ink"]
    )
    shown = ", ".join(f"{row[0]} {row[3][ed]:.0f} to {row[3][es]:.0f} mL" for row in rows
                      if ed != es and np.isfinite(row[3][[ed, es]]).all())  # fmt: skip
    caption = "The two phases of the study." if n == 2 else "Volumes of all outlined frames."
    caption += f" From ED to ES: {shown}." if shown else ""
    caption += " Bars are the intervals given with the measurements." if barred else ""
    svg = to_svg(plot, "volume-curve")
    return Figure("volume_curve", "Volumes over the heart cycle", caption, svg, "image/svg+xml")


def _ends(measurements: Measurements | None, ventricle: str | None, ed: int, es: int) -> list[tuple[int, float, float]]:
    """(frame, low, high) of a cavity's volume at ED and ES, where there are intervals."""
    if measurements is None or ventricle is None:
        return []
    rows = ((ed, measurements.get(f"{ventricle}_edv")), (es, measurements.get(f"{ventricle}_esv")))
    return [
        (t, m.low, m.high) for t, m in rows
        if m is not None and m.state.has_value and m.low is not None and m.high is not None
    ]  # fmt: skip


def _by_slice(wall: Mapping[str, Any], column: str, n_slices: int) -> Array:
    """A column of the wall table as ``(k, SECTORS)`` with NaN where there is nothing."""
    out = np.full((n_slices, SECTORS), np.nan)
    if wall.get(column) is not None and len(wall["slice"]):
        out[np.asarray(wall["slice"], int) - 1, np.asarray(wall["sector"], int) - 1] = np.asarray(wall[column], float)
    return out


def wall_plot(wall: Mapping[str, Any], view: SliceView, order: list[int], n_slices: int) -> Figure | None:
    """Thickness at ED and, from two phases on, thickening as rings from base (outside) to apex (inside).

    Sectors stand where they stand in the pictures of the report; they carry no segment names.

    Parameters
    ----------
    wall : mapping
        As for `figures.make_figures`.
    view : SliceView
    order : list of int
        Slices from base to apex.
    n_slices : int
        Of the whole stack.
    """
    ed_mm = _by_slice(wall, "ed_mm", n_slices)
    maps = [("Thickness at end-diastole", "mm", ed_mm, "viridis", 4.0, 16.0)]
    with np.errstate(invalid="ignore", divide="ignore"):
        thickening = 100.0 * (_by_slice(wall, "es_mm", n_slices) - ed_mm) / ed_mm
    rings = [k for k in order if np.isfinite(ed_mm[k]).any()]
    if not rings:
        return None
    if np.isfinite(thickening[rings]).any():
        maps.append(("Systolic thickening", "%", thickening, "cividis", 0.0, 100.0))
    plot = new_plot(5.2, 3.15)
    plot.set_layout_engine("none")  # round axes do not fit themselves
    for place, drawn in enumerate(maps):
        left = place / 2 if len(maps) == 2 else 0.25
        axes = plot.add_axes((left + 0.02, 0.17, 0.46, 0.75), projection="polar")
        bar_axes = plot.add_axes((left + 0.1, 0.115, 0.3, 0.026))
        _rings(plot, axes, bar_axes, drawn, rings, _edges(wall, view))
    first, last = rings[0] + 1, rings[-1] + 1
    caption = (
        f"Rings are slices {first} (outside, base) to {last} (inside, towards the apex); sectors stand where they do "
        "in the pictures above. Empty sectors have no closed wall or lie in the apical cap."
    )
    return Figure("wall_map", "Left ventricular wall", caption, to_svg(plot, "wall-map"), "image/svg+xml")


def _rings(
    plot: Any,
    axes: Any,
    bar_axes: Any,
    drawn: tuple[str, str, Array, str, float, float],
    rings: list[int],
    edges: dict[int, tuple[float, float]],
) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    title, unit, values, cmap, low, high = drawn
    axes.set_axis_off()
    axes.text(0.5, 1.04, title, transform=axes.transAxes, ha="center", va="bottom", fontsize=9, color=THEME["ink"])
    finite = values[rings][np.isfinite(values[rings])]
    # A fixed scale, so that two reports can be compared; it widens for what lies outside.
    norm = Normalize(min(low, np.floor(finite.min())), max(high, np.ceil(finite.max())))
    colors = colormaps[cmap]
    hole, step = 0.2, 0.8 / len(rings)
    for ring, k in enumerate(rings):
        bottom = hole + step * (len(rings) - 1 - ring)
        for s, (start, end) in edges.items():
            turn = (end - start + np.pi) % (2 * np.pi) - np.pi
            value = float(values[k, s])
            known = bool(np.isfinite(value))
            axes.bar(
                start + turn / 2,
                step,
                width=abs(turn),
                bottom=bottom,
                color=colors(norm(value)) if known else "none",
                edgecolor=THEME["paper"] if known else THEME["grid"],
                linewidth=0.8,
            )
            if known and len(rings) <= 6:
                red, green, blue, _ = colors(norm(value))
                ink = "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "#111111"
                axes.text(start + turn / 2, bottom + step / 2, f"{value:.0f}", ha="center", va="center", fontsize=6.5,
                          color=ink)  # fmt: skip
    axes.set_ylim(0, 1.02)
    bar = plot.colorbar(ScalarMappable(norm, colors), cax=bar_axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, color=THEME["muted"], labelcolor=THEME["ink"], length=2)
    bar_axes.set_xlabel(unit, fontsize=9, color=THEME["muted"], labelpad=1)


def _edges(wall: Mapping[str, Any], view: SliceView) -> dict[int, tuple[float, float]]:
    """Both edges of every sector (from 0) on the screen."""
    first = {int(s) - 1: (a, b) for s, a, b in zip(wall["sector"], wall["from_deg"], wall["to_deg"], strict=True)}
    known, (start, end) = next(iter(first.items()))
    width = end - start
    return {
        s: (
            _screen_angle(view, np.radians(start + (s - known) * width)),
            _screen_angle(view, np.radians(start + (s - known + 1) * width)),
        )
        for s in range(SECTORS)
    }


def _screen_angle(view: SliceView, angle: float) -> float:
    """A direction in the slice (from i towards j) as the counter-clockwise angle on the screen."""
    right, down = view.direction(float(np.cos(angle)), float(np.sin(angle)))
    return float(np.arctan2(-down, right))
