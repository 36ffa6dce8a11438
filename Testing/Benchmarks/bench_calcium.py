"""Agatston score of a CT with given labels, beside a plain scipy implementation; run by ``make bench``.

Plain scipy is what one would write with its parts alone: for each label and slice a mask, `scipy.ndimage.label` with 8
neighbours, and a loop over the components that asks each for its area and maximum. It is timed twice: over whole
slices, and over the box of all labels ("cropped"). It computes the Agatston score and nothing else; ours gives volume,
interpolated volume, mass, density and the lesions in the same time. Both get the same arrays in memory, and the scores
of every label are compared.

The volume is made here, with a fixed seed: soft tissue with noise, and in a heart-sized region deposits of mixed size
and density for the seven labels, some of which touch. Labels are the calcium itself (as after a model) or generous
regions around it (as a reader may paint them).

    python Testing/Benchmarks/bench_calcium.py [--shape I J K] [--deposits N] [--increment MM] [--repeat N] [-o FILE]
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

PIXEL_MM = 0.35
EDGES_HU = (130, 200, 300, 400)
LABELS = tuple(range(1, 8))


def make(shape: tuple[int, int, int], deposits: int, generous: bool) -> tuple[np.ndarray, np.ndarray]:
    """CT ``(i, j, k)`` int16 and labels uint8."""
    rng = np.random.default_rng(2026)
    array = rng.normal(40, 22, shape).astype(np.int16)
    labels = np.zeros(shape, np.uint8)
    lower, upper = (np.array(shape) * f for f in ((0.3, 0.3, 0.05), (0.7, 0.7, 0.95)))
    previous = rng.uniform(lower, upper)
    for n in range(deposits):
        # Every fourth lies beside the one before it, so that labels touch.
        center = previous + rng.normal(0, 3, 3) if n % 4 == 3 else rng.uniform(lower, upper)
        previous = center
        radius = rng.uniform(1.5, 7.0, 3) * (1, 1, 0.4)
        start = np.maximum(np.floor(center - radius - 3), 0).astype(int)
        stop = np.minimum(np.ceil(center + radius + 4), shape).astype(int)
        if (stop <= start).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        grid = np.meshgrid(*(np.arange(a, b) for a, b in zip(start, stop, strict=True)), indexing="ij", sparse=True)
        away = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radius, strict=True))
        inside = away < 1
        array[box] += (inside * rng.uniform(120, 900) * (1.2 - np.minimum(away, 1))).astype(np.int16)
        labels[box][away < 2.5 if generous else inside] = LABELS[n % len(LABELS)]
    return array, labels


def plain(array: np.ndarray, labels: np.ndarray, pixel_mm2: float, increment_mm: float) -> dict[int, float]:
    from scipy import ndimage

    scores = dict.fromkeys(LABELS, 0.0)
    for label in LABELS:
        for k in range(array.shape[2]):
            ct = array[:, :, k]
            numbered, count = ndimage.label((labels[:, :, k] == label) & (ct >= EDGES_HU[0]), np.ones((3, 3)))
            for n in range(1, count + 1):
                component = numbered == n
                area = component.sum() * pixel_mm2
                if area >= 1.0:
                    factor = sum(ct[component].max() >= edge for edge in EDGES_HU)
                    scores[label] += area * factor * increment_mm / 3.0
    return scores


def plain_cropped(array: np.ndarray, labels: np.ndarray, pixel_mm2: float, increment_mm: float) -> dict[int, float]:
    from scipy import ndimage

    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    return plain(array[box], labels[box], pixel_mm2, increment_mm)


def best(run: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def compare(args: argparse.Namespace, generous: bool) -> dict[str, Any]:
    from CardioPrecisionLib.image import Image
    from CoronaryPlaqueLib.scoring import score

    array, labels = make(tuple(args.shape), args.deposits, generous)
    image = Image(array, np.diag([PIXEL_MM, PIXEL_MM, args.increment, 1.0]))
    score(image, labels)  # imports
    ours, found = best(lambda: score(image, labels), max(args.repeat, 3))
    own = {label: found.by_label[label].agatston for label in LABELS}
    report: dict[str, Any] = {
        "labels": "generous regions" if generous else "the calcium itself",
        "labelled_voxels": int(np.count_nonzero(labels)),
        "lesions": len(found.lesions),
        "agatston": own,
        "seconds": {"ours": ours},
        "ratio": {},
        "largest_difference": {},
    }
    for name, contestant in (("plain", plain), ("plain, cropped", plain_cropped)):
        arguments = (array, labels, PIXEL_MM**2, args.increment)
        seconds, theirs = best(lambda f=contestant, a=arguments: f(*a), args.repeat)
        report["seconds"][name] = seconds
        report["ratio"][name] = seconds / ours
        report["largest_difference"][name] = max(abs(own[label] - theirs[label]) for label in LABELS)
    report["identical"] = all(d <= 1e-9 * max(own.values()) for d in report["largest_difference"].values())
    return report


def show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    i, j, k = report["shape"]
    table = Table(title=f"Agatston score with given labels, {i} x {j} x {k} int16, every {report['increment_mm']:g} mm")
    for column in ("labels", "lesions", "ours, s", "plain scipy, s", "ratio", "cropped, s", "ratio", "scores"):
        table.add_column(column, justify="left" if column == "labels" else "right")
    for case in report["cases"]:
        seconds, ratio = case["seconds"], case["ratio"]
        table.add_row(
            case["labels"],
            str(case["lesions"]),
            f"{seconds['ours']:.3f}",
            f"{seconds['plain']:.2f}",
            f"{ratio['plain']:.1f}",
            f"{seconds['plain, cropped']:.2f}",
            f"{ratio['plain, cropped']:.1f}",
            "identical" if case["identical"] else f"differ by {max(case['largest_difference'].values()):.3g}",
        )
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 64))
    parser.add_argument("--deposits", type=int, default=120)
    parser.add_argument("--increment", type=float, default=3.0, help="below 2.5 mm, ours also scores 3 mm averages")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("-o", "--output", help="also write the report as JSON")
    args = parser.parse_args()
    report = {
        "shape": list(args.shape),
        "increment_mm": args.increment,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
        "cases": [compare(args, generous) for generous in (False, True)],
    }
    show(report)
    if args.output:
        target = Path(args.output)
        temporary = target.with_name(target.name + ".tmp")
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        temporary.replace(target)
        print(f"Written to {target}.")
    if not all(case["identical"] for case in report["cases"]):
        raise SystemExit("The scores differ.")


if __name__ == "__main__":
    main()
