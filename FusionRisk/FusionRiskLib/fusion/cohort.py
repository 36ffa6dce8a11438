"""A cohort: patients x columns grouped by modality, visits, sites, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from CardioPrecisionLib.errors import InputError

from .schema import Kind, OutcomeSpec

Array = np.ndarray[Any, Any]
#: Fewer patients than this cannot be split, fitted, calibrated and judged at all.
MIN_PATIENTS = 20


@dataclass(frozen=True)
class Column:
    """One predictor.

    Attributes
    ----------
    name, modality : str
    kind : {"number", "yes_no", "choice"}
        Yes is 1, no is 0, a choice is its place in `choices`.
    choices : tuple of str
    before : int
        Of so many visits before the last one; 0 for the last or only one.
    """

    name: str
    modality: str
    kind: Literal["number", "yes_no", "choice"] = "number"
    choices: tuple[str, ...] = ()
    before: int = 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is to be predicted, one per row.

    Attributes
    ----------
    kind : {"binary", "multiclass", "survival"}
    classes : tuple of str
        Of a binary outcome the second is the event.
    labels : numpy.ndarray or None
        ``(rows,)`` int64, place in `classes`.
    time : numpy.ndarray or None
        ``(rows,)`` float64, to event or last contact.
    event : numpy.ndarray or None
        ``(rows,)`` bool.
    time_unit : str
    horizon : float or None
        Time at which survival is judged.
    names : tuple of str
        Columns of the table that it came from.
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    labels: Array | None = None
    time: Array | None = None
    event: Array | None = None
    time_unit: str = ""
    horizon: float | None = None
    names: tuple[str, ...] = ()

    def take(self, rows: Array) -> Outcome:
        return replace(
            self,
            labels=None if self.labels is None else self.labels[rows],
            time=None if self.time is None else self.time[rows],
            event=None if self.event is None else self.event[rows],
        )

    @property
    def y(self) -> Array:
        """``(rows,)`` class of each row."""
        if self.labels is None:
            raise ValueError("a survival outcome has no classes")
        return self.labels

    @property
    def t(self) -> Array:
        if self.time is None:
            raise ValueError("a class outcome has no times")
        return self.time

    @property
    def e(self) -> Array:
        if self.event is None:
            raise ValueError("a class outcome has no events")
        return self.event

    @property
    def strata(self) -> Array:
        """``(rows,)`` int64 of what folds must share out alike: the class, or event and third of the follow-up."""
        if self.kind != "survival":
            return self.y
        thirds = np.searchsorted(np.quantile(self.t, (1 / 3, 2 / 3)), self.t)
        return self.e.astype(np.int64) * 3 + thirds

    def __len__(self) -> int:
        return len(self.t if self.kind == "survival" else self.y)


class WithColumns:
    """What columns and outcome of patients say, held or streamed."""

    columns: tuple[Column, ...]
    outcome: Outcome | None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def modalities(self) -> tuple[str, ...]:
        """In the order of the columns."""
        return tuple(dict.fromkeys(column.modality for column in self.columns))

    @property
    def target(self) -> Outcome:
        if self.outcome is None:
            raise InputError("The cohort has no outcome; name one in its schema.")
        return self.outcome


@dataclass(frozen=True, eq=False)
class Cohort(WithColumns):
    """Rows of patients.

    Attributes
    ----------
    columns : tuple of Column
    values : numpy.ndarray
        ``(rows, columns)`` float64, NaN where unknown.
    patient : numpy.ndarray
        ``(rows,)`` int64, 0 .. patients - 1 in the order of the table; the identifiers themselves are not kept.
    outcome : Outcome or None
    visit : numpy.ndarray or None
        ``(rows,)`` float64 that puts a patient's rows in order: number, or day of a date.
    site : numpy.ndarray or None
        ``(rows,)`` int64, place in `sites`.
    sites : tuple of str
    times : mapping
        ``"baseline"``, ``"outcome"``, ``"measured:MODALITY"`` -> ``(rows,)`` float64, in days where the table has dates
        and in the unit of the outcome's time else.
    times_in_days : bool
    accept : mapping
        Column -> why the leakage checks may let it through.
    warnings : tuple of str
    """

    columns: tuple[Column, ...]
    values: Array
    patient: Array
    outcome: Outcome | None = None
    visit: Array | None = None
    site: Array | None = None
    sites: tuple[str, ...] = ()
    times: Mapping[str, Array] = field(default_factory=dict)
    times_in_days: bool = False
    accept: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patient))

    def of(self, *modalities: str) -> Cohort:
        """Only the columns of some modalities."""
        unknown = [name for name in modalities if name not in self.modalities]
        if unknown:
            raise InputError(f"The cohort has no modality {unknown[0]!r}; it has {', '.join(self.modalities)}.")
        keep = [i for i, column in enumerate(self.columns) if column.modality in modalities]
        return replace(self, columns=tuple(self.columns[i] for i in keep), values=self.values[:, keep])

    def take(self, rows: Array) -> Cohort:
        """Some rows, patients renumbered."""
        _, first, code = np.unique(self.patient[rows], return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        return replace(
            self,
            values=self.values[rows],
            patient=order[code].astype(np.int64),
            outcome=None if self.outcome is None else self.outcome.take(rows),
            visit=None if self.visit is None else self.visit[rows],
            site=None if self.site is None else self.site[rows],
            times={name: at[rows] for name, at in self.times.items()},
        )


def make_cohort(
    values: Array,
    columns: Sequence[Column],
    outcome: Outcome | None = None,
    patient: Array | None = None,
    **more: Any,
) -> Cohort:
    """A cohort from arrays; without `patient` every row is one."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise ValueError(f"values {values.shape} do not fit {len(columns)} columns")
    if outcome is not None and len(outcome) != len(values):
        raise ValueError(f"{len(outcome)} outcomes for {len(values)} rows")
    patient = np.arange(len(values)) if patient is None else np.asarray(patient, np.int64)
    return Cohort(tuple(columns), values, patient, outcome, **more)


def class_outcome(words: Sequence[str], spec: OutcomeSpec, place: str = "the cohort") -> Outcome:
    """Classes from words, in the order that the schema says.

    Raises
    ------
    InputError
        One class only, more than two of a binary outcome, or a word that the schema does not list.
    """
    found = sorted(set(words))
    classes = list(spec.classes) or found
    stray = [word for word in found if word not in classes]
    if stray:
        raise InputError(f"{place}: {spec.column} holds the class {stray[0][:40]!r}, which the schema does not list.")
    if len(found) < 2:
        only = found[0][:40] if found else "none"
        raise InputError(f"{place}: {spec.column} has one class only ({only!r}); a model needs at least two.")
    if spec.kind == "binary":
        if len(classes) != 2:
            raise InputError(f"{place}: {spec.column} has {len(classes)} classes; a binary outcome has two.")
        if spec.positive is not None:
            if spec.positive not in classes:
                raise InputError(f"{place}: {spec.column} has no class {spec.positive!r}, named as the positive one.")
            classes.sort(key=lambda word: word == spec.positive)
    else:
        classes = [word for word in classes if word in found]
    labels = np.array([classes.index(word) for word in words], dtype=np.int64)
    return Outcome(spec.kind, tuple(classes), labels, names=spec.names)


def survival_outcome(time: Array, event: Array, spec: OutcomeSpec, place: str = "the cohort") -> Outcome:
    """Times and events, with the horizon at which they are judged.

    Raises
    ------
    InputError
        No event, or a horizon at which nobody is watched any more.
    """
    event = np.asarray(event, dtype=bool)
    if not event.any():
        raise InputError(f"{place}: {spec.event} has no event; survival needs patients with and without one.")
    horizon = spec.horizon if spec.horizon is not None else float(np.median(time[event]))
    if horizon >= time.max():
        raise InputError(f"{place}: the horizon {horizon:g} {spec.time_unit} lies beyond the follow-up.")
    return Outcome(
        "survival", time=time, event=event, time_unit=spec.time_unit, horizon=horizon, names=spec.names
    )  # fmt: skip


def check_trainable(cohort: Cohort, folds: int = 5) -> None:
    """Refuse a cohort that no model can be fitted to and judged on.

    Raises
    ------
    InputError
        Too few patients, too few of a class or with an event for the folds, a column that never changes or is empty.
    """
    check_patients(cohort, folds)
    if not cohort.columns:
        raise InputError("The cohort has no predictor; name columns of modalities in its schema.")
    finite = np.isfinite(cohort.values)
    low = np.where(finite, cohort.values, np.inf).min(axis=0)
    high = np.where(finite, cohort.values, -np.inf).max(axis=0)
    refuse_constant(cohort.names, low, high)


def check_patients(cohort: Cohort, folds: int = 5) -> None:
    """Refuse too few patients, or too few of a class or with an event for the folds."""
    outcome = cohort.target
    if cohort.n_patients < MIN_PATIENTS:
        raise InputError(
            f"The cohort has {cohort.n_patients} patients; training and judging need at least {MIN_PATIENTS}."
        )
    if outcome.kind == "survival":
        events = len(np.unique(cohort.patient[outcome.e]))
        if events < 2 * folds:
            raise InputError(f"The cohort has {events} patients with an event; {folds} folds need {2 * folds}.")
    else:
        for i, name in enumerate(outcome.classes):
            count = len(np.unique(cohort.patient[outcome.y == i]))
            if count < folds:
                raise InputError(f"{count} patients are of class {name!r}; {folds} folds need {folds} of each class.")


def refuse_constant(names: Sequence[str], low: Array, high: Array) -> None:
    """Refuse columns that are empty (`low` infinite) or never change; ``(columns,)`` smallest and largest values."""
    empty = [names[i] for i in np.flatnonzero(low > high).tolist()]
    if empty:
        raise InputError(f"The column {_few(empty)} holds no value; exclude it in the schema.")
    constant = [names[i] for i in np.flatnonzero(low == high).tolist()]
    if constant:
        raise InputError(f"The column {_few(constant)} has one value only; exclude it in the schema.")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def align(cohort: Cohort, columns: Sequence[Column], may_lack: Sequence[str] = ()) -> Array:
    """The values of a cohort in the columns of a model.

    Parameters
    ----------
    cohort : Cohort
    columns : sequence of Column
        Of the model.
    may_lack : sequence of str
        Modalities that may be absent as a whole; their values are then NaN.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` float64.

    Raises
    ------
    InputError
        A column is missing, or is read as another kind than the model was trained with.
    """
    places = {name: i for i, name in enumerate(cohort.names)}
    values = np.full((len(cohort), len(columns)), np.nan)
    for j, column in enumerate(columns):
        i = places.get(column.name)
        if i is None:
            if column.modality in may_lack and column.modality not in cohort.modalities:
                continue
            raise InputError(
                f"The column {column.name!r} ({column.modality}) is missing; the model was trained with it."
            )
        given = cohort.columns[i]
        values[:, j] = cohort.values[:, i]
        if column.kind == "choice":
            values[:, j] = _recoded(given, column, values[:, j])
        elif given.kind == "choice":
            raise InputError(f"The column {column.name!r} holds words; the model was trained with numbers.")
    return values


def _recoded(given: Column, wanted: Column, values: Array) -> Array:
    """Places in one list of choices as places in another; a choice that the model never saw is NaN."""
    if given.kind != "choice":
        raise InputError(f"The column {wanted.name!r} holds numbers; the model was trained with words.")
    table = np.array([wanted.choices.index(c) if c in wanted.choices else np.nan for c in given.choices] + [np.nan])
    return np.asarray(table[np.where(np.isnan(values), len(given.choices), values).astype(np.int64)])
