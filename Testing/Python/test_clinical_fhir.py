"""A FHIR R4 bundle becomes a record; what is malformed is refused by its place."""

import copy
import json
from datetime import date

import pytest
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.clinical.files import read_record

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def quantity(value, unit):
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def observation(code, value, unit, day="2024-03-01", **more):
    coding = {"coding": [{"system": LOINC, "code": code}]}
    return {"resourceType": "Observation", "status": "final", "code": coding, "effectiveDateTime": day,
            "subject": {"reference": "Patient/p"}, "valueQuantity": quantity(value, unit)} | more  # fmt: skip


def condition(system, code, **more):
    coding = {"coding": [{"system": system, "code": code}]}
    return {"resourceType": "Condition", "code": coding, "subject": {"reference": "Patient/p"}} | more


def status(code):
    return {"coding": [{"code": code}]}


def medication(code, state="active", system="http://www.whocc.no/atc"):
    coding = {"coding": [{"system": system, "code": code}]}
    return {"resourceType": "MedicationStatement", "status": state, "medicationCodeableConcept": coding,
            "subject": {"reference": "Patient/p"}}  # fmt: skip


PATIENT = {"resourceType": "Patient", "gender": "female", "birthDate": "1960-06-15", "name": [{"family": "Nobody"}]}
PRESSURE = {
    "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
    "effectiveDateTime": "2024-03-01T10:00:00Z",
    "component": [
        {"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}, "valueQuantity": quantity(142, "mm[Hg]")},
        {"code": {"coding": [{"system": LOINC, "code": "8462-4"}]}, "valueQuantity": quantity(88, "mm[Hg]")},
    ],
}  # fmt: skip
SMOKING = {
    "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": "72166-2"}]},
    "effectiveDateTime": "2024-03-01",
    "valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "8517006"}]},
}  # fmt: skip


def bundle(*resources):
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": copy.deepcopy(r)} for r in resources],
    }


def read(tmp_path, *resources, on=None):
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(bundle(*resources)), encoding="utf-8")
    return read_record(path, on=on)


def test_a_whole_patient(tmp_path):
    record = read(
        tmp_path, PATIENT, PRESSURE, SMOKING,
        observation("2093-3", 5.2, "mmol/L"), observation("2085-9", 45, "mg/dL"),
        observation("2093-3", 7.0, "mmol/L", day="2020-01-01"), observation("4548-4", 6.9, "%"),
        observation("9999-9", 1, "1"), {"resourceType": "Encounter"},
        condition("http://snomed.info/sct", "44054006"), condition("http://hl7.org/fhir/sid/icd-10", "I48.0"),
        condition("http://snomed.info/sct", "38341003", verificationStatus=status("refuted")),
        condition("http://snomed.info/sct", "22298006", clinicalStatus=status("resolved")),
        condition("http://snomed.info/sct", "84114007", clinicalStatus=status("resolved")),
        condition("http://snomed.info/sct", "13645005", verificationStatus=status("provisional")),
        medication("C10AA05"), medication("C09AA05", "stopped"), medication("6918", system="http://www.nlm.nih.gov/research/umls/rxnorm"),
    )  # fmt: skip
    assert record.value("age_years") == 63  # on the day of the newest observation
    assert record.value("sex") == "female"
    assert (record.value("sbp_mmhg"), record.value("dbp_mmhg")) == (142, 88)
    assert record.value("total_chol_mg_dl") == pytest.approx(201.08, abs=0.01)  # the newest, in the field's unit
    assert record.value("hba1c_pct") == 6.9
    assert (record.value("current_smoker"), record.value("ever_smoker")) == (False, True)
    assert record.value("diabetes") is True
    assert record.value("atrial_fibrillation") is True
    assert record.value("hypertension") is False
    assert record.value("prior_mi") is True
    assert "heart_failure" not in record.entries
    assert "copd" not in record.entries
    assert record.value("statin") is True
    assert record.value("lipid_med") is True
    assert record.value("on_beta_blocker") is True
    assert "on_acei_arb" not in record.entries
    text = json.dumps(record.to_json()) + " ".join(record.warnings)
    assert "Nobody" not in text
    assert "1960" not in text
    for words in ("Encounter", "observations of other things", "not confirmed", "not taken now"):
        assert any(words in w for w in record.warnings), words


def test_the_age_is_that_of_the_day_asked_for(tmp_path):
    assert read(tmp_path, PATIENT, on=date(2020, 6, 14)).value("age_years") == 59
    assert read(tmp_path, PATIENT, on=date(2020, 6, 15)).value("age_years") == 60
    record = read(tmp_path, PATIENT)
    assert "age_years" not in record.entries
    assert any("age is not known" in w for w in record.warnings)


def test_absent_data_is_unknown(tmp_path):
    absent = observation("2093-3", 1, "mg/dL", dataAbsentReason=status("unknown"))
    del absent["valueQuantity"]
    assert read(tmp_path, PATIENT, absent).entries["total_chol_mg_dl"].state == "unknown"


def _without_value(resource):
    return {k: v for k, v in resource.items() if k != "valueQuantity"} | {"valueString": "high"}


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ((), "0 Patient resources"),
        ((PATIENT, PATIENT), "2 Patient resources"),
        ((PATIENT, observation("2093-3", 5.2, "mg/dL")), r"entry 2 \(Observation\): total_chol_mg_dl is 5.2 mg/dL"),
        ((PATIENT, observation("2093-3", 200, "g/L")), "entry 2.*total_chol_mg_dl: the unit is 'g/L'"),
        ((PATIENT, observation("8480-6", "high", "mm[Hg]")), "no number"),
        ((PATIENT, observation("8480-6", 900, "mm[Hg]")), "sbp_mmhg is 900"),
        ((PATIENT, _without_value(observation("8480-6", 1, "mm[Hg]"))), "no valueQuantity"),
        ((PATIENT, observation("2093-3", 200, "mg/dL"), observation("2093-3", 250, "mg/dL")), "two different values"),
        ((PATIENT, medication("C10AA05"), medication("C10AA05") | {"subject": {"reference": "Patient/q"}}),
         "2 different subjects"),
        ((PATIENT, observation("2093-3", 200, "mg/dL", effectiveDateTime="yesterday")), "date"),
        ((PATIENT, observation("2093-3", 200, "mg/dL") | {"code": []}), "code has the wrong type"),
        ((PATIENT, {"id": "x"}), "entry 2: there is no resource"),
        ((PATIENT | {"gender": "F"},), "gender"),
        ((PATIENT, medication("C10AA05", "taken")), "status"),
    ],
)  # fmt: skip
def test_a_malformed_bundle_is_refused(tmp_path, resources, words):
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, *resources)
    assert "\n" not in str(caught.value)
    assert "Nobody" not in str(caught.value)


def test_a_comparator_is_no_exact_value(tmp_path):
    below = observation("33762-6", 5, "pg/mL")
    below["valueQuantity"]["comparator"] = "<"
    with pytest.raises(InputError, match="comparator"):
        read(tmp_path, PATIENT, below)
