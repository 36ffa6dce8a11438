"""Changes between two studies: published limits, intervals, and what cannot be judged."""

from __future__ import annotations

import csv
import json
import math

import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts import cli
from CardioPrecisionLib.measurement import Measurement, Patient, document
from FusionRiskLib import serial


def row(name, value, unit="mL", site=None, **more):
    return Measurement(name, value, unit, site=site, **more)


def one(before, after):
    [found] = serial.changes([before], [after])
    return found


@pytest.mark.parametrize(
    ("name", "before", "after", "limit", "verdict"),
    [
        ("lv_ef", 60.0, 55.0, 1.96 * 0.073 * 57.5, "within"),
        ("lv_ef", 60.0, 50.0, 1.96 * 0.073 * 55.0, "beyond"),
        ("lv_edv", 140.0, 150.0, 1.96 * 0.049 * 145.0, "within"),
        ("lv_edv", 140.0, 160.0, 1.96 * 0.049 * 150.0, "beyond"),
        ("lv_mass", 100.0, 91.0, 1.96 * 0.048 * 95.5, "beyond"),
    ],
)
def test_ventricles(name, before, after, limit, verdict):
    found = one(row(name, before), row(name, after))
    assert found.limit == pytest.approx(limit)
    assert found.verdict == verdict
    assert found.difference == after - before
    assert found.percent == pytest.approx(100 * (after - before) / before)
    assert "Grothues" in found.basis


@pytest.mark.parametrize(
    ("before", "after", "limit", "verdict"),
    [
        (100.0, 149.0, 49.3, "within"),
        (100.0, 149.4, 49.3, "beyond"),
        (100.0, 50.0, 49.3, "beyond"),
        (0.0, 11.6, 11.6, "within"),
        (0.0, 11.7, 11.6, "beyond"),
        (400.0, 400.0, 4.93 * 20, "within"),
    ],
)
def test_calcium(before, after, limit, verdict):
    found = one(row("agatston_score", before, "1", "total"), row("agatston_score", after, "1", "total"))
    assert found.limit == pytest.approx(limit)
    assert found.verdict == verdict
    assert found.percent is None if before == 0 else math.isfinite(found.percent)


def test_of_one_artery_nothing_is_published():
    found = one(row("agatston_score", 10.0, "1", "LAD"), row("agatston_score", 90.0, "1", "LAD"))
    assert found.verdict == "not_assessable"
    assert found.limit is None
    assert found.difference == 80.0
    assert "no repeatability" in found.basis


def test_intervals_speak_where_nothing_is_published():
    before = row("rv_edv", 150.0, low=140.0, high=160.0, level=0.8)
    apart = one(before, row("rv_edv", 180.0, low=170.0, high=190.0, level=0.8))
    assert (apart.verdict, apart.basis) == ("beyond", "the intervals of the two studies lie apart")
    assert one(before, row("rv_edv", 165.0, low=155.0, high=175.0, level=0.8)).verdict == "within"


def test_what_has_no_value_is_said():
    missing = Measurement.missing("lv_ef", "%", "the base is missing")
    found = one(missing, row("lv_ef", 50.0, "%"))
    assert found.verdict == "not_assessable"
    assert found.basis == "no value in the earlier study: the base is missing"
    assert found.difference is None
    assert found.before is None
    units = one(row("lv_ef", 50.0, "%"), row("lv_ef", 0.5, "1"))
    assert (units.verdict, units.difference) == ("not_assessable", None)
    text = row("cad_rads", "4A", "1")
    assert serial.changes([text], [text]) == []
    assert serial.changes([row("lv_ef", 50.0)], [row("lv_edv", 50.0)]) == []


@pytest.fixture
def files(tmp_path):
    def write(name, rows, analysis="lv-function", key="a" * 64):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(document(analysis, Patient(key=key), rows, [])), encoding="utf-8")
        return path

    return write


def test_command(files, tmp_path, capsys):
    first = files("a", [row("lv_ef", 60.0, "%"), row("lv_edv", 140.0)])
    second = files("b", [row("lv_ef", 48.0, "%"), row("lv_edv", 142.0)])
    assert cli.main(["fusion", "compare", str(first), str(second), "-o", str(tmp_path / "c.csv")]) == 0
    shown = capsys.readouterr().out
    assert "beyond" in shown
    assert "2 measurements stand in both; 2 can be judged." in shown
    with open(tmp_path / "c.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["name"], r["verdict"]) for r in rows] == [("lv_ef", "beyond"), ("lv_edv", "within")]


def test_other_patients_and_analyses_are_refused(files, capsys):
    first = files("a", [row("lv_ef", 60.0, "%")])
    with pytest.raises(InputError, match="another patient"):
        serial.compare_runs(first, files("b", [row("lv_ef", 60.0, "%")], key="b" * 64))
    with pytest.raises(InputError, match="a run of calcium, the earlier one of lv-function"):
        serial.compare_runs(first, files("c", [row("lv_ef", 60.0, "%")], analysis="calcium"))
    assert cli.main(["fusion", "compare", str(first), "none.json"]) == 2
    assert "none.json" in capsys.readouterr().err
    nothing = files("d", [Measurement.missing("lv_ef", "%", "x")])
    assert cli.main(["fusion", "compare", str(first), str(nothing)]) == 3
