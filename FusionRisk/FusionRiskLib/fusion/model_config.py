"""What a fusion model is asked to be, what it predicts, and its prediction on an open scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from CardioPrecisionLib.errors import InputError

from .cohort import Array, Outcome
from .learners import GRIDS
from .metrics.classes import log_loss
from .metrics.survival import brier_at
from .prediction import Prediction
from .preprocess import Impute

ModelKind = Literal["early", "late", "joint", "graph"]
_TINY = 1e-6


@dataclass(frozen=True)
class ModelConfig:
    """What to fit.

    Attributes
    ----------
    kind : {"early", "late", "joint", "graph"}
    learner : {"logistic", "cox", "boosting", "discrete_time", "recurrent"}
        Of early fusion and of the modalities of late fusion. Late fusion stacks with logistic or Cox regression, the
        graph model reads out with one of these, and the joint model is a network: they take no other learner.
    impute : {"median", "chained", "vae"}
    modalities : tuple of str
        Empty for all.
    inner_folds : int
        Of the choice of settings; the joint model chooses on the rows that its members did not draw.
    draw : int or None
        Seed: gaps are drawn rather than filled with their mean, as in one of several imputations.
    """

    kind: ModelKind = "early"
    learner: str = "logistic"
    impute: Impute = "median"
    modalities: tuple[str, ...] = ()
    inner_folds: int = 4
    draw: int | None = None

    def __post_init__(self) -> None:
        known = self.kind in get_args(ModelKind) and self.learner in GRIDS and self.impute in get_args(Impute)
        if not known:
            raise InputError(f"There is no model {self.kind!r} with {self.learner!r} and {self.impute!r}.")
        if self.inner_folds < 2:
            raise InputError("A model needs at least 2 inner folds to choose its settings.")


@dataclass(frozen=True)
class Target:
    """What a model predicts: kind, classes, unit of time, horizon."""

    kind: str
    classes: tuple[str, ...] = ()
    time_unit: str = ""
    horizon: float | None = None

    @classmethod
    def of(cls, outcome: Outcome) -> Target:
        return cls(outcome.kind, outcome.classes, outcome.time_unit, outcome.horizon)


def evidence_width(target: Target) -> int:
    """Columns of `evidence`."""
    return len(target.classes) if target.kind == "multiclass" else 1


def evidence(predicted: Prediction, target: Target) -> Array:
    """A prediction on an open scale.

    Returns
    -------
    numpy.ndarray
        ``(rows, evidence_width)``: log-odds, centred log-probabilities, or log cumulative hazard at the horizon.
    """
    if target.kind == "survival":
        assert target.horizon is not None
        risk = np.clip(predicted.risk(target.horizon), _TINY, 1 - _TINY)
        return np.asarray(np.log(-np.log1p(-risk))[:, None])
    log_p = np.log(np.clip(predicted.p, _TINY, 1.0))
    if target.kind == "binary":
        return np.asarray(log_p[:, 1:] - log_p[:, :1])
    return np.asarray(log_p - log_p.mean(axis=1, keepdims=True))


def inner_loss(predicted: Prediction, test: Outcome, everybody: Outcome) -> float:
    """Log loss of classes; Brier score of survival, averaged over five times up to the horizon."""
    if test.kind != "survival":
        return log_loss(test.y, predicted.p)
    horizon = everybody.horizon or float(np.median(everybody.t[everybody.e]))
    times = np.linspace(0, horizon, 6)[1:]
    survival = predicted.survival_at(times)
    return float(np.mean([brier_at(test.t, test.e, survival[:, j], t) for j, t in enumerate(times.tolist())]))
