"""A coronary calcium score among people of the same age and sex, as a plot."""

from __future__ import annotations

import numpy as np

from .. import calcium_norms as norms
from ..analysis import Figure
from ..image import Array
from ..measurement import Patient
from .figures import THEME, new_plot, style_axes, to_svg

_PERCENTILES = (25, 50, 75, 90)


def percentile_plot(cac: float, patient: Patient, race: str | None) -> Figure | None:
    """The patient's score on the percentiles of the reference population over age.

    MESA where the race is known and the age is covered, else Hoff; None without age and sex, or beyond both.
    """
    if patient.age_years is None or patient.sex is None:
        return None
    age, sex = float(patient.age_years), patient.sex
    first, end = norms.MESA_AGES
    mesa = race in norms.MESA_RACES and first <= age < end
    ages: Array = np.arange(first, end) if mesa else np.arange(30, 90)
    curves = {p: np.array([_cac(p, float(a), sex, race if mesa else None) for a in ages]) for p in _PERCENTILES}
    if not ages[0] <= age < ages[-1] + 1:
        return None
    plot = new_plot(5.2, 3.2)
    axes = plot.add_subplot()
    style_axes(axes)
    for weight, (p, values) in enumerate(curves.items()):
        axes.plot(ages, values, color=THEME["blue"], linewidth=1.0 + 0.35 * weight, alpha=0.5 + 0.15 * weight,
                  drawstyle="default" if mesa else "steps-mid")  # fmt: skip
        known = np.isfinite(values)
        if known.any():
            last = np.flatnonzero(known)[-1]
            axes.annotate(f"{p}th", (ages[last], values[last]), xytext=(4, 0), textcoords="offset points", va="center",
                          fontsize=8, color=THEME["muted"])  # fmt: skip
    axes.plot([age], [cac], marker="o", markersize=8, color=THEME["red"], linestyle="none", zorder=5)
    axes.annotate(f"{cac:.0f}", (age, cac), xytext=(7, 7), textcoords="offset points", fontsize=10,
                  color=THEME["ink"], fontweight="bold")  # fmt: skip
    axes.set_yscale("symlog", linthresh=10, linscale=0.6)
    top = max(cac, float(np.nanmax(curves[90])), 10.0)
    axes.set_ylim(-0.6, top * 1.8)
    ticks = [t for t in (0, 10, 100, 400, 1000, 4000, 10000) if t <= top * 1.8]
    axes.set_yticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("Age (years)")
    axes.set_ylabel("Agatston score")
    who = f"{'women' if sex == 'female' else 'men'}"
    source = (
        f"MESA, {race} {who} (McClelland, Circulation 2006;113:30)"
        if mesa
        else f"{who} (Hoff, Am J Cardiol 2001;87:1335)"
    )
    caption = f"The patient (red) on the 25th, 50th, 75th and 90th percentiles of {source}. The scale is logarithmic."
    svg = to_svg(plot, "calcium-percentile")
    return Figure("percentile", "Agatston score by age", caption, svg, "image/svg+xml")


def _cac(percentile: int, age: float, sex: str, race: str | None) -> float:
    try:
        if race is None:
            return norms.hoff_cac(age, sex)[percentile]
        return norms.mesa_cac_at(percentile, age, sex, race)
    except norms.NotCovered:
        return float("nan")
