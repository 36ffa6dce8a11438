"""The plots of a risk report: ten-year risks beside the guidelines' categories, and calcium among others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from CardioPrecisionLib.analysis import Figure
from CardioPrecisionLib.measurement import Patient
from CardioPrecisionLib.report.calcium import percentile_plot
from CardioPrecisionLib.report.figures import THEME, new_plot, style_axes, to_svg

from .clinical.record import Record
from .risk_rows import NamedScore

#: Ten-year risks of the plot, top to bottom, and their short names. Of PREVENT the base model, and the full one.
_SHOWN = {
    "risk_prevent_base_cvd_10y": "PREVENT, CVD",
    "risk_prevent_base_ascvd_10y": "PREVENT, ASCVD",
    "risk_prevent_full_ascvd_10y": "PREVENT full, ASCVD",
    "risk_prevent_base_hf_10y": "PREVENT, heart failure",
    "risk_pce_ascvd_10y": "Pooled Cohort, ASCVD",
    "risk_score2_cvd_10y": "SCORE2, CVD",
    "risk_score2op_cvd_10y": "SCORE2-OP, CVD",
    "risk_score2diabetes_cvd_10y": "SCORE2-Diabetes, CVD",
    "risk_framingham_lipid_cvd_10y": "Framingham, CVD",
    "risk_framingham_bmi_cvd_10y": "Framingham BMI, CVD",
    "risk_mesa_chd_10y": "MESA, CHD",
    "risk_mesa_cac_chd_10y": "MESA with CAC, CHD",
}
#: Colour and opacity of the bands by their number, low to high.
_BANDS = {
    3: (("green", 0.28), ("amber", 0.28), ("red", 0.3)),
    4: (("green", 0.28), ("amber", 0.18), ("amber", 0.38), ("red", 0.3)),
}


def make_figures(scores: Sequence[NamedScore], record: Record) -> list[Figure]:
    """The plots that have something to show."""
    figures = [risk_plot(scores)]
    calcium = record.value("cac_agatston")
    if isinstance(calcium, float):
        race = record.value("race")
        patient: Patient = record.patient()
        figures.append(percentile_plot(calcium, patient, race if isinstance(race, str) else None))
    return [figure for figure in figures if figure is not None]


def risk_plot(scores: Sequence[NamedScore]) -> Figure | None:
    """Risks of events in 10 years, each on the categories that its guideline gives to this score; None without any."""
    by_name = {s.name: s for s in scores}
    found: list[tuple[str, NamedScore, float]] = []
    for name, short in _SHOWN.items():
        score = by_name.get(name)
        if score is not None and isinstance(score.value, float):
            found.append((short, score, score.value))
    if not found:
        return None
    limits = [s.category.limits[-1] for _, s, _ in found if s.category]
    end = max([1.3 * value for _, _, value in found] + [1.25 * limit for limit in limits] + [10.0])
    end = min(end, 100.0)
    plot = new_plot(5.8, 0.95 + 0.36 * len(found))
    axes = plot.add_subplot()
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=THEME["grid"], linewidth=0.8)
    for place, (_short, score, value) in enumerate(found):
        _row(axes, len(found) - 1 - place, score, value, end)
    axes.set_yticks(range(len(found)), [short for short, _, _ in reversed(found)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, end)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel("Risk in 10 years (%)")
    named = sorted({f"{g.title} {g.edition}" for g in (s.category.guideline for _, s, _ in found if s.category)})
    caption = "Scores predict different events in different populations; their numbers do not compare with each other."
    if named:
        caption += f" Bands are the categories of the guideline that uses the score: {'; '.join(named)}."
    if len(named) and any(s.category is None for _, s, _ in found):
        caption += " Scores without bands have none in these guidelines."
    svg = to_svg(plot, "ten-year-risk")
    return Figure("ten_year_risk", "Risk in 10 years by score", caption, svg, "image/svg+xml")


def _row(axes: Any, height: int, score: NamedScore, value: float, end: float) -> None:
    if score.category is not None:
        edges = (0.0, *score.category.limits, end)
        for n, (role, alpha) in enumerate(_BANDS[len(score.category.names)]):
            if edges[n] < end:
                axes.barh(height, min(edges[n + 1], end) - edges[n], left=edges[n], height=0.62, color=THEME[role],
                          alpha=alpha, linewidth=0)  # fmt: skip
    else:
        axes.barh(height, end, height=0.62, color=THEME["grid"], alpha=0.45, linewidth=0)
    axes.plot([value], [height], marker="D", markersize=6.5, color=THEME["ink"], linestyle="none", zorder=5)
    # The text stands on the side of the mark that has room.
    left = value > 0.6 * end
    text = f"{value:.1f} %" + (f", {score.category.name}" if score.category else "")
    axes.annotate(text, (value, height), xytext=(-9 if left else 9, 0), textcoords="offset points", va="center",
                  ha="right" if left else "left", fontsize=9, color=THEME["ink"])  # fmt: skip
