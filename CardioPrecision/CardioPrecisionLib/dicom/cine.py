"""Cine short-axis stacks in a folder of anything.

Array index ``i`` runs along the columns of the stored picture, ``j`` along its rows, ``k`` along the slices in the
direction of the normal (row direction x column direction); the affine maps (i, j, k, 1) to RAS mm. Slice positions
come from ImagePositionPatient alone: SliceLocation and SpacingBetweenSlices are often something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence as Sequential
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from ..analysis import Progress, part, silent
from ..errors import InputError
from ..image import Sequence
from ..measurement import Patient
from .findings import Finding, plural
from .leftovers import beside, sentence_of_nothing, unused
from .pixels import PlaneStore, check_decodable
from .planes import Plane
from .runs import Grid, Run, grids_of
from .scan import Scan, scan
from .stacks import MIN_EXTENT_MM, Stack, lay_out, stacks_of
from .timing import timing_of
from .values import tolerant

_SHORT = re.compile(r"short.?ax|\bsax?\b|_sax?\b|\bsax|kurz|petit.?axe|\bsa[_ -]", re.I)
_OTHER = re.compile(
    r"long.?ax|\blax\b|[234] ?-?ch\b|chamber|\b[vh]la\b|rvot|lvot|aort|flow|\btag|grid|perf|\baxial|transv|coron|sagit",
    re.I,
)


@dataclass(eq=False)
class CineStack:
    """One cine stack, ready to be read frame by frame.

    Attributes
    ----------
    sequence : Sequence
        Frames load lazily in their stored integer type (float32 only where slices differ in rescaling).
    patient : Patient
        What the header says of the patient; no identifiers.
    heart_rate_bpm : float or None
        From HeartRate, NominalInterval or RR tags only; the median over slices.
    findings : list of Finding
    usable : bool
        False where no number could stand on the stack.
    unusable_reason : str or None
    planes : tuple of tuple of Plane
        For every acquired slice the planes in time order, as used.
    interpolated_slices : tuple of int
        Slices ``k`` that were made from their neighbours.
    """

    sequence: Sequence
    patient: Patient = field(default_factory=Patient)
    heart_rate_bpm: float | None = None
    findings: list[Finding] = field(default_factory=list)
    usable: bool = True
    unusable_reason: str | None = None
    planes: tuple[tuple[Plane, ...], ...] = ()
    interpolated_slices: tuple[int, ...] = ()

    @property
    def n_phases(self) -> int:
        return self.sequence.n_frames

    @property
    def n_slices(self) -> int:
        return self.sequence.shape[2]

    @property
    def study_uid(self) -> str:
        return self.planes[0][0].study_uid

    def title(self) -> str:
        """One line for a list: ``12 slices x 20 phases, series 300``."""
        numbers = sorted({p.series_number for c in self.planes for p in c if p.series_number is not None})
        named = ", ".join(map(str, numbers[:4])) + (", …" if len(numbers) > 4 else "")
        return f"{self.n_slices} slices x {self.n_phases} phases" + (f", series {named}" if named else "")


@dataclass(eq=False)
class CineSearch:
    """What a folder holds.

    Attributes
    ----------
    stacks : list of CineStack
        The likeliest short-axis stack first.
    findings : list of Finding
        About everything that is in none of the stacks.
    scan : Scan
    runs : list of Run
        Slices that are in none of the stacks.
    """

    stacks: list[CineStack]
    findings: list[Finding]
    scan: Scan
    runs: list[Run]


def find_cine_stacks(folder: str | Path, progress: Progress = silent) -> CineSearch:
    """List the cine stacks of several parallel slices in a folder tree (or one multi-frame file).

    A stack has at least 3 parallel slices over at least 20 mm; long-axis views and other images become findings.

    Raises
    ------
    InputError
        If `folder` does not exist.
    """
    found = scan(folder, part(progress, 0.0, 0.9))
    findings = list(found.findings)
    usable = [
        p
        for p in found.planes
        if p.modality == "MR"
        and p.has_geometry
        and p.stored.samples == 1
        and p.component == "MAGNITUDE"
        and "LOCALIZER" not in p.image_type
    ]
    findings += unused(found.planes)
    progress(0.92, "Sorting slices")
    grids = grids_of(usable)
    chosen: list[Stack] = []
    left: list[tuple[Grid, Run]] = []
    for grid in grids:
        stacks, rest = stacks_of(grid)
        for stack in stacks:
            if _is_cine(stack):
                chosen.append(stack)
            else:
                rest += stack.runs
        left += [(grid, r) for r in rest]
    chosen.sort(key=_likelihood, reverse=True)
    findings += beside(chosen, left)
    progress(0.96, "Sorting slices")
    built = [_build(stack) for stack in chosen]
    progress(1.0, "Sorting slices")
    return CineSearch(built, findings, found, [r for _, r in left])


def load_cine_sax(path: str | Path, progress: Progress = silent) -> CineStack:
    """The cine short-axis stack of a folder (or one multi-frame file).

    Returns
    -------
    CineStack
        With the findings on it and on everything that was not used. Check `usable` before measuring.

    Raises
    ------
    InputError
        There is none, the folder holds more than one patient, or the images cannot be decoded.
    """
    path = Path(path)
    search = find_cine_stacks(path, progress)
    if not search.stacks:
        raise InputError(f"{path}: {sentence_of_nothing(search.scan, search.runs)}")
    best, *others = search.stacks
    people = {p.patient for s in search.stacks for c in s.planes for p in c if p.patient}
    if len(people) > 1:
        raise InputError(f"{path}: there are cine stacks of {len(people)} different patients; give the folder of one.")
    check_decodable([p for column in best.planes for p in column])
    best.findings += search.findings
    studies = {s.study_uid for s in search.stacks}
    if len(studies) > 1:
        best.findings.append(
            Finding(
                "warning",
                "several_studies",
                f"The folder holds cine stacks of {len(studies)} "
                "studies; only the likeliest short-axis stack was used.",
                len(studies),
            )
        )
    if others:
        listed = "; ".join(s.title() for s in others[:3]) + ("; …" if len(others) > 3 else "")
        best.findings.append(
            Finding(
                "info" if len(studies) > 1 else "warning",
                "several_stacks",
                f"{plural(len(others), 'other cine stack')} not used: {listed}.",
                len(others),
            )
        )
    return best


# -- which stack -------------------------------------------------------------------------------------------------------
def _is_cine(stack: Stack) -> bool:
    if stack.extent_mm < MIN_EXTENT_MM:
        return False
    if any(r.over_several_beats() or r.is_mapping() for r in stack.runs):
        return False
    planes = [p for r in stack.runs for p in r.planes]
    if stack.n_phases > 1:
        return True
    # A single phase counts only when it was gated to the heart and is no late-enhancement image.
    gated = all(p.trigger_ms or p.rr_interval_ms or p.heart_rate or p.cardiac_images for p in planes)
    return gated and not any(p.inversion_time for p in planes) and not any("IR" in p.technique for p in planes)


def _hint(planes: Sequential[Plane]) -> int:
    words = " ".join(sorted({p.description for p in planes}))
    return bool(_SHORT.search(words)) - bool(_OTHER.search(words))


def _likelihood(stack: Stack) -> tuple[Any, ...]:
    """Judged by the stack itself; descriptions only break ties between stacks of the same kind."""
    planes = [p for r in stack.runs for p in r.planes]
    oblique = float(np.abs(stack.grid.normal).max()) < 0.97
    volumetric = any(p.acquisition_type == "3D" for p in planes)
    moment = max(r.moment for r in stack.runs)
    return (
        stack.n_phases >= 10,
        stack.n_phases >= 2,
        _hint(planes),
        not volumetric,
        oblique,
        len(stack.runs),
        stack.n_phases,
        moment,
    )


# -- from runs to a sequence -------------------------------------------------------------------------------------------
def _build(stack: Stack) -> CineStack:
    layout = lay_out(stack)
    timing = timing_of(stack.runs, stack.n_phases)
    store = PlaneStore(timing.columns, layout.blends)
    findings = stack.findings + layout.findings + timing.findings
    first = timing.columns[0][0]
    planes = [p for column in timing.columns for p in column]
    patient, notes = _patient(first)
    findings += [Finding("warning", "patient_header", note) for note in notes]
    findings += _header_findings(planes, store)
    thickness = [p.thickness for p in planes if p.thickness]
    made = tuple(k for k, (_, _, weight) in enumerate(layout.blends) if weight)
    blends = np.array(layout.blends)
    times = timing.times_ms
    if times is not None:  # an interpolated slice has interpolated times
        low, high, weight = blends[:, 0].astype(int), blends[:, 1].astype(int), blends[:, 2]
        times = times[:, low] * (1.0 - weight) + times[:, high] * weight
    sequence = Sequence(
        store.frame,
        stack.n_phases,
        store.shape,
        layout.affine,
        times_ms=times,
        rr_ms=timing.rr_ms,
        full_cycle=timing.full_cycle,
        thickness_mm=float(np.median(thickness)) if thickness else None,
        modality=first.modality,
        source="+".join(sorted({p.series_uid for p in planes})),
        details=_details(planes, layout.affine, made),
    )
    return CineStack(
        sequence,
        patient,
        timing.heart_rate_bpm,
        findings,
        layout.error is None,
        layout.error,
        tuple(tuple(column) for column in timing.columns),
        made,
    )


def _patient(plane: Plane) -> tuple[Patient, list[str]]:
    from ..patient import read_dicom_patient

    with tolerant():
        ds = dcmread(plane.stored.file, stop_before_pixels=True, force=True)
        return read_dicom_patient(ds)


def _header_findings(planes: list[Plane], store: PlaneStore) -> list[Finding]:
    findings = []
    if store.rescale:
        findings.append(
            Finding("info", "rescale_differs", "Rescale slope or intercept differs between images; it was applied.")
        )
    frames = {p.frame_of_reference_uid for p in planes if p.frame_of_reference_uid}
    # A frame of reference per file is an anonymiser's doing and says nothing.
    if 1 < len(frames) <= len(store.planes):
        findings.append(
            Finding(
                "warning",
                "frame_of_reference_differs",
                f"The slices name {len(frames)} frames of reference; the patient may have moved between them.",
                len(frames),
            )
        )
    if _hint(planes) < 0:
        findings.append(
            Finding(
                "warning",
                "view_uncertain",
                "The series description names another view than short axis; "
                "look at the images before using the numbers.",
            )
        )
    return findings


def _details(planes: list[Plane], affine: Any, made: tuple[int, ...]) -> dict[str, Any]:
    first = planes[0]
    vendor = Counter(p.manufacturer for p in planes).most_common(1)[0][0]
    return {
        "manufacturer": vendor,
        "model": first.model,
        "field_strength_t": first.field_strength,
        "sequence_name": first.sequence_name,
        "slice_distance_mm": round(float(np.linalg.norm(affine[:3, 2])), 4),
        "series": len({p.series_uid for p in planes}),
        "files": len({p.stored.file for p in planes}),
        "enhanced": first.stored.n_frames > 1,
        "transfer_syntax": first.stored.syntax,
        "interpolated_slices": list(made),
    }
