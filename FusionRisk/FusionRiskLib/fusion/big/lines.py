"""A linear model and its members asked together: one product of the raw values gives all of their linear predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..cohort import Array, Column
from ..learners import Cox, Logistic
from ..model_config import evidence, evidence_width
from ..models import EarlyModel, LateModel, Model
from ..prediction import Prediction
from ..uncertainty import said_of
from .fit import at_horizon


class Lines:
    """Early models on the same columns, each with a preparation of its own.

    Preparing is linear where gaps are filled with a number: what is shared by all models is the distance of each value
    from a center, which values are known, and which words there are.

    Parameters
    ----------
    models : sequence of EarlyModel
    """

    def __init__(self, models: Sequence[EarlyModel]):
        self.models = models
        columns = models[0].columns
        self._numeric = np.array([column.kind != "choice" for column in columns], dtype=bool)
        self._choices = [(j, np.arange(len(c.choices))) for j, c in enumerate(columns) if c.kind == "choice"]
        self._center = models[0].preprocessor.center
        found = [self._of(model) for model in models]
        self._weights = np.concatenate([weights for weights, _ in found])
        self._offsets = np.concatenate([offsets for _, offsets in found])

    def _of(self, model: EarlyModel) -> tuple[Array, Array]:
        """``(lines, distances and knowns and words)`` and ``(lines,)``."""
        prepared, learned = model.preprocessor, model.learned
        coef = learned.coef[None] if isinstance(learned, Cox) else learned.coef  # type: ignore[attr-defined]
        offset = np.zeros(1) if isinstance(learned, Cox) else learned.intercept  # type: ignore[attr-defined]
        owners, joined = prepared.owners, len(prepared.owners) - len(prepared.gaps)
        numbers = np.flatnonzero(self._numeric[owners[:joined]])
        beta, fill = coef[:, numbers], prepared.fill[self._numeric]
        scale, shift = prepared.scale[self._numeric], (self._center - prepared.center)[self._numeric]
        known = np.zeros((len(coef), len(self._numeric)))
        known[:, self._numeric] = beta * (shift / scale - fill)
        for g, j in enumerate(prepared.gaps):
            known[:, j] -= coef[:, joined + g]
        words = coef[:, np.flatnonzero(~self._numeric[owners[:joined]])]
        offset = offset + beta @ fill + coef[:, joined:].sum(axis=1)
        return np.column_stack([beta / scale, known, words]), offset

    def each(self, values: Array) -> list[Array]:
        """``(rows, lines)`` linear predictors of every model."""
        known = np.isfinite(values)
        away = np.where(known, values - self._center, 0.0)[:, self._numeric]
        words = [values[:, [j]] == places for j, places in self._choices]
        shared = np.concatenate([away, known, *words], axis=1, dtype=np.float64)
        eta = shared @ self._weights.T + self._offsets
        return np.split(eta, len(self.models), axis=1)

    def predictions(self, values: Array) -> list[Prediction]:
        """Of every model; of survival only around the horizon."""
        return [_predicted(m, eta) for m, eta in zip(self.models, self.each(values), strict=True)]


def _predicted(model: EarlyModel, eta: Array) -> Prediction:
    """From linear predictors, by the learner's own rule."""
    learned = at_horizon(model.learned, model.target.horizon)
    if isinstance(learned, Cox):
        return Cox(np.ones(1), learned.times, learned.hazard).predict(eta)
    return Logistic(np.eye(eta.shape[1]), np.zeros(eta.shape[1])).predict(eta)


class Together:
    """A model and its members asked together, as `answer.KeptModel.say` takes it."""

    def __init__(self, model: Model, members: Sequence[Model]):
        self._model = model
        asked = [model, *members]
        if isinstance(model, LateModel):
            late = [one for one in asked if isinstance(one, LateModel)]
            self._lines = {name: Lines([one.bases[name] for one in late]) for name in model.bases}
            self._stackers = [one.stacker for one in late]
        else:
            self._lines = {"": Lines([one for one in asked if isinstance(one, EarlyModel)])}

    @classmethod
    def of(cls, model: Model, members: Sequence[Model]) -> Together | None:
        """None where the models are not linear or are not all alike."""
        asked = [model, *members]
        if len(members) < 1 or not all(type(one) is type(model) and one.columns == model.columns for one in asked):
            return None
        early: list[EarlyModel] = []
        for one in asked:
            if isinstance(one, LateModel):
                early += one.bases.values()
            elif isinstance(one, EarlyModel):
                early.append(one)
            else:
                return None
        linear = all(isinstance(e.learned, Logistic | Cox) and not e.preprocessor.coefficients.any() for e in early)
        return cls(model, members) if linear else None

    def __call__(self, values: Array) -> tuple[Prediction, Array, Mapping[str, Prediction]]:
        model = self._model
        names = list(dict.fromkeys(column.modality for column in model.columns))
        if isinstance(model, LateModel):
            return self._late(model, values, names)
        horizon = model.target.horizon
        said = [said_of(p, horizon) for p in self._lines[""].predictions(values)[1:]]
        without = {name: model.predict(_blank(values, model.columns, name)) for name in names if len(names) > 1}
        return model.predict(values), np.stack(said), without

    def _late(
        self, model: LateModel, values: Array, names: Sequence[str]
    ) -> tuple[Prediction, Array, Mapping[str, Prediction]]:
        width, start = evidence_width(model.target), 0
        blocks = np.full((len(self._stackers), len(values), width * len(self._lines)), np.nan)
        places = {}
        for m, (name, lines) in enumerate(self._lines.items()):
            base = model.bases[name]
            own = values[:, start : start + len(base.columns)]
            start += len(base.columns)
            present = np.flatnonzero(np.isfinite(own).any(axis=1))
            places[name] = slice(m * width, (m + 1) * width)
            if present.size:
                for i, predicted in enumerate(lines.predictions(own[present])):
                    blocks[i, present, places[name]] = evidence(predicted, model.target)
        said = []
        for block, stacker in zip(blocks[1:], self._stackers[1:], strict=True):
            one = EarlyModel(
                stacker.config,
                stacker.target,
                stacker.preprocessor,
                at_horizon(stacker.learned, stacker.target.horizon),
            )
            said.append(said_of(one.predict(block), model.target.horizon))
        without = {}
        for name in names if len(names) > 1 else ():
            block = blocks[0].copy()
            block[:, places[name]] = np.nan
            without[name] = model.stacker.predict(block)
        return model.stacker.predict(blocks[0]), np.stack(said), without


def _blank(values: Array, columns: Sequence[Column], modality: str) -> Array:
    blank = values.copy()
    blank[:, [column.modality == modality for column in columns]] = np.nan
    return blank
