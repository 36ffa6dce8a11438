"""``cardioprecision risk``: one patient, a table, and every kind of bad input in one line."""

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import risk_cases
from CardioPrecisionLib import measurement, record
from CardioPrecisionLib.fronts import cli, job
from refusals import refuse
from test_scores_table import HEADER, ROWS, table

PCE = "risk_pce_ascvd_10y"
HERE = os.path.dirname(os.path.abspath(__file__))


def values(folder):
    rows = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))["measurements"]
    return {row["name"]: row["value"] for row in rows}


def test_a_bundle_with_measurements(tmp_path, capfd):
    out = tmp_path / "run"
    arguments = ["risk", str(risk_cases.BUNDLE), "--entered", str(risk_cases.ENTERED), "-o", str(out)]
    for path in (risk_cases.LV, risk_cases.CALCIUM):
        arguments += ["--measurements", str(path)]
    assert cli.main(arguments) == 0
    said = capfd.readouterr().out
    assert "Pooled Cohort Equations: ASCVD in 10 years" in said
    assert "LOINC 718-7" in said
    document = json.loads((out / "run.json").read_text(encoding="utf-8"))
    record.validate(document)
    assert [i["role"] for i in document["inputs"]] == ["clinical", "entered", "measurements", "measurements_2"]
    assert document["inputs"][0]["sha256"] == record.file_sha256(risk_cases.BUNDLE)
    assert document["details"]["plan"]["applies"] > 0
    assert set(document["outputs"]) == {p.name for p in out.iterdir()} - {"run.json"}
    assert values(out)[PCE] == pytest.approx(26.4, abs=0.1)
    measured = json.loads((out / "measurements.json").read_text(encoding="utf-8"))
    measurement.validate(measured)
    assert measured["patient"]["age_years"] == 61


def test_json_csv_and_the_written_record_agree(tmp_path, capfd):
    assert cli.main(["risk", str(risk_cases.CLINICAL), "-o", str(tmp_path / "json")]) == 0
    given = {k: v for k, v in risk_cases.document(risk_cases.CLINICAL).items() if not isinstance(v, dict)}
    with open(tmp_path / "one.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, given)
        writer.writeheader()
        writer.writerow(given)
    assert cli.main(["risk", str(tmp_path / "one.csv"), "-o", str(tmp_path / "csv")]) == 0
    assert cli.main(["risk", str(tmp_path / "json" / "record.json"), "-o", str(tmp_path / "again")]) == 0
    capfd.readouterr()
    assert values(tmp_path / "json") == values(tmp_path / "csv") == values(tmp_path / "again")


def test_chosen_scores_and_json_output(tmp_path, capfd):
    out = tmp_path / "run"
    chosen = ["--score", "pce", "--score", "risk_mesa_*"]
    assert cli.main(["risk", str(risk_cases.CLINICAL), "-o", str(out), *chosen, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    names = [row["name"] for row in document["measurements"]]
    assert names == [PCE, "risk_mesa_chd_10y", "risk_mesa_cac_chd_10y"]
    assert json.loads((out / "run.json").read_text())["parameters"]["score"] == ["pce", "risk_mesa_*"]


def test_nothing_assessable_is_3(tmp_path, capfd):
    path = tmp_path / "c.json"
    path.write_text('{"height_cm": 170}', encoding="utf-8")
    assert cli.main(["risk", str(path), "-o", str(tmp_path / "run")]) == 3
    assert "Nothing was assessable" in capfd.readouterr().out
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_job_takes_several_measurements(tmp_path):
    events = []
    work = {"analysis": "risk", "output": str(tmp_path / "run"), "parameters": {"score": ["calcium", "maggic"]},
            "inputs": {"clinical": str(risk_cases.CLINICAL), "measurements": str(risk_cases.LV),
                       "measurements_2": str(risk_cases.CALCIUM)}}  # fmt: skip
    assert job.run_job(work, lambda **event: events.append(event)) == 0
    assert events[-1]["event"] == "done"
    assert values(tmp_path / "run")["arterial_age"] == pytest.approx(68, abs=0.5)


# -- bad input ---------------------------------------------------------------------------------------------------------
def _bundle(change):
    made = copy.deepcopy(risk_cases.document(risk_cases.BUNDLE))
    change(made)
    return json.dumps(made)


def _resource(made, code):
    for item in made["entry"]:
        for coding in item["resource"].get("code", {}).get("coding", []):
            if coding["code"] == code:
                return item["resource"]
    raise AssertionError(code)


def _low_cholesterol(made):
    _resource(made, "2093-3")["valueQuantity"]["value"] = 5.2


def _strange_unit(made):
    _resource(made, "2093-3")["valueQuantity"] |= {"unit": "mg/mL", "code": "mg/mL"}


def _two_patients(made):
    made["entry"].append(copy.deepcopy(made["entry"][0]))


def _text_value(made):
    _resource(made, "2093-3")["valueQuantity"]["value"] = "228"


def _other_subject(made):
    _resource(made, "2093-3")["subject"] = {"reference": "Patient/other"}


def _no_resource(made):
    made["entry"][3] = {"fullUrl": "x"}


BUNDLES = [
    (_low_cholesterol, ("entry 6", "total_chol_mg_dl is 5.2 mg/dL", "20 to 1000", "mmol/L")),
    (_strange_unit, ("entry 6", "total_chol_mg_dl", "'mg/mL'", "accepted in mg/dL, mmol/L")),
    (_two_patients, ("2 Patient resources", "exactly one")),
    (_text_value, ("entry 6", "total_chol_mg_dl", "no number")),
    (_other_subject, ("2 different subjects",)),
    (_no_resource, ("entry 4", "no resource")),
    (lambda made: made.update(entry={}), ("entry has the wrong type",)),
    (lambda made: made.update(resourceType="Patient"), ("a Patient is no FHIR Bundle",)),
]
FILES = [
    ("c.json", '{"sex": "male", "sbp_mmhg": 900}', ("sbp_mmhg is 900 mmHg", "40 to 300")),
    ("c.json", '{"total_chol_mg_dl": {"value": 5.2, "unit": "mg/dL"}}', ("total_chol_mg_dl is 5.2 mg/dL", "mmol/L")),
    ("c.json", '{"age_years": -1}', ("age_years is -1 years",)),
    ("c.json", '{"age_years": 50, "age": 51}', ("age_years is given twice",)),
    ("c.json", '{"sex": "male",}', ("line 1", "not JSON")),
    ("c.json", "[1]", ("one object",)),
    ("c.json", "", ("not JSON",)),
    ("c.csv", "", ("empty",)),
    ("c.csv", "age_years,sex\n", ("no row",)),
    ("c.csv", "age_years,sex\n50,male\n51,male\n", ("2 rows", "--table")),
    ("c.csv", "patient_id,age_years\nx7,50\nx7,50\n", ("line 3", "line 2", "patient_id")),
    ("c.csv", "age_years,sbp_mmhg\n50,=cmd|' /C calc'!A0\n", ("line 2", "sbp_mmhg", "formula")),
    ("c.csv", "age_years,note\n50,@SUM(A1)\n", ("line 2", "note", "formula")),
    ("c.csv", "age_years,total_chol_mg_dl\n50,5.2\n", ("line 2", "total_chol_mg_dl is 5.2 mg/dL", "total_chol_mmol_l")),
    ("c.csv", "a,b\n1,2\n", ("no column is a clinical field",)),
]


@pytest.mark.parametrize(("change", "words"), BUNDLES, ids=[c.__name__ + str(n) for n, (c, _) in enumerate(BUNDLES)])
def test_a_bundle_that_is_wrong(tmp_path, monkeypatch, capfd, change, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle.json").write_text(_bundle(change), encoding="utf-8")
    said = refuse(["risk", "bundle.json", "-o", "out"], tmp_path, capfd)
    for word in ("bundle.json", *words):
        assert word in said


@pytest.mark.parametrize(("name", "content", "words"), FILES)
def test_a_file_that_is_wrong(tmp_path, monkeypatch, capfd, name, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content, encoding="utf-8")
    said = refuse(["risk", name, "-o", "out"], tmp_path, capfd)
    for word in (name, *words):
        assert word in said
    assert "x7" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.json", "-o", "out"], ("none.json", "no such file")),
        ([".", "-o", "out"], ("cannot be read",)),
        (["-o", "out"], ("Clinical record", "--table")),
        (["good.json", "-o", "out", "--score", "nonsense"], ("'nonsense' is no score", "prevent")),
        (["good.json", "-o", "out", "--measurements", "good.json"], ("good.json", "no measurements.json")),
        (["good.json", "-o", "out", "--mapping", "good.json"], ("--mapping", "--table")),
        (["good.json", "-o", "out", "--table", "good.json"], ("not both",)),
        (["good.json", "-o", "good.json"], ("output folder is a file",)),
        (["--table", "none.csv", "-o", "out.csv"], ("none.csv", "cannot be read")),
        (["--table", "rows.csv", "-o", "rows.csv"], ("overwrite",)),
        (["--table", "rows.csv", "-o", "no/out.csv"], ("no/out.csv", "cannot be written")),
        (["--table", "rows.csv", "-o", "out.csv", "--mapping", "none.json"], ("none.json", "mapping")),
        (["--table", "rows.csv", "-o", "out.csv", "--mapping", "rows.csv"], ("rows.csv", "no JSON")),
    ],
)
def test_usage_that_is_wrong(tmp_path, monkeypatch, capfd, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.json").write_text('{"age_years": 50}', encoding="utf-8")
    table(tmp_path, *ROWS)
    said = refuse(["risk", *arguments], tmp_path, capfd)
    for word in words:
        assert word in said


# -- a table -----------------------------------------------------------------------------------------------------------
def test_a_table(tmp_path, capfd):
    path = table(tmp_path, *ROWS)
    assert cli.main(["risk", "--table", str(path), "-o", str(tmp_path / "out.csv"), "--score", "pce"]) == 0
    said = capfd.readouterr()
    assert "4 rows" in said.out
    assert "'ward' is no clinical field" in said.out
    assert "4 rows" in said.err  # progress
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row[f"{PCE}_state"] for row in rows] == ["measured", "out_of_range", "not_assessable", "measured"]
    assert rows[2][f"{PCE}_reason"] == "missing: total_chol_mg_dl, current_smoker"
    assert cli.main(["risk", "--table", str(path), "-o", str(tmp_path / "out.csv"), "--score", "pce", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["measured"] == {PCE: 2}
    assert document["rows"] == 4


def test_a_table_with_a_mapping_and_one_without_values(tmp_path, capfd):
    path = table(tmp_path, "55,female,white,5.50818,1.293,120,no,no,no", header="a,s,r,tc,hdl,bp,med,smk,dm")
    mapping = {"a": "age_years", "s": "sex", "r": "race", "tc": {"field": "total_chol_mg_dl", "unit": "mmol/L"},
               "hdl": "hdl_chol_mmol_l", "bp": "sbp", "med": "bp_treated", "smk": "current_smoker",
               "dm": "diabetes"}  # fmt: skip
    (tmp_path / "mapping.json").write_text(json.dumps(mapping), encoding="utf-8")
    arguments = ["--table", str(path), "-o", str(tmp_path / "out.csv"), "--score", "pce"]
    assert cli.main(["risk", *arguments, "--mapping", str(tmp_path / "mapping.json")]) == 0
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        assert float(next(csv.DictReader(file))[PCE]) == pytest.approx(2.05, abs=0.06)
    nothing = table(tmp_path, "55", header="age_years", name="age.csv")
    assert cli.main(["risk", "--table", str(nothing), "-o", str(tmp_path / "none.csv"), "--score", "pce"]) == 3
    capfd.readouterr()


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([], "", ("empty",)),
        ([], HEADER, ("no row",)),
        ([ROWS[0], ROWS[0]], HEADER, ("line 3", "line 2")),
        ([ROWS[0].replace("213", "5.2")], HEADER, ("line 2", "total_chol_mg_dl is 5.2 mg/dL", "total_chol_mmol_l")),
        ([ROWS[0], ROWS[1].replace("120", "=cmd")], HEADER, ("line 3", "sbp_mmhg", "formula")),
        ([ROWS[0].replace("120", "999")], HEADER, ("line 2", "sbp_mmhg is 999 mmHg")),
    ],
)
def test_a_table_that_is_wrong(tmp_path, monkeypatch, capfd, rows, header, words):
    monkeypatch.chdir(tmp_path)
    table(tmp_path, *rows, header=header)
    said = refuse(["risk", "--table", "rows.csv", "-o", "out.csv"], tmp_path, capfd)
    for word in ("rows.csv", *words):
        assert word in said


@pytest.mark.skipif(os.name == "nt", reason="signals of this kind are not on Windows")
def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    body = ROWS[0].split(",", 1)[1]
    path = table(tmp_path, *(f"p{n},{body}" for n in range(100_000)))
    out = tmp_path / "out.csv"
    out.write_text("what was there before", encoding="utf-8")
    start = "import sys; from CardioPrecisionLib.fronts import cli; sys.exit(cli.main())"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "risk", "--table", str(path), "-o", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env={**os.environ, "PYTHONPATH": HERE},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits "ignored"
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.part.out.csv")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be stopped"
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Cancelled" in complained
    assert said == ""
    assert out.read_text(encoding="utf-8") == "what was there before"
    assert {p.name for p in tmp_path.iterdir()} == {"rows.csv", "out.csv"}
