"""Say what was not used, and why, so that nothing disappears silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence as Sequential

from .findings import Finding, plural
from .planes import Plane
from .runs import SAME_DIRECTION_DEG, Grid, Run, angle_deg
from .scan import Scan
from .stacks import Stack

_NEAR_DEG = 30.0


def unused(planes: Iterable[Plane]) -> list[Finding]:
    """Planes that cannot be part of a cine stack at all."""
    other = Counter(p.modality or "unknown" for p in planes if p.modality != "MR")
    findings = []
    if other:
        text = ", ".join(f"{plural(n, 'image')} of modality {name}" for name, n in sorted(other.items()))
        findings.append(Finding("info", "other_modality", f"Not MR and not used: {text}.", sum(other.values())))
    mr = [p for p in planes if p.modality == "MR"]
    colour = sum(p.stored.samples != 1 for p in mr)
    if colour:
        findings.append(Finding("info", "not_grayscale", f"{plural(colour, 'colour picture')} not used.", colour))
    phase = sum(p.component != "MAGNITUDE" for p in mr)
    if phase:
        findings.append(
            Finding("info", "phase_images", f"{plural(phase, 'image')} of phase or velocity not used.", phase)
        )
    return findings


def beside(stacks: Sequential[Stack], left: Sequential[tuple[Grid, Run]]) -> list[Finding]:
    """Slices in no stack, judged against the best stack of their study."""
    kinds: Counter[tuple[str, str]] = Counter()
    images: Counter[str] = Counter()
    for grid, run in left:
        stack = next((s for s in stacks if s.grid.first.study_uid == grid.first.study_uid), None)
        code, text = _why(stack, grid, run)
        kinds[code, text] += 1
        images[code] += run.n
    findings = []
    for (code, text), n in sorted(kinds.items()):
        warn = code in ("non_parallel_slice", "orientation_differs", "grid_differs")
        findings.append(Finding("warning" if warn else "info", code, f"{plural(n, 'slice')} {text}", n))
    return findings


def _why(stack: Stack | None, grid: Grid, run: Run) -> tuple[str, str]:
    if run.is_mapping():
        return "not_cine", "with several echo or inversion times (relaxation mapping) not used."
    if run.over_several_beats():
        return "not_cine", "followed over several heart beats (perfusion or real time) not used."
    if stack is None or run.n < 2:
        return "not_used", f"of {plural(run.n, 'phase')} in no stack not used."
    tilt = angle_deg(grid.normal, stack.grid.normal)
    tilt = min(tilt, 180.0 - tilt)
    similar = 0.5 * stack.n_phases <= run.n <= 2 * stack.n_phases
    if similar and SAME_DIRECTION_DEG <= tilt < _NEAR_DEG:
        return "non_parallel_slice", f"tilted by {tilt:.0f} degrees against the stack left out."
    if similar and tilt < SAME_DIRECTION_DEG:
        a, b = grid.first, stack.grid.first
        if (a.rows, a.cols, a.pixel_spacing) != (b.rows, b.cols, b.pixel_spacing):
            return "grid_differs", (
                f"of {a.cols} x {a.rows} pixels left out: the stack has {b.cols} x {b.rows}"
                + ("." if (a.rows, a.cols) != (b.rows, b.cols) else " of another size.")
            )
        if angle_deg(grid.row, stack.grid.row) >= SAME_DIRECTION_DEG:
            return "orientation_differs", "turned within the plane against the stack left out."
        return "not_used", f"of {plural(run.n, 'phase')} by another technique not used."
    return "other_view", f"of another view ({plural(run.n, 'phase')}) not used."


def sentence_of_nothing(found: Scan, runs: Sequential[Run]) -> str:
    """Why there is no cine short-axis stack: what is there instead, and what to give."""
    need = "A folder with cine short-axis MR is needed"
    if found.n_files == 0:
        return f"the folder is empty. {need}."
    if not found.planes:
        broken = found.skipped["truncated"] + found.skipped["unreadable"]
        if broken:
            return (
                f"no image can be read: {plural(broken, 'DICOM file')} of {found.n_files} cut off or damaged. {need}."
            )
        if found.skipped["not_image"]:
            return f"the DICOM files in it hold no images. {need}."
        return f"none of the {plural(found.n_files, 'file')} is DICOM. {need}."
    other = Counter(p.modality or "unknown" for p in found.planes if p.modality != "MR")
    mr = [p for p in found.planes if p.modality == "MR"]
    if not mr:
        text = ", ".join(f"{plural(n, f'{name} image')}" for name, n in sorted(other.items()))
        return f"there is no MR, only {text}. {need}."
    if not any(p.has_geometry for p in mr):
        return (
            f"the {plural(len(mr), 'MR image')} have no usable position, orientation or pixel spacing. {need}, "
            "with its geometry."
        )
    views = Counter((r.n, r.over_several_beats() or r.is_mapping()) for r in runs)
    parts = []
    for (n, odd), slices in sorted(views.items(), reverse=True)[:4]:
        kind = " that are no cine" if odd else ""
        parts.append(f"{plural(slices, 'slice')} of {plural(n, 'phase')}{kind}")
    seen = "; ".join(parts) or plural(len(mr), "MR image")
    return f"no stack of 3 or more parallel cine slices over 20 mm was found, only {seen}. {need}."
