"""Recalibration on local patients: known distortions are undone, order stays, honest figures, refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'fusion'")
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts.cli import main
from FusionRiskLib.fusion.answer import KeptModel
from FusionRiskLib.fusion.cohort import Outcome
from FusionRiskLib.fusion.prediction import Prediction
from FusionRiskLib.fusion.recalibration import Recalibration, check_enough, fit, recalibrate
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fusion_command import HEAD, SCHEMA, SURVIVAL, _rows, _write

CLASSES = ("no", "yes")


def expit(z):
    return 1 / (1 + np.exp(-z))


def two(p):
    return Prediction(probabilities=np.column_stack([1 - p, p]))


def binary(n, slope, intercept, seed=0):
    """Outcomes of which the logit is ``slope * predicted + intercept``."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-0.5, 1.3, n)
    y = (rng.random(n) < expit(slope * z + intercept)).astype(int)
    return two(expit(z)), Outcome("binary", CLASSES, labels=y)


def survival(n, slope, intercept, seed=0, horizon=24.0):
    """Exponential times; the true log hazard at the horizon is ``slope * predicted + intercept``."""
    rng = np.random.default_rng(seed)
    lp = rng.normal(-1.2, 0.7, n)
    times = rng.exponential(1, n) / (np.exp(slope * lp + intercept) / horizon)
    censored = rng.uniform(5, 60, n)
    grid = np.linspace(1, 48, 48)
    curves = np.exp(-np.exp(lp)[:, None] * grid / horizon)
    outcome = Outcome(
        "survival", time=np.minimum(times, censored), event=times <= censored, time_unit="months", horizon=horizon
    )
    return Prediction(times=grid, survival=curves), outcome


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, 0.9), (1.7, -0.4)])
def test_a_known_distortion_is_found(slope, intercept):
    found = fit(*binary(40_000, slope, intercept))
    assert found.slope == pytest.approx(slope, abs=0.05)
    assert found.intercept[1] == pytest.approx(intercept, abs=0.06)
    found = fit(*survival(40_000, slope, intercept))
    assert found.slope == pytest.approx(slope, abs=0.09)
    assert found.intercept[0] == pytest.approx(intercept, abs=0.12)


def test_three_classes():
    rng = np.random.default_rng(3)
    z = rng.normal(0, 1.2, (40_000, 3))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    true = np.exp(0.7 * np.log(p) + [0, 0.5, -0.8])
    true /= true.sum(axis=1, keepdims=True)
    y = (rng.random(len(z))[:, None] > true.cumsum(axis=1)).sum(axis=1)
    found = fit(Prediction(probabilities=p), Outcome("multiclass", ("a", "b", "c"), labels=y))
    assert found.slope == pytest.approx(0.7, abs=0.04)
    np.testing.assert_allclose(found.intercept, [0, 0.5, -0.8], atol=0.06)
    np.testing.assert_allclose(found.said(p), true, atol=0.02)


def test_two_classes_are_logistic_recalibration():
    """The same as a logistic regression on the logit, by scikit-learn without a penalty."""
    from sklearn.linear_model import LogisticRegression

    predicted, outcome = binary(900, 0.8, 0.3, seed=4)
    p = predicted.p[:, 1]
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(np.log(p / (1 - p))[:, None], outcome.y)
    found = fit(predicted, outcome)
    assert found.slope == pytest.approx(peer.coef_[0, 0], abs=1e-4)
    assert found.intercept[1] == pytest.approx(peer.intercept_[0], abs=1e-4)


def test_survival_by_the_horizon_agrees_with_what_happened():
    predicted, outcome = survival(6000, 0.8, 0.7, seed=8)
    moved = fit(predicted, outcome).apply(predicted)
    within = outcome.e & (outcome.t <= 24)
    from FusionRiskLib.fusion.metrics.survival import observed_to_expected

    assert observed_to_expected(outcome.t, outcome.e, predicted.risk(24), 24) > 1.5
    assert observed_to_expected(outcome.t, outcome.e, moved.risk(24), 24) == pytest.approx(1, abs=0.03)
    assert within.sum() > 100
    assert (np.diff(moved.survival, axis=1) <= 0).all()


@settings(deadline=None, max_examples=60)
@given(st.floats(0.1, 4), st.floats(-4, 4), st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_order_stays_and_all_is_a_probability(slope, intercept, p):
    p = np.array(p)
    order = np.argsort(p, kind="stable")
    for moved in (
        Recalibration("binary", slope, (0.0, intercept)).said(two(p).p)[:, 1],
        Recalibration("survival", slope, (intercept,), 24.0).said(p),
    ):
        assert ((moved >= 0) & (moved <= 1)).all()
        assert (np.diff(moved[order]) >= -1e-12).all()


def test_curve_and_risk_are_moved_alike():
    predicted, _ = survival(50, 1, 0)
    change = Recalibration("survival", 0.7, (0.5,), 24.0)
    np.testing.assert_allclose(change.apply(predicted).risk(24), change.said(predicted.risk(24)), atol=1e-9)


def test_few_events_leave_the_slope():
    predicted, outcome = binary(70, 0.5, -0.6, seed=2)
    assert 10 <= min(np.bincount(outcome.y)) < 30
    found = fit(predicted, outcome)
    assert found.slope == 1.0
    assert found.apply(predicted).p[:, 1].mean() == pytest.approx(outcome.y.mean(), abs=1e-4)


def test_refusals():
    predicted, outcome = binary(40, 1, 0)
    with pytest.raises(InputError, match="at least 50 patients"):
        fit(predicted, outcome)
    with pytest.raises(InputError, match="10 patients with yes; there are 80 and 0"):
        check_enough(Outcome("binary", CLASSES, labels=np.zeros(80, dtype=int)))
    with pytest.raises(InputError, match="events by 24 months"):
        check_enough(
            Outcome("survival", time=np.full(90, 30.0), event=np.ones(90, bool), time_unit="months", horizon=24.0)
        )
    for made in (binary, survival):
        with pytest.raises(InputError, match="does not order these patients"):
            fit(*made(800, -1.0, 0.0))


def test_figures_and_sets_are_of_patients_that_a_fit_had_not_seen():
    predicted, outcome = binary(1500, 0.5, 1.0, seed=5)
    found, facts = recalibrate(predicted, outcome, 0.9)
    before, after = facts["recalibration"]["before"], facts["recalibration"]["after"]
    assert after["log_loss"] < before["log_loss"] - 0.05
    assert after["auc"] == pytest.approx(before["auc"], abs=0.01)  # order stays, up to what folds differ by
    assert abs(after["mean_predicted"] - after["observed"]) < 0.01 < abs(before["mean_predicted"] - before["observed"])
    from FusionRiskLib.fusion.calibration import sets_of

    fresh, truth = binary(4000, 0.5, 1.0, seed=6)
    sets = sets_of(facts["conformal"], found.apply(fresh))
    assert sets[np.arange(4000), truth.y].mean() == pytest.approx(0.9, abs=0.03)
    predicted, outcome = survival(1500, 0.8, 0.6, seed=7)
    _, facts = recalibrate(predicted, outcome, 0.9)
    assert facts["recalibration"]["after"]["brier"] < facts["recalibration"]["before"]["brier"]
    assert 0 < facts["conformal"]["share"] < 0.5
    json.dumps(facts["conformal"])


# -- the command -------------------------------------------------------------------------------------------------------
def run(*arguments):
    return main(["fusion", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models, and a place where twice as many have the event."""
    made = tmp_path_factory.mktemp("recalibrate")
    rng = np.random.default_rng(12)
    _write(made / "cohort.csv", HEAD, [row[:8] for row in _rows(160)])
    local = [row[:8] for row in _rows(400, seed=9)]
    for row in local:
        if row[7] == "no" and rng.random() < 0.6:
            row[7] = "yes"
    _write(made / "local.csv", HEAD, local)
    _write(made / "few.csv", HEAD, local[:30])
    (made / "schema.yaml").write_text(SCHEMA, encoding="utf-8")
    for kind in ("late", "joint"):
        assert run("train", made / "cohort.csv", "-s", made / "schema.yaml", "-o", made / kind, "--model", kind,
                   "--members", 10) == 0  # fmt: skip
    return made


@pytest.mark.parametrize("kind", ["late", "joint"])
def test_a_model_for_another_place(folder, tmp_path, capsys, kind):
    assert run("recalibrate", folder / kind, folder / "local.csv", "-o", tmp_path / "here") == 0
    said = capsys.readouterr().out
    assert "Mean prediction" in said
    assert "slope" in said
    old, new = KeptModel(folder / kind), KeptModel(tmp_path / "here")
    for name in ("old", "new"):
        assert run("predict", folder / kind if name == "old" else tmp_path / "here", folder / "local.csv",
                   "-o", tmp_path / name) == 0  # fmt: skip
    capsys.readouterr()
    documents = [
        json.loads((tmp_path / name / "predictions.json").read_text(encoding="utf-8")) for name in ("old", "new")
    ]
    assert new.card["recalibration"]["patients"] >= 350
    assert new.card["recalibration"]["after"]["log_loss"] < new.card["recalibration"]["before"]["log_loss"]
    assert old.recalibration is None
    assert documents[0] != documents[1]
    assert "recalibrated on" in (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert new.card["training"] == old.card["training"]


def test_answers_are_moved_as_the_card_says(folder, tmp_path):
    assert run("recalibrate", folder / "late", folder / "local.csv", "-o", tmp_path / "here") == 0
    old, new = KeptModel(folder / "late"), KeptModel(tmp_path / "here")
    rng = np.random.default_rng(0)
    places = {column.name: n for n, column in enumerate(old.model.columns)}
    values = np.full((20, len(places)), np.nan)
    values[:, places["age_years"]] = rng.normal(62, 4, 20)
    for name, n in places.items():
        if name not in ("age_years", "sex"):
            low, high = (old.card["training"]["columns"][name][side] for side in ("low", "high"))
            values[:, n] = rng.uniform(low + 0.3 * (high - low), high - 0.3 * (high - low), 20)
    values[:, places["sex"]] = 0
    before, after = old.answer(values), new.answer(values)
    np.testing.assert_allclose(after.said, new.recalibration.said(before.said), atol=1e-9)
    assert (after.said[:, 1] > before.said[:, 1]).all()
    assert (after.interval.low <= after.said + 1e-12).all()
    assert (after.interval.high >= after.said - 1e-12).all()
    assert after.without.keys() == before.without.keys()


def test_a_survival_model(folder, tmp_path):
    """Patients of whom more die: the risk at the horizon rises, the bound comes earlier."""
    _write(tmp_path / "cohort.csv", [*HEAD, "months", "died"], _rows(160))
    local = _rows(300, seed=4)
    for row in local:
        row[8] = f"{0.5 * float(row[8]) + 0.01:.2f}"
    _write(tmp_path / "local.csv", [*HEAD, "months", "died"], local)
    (tmp_path / "survival.yaml").write_text(SURVIVAL, encoding="utf-8")
    assert run("train", tmp_path / "cohort.csv", "-s", tmp_path / "survival.yaml", "-o", tmp_path / "m",
               "--members", 10) == 0  # fmt: skip
    assert run("recalibrate", tmp_path / "m", tmp_path / "local.csv", "-o", tmp_path / "here") == 0
    new = KeptModel(tmp_path / "here")
    facts = new.card["recalibration"]
    assert facts["after"]["brier"] < facts["before"]["brier"]
    assert facts["after"]["mean_predicted"] > facts["before"]["mean_predicted"]
    values = np.full((1, len(new.model.columns)), np.nan)
    for n, column in enumerate(new.model.columns):
        ends = new.card["training"]["columns"][column.name]
        values[0, n] = 0 if column.kind == "choice" else (ends["low"] + ends["high"]) / 2
    before, after = KeptModel(tmp_path / "m").answer(values), new.answer(values)
    assert after.said[0, 0] > before.said[0, 0]
    assert after.bound[0] <= before.bound[0] + 1e-9


def test_what_cannot_be_recalibrated(folder, tmp_path, capsys):
    def refused(*arguments):
        assert run("recalibrate", *arguments) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return " ".join(said.split())

    assert "at least 50 patients" in refused(folder / "late", folder / "few.csv", "-o", tmp_path / "a")
    assert "no such file" in refused(folder / "late", folder / "gone.csv", "-o", tmp_path / "a")
    assert "no model folder" in refused(folder / "gone", folder / "local.csv", "-o", tmp_path / "a")
    assert "holds something" in refused(folder / "late", folder / "local.csv", "-o", folder)
    assert not (tmp_path / "a").exists()
    assert run("recalibrate", folder / "late", folder / "local.csv", "-o", tmp_path / "here") == 0
    assert "recalibrated already" in refused(tmp_path / "here", folder / "local.csv", "-o", tmp_path / "b")
    rows = _rows(80, seed=3)
    _write(tmp_path / "months.csv", [*HEAD, "months", "died"], rows)
    (tmp_path / "survival.yaml").write_text(SURVIVAL, encoding="utf-8")
    other = refused(folder / "late", tmp_path / "months.csv", "-s", tmp_path / "survival.yaml", "-o", tmp_path / "b")
    assert "not what the model predicts" in other
    card = tmp_path / "here" / "model.json"
    card.write_text(card.read_text(encoding="utf-8").replace('"slope"', '"slope" '), encoding="utf-8")
    assert "changed since" in refused(tmp_path / "here", folder / "local.csv", "-o", tmp_path / "b")


def test_a_malformed_card_is_a_line(folder, tmp_path):
    """A stranger's folder whose hashes fit: still no traceback, and no answer."""
    from FusionRiskLib.fusion.store import save_as

    for n, broken in enumerate(
        ({"kind": "binary"}, {"kind": "binary", "slope": -1, "intercept": [0, 0], "horizon": None})
    ):
        save_as(folder / "late", tmp_path / str(n), {"recalibration": broken})
        with pytest.raises(InputError, match="cannot be read"):
            KeptModel(tmp_path / str(n))
    shutil.rmtree(tmp_path / "0")
