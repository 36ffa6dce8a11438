"""Survival in discrete time, by networks."""

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from fusion_cases import binary_cohort, survival_cohort
from FusionRiskLib.fusion.cohort import Outcome
from FusionRiskLib.fusion.discrete_time import bootstrap_counts, interval_ends, intervals_lived
from FusionRiskLib.fusion.joint_net import survival
from FusionRiskLib.fusion.metrics.survival import concordance_ipcw, kaplan_meier, observed_to_expected
from FusionRiskLib.fusion.models import ModelConfig, fit_model, predict
from FusionRiskLib.fusion.store import load_model, save_model

NET = ModelConfig(learner="discrete_time")


def test_intervals_by_hand():
    time, event = np.array([1.0, 2, 2.5, 4, 5]), np.array([True, True, False, True, False])
    outcome = Outcome("survival", time=time, event=event)
    lived, hit_at = intervals_lived(outcome, np.array([1.0, 2, 4]))
    # the third is censored inside the third interval, which says nothing; the last outlives all
    assert lived.tolist() == [1, 2, 2, 3, 3]
    assert hit_at.tolist() == [0, 1, -1, 2, -1]
    ends = interval_ends(outcome)
    assert ends[-1] == 4
    assert (np.diff(ends) > 0).all()


def test_survival_of_hazards_by_hand():
    hazard = np.array([0.1, 0.5])
    eta = np.log(hazard / (1 - hazard))
    np.testing.assert_allclose(survival(np.r_[0.3, eta - 0.3]), [0.9, 0.45])
    assert survival(np.array([0.0, -800.0, 800.0])).tolist() == [1.0, 0.0]


def test_bootstrap_counts_keep_the_strata():
    strata = np.repeat([0, 1, 2], [50, 30, 3])
    counts = bootstrap_counts(strata, 25, 0)
    for k, n in enumerate((50, 30, 3)):
        assert (counts[:, strata == k].sum(axis=1) == n).all()
    assert 0.30 < (counts == 0).mean() < 0.44  # exp(-1) of the rows are not drawn
    assert (counts == bootstrap_counts(strata, 25, 0)).all()


def crossing(n, seed):
    """Treated patients die early or never: the hazards cross, so that no factor on a baseline tells the truth."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, n).astype(float)
    early = rng.random(n) < 0.4
    t = np.where(x == 1, np.where(early, rng.uniform(0, 1, n), rng.uniform(5, 9, n)), rng.exponential(4, n))
    c = rng.uniform(3, 6, n)
    values = np.column_stack([x, rng.normal(0, 1, (n, 3))])
    outcome = Outcome("survival", time=np.minimum(t, c), event=t <= c, time_unit="years", horizon=2.0, names=("t", "e"))
    from dataclasses import replace

    return replace(survival_cohort(n), values=values, outcome=outcome), x


def test_hazards_that_cross():
    train, _ = crossing(500, 1)
    test, x = crossing(400, 2)
    predicted = predict(fit_model(train, NET, setting={"decay": 0.3}), test)
    for group, truth in ((1, (0.6, 0.6)), (0, (np.exp(-1 / 4), np.exp(-2.9 / 4)))):
        mean = predicted.survival_at([1.0, 2.9])[x == group].mean(axis=0)
        np.testing.assert_allclose(mean, truth, atol=0.08)
    assert (np.diff(predicted.survival, axis=1) <= 0).all()


def test_net_beside_cox_where_cox_is_the_truth():
    train, test = survival_cohort(300, 1), survival_cohort(1000, 2)
    o = test.outcome
    risk = predict(fit_model(train, NET, setting={"decay": 3.0}), test).risk(1.0)
    assert concordance_ipcw(o.t, o.e, risk, 1.0) > 0.68  # Cox has 0.71
    assert observed_to_expected(o.t, o.e, risk, 1.0) == pytest.approx(1, abs=0.15)
    spread = risk.std()
    assert spread > 0.1
    assert abs(risk.mean() - (1 - float(kaplan_meier(o.t, o.e).at(1.0)))) < 0.06


def test_saved_loaded_refused(tmp_path):
    cohort = survival_cohort(80)
    model = fit_model(cohort, NET, setting={"decay": 3.0})
    loaded, card = load_model(save_model(tmp_path / "m", model, cohort))
    np.testing.assert_array_equal(predict(loaded, cohort).survival, predict(model, cohort).survival)
    assert card["parts"][0]["learner"] == "discrete_time"
    with pytest.raises(InputError, match="choose logistic or boosting"):
        fit_model(binary_cohort(60), NET)
