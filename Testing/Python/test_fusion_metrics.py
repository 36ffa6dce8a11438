"""Metrics against hand-computed truth, other packages, brute force and simulated truth."""

import math

import numpy as np
import pytest
from fusion_cases import survival_cohort
from FusionRiskLib.fusion.metrics.bootstrap import bootstrap
from FusionRiskLib.fusion.metrics.calibration import (
    calibration_curve,
    calibration_in_the_large,
    calibration_slope,
    ece,
    logit,
)
from FusionRiskLib.fusion.metrics.classes import accuracy, auc, balanced_accuracy, brier, log_loss, macro_auc
from FusionRiskLib.fusion.metrics.decision import (
    decision_curve,
    discrimination_improvement,
    reclassification,
    survival_decision_curve,
)
from FusionRiskLib.fusion.metrics.survival import (
    auc_at,
    brier_at,
    censoring_curve,
    concordance_harrell,
    concordance_ipcw,
    integrated_brier,
    kaplan_meier,
    observed_to_expected,
    survival_calibration_curve,
    survival_calibration_slope,
)

RNG = np.random.default_rng(11)
Y = RNG.integers(0, 2, 300)
P1 = 1 / (1 + np.exp(-(Y - 0.5 + RNG.normal(0, 1, 300)))).round(2)
P = np.column_stack([1 - P1, P1])
Y3 = RNG.integers(0, 3, 300)
P3 = RNG.dirichlet([1, 1, 1], 300)
P3[np.arange(300), Y3] += 0.3
P3 /= P3.sum(axis=1, keepdims=True)


# -- classes --
def test_classes_as_scikit_learn():
    from sklearn import metrics as sk

    assert auc(Y, P1) == pytest.approx(sk.roc_auc_score(Y, P1), abs=1e-12)
    assert macro_auc(Y3, P3) == pytest.approx(sk.roc_auc_score(Y3, P3, multi_class="ovr"), abs=1e-12)
    assert accuracy(Y3, P3) == sk.accuracy_score(Y3, P3.argmax(1))
    assert balanced_accuracy(Y3, P3) == pytest.approx(sk.balanced_accuracy_score(Y3, P3.argmax(1)))
    assert brier(Y, P) == pytest.approx(sk.brier_score_loss(Y, P1))
    assert log_loss(Y3, P3) == pytest.approx(sk.log_loss(Y3, P3))


def test_classes_by_hand():
    assert auc(np.array([0, 0, 1, 1]), np.array([1, 2, 2, 3.0])) == 3.5 / 4
    assert math.isnan(auc(np.ones(3), np.arange(3.0)))
    assert brier(np.array([0, 2]), np.array([[1, 0, 0], [0.5, 0, 0.5]])) == pytest.approx((0 + 0.5) / 2)


# -- calibration --
def test_ece_by_hand():
    y = np.array([0, 0, 1, 1])
    p = np.array([0.1, 0.2, 0.6, 0.7])
    assert ece(y, np.column_stack([1 - p, p]), bins=2) == pytest.approx((0.15 + 0.35) / 2)
    curve = calibration_curve(y, p, bins=2)
    assert [(b.predicted, b.observed, b.count) for b in curve] == [
        (pytest.approx(0.15), 0, 2),
        (pytest.approx(0.65), 1, 2),
    ]
    assert len(calibration_curve(np.tile([0, 1], 50), np.full(100, 0.5))) == 1


def test_calibration_of_a_known_distortion():
    rng = np.random.default_rng(0)
    eta = rng.normal(0, 1.5, 60000)
    y = rng.random(60000) < 1 / (1 + np.exp(-eta))
    for slope, intercept in ((1, 0), (0.5, 0.3), (2, -1)):
        said = 1 / (1 + np.exp(-(eta - intercept) / slope))
        assert calibration_slope(y, said) == pytest.approx((slope, intercept), abs=0.05)
    shifted = 1 / (1 + np.exp(-(eta - 0.7)))
    assert calibration_in_the_large(y, shifted) == pytest.approx(0.7, abs=0.03)
    true = 1 / (1 + np.exp(-eta))
    assert ece(y, np.column_stack([1 - true, true])) < 0.01


def test_calibration_as_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(P1)[:, None], Y)
    assert calibration_slope(Y, P1) == pytest.approx((fit.coef_[0, 0], fit.intercept_[0]), abs=1e-4)


def test_calibration_has_no_slope_when_separated():
    assert all(map(math.isnan, calibration_slope(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))))


# -- decisions --
def test_net_benefit_by_hand():
    y = np.array([1, 1, 0, 0, 0])
    p = np.array([0.9, 0.3, 0.5, 0.1, 0.1])
    (point,) = decision_curve(y, p, [0.25])  # two true, one false positive; odds 1/3
    assert point.model == pytest.approx(2 / 5 - 1 / 5 / 3)
    assert point.treat_all == pytest.approx(2 / 5 - 3 / 5 / 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision_curve(y, p, [1.0])


def test_net_benefit_of_survival_without_censoring_is_that_of_classes():
    time = RNG.exponential(1, 300)
    plain = decision_curve(time <= 0.8, P1, [0.1, 0.4, 0.6])
    survival = survival_decision_curve(time, np.ones(300, bool), P1, 0.8, [0.1, 0.4, 0.6])
    for a, b in zip(plain, survival, strict=True):
        assert (b.model, b.treat_all) == pytest.approx((a.model, a.treat_all))


def test_reclassification_by_hand():
    y = np.array([1, 1, 1, 0, 0])
    before = np.array([0.1, 0.3, 0.3, 0.1, 0.3])
    after = np.array([0.3, 0.3, 0.1, 0.05, 0.1])
    found = reclassification(y, before, after, [0.2])
    assert (found.events, found.nonevents, found.total) == pytest.approx((0, 0.5, 0.5))
    found = reclassification(y, before, after)
    assert (found.events, found.nonevents) == pytest.approx((0, 1))
    idi = (0.7 / 3 - 0.7 / 3) - (0.075 - 0.2)
    assert discrimination_improvement(y, before, after) == pytest.approx(idi)


# -- survival --
def truth(n=400, seed=5, digits=1):
    """Times with many ties, and a risk that says something."""
    cohort = survival_cohort(n, seed)
    risk = (cohort.values[:, 0] + RNG.normal(0, 1, n)).round(1)
    return np.maximum(cohort.outcome.t.round(digits), 0.1), cohort.outcome.e, risk


def test_curves_as_lifelines():
    from lifelines import KaplanMeierFitter

    time, event, _ = truth()
    mine = kaplan_meier(time, event)
    theirs = KaplanMeierFitter().fit(time, event).survival_function_at_times(mine.times)
    np.testing.assert_allclose(mine.values, theirs, atol=1e-12)
    assert mine.at(0.0) == 1
    assert mine.before(mine.times[0]) == 1
    np.testing.assert_allclose(mine.before(mine.times[1:]), mine.values[:-1])
    # without ties the censoring curve is Kaplan-Meier with events and censorings exchanged
    time = time + RNG.random(400) * 1e-3
    other = KaplanMeierFitter().fit(time, ~event).survival_function_at_times(np.sort(time))
    np.testing.assert_allclose(censoring_curve(time, event).values, other, atol=1e-12)


def test_concordance_as_lifelines():
    from lifelines.utils import concordance_index

    time, event, risk = truth(digits=9)
    assert concordance_harrell(time, event, risk) == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)
    everybody = np.ones(400, bool)  # without censoring all weights are one
    expected = concordance_index(time, -risk, everybody)
    assert concordance_ipcw(time, everybody, risk) == pytest.approx(expected, abs=1e-12)


def test_weighted_metrics_by_brute_force():
    time, event, risk = truth(120)
    horizon = 0.9
    times = np.unique(time)

    def g(t, before):
        value = 1.0
        for u in times:
            if u < t or (u == t and not before):
                at_risk = sum(1 for s, d in zip(time, event) if s > u or (s == u and not d))
                lost = sum(1 for s, d in zip(time, event) if s == u and not d)
                value *= 1 - lost / at_risk if at_risk else 1
        return value

    won = compared = cases = hits = loss = 0.0
    for i in range(120):
        w = 1 / g(time[i], True) if event[i] else 0
        for j in range(120):
            if w and time[i] < horizon and (time[j] > time[i] or (time[j] == time[i] and not event[j])):
                won += w**2 * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
                compared += w**2
            if w and time[i] <= horizon < time[j]:
                hits += w * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
                cases += w
        survival = 1 / (1 + np.exp(risk[i] - 5))
        if event[i] and time[i] <= horizon:
            loss += w * survival**2
        elif time[i] > horizon:
            loss += (1 - survival) ** 2 / g(horizon, False)
    assert concordance_ipcw(time, event, risk, horizon) == pytest.approx(won / compared, abs=1e-12)
    assert auc_at(time, event, risk, horizon) == pytest.approx(hits / cases, abs=1e-12)
    assert brier_at(time, event, 1 / (1 + np.exp(risk - 5)), horizon) == pytest.approx(loss / 120, abs=1e-12)


def test_weights_undo_censoring():
    """With heavy censoring the weighted metrics stay near those of the uncensored times; Harrell's C does not."""
    rng = np.random.default_rng(0)
    n = 20000
    x = rng.normal(0, 1, n)
    group = rng.random(n) < 0.5  # a risk that ranks early events well and late ones badly
    t = np.where(group, rng.exponential(np.exp(-2 * x)), 1 + rng.exponential(np.exp(0.5 * x)))
    c = rng.exponential(1.5, n)
    time, event = np.minimum(t, c), t <= c
    everybody = np.ones(n, bool)
    true_auc = auc_at(t, everybody, x, 1.5)
    assert auc_at(time, event, x, 1.5) == pytest.approx(true_auc, abs=0.01)
    s = np.exp(-np.exp(x))
    assert brier_at(time, event, s, 1.0) == pytest.approx(brier_at(t, everybody, s, 1.0), abs=0.005)
    true_c = concordance_ipcw(t[:6000], everybody[:6000], x[:6000], until=2.0)
    weighted = concordance_ipcw(time[:6000], event[:6000], x[:6000], until=2.0)
    harrell = concordance_harrell(time[:6000], event[:6000], x[:6000])
    assert weighted == pytest.approx(true_c, abs=0.015)
    assert abs(harrell - true_c) > 2 * abs(weighted - true_c)


def test_integrated_brier_of_a_constant():
    time, event = np.arange(1.0, 11), np.ones(10, bool)
    half = np.full((10, 3), 0.5)
    assert integrated_brier(time, event, half, [2, 4, 8]) == pytest.approx(0.25)


def test_survival_calibration_of_a_known_distortion():
    rng = np.random.default_rng(1)
    n = 30000
    eta = rng.normal(0, 0.8, n)
    t, c = rng.exponential(np.exp(-eta)), rng.exponential(2, n)
    time, event = np.minimum(t, c), t <= c
    for slope in (1.0, 0.5, 1.6):
        risk = 1 - np.exp(-np.exp(eta / slope))
        assert survival_calibration_slope(time, event, risk) == pytest.approx(slope, abs=0.03)
    right = 1 - np.exp(-np.exp(eta))
    assert observed_to_expected(time, event, right, 1.0) == pytest.approx(1, abs=0.02)
    assert observed_to_expected(time, event, right / 2, 1.0) == pytest.approx(2, abs=0.04)
    for point in survival_calibration_curve(time, event, right, 1.0):
        assert point.observed == pytest.approx(point.predicted, abs=0.03)


def test_survival_calibration_slope_as_lifelines():
    import pandas
    from lifelines import CoxPHFitter

    time, event, risk = truth(digits=9)
    time = time + RNG.random(400) * 1e-3  # ties are handled in another way there
    p = 1 / (1 + np.exp(5 - risk))
    x = np.log(-np.log1p(-p))
    fit = CoxPHFitter().fit(pandas.DataFrame({"t": time, "e": event, "x": x}), "t", "e")
    assert survival_calibration_slope(time, event, p) == pytest.approx(float(fit.params_["x"]), abs=1e-5)


def test_no_value_rather_than_a_wrong_one():
    time, none = np.arange(1.0, 6), np.zeros(5, bool)
    assert math.isnan(concordance_ipcw(time, none, time))
    assert math.isnan(auc_at(time, ~none, time, 10.0))


# -- intervals --
def test_bootstrap_covers_a_mean():
    covered = 0
    for seed in range(200):
        x = np.random.default_rng(seed).normal(0, 1, 60)
        found = bootstrap(lambda rows, x=x: {"mean": x[rows].mean()}, np.arange(60), 300, seed)["mean"]
        assert found.value == x.mean()
        covered += found.low <= 0 <= found.high
    assert 178 <= covered <= 198  # 95 % of 200 is 190; three standard errors and the small-sample deficit


def test_bootstrap_draws_patients_not_rows():
    patient = np.repeat(np.arange(30), 10)
    x = np.random.default_rng(0).normal(0, 1, 30)[patient]
    by_patient = bootstrap(lambda rows: {"m": x[rows].mean()}, patient, 400)["m"]
    by_row = bootstrap(lambda rows: {"m": x[rows].mean()}, np.arange(300), 400)["m"]
    assert by_patient.high - by_patient.low > 2.5 * (by_row.high - by_row.low)
    again = bootstrap(lambda rows: {"m": x[rows].mean()}, patient, 400)["m"]
    assert again == by_patient


def test_bootstrap_gives_no_interval_where_most_resamples_fail():
    y = np.zeros(30, dtype=int)
    y[0] = 1
    found = bootstrap(lambda rows: {"auc": auc(y[rows], np.arange(30.0)[rows])}, np.arange(30), 200)["auc"]
    assert found.value is not None
    assert found.low is None
    nothing = bootstrap(lambda rows: {"auc": float("nan")}, np.arange(30), 20)["auc"]
    assert (nothing.value, nothing.low) == (None, None)
