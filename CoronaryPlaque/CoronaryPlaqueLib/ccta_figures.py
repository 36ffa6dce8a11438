"""The figures of an angiogram's report: the tree coloured by stenosis, and every artery with its course."""

from __future__ import annotations

from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Figure
from CardioPrecisionLib.image import Image
from CardioPrecisionLib.report.display import direction_letters
from CardioPrecisionLib.report.figures import THEME, data_uri, new_plot, style_axes, to_grey, to_svg
from CardioPrecisionLib.report.templating import environment
from markupsafe import Markup

from .ccta_labels import PLAQUE, SEGMENTS
from .ccta_pictures import Curved, Strip, curved, straightened
from .ccta_vessels import Tree
from .course import VesselCourse
from .segments import SEGMENTS as CORONARY_SEGMENTS

WINDOW_HU = (-150.0, 750.0)
#: Stenosis from which on a stretch has this colour, and its name.
GRADES = ((0.0, "#3f9e57", "below 25 %"), (25.0, "#d9b400", "25–49 %"), (50.0, "#e07b00", "50–69 %"),
          (70.0, "#c8362e", "70 % and more"))  # fmt: skip
UNREAD = "#8a949c"
_RGB = {s.value: s.color for s in SEGMENTS}
#: Views of the tree: name, and which way the picture runs to the right and downwards (RAS).
_VIEWS = (
    ("From the front", (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    ("From the left", (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    ("From the feet", (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
)


def grade_color(stenosis_pct: float) -> str:
    """The colour of a stenosis."""
    return next(color for least, color, _ in reversed(GRADES) if stenosis_pct >= least)


def section_colors(tree: Tree, course: VesselCourse) -> list[str]:
    """A colour per section of an artery: by stenosis in lesions of segments that were read, grey where not read."""
    colors = [UNREAD] * len(course.distance)
    for s in tree.segments.values():
        if s.artery == course.name and s.read:
            part = course.between(s.start_mm, s.end_mm)
            colors[part] = [GRADES[0][1]] * (part.stop - part.start)
    for placed in tree.lesions:
        if placed.artery == course.name:
            part = course.between(placed.lesion.start_mm, placed.lesion.end_mm)
            colors[part] = [grade_color(placed.lesion.diameter_stenosis)] * (part.stop - part.start)
    return colors


def tree_figure(tree: Tree) -> Figure:
    """All arteries in three views, as wide as they are, coloured by stenosis, lesions numbered."""
    from matplotlib.collections import LineCollection

    plot = new_plot(9.4, 3.3)
    for axes, (title, right, down) in zip(plot.subplots(1, 3), _VIEWS, strict=True):
        axes.set_facecolor("none")
        for course in tree.arteries.values():
            xy = np.stack([course.line @ right, course.line @ down], 1)[::4]
            colors = section_colors(tree, course)[::4]
            wide = np.nan_to_num(course.diameter[::4], nan=1.0)
            pieces = np.stack([xy[:-1], xy[1:]], 1)
            axes.add_collection(
                LineCollection(list(pieces), colors=colors[:-1], linewidths=1.0 + 1.1 * wide[:-1], capstyle="round")
            )
            axes.annotate(course.name, xy[-1], xytext=(3, -3), textcoords="offset points", fontsize=8,
                          color=THEME["muted"])  # fmt: skip
        for placed in tree.lesions:
            course = tree.arteries[placed.artery]
            at = course.line[course.between(placed.lesion.at_mm, placed.lesion.at_mm).start]
            axes.annotate(str(placed.number), (at @ right, at @ down), xytext=(6, 5), textcoords="offset points",
                          fontsize=8.5, fontweight="bold", color=THEME["ink"])  # fmt: skip
        axes.autoscale_view()
        axes.margins(0.08)
        axes.set_aspect("equal", adjustable="box")
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title(f"{title} ({direction_letters(np.array(right))} right)", fontsize=9, color=THEME["muted"])
    svg = to_svg(plot, "tree").decode("utf-8")
    legend = [(color, text) for _, color, text in GRADES]
    if any(c == UNREAD for a in tree.arteries.values() for c in section_colors(tree, a)):
        legend.append((UNREAD, "not read"))
    data = _render("ccta_tree.html.j2", svg=Markup(svg), legend=legend)  # noqa: S704  # own markup
    caption = "Middle lines as wide as the lumen; numbers are those of the lesions below."
    return Figure("tree", "Coronary tree", caption, data, "text/html")


def vessel_figure(image: Image, tree: Tree, course: VesselCourse, reasons: list[str], explained: bool) -> Figure:
    """One artery: two cuts along it pulled straight, its diameters along the way, and the curved reformat.

    What colours and lines mean is said once, where `explained`.
    """
    plot = new_plot(8.6, 4.9)
    upper, lower, chart = plot.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [1, 1, 2.1]})
    for axes, quarter in ((upper, False), (lower, True)):
        _strip(axes, straightened(image, course, quarter), course)
    _course(chart, tree, course)
    svg = to_svg(plot, f"course-{course.name.lower().replace(' ', '-')}").decode("utf-8")
    shown = curved(image, course)
    data = _render(
        "ccta_vessel.html.j2",
        svg=Markup(svg),  # noqa: S704  # own markup
        picture=data_uri(_curved_picture(shown, section_colors(tree, course)), "image/jpeg"),
        name=course.name,
        right=direction_letters(shown.right),
        down=direction_letters(shown.down),
        legend=[(f"rgb({', '.join(str(round(255 * c)) for c in s.color)})", s.name) for s in SEGMENTS[:5]]
        if explained and course.plaque_reason is None
        else [],
        reasons=reasons,
    )
    caption = (
        "Two cuts along the artery pulled straight, a quarter turn apart, the ostium on the left, widened across; "
        "lumen red, outer wall white. Below: lumen diameter, its reference without disease, and the segments; shaded: "
        f"lesions with their number and diameter stenosis. Window {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU."
        if explained
        else ""
    )
    return Figure(f"artery-{course.name.lower().replace(' ', '-')}", course.name, caption, data, "text/html")


def _strip(axes: Any, strip: Strip, course: VesselCourse) -> None:
    grey = to_grey(strip.hu, WINDOW_HU)[..., None].repeat(3, -1).astype(np.float32)
    for kind in PLAQUE:
        at = strip.kinds == kind
        grey[at] = 0.45 * grey[at] + 0.55 * 255 * np.array(_RGB[kind], np.float32)
    end, half = course.length_mm, float(strip.offset[-1])
    axes.imshow(grey.astype(np.uint8), extent=(0, end, half, -half), aspect="auto", interpolation="none")
    for border, color, width in ((strip.wall, "white", 0.6), (strip.lumen, "#ff6a5e", 0.8)):
        for side in border:
            axes.plot(course.distance, side, color=color, linewidth=width)
    axes.set_ylim(half, -half)
    axes.set_yticks([-5, 0, 5], ["5", "0", "5"])
    axes.set_ylabel("mm", fontsize=8, color=THEME["muted"])
    axes.tick_params(colors=THEME["muted"], labelcolor=THEME["ink"], labelsize=8, length=2)
    for side in axes.spines.values():
        side.set_visible(False)


def _course(axes: Any, tree: Tree, course: VesselCourse) -> None:
    style_axes(axes)
    s = course.distance
    known = course.diameter[np.isfinite(course.diameter)]
    top = 1.25 * max(float(known.max(initial=3.0)), 3.0)
    for stretch in course.unusable:
        axes.axvspan(stretch.start_mm, stretch.end_mm, color=UNREAD, alpha=0.25, linewidth=0)
    for placed in tree.lesions:
        n = placed.lesion
        if placed.artery != course.name:
            continue
        axes.axvspan(n.start_mm, n.end_mm, color=grade_color(n.diameter_stenosis), alpha=0.22, linewidth=0)
        axes.annotate(f"{placed.number}: {n.diameter_stenosis:.0f} %", ((n.start_mm + n.end_mm) / 2, 0.86 * top),
                      ha="center", fontsize=8.5, fontweight="bold", color=THEME["ink"])  # fmt: skip
    read = any(seen.read for seen in tree.segments.values() if seen.artery == course.name)
    if read:
        axes.plot(s, course.reference_diameter, color=THEME["muted"], linewidth=1.1, linestyle=(0, (4, 2)))
    axes.plot(s, course.diameter, color=THEME["red"] if read else UNREAD, linewidth=1.5)
    for seen in tree.segments.values():
        if seen.artery != course.name:
            continue
        middle = (seen.start_mm + seen.end_mm) / 2
        axes.axvline(seen.start_mm, color=THEME["muted"], linewidth=0.6)
        if seen.end_mm - seen.start_mm > 4:
            axes.annotate(CORONARY_SEGMENTS[seen.number].label, (middle, 0.96 * top), ha="center", va="center",
                          fontsize=8, color=THEME["muted"])  # fmt: skip
    axes.set_xlim(0, course.length_mm)
    axes.set_ylim(0, top)
    axes.set_xlabel("Distance from the ostium (mm)")
    axes.set_ylabel("Lumen diameter (mm)")


def _curved_picture(shown: Curved, colors: list[str]) -> bytes:
    """The curved reformat with a thin line beside the artery's middle, coloured by stenosis, as JPEG."""
    import io

    from PIL import Image as Picture
    from PIL import ImageDraw

    grey = to_grey(shown.hu, WINDOW_HU)
    scale = max(1, round(520 / max(grey.shape)))
    picture = Picture.fromarray(grey).convert("RGB")
    picture = picture.resize((grey.shape[1] * scale, grey.shape[0] * scale), Picture.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    xy = shown.line * scale
    for n in range(0, len(xy) - 4, 4):
        pen.line([tuple(xy[n]), tuple(xy[n + 4])], fill=colors[n], width=max(1, scale))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=84, optimize=True)
    return buffer.getvalue()


def _render(template: str, **values: Any) -> bytes:
    package = __package__ or "CoronaryPlaqueLib"
    return environment(package).get_template(template).render(**values).encode("utf-8")


def not_read(tree: Tree, course: VesselCourse) -> list[str]:
    """Sentences on the segments of an artery that were not read, those with the same reason in one."""
    reasons: dict[str, list[str]] = {}
    for s in tree.segments.values():
        if s.artery == course.name and not s.read and s.reason:
            reasons.setdefault(s.reason, []).append(CORONARY_SEGMENTS[s.number].label)
    return [f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items()]
