"""Fusion models, by kind:

``early``  features joined, one learner
``late``   one model per modality, their predictions stacked
``joint``  encoders of the modalities trained together (`joint`)
``graph``  a patient among similar training patients (`graph`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.errors import InputError

from .cohort import Array, Cohort, Column, Outcome, align
from .folds import inner_folds
from .graph import GraphModel, fit_graph
from .joint import JointModel, fit_joint
from .leakage import FittedPart
from .learners import GRIDS, Learned, fit_learner
from .model_config import ModelConfig, Target, evidence, evidence_width, inner_loss
from .prediction import Prediction
from .preprocess import Preprocessor
from .sequence_net import Width
from .visits import visit_features

__all__ = [
    "EarlyModel", "GraphModel", "JointModel", "LateModel", "Model", "ModelConfig", "Target", "fit_model", "predict",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class EarlyModel:
    """One learner on the joined features.

    Attributes
    ----------
    config : ModelConfig
    target : Target
    preprocessor : Preprocessor
    learned : Learned
    setting : mapping
        What the inner folds chose, one of `learners.GRIDS`.
    """

    config: ModelConfig
    target: Target
    preprocessor: Preprocessor
    learned: Learned
    setting: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.preprocessor.columns

    @property
    def parts(self) -> list[FittedPart]:
        return [FittedPart("imputation and scaling", self.columns, self.preprocessor.fitted_on)]

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Modalities that may be absent as a whole at prediction."""
        return ()

    def predict(self, values: Array) -> Prediction:
        """From ``(rows, columns)``, NaN where unknown."""
        return self.learned.predict(_prepared(self.preprocessor, values, self.config.learner)[0])


@dataclass(frozen=True, eq=False)
class LateModel:
    """One model per modality, and a regression on their predictions.

    A row without any value of a modality gets no prediction of it; the stacker fills in the median and has an
    indicator where training rows lacked it, too.
    """

    config: ModelConfig
    target: Target
    bases: Mapping[str, EarlyModel]
    stacker: EarlyModel

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column for base in self.bases.values() for column in base.columns)

    @property
    def parts(self) -> list[FittedPart]:
        return [replace(p, name=f"{name} {p.name}") for name, base in self.bases.items() for p in base.parts]

    @property
    def may_lack(self) -> tuple[str, ...]:
        return tuple(self.bases)

    @property
    def setting(self) -> dict[str, Mapping[str, float]]:
        return {**{name: base.setting for name, base in self.bases.items()}, "stacker": self.stacker.setting}

    def predict(self, values: Array) -> Prediction:
        blocks, start = [], 0
        for base in self.bases.values():
            own = values[:, start : start + len(base.columns)]
            start += len(base.columns)
            present = np.isfinite(own).any(axis=1)
            block = np.full((len(values), evidence_width(self.target)), np.nan)
            if present.any():
                block[present] = evidence(base.predict(own[present]), self.target)
            blocks.append(block)
        return self.stacker.predict(np.hstack(blocks))


def _prepared(
    preprocessor: Preprocessor, values: Array, learner: str, training: bool = False
) -> tuple[Array, Width | None]:
    """``(rows, features)`` for a learner; for one that reads visits in their order also how wide these are."""
    x = preprocessor.prepare(values) if training else preprocessor.transform(values)
    return visit_features(preprocessor, values, x) if learner == "recurrent" else (x, None)


Model = EarlyModel | LateModel | JointModel | GraphModel


def predict(model: Model, cohort: Cohort) -> Prediction:
    """Predict for the rows of a cohort, whose columns are found by name.

    Raises
    ------
    InputError
        A column that the model was trained with is missing (late and joint fusion let a whole modality be absent).
    """
    return model.predict(align(cohort, model.columns, model.may_lack))


def fit_model(
    cohort: Cohort,
    config: ModelConfig,
    seed: int = 0,
    progress: Progress = silent,
    setting: Mapping[str, Any] | None = None,
) -> Model:
    """Fit on all rows of a cohort; settings are chosen on folds inside of it unless `setting` is that of a model.

    Raises
    ------
    InputError
        A learner that does not fit the outcome, a modality that is not there or has too few rows.
    """
    if cohort.visit is not None:
        raise InputError("The cohort has repeated visits; reduce it to one row each (`visits.one_row_each`) first.")
    if config.modalities:
        cohort = cohort.of(*config.modalities)
    if config.learner == "recurrent" and not any(column.before for column in cohort.columns):
        raise InputError("The learner 'recurrent' reads visits in their order; it needs --visits sequence.")
    if config.kind == "early":
        return _fit_early(cohort, config, seed, progress, setting, setting is None)[0]
    if config.kind == "joint":
        return fit_joint(cohort, config, seed, progress, setting)
    if config.kind == "graph":
        return fit_graph(cohort, config, seed, progress, setting)
    return _fit_late(cohort, config, seed, progress, setting or {})


# -- early ------------------------------------------------------------------------------------------------------------
def _fit_early(
    cohort: Cohort,
    config: ModelConfig,
    seed: int,
    progress: Progress,
    setting: Mapping[str, float] | None = None,
    inside: bool = True,
    learn: Callable[[str, Array, Outcome, Mapping[str, float], int, Width | None], Learned] = fit_learner,
) -> tuple[EarlyModel, list[tuple[Array, Prediction]]]:
    """The model, and for each inner fold its test rows and their predictions with the setting that was chosen."""
    outcome = cohort.target
    grid = GRIDS[config.learner] if setting is None else (setting,)
    losses = np.zeros(len(grid))
    kept: list[list[tuple[Array, Prediction]]] = [[] for _ in grid]
    folds = list(inner_folds(cohort, np.arange(len(cohort)), config.inner_folds, seed)) if inside else []
    for done, fold in enumerate(folds):
        preprocessor = Preprocessor.fit(cohort.values[fold.train], cohort.columns, config.impute, config.draw)
        x, width = _prepared(preprocessor, cohort.values[fold.train], config.learner, training=True)
        x_test, _ = _prepared(preprocessor, cohort.values[fold.test], config.learner)
        train, test = outcome.take(fold.train), outcome.take(fold.test)
        for i, candidate in enumerate(grid):
            progress((done + i / len(grid)) / (len(folds) + 1), "settings")
            predicted = learn(config.learner, x, train, candidate, seed, width).predict(x_test)
            losses[i] += inner_loss(predicted, test, outcome) * len(fold.test)
            kept[i].append((fold.test, predicted))
    best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    preprocessor = Preprocessor.fit(cohort.values, cohort.columns, config.impute, config.draw)
    x, width = _prepared(preprocessor, cohort.values, config.learner, training=True)
    learned = learn(config.learner, x, outcome, grid[best], seed, width)
    progress(1.0, "settings")
    return EarlyModel(config, Target.of(outcome), preprocessor, learned, dict(grid[best])), kept[best]


# -- late -------------------------------------------------------------------------------------------------------------
def _fit_late(
    cohort: Cohort, config: ModelConfig, seed: int, progress: Progress, setting: Mapping[str, Any]
) -> LateModel:
    outcome = cohort.target
    target = Target.of(outcome)
    width = evidence_width(target)
    if len(cohort.modalities) < 2:
        raise InputError("Late fusion needs at least two modalities; use early fusion.")
    bases: dict[str, EarlyModel] = {}
    stack = np.full((len(cohort), width * len(cohort.modalities)), np.nan)
    columns: list[Column] = []
    for m, name in enumerate(cohort.modalities):
        own = cohort.of(name)
        present = np.flatnonzero(np.isfinite(own.values).any(axis=1))
        own = own.take(present)
        _check_modality(own, name, config.inner_folds)
        share = part(progress, m / (len(cohort.modalities) + 1), (m + 1) / (len(cohort.modalities) + 1))
        base_config = replace(config, kind="early", modalities=(name,))
        bases[name], kept = _fit_early(own, base_config, seed, share, setting.get(name))
        block = np.full((len(own), width), np.nan)
        for rows, predicted in kept:  # the stacker sees only predictions of rows that a base model had not seen
            block[rows] = evidence(predicted, target)
        stack[present, m * width : (m + 1) * width] = block
        columns += [Column(f"{name}: evidence {i}", name) for i in range(width)]
    stacked = replace(cohort, columns=tuple(columns), values=stack)
    learner = "cox" if outcome.kind == "survival" else "logistic"
    stack_config = ModelConfig("early", learner, inner_folds=config.inner_folds)
    stacker, _ = _fit_early(stacked, stack_config, seed + 1, part(progress, 0.9, 1.0), setting.get("stacker"))
    return LateModel(config, target, bases, stacker)


def _check_modality(own: Cohort, name: str, folds: int) -> None:
    outcome = own.target if len(own) else None
    if outcome is None or outcome.kind == "survival":
        enough = outcome is not None and int(outcome.e.sum()) >= 2 * folds
    else:
        enough = bool((np.bincount(outcome.y, minlength=len(outcome.classes)) >= folds).all())
    if not enough:
        raise InputError(
            f"Too few training patients have {name} for a model of its own; leave {name} out or use early fusion."
        )
