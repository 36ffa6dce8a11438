"""A real MONAI bundle whose weights are constructed, not trained, so that its answer is known beforehand.

Each member is one 3 x 3 convolution that reads a single pixel: class ``c`` wins where the scaled intensity lies between
the thresholds ``c`` and ``c + 1``. Its logits are cumulative: ``z_c = z_(c-1) + slope (x - threshold_c)``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from CardioPrecisionLib.bundle.registry import Bundle, open_bundle, seal

THRESHOLDS = (0.3, 0.5, 0.7)


def threshold_weights(
    thresholds: Sequence[float] = THRESHOLDS,
    channel: int = 1,
    slope: float = 40.0,
    tap: tuple[int, int] = (1, 1),
    context: int = 1,
    offset: float = 0.0,
) -> dict[str, torch.Tensor]:
    """State dict of ``torch.nn.Conv2d(2 * context + 1, classes, 3, padding=1)``.

    `channel` is the slice that is looked at (0 below, 1 this, 2 above), `tap` the pixel of the 3 x 3 neighbourhood,
    `offset` a constant on all logits, which changes nothing but how many digits they need.
    """
    classes = len(thresholds) + 1
    weight, bias = torch.zeros(classes, 2 * context + 1, 3, 3), torch.zeros(classes)
    for c, threshold in enumerate(thresholds, start=1):
        weight[c, channel, tap[0], tap[1]] = slope * c
        bias[c] = bias[c - 1] - slope * threshold
    return {"weight": weight, "bias": bias + offset}


def make(
    root: Path,
    members: dict[str, dict[str, torch.Tensor]] | None = None,
    *,
    source: str = "shipped",
    definition: dict[str, Any] | None = None,
    restricted: bool = False,
    licence: str = "Apache-2.0",
    settings: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Bundle:
    """Write a bundle to the folder `root` and open it."""
    members = members or {"threshold": threshold_weights()}
    classes = next(iter(members.values()))["weight"].shape[0] if definition is None else len(THRESHOLDS) + 1
    definition = definition or {
        "_target_": "torch.nn.Conv2d",
        "in_channels": 3,
        "out_channels": classes,
        "kernel_size": 3,
        "padding": 1,
    }
    for folder in ("configs", "models"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    inference = {
        "imports": ["$import CardioPrecisionLib.bundle.run as engine"],
        "bundle_root": ".",
        "input": "in.nii.gz",
        "output": "out.nii.gz",
        **dict.fromkeys(members, definition),
        "run": ["$engine.segment_file(@bundle_root, @input, @output, 'cpu', 'float32')"],
        **(config or {}),
    }
    (root / "configs" / "inference.yaml").write_text(yaml.safe_dump(inference), encoding="utf-8")
    for name, weights in members.items():
        torch.save(weights, root / "models" / f"{name}.pt")
    metadata = {
        "version": "1.2.3",
        "cardioprecision": {
            "licence": {"name": licence, "restricted": restricted},
            "spacing_mm": 1.4,
            "multiple": 16,
            "context_slices": 1,
            "intensity_percentiles": [0, 100],
            "classes": classes,
            "members": [{"network": name, "file": f"models/{name}.pt"} for name in members],
            "guard": {
                "modality": ["MR"],
                "min_matrix": 32,
                "min_value": -200,
                "in_plane_spacing_mm": [0.3, 4.0],
                "trained_in_plane_spacing_mm": [0.7, 2.0],
            },
            **(settings or {}),
        },
    }
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    seal(root)
    return open_bundle(root, source)
