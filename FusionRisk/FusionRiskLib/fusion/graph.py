"""A graph of similar patients: every patient hears from the most similar training patients.

The graph is built from training rows only, inside each fold. A message is what neighbours are like and what became of
them, weighted by similarity (one step of the simple graph convolution of Wu et al. 2019, "Simplifying graph
convolutional networks", and of label spreading, Zhou et al. 2004, "Learning with local and global consistency"). A
penalised regression reads out a patient's own features and the messages. A new patient is attached to training patients
alone, never to other new ones, and changes nothing for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress

from .cohort import Array, Cohort, Column, Outcome
from .folds import inner_folds
from .leakage import FittedPart
from .learners import Cox, Learned, Logistic, fit_learner
from .metrics.survival import kaplan_meier
from .model_config import ModelConfig, Target, inner_loss
from .prediction import Prediction
from .preprocess import Preprocessor

_NEIGHBOURS = (10, 30)
_GRIDS: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "logistic": tuple({"neighbours": k, "c": c} for c in (0.03, 0.3) for k in _NEIGHBOURS),
    "cox": tuple({"neighbours": k, "penalty": c} for c in (0.3, 0.03) for k in _NEIGHBOURS),
}


@dataclass(frozen=True, eq=False)
class Graph:
    """Training patients as nodes.

    Attributes
    ----------
    nodes : numpy.ndarray
        ``(patients, features)``.
    fate : numpy.ndarray
        ``(patients, classes)`` class of each over the share of the class, or ``(patients, 1)`` martingale residual.
    balance : numpy.ndarray
        ``(features,)`` weight of a feature in the distance: every modality counts alike.
    neighbours : int
    """

    nodes: Array
    fate: Array
    balance: Array
    neighbours: int

    def messages(self, x: Array, own: bool = False) -> Array:
        """``(rows, features + fates)`` of the neighbours of ``(rows, features)``.

        `own`: the rows are the nodes themselves, and no node is its own neighbour.
        """
        from scipy.spatial import cKDTree

        k = min(self.neighbours, len(self.nodes) - own)
        tree = cKDTree(self.nodes * self.balance)
        distance, who = tree.query(x * self.balance, k=np.arange(1, k + own + 1))
        if own:
            # twins lie as near as the node itself, so it is not always the first; a node not met gives up its last
            itself = who == np.arange(len(x))[:, None]
            itself[~itself.any(axis=1), -1] = True
            distance, who = distance[~itself].reshape(len(x), k), who[~itself].reshape(len(x), k)
        scale = np.maximum(distance[:, -1:], 1e-12)
        weight = np.exp(-((distance / scale) ** 2))
        weight /= weight.sum(axis=1, keepdims=True)
        heard = np.hstack([self.nodes, self.fate])
        return np.asarray(np.einsum("rk,rkf->rf", weight, heard[who]))


@dataclass(frozen=True, eq=False)
class GraphModel:
    """A graph of the training patients and a regression on own features and messages.

    It holds the prepared features and outcomes of its training patients: a saved one is patient data.
    """

    config: ModelConfig
    target: Target
    preprocessor: Preprocessor
    graph: Graph
    learned: Learned
    setting: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.preprocessor.columns

    @property
    def parts(self) -> list[FittedPart]:
        return [FittedPart("patient graph, imputation and scaling", self.columns, self.preprocessor.fitted_on)]

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Modalities that may be absent as a whole at prediction."""
        return ()

    def predict(self, values: Array) -> Prediction:
        """From ``(rows, columns)``, NaN where unknown; each row on its own."""
        x = self.preprocessor.transform(values)
        return self.learned.predict(np.hstack([x, self.graph.messages(x)]))


def fit_graph(
    cohort: Cohort, config: ModelConfig, seed: int, progress: Progress, setting: Mapping[str, Any] | None = None
) -> GraphModel:
    """Fit on all rows; neighbours and penalty are chosen on inner folds, each with a graph of its own."""
    outcome = cohort.target
    learner = "cox" if outcome.kind == "survival" else "logistic"
    grid = _GRIDS[learner] if setting is None else (setting,)
    losses = np.zeros(len(grid))
    folds = list(inner_folds(cohort, np.arange(len(cohort)), config.inner_folds, seed)) if setting is None else []
    for done, fold in enumerate(folds):
        test = outcome.take(fold.test)
        for i, candidate in enumerate(grid):
            progress((done + i / len(grid)) / (len(folds) + 1), "patient graph")
            model = _fit(cohort.take(fold.train), config, learner, candidate, seed)
            losses[i] += inner_loss(model.predict(cohort.values[fold.test]), test, outcome) * len(fold.test)
    best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    model = _fit(cohort, config, learner, grid[best], seed)
    progress(1.0, "patient graph")
    return model


def _fit(cohort: Cohort, config: ModelConfig, learner: str, setting: Mapping[str, float], seed: int) -> GraphModel:
    preprocessor = Preprocessor.fit(cohort.values, cohort.columns, config.impute, config.draw)
    x = preprocessor.prepare(cohort.values)
    modality = np.array([cohort.modalities.index(c.modality) for c in cohort.columns])[preprocessor.owners]
    balance = 1 / np.sqrt(np.bincount(modality)[modality])
    graph = Graph(x, _fate(cohort.target), balance, int(setting["neighbours"]))
    learned = fit_learner(learner, np.hstack([x, graph.messages(x, own=True)]), cohort.target, setting, seed)
    assert isinstance(learned, Logistic | Cox)
    return GraphModel(config, Target.of(cohort.target), preprocessor, graph, learned, dict(setting))


def _fate(outcome: Outcome) -> Array:
    """What became of each patient, beyond what was to be expected of anybody."""
    if outcome.kind == "survival":
        curve = kaplan_meier(outcome.t, outcome.e)
        expected = -np.log(np.maximum(np.array([float(curve.at(t)) for t in outcome.t.tolist()]), 1e-3))
        return np.asarray((outcome.e - expected)[:, None])
    one_hot = np.eye(len(outcome.classes))[outcome.y]
    return np.asarray(one_hot - one_hot.mean(axis=0))
