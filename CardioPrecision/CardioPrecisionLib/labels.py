"""A reader's own labels, brought onto the input's grid and into our label values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .analysis import LabelMap, Segment
from .errors import InputError
from .image import Array, Image, Sequence, is_image_file, read_frames, voxel_hash
from .segfile import StoredSegment, is_seg_nrrd, stored_segments

#: Names that readers give a structure (letters and digits only), by the SNOMED CT code of our segment.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "87878005": (
        "lvcavity",
        "lv",
        "lvbloodpool",
        "leftventricle",
        "leftventricularcavity",
        "leftventriclecavity",
        "lvendo",
        "lvendocardium",
        "leftventricularbloodpool",
        "lvlumen",
        "lvc",
    ),
    "49848007": (
        "lvmyocardium",
        "myocardium",
        "myo",
        "lvm",
        "lvmyo",
        "leftventricularmyocardium",
        "leftventriclemyocardium",
        "lvwall",
    ),
    "53085002": (
        "rvcavity",
        "rv",
        "rvbloodpool",
        "rightventricle",
        "rightventricularcavity",
        "rightventriclecavity",
        "rvendo",
        "rvendocardium",
        "rightventricularbloodpool",
        "rvlumen",
        "rvc",
    ),
    "3227004": ("lm", "leftmain", "leftmaincoronaryartery", "lmca"),
    "59438005": ("lad", "leftanteriordescending", "leftanteriordescendingartery"),
    "57396003": ("lcx", "cx", "leftcircumflex", "circumflex", "leftcircumflexartery"),
    "13647002": ("rca", "rightcoronaryartery", "rightcoronary"),
    "15825003": ("aorta", "thoracicaorta", "aorticwall"),
    "34202007": ("aorticvalve", "av", "avc"),
    "91134007": ("mitralvalve", "mitralannulus", "mv", "mac"),
    "18115005": ("other", "notscored", "noncoronary", "notcoronary"),
}
#: Other codes in use for the same structures: SNOMED CT myocardium as such, and the retired SNOMED-RT codes.
_CODES = {"74281007": "49848007", "T-32020": "49848007", "T-32600": "87878005", "T-32500": "53085002"}
_LV, _WALL, _RV = "87878005", "49848007", "53085002"

#: Two grids are the same when their corners lie this close together, in voxels.
_SAME_GRID_VOXELS = 0.1
#: Labelled volume that may get lost outside of the image before the file is taken for another study's.
_LOST_FRACTION = 0.02


@dataclass(frozen=True)
class LabelSource:
    """Where a reader's labels are and what is in them.

    Attributes
    ----------
    paths : tuple of Path
        One file with any number of frames, or several files whose frames follow each other (ED, then ES).
    scheme : str
        Key of the analysis' label schemes; a ``.seg.nrrd`` is mapped by its segments' terminology and names instead.
    ed_frame, es_frame : int or None
        Which frames of the input, counted from 1, the labels belong to where they are not for all frames.
    """

    paths: tuple[Path, ...]
    scheme: str = "cardioprecision"
    ed_frame: int | None = None
    es_frame: int | None = None


def _plain(
    array: Array, scheme: str, mapping: Mapping[int, int], path: Path, warnings: list[str], empty: bool = False
) -> Array:
    """Label values of a plain file as ours, ``(t, i, j, k)`` uint8."""
    values = np.unique(array)
    if not np.issubdtype(array.dtype, np.integer):
        if not np.isfinite(values).all() or not np.array_equal(values, np.round(values)):
            raise InputError(f"{path}: these are not labels: some voxel values are not whole numbers.")
        array, values = np.round(array).astype(np.int32), np.round(values).astype(np.int64)
    strange = [int(v) for v in values if v != 0 and int(v) not in mapping]
    if not any(int(v) in mapping for v in values) and not (empty and not strange):
        raise InputError(f"{path}: none of the label values {', '.join(map(str, mapping))} is in this file.")
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", …" if len(strange) > 5 else "")
        warnings.append(f"{path.name}: label value {shown} has no meaning in the scheme {scheme} and was ignored.")
    ours = np.zeros(array.shape, np.uint8)
    for given, own in mapping.items():
        ours[array == given] = own
    return ours


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def meaning_of(stored: StoredSegment, segments: tuple[Segment, ...]) -> int | None:
    """Our value for a stored segment: by terminology first, then by name."""
    name = _letters(stored.name)
    by_name = next((s for s in segments if name == _letters(s.name) or name in _NAMES.get(s.type.value, ())), None)
    if stored.type is not None:
        code = _CODES.get(stored.type.value, stored.type.value)
        by_code = next((s for s in segments if s.type.value == code), None)
        # "Left ventricle" is also the code of the whole chamber: a segment called myocardium means its wall.
        if by_code and not (code == _LV and by_name and by_name.type.value == _WALL):
            return by_code.value
    return by_name.value if by_name else None


def _slicer(
    array: Array,
    header: dict[str, str],
    segments: tuple[Segment, ...],
    path: Path,
    warnings: list[str],
    empty: bool = False,
) -> Array:
    """A ``.seg.nrrd`` as one frame of our labels; where segments overlap, a cavity wins over the wall around it."""
    meanings = [(s, meaning_of(s, segments)) for s in stored_segments(header)]
    names = ", ".join(s.name for s in segments)
    if not any(value for _, value in meanings):
        raise InputError(f"{path}: none of its segments is one of {names}, by terminology or by name.")
    ignored = sum(value is None for _, value in meanings)
    if ignored:
        warnings.append(f"{path.name}: {ignored} segment(s) that are none of {names} were ignored.")
    ours = np.zeros(array.shape[1:], np.uint8)
    walls = {s.value for s in segments if s.type.value == _WALL}
    for segment, value in sorted(meanings, key=lambda pair: pair[1] not in walls):
        if value is not None and segment.layer < array.shape[0]:
            ours[array[segment.layer] == segment.value] = value
    if not ours.any() and not empty:
        raise InputError(f"{path}: its segments are empty.")
    return ours[None]


def _lattice(ratio: Array) -> bool:
    """Whether a voxel-to-voxel matrix only permutes, flips and shifts by whole voxels."""
    return bool(
        np.allclose(ratio, np.round(ratio), atol=_SAME_GRID_VOXELS / 10)
        and np.allclose(np.abs(ratio[:3, :3]).sum(axis=0), 1, atol=1e-2)
    )


def _on_grid(labels: Array, affine: Array, data: Sequence | Image, path: Path, warnings: list[str]) -> Array:
    """Frames ``(t, i, j, k)`` on the input's grid, by their place in the world."""
    shape = tuple(data.shape)
    to_labels = np.linalg.inv(affine) @ data.affine
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    moved = to_labels[:3, :3] @ corners + to_labels[:3, 3:]
    if labels.shape[1:] == shape and np.abs(moved - corners).max() <= _SAME_GRID_VOXELS:
        return labels
    frames = [Image(frame, affine).resample(data.affine, shape, order=0).array for frame in labels]  # type: ignore[arg-type]
    before = np.count_nonzero(labels) * abs(np.linalg.det(affine[:3, :3]))
    after = sum(np.count_nonzero(f) for f in frames) * data.voxel_ml * 1000.0
    # Count what lies outside by its own voxels: the resampled volume also differs by the size of the voxels.
    voxels = np.argwhere(labels.any(axis=0))
    if not len(voxels):
        return np.stack(frames)
    inside = np.linalg.inv(data.affine) @ affine
    index = voxels @ inside[:3, :3].T + inside[:3, 3]
    lost = 1.0 - float(((index > -0.75) & (index < np.array(shape) - 0.25)).all(axis=1).mean())
    size = "x".join(map(str, labels.shape[1:]))
    if lost > _LOST_FRACTION or after == 0:
        raise InputError(
            f"{path}: {100 * lost:.0f} % of the labels ({size} voxels) lie outside of the image "
            f"({'x'.join(map(str, shape))} voxels). Are they of the same series?"
        )
    if not _lattice(to_labels):
        warnings.append(
            f"{path.name}: the labels are on another grid ({size} voxels) than the image and were moved "
            f"onto it (nearest neighbour; labelled volume {100 * (after / before - 1):+.1f} %)."
        )
    return np.stack(frames)


def _frame_numbers(count: int, source: LabelSource, n_frames: int) -> list[int]:
    """For each of `count` label frames, the frame of the input that it belongs to."""
    named = {"--ed-frame": source.ed_frame, "--es-frame": source.es_frame}
    for option, frame in named.items():
        if frame is not None and not 1 <= frame <= n_frames:
            raise InputError(f"{option} is {frame}; the input has frames 1 to {n_frames}.")
    given = [frame - 1 for frame in named.values() if frame is not None]
    if len(given) == 2 and given[0] == given[1]:
        raise InputError("--ed-frame and --es-frame name the same frame.")
    where = source.paths[0]
    if count == n_frames:
        return list(range(n_frames))
    if n_frames == 1:
        raise InputError(
            f"{where}: labels for {count} frames or files, but the input is one image; give one label image."
        )
    if count == 1:
        if len(given) != 1:
            raise InputError(
                f"{where}: labels for one frame of an input with {n_frames}; say which one with either "
                "--ed-frame or --es-frame, or give labels for both, or for all frames."
            )
        return given
    if count == 2:
        if len(given) != 2:
            raise InputError(
                f"{where}: labels for two frames of an input with {n_frames}; say which ones with "
                "--ed-frame and --es-frame."
            )
        return given
    raise InputError(
        f"{where}: labels for {count} frames of an input with {n_frames}; give labels for all frames, or "
        "for end-diastole and end-systole only."
    )


def _swapped(labels: Array, segments: tuple[Segment, ...]) -> bool:
    """Whether LV and RV look exchanged: the LV cavity is the one that the myocardium surrounds."""
    value = {s.type.value: s.value for s in segments}
    if not {_LV, _WALL, _RV} <= set(value):
        return False
    wall = labels == value[_WALL]
    touching = {}
    for side in (_LV, _RV):
        cavity = labels == value[side]
        edges = hits = 0
        for axis in (0, 1):
            for step in (1, -1):
                beside = np.roll(cavity, step, axis) & ~cavity
                edges += int(beside.sum())
                hits += int((beside & wall).sum())
        if not edges:
            return False
        touching[side] = hits / edges
    return touching[_RV] > 0.7 and touching[_LV] < 0.5


def read_labels(
    source: LabelSource,
    data: Sequence | Image,
    segments: tuple[Segment, ...],
    schemes: Mapping[str, Mapping[int, int]],
    empty: bool = False,
) -> tuple[LabelMap, list[str], dict[str, Any]]:
    """Read a reader's labels for an input.

    Labels for all frames, or for end-diastole and end-systole (or one of them) of a time-resolved input. Frames
    without labels are empty in the result.

    Parameters
    ----------
    source : LabelSource
    data : Sequence or Image
        The input whose grid and frames the labels are for.
    segments : tuple of Segment
        What the labels can mean.
    schemes : mapping
        Name to label value in the file to value of a segment.
    empty : bool
        Whether a file without any label says something (that there is nothing) rather than being a mistake.

    Returns
    -------
    labels : LabelMap
        ``(t, i, j, k)`` on the input's grid, one entry per input frame; `key_frames` (from 0) as the user named them.
    warnings : list of str
    record : dict
        For the run record: files by name, scheme, frames (from 1) and a hash of the voxels.

    Raises
    ------
    InputError
        No labels, a wrong number of frames, or labels of another place.
    """
    if source.scheme not in schemes:
        raise InputError(f"--label-scheme {source.scheme}: choose one of {', '.join(schemes)}.")
    warnings: list[str] = []
    parts = []
    for path in source.paths:
        if path.exists() and not (path.is_file() and is_image_file(path)):
            raise InputError(f"{path}: labels are read from a .nii.gz, .nrrd or .seg.nrrd file.")
        array, affine, header = read_frames(path)
        if is_seg_nrrd(path, header):
            own = _slicer(array, header, segments, path, warnings, empty)
        else:
            own = _plain(array, source.scheme, schemes[source.scheme], path, warnings, empty)
        parts.append(_on_grid(own, affine, data, path, warnings))
    given = parts[0] if len(parts) == 1 else np.concatenate(parts)
    n_frames = data.n_frames if isinstance(data, Sequence) else 1
    numbers = _frame_numbers(len(given), source, n_frames)

    filled = [number for number, frame in zip(numbers, given) if frame.any()]
    if len(given) == n_frames:
        labels = given
    else:
        labels = np.zeros((n_frames, *given.shape[1:]), np.uint8)
        labels[numbers] = given
    if len(given) == n_frames and len(filled) < n_frames and filled:
        warnings.append(f"The label file has labels in {len(filled)} of {n_frames} frames; only these were used.")
    named = (("ed", source.ed_frame), ("es", source.es_frame))
    key_frames = {name: frame - 1 for name, frame in named if frame is not None}
    for name, frame in key_frames.items():
        if frame not in filled:
            raise InputError(
                f"{source.paths[0]}: there are no labels in frame {frame + 1}, which was named as {name.upper()}."
            )
    if filled and _swapped(labels[filled[0]], segments):
        warnings.append(
            "The myocardium surrounds what is labelled as right ventricle: left and right seem exchanged. "
            f"The labels were read with the scheme {source.scheme}."
        )
    record = {
        "files": [path.name for path in source.paths],
        "scheme": source.scheme,
        "frames": "all" if len(filled) == n_frames else [frame + 1 for frame in filled],
        "voxel_hash": voxel_hash(labels, data.affine),
    }
    return LabelMap(labels, data.affine, segments, key_frames), warnings, record
