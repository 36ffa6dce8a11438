"""Measurements of other runs in the record; a damaged file of any kind is an `InputError`, never another one."""

import copy
import json

import pytest
import test_clinical_fhir as fhir
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurement, Patient, document
from FusionRiskLib.clinical.files import read_record
from FusionRiskLib.clinical.measured import read_measurements, with_measurements
from FusionRiskLib.clinical.record import record_from_values
from FusionRiskLib.scores import scores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EF = Measurement("lv_ef", 34.0, "%")
CALCIUM = Measurement("agatston_score", 412.0, "1", site="total")


def test_measurements_fill_what_nobody_entered(tmp_path):
    path = tmp_path / "measurements.json"
    path.write_text(json.dumps(document("calcium", Patient(), [CALCIUM, EF], [])), encoding="utf-8")
    analysis, rows = read_measurements(path)
    record = with_measurements(record_from_values({"age_years": 60}, "x"), analysis, rows)
    assert record.value("cac_agatston") == 412
    assert record.value("lv_ef_pct") == 34
    assert record.entries["cac_agatston"].source == "calcium"
    points = scores()["maggic_points"].evaluate(record.column_values())
    assert "lv_ef_pct" not in points.reason[0]


def test_an_entered_value_stays_and_a_disagreement_is_said():
    record = record_from_values({"lv_ef_pct": 55}, "x")
    merged = with_measurements(record, "lv-function", [EF])
    assert merged.value("lv_ef_pct") == 55
    assert any("entered as 55, lv-function measured 34" in w for w in merged.warnings)
    assert not with_measurements(record_from_values({"lv_ef_pct": 34.4}, "x"), "lv-function", [EF]).warnings


def test_what_could_not_be_measured_is_said_and_stays_unknown():
    row = Measurement.missing("lv_ef", "%", "the base is not in the stack")
    merged = with_measurements(record_from_values({}, "x"), "lv-function", [row])
    assert "lv_ef_pct" not in merged.entries
    assert "the base is not in the stack" in merged.warnings[0]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": "x"}'])
def test_a_file_that_is_no_measurements(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no measurements\\.json"):
        read_measurements(path)


STRANGE = st.sampled_from([None, [], {}, "", "x", 3, -1.5, True, [None], ["x"], {"a": []}, [[1]], "2024-13-45"])
WHOLE = fhir.bundle(
    fhir.PATIENT, fhir.PRESSURE, fhir.SMOKING, fhir.observation("2093-3", 200, "mg/dL"),
    fhir.condition("http://snomed.info/sct", "44054006", verificationStatus=fhir.status("confirmed")),
    fhir.medication("C10AA05"),
)  # fmt: skip
RECORD = {
    "age_years": 50,
    "sex": "male",
    "statin": {"value": "yes", "unit": None},
    "sbp_mmhg": {"value": 1, "unit": "kPa"},
}


def _paths(node, path=()):
    yield path
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _paths(child, (*path, key))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=st.sampled_from([WHOLE, RECORD]), data=st.data(), strange=STRANGE)
def test_whatever_is_put_anywhere_the_error_is_for_the_user(tmp_path, source, data, strange):
    damaged = copy.deepcopy(source)
    path = data.draw(st.sampled_from([p for p in _paths(source) if p]))
    node = damaged
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = strange
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(damaged), encoding="utf-8")
    message = "damaged.json"
    try:
        read_record(file)
    except InputError as error:
        message = str(error)
    assert "damaged.json" in message
    assert "\n" not in message
