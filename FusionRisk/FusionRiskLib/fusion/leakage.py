"""Checks that stop a run before an answer that leaked into its own question is believed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from scipy.stats import spearmanr

from ..clinical.fields import field_name
from .cohort import Array, Cohort, Column, align
from .folds import Fold
from .metrics.classes import auc
from .schema import DAYS_IN

#: A single column that tells the outcome better than this is taken to be made from it.
PERFECT = 0.99
#: A rank correlation with the follow-up on fewer rows than this says nothing.
_MIN_ROWS = 10
#: Words too common to accuse a column by.
_COMMON = frozenset(
    (
        "age", "class", "diagnosis", "disease", "event", "group", "id", "label", "outcome", "patient", "risk", "score",
        "state", "status", "target", "time", "type", "y",
    )
)  # fmt: skip
_AFTER = re.compile(r"(^|_)(time_to|days_to|months_to|years_to|outcome|died|death|deceased|survived|follow_?up)(_|$)")


class LeakageError(InputError):
    """The answer leaks into the question; the run stops."""


def check_folds(cohort: Cohort, folds: Iterable[Fold]) -> None:
    """Stop where a patient is trained and tested on, or a row is tested twice in a repeat.

    Raises
    ------
    LeakageError
    """
    tested: dict[int, Array] = {}
    for fold in folds:
        shared = np.intersect1d(cohort.patient[fold.train], cohort.patient[fold.test])
        if shared.size:
            raise LeakageError(
                f"Leakage: {shared.size} patients are in training and test of fold {fold.number + 1} "
                f"(repeat {fold.repeat + 1}); split by patient."
            )
        seen = tested.setdefault(fold.repeat, np.zeros(len(cohort), dtype=bool))
        if seen[fold.test].any():
            raise LeakageError(f"Leakage: rows are tested in two folds of repeat {fold.repeat + 1}.")
        seen[fold.test] = True


# -- columns made from the outcome ------------------------------------------------------------------------------------
def check_columns(cohort: Cohort) -> None:
    """Stop where a column was made from the outcome, or the table was standardised or imputed as a whole.

    Raises
    ------
    LeakageError
        With the column and why. The schema's ``accept`` lets a column through, with a reason.
    """
    for j, column in enumerate(cohort.columns):
        if column.name in cohort.accept:
            continue
        values = cohort.values[:, j]
        why = _named_after_outcome(column, cohort) or _tells_outcome(column, values, cohort)
        if why:
            raise LeakageError(f"Leakage: the column {column.name!r} {why}; exclude it, or accept it in the schema.")
        if column.kind == "number" and (why := _prepared(values)):
            raise LeakageError(f"Leakage: the column {column.name!r} {why}; give the values as they were measured.")


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def _named_after_outcome(column: Column, cohort: Cohort) -> str:
    if field_name(column.name) is not None:  # a field of the form is asked for beforehand
        return ""
    name = _words(column.name)
    if _AFTER.search(name):
        return "is named as what is known only afterwards"
    for outcome in map(_words, cohort.target.names):
        if name == outcome or (outcome not in _COMMON and f"_{outcome}_" in f"_{name}_"):
            return f"is named after the outcome {outcome!r}"
    return ""


def _scores(column: Column, values: Array, event: Array) -> Array:
    """A column as one number per row: for words the share of events among rows of the other half with the same word.

    Not of all other rows: leaving out the row itself gives those with an event a smaller share than their neighbours
    without, which would tell them apart by itself.
    """
    if column.kind != "choice":
        return values
    codes = len(column.choices)
    code = np.where(np.isnan(values), codes, values).astype(np.int64)
    half = np.random.default_rng(0).permutation(len(values)) % 2 == 0
    share = np.full(len(values), np.nan)
    for own, other in ((half, ~half), (~half, half)):
        count = np.bincount(code[other], minlength=codes + 1)
        events = np.bincount(code[other], weights=event[other], minlength=codes + 1)
        share[own] = np.where(count > 0, events / np.maximum(count, 1), np.nan)[code[own]]
    return np.where(np.isnan(values), np.nan, share)


def _either_way(event: Array, values: Array) -> float:
    known = np.isfinite(values)
    if known.sum() < _MIN_ROWS or known.mean() < 0.5:
        return 0.0
    a = auc(event[known], values[known])
    return max(a, 1 - a) if np.isfinite(a) else 0.0


def _correlation(a: Array, b: Array) -> float:
    known = np.isfinite(a)
    if known.sum() < _MIN_ROWS or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return 0.0
    return abs(float(spearmanr(a[known], b[known]).statistic))


def _tells_outcome(column: Column, values: Array, cohort: Cohort) -> str:
    outcome = cohort.target
    missing = np.isnan(values)
    if outcome.kind == "survival":
        events = {"the event": outcome.e}
    else:
        pairs = enumerate(outcome.classes)
        events = {f"{name!r}": outcome.y == k for k, name in pairs if outcome.kind != "binary" or k == 1}
    for name, event in events.items():
        found = _either_way(event, _scores(column, values, event.astype(float)))
        if found >= PERFECT:
            return f"alone tells {name} from the rest (AUC {found:.3f})"
        found = _either_way(event, missing.astype(float))
        if found >= PERFECT:
            return f"is known exactly where {name} is or is not (AUC of its absence {found:.3f})"
    if outcome.kind == "survival" and column.kind == "number":
        for rows, whom in ((slice(None), "the follow-up"), (outcome.e, "the time of the events")):
            found = _correlation(values[rows], outcome.t[rows])
            if found >= PERFECT:
                return f"follows {whom} (rank correlation {found:.3f})"
    return ""


# -- preprocessing outside of the folds -------------------------------------------------------------------------------
def _prepared(values: Array) -> str:
    """Traces in the table itself that all patients were used to standardise or to impute a column."""
    known = values[np.isfinite(values)]
    if len(known) < _MIN_ROWS:
        return ""
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) > 5 and abs(known.mean()) < 1e-6:
        spread = (known.std(), known.std(ddof=1))
        if min(abs(s - 1) for s in spread) < 1e-6:
            return "was standardised over all patients before the folds (mean 0, spread 1)"
    most = int(counts.argmax())
    rest = known[known != distinct[most]]
    if counts[most] >= 3 and len(rest) >= _MIN_ROWS:
        near = abs(distinct[most] - rest.mean()) <= 1e-9 * max(np.abs(rest).max(), 1e-300)
        # measured values are written with some digits; a mean has more of them than any
        rounded = np.abs(rest * 1e4 - np.round(rest * 1e4)).max() < 1e-6
        finer = abs(distinct[most] * 1e4 - round(float(distinct[most]) * 1e4)) > 1e-6
        if near and (finer or not rounded):
            return f"holds {counts[most]} times the mean of its other values: it was imputed before the folds"
    return ""


def fingerprint(values: Array) -> str:
    """SHA-256 of the numbers that something was fitted on."""
    return hashlib.sha256(repr(values.shape).encode() + canonical_bytes(values)).hexdigest()


def canonical_bytes(values: Array) -> bytes:
    """Row by row, with one kind of NaN."""
    return np.ascontiguousarray(np.where(np.isnan(values), np.nan, values), dtype="<f8").tobytes()


@dataclass(frozen=True)
class FittedPart:
    """A part of a model that learned from rows: its columns and the fingerprint of the values it saw."""

    name: str
    columns: tuple[Column, ...]
    fitted_on: str


def check_fitted(parts: Sequence[FittedPart], cohort: Cohort, train: Array) -> None:
    """Stop where a part of a model (imputation, scaling, a base model) saw other rows than those of its fold.

    Raises
    ------
    LeakageError
    """
    known: dict[tuple[Column, ...], set[str]] = {}
    for part in parts:
        if part.columns not in known:
            values = align(cohort, part.columns)[train]
            # the model of one modality is fitted on the training rows that have it
            present = values[np.isfinite(values).any(axis=1)]
            known[part.columns] = {fingerprint(values), fingerprint(present)}
        if part.fitted_on not in known[part.columns]:
            raise LeakageError(
                f"Leakage: the {part.name} was not fitted on the {len(train)} training rows of its fold; fit it inside."
            )


# -- time -------------------------------------------------------------------------------------------------------------
def check_times(cohort: Cohort) -> list[str]:
    """Stop where an examination lies at or after the outcome that it is to predict.

    Returns
    -------
    list of str
        Warnings: examinations after the baseline from which survival is counted.

    Raises
    ------
    LeakageError
    """
    warnings = []
    outcome = cohort.target
    baseline = cohort.times.get("baseline")
    end: Any = cohort.times.get("outcome")
    if end is None and outcome.kind == "survival" and baseline is not None:
        end = baseline + outcome.t * (DAYS_IN[outcome.time_unit] if cohort.times_in_days else 1.0)
    for name, at in cohort.times.items():
        modality = name.removeprefix("measured:")
        if modality == name:
            continue
        if end is not None:
            late = int((at >= end).sum())
            if late:
                raise LeakageError(
                    f"Leakage: {modality} was examined at or after the outcome in {late} rows; leave these values out."
                )
        if baseline is not None and outcome.kind == "survival" and (after := int((at > baseline).sum())):
            warnings.append(
                f"{modality} was examined after the baseline in {after} rows: these patients had to live until then."
            )
    return warnings


def check_all(cohort: Cohort, folds: Sequence[Fold]) -> list[str]:
    """All checks that need no model; warnings for the user.

    Raises
    ------
    LeakageError
    """
    check_folds(cohort, folds)
    check_columns(cohort)
    return check_times(cohort)
