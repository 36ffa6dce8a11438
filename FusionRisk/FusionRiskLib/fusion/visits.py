"""Repeated visits of a patient in one row: the first, the change between first and last, or all of the last few."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from .cohort import Array, Cohort, Column
from .preprocess import Preprocessor
from .sequence_net import Width

Visits = Literal["baseline", "change", "sequence"]
VISITS = get_args(Visits)
#: Visits before the last that are kept, at most, and how many patients must have one.
MAX_BEFORE, _MIN_PATIENTS = 7, 10


def one_row_each(cohort: Cohort, how: Visits, names: Collection[str] = ()) -> Cohort:
    """One row per patient of a cohort with repeated visits.

    Parameters
    ----------
    cohort : Cohort
    how : {"baseline", "change", "sequence"}
        ``baseline``: the first visit and its outcome. ``change``: the last visit and its outcome, with a column
        ``NAME_change`` (last minus first visit, NaN for a single visit) beside every number that changes in somebody.
        ``sequence``: the outcome of the last visit; of every modality the last visit at which it was measured, with
        columns ``NAME_before1``, ``NAME_before2``, … of the visits before it beside everything that changes in
        somebody, and ``MODALITY_time_before1``, … how long before (in the unit of the visits; days where they are
        dates). What never changes is the last value that is known.
    names : collection of str
        Columns of a model: where there are any, just those are added, whether or not anything changes here.

    Returns
    -------
    Cohort
    """
    if cohort.visit is None:
        return cohort
    order = np.lexsort((cohort.visit, cohort.patient))
    patients = cohort.patient[order]
    first = order[np.r_[True, patients[1:] != patients[:-1]]]
    last = order[np.r_[patients[1:] != patients[:-1], True]]
    if how == "baseline":
        return replace(cohort.take(np.sort(first)), visit=None)
    if how == "sequence":
        return _sequence(cohort, order, last, names)
    # both lists run over the patients in the same order
    change = cohort.values[last] - cohort.values[first]
    change[first == last] = np.nan
    keep = [
        i
        for i, column in enumerate(cohort.columns)
        if column.kind == "number"
        and (f"{column.name}_change" in names if names else np.nanmax(np.abs(change[:, i]), initial=0) > 0)
    ]
    taken = cohort.take(last)
    added = tuple(replace(cohort.columns[i], name=f"{cohort.columns[i].name}_change") for i in keep)
    return replace(
        taken, visit=None, columns=(*taken.columns, *added), values=np.hstack([taken.values, change[:, keep]])
    )


def how_joined(columns: Sequence[Column]) -> Visits:
    """How the visits were joined for a model with these columns."""
    if any(column.before for column in columns):
        return "sequence"
    return "change" if any(column.name.endswith("_change") for column in columns) else "baseline"


def _sequence(cohort: Cohort, order: Array, last: Array, names: Collection[str]) -> Cohort:
    assert cohort.visit is not None
    patient, visit, values = cohort.patient[order], cohort.visit[order], cohort.values[order]
    n = int(patient[-1]) + 1 if len(patient) else 0
    columns: list[Column] = []
    made: list[Array] = []
    for modality in cohort.modalities:
        own = [j for j, column in enumerate(cohort.columns) if column.modality == modality]
        there = np.asarray(np.isfinite(values[:, own]).any(axis=1))
        before = _visits_after(patient, there)
        latest = np.full((n, len(own)), np.nan)
        when = np.full(n, np.nan)
        at = there & (before == 0)
        latest[patient[at]], when[patient[at]] = values[np.ix_(at, own)], visit[at]
        moving = [k for k, j in enumerate(own) if _moves(cohort.columns[j], values[:, j], patient, names)]
        for k, j in enumerate(own):
            if k not in moving:
                latest[:, k] = _last_known(values[:, j], patient, n)
        columns += [cohort.columns[j] for j in own]
        made.append(latest)
        for step in range(1, MAX_BEFORE + 1):
            at = there & (before == step)
            time = f"{modality}_time_before{step}"
            if not moving or not (time in names if names else at.sum() >= _MIN_PATIENTS):
                break
            earlier = np.full((n, 1 + len(moving)), np.nan)
            earlier[patient[at], 0] = when[patient[at]] - visit[at]
            earlier[patient[at], 1:] = values[np.ix_(at, [own[k] for k in moving])]
            columns.append(Column(time, modality, before=step))
            columns += [
                replace(cohort.columns[own[k]], name=f"{cohort.columns[own[k]].name}_before{step}", before=step)
                for k in moving
            ]
            made.append(earlier)
    # `take` numbers patients in the order of the table, as `patient` does
    return replace(cohort.take(last), visit=None, columns=tuple(columns), values=np.hstack(made))


def _visits_after(patient: Array, there: Array) -> Array:
    """``(rows,)`` how many later rows of the patient are `there`; rows are sorted by patient and time."""
    total = np.cumsum(there)
    end = np.r_[np.flatnonzero(patient[1:] != patient[:-1]), len(patient) - 1] if len(patient) else np.zeros(0, int)
    return np.asarray(total[end][np.searchsorted(end, np.arange(len(patient)))] - total)


def _moves(column: Column, values: Array, patient: Array, names: Collection[str]) -> bool:
    """Whether a number, or yes or no, changes in some patient, or is in a model for earlier visits."""
    if column.kind == "choice":
        return False
    if names:
        return f"{column.name}_before1" in names
    known = np.isfinite(values)
    own, value = patient[known], values[known]
    return bool(((own[1:] == own[:-1]) & (value[1:] != value[:-1])).any())


def _last_known(values: Array, patient: Array, n: int) -> Array:
    found = np.full(n, np.nan)
    known = np.isfinite(values)
    found[patient[known]] = values[known]  # rows are in the order of time: the last one stays
    return found


# -- for a net that reads visits in their order -----------------------------------------------------------------------
def visit_features(preprocessor: Preprocessor, values: Array, x: Array | None = None) -> tuple[Array, Width]:
    """What a net reads: what is known now, then the visits from the earliest to the last.

    Parameters
    ----------
    preprocessor : Preprocessor
    values : numpy.ndarray
        ``(rows, columns)`` of its columns, NaN where unknown.
    x : numpy.ndarray, optional
        ``(rows, features)`` that it has made of them already.

    Returns
    -------
    features : numpy.ndarray
        ``(rows, static + steps * channels)``, clipped to ±8. The channels of a visit are the numbers that change, how
        long before the last it was, and 1 where there was such a visit.
    width : Width
    """
    x = np.clip(
        preprocessor.transform(values) if x is None else x, -8, 8
    )  # a typing error must not shout all else down
    columns, owners = preprocessor.columns, preprocessor.owners
    place = {columns[j].name: i for i, j in reversed(list(enumerate(owners))) if columns[j].kind != "choice"}
    shown = x.shape[1] - len(preprocessor.gaps)
    static = [i for i, j in enumerate(owners) if i >= shown or not columns[j].before]
    steps = max((column.before for column in columns), default=0)
    if not steps:
        return x, Width(x.shape[1])
    first = [column for column in columns if column.before == 1]
    bases = [column.name.removesuffix("_before1") for column in first]
    index = {column.name: j for j, column in enumerate(columns)}
    times = [base for base, column in zip(bases, first) if base == f"{column.modality}_time"]
    visits = np.zeros((len(x), steps + 1, len(bases) + 1))
    for k in range(steps + 1):
        for c, base in enumerate(bases):
            name = f"{base}_before{k}" if k else base
            if name in place:  # the last visit has no time before itself, and a modality may have fewer visits
                visits[:, steps - k, c] = x[:, place[name]]
        when = [index[f"{time}_before{k}"] for time in times if f"{time}_before{k}" in index]
        visits[:, steps - k, -1] = np.isfinite(values[:, when]).any(axis=1) if k else 1.0
    return np.hstack([x[:, static], visits.reshape(len(x), (steps + 1) * visits.shape[2])]), Width(
        len(static), visits.shape[2]
    )
