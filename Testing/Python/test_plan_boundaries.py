"""Every topic at its limits, as the guidelines print them."""

from __future__ import annotations

from typing import Any

import pytest
from plan_facts import ADULT, applying, states

PCE, ASCVD, CVD = "risk_pce_ascvd_10y", "risk_prevent_base_ascvd_10y", "risk_prevent_base_cvd_10y"
SCORE2, OP, DIABETES = "risk_score2_cvd_10y", "risk_score2op_cvd_10y", "risk_score2diabetes_cvd_10y"


@pytest.mark.parametrize(
    ("risk", "expected"),
    [(4.99, "pce_2018_low"), (5, "pce_2018_borderline"), (7.49, "pce_2018_borderline"), (7.5, "pce_2018_intermediate"),
     (19.99, "pce_2018_intermediate"), (20, "pce_2018_high")],
)  # fmt: skip
def test_pce(risk: float, expected: str) -> None:
    assert applying(ADULT | {PCE: risk, "family_history_cad": True}, "lipids_pce") == {expected}


@pytest.mark.parametrize(
    ("enhancer", "value", "applies"),
    [("ldl_chol_mg_dl", 160, True), ("ldl_chol_mg_dl", 159, False), ("crp_mg_l", 2, True), ("crp_mg_l", 1.9, False),
     ("lpa_mg_dl", 50, True), ("lpa_nmol_l", 125, True), ("lpa_nmol_l", 124, False), ("apob_mg_dl", 130, True),
     ("triglycerides_mg_dl", 175, True), ("triglycerides_mg_dl", 174, False), ("egfr_ckdepi2021_ml_min_173", 59, True),
     ("egfr_ckdepi2021_ml_min_173", 60, False), ("egfr_ckdepi2021_ml_min_173", 15, True),
     ("egfr_ckdepi2021_ml_min_173", 14, False)],
)  # fmt: skip
def test_risk_enhancers(enhancer: str, value: float, applies: bool) -> None:
    none = {"family_history_cad": False, "crp_mg_l": 1, "lpa_mg_dl": 10, "lpa_nmol_l": 20, "apob_mg_dl": 90}
    none |= {"triglycerides_mg_dl": 100, "egfr_ckdepi2021_ml_min_173": 90}
    found = states(ADULT | {PCE: 6} | none | {enhancer: value}, "lipids_pce")["pce_2018_borderline"]
    assert found == ("applies" if applies else "does_not_apply")


@pytest.mark.parametrize(
    ("change", "state"),
    [({"age_years": 40}, "applies"), ({"age_years": 39.9}, "does_not_apply"), ({"age_years": 75}, "applies"),
     ({"age_years": 75.1}, "does_not_apply"), ({"ldl_chol_mg_dl": 70}, "applies"),
     ({"ldl_chol_mg_dl": 69}, "does_not_apply"), ({"ldl_chol_mg_dl": 189}, "applies"),
     ({"ldl_chol_mg_dl": 190}, "does_not_apply"), ({"diabetes": True}, "does_not_apply"),
     ({"prior_ascvd": True}, "does_not_apply"), ({"statin": True}, "does_not_apply"),
     ({"ldl_chol_mg_dl": None}, "not_assessable"), ({PCE: None}, "not_assessable"),
     ({"diabetes": None}, "not_assessable"), ({PCE: None, "age_years": 30}, "does_not_apply")],
)  # fmt: skip
def test_who_the_statement_by_pce_is_for(change: dict[str, Any], state: str) -> None:
    assert states(ADULT | {PCE: 10} | change, "lipids_pce")["pce_2018_intermediate"] == state


def test_statements_without_a_score() -> None:
    topic = "lipids_pce"
    assert "statin_2018_severe_ldl" in applying({"ldl_chol_mg_dl": 190, "age_years": 20}, topic)
    assert "statin_2018_severe_ldl" not in applying({"ldl_chol_mg_dl": 189.9, "age_years": 20}, topic)
    assert "statin_2018_diabetes" in applying(ADULT | {"diabetes": True}, topic)
    assert "statin_2018_diabetes" not in applying(ADULT | {"diabetes": True, "age_years": 76}, topic)
    assert applying({"prior_ascvd": True, "age_years": 75}, topic) == {"statin_2018_ascvd"}


@pytest.mark.parametrize(
    ("risk", "expected"),
    [(2.99, "low"), (3, "borderline"), (4.99, "borderline"), (5, "intermediate"), (9.99, "intermediate"), (10, "high")],
)
def test_prevent(risk: float, expected: str) -> None:
    assert applying(ADULT | {ASCVD: risk}, "lipids_prevent") == {f"prevent_2026_{expected}"}


def test_a_score_does_not_stand_in_for_another() -> None:
    for risk in ("lipids_pce", PCE), ("lipids_prevent", ASCVD):
        topic, own = risk
        every = dict.fromkeys((PCE, ASCVD, CVD, SCORE2, OP, DIABETES, "risk_prevent_full_ascvd_10y"), 12.0)
        found = states(ADULT | {**every, own: None}, topic)
        by_risk = {name: state for name, state in found.items() if name.startswith(("pce_", "prevent_"))}
        assert set(by_risk.values()) == {"not_assessable"}


@pytest.mark.parametrize(
    ("age", "score", "limits"),
    [(49.9, SCORE2, (2.5, 7.5)), (50, SCORE2, (5, 10)), (69, SCORE2, (5, 10)), (70, OP, (7.5, 15))],
)
def test_esc_2021_goes_by_age(age: float, score: str, limits: tuple[float, float]) -> None:
    person = ADULT | {"age_years": age, "egfr_ckdepi2021_ml_min_173": 80}
    for risk, expected in (
        (limits[0] - 0.01, "low_moderate"), (limits[0], "high"), (limits[1] - 0.01, "high"), (limits[1], "very_high")
    ):  # fmt: skip
        found = {name for name in applying(person | {score: risk}, "lipids_esc") if name.startswith("esc_2021")}
        assert found == {f"esc_2021_{expected}"}


@pytest.mark.parametrize(("age", "score"), [(45, SCORE2), (60, SCORE2), (75, OP)])
def test_esc_2025_does_not_go_by_age(age: float, score: str) -> None:
    person = ADULT | {"age_years": age, "egfr_ckdepi2021_ml_min_173": 80}
    for risk, expected in (
        (1.99, "low"), (2, "moderate"), (9.99, "moderate"), (10, "high"), (19.99, "high"), (20, "very_high")
    ):  # fmt: skip
        found = {name for name in applying(person | {score: risk}, "lipids_esc") if name.startswith("esc_eas_2025")}
        assert found == {f"esc_eas_2025_{expected}"}


def test_the_other_ages_score_is_not_used() -> None:
    person = ADULT | {"age_years": 72, "egfr_ckdepi2021_ml_min_173": 80, SCORE2: 12}
    found = states(person, "lipids_esc")
    assert {state for name, state in found.items() if name.startswith("esc_2021")} == {"not_assessable"}


@pytest.mark.parametrize(
    ("risk", "expected"),
    [(4.9, "low"), (5, "moderate"), (9.9, "moderate"), (10, "high"), (19.9, "high"), (20, "very_high")],
)
def test_score2_diabetes(risk: float, expected: str) -> None:
    found = applying(ADULT | {"diabetes": True, DIABETES: risk}, "lipids_esc")
    assert found == {f"esc_2023_diabetes_{expected}"}
    assert not applying(ADULT | {"diabetes": False, DIABETES: risk}, "lipids_esc")


CALCIUM = ADULT | {"current_smoker": False, "family_history_cad": False, PCE: 10.0, ASCVD: 6.0}


@pytest.mark.parametrize(
    ("calcium", "percentile", "expected"),
    [(0, None, {"cac_2018_zero", "cac_2026_zero"}), (0.5, 10, {"cac_2018_1_99"}), (1, 74.9, {"cac_2018_1_99"}),
     (99.9, 75, {"cac_2018_1_99", "cac_2018_100", "cac_2026_100"}), (100, None, {"cac_2018_100", "cac_2026_100"})],
)  # fmt: skip
def test_calcium(calcium: float, percentile: float | None, expected: set[str]) -> None:
    values = CALCIUM | {"cac_agatston": calcium, "cac_percentile_mesa": percentile}
    assert applying(values, "calcium_statin") == expected | {"cac_2018_measure"}


def test_calcium_below_100_needs_its_percentile_and_0_does_not() -> None:
    for calcium, state in ((50, "not_assessable"), (0, "does_not_apply"), (150, "applies")):
        found = states(CALCIUM | {"cac_agatston": calcium}, "calcium_statin")
        assert found["cac_2018_100"] == found["cac_2026_100"] == state


@pytest.mark.parametrize(("age", "applies"), [(54.9, False), (55, True)])
def test_calcium_below_100_counts_from_55(age: float, applies: bool) -> None:
    found = applying(CALCIUM | {"cac_agatston": 50, "age_years": age}, "calcium_statin")
    assert ("cac_2018_1_99" in found) is applies


@pytest.mark.parametrize("change", [{"current_smoker": True}, {"family_history_cad": True}, {"diabetes": True}])
def test_calcium_0_does_not_defer_in_everybody(change: dict[str, Any]) -> None:
    found = states(CALCIUM | {"cac_agatston": 0} | change, "calcium_statin")
    assert found["cac_2018_zero"] == found["cac_2026_zero"] == "does_not_apply"


@pytest.mark.parametrize(
    ("pce", "ascvd", "applies"), [(4.9, 2.9, False), (5, 3, True), (19.9, 9.9, True), (20, 10, False)]
)
def test_calcium_is_for_the_middle_of_each_scores_range(pce: float, ascvd: float, applies: bool) -> None:
    found = applying(CALCIUM | {"cac_agatston": 0, PCE: pce, ASCVD: ascvd}, "calcium_statin")
    assert (found >= {"cac_2018_zero", "cac_2026_zero"}) is applies


BLEEDING_NO = {"prior_ascvd": False, "high_bleeding_risk": False, "aspirin": False}


@pytest.mark.parametrize(
    ("age", "expected"),
    [(39.9, set()), (40, {"aspirin_2019_select", "aspirin_2022_40_59"}),
     (59.9, {"aspirin_2019_select", "aspirin_2022_40_59"}), (60, {"aspirin_2019_select", "aspirin_2022_60"}),
     (70, {"aspirin_2019_select", "aspirin_2022_60"}), (70.1, {"aspirin_2019_over_70", "aspirin_2022_60"})],
)  # fmt: skip
def test_aspirin_by_age(age: float, expected: set[str]) -> None:
    assert applying(BLEEDING_NO | {"age_years": age, PCE: 10, "cac_agatston": 50}, "aspirin") == expected


def test_aspirin_by_risk_calcium_and_bleeding() -> None:
    base = BLEEDING_NO | {"age_years": 55}
    assert "aspirin_2022_40_59" not in applying(base | {PCE: 9.99}, "aspirin")
    assert {"aspirin_nla_cac_100", "aspirin_mesa_cac_100"} <= applying(base | {"cac_agatston": 100}, "aspirin")
    assert "aspirin_nla_cac_100" not in applying(base | {"cac_agatston": 99.9}, "aspirin")
    assert "aspirin_mesa_cac_zero" in applying(base | {"cac_agatston": 0}, "aspirin")
    bleeding = base | {"cac_agatston": 500, PCE: 15, "high_bleeding_risk": True}
    assert applying(bleeding, "aspirin") == {"aspirin_2019_bleeding"}
    assert not applying(bleeding | {"prior_ascvd": True}, "aspirin")
    unknown = states(base | {"cac_agatston": 500, "high_bleeding_risk": None}, "aspirin")
    assert unknown["aspirin_nla_cac_100"] == unknown["aspirin_2019_select"] == "not_assessable"


BP = ADULT | {"bp_treated": False, "egfr_ckdepi2021_ml_min_173": 90, "uacr_mg_g": 5}


@pytest.mark.parametrize(
    ("sbp", "dbp", "expected"),
    [(129, 79, set()), (130, 79, {"risk"}), (129, 80, {"risk"}), (139, 89, {"risk"}), (140, 79, {"risk", "stage_2"}),
     (129, 90, {"risk", "stage_2"})],
)  # fmt: skip
def test_blood_pressure_at_high_risk(sbp: float, dbp: float, expected: set[str]) -> None:
    found = applying(BP | {"sbp_mmhg": sbp, "dbp_mmhg": dbp, PCE: 10, CVD: 7.5}, "blood_pressure")
    names = {"risk": {"bp_2017_pce_10", "bp_2025_prevent_75"}}
    names["stage_2"] = {"bp_2017_stage_2", "bp_2025_stage_2", "bp_esc_2024_hypertension"}
    assert found == set().union(*(names[key] for key in expected))


def test_blood_pressure_at_low_risk() -> None:
    stage_1 = BP | {"sbp_mmhg": 135, "dbp_mmhg": 78, PCE: 9.99, CVD: 7.49}
    assert applying(stage_1, "blood_pressure") == {"bp_2017_pce_low", "bp_2025_prevent_low"}
    for condition in ({"diabetes": True}, {"egfr_ckdepi2021_ml_min_173": 59}, {"uacr_mg_g": 30}, {"prior_ascvd": True}):
        found = applying(stage_1 | condition, "blood_pressure")
        assert {"bp_2017_conditions", "bp_2025_conditions"} <= found
        assert not found & {"bp_2017_pce_low", "bp_2025_prevent_low"}
    assert not applying(stage_1 | {"bp_treated": True}, "blood_pressure")


@pytest.mark.parametrize(("age", "score"), [(55, SCORE2), (70, OP)])
def test_blood_pressure_by_the_esc(age: float, score: str) -> None:
    person = BP | {"age_years": age, "sbp_mmhg": 130, "dbp_mmhg": 75}

    def found(change: dict[str, Any]) -> set[str]:
        return {n for n in applying(person | change, "blood_pressure") if n.startswith("bp_esc")}

    assert found({score: 10}) == {"bp_esc_2024_elevated_risk"}
    assert found({score: 9.99}) == {"bp_esc_2024_elevated_low"}
    assert found({score: 10, "sbp_mmhg": 129}) == set()
    assert found({score: 9, "sbp_mmhg": 119, "dbp_mmhg": 70}) == {"bp_esc_2024_elevated_low"}
    assert found({score: 9, "sbp_mmhg": 119, "dbp_mmhg": 69}) == set()
    assert found({score: 5, "egfr_ckdepi2021_ml_min_173": 59}) == {"bp_esc_2024_elevated_conditions"}


@pytest.mark.parametrize(("age", "risk", "applies"), [(59.9, 10, True), (59.9, 9.9, False), (60, None, True)])
def test_diabetes_and_elevated_blood_pressure(age: float, risk: float | None, applies: bool) -> None:
    person = BP | {"diabetes": True, "age_years": age, "sbp_mmhg": 132, "dbp_mmhg": 75, DIABETES: risk}
    assert ("bp_esc_2024_elevated_conditions" in applying(person, "blood_pressure")) is applies


@pytest.mark.parametrize(
    ("category", "rule"),
    [("0", "zero"), ("1", "one"), ("2", "two"), ("3", "three"), ("4A", "4a"), ("4B", "4b"), ("5", "five"), ("N", "n"),
     (3.0, "three"), ("3/N", "three"), ("CAD-RADS 4A/P3/HRP", "4a"), ("cad-rads 4b", "4b")],
)  # fmt: skip
def test_cad_rads(category: str | float, rule: str) -> None:
    assert applying({"cad_rads": category}, "cad_rads") == {f"cad_rads_{rule}"}


@pytest.mark.parametrize("category", [None, "4", "6", "severe", 2.5])
def test_what_is_no_category_is_not_assessable(category: Any) -> None:
    assert set(states({"cad_rads": category}, "cad_rads").values()) == {"not_assessable"}


@pytest.mark.parametrize(
    ("ef", "name"), [(40, "hfref"), (40.1, "hfmref"), (41, "hfmref"), (49, "hfmref"), (49.9, "hfmref"), (50, "hfpef")]
)
def test_heart_failure(ef: float, name: str) -> None:
    found = applying({"heart_failure": True, "lv_ef_pct": ef}, "heart_failure")
    assert {n for n in found if n.startswith("hf_2021")} == {f"hf_2021_{name}"}
    assert {n for n in found if n.endswith("drugs")} == {n for n in found if n.endswith(f"{name}_drugs")} != set()


def test_a_low_ejection_fraction_alone_is_no_heart_failure() -> None:
    assert applying({"heart_failure": False, "lv_ef_pct": 40}, "heart_failure") == {"hf_aha_2022_stage_b"}
    assert not applying({"heart_failure": False, "lv_ef_pct": 40.1}, "heart_failure")
    assert set(states({"lv_ef_pct": 30}, "heart_failure").values()) == {"not_assessable", "does_not_apply"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"cac_agatston": 0, PCE: 4.9}, "cac_zero_low"), ({"cac_agatston": 0, PCE: 5}, "cac_zero_intermediate"),
     ({"cac_agatston": 0, PCE: 19.9}, "cac_zero_intermediate"), ({"cac_agatston": 0, PCE: 20}, "cac_zero_high"),
     ({"cac_agatston": 0, "diabetes": True}, "cac_zero_high"), ({"cac_agatston": 1}, "cac_1_99"),
     ({"cac_agatston": 99.9}, "cac_1_99"), ({"cac_agatston": 100}, None)],
)  # fmt: skip
def test_repeating_a_scan(values: dict[str, Any], expected: str | None) -> None:
    found = {n for n in applying(ADULT | values, "follow_up") if n.startswith("repeat")}
    assert found == ({f"repeat_2020_{expected}"} if expected else set())


def test_rechecking() -> None:
    assert applying({"statin": True}, "follow_up") == {"recheck_2018_lipids", "recheck_2026_lipids"}
    for age, applies in ((19.9, False), (20, True), (39.9, True), (40, False)):
        found = applying({"age_years": age, "prior_ascvd": False}, "follow_up")
        assert ("recheck_2019_risk_factors" in found) is applies
