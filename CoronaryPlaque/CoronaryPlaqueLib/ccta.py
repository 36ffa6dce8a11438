"""Coronary CT angiography: arteries, stenosis, plaque, CAD-RADS. The analysis."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from CardioPrecisionLib.analysis import Input, LabelMap, Loaded, Progress, Result, part
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.measurement import Measurements, Patient
from CardioPrecisionLib.polyline import even_steps
from CardioPrecisionLib.record import file_sha256

from . import ccta_input
from .cadrads import CadRads, Entered, Ischaemia, cad_rads
from .ccta_drawing import draw, pericoronary_fat
from .ccta_labels import LUMEN, SEGMENTS, WALL, radii_of
from .ccta_quality import at_aorta, check_seeds, same_vessel
from .ccta_rows import reading_rows
from .ccta_site_rows import fat_rows, features, high_risk_row, site_rows, unread
from .ccta_tables import centreline_document, course_document, lesion_table, segment_table
from .ccta_vessels import Tree, build_tree, with_borders
from .centreline import Centreline, noise_of, trace_all
from .course import CourseParameters, VesselCourse, measure_vessel
from .high_risk import high_risk_plaque
from .involvement import Involvement, involvement
from .labelling import label_segments
from .management import Setting, management
from .partings import with_partings
from .plaque_burden import PlaqueBurden, plaque_burden
from .seeds import VesselSeeds, read_seeds
from .segments import MAJOR_VESSELS, Dominance, segments_of
from .side_branches import without_branches
from .side_by_side import side_by_side

HEADLINE = (
    "cad_rads",
    "plaque_burden_grade",
    "diameter_stenosis",
    "segment_involvement_score",
    "plaque_volume",
    "percent_atheroma_volume",
)
_ISCHAEMIA = {"present": Ischaemia.PRESENT, "absent": Ischaemia.ABSENT, "borderline": Ischaemia.BORDERLINE}


@dataclass(frozen=True)
class CCTAParameters:
    """Parameters of `CoronaryCTA`.

    Attributes
    ----------
    dominance : {"right", "left", "codominant"}
        Which artery gives the posterior descending artery; told from the arteries if not given.
    setting : {"stable", "acute"}
        How the patient came; chooses the management text.
    stent : bool
        A stent lies in the coronary arteries (modifier S).
    graft : bool
        There are bypass grafts (modifier G).
    exceptions : bool
        A finding other than atherosclerosis (modifier E).
    ischaemia : {"present", "absent", "borderline"}
        Result of CT-FFR or stress perfusion (modifier I).
    high_risk_plaque : {"present", "absent"}
        What the reader sees instead of what was measured (modifier HRP).
    cac_agatston : float or None
        Agatston score of the same patient, for the plaque burden; also from the clinical file.
    lumen_adaptive : bool
        Calcified plaque begins above the lumen where the lumen is brighter than 350 HU.
    figures : bool
        Draw the figures of the report.
    """

    dominance: str | None = None
    setting: str = "stable"
    stent: bool = False
    graft: bool = False
    exceptions: bool = False
    ischaemia: str | None = None
    high_risk_plaque: str | None = None
    cac_agatston: float | None = field(default=None, metadata={"clinical": "cac_agatston"})
    lumen_adaptive: bool = True
    figures: bool = True

    def __post_init__(self) -> None:
        for name, known in (
            ("dominance", tuple(Dominance)),
            ("setting", tuple(Setting)),
            ("ischaemia", tuple(_ISCHAEMIA)),
            ("high_risk_plaque", ("present", "absent")),
        ):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise InputError(f"{name.replace('_', '-')} '{value}' is not known; use {', '.join(known)}.")
        if self.cac_agatston is not None and not 0 <= float(self.cac_agatston) < 100_000:
            raise InputError(f"cac-agatston is {self.cac_agatston:g}; a calcium score is 0 or more.")

    def entered(self, measured: bool | None) -> Entered:
        """Modifiers as the rule takes them; high-risk plaque as measured unless the reader says otherwise."""
        hrp = measured if self.high_risk_plaque is None else self.high_risk_plaque == "present"
        ischaemia = _ISCHAEMIA[self.ischaemia] if self.ischaemia else None
        return Entered(hrp, ischaemia, self.stent, self.graft, self.exceptions)


@dataclass(frozen=True, eq=False)
class Reading:
    """What follows from the tree for the patient."""

    result: CadRads
    involved: Involvement
    burden: PlaqueBurden
    high_risk: bool | None


class CoronaryCTA:
    """Coronary arteries on CT angiography, between a reader's points or found: stenosis, plaque and CAD-RADS."""

    name: ClassVar[str] = "plaque"
    title: ClassVar[str] = "Coronary CT angiography"
    inputs: ClassVar[tuple[Input, ...]] = (
        Input("ccta", "Coronary CT angiogram"),
        Input(
            "seeds",
            "Ostium and distal point by vessel (Slicer .mrk.json, or CSV); else searched for",
            False,
        ),
        Input("centrelines", "Middle lines (centrelines.mrk.json of a run): nothing is traced", False),
    )
    Parameters: ClassVar[type] = CCTAParameters
    segments: ClassVar = SEGMENTS
    label_schemes: ClassVar = {"cardioprecision": {s.value: s.value for s in SEGMENTS}}
    time_resolved: ClassVar[bool] = False
    bundles: ClassVar[tuple[str, ...]] = ()

    def load(self, role: str, path: str, progress: Progress) -> Loaded:
        """Read the angiogram (see `ccta_input.load`) or points on vessels (see `seeds.read_seeds`)."""
        if role == "ccta":
            return ccta_input.load(path, progress)
        facts = {"kind": role, "source": Path(path).name, "sha256": file_sha256(Path(path))}
        return Loaded(read_seeds(path), record=facts)

    def run(
        self,
        inputs: Mapping[str, Loaded],
        parameters: CCTAParameters,
        progress: Progress,
        *,
        patient: Patient,
        labels: LabelMap | None = None,
    ) -> Result:
        """Measure the arteries and read the study.

        Parameters
        ----------
        inputs : mapping
            ``ccta``: an `Image` in HU; ``seeds`` or ``centrelines``: tuples of `VesselSeeds`.
        parameters : CCTAParameters
        progress : callable
        patient : Patient
        labels : LabelMap, optional
            A reader's lumen, wall and plaque as in `ccta_labels`: borders are taken from it instead of from the image.

        Raises
        ------
        InputError
            A point lies outside of the image, the CT holds no contrast, or without points no artery was found.
        """
        loaded = inputs["ccta"]
        image: Image = loaded.data
        result = Result(record={"seconds": {}, "headline": list(HEADLINE)})
        seconds = result.record["seconds"]
        source = str(loaded.record.get("source") or "image file")
        coarse = ccta_input.too_coarse(image, loaded.record)
        if coarse:
            result.warnings.append(coarse)

        started = time.perf_counter()
        lines, not_traced = _lines(image, inputs, part(progress, 0.0, 0.35))
        seconds["centrelines"] = time.perf_counter() - started

        started = time.perf_counter()
        arteries = _measured(image, lines, parameters, labels, part(progress, 0.35, 0.65), result)
        dominance = Dominance(parameters.dominance) if parameters.dominance else None
        named = label_segments({name: a.line for name, a in arteries.items()}, dominance)
        tree = build_tree(image, arteries, named, not_traced, coarse)
        seconds["lumen and plaque"] = time.perf_counter() - started
        result.warnings += [*not_traced.values(), *named.notes]

        started = time.perf_counter()
        progress(0.66, "Reading")
        read = _read(tree, parameters, coarse)
        method = "a reader's labels" if labels is not None else "borders found in the image"
        numbers = segments_of(named.dominance)
        result.record["dominance"] = str(named.dominance)
        result.measurements = _rows(tree, read, parameters, numbers, source, method)
        result.measurements.extend(fat_rows(pericoronary_fat(image, tree), source))
        result.tables += [segment_table(tree, numbers), lesion_table(tree)]
        result.documents |= {"centrelines.mrk": centreline_document(tree), "courses": course_document(tree)}
        drawn = draw(image, tree)
        result.labels = LabelMap(drawn[None], image.affine, SEGMENTS)
        seconds["read"] = time.perf_counter() - started
        if parameters.figures:
            from .ccta_report import make_report

            started = time.perf_counter()
            advice = management(read.result, parameters.setting)
            figures, sections = make_report(image, tree, read, advice, parameters.setting, part(progress, 0.72, 1.0))
            result.figures, result.sections = figures, sections
            seconds["figures"] = time.perf_counter() - started
        progress(1.0, "Done")
        return result


# -- lines -------------------------------------------------------------------------------------------------------------
def _lines(
    image: Image, inputs: Mapping[str, Loaded], progress: Progress
) -> tuple[dict[str, Centreline], dict[str, str]]:
    """Middle lines of the arteries, given or traced, and why some are not there."""
    given = inputs.get("centrelines")
    seeds = given or inputs.get("seeds")
    if seeds is None:
        from .automatic import find_tree

        found = find_tree(image, progress)
        if not found.lines:
            raise InputError(
                "No coronary artery was found by itself. Give ostium and distal point of each with --seeds POINTS "
                f"(a Slicer .mrk.json, or a CSV with vessel, role, r, a, s). {' '.join(found.not_found.values())}"
            )
        return dict(found.lines), dict(found.not_found)
    points: tuple[VesselSeeds, ...] = seeds.data
    check_seeds(image, points)
    if given is not None:
        lines = {one.vessel: _as_line(image, one) for one in points}
        return lines, {}
    lines, reasons = trace_all(image, points, progress=progress)
    for one in points:
        if one.vessel in lines and one.vessel in ("LM", *MAJOR_VESSELS) and not at_aorta(image, one.ostium):
            reasons[one.vessel] = (
                f"{one.vessel}: there is no aorta at its ostium point; set the point where the artery leaves the "
                "aorta, or the aorta is not in view."
            )
    reasons |= same_vessel({name: line.points for name, line in lines.items() if name not in reasons})
    return {name: line for name, line in lines.items() if name not in reasons}, reasons


def _as_line(image: Image, one: VesselSeeds) -> Centreline:
    points = even_steps(one.points, 0.4)
    unknown = np.full(len(points), np.nan)
    return Centreline(one.vessel, points, unknown, unknown, (), noise_of(image))


def _measured(
    image: Image,
    lines: Mapping[str, Centreline],
    parameters: CCTAParameters,
    labels: LabelMap | None,
    progress: Progress,
    result: Result,
) -> dict[str, VesselCourse]:
    how = CourseParameters(lumen_adaptive=parameters.lumen_adaptive)

    def measured(name: str, _: Progress) -> VesselCourse:
        line = lines[name]
        known = bool(np.isfinite(line.lumen_hu).all())
        course = measure_vessel(
            image, line.points, name, how, lumen_hu=line.lumen_hu if known else None, noise_hu=line.noise_hu
        )
        return _from_labels(image, course, labels, how) if labels is not None else without_branches(image, course)

    courses = side_by_side(measured, lines, progress, lambda name: f"{name}: lumen and wall")
    made = dict(zip(lines, courses, strict=True))
    for name, course in made.items():
        for stretch in course.unusable:
            where = f"{name}, {stretch.start_mm:.0f} to {stretch.end_mm:.0f} mm from its ostium"
            result.warnings.append(f"{where}: {stretch.reason.rstrip('.')}; segments there are not read.")
    return with_partings(image, made, how)


def _from_labels(image: Image, course: VesselCourse, labels: LabelMap, how: CourseParameters) -> VesselCourse:
    array: Array = labels.array[0]
    angles = course.lumen.shape[1]

    def reach(mask: Array) -> Array:
        return radii_of(Image(mask.astype(np.uint8), labels.affine), course.line, angles)

    lumen, plaque = reach(array == LUMEN), reach((array > 0) & (array != WALL))
    drawn = plaque.max(1) > 0
    thick = reach(array > 0)[drawn] - plaque[drawn]
    normal = float(np.median(thick)) if (array == WALL).any() and thick.size else 0.0
    return with_borders(image, course, lumen, plaque, max(normal, 0.0), how.reference_mm)


# -- reading -----------------------------------------------------------------------------------------------------------
def _read(tree: Tree, parameters: CCTAParameters, coarse: str | None) -> Reading:
    readings = tree.readings()
    involved = involvement(readings)
    burden = plaque_burden(cac_agatston=parameters.cac_agatston, sis=involved.sis, stent=parameters.stent)
    measured = None if tree.plaque_reason else high_risk_plaque(features(n) for n in tree.lesions)
    if measured is False and (not readings.read or unread(tree.of(None))):
        measured = None  # what was not seen may hold one
    entered = parameters.entered(measured)
    # Not a reading of N: a grid that was too coarse from the start was not read at all.
    result = CadRads(None, None, reason=coarse) if coarse else cad_rads(readings, entered, burden)
    return Reading(result, involved, burden, entered.high_risk_plaque)


def _rows(
    tree: Tree, read: Reading, parameters: CCTAParameters, numbers: tuple[int, ...], source: str, method: str
) -> Measurements:
    rows = reading_rows(read.result, read.involved, read.burden, source=source)
    rows.add(high_risk_row(read.high_risk, parameters.high_risk_plaque is not None, source))
    rows.extend(site_rows(tree, numbers, source, method))
    return rows
