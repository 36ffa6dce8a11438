"""``cardioprecision fusion``: from tables to a model, a judging and answers; what is refused; going on after a stop."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CardioPrecisionLib import record as run_record
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.fronts.cli import main
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, document
from CardioPrecisionLib.record import json_able
from fusion_cases import refused, run
from FusionRiskLib.fusion import jobs
from FusionRiskLib.fusion.answer import KeptModel, values_of_patient
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.kept import Kept, key_of

HEAD = ["patient_id", "age", "sex", "lv_ef", "lv_edv", "agatston_score", "site", "mace"]
SCHEMA = """schema: cardioprecision/cohort/1
id: patient_id
site: site
outcome: {kind: binary, column: mace, positive: yes}
"""
SURVIVAL = """schema: cardioprecision/cohort/1
id: patient_id
exclude: [site, mace]
outcome: {kind: survival, time: months, event: died, time_unit: months, horizon: 24}
"""


def _rows(n=120, seed=1):
    """Events hang on age, ejection fraction and calcium; one in ten has no cine CMR."""
    rng = np.random.default_rng(seed)
    age, ef = rng.normal(62, 9, n), rng.normal(52, 11, n).clip(15, 75)
    calcium = rng.lognormal(4, 1.2, n)
    eta = 0.08 * (age - 62) - 0.1 * (ef - 52) + 0.6 * (np.log(calcium) - 4)
    event = rng.random(n) < 1 / (1 + np.exp(-eta))
    time, censored = rng.exponential(30 * np.exp(-eta)), rng.uniform(6, 60, n)
    rows = []
    for i in range(n):
        cine = rng.random() > 0.1
        rows.append([
            f"P{i:04d}", f"{age[i]:.1f}", str(rng.choice(["male", "female"])), f"{ef[i]:.1f}" if cine else "",
            f"{rng.normal(160, 30):.0f}" if cine else "", f"{calcium[i]:.0f}", str(rng.choice(["A", "B"])),
            "yes" if event[i] else "no", f"{min(time[i], censored[i]) + 0.01:.2f}", str(int(time[i] <= censored[i])),
        ])  # fmt: skip
    return rows


def _write(path, head, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fusion")
    rows = _rows()
    _write(made / "cohort.csv", HEAD, [row[:8] for row in rows])
    _write(made / "survival.csv", [*HEAD, "months", "died"], rows)
    (made / "schema.yaml").write_text(SCHEMA, encoding="utf-8")
    (made / "survival.yaml").write_text(SURVIVAL, encoding="utf-8")
    new = [
        ["X1", 75, "male", 30, 190, 900],
        ["X2", 45, "female", 64, 140, 5],
        ["X3", 62, "male", "", "", 60],
        ["X4", 62, "male", 50, 150, 900000],
    ]
    _write(made / "new.csv", HEAD[:6], new)
    return made


@pytest.fixture(scope="module")
def model(folder):
    path = folder / "model"
    code = main(["fusion", "train", str(folder / "cohort.csv"), "-s", str(folder / "schema.yaml"), "-o", str(path),
                 "--members", "12"])  # fmt: skip
    assert code == 0
    return path


# -- train and predict -------------------------------------------------------------------------------------------------
def test_a_model_says_who_it_was_trained_on_and_holds_no_identifier(model):
    card = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert card["training"]["patients"] == 120
    assert card["conformal"]["level"] == 0.9
    assert len(card["members"]) == 12
    assert not any(b"P0001" in file.read_bytes() for file in model.iterdir())


def test_answers(model, folder, tmp_path, capsys):
    assert run("predict", model, folder / "new.csv", "-o", tmp_path / "out") == 0
    capsys.readouterr()
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8") as file:
        high, low, gap, far = list(csv.DictReader(file))
    assert float(high["p yes"]) > 0.7 > 0.3 > float(low["p yes"])
    for row in (high, low, gap):
        assert float(row["p yes low"]) <= float(row["p yes"]) <= float(row["p yes high"])
        assert float(row["p yes"]) + float(row["p no"]) == pytest.approx(1)
        assert row["state"] == "predicted"
    assert "yes" in high["set"]
    # Refused: never a number.
    assert far["state"] == "not_assessable"
    assert far["p yes"] == far["p yes low"] == far["set"] == ""
    assert "agatston_score 900000 lies far outside" in far["reason"]
    with open(tmp_path / "out" / "contributions.csv", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["row"] == "Row 1"]
    assert {r["input"] for r in rows} == {"age_years", "sex", "lv_ef", "lv_edv", "agatston_score"}
    assert float(next(r for r in rows if r["input"] == "lv_ef")["contribution"]) > 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for text in ("No answer", "without cine_cmr"):
        assert text in page
    assert "X1" not in page
    assert "Nothing could be measured" not in page
    run_record.validate(json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8")))


def test_what_is_refused_altogether_ends_with_3(model, folder, tmp_path, capsys):
    table = _write(tmp_path / "far.csv", HEAD[:6], [["X4", 62, "male", 50, 150, 900000]])
    assert run("predict", model, table, "-o", tmp_path / "out") == 3
    assert "1 of 1 row got no answer" in capsys.readouterr().out


def test_json(model, folder, tmp_path, capsys):
    assert run("predict", model, folder / "new.csv", "-o", tmp_path / "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][3]["p yes"] is None
    assert found["outcome"] == "binary"


def _measurements(path, analysis, rows):
    content = document(analysis, Patient(), Measurements(rows), [])
    path.write_text(json.dumps(json_able(content)), encoding="utf-8")
    return path


def test_a_patient_by_measurements_and_clinical_record(model, folder, tmp_path, capsys):
    lv = _measurements(tmp_path / "lv.json", "lv-function", [
        Measurement("lv_ef", 30.0, "%"), Measurement("lv_edv", 190.0, "mL"),
    ])  # fmt: skip
    calcium = _measurements(tmp_path / "calcium.json", "calcium", [Measurement("agatston_score", 900.0, "1")])
    record = tmp_path / "clinical.json"
    record.write_text(json.dumps({"age_years": 75, "sex": "male"}), encoding="utf-8")
    assert run("predict", model, lv, calcium, "--clinical", record, "-o", tmp_path / "one", "--json") == 0
    joined = json.loads(capsys.readouterr().out)["rows"][0]
    assert run("predict", model, folder / "new.csv", "-o", tmp_path / "table", "--json") == 0
    assert joined["p yes"] == pytest.approx(json.loads(capsys.readouterr().out)["rows"][0]["p yes"])
    # Late fusion answers without a modality; what is missing is said.
    assert run("predict", model, calcium, "--clinical", record, "-o", tmp_path / "less") == 0
    assert "Not known of this patient: lv_ef, lv_edv" in capsys.readouterr().out


def test_what_real_runs_write_fills_the_columns(model, tmp_path):
    """A calcium run tells its score as that of the site ``total``; columns of a table have no site."""
    data = Path(__file__).resolve().parents[1] / "Data" / "risk"
    files = [data / "lv-function.measurements.json", data / "calcium.measurements.json"]
    found = jobs.predict(model, files, tmp_path / "out", clinical=data / "clinical.json").details["answers"]
    value = dict(zip([c.name for c in found.columns], found.values[0].tolist(), strict=True))
    assert value["agatston_score"] == pytest.approx(53.053, abs=1e-3)
    lv = {(m["name"], m["site"]): m["value"] for m in json.loads(files[0].read_text())["measurements"]}
    assert value["lv_ef"] == pytest.approx(lv["lv_ef", None])
    assert np.isfinite(found.values).all()


def test_an_early_model_needs_every_modality(folder, tmp_path):
    jobs.train(folder / "cohort.csv", folder / "schema.yaml", tmp_path / "m", kind="early", members=10)
    from FusionRiskLib.clinical.record import make_record

    with pytest.raises(InputError, match="needs clinical, cine_cmr"):
        values_of_patient(
            KeptModel(tmp_path / "m").model, make_record({}), [[Measurement("agatston_score", 900.0, "1")]]
        )


def test_survival(folder, tmp_path, capsys):
    assert run("train", folder / "survival.csv", "-s", folder / "survival.yaml", "-o", tmp_path / "m",
               "--members", 10) == 0  # fmt: skip
    assert run("predict", tmp_path / "m", folder / "new.csv", "-o", tmp_path / "out") == 0
    assert "risk by 24 months" in capsys.readouterr().out
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8") as file:
        high, low, *_ = list(csv.DictReader(file))
    assert float(high["p risk by 24 months"]) > float(low["p risk by 24 months"])
    assert float(high["lower bound (months)"]) <= float(low["lower bound (months)"])


# -- evaluate ----------------------------------------------------------------------------------------------------------
def test_judging(folder, tmp_path, capsys):
    out = tmp_path / "judged"
    assert run("evaluate", folder / "cohort.csv", "-s", folder / "schema.yaml", "-o", out, "--folds", 3,
               "--models", "early", "--no-sets") == 0  # fmt: skip
    assert "early fusion" in capsys.readouterr().out
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    fused, alone = (found["models"][name]["metrics"]["auc"]["value"] for name in ("early fusion", "clinical"))
    assert fused > alone + 0.05
    page = (out / "report.html").read_text(encoding="utf-8")
    for text in ("Decision curve", "Calibration", "120 patients", "Early fusion minus each other"):
        assert text in page
    assert not list(tmp_path.glob(".*fits*"))
    assert {file.name for file in out.iterdir()} == {
        "evaluation.json", "metrics.csv", "cohort.csv", "report.html", "run.json",
    }  # fmt: skip


def test_a_stopped_judging_goes_on_and_comes_to_the_same(folder, tmp_path):
    asked = {"kinds": ("early",), "folds": 3, "level": 0.9}
    whole = jobs.judge(folder / "cohort.csv", folder / "schema.yaml", tmp_path / "whole", **asked)
    fits = 0

    def stop(fraction, stage):
        nonlocal fits
        kept = list(tmp_path.glob(".again.fits/*/*.npz"))
        fits = len(kept)
        if fits >= 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.judge(folder / "cohort.csv", folder / "schema.yaml", tmp_path / "again", **asked, progress=stop)
    assert fits == 5
    assert not (tmp_path / "again").exists()
    said = []
    again = jobs.judge(folder / "cohort.csv", folder / "schema.yaml", tmp_path / "again", **asked,
                       progress=lambda f, s: said.append(s))  # fmt: skip
    assert said[0] == "Going on: 5 of 12 fits are there"
    assert json_able(again.details["evaluation"]) == json_able(whole.details["evaluation"])
    assert not list(tmp_path.glob(".again*"))


@pytest.mark.parametrize("learner", ["logistic", "boosting"])
def test_a_stopped_training_goes_on_and_comes_to_the_same(folder, tmp_path, learner):
    asked = {"kind": "late", "learner": learner, "members": 10}
    table, schema = folder / "cohort.csv", folder / "schema.yaml"
    jobs.train(table, schema, tmp_path / "whole", **asked)

    def stop(fraction, stage):
        if len(list(tmp_path.glob(".again.fits/*/member-*"))) >= 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.train(table, schema, tmp_path / "again", **asked, progress=stop)
    assert not (tmp_path / "again").exists()
    (damaged,) = tmp_path.glob(".again.fits/*/member-2/weights.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-5])
    said = []
    jobs.train(table, schema, tmp_path / "again", **asked, progress=lambda f, s: said.append(s))
    assert "Going on: 5 models are there" in said
    values = np.array([[62, 0, 45, 170, 80], [50, 1, np.nan, np.nan, 10]], dtype=float)
    one, other = (KeptModel(tmp_path / name) for name in ("whole", "again"))
    values = values[:, : len(one.model.columns)]
    np.testing.assert_array_equal(one.answer(values).said, other.answer(values).said)
    np.testing.assert_array_equal(one.answer(values).interval.low, other.answer(values).interval.low)
    assert one.card["conformal"] == other.card["conformal"]
    assert one.card["members"] == other.card["members"]
    assert not list(tmp_path.glob(".again*"))


def test_a_training_that_asks_for_more_members_does_not_go_on_with_draws_of_fewer(folder, tmp_path):
    table, schema = folder / "cohort.csv", folder / "schema.yaml"
    jobs.train(table, schema, tmp_path / "whole", kind="early", members=12)

    def stop(fraction, stage):
        if len(list(tmp_path.glob(".again.fits/*/member-*"))) >= 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.train(table, schema, tmp_path / "again", kind="early", members=10, progress=stop)
    jobs.train(table, schema, tmp_path / "again", kind="early", members=12)
    values = np.array([[62, 0, 45, 170, 80]], dtype=float)[:, : len(KeptModel(tmp_path / "whole").model.columns)]
    one, other = (KeptModel(tmp_path / name).answer(values).interval for name in ("whole", "again"))
    np.testing.assert_array_equal(one.low, other.low)
    np.testing.assert_array_equal(one.high, other.high)
    assert not list(tmp_path.glob(".again*"))


def test_kept_fits_are_those_of_the_same_question(folder, tmp_path):
    cohort = read_cohort(folder / "cohort.csv", folder / "schema.yaml")
    key = key_of(cohort, seed=1)
    other = replace(cohort, values=cohort.values + 1e-9)
    assert len({key, key_of(cohort, seed=2), key_of(other, seed=1)}) == 3
    assert key_of(cohort, seed=1) == key
    kept = Kept(tmp_path / "fits", key)
    kept.put(0, "early fusion", {"found": np.eye(2), "setting": {"c": 1.0}})
    assert kept.get(0, "early fusion")["setting"] == {"c": 1.0}
    assert kept.get(1, "early fusion") is None
    (damaged,) = (tmp_path / "fits" / key).iterdir()
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert kept.get(0, "early fusion") is None


# -- refused -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("change", "said"), [
    (lambda rows: [*[r for r in rows if r[7] == "no"][:2], *[r for r in rows if r[7] == "yes"][:1]], "3 patients"),
    (lambda rows: [], "the cohort is empty"),
    (lambda rows: [[*row[:7], "yes"] for row in rows], "one class only"),
    (lambda rows: [[*row[:5], "100", *row[6:]] for row in rows], "agatston_score has one value only"),
    (lambda rows: [[row[0], 80 if row[7] == "yes" else 40, *row[2:]] for row in rows], "age_years"),
    (lambda rows: [*rows, rows[0]], "there again"),
])  # fmt: skip
def test_a_table_that_cannot_be_trained_on(folder, tmp_path, capsys, change, said):
    rows = [row[:8] for row in _rows()]
    table = _write(tmp_path / "t.csv", HEAD, change(rows))
    for command in ("train", "evaluate"):
        out = tmp_path / command
        assert said in refused(capsys, command, table, "-s", folder / "schema.yaml", "-o", out)
        assert not out.exists()


def test_a_column_is_missing_at_prediction(model, tmp_path, capsys):
    table = _write(tmp_path / "t.csv", HEAD[:4], [["X1", 75, "male", 30]])
    assert "'lv_edv' (cine_cmr) is missing" in refused(capsys, "predict", model, table, "-o", tmp_path / "out")


@pytest.mark.parametrize("what", ["tampered", "pickle"])
def test_a_model_that_is_not_what_was_saved(model, folder, tmp_path, capsys, what):
    bad = tmp_path / "bad"
    shutil.copytree(model, bad)
    if what == "tampered":
        weights = bytearray((bad / "weights.safetensors").read_bytes())
        weights[-1] ^= 1
        (bad / "weights.safetensors").write_bytes(weights)
    else:
        (bad / "trees.pkl").write_bytes(pickle.dumps({}))
    assert "not loaded" in refused(capsys, "predict", bad, folder / "new.csv", "-o", tmp_path / "out")


def test_usage(model, folder, tmp_path, capsys):
    table, schema, out = folder / "cohort.csv", folder / "schema.yaml", tmp_path / "out"
    assert "no model 'deep'" in refused(capsys, "train", table, "-s", schema, "-o", out, "--model", "deep")
    assert "does not fit" in refused(capsys, "train", table, "-s", schema, "-o", out, "--learner", "cox")
    assert "no modality 'echo'" in refused(capsys, "train", table, "-s", schema, "-o", out, "--modalities", "echo")
    assert "holds something" in refused(capsys, "train", table, "-s", schema, "-o", model)
    assert "no model folder" in refused(capsys, "predict", tmp_path / "none", table, "-o", out)
    assert "choose patient or site" in refused(capsys, "evaluate", table, "-s", schema, "-o", out, "--by", "ward")
    assert "one table" in refused(capsys, "predict", model, table, table, "-o", out)
