"""A CT volume in Hounsfield units out of a folder of anything, or out of a NIfTI or NRRD file.

Array index ``i`` runs along the columns of the stored picture, ``j`` along its rows, ``k`` along the slices in the
direction of the normal (row direction x column direction). Slice positions come from ImagePositionPatient alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Sequential
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ..analysis import Progress, part, silent
from ..errors import InputError
from ..image import Image, is_image_file
from ..measurement import Patient
from .ct_acquisition import CTAcquisition, CTVolume, header_details
from .ct_file import load_ct_file
from .ct_series import (
    MIN_SLICES,
    CTCandidate,
    Prefer,
    candidates_of,
    choice_finding,
    is_ct,
    sort_out,
    suitability,
)
from .ct_values import read_hu, value_findings
from .findings import Finding, plural
from .planes import Plane
from .scan import Scan, scan
from .values import tolerant

__all__ = ["CTAcquisition", "CTVolume", "load_ct", "load_ct_file"]

_NEED = "A folder with one CT series of parallel slices is needed"


def load_ct(
    path: str | Path, progress: Progress = silent, *, prefer: Prefer = "noncontrast", series: str | None = None
) -> CTVolume:
    """The CT volume of a folder (or one multi-frame file, or an image file).

    Parameters
    ----------
    path : path
        A folder tree of anything, a DICOM file, or a NIfTI, NRRD or MetaImage file (see `load_ct_file`).
    progress : callable
        ``progress(fraction, stage)``.
    prefer : str
        ``noncontrast`` or ``contrast``: which of several volumes to take, by the rule of `ct_series.suitability`.
        The other kind is taken where it is all there is; `CTAcquisition.contrast` says so.
    series : str, optional
        Series UID or number to read instead; reformatted series can only be read this way where there is another.

    Returns
    -------
    CTVolume
        With the findings on it and on everything that was not used. Check `usable` before measuring.

    Raises
    ------
    InputError
        There is none, the folder holds more than one patient, `series` is not in it, or images cannot be decoded.
    """
    path = Path(path)
    if path.is_file() and is_image_file(path):
        return load_ct_file(path)
    found = scan(path, part(progress, 0.0, 0.5))
    planes, findings = sort_out(found.planes)
    candidates, left = candidates_of(planes)
    if series is not None:
        asked = [c for c in candidates if series.strip() in (c.first.series_uid, str(c.first.series_number))]
        if not asked:
            raise InputError(_no_such_series(path, candidates))
        others = [c for c in candidates if c not in asked]
        candidates = asked
    else:
        others = []
    if not candidates:
        raise InputError(f"{path}: {_sentence_of_nothing(found, left)}")
    people = {p.patient for c in candidates for p in c.layout.planes if p.patient}
    if len(people) > 1:
        raise InputError(f"{path}: there are CT images of {len(people)} different patients; give the folder of one.")
    candidates.sort(key=lambda c: suitability(c, prefer), reverse=True)
    chosen, rest = candidates[0], candidates[1:] + others
    volume = _read(chosen, part(progress, 0.5, 1.0))
    volume.findings.extend([*found.findings, *findings, *_not_used(left)])
    choice = choice_finding(chosen, rest, prefer, series is not None)
    if choice is not None:
        volume.findings.append(choice)
    volume.details["other_volumes"] = len(rest)
    studies = {c.first.study_uid for c in (chosen, *rest)}
    if len(studies) > 1:
        volume.findings.append(
            Finding(
                "warning",
                "several_studies",
                f"The folder holds CT of {len(studies)} studies; only one volume was used.",
                len(studies),
            )
        )
    return volume


def _read(chosen: CTCandidate, progress: Progress) -> CTVolume:
    layout, planes = chosen.layout, chosen.layout.planes
    array, reading = read_hu(layout, progress)
    findings = chosen.findings + layout.findings + reading
    wrong, reason = value_findings(array, planes[0].ct.rescale_type if planes[0].ct else "")
    findings += wrong
    if chosen.reformatted:
        findings.append(
            Finding(
                "warning",
                "reformatted",
                "The series was reformatted from another one (MPR, MIP or the like); its values are not the scanner's.",
            )
        )
    acquisition = chosen.acquisition
    if acquisition.contrast is None and acquisition.contrast_reason:
        findings.append(Finding("warning", "contrast_unclear", acquisition.contrast_reason))
    patient, notes = _patient(planes[0])
    findings += [Finding("warning", "patient_header", note) for note in notes]
    frames = {p.frame_of_reference_uid for p in planes if p.frame_of_reference_uid}
    if 1 < len(frames) < len(planes):  # one per file is an anonymiser's doing and says nothing
        findings.append(
            Finding(
                "warning",
                "frame_of_reference_differs",
                f"The slices name {len(frames)} frames of reference; the patient may have moved between them.",
                len(frames),
            )
        )
    details: dict[str, Any] = {
        **header_details(planes),
        "slices": len(planes),
        "missing_slices": layout.missing,
        "gantry_tilt_deg": round(layout.tilt_deg, 2),
    }
    unusable = layout.error or reason
    return CTVolume(
        Image(array, layout.affine),
        acquisition,
        patient,
        findings,
        unusable is None,
        unusable,
        acquisition.series_uid,
        details,
    )


def _patient(plane: Plane) -> tuple[Patient, list[str]]:
    from ..patient import read_dicom_patient

    with tolerant():
        ds = dcmread(plane.stored.file, stop_before_pixels=True, force=True)
        return read_dicom_patient(ds)


def _not_used(left: Sequential[Plane]) -> list[Finding]:
    """CT images that make no volume: bolus tracking, single slices."""
    if not left:
        return []
    n = len(left)
    return [
        Finding("info", "not_used", f"{plural(n, 'CT image')} in no volume of {MIN_SLICES} or more slices not used.", n)
    ]


def _no_such_series(path: Path, candidates: Sequential[CTCandidate]) -> str:
    listed = "; ".join(c.title() for c in candidates[:6]) + ("; …" if len(candidates) > 6 else "")
    there = f"there is {listed}" if listed else "no CT volume is there at all"
    return f"{path}: no CT volume of that series number or UID was found; {there}."


def _sentence_of_nothing(found: Scan, left: Sequential[Plane]) -> str:
    """Why there is no CT volume: what is there instead, and what to give."""
    if found.n_files == 0:
        return f"the folder is empty. {_NEED}."
    if not found.planes:
        broken = found.skipped["truncated"] + found.skipped["unreadable"]
        if broken:
            return (
                f"no image can be read: {plural(broken, 'DICOM file')} of {found.n_files} cut off or damaged. {_NEED}."
            )
        if found.skipped["not_image"]:
            return f"the DICOM files in it hold no images. {_NEED}."
        return f"none of the {plural(found.n_files, 'file')} is DICOM. {_NEED}."
    kinds = Counter(p.modality or "unknown" for p in found.planes if not is_ct(p))
    n_ct = len(found.planes) - sum(kinds.values())
    if not n_ct:
        text = ", ".join(f"{plural(n, f'{name} image')}" for name, n in sorted(kinds.items()))
        return f"there is no CT, only {text}. {_NEED}."
    if not left:
        return (
            f"the {plural(n_ct, 'CT image')} are localisers, reports or without usable position, orientation or pixel "
            f"spacing. {_NEED}, with its geometry."
        )
    return f"no CT volume of {MIN_SLICES} or more parallel slices was found, only {plural(n_ct, 'CT image')}. {_NEED}."
