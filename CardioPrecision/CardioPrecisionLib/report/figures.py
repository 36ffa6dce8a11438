"""What every figure of a report needs: grey pictures, outlines of labels, and plots that follow the page's theme."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..image import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

#: Colours of a plot by role. A plot is drawn in the light colour; in the SVG it becomes a CSS variable of the report,
#: so that one picture serves light, dark and print.
THEME: Mapping[str, str] = {
    "ink": "#1c2329",
    "muted": "#66717b",
    "grid": "#e3e7ea",
    "paper": "#fffffe",
    "red": "#c8362e",
    "green": "#2f8f46",
    "blue": "#2367c4",
    "amber": "#a86a00",
}


# -- pictures ----------------------------------------------------------------------------------------------------------
def window_of(samples: Iterable[Array], low: float = 1.0, high: float = 99.5) -> tuple[float, float]:
    """Grey window (black, white) by percentiles over all `samples`."""
    values = np.concatenate([np.asarray(s, np.float32).ravel()[::3] for s in samples] or [np.zeros(1, np.float32)])
    black, white = np.percentile(values, (low, high))
    return float(black), float(white) if white > black else float(black) + 1.0


def to_grey(array: Array, window: tuple[float, float]) -> Array:
    """Values to uint8 through a (black, white) window."""
    black, white = window
    scaled = (np.asarray(array, np.float32) - black) * (255.0 / (white - black))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def resize(grey: Array, width: int, height: int) -> Array:
    """A ``(row, column)`` uint8 picture at another size, smooth; pixel edges stay at the picture's edges."""
    from PIL import Image as Picture

    return np.asarray(Picture.fromarray(np.ascontiguousarray(grey)).resize((width, height), Picture.Resampling.BICUBIC))


def jpeg(grey: Array, quality: int = 80) -> bytes:
    """A uint8 picture as JPEG."""
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(grey)).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes, mime: str) -> str:
    """Bytes as a ``data:`` address."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


# -- outlines ----------------------------------------------------------------------------------------------------------
def outlines(mask: Array, smooth: float = 0.8) -> list[Array]:
    """Closed outlines of a ``(row, column)`` mask.

    The mask is blurred by `smooth` pixels and cut at 0.5, which turns the staircase of pixels into a line and leaves
    straight edges where they are (a disc of 12 pixels' radius keeps its area to 1 %, one of 4 to 6 %); what is too
    small to outlive the blur is drawn as it is.

    Returns
    -------
    list of numpy.ndarray
        ``(n, 2)`` points (x, y) in pixels from the picture's upper left corner (pixel centres lie at one half).
    """
    from contourpy import contour_generator
    from scipy.ndimage import gaussian_filter, label

    if not mask.any():
        return []
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = rows[0], columns[0]
    pad = 4  # room for the blur, also at the picture's edge
    field = np.pad(np.asarray(mask[top : rows[-1] + 1, left : columns[-1] + 1], np.float32), pad)
    soft = gaussian_filter(field, smooth) if smooth > 0 else field
    parts, n = label(field)
    for part in range(1, n + 1):
        inside = parts == part
        if soft[inside].max() < 0.55:
            soft[inside] = 1.0
    lines = contour_generator(z=soft).lines(0.5)
    corner = np.array([left, top]) - pad + 0.5
    return [np.asarray(line) + corner for line in lines if len(line) > 2]


def simplify(points: Array, tolerance: float) -> Array:
    """Fewer points of a line: in three passes, every other point goes that lies on the line between its neighbours.

    No point that is left out lies farther than `tolerance` from the new line.
    """
    for _ in range(3):
        if len(points) < 8:
            break
        middle = np.arange(1, len(points) - 1, 2)
        a, b, p = points[middle - 1], points[middle + 1], points[middle]
        chord, aside = b - a, p - a
        length = np.hypot(chord[:, 0], chord[:, 1])
        distance = np.abs(chord[:, 0] * aside[:, 1] - chord[:, 1] * aside[:, 0]) / np.maximum(length, 1e-9)
        points = np.delete(points, middle[distance < tolerance / 3], axis=0)
    return points


def path_of(mask: Array, row_mm: float, column_mm: float, tolerance_mm: float = 0.12) -> str:
    """Outlines of a mask as an SVG path in tenths of a millimetre from the picture's upper left corner."""
    parts = []
    for line in outlines(mask):
        points = np.round(simplify(line * (column_mm, row_mm), tolerance_mm) * 10).astype(int)
        steps = np.diff(points, axis=0)[:-1]
        parts.append(f"M{points[0][0]} {points[0][1]}l" + " ".join(f"{x} {y}" for x, y in steps) + "z")
    return "".join(parts)


# -- plots -------------------------------------------------------------------------------------------------------------
def new_plot(width_in: float, height_in: float) -> Plot:
    """An empty matplotlib figure in the report's style; not registered with pyplot, so nothing is left behind."""
    from matplotlib.figure import Figure as Plot

    return Plot(figsize=(width_in, height_in), facecolor="none", layout="constrained")


def style_axes(axes: Any) -> None:
    """The quiet look of all plots: two thin axes, light grid lines, text in the page's ink."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(THEME["muted"])
        axes.spines[side].set_linewidth(0.7)
    axes.set_facecolor("none")
    axes.tick_params(colors=THEME["muted"], labelcolor=THEME["ink"], labelsize=9, length=3, width=0.7)
    axes.grid(axis="y", color=THEME["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(color=THEME["muted"], fontsize=9)
    axes.yaxis.label.set(color=THEME["muted"], fontsize=9)


def to_svg(plot: Plot, name: str) -> bytes:
    """A plot as SVG whose theme colours are CSS variables with the light colour to fall back on.

    Text stays text, in the page's font. The bytes are the same for the same plot.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        plot.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Two plots on one page must not share ids.
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda m: f"{m[1]}{name}-", text)
    for role, colour in THEME.items():
        text = text.replace(colour, f"var(--plot-{role}, {colour})")
    text = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?)px[^;\"]*", r"font: \1px var(--font, sans-serif)", text)
    return text.encode("utf-8")


def to_png(plot: Plot, dpi: int = 160) -> bytes:
    """A plot as PNG on white, for fronts that cannot show SVG."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
