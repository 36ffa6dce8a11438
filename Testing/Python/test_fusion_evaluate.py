"""Nested evaluation: what fusion adds, the same for the same seed, stopped by leaks and by the user."""

import json
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.analysis import silent, stoppable
from CardioPrecisionLib.errors import Cancelled, InputError
from fusion_cases import binary_cohort, columns, survival_cohort
from FusionRiskLib.fusion import evaluate as module
from FusionRiskLib.fusion.cohort import Outcome, make_cohort
from FusionRiskLib.fusion.evaluate import default_models, evaluate
from FusionRiskLib.fusion.leakage import LeakageError
from FusionRiskLib.fusion.models import ModelConfig, fit_model
from FusionRiskLib.fusion.preprocess import Preprocessor

QUICK = ModelConfig(inner_folds=2)


@pytest.fixture(scope="module")
def binary():
    return evaluate(binary_cohort(250, 3), folds=4, resamples=200)


def test_fusion_against_each_modality(binary):
    assert list(binary.models) == ["early fusion", "late fusion", "clinical", "imaging"]
    for name in ("clinical", "imaging"):
        gain = binary.differences[name]["auc"]
        assert gain.low > 0
        early, alone = binary.models["early fusion"].metrics["auc"], binary.models[name].metrics["auc"]
        assert gain.value == pytest.approx(early.value - alone.value)
        assert early.low < early.value < early.high
    assert binary.reclassification["idi"].low > 0
    assert binary.reclassification["nri"].low > 0
    slope = binary.models["early fusion"].metrics["calibration_slope"]
    assert slope.low < 1 < slope.high
    assert len(binary.models["early fusion"].decisions) == 19


def test_coverage_is_as_promised_and_sets_are_small(binary):
    coverage = binary.models["early fusion"].coverage
    assert coverage.covered.low <= 0.9 <= coverage.covered.high
    assert coverage.size < 1.8
    assert binary.models["late fusion"].coverage is None


def test_as_json(binary):
    document = json.loads(json.dumps(binary.to_json(), allow_nan=False))
    assert document["cohort"]["patients"] == 250
    assert document["models"]["early fusion"]["metrics"]["auc"]["low"] > 0.5
    assert document["cohort"]["modalities"]["imaging"] == ["imaging_0", "imaging_1"]


def test_noise_is_called_noise():
    """The outcome has nothing to do with the columns: over several shuffles no model looks better than chance."""
    cohort = binary_cohort(200, 5)
    found = []
    for seed in range(10):
        shuffled = np.random.default_rng(seed).permutation(cohort.outcome.y)
        noise = replace(cohort, outcome=replace(cohort.outcome, labels=shuffled))
        found.append(evaluate(noise, {"early": QUICK}, folds=4, level=None, resamples=0, seed=seed).models["early"])
    areas = [report.metrics["auc"].value for report in found]
    assert 0.45 < np.mean(areas) < 0.55  # a single one has a standard error of 0.04
    assert found[0].metrics["auc"].low is None  # no resample, no interval


def test_repeats_have_a_spread():
    report = evaluate(binary_cohort(80), {"a": QUICK}, folds=2, repeats=3, level=None, resamples=0).models["a"]
    assert set(report.spread) == set(report.metrics)
    assert 0 < report.spread["auc"] < 0.1
    assert len(report.settings) == 6


def test_same_seed_same_numbers():
    cohort = binary_cohort(80, 6)
    one, two, other = (
        evaluate(cohort, {"a": QUICK}, folds=2, level=0.8, resamples=20, seed=seed).to_json() for seed in (1, 1, 2)
    )
    assert one == two
    assert one["models"] != other["models"]


def test_survival():
    cohort = survival_cohort(160, 7, beta=1.0)
    models = {
        "fusion": ModelConfig(learner="cox", inner_folds=2),
        "clinical": ModelConfig("early", "cox", modalities=("clinical",), inner_folds=2),
    }
    found = evaluate(cohort, models, folds=2, resamples=200)
    assert found.differences["clinical"]["concordance_ipcw"].low > 0
    assert 0.6 < found.models["fusion"].metrics["observed_to_expected"].value < 1.5
    coverage = found.models["fusion"].coverage  # on half of the rows it errs on the safe side
    assert 0.87 <= coverage.covered.value <= 0.98
    assert coverage.size > 0.05
    assert found.reclassification == {}


def test_multiclass_by_site():
    rng = np.random.default_rng(8)
    y = rng.integers(0, 3, 150)
    x = rng.normal(0, 1, (150, 3)) + 1.5 * np.eye(3)[y]
    cohort = make_cohort(
        x,
        columns(a=2, b=1),
        Outcome("multiclass", ("x", "y", "z"), y, names=("kind",)),
        site=np.arange(150) % 3,
        sites=tuple("pqr"),
    )
    found = evaluate(cohort, {"early": QUICK}, folds=3, by="site", resamples=50)
    assert found.models["early"].metrics["auc_macro"].value > 0.75
    assert found.models["early"].metrics["accuracy"].value > 0.5
    assert found.models["early"].decisions == []
    assert found.by == "site"


def test_default_models():
    assert list(default_models(binary_cohort(40).of("imaging"))) == ["imaging"]
    assert default_models(survival_cohort(40))["early fusion"].learner == "cox"


def test_leaks_stop_the_run(monkeypatch):
    cohort = binary_cohort(80)
    leaky = replace(cohort, values=np.column_stack([cohort.values[:, :-1], cohort.outcome.y]))
    with pytest.raises(LeakageError, match="'imaging_1' alone tells 'yes'"):
        evaluate(leaky, {"a": QUICK})

    def fitted_on_everybody(part, config, *rest):
        model = fit_model(part, config, *rest)
        return replace(model, preprocessor=Preprocessor.fit(cohort.values, cohort.columns))

    monkeypatch.setattr(module, "fit_model", fitted_on_everybody)
    with pytest.raises(LeakageError, match="imputation and scaling was not fitted on the 40 training rows"):
        evaluate(cohort, {"a": QUICK}, folds=2)


def test_what_cannot_be_judged():
    cohort = binary_cohort(80)
    with pytest.raises(InputError, match="3 patients"):
        evaluate(cohort.take(np.arange(3)))
    with pytest.raises(InputError, match="repeated visits"):
        evaluate(replace(cohort, visit=np.zeros(80)))
    with pytest.raises(InputError, match="no outcome"):
        evaluate(replace(cohort, outcome=None))
    with pytest.raises(InputError, match="no modality 'echo'"):
        evaluate(cohort, {"a": ModelConfig(modalities=("echo",))})
    with pytest.raises(InputError, match="choose logistic"):
        evaluate(cohort, {"a": ModelConfig(learner="cox")})


def test_progress_and_cancel():
    cohort, told = binary_cohort(80), []
    evaluate(cohort, {"a": QUICK, "b": QUICK}, folds=2, resamples=60, progress=lambda f, s: told.append(f))
    assert told == sorted(told)
    assert told[-1] == 1
    calls = iter([False] * 5 + [True] * 100)
    with pytest.raises(Cancelled):
        evaluate(cohort, {"a": QUICK}, folds=2, progress=stoppable(silent, lambda: next(calls)))
