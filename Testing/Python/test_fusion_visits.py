"""Repeated visits in one row, and models that read them in their order."""

from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts.cli import main
from FusionRiskLib.fusion.answer import KeptModel
from FusionRiskLib.fusion.cohort import Column, Outcome, make_cohort
from FusionRiskLib.fusion.metrics.classes import auc
from FusionRiskLib.fusion.metrics.survival import auc_at
from FusionRiskLib.fusion.models import ModelConfig, fit_model, predict
from FusionRiskLib.fusion.preprocess import Preprocessor
from FusionRiskLib.fusion.sequence_net import Width, read_visits, shapes
from FusionRiskLib.fusion.store import load_model, save_model
from FusionRiskLib.fusion.visits import how_joined, one_row_each, visit_features

AGE, EF, MASS = Column("age_years", "clinical"), Column("lv_ef", "cine_cmr"), Column("lv_mass", "cine_cmr")


def by_hand(patients=10):
    """The same three visits for everybody, the cine absent in the second; the mass measured once."""
    rows, patient, visit = [], [], []
    for p in range(patients):
        rows += [[50 + p, 60, np.nan], [50 + p, np.nan, np.nan], [50 + p, 40 + p, 90], [50 + p, 30 + p, np.nan]]
        patient += [p] * 4
        visit += [0, 100, 250, 300]
    y = np.repeat(np.arange(patients) % 2, 4)
    return make_cohort(np.array(rows), [AGE, EF, MASS], Outcome("binary", ("no", "yes"), y), np.array(patient),
                       visit=np.array(visit, float))  # fmt: skip


def jumps(n, seed, survival=False):
    """Patients of two to five visits, whose outcome hangs on the largest step between neighbouring visits."""
    rng = np.random.default_rng(seed)
    rows, patient, visit, jump = [], [], [], []
    for p in range(n):
        k = rng.integers(2, 6)
        x = rng.normal(0, 1, k)
        rows += [[rng.normal(60, 8), value] for value in x]
        rows[-k:] = [[rows[-1][0], row[1]] for row in rows[-k:]]
        patient += [p] * k
        visit += np.sort(rng.uniform(0, 1000, k)).tolist()
        jump += [np.abs(np.diff(x)).max() - 1.6] * k
    patient, jump = np.array(patient), np.array(jump)
    first = np.unique(patient, return_index=True)[1]
    if survival:
        time = rng.exponential(np.exp(-2 * jump[first]))[patient]
        end = rng.uniform(0.5, 4, n)[patient]
        known = np.minimum(time, end)
        outcome = Outcome("survival", time=known, event=time <= end, time_unit="years", horizon=1.0)
    else:
        y = (rng.random(n) < 1 / (1 + np.exp(-4 * jump[first])))[patient]
        outcome = Outcome("binary", ("no", "yes"), y.astype(np.int64))
    return make_cohort(np.array(rows), [AGE, EF], outcome, patient, visit=np.array(visit))


# -- one row ---------------------------------------------------------------------------------------------------------
def test_the_last_visits_of_every_modality():
    joined = one_row_each(by_hand(), "sequence")
    assert joined.names == (
        "age_years", "lv_ef", "lv_mass", "cine_cmr_time_before1", "lv_ef_before1", "cine_cmr_time_before2",
        "lv_ef_before2",
    )  # fmt: skip
    assert [column.before for column in joined.columns] == [0, 0, 0, 1, 1, 2, 2]
    # the second visit had no cine; the mass is the last that is known
    np.testing.assert_array_equal(joined.values[3], [53, 33, 90, 50, 43, 300, 60])
    assert joined.visit is None
    assert joined.outcome.y.tolist() == [0, 1] * 5
    assert how_joined(joined.columns) == "sequence"


def test_the_order_of_the_rows_does_not_matter():
    cohort = by_hand()
    rows = np.random.default_rng(0).permutation(len(cohort))
    shuffled = cohort.take(rows)
    joined, other = one_row_each(cohort, "sequence"), one_row_each(shuffled, "sequence")
    order = shuffled.values[np.unique(shuffled.patient, return_index=True)[1], 0] - 50
    np.testing.assert_array_equal(other.values, joined.values[order.astype(int)])


def test_few_patients_make_no_visit():
    cohort = by_hand()
    single = cohort.take(np.flatnonzero((cohort.patient != 0) | (cohort.visit == 300)))
    joined = one_row_each(single, "sequence")
    assert joined.names == ("age_years", "lv_ef", "lv_mass")  # nine patients with an earlier cine are too few


@pytest.mark.parametrize("how", ["change", "sequence"])
def test_a_table_to_predict_on_gets_the_columns_of_the_model(how):
    joined = one_row_each(by_hand(), how)
    assert how_joined(joined.columns) == how
    alone = by_hand().take(np.array([3]))  # one visit, in which nothing changes
    found = one_row_each(alone, how, joined.names)
    assert set(joined.names) <= set(found.names)
    earlier = [i for i, name in enumerate(found.names) if "_before" in name or "_change" in name]
    assert np.isnan(found.values[0, earlier]).all()


# -- the net ---------------------------------------------------------------------------------------------------------
def test_the_unit_is_that_of_torch_and_skips_what_was_no_visit():
    import torch

    torch.manual_seed(0)
    w = {name: torch.randn(3, *shape) for name, shape in shapes("e", 4, 2).items()}
    visits = torch.randn(5, 6, 4)
    visits[:, :, -1] = 1
    found = read_visits(w, "e", visits.reshape(5, -1))
    for m in range(3):
        gru = torch.nn.GRU(4, 6, batch_first=True)
        swap = torch.cat([torch.arange(6, 12), torch.arange(6), torch.arange(12, 18)])  # torch: reset, update, new
        with torch.no_grad():
            gru.weight_ih_l0.copy_(w["e.visits.in"][m].T[swap])
            gru.weight_hh_l0.copy_(w["e.visits.memory"][m].T[swap])
            gru.bias_ih_l0.copy_(w["e.visits.bias"][m, 0][swap])
            gru.bias_hh_l0.zero_()
            expected = gru(visits)[0][:, -1] @ w["e.visits.out"][m]
        torch.testing.assert_close(found[m], expected, rtol=1e-5, atol=1e-5)
    before = torch.randn(5, 2, 4)
    before[:, :, -1] = 0
    longer = torch.cat([before[:, :1], visits[:, :3], before[:, 1:], visits[:, 3:]], dim=1)
    torch.testing.assert_close(read_visits(w, "e", longer.reshape(5, -1)), found)


def test_features_run_from_the_earliest_to_the_last():
    joined = one_row_each(by_hand(), "sequence")
    fitted = Preprocessor.fit(joined.values, joined.columns)
    values = joined.values.copy()
    values[0, 5:] = np.nan  # the first patient has one earlier visit only
    x, width = visit_features(fitted, values)
    assert width == Width(3, 3)  # age, ejection fraction, mass; time, ejection fraction, and whether there was a visit
    steps = x[:, 3:].reshape(10, 3, 3)
    assert steps[:, :, 2].tolist() == [[0, 1, 1]] + [[1, 1, 1]] * 9
    known = fitted.transform(values)
    ef = {name: known[:, i] for i, name in enumerate(fitted.features)}
    np.testing.assert_array_equal(steps[:, 2, 1], ef["lv_ef"])
    np.testing.assert_array_equal(steps[:, 1, 1], ef["lv_ef_before1"])
    np.testing.assert_array_equal(steps[:, 0, 1], ef["lv_ef_before2"])
    np.testing.assert_array_equal(steps[:, 2, 0], 0)


# -- models ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_what_only_the_order_of_the_visits_tells_is_found(tmp_path):
    cohort, fresh = jumps(400, 0), jumps(1500, 1)

    def judged(visits, config, setting):
        joined = one_row_each(cohort, visits)
        model = fit_model(joined, config, setting=setting)
        test = one_row_each(fresh, visits, [column.name for column in model.columns])
        return model, joined, test, auc(test.target.y, predict(model, test).p[:, 1])

    *_, change = judged("change", ModelConfig("early", "boosting"), {"trees": 100})
    *_, joint = judged("sequence", ModelConfig("joint"), {"decay": 0.3})
    model, joined, test, early = judged("sequence", ModelConfig("early", "recurrent"), {"decay": 0.3})
    print(f"AUC: change {change:.3f}, joint {joint:.3f}, recurrent {early:.3f}")
    assert joint > change + 0.1
    assert early > change + 0.1
    save_model(tmp_path / "model", model, joined)
    kept, _ = load_model(tmp_path / "model")
    np.testing.assert_allclose(predict(kept, test).p, predict(model, test).p, atol=1e-12)
    other = replace(kept.learned.net, weights={**kept.learned.net.weights, "encoder0.visits.in": np.zeros((16, 5, 18))})
    with pytest.raises(ValueError, match="do not fit"):
        other.check([Width(3, 3)], 2)


@pytest.mark.slow
def test_survival_from_visits():
    cohort, fresh = jumps(400, 2, survival=True), jumps(1000, 3, survival=True)
    model = fit_model(one_row_each(cohort, "sequence"), ModelConfig("early", "recurrent"), setting={"decay": 0.3})
    test = one_row_each(fresh, "sequence", [column.name for column in model.columns])
    said = predict(model, test)
    assert (np.diff(said.curves[1], axis=1) <= 0).all()
    assert auc_at(test.target.t, test.target.e, said.risk(1.0), 1.0) > 0.75


def test_it_needs_visits_in_their_order():
    for cohort in (one_row_each(by_hand(), "change"), one_row_each(by_hand(), "baseline")):
        with pytest.raises(InputError, match="needs --visits sequence"):
            fit_model(cohort, ModelConfig("early", "recurrent"))


@pytest.mark.slow
def test_the_whole_way(tmp_path, capsys):
    cohort = jumps(150, 4)
    lines = ["patient,day,age_years,lv_ef,event"]
    lines += [
        f"p{p},{v:.1f},{a:.1f},{50 + 10 * x:.2f},{'yes' if y else 'no'}"
        for p, v, (a, x), y in zip(cohort.patient, cohort.visit, cohort.values, cohort.outcome.y, strict=True)
    ]
    table, schema = tmp_path / "t.csv", tmp_path / "s.yaml"
    table.write_text("\n".join(lines), encoding="utf-8")
    schema.write_text(
        "schema: cardioprecision/cohort/1\nid: patient\nvisit: day\n"
        "outcome: {kind: binary, column: event, positive: yes}\n",
        encoding="utf-8",
    )
    made = ["fusion", "train", str(table), "-s", str(schema), "-o", str(tmp_path / "m"), "--model", "joint"]
    assert main(made) == 2
    assert "sequence (the last few in their order)" in capsys.readouterr().err
    assert main([*made, "--visits", "sequence"]) == 0
    one = tmp_path / "one.csv"
    one.write_text("patient,day,age_years,lv_ef\nx,0,60,80\nx,200,60,20\nx,300,60,70\ny,10,60,55\ny,99,60,56\n")
    assert main(["fusion", "predict", str(tmp_path / "m"), str(one), "-o", str(tmp_path / "out")]) == 0
    kept = KeptModel(tmp_path / "m")
    assert how_joined(kept.model.columns) == "sequence"
    said = (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(said) == 3
