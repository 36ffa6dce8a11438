"""Facts for the tests of the plan, in the units that rules use."""

from __future__ import annotations

from typing import Any

from FusionRiskLib.clinical.fields import fields
from FusionRiskLib.plan import Fact, make_plan
from FusionRiskLib.scores import scores

ADULT = {"age_years": 55, "prior_ascvd": False, "diabetes": False, "statin": False, "ldl_chol_mg_dl": 130}


def facts(values: dict[str, Any]) -> dict[str, Fact]:
    """Entered facts; None is a fact that could not be assessed."""
    found = {}
    for name, value in values.items():
        unit = fields()[name].unit if name in fields() else scores()[name].unit if name in scores() else "1"
        state = "entered" if value is not None else "not_assessable"
        found[name] = Fact(name, value, unit, state, None if value is not None else f"no {name}")
    return found


def states(values: dict[str, Any], topic: str) -> dict[str, str]:
    """Rule id -> state."""
    return {s.id: s.state for s in make_plan(facts(values), [topic])}


def applying(values: dict[str, Any], topic: str) -> set[str]:
    return {name for name, state in states(values, topic).items() if state == "applies"}
