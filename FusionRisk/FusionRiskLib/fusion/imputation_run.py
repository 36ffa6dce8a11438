"""Compare imputations of a table: from files to a folder, as the command does it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from CardioPrecisionLib.analysis import Progress, Result, Table, part, silent
from CardioPrecisionLib.measurement import Patient
from CardioPrecisionLib.output import OutputFolder, write_page
from CardioPrecisionLib.record import RunRecord, file_sha256

from .imputation import ImputationReport, compare_imputation
from .jobs import FusionOutcome, read_table

METRICS = ("rmse", "coverage", "log_loss", "accuracy")


def imputation(
    table: Path,
    schema: Path,
    output: Path,
    *,
    share: float = 0.2,
    repeats: int = 1,
    folds: int = 5,
    visits: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
    command: list[str] | None = None,
) -> FusionOutcome:
    """Hide known values of a table at random, compare what fills them in, and write ``imputation.json``, a table of it
    and ``report.html``.

    Raises
    ------
    InputError
        A table, schema or share that cannot be used; nothing was written.
    """
    started = time.perf_counter()
    progress(0.0, "Reading")
    cohort = read_table(table, schema, visits)
    asked = {"share": share, "repeats": repeats, "folds": folds, "seed": seed}
    record = RunRecord("fusion-imputation", parameters=dict(asked), command=command)
    record.inputs = [
        {"role": role, "path": str(path), "sha256": file_sha256(path)}
        for role, path in (("table", table), ("schema", schema))
    ]
    with OutputFolder(output) as folder:
        with record.stage("run"):
            found = compare_imputation(cohort, share, repeats, seed, folds, progress=part(progress, 0.02, 0.95))
        progress(0.96, "Writing")
        result = imputation_result(found)
        result.warnings = [*cohort.warnings, *result.warnings]
        write_page(folder.work, "Imputation, compared", result, Patient(), record)
        folder.commit()
    progress(1.0, "Done")
    details = {"patients": cohort.n_patients, "imputation": found}
    return FusionOutcome(output, result, time.perf_counter() - started, details)


def imputation_result(found: ImputationReport) -> Result:
    """The run of a comparison."""
    names = ("column", "kind", "hidden", "missing_share", "method", "metric", "value", "low", "high")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    whole = {"all columns": (None, None, None, found.overall)}
    each = {name: (c.kind, c.cells, c.missing, c.methods) for name, c in found.columns.items()}
    for name, (kind, cells, missing, methods) in (whole | each).items():
        for method, metrics in methods.items():
            for metric, e in metrics.items():
                row = (name, kind, cells, missing, method, metric, e.value, e.low, e.high)
                for key, value in zip(names, row, strict=True):
                    rows[key].append(value)
    return Result(
        tables=[Table("imputation", "Hidden values and what was filled in", rows)],
        warnings=list(found.warnings),
        documents={"imputation": found.to_json()},
        record={"seeds": {"folds": found.seed}},
    )
