"""Learners on complete features: logistic and Cox regression, boosting, networks in discrete time and on visits.

What a linear learner learned is kept as plain arrays and predicted with numpy; only boosting keeps a scikit-learn
object. A learner is fitted by `fit_learner`, and none of them sees a row that it is not given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from CardioPrecisionLib.errors import InputError

from .cohort import Array, Outcome
from .discrete_time import fit_discrete_time, interval_ends, intervals_lived
from .prediction import Prediction
from .recurrent import fit_recurrent
from .sequence_net import Width
from .threads import one_thread_for

#: Learner -> settings that the inner folds choose from, the plainest first: it is kept in a tie.
GRIDS: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "logistic": tuple({"c": c} for c in (0.01, 0.03, 0.1, 0.3, 1.0, 10.0)),
    "cox": tuple({"penalty": c} for c in (1.0, 0.3, 0.1, 0.03, 0.01)),
    "boosting": tuple({"trees": n} for n in (30, 100, 200)),
    "discrete_time": tuple({"decay": d} for d in (3.0, 0.3)),
    "recurrent": tuple({"decay": d} for d in (3.0, 0.3)),
}


class Learned(Protocol):
    """A fitted learner."""

    kind: ClassVar[str]

    def predict(self, x: Array) -> Prediction:
        """From ``(rows, features)``."""
        ...


@dataclass(frozen=True, eq=False)
class Logistic:
    """Logistic regression with a ridge penalty: ``coef`` ``(classes, features)``, ``intercept`` ``(classes,)``."""

    kind: ClassVar[str] = "logistic"
    coef: Array
    intercept: Array

    def predict(self, x: Array) -> Prediction:
        eta = x @ self.coef.T + self.intercept
        eta -= eta.max(axis=1, keepdims=True)
        weight = np.exp(eta)
        return Prediction(weight / weight.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Cox:
    """Cox regression: ``coef`` ``(features,)``; cumulative hazard ``(t,)`` of features 0 at ``times``."""

    kind: ClassVar[str] = "cox"
    coef: Array
    times: Array
    hazard: Array

    def predict(self, x: Array) -> Prediction:
        factor = np.exp(np.clip(x @ self.coef, -50, 50))
        return Prediction(times=self.times, survival=np.exp(-factor[:, None] * self.hazard))


@dataclass(frozen=True, eq=False)
class Boosting:
    """Gradient boosted trees for classes, or (`discrete_time`) for the hazard in each interval that ends at `ends`."""

    kind: ClassVar[str] = "boosting"
    trees: Any
    ends: Array

    def predict(self, x: Array) -> Prediction:
        if not len(self.ends):
            return Prediction(_one_thread(self.trees.predict_proba, x))
        n, k = len(x), len(self.ends)
        rows = np.column_stack([np.repeat(x, k, axis=0), np.tile(np.arange(k), n)])
        hazard = _one_thread(self.trees.predict_proba, rows)[:, 1].reshape(n, k)
        return Prediction(times=self.ends, survival=np.cumprod(1 - hazard, axis=1))


def fit_learner(
    kind: str, x: Array, outcome: Outcome, setting: Mapping[str, float], seed: int, width: Width | None = None
) -> Learned:
    """Fit one learner.

    Parameters
    ----------
    kind : {"logistic", "cox", "boosting", "discrete_time", "recurrent"}
    x : numpy.ndarray
        ``(rows, features)`` without gaps.
    outcome : Outcome
        Of the same rows.
    setting : mapping
        One of ``GRIDS[kind]``.
    seed : int
    width : Width, optional
        What of the features are visits; for ``recurrent``.

    Raises
    ------
    InputError
        A learner that does not fit the outcome, or that finds no solution.
    """
    survival = outcome.kind == "survival"
    fits = ("cox", "boosting", "discrete_time", "recurrent") if survival else ("logistic", "boosting", "recurrent")
    if kind not in fits:
        raise InputError(f"The learner {kind!r} does not fit a {outcome.kind} outcome; choose {' or '.join(fits)}.")
    if kind == "recurrent":
        return fit_recurrent(x, width or Width(x.shape[1]), outcome, setting["decay"], seed)
    if kind == "logistic":
        return _fit_logistic(x, outcome, setting["c"])
    if kind == "cox":
        return _fit_cox(x, outcome, setting["penalty"])
    if kind == "discrete_time":
        return fit_discrete_time(x, outcome, setting["decay"], seed)
    return _fit_boosting(x, outcome, int(setting["trees"]), seed)


def _fit_logistic(x: Array, outcome: Outcome, c: float) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    k = len(outcome.classes)
    present = np.unique(outcome.y)
    if len(present) < 2:
        raise InputError("The training rows of a fold are of one class only; use fewer folds.")
    fitted = LogisticRegression(C=c, max_iter=5000, tol=1e-6).fit(x, outcome.y)
    coef, intercept = np.zeros((k, x.shape[1])), np.full(k, -30.0)  # a class that training lacks is not predicted
    if len(present) == 2:  # one line for two classes: the first one is the reference
        coef[present[1]], intercept[present] = fitted.coef_[0], (0.0, fitted.intercept_[0])
    else:
        coef[present], intercept[present] = fitted.coef_, fitted.intercept_
    return Logistic(coef, intercept)


def _fit_cox(x: Array, outcome: Outcome, penalty: float) -> Cox:
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    use = np.flatnonzero(np.ptp(x, axis=0) > 0)
    coef = np.zeros(x.shape[1])
    table = pd.DataFrame(x[:, use], columns=[f"x{j}" for j in use])
    table["time"], table["event"] = outcome.t, outcome.e
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns with little variance: they are penalised
        try:
            fitted = CoxPHFitter(penalizer=penalty).fit(table, "time", "event")
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            raise InputError(
                "Cox regression finds no solution on the training rows; leave out columns that tell the same."
            ) from None
    coef[use] = fitted.params_.to_numpy()
    baseline = fitted.baseline_cumulative_hazard_
    times = baseline.index.to_numpy(dtype=float)
    # lifelines' baseline is that of the mean patient
    hazard = baseline.to_numpy()[:, 0] * np.exp(-float(x.mean(axis=0) @ coef))
    keep = times > 0
    return Cox(coef, times[keep], hazard[keep])


def _fit_boosting(x: Array, outcome: Outcome, trees: int, seed: int) -> Boosting:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=trees,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=max(5, min(20, len(x) // 20)),
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    if outcome.kind != "survival":
        if len(np.unique(outcome.y)) < len(outcome.classes):
            raise InputError("The training rows of a fold lack a class; use fewer folds.")
        return Boosting(_one_thread(model.fit, x, outcome.y), np.zeros(0))
    ends = interval_ends(outcome)
    lived, hit_at = intervals_lived(outcome, ends)
    row = np.repeat(np.arange(len(x)), lived)
    interval = np.concatenate([np.arange(k) for k in lived]) if len(row) else np.zeros(0, dtype=int)
    hit = interval == hit_at[row]
    return Boosting(_one_thread(model.fit, np.column_stack([x[row], interval]), hit.astype(int)), ends)


def _one_thread(call: Callable[..., Any], x: Array, *more: Array) -> Any:
    """`call`, on one thread where the table is small."""
    with one_thread_for(x):
        return call(x, *more)
