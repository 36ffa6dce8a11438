"""What the answers for a large table look like as a run: counts, distributions, refused rows and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from CardioPrecisionLib.analysis import Figure, Result, Section, Table
from CardioPrecisionLib.record import json_able
from CardioPrecisionLib.report.figures import THEME, new_plot, style_axes, to_svg
from CardioPrecisionLib.report.templating import environment

from ..report import model_record
from .scoring import ANSWERS, SPANS, Summary

#: Reasons of the table; all are in predictions.json.
_SHOWN_REASONS = 50


def summary_result(found: Summary, card: Mapping[str, Any], level: float | None, warnings: Sequence[str]) -> Result:
    """The run of a large prediction; the answers themselves lie beside the report."""
    told = list(warnings)
    if found.refused:
        told.append(
            f"{found.refused} of {found.rows} rows got no answer: too unlike the training patients; the reasons stand "
            f"with each in {ANSWERS}."
        )
    html = (
        environment("FusionRiskLib")
        .get_template("answers_many.html.j2")
        .render(
            rows=found.rows,
            counts=[(name, found.likeness[name]) for name in ("inside", "flagged", "refused")],
            means=[(name, f"{100 * _mean(found, k):.1f}") for k, name in enumerate(found.names) if found.answered],
            sets=sorted(found.sets.items()),
            level=f"{100 * level:.0f} %" if level else "",
            trained=card["training"]["patients"],
            kind=card["kind"],
            file=ANSWERS,
        )
    )
    document = {
        "schema": "cardioprecision/fusion-prediction/1",
        "outcome": card["target"]["kind"],
        "names": found.names,
        "level": level,
        "answers": ANSWERS,
        "summary": {
            "rows": found.rows,
            "likeness": dict(found.likeness),
            "mean": [_mean(found, k) if found.answered else None for k in range(len(found.names))],
            "sets": {str(size): count for size, count in sorted(found.sets.items())},
            "refused_for": dict(found.reasons.most_common()),
        },
    }
    reasons = found.reasons.most_common(_SHOWN_REASONS)
    return Result(
        tables=[
            Table(
                "refused", "Why rows were refused", {"reason": [r for r, _ in reasons], "rows": [n for _, n in reasons]}
            )
        ],
        figures=[_spread(found)] if found.answered else [],
        sections=[Section("answers", "Predictions", html)],
        warnings=told,
        documents={"predictions": json_able(document)},
        record=model_record(card),
    )


def _mean(found: Summary, k: int) -> float:
    return float(found.total[k] / found.answered)


def _spread(found: Summary) -> Figure:
    """How often each probability was given."""
    plot = new_plot(5.8, 2.6)
    axes = plot.add_subplot()
    style_axes(axes)
    middle = 100 * (SPANS[:-1] + SPANS[1:]) / 2
    shown = [len(found.names) - 1] if len(found.names) <= 2 else list(range(len(found.names)))
    colours = ("blue", "red", "green", "amber")
    for place, k in enumerate(shown):
        share = 100 * found.spans[k] / max(found.answered, 1)
        axes.step(middle, share, where="mid", color=THEME[colours[place % 4]], label=found.names[k])
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Predicted probability, %")
    axes.set_ylabel("Rows, %")
    if len(shown) > 1:
        axes.legend(frameon=False)
    name = found.names[-1] if len(shown) == 1 else "each class"
    caption = f"How the predicted probability of {name} is spread over the {found.answered} rows with an answer."
    return Figure("spread", "Predicted probabilities", caption, to_svg(plot, "spread"), "image/svg+xml")
