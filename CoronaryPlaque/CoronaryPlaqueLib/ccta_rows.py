"""Measurement rows of the rules of CCTA reading: CAD-RADS, plaque burden, SIS, SSS, plaque volumes and stage."""

from __future__ import annotations

from typing import Any

from CardioPrecisionLib.measurement import Measurement, Measurements, State

from .cadrads import P0_WITH_PLAQUE, CadRads
from .involvement import Involvement
from .plaque_burden import PlaqueBurden
from .plaque_composition import Composition, percent_atheroma_volume
from .plaque_stage import stage_by_percent, stage_by_volume

_METHOD = "CAD-RADS 2.0 (Cury 2022)"


def reading_rows(
    result: CadRads,
    involved: Involvement,
    burden: PlaqueBurden | None = None,
    *,
    state: State = State.MEASURED,
    source: str | None = None,
) -> Measurements:
    """The rows of the whole patient.

    Parameters
    ----------
    result, involved, burden
        From `cad_rads`, `involvement` and `plaque_burden`.
    state : State
        ``measured`` where the readings were measured, ``entered`` where a reader gave them.
    source : str, optional
    """
    rows = Measurements()
    more: dict[str, Any] = {"source": source, "method": _METHOD}
    if result.category is None:
        rows.add(Measurement.missing("cad_rads", "1", result.reason or "not assessed", **more))
    else:
        rows.add(Measurement("cad_rads", result.category, "1", state, result.reason, **more))
        if result.modifiers:
            rows.add(Measurement("cad_rads_modifiers", "/".join(result.modifiers), "1", state, **more))
    grade, reason = result.burden, burden.reason if burden else None
    if grade is None:
        why = P0_WITH_PLAQUE if burden and burden.grade else reason or "Plaque burden was not assessed."
        rows.add(Measurement.missing("plaque_burden_grade", "1", why, **more))
    else:
        by = f"{_METHOD}, by {burden.method}" if burden and burden.method else _METHOD
        rows.add(Measurement("plaque_burden_grade", grade, "1", state, reason, method=by, source=source))
    more["method"] = "Min 2007"
    for name, value in (("segment_involvement_score", involved.sis), ("segment_stenosis_score", involved.sss)):
        if value is None:
            rows.add(Measurement.missing(name, "1", involved.reason or "not assessed", **more))
        else:
            rows.add(Measurement(name, float(value), "1", state, **more))
    return rows


def plaque_rows(
    plaque: Composition,
    lumen_mm3: float | None = None,
    *,
    site: str | None = None,
    method: str | None = None,
    source: str | None = None,
) -> Measurements:
    """Volumes by class, percent atheroma volume where the lumen is known and, for the whole patient, the stage.

    Parameters
    ----------
    plaque : Composition
    lumen_mm3 : float, optional
        Lumen volume of the same stretch of vessel.
    site : str, optional
        Vessel, segment or lesion; None for the whole coronary tree, which alone has a stage.
    """
    rows = Measurements()
    more: dict[str, Any] = {"site": site, "method": method, "source": source}
    volumes = {
        "plaque_volume": plaque.total_mm3,
        "plaque_volume_low_attenuation": plaque.low_attenuation_mm3,
        "plaque_volume_fibrofatty": plaque.fibrofatty_mm3,
        "plaque_volume_fibrous": plaque.fibrous_mm3,
        "plaque_volume_calcified": plaque.calcified_mm3,
    }
    for name, value in volumes.items():
        rows.add(Measurement(name, value, "mm3", **more))
    percent = None if lumen_mm3 is None else percent_atheroma_volume(plaque.total_mm3, lumen_mm3)
    if percent is None:
        reason = "The lumen volume is not known." if lumen_mm3 is None else "No vessel was measured."
        rows.add(Measurement.missing("percent_atheroma_volume", "%", reason, **more))
    else:
        rows.add(Measurement("percent_atheroma_volume", percent, "%", **more))
    if site is not None:
        return rows
    more["method"] = "Min 2022"
    rows.add(Measurement("plaque_stage_by_volume", float(stage_by_volume(plaque.total_mm3)), "1", **more))
    if percent is not None:
        rows.add(Measurement("plaque_stage_by_percent", float(stage_by_percent(percent)), "1", **more))
    return rows
