"""``fusion waveforms`` and ``fusion encoder``: from recordings to a table, to a cohort, to a model that uses them."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from CardioPrecisionLib.errors import Cancelled, InputError
from fusion_cases import refused, run
from FusionRiskLib.clinical.fields import field_name
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.models import ModelConfig
from FusionRiskLib.waveform import jobs
from FusionRiskLib.waveform.analyse import features_of
from FusionRiskLib.waveform.encoder_store import load_encoder
from FusionRiskLib.waveform.synthetic import Beat, make_ecg, make_pcg
from waveform_cases import read_table, write_csv, write_table, write_wfdb

pytest.importorskip("wfdb")
N = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of `N` patients as WFDB, half of them with a T wave upside down; the outcome hangs on that."""
    made = tmp_path_factory.mktemp("waveforms")
    (made / "ecg").mkdir()
    rng = np.random.default_rng(0)
    turned = rng.random(N) < 0.5
    event = rng.random(N) < np.where(turned, 0.85, 0.15)
    lines, cohort = [], []
    for i in range(N):
        beat = Beat(t_mv=rng.uniform(0.15, 0.35) * (-1 if turned[i] else 1), r_mv=rng.uniform(0.7, 1.3))
        ecg = make_ecg(10, 250, ["II", "V5"], rng.uniform(55, 95), beat=beat, noise_mv=0.02, seed=i)
        write_wfdb(made / "ecg", f"r{i:03d}", ecg)
        lines.append([f"P{i:03d}", f"ecg/r{i:03d}.hea"])
        cohort.append([f"P{i:03d}", f"{rng.normal(62, 9):.0f}", "yes" if event[i] else "no"])
    write_table(made / "list.csv", ["patient_id", "recording"], lines)
    write_table(made / "cohort.csv", ["patient_id", "age_years", "event_seen"], cohort)
    return made


@pytest.fixture(scope="module")
def encoder(folder):
    assert run("encoder", folder / "list.csv", "-o", folder / "enc", "--size", 6, "--epochs", 15) == 0
    return folder / "enc"


# -- the whole way -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def joined(folder, encoder):
    return jobs.make_table(folder / "list.csv", folder / "joined.csv", encoder=encoder, join_to=folder / "cohort.csv")


def test_from_recordings_to_a_model_that_needs_them(joined, tmp_path):
    assert len(joined.warnings) == 1
    assert joined.warnings[0].startswith("54 of 60 recordings were in the encoder's training.")
    schema = tmp_path / "schema.yaml"
    lines = ["schema: cardioprecision/cohort/1", "id: patient_id",
             "outcome: {kind: binary, column: event_seen, positive: yes}", *joined.details["lines"]]  # fmt: skip
    schema.write_text("\n".join(lines))
    cohort = read_cohort(joined.joined.output, schema)
    assert cohort.modalities == ("clinical", "ecg")
    assert cohort.warnings == ()
    assert "ecg_embedding_05" in cohort.names
    models = {"early": ModelConfig("early"), "ecg": ModelConfig("early", modalities=("ecg",)),
              "clinical": ModelConfig("early", modalities=("clinical",))}  # fmt: skip
    found = evaluate(cohort, models, folds=3, repeats=1, seed=1, level=None)
    auc = {name: found.models[name].metrics["auc"].value for name in models}
    assert auc["ecg"] > 0.7
    assert auc["early"] > auc["clinical"] + 0.1


def test_the_embedding_alone_finds_the_shape(joined):
    rows = read_table(joined.output)
    z = np.array([[float(row[f"ecg_embedding_{k:02d}"]) for k in range(6)] for row in rows])
    turned = np.array([float(row["ecg_t_mv_ii"]) < 0 for row in rows])
    x = (z - z[:30].mean(axis=0)) / z[:30].std(axis=0)
    w = np.linalg.solve(x[:30].T @ x[:30] + np.eye(6), x[:30].T @ (turned[:30] - turned[:30].mean()))
    assert ((x[30:] @ w > 0) == turned[30:]).mean() > 0.8


# -- the table ---------------------------------------------------------------------------------------------------------
def test_a_row_per_line_with_flag_reason_and_empty_cells(tmp_path, capsys):
    work = tmp_path / "in"
    work.mkdir()
    good = make_ecg(12, 360, ["II"], noise_mv=0.01, seed=1)
    write_csv(work / "good.csv", good)
    noise = np.random.default_rng(0).normal(0, 1, good.samples.shape)
    write_wfdb(work, "noise", good, samples=noise)
    hum = make_ecg(12, 360, ["II"], noise_mv=0.01, mains_mv=0.2, seed=1)
    write_csv(work / "hum.csv", hum)
    files = ["good.csv", "noise.hea", "hum.csv", "Doe_Jane.hea"]
    table = write_table(work / "list.csv", ["recording", "patient_id", "visit"],
                        [[name, f"P{i}", i] for i, name in enumerate(files)])  # fmt: skip
    assert run("waveforms", table, "-o", tmp_path / "t.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 4 recordings could not be read" in said
    assert "1 of 4 recordings cannot be used" in said
    assert "1 of 4 recordings are doubtful" in said
    rows = read_table(tmp_path / "t.csv")
    assert [row["patient_id"] for row in rows] == ["P0", "P1", "P2", "P3"]
    assert [row["visit"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["ecg_quality"] for row in rows] == ["good", "unusable", "doubtful", "unusable"]
    assert rows[3]["ecg_reason"] == "there is no such file"
    assert "mains hum at 50 Hz" in rows[2]["ecg_reason"]
    names = [f"ecg_{name}" for name in features_of("ecg")]
    for row in (rows[1], rows[3]):
        assert not any(row[name] for name in names)
    assert float(rows[0]["ecg_heart_rate"]) == pytest.approx(60 / np.diff(good.r_seconds).mean(), abs=0.1)
    assert rows[0]["ecg_r_mv_v1"] == ""
    assert "Doe" not in (tmp_path / "t.csv").read_text() + said


def test_no_name_is_taken_for_a_clinical_field():
    for kind in ("ecg", "pcg"):
        assert [name for name in features_of(kind) if field_name(f"{kind}_{name}") is not None] == []


def test_heart_sounds(tmp_path, capsys):
    lines = []
    for i in range(3):
        made = make_pcg(8, 1000, 60 + 10 * i, murmur_db=-10, noise=0.01, seed=i)
        write_csv(tmp_path / f"s{i}.csv", made, times=False)
        lines.append([f"P{i}", f"s{i}.csv"])
    table = write_table(tmp_path / "list.csv", ["patient_id", "recording"], lines)
    assert run("waveforms", table, "-o", tmp_path / "t.csv", "--kind", "pcg", "--rate", 1000, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flags"] == {"good": 3, "doubtful": 0, "unusable": 0}
    for i, row in enumerate(read_table(tmp_path / "t.csv")):
        assert float(row["pcg_heart_rate"]) == pytest.approx(60 + 10 * i, abs=1)
        assert float(row["pcg_systolic_150_400_hz_db"]) == pytest.approx(-10, abs=2)


def test_when_none_can_be_used_the_exit_code_is_3(tmp_path):
    table = write_table(tmp_path / "list.csv", ["patient_id", "recording"], [["P1", "none.hea"], ["P2", "x.csv"]])
    assert run("waveforms", table, "-o", tmp_path / "t.csv") == 3
    assert [row["ecg_reason"] for row in read_table(tmp_path / "t.csv")] == ["there is no such file"] * 2


def test_only_an_own_table_is_written_over(tmp_path, capsys):
    table = write_table(tmp_path / "list.csv", ["patient_id", "recording"], [["P1", "none.hea"]])
    before = table.read_text()
    assert "would overwrite an input" in refused(capsys, "waveforms", table, "-o", table)
    assert table.read_text() == before
    other = write_table(tmp_path / "other.csv", ["a"], [["1"]])
    assert "not made by this command" in refused(capsys, "waveforms", table, "-o", other)
    for _ in range(2):
        assert run("waveforms", table, "-o", tmp_path / "t.csv") == 3
    assert not list(tmp_path.glob(".*"))


def test_a_stop_leaves_nothing(folder, tmp_path):
    def stop(fraction, stage):
        if fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.make_table(folder / "list.csv", tmp_path / "t.csv", progress=stop)
    assert not list(tmp_path.iterdir())


# -- joining -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def small(tmp_path):
    for i in range(3):
        write_csv(tmp_path / f"r{i}.csv", make_ecg(10, 250, ["II"], 60 + 10 * i, noise_mv=0.01, seed=i))
    return tmp_path


def test_joined_by_patient_and_visit_in_the_order_of_the_cohort(small, capsys):
    lines = [["A", "2", "r1.csv"], ["B", "1", "r2.csv"], ["A", "1", "r0.csv"], ["Z", "1", "r0.csv"]]
    table = write_table(small / "list.csv", ["patient_id", "visit", "recording"], lines)
    own = [("B", "1", "a;b"), ("A", "1", "2"), ("C", "1", "3"), ("A", "2", "4")]
    cohort = write_table(small / "c.csv", ["who", "when", "x"], own)
    code = run("waveforms", table, "-o", small / "t.csv", "--join", cohort, "--id", "who", "--visit", "when")
    assert code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 4 rows of the cohort are not in the table; their new cells are empty" in said
    assert "1 rows of the table belong to no row of the cohort" in said
    assert "modalities: ecg: [ecg_seconds" not in said
    assert "modalities: ecg: [ecg_heart_rate, ecg_rr_mean_ms" in said
    assert "exclude: [ecg_quality, ecg_seconds" in said
    rows = read_table(small / "t.cohort.csv")
    assert [(r["who"], r["when"], r["x"]) for r in rows] == own
    rates = [r["ecg_heart_rate"] and round(float(r["ecg_heart_rate"]), -1) for r in rows]
    assert rates == [80, 60, "", 70]


@pytest.mark.parametrize(("head", "lines", "cohort", "said"), [
    (["patient_id", "recording"], [["A", "r0.csv"], ["A", "r1.csv"]], [["id", "x"], ["A", "1"]],
     "line 3: the patient of line 2 is there again"),
    (["patient_id", "visit", "recording"], [["A", "1", "r0.csv"], ["A", "1", "r1.csv"]],
     [["id", "visit"], ["A", "1"]], "line 3: the visit of line 2 is there again"),
    (["patient_id", "recording"], [["A", "r0.csv"]], [["id", "visit"], ["A", "1"], ["A", "2"]],
     "the patient of line 2 is there again"),
    (["patient_id", "visit", "recording"], [["A", "1", "r0.csv"]], [["id", "x"], ["A", "1"]], "no column 'visit'"),
    (["patient_id", "recording"], [["A", "r0.csv"]], [["who", "x"], ["A", "1"]], "name it with --id"),
    (["patient_id", "recording"], [["A", "r0.csv"]], [["id", "ecg_heart_rate"], ["A", "1"]], "is there already"),
])  # fmt: skip
def test_joins_that_are_refused_before_any_work(small, capsys, monkeypatch, head, lines, cohort, said):
    def none(*a, **k):
        raise AssertionError("a recording was read")

    monkeypatch.setattr(jobs, "read_recording", none)
    table = write_table(small / "list.csv", head, lines)
    other = write_table(small / "c.csv", cohort[0], cohort[1:])
    line = refused(capsys, "waveforms", table, "-o", small / "t.csv", "--join", other)
    assert re.search(said, line)
    assert not (small / "t.csv").exists()


# -- usage -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("text", "said"), [
    ("", "is empty"), ("patient_id,recording\n", "is empty"), ("patient_id\nA\n", "the column 'recording'"),
    ("recording\nr0.csv\n", "the column 'patient_id'"), ("patient_id,recording\nA,\n", "recording is empty"),
    ("patient_id,recording\n,r0.csv\n", "patient_id is empty"), ("patient_id,recording\n=A1,r0.csv\n", "formula"),
    ("patient_id,recording\nA,https://x.org/r\n", "this is an address"),
    ("patient_id,recording,recording\nA,b,c\n", "more than once"), ("patient_id,recording\nA\n", "1 cells"),
])  # fmt: skip
def test_lists_that_cannot_be_read(tmp_path, capsys, text, said):
    (tmp_path / "list.csv").write_text(text)
    assert said in refused(capsys, "waveforms", tmp_path / "list.csv", "-o", tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_wrong_use(folder, encoder, tmp_path, capsys):
    table, out, csv_out = folder / "list.csv", tmp_path / "out", tmp_path / "out.csv"
    assert "ends in .csv" in refused(capsys, "waveforms", table, "-o", out)
    assert "choose ecg or pcg" in refused(capsys, "waveforms", table, "-o", csv_out, "--kind", "eeg")
    assert "no such file" in refused(capsys, "waveforms", tmp_path / "none.csv", "-o", csv_out)
    assert "for ecg, not for pcg" in refused(capsys, "waveforms", table, "-o", csv_out, "--kind", "pcg",
                                              "--encoder", encoder)  # fmt: skip
    assert "no encoder" in refused(capsys, "waveforms", table, "-o", csv_out, "--encoder", folder)
    (tmp_path / "made.csv").mkdir()
    assert "this is a folder" in refused(capsys, "waveforms", table, "-o", tmp_path / "made.csv")
    assert "holds something" in refused(capsys, "encoder", table, "-o", folder)
    assert "none of I, II" in refused(capsys, "encoder", table, "-o", out, "--leads", "II,V9")
    assert "--leads is for ECGs" in refused(capsys, "encoder", table, "-o", out, "--leads", "II", "--kind", "pcg")
    few = write_table(tmp_path / "few.csv", ["recording"], [["none.hea"]] * 3)
    assert "0 of 3 recordings can be used; an encoder needs 20" in refused(capsys, "encoder", few, "-o", out)
    assert not out.exists()
    assert not csv_out.exists()


# -- the encoder -------------------------------------------------------------------------------------------------------
def test_the_card_says_what_it_was_trained_on(encoder):
    stored = load_encoder(encoder)
    card = stored.card["training"]
    assert (card["recordings"], card["held_out"], card["unused"], card["epochs"]) == (54, 6, 0, 15)
    assert len(set(card["recordings_sha256"])) == 54
    assert 0 <= card["held_out_found_again"] <= 1
    assert stored.encoder.layout.leads == ("II", "V5")
    assert not any(b"P001" in file.read_bytes() or b"r001" in file.read_bytes() for file in encoder.iterdir())


def test_a_stopped_encoder_goes_on_and_comes_to_the_same_in_any_order_of_the_list(folder, tmp_path):
    rows = [[str(folder / row["recording"])] for row in read_table(folder / "list.csv")[:20]]
    one = write_table(tmp_path / "one.csv", ["recording"], rows)
    other = write_table(tmp_path / "other.csv", ["recording"], rows[::-1])
    jobs.train_encoder(one, tmp_path / "whole", size=4, epochs=3)

    def stop(fraction, stage):
        if stage.startswith("Epoch 3"):
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.train_encoder(other, tmp_path / "again", size=4, epochs=3, progress=stop)
    assert not (tmp_path / "again").exists()
    said = []
    jobs.train_encoder(other, tmp_path / "again", size=4, epochs=3, progress=lambda f, s: said.append(s))
    assert "Going on with a training that was stopped" in said
    assert "Epoch 2 of 3" not in said
    whole, again = (load_encoder(tmp_path / name).encoder.weights for name in ("whole", "again"))
    for name in whole:
        np.testing.assert_array_equal(whole[name], again[name])
    assert not list(tmp_path.glob(".*"))


def test_recordings_without_a_common_lead_are_read_by_their_clearest_channel(tmp_path):
    rows = []
    for i in range(22):
        made = make_ecg(10, 200, ["II"] if i % 2 else ["V5"], 60 + i, noise_mv=0.01, seed=i)
        write_csv(tmp_path / f"r{i}.csv", made)
        rows.append([f"r{i}.csv"])
    listing = write_table(tmp_path / "list.csv", ["recording"], [*rows, ["none.csv"]])
    done = jobs.train_encoder(listing, tmp_path / "enc", size=4, epochs=1)
    assert load_encoder(tmp_path / "enc").encoder.layout.leads == ()
    assert done.warnings == ["1 of 23 recordings could not be used and were left out."]


def test_a_changed_encoder_is_not_used(folder, encoder, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(encoder, bad)
    weights = bytearray((bad / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (bad / "weights.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match="was changed"):
        jobs.make_table(folder / "list.csv", tmp_path / "t.csv", encoder=bad)
    assert not (tmp_path / "t.csv").exists()


def test_a_missing_lead_leaves_the_embedding_empty_and_says_so(encoder, tmp_path):
    write_csv(tmp_path / "r.csv", make_ecg(10, 250, ["II"], noise_mv=0.01))
    listing = write_table(tmp_path / "list.csv", ["patient_id", "recording"], [["A", "r.csv"]])
    (row,) = read_table(jobs.make_table(listing, tmp_path / "t.csv", encoder=encoder).output)
    assert row["ecg_embedding_00"] == ""
    assert row["ecg_reason"] == "no embedding: the encoder needs lead V5"
    assert row["ecg_quality"] == "good"
    assert row["ecg_heart_rate"]
