"""Synthetic CT with calcium, its files, and runs on them with a reader's labels."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts.runner import RunOutcome, run_analysis
from CardioPrecisionLib.image import Image, write_nifti
from CardioPrecisionLib.labels import LabelSource
from CardioPrecisionLib.phantom.ct import (
    LABELS,
    BentCapsule,
    Calcification,
    CTGeometry,
    CTSample,
    Ellipsoid,
    Part,
    ThoraxPatient,
    random_thorax,
    render,
)
from CardioPrecisionLib.phantom.sampling import random_rotation
from scipy.ndimage import distance_transform_edt

#: LM, LAD, LCX, RCA, aorta, both valves, and cartilage that counts for nothing.
SEED = 6
AGE, SEX = 66.0, "male"
QUIET = {"figures": False}


@functools.cache
def patient() -> ThoraxPatient:
    return random_thorax(SEED, calcium="heavy", age_years=AGE, sex=SEX, stent=False)


@functools.cache
def sample() -> CTSample:
    """A cardiac scan of 3 mm slices, rendered once; the arrays cannot be written to."""
    made = patient().render(patient().geometry("cardiac", matrix=224), seed=SEED)
    made.image.array.setflags(write=False)
    made.labels.setflags(write=False)
    return made


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    write_nifti(path, np.ascontiguousarray(labels), sample().image.affine if affine is None else affine)
    return path


def write_dicom(folder: Path, **header: Any) -> Path:
    sample().write_dicom(folder, **({"sex": SEX, "age_years": AGE} | header))
    return folder


def score_files(ct: Path, labels: Path | None, output: Path, *, parameters=None, clinical=None) -> RunOutcome:
    """``cardioprecision calcium`` without the command line; `clinical` is a dict."""
    if clinical is not None:
        path = output.with_name(f"{output.name}-clinical.json")
        path.write_text(json.dumps(clinical))
        clinical = path
    source = None if labels is None else LabelSource((labels,))
    given = QUIET if parameters is None else QUIET | parameters
    return run_analysis("calcium", {"cardiac_ct": ct}, output, parameters=given, clinical=clinical, labels=source)


def copies(image: Image, labels: np.ndarray):
    """All 48 ways to store the same volume, as ``(name, Image, labels)``."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = image.affine.copy()
            affine[:3, :3] = image.affine[:3, order] * signs
            for axis, sign in enumerate(signs):
                if sign < 0:
                    affine[:3, 3] -= affine[:3, axis] * (image.shape[order[axis]] - 1)
            step = tuple(slice(None, None, s) for s in signs)
            name = "".join(f"{'+' if s > 0 else '-'}{o}" for o, s in zip(order, signs, strict=True))
            yield (
                name,
                Image(np.ascontiguousarray(image.array.transpose(order)[step]), affine),
                np.ascontiguousarray(labels.transpose(order)[step]),
            )


def numbers(outcome: Any) -> dict[tuple[str, str | None], Any]:
    """Value, or state where there is none, by name and site; of a run, or of anything with `measurements`."""
    rows = (getattr(outcome, "result", None) or outcome).measurements
    return {(m.name, m.site): str(m.state) if m.value is None else m.value for m in rows}


def bundles_are_ready() -> bool:
    """Whether both models of the analysis are in this checkout."""
    from CardioPrecisionLib.bundle.registry import get_bundle, verify
    from CoronaryPlaqueLib.calcium import CalciumScore

    try:
        for name in CalciumScore.bundles:
            verify(get_bundle(name))
    except InputError:
        return False
    return True


# -- a body of solids, for other grids ---------------------------------------------------------------------------------
_BODY = Part(Ellipsoid(np.zeros(3), np.array([56.0, 56.0, 90.0])), ((0.0, 40.0),), "body")
_RANGE_MM = 128.0, 76.0


def solids(pixel_mm: float, increment_mm: float, *, turned: np.ndarray | None = None, seed: int = 0):
    """Nodules and rods, two per site, in soft tissue on any grid: the scan, and labels that reach 4 mm around them.

    The same solids for every grid of one seed.
    """
    rng = np.random.default_rng(seed)
    bodies = []
    for n in range(14):
        angle = 2 * np.pi * n / 14
        place = np.array([28 * np.cos(angle), 28 * np.sin(angle), -24 + 48 * (n * 5 % 14) / 13])
        axes = random_rotation(rng)
        shape: Any
        if n % 2:
            shape = Ellipsoid(place, rng.uniform(1.5, 4, 3), axes)
        else:
            shape = BentCapsule(place - axes[0] * 12, axes, 12.0, rng.uniform(0.2, 0.4), rng.uniform(1.3, 2.2))
        bodies.append(Calcification(tuple(LABELS)[n % 7], shape, float(rng.uniform(350, 900))))
    n = int(_RANGE_MM[0] / pixel_mm) // 2 * 2
    grid = CTGeometry((n, n), (pixel_mm, pixel_mm), int(_RANGE_MM[1] / increment_mm), increment_mm, increment_mm)
    if turned is not None:
        grid = dataclasses.replace(grid, rotation=turned)
    made = render([_BODY], bodies, grid, noise_hu=0)
    own = np.array([0, *(b.label for b in bodies)], np.uint8)[made.owner]
    far, nearest = distance_transform_edt(own == 0, sampling=made.image.spacing, return_indices=True)
    return made.image, np.where(far <= 4.0, own[tuple(nearest)], 0).astype(np.uint8)


def moved_to(image: Image, labels: np.ndarray, rotation: np.ndarray, spacing_mm: Any, grow: float = 1.0):
    """Image (linear) and labels (nearest) on a turned grid of other voxels around the same middle."""
    spacing = np.asarray(spacing_mm, float)
    shape = np.ceil(grow * np.array(image.shape) * image.spacing / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-1.0, -1.0, 1.0]) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    moved = image.resample(affine, size, order=1, fill=-1000.0)
    return moved, image.with_array(labels).resample(affine, size, order=0).array
