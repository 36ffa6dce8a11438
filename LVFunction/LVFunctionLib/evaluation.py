"""Judging the cine bundle on labelled patients: Dice, Hausdorff distance, volume and EF errors, interval calibration.

Run through the bundle's ``configs/evaluate.yaml``. Patients must not have been trained on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence as Rows
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.image import Array, Sequence
from CardioPrecisionLib.replacing import replacing
from scipy import ndimage

from . import acdc
from .intervals import conformal_factor, coverage_left_out, quantities, scale
from .postprocess import clean_frames
from .segments import LV, MYOCARDIUM, RV
from .volumes import frame_volumes, relabel

log = logging.getLogger(__name__)
STRUCTURES = {"RV": RV, "MYO": MYOCARDIUM, "LV": LV}
PHASES = ("ED", "ES")
#: With fifteen patients, a conformal interval of 90 % would be that of the worst patient; 80 % is the third worst.
LEVEL = 0.8


def dice(a: Array, b: Array) -> float:
    """Dice overlap of two masks; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def hausdorff(a: Array, b: Array, spacing: Array) -> float | None:
    """Symmetric Hausdorff distance in mm between the surfaces of two 3-D masks; None where one is empty."""
    if not a.any() or not b.any():
        return None
    found = np.argwhere(a | b)
    box = tuple(slice(max(lo - 1, 0), hi + 2) for lo, hi in zip(found.min(0), found.max(0), strict=True))
    a, b = np.pad(a[box], 1), np.pad(b[box], 1)
    edge_a, edge_b = a & ~ndimage.binary_erosion(a), b & ~ndimage.binary_erosion(b)
    to_b = ndimage.distance_transform_edt(~edge_b, sampling=spacing)[edge_a]
    to_a = ndimage.distance_transform_edt(~edge_a, sampling=spacing)[edge_b]
    return float(max(to_b.max(), to_a.max()))


def judge(case: acdc.Case, engine: Any, tta: int = 4) -> dict[str, Any]:
    """Segment one patient at both phases as in a real run, and compare with the reference labels."""
    affine = np.diag([*case.spacing, 1.0])
    images = np.stack([case.images[p] for p in PHASES])
    sequence = Sequence.from_array(images, affine, modality="MR")
    found = engine.segment(sequence, frames=[0, 1], tta=tta)
    labels = clean_frames(relabel(found.labels))
    truth = relabel(np.stack([case.labels[p] for p in PHASES]))
    ours, theirs = frame_volumes(labels, sequence.voxel_ml), frame_volumes(truth, sequence.voxel_ml)
    ml = found.areas_mm2.sum(axis=2) * sequence.spacing[2] / 1000.0
    row: dict[str, Any] = {"patient": case.key, "group": case.group, "dice": {}, "hausdorff_mm": {}}
    for t, phase in enumerate(PHASES):
        for name, value in STRUCTURES.items():
            row["dice"][f"{name}_{phase}"] = dice(labels[t] == value, truth[t] == value)
            row["hausdorff_mm"][f"{name}_{phase}"] = hausdorff(labels[t] == value, truth[t] == value, sequence.spacing)
    row["measured"] = {k: float(v) for k, v in _from_volumes(ours).items()}
    row["truth"] = {k: float(v) for k, v in _from_volumes(theirs).items()}
    spread = quantities(ml[:, 0, 3], ml[:, 1, 3], ml[:, 0, 2], ml[:, 0, 1], ml[:, 1, 1])
    row["scale"] = {k: scale(k, row["measured"][k], np.asarray(v)) for k, v in spread.items()}
    return row


def _from_volumes(v: Array) -> dict[str, float]:
    return quantities(v[0, 0], v[1, 0], v[0, 1], v[0, 2], v[1, 2])


def summary(rows: Rows[dict[str, Any]], tta: int, level: float = LEVEL) -> dict[str, Any]:
    """Means over patients, by diagnosis group and in all, and the calibration of the intervals."""

    def block(chosen: Rows[dict[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {"patients": len(chosen), "dice": {}, "hausdorff_mm": {}}
        for name in STRUCTURES:
            for phase in PHASES:
                key = f"{name}_{phase}"
                out["dice"][key] = _mean([r["dice"][key] for r in chosen])
                out["hausdorff_mm"][key] = _mean([r["hausdorff_mm"][key] for r in chosen])
        out["dice"]["mean"] = _mean(list(out["dice"].values()))
        errors = {k: np.array([r["measured"][k] - r["truth"][k] for r in chosen]) for k in chosen[0]["truth"]}
        truths = {k: np.array([r["truth"][k] for r in chosen]) for k in errors}
        out["bias"] = {k: round(float(e.mean()), 2) for k, e in errors.items()}
        out["mean_absolute_error"] = {k: round(float(np.abs(e).mean()), 2) for k, e in errors.items()}
        out["mean_absolute_error_pct"] = {
            k: round(float((100 * np.abs(e) / truths[k]).mean()), 2)
            for k, e in errors.items()
            if not k.endswith("_ef") and (truths[k] > 0).all()
        }
        return out

    groups = sorted({r["group"] for r in rows})
    calibration: dict[str, Any] = {
        "level": level,
        "tta": tta,
        "patients": len(rows),
        "factors": {},
        "coverage_left_out": {},
    }
    for name in rows[0]["scale"]:
        errors = [r["measured"][name] - r["truth"][name] for r in rows]
        scales = [r["scale"][name] for r in rows]
        calibration["factors"][name] = round(conformal_factor(errors, scales, level), 3)
        calibration["coverage_left_out"][name] = round(coverage_left_out(errors, scales, level), 3)
    return {
        "all": block(rows),
        **{g: block([r for r in rows if r["group"] == g]) for g in groups},
        "intervals": calibration,
    }


def _mean(values: list[Any]) -> float:
    known = [v for v in values if v is not None]
    return round(float(np.mean(known)), 4)


def run(
    bundle: str | Path,
    data_dir: str | Path,
    output: str | Path,
    tta: int = 4,
    precision: str = "auto",
    every: int = 1,
) -> dict[str, Any]:
    """Evaluate the bundle on the validation split of ACDC and write the rows and their summary as JSON.

    With `every` only one patient in so many is looked at, for a test.
    """
    from CardioPrecisionLib.bundle import registry
    from CardioPrecisionLib.bundle.engine import SliceEngine

    engine = SliceEngine(registry.open_bundle(bundle, registry.SHIPPED), precision=precision)
    rows = []
    for case in acdc.load(data_dir, acdc.split(data_dir)[1][::every]):
        rows.append(judge(case, engine, tta))
        values = rows[-1]["dice"].values()
        log.info(
            "%s %s mean Dice %.3f, EF %.1f (%.1f)",
            case.key,
            case.group,
            np.mean(list(values)),
            rows[-1]["measured"]["lv_ef"],
            rows[-1]["truth"]["lv_ef"],
        )
    result = {"summary": summary(rows, tta), "patients": rows}
    with replacing(output) as beside:
        beside.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result
