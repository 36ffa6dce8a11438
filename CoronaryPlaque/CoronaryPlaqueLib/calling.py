"""Candidate -> vessel: a small network over place, size, shape, intensity and surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array

from .candidates import FEATURES, Candidate
from .vessels import SCORED

BUNDLE = "calcium_calls"
N_CLASSES = len(SCORED) + 1  # the scored sites and "other"; class n is label n + 1


@dataclass(frozen=True, eq=False)
class Calls:
    """What each candidate was called.

    Attributes
    ----------
    label : numpy.ndarray
        ``(n,)`` labels of `vessels`.
    probability : numpy.ndarray
        ``(n, 8)``: of each label from 1 on.
    record : dict
    """

    label: Array
    probability: Array
    record: dict[str, Any]


def features_of(candidates: list[Candidate]) -> Array:
    """``(n, len(FEATURES))`` float32."""
    return np.stack([c.features for c in candidates]) if candidates else np.zeros((0, len(FEATURES)), np.float32)


def call(candidates: list[Candidate]) -> Calls:
    """Call candidates by the shipped bundle; see `call_features`."""
    return call_features(features_of(candidates))


def call_features(features: Array) -> Calls:
    """Call candidates, given as ``(n, len(FEATURES))``, by the shipped bundle.

    Raises
    ------
    InputError
        The bundle's files are missing or changed, or it was made for other features.
    """
    import torch
    from CardioPrecisionLib.bundle import licence, registry
    from CardioPrecisionLib.bundle.safety import load_members

    bundle = registry.get_bundle(BUNDLE)
    licence.require(bundle)
    settings = bundle.settings
    if tuple(settings.get("features", ())) != FEATURES:
        raise InputError(f"Bundle {BUNDLE}: it was trained on other features than this version measures.")
    members, hashes = load_members(bundle)
    record = {
        "name": BUNDLE,
        "version": bundle.version,
        "licence": bundle.licence_name,
        "sha256": hashes,
        "device": "cpu",
        "precision": "float32",
        "fallbacks": [],
    }
    x = (features.astype(np.float32) - np.float32(settings["mean"])) / np.float32(settings["sd"])
    total = np.zeros((len(x), N_CLASSES), np.float32)
    with torch.inference_mode():
        for _, network in members:
            total += network(torch.from_numpy(x)).softmax(1).numpy() if len(x) else 0.0
    probability = total / len(members)
    return Calls((probability.argmax(1) + 1).astype(np.uint8), probability, record)
