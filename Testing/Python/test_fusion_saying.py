"""Contributions, model uncertainty, what is lost without a modality, and who is unlike the training patients."""

from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from fusion_cases import binary_cohort, survival_cohort
from FusionRiskLib.fusion.absence import judge_absence
from FusionRiskLib.fusion.cohort import Column, Outcome
from FusionRiskLib.fusion.contributions import contributions, shapley_exact, shapley_sampled, without_each
from FusionRiskLib.fusion.model_config import evidence
from FusionRiskLib.fusion.models import ModelConfig, fit_model
from FusionRiskLib.fusion.out_of_distribution import Likeness, OutOfDistribution
from FusionRiskLib.fusion.uncertainty import bootstrap_members, model_interval

QUICK = {"c": 1.0}


@pytest.fixture(scope="module")
def early():
    cohort = binary_cohort(300, 1)
    return cohort, fit_model(cohort, ModelConfig(), setting=QUICK)


@pytest.mark.parametrize("make", [binary_cohort, survival_cohort])
def test_linear_contributions_add_up_to_the_answer(make):
    cohort = make(300, 1)
    model = fit_model(cohort, ModelConfig(learner="logistic" if make is binary_cohort else "cox"))
    found = contributions(model, cohort.values[:20])
    assert found.method == "exact for a linear model"
    assert found.groups == tuple(c.name for c in cohort.columns)
    np.testing.assert_allclose(found.total, found.base + found.values.sum(axis=1))
    np.testing.assert_allclose(found.total, evidence(model.predict(cohort.values[:20]), model.target), atol=1e-6)


def test_linear_contributions_are_shapley_values_of_the_mean(early):
    cohort, model = early
    rows = cohort.values[:5]
    linear = contributions(model, rows)
    mean = np.nanmean(cohort.values, axis=0)

    def answer(known):
        return evidence(model.predict(np.where(known, rows, mean)), model.target)

    values, base, total = shapley_exact(answer, len(linear.groups))
    np.testing.assert_allclose(values, linear.values, atol=1e-6)
    np.testing.assert_allclose(base, linear.base, atol=1e-6)
    np.testing.assert_allclose(total, linear.total, atol=1e-6)


def three_classes(n, seed):
    rng = np.random.default_rng(seed)
    cohort = binary_cohort(n, seed)
    y = np.digitize(cohort.values[:, 0] + cohort.values[:, 3] + rng.normal(0, 1, n), [5, 7])
    return replace(cohort, outcome=Outcome("multiclass", ("a", "b", "c"), y.astype(np.int64)))


@pytest.mark.parametrize("make", [binary_cohort, survival_cohort, three_classes])
def test_late_fusion_of_regressions_is_explained_exactly(make):
    cohort = make(300, 1)
    values = cohort.values.copy()
    values[::7, 1] = np.nan
    imaging = np.array([c.modality == "imaging" for c in cohort.columns])
    values[::10, imaging] = np.nan
    cohort = replace(cohort, values=values)
    model = fit_model(cohort, ModelConfig("late", "cox" if make is survival_cohort else "logistic"))
    there = np.isfinite(values[:, imaging]).any(axis=1)
    rows = values[there][:30]
    if make is three_classes:  # where a probability is as good as 0 its logarithm ends
        rows = rows[(model.bases["clinical"].predict(rows[:, :3]).p.min(axis=1) > 1e-5)
                    & (model.bases["imaging"].predict(rows[:, 3:]).p.min(axis=1) > 1e-5)
                    & (model.predict(rows).p.min(axis=1) > 1e-5)]  # fmt: skip
        assert len(rows) > 10
    for by in ("column", "modality"):
        found = contributions(model, rows, by=by)
        assert found.method == "exact for a linear model"
        np.testing.assert_allclose(found.total, evidence(model.predict(rows), model.target), atol=1e-6)
        np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.total)
    mixed = contributions(model, values[:30])
    assert mixed.method.startswith("exact for a linear model; elsewhere Shapley values")
    np.testing.assert_allclose(mixed.total, evidence(model.predict(values[:30]), model.target), atol=1e-6)
    for i in (1, 20):  # of 20 imaging is absent
        np.testing.assert_allclose(mixed.values[i], contributions(model, values[i : i + 1]).values[0])


def test_the_columns_that_count_contribute_most(early):
    cohort, model = early
    size = np.abs(contributions(model, cohort.values).values[:, :, 0]).mean(axis=0)
    assert set(np.argsort(size)[-2:].tolist()) == {0, 3}


def test_shapley_values_of_a_known_game():
    """Players 0 and 1 win 6 together, player 2 always brings 1."""

    def answer(known):
        return np.array([[6.0 * (known[0] and known[1]) + known[2]]])

    exact, base, total = shapley_exact(answer, 3)
    np.testing.assert_allclose(exact[0, :, 0], [3, 3, 1])
    assert (base, total) == (0, 7)
    drawn, error, *_ = shapley_sampled(answer, 3, 40, seed=0)
    np.testing.assert_allclose(drawn[0, :, 0], [3, 3, 1])  # an order and its reverse are exact for pairs
    np.testing.assert_allclose(error, 0, atol=1e-12)


def test_contributions_of_a_model_that_is_not_linear_add_up():
    cohort = binary_cohort(200, 2)
    model = fit_model(cohort, ModelConfig(learner="boosting"), setting={"trees": 30})
    found = contributions(model, cohort.values[:4], by="modality")
    assert found.groups == ("clinical", "imaging")
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.total, atol=1e-9)
    np.testing.assert_allclose(found.total, evidence(model.predict(cohort.values[:4]), model.target), atol=1e-9)


def test_model_uncertainty_holds_the_answer_and_shrinks_with_patients():
    new = binary_cohort(50, 9).values
    widths = []
    for n in (60, 1200):
        cohort = binary_cohort(n, 3)
        model = fit_model(cohort, ModelConfig(), setting=QUICK)
        members = bootstrap_members(cohort, ModelConfig(), model.setting, members=12)
        interval = model_interval(model, new, members)
        said = model.predict(new).p
        assert (interval.low <= said).all()
        assert (said <= interval.high).all()
        widths.append(float(interval.width.mean()))
    assert widths[1] < 0.5 * widths[0]


def test_model_uncertainty_needs_members(early):
    cohort, model = early
    with pytest.raises(InputError, match="at least 10 refitted models"):
        model_interval(model, cohort.values[:2])


def test_what_is_lost_without_a_modality(early):
    cohort, model = early
    new = binary_cohort(600, 4)
    members = bootstrap_members(cohort, ModelConfig(), model.setting, members=10)
    found = judge_absence(model, new, members, resamples=50)
    assert set(found) == {"clinical", "imaging"}
    for absence in found.values():
        assert absence.patients == 600
        lost = absence.lost["auc"]
        assert lost.value == pytest.approx(absence.complete["auc"].value - absence.without["auc"].value)
        assert lost.low > 0.02
    answers = without_each(model, new.values)
    assert not np.allclose(answers["imaging"].p, model.predict(new.values).p)


def test_who_is_like_the_training_patients():
    rng = np.random.default_rng(0)
    cohort = binary_cohort(1000, 5)
    values = cohort.values.copy()
    values[:, 1] = values[:, 0] + rng.normal(0, 0.1, 1000)  # two columns that go together
    judge = OutOfDistribution.fit(values, cohort.columns)
    flagged = np.mean([j.likeness is not Likeness.INSIDE for j in judge.judge(values)])
    assert flagged < 0.08
    usual = np.median(values, axis=0)
    assert judge.judge(usual[None])[0].likeness is Likeness.INSIDE
    far = usual.copy()
    far[2] = 100.0
    (found,) = judge.judge(far[None])
    assert found.likeness is Likeness.REFUSED
    assert "clinical_2 100 lies far outside" in found.reasons[0]
    apart = usual + np.array([3.0, -3.0, 0, 0, 0])  # each alone is usual
    (found,) = judge.judge(apart[None])
    assert found.likeness is Likeness.REFUSED
    assert found.reasons == ("the values together are unlike those of any training patient",)
    nothing = np.full((1, 5), np.nan)
    assert judge.judge(nothing)[0].likeness is Likeness.REFUSED
    again = OutOfDistribution.of_state(judge.state(), cohort.columns)
    assert again.reach.tolist() == judge.reach.tolist()
    older = {name: array for name, array in judge.state().items() if name != "reach"}
    assert OutOfDistribution.of_state(older, cohort.columns).reach.tolist() == [0.0, 0.5]
    np.testing.assert_array_equal(again.distance(values), judge.distance(values))


@pytest.mark.parametrize("columns_", [3, 40, 200])
@pytest.mark.parametrize("shape", ["normal", "skewed", "rare"])
def test_many_columns_do_not_make_everybody_unusual(columns_, shape):
    """Of 200 columns one lies outside of its usual range in nearly everybody."""
    rng = np.random.default_rng(columns_)

    def draw(n):
        if shape == "rare":  # a count that is 0 in nearly all
            return rng.poisson(0.003, (n, columns_)).astype(float)
        z = rng.normal(0, 1, (n, columns_)) + rng.normal(0, 1, (n, 1))
        return np.exp(z) if shape == "skewed" else z

    names = [Column(f"x{j}", "laboratory") for j in range(columns_)]
    guard = OutOfDistribution.fit(draw(4000), names)
    judged = guard.judge(draw(4000))
    flagged = np.mean([j.likeness is Likeness.FLAGGED for j in judged])
    refused = np.mean([j.likeness is Likeness.REFUSED for j in judged])
    print(f"{shape}, {columns_} columns: {100 * flagged:.2f} % flagged, {100 * refused:.2f} % refused")
    assert flagged < 0.08  # distances of 200 columns from 4,000 rows are a little too sure
    assert refused < 0.006
    far = np.median(draw(100), axis=0)[None]
    far[0, 1] = 1e4
    assert guard.judge(far)[0].likeness is Likeness.REFUSED
