"""Early and late fusion fitted to a table that is streamed; the models are those of `models`.

Fold models are needed for what a stacker learns from and for conformal limits. They share the scaling and filling of
the whole table, which no outcome went into, and their coefficients come from one Newton step; see `asked.Fitted`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.errors import InputError

from .. import big
from ..calibration import limits_of
from ..cohort import Array, Cohort, Column, Outcome, make_cohort
from ..learners import Cox, Learned, Logistic
from ..model_config import ModelConfig, Target, evidence, evidence_width
from ..models import EarlyModel, LateModel, Model, _check_modality, _fit_early
from ..prediction import Prediction
from ..preprocess import Preprocessor
from ..recalibration import quality
from ..sequence_net import Width
from .asked import FOLDS, Asked, Fitted, deal, draw, pairs, singles
from .cox import fit_cox
from .features import Features, Held, Streamed, finished, rising
from .look import Looked, sample_rows
from .newton import fit_logistic, mapped
from .rows import BigTable

#: Learners that are fitted in passes.
LEARNERS = ("logistic", "cox")


@dataclass(frozen=True, eq=False)
class Trained:
    """A model and its members; conformal limits and quality by the models of folds, on rows of the sample."""

    model: Model
    members: tuple[Model, ...]
    conformal: dict[str, Any]
    quality: dict[str, float]


def train_rows(
    looked: Looked,
    config: ModelConfig,
    members: int = 40,
    level: float = 0.9,
    seed: int = 0,
    progress: Progress = silent,
) -> Trained:
    """Fit a model of the table's columns of `config.modalities`, or of all.

    Raises
    ------
    InputError
        A learner that does not fit the outcome, too few patients of a modality, one modality only for late fusion.
    """
    table, outcome = looked.table, looked.table.target
    names = check_asked(table, config)
    asked = Asked(deal(outcome, seed), draw(len(table), members, seed))
    if config.kind == "early":
        columns = tuple(j for name in table.modalities if name in names for j in table.of(name))
        base = _fit_base(looked, columns, None, config, replace(asked, without=singles()), seed, progress)
        return Trained(base.model, base.members, *_judged_early(base, looked, columns, asked.fold, level))
    return _fit_late(looked, config, names, replace(asked, without=[*singles(), *pairs()]), level, seed, progress)


def check_asked(table: BigTable, config: ModelConfig) -> tuple[str, ...]:
    """The modalities that a model uses.

    Raises
    ------
    InputError
        The learner does not fit the outcome, a modality is not there, or late fusion has one only.
    """
    kind, names = table.target.kind, config.modalities or table.modalities
    fitting = "cox" if kind == "survival" else "logistic"
    if config.learner != fitting:
        raise InputError(f"The learner {config.learner!r} does not fit a {kind} outcome; choose {fitting}.")
    stray = [m for m in names if m not in table.modalities]
    if stray:
        raise InputError(f"The table has no modality {stray[0]!r}; it has {', '.join(table.modalities)}.")
    if config.kind == "late" and len(names) < 2:
        raise InputError("Late fusion needs at least two modalities; use early fusion.")
    return names


# -- one model on prepared columns ------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class _Base:
    """A model on all rows, on those outside of some folds, and its members; all share one preparation."""

    model: EarlyModel
    fitted: Fitted
    features: Features

    def of(self, learned: Learned) -> EarlyModel:
        return replace(self.model, learned=learned)

    @property
    def members(self) -> tuple[EarlyModel, ...]:
        return tuple(self.of(one) for one in self.fitted.members)


def _fit_base(
    looked: Looked,
    columns: tuple[int, ...],
    present: Array | None,
    config: ModelConfig,
    asked: Asked,
    seed: int,
    progress: Progress,
) -> _Base:
    table = looked.table
    own = looked.sample.values[:, list(columns)]
    held = np.arange(len(own)) if present is None else np.flatnonzero(present[looked.rows])
    sample = replace(looked.sample, columns=tuple(table.columns[j] for j in columns), values=own).take(held)
    start, _ = _chosen(sample, config, seed, part(progress, 0.0, 0.3))
    rows = len(table) if present is None else int(present.sum())
    prepared = Streamed(
        table,
        columns,
        looked.preprocessor(columns, rows, config.impute),
        present,
        rising(part(progress, 0.3, 0.35), "mean"),
    )
    features = replace(finished(prepared), progress=rising(part(progress, 0.35, 1.0), "fitting"))
    outcome = table.target if present is None else table.target.take(np.flatnonzero(present))
    return _solved(
        features, features.preprocessor, outcome, config, start, asked if present is None else asked.take(present)
    )


def _chosen(sample: Cohort, config: ModelConfig, seed: int, progress: Progress) -> tuple[EarlyModel, Any]:
    """The model of a sample, with the setting that its inner folds chose."""
    drawn = sample.take(sample_rows(sample.target, big.SETTING_ROWS, seed))
    return _fit_early(drawn, config, seed, progress, learn=_learn)


def _learn(
    kind: str, x: Array, outcome: Outcome, setting: Mapping[str, float], seed: int, width: Width | None = None
) -> Learned:
    """As `learners.fit_learner`, with the solvers of this package: many rows are no trouble to them."""
    nothing = Asked.nothing(len(x))
    if kind == "cox":
        return fit_cox(Held(x), outcome, setting["penalty"], None, nothing).learned
    return fit_logistic(Held(x), outcome, setting["c"], None, nothing).learned


def _solved(
    features: Features, prepared: Preprocessor, outcome: Outcome, config: ModelConfig, start: EarlyModel, asked: Asked
) -> _Base:
    """The solution for all rows, from the start and with the setting of a sample's model."""
    names = start.preprocessor.features, prepared.features
    if isinstance(start.learned, Cox):
        placed = mapped(Logistic(start.learned.coef[None], np.zeros(1)), *names)
        first = replace(start.learned, coef=placed.coef[0])
        fitted = fit_cox(features, outcome, start.setting["penalty"], first, asked)
    else:
        assert isinstance(start.learned, Logistic)
        fitted = fit_logistic(features, outcome, start.setting["c"], mapped(start.learned, *names), asked)
    model = EarlyModel(config, Target.of(outcome), prepared, fitted.learned, start.setting)
    return _Base(model, fitted, features)


def at_horizon(learned: Learned, horizon: float | None) -> Learned:
    """A Cox model with only the times around the horizon: the same risk by then, without the whole curve."""
    if not isinstance(learned, Cox) or horizon is None:
        return learned
    right = int(np.clip(np.searchsorted(np.r_[0.0, learned.times], horizon, side="right"), 1, len(learned.times)))
    near = slice(max(right - 2, 0), right)
    return Cox(learned.coef, learned.times[near], learned.hazard[near])


# -- early ------------------------------------------------------------------------------------------------------------
def _judged_early(
    base: _Base, looked: Looked, columns: tuple[int, ...], fold: Array, level: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """Conformal limits and quality on the sample, every row of which is predicted by the model without its fold."""
    values = looked.sample.values[:, list(columns)]
    of_fold = fold[looked.rows]
    rows = [np.flatnonzero(of_fold == k) for k in range(FOLDS)]
    said = [base.of(base.fitted.without[(k,)]).predict(values[own]) for k, own in enumerate(rows)]
    known = looked.sample.target.take(np.concatenate(rows))
    return limits_of(said, known, level), quality(_joined(said, known.horizon), known)


def _joined(said: Sequence[Prediction], horizon: float | None) -> Prediction:
    """Rows of several predictions; of survival only what they say of the horizon, since each has times of its own."""
    if horizon is None:
        return Prediction(np.vstack([one.p for one in said]))
    return Prediction(times=np.array([horizon]), survival=np.vstack([one.survival_at([horizon]) for one in said]))


# -- late -------------------------------------------------------------------------------------------------------------
def _fit_late(
    looked: Looked,
    config: ModelConfig,
    names: Sequence[str],
    asked: Asked,
    level: float,
    seed: int,
    progress: Progress,
) -> Trained:
    """Models of the modalities, and a stacker on what models said of rows that they had not seen.

    ``said[k]`` is what is known without fold k: of its own rows by models without k, of the rows of another fold j by
    models without j and k. A stacker on it, without the rows of k, has seen nothing of k.
    """
    table, outcome = looked.table, looked.table.target
    target = Target.of(outcome)
    width, n, held = evidence_width(target), len(table), looked.rows
    said = np.full((FOLDS, n, width * len(names)), np.nan, dtype=np.float32)
    moved = np.zeros((asked.weights.shape[1], len(held), width * len(names)), dtype=np.float32)
    columns: list[Column] = []
    bases: dict[str, _Base] = {}
    for m, name in enumerate(names):
        share = part(progress, 0.9 * m / len(names), 0.9 * (m + 1) / len(names))
        present = looked.present[name]
        rows = np.flatnonzero(present)
        everybody = Cohort((), np.empty((len(rows), 0)), np.arange(len(rows)), outcome.take(rows))
        _check_modality(everybody, name, config.inner_folds)
        own = replace(config, kind="early", modalities=(name,))
        base = _fit_base(
            looked, tuple(table.of(name)), None if present.all() else present, own, asked, seed, part(share, 0.0, 0.8)
        )
        place = slice(m * width, (m + 1) * width)
        _say(base, rows, asked.fold, target, said[:, :, place], part(share, 0.8, 1.0))
        there = np.flatnonzero(present[held])
        x = base.model.preprocessor.transform(looked.sample.values[np.ix_(there, np.array(table.of(name)))])
        plain = _evidence(base.fitted.learned, x, target)
        for i, one in enumerate(base.fitted.members):
            moved[i, there, place] = _evidence(one, x, target) - plain
        bases[name] = base
        columns += [Column(f"{name}: evidence {i}", name) for i in range(width)]
    return _stacked(looked, config, bases, columns, said, moved, asked, level, seed, part(progress, 0.9, 1.0))


def _evidence(learned: Learned, x: Array, target: Target) -> Array:
    return evidence(at_horizon(learned, target.horizon).predict(x), target)


def _say(base: _Base, rows: Array, fold: Array, target: Target, said: Array, progress: Progress) -> None:
    """Write the evidence of a modality for its `rows` into ``(folds, rows of the table, width)``."""
    assert isinstance(base.features, Streamed)
    for start, x in replace(base.features, progress=rising(progress, "evidence")).batches():
        at = rows[start : start + len(x)]
        of_fold = fold[at]
        for j in range(FOLDS):
            own = np.flatnonzero(of_fold == j)
            part_x = x[own]
            for k in range(FOLDS):
                without = (j,) if k == j else (min(j, k), max(j, k))
                said[k, at[own]] = _evidence(base.fitted.without[without], part_x, target)


def _stacked(
    looked: Looked,
    config: ModelConfig,
    bases: Mapping[str, _Base],
    columns: Sequence[Column],
    said: Array,
    moved: Array,
    asked: Asked,
    level: float,
    seed: int,
    progress: Progress,
) -> Trained:
    outcome, held, n = looked.table.target, looked.rows, len(looked.table)
    everybody = said[asked.fold, np.arange(n)].astype(np.float64)
    stack_config = ModelConfig("early", config.learner, inner_folds=config.inner_folds)
    start, _ = _chosen(make_cohort(everybody[held], columns, outcome.take(held)), stack_config, seed + 1, progress)

    def fit(values: Array, of: Outcome, others: Asked) -> _Base:
        prepared = Preprocessor.fit(values, columns)
        return _solved(Held(prepared.transform(values)), prepared, of, stack_config, start, others)

    stack = fit(everybody, outcome, replace(asked, fold=np.zeros(n, np.int8), without=()))
    predicted, rows = [], []
    for k in range(FOLDS):
        progress(0.3 + 0.6 * k / FOLDS, "conformal sets")
        rest = np.flatnonzero(asked.fold != k)
        one = fit(said[k, rest].astype(np.float64), outcome.take(rest), Asked.nothing(len(rest)))
        rows.append(held[asked.fold[held] == k])
        predicted.append(one.model.predict(everybody[rows[-1]]))
    known = outcome.take(np.concatenate(rows))
    conformal, good = limits_of(predicted, known, level), quality(_joined(predicted, known.horizon), known)
    target = Target.of(outcome)
    model = LateModel(config, target, {name: base.model for name, base in bases.items()}, stack.model)
    # a member's stacker learned from the evidence of its own bases: what that changes is seen in the sample
    own, sample = stack.model.preprocessor, outcome.take(held)
    at = stack.fitted.gradient(own.transform(everybody[held]), sample)
    members = []
    for i, drawn in enumerate(stack.fitted.members):
        progress(0.9 + 0.1 * i / len(moved), "model uncertainty")
        more = stack.fitted.gradient(own.transform(everybody[held] + moved[i]), sample) - at
        stacker = stack.of(stack.fitted.move(drawn, n / len(held) * more))
        members.append(LateModel(config, target, {name: base.members[i] for name, base in bases.items()}, stacker))
    return Trained(model, tuple(members), conformal, good)
