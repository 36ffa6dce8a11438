"""Plots of a judging and of an answer, in the report's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Figure
from CardioPrecisionLib.report.figures import THEME, new_plot, style_axes, to_svg

from .evaluate import Evaluation, ModelReport

#: Metric that models are compared by, its title, and its value without any skill.
MAIN: Mapping[str, tuple[str, str, float]] = {
    "binary": ("auc", "Area under the ROC curve", 0.5),
    "multiclass": ("accuracy", "Accuracy", 0.0),
    "survival": ("concordance_ipcw", "Concordance (IPCW)", 0.5),
}
_COLOURS = ("blue", "red", "green", "amber")


def evaluation_figures(found: Evaluation) -> list[Figure]:
    """Comparison of the models, calibration and decision curve of the first."""
    kind = str(found.cohort["outcome"])
    first = next(iter(found.models))
    report = found.models[first]
    figures = [comparison(found, kind), calibration(report, first, kind)]
    if report.decisions:
        figures.append(decisions(found, first))
    return figures


def comparison(found: Evaluation, kind: str) -> Figure:
    """The main metric of every model with its interval."""
    metric, title, chance = MAIN[kind]
    names = list(found.models)
    plot = new_plot(5.8, 1.0 + 0.36 * len(names))
    axes = plot.add_subplot()
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=THEME["grid"], linewidth=0.8)
    for place, name in enumerate(reversed(names)):
        e = found.models[name].metrics[metric]
        colour = THEME["blue"] if name == names[0] else THEME["ink"]
        if e.value is None:
            continue
        if e.low is not None and e.high is not None:
            axes.plot([e.low, e.high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([e.value], [place], "o", color=colour, markersize=6)
    if chance:
        axes.axvline(chance, color=THEME["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(title)
    caption = (
        f"{title} on patients that the model was not trained on, with 95 % intervals of a bootstrap over patients. "
        "Intervals that overlap can still belong to a difference that is sure: see the paired differences."
    )
    return Figure("comparison", "Models", caption, to_svg(plot, "fusion-comparison"), "image/svg+xml")


def calibration(report: ModelReport, name: str, kind: str) -> Figure:
    """Predicted against observed."""
    plot = new_plot(4.2, 4.0)
    axes = plot.add_subplot()
    style_axes(axes)
    axes.plot([0, 1], [0, 1], color=THEME["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
    bins = report.calibration
    most = max((b.count for b in bins), default=1)
    axes.plot([b.predicted for b in bins], [b.observed for b in bins], color=THEME["blue"], linewidth=1.2)
    axes.scatter(
        [b.predicted for b in bins],
        [b.observed for b in bins],
        s=[20 + 80 * b.count / most for b in bins],
        color=THEME["blue"],
        zorder=3,
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    what = {"survival": "risk by the horizon", "binary": "probability"}.get(kind, "probability of the likeliest class")
    axes.set_xlabel(f"Predicted {what}")
    axes.set_ylabel("Observed share")
    caption = (
        f"Calibration of {name}: groups of patients by prediction, larger dots more patients. On the dashed line what "
        "is predicted happens as often as predicted."
    )
    return Figure("calibration", "Calibration", caption, to_svg(plot, "fusion-calibration"), "image/svg+xml")


def decisions(found: Evaluation, first: str) -> Figure:
    """Net benefit of acting on a model at each threshold."""
    plot = new_plot(5.8, 3.4)
    axes = plot.add_subplot()
    style_axes(axes)
    shown = [name for name in found.models if found.models[name].decisions][: len(_COLOURS)]
    points = found.models[first].decisions
    thresholds = [100 * p.threshold for p in points]
    axes.plot(thresholds, [p.treat_all for p in points], color=THEME["muted"], linewidth=1, label="treat all")
    axes.axhline(0, color=THEME["muted"], linewidth=1, linestyle=(0, (3, 3)), label="treat none")
    top = 0.0
    for name, colour in zip(shown, _COLOURS, strict=False):
        benefit = [p.model for p in found.models[name].decisions]
        top = max(top, *benefit)
        axes.plot(thresholds, benefit, color=THEME[colour], linewidth=1.6, label=name)
    axes.set_ylim(-0.05 - 0.1 * top, 1.15 * top + 0.02)
    axes.set_xlim(0, 100)
    axes.set_xlabel("Threshold from which one would act (%)")
    axes.set_ylabel("Net benefit")
    axes.legend(frameon=False, fontsize=8, labelcolor=THEME["ink"])
    caption = "Decision curve: true positives minus weighted false positives, per patient (Vickers and Elkin 2006)."
    return Figure("decisions", "Decision curve", caption, to_svg(plot, "fusion-decisions"), "image/svg+xml")


def contribution_bars(groups: Sequence[str], values: Any, name: str, what: str) -> bytes:
    """Bars of what each input contributed to one answer, the largest on top."""
    order = np.argsort(-np.abs(values))[:12][::-1]
    plot = new_plot(5.4, 0.8 + 0.28 * len(order))
    axes = plot.add_subplot()
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=THEME["grid"], linewidth=0.8)
    colours = [THEME["red"] if values[i] > 0 else THEME["blue"] for i in order]
    axes.barh(range(len(order)), [float(values[i]) for i in order], color=colours, height=0.62)
    axes.axvline(0, color=THEME["muted"], linewidth=0.8)
    axes.set_yticks(range(len(order)), [groups[i] for i in order])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(what)
    return to_svg(plot, name)
