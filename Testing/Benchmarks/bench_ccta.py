"""Middle line and cross-sections of a coronary artery beside a plain scipy route; run by ``make bench``.

The plain route is what one would write with its parts alone: bright voxels as a graph, the cheapest way between the two
points by `scipy.sparse.csgraph.dijkstra`, and a cross-section for every point with `scipy.ndimage.map_coordinates`, its
lumen the connected pixels above half of the blood. It gives a path of voxels and
areas, no wall, no plaque and no sub-voxel middle. Both get the same array and points; distances to the true middle line
and errors of the lumen's diameter are compared as well as seconds. The phantom is made here: one curved artery of 60 mm
with a stenosis of 50 %, in fat. Last, the whole analysis is timed.

    python Testing/Benchmarks/bench_ccta.py [--repeat N] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def phantom() -> tuple[Any, np.ndarray, np.ndarray]:
    """The scan, and the true middle line with its radius."""
    from CardioPrecisionLib.phantom.ccta import Lesion, around, render_ccta, tube

    lesion = Lesion(30, 9, 50, 0.4, 40, 1.1, (("fibrofatty", 0.5), ("fibrous", 0.5)))
    scene = tube(lesion, length_mm=60, diameter_mm=(3.8, 2.6), bend_mm=30, axis=(0.3, 0.4, 0.85))
    truth = scene.vessels[0].lumen_line
    image = render_ccta(scene, around(truth, margin_mm=14), noise_hu=20, seed=1).image
    return image, truth, scene.vessels[0].profile().lumen


def ours(image: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    from CoronaryPlaqueLib.centreline import trace
    from CoronaryPlaqueLib.course import measure_vessel
    from CoronaryPlaqueLib.seeds import VesselSeeds

    start = time.perf_counter()
    line = trace(image, VesselSeeds("LAD", a, b, np.zeros((0, 3))))
    middle = time.perf_counter()
    course = measure_vessel(image, line.points, "LAD", lumen_hu=line.lumen_hu, noise_hu=line.noise_hu)
    end = time.perf_counter()
    return course.line, course.diameter, {"line": middle - start, "sections": end - middle}


def plain(image: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    from scipy import ndimage

    start = time.perf_counter()
    hu = image.array.astype(np.float32)
    ends = [tuple(int(v) for v in np.rint(image.to_index(p[None])[0])) for p in (a, b)]
    way = cheapest(hu, ends[0], ends[1])
    points = image.to_world(np.array(way, float))
    middle = time.perf_counter()
    smooth = ndimage.gaussian_filter1d(points, 2.0, axis=0, mode="nearest")
    tangent = np.gradient(smooth, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    blood = float(np.median(hu[tuple(np.array(way).T)]))
    axis = np.arange(-5, 5.01, 0.1)
    x, y = np.meshgrid(axis, axis)
    diameter = np.empty(len(smooth))
    for n, (p, t) in enumerate(zip(smooth, tangent, strict=True)):
        first = np.cross(t, np.eye(3)[np.argmin(np.abs(t))])
        first /= np.linalg.norm(first)
        second = np.cross(t, first)
        world = p + x[..., None] * first + y[..., None] * second
        cut = ndimage.map_coordinates(hu, image.to_index(world.reshape(-1, 3)).T, order=1).reshape(x.shape)
        parts, _ = ndimage.label(cut > 0.5 * blood)
        inside = parts[len(axis) // 2, len(axis) // 2]
        area = (parts == inside).sum() * 0.01 if inside else 0.0
        diameter[n] = 2 * np.sqrt(area / np.pi)
    end = time.perf_counter()
    return smooth, diameter, {"line": middle - start, "sections": end - middle}


def cheapest(hu: np.ndarray, start: tuple[int, ...], end: tuple[int, ...]) -> np.ndarray:
    """Voxels ``(n, 3)`` of the cheapest way through what is brighter than fat and wall."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    bright = hu > 80
    bright[start] = bright[end] = True
    number = np.full(hu.shape, -1)
    number[bright] = np.arange(bright.sum())
    cost = 1.0 / np.clip((hu - 50) / 350, 0.02, 1.0) ** 2
    rows, columns, weights = [], [], []
    for step in np.ndindex(3, 3, 3):
        shift = np.array(step) - 1
        if tuple(shift) <= (0, 0, 0):
            continue
        one = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(shift, hu.shape, strict=True))
        other = tuple(slice(max(0, d), n + min(0, d)) for d, n in zip(shift, hu.shape, strict=True))
        both = bright[one] & bright[other]
        rows.append(number[one][both])
        columns.append(number[other][both])
        weights.append(0.5 * (cost[one][both] + cost[other][both]) * np.linalg.norm(shift))
    count = int(bright.sum())
    graph = coo_array((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (count, count))
    _, before = dijkstra(graph.tocsr(), directed=False, indices=number[start], return_predecessors=True)
    way = [int(number[end])]
    while way[-1] != number[start]:
        way.append(int(before[way[-1]]))
    return np.argwhere(bright)[way[::-1]]


def judge(points: np.ndarray, diameter: np.ndarray, truth: np.ndarray, radius: np.ndarray) -> dict[str, float]:
    from scipy.spatial import cKDTree

    away, nearest = cKDTree(truth).query(points)
    inner = slice(6, -6)
    error = np.abs(diameter - 2 * radius[nearest])[inner]
    return {"distance_mm": float(away[inner].mean()), "diameter_mm": float(np.nanmean(error))}


def best(run: Callable[[], Any], repeat: int) -> Any:
    """The run with the fewest seconds."""
    return min((run() for _ in range(repeat)), key=lambda made: sum(made[2].values()))


def whole(image: Any, a: np.ndarray, b: np.ndarray) -> float:
    """Seconds of the whole analysis with its figures."""
    from CardioPrecisionLib.analysis import Loaded, silent
    from CardioPrecisionLib.measurement import Patient
    from CoronaryPlaqueLib.ccta import CCTAParameters, CoronaryCTA
    from CoronaryPlaqueLib.seeds import VesselSeeds

    way = VesselSeeds("LAD", a, b, np.zeros((0, 3)))
    start = time.perf_counter()
    CoronaryCTA().run({"ccta": Loaded(image), "centrelines": Loaded((way,))}, CCTAParameters(), silent,
                      patient=Patient())  # fmt: skip
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("-o", "--output", help="also write the report as JSON")
    args = parser.parse_args()
    image, truth, radius = phantom()
    a, b = truth[8], truth[-8]
    report: dict[str, Any] = {
        "shape": list(image.shape),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "routes": {},
    }
    for name, route in (("ours", ours), ("plain", plain)):
        points, diameter, seconds = best(lambda r=route: r(image, a, b), args.repeat)
        report["routes"][name] = {"seconds": seconds, **judge(points, diameter, truth, radius)}
    report["whole_seconds"] = whole(image, a, b)
    show(report)
    if args.output:
        Path(args.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"Written to {args.output}.")


def show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"One coronary artery of 60 mm, {' x '.join(map(str, report['shape']))} voxels of 0.4 mm")
    for column in ("route", "line, s", "cross-sections, s", "off the middle, mm", "diameter error, mm"):
        table.add_column(column, justify="left" if column == "route" else "right")
    for name, r in report["routes"].items():
        table.add_row(
            name,
            f"{r['seconds']['line']:.2f}",
            f"{r['seconds']['sections']:.2f}",
            f"{r['distance_mm']:.2f}",
            f"{r['diameter_mm']:.2f}",
        )
    Console(width=110).print(table)
    print(f"The whole analysis of it, with figures: {report['whole_seconds']:.1f} s.")


if __name__ == "__main__":
    main()
