"""Risk in a MRML scene on slicer-core: record and measurement tables in, the same numbers out; all or nothing."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")

from CardioPrecisionLib import scene as mrml  # noqa: E402
from CardioPrecisionLib.analysis import Result  # noqa: E402
from CardioPrecisionLib.errors import Cancelled, InputError  # noqa: E402
from CardioPrecisionLib.image import Image  # noqa: E402
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, State, document  # noqa: E402
from CardioPrecisionLib.scene_batch import SceneBatch, children_of, nodes_of  # noqa: E402
from CoronaryPlaqueLib import scene_logic as plaque_scene  # noqa: E402
from FusionRiskLib import scene_logic  # noqa: E402
from FusionRiskLib.clinical.files import read_record  # noqa: E402
from FusionRiskLib.risk import assess  # noqa: E402
from FusionRiskLib.scene_measured import analysis_of, measurements_from_table  # noqa: E402
from FusionRiskLib.scores import scores  # noqa: E402
from LVFunctionLib import scene_logic as lv_scene  # noqa: E402
from scene_cases import cancelling, contents, fail_at  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "Testing" / "Data" / "risk"
FILES = [DATA / "lv-function.measurements.json", DATA / "calcium.measurements.json"]


@pytest.fixture
def app(tmp_path):
    (tmp_path / "cache").mkdir()
    return mrml.MrmlApplication(str(tmp_path / "cache"))


@pytest.fixture
def record_node(app):
    return scene_logic.add_record(app.scene, read_record(DATA / "clinical.json"))


def rows_of(path):
    return Measurements(map(Measurement.from_json, json.loads(path.read_text(encoding="utf-8"))["measurements"]))


def add_measurements(scene):
    """The tables of the other modules, as these modules put them into a scene."""
    with SceneBatch(scene, "input") as batch:
        grid = Image(np.zeros((4, 4, 3), np.int16), np.eye(4))
        cine, ct = (mrml.image_to_node(batch, grid, name) for name in ("cine", "ct"))
        batch.item(cine)
        batch.item(ct)
    lv = lv_scene.add_results(scene, cine, Result(rows_of(FILES[0])))
    calcium = plaque_scene.add_results(scene, ct, Result(rows_of(FILES[1])))
    return lv.measurement_table, calcium.measurement_table


def add_table(scene, rows, name="Coronary calcium measurements", analysis="calcium"):
    from CardioPrecisionLib import scene_tables

    with SceneBatch(scene, "table") as batch:
        return scene_tables.measurements_to_node(batch, rows, name, analysis)


def add_text(scene, text):
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "The record")
    node.SetText(text)
    return node


def column(node, name):
    table = node.GetTable()
    return [table.GetColumnByName(name).GetValue(r) for r in range(table.GetNumberOfRows())]


def rows_as_json(measurements):
    return [row.to_json() for row in measurements]


def test_a_record_alone_is_enough(app, record_node):
    done = scene_logic.run_on_nodes(app.scene, record_node, run_id="run-1")
    values = read_record(DATA / "clinical.json").column_values()
    assert len(done.measurements) == len(scores())
    for name, score in scores().items():
        expected, row = score.evaluate(values), done.measurements[name]
        assert row.state == expected.state[0]
        if isinstance(row.value, float):
            assert row.value == pytest.approx(float(expected.values[0]), rel=1e-12)
        assert row.reason == expected.reason[0]
    assert done.measurements.value("risk_pce_ascvd_10y") > 1

    # the table of scores: every one, with its state
    table = done.measurement_table
    assert column(table, "name") == list(scores())
    place = column(table, "name").index("risk_pce_ascvd_10y")
    assert column(table, "value")[place] == done.measurements.value("risk_pce_ascvd_10y")
    assert column(table, "unit")[place] == "%"
    missing = column(table, "name").index("risk_mesa_cac_chd_10y")
    assert math.isnan(column(table, "value")[missing])
    assert column(table, "state")[missing] == "not_assessable"
    assert "cac_agatston" in column(table, "reason")[missing]

    # plan and values
    assert column(done.plan_table, "id") == [row["id"] for row in done.statements]
    assert set(column(done.plan_table, "state")) == {"applies", "does_not_apply", "not_assessable"}
    assert all(column(done.plan_table, "citation"))
    values = dict(zip(column(done.values_table, "name"), column(done.values_table, "value"), strict=True))
    assert (values["sex"], values["sbp_mmhg"], values["bp_treated"]) == ("male", "148", "yes")
    states = dict(zip(column(done.values_table, "name"), column(done.values_table, "state"), strict=True))
    assert states["family_history_cad"] == "unknown"

    # plot
    shown = dict(zip(column(done.risk_table, "score"), column(done.risk_table, "risk"), strict=True))
    assert shown[scores()["risk_pce_ascvd_10y"].title] == done.measurements.value("risk_pce_ascvd_10y")
    assert shown[scores()["risk_score2_cvd_10y"].title] == done.measurements.value("risk_score2_cvd_10y")
    assert not any("MESA" in title for title in shown)  # there is no calcium score
    series = done.chart.GetNthPlotSeriesNode(0)
    assert series.GetTableNode() is done.risk_table
    assert (series.GetYColumnName(), series.GetLabelColumnName()) == ("risk", "score")
    assert done.risk_table.GetColumnUnitLabel("risk") == "%"

    # report
    page = done.report.GetText()
    assert "<html" in page
    assert "not for clinical decisions" in page
    assert "Pooled Cohort" in page

    # subject hierarchy and attributes
    hierarchy = app.scene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemParent(done.folder) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(record_node))
    inside = {hierarchy.GetItemDataNode(item) for item in children_of(hierarchy, done.folder)}
    results = {done.measurement_table, done.plan_table, done.values_table, done.risk_table, done.chart, done.report}
    assert inside == results
    mine = {n for n in nodes_of(app.scene) if n.GetAttribute("CardioPrecision.Run") == "run-1"}
    assert mine == results | {series}


def test_tables_of_the_other_modules_join_the_record(app, record_node):
    """The same as the command line on the files of these runs."""
    tables = add_measurements(app.scene)
    assert scene_logic.measurement_tables(app.scene) == list(tables)
    done = scene_logic.run_on_nodes(app.scene, record_node)
    expected = assess(read_record(DATA / "clinical.json"), FILES)
    assert done.record.value("cac_agatston") == rows_of(FILES[1]).value("agatston_score", "total")
    assert done.record.entries["cac_agatston"].source == "calcium"
    assert done.record.value("lv_ef_pct") == rows_of(FILES[0]).value("lv_ef")
    assert done.record.to_json() == expected.record.to_json()
    assert rows_as_json(done.measurements) == rows_as_json(expected.measurements)
    assert done.measurements.value("arterial_age") > 39
    by_id = {row["id"]: row["state"] for row in done.statements}
    assert by_id == {s.id: s.state for s in expected.statements}
    # An earlier risk run is no measurement, and the user may leave the tables out.
    assert scene_logic.measurement_tables(app.scene) == list(tables)
    again = scene_logic.run_on_nodes(app.scene, record_node, figures=False)
    assert rows_as_json(again.measurements) == rows_as_json(done.measurements)
    alone = scene_logic.run_on_nodes(app.scene, record_node, (), figures=False)
    assert alone.measurements["arterial_age"].state is State.NOT_ASSESSABLE
    one = scene_logic.run_on_nodes(app.scene, record_node, tables[:1], scores=["maggic", "calcium"])
    assert one.measurements["arterial_age"].state is State.NOT_ASSESSABLE
    assert one.record.value("lv_ef_pct") == done.record.value("lv_ef_pct")
    wanted = {name for name, score in scores().items() if score.family in ("maggic", "calcium")}
    assert {row.name for row in one.measurements} == wanted


def test_what_was_not_measured_says_so(app, record_node):
    rows = Measurements([Measurement.missing("agatston_score", "1", "The heart is cut off", site="total")])
    add_table(app.scene, rows)
    done = scene_logic.run_on_nodes(app.scene, record_node, figures=False)
    assert any("cac_agatston was not measured by calcium: The heart is cut off" in text for text in done.warnings)
    assert done.measurements["arterial_age"].state is State.NOT_ASSESSABLE


def test_an_entered_value_wins_and_the_user_hears_of_it(app):
    record = json.loads((DATA / "clinical.json").read_text(encoding="utf-8")) | {"cac_agatston": 900}
    node = add_text(app.scene, json.dumps(record))
    add_table(app.scene, Measurements([Measurement("agatston_score", 12.0, "1", site="total")]))
    done = scene_logic.run_on_nodes(app.scene, node, figures=False)
    assert done.record.value("cac_agatston") == 900
    assert any("entered as 900" in text and "measured 12" in text for text in done.warnings)


def test_measurement_tables_there_and_back(app):
    rows = Measurements(
        [
            Measurement("lv_ef", 61.25, "%", low=58.0, high=64.5, level=0.9, method="Simpson"),
            Measurement.missing("rv_ef", "%", "No right ventricle", State.NOT_FOUND),
            Measurement("cad_rads", "2", "1", site="LAD", state=State.ENTERED),
        ]
    )
    node = add_table(app.scene, rows, "LV function measurements", None)
    assert measurements_from_table(node) == list(rows)
    assert analysis_of(node) == "lv-function"
    second = add_table(app.scene, rows, "LV function measurements", None)
    assert second.GetName() != node.GetName()
    assert analysis_of(second) == "lv-function"
    assert analysis_of(add_table(app.scene, rows, "Échographie 2 measurements", None)) == "chographie-2"
    assert analysis_of(add_table(app.scene, rows, "2", None)) == "measurements"


def test_run_can_be_taken_back_and_repeated(app, record_node):
    add_measurements(app.scene)
    before = contents(app.scene)
    first = scene_logic.run_on_nodes(app.scene, record_node, figures=False)
    second = scene_logic.run_on_nodes(app.scene, record_node, figures=False)
    assert first.run_id != second.run_id
    assert scene_logic.remove_run(app.scene, second.run_id) == 7
    assert "<html" in first.report.GetText()
    assert scene_logic.remove_run(app.scene, first.run_id) == 7
    assert contents(app.scene) == before
    assert "148" in record_node.GetText()


@pytest.mark.parametrize("fails", ["score", "cancel", "late"])
def test_failure_leaves_the_scene_alone(app, record_node, fails, monkeypatch):
    before = contents(app.scene)
    if fails == "score":
        with pytest.raises(InputError, match="is no score"):
            scene_logic.run_on_nodes(app.scene, record_node, scores=["frs"])
    elif fails == "cancel":
        with pytest.raises(Cancelled):
            scene_logic.run_on_nodes(app.scene, record_node, progress=cancelling)
    else:
        fail_at(monkeypatch, "vtkMRMLPlotChartNode")
        with pytest.raises(OSError, match="disk full"):
            scene_logic.run_on_nodes(app.scene, record_node, figures=False)
    assert contents(app.scene) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "The record: the clinical record is empty"),
        ("{", "The record, line 1: this is not JSON"),
        ("[1]", "The record: a clinical JSON file holds one object"),
        ('{"sbp_mmhg": 1480}', "The record: sbp_mmhg"),
        ('{"sbp_mmhg": 120, "sbp_mmhg": 130}', "The record: sbp_mmhg is given twice"),
        ('{"total_chol_mg_dl": 5.2}', "The record: total_chol_mg_dl"),
        ('{"resourceType": "Bundle", "entry": 3}', "The record"),
    ],
)
def test_a_bad_record_is_refused_in_one_line(app, text, words):
    """The message names the node and the field, never the private file."""
    node = add_text(app.scene, text)
    before = contents(app.scene)
    with pytest.raises(InputError) as caught:
        scene_logic.record_from_node(node)
    with pytest.raises(InputError) as run:
        scene_logic.run_on_nodes(app.scene, node, figures=False)
    assert str(run.value) == str(caught.value)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
    assert "cardioprecision-" not in str(caught.value)
    assert contents(app.scene) == before


def test_bad_nodes_are_refused_in_one_line(app, record_node):
    scene = app.scene
    with pytest.raises(InputError, match="No clinical record was chosen"):
        scene_logic.run_on_nodes(scene, None)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "notes")
    with pytest.raises(InputError, match="text node"):
        scene_logic.run_on_nodes(scene, table)
    with pytest.raises(InputError, match="notes: this is no table of measurements"):
        scene_logic.run_on_nodes(scene, record_node, [table])
    assert scene_logic.measurement_tables(scene) == []
    with pytest.raises(ValueError, match="another scene"):
        scene_logic.run_on_nodes(slicer.vtkMRMLScene(), record_node)
    rows = Measurements([Measurement("agatston_score", 12.0, "1", site="total"), Measurement("age", 3.0, "a")])
    first, second = add_table(scene, rows), add_table(scene, rows)
    with pytest.raises(InputError, match="are both of calcium"):
        scene_logic.run_on_nodes(scene, record_node)
    changed = second.GetTable()
    for name, row, value, words in (
        ("state", 1, "sure", "row 2: the state is 'sure'"),
        ("name", 1, "agatston_score", None),
        ("site", 1, "total", r"row 2: agatston_score \(site total\) is there twice"),
        ("value", 0, math.nan, "row 1: agatston_score: state measured needs a value"),
        ("value", 0, math.inf, "row 1: agatston_score: a measured value must be finite"),
    ):
        old = changed.GetColumnByName(name).GetValue(row)
        changed.GetColumnByName(name).SetValue(row, value)
        if words is None:
            continue
        with pytest.raises(InputError, match=words):
            scene_logic.run_on_nodes(scene, record_node, [second])
        changed.GetColumnByName(name).SetValue(row, old)
    done = scene_logic.run_on_nodes(scene, record_node, [first], figures=False)
    assert done.record.value("cac_agatston") == 12


def test_saved_and_opened_again(app, record_node, tmp_path):
    add_measurements(app.scene)
    done = scene_logic.run_on_nodes(app.scene, record_node, run_id="kept")
    app.save(str(tmp_path / "scene.mrb"))
    (tmp_path / "other").mkdir()
    again = mrml.MrmlApplication(str(tmp_path / "other"))
    again.open(str(tmp_path / "scene.mrb"))
    scene = again.scene
    [record] = scene_logic.record_nodes(scene)
    assert scene_logic.record_from_node(record) == scene_logic.record_from_node(record_node)
    kept = {n.GetName(): n for n in nodes_of(scene) if n.GetAttribute("CardioPrecision.Run") == "kept"}
    assert kept[done.report.GetName()].GetText() == done.report.GetText()
    assert "m²" in done.report.GetText()
    assert column(kept[done.plan_table.GetName()], "id") == [row["id"] for row in done.statements]
    series = kept[done.chart.GetName()].GetNthPlotSeriesNode(0)
    assert series.GetTableNode() is kept[done.risk_table.GetName()]
    # The opened scene goes on: the risk run is still no measurement, and a new run gives the same.
    assert len(scene_logic.measurement_tables(scene)) == 2
    fresh = scene_logic.run_on_nodes(scene, record, figures=False)
    for row in done.measurements:
        found = fresh.measurements[row.name]
        assert found.state is row.state, row.name
        # six digits in the tables' files
        assert found.value == (pytest.approx(row.value, rel=1e-4) if isinstance(row.value, float) else row.value)
    scene_logic.remove_run(scene, "kept")
    assert not [n for n in nodes_of(scene) if n.GetAttribute("CardioPrecision.Run") == "kept"]


def test_form_values_replace_what_a_record_node_held(app, record_node):
    from FusionRiskLib.clinical.record import record_from_values

    changed = record_from_values({"sex": "female", "age_years": 50}, "the form")
    scene_logic.set_record(record_node, changed)
    assert scene_logic.record_from_node(record_node) == changed
    assert scene_logic.record_nodes(app.scene) == [record_node]


# -- output folders and child process ----------------------------------------------------------------------------------
def test_output_folder_into_the_scene(app, record_node, tmp_path):
    found = assess(read_record(DATA / "clinical.json"), FILES)
    found.write(tmp_path / "run")
    done = scene_logic.load_results(app.scene, tmp_path / "run")
    assert rows_as_json(done.measurements) == rows_as_json(found.measurements)
    assert done.warnings == found.warnings
    assert done.report.GetText() == (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    before = contents(app.scene)
    (tmp_path / "run" / "report.html").unlink()
    with pytest.raises(InputError, match="report of the run is missing"):
        scene_logic.load_results(app.scene, tmp_path / "run", record_node)
    (tmp_path / "run" / "plan.json").unlink()
    with pytest.raises(InputError, match="missing or cannot be read"):
        scene_logic.load_results(app.scene, tmp_path / "run", record_node)
    other = tmp_path / "other"
    other.mkdir()
    (other / "measurements.json").write_text(json.dumps(document("calcium", Patient(), [], [])))
    with pytest.raises(InputError, match="results of 'calcium', not of risk"):
        scene_logic.load_results(app.scene, other)
    assert contents(app.scene) == before


def test_nothing_to_plot(app):
    """A record with an age alone: every score says what it lacks; no chart, and no number."""
    done = scene_logic.run_on_nodes(app.scene, add_text(app.scene, '{"age_years": 50}'), figures=False)
    assert (done.risk_table, done.chart) == (None, None)
    assert all(row.value is None and row.reason for row in done.measurements)


def test_child_process_gives_the_same(app, record_node):
    add_measurements(app.scene)
    here = scene_logic.run_on_nodes(app.scene, record_node, figures=False)
    said = []
    there = scene_logic.run_in_child(app.scene, record_node, progress=lambda *what: said.append(what))
    assert said
    assert rows_as_json(there.measurements) == rows_as_json(here.measurements)
    assert there.record.to_json() == here.record.to_json()
    assert there.statements == here.statements
    assert there.warnings == here.warnings
    assert column(there.risk_table, "risk") == column(here.risk_table, "risk")
    before = contents(app.scene)
    bad = add_text(app.scene, '{"sbp_mmhg": 1480}')
    with pytest.raises(InputError) as caught:
        scene_logic.run_in_child(app.scene, bad)
    assert str(caught.value).startswith("The record: sbp_mmhg")
    app.scene.RemoveNode(bad)
    with pytest.raises(InputError, match="is no score"):
        scene_logic.run_in_child(app.scene, record_node, scores=["frs"])
    with pytest.raises(InputError, match="No clinical record was chosen"):
        scene_logic.run_in_child(app.scene, None)
    with pytest.raises(Cancelled):
        scene_logic.run_in_child(app.scene, record_node, should_stop=lambda: True)
    assert contents(app.scene) == before


# -- the shell ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def shell(monkeypatch):
    import slicer_stand_ins

    slicer_stand_ins.fresh(monkeypatch)
    import FusionRisk

    yield FusionRisk
    sys.modules.pop("FusionRisk", None)


def test_shell_hands_everything_on(shell, app, monkeypatch):
    from CardioPrecisionLib import scene_desktop

    monkeypatch.setattr(slicer, "mrmlScene", app.scene)
    assert set(shell.FusionRiskParameterNode.allParameters) == {
        "recordNode",
        "useMeasurements",
        "scores",
        "modelFolder",
        "earlierNode",
        "laterNode",
    }
    logic = shell.FusionRiskLogic()
    assert logic.getParameterNode().useMeasurements is True
    node = logic.addRecord({"sex": "male", "age_years": 61})
    assert scene_logic.record_from_node(node).value("age_years") == 61
    calls, events = [], []
    monkeypatch.setattr(scene_logic, "run_in_child", lambda *given, **more: calls.append((given, more)))
    monkeypatch.setattr(scene_desktop.shutil, "which", {"PythonSlicer": "/slicer/bin/PythonSlicer"}.get)
    monkeypatch.setattr(slicer.app, "processEvents", lambda: events.append(1))
    logic.processInChild("record", ["table"], ["pce"], shouldStop=lambda: True)
    ((given, more),) = calls
    assert given == (app.scene, "record", ["table"])
    assert (more["scores"], more["python"]) == (["pce"], "/slicer/bin/PythonSlicer")
    assert more["should_stop"]() is True
    assert events == [1]
    more["progress"](0.5, "stage")
    asked = []
    monkeypatch.setattr("CardioPrecisionLib.widget_base.ensure_dependencies", lambda *what: asked.append(what))
    logic.ensureDependencies()
    assert asked == [("Fusion Risk", False)]  # scores need no model
    with pytest.raises(InputError, match="sbp_mmhg"):
        logic.addRecord({"sbp_mmhg": 1480})
