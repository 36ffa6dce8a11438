"""Train, judge, predict: from files to files, as the commands and other fronts do it."""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from CardioPrecisionLib.analysis import Progress, Result, part, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Patient
from CardioPrecisionLib.output import OutputFolder, write_page
from CardioPrecisionLib.record import RunRecord, file_sha256, json_able, utc_now

from ..clinical.files import delimiter_of, read_record, read_text
from ..clinical.measured import read_run, with_measurements
from ..clinical.record import make_record
from .answer import KeptModel, values_of_patient
from .big import work
from .big.parquet import ParquetTable, is_parquet
from .calibration import calibrate
from .cohort import Cohort, align, check_trainable
from .cohort_table import read_cohort
from .evaluate import Evaluation, evaluate
from .folds import outer_folds
from .imputation import fallbacks
from .kept import Kept, KeptModels, key_of
from .leakage import check_all
from .models import ModelConfig, fit_model
from .out_of_distribution import Likeness
from .recalibration import recalibrate as fit_recalibration
from .report import answers_result, evaluation_result
from .schema import CohortSchema, like, read_schema
from .store import check_new, save_as, save_model
from .uncertainty import bootstrap_members
from .visits import VISITS, how_joined, one_row_each

_KINDS = ("early", "late", "joint", "graph")
_LEVEL = 0.9


@dataclass(frozen=True)
class FusionOutcome:
    """What was done.

    Attributes
    ----------
    output : Path
    result : Result
    seconds : float
    details : mapping
        Of the kind of work: patients, rows, members.
    """

    output: Path
    result: Result
    seconds: float
    details: Mapping[str, Any]


def read_table(table: Path, schema: Path, visits: str | None, sample: int | None = None, seed: int = 0) -> Cohort:
    """A cohort with one row per patient; `sample` of them drawn at random."""
    _need_files(table, schema)
    if sample is not None and work.is_large(table):
        return work.drawn(table, schema, sample, seed)
    cohort = read_cohort(table, schema)
    if cohort.visit is not None:
        if visits not in VISITS:
            raise InputError(
                f"{table}: the cohort has repeated visits; say --visits baseline, change (last minus first), or "
                "sequence (the last few in their order)."
            )
        cohort = one_row_each(cohort, visits)  # type: ignore[arg-type]
    if sample is not None and sample < len(cohort):
        cohort = cohort.take(np.sort(np.random.default_rng((seed, 11)).choice(len(cohort), sample, replace=False)))
    return cohort


def _need_files(table: Path, schema: Path) -> None:
    for path in (table, schema):
        if not path.is_file() and not (path == table and is_parquet(path)):
            raise InputError(f"{path}: there is no such file.")


def config_of(cohort: Cohort, kind: str, learner: str | None, impute: str, modalities: Sequence[str]) -> ModelConfig:
    """A model as asked for; the plainest learner of the outcome if none was named."""
    if kind not in _KINDS:
        raise InputError(f"There is no model {kind!r}; choose {', '.join(_KINDS)}.")
    stray = [m for m in modalities if m not in cohort.modalities]
    if stray:
        raise InputError(f"The table has no modality {stray[0]!r}; it has {', '.join(cohort.modalities)}.")
    learner = learner or ("cox" if cohort.target.kind == "survival" else "logistic")
    return ModelConfig(kind, learner, impute, tuple(modalities))  # type: ignore[arg-type]


# -- train ------------------------------------------------------------------------------------------------------------
def train(
    table: Path,
    schema: Path,
    output: Path,
    *,
    kind: str = "late",
    learner: str | None = None,
    impute: str = "median",
    modalities: Sequence[str] = (),
    visits: str | None = None,
    members: int = 40,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FusionOutcome:
    """Train a model on a whole cohort, or on `sample` patients drawn at random, and write its folder.

    A training that was stopped goes on where it was: finished models are kept beside the output until it is done. A
    large Parquet table is streamed (`big`), and begins anew.

    Raises
    ------
    InputError
        A table, schema or choice that cannot be used, or a leak; nothing was written.
    """
    started = time.perf_counter()
    progress(0.0, "Reading")
    check_new(output)
    _need_files(table, schema)
    if sample is None and work.is_large(table) and work.check_streamed(table, kind, learner, impute):
        warnings, done = work.train(
            table, schema, output, kind=kind, learner=learner, impute=impute, modalities=modalities, members=members,
            level=_LEVEL, seed=seed, progress=progress,
        )  # fmt: skip
        progress(1.0, "Done")
        return FusionOutcome(output, Result(warnings=warnings), time.perf_counter() - started, done)
    cohort = read_table(table, schema, visits, sample, seed)
    check_trainable(cohort)
    warnings = [*cohort.warnings, *check_all(cohort, outer_folds(cohort, 5, 1, seed, "patient"))]
    config = config_of(cohort, kind, learner, impute, modalities)
    own = cohort.of(*config.modalities) if config.modalities else cohort
    kept = KeptModels(output.with_name(f".{output.name}.fits"), key_of(own, config=config, seed=seed, members=members))
    if kept.count:
        progress(0.0, f"Going on: {kept.count} models are there")
    model = kept("model", own, lambda: fit_model(own, config, seed, part(progress, 0.05, 0.4)))
    conformal = calibrate(own, config, model.setting, _LEVEL, seed=seed, progress=part(progress, 0.4, 0.6))
    refitted = bootstrap_members(own, config, model.setting, members, seed, part(progress, 0.6, 0.95), kept)
    warnings += fallbacks(model)
    progress(0.95, "Writing")
    save_model(output, model, own, members=refitted, conformal=conformal, table=json_able(asdict(read_schema(schema))))
    kept.clear()
    progress(1.0, "Done")
    details = {"patients": own.n_patients, "columns": len(model.columns), "members": len(refitted), "kind": kind}
    return FusionOutcome(output, Result(warnings=warnings), time.perf_counter() - started, details)


# -- recalibrate ------------------------------------------------------------------------------------------------------
def recalibrate(
    model: Path,
    table: Path,
    output: Path,
    *,
    schema: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FusionOutcome:
    """Make a model fit patients of another place and write it to a new folder.

    Parameters
    ----------
    model : Path
        Folder of `train`.
    table : Path
        Patients with outcomes whom the model has not seen.
    output : Path
        New folder.
    schema : Path, optional
        Of the table; that of the training if not given.

    Raises
    ------
    InputError
        The table does not fit the model, or has too few patients or events; nothing was written.
    """
    started = time.perf_counter()
    progress(0.0, "Reading")
    check_new(output)
    if not table.is_file() and not is_parquet(table):
        raise InputError(f"{table}: there is no such file.")
    kept = _opened(model)
    if kept.recalibration is not None:
        raise InputError(f"{model}: this model was recalibrated already; recalibrate the one that it was made of.")
    cohort = read_cohort(table, _schema_of(kept, schema))
    cohort = _one_row_each(cohort, kept)
    outcome, target = cohort.target, kept.model.target
    if (outcome.kind, outcome.classes, outcome.time_unit) != (target.kind, target.classes, target.time_unit):
        raise InputError(f"{table}: its outcome is not what the model predicts.")
    outcome = replace(outcome, horizon=target.horizon)
    values = align(cohort, kept.model.columns, kept.model.may_lack)
    alike = np.array([one.likeness is not Likeness.REFUSED for one in kept.guard.judge(values)], dtype=bool)
    warnings = list(cohort.warnings)
    if not alike.all():
        warnings.append(
            f"{int((~alike).sum())} of {len(alike)} patients were left out: the model gives such patients no answer."
        )
    rows = np.flatnonzero(alike)
    progress(0.4, "Fitting")
    conformal = kept.card.get("conformal")
    level = float(conformal["level"]) if conformal else None
    _, facts = fit_recalibration(kept.model.predict(values[rows]), outcome.take(rows), level, seed)
    facts["recalibration"] |= {"saved": utc_now(), "table_sha256": work.hashes(table)}
    progress(0.9, "Writing")
    save_as(model, output, facts)
    progress(1.0, "Done")
    return FusionOutcome(output, Result(warnings=warnings), time.perf_counter() - started, facts["recalibration"])


# -- judge ------------------------------------------------------------------------------------------------------------
def judged_models(cohort: Cohort, kinds: Sequence[str], learner: str | None, impute: str) -> dict[str, ModelConfig]:
    """The fusions asked for, the first of which is compared with the others, and every modality alone."""
    alone = {name: config_of(cohort, "early", learner, impute, (name,)) for name in cohort.modalities}
    if len(alone) == 1:
        return alone
    return {f"{kind} fusion": config_of(cohort, kind, learner, impute, ()) for kind in kinds} | alone


def judge(
    table: Path,
    schema: Path,
    output: Path,
    *,
    kinds: Sequence[str] = ("late", "early"),
    learner: str | None = None,
    impute: str = "median",
    visits: str | None = None,
    folds: int = 5,
    repeats: int = 1,
    by: Literal["patient", "site"] = "patient",
    level: float | None = _LEVEL,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    command: list[str] | None = None,
) -> FusionOutcome:
    """Judge models by nested cross-validation and write the report.

    A judging that was stopped goes on where it was: finished fits are kept beside the output folder until it is done.

    Raises
    ------
    InputError
        As of `evaluate.evaluate`, or the output folder cannot be used; nothing was written.
    """
    started = time.perf_counter()
    if folds < 2 or repeats < 1:
        raise InputError("Judging needs at least 2 folds and 1 repeat.")
    cohort = read_table(table, schema, visits, sample, seed)
    models = judged_models(cohort, kinds, learner, impute)
    asked = {"folds": folds, "repeats": repeats, "seed": seed, "by": by, "level": level}
    asked |= {} if sample is None else {"sample": len(cohort)}
    record = RunRecord("fusion-evaluate", parameters=json_able({"models": models, **asked}), command=command)
    record.inputs = [_input("table", table), _input("schema", schema)]
    with OutputFolder(output) as folder:
        kept = Kept(folder.path.with_name(f".{folder.path.name}.fits"), key_of(cohort, models=models, **asked))
        if kept.count:
            progress(0.0, f"Going on: {kept.count} of {folds * repeats * len(models)} fits are there")
        with record.stage("run"):
            found: Evaluation = evaluate(
                cohort, models, folds, repeats, seed, by, level, progress=part(progress, 0.0, 0.95), kept=kept
            )
        progress(0.96, "Writing")
        result = evaluation_result(found)
        write_page(folder.work, "Fusion models, judged", result, Patient(), record)
        progress(0.99, "Writing")
        folder.commit()
    kept.clear()
    progress(1.0, "Done")
    details = {"patients": cohort.n_patients, "evaluation": found}
    return FusionOutcome(output, result, time.perf_counter() - started, details)


# -- predict ----------------------------------------------------------------------------------------------------------
def predict(
    model: Path,
    rows: Sequence[Path],
    output: Path,
    *,
    schema: Path | None = None,
    clinical: Path | None = None,
    progress: Progress = silent,
    command: list[str] | None = None,
) -> FusionOutcome:
    """Ask a model about new patients and write the report.

    Parameters
    ----------
    model : Path
        Folder of `train`.
    rows : sequence of Path
        One table (CSV), or ``measurements.json`` of one or more runs of one patient.
    output : Path
    schema : Path, optional
        Of the table; that of the training if not given.
    clinical : Path, optional
        Clinical record of the patient whose measurements are given.

    Raises
    ------
    InputError
        The model was tampered with, a column is missing, a file cannot be read; nothing was written.
    """
    started = time.perf_counter()
    progress(0.0, "Reading the model")
    kept = _opened(model)
    progress(0.3, "Reading")
    tables = [path for path in rows if path.suffix.lower() != ".json"]
    if tables and (len(rows) > 1 or clinical is not None):
        raise InputError("Give one table, or the measurements.json of one patient's runs with a clinical record.")
    if not rows and clinical is None:
        raise InputError("Give a table of patients, measurements.json of runs, or --clinical FILE.")
    record = RunRecord("fusion-predict", parameters={"level": _LEVEL}, command=command)
    record.inputs = [{"role": "model", "path": str(model), "sha256": file_sha256(model / "manifest.json")}]
    warnings: list[str] = []
    if tables and work.is_large(tables[0]):
        return _predict_large(kept, tables[0], schema, output, record, started, progress)
    if tables:
        cohort = read_cohort(tables[0], _schema_for(tables[0], kept, schema), outcome=False)
        cohort = _one_row_each(cohort, kept)
        values = align(cohort, kept.model.columns, kept.model.may_lack)
        warnings += [w for w in cohort.warnings if "belongs to no modality" not in w]
        titles = [f"Row {n}" for n in range(1, len(values) + 1)]
        record.inputs.append(_input("table", tables[0]))
    else:
        entered = read_record(clinical) if clinical is not None else make_record({})
        runs = [read_run(path) for path in rows]
        keys = {run.patient.key for run in runs if run.patient.key}
        if len(keys) > 1:
            raise InputError("The measurements are of different patients; give those of one.")
        for run in runs:  # of fields that nobody entered
            entered = with_measurements(entered, run.analysis, run.rows)
        values, missing = values_of_patient(kept.model, entered, [run.rows for run in runs])
        used = {column.name for column in kept.model.columns}
        warnings += [text for text in entered.warnings if text.split(" ", 1)[0] in used]
        if missing:
            shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
            warnings.append(f"Not known of this patient: {shown}.")
        titles = ["Patient"]
        record.inputs += [_input("measurements", path) for path in rows]
        record.inputs += [_input("clinical", clinical)] if clinical is not None else []
    with OutputFolder(output) as folder:
        progress(0.5, "Predicting")
        with record.stage("run"):
            answers = kept.answer(values)
        progress(0.8, "Writing")
        result = answers_result(answers, titles, kept.card, warnings)
        write_page(folder.work, "Fusion model: predictions", result, Patient(), record)
        progress(0.99, "Writing")
        folder.commit()
    progress(1.0, "Done")
    details = {"rows": len(titles), "refused": int(answers.refused.sum()), "answers": answers}
    return FusionOutcome(output, result, time.perf_counter() - started, details)


def _predict_large(
    kept: KeptModel,
    table: Path,
    schema: Path | None,
    output: Path,
    record: RunRecord,
    started: float,
    progress: Progress,
) -> FusionOutcome:
    """Answers for a table that is streamed: a Parquet file of them and a report of counts."""
    record.inputs.append(_input("table", table))
    with OutputFolder(output) as folder:
        with record.stage("run"):
            result, summary = work.predict(
                kept, table, _schema_for(table, kept, schema), folder.work, part(progress, 0.0, 0.95)
            )
        progress(0.96, "Writing")
        write_page(folder.work, "Fusion model: predictions", result, Patient(), record)
        folder.commit()
    progress(1.0, "Done")
    details = {"rows": summary.rows, "refused": summary.refused, "summary": summary}
    return FusionOutcome(output, result, time.perf_counter() - started, details)


def _input(role: str, path: Path) -> dict[str, Any]:
    return {"role": role, "path": str(path), "sha256": work.hashes(path)}


def _opened(model: Path) -> KeptModel:
    if not model.is_dir():
        raise InputError(f"{model}: there is no model folder.")
    return KeptModel(model)


def _one_row_each(cohort: Cohort, kept: KeptModel) -> Cohort:
    """Repeated visits joined as the model was trained on them."""
    if cohort.visit is None:
        return cohort
    columns = kept.model.columns
    return one_row_each(cohort, how_joined(columns), [column.name for column in columns])


def _schema_of(kept: KeptModel, given: Path | None) -> CohortSchema:
    """The schema that is given, else that of the training."""
    if given is not None:
        return read_schema(given)
    document = kept.card.get("table")
    if not document:
        raise InputError(f"{kept.path}: this model does not say how its table was read; give --schema FILE.")
    return _from_card(document)


def _schema_for(table: Path, kept: KeptModel, given: Path | None) -> CohortSchema:
    """How to read a table to predict on: as the training table, without what only training needs."""
    schema = _schema_of(kept, given)
    if is_parquet(table):
        names = set(ParquetTable(table).names)
    else:
        head = read_text(table).split("\n", 1)[0]
        names = {name.strip() for name in next(csv.reader([head], delimiter=delimiter_of(head)), [])}
    return replace(
        schema,
        site=None,
        consent=None,
        outcome=None,
        baseline_at=None,
        outcome_at=None,
        measured_at={},
        modalities={m: tuple(c for c in group if like(c, names)) for m, group in schema.modalities.items()},
        columns={c: to for c, to in schema.columns.items() if c in names},
        exclude=tuple(
            c
            for c in (*schema.exclude, *(v for v in (schema.site, schema.consent) if v), *_outcome_names(schema))
            if c in names
        ),
    )


def _outcome_names(schema: CohortSchema) -> tuple[str, ...]:
    return schema.outcome.names if schema.outcome is not None else ()


def _from_card(document: Mapping[str, Any]) -> CohortSchema:
    """The schema that `asdict` wrote."""
    from .schema import OutcomeSpec

    known = {field.name for field in dataclasses.fields(CohortSchema)}
    facts = {key: value for key, value in document.items() if key in known}
    try:
        outcome = facts.pop("outcome", None)
        if outcome is not None:
            outcome = OutcomeSpec(**{**outcome, "classes": tuple(outcome["classes"])})
        facts["modalities"] = {m: tuple(group) for m, group in facts.get("modalities", {}).items()}
        facts["exclude"] = tuple(facts.get("exclude", ()))
        return CohortSchema(outcome=outcome, **facts)
    except (TypeError, KeyError, AttributeError):
        raise InputError("The model's card does not say how its table was read; give --schema FILE.") from None
