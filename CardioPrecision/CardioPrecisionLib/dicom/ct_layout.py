"""CT slices on one regular grid: spacing, missing slices, gantry tilt and the affine, all from ImagePositionPatient."""

from __future__ import annotations

from collections.abc import Sequence as Sequential
from dataclasses import dataclass, field

import numpy as np

from ..image import Array
from .findings import Finding, plural
from .planes import Plane
from .runs import axes_of

#: Planes closer than this along the normal are one slice (headers round positions to 0.01 or 0.1 mm).
SAME_PLACE_MM = 0.05
#: Slices may lie this share of the increment beside the even grid, or as far as a position rounded to 0.1 mm is wrong.
REGULAR = 0.1
ROUNDING_MM = 0.06
#: How far an origin may lie beside the straight line through all origins.
OFFSET_MM = 0.5
_TILT_DEG = 0.2


@dataclass
class CTLayout:
    """Slices of one volume on a regular grid.

    Attributes
    ----------
    planes : list of Plane
        One per acquired slice, along the normal.
    places : numpy.ndarray
        ``(n,)`` index ``k`` of every plane on the grid.
    n_slices : int
        Of the grid, with those that are missing.
    affine : numpy.ndarray
        ``(4, 4)`` index (i: column of the picture, j: row, k: slice along the normal) to RAS mm; sheared where the
        gantry was tilted.
    increment_mm : float
        Between slices, along the normal.
    tilt_deg : float
        Between the normal and the line on which the slices lie.
    error : str or None
        Why no number can stand on this volume.
    """

    planes: list[Plane]
    places: Array
    n_slices: int
    affine: Array
    increment_mm: float
    tilt_deg: float
    findings: list[Finding] = field(default_factory=list)
    error: str | None = None

    @property
    def missing(self) -> list[int]:
        return sorted(set(range(self.n_slices)) - set(self.places.tolist()))

    @property
    def extent_mm(self) -> float:
        return self.increment_mm * self.n_slices

    @property
    def axial(self) -> bool:
        """Whether the slices are closer to transverse than to coronal or sagittal."""
        normal = np.cross(self.affine[:3, 0], self.affine[:3, 1])
        return bool(np.abs(normal).argmax() == 2)


def depth_of(plane: Plane, normal: Array) -> float:
    """Place along the normal, mm."""
    return float(normal @ np.array(plane.position))


def lay_out_ct(planes: Sequential[Plane]) -> CTLayout:
    """Put slices of one orientation, each at its own place, on a regular grid.

    A volume with slices missing in between, or at uneven distances, is laid out with the gaps left open and carries
    an `error`: interpolated slices would make up calcium, or lose it.

    Parameters
    ----------
    planes : sequence of Plane
        At least two, no two at one place.
    """
    row, col, normal = axes_of(planes[0])
    planes = sorted(planes, key=lambda p: depth_of(p, normal))
    origins = np.array([p.position for p in planes], float)
    depths = origins @ normal
    step, places, error, findings = _grid(depths)
    affine, tilt, offset = _affine(planes[0], row, col, normal, origins, places, step)
    if offset > OFFSET_MM:
        findings.append(
            Finding(
                "warning",
                "slice_offset",
                f"Slices lie up to {offset:.1f} mm beside the straight line of the others, within their plane; they "
                "are shown shifted there.",
            )
        )
    layout = CTLayout(planes, places, int(places[-1]) + 1, affine, round(step, 4), tilt, findings, error)
    layout.findings += _tilt_findings(planes, tilt)
    _judge_thickness(layout)
    return layout


def _grid(depths: Array) -> tuple[float, Array, str | None, list[Finding]]:
    """Increment, index of every slice, and what is wrong with the distances."""
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    holes = np.maximum(np.rint(gaps / usual).astype(int), 1) - 1
    places = np.concatenate([[0], np.cumsum(holes + 1)])
    step, start = np.polyfit(places, depths, 1) if len(places) > 2 else (usual, depths[0])
    beside = float(np.abs(depths - (start + step * places)).max())
    allowed = max(REGULAR * step, ROUNDING_MM)
    missing = int(holes.sum())
    if beside > allowed or np.abs(gaps / (holes + 1) - step).max() > 2 * allowed:
        text = (
            f"The slices are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm apart); no volume can be built "
            "on them."
        )
        bad = int((np.abs(gaps - usual) > allowed).sum())
        return float(step), places, text, [Finding("error", "spacing_uneven", text, max(bad, 1))]
    if missing:
        if missing > len(depths):  # slices far away from the others: too much emptiness to lay out
            places = np.arange(len(depths))
        text = (
            f"{plural(missing, 'interior slice is', 'interior slices are')} missing (a gap of up to {gaps.max():.1f} "
            f"mm at an increment of {step:.2f} mm)."
        )
        return float(step), places, text, [Finding("error", "slices_missing", text, missing)]
    if beside > max(0.02 * step, ROUNDING_MM):
        text = (
            f"The slice increment varies from {gaps.min():.2f} to {gaps.max():.2f} mm; the slices were brought to an "
            "even distance."
        )
        return float(step), places, None, [Finding("warning", "spacing_uneven", text)]
    return float(step), places, None, []


def _affine(
    first: Plane, row: Array, col: Array, normal: Array, origins: Array, places: Array, step: float
) -> tuple[Array, float, float]:
    """Affine in RAS, tilt in degrees, and how far origins lie beside their line (mm)."""
    spacing = first.pixel_spacing
    assert spacing is not None
    centred = places - places.mean()
    slope = centred @ (origins - origins.mean(axis=0)) / (centred @ centred)
    inplane = slope - normal * (normal @ slope)
    shear = float(np.linalg.norm(inplane))
    tilt = float(np.degrees(np.arctan2(shear, abs(step))))
    if tilt < _TILT_DEG:  # rounding of the positions, no tilt
        inplane = np.zeros(3)
        tilt = 0.0
    direction = inplane + normal * step
    # The median over slices keeps a slice that lies beside the others from pulling the whole volume along.
    start = np.median(origins - np.outer(places, direction), axis=0)
    expected = start + np.outer(places, direction)
    away = origins - expected
    away -= np.outer(away @ normal, normal)
    affine = np.eye(4)
    affine[:3, 0] = row * spacing[1]  # PixelSpacing is (between rows, between columns)
    affine[:3, 1] = col * spacing[0]
    affine[:3, 2] = direction
    affine[:3, 3] = start
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, tilt, float(np.linalg.norm(away, axis=1).max())


def _tilt_findings(planes: list[Plane], tilt: float) -> list[Finding]:
    said = [abs(p.ct.tilt_deg) for p in planes if p.ct and p.ct.tilt_deg is not None]
    header = float(np.median(said)) if said else 0.0
    if tilt:
        return [
            Finding(
                "info",
                "gantry_tilt",
                f"The slices are sheared by {tilt:.1f} degrees (tilted gantry); their places in space were kept.",
            )
        ]
    if header > 1.0:
        return [
            Finding(
                "warning",
                "tilt_disagrees",
                f"The header names a gantry tilt of {header:.1f} degrees but the slice positions show none; positions "
                "in space may be wrong, areas and volumes within slices are not.",
            )
        ]
    return []


def _judge_thickness(layout: CTLayout) -> None:
    """Slices that overlap, lie apart, or differ in thickness."""
    known = np.array([p.thickness for p in layout.planes if p.thickness])
    if not known.size:
        layout.findings.append(Finding("warning", "no_thickness", "The header does not give the slice thickness."))
        return
    thickness, step = float(np.median(known)), layout.increment_mm
    if np.ptp(known) > 0.05 * thickness:
        layout.findings.append(
            Finding(
                "warning",
                "thickness_varies",
                f"The slice thickness varies from {known.min():g} to {known.max():g} mm within the series.",
            )
        )
    if step < 0.98 * thickness - 0.02:
        layout.findings.append(
            Finding("info", "overlap", f"Slices overlap: {thickness:g} mm thick every {step:.2f} mm.")
        )
    elif step > 1.9 * thickness:
        text = (
            f"The slices are {thickness:g} mm thick but lie {step:.1f} mm apart; what lies between them was not imaged."
        )
        layout.error = layout.error or text
        layout.findings.append(Finding("error", "slices_far_apart", text))
    elif step > 1.1 * thickness + 0.02:
        layout.findings.append(
            Finding(
                "warning",
                "slices_far_apart",
                f"The slices are {thickness:g} mm thick and lie {step:.2f} mm apart; there are gaps between them.",
            )
        )
