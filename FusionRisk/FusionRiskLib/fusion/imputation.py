"""How well gaps are filled: known values are hidden at random and each way of filling in says what they were.

Values are hidden completely at random. Real gaps are not: a test is left out because of who the patient is. The
comparison tells which method knows the columns best, not whether filled-in values are right where they are really
missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import json_able

from .cohort import MIN_PATIENTS, Array, Cohort, Column
from .folds import outer_folds
from .joint import JointModel
from .metrics.bootstrap import Estimate, bootstrap
from .models import LateModel, Model
from .preprocess import Impute, Preprocessor
from .vae import MIN_DIFFERENT, MIN_ROWS

SCHEMA = "cardioprecision/imputation/1"
METHODS: tuple[Impute, ...] = get_args(Impute)
#: The others are compared with this one.
REFERENCE: Impute = "chained"
LEVEL = 0.9
_DRAWS = 100
_NEEDED = f"it needs {MIN_ROWS}, {MIN_DIFFERENT} of them different"
AT_RANDOM = (
    "Known values were hidden completely at random. Real gaps are not random; how well those are filled nobody can see."
)


@dataclass(frozen=True)
class ColumnReport:
    """One column.

    Attributes
    ----------
    kind : {"number", "two values", "words"}
    cells : int
        Hidden values that were judged, over all repeats.
    missing : float
        Share of the rows in which it is really missing.
    methods : mapping
        Method -> metric -> estimate. Numbers: ``rmse`` in units of the column's standard deviation and ``coverage`` of
        draws. Others: ``log_loss`` and ``accuracy``.
    """

    kind: str
    cells: int
    missing: float
    methods: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True)
class ImputationReport:
    """All methods on the same hidden values.

    Attributes
    ----------
    columns : mapping
        Name -> report.
    overall : mapping
        Method -> metric -> estimate, every column with the same weight.
    differences : mapping
        Method -> metric -> method minus `REFERENCE`, paired interval.
    patients, folds, repeats, seed : int
    share : float
    level : float
        Of the draws.
    warnings : list of str
    """

    columns: Mapping[str, ColumnReport]
    overall: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]
    patients: int
    share: float
    folds: int
    repeats: int
    seed: int
    level: float = LEVEL
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"schema": SCHEMA, **json_able(self)}
        return document


@dataclass(frozen=True, eq=False)
class Filled:
    """What a method says of rows with gaps.

    Attributes
    ----------
    value : numpy.ndarray
        ``(rows, columns)`` numbers in the column's unit; NaN of others.
    p : list of numpy.ndarray
        Per column ``(rows, choices)`` probabilities; empty of numbers.
    low, high : numpy.ndarray
        ``(rows, columns)`` quantiles of draws of numbers; NaN where the method has none.
    by : str
        What filled in.
    """

    value: Array
    p: list[Array]
    low: Array
    high: Array
    by: Impute


def column_choices(cohort: Cohort) -> list[Array]:
    """Per column the values that it can take: none of a number, the two of one with two, places of words."""
    choices = []
    for j, column in enumerate(cohort.columns):
        distinct = np.unique(cohort.values[np.isfinite(cohort.values[:, j]), j])
        if column.kind == "choice":
            choices.append(np.arange(len(column.choices), dtype=np.float64))
        elif column.kind == "yes_no":
            choices.append(np.array([0.0, 1.0]))
        else:
            choices.append(distinct if len(distinct) == 2 else np.zeros(0))
    return choices


def fill_in(
    train: Array,
    test: Array,
    columns: Sequence[Column],
    choices: Sequence[Array],
    method: Impute,
    seed: Sequence[int] = (0,),
) -> Filled:
    """Fit a method to training rows and let it fill the gaps of others.

    Parameters
    ----------
    train, test : numpy.ndarray
        ``(rows, columns)``, NaN where unknown or hidden.
    columns : sequence of Column
    choices : sequence of numpy.ndarray
        Of `column_choices`.
    method : {"median", "chained", "vae"}
    seed : sequence of int
        Of the draws.

    Notes
    -----
    Probabilities of ``median`` and those of words by ``chained`` are the shares of the training rows; ``chained`` takes
    what its straight line says of two values for a probability.
    """
    fitted = Preprocessor.fit(train, columns, method)
    by = fitted.imputed_by
    n = len(columns)
    said = fitted.slots(test)
    owner = fitted.owners[: said.shape[1]]
    value = np.full(test.shape, np.nan)
    p: list[Array] = []
    for j in range(n):
        own = said[:, owner == j]
        if columns[j].kind != "choice":
            own = own * fitted.scale[j] + fitted.center[j]
        if not len(choices[j]):
            value[:, j] = own[:, 0]
            p.append(np.zeros((len(test), 0)))
            continue
        known = train[np.isfinite(train[:, j]), j]
        floor = 0.5 / (len(known) + 1)
        shares = np.array([np.mean(known == c) if len(known) else 1.0 for c in choices[j]])
        if columns[j].kind == "choice":
            each = own if by == "vae" and len(known) else np.tile(shares, (len(test), 1))
        elif by == "median" or not len(known):
            each = np.tile(shares, (len(test), 1))
        else:
            second = np.clip((own - choices[j][0]) / np.ptp(choices[j]), 0, 1)
            each = np.hstack([1 - second, second])
        each = np.maximum(each, floor)
        p.append(each / each.sum(axis=1, keepdims=True))
    low, high = np.full(test.shape, np.nan), np.full(test.shape, np.nan)
    if by != "median":
        rng = np.random.default_rng(tuple(seed))
        numbers = np.array([not len(c) for c in choices], dtype=bool)
        slot = np.searchsorted(owner, np.flatnonzero(numbers))
        drawn = np.stack([fitted.slots(test, rng)[:, slot] for _ in range(_DRAWS)])
        tails = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
        low[:, numbers], high[:, numbers] = tails * fitted.scale[numbers] + fitted.center[numbers]
    return Filled(value, p, low, high, by)


def hidden_cells(cohort: Cohort, share: float, repeat: int, seed: int) -> Array:
    """``(rows, columns)`` bool: which of the known values are hidden."""
    drawn = np.random.default_rng((seed, 1, repeat)).random(cohort.values.shape)
    return np.isfinite(cohort.values) & (drawn < share)


def compare_imputation(
    cohort: Cohort,
    share: float = 0.2,
    repeats: int = 1,
    seed: int = 0,
    folds: int = 5,
    methods: Sequence[Impute] = METHODS,
    resamples: int = 500,
    progress: Progress = silent,
) -> ImputationReport:
    """Hide known values at random and compare what fills them in.

    Each method is fitted on the training rows of a fold, which have their own gaps and hidden values, and judged on the
    hidden values of the test rows.

    Parameters
    ----------
    cohort : Cohort
        Its outcome is not used to fill in; it only shares out the folds.
    share : float
        Of the known values that is hidden.
    repeats, seed, folds : int
        Of folds and hidden values.
    methods : sequence of str
    resamples : int
        Of the bootstrap over patients; the methods are not refitted in it.
    progress : callable

    Raises
    ------
    InputError
        Too few patients, a share that leaves nothing, or no column that can be judged.
    """
    if not 0.0 < share <= 0.8:
        raise InputError(f"A share of {share:g} of the values cannot be hidden; choose more than 0 and up to 0.8.")
    stray = [method for method in methods if method not in METHODS]
    if stray or not methods:
        raise InputError(f"There is no imputation {stray[0] if stray else ''!r}; choose {', '.join(METHODS)}.")
    if repeats < 1:
        raise InputError("Comparing needs at least 1 repeat.")
    if cohort.n_patients < MIN_PATIENTS:
        raise InputError(f"The cohort has {cohort.n_patients} patients; comparing needs at least {MIN_PATIENTS}.")
    choices = column_choices(cohort)
    known = np.isfinite(cohort.values)
    changes = np.array([len(np.unique(cohort.values[known[:, j], j])) > 1 for j in range(len(cohort.columns))])
    if not changes.any():
        raise InputError("No column has two different values; there is nothing to fill in.")
    spread = np.array([np.std(cohort.values[known[:, j], j]) if changes[j] else 1.0 for j in range(len(changes))])
    warnings = [f"{name!r} never changes and was not judged." for name in np.array(cohort.names)[~changes].tolist()]
    tally = _Tally(cohort, choices, spread, methods)
    fell_back = 0
    made = outer_folds(cohort, folds, repeats, seed)
    for i, fold in enumerate(made):
        hidden = hidden_cells(cohort, share, fold.repeat, seed)
        values = np.where(hidden, np.nan, cohort.values)
        for k, method in enumerate(methods):
            progress((i + k / len(methods)) / len(made) * 0.9, f"fold {i + 1} of {len(made)}: {method}")
            found = fill_in(
                values[fold.train], values[fold.test], cohort.columns, choices, method, (seed, 2, fold.repeat, i)
            )
            fell_back += found.by != method and method == "vae"
            tally.add(method, fold.test, hidden[fold.test] & changes, found)
    if fell_back:
        warnings.append(
            f"In {fell_back} of {len(made)} folds there were too few training rows for the autoencoder ({_NEEDED}); "
            "chained regressions stood in for it."
        )
    estimates = bootstrap(tally.statistics, cohort.patient, resamples, seed, progress=part(progress, 0.9, 1.0))
    progress(1.0, "done")
    named = [(j, cohort.names[j]) for j in np.flatnonzero(changes)]
    return ImputationReport(
        columns={
            name: ColumnReport(
                kind="number" if not len(choices[j]) else "words" if len(choices[j]) > 2 else "two values",
                cells=int(tally.cells[:, j].sum()),
                missing=float(1 - known[:, j].mean()),
                methods={m: _of(estimates, f"{j}|{m}|") for m in methods},
            )
            for j, name in named
        },
        overall={m: _of(estimates, f"all|{m}|") for m in methods},
        differences={m: _of(estimates, f"difference|{m}|") for m in methods if m != REFERENCE},
        patients=cohort.n_patients,
        share=share,
        folds=folds,
        repeats=repeats,
        seed=seed,
        warnings=[*warnings, AT_RANDOM],
    )


def _of(estimates: Mapping[str, Estimate], prefix: str) -> dict[str, Estimate]:
    return {k.removeprefix(prefix): e for k, e in estimates.items() if k.startswith(prefix) and e.value is not None}


class _Tally:
    """Sums per row and column of what the metrics are made of, so that a resample of the patients only adds them up."""

    def __init__(self, cohort: Cohort, choices: Sequence[Array], spread: Array, methods: Sequence[Impute]):
        self._cohort, self._choices, self._spread, self._methods = cohort, choices, spread, methods
        self.cells = np.zeros(cohort.values.shape)
        self._number = np.array([not len(c) for c in choices], dtype=bool)
        self._sums = {(str(m), name): np.zeros(cohort.values.shape) for m in methods for name in ("loss", "held")}
        self._draws = dict.fromkeys(methods, False)

    def add(self, method: Impute, rows: Array, hidden: Array, found: Filled) -> None:
        truth = self._cohort.values[rows]
        loss, held = np.zeros(truth.shape), np.zeros(truth.shape)
        for j, choices in enumerate(self._choices):
            t = truth[:, j]
            if not len(choices):
                loss[:, j] = ((found.value[:, j] - t) / self._spread[j]) ** 2
                held[:, j] = (t >= found.low[:, j]) & (t <= found.high[:, j])
                continue
            place = np.searchsorted(choices, np.where(hidden[:, j], t, choices[0]))
            loss[:, j] = -np.log(found.p[j][np.arange(len(rows)), place])
            held[:, j] = found.p[j].argmax(axis=1) == place
        for what, each in (("loss", loss), ("held", held)):
            self._sums[str(method), what][rows] += np.where(hidden, each, 0.0)
        self._draws[method] |= found.by != "median"
        if method == self._methods[0]:
            self.cells[rows] += hidden

    def statistics(self, rows: Array) -> dict[str, float]:
        """Every number of the report on some rows."""
        count = np.maximum(self.cells[rows].sum(axis=0), 1e-300)  # of no cells the sums are 0, too
        judged = np.flatnonzero(self.cells.sum(axis=0) > 0)
        found: dict[str, float] = {}
        overall: dict[str, dict[str, float]] = {}
        for method in self._methods:
            loss, held = (self._sums[method, name][rows].sum(axis=0) / count for name in ("loss", "held"))
            loss, held = (np.where(count >= 1, each, np.nan) for each in (loss, held))
            for j in judged.tolist():
                own = self._metrics(method, np.array([j]), loss, held)
                found |= {f"{j}|{method}|{name}": value for name, value in own.items()}
            overall[method] = self._metrics(method, judged, loss, held)
            found |= {f"all|{method}|{name}": value for name, value in overall[method].items()}
        against = overall.get(REFERENCE, {})
        for other, own in overall.items():
            if other != REFERENCE:
                found |= {f"difference|{other}|{k}": v - against[k] for k, v in own.items() if k in against}
        return found

    def _metrics(self, method: Impute, columns: Array, loss: Array, held: Array) -> dict[str, float]:
        """Metrics of some columns together."""
        numbers, others = columns[self._number[columns]], columns[~self._number[columns]]
        found = {}
        if len(numbers):
            found["rmse"] = float(np.sqrt(_mean(loss[numbers])))
            if self._draws[method]:
                found["coverage"] = _mean(held[numbers])
        if len(others):
            found |= {"log_loss": _mean(loss[others]), "accuracy": _mean(held[others])}
        return found


def _mean(values: Array) -> float:
    """Of those that are there; NaN of none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


# -- of models --------------------------------------------------------------------------------------------------------
def preprocessors_of(model: Model) -> dict[str, Preprocessor]:
    """What prepares the columns of a model, by modality; one of early fusion and of the graph is named ``""``."""
    if isinstance(model, LateModel):
        return {name: base.preprocessor for name, base in model.bases.items()}
    if isinstance(model, JointModel):
        return dict(model.preprocessors)
    return {"": model.preprocessor}


def fallbacks(model: Model) -> list[str]:
    """Lines about parts of a model whose gaps are not filled by what was asked for."""
    if model.config.impute != "vae":
        return []
    where = [name for name, p in preprocessors_of(model).items() if p.imputed_by != "vae"]
    return [
        f"Too few training patients have {name or 'the columns'} for the autoencoder ({_NEEDED}); chained regressions "
        "fill the gaps there."
        for name in where
    ]
