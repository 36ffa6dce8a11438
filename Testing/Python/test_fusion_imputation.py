"""Filling gaps and drawing values for them: the autoencoder, the chained regressions, and how they are compared."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts.cli import main
from fusion_cases import binary_cohort, columns
from FusionRiskLib.fusion import imputation, jobs, vae_net
from FusionRiskLib.fusion.cohort import Column, make_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.folds import outer_folds
from FusionRiskLib.fusion.imputation import Filled, column_choices, compare_imputation, fill_in, hidden_cells
from FusionRiskLib.fusion.models import ModelConfig, fit_model, predict
from FusionRiskLib.fusion.preprocess import Preprocessor
from FusionRiskLib.fusion.store import load_folder, load_model, save_model
from FusionRiskLib.fusion.uncertainty import bootstrap_members, model_interval
from FusionRiskLib.fusion.vae import MIN_ROWS, Vae
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAN = np.nan
MIXED = [
    Column("a", "m"),
    Column("yes", "m", "yes_no"),
    Column("word", "m", "choice", ("x", "y", "z")),
    Column("b", "m"),
]


def hide(values, share, seed):
    return np.where(np.random.default_rng((seed, 9)).random(values.shape) < share, NAN, values)


def curved(n, seed):
    """The last two columns are a product and a square of others: a straight line says nothing of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    return np.c_[x, x[:, 0] * x[:, 1] + 0.2 * rng.normal(size=n), x[:, 2] ** 2 + 0.2 * rng.normal(size=n)] * 3 + 7


def straight(n, seed):
    """Normal columns that share three causes, and their covariance."""
    load = np.random.default_rng(5).normal(size=(3, 6))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) @ load + 0.5 * rng.normal(size=(n, 6)), load.T @ load + 0.25 * np.eye(6)


def mixed(n, seed):
    """The word hangs on ``a``, and yes or no on the word."""
    rng = np.random.default_rng(seed)
    a = rng.normal(50, 10, n)
    word = np.digitize(a, (45, 55)).astype(float)
    yes = (rng.random(n) < np.where(word == 2, 0.9, 0.1)).astype(float)
    return np.c_[a, yes, word, rng.normal(size=n)]


def errors(fitted, truth, gappy):
    """Root mean squared error of the gaps per column, in the column's SD."""
    back = fitted.slots(gappy) * fitted.scale + fitted.center
    gaps = np.isnan(gappy)
    squares = np.where(gaps, (back - truth) ** 2, 0).sum(axis=0) / np.maximum(gaps.sum(axis=0), 1)
    return np.sqrt(squares) / truth.std(axis=0)


@pytest.fixture
def short(monkeypatch):
    """Networks that hardly train, where how good they are does not matter."""
    monkeypatch.setattr(vae_net, "_PACE", replace(vae_net._PACE, steps=20))


@pytest.fixture(scope="module")
def of_curved():
    return Preprocessor.fit(hide(curved(400, 1), 0.1, 1), columns(a=6), "vae")


@pytest.fixture(scope="module")
def of_straight():
    return Preprocessor.fit(straight(300, 1)[0], columns(a=6), "vae")


@pytest.fixture(scope="module")
def of_mixed():
    return Preprocessor.fit(hide(mixed(300, 1), 0.1, 1), MIXED, "vae")


# -- how well gaps are filled --
def test_the_autoencoder_knows_what_is_not_straight(of_curved):
    truth = curved(1000, 2)
    gappy = np.where(np.arange(6) >= 4, NAN, truth)
    found = {
        how: errors(Preprocessor.fit(hide(curved(400, 1), 0.1, 1), columns(a=6), how), truth, gappy)[4:]
        for how in ("median", "chained")
    }
    own = errors(of_curved, truth, gappy)[4:]
    assert (own < 0.7 * found["median"]).all()
    assert (own < 0.7 * found["chained"]).all()


def test_the_autoencoder_comes_near_to_what_is_straight(of_straight):
    truth = straight(1000, 2)[0]
    gappy = hide(truth, 0.2, 2)
    own, chained, median = (
        np.mean(errors(f, truth, gappy))
        for f in (of_straight, *(Preprocessor.fit(straight(300, 1)[0], columns(a=6), h) for h in ("chained", "median")))
    )
    assert chained < own * 1.02
    assert own < 1.15 * chained
    assert own < 0.7 * median


def test_gaps_in_training_do_not_mislead_the_chained_regressions():
    """Columns that say nothing of each other: a filled-in mean taken for a measurement would make coefficients grow."""
    found = []
    for seed in range(4):
        truth = np.random.default_rng(seed).normal(size=(1200, 11))
        new = hide(truth[200:], 0.3, seed)
        for train in (hide(truth[:200], 0.3, seed), truth[:200]):
            found.append(np.mean(errors(Preprocessor.fit(train, columns(a=11), "chained"), truth[200:], new)))
    gappy, complete = np.mean(np.reshape(found, (4, 2)), axis=0)
    assert gappy < 1.05 * complete


def test_words_and_yes_or_no(of_mixed):
    truth = mixed(600, 2)
    assert of_mixed.features[:6] == ("a", "yes", "word=x", "word=y", "word=z", "b")
    gappy = truth.copy()
    gappy[:, 2] = NAN
    said = of_mixed.slots(gappy)
    np.testing.assert_allclose(said[:, 2:5].sum(axis=1), 1)
    assert np.mean(said[:, 2:5].argmax(axis=1) == truth[:, 2]) > 0.9
    gappy = truth.copy()
    gappy[:, 1] = NAN
    p = of_mixed.slots(gappy)[:, 1] * of_mixed.scale[1] + of_mixed.center[1]
    assert ((p > -1e-9) & (p < 1 + 1e-9)).all()
    assert p[truth[:, 2] == 2].mean() == pytest.approx(0.9, abs=0.12)
    assert p[truth[:, 2] < 2].mean() == pytest.approx(0.1, abs=0.12)


# -- draws --
def test_draws_of_the_autoencoder_spread_as_the_truth(of_straight):
    """One column of a normal distribution is missing: the conditional standard deviation is known."""
    truth, covariance = straight(400, 3)
    for j in range(6):
        others = np.arange(6) != j
        left = covariance[j, j] - covariance[j, others] @ np.linalg.solve(
            covariance[np.ix_(others, others)], covariance[others, j]
        )
        gappy = truth.copy()
        gappy[:, j] = NAN
        rng = np.random.default_rng(0)
        drawn = np.stack([of_straight.slots(gappy, rng)[:, j] for _ in range(60)]) * of_straight.scale[j]
        assert np.median(drawn.std(axis=0)) / np.sqrt(left) == pytest.approx(1, abs=0.3)
        expected = of_straight.slots(gappy)[:, j] * of_straight.scale[j]
        assert np.abs(drawn.mean(axis=0) - expected).mean() < 0.25 * np.sqrt(left)


def test_draws_hold_as_often_as_they_should(of_curved):
    truth = curved(300, 4)
    gappy = hide(truth, 0.2, 4)
    rng = np.random.default_rng(0)
    drawn = np.stack([of_curved.slots(gappy, rng) for _ in range(80)]) * of_curved.scale + of_curved.center
    low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
    held = ((truth >= low) & (truth <= high))[np.isnan(gappy)].mean()
    assert 0.82 < held < 0.97


def test_chained_draws_follow_the_distribution_that_they_were_fitted_to():
    """Two of three normal columns are missing: drawn together they have the covariance that the known one leaves."""
    covariance = np.array([[1, 0.8, 0.5], [0.8, 1, 0.7], [0.5, 0.7, 1.0]])
    rng = np.random.default_rng(0)
    fitted = Preprocessor.fit(rng.multivariate_normal(np.zeros(3), covariance, 4000), columns(a=3), "chained")
    drawn = fitted.slots(np.tile([NAN, NAN, 1.0], (8000, 1)), np.random.default_rng(1)) * fitted.scale + fitted.center
    expected = covariance[:2, :2] - np.outer(covariance[:2, 2], covariance[:2, 2])
    np.testing.assert_allclose(np.cov(drawn[:, :2].T), expected, atol=0.04)
    np.testing.assert_allclose(drawn[:, :2].mean(axis=0), [0.5, 0.7], atol=0.05)


def test_drawn_words_and_yes_or_no_are_values(of_mixed):
    truth = mixed(400, 3)
    chained = Preprocessor.fit(truth, MIXED, "chained")
    for fitted in (of_mixed, chained):
        gappy = truth.copy()
        gappy[:, 1] = NAN
        rng = np.random.default_rng(0)
        drawn = np.stack([fitted.slots(gappy, rng)[:, 1] for _ in range(20)]) * fitted.scale[1] + fitted.center[1]
        assert np.isclose(drawn, 0).sum() + np.isclose(drawn, 1).sum() == drawn.size
        assert drawn.mean() == pytest.approx(truth[:, 1].mean(), abs=0.08)
    gappy[:, 2] = NAN
    words = of_mixed.slots(gappy, np.random.default_rng(0))[:, 2:5]
    assert set(np.unique(words)) == {0.0, 1.0}
    assert (words.sum(axis=1) == 1).all()


def test_the_median_draws_nothing():
    fitted = Preprocessor.fit(hide(mixed(100, 1), 0.2, 0), MIXED, "median", draw=3)
    assert fitted.draw is None
    gappy = hide(mixed(30, 2), 0.3, 1)
    np.testing.assert_array_equal(fitted.transform(gappy), fitted.prepare(gappy))


# -- what is said of a row is its own --
@pytest.mark.parametrize("draw", [None, 5])
@pytest.mark.parametrize("impute", ["chained", "vae"])
def test_a_row_does_not_depend_on_the_others(impute, draw, short):
    fitted = Preprocessor.fit(hide(mixed(120, 1), 0.2, 0), MIXED, impute, draw)
    gappy = hide(mixed(40, 2), 0.4, 1)
    said = fitted.transform(gappy)
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(fitted.transform(gappy[order]), said[order], atol=1e-9)
    np.testing.assert_allclose(fitted.transform(gappy[7:8]), said[7:8], atol=1e-9)
    other = gappy.copy()
    other[10:] = NAN
    np.testing.assert_allclose(fitted.transform(other)[:10], said[:10], atol=1e-9)


def test_training_rows_are_drawn_each_for_itself(short):
    values = np.vstack([mixed(100, 1), np.full((50, 4), NAN)])
    fitted = Preprocessor.fit(values, MIXED, "vae", draw=1)
    assert len(np.unique(fitted.prepare(values)[100:, 0])) == 50
    assert len(np.unique(fitted.transform(values)[100:, 0])) == 1
    np.testing.assert_array_equal(fitted.prepare(values), fitted.prepare(values))
    other = Preprocessor.fit(values, MIXED, "vae", draw=2)
    assert not np.isclose(other.transform(values)[100, 0], fitted.transform(values)[100, 0])


def test_the_same_rows_make_the_same_networks(short):
    values = hide(mixed(90, 1), 0.2, 0)
    a, b = (Preprocessor.fit(rows, MIXED, "vae") for rows in (values, values))
    for name, array in a.vae.weights.items():
        np.testing.assert_array_equal(array, b.vae.weights[name])
    order = np.random.default_rng(1).permutation(90)
    c = Preprocessor.fit(values[order], MIXED, "vae")
    gappy = hide(mixed(20, 2), 0.4, 1)
    np.testing.assert_allclose(c.transform(gappy)[:, :6], a.transform(gappy)[:, :6], atol=1e-3)
    assert not np.allclose(Vae.fit(values, MIXED, seed=1).expected(gappy), a.vae.expected(gappy), equal_nan=True)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=12, max_size=12), st.floats(-1e6, 1e6), st.integers(0, 2))
def test_any_gaps(of_mixed, gaps, number, word):
    values = np.array([[number, 1, word, 0.0], [50, 0, word, number], [45, 1, 2, 1.0]])
    gappy = np.where(np.reshape(gaps, (3, 4)), NAN, values)
    said = of_mixed.transform(gappy)
    assert np.isfinite(said).all()
    np.testing.assert_allclose(said[:, 2:5].sum(axis=1), 1)
    # what is known stays what it is
    for place, j in ((0, 0), (1, 1), (5, 3)):
        known = np.isfinite(gappy[:, j])
        back = said[:, place] * of_mixed.scale[j] + of_mixed.center[j]
        np.testing.assert_allclose(back[known], gappy[known, j], rtol=1e-9, atol=1e-9)


# -- tables that are hard to learn from --
def test_empty_and_constant_columns(short):
    values = np.c_[mixed(60, 1), np.full(60, NAN), np.full(60, 4.0), np.full(60, NAN)]
    given = [*MIXED, Column("empty", "m"), Column("constant", "m"), Column("no word", "m", "choice", ("p", "q"))]
    fitted = Preprocessor.fit(values, given, "vae")
    assert fitted.imputed_by == "vae"
    said = fitted.slots(np.full((1, 7), NAN))[0] * 1.0
    assert np.isfinite(said).all()
    assert said[6] == 0  # of an empty column
    assert said[7] * fitted.scale[5] + fitted.center[5] == 4
    assert said[8:].tolist() == [0, 0]  # nobody knows a word of it
    drawn = fitted.slots(np.full((3, 7), NAN), np.random.default_rng(0))
    assert (drawn[:, 6:] == said[6:]).all()


def test_a_table_without_anything_to_learn(short):
    fitted = Preprocessor.fit(np.full((50, 2), NAN), columns(a=2), "vae")
    assert fitted.transform(np.full((2, 2), NAN)).tolist() == [[0, 0, 1]] * 2


def test_too_few_rows_are_not_passed_over_in_silence(tmp_path):
    values = hide(mixed(MIN_ROWS - 1, 1), 0.1, 0)
    assert Preprocessor.fit(values, MIXED, "vae").imputed_by == "chained"
    same = (Preprocessor.fit(values, MIXED, how).transform(values) for how in ("vae", "chained"))
    np.testing.assert_array_equal(*same)
    assert Preprocessor.fit(np.repeat(values[:10], 20, axis=0), MIXED, "vae").imputed_by == "chained"
    cohort = binary_cohort(30)
    cohort = replace(cohort, values=hide(cohort.values, 0.1, 1))
    model = fit_model(cohort, ModelConfig("late", impute="vae", inner_folds=2), setting={})
    assert imputation.fallbacks(model) == [
        f"Too few training patients have {name} for the autoencoder (it needs 40, 20 of them different); chained "
        "regressions fill the gaps there."
        for name in ("clinical", "imaging")
    ]
    assert imputation.fallbacks(fit_model(cohort, ModelConfig("late", impute="chained", inner_folds=2))) == []
    found = evaluate(cohort, {"one": ModelConfig(impute="vae", inner_folds=2)}, folds=2, level=None, resamples=5)
    assert sum("chained regressions fill" in w for w in found.warnings) == 1
    table, schema = table_of(cohort, tmp_path)
    trained = jobs.train(table, schema, tmp_path / "m", kind="early", impute="vae", members=10)
    assert [w for w in trained.result.warnings if "chained regressions fill" in w]


# -- in models --
@pytest.mark.parametrize("kind", ["early", "late", "joint", "graph"])
def test_saved_and_loaded(tmp_path, kind, short, monkeypatch):
    from FusionRiskLib.fusion import joint_net

    monkeypatch.setattr(joint_net, "_PACE", replace(joint_net._PACE, steps=10))
    cohort = binary_cohort(60)
    cohort = replace(cohort, values=hide(cohort.values, 0.2, 1))
    config = ModelConfig(kind, impute="vae", inner_folds=2, draw=None if kind == "joint" else 3)
    model = fit_model(cohort, config)
    save_model(tmp_path / "m", model, cohort)
    loaded, card = load_model(tmp_path / "m")
    np.testing.assert_array_equal(predict(model, cohort).p, predict(loaded, cohort).p)
    assert loaded.config == config
    assert card["config"]["impute"] == "vae"
    fitted = imputation.preprocessors_of(loaded).values()
    assert all(p.imputed_by == "vae" and p.draw == config.draw for p in fitted)


def rewritten(folder, change):
    """The arrays of a model folder changed, and the manifest made right again."""
    from CardioPrecisionLib.record import file_sha256
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / "weights.safetensors")
    save_file(change(arrays), folder / "weights.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["weights.safetensors"] = file_sha256(folder / "weights.safetensors")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_folder_of_before_still_loads(tmp_path):
    cohort = binary_cohort(60)
    cohort = replace(cohort, values=hide(cohort.values, 0.2, 1))
    model = fit_model(cohort, ModelConfig(impute="chained", inner_folds=2))
    folder = save_model(tmp_path / "m", model, cohort)
    rewritten(folder, lambda arrays: {k: a for k, a in arrays.items() if not k.endswith("residual")})
    np.testing.assert_array_equal(predict(load_model(folder)[0], cohort).p, predict(model, cohort).p)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vae.net.decoder.out", lambda a: a[:, :-1]),
        ("vae.net.decoder.out", None),
        ("vae.ends", lambda a: a[:-1]),
        ("vae.choices", lambda a: a + 1),
        ("vae.learned", None),
        ("residual", lambda a: a[:-1]),
        ("coefficients", lambda a: a[:, :-1]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, name, change, short):
    cohort = binary_cohort(60)
    model = fit_model(cohort, ModelConfig(impute="vae", inner_folds=2), setting={"c": 1.0})
    folder = save_model(tmp_path / "m", model, cohort)
    key = f"0.preprocessor.{name}"

    def changed(arrays):
        own = arrays.pop(key)
        return arrays if change is None else {**arrays, key: np.ascontiguousarray(change(own))}

    rewritten(folder, changed)
    with pytest.raises(InputError, match="incomplete or malformed") as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)


def test_fitted_inside_of_the_folds(short):
    """`evaluate` checks the fingerprint of every fitted part; rows that are not trained on change nothing."""
    cohort = binary_cohort(100)
    cohort = replace(cohort, values=hide(cohort.values, 0.1, 1))
    found = evaluate(cohort, {"one": ModelConfig(impute="vae", inner_folds=2)}, folds=2, level=None, resamples=10)
    assert found.models["one"].metrics["auc"].value > 0.6
    rows = np.arange(60)
    garbled = cohort.values.copy()
    garbled[60:] = 1e6
    config = ModelConfig(impute="vae", inner_folds=2)
    a, b = (fit_model(replace(cohort, values=v).take(rows), config) for v in (cohort.values, garbled))
    np.testing.assert_array_equal(a.predict(cohort.values).p, b.predict(cohort.values).p)


@pytest.mark.parametrize("impute", ["chained", "vae"])
def test_members_hold_what_is_not_known_of_a_gap(tmp_path, impute, short):
    """The interval of a patient is wider where a value that counts is missing; with the median it need not be."""
    cohort = binary_cohort(160, clinical=2, imaging=1)
    cohort = replace(cohort, values=hide(cohort.values, 0.1, 1))
    config = ModelConfig("early", impute=impute, inner_folds=2)
    model = fit_model(cohort, config)
    members = bootstrap_members(cohort, config, model.setting, members=12)
    assert len({m.config.draw for m in members}) == 12
    assert model.config.draw is None
    known, gap = np.array([[5.0, 3, 3]]), np.array([[NAN, 3, 3]])
    wide, narrow = (np.ptp([i.low[0, 1], i.high[0, 1]]) for i in (
        model_interval(model, row, members) for row in (gap, known)
    ))  # fmt: skip
    filled = [m.learned.predict(replace(m.preprocessor, draw=None).transform(gap)).p[0, 1] for m in members]
    assert wide > 1.5 * narrow
    assert wide > 1.5 * np.ptp(np.quantile(filled, (0.05, 0.95)))
    together = model_interval(model, np.vstack([gap, known, gap + 1]), members)
    assert together.high[0, 1] == pytest.approx(model_interval(model, gap, members).high[0, 1], abs=1e-9)
    save_model(tmp_path / "m", model, cohort, members=members)
    kept = load_folder(tmp_path / "m")
    np.testing.assert_array_equal(
        model_interval(kept.model, gap, kept.members).low, model_interval(model, gap, members).low
    )


def test_modalities_do_not_draw_alike(short):
    cohort = binary_cohort(120, clinical=2, imaging=2)
    model = fit_model(cohort, ModelConfig("late", impute="chained", inner_folds=2, draw=4))
    a, b = (base.preprocessor.transform(np.full((1, 2), NAN))[0] for base in model.bases.values())
    assert (np.abs(a - b) > 1e-3).all()


# -- comparing --
def curved_cohort(n, seed=1, gaps=0.0):
    outcome = binary_cohort(n).outcome
    return make_cohort(hide(curved(n, seed), gaps, seed), columns(clinical=4, imaging=2), outcome)


def table_of(cohort, folder):
    table, schema = folder / "table.csv", folder / "schema.yaml"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *cohort.names, "ill"])
        for i, row in enumerate(cohort.values):
            writer.writerow([f"SECRET{i}", *("" if np.isnan(v) else f"{v:.4f}" for v in row), cohort.outcome.y[i]])
    groups = "".join(
        f"  {m}: [{', '.join(c.name for c in cohort.columns if c.modality == m)}]\n" for m in cohort.modalities
    )
    schema.write_text(
        "schema: cardioprecision/cohort/1\nid: patient\noutcome: {kind: binary, column: ill, positive: 1}\n"
        f"modalities:\n{groups}",
        encoding="utf-8",
    )
    return table, schema


def test_the_comparison_by_hand():
    """The median's error, computed anew from folds and hidden cells."""
    cohort = curved_cohort(50, gaps=0.1)
    report = compare_imputation(cohort, 0.3, repeats=2, seed=4, folds=3, methods=("chained", "median"), resamples=20)
    squares = np.zeros(cohort.values.shape)
    cells = np.zeros(cohort.values.shape)
    for fold in outer_folds(cohort, 3, 2, 4):
        hidden = hidden_cells(cohort, 0.3, fold.repeat, 4)
        middle = np.nanmedian(np.where(hidden, NAN, cohort.values)[fold.train], axis=0)
        error = np.where(hidden, (cohort.values - middle) / np.nanstd(cohort.values, axis=0), 0)[fold.test]
        squares[fold.test] += error**2
        cells[fold.test] += hidden[fold.test]
    per = squares.sum(axis=0) / cells.sum(axis=0)
    for j, name in enumerate(cohort.names):
        own = report.columns[name]
        assert own.cells == cells[:, j].sum()
        assert own.missing == pytest.approx(np.isnan(cohort.values[:, j]).mean())
        assert own.methods["median"]["rmse"].value == pytest.approx(np.sqrt(per[j]))
        assert "coverage" not in own.methods["median"]
        assert own.methods["chained"]["rmse"].low < own.methods["chained"]["rmse"].value
    assert report.overall["median"]["rmse"].value == pytest.approx(np.sqrt(per.mean()))
    difference = report.overall["median"]["rmse"].value - report.overall["chained"]["rmse"].value
    assert report.differences["median"]["rmse"].value == pytest.approx(difference)
    assert cells.sum() / (2 * np.isfinite(cohort.values).sum()) == pytest.approx(0.3, abs=0.06)
    assert "not random" in report.warnings[-1]


def test_who_knows_everything_makes_no_error(monkeypatch):
    values = mixed(60, 1)
    cohort = make_cohort(hide(values, 0.1, 1), MIXED, binary_cohort(60).outcome)

    def knows(train, test, given, choices, method, seed):
        # the rows are told by their noise, which is not hidden here
        rows = np.searchsorted(order_of, test[:, 3])
        truth = values[np.argsort(values[:, 3])[rows]]
        p = [np.eye(len(c))[np.searchsorted(c, truth[:, j])] + 1e-12 if len(c) else np.zeros((len(test), 0))
             for j, c in enumerate(choices)]  # fmt: skip
        return Filled(truth, p, truth - 1, truth + 1, "vae")

    order_of = np.sort(values[:, 3])
    cohort.values[:, 3] = values[:, 3]
    only = np.broadcast_to(np.arange(4) < 3, values.shape)
    hidden = hidden_cells
    monkeypatch.setattr(imputation, "hidden_cells", lambda *a: hidden(*a) & only)
    monkeypatch.setattr(imputation, "fill_in", knows)
    whole = compare_imputation(cohort, methods=("vae",), resamples=5).overall["vae"]
    assert whole["rmse"].value == 0
    assert whole["coverage"].value == whole["accuracy"].value == 1
    assert whole["log_loss"].value == pytest.approx(0, abs=1e-9)


def test_hidden_values_do_not_leak(monkeypatch, short):
    """With other values in the hidden cells every method fills in the same, and is found wrong."""
    cohort = curved_cohort(60, gaps=0.1)
    said = []

    def listens(*args):
        said.append(fill_in(*args))
        return said[-1]

    monkeypatch.setattr(imputation, "fill_in", listens)
    hidden = hidden_cells(cohort, 0.2, 0, 0)
    other = replace(cohort, values=np.where(hidden, cohort.values * -3 + 1, cohort.values))
    a = compare_imputation(cohort, folds=2, resamples=2)
    once = len(said)
    b = compare_imputation(other, folds=2, resamples=2)
    assert once == 6
    for one, two in zip(said[:once], said[once:], strict=True):
        for name in ("value", "low", "high"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert b.overall["vae"]["coverage"].value < a.overall["vae"]["coverage"].value - 0.3


def test_two_values_and_words_are_judged_by_their_probability():
    values = np.c_[mixed(200, 1)[:, :3], np.random.default_rng(0).choice([3.0, 8.0], 200)]
    cohort = make_cohort(values, MIXED, binary_cohort(200).outcome)
    choices = column_choices(cohort)
    assert [c.tolist() for c in choices] == [[], [0, 1], [0, 1, 2], [3, 8]]
    test = np.full((1, 4), NAN)
    for method in ("median", "chained"):
        found = fill_in(values[:150], test, MIXED, choices, method)
        assert np.isnan(found.value[:, 1:]).all()
        shares = np.bincount(values[:150, 2].astype(int)) / 150
        np.testing.assert_allclose(found.p[2][0], shares, atol=1e-9)
        assert found.p[3][0, 1] == pytest.approx(np.mean(values[:150, 3] == 8), abs=0.05)
    report = compare_imputation(cohort, methods=("median", "chained"), folds=2, resamples=5)
    assert {n: c.kind for n, c in report.columns.items()} == {
        "a": "number", "yes": "two values", "word": "words", "b": "two values",
    }  # fmt: skip
    # ``a`` says a good deal about yes or no, and nothing about ``b``
    assert report.columns["yes"].methods["chained"]["log_loss"].value < 0.95 * np.log(2)
    assert report.columns["b"].methods["median"]["log_loss"].value == pytest.approx(np.log(2), abs=0.05)


def test_what_cannot_be_compared_is_refused():
    cohort = curved_cohort(40)
    for change, words in (
        ({"share": 0.0}, "cannot be hidden"),
        ({"share": 0.95}, "cannot be hidden"),
        ({"share": NAN}, "cannot be hidden"),
        ({"repeats": 0}, "at least 1 repeat"),
        ({"methods": ("mean",)}, "no imputation 'mean'"),
        ({"methods": ()}, "no imputation"),
        ({"folds": 41}, "41 folds of 40 patients"),
    ):
        with pytest.raises(InputError, match=words):
            compare_imputation(cohort, **change)
    with pytest.raises(InputError, match="at least 20"):
        compare_imputation(cohort.take(np.arange(12)))
    with pytest.raises(InputError, match="nothing to fill in"):
        compare_imputation(replace(cohort, values=np.ones((40, 6))))
    flat = cohort.values.copy()
    flat[:, 2] = 5
    flat[:, 3] = NAN
    report = compare_imputation(replace(cohort, values=flat), methods=("chained",), folds=2, resamples=2)
    assert [w for w in report.warnings if "never changes" in w] == [
        "'clinical_2' never changes and was not judged.", "'clinical_3' never changes and was not judged.",
    ]  # fmt: skip
    assert "clinical_2" not in report.columns


def test_the_command(tmp_path, capsys, short):
    table, schema = table_of(curved_cohort(60, gaps=0.05), tmp_path)
    said = ["fusion", "imputation", str(table), "-s", str(schema), "--folds", "2", "-o"]
    assert main([*said, str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("median", "chained", "vae", "rmse", "coverage", "not random"))
    document = json.loads((tmp_path / "out/imputation.json").read_text())
    assert document["schema"] == imputation.SCHEMA
    assert document["share"] == 0.2
    assert len(document["columns"]) == 6
    for name in ("imputation.csv", "imputation.json", "report.html", "run.json"):
        assert "SECRET" not in (tmp_path / "out" / name).read_text()
    assert main([*said, str(tmp_path / "two"), "--json", "--seed", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 3
    for change, words in (
        (["--share", "1.5"], "cannot be hidden"),
        (["-s", str(tmp_path / "no.yaml")], "no such file"),
    ):
        assert main([*said, str(tmp_path / "not"), *change]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert "Traceback" not in err
        assert not (tmp_path / "not").exists()
