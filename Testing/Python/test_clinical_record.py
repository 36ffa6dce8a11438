"""The clinical record from JSON and CSV: right values, units, unknowns; wrong ones refused by field and line."""

import json

import pytest
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.clinical import schema as schema_module
from FusionRiskLib.clinical.fields import field_name, fields
from FusionRiskLib.clinical.files import read_csv_records, read_record
from FusionRiskLib.clinical.form import form
from FusionRiskLib.clinical.record import record_from_values, schema, validate
from FusionRiskLib.scores import scores


def write(tmp_path, text, name="record.csv"):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def test_json_values_units_and_unknowns(tmp_path):
    path = write(tmp_path, {"age": 61, "sex": "F", "total_chol_mg_dl": {"value": 5.2, "unit": "mmol/L"},
                            "smoking": True, "statin": "unknown", "bp_med": None,
                            "weight_kg": {"value": 150, "unit": "[lb_av]"},
                            "shoe_size": 38}, "p.json")  # fmt: skip
    record = read_record(path)
    assert record.value("age_years") == 61
    assert record.value("sex") == "female"
    assert record.value("total_chol_mg_dl") == pytest.approx(201.08, abs=0.01)
    assert record.value("weight_kg") == pytest.approx(68.04, abs=0.01)
    assert record.value("current_smoker") is True
    assert record.entries["statin"].state == "unknown"
    assert "bp_treated" not in record.entries
    assert any("shoe_size" in w for w in record.warnings)
    assert record.patient().sex == "female"


def test_a_written_record_is_read_again(tmp_path):
    record = record_from_values({"age_years": 61, "sex": "male", "statin": "unknown", "study_date": "2024-05-06"}, "x")
    document = json.loads(json.dumps(record.to_json()))
    validate(document)
    assert read_record(write(tmp_path, document, "r.json")).entries == record.entries
    document["fields"]["age_years"]["value"] = 300
    with pytest.raises(InputError, match="age_years"):
        read_record(write(tmp_path, document, "r.json"))


def test_the_shipped_schema_is_that_of_the_field_table():
    assert schema() == schema_module.build(), "run: python -m FusionRiskLib.clinical.schema > schema.json"


def test_the_field_table_holds_together():
    from CardioPrecisionLib.patient import NUMERIC_FIELDS

    seen = {}
    for f in fields().values():
        for name in (f.name, *f.aliases):
            assert seen.setdefault(name, f.name) == f.name
            assert field_name(name) == f.name
        if f.numeric:
            assert f.low <= f.usual_low < f.usual_high <= f.high, f.name
            assert not f.units or f.unit in f.units, f.name
        for source in f.sources:
            back = next(s for s in fields()[source.source].sources if s.source == f.name)
            assert back.factor * source.factor == pytest.approx(1, rel=1e-5)
            assert fields()[source.source].unit in f.units
        assert all(name in fields() for name in f.implied_by)
    for name, limits in NUMERIC_FIELDS.items():  # one opinion of what a value can be
        assert (fields()[name].low, fields()[name].high) == limits, name
    needed = {need.field for score in scores().values() for need in score.needs}
    assert needed <= set(fields())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"total_chol_mg_dl": 5.2}, r"total_chol_mg_dl is 5.2 mg/dL.*looks like mmol/L.*total_chol_mmol_l"),
        ({"total_chol_mmol_l": 200}, "looks like mg/dL"),
        ({"hdl_chol_mg_dl": 1.3}, "hdl_chol_mmol_l"),
        ({"hba1c_pct": 48}, "hba1c_mmol_mol"),
        ({"creatinine_mg_dl": 90}, "creatinine_umol_l"),
        ({"height_cm": 1.78}, "looks like m"),
        ({"age_years": 300}, "0 to 120"),
        ({"age_years": float("inf")}, "0 to 120"),
        ({"age_years": True}, "a number"),
        ({"age_years": [50]}, "give one value"),
        ({"sbp_mmhg": "12,5"}, "as a point"),
        ({"sbp_mmhg": "=1+1"}, "formula"),
        ({"statin": "maybe"}, "yes, no or unknown"),
        ({"sex": "x"}, "female or male"),
        ({"nyha": 2.5}, "whole number"),
        ({"study_date": "5.6.2024"}, "YYYY-MM-DD"),
        ({"total_chol_mg_dl": {"value": 5.2, "unit": "g/L"}}, "accepted|mmol/L"),
        ({"total_chol_mg_dl": {"valeu": 5.2}}, "valeu"),
        ({"smoking": "yes", "current_smoker": "no"}, "twice"),
    ],
)
def test_values_that_cannot_be(tmp_path, values, words):
    with pytest.raises(InputError, match=words) as caught:
        read_record(write(tmp_path, values, "p.json"))
    assert "p.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unusual_and_contradicting_values_are_warnings():
    record = record_from_values({"sbp_mmhg": 230, "total_chol_mg_dl": 200, "total_chol_mmol_l": 7.0}, "x")
    assert len(record.warnings) == 2
    assert "sbp_mmhg" in record.warnings[0]
    assert "do not agree" in record.warnings[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"age_years": 50, "age_years": 60}', "twice"),
        ('{"age_years": ', "line 1: this is not JSON"),
        ("[1]", "one object"),
        ('{"resourceType": "Patient"}', "no FHIR Bundle"),
    ],
)
def test_json_that_is_no_record(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_record(write(tmp_path, text, "p.json"))


def test_csv_with_a_mapping(tmp_path):
    path = write(tmp_path, "ID;Alter;Chol;note\na1;55;5.2;x\nb2;61;;y\n")
    mapping = {"ID": "patient_id", "Alter": "age_years", "Chol": {"field": "total_chol_mg_dl", "unit": "mmol/L"}}
    first, second = read_csv_records(path, mapping)
    assert first.value("total_chol_mg_dl") == pytest.approx(201.08, abs=0.01)
    assert "total_chol_mg_dl" not in second.entries
    assert any("note" in w for w in first.warnings)


@pytest.mark.parametrize(
    ("text", "mapping", "words"),
    [
        ("", None, "empty"),
        ("age_years,sex\n", None, "no row"),
        ("age_years,age_years\n1,2\n", None, "more than once"),
        ("age_years,age\n51,52\n", None, "both age_years"),
        ("age_years,sex\n51\n", None, "line 2: 1 cells"),
        ("a,b\n1,2\n", None, "no column is a clinical field"),
        ("a\n1\n", {"b": "age_years"}, "not in the file"),
        ("a\n1\n", {"a": "agee"}, "no clinical field"),
        ("a\n1\n", {"a": {"field": "age_years", "unit": "mg"}}, "accepted in"),
        ("patient_id,age_years\nQ77,51\nQ78,52\nQ77,53\n", None, "line 4: the patient of line 2"),
        ("patient_id,age_years\n,51\n", None, "line 2: patient_id is empty"),
        ("age_years,note\n51,=cmd|' /C calc'!A0\n", None, "line 2: note holds a formula"),
        ("age_years,note\n51,@SUM(A1)\n", None, "formula"),
        ("age_years,note\n51,+A1\n", None, "formula"),
        ("age_years,sex\n51,male\n40,apple\n", None, "line 3: sex"),
    ],
)
def test_csv_that_is_refused(tmp_path, text, mapping, words):
    with pytest.raises(InputError, match=words) as caught:
        read_csv_records(write(tmp_path, text), mapping)
    assert "Q77" not in str(caught.value)


def test_negative_numbers_and_dashes_are_no_formulas(tmp_path):
    path = write(tmp_path, "age_years,prs_cad_z,note\n51,-1.5,-\n52,+.5,well - known\n")
    assert [r.value("prs_cad_z") for r in read_csv_records(path)] == [-1.5, 0.5]


def test_the_form_has_every_quantity_once():
    shown = {}
    for group in form()["groups"]:
        assert group["title"]
        assert group["fields"]
        for item in group["fields"]:
            assert item["name"] not in shown
            shown[item["name"]] = item
    assert "total_chol_mg_dl" in shown
    assert "total_chol_mmol_l" not in shown
    assert set(shown["total_chol_mg_dl"]["units"]) == {"mg/dL", "mmol/L"}
    assert shown["statin"]["widget"] == "tristate"
    assert shown["sex"]["choices"][0]["value"] == "female"
    hidden = set(fields()) - set(shown)
    assert all(any(s.source in shown for s in fields()[name].sources) for name in hidden)
    json.dumps(form())
