"""Cine short-axis input: a DICOM folder or file, or a 4-D NIfTI/NRRD (two-phase and single-phase files too)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Loaded, Progress, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Sequence, is_image_file, read_frames, spacing_of

MIN_MATRIX = 32
MIN_FIELD_MM = 80.0


def load(path: str | Path, progress: Progress = silent) -> Loaded:
    """Read a cine short-axis study.

    Parameters
    ----------
    path : str or Path
        Folder that holds DICOM (anything else in it is passed over), one DICOM file, or an image file.
    progress : callable

    Raises
    ------
    InputError
        Nothing there can be used; the message says what was found.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    loaded = _from_file(path) if path.is_file() and is_image_file(path) else _from_dicom(path, progress)
    check(loaded.data, str(path))
    return loaded


def _from_dicom(path: Path, progress: Progress) -> Loaded:
    from CardioPrecisionLib.dicom.cine import load_cine_sax

    stack = load_cine_sax(path, progress)
    sequence = stack.sequence
    record: dict[str, Any] = {
        "kind": "dicom",
        "source": sequence.source,
        "details": dict(sequence.details),
        "findings": [{"code": f.code, "severity": str(f.severity), "message": f.message} for f in stack.findings],
    }
    if stack.heart_rate_bpm is not None:
        record["heart_rate_bpm"] = float(stack.heart_rate_bpm)
    warnings = [f.message for f in stack.findings if f.severity != "info"]
    return Loaded(sequence, stack.patient, warnings, record, None if stack.usable else stack.unusable_reason)


def _from_file(path: Path) -> Loaded:
    array, affine, header = read_frames(path)
    if array.shape[0] == 1 and array.shape[3] == 1:
        raise InputError(f"{path}: a single 2-D image was found; a short-axis stack (3-D) over time (4-D) is needed.")
    sequence, warnings = complete(Sequence.from_array(array, affine, times_ms=_times(header, array.shape[0])))
    return Loaded(sequence, warnings=warnings, record={"kind": "file", "format": "".join(path.suffixes[-2:])})


def complete(sequence: Sequence) -> tuple[Sequence, list[str]]:
    """Finish a sequence that came without a DICOM header: slices along its third axis, the beat from its times.

    The same for files and for the nodes of a MRML scene, so that both give the same numbers.

    Returns
    -------
    sequence : Sequence
        Frames still load one at a time; a known RR interval is kept.
    warnings : list of str
    """
    warnings: list[str] = []
    order, affine, n = slice_axes(sequence.affine), sequence.affine, sequence.n_frames
    i, j, k = (sequence.shape[axis] for axis in order)
    load = sequence.load
    if order != (0, 1, 2):
        warnings.append("The slices do not lie along the third axis of the image; it was turned so that they do.")
        affine = affine.copy()
        affine[:, :3] = sequence.affine[:, list(order)]
        original = sequence.load

        def load(t: int) -> Array:
            return original(t).transpose(order)

    times, rr = sequence.frame_time_ms(), sequence.rr_ms
    if times is not None and rr is None and n >= 10:
        rr = float(times[-1] - times[0]) * n / (n - 1)
        if not 300 <= rr <= 2500:  # not a heart beat: seconds taken for something else, or no real times
            times, rr = None, None
            warnings.append("The frame times do not span a heart beat; heart rate and rates are not derived.")
    whole = sequence.full_cycle or n >= 10
    done = replace(sequence, load=load, shape=(i, j, k), affine=affine, times_ms=times, rr_ms=rr, full_cycle=whole)
    return done, warnings


def slice_axes(affine: Array) -> tuple[int, int, int]:
    """The order of the axes that puts the one with by far the largest spacing last."""
    spacing = spacing_of(affine)
    axis = int(np.argmax(spacing))
    if axis == 2 or spacing[axis] < 1.5 * np.delete(spacing, axis).max():
        return 0, 1, 2
    first, second = (a for a in range(3) if a != axis)
    return first, second, axis


def slices_last(array: Array, affine: Array) -> tuple[Array, Array, bool]:
    """Put the axis with by far the largest spacing last; views, no copy."""
    order = slice_axes(affine)
    if order == (0, 1, 2):
        return array, affine, False
    turned = affine.copy()
    turned[:, :3] = affine[:, list(order)]
    return array.transpose(0, *(o + 1 for o in order)), turned, True


def _times(header: dict[str, str], n: int) -> Array | None:
    """Frame times in ms: NIfTI's fourth spacing with its unit, or the index values of a Slicer sequence."""
    if n < 2:
        return None
    index = next((header[key] for key in ("axis 3 index values", "axis 0 index values") if key in header), None)
    if index is not None:  # Slicer's .seq.nrrd
        factor = {"ms": 1.0, "msec": 1.0, "s": 1000.0, "sec": 1000.0}.get(
            header.get("NRRD_units[pixel]", "").strip().lower()
        )
        values = index.split()
        if factor is None or len(values) != n:
            return None
        try:
            times = np.array([float(v) for v in values]) * factor
        except ValueError:
            return None
        return times if (np.diff(times) > 0).all() else None
    step, unit_code = header.get("pixdim[4]"), header.get("xyzt_units")
    if step is None or unit_code is None:
        return None
    factor = {8: 1000.0, 16: 1.0, 24: 0.001}.get(int(float(unit_code)) & 0x38)
    if factor is None or float(step) <= 0:
        return None
    return np.arange(n) * float(step) * factor


def check(sequence: Sequence, where: str) -> None:
    """Refuse what cannot be a cine short-axis stack, in one line."""
    i, j, _ = sequence.shape
    spacing = sequence.spacing
    if min(i, j) < MIN_MATRIX or min(i * spacing[0], j * spacing[1]) < MIN_FIELD_MM:
        raise InputError(
            f"{where}: slices of {i} x {j} pixels ({i * spacing[0]:.0f} x {j * spacing[1]:.0f} mm) are too "
            f"small for a heart; at least {MIN_MATRIX} pixels and {MIN_FIELD_MM:.0f} mm a side are needed."
        )
    if sequence.modality not in ("", "MR"):
        raise InputError(f"{where}: this is {sequence.modality}; cine short-axis MR is needed.")
    low, high = np.inf, -np.inf
    for t in range(sequence.n_frames):
        frame = sequence.frame(t)
        if frame.dtype.kind not in "iuf":
            raise InputError(f"{where}: voxels of type {frame.dtype} cannot be used; integers or floats are needed.")
        lo, hi = float(frame.min()), float(frame.max())
        if not (np.isfinite(lo) and np.isfinite(hi)):
            raise InputError(f"{where}: frame {t + 1} holds NaN or infinite voxels; export it again without them.")
        low, high = min(low, lo), max(high, hi)
    if high <= low:
        raise InputError(f"{where}: all voxels have the same value ({low:g}); there is no image in it.")
    if sequence.modality == "" and low <= -500 and high >= 200:
        raise InputError(
            f"{where}: values from {low:.0f} to {high:.0f} look like CT (HU); cine short-axis MR is needed."
        )
