"""A fusion model asked about the patient of a scene, on slicer-core: the same answer as from files; all or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")

from CardioPrecisionLib import scene as mrml  # noqa: E402
from CardioPrecisionLib.errors import Cancelled, InputError  # noqa: E402
from CardioPrecisionLib.scene_batch import nodes_of, remove_run  # noqa: E402
from FusionRiskLib import scene_logic  # noqa: E402
from FusionRiskLib.clinical.files import read_record  # noqa: E402
from FusionRiskLib.fusion import jobs  # noqa: E402
from FusionRiskLib.scene_fusion import predict_for_scene  # noqa: E402
from test_fusion_command import HEAD, SCHEMA, _rows, _write  # noqa: E402
from test_risk_scene import DATA, FILES, add_measurements  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    table = _write(folder / "t.csv", HEAD, [row[:8] for row in _rows()])
    (folder / "s.yaml").write_text(SCHEMA, encoding="utf-8")
    jobs.train(table, folder / "s.yaml", folder / "model", members=10)
    return folder / "model"


@pytest.fixture
def app(tmp_path):
    (tmp_path / "cache").mkdir()
    return mrml.MrmlApplication(str(tmp_path / "cache"))


@pytest.fixture
def record_node(app):
    return scene_logic.add_record(app.scene, read_record(DATA / "clinical.json"))


def cell(node, name, row=0):
    column = node.GetTable().GetColumnByName(name)
    return column.GetValue(row) if column is not None else None


def test_the_scene_gives_what_the_files_give(app, record_node, model, tmp_path):
    add_measurements(app.scene)
    made = predict_for_scene(app.scene, model, record_node)
    files = jobs.predict(model, FILES, tmp_path / "out", clinical=DATA / "clinical.json")
    expected = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))["rows"][0]
    assert made.answers.said == pytest.approx(files.details["answers"].said, nan_ok=True)
    assert float(cell(made.prediction_table, "p yes")) == pytest.approx(expected["p yes"])
    assert made.contribution_table.GetTable().GetNumberOfRows() == 5
    assert "Predictions" in made.report.GetText()


def test_it_can_be_taken_away_again(app, record_node, model):
    add_measurements(app.scene)
    before = {node.GetID() for node in nodes_of(app.scene)}
    made = predict_for_scene(app.scene, model, record_node)
    assert {node.GetID() for node in nodes_of(app.scene)} > before
    remove_run(app.scene, made.run_id)
    assert {node.GetID() for node in nodes_of(app.scene)} == before


def test_late_fusion_answers_on_measurements_alone(app, model):
    add_measurements(app.scene)
    made = predict_for_scene(app.scene, model)
    assert any("Not known of this patient" in text and "age_years" in text for text in made.warnings)


@pytest.mark.parametrize("what", ["nothing", "no model", "cancelled"])
def test_what_goes_wrong_leaves_the_scene_as_it_was(app, model, tmp_path, what):
    if what != "nothing":
        add_measurements(app.scene)
    before = [node.GetID() for node in nodes_of(app.scene)]

    def stop(fraction, stage):
        if what == "cancelled" and fraction > 0.4:
            raise Cancelled

    path = tmp_path / "none" if what == "no model" else model
    with pytest.raises((InputError, Cancelled)):
        predict_for_scene(app.scene, path, progress=stop)
    assert [node.GetID() for node in nodes_of(app.scene)] == before
