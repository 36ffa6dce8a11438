"""The parts of an angiogram's report: the reading with what it suggests, the arteries, the lesions with pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from CardioPrecisionLib.analysis import Figure, Progress, Section
from CardioPrecisionLib.image import Image
from CardioPrecisionLib.report.figures import path_of, to_grey
from CardioPrecisionLib.report.montage import Tile, montage
from CardioPrecisionLib.report.templating import environment
from markupsafe import Markup

from .ccta_figures import WINDOW_HU, not_read, tree_figure, vessel_figure
from .ccta_labels import COLORS, PLAQUE
from .ccta_pictures import across, ring
from .ccta_site_rows import features
from .ccta_vessels import PlacedLesion, Tree
from .course import VesselCourse
from .management import Advice
from .segments import SEGMENTS

if TYPE_CHECKING:
    from .ccta import Reading

_HALF_MM = 5.0
_STEP_MM = 0.1
#: How far before and behind a lesion the healthy cross-section is taken.
_BESIDE_MM = 2.0
_FEATURES = {
    "positive_remodelling": "positive remodelling",
    "low_attenuation": "low attenuation",
    "spotty_calcification": "spotty calcium",
    "napkin_ring": "napkin ring",
}


def make_report(
    image: Image, tree: Tree, read: Reading, advice: Advice | None, setting: str, progress: Progress
) -> tuple[list[Figure], list[Section]]:
    """Figures and sections in the order of the report."""
    figures = [_summary(tree, read, advice, setting)]
    if tree.arteries:
        figures.append(tree_figure(tree))
    for n, course in enumerate(tree.arteries.values()):
        progress(n / (len(tree.arteries) + 1), f"{course.name}: pictures")
        figures.append(vessel_figure(image, tree, course, not_read(tree, course), n == 0))
    progress(len(tree.arteries) / (len(tree.arteries) + 1), "Lesions: pictures")
    return figures, [_lesions(image, tree)]


def _render(template: str, **values: Any) -> str:
    package = __package__ or "CoronaryPlaqueLib"
    return environment(package).get_template(template).render(**values)


def _summary(tree: Tree, read: Reading, advice: Advice | None, setting: str) -> Figure:
    lines = []
    if read.result.category is None and read.result.at_least is not None:
        lines.append(f"At least CAD-RADS {read.result.at_least}, by the segments that were read.")
    if read.result.reason:
        lines.append(read.result.reason)
    if read.result.segments:
        lines.append("Decided by " + ", ".join(SEGMENTS[n].label for n in read.result.segments) + ".")
    if read.burden.method:
        lines.append(f"Plaque burden {read.burden.grade} by {_BURDEN[read.burden.method]}.")
    if read.high_risk is not None:
        lines.append(f"High-risk plaque: {'present' if read.high_risk else 'absent'}.")
    lines += list(dict.fromkeys(tree.not_traced.values()))
    html = _render(
        "ccta_summary.html.j2",
        text=read.result.text or "CAD-RADS: no category",
        lines=lines,
        advice=advice,
        setting=setting,
    )
    return Figure("cad-rads", "Reading (CAD-RADS 2.0)", "", html.encode("utf-8"), "text/html")


_BURDEN = {"cac": "calcium score", "sis": "segments with plaque", "visual": "eye"}


def _lesions(image: Image, tree: Tree) -> Section:
    rows = list(_rows(image, tree))
    nothing = tree.plaque_reason or (
        "No lesion was found in the segments that were read."
        if any(s.read for s in tree.segments.values())
        else "No segment was read."
    )
    html = _render("ccta_lesions.html.j2", lesions=rows, nothing=nothing, side=f"{2 * _HALF_MM:.0f}")
    return Section("lesions", "Lesions", html)


def _rows(image: Image, tree: Tree) -> Iterator[dict[str, Any]]:
    for placed in tree.lesions:
        n = placed.lesion
        known = features(placed)
        there = [text for name, text in _FEATURES.items() if getattr(known, name)]
        unknown = [text for name, text in _FEATURES.items() if getattr(known, name) is None]
        shown = ", ".join(there) or ("not assessed" if len(unknown) == len(_FEATURES) else "none")
        yield {
            "number": placed.number,
            "segment": SEGMENTS[placed.segment].label,
            "at": f"{n.at_mm:.0f}",
            "length": f"{n.end_mm - n.start_mm:.0f}",
            "stenosis": f"{n.diameter_stenosis:.0f}",
            "area": f"{n.minimal_lumen_area:.1f}",
            "plaque": f"{n.volumes.total_mm3:.0f}" if n.volumes else "–",
            "calcified": f"{n.volumes.calcified_mm3:.0f}" if n.volumes else "–",
            "index": f"{n.remodeling_index:.2f}" if n.remodeling_index is not None else "–",
            "features": shown,
            "pictures": Markup(_pictures(image, tree, placed)),  # noqa: S704  # own markup
        }


def _pictures(image: Image, tree: Tree, placed: PlacedLesion) -> str:
    course = tree.arteries[placed.artery]
    n = placed.lesion
    worst = course.between(n.at_mm, n.at_mm).start
    places = (
        ("before", _beside(course, n.start_mm - _BESIDE_MM)),
        ("narrowest", worst),
        ("behind", _beside(course, n.end_mm + _BESIDE_MM)),
    )
    columns = []
    for name, index in places:
        if index is None:
            blank = np.zeros((20, 20), np.uint8)
            columns.append((name, [Tile(blank, "–", f"{name}: beyond what was followed", [])]))
            continue
        at = f"{course.distance[index]:.0f} mm"
        columns.append((f"{name}, {at}", [_tile(image, course, index, f"{name} lesion {placed.number}, {at}")]))
    size = 2 * _HALF_MM + _STEP_MM
    return montage(columns, (size, size), [], None, across=3).decode("utf-8")


def _beside(course: VesselCourse, at_mm: float) -> int | None:
    """The section at a distance, if it exists and was drawn."""
    if not 0 <= at_mm <= course.length_mm:
        return None
    index = course.between(at_mm, at_mm).start
    return index if course.usable[index] else None


def _tile(image: Image, course: VesselCourse, index: int, label: str) -> Tile:
    hu, labels = across(image, course, index, _HALF_MM, _STEP_MM)
    paths = [
        (path_of(labels == kind, _STEP_MM, _STEP_MM, 0.06), COLORS[kind]) for kind in PLAQUE if (labels == kind).any()
    ]
    if course.plaque_reason is None:
        paths.append((ring(course.wall[index], _HALF_MM + _STEP_MM / 2), "#ffffff"))
    paths.append((ring(course.lumen[index], _HALF_MM + _STEP_MM / 2), "#ff6a5e"))
    return Tile(to_grey(hu, WINDOW_HU), "", label, paths)
