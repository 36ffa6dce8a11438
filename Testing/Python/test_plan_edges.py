"""Whom each statement is for: the last value inside and the first one outside, as the guidelines print them."""

from __future__ import annotations

from typing import Any

import pytest
from plan_facts import ADULT, states

PCE, ASCVD, CVD = "risk_pce_ascvd_10y", "risk_prevent_base_ascvd_10y", "risk_prevent_base_cvd_10y"
SCORE2, OP = "risk_score2_cvd_10y", "risk_score2op_cvd_10y"
AGE, LDL, PERCENTILE = "age_years", "ldl_chol_mg_dl", "cac_percentile_mesa"

CALCIUM = ADULT | {"current_smoker": False, "family_history_cad": False, PCE: 10, ASCVD: 6, PERCENTILE: 50}
ZERO, SOME, MUCH = (CALCIUM | {"cac_agatston": n} for n in (0, 50, 100))
SCANTY = CALCIUM | {"cac_agatston": 10, PERCENTILE: 75}
HEALTHY_KIDNEY = ADULT | {"egfr_ckdepi2021_ml_min_173": 80}
BP = HEALTHY_KIDNEY | {"bp_treated": False, "uacr_mg_g": 5, "dbp_mmhg": 65}
LOW_RISK = {PCE: 5, CVD: 5, SCORE2: 5}
STAGE_1, STAGE_2 = BP | {"sbp_mmhg": 135}, BP | {"sbp_mmhg": 145}
NO_BLEEDING = {"high_bleeding_risk": False, "aspirin": False}
ILL = STAGE_1 | {"prior_ascvd": True}

#: topic, rule, base, field, values inside, values outside
Edge = tuple[str, str, dict[str, Any], str, tuple[float, ...], tuple[float, ...]]
EDGES: list[Edge] = []
for rule, risk in (("low", 4), ("borderline", 6), ("intermediate", 10), ("high", 25)):
    base = ADULT | {PCE: risk, "family_history_cad": True}
    EDGES.append(("lipids_pce", f"pce_2018_{rule}", base, AGE, (40, 75), (39.9, 75.1)))
    EDGES.append(("lipids_pce", f"pce_2018_{rule}", base, LDL, (70, 189.9), (69.9, 190)))
for rule, base in (("measure", CALCIUM), ("zero", ZERO), ("1_99", SOME), ("100", MUCH)):
    ages = (55, 75) if rule == "1_99" else (40, 75)
    EDGES.append(("calcium_statin", f"cac_2018_{rule}", base, AGE, ages, (ages[0] - 0.1, 75.1)))
    EDGES.append(("calcium_statin", f"cac_2018_{rule}", base, LDL, (70, 189.9), (69.9, 190)))
    EDGES.append(("calcium_statin", f"cac_2018_{rule}", base, PCE, (5, 19.9), (4.9, 20)))
for rule, base in (("zero", ZERO), ("100", MUCH)):
    EDGES.append(("calcium_statin", f"cac_2026_{rule}", base, ASCVD, (3, 9.9), (2.9, 10)))
    EDGES.append(("calcium_statin", f"cac_2026_{rule}", base, LDL, (189.9,), (190,)))
EDGES.append(("calcium_statin", "cac_2018_100", SCANTY, PERCENTILE, (75,), (74.9,)))
for rule in ("statin_2018_diabetes", "statin_2026_diabetes"):
    topic = "lipids_pce" if "2018" in rule else "lipids_prevent"
    EDGES.append((topic, rule, ADULT | {"diabetes": True}, AGE, (40, 75), (39.9, 75.1)))
EDGES += [
    ("lipids_pce", "statin_2018_severe_ldl", ADULT | {LDL: 200}, AGE, (20, 75), (19.9, 75.1)),
    ("lipids_pce", "statin_2018_ascvd", ADULT | {"prior_ascvd": True}, AGE, (18, 75), (17.9, 75.1)),
    ("blood_pressure", "bp_2017_stage_2", STAGE_2, AGE, (18,), (17.9,)),
    ("blood_pressure", "bp_2025_stage_2", STAGE_2, AGE, (18,), (17.9,)),
    ("blood_pressure", "bp_esc_2024_hypertension", STAGE_2, AGE, (18,), (17.9,)),
    ("blood_pressure", "bp_2017_conditions", ILL, AGE, (18,), (17.9,)),
    ("blood_pressure", "bp_2025_conditions", ILL, AGE, (18,), (17.9,)),
    ("blood_pressure", "bp_esc_2024_elevated_conditions", ILL, AGE, (18,), (17.9,)),
    ("blood_pressure", "bp_esc_2024_elevated_conditions", STAGE_1, "egfr_ckdepi2021_ml_min_173", (59.9,), (60,)),
    ("blood_pressure", "bp_2017_conditions", STAGE_1, "egfr_ckdepi2021_ml_min_173", (59.9,), (60,)),
    ("blood_pressure", "bp_2025_conditions", STAGE_1, "uacr_mg_g", (30,), (29.9,)),
    ("blood_pressure", "bp_esc_2024_elevated_low", BP | {SCORE2: 5}, "sbp_mmhg", (120, 139.9), (119.9, 140)),
    ("blood_pressure", "bp_2025_conditions", STAGE_1, "egfr_ckdepi2021_ml_min_173", (59.9,), (60,)),
    ("blood_pressure", "bp_esc_2024_elevated_risk", BP | {SCORE2: 10, "sbp_mmhg": 115}, "dbp_mmhg", (80,), (79.9,)),
    ("aspirin", "aspirin_mesa_cac_100", MUCH | NO_BLEEDING, AGE, (69.9,), (70,)),
    ("aspirin", "aspirin_mesa_cac_zero", ZERO | NO_BLEEDING, AGE, (69.9,), (70,)),
    ("aspirin", "aspirin_nla_cac_100", MUCH | NO_BLEEDING, AGE, (40, 70), (39.9, 70.1)),
]  # fmt: skip
for rule, base in (("bp_2017_pce_low", STAGE_1 | LOW_RISK), ("bp_2025_prevent_low", STAGE_1 | LOW_RISK)):
    EDGES.append(("blood_pressure", rule, base, "sbp_mmhg", (130, 139.9), (129.9, 140)))
    EDGES.append(("blood_pressure", rule, base | {"sbp_mmhg": 115}, "dbp_mmhg", (80, 89.9), (79.9, 90)))
for rule in ("bp_2017_conditions", "bp_2025_conditions", "bp_esc_2024_elevated_conditions"):
    EDGES.append(("blood_pressure", rule, ILL, "sbp_mmhg", (130,), (129.9,)))
    EDGES.append(("blood_pressure", rule, ILL | {"sbp_mmhg": 115}, "dbp_mmhg", (80,), (79.9,)))


@pytest.mark.parametrize(("topic", "rule", "base", "field", "inside", "outside"), EDGES)
def test_edges(
    topic: str, rule: str, base: dict[str, Any], field: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    for values, state in ((inside, "applies"), (outside, "does_not_apply")):
        for value in values:
            assert states(base | {field: value}, topic)[rule] == state, value


@pytest.mark.parametrize(
    ("topic", "rule", "low", "high"),
    [("lipids_esc", "esc_2021_very_high", 10, 15), ("lipids_esc", "esc_2021_high", 5, 7.5),
     ("lipids_esc", "esc_2021_low_moderate", 4, 7), ("lipids_esc", "esc_eas_2025_very_high", 20, 20),
     ("lipids_esc", "esc_eas_2025_high", 10, 10), ("lipids_esc", "esc_eas_2025_moderate", 5, 5),
     ("lipids_esc", "esc_eas_2025_low", 1, 1), ("blood_pressure", "bp_esc_2024_elevated_risk", 10, 10),
     ("blood_pressure", "bp_esc_2024_elevated_low", 9, 9)],
)  # fmt: skip
def test_score2_up_to_69_and_score2_op_from_70(topic: str, rule: str, low: float, high: float) -> None:
    """The score of the other ages is there as well and must not be looked at, however it would decide."""
    for age, own, foreign, risk in ((69.9, SCORE2, OP, low), (70, OP, SCORE2, high)):
        person = STAGE_1 | {AGE: age, own: risk}
        for other in (0.5, 6, 12, 40, None):
            assert states(person | {foreign: other}, topic)[rule] == "applies"
        assert states(person | {own: None, foreign: risk}, topic)[rule] == "not_assessable"


@pytest.mark.parametrize(
    ("age", "risk", "rule"),
    [(49.9, 2.4, "low_moderate"), (50, 4.9, "low_moderate"), (49.9, 4.9, "high"), (50, 7.5, "high"),
     (49.9, 7.5, "very_high")],
)  # fmt: skip
def test_at_50_years_the_limits_change(age: float, risk: float, rule: str) -> None:
    found = states(HEALTHY_KIDNEY | {AGE: age, SCORE2: risk}, "lipids_esc")
    assert {n for n, state in found.items() if n.startswith("esc_2021") and state == "applies"} == {f"esc_2021_{rule}"}


def test_at_70_score2_no_longer_counts() -> None:
    found = states(HEALTHY_KIDNEY | {AGE: 70, SCORE2: 4, OP: 9}, "lipids_esc")
    assert (found["esc_2021_low_moderate"], found["esc_2021_high"]) == ("does_not_apply", "applies")
