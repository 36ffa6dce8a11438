"""Training and prediction on tables that are streamed: from files to files, called by `jobs`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from CardioPrecisionLib.analysis import Progress, Result, part
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256, json_able

from .. import big
from ..answer import KeptModel
from ..cohort import Cohort, Column
from ..model_config import ModelConfig
from ..out_of_distribution import OutOfDistribution
from ..schema import CohortSchema, read_schema
from ..store import save_model
from .fit import LEARNERS, check_asked, train_rows
from .look import Looked, look, sample_cohort
from .parquet import ParquetTable, is_parquet
from .rows import open_rows
from .scoring import ANSWERS, Summary, write_answers
from .summary import summary_result


def is_large(table: Path) -> bool:
    """A Parquet table that is streamed rather than held."""
    return is_parquet(table) and ParquetTable(table).cells > big.STREAM_CELLS


def check_streamed(table: Path, kind: str, learner: str | None, impute: str = "median") -> bool:
    """Whether a model is fitted to a large table in passes; False where the table is small enough to be held for it.

    Raises
    ------
    InputError
        The model can be fitted in neither way.
    """
    if kind in ("early", "late") and learner in (None, *LEARNERS) and impute != "vae":
        return True
    found = ParquetTable(table)
    if found.cells > big.WHOLE_CELLS:
        what = f"{kind} fusion" if kind not in ("early", "late") else f"the learner {learner}"
        if kind in ("early", "late") and learner in (None, *LEARNERS):
            what = f"imputation by {impute}"
        raise InputError(
            f"{table}: {found.rows} rows x {len(found.types)} columns are streamed, which {what} cannot; choose early "
            "or late fusion with logistic or Cox regression and median or chained, or draw patients with --sample."
        )
    return False


def drawn(table: Path, schema: Path, size: int, seed: int) -> Cohort:
    """Patients of a large table drawn at random, as an ordinary cohort."""
    return sample_cohort(open_rows(table, read_schema(schema)), size, seed)


def train(
    table: Path,
    schema: Path,
    output: Path,
    *,
    kind: str,
    learner: str | None,
    impute: str,
    modalities: Sequence[str],
    members: int,
    level: float,
    seed: int,
    progress: Progress,
) -> tuple[list[str], dict[str, Any]]:
    """As `jobs.train`; warnings, and what was done."""
    rows = open_rows(table, read_schema(schema), progress=part(progress, 0.0, 0.04))
    learner = learner or ("cox" if rows.target.kind == "survival" else "logistic")
    config = ModelConfig(kind, learner, impute, tuple(modalities))  # type: ignore[arg-type]
    check_asked(rows, config)
    looked = look(rows, seed, part(progress, 0.04, 0.15))
    done = train_rows(looked, config, members, level, seed, part(progress, 0.15, 0.97))
    progress(0.97, "Writing")
    save_model(
        output,
        done.model,
        looked.sample,
        members=done.members,
        conformal=done.conformal,
        table=json_able(asdict(read_schema(schema))),
        training=_facts(looked, done.quality, seed),
        guard=_guard(looked, done.model.columns),
    )
    warnings = [*rows.warnings, *looked.warnings]
    if len(looked.rows) < len(rows):
        warnings.append(
            f"The table was streamed: settings were chosen on {min(big.SETTING_ROWS, len(looked.rows))} rows drawn "
            f"at random, leaks, usual ranges and conformal limits judged on {len(looked.rows)}; the model saw all."
        )
    facts = {"patients": len(rows), "columns": len(done.model.columns), "members": len(done.members), "kind": kind}
    return warnings, {**facts, "judged": {"rows": len(looked.rows), **done.quality}}


def _guard(looked: Looked, columns: Sequence[Column]) -> OutOfDistribution:
    """Distances as the sample has them; ranges and gaps of all rows."""
    places = [looked.table.names.index(column.name) for column in columns]
    drawn = OutOfDistribution.fit(looked.sample.values[:, places], columns)
    low, high = looked.ranges[places].T
    return replace(drawn, low=low, high=high, gaps=looked.known[places] < len(looked.table))


def _facts(looked: Looked, quality: dict[str, float], seed: int) -> dict[str, Any]:
    """Of all rows, as `store` keeps them of a cohort."""
    outcome = looked.table.target
    columns = {
        column.name: {"known": int(known), "low": float(low), "high": float(high)}
        for column, known, (low, high) in zip(looked.table.columns, looked.known, looked.ranges, strict=True)
    }
    facts: dict[str, Any] = {
        "patients": len(looked.table),
        "columns": columns,
        "streamed": {
            "sample": len(looked.rows),
            "settings": min(big.SETTING_ROWS, len(looked.rows)),
            "seed": seed,
            "by_models_of_folds": quality,
        },
    }
    if outcome.kind == "survival":
        return facts | {"events": int(outcome.e.sum())}
    return facts | {"classes": {name: int((outcome.y == k).sum()) for k, name in enumerate(outcome.classes)}}


def predict(
    kept: KeptModel, table: Path, schema: CohortSchema, folder: Path, progress: Progress
) -> tuple[Result, Summary]:
    """Write the answers into a folder; the run for its report."""
    rows = open_rows(table, schema, outcome=False, progress=part(progress, 0.0, 0.1))
    if not {column.name for column in kept.model.columns} & set(rows.names):
        raise InputError(f"{table}: none of the model's columns is in the table.")
    summary = write_answers(kept, rows, folder / ANSWERS, part(progress, 0.1, 1.0))
    conformal = kept.card.get("conformal")
    told = [w for w in rows.warnings if "belongs to no modality" not in w]
    return summary_result(summary, kept.card, float(conformal["level"]) if conformal else None, told), summary


def hashes(table: Path) -> str:
    """SHA-256 of a file, or of those of a folder's parts in order."""
    if not table.is_dir():
        return file_sha256(table)
    parts = [file_sha256(file) for file in sorted(table.glob("*.parquet"))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()
