"""Joint fusion finds what no modality shows alone, answers without one, and says how unsure it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256
from fusion_cases import binary_cohort, survival_cohort
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.folds import outer_folds
from FusionRiskLib.fusion.leakage import LeakageError, check_fitted
from FusionRiskLib.fusion.metrics.classes import auc, log_loss
from FusionRiskLib.fusion.metrics.survival import concordance_ipcw
from FusionRiskLib.fusion.models import ModelConfig, fit_model, predict
from FusionRiskLib.fusion.store import load_model, save_model
from FusionRiskLib.fusion.synthetic import interaction_cohort, write_interaction_table

JOINT = ModelConfig("joint")
SETTING = {"decay": 3.0}


@pytest.fixture(scope="module")
def trained():
    """Cohort, model and new patients; a fifth of the training patients have no image."""
    cohort = interaction_cohort(500, seed=1, missing=0.2)
    return cohort, fit_model(cohort, JOINT, setting=SETTING), interaction_cohort(2000, seed=2)


def test_joint_beats_the_best_modality_in_cross_validation():
    cohort = interaction_cohort(400, seed=3)
    y, said = cohort.outcome.y, {}
    configs = {"joint": JOINT} | {
        f"{m} {learner}": ModelConfig(learner=learner, modalities=(m,))
        for m in cohort.modalities for learner in ("logistic", "boosting")
    }  # fmt: skip
    for name, config in configs.items():
        said[name] = np.full(len(y), np.nan)
        setting = SETTING | {"trees": 50, "c": 1.0}
        for fold in outer_folds(cohort, 3):
            model = fit_model(cohort.take(fold.train), config, setting=setting)
            check_fitted(model.parts, cohort, fold.train)
            said[name][fold.test] = predict(model, cohort.take(fold.test)).p[:, 1]
    found = {name: auc(y, p) for name, p in said.items()}
    best = max(v for name, v in found.items() if name != "joint")
    assert best < 0.63  # no modality shows it alone
    assert found["joint"] > best + 0.10
    assert found["joint"] > 0.75  # the truth has 0.84


def test_joint_is_no_worse_where_there_is_no_interaction():
    train, test = binary_cohort(300, 1), binary_cohort(2000, 2)
    joint, early = (predict(fit_model(train, ModelConfig(kind)), test).p for kind in ("joint", "early"))
    assert log_loss(test.outcome.y, joint) < log_loss(test.outcome.y, early) + 0.03


@pytest.mark.parametrize("absent", ["laboratory", "image"])
def test_any_modality_may_be_absent_and_the_answer_is_less_sure(trained, absent):
    _, model, test = trained
    without = test.of(*(m for m in test.modalities if m != absent))
    p = predict(model, without).p
    np.testing.assert_allclose(p.sum(axis=1), 1)
    blank = test.values.copy()
    blank[:, [c.modality == absent for c in test.columns]] = np.nan
    np.testing.assert_array_equal(p, model.predict(blank).p)
    full, less = model.interval(test.values[:300]), model.interval(blank[:300])
    assert less.width[:, 1].mean() > 1.5 * full.width[:, 1].mean()
    for values, found in ((test.values, full), (blank, less)):
        said = model.predict(values[:300]).p
        assert (found.low <= said).all()
        assert (said <= found.high).all()
    # it says no more than can be known: about half of these patients have the event, whatever the other modality is
    assert log_loss(test.outcome.y, p) < 0.72
    assert log_loss(test.outcome.y, model.predict(test.values).p) < 0.58


def test_a_useless_modality_hardly_widens():
    cohort = binary_cohort(400, 1)
    values = cohort.values.copy()
    values[:, 3:] = np.random.default_rng(0).normal(3, 2, (400, 2))
    cohort = replace(cohort, values=values)
    model = fit_model(cohort, JOINT, setting=SETTING)
    width = {}
    for name, columns in (("all", []), ("clinical", [0, 1, 2]), ("imaging", [3, 4])):
        blank = values.copy()
        blank[:, columns] = np.nan
        width[name] = model.interval(blank).width[:, 1].mean()
    assert width["all"] < width["imaging"] < 0.6 * width["clinical"]


def test_a_partly_missing_modality_and_nothing_at_all(trained):
    cohort, model, test = trained
    some = test.values[:200].copy()
    some[:, 1] = np.nan
    p = model.predict(some).p
    assert auc(test.outcome.y[:200], p[:, 1]) > 0.7  # the column carries no meaning
    nothing = model.predict(np.full((1, 8), np.nan)).p[0, 1]
    assert nothing == pytest.approx(cohort.outcome.y.mean(), abs=0.1)
    assert model.interval(np.full((1, 8), np.nan)).width[0, 1] > 0.5
    with pytest.raises(InputError, match=r"'image_3' .* is missing"):
        predict(model, replace(test, columns=test.columns[:-1], values=test.values[:, :-1]))


def test_the_same_for_the_same_seed_and_for_each_row_alone(trained):
    _, model, test = trained
    again = fit_model(trained[0], JOINT, setting=SETTING)
    np.testing.assert_array_equal(model.predict(test.values).p, again.predict(test.values).p)
    other = fit_model(trained[0], JOINT, seed=1, setting=SETTING)
    assert not np.array_equal(model.predict(test.values).p, other.predict(test.values).p)
    gaps = test.values[:40].copy()
    gaps[::2, 4:] = np.nan
    together, alone = model.interval(gaps), [model.interval(gaps[[i]]) for i in range(40)]
    np.testing.assert_allclose(together.high, np.vstack([a.high for a in alone]), atol=1e-5)


def test_survival_and_three_classes():
    train, test = survival_cohort(250, 1), survival_cohort(1000, 2)
    o = test.outcome
    found = {}
    for config in (JOINT, ModelConfig(learner="cox")):
        predicted = predict(fit_model(train, config, setting=SETTING | {"penalty": 0.1}), test)
        found[config.kind] = concordance_ipcw(o.t, o.e, predicted.risk(1.0), 1.0)
    assert (np.diff(predicted.survival, axis=1) <= 0).all()
    assert found["joint"] > found["early"] - 0.02
    train, test = interaction_cohort(500, 1, "multiclass"), interaction_cohort(1000, 2, "multiclass")
    p = predict(fit_model(train, JOINT, setting=SETTING), test).p
    assert log_loss(test.outcome.y, p) < np.log(3) - 0.15


def test_saved_loaded_and_refused(tmp_path, trained):
    cohort, model, test = trained
    folder = save_model(tmp_path / "m", model, cohort)
    loaded, card = load_model(folder)
    np.testing.assert_array_equal(predict(loaded, test).p, predict(model, test).p)
    blank = test.values[:50].copy()
    blank[:, 4:] = np.nan
    np.testing.assert_array_equal(loaded.interval(blank).low, model.interval(blank).low)
    assert (card["kind"], loaded.config, loaded.columns) == ("joint", JOINT, model.columns)
    text = (folder / "model.json").read_text()
    assert not any(f"{v:.3f}" in text for v in cohort.values[:50, 0])  # no row in the card
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-9] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="was changed"):
        load_model(folder)
    # and with its hash put right, for columns that the net was not made for
    folder = save_model(tmp_path / "other", model, cohort)
    card = json.loads((folder / "model.json").read_text())
    card["target"]["classes"].append("perhaps")
    (folder / "model.json").write_text(json.dumps(card))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["model.json"] = file_sha256(folder / "model.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="incomplete or malformed"):
        load_model(folder)


def test_refusals(trained):
    cohort, model, _ = trained
    with pytest.raises(InputError, match="at least two modalities"):
        fit_model(cohort.of("image"), JOINT)
    with pytest.raises(LeakageError, match="was not fitted on the 499 training rows"):
        check_fitted(model.parts, cohort, np.arange(499))
    blank = cohort.values.copy()
    blank[:, 4:] = np.nan
    with pytest.raises(InputError, match="Too few training patients have image"):
        fit_model(replace(cohort, values=blank), JOINT)


def test_the_cohort_is_what_it_says(tmp_path):
    cohort = interaction_cohort(20_000, seed=0)
    x, y = cohort.values, cohort.outcome.y
    a, b = (x[:, 0] - 100) / 12, (x[:, 4] - 5) / 0.8
    assert 0.51 < auc(y, a) < 0.55
    assert 0.51 < auc(y, b) < 0.55
    assert auc(y, x[:, 1]) == pytest.approx(0.5, abs=0.02)
    assert auc(y, a * b) > 0.8
    table, schema = write_interaction_table(tmp_path, 60, seed=5)
    back = read_cohort(table, schema)
    np.testing.assert_allclose(back.values, interaction_cohort(60, seed=5).values)
    assert back.modalities == ("laboratory", "image")
    np.testing.assert_array_equal(back.outcome.y, interaction_cohort(60, seed=5).outcome.y)
