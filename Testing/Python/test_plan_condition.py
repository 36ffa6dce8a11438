"""Conditions: comparisons, units, and the three truth values."""

from __future__ import annotations

from typing import Any

import pytest
from FusionRiskLib.plan import Fact
from FusionRiskLib.plan.condition import read_condition
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("a", "b", "c")
VALUES = (0.0, 1.0, 2.0)


def _conditions() -> st.SearchStrategy[dict[str, Any]]:
    leaf = st.builds(
        lambda name, op, value: {"name": name, "op": op, "value": value},
        st.sampled_from(NAMES),
        st.sampled_from(["<", "<=", ">", ">=", "=="]),
        st.sampled_from(VALUES),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
            inner.map(lambda part: {"not": part}),
        ),
        max_leaves=8,
    )


def _facts(values: dict[str, float | None]) -> dict[str, Fact]:
    return {n: Fact(n, v, "1", "measured" if v is not None else "not_assessable") for n, v in values.items()}


def _plain(data: dict[str, Any], values: dict[str, float]) -> bool:
    """Two-valued logic, written the other way round."""
    if "all" in data:
        return all(_plain(part, values) for part in data["all"])
    if "any" in data:
        return any(_plain(part, values) for part in data["any"])
    if "not" in data:
        return not _plain(data["not"], values)
    left, right = values[data["name"]], data["value"]
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right, "==": left == right}[
        data["op"]
    ]


_VALUE = st.sampled_from(VALUES)


@given(_conditions(), st.fixed_dictionaries(dict.fromkeys(NAMES, _VALUE)))
def test_with_all_facts_it_is_plain_logic(data: dict[str, Any], values: dict[str, float]) -> None:
    assert read_condition(data).judge(_facts(dict(values))).truth is _plain(data, values)


@given(
    _conditions(),
    st.fixed_dictionaries(dict.fromkeys(NAMES, st.one_of(st.none(), _VALUE))),
    st.fixed_dictionaries(dict.fromkeys(NAMES, _VALUE)),
)
def test_nothing_is_guessed(data: dict[str, Any], known: dict[str, float | None], other: dict[str, float]) -> None:
    """What is decided without a fact stays so whatever the fact turns out to be; what is undecided names a fact."""
    condition = read_condition(data)
    verdict = condition.judge(_facts(known))
    completed = {n: other[n] if v is None else v for n, v in known.items()}
    if verdict.truth is not None:
        assert condition.judge(_facts(dict(completed))).truth is verdict.truth
        assert all(b.fact.known for b in verdict.because)
    else:
        assert verdict.because
        assert {b.fact.name for b in verdict.because} <= {n for n, v in known.items() if v is None}


@given(_conditions(), st.fixed_dictionaries(dict.fromkeys(NAMES, st.one_of(st.none(), _VALUE))))
def test_not_turns_round_and_keeps_the_unknown(data: dict[str, Any], values: dict[str, float | None]) -> None:
    truth = read_condition(data).judge(_facts(values)).truth
    turned = read_condition({"not": data}).judge(_facts(values)).truth
    assert turned is (None if truth is None else not truth)


@pytest.mark.parametrize(
    ("op", "at", "below", "above"),
    [("<", False, True, False), ("<=", True, True, False), (">", False, False, True), (">=", True, False, True)],
)
def test_limits_are_in_or_out_as_written(op: str, at: bool, below: bool, above: bool) -> None:
    condition = read_condition({"name": "a", "op": op, "value": 7.5})
    assert [condition.judge(_facts({"a": v})).truth for v in (7.5, 7.4999, 7.5001)] == [at, below, above]


def test_a_reason_shows_the_side_of_the_limit() -> None:
    verdict = read_condition({"name": "a", "op": ">=", "value": 7.5}).judge(_facts({"a": 7.4999999}))
    assert (verdict.because[0].text, verdict.because[0].test) == ("a is 7.4999999", "not >= 7.5")


def _judge(name: str, value: Any, unit: str, constant: Any, op: str = ">=") -> tuple[bool | None, str]:
    verdict = read_condition({"name": name, "op": op, "value": constant}).judge(
        {name: Fact(name, value, unit, "entered")}
    )
    return verdict.truth, verdict.because[0].text


def test_an_accepted_unit_is_converted() -> None:
    assert _judge("ldl_chol_mg_dl", 4.92, "mmol/L", 190)[0] is True
    assert _judge("ldl_chol_mg_dl", 4.90, "mmol/L", 190)[0] is False
    assert _judge("sbp_mmhg", 140.0, "mmHg", 140)[0] is True


@pytest.mark.parametrize(
    ("name", "unit"), [("lv_ef_pct", "1"), ("sbp_mmhg", "cm[H2O]"), ("risk_pce_ascvd_10y", "1"), ("ldl_chol_mg_dl", "")]
)
def test_a_foreign_unit_is_not_compared(name: str, unit: str) -> None:
    truth, text = _judge(name, 0.5, unit, 0.1)
    assert truth is None
    assert name in text
    assert "unit" in text


def test_counts_have_no_unit_to_mistake() -> None:
    assert _judge("cac_agatston", 100.0, "1", 100)[0] is True
    assert _judge("cac_percentile_mesa", 75.0, "%", 75)[0] is True


@pytest.mark.parametrize(("value", "truth"), [(True, True), (False, False), (1.0, True), (0.0, False), ("yes", None)])
def test_yes_and_no(value: Any, truth: bool | None) -> None:
    assert _judge("diabetes", value, "1", True, "==")[0] is truth


@pytest.mark.parametrize(("value", "constant"), [("high", 7.5), (True, 0.5), (True, "3")])
def test_another_kind_of_value_is_not_compared(value: Any, constant: Any) -> None:
    op = "==" if isinstance(constant, str) else ">="
    assert _judge("a", value, "1", constant, op)[0] is None


def test_one_of_several() -> None:
    condition = read_condition({"name": "a", "op": "in", "value": ["3", "4A"]})
    for value, truth in (("3", True), (3.0, True), ("4A", True), ("4B", False), (None, None)):
        assert condition.judge({"a": Fact("a", value, "1", "measured")}).truth is truth


@pytest.mark.parametrize("state", ["not_assessable", "not_found", "out_of_range", "unknown"])
def test_a_value_without_a_state_for_it_does_not_count(state: str) -> None:
    verdict = read_condition({"name": "a", "op": ">=", "value": 1}).judge({"a": Fact("a", 5.0, "1", state, "cut off.")})
    assert verdict.truth is None
    assert verdict.because[0].text == "a is not known (cut off)"


def test_not_a_number_does_not_count() -> None:
    assert _judge("a", float("nan"), "1", 1)[0] is None
