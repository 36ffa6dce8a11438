"""The module widgets, walked through on real MRML with stand-ins for Qt: what needs no window works without one."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the libraries of the system that it uses")
from qt_bench import cells, picture, turn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def patient():
    from CardioPrecisionLib.phantom import demo_patient

    return demo_patient()


@pytest.fixture
def lv(desktop, widget_of, monkeypatch, patient):
    """The LV widget with the sample in the scene and its true labels as the reader's."""
    monkeypatch.setattr("CardioPrecisionLib.phantom.demo_patient", lambda seed=1: patient)
    return widget_of("LVFunction")


def give_labels(widget, desktop, patient):
    """The sample, and its true labels in one node."""
    from CardioPrecisionLib import scene as mrml
    from CardioPrecisionLib.analysis import LabelMap
    from CardioPrecisionLib.scene_batch import SceneBatch
    from LVFunctionLib.segments import SEGMENTS

    volume, sequence, _ = sys.modules["LVFunction"].loadSampleData()
    labels = LabelMap(patient.sample.labels, patient.sample.sequence.affine, SEGMENTS)
    with SceneBatch(desktop.mrmlScene, "reader") as batch:
        reader = mrml.segmentation_sequence_to_node(batch, labels, sequence, "Reader")[0]
    widget._parameterNode.inputNode = volume
    widget._parameterNode.labelsNode = reader
    return volume, reader


def finish(widget, desktop):
    turn(lambda: not widget.running)


def test_parameter_node_and_widget_follow_each_other(lv, desktop):
    ui, node = lv.ui, lv._parameterNode
    node.sex = "female"
    assert ui.sexComboBox.currentIndex == 1
    ui.sexComboBox.currentIndex = 2
    assert node.sex == "male"
    node.edFrame = 3
    assert ui.edFrameSpinBox.value == 3
    ui.weightSpinBox.value = 71.5
    assert node.weightKg == 71.5
    assert [ui.sexComboBox.itemText(n) for n in range(3)] == ["unknown", "female", "male"]  # texts for people
    assert ui.ageSpinBox.maximum == 120


def test_apply_says_why_not(lv):
    button = lv.ui.applyButton
    assert not button.enabled
    assert "Choose the cine" in button.toolTip
    for each in ("edButton", "curveButton", "correctButton", "recomputeButton", "reportButton", "removeRunButton"):
        assert not getattr(lv.ui, each).enabled
        assert "no results" in getattr(lv.ui, each).toolTip
    lv._parameterNode.inputNode = sys.modules["LVFunction"].loadSampleData()[0]
    assert button.enabled
    lv._parameterNode.edFrame = lv._parameterNode.esFrame = 4
    assert not button.enabled
    assert "same frame" in button.toolTip
    lv.exit()
    assert not button.enabled


def test_run_jump_correct_measure_again_and_remove(lv, desktop, patient):
    """A whole run in a child process with the reader's labels, and everything a user does with it after that."""
    from scene_cases import contents

    volume, reader = give_labels(lv, desktop, patient)
    before = contents(desktop.mrmlScene)
    ui = lv.ui
    ui.applyButton.click()
    assert lv.running
    assert ui.applyButton.text == "Cancel"
    assert not ui.progressBar.isHidden()
    folder = lv._run.folder
    assert folder.is_dir()
    finish(lv, desktop)
    assert ui.statusLabel.text == "Done.", ui.statusLabel.text
    assert ui.applyButton.text == "Apply"
    assert not folder.exists()
    truth = patient.sample.measurements
    shown = dict(zip(cells(ui.measurementsTable, 0), cells(ui.measurementsTable, 1), strict=True))
    assert float(shown["LV ejection fraction"].split("\u00a0")[0]) == pytest.approx(truth["lv_ef"], abs=2)
    picture(lv.uiWidget, "panel-lv")
    run = lv.chosenRun
    assert run.input is volume
    assert "<html" in run.report.GetText()
    ui.reportButton.click()
    assert "<html" in (Path(desktop.app.temporaryPath) / f"cardioprecision-report-{run.run_id}.html").read_text("utf-8")

    from CardioPrecisionLib.scene import browser_of_proxy

    browser = browser_of_proxy(volume)
    ui.esButton.click()
    assert browser.GetSelectedItemNumber() == run.frame("es") - 1
    ui.edButton.click()
    assert browser.GetSelectedItemNumber() == run.frame("ed") - 1
    assert run.segmentation is not None
    assert run.segmentation is not reader

    # The reader takes every voxel of the LV cavity at end-diastole away; what is measured again says so.
    from CardioPrecisionLib.widget_scene import keep_edits

    keep_edits(run)
    segment = run.segmentation.GetSegmentation().GetSegment("lv_cavity")
    image = segment.GetRepresentation("Binary labelmap")
    from vtk.util.numpy_support import vtk_to_numpy

    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    value = int(segment.GetLabelValue())
    kept = int((voxels == value).sum())
    half = np.flatnonzero(voxels == value)[: kept // 2]
    voxels[half] = 0
    image.Modified()
    image.GetPointData().GetScalars().Modified()
    run.segmentation.Modified()
    browser.SetSelectedItemNumber(run.frame("es") - 1)
    lv._parameterNode.edFrame, lv._parameterNode.esFrame = run.frame("ed"), run.frame("es")
    ui.recomputeButton.click()
    finish(lv, desktop)
    assert ui.statusLabel.text == "Done.", ui.statusLabel.text
    again = lv.chosenRun
    assert again.run_id != run.run_id
    assert len(lv._runs) == 1  # in the place of the first
    rows = dict(zip(cells(ui.measurementsTable, 0), cells(ui.measurementsTable, 1), strict=True))
    changed = float(rows["LV end-diastolic volume"].split("\u00a0")[0].replace("−", "-"))
    assert changed == pytest.approx(truth["lv_edv"] / 2, rel=0.1)

    ui.removeRunButton.click()
    assert lv.chosenRun is None
    assert ui.measurementsTable.rowCount == 0
    assert contents(desktop.mrmlScene) == before


def test_cancel_leaves_the_scene_as_it_was(lv, desktop, patient):
    from scene_cases import contents

    give_labels(lv, desktop, patient)
    before = contents(desktop.mrmlScene)
    lv.ui.applyButton.click()
    run = lv._run
    lv.ui.applyButton.click()
    assert not lv.ui.applyButton.enabled
    assert "being cancelled" in lv.ui.applyButton.toolTip
    finish(lv, desktop)
    assert lv.ui.statusLabel.text == "Cancelled."
    assert contents(desktop.mrmlScene) == before
    assert not run.folder.exists()


def test_scene_close_and_reload_while_running(lv, desktop, patient):
    """Neither leaves a process, a folder or a result behind."""
    give_labels(lv, desktop, patient)
    lv.ui.applyButton.click()
    first = lv._run
    desktop.mrmlScene.Clear(False)
    assert not lv.running
    turn(lambda: not first.running)
    assert not first.folder.exists()
    assert lv._runs == []
    assert lv._parameterNode is not None  # a new one
    give_labels(lv, desktop, patient)
    lv.ui.applyButton.click()
    second = lv._run
    lv.cleanup()
    turn(lambda: not second.running)
    assert not second.folder.exists()
    lv.setup()


def test_input_that_goes_while_it_is_analysed(lv, desktop, patient):
    volume, _ = give_labels(lv, desktop, patient)
    lv.ui.applyButton.click()
    desktop.mrmlScene.RemoveNode(volume)
    finish(lv, desktop)
    assert "removed from the scene" in lv.ui.statusLabel.text
    assert lv.chosenRun is None


def test_declined_install_is_a_message(lv, monkeypatch):
    def declined(title, torch=True):
        raise RuntimeError("User declined package installation")

    monkeypatch.setattr(sys.modules["CardioPrecisionLib.widget_base"], "ensure_dependencies", declined)
    lv.ui.sampleButton.click()
    assert "declined" in lv.ui.statusLabel.text
    assert not lv.running
    assert lv.ui.applyButton.text == "Apply"


def test_licence_is_asked_for_once(lv, desktop, monkeypatch):
    asked, started = [], []
    monkeypatch.setattr(desktop.util, "confirmYesNoDisplay", lambda text, **more: asked.append(text) or len(asked) > 1)
    monkeypatch.setattr(lv, "launchRun", lambda licences, **how: started.append(licences))
    monkeypatch.setattr("CardioPrecisionLib.bundle.licence._this_run", set())
    lv.ui.sampleButton.click()
    assert "licence" in lv.ui.statusLabel.text
    assert started == []
    lv.ui.applyButton.click()
    assert started == [["cine_sax_ventricles"]]
    lv._run = None
    lv.startRun()
    assert len(asked) == 2  # remembered


# -- the process, without any widget -----------------------------------------------------------------------------------
def start(later, code, **more):
    """A run whose child is a few lines of Python."""
    from CardioPrecisionLib.widget_run import ChildRun, follow

    ended = []

    def launch(command, variables, on_line, on_exit):
        process = subprocess.Popen([sys.executable, "-c", code, command[-1]], stdout=subprocess.PIPE, text=True)
        follow(process, on_line, on_exit, later)
        return process if more.pop("knows_process", True) else None

    run = ChildRun(
        lambda folder: {"analysis": "x", "inputs": {"a": "b"}, "output": str(folder / "run"), "parameters": {}},
        lambda output: "loaded",
        lambda fraction, stage: ended.append((fraction, stage)),
        lambda result, error: ended.append((result, error)),
        launch=launch,
        later=later,
        **more,
    )
    turn(lambda: not run.running, 30)
    return ended


@pytest.fixture
def later():
    import qt_bench

    return qt_bench.qt_module().QTimer.singleShot


def test_progress_and_result(later):
    ended = start(later, 'print(\'{"event": "progress", "fraction": 0.5, "stage": "s"}\\n{"event": "done"}\')')
    assert ended == [(0.5, "s"), ("loaded", None)]


def test_a_crash_is_a_message(later):
    ((result, error),) = start(later, "import sys; print('no such thing'); sys.exit(3)")
    assert result is None
    assert "code 3" in str(error)
    assert "no such thing" in str(error)


def test_memory_that_runs_out_is_a_message(later):
    ((_, error),) = start(later, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "memory ran out" in str(error)


def test_error_of_the_child_names_what_the_user_knows(later):
    from CardioPrecisionLib.errors import InputError

    code = (
        "import json, sys, os; p = os.path.join(os.path.dirname(sys.argv[1]), 'clinical.json'); "
        "print(json.dumps({'event': 'error', 'code': 2, 'message': p + ': bad'}))"
    )
    ((_, error),) = start(later, code, names={"clinical.json": "Record"})
    assert isinstance(error, InputError)
    assert str(error) == "Record: bad"


@pytest.mark.parametrize("knows_process", [True, False])
def test_a_child_that_does_not_listen_is_ended(later, knows_process):
    from CardioPrecisionLib.errors import Cancelled
    from CardioPrecisionLib.widget_run import ChildRun, follow

    ended, processes = [], []

    def launch(command, variables, on_line, on_exit):
        code = "import time; time.sleep(600)"
        process = subprocess.Popen([sys.executable, "-c", code, command[-1]], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        follow(process, on_line, on_exit, later)
        return process if knows_process else None

    run = ChildRun(
        lambda folder: {"analysis": "x", "inputs": {"a": "b"}, "output": str(folder / "run"), "parameters": {}},
        lambda output: None,
        lambda fraction, stage: None,
        lambda result, error: ended.append(error),
        launch=launch,
        later=later,
        grace_seconds=0.2,
    )
    run.cancel()
    turn(lambda: not run.running, 30)
    assert isinstance(ended[0], Cancelled)
    assert processes[0].returncode is not None


def test_inputs_that_cannot_be_written_start_nothing(later):
    from CardioPrecisionLib.errors import InputError
    from CardioPrecisionLib.widget_run import ChildRun

    folders = []

    def broken(folder):
        folders.append(folder)
        raise InputError(f"{folder / 'clinical.json'}: empty")

    with pytest.raises(InputError, match=r"^Record: empty$"):
        ChildRun(broken, None, None, None, launch=None, later=later, names={"clinical.json": "Record"})
    assert not folders[0].exists()


def test_slicer_follows_the_process_where_it_can(desktop, monkeypatch):
    """With the parameter ``blocking`` Slicer's own follower is used, without it ours; both give lines and the end."""
    gui = importlib.import_module("CardioPrecisionLib.widget_qt")
    calls = []

    def newer(args, useStartupEnvironment=True, updateEnvironment=None, cwd=None, blocking=True, logCallback=None,
              completedCallback=None):  # fmt: skip
        calls.append((args, useStartupEnvironment, updateEnvironment, blocking, logCallback, completedCallback))
        return "process"

    monkeypatch.setattr(desktop.util, "launchConsoleProcess", newer)
    said = []
    assert gui.launch(["a"], {"X": "1"}, said.append, said.append) == "process"
    assert calls[0][:4] == (["a"], False, {"X": "1"}, False)
    calls[0][4]("a line\n")
    calls[0][5](3)
    assert said == ["a line", 3]
    monkeypatch.undo()


def test_slicer_before_that_is_followed_by_us(desktop):
    gui = importlib.import_module("CardioPrecisionLib.widget_qt")
    said, codes = [], []
    code = "import os; print(os.environ['CP_TEST']); print('two')"
    gui.launch([sys.executable, "-c", code], {"CP_TEST": "one"}, said.append, codes.append)
    turn(lambda: bool(codes), 30)
    assert said == ["one", "two"]
    assert codes == [0]


def test_wheels_folder_is_used_while_installing_only(desktop, monkeypatch, tmp_path):
    """An offline site: pip looks in the folder of the settings, and nothing of it stays behind."""
    import os

    from CardioPrecisionLib import scene_desktop

    seen = []
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: ["x"]
    packaging.pip_ensure = lambda reqs, requester: seen.append(os.environ.get("PIP_FIND_LINKS"))
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(desktop, "packaging", packaging, raising=False)
    monkeypatch.setattr(desktop.util, "modulePath", lambda name: str(ROOT / name / f"{name}.py"))
    monkeypatch.setattr(
        desktop.app, "userSettings", lambda: types.SimpleNamespace(value=lambda name: str(tmp_path)), raising=False
    )
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    scene_desktop.ensure_dependencies("X", torch=False)
    assert seen == [str(tmp_path)]
    assert "PIP_FIND_LINKS" not in os.environ


def test_a_folder_of_dicom(lv, desktop, patient, tmp_path, monkeypatch):
    """The cine of a folder among other things, its patient, and nothing left of the one before."""
    from CardioPrecisionLib import scene as mrml
    from CardioPrecisionLib import widget_qt as gui

    patient.write_dicom(tmp_path / "study")
    (tmp_path / "study" / "notes.txt").write_text("no image")
    node = lv._parameterNode
    give_labels(lv, desktop, patient)
    node.edFrame, node.weightKg = 7, 140.0
    monkeypatch.setattr(gui, "choose_folder", lambda title: str(tmp_path / "study"))
    lv.ui.folderButton.click()
    assert "Cine short axis is open." in lv.ui.statusLabel.text
    sequence = mrml.sequence_from_node(mrml.sequence_node_of(node.inputNode))
    truth = patient.sample.sequence
    assert sequence.n_frames == truth.n_frames
    middle, back = sequence.load(3), truth.load(3)[:, :, ::-1]  # the reader begins at the other end of the stack
    first = truth.affine @ [0, 0, truth.shape[2] - 1, 1]
    np.testing.assert_allclose(sequence.affine[:3, 3], first[:3], atol=1e-3)
    np.testing.assert_allclose(sequence.affine[:3, :3], truth.affine[:3, :3] * [1, 1, -1], atol=1e-3)
    assert np.corrcoef(middle.ravel(), back.ravel())[0, 1] > 0.999
    assert node.labelsNode is None
    assert node.edFrame == 0
    assert node.weightKg != 140
    assert lv.ui.applyButton.enabled


def test_a_folder_without_a_cine_and_a_cancelled_one(lv, desktop, patient, tmp_path, monkeypatch):
    from CardioPrecisionLib import widget_qt as gui
    from scene_cases import contents

    (tmp_path / "empty").mkdir()
    before = contents(desktop.mrmlScene)
    lv.openFolder(str(tmp_path / "empty"))
    assert str(tmp_path / "empty") in lv.ui.statusLabel.text
    assert "\n" not in lv.ui.statusLabel.text
    patient.write_dicom(tmp_path / "study")

    class Impatient(gui.qt.QProgressDialog):
        def setLabelText(self, text):
            super().setLabelText(text)
            if text == "Filling the scene":
                self.canceled.emit()

        labelText = property(gui.qt.QProgressDialog.labelText, setLabelText)

    monkeypatch.setattr(gui.qt, "QProgressDialog", Impatient)
    lv.openFolder(str(tmp_path / "study"))
    assert lv.ui.statusLabel.text == "Cancelled."
    assert contents(desktop.mrmlScene) == before
    assert lv._parameterNode.inputNode is None
    monkeypatch.setattr(lv.logic, "openStudy", lambda *given: 1 / 0)
    lv.openFolder(str(tmp_path / "study"))
    assert lv.ui.statusLabel.text == "The folder could not be read (ZeroDivisionError)."
