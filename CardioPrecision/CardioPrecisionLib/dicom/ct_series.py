"""Which volumes the CT images of a folder make, and which of them an analysis should read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Sequential
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .ct_acquisition import CTAcquisition, acquisition_of
from .ct_layout import SAME_PLACE_MM, CTLayout, depth_of, lay_out_ct
from .findings import Finding, plural
from .planes import Plane
from .runs import angle_deg, axes_of

Prefer = Literal["noncontrast", "contrast"]

MIN_SLICES = 3
#: The heart's length along the body with a little reserve for how it was centred.
HEART_MM = 100.0
_PARALLEL_DEG = 0.1
_NEARLY_PARALLEL_DEG = 30.0

_CT_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{n}"
    for n in ("2", "2.1", "2.2")  # CT, Enhanced CT, Legacy Converted Enhanced CT
)
_NO_SLICE = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
_NO_IMAGE = frozenset(
    {"SCREEN SAVE", "DOSE_INFO", "DOSE", "DOSE REPORT", "PATIENT PROTOCOL", "PATIENT_PROTOCOL", "SECAPTURE"}
)
_REFORMAT = re.compile(
    r"mpr\b|\bc?mip\b|\bmin_?ip\b|minip|reformat|projection|\bcpr\b|curved|\bvrt?\b|volume.?render|\b3d\b", re.I
)
_REFORMAT_TEXT = re.compile(r"\b(t?mip|minip|mpr|cpr|vrt|sag(it+al)?|cor(onal)?)\b", re.I)


@dataclass(eq=False)
class CTCandidate:
    """One volume that could be read.

    Attributes
    ----------
    layout : CTLayout
    acquisition : CTAcquisition
    reformatted : bool
        Made from another series (MPR, MIP): its values are interpolated or maxima.
    findings : list of Finding
        From sorting its series.
    """

    layout: CTLayout
    acquisition: CTAcquisition
    reformatted: bool
    findings: list[Finding] = field(default_factory=list)

    @property
    def first(self) -> Plane:
        return self.layout.planes[0]

    @property
    def phase(self) -> float | None:
        return self.first.ct.phase_percent if self.first.ct else None

    def title(self) -> str:
        """``series 5: 130 slices of 1 mm every 1.00 mm, kernel D (sharp), contrast not stated``."""
        a = self.acquisition
        number = self.first.series_number
        thick = f" of {a.thickness_mm:g} mm" if a.thickness_mm else ""
        parts = [f"{len(self.layout.planes)} slices{thick} every {a.increment_mm:.2f} mm"]
        if a.kernel:
            parts.append(f"kernel {a.kernel}" + (" (sharp)" if a.sharp_kernel else ""))
        parts.append({True: "with contrast", False: "without contrast", None: "contrast not stated"}[a.contrast])
        if a.gated:
            parts.append("gated" + (f" at {self.phase:g} %" if self.phase is not None else ""))
        if self.reformatted:
            parts.append("reformatted")
        return ("a series without number: " if number is None else f"series {number}: ") + ", ".join(parts)


def is_ct(plane: Plane) -> bool:
    return plane.modality == "CT"


def why_not(plane: Plane) -> str | None:
    """Why a CT image cannot be part of a volume; None where it can."""
    words = {w.upper() for w in plane.image_type}
    if words & _NO_SLICE:
        return "localizer"
    if plane.stored.samples != 1:
        return "not_grayscale"
    if words & _NO_IMAGE or (plane.sop_class and plane.sop_class not in _CT_CLASSES):
        return "secondary_capture"
    return None if plane.has_geometry else "no_geometry"


_SENTENCES = {
    "localizer": ("info", "localiser"),
    "not_grayscale": ("info", "colour picture"),
    "secondary_capture": ("info", "secondary capture or dose report"),
    "no_geometry": ("warning", "CT image without usable position, orientation or pixel spacing"),
}


def sort_out(planes: Iterable[Plane]) -> tuple[list[Plane], list[Finding]]:
    """Planes that can be part of a CT volume, and what was left out."""
    usable, reasons, other = [], Counter[str](), Counter[str]()
    for p in planes:
        if not is_ct(p):
            other[p.modality or "unknown"] += 1
            continue
        reason = why_not(p)
        if reason is None:
            usable.append(p)
        else:
            reasons[reason] += 1
    findings = []
    if other:
        text = ", ".join(f"{plural(n, 'image')} of modality {name}" for name, n in sorted(other.items()))
        findings.append(Finding("info", "other_modality", f"Not CT and not used: {text}.", sum(other.values())))
    for code, n in sorted(reasons.items()):
        severity, what = _SENTENCES[code]
        many = what.replace("capture or", "captures or").replace("image without", "images without")
        many = many if many != what and code != "secondary_capture" else what + "s"
        text = f"{plural(n, what, many)} not used."
        findings.append(Finding(severity, code, text, n))  # type: ignore[arg-type]
    return usable, findings


def candidates_of(planes: Iterable[Plane]) -> tuple[list[CTCandidate], list[Plane]]:
    """Volumes of at least three slices, and the planes that belong to none."""
    by_series: dict[tuple[str, str], list[Plane]] = defaultdict(list)
    for p in planes:
        by_series[p.study_uid, p.series_uid].append(p)
    found: list[CTCandidate] = []
    left: list[Plane] = []
    for members in by_series.values():
        volumes, rest = _volumes_of(members)
        found += volumes
        left += rest
    return found, left


def _volumes_of(members: list[Plane]) -> tuple[list[CTCandidate], list[Plane]]:
    """The volumes of one series: usually one; one per phase of a series that holds several."""
    grids = _grids_of(members)
    volumes: list[CTCandidate] = []
    left: list[Plane] = []
    for n, grid in enumerate(grids):
        built: list[CTCandidate] = []
        for part in _phases_of(grid):
            single, repeated = _one_per_place(part)
            if len(single) < MIN_SLICES:
                left += part
                continue
            layout = lay_out_ct(single)
            built.append(
                CTCandidate(
                    layout, acquisition_of(layout.planes, layout.increment_mm), _is_reformat(layout.planes[0]), repeated
                )
            )
        if n == 0:
            for volume in built:
                volume.findings += [_odd_one(grid, other) for other in grids[1:]]
        volumes += built
    return volumes, left


def _is_reformat(plane: Plane) -> bool:
    """MPR, MIP and the like, by image type, or by description where the image is derived."""
    if any(_REFORMAT.search(word) for word in plane.image_type):
        return True
    derived = bool(plane.image_type) and plane.image_type[0].upper() == "DERIVED"
    return derived and plane.ct is not None and bool(_REFORMAT_TEXT.search(plane.ct.series_text))


def _grids_of(members: list[Plane]) -> list[list[Plane]]:
    """Planes of one matrix, pixel spacing and orientation; the largest group first."""
    exact: dict[tuple[Any, ...], list[Plane]] = defaultdict(list)
    for p in members:
        exact[p.rows, p.cols, p.pixel_spacing, p.orientation].append(p)
    grids: list[list[Plane]] = []
    for group in sorted(exact.values(), key=len, reverse=True):
        home = next((g for g in grids if _same_grid(g[0], group[0])), None)
        if home is None:
            grids.append(list(group))
        else:
            home += group
    return sorted(grids, key=len, reverse=True)


def _same_grid(a: Plane, b: Plane) -> bool:
    (row_a, col_a, _), (row_b, col_b, _) = axes_of(a), axes_of(b)
    return (
        (a.rows, a.cols) == (b.rows, b.cols)
        and np.allclose(a.pixel_spacing or (), b.pixel_spacing or (), rtol=1e-3)
        and angle_deg(row_a, row_b) < _PARALLEL_DEG
        and angle_deg(col_a, col_b) < _PARALLEL_DEG
    )


def _odd_one(grid: list[Plane], other: list[Plane]) -> Finding:
    """What the smaller group of one series is."""
    a, b, n = grid[0], other[0], len(other)
    tilt = angle_deg(axes_of(a)[2], axes_of(b)[2])
    tilt = min(tilt, 180.0 - tilt)
    if (a.rows, a.cols) != (b.rows, b.cols):
        code, text = "grid_differs", f"of {b.cols} x {b.rows} pixels left out: the series has {a.cols} x {a.rows}."
    elif tilt >= _NEARLY_PARALLEL_DEG:
        code, text = "orientation_differs", "of another orientation in the same series left out."
    elif tilt >= _PARALLEL_DEG:
        code, text = "non_parallel_slice", f"tilted by {tilt:.1f} degrees against the others left out."
    elif angle_deg(axes_of(a)[0], axes_of(b)[0]) >= _PARALLEL_DEG:
        code, text = "orientation_differs", "turned within the plane against the others left out."
    else:
        code, text = "grid_differs", "of another pixel size in the same series left out."
    return Finding("warning", code, f"{plural(n, 'slice')} {text}", n)


# -- several images at one place ---------------------------------------------------------------------------------------
def _places_of(planes: Sequential[Plane]) -> list[list[Plane]]:
    normal = axes_of(planes[0])[2]
    places: list[list[Plane]] = []
    last = -np.inf
    for depth, p in sorted(((depth_of(p, normal), p) for p in planes), key=lambda pair: pair[0]):
        if depth - last > SAME_PLACE_MM:
            places.append([])
            last = depth
        places[-1].append(p)
    return places


_PHASE_KEYS: tuple[Callable[[Plane], Any], ...] = (
    lambda p: p.ct.phase_percent if p.ct else None,
    lambda p: p.trigger_ms,
    lambda p: p.temporal_position,
    lambda p: (p.ct.kernel if p.ct else "", p.thickness),
    lambda p: p.acquisition_number,
    lambda p: p.acquired_s,
)


def _phases_of(planes: list[Plane]) -> list[list[Plane]]:
    """Take apart a series that holds several volumes of the same slices (cardiac phases, repeated passes)."""
    places = _places_of(planes)
    if sum(len(place) > 1 for place in places) < 0.5 * len(places):
        return [planes]
    for key in _PHASE_KEYS:
        groups: dict[Any, list[Plane]] = defaultdict(list)
        for p in planes:
            groups[key(p)].append(p)
        parts = list(groups.values())
        distinct = all(len(_places_of(part)) >= 0.95 * len(part) for part in parts)
        if len(parts) > 1 and distinct and min(map(len, parts)) >= 0.5 * len(places):
            return parts
    return [planes]


def _one_per_place(planes: Sequential[Plane]) -> tuple[list[Plane], list[Finding]]:
    """The latest image of every place."""
    places = _places_of(planes)
    repeated = sum(len(place) > 1 for place in places)
    latest = [max(place, key=lambda p: p.moment) for place in places]
    if not repeated:
        return latest, []
    return latest, [
        Finding(
            "warning",
            "slice_repeated",
            f"{plural(repeated, 'slice')} of {len(places)} came more than once at the same place; the latest image "
            "was used.",
            repeated,
        )
    ]


# -- which one ---------------------------------------------------------------------------------------------------------
def suitability(candidate: CTCandidate, prefer: Prefer) -> tuple[Any, ...]:
    """How well a volume suits; the greatest is taken.

    In order of weight: regular slices; no reformat; close to transverse; contrast as preferred; the heart's length
    covered; no sharp kernel; gated; original before derived; thickness (closest to 3 mm for calcium, as the Agatston
    score is defined; thinnest for contrast); the cardiac phase closest to 75 %; more slices; the latest.
    """
    a, layout = candidate.acquisition, candidate.layout
    thickness = a.thickness_mm or a.increment_mm
    wanted = prefer == "contrast"
    return (
        layout.error is None,
        not candidate.reformatted,
        layout.axial,
        {wanted: 2, None: 1}.get(a.contrast, 0),
        layout.extent_mm >= HEART_MM,
        a.sharp_kernel is not True,
        a.gated is True,
        not (candidate.first.image_type and candidate.first.image_type[0].upper() == "DERIVED"),
        -round(thickness, 1) if wanted else -round(abs(thickness - 3.0), 1),
        0.0 if candidate.phase is None else -abs(candidate.phase - 75.0),
        len(layout.planes),
        max(p.moment for p in layout.planes),
    )


def choice_finding(chosen: CTCandidate, others: Sequential[CTCandidate], prefer: Prefer, asked: bool) -> Finding | None:
    """Which volume was taken among which; a warning where only number and time of the images decided."""
    if not others:
        return None
    listed = "; ".join(c.title() for c in others[:4]) + ("; …" if len(others) > 4 else "")
    why = "as asked" if asked else f"for use {'with' if prefer == 'contrast' else 'without'} contrast"
    close = not asked and suitability(others[0], prefer)[:-2] == suitability(chosen, prefer)[:-2]
    return Finding(
        "warning" if close else "info",
        "series_chosen",
        f"Of {len(others) + 1} CT volumes, {chosen.title()} was taken {why}. Not used: {listed}.",
        len(others),
    )
