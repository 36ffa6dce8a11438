"""What a judging and the answers of a model look like as a run: tables, documents, sections of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Result, Section, Table
from CardioPrecisionLib.record import json_able
from CardioPrecisionLib.report.templating import environment
from markupsafe import Markup

from .answer import Answers
from .evaluate import Evaluation
from .figures import contribution_bars, evaluation_figures
from .metrics.bootstrap import Estimate

_PACKAGE = "FusionRiskLib"
_SHOWN_ROWS = 20
#: Metrics of the report's table, by kind of outcome; the others are in metrics.csv.
_SHOWN_METRICS = {
    "binary": ("auc", "brier", "ece", "calibration_slope", "calibration_in_the_large"),
    "multiclass": ("accuracy", "balanced_accuracy", "auc_macro", "brier", "ece"),
    "survival": ("concordance_ipcw", "auc_at_horizon", "brier_at_horizon", "calibration_slope", "observed_to_expected"),
}
_WORDS = {
    "auc": "AUC",
    "auc_macro": "AUC (macro)",
    "auc_at_horizon": "AUC at the horizon",
    "brier_at_horizon": "Brier score at the horizon",
    "concordance_ipcw": "Concordance (IPCW)",
    "ece": "ECE",
    "calibration_in_the_large": "Calibration in the large",
    "observed_to_expected": "Observed / expected",
}


def _words(name: str) -> str:
    return _WORDS.get(name) or name.replace("_", " ").capitalize()


def _cell(e: Estimate | None, signed: bool = False) -> dict[str, str]:
    if e is None or e.value is None:
        return {"value": "–", "interval": ""}
    form = "{:+.3f}" if signed else "{:.3f}"
    interval = f"{form.format(e.low)} to {form.format(e.high)}" if e.low is not None and e.high is not None else ""
    return {"value": form.format(e.value), "interval": interval}


# -- judging ----------------------------------------------------------------------------------------------------------
def evaluation_result(found: Evaluation) -> Result:
    """The run of a judging."""
    first = next(iter(found.models))
    metrics = [m for m in _SHOWN_METRICS[str(found.cohort["outcome"])] if m in found.models[first].metrics]
    how = (
        f"Nested cross-validation by {found.by}: {found.folds} folds"
        f"{f', {found.repeats} times' if found.repeats > 1 else ''}, seed {found.seed}. Every number is of patients "
        "that the model had not seen; below it the 95 % interval of a bootstrap over patients, in which the model is "
        "not refitted."
    )
    html = (
        environment(_PACKAGE)
        .get_template("evaluation.html.j2")
        .render(
            metrics=[_words(m) for m in metrics],
            rows=[(name, [_cell(r.metrics.get(m)) for m in metrics]) for name, r in found.models.items()],
            differences=[(n, [_cell(d.get(m), True) for m in metrics]) for n, d in found.differences.items()],
            first=first.capitalize(),
            how=how,
            lines=_lines(found, first),
            groups=_groups(found),
            group_metrics=_GROUP_METRICS[str(found.cohort["outcome"])],
        )
    )
    columns: dict[str, list[Any]] = {"model": [], "metric": [], "value": [], "low": [], "high": [], "sd": []}
    for name, report in found.models.items():
        for metric, e in report.metrics.items():
            row = (name, metric, e.value, e.low, e.high, report.spread.get(metric))
            for key, value in zip(columns, row, strict=True):
                columns[key].append(value)
    facts = found.cohort
    cohort = Table(
        "cohort",
        "Cohort",
        {
            "column": [c for group in facts["modalities"].values() for c in group],
            "modality": [m for m, group in facts["modalities"].items() for _ in group],
            "unknown_share": [facts["missing"][c] for group in facts["modalities"].values() for c in group],
        },
    )
    return Result(
        tables=[Table("metrics", "Metrics", columns), cohort],
        figures=evaluation_figures(found),
        sections=[Section("judging", "How good it is", html)],
        warnings=list(found.warnings),
        documents={"evaluation": found.to_json()},
        record={"seeds": {"folds": found.seed}},
    )


#: What the two numbers of a subgroup are, by kind of outcome.
_GROUP_METRICS = {
    "binary": ("AUC", "Observed minus predicted"),
    "multiclass": ("Accuracy", ""),
    "survival": ("Concordance (IPCW)", "Observed / expected"),
}


def _groups(found: Evaluation) -> list[dict[str, Any]]:
    """Rows of the table of subgroups."""
    signed = found.cohort["outcome"] == "binary"
    return [
        {
            "by": one.by,
            "name": one.name,
            "patients": one.patients,
            "events": "" if one.events is None else one.events,
            "cells": [_cell(one.discrimination), *([_cell(one.calibration, signed)] if one.calibration else [])],
            "reason": one.reason or "",
        }
        for one in found.subgroups
    ]


def _lines(found: Evaluation, first: str) -> list[str]:
    facts = found.cohort
    if facts["outcome"] == "survival":
        horizon = f"{facts['horizon']:g} {facts['time_unit']}"
        who = f"{facts['patients']} patients, {facts['events']} events; horizon {horizon}."
    else:
        who = f"{facts['patients']} patients: " + ", ".join(f"{n} {name}" for name, n in facts["classes"].items()) + "."
    lines = [who]
    coverage = found.models[first].coverage
    if coverage is not None and coverage.covered.value is not None:
        size = (
            f"{coverage.size:.2f} of {coverage.classes} classes in a set on average"
            if coverage.classes
            else f"mean lower bound {coverage.size:.3g} {facts['time_unit']}"
        )
        c = coverage.covered
        interval = f" ({100 * c.low:.1f} to {100 * c.high:.1f})" if c.low is not None and c.high is not None else ""
        held = 100 * coverage.covered.value
        lines.append(
            f"Conformal predictions of {first} at {100 * coverage.level:.0f} % held for {held:.1f} %{interval}; {size}."
        )
    if found.reclassification:
        nri, idi = (_cell(found.reclassification.get(k), True) for k in ("nri", "idi"))
        lines.append(
            f"Over clinical data alone: net reclassification {nri['value']} ({nri['interval']}), integrated "
            f"discrimination improvement {idi['value']} ({idi['interval']}). A gain in these without one in "
            "discrimination or net benefit means little."
        )
    return lines


# -- answers ----------------------------------------------------------------------------------------------------------
def answers_result(answers: Answers, titles: Sequence[str], card: Mapping[str, Any], warnings: Sequence[str]) -> Result:
    """The run of a prediction.

    Parameters
    ----------
    answers : Answers
    titles : sequence of str
        Of the rows; no identifiers.
    card : mapping
        Of the model folder.
    warnings : sequence of str
    """
    rows = [_row(answers, i, title) for i, title in enumerate(titles[:_SHOWN_ROWS])]
    training = card["training"]
    level = f"{100 * answers.level:.0f} %" if answers.level else ""
    note = (
        f"The model was trained on {training['patients']} patients ({card['kind']} fusion). Model uncertainty is the "
        "range of models that were fitted to other draws of these patients; it promises no coverage of the truth. "
    )
    if answers.level:
        note += (
            f"A {level} set or bound holds for about {level} of patients like those, on average and not for each kind. "
        )
    if moved := card.get("recalibration"):
        note += (
            f"Its probabilities were recalibrated on {moved['patients']} other patients; contributions are those "
            "of the model before that. "
        )
    note += "Contributions say what the model used, not what causes what."
    html = (
        environment(_PACKAGE)
        .get_template("answers.html.j2")
        .render(
            rows=rows,
            head="Class" if answers.target.kind != "survival" else "Event",
            level=level,
            modalities=list(answers.without),
            left_out=max(0, len(titles) - _SHOWN_ROWS),
            note=note,
        )
    )
    refused = int(answers.refused.sum())
    told = list(warnings)
    if refused:
        told.append(
            f"{refused} of {len(titles)} {'row' if len(titles) == 1 else 'rows'} got no answer: too unlike the "
            "training patients; the reasons stand with each."
        )
    return Result(
        tables=[_predictions(answers, titles), _without(answers, titles), _contributions(answers, titles)],
        sections=[Section("answers", "Predictions", html)],
        warnings=told,
        documents={"predictions": _document(answers, titles)},
        record=model_record(card),
    )


def model_record(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a run says of the model."""
    model = {
        "name": f"fusion {card['kind']}",
        "version": str(card["training"].get("saved", "")),
        "licence": "of the cohort's owner",
        "sha256": {},
        "device": "cpu",
        "precision": "float64",
        "fallbacks": [],
    }
    return {"models": [model]}


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def _row(answers: Answers, i: int, title: str) -> dict[str, Any]:
    judged = answers.likeness[i]
    refused = bool(answers.refused[i])
    missing = [c.name for j, c in enumerate(answers.columns) if np.isnan(answers.values[i, j])]
    low_high = _interval(answers, i)
    lines = [
        {
            "name": name,
            "p": _percent(answers.said[i, k]),
            "interval": f"{100 * low_high[k][0]:.1f} to {100 * low_high[k][1]:.1f}" if low_high else "",
            "set": ("yes" if answers.sets[i, k] else "no") if answers.sets is not None else "",
            "without": [_percent(table[i, k]) for table in answers.without.values()],
        }
        for k, name in enumerate(answers.names)
    ]
    bound = ""
    if answers.bound is not None and answers.level:
        unit = answers.target.time_unit
        bound = f"Lives at least {answers.bound[i]:.3g} {unit} without the event, at {100 * answers.level:.0f} %."
        if answers.bound[i] <= 0:
            bound = f"No lower bound of the time without an event holds at {100 * answers.level:.0f} %."
    bars, caption = "", ""
    if not refused:
        which = int(np.nanargmax(answers.said[i])) if answers.target.kind == "multiclass" else 0
        what = {
            "binary": f"Log-odds of {answers.names[-1]}",
            "survival": "Log cumulative hazard at the horizon",
        }.get(answers.target.kind, f"Centred log-probability of {answers.names[which]}")
        found = answers.contributions
        bars = Markup(  # noqa: S704  # our own plot
            contribution_bars(found.groups, found.values[i, :, which], f"contributions-{i}", what).decode("utf-8")
        )
        caption = f"What each input added to the answer ({found.method}); right of zero it raised it."
    return {
        "title": title,
        "refused": refused,
        "reasons": "; ".join(judged.reasons),
        "lines": lines,
        "intervals": bool(low_high),
        "width": f"{100 * answers.interval.level:.0f} % of refitted models" if answers.interval is not None else "",
        "sets": answers.sets is not None,
        "bound": bound,
        "missing": ", ".join(missing),
        "bars": bars,
        "bars_caption": caption,
    }


def _interval(answers: Answers, i: int) -> list[tuple[float, float]]:
    if answers.interval is None:
        return []
    low, high = np.atleast_1d(answers.interval.low[i]), np.atleast_1d(answers.interval.high[i])
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _predictions(answers: Answers, titles: Sequence[str]) -> Table:
    columns: dict[str, list[Any]] = {"row": list(titles)}
    for k, name in enumerate(answers.names):
        columns[f"p {name}"] = [_known(v) for v in answers.said[:, k]]
        if answers.interval is not None:
            for side, table in (("low", answers.interval.low), ("high", answers.interval.high)):
                values = table.reshape(len(titles), -1)[:, k]
                columns[f"p {name} {side}"] = [
                    None if r else float(v) for r, v in zip(answers.refused, values, strict=True)
                ]
    if answers.sets is not None:
        columns["set"] = [
            None if r else "; ".join(n for n, inside in zip(answers.names, row, strict=True) if inside)
            for r, row in zip(answers.refused, answers.sets, strict=True)
        ]
    if answers.bound is not None:
        columns[f"lower bound ({answers.target.time_unit})"] = [
            None if r else float(v) for r, v in zip(answers.refused, answers.bound, strict=True)
        ]
    columns["state"] = ["not_assessable" if r else "predicted" for r in answers.refused]
    columns["likeness"] = [str(one.likeness) for one in answers.likeness]
    columns["reason"] = ["; ".join(one.reasons) for one in answers.likeness]
    return Table("predictions", "Predictions", columns)


def _without(answers: Answers, titles: Sequence[str]) -> Table:
    columns: dict[str, list[Any]] = {"row": [], "without": [], "class": [], "p": []}
    for i, title in enumerate(titles):
        for modality, table in answers.without.items():
            for k, name in enumerate(answers.names):
                for key, value in zip(columns, (title, modality, name, _known(table[i, k])), strict=True):
                    columns[key].append(value)
    return Table("without", "Without each modality", columns)


def _contributions(answers: Answers, titles: Sequence[str]) -> Table:
    found = answers.contributions
    columns: dict[str, list[Any]] = {"row": [], "input": [], "class": [], "contribution": []}
    width = found.values.shape[2]
    names = answers.names if width > 1 else (answers.names[-1],)
    for i, title in enumerate(titles):
        if answers.refused[i]:
            continue
        for g, group in enumerate(found.groups):
            for k, name in enumerate(names):
                for key, value in zip(columns, (title, group, name, float(found.values[i, g, k])), strict=True):
                    columns[key].append(value)
    return Table("contributions", "Contributions", columns)


def _document(answers: Answers, titles: Sequence[str]) -> dict[str, Any]:
    table = _predictions(answers, titles)
    names = list(table.columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*table.columns.values(), strict=True)]
    document: dict[str, Any] = json_able(
        {
            "schema": "cardioprecision/fusion-prediction/1",
            "outcome": answers.target.kind,
            "names": answers.names,
            "level": answers.level,
            "contributions": answers.contributions.method,
            "rows": rows,
        }
    )
    return document
