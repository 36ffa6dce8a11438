"""The plan as a whole: statements, reasons, facts of records and scores."""

from __future__ import annotations

from typing import Any

import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurement
from FusionRiskLib.clinical.measured import with_measurements
from FusionRiskLib.clinical.record import Record, record_from_values
from FusionRiskLib.plan import Fact, Statement, make_plan, record_facts, rules, score_facts, topics
from FusionRiskLib.scores import Columns, scores
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_facts import ADULT, facts

PATIENT = {
    "age_years": 56, "sex": "male", "race": "white", "total_chol_mg_dl": 220, "hdl_chol_mg_dl": 45,
    "ldl_chol_mmol_l": 3.5, "sbp_mmhg": 136, "dbp_mmhg": 84, "bp_treated": False, "statin": False, "diabetes": False,
    "current_smoker": False, "prior_ascvd": False, "creatinine_mg_dl": 1.0, "bmi_kg_m2": 28, "risk_region": "moderate",
    "high_bleeding_risk": False, "aspirin": False, "heart_failure": False, "uacr_mg_g": 8,
}  # fmt: skip


def _plan(record: Record) -> dict[str, Statement]:
    columns = Columns(record.column_values())
    known = record_facts(record) | score_facts({n: s.evaluate(columns) for n, s in scores().items()})
    return {s.id: s for s in make_plan(known)}


def _record(**changes: Any) -> Record:
    return record_from_values({k: v for k, v in (PATIENT | changes).items() if v is not None}, "test")


def test_a_patient_from_record_and_measurements() -> None:
    record = with_measurements(_record(), "calcium", [Measurement("agatston_score", 150.0, "1", site="total")])
    plan = _plan(record)
    assert list(plan) == [rule.id for rule in rules()]
    found = plan["cac_2018_100"]
    assert found.state == "applies"
    assert {f.name: f.source for f in found.inputs}["cac_agatston"] == "calcium"
    ldl = next(f for f in found.inputs if f.name == "ldl_chol_mg_dl")
    assert (round(float(ldl.value or 0), 1), ldl.source) == (135.3, "derived from other entries")
    assert found.citation == "Grundy SM et al. Circulation 2019;139:e1082-e1143. doi:10.1161/CIR.0000000000000625"
    assert (found.edition, found.strength) == ("2018", "IIa, B-NR (unverified)")
    assert "cac_agatston is 150 Agatston (>= 100, > 0)" in found.reason


def test_a_score_outside_of_its_range_says_so() -> None:
    plan = _plan(_record(age_years=35))
    found = plan["bp_2017_pce_10"]
    assert found.state == "not_assessable"
    assert found.reason == "risk_pce_ascvd_10y is not known (age_years 35 is outside 40 to 79 years)"
    assert [f.state for f in found.inputs] == ["out_of_range"]
    assert plan["aspirin_2022_40_59"].state == "does_not_apply"  # the age decides


def test_what_is_missing_is_named() -> None:
    found = _plan(_record(ldl_chol_mmol_l=None))["pce_2018_intermediate"]
    assert (found.state, found.reason) == ("not_assessable", "ldl_chol_mg_dl is not known (not given)")


def test_an_exclusion_says_why() -> None:
    found = _plan(_record(diabetes=True))["pce_2018_intermediate"]
    assert found.state == "does_not_apply"
    assert found.reason == "diabetes is yes: in diabetes the guideline has a statement of its own"
    assert [f.name for f in found.inputs] == ["diabetes"]


def test_the_record_is_filled_as_the_scores_fill_it() -> None:
    found = record_facts(record_from_values(PATIENT | {"prior_mi": True, "prior_ascvd": "unknown"}, "test"))
    assert found["prior_ascvd"].value is True  # implied by the infarction
    assert found["egfr_ckdepi2021_ml_min_173"].value == pytest.approx(88.3, abs=0.1)
    assert found["sex"] == Fact("sex", "male", "1", "entered", None, "")
    assert "chest_pain" not in found
    unknown = record_facts(record_from_values({"diabetes": "unknown", "study_date": "2026-01-02"}, "test"))
    assert (unknown["diabetes"].known, unknown["diabetes"].reason) == (False, "entered as unknown")
    assert unknown["study_date"].value == "2026-01-02"


def test_scores_of_one_row() -> None:
    columns = Columns({"age_years": [56, 30], "sex": ["male", "male"], "cac_agatston": [100, 100]})
    found = score_facts({"arterial_age": scores()["arterial_age"].evaluate(columns)}, row=1)
    assert found["arterial_age"].value == pytest.approx(72.56, abs=0.01)
    assert (found["arterial_age"].state, found["arterial_age"].unit) == ("measured", "a")


def test_an_alias_is_understood_and_the_own_name_comes_first() -> None:
    failing = facts({"heart_failure": True})
    low, high = (Fact(n, v, "%", "measured") for n, v in (("lv_ef", 30.0), ("lv_ef_pct", 60.0)))
    for values, expected in (([low], "hf_2021_hfref"), ([low, high], "hf_2021_hfpef")):
        plan = make_plan(failing | {f.name: f for f in values}, ["heart_failure"])
        assert expected in {s.id for s in plan if s.state == "applies"}


def test_topics() -> None:
    assert {s.topic for s in make_plan({}, ["aspirin", "cad_rads"])} == {"aspirin", "cad_rads"}
    assert {s.topic for s in make_plan({})} == set(topics())
    assert make_plan({}, []) == []
    with pytest.raises(InputError, match="'statins' is no topic of the plan; there are aspirin, blood_pressure"):
        make_plan({}, ["statins"])


def test_without_facts_nothing_is_said() -> None:
    for statement in make_plan({}):
        assert statement.state == "not_assessable"
        assert statement.inputs
        assert all(f.name in statement.reason for f in statement.inputs)


_CHOICES: dict[str, list[Any]] = {
    "age_years": [30, 45, 55, 65, 72], "prior_ascvd": [True, False], "diabetes": [True, False],
    "statin": [True, False], "ldl_chol_mg_dl": [60, 130, 195], "current_smoker": [True, False],
    "family_history_cad": [True, False], "cac_agatston": [0, 50, 100], "cac_percentile_mesa": [50, 75],
    "risk_pce_ascvd_10y": [4, 7.5, 20], "risk_prevent_base_ascvd_10y": [2, 5, 10],
    "risk_prevent_base_cvd_10y": [5, 7.5], "risk_score2_cvd_10y": [1, 5, 10, 20], "risk_score2op_cvd_10y": [5, 15],
    "risk_score2diabetes_cvd_10y": [4, 10], "high_bleeding_risk": [True, False], "aspirin": [True, False],
    "sbp_mmhg": [118, 130, 140], "dbp_mmhg": [68, 80, 90], "bp_treated": [True, False], "uacr_mg_g": [5, 30],
    "egfr_ckdepi2021_ml_min_173": [50, 90], "heart_failure": [True, False], "lv_ef_pct": [40, 45, 50],
    "cad_rads": ["0", "4A"],
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({name: st.sampled_from(values) for name, values in _CHOICES.items()}),
    st.sets(st.sampled_from(sorted(_CHOICES)), min_size=1, max_size=6),
)
def test_taking_facts_away_never_changes_a_decision_into_another(values: dict[str, Any], away: set[str]) -> None:
    full = {s.id: s for s in make_plan(facts(values))}
    less = make_plan(facts({n: None if n in away else v for n, v in values.items()}))
    for statement in less:
        if statement.state == "not_assessable":
            missing = {f.name for f in statement.inputs}
            assert missing & away or full[statement.id].state == "not_assessable"
        else:
            assert statement.state == full[statement.id].state, statement.id


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in _CHOICES.items()}))
def test_categories_of_one_document_exclude_each_other(values: dict[str, Any]) -> None:
    applying = [s.id for s in make_plan(facts(ADULT | values)) if s.state == "applies"]
    for family in ("pce_2018_", "prevent_2026_", "esc_2021_", "esc_eas_2025_", "esc_2023_diabetes_", "hf_2021_"):
        assert sum(name.startswith(family) for name in applying) <= 1
    assert sum(name.startswith("cad_rads_") for name in applying) == 1
