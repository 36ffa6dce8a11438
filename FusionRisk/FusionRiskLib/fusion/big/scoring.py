"""Answers for a table that is streamed: written batch by batch as Parquet, counted for the report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.errors import InputError

from ..answer import KeptModel, Said
from ..cohort import Array, Cohort, align
from ..out_of_distribution import refuses
from .lines import Together
from .rows import BigTable

ANSWERS = "answers.parquet"
#: Spans of the predicted probability that are counted.
SPANS = np.linspace(0, 1, 51)


@dataclass
class Summary:
    """Of all answers.

    Attributes
    ----------
    names : tuple of str
        What probabilities are of.
    rows : int
    likeness : Counter
    reasons : Counter
        Why rows were refused, without their values.
    total : numpy.ndarray
        ``(names,)`` sum of the probabilities of rows with an answer.
    spans : numpy.ndarray
        ``(names, 50)`` how many lie in each span.
    sets : Counter
        Classes in a set; of survival empty.
    """

    names: tuple[str, ...]
    rows: int = 0
    likeness: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    total: Array = field(default_factory=lambda: np.zeros(0))
    spans: Array = field(default_factory=lambda: np.zeros((0, 0)))
    sets: Counter[int] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        return self.likeness["refused"]

    @property
    def answered(self) -> int:
        return self.rows - self.refused

    def add(self, said: Said) -> None:
        """Count the answers of a batch."""
        if not self.rows:
            self.total, self.spans = np.zeros(len(self.names)), np.zeros((len(self.names), len(SPANS) - 1), np.int64)
        refused = said.refused
        self.rows += len(refused)
        self.likeness.update(str(one.likeness) for one in said.likeness)
        self.reasons.update(
            _without_values(reason)
            for i in np.flatnonzero(refused)
            for reason in said.likeness[i].reasons
            if refuses(reason)
        )
        given = said.said[~refused]
        self.total += given.sum(axis=0)
        self.spans += np.stack([np.histogram(column, SPANS)[0] for column in given.T])
        if said.sets is not None:
            self.sets.update(said.sets[~refused].sum(axis=1).tolist())


def _without_values(reason: str) -> str:
    """``age 400 lies far outside (...)`` is counted as ``age lies far outside``."""
    return re.sub(r" \S+ lies far outside \(.*\)$", " lies far outside", reason)


def write_answers(kept: KeptModel, table: BigTable, path: Path, progress: Progress = silent) -> Summary:
    """Answer every row of a table.

    Parameters
    ----------
    kept : KeptModel
    table : BigTable
        With the model's columns.
    path : Path
        Parquet to write; the caller gives it its name when it is complete.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        A column is missing or of another kind, a value cannot be read, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    together, writer, summary = Together.of(kept.model, kept.members), None, None
    numbers = np.arange(table.table.rows) if table.kept is None else np.flatnonzero(table.kept)
    try:
        for start, values in _aligned(kept, table):
            progress(start / len(numbers), "Predicting")
            said = kept.say(values, together)
            summary = summary or Summary(said.names)
            summary.add(said)
            made = pa.table(_columns(said, numbers[start : start + len(values)] + 1))
            writer = writer or pq.ParquetWriter(path, made.schema, compression="zstd")
            writer.write_table(made)
    except OSError as error:
        raise InputError(f"{path.name}: the answers cannot be written ({error.strerror or error}).") from None
    finally:
        if writer is not None:
            writer.close()
    assert summary is not None
    return summary


def _aligned(kept: KeptModel, table: BigTable) -> Iterator[tuple[int, Array]]:
    """``(rows, columns)`` in the columns of the model, batch by batch."""
    used = {column.name for column in kept.model.columns}
    wanted = [j for j, column in enumerate(table.columns) if column.name in used]
    columns = tuple(table.columns[j] for j in wanted)
    for start, values in table.batches(wanted):
        batch = Cohort(columns, values, np.arange(len(values)))
        yield start, align(batch, kept.model.columns, kept.model.may_lack)


def _columns(said: Said, rows: Array) -> Mapping[str, Any]:
    """The columns of the answers, named as in ``predictions.csv``; nothing where a row is refused."""
    import pyarrow as pa

    refused, n = said.refused, len(rows)

    def numbers(values: Array) -> Any:
        return pa.array(values, pa.float64(), mask=refused)

    columns: dict[str, Any] = {"row": pa.array(rows, pa.int64())}
    for k, name in enumerate(said.names):
        columns[f"p {name}"] = numbers(said.said[:, k])
        if said.interval is not None:
            columns[f"p {name} low"] = numbers(said.interval.low.reshape(n, -1)[:, k])
            columns[f"p {name} high"] = numbers(said.interval.high.reshape(n, -1)[:, k])
    if said.sets is not None:
        code = said.sets @ (1 << np.arange(said.sets.shape[1]))
        distinct, place = np.unique(code, return_inverse=True)
        words = ["; ".join(c for k, c in enumerate(said.names) if one >> k & 1) for one in distinct.tolist()]
        columns["set"] = pa.array(np.array(words, dtype=object)[place], pa.string(), mask=refused)
    if said.bound is not None:
        columns[f"lower bound ({said.target.time_unit})"] = numbers(said.bound)
    for modality, table in said.without.items():
        for k, name in enumerate(said.names):
            columns[f"p {name} without {modality}"] = numbers(table[:, k])
    columns["state"] = pa.array(np.where(refused, "not_assessable", "predicted"), pa.string())
    columns["likeness"] = pa.array([str(one.likeness) for one in said.likeness], pa.string())
    columns["reason"] = pa.array(["; ".join(one.reasons) for one in said.likeness], pa.string())
    return columns
