"""What a calcium score means beside others: category, CAC-DRS, arterial age, percentiles, aortic stenosis."""

from __future__ import annotations

from typing import Any

from CardioPrecisionLib import calcium_norms as norms
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, State

from .calcium_rows import TOTAL, Seen, comparable_agatston
from .scoring import Scores
from .vessels import AORTIC_VALVE, CORONARY, SITES

_NO_AGE_OR_SEX = "Age and sex are needed; give them with --clinical."
_CATEGORY = "0, 1-10, 11-100, 101-400, >400"
_DRS = "CAC-DRS (Hecht, JCCT 2018;12:185)"
_ARTERIAL = "39.1 + 7.25 ln(CAC + 1) (McClelland, Am J Cardiol 2009;103:59)"
_MESA = "MESA percentile by age, sex and race (McClelland, Circulation 2006;113:30)"
_HOFF = "percentile by age and sex (Hoff, Am J Cardiol 2001;87:1335)"
_STENOSIS = "sex-specific Agatston limits of the aortic valve (ESC/EACTS 2021, Eur Heart J 2022;43:561)"


def norm_rows(scores: Scores, seen: Seen, patient: Patient, race: str | None, source: str) -> Measurements:
    """The rows, each `not_assessable` with its reason where something is not known."""
    rows = Measurements()
    total = comparable_agatston(scores.total())
    reason = seen.why_not(TOTAL)

    def add(name: str, value: float | str | None, unit: str, method: str, why: str | None, **more: Any) -> None:
        more |= {"method": method, "source": source}
        if value is None or why:
            state = more.pop("state", State.NOT_ASSESSABLE)
            rows.add(Measurement.missing(name, unit, why or "", state, **more))
        else:
            more.pop("state", None)
            rows.add(Measurement(name, value, unit, **more))

    burden = norms.burden(total)
    word = f"{burden.name} ({burden.burden}{', extreme: 1000 or more' if burden.extreme else ''})"
    add("agatston_category", word, "1", _CATEGORY, reason)
    vessels = sum(scores.by_label[n].agatston > 0 for n in CORONARY)
    # A score on 3 mm averages can vanish where thin slices still show a vessel's calcium.
    drs = norms.cac_drs(total, vessels if total > 0 else 0) if vessels or total == 0 else None
    add("cac_drs", drs, "1", _DRS, reason)
    add("arterial_age", norms.arterial_age(total), "a", _ARTERIAL, reason)
    rows.add(_percentile("cac_percentile_mesa", _MESA, total, patient, race, reason, source))
    rows.add(_percentile("cac_percentile_hoff", _HOFF, total, patient, "any", reason, source))
    valve = SITES[AORTIC_VALVE]
    why = seen.why_not(valve) or (None if patient.sex else "The sex is needed; give it with --clinical.")
    likelihood = None if why else norms.aortic_stenosis(scores.by_label[AORTIC_VALVE].agatston, str(patient.sex))
    add("aortic_valve_stenosis_likelihood", likelihood, "1", _STENOSIS, why, site=valve)
    return rows


def _percentile(
    name: str, method: str, cac: float, patient: Patient, race: str | None, reason: str | None, source: str
) -> Measurement:
    more: dict[str, Any] = {"method": method, "source": source}
    if reason is None and (patient.age_years is None or patient.sex is None):
        reason = _NO_AGE_OR_SEX
    if reason is None and race is None:
        reason = "The race or ethnicity (white, black, chinese, hispanic) is needed; give it with --race or --clinical."
    if reason is not None:
        return Measurement.missing(name, "%", reason, **more)
    age, sex = float(patient.age_years or 0), str(patient.sex)
    try:
        if name == "cac_percentile_mesa":
            found = norms.mesa_percentile(cac, age, sex, str(race))
        else:
            found = norms.hoff_percentile(cac, age, sex)
    except norms.NotCovered as error:
        text = str(error)
        return Measurement.missing(name, "%", f"{text[:1].upper()}{text[1:]}.", State.OUT_OF_RANGE, **more)
    if found.value is not None:
        return Measurement(name, found.value, "%", **more)
    if cac == 0:
        text = f"{found.high:.0f} % of the reference population have no calcium either; a score of 0 has no percentile."
    else:
        text = f"Above the highest percentile of the table ({found.low:.0f})."
    return Measurement.missing(name, "%", text, State.OUT_OF_RANGE, **more)
