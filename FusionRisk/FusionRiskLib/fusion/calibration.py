"""Conformal predictions of a model that is kept: what to calibrate on its training cohort, and how to use it later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent

from .cohort import Array, Cohort, Outcome
from .conformal import SplitClasses, SurvivalBound, time_grid
from .folds import inner_folds
from .models import ModelConfig, fit_model, predict
from .prediction import Prediction


def calibrate(
    cohort: Cohort,
    config: ModelConfig,
    setting: Any,
    level: float = 0.9,
    folds: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Limits from models of folds that had not seen their rows, for the model of the whole cohort.

    The final model has seen all rows, so that none is left to calibrate on; models of the folds stand in for it. They
    learned from fewer patients and err a little more, so the sets are rather too large. There is no exact guarantee.

    Parameters
    ----------
    cohort : Cohort
    config : ModelConfig
    setting : mapping
        That the final model has.
    level : float
    folds, seed : int
    progress : callable

    Returns
    -------
    dict
        For `sets_of` or `bound_of`.
    """
    rows, said = [], []
    for fold in inner_folds(cohort, np.arange(len(cohort)), folds, seed + 1):
        progress(fold.number / folds, "conformal sets")
        model = fit_model(cohort.take(fold.train), config, seed, silent, setting)
        rows.append(fold.test)
        said.append(predict(model, cohort.take(fold.test)))
    return limits_of(said, cohort.target.take(np.concatenate(rows)), level)


def limits_of(said: Sequence[Prediction], known: Outcome, level: float) -> dict[str, Any]:
    """Limits from predictions of patients whom what predicted them had not seen.

    Parameters
    ----------
    said : sequence of Prediction
        Fold by fold.
    known : Outcome
        What happened to them, in the same order.
    level : float

    Returns
    -------
    dict
        For `sets_of` or `bound_of`.
    """
    if known.kind == "survival":
        grid = time_grid(known.t)
        bound = SurvivalBound.fit(known.t, known.e, grid, np.vstack([p.survival_at(grid) for p in said]), level)
        return {"level": level, "share": bound.share, "cap": bound.cap, "how": bound.how, "grid": grid.tolist()}
    p = np.vstack([one.p for one in said])
    fitted = SplitClasses.fit(p, known.y, level)
    size = float(fitted.sets(p).sum(axis=1).mean())
    return {"level": level, "limits": fitted.limits.tolist(), "mean_size": size}


def sets_of(conformal: Mapping[str, Any], predicted: Prediction) -> Array:
    """``(rows, classes)`` bool: the classes that are not ruled out."""
    return SplitClasses(np.array(conformal["limits"], dtype=float), float(conformal["level"])).sets(predicted.p)


def bound_of(conformal: Mapping[str, Any], predicted: Prediction) -> Array:
    """``(rows,)`` time that is survived with the level's probability; 0 where no bound holds."""
    cap = conformal.get("cap")  # models of earlier versions have none
    bound = SurvivalBound(
        float(conformal["share"]), float(conformal["level"]), conformal["how"], None if cap is None else float(cap)
    )
    grid = np.array(conformal["grid"], dtype=float)
    return bound.bound(grid, predicted.survival_at(grid))
