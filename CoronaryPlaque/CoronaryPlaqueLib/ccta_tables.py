"""Tables and files of an angiogram: segments, lesions, and the middle lines as Slicer reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Table
from CardioPrecisionLib.polyline import even_steps

from .ccta_vessels import Tree
from .segments import SEGMENTS

_MARKUPS = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


def segment_table(tree: Tree, numbers: Iterable[int]) -> Table:
    """One row per segment that this heart can have."""
    rows = [tree.segments[n] for n in sorted(numbers)]
    columns: dict[str, list[Any]] = {
        "segment": [f"{s.number} {SEGMENTS[s.number].label}" for s in rows],
        "vessel": [s.vessel for s in rows],
        "state": ["read" if s.read else s.reason or "" for s in rows],
        "length": [round(s.end_mm - s.start_mm, 1) if s.artery else None for s in rows],
        "diameter_stenosis": [s.stenosis_pct for s in rows],
        "plaque_volume": [s.plaque.total_mm3 if s.plaque else None for s in rows],
        "noncalcified": [s.plaque.noncalcified_mm3 if s.plaque else None for s in rows],
        "calcified": [s.plaque.calcified_mm3 if s.plaque else None for s in rows],
        "lumen_volume": [s.lumen_mm3 for s in rows],
    }
    volume = dict.fromkeys(("plaque_volume", "noncalcified", "calcified", "lumen_volume"), "mm3")
    return Table("segments", "Coronary segments", columns, {"length": "mm", "diameter_stenosis": "%", **volume})


def lesion_table(tree: Tree) -> Table:
    """One row per lesion, with where it is narrowest in RAS mm."""
    rows = tree.lesions
    courses = [tree.arteries[n.artery] for n in rows]
    where = [c.line[c.between(n.lesion.at_mm, n.lesion.at_mm).start] for n, c in zip(rows, courses, strict=True)]
    columns: dict[str, list[Any]] = {
        "lesion": [n.number for n in rows],
        "segment": [f"{n.segment} {SEGMENTS[n.segment].label}" for n in rows],
        "line": [n.artery for n in rows],
        "from_ostium": [n.lesion.at_mm for n in rows],
        "length": [n.lesion.end_mm - n.lesion.start_mm for n in rows],
        "diameter_stenosis": [n.lesion.diameter_stenosis for n in rows],
        "minimal_lumen_area": [n.lesion.minimal_lumen_area for n in rows],
        "reference_diameter": [n.lesion.reference_diameter for n in rows],
        "plaque_volume": [n.lesion.volumes.total_mm3 if n.lesion.volumes else None for n in rows],
        "calcified": [n.lesion.volumes.calcified_mm3 if n.lesion.volumes else None for n in rows],
        "remodeling_index": [n.lesion.remodeling_index for n in rows],
        "r": [float(p[0]) for p in where],
        "a": [float(p[1]) for p in where],
        "s": [float(p[2]) for p in where],
    }
    mm = dict.fromkeys(("from_ostium", "length", "reference_diameter", "r", "a", "s"), "mm")
    more = {"diameter_stenosis": "%", "minimal_lumen_area": "mm2", "plaque_volume": "mm3", "calcified": "mm3"}
    return Table("lesions", "Coronary lesions", columns, mm | more)


def centreline_document(tree: Tree, step_mm: float = 1.0) -> dict[str, Any]:
    """The middle lines as Slicer curves; ``--centrelines`` takes the file back, moved by a reader or not."""
    curves = []
    for name, c in tree.arteries.items():
        points = np.round(even_steps(c.line, step_mm), 3)
        control = [
            {"id": str(n), "label": f"{name}-{n}", "position": [float(v) for v in p], "positionStatus": "defined"}
            for n, p in enumerate(points, 1)
        ]
        curves.append(
            {
                "type": "Curve",
                "coordinateSystem": "RAS",
                "coordinateUnits": "mm",
                "controlPoints": control,
            }
        )
    return {"@schema": _MARKUPS, "markups": curves}


def course_document(tree: Tree) -> dict[str, Any]:
    """What was measured along every artery: places in RAS mm, diameters in mm, stenosis in %, null where not measured.

    ``grade`` is the stenosis of the lesion at a place, 0 without one and null where the segment was not read.
    """
    made = {}
    for name, c in tree.arteries.items():
        grade = np.full(len(c.distance), np.nan)
        for s in tree.segments.values():
            if s.artery == name and s.read:
                grade[c.between(s.start_mm, s.end_mm)] = 0.0
        for placed in tree.lesions:
            if placed.artery == name:
                n = placed.lesion
                grade[c.between(n.start_mm, n.end_mm)] = n.diameter_stenosis
        wall = 2 * np.sqrt(c.wall_area / np.pi) if c.plaque_reason is None else np.full(len(c.distance), np.nan)
        made[name] = {
            "points": np.round(c.line, 3).tolist(),
            "distance": np.round(c.distance, 3).tolist(),
            "diameter": _numbers(c.diameter),
            "reference_diameter": _numbers(c.reference_diameter),
            "wall_diameter": _numbers(wall),
            "diameter_stenosis": _numbers(c.diameter_stenosis),
            "grade": _numbers(grade),
        }
    return {"schema": "cardioprecision/courses/1", "units": {"length": "mm", "stenosis": "%"}, "arteries": made}


def _numbers(values: Any) -> list[float | None]:
    return [round(float(v), 3) if np.isfinite(v) else None for v in values]
