"""How well the coronary tree is found and labelled without a reader's points; prints the table for the docs.

    python Testing/Python/tree_accuracy.py [--generator second] [--first SEED] [--seeds N] [--exact]

With ``--exact`` the names alone are judged, on the arteries' exact middle lines.

Heart phantoms with plaques, voxels 0.5-0.7 x 0.5-0.7 x 0.5-0.75 mm, noise 15-35 HU, blur 0.5-0.9 mm (FWHM).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.phantom.ccta import Scene, Vessel, heart_view, random_ccta, render_ccta, segment
from CardioPrecisionLib.polyline import arc_length, even_steps
from CoronaryPlaqueLib.automatic import find_tree
from CoronaryPlaqueLib.centreline import Centreline
from CoronaryPlaqueLib.labelling import Labelling, label_segments
from scipy.spatial import cKDTree

#: Lumens thinner than this are not asked for; a line farther than this from every artery is false.
LEAST_MM, FALSE_MM = 1.5, 3.0


def whole_way(vessels: Sequence[Vessel], name: str) -> tuple[Array, Array]:
    """The middle line from the ostium ``(n, 3)`` and the true segment of every point ``(n,)``."""
    by_name = {v.name: v for v in vessels}
    points: list[Array] = []
    numbers: list[Array] = []
    until = np.inf
    vessel: Vessel | None = by_name[name]
    while vessel is not None:
        keep = (vessel.s >= vessel.ostium_mm) & (vessel.s < until)
        points.insert(0, vessel.lumen_line[keep])
        numbers.insert(0, np.array([segment(vessels, vessel.name, mm) for mm in vessel.s[keep]], int))
        until, vessel = vessel.parent_mm, by_name.get(vessel.parent)
    return np.concatenate(points), np.concatenate(numbers)


def segment_at(found: Labelling, name: str, s: Array) -> Array:
    """The segment called at places `s` of a line, 0 where none."""
    out = np.zeros(len(s), int)
    for i in found.lines[name]:
        out[(s >= i.start_mm) & (s <= i.end_mm)] = i.segment
    return out


def overlap(scene: Scene, lines: Mapping[str, Centreline]) -> float:
    """Share of the arteries' length that lies within a lumen's radius (1.5 mm at least) of a line."""
    if not lines:
        return 0.0
    found = cKDTree(np.concatenate([even_steps(line.points, 0.4) for line in lines.values()]))
    near = wanted = 0
    for v in scene.vessels:
        radius = v.profile().reference
        asked = (v.s >= v.ostium_mm) & (2 * radius >= LEAST_MM)
        away, _ = found.query(v.lumen_line[asked])
        near += int((away < np.maximum(radius[asked], 1.5)).sum())
        wanted += int(asked.sum())
    return near / wanted


def false_branches(scene: Scene, lines: Mapping[str, Centreline]) -> list[str]:
    """Lines of which more than 5 mm lie away from every artery."""
    truth = cKDTree(np.concatenate([v.lumen_line for v in scene.vessels]))
    away = {n: truth.query(even_steps(line.points, 0.4))[0] > FALSE_MM for n, line in lines.items()}
    return [n for n, far in away.items() if far.sum() * 0.4 > 5.0]


def labelled_rightly(scene: Scene, lines: Mapping[str, Centreline], found: Labelling) -> float:
    """Share of the lines' length on arteries that has the segment of the nearest place of the truth."""
    ways = [whole_way(scene.vessels, v.name) for v in scene.vessels]
    truth, numbers = (np.concatenate(part) for part in zip(*ways, strict=True))
    tree = cKDTree(truth)
    right = total = 0
    for name, line in lines.items():
        away, nearest = tree.query(line.points)
        on = away < 2.0
        called = segment_at(found, name, arc_length(line.points))
        right, total = right + int((called[on] == numbers[nearest[on]]).sum()), total + int(on.sum())
    return right / max(total, 1)


def draw(generator: str, seed: int) -> tuple[Scene, Image]:
    """A scanned heart, the same for the same arguments."""
    rng = np.random.default_rng([seed, 5])
    dominance = ("right", "left", "right", "balanced")[seed % 4] if generator == "first" else None
    scene = random_ccta(seed, generator="first" if generator == "first" else "second", dominance=dominance)
    pixel = float(rng.uniform(0.5, 0.7))
    view = heart_view(scene, matrix=round(190 / pixel), pixel_mm=pixel, slice_mm=float(rng.uniform(0.5, 0.75)))
    noise, blur = float(rng.uniform(15, 35)), float(rng.uniform(0.5, 0.9))
    return scene, render_ccta(scene, view, noise_hu=noise, blur_fwhm_mm=blur, seed=seed).image


def exact(generator: str, seed: int) -> tuple[float, float]:
    """Share of the length of a heart's exact middle lines with the right segment: lines with names, and without."""
    scene = random_ccta(seed, generator="first" if generator == "first" else "second", lesions="none")
    ways = {v.name: whole_way(scene.vessels, v.name) for v in scene.vessels if v.name != "LM"}
    branch = {9: "D1", 10: "D2", 12: "OM1", 14: "OM2", 17: "RI", 16: "PLB", 18: "PLB"}
    names = {name: branch.get(int(numbers[-1]), name) for name, (_, numbers) in ways.items()}
    out = []
    # Without names a right coronary artery that leads on into a branch is not given twice.
    carriers = {v.parent for v in scene.vessels if v.name in ("PDA", "PL")}
    for called in (names, {name: f"line{n}" for n, name in enumerate(ways)}):
        given = {n: way for n, way in ways.items() if called is names or n != "RCA" or n not in carriers}
        found = label_segments({called[name]: way for name, (way, _) in given.items()})
        right = total = 0
        for name, (way, numbers) in given.items():
            asked = numbers > 0
            right += int((segment_at(found, called[name], arc_length(way)) == numbers)[asked].sum())
            total += int(asked.sum())
        out.append(right / total)
    return out[0], out[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", choices=("first", "second"), default="second")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--exact", action="store_true")
    asked = parser.parse_args()
    if asked.exact:
        shares = [exact(asked.generator, seed) for seed in range(asked.first, asked.first + asked.seeds)]
        for (named, plain), seed in zip(shares, range(asked.first, asked.first + asked.seeds), strict=True):
            print(f"{seed}: segments {named:.3f} with names, {plain:.3f} without")
        print(f"mean segments {np.mean(shares, 0)[0]:.3f} with names, {np.mean(shares, 0)[1]:.3f} without")
        return
    rows = []
    for seed in range(asked.first, asked.first + asked.seeds):
        scene, image = draw(asked.generator, seed)
        started = time.perf_counter()
        tree = find_tree(image)
        seconds = time.perf_counter() - started
        label = labelled_rightly(scene, tree.lines, tree.labelling) if tree.labelling else 0.0
        false = false_branches(scene, tree.lines)
        rows.append((overlap(scene, tree.lines), len(false), label, len(tree.lines), seconds))
        print(f"{seed}: overlap {rows[-1][0]:.3f}, false {len(false)} of {len(tree.lines)}, segments {label:.3f}, "
              f"{seconds:.0f} s, missing {', '.join(tree.not_found) or 'none'}", flush=True)  # fmt: skip
    mean, least = np.mean(rows, axis=0), min(r[0] for r in rows)
    print(f"mean overlap {mean[0]:.3f}, least {least:.3f}; false branches {sum(r[1] for r in rows)} of "
          f"{sum(r[3] for r in rows)} lines; segments {mean[2]:.3f}; {mean[4]:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
