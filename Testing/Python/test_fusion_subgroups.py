"""The audit by subgroups: a group in which the model fails is seen, small ones get no number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from FusionRiskLib.fusion.cohort import Column, Outcome, make_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.models import ModelConfig
from FusionRiskLib.fusion.subgroups import audit, groups_of

COLUMNS = (
    Column("sex", "clinical", "choice", ("female", "male")),
    Column("age_years", "clinical"),
    Column("marker", "clinical"),
)


def cohort(n=400, seed=0, rare=6):
    """A marker that tells the outcome in men and nothing in women; a third site with few patients."""
    rng = np.random.default_rng(seed)
    sex, age, marker = rng.integers(0, 2, n), rng.uniform(40, 90, n), rng.normal(0, 1, n)
    eta = np.where(sex == 1, 2.5 * marker, 0.0)
    y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(np.int64)
    site = np.where(np.arange(n) < rare, 2, rng.integers(0, 2, n))
    values = np.column_stack([sex, age, marker]).astype(float)
    outcome = Outcome("binary", ("no", "yes"), y, names=("event",))
    return make_cohort(values, COLUMNS, outcome, site=site, sites=("A", "B", "C")), 1 / (1 + np.exp(-2.5 * marker))


def test_groups_cover_everybody_once():
    made, _ = cohort()
    for kind in ("sex", "age", "site"):
        rows = np.concatenate([rows for by, _, rows in groups_of(made) if by == kind])
        assert sorted(rows.tolist()) == list(range(400))
    assert {name for by, name, _ in groups_of(made) if by == "age"} == {
        "under 50",
        "50 to 64",
        "65 to 74",
        "75 and over",
    }


def test_a_group_in_which_the_model_fails_is_seen():
    made, p = cohort()
    found = {one.name: one for one in audit(made, np.column_stack([1 - p, p]))}
    assert found["male"].discrimination.low > 0.75
    assert found["female"].discrimination.low < 0.5 < found["female"].discrimination.high
    assert found["male"].events + found["female"].events == int(made.target.y.sum())
    assert found["male"].patients + found["female"].patients == 400


def test_a_wrong_level_in_one_group_is_seen():
    made, p = cohort()
    site = made.site == 0
    high = np.where(site, np.clip(p + 0.3, 0, 1), p)
    found = {one.name: one for one in audit(made, np.column_stack([1 - high, high]))}
    assert found["A"].calibration.high < 0
    assert found["B"].calibration.low < 0.1


def test_small_groups_get_no_number():
    made, p = cohort()
    (small,) = [one for one in audit(made, np.column_stack([1 - p, p])) if one.name == "C"]
    assert (small.patients, small.discrimination, small.calibration) == (6, None, None)
    assert "fewer than 20" in small.reason
    made = replace(made, outcome=Outcome("binary", ("no", "yes"), np.r_[np.ones(4), np.zeros(396)].astype(np.int64)))
    assert all(one.discrimination is None for one in audit(made, np.column_stack([1 - p, p])))


@pytest.mark.parametrize("kind", ["survival", "multiclass"])
def test_other_outcomes(kind):
    made, p = cohort()
    rng = np.random.default_rng(1)
    if kind == "survival":
        t, c = rng.exponential(np.exp(-3 * (p - 0.5))), rng.exponential(2.0, 400)
        outcome = Outcome("survival", time=np.minimum(t, c), event=t <= c, time_unit="years", horizon=1.0)
        found = audit(replace(made, outcome=outcome), p)
        assert all(one.discrimination.value > 0.6 for one in found if one.by == "sex")
        assert all(one.calibration is not None for one in found if one.by == "sex")
    else:
        y = rng.integers(0, 3, 400)
        found = audit(replace(made, outcome=Outcome("multiclass", ("a", "b", "c"), y)), np.eye(3)[y])
        assert all(one.discrimination.value == 1.0 for one in found if one.reason is None)
        assert all(one.events is None for one in found)


def test_a_judging_holds_it():
    made, _ = cohort(120, rare=3)
    found = evaluate(made, {"early": ModelConfig(inner_folds=2)}, folds=3, level=None, resamples=50)
    assert {one.by for one in found.subgroups} == {"sex", "age", "site"}
    assert found.to_json()["subgroups"][0]["by"] == "sex"
