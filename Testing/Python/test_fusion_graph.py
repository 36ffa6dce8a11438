"""The patient graph: built from training patients only, deaf to other new patients, useful where regions matter."""

from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from fusion_cases import columns, survival_cohort
from FusionRiskLib.fusion.cohort import Outcome, make_cohort
from FusionRiskLib.fusion.folds import outer_folds
from FusionRiskLib.fusion.graph import Graph, GraphModel
from FusionRiskLib.fusion.leakage import LeakageError, check_fitted
from FusionRiskLib.fusion.metrics.classes import auc
from FusionRiskLib.fusion.metrics.survival import concordance_ipcw
from FusionRiskLib.fusion.models import ModelConfig, fit_model, predict
from FusionRiskLib.fusion.store import load_model, save_model

GRAPH = ModelConfig("graph", inner_folds=2)


def islands(n=300, seed=0):
    """Four groups of patients at the corners of a square; who has events lies across: no line tells them apart."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 2, (n, 2))
    x = np.column_stack([corner * 4 + rng.normal(0, 0.7, (n, 2)), rng.normal(0, 1, n)])
    event = (rng.random(n) < np.where(corner[:, 0] == corner[:, 1], 0.85, 0.15)).astype(np.int64)
    return make_cohort(x, columns(clinical=2, imaging=1), Outcome("binary", ("no", "yes"), event, names=("outcome",)))


def test_messages_by_hand():
    nodes = np.array([[0.0], [1], [3], [100]])
    graph = Graph(nodes, np.array([[1.0], [0], [1], [0]]), np.ones(1), 2)
    weight = np.exp(-(np.array([0.25, 1.0]) ** np.array([1, 1])))  # distances 1 and 2 of the node at 1, over the second
    weight /= weight.sum()
    own = graph.messages(nodes, own=True)
    np.testing.assert_allclose(own[1], [weight @ [0, 3], weight @ [1, 1]])
    new = graph.messages(np.array([[1.0]]))  # a new patient may meet its twin
    w = np.exp(-np.array([0.0, 1.0]))
    np.testing.assert_allclose(new[0], [(w @ [1, 0]) / w.sum(), (w @ [0, 1]) / w.sum()])


def test_no_patient_hears_of_its_own_fate():
    """Twins of the same place are no excuse: fates that are pure chance tell nothing."""
    rng = np.random.default_rng(0)
    nodes = np.repeat(rng.normal(0, 1, (60, 2)), 5, axis=0)
    fate = rng.integers(0, 2, 300).astype(float)
    heard = Graph(nodes, fate[:, None], np.ones(2), 3).messages(nodes, own=True)[:, 2]
    flipped = fate.copy()
    flipped[7] = 1 - fate[7]
    again = Graph(nodes, flipped[:, None], np.ones(2), 3).messages(nodes, own=True)[:, 2]
    assert heard[7] == again[7]
    everybody = Graph(nodes, 1 - fate[:, None], np.ones(2), 3).messages(nodes, own=True)[:, 2]
    np.testing.assert_allclose(everybody, 1 - heard)


def test_graph_finds_regions_that_a_line_cannot():
    train, test = islands(300, 1), islands(1000, 2)
    graph, early = (fit_model(train, config) for config in (GRAPH, ModelConfig(inner_folds=2)))
    assert isinstance(graph, GraphModel)
    y = test.outcome.y
    assert auc(y, predict(early, test).p[:, 1]) < 0.6
    assert auc(y, predict(graph, test).p[:, 1]) > 0.8  # the truth has 0.85


def test_a_new_patient_hears_of_training_patients_only():
    cohort = islands(200)
    fold = outer_folds(cohort)[0]
    garbled = cohort.values.copy()
    garbled[fold.test] = 1e6
    setting = {"neighbours": 10, "c": 0.3}
    a = fit_model(cohort.take(fold.train), GRAPH, setting=setting)
    b = fit_model(replace(cohort, values=garbled).take(fold.train), GRAPH, setting=setting)
    check_fitted(a.parts, cohort, fold.train)
    with pytest.raises(LeakageError, match="patient graph"):
        check_fitted(fit_model(cohort, GRAPH, setting=setting).parts, cohort, fold.train)
    test = cohort.values[fold.test]
    together = a.predict(test).p
    np.testing.assert_array_equal(together, b.predict(test).p)
    alone = np.vstack([a.predict(test[[i]]).p for i in range(len(test))])
    np.testing.assert_allclose(together, alone, atol=1e-12)
    assert len(a.graph.nodes) == len(fold.train)


def test_graph_of_survival_saved_and_loaded(tmp_path):
    train, test = survival_cohort(200, 1), survival_cohort(600, 2)
    model = fit_model(train, GRAPH, setting={"neighbours": 10, "penalty": 0.1})
    o = test.outcome
    assert concordance_ipcw(o.t, o.e, predict(model, test).risk(1.0), 1.0) > 0.68  # Cox has 0.71
    loaded, card = load_model(save_model(tmp_path / "m", model, train))
    np.testing.assert_array_equal(predict(loaded, test).survival, predict(model, test).survival)
    assert "keep it as patient data" in card["use"]
    with pytest.raises(InputError, match="is missing"):
        predict(model, test.of("clinical"))
