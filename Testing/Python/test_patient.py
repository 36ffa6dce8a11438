"""Patient facts from headers and entered files; the keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pydicom
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Patient
from CardioPrecisionLib.patient import (
    config_folder,
    merge,
    patient_from_dicom,
    patient_key,
    read_clinical,
    read_dicom_patient,
)


def header(**values):
    ds = pydicom.Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def test_header():
    ds = header(
        PatientID="X1",
        PatientSex="F",
        PatientAge="054Y",
        PatientSize="1.68",
        PatientWeight="66.5",
        StudyDate="20250115",
        PatientName="Doe^Jane",
        PatientBirthDate="19700101",
    )
    patient = patient_from_dicom(ds)
    assert (patient.sex, patient.age_years, patient.height_cm, patient.weight_kg, patient.study_date) == (
        "female",
        54.0,
        168.0,
        66.5,
        "2025-01-15",
    )
    assert "Doe" not in str(patient)
    assert "X1" not in str(patient)
    assert "1970" not in str(patient)


@pytest.mark.parametrize(
    ("size", "height", "warned"),
    [
        ("1.75", 175.0, False),
        ("175", 175.0, True),
        ("0", None, False),
        ("", None, False),
        ("0.5", 50.0, False),
        ("5.8", None, True),
        ("1750", None, True),
        ("-1", None, False),
    ],
)
def test_size_is_metres_or_a_mistake(size, height, warned):
    patient, warnings = read_dicom_patient(header(PatientSize=size))
    assert patient.height_cm == height
    assert bool(warnings) is warned


@pytest.mark.parametrize(("weight", "expected"), [("70", 70.0), ("0", None), ("70000", None), ("3.2", 3.2)])
def test_weight(weight, expected):
    assert patient_from_dicom(header(PatientWeight=weight)).weight_kg == expected


@pytest.mark.parametrize(
    ("values", "age"),
    [
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "010D"}, 0.03),
        ({"PatientAge": "61"}, 61.0),
        ({"PatientAge": "000Y", "PatientBirthDate": "19800520", "StudyDate": "20200519"}, 39.0),
        ({"PatientBirthDate": "19800520", "StudyDate": "20200520"}, 40.0),
        ({"PatientBirthDate": "20300101", "StudyDate": "20200520"}, None),
        ({"PatientBirthDate": "18000101", "StudyDate": "20200520"}, None),
        ({"PatientBirthDate": "19800520"}, None),
        ({"PatientAge": "abc"}, None),
        ({}, None),
    ],
)
def test_age(values, age):
    with pydicom.config.disable_value_validation():
        assert patient_from_dicom(header(**values)).age_years == age


def test_malformed_values_are_absent_not_fatal():
    ds = pydicom.Dataset()
    ds.add_new(0x00101030, "LO", "heavy")  # PatientWeight with a wrong VR and no number
    ds.add_new(0x00101020, "LO", "nan")
    assert patient_from_dicom(ds) == Patient()


def test_key_is_hmac_of_id_and_issuer():
    key = patient_key("P-17", "Hospital A")
    secret = bytes.fromhex((config_folder() / "patient-key.secret").read_text().strip())
    assert len(secret) == 32
    assert key == hmac.new(secret, b"Hospital A\0P-17", hashlib.sha256).hexdigest()[:32]
    assert patient_key(" P-17 ", "Hospital A") == key
    assert patient_key("P-17", "Hospital B") != key
    assert patient_key("") is None
    if sys.platform != "win32":
        assert stat.S_IMODE(os.stat(config_folder() / "patient-key.secret").st_mode) == 0o600
    assert [p.name for p in config_folder().iterdir()] == ["patient-key.secret"]


def test_secret_is_made_once_by_many(monkeypatch, tmp_path):
    monkeypatch.setenv("CARDIOPRECISION_CONFIG", str(tmp_path / "new" / "config"))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: patient_key("A"), range(32)))) == 1


def test_no_key_where_the_secret_cannot_be_kept(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("CARDIOPRECISION_CONFIG", str(blocked))
    assert patient_key("A") is None
    assert patient_from_dicom(header(PatientID="A", PatientSex="M")) == Patient(sex="male")
    broken = tmp_path / "config"
    broken.mkdir()
    (broken / "patient-key.secret").write_text("too short")
    monkeypatch.setenv("CARDIOPRECISION_CONFIG", str(broken))
    assert patient_key("A") is None
    assert (broken / "patient-key.secret").read_text() == "too short"


def test_clinical_json_and_csv_say_the_same(tmp_path):
    values = {
        "age_years": 61,
        "sex": "F",
        "height_cm": 170.5,
        "weight_kg": 72,
        "sbp_mmhg": 132,
        "bp_med": "yes",
        "favourite_colour": "blue",
        "statin": None,
    }
    as_json = tmp_path / "a.json"
    as_json.write_text(json.dumps(values))
    commas = tmp_path / "a.csv"
    commas.write_text("\ufeff" + ",".join(values) + "\r\n61,F,170.5,72,132,yes,blue,\r\n", encoding="utf-8")
    semicolons = tmp_path / "b.csv"
    semicolons.write_text(";".join(values) + "\n61;F;170,5;72;132;yes;blue;\n")
    for path in (as_json, commas, semicolons):
        clinical = read_clinical(path)
        assert clinical.patient == Patient(sex="female", age_years=61, height_cm=170.5, weight_kg=72)
        assert clinical.fields == {"sbp_mmhg": 132, "bp_treated": True, "favourite_colour": "blue"}
        assert len(clinical.warnings) == 1
        assert "favourite_colour" in clinical.warnings[0]
        assert "blue" not in clinical.warnings[0]
        assert clinical.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"height_cm": 1.75}', "height_cm is 1.75; it must be from 25 to 250"),
        ('{"weight_kg": "heavy"}', "weight_kg must be a number from 0.3 to 400"),
        ('{"age_years": NaN}', "age_years"),
        ('{"age_years": true}', "age_years must be a number"),
        ('{"sex": "x"}', "sex must be male or female"),
        ('{"diabetes": "maybe"}', "diabetes must be yes or no"),
        ('{"study_date": "15.1.2025"}', "YYYY-MM-DD"),
        ('{"bp_med": 1, "bp_treated": 1}', "given twice"),
        ("[1, 2]", "one object"),
        ("{", "neither"),
        ('{"age_years": 1e999}', "age_years"),
    ],
)
def test_bad_clinical_json(tmp_path, text, said):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_clinical(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 rows"),
        ("sex,age_years\n", "0 rows"),
        ("sex\nmale\nfemale\n", "2 rows"),
        ("sex,sex\nmale,male\n", "more than"),
        ("sex,age_years\nmale\n", "2 columns"),
    ],
)
def test_bad_clinical_csv(tmp_path, text, said):
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_clinical(path)


def test_clinical_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_clinical(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_clinical(tmp_path)


def test_schema_takes_what_the_reader_takes():
    from importlib import resources

    import jsonschema
    from CardioPrecisionLib.patient import NUMERIC_FIELDS

    schema = json.loads(resources.files("CardioPrecisionLib").joinpath("schemas/clinical-1.schema.json").read_text())
    for name, (low, high) in NUMERIC_FIELDS.items():
        assert (schema["properties"][name]["minimum"], schema["properties"][name]["maximum"]) == (low, high)
    jsonschema.validate({"age_years": 61, "sex": "F", "statin": None, "other": 1}, schema)


def test_entered_wins_and_disagreement_is_told():
    told = Patient(key="ab" * 16, sex="male", age_years=60, height_cm=170, weight_kg=70, study_date="2025-01-01")
    merged, warnings = merge(told, Patient(sex="female", height_cm=176, weight_kg=80))
    assert merged == Patient("ab" * 16, "female", 60, 176, 80, "2025-01-01")
    assert len(warnings) == 2  # the sex and the weight; 3.5 % of height is no disagreement
    assert merge(told, Patient())[0] == told
    assert merge(Patient(), Patient(sex="male", age_years=50)) == (Patient(sex="male", age_years=50), [])
