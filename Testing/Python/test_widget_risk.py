"""The Fusion Risk widget on real MRML and real Qt: the form writes the record, scores and plan come back."""

from __future__ import annotations

import json
import sys

import pytest
from FusionRiskLib.clinical.entry import Typed, check, converted, from_rows, shown, with_row
from FusionRiskLib.clinical.record import Record, record_from_values


# -- what is typed, without any widget ---------------------------------------------------------------------------------
def test_a_row_is_empty_unknown_right_odd_or_wrong():
    assert check("sbp_mmhg", Typed("  ")).entry is None
    assert check("sbp_mmhg", Typed("unknown")).entry.state == "unknown"
    assert check("sbp_mmhg", Typed("18", "kPa")).entry.value == pytest.approx(135.01, abs=0.01)
    odd = check("sbp_mmhg", Typed("260"))
    assert odd.unusual
    assert odd.entry.value == 260
    wrong = check("sbp_mmhg", Typed("1480"))
    assert wrong.entry is None
    assert "sbp_mmhg is 1480 mmHg; it must be" in wrong.problem
    assert "a number" in check("sbp_mmhg", Typed("high")).problem
    assert check("sex", Typed("male")).entry.value == "male"
    assert check("diabetes", Typed("no")).entry.value is False
    assert "YYYY-MM-DD" in check("study_date", Typed("1.2.2020")).problem


def test_units_there_and_back():
    there = converted("total_chol_mg_dl", "232", "mg/dL", "mmol/L")
    assert float(there) == pytest.approx(6.0, abs=0.01)
    assert float(converted("total_chol_mg_dl", there, "mmol/L", "mg/dL")) == pytest.approx(232, abs=0.1)
    assert converted("total_chol_mg_dl", "unknown", "mg/dL", "mmol/L") == "unknown"


def test_one_row_for_two_fields_of_a_quantity():
    record = record_from_values({"total_chol_mmol_l": 6.0, "age_years": 61}, "r")
    typed = shown(record, "total_chol_mg_dl")
    assert (typed.text, typed.unit) == ("6", "mmol/L")
    record, _ = with_row(record, "total_chol_mg_dl", Typed("5", "mmol/L"))
    assert "total_chol_mmol_l" not in record.entries
    assert record.value("total_chol_mg_dl") == pytest.approx(193.35, abs=0.1)
    assert record.value("age_years") == 61
    same, checked = with_row(record, "total_chol_mg_dl", Typed("5000"))
    assert same is record
    assert checked.problem
    gone, _ = with_row(record, "total_chol_mg_dl", Typed(""))
    assert set(gone.entries) == {"age_years"}


def test_the_whole_form_at_once():
    record, problems = from_rows({"age_years": Typed("61"), "sex": Typed("male"), "sbp_mmhg": Typed("x")})
    assert set(record.entries) == {"age_years", "sex"}
    assert list(problems) == ["sbp_mmhg"]


def test_every_field_of_the_form_survives_being_shown_and_typed_again():
    from FusionRiskLib.clinical.fields import fields
    from FusionRiskLib.clinical.form import form

    values = {}
    for item in (item for group in form()["groups"] for item in group["fields"]):
        f = fields()[item["name"]]
        usual = (f.usual_low + f.usual_high) / 2 if f.numeric else None
        by_kind = {"yes_no": True, "choice": f.choices[:1], "date": "2020-01-31"}
        value = round(usual) if usual is not None else by_kind[f.kind]
        values[f.name] = value[0] if isinstance(value, tuple) else value
    record = record_from_values(values, "r")
    again, problems = from_rows({name: shown(record, name) for name in values})
    assert problems == {}
    assert again.column_values() == record.column_values()
    assert shown(Record(), "age_years").text == ""


# -- the widget --------------------------------------------------------------------------------------------------------
@pytest.fixture
def risk(desktop, widget_of):
    return widget_of("FusionRisk")


def type_into(widget, name, text):
    row = widget.form.rows[name]
    if row.values:
        row.edit.currentIndex = row.values.index(text)
    else:
        row.edit.text = text
        row.edit.editingFinished.emit()


def test_the_form_writes_the_record(risk):
    from FusionRiskLib.scene_logic import record_from_node

    ui = risk.ui
    assert "Choose a record" in ui.applyButton.toolTip
    assert not risk.form.groups["patient"].enabled
    ui.newButton.click()
    assert "empty" in ui.applyButton.toolTip
    node = risk._parameterNode.recordNode
    type_into(risk, "age_years", "61")
    type_into(risk, "sex", "male")
    type_into(risk, "diabetes", "unknown")
    assert ui.applyButton.enabled
    record = record_from_node(node)
    assert record.value("age_years") == 61
    assert record.value("sex") == "male"
    assert record.entries["diabetes"].state == "unknown"
    type_into(risk, "sbp_mmhg", "1480")
    assert not ui.applyButton.enabled
    assert "it must be" in ui.applyButton.toolTip
    assert "it must be" in risk.form.rows["sbp_mmhg"].edit.toolTip
    assert record_from_node(node).value("sbp_mmhg") is None
    type_into(risk, "sbp_mmhg", "148")
    assert ui.applyButton.enabled
    chol = risk.form.rows["total_chol_mg_dl"]
    type_into(risk, "total_chol_mg_dl", "232")
    chol.unit_box.currentIndex = chol.units.index("mmol/L")
    assert float(chol.text) == pytest.approx(6.0, abs=0.01)
    assert record_from_node(node).value("total_chol_mg_dl") == pytest.approx(232, abs=0.1)


def test_another_record_fills_the_form(risk, desktop):
    ui = risk.ui
    ui.newButton.click()
    first = risk._parameterNode.recordNode
    type_into(risk, "age_years", "40")
    risk.loadSample()
    assert float(risk.form.rows["age_years"].text) != 40
    ui.recordSelector.setCurrentNode(first)
    assert risk._parameterNode.recordNode is first
    assert risk.form.rows["age_years"].text == "40"


def test_a_file_becomes_a_record(risk, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"age_years": 55, "sex": "female"}))
    risk.openRecord(path)
    assert risk.form.rows["age_years"].text == "55"
    path.write_text("{")
    before = risk._parameterNode.recordNode
    risk.openRecord(path)
    assert str(path) in risk.ui.statusLabel.text
    assert risk._parameterNode.recordNode is before


def test_scores_plan_and_report_come_back(risk, desktop):
    """The sample through the child process; the numbers of the formulas; then removed."""
    from CardioPrecisionLib.widget_scene import shown_value
    from FusionRiskLib.scene_logic import record_from_node
    from FusionRiskLib.scores import scores
    from qt_bench import cells, picture, turn
    from scene_cases import contents

    risk.loadSample()
    before = contents(desktop.mrmlScene)
    ui = risk.ui
    ui.applyButton.click()
    turn(lambda: not risk.running)
    assert ui.statusLabel.text == "Done.", ui.statusLabel.text
    values = record_from_node(risk._parameterNode.recordNode).column_values()
    wanted = float(scores()["risk_prevent_base_ascvd_10y"].evaluate(values).values[0])
    shown = shown_value(risk.chosenRun.table, "risk_prevent_base_ascvd_10y")
    assert float(shown.split("\u00a0")[0]) == pytest.approx(wanted, abs=0.06)
    assert len(cells(ui.planTable, 1)) >= 3
    assert f"{len(cells(ui.planTable, 1))} statements apply" in ui.planLabel.text
    assert all(cells(ui.planTable, 3))
    assert ui.chartButton.enabled
    picture(risk.uiWidget, "panel-risk")
    ui.removeRunButton.click()
    assert contents(desktop.mrmlScene) == before


def test_measurements_of_other_modules_are_found(risk, desktop):
    from qt_bench import cells
    from test_risk_scene import add_measurements

    add_measurements(desktop.mrmlScene)
    risk.enter()
    names = cells(risk.ui.foundTable, 0)
    assert len(names) == 2
    assert all("measured" in text for text in cells(risk.ui.foundTable, 1))


def test_a_trained_model_is_asked(risk, desktop, tmp_path, monkeypatch):
    from CardioPrecisionLib import widget_qt as gui
    from FusionRiskLib.clinical.files import read_record
    from FusionRiskLib.fusion import jobs
    from FusionRiskLib.scene_logic import add_record
    from qt_bench import cells
    from scene_cases import contents
    from test_fusion_command import HEAD, SCHEMA, _rows, _write
    from test_risk_scene import DATA, add_measurements

    table = _write(tmp_path / "t.csv", HEAD, [row[:8] for row in _rows()])
    (tmp_path / "s.yaml").write_text(SCHEMA, encoding="utf-8")
    jobs.train(table, tmp_path / "s.yaml", tmp_path / "model", members=10)
    add_measurements(desktop.mrmlScene)
    risk._parameterNode.recordNode = add_record(desktop.mrmlScene, read_record(DATA / "clinical.json"))
    monkeypatch.setattr(risk.logic, "ensureFusion", lambda: None)
    ui = risk.ui
    assert not ui.predictButton.enabled
    risk._parameterNode.modelFolder = str(tmp_path / "nothing")
    ui.predictButton.click()
    assert "nothing" in ui.statusLabel.text
    before = contents(desktop.mrmlScene)
    ui.modelLineEdit.text = str(tmp_path / "model")

    class Impatient(gui.qt.QProgressDialog):
        def setLabelText(self, text):
            super().setLabelText(text)
            asked.append(ui.predictButton.enabled)
            self.canceled.emit()

        labelText = property(gui.qt.QProgressDialog.labelText, setLabelText)

    asked = []
    with monkeypatch.context() as patched:
        patched.setattr(gui.qt, "QProgressDialog", Impatient)
        ui.predictButton.click()
    assert ui.statusLabel.text == "Cancelled."
    assert not any(asked)
    assert contents(desktop.mrmlScene) == before
    assert ui.predictButton.enabled
    ui.predictButton.click()
    assert cells(ui.predictionTable), ui.statusLabel.text
    shown = dict(zip(cells(ui.predictionTable, 0), cells(ui.predictionTable, 1), strict=True))
    assert 0 <= float(shown["p yes"]) <= 1
    assert shown["state"] == "predicted"
    assert len(cells(ui.contributionTable)) == 5
    assert ui.contributionButton.enabled
    assert risk._prediction.chart is not None
    ui.predictionReportButton.click()
    ui.fusionCollapsibleButton.collapsed = False
    ui.removePredictionButton.click()
    assert contents(desktop.mrmlScene) == before
    assert not cells(ui.predictionTable)


def test_scene_close_empties_the_form(risk, desktop):
    risk.loadSample()
    assert risk.form.rows["age_years"].text
    desktop.mrmlScene.Clear(False)
    assert risk.form.rows["age_years"].text == ""
    assert risk._parameterNode.recordNode is None
    assert sys.modules["FusionRisk"]


def test_two_studies_are_compared(risk, desktop):
    """Measurement tables of the scene: what is beyond repeatability, and where nothing can be said."""
    from CardioPrecisionLib import scene_tables
    from CardioPrecisionLib.measurement import Measurement
    from CardioPrecisionLib.scene_batch import SceneBatch
    from qt_bench import cells

    with SceneBatch(desktop.mrmlScene, "x") as batch:
        made = [
            scene_tables.measurements_to_node(
                batch, [Measurement("lv_ef", ef, "%"), Measurement("rv_sv", 80.0, "mL")], f"study {ef:g}", "lv-function"
            )
            for ef in (60.0, 45.0)
        ]
    risk.ui.earlierSelector.setCurrentNode(made[0])
    assert cells(risk.ui.changeTable) == []
    risk.ui.laterSelector.setCurrentNode(made[1])
    assert cells(risk.ui.changeTable, 4) == ["beyond", "not assessable"]
    assert cells(risk.ui.changeTable, 3)[0].startswith("\u221215")
