"""Record and measurements of other runs become scores and a plan; nothing is invented or dropped in silence."""

import json

import pytest
import risk_cases
from CardioPrecisionLib import measurement
from CardioPrecisionLib.analysis import Analysis, stoppable
from CardioPrecisionLib.errors import Cancelled, InputError
from FusionRiskLib.clinical.files import read_record
from FusionRiskLib.clinical.record import completed, record_from_values, validate
from FusionRiskLib.plan.rulebook import guidelines
from FusionRiskLib.risk import Risk, assess
from FusionRiskLib.risk_categories import category_of, scores_with_categories
from FusionRiskLib.risk_rows import FAMILIES, headline, values_of
from FusionRiskLib.risk_rows import validity as validity_of
from FusionRiskLib.scores import scores
from FusionRiskLib.scores.columns import Columns
from FusionRiskLib.scores.registry import families

PRIMARY = {
    "sex": "female", "age_years": 55, "race": "white", "sbp_mmhg": 130, "total_chol_mg_dl": 213, "hdl_chol_mg_dl": 50,
    "bp_treated": False, "statin": False, "diabetes": False, "current_smoker": False,
    "egfr_ckdepi2021_ml_min_173": 90, "bmi_kg_m2": 27,
}  # fmt: skip


@pytest.fixture(scope="module")
def patient():
    return assess(risk_cases.record(), [risk_cases.LV, risk_cases.CALCIUM])


def test_measurements_of_other_runs_reach_scores_and_plan(patient):
    calcium = risk_cases.value_in(risk_cases.CALCIUM, "agatston_score", "total")
    assert patient.record.value("cac_agatston") == pytest.approx(calcium)
    assert patient.record.value("lv_ef_pct") == pytest.approx(risk_cases.value_in(risk_cases.LV, "lv_ef", None))
    facts = values_of(patient.record, patient.runs)
    assert (facts["cac_agatston"].state, facts["cac_agatston"].source) == ("measured", "calcium")
    assert facts["lv_ef_pct"].source == "lv-function"
    assert facts["sbp_mmhg"].state == "entered"
    used = {fact.name: fact for s in patient.statements if s.state == "applies" for fact in s.inputs}
    assert used["cac_agatston"].value == pytest.approx(calcium)


def test_scores_are_those_of_the_registry_on_the_joined_record(patient):
    assert [s.name for s in patient.scores] == list(scores())
    columns = Columns(patient.record.column_values())
    for named in patient.scores:
        alone = scores()[named.name].evaluate(columns)
        assert named.state == alone.state[0]
        row = patient.measurements[named.name]
        if named.state == "measured":
            assert row.value == named.value == alone.values[0]
            assert named.score.citation in row.method
        else:
            assert named.value is None
            assert row.reason == named.reason
    by_name = {s.name: s for s in patient.scores}
    assert by_name["risk_pce_ascvd_10y"].value == pytest.approx(26.4, abs=0.1)
    assert by_name["risk_pce_ascvd_10y"].category.name == "high"
    assert by_name["risk_score2op_cvd_10y"].state == "out_of_range"


def test_what_was_entered_wins_and_the_user_hears_of_it():
    record = completed(risk_cases.record(), record_from_values({"cac_agatston": 400, "sbp_mmhg": 121}, "x"))
    found = assess(record, [risk_cases.CALCIUM], scores=["arterial_age"])
    assert found.record.value("cac_agatston") == 400
    assert found.scores[0].value == pytest.approx(39.1 + 7.25 * 5.994, abs=0.01)
    assert any("cac_agatston was entered as 400, calcium measured" in w for w in found.warnings)
    assert any("sbp_mmhg was entered as 121, the record says 148" in w for w in found.warnings)


def test_the_plan_does_not_depend_on_the_scores_asked_for(patient):
    few = assess(risk_cases.record(), [risk_cases.LV, risk_cases.CALCIUM], scores=["pce"])
    assert [s.name for s in few.scores] == ["risk_pce_ascvd_10y"]
    assert few.statements == patient.statements


def test_what_a_run_knows_of_its_patient_fills_a_gap_and_contradiction_is_said(tmp_path):
    bare = {k: v for k, v in PRIMARY.items() if k not in ("sex", "age_years")}
    found = assess(record_from_values(bare, "x"), [risk_cases.CALCIUM], scores=["pce"])
    assert (found.patient.sex, found.patient.age_years) == ("male", 61)
    assert any("sex is not in the record; it was taken from calcium" in w for w in found.warnings)
    assert found.scores[0].state == "measured"
    found = assess(record_from_values(PRIMARY, "x"), [risk_cases.CALCIUM])
    assert found.patient.sex == "female"
    assert any("patient with sex male, the record says female: please check" in w for w in found.warnings)
    assert any("age_years 61 years, the record says 55 years" in w for w in found.warnings)
    key, date = "0" * 32, "2025-04-01"
    named = risk_cases.changed(risk_cases.CALCIUM, tmp_path / "m.json", key=key, study_date=date)
    assert assess(record_from_values(PRIMARY, "x"), [named]).patient.key == key


def test_files_that_do_not_belong_together(tmp_path):
    record = risk_cases.record()
    with pytest.raises(InputError, match="Two measurement files are of calcium"):
        assess(record, [risk_cases.CALCIUM, risk_cases.CALCIUM])
    one = risk_cases.changed(risk_cases.CALCIUM, tmp_path / "a.json", key="a" * 32)
    other = risk_cases.changed(risk_cases.LV, tmp_path / "b.json", key="b" * 32)
    with pytest.raises(InputError, match="different patients"):
        assess(record, [one, other])
    with pytest.raises(InputError, match=r"no measurements\.json"):
        assess(record, [risk_cases.BUNDLE])
    with pytest.raises(InputError, match="'nonsense' is no score"):
        assess(record, scores=["nonsense"])


def _unfinished(rows):
    rows[0]["value"] = float("nan")


def _twice(rows):
    rows.append(dict(rows[0]))


@pytest.mark.parametrize(("change", "words"), [(_unfinished, "must be finite"), (_twice, "was given twice")])
def test_a_damaged_row_is_named(tmp_path, change, words):
    document = risk_cases.document(risk_cases.CALCIUM)
    change(document["measurements"])
    path = tmp_path / "measurements.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    name = document["measurements"][0]["name"]
    with pytest.raises(InputError, match=f"measurements.json: .*{name}.*{words}"):
        assess(risk_cases.record(), [path])


def test_a_run_that_measures_nothing_of_use_is_named(tmp_path):
    row = measurement.Measurement("wall_thickening", 40.0, "%", site="aha01")
    path = tmp_path / "m.json"
    path.write_text(json.dumps(measurement.document("walls", measurement.Patient(), [row], [])), encoding="utf-8")
    found = assess(record_from_values(PRIMARY, "x"), [path])
    assert any("None of the 1 measurements of walls is used here" in w for w in found.warnings)


def test_what_only_the_plan_asks_for_reaches_it(tmp_path):
    row = measurement.Measurement("cad_rads", "3/P2", "1")
    path = tmp_path / "m.json"
    text = json.dumps(measurement.document("plaque", measurement.Patient(), [row], ["The scan was noisy."]))
    path.write_text(text, encoding="utf-8")
    record = record_from_values(PRIMARY | {"chest_pain": "atypical"}, "x")
    found = assess(record, [path])
    states = {s.id: s.state for s in found.statements if s.topic == "cad_rads"}
    assert states["cad_rads_three"] == "applies"
    assert states["cad_rads_two"] == "does_not_apply"
    assert "plaque: The scan was noisy." in found.warnings
    assert not any("None of" in w for w in found.warnings)


def test_warnings_of_a_run_come_along(patient):
    said = risk_cases.document(risk_cases.CALCIUM)["warnings"]
    assert said
    assert {f"calcium: {text}" for text in said} <= set(patient.warnings)


def test_prior_disease_takes_the_scores_of_primary_prevention_away():
    found = assess(record_from_values(PRIMARY | {"prior_mi": True}, "x"))
    states = {s.name: (s.state, s.reason) for s in found.scores}
    for name in ("risk_prevent_base_ascvd_10y", "risk_pce_ascvd_10y", "risk_framingham_lipid_cvd_10y"):
        assert states[name][0] == "not_assessable"
        assert "prior_ascvd is yes" in states[name][1]
    assert not [s.id for s in found.statements if s.state == "applies" and s.topic in ("lipids_pce", "lipids_prevent")
                and any(f.name.startswith("risk_") for f in s.inputs)]  # fmt: skip


def test_the_headline_has_only_what_the_patient_has():
    names = headline(assess(record_from_values(PRIMARY | {"atrial_fibrillation": False}, "x")).scores,
                     record_from_values(PRIMARY, "x"))  # fmt: skip
    assert names[0] == "risk_prevent_base_ascvd_10y"
    assert "cha2ds2_va_points" not in names
    assert "risk_score2_cvd_10y" not in names  # no region


def test_nothing_is_written_when_cancelled(tmp_path):
    with pytest.raises(Cancelled):
        assess(risk_cases.record(), [risk_cases.LV], progress=stoppable(lambda f, s: None, lambda: True))


@pytest.mark.parametrize(
    ("score", "age", "limits", "names"),
    [
        ("risk_prevent_base_ascvd_10y", 50, (3, 5, 10), ("low", "borderline", "intermediate", "high")),
        ("risk_pce_ascvd_10y", 50, (5, 7.5, 20), ("low", "borderline", "intermediate", "high")),
        ("risk_score2_cvd_10y", 49.9, (2.5, 7.5), ("low to moderate", "high", "very high")),
        ("risk_score2_cvd_10y", 50, (5, 10), ("low to moderate", "high", "very high")),
        ("risk_score2op_cvd_10y", 70, (7.5, 15), ("low to moderate", "high", "very high")),
        ("risk_score2diabetes_cvd_10y", 60, (5, 10, 20), ("low", "moderate", "high", "very high")),
    ],
)
def test_categories_at_their_limits(score, age, limits, names):
    columns = Columns({"age_years": age})
    for n, limit in enumerate(limits):
        assert category_of(score, limit - 1e-9, columns).name == names[n]
        assert category_of(score, float(limit), columns).name == names[n + 1]


def test_a_category_belongs_to_the_scores_of_its_guideline():
    columns = Columns({"age_years": 60})
    for score in scores_with_categories():
        assert score in category_of(score, 1.0, columns).guideline.scores
    for score in ("risk_prevent_base_cvd_10y", "risk_framingham_lipid_cvd_10y", "risk_mesa_chd_10y"):
        assert category_of(score, 12.0, columns) is None
    assert category_of("risk_score2_cvd_10y", 12.0, Columns({"age_years": 60, "diabetes": True})) is None
    assert category_of("risk_score2_cvd_10y", 12.0, Columns({})) is None
    assert category_of("risk_pce_ascvd_10y", None, columns) is None
    assert set(families()) == set(FAMILIES)
    assert guidelines()


def test_where_a_score_holds_is_said():
    text = validity_of(scores()["risk_pce_ascvd_10y"])
    assert text.startswith("Holds for age 40 to 79 years, total cholesterol 130 to 320 mg/dL")
    assert text.endswith("; not with coronary disease, stroke or peripheral artery disease before.")
    assert "age 45 to below 85 years" in validity_of(scores()["cac_percentile_mesa"])
    assert validity_of(scores()["arterial_age"]) == "No range was published."


def test_written_files(patient, tmp_path):
    folder = tmp_path / "run"
    written = patient.write(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "measurements.csv", "measurements.json", "plan.json", "record.json", "report.html", "run.json",
    ]  # fmt: skip
    assert written == json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    measurement.validate(written)
    assert written["analysis"] == "risk"
    validate(json.loads((folder / "record.json").read_text(encoding="utf-8")))
    again = read_record(folder / "record.json")
    assert {n: e.value for n, e in again.entries.items()} == {n: e.value for n, e in patient.record.entries.items()}
    # Scored again from what it wrote, the patient has the same scores.
    assert [s.value for s in assess(again).scores] == [s.value for s in patient.scores]
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert [s["id"] for s in plan["statements"]] == [s.id for s in patient.statements]
    assert all(s["citation"] for s in plan["statements"])
    first = (folder / "measurements.json").read_bytes()
    patient.write(folder)  # onto itself
    assert (folder / "measurements.json").read_bytes() == first
    (folder / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"mine\.txt"):
        patient.write(folder)


def test_it_is_an_analysis():
    assert isinstance(Risk(), Analysis)
    parameters = Risk.Parameters(score=["pce"])
    assert parameters.wanted == ("pce",)
    assert Risk.Parameters().wanted is None
    with pytest.raises(InputError, match="no score"):
        Risk.Parameters(score=("pcee",))
