"""Nested cross-validation of fusion models: what fusion adds to each modality alone, with intervals on everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import json_able

from .cohort import Array, Cohort, Outcome, check_trainable
from .conformal import SurvivalBound, cross_sets, time_grid
from .folds import Fold, inner_folds, outer_folds
from .imputation import fallbacks
from .kept import Kept
from .leakage import check_all, check_fitted
from .metrics.bootstrap import Estimate, bootstrap
from .metrics.calibration import CalibrationBin, calibration_curve, calibration_in_the_large, calibration_slope, ece
from .metrics.classes import accuracy, auc, balanced_accuracy, brier, log_loss, macro_auc
from .metrics.decision import (
    DecisionPoint,
    decision_curve,
    discrimination_improvement,
    reclassification,
    survival_decision_curve,
)
from .metrics.survival import (
    auc_at,
    brier_at,
    censoring_curve,
    concordance_ipcw,
    observed_to_expected,
    survival_calibration_curve,
    survival_calibration_slope,
)
from .modalities import CLINICAL
from .models import ModelConfig, fit_model, predict
from .prediction import Prediction
from .subgroups import Subgroup, audit

SCHEMA = "cardioprecision/fusion-evaluation/1"
THRESHOLDS = tuple(i / 20 for i in range(1, 20))


@dataclass(frozen=True)
class Coverage:
    """How often conformal predictions hold.

    Attributes
    ----------
    level : float
        What was asked for.
    covered : Estimate
        Share that held; of survival the IPCW estimate.
    size : float
        Mean number of classes in a set; of survival the mean lower bound in the unit of the outcome's time.
    classes : int
        Of all classes; 0 for survival.
    """

    level: float
    covered: Estimate
    size: float
    classes: int


@dataclass(frozen=True)
class ModelReport:
    """One model.

    Attributes
    ----------
    config : ModelConfig
    metrics : mapping
        Name -> mean over the repeats, with the percentile bootstrap interval over patients.
    spread : mapping
        Name -> standard deviation over the repeats; empty with one repeat.
    calibration : list of CalibrationBin
    decisions : list of DecisionPoint
        Empty for more than two classes.
    settings : list
        What the inner folds chose, per fold.
    coverage : Coverage or None
    """

    config: ModelConfig
    metrics: Mapping[str, Estimate]
    spread: Mapping[str, float]
    calibration: list[CalibrationBin]
    decisions: list[DecisionPoint]
    settings: list[Any]
    coverage: Coverage | None = None


@dataclass(frozen=True)
class Evaluation:
    """All models on the same folds.

    Attributes
    ----------
    models : mapping
        Name -> report.
    differences : mapping
        Other model -> metric -> first model minus the other, paired interval.
    reclassification : mapping
        ``nri_events``, ``nri_nonevents``, ``nri``, ``idi`` of the first model over clinical data alone; empty unless
        the outcome is binary and the cohort has clinical columns and others.
    cohort : mapping
        Patients, events, sites, modalities.
    folds, repeats, seed, by : as asked for
    warnings : list of str
    subgroups : list of Subgroup
        How good the first model is in each of them.
    """

    models: Mapping[str, ModelReport]
    differences: Mapping[str, Mapping[str, Estimate]]
    reclassification: Mapping[str, Estimate]
    cohort: Mapping[str, Any]
    folds: int
    repeats: int
    seed: int
    by: str
    warnings: list[str] = field(default_factory=list)
    subgroups: list[Subgroup] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"schema": SCHEMA, **json_able(self)}
        return document


def default_models(cohort: Cohort, learner: str | None = None) -> dict[str, ModelConfig]:
    """Early fusion first, late fusion, then every modality alone; with one modality only that."""
    learner = learner or ("cox" if cohort.target.kind == "survival" else "logistic")
    alone = {name: ModelConfig("early", learner, modalities=(name,)) for name in cohort.modalities}
    if len(alone) == 1:
        return alone
    return {"early fusion": ModelConfig("early", learner), "late fusion": ModelConfig("late", learner), **alone}


def evaluate(
    cohort: Cohort,
    models: Mapping[str, ModelConfig] | None = None,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    by: Literal["patient", "site"] = "patient",
    level: float | None = 0.9,
    resamples: int = 1000,
    progress: Progress = silent,
    kept: Kept | None = None,
) -> Evaluation:
    """Judge models by nested cross-validation.

    Parameters
    ----------
    cohort : Cohort
        One row per patient (`visits.one_row_each`).
    models : mapping or None
        Name -> config; the first is compared with the others. None for `default_models`.
    folds, repeats, seed, by
        Of `folds.outer_folds`.
    level : float or None
        Of the conformal predictions of the first model; None for none of them, which is faster.
    resamples : int
        Of the bootstrap.
    progress : callable
        Told after every fit; may raise `Cancelled`.
    kept : Kept, optional
        Finished fits of a run that was stopped; what is done is put there.

    Returns
    -------
    Evaluation
        The same for the same seed.

    Raises
    ------
    InputError
        A cohort that cannot be trained on; `leakage.LeakageError` where the answer leaks into the question.
    """
    if cohort.visit is not None:
        raise InputError("The cohort has repeated visits; reduce it to one row each (baseline or change) first.")
    check_trainable(cohort, folds)
    models = dict(models) if models is not None else default_models(cohort)
    if not models:
        raise InputError("There is no model to judge.")
    made = outer_folds(cohort, folds, repeats, seed, by)
    warnings = [*cohort.warnings, *check_all(cohort, made)]
    first = next(iter(models))
    tables = {name: _Predicted(cohort, repeats) for name in models}
    covered = None if level is None else _Covered(cohort, repeats, level)
    for i, fold in enumerate(made):
        for j, (name, config) in enumerate(models.items()):
            start, end = ((i + k / len(models)) / len(made) * 0.9 for k in (j, j + 1))
            stage = part(progress, start, end)
            done = kept.get(i, name) if kept is not None else None
            if done is None:
                model = fit_model(cohort.take(fold.train), config, seed, stage)
                check_fitted(model.parts, cohort, fold.train)
                done = {"found": tables[name].of(predict(model, cohort.take(fold.test)))}
                if covered is not None and name == first:
                    done |= covered.of(fold, config, model.setting, seed, stage)
                done |= {"setting": model.setting, "notes": np.array(fallbacks(model), dtype=np.str_)}
                if kept is not None:
                    kept.put(i, name, done)
            tables[name].add(fold, done)
            warnings += [note for note in done.get("notes", np.zeros(0)).tolist() if note not in warnings]
            if covered is not None and name == first:
                covered.add(fold, done)
    ending = part(progress, 0.9, 1.0)
    clinical = next((n for n, c in models.items() if c.modalities == (CLINICAL,)), None)
    estimates = bootstrap(
        lambda rows: _all_statistics(cohort.target, tables, first, clinical, rows, covered),
        cohort.patient, resamples, seed, progress=ending,
    )  # fmt: skip
    progress(1.0, "done")
    return Evaluation(
        models={
            name: ModelReport(
                config=models[name],
                metrics=_of(estimates, name),
                spread=tables[name].spread(cohort.target),
                calibration=tables[name].calibration(cohort.target),
                decisions=tables[name].decisions(cohort.target),
                settings=tables[name].settings,
                coverage=covered.report(estimates["coverage|"]) if covered is not None and name == first else None,
            )
            for name in models
        },
        differences={name: _of(estimates, f"difference:{name}") for name in models if name != first},
        reclassification=_of(estimates, "reclassification"),
        cohort=_facts(cohort),
        folds=folds,
        repeats=repeats,
        seed=seed,
        by=by,
        warnings=warnings,
        subgroups=audit(cohort, tables[first].tables.mean(axis=0), min(resamples, 300), seed),
    )


def _facts(cohort: Cohort) -> dict[str, Any]:
    outcome = cohort.target
    facts: dict[str, Any] = {"patients": cohort.n_patients, "outcome": outcome.kind, "sites": len(cohort.sites)}
    if outcome.kind == "survival":
        facts |= {"events": int(outcome.e.sum()), "horizon": outcome.horizon, "time_unit": outcome.time_unit}
    else:
        facts["classes"] = {name: int((outcome.y == k).sum()) for k, name in enumerate(outcome.classes)}
    facts["modalities"] = {m: [c.name for c in cohort.columns if c.modality == m] for m in cohort.modalities}
    facts["missing"] = {n: float(s) for n, s in zip(cohort.names, np.isnan(cohort.values).mean(axis=0), strict=True)}
    return facts


def _of(estimates: Mapping[str, Estimate], prefix: str) -> dict[str, Estimate]:
    return {key.split("|", 1)[1]: e for key, e in estimates.items() if key.split("|", 1)[0] == prefix}


def score(outcome: Outcome, p: Array) -> dict[str, float]:
    """All metrics of predictions that were made for rows not trained on.

    Parameters
    ----------
    outcome : Outcome
    p : numpy.ndarray
        ``(rows, classes)``; of survival ``(rows,)`` risk by the horizon.
    """
    if outcome.kind == "survival":
        t, e, h = outcome.t, outcome.e, outcome.horizon
        assert h is not None
        return {
            "concordance_ipcw": concordance_ipcw(t, e, p, h),
            "auc_at_horizon": auc_at(t, e, p, h),
            "brier_at_horizon": brier_at(t, e, 1 - p, h),
            "calibration_slope": survival_calibration_slope(t, e, p),
            "observed_to_expected": observed_to_expected(t, e, p, h),
        }
    y = outcome.y
    found = {
        "accuracy": accuracy(y, p),
        "balanced_accuracy": balanced_accuracy(y, p),
        "brier": brier(y, p),
        "log_loss": log_loss(y, p),
        "ece": ece(y, p),
    }
    if outcome.kind == "multiclass":
        return {"auc_macro": macro_auc(y, p), **found}
    slope, intercept = calibration_slope(y, p[:, 1])
    found |= {"calibration_slope": slope, "calibration_intercept": intercept}
    return {"auc": auc(y, p[:, 1]), **found, "calibration_in_the_large": calibration_in_the_large(y, p[:, 1])}


class _Predicted:
    """The predictions of one model for all rows, each made by a fold that had not seen the row."""

    def __init__(self, cohort: Cohort, repeats: int):
        outcome = cohort.target
        self._horizon = outcome.horizon
        shape = (len(cohort),) if outcome.kind == "survival" else (len(cohort), len(outcome.classes))
        self.tables = np.full((repeats, *shape), np.nan)
        self.settings: list[Any] = []

    def of(self, predicted: Prediction) -> Array:
        return predicted.p if self._horizon is None else predicted.risk(self._horizon)

    def add(self, fold: Fold, done: Mapping[str, Any]) -> None:
        self.tables[fold.repeat, fold.test] = done["found"]
        self.settings.append(done["setting"])

    def spread(self, outcome: Outcome) -> dict[str, float]:
        if len(self.tables) < 2:
            return {}
        each = [score(outcome, table) for table in self.tables]
        return {name: float(np.std([e[name] for e in each], ddof=1)) for name in each[0]}

    def calibration(self, outcome: Outcome) -> list[CalibrationBin]:
        """Of the mean over the repeats; of more than two classes that of the most probable one."""
        p = self.tables.mean(axis=0)
        if outcome.kind == "survival":
            assert outcome.horizon is not None
            return survival_calibration_curve(outcome.t, outcome.e, p, outcome.horizon)
        if outcome.kind == "binary":
            return calibration_curve(outcome.y, p[:, 1])
        return calibration_curve((p.argmax(axis=1) == outcome.y).astype(float), p.max(axis=1))

    def decisions(self, outcome: Outcome) -> list[DecisionPoint]:
        p = self.tables.mean(axis=0)
        if outcome.kind == "survival":
            assert outcome.horizon is not None
            return survival_decision_curve(outcome.t, outcome.e, p, outcome.horizon, THRESHOLDS)
        return decision_curve(outcome.y, p[:, 1], THRESHOLDS) if outcome.kind == "binary" else []


class _Covered:
    """Whether the conformal predictions of one model held, row by row."""

    def __init__(self, cohort: Cohort, repeats: int, level: float, folds: int = 5):
        self.cohort, self.level, self.folds = cohort, level, folds
        self.held = np.zeros((repeats, len(cohort)))
        self.size = np.zeros((repeats, len(cohort)))

    def add(self, fold: Fold, done: Mapping[str, Any]) -> None:
        self.held[fold.repeat, fold.test] = done["held"]
        self.size[fold.repeat, fold.test] = done["size"]

    def of(self, fold: Fold, config: ModelConfig, setting: Any, seed: int, progress: Progress) -> dict[str, Any]:
        """Models of inner folds, with the setting of the outer one, say how strange the training rows are and predict
        the test rows."""
        cohort, outcome = self.cohort, self.cohort.target
        test = cohort.take(fold.test)
        rows, fold_of, own, new = [], [], [], []
        for inner in inner_folds(cohort, fold.train, self.folds, seed + 1):
            model = fit_model(cohort.take(inner.train), config, seed, lambda _, stage: progress(1.0, stage), setting)
            rows.append(inner.test)
            fold_of.append(np.full(len(inner.test), inner.number))
            own.append(predict(model, cohort.take(inner.test)))
            new.append(predict(model, test))
        known = outcome.take(np.concatenate(rows))
        if outcome.kind == "survival":
            grid = time_grid(known.t)
            curves = np.vstack([p.survival_at(grid) for p in own])
            bound = SurvivalBound.fit(known.t, known.e, grid, curves, self.level)
            size = bound.bound(grid, np.mean([p.survival_at(grid) for p in new], axis=0))
            return {"held": outcome.t[fold.test] >= size, "size": size}
        p_new = np.stack([p.p for p in new])
        sets = cross_sets(np.vstack([p.p for p in own]), known.y, np.concatenate(fold_of), p_new, self.level)
        return {"held": sets[np.arange(len(sets)), outcome.y[fold.test]], "size": sets.sum(axis=1)}

    def statistic(self, rows: Array) -> float:
        outcome = self.cohort.target
        if outcome.kind != "survival":
            return float(self.held[:, rows].mean())
        t, e = outcome.t[rows], outcome.e[rows]
        weights = np.where(e, 1 / np.maximum(censoring_curve(t, e).before(t), 1e-12), 0.0)
        return float(1 - np.mean(weights * (1 - self.held[:, rows])))

    def report(self, covered: Estimate) -> Coverage:
        return Coverage(self.level, covered, float(self.size.mean()), len(self.cohort.target.classes))


def _all_statistics(
    outcome: Outcome,
    tables: Mapping[str, _Predicted],
    first: str,
    clinical: str | None,
    rows: Array,
    covered: _Covered | None,
) -> dict[str, float]:
    """Every number of the evaluation on some rows, so that all come from the same resamples."""
    drawn = outcome.take(rows)
    found: dict[str, float] = {}
    means: dict[str, dict[str, float]] = {}
    for name, predicted in tables.items():
        each = [score(drawn, table[rows]) for table in predicted.tables]
        means[name] = {metric: float(np.mean([e[metric] for e in each])) for metric in each[0]}
        found |= {f"{name}|{metric}": value for metric, value in means[name].items()}
    for name in tables:
        if name != first:
            found |= {f"difference:{name}|{m}": v - means[name][m] for m, v in means[first].items()}
    if outcome.kind == "binary" and clinical not in (None, first):
        found |= {
            f"reclassification|{k}": v for k, v in _reclassified(drawn, tables, first, str(clinical), rows).items()
        }
    if covered is not None:
        found["coverage|"] = covered.statistic(rows)
    return found


def _reclassified(
    drawn: Outcome, tables: Mapping[str, _Predicted], first: str, clinical: str, rows: Array
) -> dict[str, float]:
    pairs: Sequence[tuple[Array, Array]] = [
        (before[rows, 1], after[rows, 1])
        for before, after in zip(tables[clinical].tables, tables[first].tables, strict=True)
    ]
    nri = [reclassification(drawn.y, *pair) for pair in pairs]
    return {
        "nri_events": float(np.mean([n.events for n in nri])),
        "nri_nonevents": float(np.mean([n.nonevents for n in nri])),
        "nri": float(np.mean([n.total for n in nri])),
        "idi": float(np.mean([discrimination_improvement(drawn.y, *pair) for pair in pairs])),
    }
