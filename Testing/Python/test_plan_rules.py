"""The rule files: schema, sources, and that no cut-off meets another score."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml
from CardioPrecisionLib.errors import InputError
from FusionRiskLib import plan
from FusionRiskLib.clinical.fields import fields
from FusionRiskLib.plan.rulebook import guidelines, read_guidelines, read_rules, rules, schema
from FusionRiskLib.scores import scores

FOLDER = resources.files(plan)
FILES = sorted(f.name for f in FOLDER.joinpath("rules").iterdir() if f.name.endswith(".yaml"))


def _data(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FOLDER.joinpath(name).read_text(encoding="utf-8"))
    return loaded


def _leaves(condition: Any) -> Iterator[dict[str, Any]]:
    if isinstance(condition, list):
        for part in condition:
            yield from _leaves(part)
    elif "name" in condition:
        yield condition
    else:
        yield from _leaves(next(iter(condition.values())))


def _rows() -> Iterator[dict[str, Any]]:
    for name in FILES:
        yield from _data(f"rules/{name}")["rules"]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", [*(f"rules/{name}" for name in FILES), "guidelines.yaml"])
def test_every_file_is_as_the_schema_says(name: str) -> None:
    jsonschema.validate(_data(name), schema())


def test_all_rules_are_read_in_the_order_of_the_files() -> None:
    assert [rule.id for rule in rules()] == [row["id"] for row in _rows()]
    assert len({rule.id for rule in rules()}) == len(rules())


def test_rules_ask_only_for_what_there_is() -> None:
    names = {name for rule in rules() for name in rule.needs}
    assert names - set(fields()) - set(scores()) == {"cad_rads"}


def test_every_guideline_is_cited_and_its_scores_exist() -> None:
    assert {rule.guideline.key for rule in rules()} == set(guidelines())
    for guideline in guidelines().values():
        assert set(guideline.scores) <= set(scores())


#: Which risk score each document goes by, and at which percents: what the files must not leave.
PCE, ASCVD, CVD = "risk_pce_ascvd_10y", "risk_prevent_base_ascvd_10y", "risk_prevent_base_cvd_10y"
SCORE2, OP, DIABETES = "risk_score2_cvd_10y", "risk_score2op_cvd_10y", "risk_score2diabetes_cvd_10y"
CUT_OFFS: dict[str, dict[str, set[float]]] = {
    "aha_acc_2018_cholesterol": {PCE: {5, 7.5, 20}},
    "acc_aha_2026_dyslipidemia": {ASCVD: {3, 5, 10}},
    "acc_aha_2017_bp": {PCE: {10}},
    "aha_acc_2025_bp": {CVD: {7.5}},
    "esc_2024_bp": {SCORE2: {10}, OP: {10}, DIABETES: {10}},
    "esc_2021_prevention": {SCORE2: {2.5, 5, 7.5, 10}, OP: {7.5, 15}},
    "esc_eas_2025_lipids": {SCORE2: {2, 10, 20}, OP: {2, 10, 20}},
    "esc_2023_diabetes": {DIABETES: {5, 10, 20}},
    "uspstf_2022_aspirin": {PCE: {10}},
    "nla_2020_calcium": {PCE: {5, 20}},
}


def test_no_cut_off_meets_another_score() -> None:
    found: dict[str, dict[str, set[float]]] = {}
    for row in _rows():
        conditions = [row["when"], *(e["when"] for e in row.get("exclusions", ()))]
        for leaf in _leaves(conditions):
            if leaf["name"].startswith("risk_"):
                found.setdefault(row["guideline"], {}).setdefault(leaf["name"], set()).add(leaf["value"])
    assert found == CUT_OFFS


def test_a_text_names_the_score_that_its_rule_goes_by() -> None:
    words = {"pce": "PCE", "prevent": "PREVENT", "score2": "SCORE2", "score2op": "SCORE2-OP"}
    for rule in rules():
        for name in rule.needs:
            model = name.split("_")[1] if name.startswith("risk_") else None
            if model in words and rule.id != "bp_esc_2024_elevated_conditions":
                assert words[model] in rule.text, rule.id


def test_unverified_is_said_where_it_is_read() -> None:
    for row, rule in zip(_rows(), rules(), strict=True):
        certain = row["verified"] and row.get("strength_verified", True)
        assert ("unverified" in (rule.strength or "")) is not certain, rule.id
        assert ("memory" in row["checked"]) is not row["verified"], rule.id


def test_texts_are_sentences() -> None:
    for rule in rules():
        assert rule.text.endswith("."), rule.id
        assert "  " not in rule.text
        assert len(rule.text) < 520, rule.id


GUIDE = """
schema: cardioprecision/plan-rules/1
guidelines:
  g: {title: A guideline, edition: 2020, citation: A. Journal 2020, doi: 10.1000/x, scores: [risk_pce_ascvd_10y]}
"""
RULE = """
schema: cardioprecision/plan-rules/1
topic: t
title: A topic
rules:
  - id: r
    guideline: g
    strength: null
    needs: [age_years]
    when: {name: age_years, op: ">=", value: 40}
    text: Something that follows.
    verified: true
    checked: In the guideline
"""


def _read(text: str) -> Any:
    return read_rules(text, "some.yaml", read_guidelines(GUIDE, "guidelines.yaml"))


def test_the_pattern_of_the_wrong_ones_is_right() -> None:
    (rule,) = _read(RULE)
    assert (rule.id, rule.topic, rule.guideline.edition, rule.exclusions) == ("r", "t", "2020", ())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("topic: t", "topic: [t", "no YAML"),
        ("    verified: true\n", "", "rule r: 'verified' is a required property"),
        ("id: r", "name: r", "rule number 1:"),
        ('op: ">="', 'op: "=>"', "'=>' is not one of"),
        ("value: 40", 'value: "forty"', "rule r: when: value: 'forty' is not of type 'number'"),
        ('when: {name: age_years, op: ">=", value: 40}', "when: age_years >= 40", "rule r: when:"),
        ("when: {name: age_years,", "when: {python: import os, name: age_years,", "python"),
        ("guideline: g", "guideline: h", "the guideline h is not in guidelines.yaml"),
        ("needs: [age_years]", "needs: [age_years, sex]", "must name the same facts; see sex"),
        ("needs: [age_years]", "needs: [sex]", "must name the same facts; see age_years, sex"),
        ("age_years", "risk_score2_cvd_10y", "risk_score2_cvd_10y is no score of g"),
        ("    strength: null\n", "    strength: null\n    strength: I, A\n", "the key 'strength' is there twice"),
        ("cardioprecision/plan-rules/1", "cardioprecision/plan-rules/2", "schema:"),
        ("rules:\n", "rules: []\nmore:\n", "more"),
        (RULE, "- 1\n", "is not of type 'object'"),
        (RULE, "", "is not of type 'object'"),
    ],
)
def test_a_wrong_file_is_one_clear_line(old: str, new: str, says: str) -> None:
    assert old in RULE
    with pytest.raises(InputError) as error:
        _read(RULE.replace(old, new))
    line = str(error.value)
    assert line.startswith("some.yaml:")
    assert says in line
    assert "\n" not in line
    assert len(line) < 260


def test_code_in_a_file_is_never_run() -> None:
    with pytest.raises(InputError, match="no YAML"):
        _read(RULE.replace("A topic", "!!python/object/apply:os.getcwd []"))


def test_a_wrong_guideline_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"^g.yaml: guidelines: g: doi: 'x' does not match"):
        read_guidelines(GUIDE.replace("10.1000/x", "x"), "g.yaml")
