"""Preparation, learners, early and late fusion, and the model folder."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256
from fusion_cases import binary_cohort, columns, survival_cohort
from FusionRiskLib.fusion.cohort import Column, Outcome, make_cohort
from FusionRiskLib.fusion.learners import Cox, fit_learner
from FusionRiskLib.fusion.metrics.classes import auc
from FusionRiskLib.fusion.models import ModelConfig, fit_model, predict
from FusionRiskLib.fusion.prediction import Prediction
from FusionRiskLib.fusion.preprocess import Preprocessor
from FusionRiskLib.fusion.store import load_model, save_model

NAN = np.nan


# -- preparation --
def test_preparation_by_hand():
    given = [Column("a", "m"), Column("w", "m", "choice", ("x", "y")), Column("b", "n"), Column("c", "n")]
    values = np.array([[1, 0, 5, 7], [3, 1, NAN, NAN], [5, NAN, 5, 9.0]])
    fitted = Preprocessor.fit(values, given)
    assert fitted.features == ("a", "w=x", "w=y", "b", "c", "w is missing", "b is missing")
    s = np.sqrt(8 / 3)
    expected = [[-2 / s, 1, 0, 0, -1, 0, 0], [0, 0, 1, 0, 0, 0, 1], [2 / s, 0, 0, 0, 1, 1, 0]]
    np.testing.assert_allclose(fitted.transform(values), expected)
    # new rows change nothing of what was fitted, and a gap that training did not have is counted
    new = np.array([[NAN, 1, 5, 7.0]])
    np.testing.assert_allclose(fitted.transform(new), [[0, 0, 1, 0, -1, 0, 0]])
    assert fitted.unforeseen(new).tolist() == [1]


def test_chained_imputation_beats_the_median():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1, (300, 1))
    full = z + rng.normal(0, 0.3, (300, 4))
    values = np.where(rng.random(full.shape) < 0.2, NAN, full)
    values[0] = NAN
    gaps = np.isnan(values)
    error = {}
    for how in ("median", "chained"):
        fitted = Preprocessor.fit(values[:200], columns(a=4), how)
        back = fitted.transform(values[200:])[:, :4] * fitted.scale + fitted.center
        error[how] = np.sqrt(np.mean((back - full[200:])[gaps[200:]] ** 2))
    assert error["chained"] < 0.5 * error["median"]
    assert np.isfinite(fitted.transform(np.full((1, 4), NAN))).all()


# -- learners --
def test_cox_predicts_as_lifelines():
    import pandas
    from lifelines import CoxPHFitter

    cohort = survival_cohort(80)
    mine = fit_learner("cox", cohort.values, cohort.outcome, {"penalty": 0.1}, 0)
    table = pandas.DataFrame(cohort.values, columns=list("abcd")).assign(t=cohort.outcome.t, e=cohort.outcome.e)
    theirs = CoxPHFitter(penalizer=0.1).fit(table, "t", "e")
    assert isinstance(mine, Cox)
    np.testing.assert_allclose(mine.coef, theirs.params_, atol=1e-9)
    expected = theirs.predict_survival_function(table.iloc[:5], mine.times).to_numpy().T
    np.testing.assert_allclose(mine.predict(cohort.values[:5]).survival, expected, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_predicts_as_scikit_learn(classes):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3))
    y = np.arange(90) % classes
    mine = fit_learner("logistic", x, Outcome("multiclass", tuple("abc"[:classes]), y), {"c": 0.5}, 0).predict(x).p
    theirs = LogisticRegression(C=0.5, tol=1e-6, max_iter=5000).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(mine, theirs, atol=1e-10)


def test_boosted_survival_knows_the_hazard():
    cohort = survival_cohort(600, beta=1.2)
    fitted = fit_learner("boosting", cohort.values, cohort.outcome, {"trees": 60}, 0)
    x = np.array([[3.5, 5, 3.5, 5], [5, 5, 5, 5], [6.5, 5, 6.5, 5]])  # log hazards -3.6, 0, 3.6
    risk = fitted.predict(x).risk(0.5)
    assert risk[0] < 0.15 < 0.25 < risk[1] < 0.6 < 0.85 < risk[2]  # truth 0.01, 0.39, 1.00


def test_learners_that_do_not_fit():
    with pytest.raises(InputError, match="choose cox or boosting"):
        fit_learner("logistic", np.zeros((5, 1)), survival_cohort(5).outcome, {"c": 1}, 0)
    with pytest.raises(InputError, match="choose logistic or boosting"):
        fit_learner("cox", np.zeros((5, 1)), binary_cohort(5).outcome, {"penalty": 1}, 0)
    with pytest.raises(InputError, match="no model"):
        ModelConfig("middle")


def test_survival_between_grid_points():
    p = Prediction(times=np.array([1.0, 3]), survival=np.array([[0.8, 0.4]]))
    np.testing.assert_allclose(p.survival_at([0, 0.5, 1, 2, 3, 9])[0], [1, 0.9, 0.8, 0.6, 0.4, 0.4])


# -- fusion --
def test_fusion_finds_what_one_modality_cannot():
    """On new patients, early and late fusion beat each modality, and reach the truth within 0.03."""
    train, test = binary_cohort(300, 1), binary_cohort(2000, 2)
    y = test.outcome.y
    best = auc(y, test.values[:, 0] + test.values[:, 3])
    found = {}
    for name, config in {
        "early": ModelConfig("early"),
        "late": ModelConfig("late"),
        "clinical": ModelConfig(modalities=("clinical",)),
        "imaging": ModelConfig(modalities=("imaging",)),
    }.items():
        found[name] = auc(y, predict(fit_model(train, config), test).p[:, 1])
    assert min(found["early"], found["late"]) > best - 0.03
    assert min(found["early"], found["late"]) > max(found["clinical"], found["imaging"]) + 0.05


def test_late_fusion_answers_without_a_modality():
    train, test = binary_cohort(300, 1), binary_cohort(500, 2)
    late, early = fit_model(train, ModelConfig("late")), fit_model(train, ModelConfig("early"))
    without = test.of("clinical")
    p = predict(late, without).p
    assert np.isfinite(p).all()
    expected = auc(test.outcome.y, predict(fit_model(train, ModelConfig(modalities=("clinical",))), test).p[:, 1])
    assert auc(test.outcome.y, p[:, 1]) == pytest.approx(expected, abs=0.01)
    with pytest.raises(InputError, match=r"'imaging_0' .* is missing"):
        predict(early, without)
    partly = replace(without, columns=without.columns[:-1], values=without.values[:, :-1])
    with pytest.raises(InputError, match=r"'clinical_2' .* is missing"):
        predict(late, partly)
    gappy = train.values.copy()
    gappy[:295, 3:] = NAN
    with pytest.raises(InputError, match="Too few training patients have imaging"):
        fit_model(replace(train, values=gappy), ModelConfig("late"))


def test_fitting_sees_only_what_it_is_given():
    cohort = binary_cohort(120)
    rows = np.arange(80)
    garbled = cohort.values.copy()
    garbled[80:] = 1e6
    for kind in ("early", "late"):
        config = ModelConfig(kind)
        a = fit_model(cohort.take(rows), config)
        b = fit_model(replace(cohort, values=garbled).take(rows), config)
        np.testing.assert_array_equal(a.predict(cohort.values).p, b.predict(cohort.values).p)


# -- the folder --
def changed(folder, name, data):
    """Replace a file and put its right hash into the manifest, as a careful attacker would."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = file_sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("cohort", "config"),
    [
        (binary_cohort(60), ModelConfig("early")),
        (binary_cohort(60), ModelConfig("late")),
        (survival_cohort(60), ModelConfig("early", "cox", "chained", inner_folds=2)),
    ],
)
def test_saved_and_loaded(tmp_path, cohort, config):
    gappy = np.where(np.random.default_rng(0).random(cohort.values.shape) < 0.1, NAN, cohort.values)
    cohort = replace(cohort, values=gappy)
    model = fit_model(cohort, config)
    save_model(tmp_path / "m", model, cohort)
    loaded, card = load_model(tmp_path / "m")
    a, b = predict(model, cohort), predict(loaded, cohort)
    for name in ("probabilities", "times", "survival"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert loaded.columns == model.columns
    assert loaded.config == config
    assert card["training"]["patients"] == 60
    with pytest.raises(InputError, match="this one holds something"):
        save_model(tmp_path / "m", model, cohort)


def test_trees_saved_and_loaded(tmp_path):
    import skops.io
    from sklearn.linear_model import LogisticRegression

    cohort = binary_cohort(60)
    model = fit_model(cohort, ModelConfig(learner="boosting"), setting={"trees": 5})
    folder = save_model(tmp_path / "m", model, cohort)
    np.testing.assert_array_equal(predict(load_model(folder)[0], cohort).p, predict(model, cohort).p)
    changed(folder, "trees-0.skops", skops.io.dumps(LogisticRegression().fit([[0], [1]], [0, 1])))
    with pytest.raises(InputError, match="holds a LogisticRegression, not trees"):
        load_model(folder)
    changed(folder, "trees-0.skops", skops.io.dumps(TemporaryThing()))
    with pytest.raises(InputError, match="which is not trusted"):
        load_model(folder)
    changed(folder, "trees-0.skops", pickle.dumps(model.setting))
    with pytest.raises(InputError, match="does not hold trees"):
        load_model(folder)


class TemporaryThing:
    """A type that nobody trusts."""


class Bomb:
    """A pickle that would write a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_tampered_folders_are_refused(tmp_path):
    cohort = binary_cohort(60)
    model = fit_model(cohort, ModelConfig(inner_folds=2))

    def fresh(name):
        return save_model(tmp_path / name, model, cohort)

    def refused(folder, message):
        with pytest.raises(InputError, match=message) as raised:
            load_model(folder)
        assert "\n" not in str(raised.value)

    for name in ("weights.safetensors", "model.json"):
        folder = fresh(f"bit-{name}")
        data = bytearray((folder / name).read_bytes())
        data[-20] ^= 1
        (folder / name).write_bytes(data)
        refused(folder, f"{name} is missing or was changed")
        (folder / name).unlink()
        refused(folder, f"{name} is missing or was changed")
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    folder = fresh("added")
    (folder / "extra.pkl").write_bytes(bomb)
    refused(folder, "extra.pkl is not in the model's manifest")
    changed(folder, "extra.pkl", bomb)
    refused(folder, "extra.pkl is no file that a model has")
    folder = fresh("pickled")
    changed(folder, "weights.safetensors", bomb)
    refused(folder, "weights.safetensors does not hold plain arrays")
    folder = fresh("card")
    card = json.loads((folder / "model.json").read_text())
    card["parts"][0]["columns"].pop()
    changed(folder, "model.json", json.dumps(card).encode())
    refused(folder, "incomplete or malformed")
    (folder / "manifest.json").unlink()
    refused(folder, "this is no fusion model")
    assert not (tmp_path / "boom").exists()


def test_model_card_holds_no_row(tmp_path):
    values = np.random.default_rng(0).normal(0, 1, (60, 1)) + 1234.56789
    cohort = make_cohort(values, columns(a=1), binary_cohort(60).outcome)
    folder = save_model(tmp_path / "m", fit_model(cohort, ModelConfig(inner_folds=2)), cohort)
    text = (folder / "model.json").read_text()
    assert not any(repr(float(v)) in text for v in values[:, 0])
