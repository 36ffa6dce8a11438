"""Parquet: the same cohort as from a CSV; large tables trained on and scored in passes, as ordinary ones would be."""

from __future__ import annotations

import csv
import datetime
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.fronts.cli import main
from fusion_cases import binary_cohort
from FusionRiskLib.fusion import big, jobs
from FusionRiskLib.fusion.answer import KeptModel
from FusionRiskLib.fusion.big.asked import Asked, deal, draw, pairs, singles
from FusionRiskLib.fusion.big.cox import fit_cox
from FusionRiskLib.fusion.big.features import Held, Streamed, finished
from FusionRiskLib.fusion.big.lines import Together
from FusionRiskLib.fusion.big.look import look
from FusionRiskLib.fusion.big.newton import fit_logistic
from FusionRiskLib.fusion.big.rows import open_rows
from FusionRiskLib.fusion.big.synthetic import write_large_table
from FusionRiskLib.fusion.cohort import Outcome
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.leakage import LeakageError
from FusionRiskLib.fusion.learners import fit_learner
from FusionRiskLib.fusion.models import fit_model
from FusionRiskLib.fusion.out_of_distribution import OutOfDistribution
from FusionRiskLib.fusion.preprocess import Preprocessor
from FusionRiskLib.fusion.schema import parse_schema, read_schema
from hypothesis import given, settings
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SCHEMA = {
    "schema": "cardioprecision/cohort/1",
    "id": "pid",
    "consent": "ok",
    "site": "hospital",
    "outcome": {"kind": "binary", "column": "died", "positive": "yes"},
    "columns": {"Chol": {"field": "total_chol_mg_dl", "unit": "mmol/L"}},
    "modalities": {"administration": ["ward", "nights", "single"]},
    "times": {"baseline": "day0", "outcome": "day1"},
}
DAY = datetime.date(2024, 5, 1)
MIXED = {
    "pid": ["S1", "S2", "S3", "S4", "S5"],
    "age": pa.array([61, 47, 70, None, 58], pa.int32()),
    "sex": pa.array(["m", "f", "female", "male", "f"]).dictionary_encode(),
    "Chol": [5.0, None, 6.2, 4.25, 5.5],
    "lv_ef": pa.array([55.5, float("nan"), 30.25, 61.0, 40.0], pa.float32()),
    "diabetes": [True, False, None, True, False],
    "ward": ["a", "b", "a", "unknown", "c"],
    "nights": pa.array(["1", "2.5", "", "4", "10"], pa.large_string()),
    "single": [True, None, False, False, True],
    "day0": pa.array([DAY] * 5, pa.date32()),
    "day1": pa.array([datetime.datetime(2025, 1, d) for d in range(1, 6)], pa.timestamp("us")),
    "comment": [[1], [2], [], None, [3]],
    "hospital": ["X", "Y", "X", "X", "Y"],
    "ok": [True, True, False, True, True],
    "died": pa.array([1.0, 0.0, 0.0, None, 1.0], pa.float64()),
}


def as_csv(table, path):
    """The table as a CSV would hold it, written by the standard library alone."""
    names = [name for name in table.column_names if name != "comment"]
    columns = [table.column(name).to_pylist() for name in names]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in zip(*columns):
            writer.writerow([_plain(value) for value in row])
    return path


def _plain(value):
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    return "" if value is None else value


def parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def same(a, b):
    assert a.columns == b.columns
    np.testing.assert_array_equal(a.values, b.values)
    for name in ("patient", "site"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.sites, a.times_in_days, a.outcome.classes) == (b.sites, b.times_in_days, b.outcome.classes)
    np.testing.assert_array_equal(a.outcome.y, b.outcome.y)
    assert a.times.keys() == b.times.keys()
    for name in a.times:
        np.testing.assert_array_equal(a.times[name], b.times[name])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """3000 patients, 24 columns, with gaps, words and absent modalities."""
    folder = tmp_path_factory.mktemp("large")
    write_large_table(folder, 3000, 24, piece=700)
    return folder


@pytest.fixture
def streamed(monkeypatch):
    """Any table is large, and batches are small."""
    monkeypatch.setattr(big, "STREAM_CELLS", 0)
    monkeypatch.setattr(big, "BATCH_ROWS", 333)


# -- reading ----------------------------------------------------------------------------------------------------------
def test_same_cohort_as_from_csv(tmp_path):
    table = pa.table(MIXED)
    schema = parse_schema(SCHEMA)
    a = read_cohort(as_csv(table, tmp_path / "t.csv"), schema)
    b = read_cohort(parquet(tmp_path / "t.parquet", MIXED), schema)
    same(a, b)
    assert len(b) == 3
    assert a.warnings == b.warnings


def test_same_rows_streamed(tmp_path):
    schema = parse_schema(SCHEMA)
    path = parquet(tmp_path / "t.parquet", MIXED)
    cohort, rows = read_cohort(path, schema), open_rows(path, schema)
    assert rows.columns == cohort.columns
    for size in (1, 2, 100):
        values = np.concatenate([batch for _, batch in rows.batches(size=size)])
        np.testing.assert_array_equal(values, cohort.values)
        assert next(start for start, _ in rows.batches(size=size)) == 0
    same(replace(rows.cohort(values, np.arange(3)), site=cohort.site), cohort)
    assert [w for w in rows.warnings if "'comment'" in w] == [
        "The column 'comment' holds no single values and was not used."
    ]


def test_folder_of_parts(tmp_path, made):
    whole = read_cohort(made / "large.parquet", made / "binary.yaml")
    table = pq.read_table(made / "large.parquet")
    (tmp_path / "parts").mkdir()
    for i, start in enumerate(range(0, 3000, 1100)):
        pq.write_table(table.slice(start, 1100), tmp_path / "parts" / f"part-{i}.parquet")
    parts = read_cohort(tmp_path / "parts", made / "binary.yaml")
    np.testing.assert_array_equal(parts.values, whole.values)
    rows = open_rows(tmp_path / "parts", read_schema(made / "binary.yaml"))
    np.testing.assert_array_equal(np.concatenate([b for _, b in rows.batches(size=500)]), whole.values)
    pq.write_table(table.drop_columns(["mace"]), tmp_path / "parts" / "part-9.parquet")
    with pytest.raises(InputError, match="do not hold the same columns"):
        read_cohort(tmp_path / "parts", made / "binary.yaml")


@given(
    st.lists(
        st.one_of(st.none(), st.floats(allow_infinity=False), st.integers(-(10**6), 10**6)), min_size=3, max_size=30
    )
)
@settings(max_examples=40, deadline=None)
def test_any_numbers_are_read_alike(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("numbers")
    values = [None if v is None else float(v) for v in numbers]
    columns = {"pid": list(range(len(values))), "x": pa.array(values, pa.float64()), "y": ["a"] * len(values)}
    schema = parse_schema({"schema": SCHEMA["schema"], "id": "pid", "modalities": {"m": ["x", "y"]}})
    path = parquet(folder / "t.parquet", columns)
    cohort, rows = read_cohort(path, schema, outcome=False), open_rows(path, schema, outcome=False)
    np.testing.assert_array_equal(cohort.values, np.concatenate([b for _, b in rows.batches(size=4)]))
    known = np.array([np.nan if v is None else v for v in values])
    np.testing.assert_array_equal(cohort.values[:, 0], known)


BAD = {
    "words among numbers": ({"nights": ["1", "two", "3", "4", "5"]}, "row 2: nights is 'two' among numbers"),
    "a patient twice": ({"pid": ["S1", "S2", "S3", "S4", "S1"]}, "row 5: the patient of row 1 is there again"),
    "no identifier": ({"pid": ["S1", None, "S3", "S4", "S5"]}, "row 2: pid is empty"),
    "one class": ({"died": [1, 1, 1, 1, 1]}, "one class only"),
    "four classes": ({"died": ["a", "b", "a", "c", "yes"]}, "4 classes; a binary outcome has two"),
    "infinite": ({"nights": [1.0, float("inf"), 2.0, 3.0, 4.0]}, "row 2: nights is not a finite number"),
    "a formula": ({"ward": ["a", "=1+1", "a", "b", "b"]}, "row 2: ward holds a formula"),
    "beyond the field": ({"age": [61, 470, 70, 60, 50]}, "row 2: age_years is 470"),
    "no such column": ({"Chol": None}, "the column 'Chol', named in the schema, is not in the table"),
    "consent": ({"ok": ["yes", "perhaps", "no", "yes", "yes"]}, "row 2: ok must be yes or no"),
    "lists": ({"ward": [[1], [2], [3], [4], [5]]}, "the column 'ward', named in the schema, is not in the table"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_alike(tmp_path, case):
    change, message = BAD[case]
    columns = {name: values for name, values in {**MIXED, **change}.items() if values is not None}
    path = parquet(tmp_path / "t.parquet", columns)
    schema = parse_schema(SCHEMA)
    for read in (lambda: read_cohort(path, schema), lambda: list(open_rows(path, schema).batches())):
        with pytest.raises(InputError) as error:
            read()
        assert message in str(error.value)
        assert "S1" not in str(error.value)
        assert "\n" not in str(error.value)


def test_damaged_files(tmp_path):
    schema = parse_schema(SCHEMA)
    whole = parquet(tmp_path / "whole.parquet", MIXED).read_bytes()
    cases = {
        "text.parquet": b"pid,age\n1,2\n", "short.parquet": whole[:-20], "nothing.parquet": b"",
        "hole.parquet": whole[:40] + bytes(200) + whole[240:],
    }  # fmt: skip
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        for read in (read_cohort, lambda p, s: list(open_rows(p, s).batches())):
            with pytest.raises(InputError, match="no Parquet table, or it is damaged"):
                read(tmp_path / name, schema)
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(tmp_path / "absent.parquet", schema)
    empty = {name: pa.array([], pa.string()) for name in MIXED if name != "comment"}
    with pytest.raises(InputError, match="is empty"):
        read_cohort(parquet(tmp_path / "empty.parquet", empty), schema)


# -- a look at the columns --------------------------------------------------------------------------------------------
def test_preparation_is_that_of_the_whole(made, streamed):
    rows = open_rows(made / "large.parquet", read_schema(made / "binary.yaml"))
    cohort = read_cohort(made / "large.parquet", made / "binary.yaml")
    looked = look(rows)
    np.testing.assert_array_equal(looked.sample.values, cohort.values)
    for name in rows.modalities:
        columns = tuple(rows.of(name))
        present = looked.present[name]
        own = cohort.values[:, columns][present]
        made_of = Preprocessor.fit(own, rows.columns[columns[0] : columns[-1] + 1])
        features = finished(
            Streamed(rows, columns, looked.preprocessor(columns, int(present.sum()), "median"), present)
        )
        assert features.preprocessor.fitted_on == made_of.fitted_on
        assert features.preprocessor.features == made_of.features
        for key, value in made_of.state().items():
            np.testing.assert_allclose(features.preprocessor.state()[key], value, atol=1e-9, err_msg=key)
    assert not looked.present["image"].all()


def _with(made, folder, **more):
    table = pq.read_table(made / "large.parquet")
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    text = (made / "binary.yaml").read_text(encoding="utf-8").replace("signal: [", f"signal: [{', '.join(more)}, ")
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    pq.write_table(table, folder / "t.parquet")
    return folder / "t.parquet", folder / "s.yaml"


def test_leaks_stop_the_run(made, tmp_path, streamed, monkeypatch):
    monkeypatch.setattr(big, "SAMPLE_ROWS", 600)
    y = np.array(pq.read_table(made / "large.parquet")["mace"].to_pylist()) == "yes"
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1, 3000)
    filled = np.round(rng.normal(50, 9, 3000), 1)
    gone = rng.random(3000) < 0.2
    filled[gone] = filled[~gone].mean()
    cases = {
        "alone tells": y + rng.normal(0, 0.1, 3000),
        "was standardised": (z - z.mean()) / z.std(),
        "was imputed": filled,
        "has one value only": np.full(3000, 3.5),
        "holds no value": [None] * 2999 + [float("nan")],
    }
    for message, values in cases.items():
        table, schema = _with(made, tmp_path, extra=values)
        with pytest.raises(InputError, match=message) as error:
            jobs.train(table, schema, tmp_path / "model")
        assert isinstance(error.value, LeakageError) == message.startswith(("alone", "was"))
    assert not (tmp_path / "model").exists()


# -- learners ---------------------------------------------------------------------------------------------------------
def _features(n, seed, p=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, p))
    x[:, 3] = x[:, 3] > 1
    return x, rng


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_logistic_is_that_of_scikit_learn(classes, c):
    from sklearn.linear_model import LogisticRegression

    x, rng = _features(3000, classes)
    eta = x @ rng.normal(0, 0.6, (classes, 8)).T
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    y = (rng.random((3000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    outcome = Outcome("binary" if classes == 2 else "multiclass", tuple("abc"[:classes]), y)
    asked = Asked(deal(outcome, 0), draw(3000, 3, 0), [*singles(), *pairs()])
    found = fit_logistic(Held(x), outcome, c, None, asked)
    exact = LogisticRegression(C=c, tol=1e-10, max_iter=10_000, solver="newton-cholesky" if classes == 2 else "lbfgs")
    np.testing.assert_allclose(found.learned.predict(x).p, exact.fit(x, y).predict_proba(x), atol=2e-6)
    for folds in ((1,), (0, 3)):
        rest = np.flatnonzero(~np.isin(asked.fold, folds))
        _near(found.without[folds], found.learned, fit_learner("logistic", x[rest], outcome.take(rest), {"c": c}, 0), x)
    rows = np.repeat(np.arange(3000), asked.weights[:, 1])
    _near(found.members[1], found.learned, fit_learner("logistic", x[rows], outcome.take(rows), {"c": c}, 0), x)


def _near(one, full, refitted, x):
    """One step gets most of the way from the fit of all rows to the refitted one."""

    def said(m):
        predicted = m.predict(x)
        return predicted.p if predicted.times is None else predicted.risk(12.0)

    assert np.abs(said(one) - said(refitted)).max() < 0.3 * np.abs(said(full) - said(refitted)).max()


@pytest.mark.parametrize("digits", [3, 0])
def test_cox_is_that_of_lifelines(digits):
    x, rng = _features(2500, 5)
    eta = x @ rng.normal(0, 0.4, 8)
    died, left = rng.exponential(np.exp(-eta)) * 20 + 0.01, rng.uniform(1, 30, 2500)
    time = np.round(np.minimum(died, left) + 0.5, digits)  # rounded to months: a hundred deaths at a time
    outcome = Outcome("survival", time=time, event=died < left, time_unit="months", horizon=12.0)
    asked = Asked(deal(outcome, 0), draw(2500, 3, 0), [*singles(), *pairs()])
    found = fit_cox(Held(x), outcome, 0.03, None, asked)
    exact = fit_learner("cox", x, outcome, {"penalty": 0.03}, 0)
    np.testing.assert_allclose(found.learned.coef, exact.coef, atol=1e-6)
    np.testing.assert_allclose(found.learned.predict(x).risk(12.0), exact.predict(x).risk(12.0), atol=1e-6)
    np.testing.assert_allclose(found.learned.predict(x).risk(7.3), exact.predict(x).risk(7.3), atol=2e-3)
    rest = np.flatnonzero(asked.fold != 2)
    _near(found.without[(2,)], found.learned, fit_learner("cox", x[rest], outcome.take(rest), {"penalty": 0.03}, 0), x)
    rows = np.repeat(np.arange(2500), asked.weights[:, 0])
    _near(found.members[0], found.learned, fit_learner("cox", x[rows], outcome.take(rows), {"penalty": 0.03}, 0), x)


def test_distance_is_that_of_the_known_part():
    cohort = binary_cohort(300, clinical=5, imaging=4)
    rng = np.random.default_rng(0)
    values = cohort.values.copy()
    values[rng.random(values.shape) < 0.3] = np.nan
    values[5:60, 2:6] = np.nan
    values[7] = np.nan
    guard = OutOfDistribution.fit(cohort.values, cohort.columns)
    found = guard.distance(values)
    for row, score in zip(values, found):
        known = np.isfinite(row)
        k = known.sum()
        if not k:
            assert np.isnan(score)
            continue
        z = ((row - guard.center) / guard.scale)[known]
        squared = z @ np.linalg.inv(guard.covariance[np.ix_(known, known)]) @ z
        expected = (np.cbrt(squared / k) - (1 - 2 / (9 * k))) / np.sqrt(2 / (9 * k))
        assert score == pytest.approx(expected, abs=1e-8)


# -- training ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def models(made, tmp_path_factory):
    """Kind and outcome -> folder of a model that was trained in passes."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(big, "STREAM_CELLS", 0)
        patch.setattr(big, "BATCH_ROWS", 500)
        for kind in ("early", "late"):
            for outcome in ("binary", "survival"):
                path = folder / f"{kind}-{outcome}"
                done = jobs.train(made / "large.parquet", made / f"{outcome}.yaml", path, kind=kind, members=12)
                judged = dict(done.details).pop("judged")
                assert judged["rows"] == 3000
                assert 0.65 < judged["auc"] < 0.85
                wanted = {"patients": 3000, "columns": 24, "members": 12, "kind": kind, "judged": judged}
                assert done.details == wanted
    return folder


@pytest.mark.parametrize("outcome", ["binary", "survival"])
@pytest.mark.parametrize("kind", ["early", "late"])
def test_models_are_those_of_the_whole(made, models, kind, outcome):
    kept = KeptModel(models / f"{kind}-{outcome}")
    cohort = read_cohort(made / "large.parquet", made / f"{outcome}.yaml")
    ordinary = fit_model(cohort, kept.model.config, 0, setting=kept.model.setting)
    ours = kept.model.bases if kind == "late" else {"": kept.model}
    theirs = ordinary.bases if kind == "late" else {"": ordinary}
    for name in theirs:
        a, b = ours[name], theirs[name]
        assert a.preprocessor.fitted_on == b.preprocessor.fitted_on
        assert a.columns == b.columns
        # ordinary logistic regression stops a little before its solution; the learners' own tests are stricter
        np.testing.assert_allclose(a.learned.coef, b.learned.coef, atol=2e-4)
    predicted, wanted = kept.model.predict(cohort.values), ordinary.predict(cohort.values)
    horizon = kept.model.target.horizon
    a, b = (p.p[:, 1] if horizon is None else p.risk(horizon) for p in (predicted, wanted))
    # the stacker of late fusion hears models of other folds
    np.testing.assert_allclose(a, b, atol=5e-5 if kind == "early" else 0.04)
    assert np.corrcoef(a, b)[0, 1] > 0.999
    guard = OutOfDistribution.fit(cohort.values, cohort.columns)
    for key, value in guard.state().items():
        np.testing.assert_allclose(kept.guard.state()[key], value, rtol=1e-9, err_msg=key)
    card = kept.card["training"]
    assert card["patients"] == 3000
    assert card["columns"]["laboratory_3"]["known"] == int(
        np.isfinite(cohort.values[:, cohort.names.index("laboratory_3")]).sum()
    )


def test_members_spread_as_refitted_ones_do(made, models):
    from FusionRiskLib.fusion.uncertainty import bootstrap_members, model_interval

    kept = KeptModel(models / "late-binary")
    cohort = read_cohort(made / "large.parquet", made / "binary.yaml")
    refitted = bootstrap_members(cohort, kept.model.config, kept.model.setting, 12)
    rows = cohort.values[:500]
    ours = model_interval(kept.model, rows, kept.members).width[:, 1]
    theirs = model_interval(kept.model, rows, refitted).width[:, 1]
    assert 0.8 < ours.mean() / theirs.mean() < 1.4
    assert np.corrcoef(ours, theirs)[0, 1] > 0.6


def test_judged_by_folds_as_evaluate_judges(made, models):
    kept = KeptModel(models / "early-binary")
    judged = kept.card["training"]["streamed"]["by_models_of_folds"]
    cohort = read_cohort(made / "large.parquet", made / "binary.yaml")
    wanted = evaluate(cohort, {"early": kept.model.config}, folds=3, level=None).models["early"].metrics
    assert judged["auc"] == pytest.approx(wanted["auc"].value, abs=0.01)
    assert judged["log_loss"] == pytest.approx(wanted["log_loss"].value, abs=0.01)


def test_conformal_sets_cover_new_patients(models, tmp_path):
    new = tmp_path / "new"
    write_large_table(new, 3000, 24, seed=5)
    cohort = read_cohort(new / "large.parquet", new / "binary.yaml")
    for kind in ("early", "late"):
        said = KeptModel(models / f"{kind}-binary").say(cohort.values)
        held = said.sets[np.arange(3000), cohort.target.y].mean()
        assert 0.88 < held < 0.93


def test_batches_and_order_of_files_do_not_matter(made, tmp_path, monkeypatch):
    monkeypatch.setattr(big, "STREAM_CELLS", 0)
    coefficients = []
    for size in (97, 3000):
        monkeypatch.setattr(big, "BATCH_ROWS", size)
        path = tmp_path / f"m{size}"
        jobs.train(made / "large.parquet", made / "binary.yaml", path, members=10)
        kept = KeptModel(path)
        coefficients.append([kept.members[3].bases["image"].learned.coef, kept.model.stacker.learned.coef])
    for a, b in zip(*coefficients):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_chained_imputation_and_chosen_modalities(made, tmp_path, streamed):
    done = jobs.train(
        made / "large.parquet", made / "binary.yaml", tmp_path / "m", kind="early", impute="chained", members=10,
        modalities=("laboratory", "signal"),
    )  # fmt: skip
    kept = KeptModel(tmp_path / "m")
    assert done.details["columns"] == len(kept.model.columns) == 12
    cohort = read_cohort(made / "large.parquet", made / "binary.yaml").of("laboratory", "signal")
    ordinary = fit_model(cohort, kept.model.config, 0, setting=kept.model.setting)
    np.testing.assert_allclose(kept.model.predict(cohort.values).p, ordinary.predict(cohort.values).p, atol=1e-4)
    assert Together.of(kept.model, kept.members) is None
    with pytest.raises(InputError, match="no modality 'heart'"):
        jobs.train(made / "large.parquet", made / "binary.yaml", tmp_path / "n", modalities=("heart",))


def test_three_classes(made, tmp_path, streamed):
    whole = pq.read_table(made / "large.parquet")
    months = whole["months"].to_numpy()
    third = np.array(["short", "middle", "long"])[np.searchsorted(np.quantile(months, (1 / 3, 2 / 3)), months)]
    table, schema = tmp_path / "t.parquet", tmp_path / "s.yaml"
    pq.write_table(whole.append_column("span", pa.array(third)), table)
    text = (made / "binary.yaml").read_text(encoding="utf-8").replace("months, ", "mace, months, ")
    outcome = "{kind: multiclass, column: span, classes: [short, middle, long]}"
    schema.write_text(text.replace("{kind: binary, column: mace, positive: yes}", outcome), encoding="utf-8")
    cohort = read_cohort(table, schema)
    for kind in ("early", "late"):
        jobs.train(table, schema, tmp_path / kind, kind=kind, members=10)
        kept = KeptModel(tmp_path / kind)
        assert kept.model.target.classes == ("short", "middle", "long")
        ordinary = fit_model(cohort, kept.model.config, 0, setting=kept.model.setting)
        a, b = kept.model.predict(cohort.values).p, ordinary.predict(cohort.values).p
        limit = 2e-4
        if kind == "late":  # the stacker hears models of other folds: no further away than another draw of folds
            limit = (
                1.5
                * np.abs(
                    fit_model(cohort, kept.model.config, 1, setting=kept.model.setting).predict(cohort.values).p - b
                ).max()
            )
        assert np.abs(a - b).max() < limit
        rows = cohort.values[:40]
        fast, plain = kept.say(rows, Together.of(kept.model, kept.members)), kept.say(rows)
        np.testing.assert_allclose(fast.interval.high, plain.interval.high, atol=1e-10)
        np.testing.assert_array_equal(fast.sets, plain.sets)


def test_what_is_not_streamed_is_refused(made, tmp_path, streamed, monkeypatch):
    monkeypatch.setattr(big, "WHOLE_CELLS", 1000)
    table, schema = made / "large.parquet", made / "binary.yaml"
    for kind, learner in (("joint", None), ("graph", None), ("late", "boosting")):
        with pytest.raises(InputError, match=r"streamed, which .* cannot; choose early or late .* --sample"):
            jobs.train(table, schema, tmp_path / "m", kind=kind, learner=learner)
    with pytest.raises(InputError, match="does not fit a binary outcome; choose logistic"):
        jobs.train(table, schema, tmp_path / "m", learner="cox")
    with pytest.raises(InputError, match="needs at least two modalities"):
        jobs.train(table, schema, tmp_path / "m", modalities=("image",))
    with pytest.raises(InputError, match="draw patients with --sample, or"):
        jobs.judge(table, schema, tmp_path / "j")
    text = schema.read_text(encoding="utf-8") + "visit: months\n"
    (tmp_path / "visits.yaml").write_text(text.replace("months, ", ""), encoding="utf-8")
    with pytest.raises(InputError, match="one row per patient; keep one row of each"):
        jobs.train(table, tmp_path / "visits.yaml", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_sample_is_judged_and_trained_on(made, tmp_path, streamed):
    table, schema = made / "large.parquet", made / "binary.yaml"
    done = jobs.judge(table, schema, tmp_path / "j", kinds=("early",), folds=2, level=None, sample=300, seed=3)
    assert done.details["patients"] == 300
    cohort = jobs.read_table(table, schema, None, 300, 3)
    whole = read_cohort(table, schema)
    places = {row.tobytes(): i for i, row in enumerate(whole.values)}
    rows = [places[row.tobytes()] for row in cohort.values]
    assert rows == sorted(set(rows))
    np.testing.assert_array_equal(cohort.target.y, whole.target.y[rows])
    done = jobs.train(table, schema, tmp_path / "m", kind="early", sample=300, members=10)
    assert done.details["patients"] == 300


def test_cancelled_training_leaves_nothing(made, tmp_path, streamed):
    for at in ("Reading", "Columns", "settings", "fitting", "evidence", "conformal sets"):

        def progress(_, stage, at=at):
            if stage == at:
                raise Cancelled

        with pytest.raises(Cancelled):
            jobs.train(made / "large.parquet", made / "binary.yaml", tmp_path / "m", progress=progress, members=10)
        assert not list(tmp_path.iterdir())


# -- scoring ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["early-binary", "late-binary", "early-survival", "late-survival"])
def test_answers_are_the_ordinary_ones(made, models, tmp_path, name, monkeypatch):
    table = pq.read_table(made / "large.parquet").slice(0, 150)
    values = table["signal_2"].to_pylist()
    values[4] = 9e5  # far outside: refused
    place = table.column_names.index("signal_2")
    pq.write_table(table.set_column(place, "signal_2", pa.array(values)), tmp_path / "new.parquet")
    ordinary = KeptModel(models / name).say(
        read_cohort(tmp_path / "new.parquet", made / "binary.yaml", outcome=False).values
    )
    monkeypatch.setattr(big, "STREAM_CELLS", 0)
    monkeypatch.setattr(big, "BATCH_ROWS", 40)
    done = jobs.predict(models / name, [tmp_path / "new.parquet"], tmp_path / "answers")
    found = pq.read_table(tmp_path / "answers" / "answers.parquet").to_pydict()
    assert found["row"] == list(range(1, 151))
    refused = ordinary.refused
    assert refused[4]
    assert done.details["refused"] == refused.sum()
    for k, what in enumerate(ordinary.names):
        for column, wanted in (
            (f"p {what}", ordinary.said[:, k]),
            (f"p {what} low", ordinary.interval.low.reshape(150, -1)[:, k]),
            (f"p {what} high", ordinary.interval.high.reshape(150, -1)[:, k]),
            *((f"p {what} without {m}", t[:, k]) for m, t in ordinary.without.items()),
        ):
            assert [v is None for v in found[column]] == refused.tolist()
            got = np.array([np.nan if v is None else v for v in found[column]])
            np.testing.assert_allclose(got[~refused], wanted[~refused], atol=1e-10)
    assert found["likeness"] == [str(one.likeness) for one in ordinary.likeness]
    assert found["reason"] == ["; ".join(one.reasons) for one in ordinary.likeness]
    assert (found["state"][4], found["state"][0]) == ("not_assessable", "predicted")
    if ordinary.sets is not None:
        for i, inside in enumerate(ordinary.sets):
            wanted = "; ".join(n for n, one in zip(ordinary.names, inside) if one)
            assert found["set"][i] == (None if refused[i] else wanted)
    else:
        got = np.array([np.nan if v is None else v for v in found["lower bound (months)"]])
        np.testing.assert_allclose(got[~refused], ordinary.bound[~refused], rtol=1e-9)
    page = (tmp_path / "answers" / "report.html").read_text(encoding="utf-8")
    assert "signal_2 lies far outside" in page
    assert not list(tmp_path.glob(".*"))


def test_prediction_refuses_in_one_line(made, models, tmp_path, streamed):
    table = pq.read_table(made / "large.parquet").slice(0, 50)
    new = tmp_path / "new.parquet"
    cases = {
        "'laboratory_3' .* missing": table.drop_columns(["laboratory_3"]),
        "none of the model's columns": table.select(["patient"]).append_column("age", pa.array([50] * 50)),
        "holds words; the model was trained with numbers": table.set_column(
            table.column_names.index("signal_1"), "signal_1", pa.array(["x", "y"] * 25)
        ),
        "is there again": pa.concat_tables([table, table.slice(0, 1)]),
    }
    for message, changed in cases.items():
        pq.write_table(changed, new)
        with pytest.raises(InputError, match=message) as error:
            jobs.predict(models / "late-binary", [new], tmp_path / "answers")
        assert "\n" not in str(error.value)
        assert [path.name for path in tmp_path.iterdir()] == ["new.parquet"]
    # a whole modality may be absent from late fusion
    lacking = table.drop_columns([name for name in table.column_names if name.startswith("image")])
    pq.write_table(lacking, new)
    assert jobs.predict(models / "late-binary", [new], tmp_path / "answers").details["rows"] == 50


def test_cancelled_prediction_leaves_nothing(made, models, tmp_path, streamed):
    def progress(fraction, stage):
        if stage == "Predicting" and fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.predict(models / "late-binary", [made / "large.parquet"], tmp_path / "answers", progress=progress)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_nothing(made, models, tmp_path, streamed, monkeypatch):
    write, written = pq.ParquetWriter.write_table, []

    def full(self, *given, **more):
        written.append(1)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        write(self, *given, **more)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(InputError, match=r"answers.parquet: the answers cannot be written \(No space left"):
        jobs.predict(models / "early-binary", [made / "large.parquet"], tmp_path / "answers")
    assert not list(tmp_path.iterdir())


def test_command(made, tmp_path, streamed, capsys):
    table, model = str(made / "large.parquet"), str(tmp_path / "m")
    assert main(["fusion", "train", table, "-s", str(made / "binary.yaml"), "-o", model, "--members", "10"]) == 0
    assert "late fusion of 3000 patients, 24 columns" in capsys.readouterr().out
    assert main(["fusion", "predict", model, table, "-o", str(tmp_path / "p")]) == 0
    assert "3000 rows" in capsys.readouterr().out
    assert main(["fusion", "train", table, "-s", str(made / "binary.yaml"), "-o", model]) == 2
    assert "a model is written to a new folder" in capsys.readouterr().err


# -- memory -----------------------------------------------------------------------------------------------------------
_CHILD = """
import resource, sys
from pathlib import Path
from FusionRiskLib.fusion import big, jobs
from FusionRiskLib.fusion.big import look, rows
rows._SCANNED = 4000
big.STREAM_CELLS, big.SAMPLE_ROWS, big.SETTING_ROWS, big.BATCH_ROWS, look._HELD = 0, 1500, 800, 2000, 400_000
folder = Path(sys.argv[1])
jobs.train(folder / "large.parquet", folder / "binary.yaml", folder / "m", members=10)
jobs.predict(folder / "m", [folder / "large.parquet"], folder / "p")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
def test_memory_grows_by_a_few_numbers_a_row(tmp_path):
    peak = {}
    for rows in (10_000, 40_000):
        write_large_table(tmp_path / str(rows), rows, 200)
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(tmp_path / str(rows))], capture_output=True, text=True, check=True
        )
        peak[rows] = float(done.stdout.split()[-1])
        assert (tmp_path / str(rows) / "p" / "answers.parquet").is_file()
    # less than the values alone, which are 1600 bytes a row; an ordinary fit holds several times as much
    assert (peak[40_000] - peak[10_000]) / 30_000 < 1600
