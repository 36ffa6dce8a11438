"""Conformal predictions hold as often as they say, on simulated truth, and say something."""

import numpy as np
import pytest
from FusionRiskLib.fusion.conformal import (
    SplitClasses,
    SplitInterval,
    SurvivalBound,
    class_scores,
    conformal_quantile,
    cross_interval,
    cross_sets,
    quantile_times,
)


def test_quantile_by_hand():
    scores = np.arange(1.0, 10)  # nine: the 90 % rank is the ninth of ten places
    assert conformal_quantile(scores, 0.9) == 9
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores, 0.95) == np.inf


def test_scores_by_hand():
    p = np.array([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(class_scores(p), [[0.8, 0.5, 0.7]])
    np.testing.assert_allclose(class_scores(p, "adaptive"), [[1, 0.5, 0.8]])
    np.testing.assert_allclose(class_scores(p, "adaptive", np.array([0.0])), [[0.8, 0, 0.5]])


def draw(rng, n):
    """Three classes, the last one rare, and probabilities of a model that is far too sure of itself."""
    eta = rng.normal(0, 1, (n, 3)) + np.array([1, 0.5, -0.7])
    true = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    y = (rng.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1)
    said = np.exp(3 * eta)
    return said / said.sum(axis=1, keepdims=True), y


@pytest.mark.parametrize("how", ["threshold", "adaptive"])
def test_sets_of_an_overconfident_model_cover(how):
    rng = np.random.default_rng(0)
    held, size = [], []
    for _ in range(300):
        p, y = draw(rng, 60)
        sets = SplitClasses.fit(p, y, 0.9, how, rng=rng).sets((q := draw(rng, 100))[0], rng)
        held.append(sets[np.arange(100), q[1]].mean())
        size.append(sets.sum(axis=1).mean())
    assert 0.885 <= np.mean(held) <= 0.94
    assert np.mean(size) < 2.6


def test_a_rare_class_is_covered_by_itself():
    rng = np.random.default_rng(1)
    held = {True: [], False: []}
    for _ in range(100):
        p, y = draw(rng, 300)
        q, z = draw(rng, 1000)
        for per_class in held:
            sets = SplitClasses.fit(p, y, 0.9, per_class=per_class).sets(q)
            held[per_class].append(sets[np.arange(1000), z][z == 2].mean())
    assert np.mean(held[True]) > 0.88
    assert np.mean(held[False]) < 0.85


def test_cross_sets_cover_and_no_row_is_wasted():
    """A nearest-mean model that is fitted in folds on few rows."""
    rng = np.random.default_rng(2)
    held, size = [], []

    def sample(n):
        y = rng.integers(0, 3, n)
        return rng.normal(0, 1, (n, 2)) + np.array([[0, 0], [1.5, 0], [0, 1.5]])[y], y

    def fit(x, y):
        means = np.stack([x[y == k].mean(axis=0) for k in range(3)])
        return lambda z: (w := np.exp(-((z[:, None] - means) ** 2).sum(axis=2))) / w.sum(axis=1, keepdims=True)

    for _ in range(300):
        x, y = sample(50)
        new, truth = sample(100)
        fold = np.arange(50) % 5
        p, p_new = np.zeros((50, 3)), np.zeros((5, 100, 3))
        for k in range(5):
            model = fit(x[fold != k], y[fold != k])
            p[fold == k], p_new[k] = model(x[fold == k]), model(new)
        sets = cross_sets(p, y, fold, p_new, 0.9)
        held.append(sets[np.arange(100), truth].mean())
        size.append(sets.sum(axis=1).mean())
    assert 0.885 <= np.mean(held) <= 0.93
    assert np.mean(size) < 2.2


def test_sets_are_never_empty():
    p = np.array([[0.4, 0.35, 0.25]])
    tight = SplitClasses(np.zeros(3), 0.9)
    np.testing.assert_array_equal(tight.sets(p), [[True, False, False]])
    few = SplitClasses.fit(p, np.array([0]), 0.9)  # one row cannot promise 90 %: everything is possible
    assert few.sets(p).all()


def test_intervals_cover():
    rng = np.random.default_rng(3)
    plain, scaled, crossed = [], [], []
    width = {"easy": [], "hard": []}
    for _ in range(300):
        spread = rng.uniform(0.2, 3, 160)
        y = rng.normal(0, spread)
        known, new = slice(0, 60), slice(60, None)
        low, high = SplitInterval.fit(y[known], np.zeros(60)).interval(np.zeros(100))
        plain.append(((low <= y[new]) & (y[new] <= high)).mean())
        fitted = SplitInterval.fit(y[known], np.zeros(60), 0.9, spread[known])
        low, high = fitted.interval(np.zeros(100), spread[new])
        scaled.append(((low <= y[new]) & (y[new] <= high)).mean())
        width["easy"].append((high - low)[spread[new] < 1].mean())
        width["hard"].append((high - low)[spread[new] > 2].mean())
        fold = np.arange(60) % 4
        means = np.array([y[known][fold != k].mean() for k in range(4)])
        low, high = cross_interval(y[known], means[fold], fold, np.repeat(means[:, None], 100, axis=1))
        crossed.append(((low <= y[new]) & (y[new] <= high)).mean())
    for held in (plain, scaled, crossed):
        assert 0.89 <= np.mean(held) <= 0.93
    assert np.mean(width["hard"]) > 2 * np.mean(width["easy"])
    low, high = cross_interval(np.zeros(5), np.zeros(5), np.arange(5), np.zeros((5, 2)), 0.9)
    assert np.isinf(low).all()
    assert np.isinf(high).all()


def test_quantile_times_by_hand():
    times, curve = np.array([1.0, 2, 4]), np.array([[1.0, 0.8, 0.4], [0.5, 0.5, 0.5]])
    found = quantile_times(times, curve, np.array([0, 0.1, 0.2, 0.4, 0.9]))
    np.testing.assert_allclose(found, [[0, 1.5, 2, 3, 4], [0, 0.2, 0.4, 0.8, 4]])


def survive(rng, n):
    """Exponential times, censored early in more than half, and curves of a model that is too optimistic."""
    x = rng.normal(0, 0.7, n)
    t, c = rng.exponential(np.exp(x)), rng.exponential(0.8, n)
    grid = np.geomspace(0.005, 8, 120)
    return t, np.minimum(t, c), t <= c, grid, np.exp(-grid * np.exp(-x)[:, None] / 2)


def test_survival_bounds_cover():
    rng = np.random.default_rng(4)
    held = {"observed": [], "weighted": []}
    bound = {"observed": [], "weighted": []}
    naive = []
    for _ in range(60):
        _, time, event, grid, curves = survive(rng, 150)
        truth, _, _, _, new = survive(rng, 200)
        for how in held:
            low = SurvivalBound.fit(time, event, grid, curves, 0.9, how).bound(grid, new)
            held[how].append((truth >= low).mean())
            bound[how].append(low.mean())
        naive.append((truth >= quantile_times(grid, new, np.array([0.1]))[:, 0]).mean())
    assert np.mean(naive) < 0.86  # the model's own quantile promises too much
    assert np.mean(held["observed"]) >= 0.9
    assert 0.885 <= np.mean(held["weighted"]) <= 0.94
    assert np.mean(bound["weighted"]) > 1.5 * np.mean(bound["observed"]) > 0


def test_bounds_stay_near_the_level_where_follow_up_ends_for_nearly_all():
    """A late event would weigh as much as half a cohort: no bound is so late, and the others are not made small."""
    rng = np.random.default_rng(6)
    held, capped = [], 0

    def cohort(n):
        x = rng.normal(0, 1.5, n)
        t, c = rng.exponential(np.exp(x)), np.minimum(0.3 + rng.exponential(0.6, n), rng.uniform(0.5, 3.0, n))
        return t, np.minimum(t, c), t <= c, np.exp(-np.geomspace(0.001, 3, 150) * np.exp(-x)[:, None])

    grid = np.geomspace(0.001, 3, 150)
    for _ in range(60):
        _, time, event, curves = cohort(300)
        truth, _, _, new = cohort(300)
        found = SurvivalBound.fit(time, event, grid, curves, 0.9)
        low = found.bound(grid, new)
        assert low.max() <= found.cap < time.max()
        capped += int((low == found.cap).sum())
        held.append((truth >= low).mean())
    assert 0.885 <= np.mean(held) <= 0.93
    assert capped > 0


def test_too_few_rows_promise_nothing():
    _, time, event, grid, curves = survive(np.random.default_rng(5), 5)
    found = SurvivalBound.fit(time, event, grid, curves, 0.9, "observed")
    assert found.share == 0
    assert (found.bound(grid, curves) == 0).all()
