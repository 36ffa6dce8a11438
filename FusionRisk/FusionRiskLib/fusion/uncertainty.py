"""Model uncertainty of a predicted probability: what models say that were fitted to other draws of the patients.

It shows how much the answer hangs on who happened to be in the training cohort and, where gaps can be drawn
(``chained``, ``vae``), on what stands in their place: each model is fitted to one imputation of its own bootstrap
sample (Schomaker and Heumann 2018, "Bootstrap inference when using multiple imputation") and draws the gaps of a new
patient, too. It promises no coverage: a model of the wrong form can be sure and wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.errors import InputError

from .cohort import Array, Cohort
from .discrete_time import bootstrap_counts
from .joint import JointModel
from .models import Model, ModelConfig, fit_model
from .prediction import Interval, Prediction

Keep = Callable[[str, Cohort, Callable[[], Model]], Model]
#: Fewer refitted models than this show no tail.
MIN_MEMBERS = 10


def bootstrap_members(
    cohort: Cohort,
    config: ModelConfig,
    setting: Mapping[str, Any],
    members: int = 40,
    seed: int = 0,
    progress: Progress = silent,
    keep: Keep | None = None,
) -> tuple[Model, ...]:
    """Refit a model to bootstrap samples of the patients, with the setting that was chosen on all.

    Parameters
    ----------
    cohort : Cohort
        One row per patient.
    config : ModelConfig
    setting : mapping
        Of the model that was fitted to the whole cohort.
    members, seed : int
    progress : callable
    keep : callable, optional
        ``keep(name, cohort, fit)`` returns the model of that name where it was kept, else keeps what ``fit()`` makes.

    Returns
    -------
    tuple of models
        Empty for a joint model, which has its members inside.
    """
    if config.kind == "joint":
        return ()
    counts = bootstrap_counts(cohort.target.strata, members, seed)
    fitted = []
    for m, count in enumerate(counts):
        drawn = cohort.take(np.repeat(np.arange(len(cohort)), count))
        own = config if config.impute == "median" else replace(config, draw=seed * members + m)
        fit = partial(fit_model, drawn, own, seed, silent, setting)
        fitted.append(keep(f"member-{m}", drawn, fit) if keep is not None else fit())
        progress((m + 1) / members, "model uncertainty")
    return tuple(fitted)


def model_interval(
    model: Model,
    values: Array,
    members: Sequence[Model] = (),
    level: float = 0.9,
    change: Callable[[Array], Array] | None = None,
) -> Interval:
    """The interval named model uncertainty.

    Parameters
    ----------
    model : model
    values : numpy.ndarray
        ``(rows, columns)`` as for ``model.predict``.
    members : sequence of models
        Of `bootstrap_members`; a joint model needs none.
    level : float
    change : callable, optional
        `recalibration.Recalibration.said`, done to what every model says.

    Raises
    ------
    InputError
        Too few members.
    """
    if isinstance(model, JointModel):
        return model.interval(values, level, change)
    if len(members) < MIN_MEMBERS:
        raise InputError(
            f"Model uncertainty needs at least {MIN_MEMBERS} refitted models; this model has {len(members)}."
        )
    said = [said_of(p, model.target.horizon) for p in (m.predict(values) for m in (model, *members))]
    said = [change(one) for one in said] if change is not None else said
    return interval_of(said[0], np.stack(said[1:]), level)


def said_of(predicted: Prediction, horizon: float | None) -> Array:
    """``(rows, classes)`` probabilities; of survival ``(rows,)`` risk by the horizon."""
    return predicted.p if horizon is None else predicted.risk(horizon)


def interval_of(said: Array, by_members: Array, level: float = 0.9) -> Interval:
    """From what the model says, and ``(members, ...)`` what its members say."""
    low, high = np.quantile(by_members, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return Interval(np.minimum(low, said), np.maximum(high, said), level)
