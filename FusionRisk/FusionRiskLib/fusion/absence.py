"""What is lost when a modality is not there at prediction: judged on rows that the model was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .cohort import Array, Cohort, align
from .contributions import without_each
from .evaluate import score
from .metrics.bootstrap import Estimate, bootstrap
from .models import Model
from .prediction import Prediction
from .uncertainty import model_interval


@dataclass(frozen=True)
class Absence:
    """Without one modality.

    Attributes
    ----------
    patients : int
        Who have it, and on whom all below was judged.
    complete, without, lost : mapping
        Metric -> with everything, without the modality, and the paired difference (complete minus without).
    width, width_without, widened : Estimate
        Mean width of the model uncertainty (of the event, or of the class that is predicted with everything).
    """

    patients: int
    complete: Mapping[str, Estimate]
    without: Mapping[str, Estimate]
    lost: Mapping[str, Estimate]
    width: Estimate
    width_without: Estimate
    widened: Estimate


def judge_absence(
    model: Model, cohort: Cohort, members: Sequence[Model] = (), resamples: int = 500, seed: int = 0
) -> dict[str, Absence]:
    """Remove each modality in turn.

    Parameters
    ----------
    model : model
    cohort : Cohort
        Patients that the model was not trained on, with outcomes.
    members : sequence of models
        Of `uncertainty.bootstrap_members`; a joint model needs none.
    resamples, seed : int

    Returns
    -------
    dict
        Modality -> what is lost.
    """
    values = align(cohort, model.columns, model.may_lack)
    found = {}
    for name in dict.fromkeys(column.modality for column in model.columns):
        own = np.array([column.modality == name for column in model.columns])
        have = np.flatnonzero(np.isfinite(values[:, own]).any(axis=1))
        if len(have):
            blank = values[have].copy()
            blank[:, own] = np.nan
            found[name] = _judge(model, cohort.take(have), values[have], blank, name, members, resamples, seed)
    return found


def _judge(
    model: Model,
    cohort: Cohort,
    values: Array,
    blank: Array,
    name: str,
    members: Sequence[Model],
    resamples: int,
    seed: int,
) -> Absence:
    outcome = cohort.target
    complete = model.predict(values)
    said, less = (_probability(p, outcome.horizon) for p in (complete, without_each(model, values)[name]))
    wide, wider = (_event(model_interval(model, v, members).width, said) for v in (values, blank))

    def statistics(rows: Array) -> dict[str, float]:
        drawn = outcome.take(rows)
        a, b = score(drawn, said[rows]), score(drawn, less[rows])
        w, v = float(wide[rows].mean()), float(wider[rows].mean())
        return {
            **{f"complete|{k}": x for k, x in a.items()},
            **{f"without|{k}": x for k, x in b.items()},
            **{f"lost|{k}": a[k] - b[k] for k in a},
            "width|": w, "width_without|": v, "widened|": v - w,
        }  # fmt: skip

    found = bootstrap(statistics, cohort.patient, resamples, seed)

    def of(prefix: str) -> dict[str, Estimate]:
        return {k.split("|", 1)[1]: e for k, e in found.items() if k.split("|", 1)[0] == prefix}

    return Absence(
        cohort.n_patients, of("complete"), of("without"), of("lost"),
        found["width|"], found["width_without|"], found["widened|"],
    )  # fmt: skip


def _probability(predicted: Prediction, horizon: float | None) -> Array:
    return predicted.p if horizon is None else predicted.risk(horizon)


def _event(width: Array, said: Array) -> Array:
    """``(rows,)`` width of the event, or of the class that is predicted."""
    if width.ndim == 1:
        return width
    return width[:, 1] if width.shape[1] == 2 else width[np.arange(len(width)), said.argmax(axis=1)]
