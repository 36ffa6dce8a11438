"""The tests that run inside Slicer, run here on real MRML and real Qt, so that they are known to work and to fail."""

from __future__ import annotations

import importlib
import runpy
import sys
import types

import pytest

pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the libraries of the system that it uses")
from slicer_stand_ins import MODULES, ROOT

#: Tests whose numbers need minutes of a network on two cores, or the model's licence.
_LEFT_OUT = {"test_Model"}


@pytest.fixture(scope="module")
def samples():
    """The phantoms are computed once for this file."""
    from CardioPrecisionLib.phantom import demo_patient
    from CoronaryPlaqueLib.scene_ccta import sample_angiogram
    from CoronaryPlaqueLib.scene_logic import sample_scan

    return demo_patient(), sample_scan(), sample_angiogram()


@pytest.fixture
def application(desktop, monkeypatch, samples):
    """What a whole Slicer has beside: panels by name, scenes through files."""
    import qt_bench

    patient, scan, angiogram = samples
    monkeypatch.setattr("CardioPrecisionLib.phantom.demo_patient", lambda seed=1: patient)
    monkeypatch.setattr("CoronaryPlaqueLib.scene_logic.sample_scan", lambda seed=5: scan)
    monkeypatch.setattr("CoronaryPlaqueLib.scene_ccta.sample_angiogram", lambda seed=3: angiogram)
    panels = {}

    def panel(name):
        if name not in panels:
            base = importlib.import_module("CardioPrecisionLib.widget_base")
            monkeypatch.setattr(base, "ensure_dependencies", lambda title, torch=True: None)
            panels[name] = getattr(importlib.import_module(name), f"{name}Widget")()
            panels[name].setup()
        return panels[name]

    def load_again(name):
        panels.pop(name).cleanup()
        panel(name)

    exits = []
    for name, function in {
        "getModuleWidget": panel,
        "reloadScriptedModule": load_again,
        "saveScene": lambda path: desktop.app.mrml.save(path) or True,
        "loadScene": desktop.app.mrml.open,
        "modulePath": lambda name: str(ROOT / name / f"{name}.py"),
        "exit": exits.append,
    }.items():
        monkeypatch.setattr(desktop.util, name, function, raising=False)
    monkeypatch.setattr(desktop, "modules", types.SimpleNamespace(**{n.lower(): n for n in MODULES}), raising=False)
    monkeypatch.setattr(desktop.app, "processEvents", qt_bench.application().processEvents)
    yield types.SimpleNamespace(exits=exits, panel=panel)
    for each in panels.values():
        each.cleanup()


def self_tests(name):
    """The names of a module's self-tests, read from its source: nothing of Slicer is imported for it."""
    import ast

    tree = ast.parse((ROOT / name / f"{name}.py").read_text(encoding="utf-8"))
    [case] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == f"{name}Test"]
    return [node.name for node in case.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.mark.parametrize(
    ("name", "test"), [(name, test) for name in MODULES for test in self_tests(name) if test not in _LEFT_OUT]
)
def test_inside_slicer(application, name, test):
    case = getattr(importlib.import_module(name), f"{name}Test")(test)
    outcome = case.defaultTestResult()
    case.run(outcome)
    assert not outcome.skipped, outcome.skipped
    assert outcome.wasSuccessful(), "\n".join(text for _, text in outcome.failures + outcome.errors)
    assert outcome.testsRun == 1


def test_a_script_ends_with_the_outcome(application, monkeypatch, capsys):
    """Exit code 0 only when something was tested and nothing failed."""
    module = importlib.import_module("FusionRisk")
    for name in self_tests("FusionRisk"):
        if name != "test_ParametersBothWays":
            monkeypatch.delattr(module.FusionRiskTest, name)
    script = str(ROOT / "Testing/Slicer/test_fusion_risk.py")
    runpy.run_path(script)
    assert application.exits == [0]
    assert "1 run, 0 skipped, 0 failed" in capsys.readouterr().out
    monkeypatch.setattr(module.FusionRiskWidget, "whyNotApply", lambda self: "")  # the feature is broken
    runpy.run_path(script)
    monkeypatch.setattr(module.FusionRiskTest, "test_ParametersBothWays", lambda self: self.skipTest("not there"))
    runpy.run_path(script)
    assert application.exits == [0, 1, 1]
    monkeypatch.delattr(sys.modules["slicer"].modules, "fusionrisk")
    runpy.run_path(script)
    assert application.exits[-1] == 1
    assert "not among Slicer's modules" in capsys.readouterr().out


def test_missing_packages_are_said(application, monkeypatch):
    from CardioPrecisionLib.environment import Fact

    monkeypatch.setattr("CardioPrecisionLib.environment.packages", lambda lines: [Fact("jinja2", "missing", "")])
    case = importlib.import_module("LVFunction").LVFunctionTest("test_Cancel")
    outcome = case.defaultTestResult()
    case.run(outcome)
    [(_, reason)] = outcome.skipped
    assert "jinja2 is not installed" in reason
