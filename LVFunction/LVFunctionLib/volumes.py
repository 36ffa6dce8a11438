"""Volumes, ejection fraction and mass of both ventricles from cine short-axis CMR: the analysis."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from CardioPrecisionLib.analysis import Input, LabelMap, Loaded, Progress, Result, Table, part
from CardioPrecisionLib.body import body_surface_area
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Sequence
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient

from . import cine, plausibility, reference
from . import function as fn
from .intervals import Interval, intervals
from .phases import MIN_PHASES_FOR_RATES, Phases, find_phases, rates
from .postprocess import clean, clean_frames
from .rows import VOLUMES, Context, output_rows, rate_rows, unit, volume_rows
from .segments import FROM_ACDC, LV, MYOCARDIUM, RV, SEGMENTS
from .thickness import SECTORS, Clock, WallThickness, clock, wall_thickness

BUNDLE = "cine_sax_ventricles"
PAPILLARY = "papillary muscles and trabeculae counted to the cavity"


@dataclass(frozen=True)
class LVParameters:
    """Parameters of `LVVolumes`.

    Attributes
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
    precision : {"auto", "float32", "bfloat16", "float16"}
    deterministic : bool
        Same input, same bytes of labels.
    tta : {1, 2, 4, 8}
        Mirrored and turned copies averaged at end-diastole and end-systole; they also carry the intervals.
    ed_frame, es_frame : int or None
        Frames counted from 1, where the reader knows better than the volume curve.
    threads : int or None
        CPU threads of the network; None takes what torch takes.
    figures : bool
        Draw the figures of the report.
    """

    device: str = "auto"
    precision: str = "auto"
    deterministic: bool = True
    tta: int = 4
    ed_frame: int | None = None
    es_frame: int | None = None
    threads: int | None = None
    figures: bool = True

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise InputError(f"device '{self.device}' is not known; use auto, cpu, cuda or mps.")
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise InputError(f"precision '{self.precision}' is not known; use auto, float32, bfloat16 or float16.")
        if self.tta not in (1, 2, 4, 8):
            raise InputError(f"tta {self.tta} cannot be used; use 1, 2, 4 or 8.")
        for name in ("ed_frame", "es_frame"):
            frame = getattr(self, name)
            if frame is not None and frame < 1:
                raise InputError(f"{name} {frame} cannot be used; frames are counted from 1.")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads {self.threads} cannot be used; use 1 or more.")


@dataclass
class _Outlined:
    """Labels of a study and where they come from."""

    labels: Array  # (t, i, j, k), this module's labels
    method: str
    phases: Phases
    volumes_ml: Array  # (t, 3)
    valid: Array  # (t,)
    areas_mm2: Array | None = None
    calibration: Mapping[str, Any] | None = None


def frame_volumes(labels: Array, voxel_ml: float) -> Array:
    """Volumes in mL ``(t, 3)`` of LV cavity, LV myocardium and RV cavity by slice summation.

    Slices are summed with their distance (thickness and gap): `voxel_ml` must come from the grid's affine.
    """
    counts = np.stack([np.bincount(frame.ravel(), minlength=4)[[LV, MYOCARDIUM, RV]] for frame in labels])
    volumes: Array = counts * voxel_ml
    return volumes


class LVVolumes:
    """Left and right ventricular volumes, ejection fraction and mass."""

    name: ClassVar[str] = "lv-function"
    title: ClassVar[str] = "Left and right ventricular function"
    inputs: ClassVar[tuple[Input, ...]] = (Input("cine_sax", "Cine short-axis MR stack"),)
    Parameters: ClassVar[type] = LVParameters
    segments: ClassVar = SEGMENTS
    label_schemes: ClassVar = {"cardioprecision": {1: LV, 2: MYOCARDIUM, 3: RV}, "acdc": FROM_ACDC}
    bundles: ClassVar[tuple[str, ...]] = (BUNDLE,)

    def load(self, role: str, path: str, progress: Progress) -> Loaded:
        """Read the cine study; see `LVFunctionLib.cine.load`."""
        return cine.load(path, progress)

    def run(
        self,
        inputs: Mapping[str, Loaded],
        parameters: LVParameters,
        progress: Progress,
        *,
        patient: Patient,
        labels: LabelMap | None = None,
    ) -> Result:
        """Measure both ventricles.

        Parameters
        ----------
        inputs : mapping
            ``cine_sax``: a `Loaded` with a `Sequence`.
        parameters : Parameters
        progress : callable
        patient : Patient
            Sex, age, height and weight index the volumes and choose the reference values.
        labels : LabelMap, optional
            A reader's labels on the input's grid, used instead of the model's. Frames without any label are taken as
            not outlined; ``key_frames`` may name ``ed`` and ``es``.
        """
        loaded = inputs["cine_sax"]
        sequence: Sequence = loaded.data
        result = Result(record={"seconds": {}})
        source = _source(sequence)
        if loaded.unusable:
            result.measurements = _all_missing(loaded.unusable, source)
            return result
        _frames_in_range(parameters, sequence.n_frames)
        if labels is not None:
            outlined = self._read_labels(sequence, labels, parameters)
        else:
            outlined = self._infer(sequence, parameters, part(progress, 0.0, 0.85), result)
        started = time.perf_counter()
        progress(0.86, "Measuring")
        self._measure(sequence, loaded, outlined, patient, source, result)
        result.record["seconds"]["measure"] = time.perf_counter() - started
        if parameters.figures:
            started = time.perf_counter()
            progress(0.9, "Drawing figures")
            self._draw(sequence, outlined, result)
            result.record["seconds"]["figures"] = time.perf_counter() - started
        progress(1.0, "Done")
        return result

    # -- labels --------------------------------------------------------------------------------------------------
    def _read_labels(self, sequence: Sequence, labels: LabelMap, parameters: LVParameters) -> _Outlined:
        array = np.asarray(labels.array)
        if array.shape != (sequence.n_frames, *sequence.shape):
            raise InputError(
                f"The labels have {array.shape[0]} frames of {array.shape[1:]} voxels, the cine has "
                f"{sequence.n_frames} of {sequence.shape}: they must lie on the same grid."
            )
        if not np.isin(array, (LV, MYOCARDIUM, RV)).any():
            raise InputError("The labels are empty: 1 is LV cavity, 2 LV myocardium, 3 RV cavity.")
        volumes = frame_volumes(array, sequence.voxel_ml)
        valid = volumes[:, 0] > 0
        if not valid.any():
            valid = volumes.sum(axis=1) > 0
        phases = self._phases(volumes, valid, sequence, parameters, labels.key_frames)
        return _Outlined(array, f"reader's labels; slice summation; {PAPILLARY} as drawn", phases, volumes, valid)

    def _infer(self, sequence: Sequence, parameters: LVParameters, progress: Progress, result: Result) -> _Outlined:
        from CardioPrecisionLib.bundle import registry
        from CardioPrecisionLib.bundle.engine import SliceEngine

        bundle = registry.get_bundle(BUNDLE)
        started = time.perf_counter()
        engine = SliceEngine(
            bundle,
            device=parameters.device,
            precision=parameters.precision,
            deterministic=parameters.deterministic,
            threads=parameters.threads,
        )
        found = engine.segment(sequence, progress=part(progress, 0.0, 0.75))
        result.warnings += found.warnings
        labels = clean_frames(relabel(found.labels))
        volumes = frame_volumes(labels, sequence.voxel_ml)
        valid = np.ones(sequence.n_frames, bool)
        phases = self._phases(volumes, valid, sequence, parameters, {})
        areas = None
        if parameters.tta > 1 and volumes[:, 0].max() > 0:
            frames = [phases.ed] if phases.ed == phases.es else [phases.ed, phases.es]
            refined = engine.segment(
                sequence, frames=frames, box=found.box, tta=parameters.tta, progress=part(progress, 0.75, 1.0)
            )
            for place, frame in enumerate(frames):
                labels[frame] = clean(relabel(refined.labels[place]))
            volumes[frames] = frame_volumes(labels[frames], sequence.voxel_ml)
            areas = refined.areas_mm2
            found.record["fallbacks"] = [*found.record["fallbacks"], *refined.record["fallbacks"]]
            result.record["refinement"] = {"frames": [f + 1 for f in frames], "tta": parameters.tta}
        result.record["model"] = found.record
        result.record["seconds"]["segment"] = time.perf_counter() - started
        version = bundle.metadata.get("version", "?")
        method = f"MONAI bundle {BUNDLE} {version}; slice summation; {PAPILLARY}"
        calibration = bundle.settings.get("intervals")
        if calibration and calibration["tta"] != parameters.tta:  # another number of copies spreads otherwise
            calibration = None
        return _Outlined(labels, method, phases, volumes, valid, areas, calibration)

    @staticmethod
    def _phases(
        volumes: Array, valid: Array, sequence: Sequence, parameters: LVParameters, named: Mapping[str, int]
    ) -> Phases:
        found = find_phases(volumes[:, 0], valid, sequence.full_cycle)
        ed = parameters.ed_frame - 1 if parameters.ed_frame else named.get("ed", found.ed)
        es = parameters.es_frame - 1 if parameters.es_frame else named.get("es", found.es)
        return Phases(ed, es)

    # -- numbers -------------------------------------------------------------------------------------------------
    def _measure(
        self, sequence: Sequence, loaded: Loaded, outlined: _Outlined, patient: Patient, source: str, result: Result
    ) -> None:
        ed, es = outlined.phases.ed, outlined.phases.es
        volumes = outlined.volumes_ml
        slice_mm = float(sequence.spacing[2])
        found = plausibility.check(outlined.labels, ed, es, volumes, slice_mm)
        result.warnings += found.warnings
        if found.lv_missing:
            result.measurements = _all_missing(found.lv_missing, source, "not_found")
            result.warnings.append(found.lv_missing)
            return
        values, reasons = _values(volumes, outlined.valid, ed, es, found)
        for reason in (found.volumes_cut, found.no_motion):
            if reason:
                result.warnings.append(reason)
        if ed == es and sequence.n_frames == 1:
            result.warnings.append(
                "There is one phase only: it is taken as end-diastole, and nothing that needs end-systole is reported."
            )
        bands: dict[str, Interval] = {}
        if outlined.areas_mm2 is not None:
            bands = intervals(values, outlined.areas_mm2, slice_mm, outlined.calibration)
        bsa = None
        if patient.height_cm and patient.weight_kg:
            bsa = body_surface_area(patient.height_cm, patient.weight_kg)
        context = Context(outlined.method, source, bsa, _heart_rate(sequence, loaded), intervals=bands)
        rows = volume_rows(values, reasons, context)
        rows.extend(output_rows(rows, context))
        if bsa is not None:
            rows.add(Measurement("body_surface_area", bsa, "m2", method="Mosteller", source="height and weight"))
        rows.extend(rate_rows(*self._rates(sequence, outlined, found), context))
        thickness = self._thickness(sequence, outlined, found, context)
        rows.extend(thickness[0])
        result.tables += [_curve(sequence, volumes, outlined.valid), *thickness[1]]
        comparison = reference.compare(rows, patient)
        if comparison is not None:
            result.tables.append(comparison)
        key_frames = {"ed": ed} if ed == es else {"ed": ed, "es": es}
        result.labels = LabelMap(outlined.labels, sequence.affine, SEGMENTS, key_frames)
        result.measurements = rows
        result.record["ed_frame"], result.record["es_frame"] = ed + 1, es + 1

    @staticmethod
    def _rates(sequence: Sequence, outlined: _Outlined, found: plausibility.Plausibility) -> tuple[Any, str]:
        times = sequence.frame_time_ms()
        if found.volumes_cut or found.no_motion:
            return None, str(found.volumes_cut or found.no_motion)
        if times is None or not sequence.full_cycle or sequence.rr_ms is None:
            return None, "Rates need frame times over a full cardiac cycle."
        if sequence.n_frames < MIN_PHASES_FOR_RATES or not outlined.valid.all():
            return None, f"Rates need at least {MIN_PHASES_FOR_RATES} outlined phases."
        measured = rates(outlined.volumes_ml[:, 0], times, sequence.rr_ms, outlined.phases.ed, outlined.phases.es)
        return measured, "The cycle is too coarsely sampled."

    @staticmethod
    def _thickness(
        sequence: Sequence, outlined: _Outlined, found: plausibility.Plausibility, context: Context
    ) -> tuple[Measurements, list[Table]]:
        rows = Measurements()
        ed, es = outlined.phases.ed, outlined.phases.es
        sectors = clock(outlined.labels[ed], sequence.affine)
        at_ed = wall_thickness(outlined.labels[ed], sequence.spacing, sectors)
        at_es = wall_thickness(outlined.labels[es], sequence.spacing, sectors) if es != ed else None
        method = f"perpendicular to the wall, {SECTORS} sectors a slice; {outlined.method}"
        more: dict[str, Any] = {"method": method, "source": context.source}

        def add(prefix: str, unit_: str, stats: dict[str, float] | None, reason: str) -> None:
            for key in ("min", "mean", "max", "sd"):
                if stats is None:
                    rows.add(Measurement.missing(f"{prefix}_{key}", unit_, reason, **more))
                else:
                    rows.add(Measurement(f"{prefix}_{key}", stats[key], unit_, **more))

        no_ring = "No slice holds a closed ring of myocardium around the cavity."
        one_phase = "Only one phase was outlined."
        add("wall_thickness_ed", "mm", at_ed.statistics(), no_ring)
        add("wall_thickness_es", "mm", at_es.statistics() if at_es else None, no_ring if at_es else one_phase)
        if at_es is None:
            add("wall_thickening", "%", None, one_phase)
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                thickening = WallThickness(100 * (at_es.mm - at_ed.mm) / at_ed.mm)
            add(
                "wall_thickening",
                "%",
                None if found.no_motion else thickening.statistics(),
                found.no_motion or "No sector was measured at both phases.",
            )
        return rows, [_thickness_table(at_ed, at_es, sectors)]

    def _draw(self, sequence: Sequence, outlined: _Outlined, result: Result) -> None:
        from .figures import make_figures

        curve = next((t.columns for t in result.tables if t.name == "volume_curve"), None)
        if curve is None:
            curve = _curve(sequence, outlined.volumes_ml, outlined.valid).columns
        wall = next((t.columns for t in result.tables if t.name == "wall_thickness"), None)
        result.figures += make_figures(
            sequence,
            outlined.labels,
            outlined.phases.ed,
            outlined.phases.es,
            curve,
            measurements=result.measurements,
            wall=wall,
        )


def _source(sequence: Sequence) -> str:
    """The series, or the voxels where no header names one; many series are in the record."""
    series = sequence.source.split("+") if sequence.source else []
    if len(series) == 1:
        return series[0]
    voxels = f"voxels sha256:{sequence.voxel_hash()}"
    return f"{series[0]} and {len(series) - 1} more series, {voxels}" if series else voxels


def relabel(labels: Array) -> Array:
    """The bundle's labels (1 RV, 2 myocardium, 3 LV) as this module's."""
    table = np.zeros(256, np.uint8)
    for theirs, ours in FROM_ACDC.items():
        table[theirs] = ours
    relabelled: Array = table[labels]
    return relabelled


def _frames_in_range(parameters: LVParameters, n: int) -> None:
    for name in ("ed_frame", "es_frame"):
        frame = getattr(parameters, name)
        if frame is not None and frame > n:
            raise InputError(f"{name} {frame} cannot be used; the study has {n} frames.")


def _heart_rate(sequence: Sequence, loaded: Loaded) -> float | None:
    rate = loaded.record.get("heart_rate_bpm")
    if rate is None and sequence.rr_ms and sequence.full_cycle and sequence.n_frames >= MIN_PHASES_FOR_RATES:
        rate = 60000.0 / sequence.rr_ms
    return float(rate) if rate and 20 <= rate <= 250 else None


def _values(
    volumes: Array, valid: Array, ed: int, es: int, found: plausibility.Plausibility
) -> tuple[dict[str, float | None], dict[str, tuple[str, str]]]:
    """Numbers by name, and (state, reason) for those that are missing."""
    lv, myocardium, rv = volumes.T
    values: dict[str, float | None] = dict.fromkeys(VOLUMES)
    reasons: dict[str, tuple[str, str]] = {}
    values |= {"rv_edv_max": None, "rv_esv_min": None, "lv_mass_es": None}

    def no(names: tuple[str, ...], reason: str, state: str = "not_assessable") -> None:
        for name in names:
            values[name] = None
            reasons.setdefault(name, (state, reason))

    if found.volumes_cut:
        no(tuple(values), found.volumes_cut)
        return values, reasons
    values["lv_edv"], values["rv_edv"] = float(lv[ed]), float(rv[ed])
    values["lv_mass"] = fn.myocardial_mass(float(myocardium[ed]))
    if es != ed:
        values["lv_esv"], values["lv_sv"] = float(lv[es]), fn.stroke_volume(float(lv[ed]), float(lv[es]))
        values["lv_ef"] = fn.ejection_fraction(float(lv[ed]), float(lv[es]))
        values["lv_mass_es"] = fn.myocardial_mass(float(myocardium[es]))
        values["rv_esv"], values["rv_sv"] = float(rv[es]), fn.stroke_volume(float(rv[ed]), float(rv[es]))
        values["rv_edv_max"], values["rv_esv_min"] = float(rv[valid].max()), float(rv[valid].min())
        if rv[ed] > 0:
            values["rv_ef"] = fn.ejection_fraction(float(rv[ed]), float(rv[es]))
    else:
        no(
            ("lv_esv", "lv_sv", "lv_ef", "lv_mass_es", "rv_esv", "rv_sv", "rv_ef", "rv_edv_max", "rv_esv_min"),
            "Only one phase was outlined; end-diastole and end-systole are needed.",
        )
    if found.no_motion:
        no(("lv_sv", "lv_ef", "rv_sv", "rv_ef"), found.no_motion)
    if myocardium[ed] <= 0:
        no(("lv_mass", "lv_mass_es"), "No LV myocardium was labelled.", "not_found")
    if found.rv_missing:
        no(("rv_edv", "rv_esv", "rv_sv", "rv_ef", "rv_edv_max", "rv_esv_min"), found.rv_missing, "not_found")
    return values, reasons


def _all_missing(reason: str, source: str, state: str = "not_assessable") -> Measurements:
    return Measurements(Measurement(n, None, unit(n), state, reason, source=source) for n in VOLUMES)  # type: ignore[arg-type]


def _curve(sequence: Sequence, volumes: Array, valid: Array) -> Table:
    times = sequence.frame_time_ms()
    n = len(volumes)

    def column(c: int) -> list[float | None]:
        return [float(v) if ok else None for v, ok in zip(volumes[:, c], valid, strict=True)]

    return Table(
        "volume_curve",
        "Volumes over the cardiac cycle",
        {
            "frame": list(range(1, n + 1)),
            "time_ms": [None] * n if times is None else [float(t) for t in times],
            "lv_ml": column(0),
            "rv_ml": column(2),
            "myocardium_ml": column(1),
        },
        {"frame": "1", "time_ms": "ms", "lv_ml": "mL", "rv_ml": "mL", "myocardium_ml": "mL"},
    )


def _thickness_table(at_ed: WallThickness, at_es: WallThickness | None, way: Clock) -> Table:
    slices, sectors = np.meshgrid(np.arange(at_ed.mm.shape[0]), np.arange(SECTORS), indexing="ij")
    es = at_es.mm if at_es is not None else np.full_like(at_ed.mm, np.nan)
    seen = np.isfinite(at_ed.mm) | np.isfinite(es)

    def numbers(array: Array) -> list[float | None]:
        return [float(v) if np.isfinite(v) else None for v in array[seen]]

    return Table(
        "wall_thickness",
        "Wall thickness by slice and sector (counted from the right ventricle, right-handed about base to apex)",
        {
            "slice": (slices[seen] + 1).tolist(),
            "sector": (sectors[seen] + 1).tolist(),
            "from_deg": [way.edges_deg(int(x))[0] for x in sectors[seen]],
            "to_deg": [way.edges_deg(int(x))[1] for x in sectors[seen]],
            "ed_mm": numbers(at_ed.mm),
            "es_mm": numbers(es),
        },
        {"slice": "1", "sector": "1", "from_deg": "deg", "to_deg": "deg", "ed_mm": "mm", "es_mm": "mm"},
    )
