"""Risk of one patient: the clinical record and the measurements of other runs in; scores, plan and report out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from CardioPrecisionLib.analysis import Input, LabelMap, Loaded, Progress, Result, part, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurements, Patient
from CardioPrecisionLib.output import OutputFolder, write_run
from CardioPrecisionLib.record import RunRecord, file_sha256, json_able

from .clinical.fields import fields
from .clinical.files import read_record
from .clinical.measured import MeasuredRun, read_run, with_measurements
from .clinical.record import Entry, Record, completed, make_entry, make_record
from .plan import Statement, make_plan, rules
from .risk_rows import (
    WHOLE,
    NamedScore,
    fact_json,
    facts_of,
    headline,
    measurements_of,
    missing_inputs,
    score_all,
    values_of,
)
from .scores.columns import Columns
from .scores.registry import select
from .table import TableSummary, score_table

NAME, TITLE = "risk", "Risk, scores and plan"
PLAN_SCHEMA = "cardioprecision/plan/1"
#: Facts of the patient that a measurement file may know and a record may lack, and how far the two may differ.
_SHARED = {"sex": 0.0, "age_years": 1.0, "height_cm": 3.0, "weight_kg": 5.0}


@dataclass(frozen=True)
class RiskResult:
    """Scores and plan of one patient.

    Attributes
    ----------
    record : Record
        With the measurements of the other runs in it.
    scores : list of NamedScore
    statements : list of Statement
        All rules of the plan, those that do not apply or cannot be judged included.
    measurements : Measurements
        One row per score.
    patient : Patient
    runs : tuple of MeasuredRun
    warnings : list of str
    """

    record: Record
    scores: list[NamedScore]
    statements: list[Statement]
    measurements: Measurements
    patient: Patient
    runs: tuple[MeasuredRun, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def documents(self) -> dict[str, dict[str, Any]]:
        """The contents of ``record.json`` and ``plan.json``."""
        return {"record": self.record.to_json(), "plan": plan_json(self.statements)}

    def to_result(self, figures: bool = True) -> Result:
        """The shape that every front writes and shows."""
        from .risk_report import plan_section, scores_section, values_section

        columns = Columns(self.record.column_values())
        facts = values_of(self.record, self.runs)
        titles = {score.name: score.title for score in self.scores}
        wanted = [(name, len(names)) for name, names in missing_inputs(columns, self.scores)]
        result = Result(
            measurements=self.measurements,
            warnings=self.warnings,
            record={"headline": headline(self.scores, self.record), "plan": _counts(self.statements)},
            sections=[
                plan_section(self.statements, titles),
                scores_section(self.scores),
                values_section(self.record, facts, [_use(run) for run in self.runs], wanted),
            ],
            titles=titles,
            documents=self.documents(),
            patient=self.patient,
        )
        if figures:
            from .risk_figures import make_figures

            result.figures = make_figures(self.scores, self.record)
        return result

    def write(self, folder: str | Path, *, figures: bool = True) -> dict[str, Any]:
        """Write the output folder of a run, all or nothing.

        Parameters
        ----------
        folder : path
            An earlier run in it is replaced; anything else in it is refused.
        figures : bool

        Returns
        -------
        dict
            The content of ``measurements.json``.

        Raises
        ------
        InputError
            The folder cannot be used.
        """
        digest = hashlib.sha256(json.dumps(self.record.to_json(), sort_keys=True).encode()).hexdigest()
        record = RunRecord(NAME, parameters={"score": [score.name for score in self.scores]})
        record.inputs = [{"role": "clinical", "path": "", "sha256": digest}]
        record.inputs += [{"role": "measurements", "path": "", "analysis": run.analysis} for run in self.runs]
        with OutputFolder(folder) as output:
            document = write_run(output.work, TITLE, self.to_result(figures), self.patient, record)
            output.commit()
        return document


def plan_json(statements: Iterable[Statement]) -> dict[str, Any]:
    """The content of ``plan.json``."""
    names = ("id", "topic", "state", "text", "reason", "guideline", "edition", "citation", "strength")
    rows = [{n: getattr(s, n) for n in names} | {"inputs": [fact_json(f) for f in s.inputs]} for s in statements]
    document: dict[str, Any] = json_able({"schema": PLAN_SCHEMA, "statements": rows})
    return document


def _counts(statements: Iterable[Statement]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for statement in statements:
        counts[statement.state] = counts.get(statement.state, 0) + 1
    return counts


def _use(run: MeasuredRun) -> tuple[str, int, int]:
    """Analysis, its rows, and how many of them fill a field or are asked for by a rule of the plan."""
    used = {(f.measurement, site) for f in fields().values() if f.measurement for site in f.measurement_sites}
    used |= {(name, site) for rule in rules() for name in rule.needs for site in WHOLE}
    return run.analysis, len(run.rows), sum((row.name, row.site) in used for row in run.rows)


def _with_patient(record: Record, run: MeasuredRun) -> tuple[Record, list[str]]:
    """The record with what a run knew of its patient where the record says nothing, and where the two disagree."""
    added: dict[str, Entry] = {}
    warnings = []
    for name, tolerance in _SHARED.items():
        theirs, ours = getattr(run.patient, name), record.value(name)
        if theirs is None:
            continue
        f = fields()[name]
        if ours is None:
            added[name] = make_entry(f, theirs, run.analysis, None, run.analysis)
            warnings.append(f"{name} is not in the record; it was taken from {run.analysis}.")
        elif theirs != ours and (isinstance(theirs, str) or abs(theirs - float(ours)) > tolerance):
            said, own = (v if isinstance(v, str) else f.with_unit(f"{v:g}") for v in (theirs, ours))
            warnings.append(
                f"{run.analysis} was of a patient with {name} {said}, the record says {own}: please check that both "
                "are the same person. The record's value was used."
            )
    if not added:
        return record, warnings
    merged = make_record({**record.entries, **added})
    return replace(merged, warnings=tuple(dict.fromkeys((*record.warnings, *merged.warnings)))), warnings


def _joined(record: Record, runs: Sequence[MeasuredRun]) -> tuple[Record, list[str]]:
    """The record with all measurements, and the sentences about them."""
    warnings: list[str] = []
    seen: set[str] = set()
    for run in runs:
        if run.analysis in seen:
            raise InputError(f"Two measurement files are of {run.analysis}; give one run of each analysis.")
        seen.add(run.analysis)
        record, more = _with_patient(record, run)
        record = with_measurements(record, run.analysis, run.rows)
        warnings += more
        if _use(run)[2]:
            warnings += [f"{run.analysis}: {text}" for text in run.warnings]
        else:
            warnings.append(f"None of the {len(run.rows)} measurements of {run.analysis} is used here.")
    return record, [*record.warnings, *warnings]


def _assess(
    record: Record, runs: Sequence[MeasuredRun], wanted: Sequence[str] | None, progress: Progress
) -> RiskResult:
    chosen = select(wanted)
    if len({run.patient.key for run in runs if run.patient.key}) > 1:
        raise InputError("The measurement files are of different patients; give one patient's.")
    record, warnings = _joined(record, runs)
    columns = Columns(record.column_values())
    progress(0.2, "Computing scores")
    # A statement may need a score that was not asked for: the plan always sees all of them.
    every = {score.name: score for score in score_all(columns, select())}
    scores = [every[score.name] for score in chosen]
    progress(0.6, "Making the plan")
    statements = make_plan(facts_of(record, runs, every.values()))
    key = next((run.patient.key for run in runs if run.patient.key), None)
    day = next((run.patient.study_date for run in runs if run.patient.study_date), None)
    patient = record.patient()
    patient = replace(patient, key=key, study_date=patient.study_date or day)
    progress(1.0, "Making the plan")
    return RiskResult(record, scores, statements, measurements_of(scores), patient, tuple(runs), warnings)


def assess(
    record: Record,
    measurement_files: Iterable[str | Path] = (),
    *,
    scores: Iterable[str] | None = None,
    progress: Progress = silent,
) -> RiskResult:
    """Scores and plan of one patient.

    Parameters
    ----------
    record : Record
        As `FusionRiskLib.clinical.files.read_record` or `record_from_values` gives it.
    measurement_files : iterable of path
        ``measurements.json`` of other runs; measured values fill what nobody entered.
    scores : iterable of str or None
        Names, families or patterns; None for all. The plan is made with all.
    progress : callable

    Raises
    ------
    InputError
        An unknown score, a file that is no measurements document, two of the same analysis, or of different patients.
    """
    files = list(measurement_files)
    runs = []
    for n, path in enumerate(files):
        progress(0.3 * n / len(files), "Reading measurements")
        runs.append(read_run(path))
    return _assess(record, runs, None if scores is None else list(scores), part(progress, 0.3, 1.0))


@dataclass(frozen=True)
class RiskParameters:
    """Parameters of `Risk`.

    Attributes
    ----------
    score : tuple of str
        Score by name, family ("prevent") or pattern ("risk_*_10y"); may be given several times. Default: all.
    figures : bool
        Draw the plots of the report.
    """

    score: tuple[str, ...] = ()
    figures: bool = True

    def __post_init__(self) -> None:
        words = (self.score,) if isinstance(self.score, str) else tuple(self.score)
        object.__setattr__(self, "score", words)
        if words:
            select(words)  # an unknown one is refused before anything is read

    @property
    def wanted(self) -> tuple[str, ...] | None:
        return self.score or None


class Risk:
    """Scores and plan from a clinical record and the measurements of other runs."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = TITLE
    inputs: ClassVar[tuple[Input, ...]] = (
        Input("clinical", "Clinical record (JSON, one-row CSV or FHIR R4 bundle)"),
        Input("entered", "Further values, JSON or one-row CSV; they win over the record", required=False),
        Input("measurements", "measurements.json of another run of this patient", required=False, many=True),
    )
    Parameters: ClassVar[type] = RiskParameters
    segments: ClassVar = ()
    label_schemes: ClassVar[Mapping[str, Mapping[int, int]]] = {}
    time_resolved: ClassVar[bool] = False
    bundles: ClassVar[tuple[str, ...]] = ()

    def load(self, role: str, path: str, progress: Progress) -> Loaded:
        """Read the record, or the measurements of a run; `InputError` names file, place and field."""
        progress(0.0, "Reading")
        if role == "measurements":
            run = read_run(path)
            return Loaded(run, run.patient, record={"sha256": file_sha256(path), "analysis": run.analysis})
        record = read_record(path)
        return Loaded(record, record.patient(), record={"sha256": file_sha256(path), "fields": sorted(record.entries)})

    def run(
        self,
        inputs: Mapping[str, Loaded],
        parameters: RiskParameters,
        progress: Progress,
        *,
        patient: Patient,
        labels: LabelMap | None = None,
    ) -> Result:
        """Score and plan; see `assess`. `patient` comes from the same inputs; there are no labels."""
        runs = [given.data for given in inputs.values() if isinstance(given.data, MeasuredRun)]
        record: Record = inputs["clinical"].data
        if "entered" in inputs:
            record = completed(record, inputs["entered"].data)
        found = _assess(record, runs, parameters.wanted, part(progress, 0.0, 0.6))
        progress(0.7, "Drawing figures")
        return found.to_result(parameters.figures)

    def run_table(
        self,
        table: Path,
        output: Path,
        parameters: RiskParameters,
        progress: Progress,
        *,
        mapping: Mapping[str, Any] | None = None,
    ) -> TableSummary:
        """Score every row of a CSV; see `FusionRiskLib.table.score_table`."""
        return score_table(table, output, parameters.wanted, mapping, progress)
