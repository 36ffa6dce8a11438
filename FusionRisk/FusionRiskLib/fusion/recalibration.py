"""A trained model made to fit the patients of another place: its order of patients stays, its probabilities move.

Classes: the log-probabilities are stretched by one slope and shifted by one intercept for each class (of two classes
that is logistic recalibration, Cox 1958; Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7). Survival: the log
cumulative hazard at the horizon, by a Poisson model of the events with the predicted cumulative hazard as offset
(Crowson et al. 2016, doi:10.1177/0962280213497434).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError

from .calibration import limits_of
from .cohort import Array, Outcome
from .metrics.classes import auc, log_loss, macro_auc
from .metrics.survival import auc_at, brier_at
from .prediction import Prediction

#: With fewer nothing is estimated; with fewer of the rarest outcome than the third, the slope is left as it is.
MIN_PATIENTS, MIN_EVENTS, MIN_FOR_SLOPE = 50, 10, 30
_TINY = 1e-8
_FOLDS = 5
_MAX_STEP = 2.0


@dataclass(frozen=True)
class Recalibration:
    """What is done to a prediction.

    Attributes
    ----------
    kind : str
        Of the outcome.
    slope : float
        Above 0; 1 leaves differences between patients as they are.
    intercept : tuple of float
        Of each class, the first 0; of survival, one.
    horizon : float or None
        Of survival.
    """

    kind: str
    slope: float
    intercept: tuple[float, ...]
    horizon: float | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Recalibration | None:
        """As a model's card holds it; None where it holds none.

        Raises
        ------
        ValueError
            It is malformed.
        """
        if not document:
            return None
        horizon = document["horizon"]
        made = cls(
            str(document["kind"]),
            float(document["slope"]),
            tuple(float(x) for x in document["intercept"]),
            None if horizon is None else float(horizon),
        )
        if not (np.isfinite(made.slope) and made.slope > 0 and np.isfinite(made.intercept).all()):
            raise ValueError("the recalibration is malformed")
        return made

    def said(self, values: Array) -> Array:
        """Of ``(..., classes)`` probabilities, or ``(...)`` risks by the horizon."""
        if self.horizon is None:
            z = self.slope * np.log(np.clip(values, _TINY, 1.0)) + np.array(self.intercept)
            z = np.exp(z - z.max(axis=-1, keepdims=True))
            return np.asarray(z / z.sum(axis=-1, keepdims=True))
        return np.asarray(-np.expm1(-np.exp(self.intercept[0] + self.slope * _log_hazard(values))))

    def apply(self, predicted: Prediction) -> Prediction:
        """A whole prediction; survival curves keep their shape over time."""
        if self.horizon is None:
            return Prediction(probabilities=self.said(predicted.p))
        times, survival = predicted.curves
        factor = np.exp(self.intercept[0] + (self.slope - 1) * _log_hazard(predicted.risk(self.horizon)))
        hazard = -np.log(np.clip(survival, _TINY, 1.0))
        return Prediction(times=times, survival=np.exp(-hazard * factor[:, None]))


def _log_hazard(risk: Array) -> Array:
    """Log cumulative hazard; finer at small risks than `model_config.evidence`, so that they keep their order."""
    return np.asarray(np.log(-np.log(np.clip(1 - risk, _TINY, 1 - _TINY))))


# -- fitting -----------------------------------------------------------------------------------------------------------
def fit(predicted: Prediction, outcome: Outcome) -> Recalibration:
    """The slope and intercepts of greatest likelihood.

    Parameters
    ----------
    predicted : Prediction
        Of patients whom the model has not seen.
    outcome : Outcome
        What happened to them.

    Raises
    ------
    InputError
        There are too few patients or events, or the model does not order these patients.
    """
    found = _estimate(predicted, outcome, check_enough(outcome) >= MIN_FOR_SLOPE)
    if found is None:
        raise InputError(
            "The model does not order these patients (no positive slope can be fitted), which recalibration cannot "
            "mend: train a model of your own."
        )
    return found


def _estimate(predicted: Prediction, outcome: Outcome, with_slope: bool) -> Recalibration | None:
    """None where there is no finite one with a positive slope."""
    if outcome.kind == "survival":
        found = _fit_survival(predicted, outcome, with_slope)
    else:
        found = _fit_classes(predicted.p, outcome.y, outcome.kind, with_slope)
    return found if np.isfinite([found.slope, *found.intercept]).all() and found.slope > 0 else None


def check_enough(outcome: Outcome) -> int:
    """The number of the rarest outcome.

    Raises
    ------
    InputError
        There are too few patients, or too few of one outcome.
    """
    if outcome.kind == "survival":
        assert outcome.horizon is not None
        within = outcome.e & (outcome.t <= outcome.horizon)
        n, rare, what = len(outcome.t), int(within.sum()), f"events by {outcome.horizon:g} {outcome.time_unit}"
    else:
        counts = np.bincount(outcome.y, minlength=len(outcome.classes))
        n, rare, what = len(outcome.y), int(counts.min()), f"patients with {outcome.classes[int(counts.argmin())]}"
    if n < MIN_PATIENTS or rare < MIN_EVENTS:
        raise InputError(
            f"Recalibration needs at least {MIN_PATIENTS} patients and {MIN_EVENTS} {what}; there are {n} and {rare}."
        )
    return rare


def _fit_classes(p: Array, y: Array, kind: str, with_slope: bool) -> Recalibration:
    from scipy.optimize import minimize

    x, k = np.log(np.clip(p, _TINY, 1.0)), p.shape[1]
    truth = np.eye(k)[y]

    def loss(beta: Array) -> tuple[float, Array]:
        slope, offset = (beta[0], np.r_[0.0, beta[1:]]) if with_slope else (1.0, np.r_[0.0, beta])
        z = slope * x + offset
        z = z - z.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(z).sum(axis=1))
        residual = np.exp(z - log_sum[:, None]) - truth
        gradient = residual[:, 1:].sum(axis=0)
        if with_slope:
            gradient = np.r_[(residual * x).sum(), gradient]
        return float((log_sum - z[np.arange(len(y)), y]).sum()) / len(y), gradient / len(y)

    start = np.r_[1.0, np.zeros(k - 1)] if with_slope else np.zeros(k - 1)
    beta = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 500}).x
    slope, rest = (float(beta[0]), beta[1:]) if with_slope else (1.0, beta)
    return Recalibration(kind, slope, (0.0, *(float(b) for b in rest)))


def _fit_survival(predicted: Prediction, outcome: Outcome, with_slope: bool) -> Recalibration:
    """Poisson regression of events by the horizon, Newton steps from the plain intercept."""
    horizon = outcome.horizon
    assert horizon is not None
    time = np.minimum(outcome.t, horizon)
    event = (outcome.e & (outcome.t <= horizon)).astype(float)
    own = predicted.survival_each(time)
    hazard = np.maximum(-np.log(np.clip(own, _TINY, 1.0)), _TINY)
    lp = _log_hazard(predicted.risk(horizon))
    centre = float(lp.mean())
    x = np.column_stack([np.ones(len(lp)), lp - centre]) if with_slope else np.ones((len(lp), 1))
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(event.sum() / hazard.sum())
    for _ in range(100):
        mean = hazard * np.exp(np.clip(x @ beta, -50, 50))
        information = x.T @ (x * mean[:, None])
        if np.linalg.cond(information) > 1e12:
            beta[:] = np.nan
            break
        step = np.linalg.solve(information, x.T @ (event - mean))
        beta = beta + np.clip(step, -_MAX_STEP, _MAX_STEP)
        if np.abs(step).max() < 1e-9:
            break
    extra = float(beta[1]) if with_slope else 0.0
    return Recalibration("survival", 1.0 + extra, (float(beta[0]) - extra * centre,), horizon)


# -- judging and conformal limits on the same patients ----------------------------------------------------------------
def recalibrate(
    predicted: Prediction, outcome: Outcome, level: float | None = 0.9, seed: int = 0
) -> tuple[Recalibration, dict[str, Any]]:
    """Fit on all patients; what it gains, and new conformal limits, from fits that had not seen the patient judged.

    Returns
    -------
    recalibration : Recalibration
    facts : dict
        For the model's card: ``recalibration`` (with ``before`` and ``after``) and ``conformal``.
    """
    from sklearn.model_selection import StratifiedKFold

    found = fit(predicted, outcome)
    with_slope = found.slope != 1.0
    strata = outcome.e if outcome.kind == "survival" else outcome.y
    rows, moved = [], []
    for train, test in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(strata, strata):
        # However few events are left: a slope only where the whole has one.
        refit = _estimate(predicted.take(train), outcome.take(train), with_slope) or found
        rows.append(test)
        moved.append(refit.apply(predicted.take(test)))
    known = outcome.take(np.concatenate(rows))
    facts: dict[str, Any] = {
        "recalibration": asdict(found)
        | {
            "patients": len(predicted),
            "rarest": check_enough(outcome),
            "how": "slope and intercept" if with_slope else "intercept",
            "before": quality(predicted, outcome),
            "after": quality(_join(moved), known),
        }
    }
    if level is not None:
        facts["conformal"] = limits_of(moved, known, level)
    return found, facts


def _join(parts: list[Prediction]) -> Prediction:
    """Of one model, so that survival curves have one grid."""
    if parts[0].probabilities is not None:
        return Prediction(probabilities=np.vstack([one.p for one in parts]))
    return Prediction(times=parts[0].curves[0], survival=np.vstack([one.curves[1] for one in parts]))


def quality(predicted: Prediction, outcome: Outcome) -> dict[str, float]:
    """How good predictions are, and how they stand to what happened."""
    if outcome.kind == "survival":
        horizon = outcome.horizon
        assert horizon is not None
        risk = predicted.risk(horizon)
        free = predicted.survival_at([horizon])[:, 0]
        return {
            "brier": brier_at(outcome.t, outcome.e, free, horizon),
            "auc": auc_at(outcome.t, outcome.e, risk, horizon),
            "mean_predicted": float(risk.mean()),
        }
    p, y = predicted.p, outcome.y
    if outcome.kind == "binary":
        facts = {"auc": auc(y, p[:, 1]), "mean_predicted": float(p[:, 1].mean()), "observed": float(y.mean())}
    else:
        facts = {"auc": macro_auc(y, p)}
    return {"log_loss": log_loss(y, p), **facts}
