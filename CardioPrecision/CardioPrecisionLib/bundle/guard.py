"""The bundle's metadata as a guard: what a volume must be before the model may look at it."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..image import Sequence
from .registry import Bundle

_SAMPLED_FRAMES = 8
_SAMPLED_VALUES = 400_000  # per frame


@dataclass(frozen=True)
class Survey:
    """What the voxel values of a sequence are like.

    Attributes
    ----------
    low, high : float
        The bundle's intensity percentiles over evenly spaced frames of the whole series (every n-th pixel in-plane).
    minimum, maximum : float
        Over the same voxels.
    """

    low: float
    high: float
    minimum: float
    maximum: float


def sampled_frames(n_frames: int) -> list[int]:
    """The frames that stand for the series, always the same ones."""
    return sorted({round(t) for t in np.linspace(0, n_frames - 1, min(n_frames, _SAMPLED_FRAMES))})


def survey(sequence: Sequence, percentiles: tuple[float, float] = (0.5, 99.5)) -> Survey:
    """Read the sample of the series that normalisation needs; one frame at a time.

    Raises
    ------
    InputError
        The values are no real numbers, or some are NaN or infinite.
    """
    chosen = set(sampled_frames(sequence.n_frames))
    first = sequence.frame(0)
    if first.dtype.kind not in "biuf" or first.ndim != 3:
        raise InputError(
            f"The image holds values of type {first.dtype} on {first.ndim} axes; a scalar volume of real "
            "numbers is needed."
        )
    floating = first.dtype.kind == "f"
    step = max(1, int(np.ceil(np.sqrt(first.size / _SAMPLED_VALUES))))
    sample = []
    for t in range(sequence.n_frames) if floating else sorted(chosen):
        frame = sequence.frame(t)
        if floating and not np.isfinite(frame).all():
            bad = int(np.size(frame) - np.isfinite(frame).sum())
            raise InputError(
                f"Frame {t + 1} of {sequence.n_frames} holds {bad} voxels that are NaN or infinite; "
                "replace them in the image first."
            )
        if t in chosen:
            sample.append(frame[::step, ::step].ravel())
    values = np.concatenate(sample)
    low, high = np.percentile(values, percentiles)
    return Survey(float(low), float(high), float(values.min()), float(values.max()))


def _range(rules: dict[str, Any], key: str) -> tuple[float, float] | None:
    value = rules.get(key)
    return (float(value[0]), float(value[1])) if isinstance(value, Seq) and len(value) == 2 else None


def check(bundle: Bundle, sequence: Sequence, values: Survey | None = None) -> list[str]:
    """Hold `sequence` against what `bundle` says it was made for.

    The rules are ``cardioprecision.guard`` of the metadata: ``modality`` (list), ``min_matrix`` (pixels),
    ``in_plane_spacing_mm``, ``field_of_view_mm`` and ``slice_spacing_mm`` (ranges that the model may run on),
    ``trained_<same>`` (ranges it was trained on), ``min_value`` (lowest plausible value of a percentile).

    Returns
    -------
    list of str
        Warnings: the model may run, but was trained on other images.

    Raises
    ------
    InputError
        The model must not run on this image.
    """
    rules = dict(bundle.settings.get("guard", {}))
    wanted = [str(m) for m in rules.get("modality", [])]
    if wanted and sequence.modality and sequence.modality not in wanted:
        raise InputError(
            f"The image is {sequence.modality}; bundle {bundle.name} is for {' or '.join(wanted)} only. "
            "Give it an image of that kind."
        )
    matrix = sequence.shape[:2]
    least = int(rules.get("min_matrix", 1))
    if min(matrix) < least or sequence.shape[2] < 1 or sequence.n_frames < 1:
        raise InputError(
            f"The image has {matrix[0]} x {matrix[1]} pixels per slice; bundle {bundle.name} needs at "
            f"least {least} x {least}."
        )
    warnings = []
    spacing = sequence.spacing
    in_plane = (float(spacing[0]), float(spacing[1]))
    checks: list[tuple[str, str, tuple[float, ...]]] = [
        ("in_plane_spacing_mm", "pixel spacing", in_plane),
        ("field_of_view_mm", "field of view", (matrix[0] * in_plane[0], matrix[1] * in_plane[1])),
    ]
    if sequence.shape[2] > 1:
        checks.append(("slice_spacing_mm", "distance of slices", (float(spacing[2]),)))
    for key, title, found in checks:
        shown = " x ".join(f"{v:.3g}" for v in found)
        allowed, trained = _range(rules, key), _range(rules, f"trained_{key}")
        if allowed and not all(allowed[0] <= v <= allowed[1] for v in found):
            raise InputError(
                f"The {title} is {shown} mm; bundle {bundle.name} may run on {allowed[0]:g} to "
                f"{allowed[1]:g} mm only. Check the geometry of the image."
            )
        if trained and not all(trained[0] <= v <= trained[1] for v in found):
            warnings.append(
                f"The {title} is {shown} mm; bundle {bundle.name} was trained on {trained[0]:g} to "
                f"{trained[1]:g} mm, so check its contours."
            )
    values = values or survey(sequence)
    if not values.high > values.low:
        raise InputError(f"The image is constant (nearly every voxel is {values.low:g}): there is nothing to segment.")
    if "min_value" in rules and values.low < float(rules["min_value"]):
        raise InputError(
            f"The values go down to {values.minimum:g}, as Hounsfield units do; bundle {bundle.name} is "
            f"for {' or '.join(wanted) or 'other images'}. Give it an image of that kind."
        )
    return warnings
