"""A reader gives a calcification another name, and the scores follow at once: no model, no child process."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import LabelMap, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array
from CardioPrecisionLib.measurement import Patient
from scipy import ndimage

from . import scene_logic
from .vessels import SEGMENTS

#: A lesion's mean place may lie beside a bent lesion, but not further than this from its nearest voxel, mm.
_NEAR_MM = 10.0
_NAMES = {segment.value: segment.name for segment in SEGMENTS}


def moved(labels: LabelMap, place_mm: tuple[float, float, float], label: int, only: int | None = None) -> Array:
    """The labels with the calcification at a place moved to another vessel.

    Parameters
    ----------
    labels : LabelMap
        One frame.
    place_mm : tuple of float
        RAS mm, as in the table of lesions.
    label : int
        What it belongs to, as in `vessels.SEGMENTS`.
    only : int, optional
        Its label so far, where two of different labels touch or lie close.

    Returns
    -------
    numpy.ndarray
        ``(i, j, k)`` uint8, a copy. What hangs together (26 neighbours) with one label moves as a whole.

    Raises
    ------
    InputError
        There is no calcification at the place, or the label is not known.
    """
    if label not in _NAMES:
        raise InputError(f"Label {label} is no vessel; use {', '.join(f'{v} {n}' for v, n in _NAMES.items())}.")
    array = labels.array[0]
    voxels = np.argwhere(array == only if only is not None else array > 0)
    if voxels.size:
        away = np.linalg.norm(voxels @ labels.affine[:3, :3].T + labels.affine[:3, 3] - place_mm, axis=1)
        nearest = int(away.argmin())
    if not voxels.size or away[nearest] > _NEAR_MM:
        raise InputError("There is no calcification at that place any more; choose a lesion of the table.")
    at = tuple(voxels[nearest])
    # Only a box around the voxels of this label is looked at: calcium is little, the volume is large.
    own = voxels if only is not None else np.argwhere(array == array[at])
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(own.min(0), own.max(0), strict=True))
    parts, _ = ndimage.label(array[box] == array[at], np.ones((3, 3, 3)))
    changed = array.copy()
    changed[box][parts == parts[tuple(n - s.start for n, s in zip(at, box, strict=True))]] = label
    return changed


def relabel(
    scene: Any,
    input_node: Any,
    segmentation: Any,
    place_mm: tuple[float, float, float],
    label: int,
    *,
    only: int | None = None,
    parameters: Any | None = None,
    patient: Patient | None = None,
    run_id: str | None = None,
) -> scene_logic.SceneResult:
    """Score again with one calcification re-labelled, in this process and without the models.

    Parameters
    ----------
    scene : vtkMRMLScene
    input_node : vtkMRMLScalarVolumeNode
        The CT.
    segmentation : vtkMRMLSegmentationNode
        Of the run, corrected or not.
    place_mm, label, only
        See `moved`.
    parameters : CalciumScore.Parameters, optional
        Figures are left out: they would take longer than the scores.
    patient : Patient, optional
    run_id : str, optional

    Returns
    -------
    scene_logic.SceneResult
        A new run; what it replaces is the caller's to remove.
    """
    from .calcium import CalciumParameters, CalciumScore

    loaded = scene_logic.read_ct(scene, input_node)
    labels = scene_logic.labels_on(segmentation, loaded)
    labels = LabelMap(moved(labels, place_mm, label, only)[None], labels.affine, SEGMENTS)
    quiet = replace(parameters if parameters is not None else CalciumParameters(), figures=False)
    result = CalciumScore().run({scene_logic.ROLE: loaded}, quiet, silent, patient=patient or Patient(), labels=labels)
    result.warnings[:0] = loaded.warnings
    return scene_logic.add_results(scene, input_node, result, run_id or uuid.uuid4().hex)
