"""Whether the labels can be what they are taken for: findings that become warnings or ``not_assessable``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from CardioPrecisionLib.image import Array

from .segments import LV, MYOCARDIUM, RV

#: An end slice with more than this share of the largest cavity area is a cut, not an end.
CUT_SHARE_BASE = 0.6
CUT_SHARE_APEX = 0.5
MIN_LV_ML = 5.0
MIN_RELATIVE_CHANGE = 0.02
MASS_CHANGE = 0.25
STROKE_MISMATCH = 0.4


@dataclass
class Plausibility:
    """What was found.

    Attributes
    ----------
    warnings : list of str
    lv_missing : str or None
        Why no left ventricle was found.
    rv_missing : str or None
    volumes_cut : str or None
        Why volumes, EF and mass cannot be assessed.
    no_motion : str or None
        Why the ejection fraction cannot be assessed.
    """

    warnings: list[str] = field(default_factory=list)
    lv_missing: str | None = None
    rv_missing: str | None = None
    volumes_cut: str | None = None
    no_motion: str | None = None


def slice_areas(labels: Array, value: int) -> Array:
    """Voxels of one label per slice ``(k,)`` of a frame."""
    counts: Array = (labels == value).sum(axis=(0, 1))
    return counts


def check(labels: Array, ed: int, es: int, volumes_ml: Array, slice_mm: float) -> Plausibility:
    """Look at the labels of ED and ES and at the volumes of all frames.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(t, i, j, k)``.
    ed, es : int
    volumes_ml : numpy.ndarray
        ``(t, 3)``: LV cavity, LV myocardium, RV cavity.
    slice_mm : float
    """
    found = Plausibility()
    lv, myocardium, rv = volumes_ml[:, 0], volumes_ml[:, 1], volumes_ml[:, 2]
    if lv[ed] < MIN_LV_ML:
        found.lv_missing = f"No left ventricle was found (at most {lv[ed]:.1f} mL of cavity in any frame)."
        return found
    if rv[ed] < MIN_LV_ML:
        found.rv_missing = f"No right ventricle was found ({rv[ed]:.1f} mL of cavity at end-diastole)."
        found.warnings.append(found.rv_missing)
    _ends(labels[ed], found)
    _holes(labels, ed, es, slice_mm, found)
    if ed != es:
        change = (lv[ed] - lv[es]) / lv[ed]
        if change < MIN_RELATIVE_CHANGE:
            found.no_motion = (
                f"The cavity is the same at end-diastole and end-systole ({lv[ed]:.1f} and {lv[es]:.1f} mL): "
                "the frames do not show a heart beat."
            )
        if myocardium[ed] > 0 and myocardium[es] > 0:
            drift = abs(myocardium[ed] - myocardium[es]) / ((myocardium[ed] + myocardium[es]) / 2)
            if drift > MASS_CHANGE:
                found.warnings.append(
                    f"The myocardial volume differs by {100 * drift:.0f} % between end-diastole "
                    f"({myocardium[ed]:.0f} mL) and end-systole ({myocardium[es]:.0f} mL): check both outlines."
                )
        if not found.rv_missing and not found.no_motion:
            lv_sv, rv_sv = lv[ed] - lv[es], rv[ed] - rv[es]
            if abs(lv_sv - rv_sv) > STROKE_MISMATCH * max(lv_sv, rv_sv):
                found.warnings.append(
                    f"The stroke volumes of the ventricles differ ({lv_sv:.0f} mL left, {rv_sv:.0f} mL right): "
                    "valve regurgitation, a shunt, or an outline that is wrong."
                )
    if myocardium[ed] <= 0:
        found.warnings.append("No LV myocardium was labelled at end-diastole: mass and wall thickness are missing.")
    return found


def _ends(labels: Array, found: Plausibility) -> None:
    areas = slice_areas(labels, LV).astype(float)
    share = areas / areas.max()
    rv = slice_areas(labels, RV).astype(float)
    seen = np.flatnonzero(areas)
    first, last = int(seen[0]), int(seen[-1])
    # A ventricle tapers to its apex and ends abruptly at its base (ties: the base has more right ventricle).
    base_first = (share[first], rv[first]) >= (share[last], rv[last])
    base_slice, apex_slice = (first, last) if base_first else (last, first)
    edge = (0, len(areas) - 1)
    base = share[base_slice] if base_slice in edge else 0.0
    apex = share[apex_slice] if apex_slice in edge else 0.0
    n = seen.size
    if n < 3:
        found.volumes_cut = f"The left ventricle was found in {n} slice{'s' * (n != 1)} only; three are needed."
    elif apex > CUT_SHARE_APEX:
        found.volumes_cut = (
            f"The stack ends inside the ventricle: its apical end slice still holds {100 * apex:.0f} % of the largest "
            "cavity area, so that part of the ventricle was not imaged."
        )
    elif base > CUT_SHARE_BASE:
        found.warnings.append(
            f"The most basal slice of the stack still holds {100 * base:.0f} % of the largest cavity area: "
            "the base may not be covered, and the volumes may be too small."
        )


def _holes(labels: Array, ed: int, es: int, slice_mm: float, found: Plausibility) -> None:
    for name, frame in (("end-diastole", ed), ("end-systole", es)) if ed != es else (("the frame", ed),):
        present = np.flatnonzero(slice_areas(labels[frame], LV) + slice_areas(labels[frame], MYOCARDIUM))
        if present.size and present[-1] - present[0] + 1 > present.size:
            empty = sorted(set(range(present[0], present[-1] + 1)) - set(present.tolist()))
            found.warnings.append(
                f"Slice {', '.join(str(e + 1) for e in empty)} holds no left ventricle at {name} although its "
                f"neighbours do: the volumes are too small by about {len(empty)} slice{'s' * (len(empty) > 1)} of "
                f"{slice_mm:.1f} mm."
            )
