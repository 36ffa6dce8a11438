"""One patient's scores as rows: value, state, reason, category, where each holds; and facts for the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from CardioPrecisionLib.measurement import Measurement, Measurements, State

from .clinical.fields import Field, fields
from .clinical.measured import MeasuredRun
from .clinical.record import Record
from .plan import Fact, record_facts, score_facts
from .risk_categories import Category, category_of
from .scores.columns import Columns
from .scores.score import Need, Score, Scored

#: Headings of the families, in the words of the models' authors.
FAMILIES = {
    "prevent": "PREVENT (AHA 2023)",
    "pce": "Pooled Cohort Equations (ACC/AHA 2013)",
    "score2": "SCORE2 (ESC 2021)",
    "score2op": "SCORE2-OP (ESC 2021)",
    "score2diabetes": "SCORE2-Diabetes (ESC 2023)",
    "framingham": "Framingham (2008)",
    "mesa": "MESA (2015)",
    "calcium": "Coronary calcium beside others",
    "cad_pretest": "Likelihood of obstructive coronary disease (ESC 2024)",
    "cad_consortium": "CAD Consortium (2011, 2012)",
    "cha2ds2_vasc": "Stroke in atrial fibrillation",
    "maggic": "MAGGIC (2013), heart failure",
    "h2fpef": "H2FPEF (2018)",
    "hfapeff": "HFA-PEFF (2019)",
    "diastolic": "Diastolic function (ASE/EACVI 2016)",
}
#: Sites of a measurement of the whole organ.
WHOLE = (None, "total")
#: What the head of a report shows, the first nine that have a value.
HEADLINE = (
    "risk_prevent_base_ascvd_10y",
    "risk_prevent_base_cvd_10y",
    "risk_prevent_base_hf_10y",
    "risk_pce_ascvd_10y",
    "risk_score2_cvd_10y",
    "risk_score2op_cvd_10y",
    "risk_score2diabetes_cvd_10y",
    "risk_mesa_cac_chd_10y",
    "cac_percentile_mesa",
    "arterial_age",
    "pretest_cacscl_cad",
    "pretest_rfcl_cad",
    "cha2ds2_va_points",
    "risk_maggic_death_1y",
    "h2fpef_probability",
    "diastolic_function_ase2016",
)
#: Scores that are of use only to those who have the condition.
_ONLY_WITH = {"cha2ds2_va_points": "atrial_fibrillation", "risk_maggic_death_1y": "heart_failure"}


@dataclass(frozen=True)
class NamedScore:
    """One score of one patient.

    Attributes
    ----------
    score : Score
    scored : Scored
        Of this one patient.
    category : Category or None
        What the guideline calls this value.
    """

    score: Score
    scored: Scored
    category: Category | None = None

    @property
    def value(self) -> float | str | None:
        """In `unit`; None where there is none."""
        if self.state != State.MEASURED.value:
            return None
        value = self.scored.values[0]
        return str(value) if self.score.kind == "category" else float(value)

    @property
    def state(self) -> str:
        """``measured``, ``not_assessable`` or ``out_of_range``."""
        return str(self.scored.state[0])

    @property
    def reason(self) -> str | None:
        """Why there is no value, or what limits the one there is."""
        return self.scored.reason[0] or None

    @property
    def name(self) -> str:
        return self.score.name

    @property
    def title(self) -> str:
        return self.score.title

    @property
    def family(self) -> str:
        return self.score.family

    @property
    def unit(self) -> str:
        return self.score.unit

    def measurement(self) -> Measurement:
        """The row of ``measurements.json``; the method is the citation."""
        method = f"{self.score.citation}; doi:{self.score.doi}" + ("" if self.score.verified else "; unverified")
        return Measurement(self.name, self.value, self.unit, State(self.state), self.reason, method=method)


def score_all(columns: Columns, chosen: Iterable[Score]) -> list[NamedScore]:
    """Every chosen score of the one row of `columns`."""
    plain = [NamedScore(score, score.evaluate(columns)) for score in chosen]
    return [replace(named, category=category_of(named.name, named.value, columns)) for named in plain]


def measurements_of(scores: Iterable[NamedScore]) -> Measurements:
    return Measurements(score.measurement() for score in scores)


def headline(scores: Iterable[NamedScore], record: Record) -> list[str]:
    """Names of the main scores of this patient."""
    known = {s.name for s in scores if s.value is not None}
    return [n for n in HEADLINE if n in known and (n not in _ONLY_WITH or record.value(_ONLY_WITH[n]) is True)]


# -- where a score holds -----------------------------------------------------------------------------------------------
def unit_of(f: Field) -> str:
    """A field's unit as people write it."""
    return f.plain_unit.replace("m2", "m²")


def _plain(f: Field) -> str:
    return f.title[:1].lower() + f.title[1:] if not re.match(r"[A-Z]{2}|HbA1c|eGFR", f.title) else f.title


def _need_text(need: Need) -> str:
    f = fields()[need.field]
    if need.high is None:
        return f"{_plain(f)} from {need.low:g} {unit_of(f)}".rstrip()
    whole = round(need.high)
    below = abs(whole - need.high - 0.01) < 1e-9  # 84.99: all of the 84th year
    end = f"below {whole}" if below else f"{need.high:g}"
    between = f"{need.low:g} to {end}" if need.low is not None else end if below else f"up to {end}"
    return f"{_plain(f)} {between} {unit_of(f)}".rstrip()


def validity(score: Score) -> str:
    """Where a score holds, as a sentence: the ranges of its inputs and whom it is not for."""
    ranges = [_need_text(n) for n in score.needs if n.low is not None or n.high is not None]
    without = [_plain(fields()[e.field]) for e in score.exclusions]
    if not ranges and not without:
        return "No range was published."
    holds = f"Holds for {', '.join(ranges)}" if ranges else "Holds"
    return holds + (f"; not with {' or '.join(without)}." if without else ".")


def missing_inputs(columns: Columns, scores: Iterable[NamedScore]) -> list[tuple[str, list[str]]]:
    """Fields that nobody gave and the scores that ask for them, the most wanted first."""
    wanted: dict[str, list[str]] = {}
    for named in scores:
        if named.value is None:
            for need in named.score.needs:
                if need.required and np.isnan(columns.number(need.field)[0]):
                    wanted.setdefault(need.field, []).append(named.name)
    return sorted(wanted.items(), key=lambda item: -len(item[1]))


# -- facts for the plan ------------------------------------------------------------------------------------------------
def values_of(record: Record, runs: Sequence[MeasuredRun]) -> dict[str, Fact]:
    """The facts of the record; those that a run measured are ``measured``, not ``entered``."""
    analyses = {run.analysis for run in runs}
    return {
        name: replace(fact, state=State.MEASURED) if fact.known and fact.source in analyses else fact
        for name, fact in record_facts(record).items()
    }


def facts_of(record: Record, runs: Sequence[MeasuredRun], scores: Iterable[NamedScore]) -> dict[str, Fact]:
    """All facts of a patient by name: clinical fields, measurements of the whole organ, scores.

    A measurement that is also a clinical field has the value of the record, where what was entered wins. A score that
    was computed here comes before another run's row of that name.
    """
    facts: dict[str, Fact] = {}
    for run in runs:
        for row in run.rows:
            if row.site in WHOLE:
                facts[row.name] = Fact(row.name, row.value, row.unit, row.state.value, row.reason, run.analysis)
    of_record = values_of(record, runs)
    facts |= of_record
    for f in fields().values():
        if f.measurement and f.name in of_record:
            known = of_record[f.name]
            facts[f.measurement] = Fact(f.measurement, known.value, f.unit, known.state, known.reason, known.source)
    for score in scores:
        if score.value is not None or score.name not in facts:
            facts |= score_facts({score.name: score.scored})
    return facts


def fact_json(fact: Fact) -> Mapping[str, object]:
    names = ("name", "value", "unit", "state", "reason", "source")
    return {name: getattr(fact, name) for name in names}
