"""The module shells: cheap to import, hidden, translatable, and only delegating."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("CardioPrecision", "LVFunction", "CoronaryPlaque", "FusionRisk")
NOT_AT_IMPORT = ("torch", "monai", "dask", "matplotlib", "SimpleITK", "scipy", "pydicom", "nibabel", "jsonschema")

BLOCKED = """
import json, sys, types

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

BLOCKED = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Block())
import slicer_stand_ins
slicer = slicer_stand_ins.install()
before = set(sys.modules)
module = __import__(sys.argv[1])
parent = types.SimpleNamespace()
getattr(module, sys.argv[1])(parent)
print(json.dumps({"parent": vars(parent), "signals": list(slicer.app.connected),
                  "imported": sorted({name.split(".")[0] for name in set(sys.modules) - before})}))
"""


@pytest.fixture
def slicer(monkeypatch):
    pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
    import slicer
    import slicer_stand_ins

    names = ("ScriptedLoadableModule", "i18n", "parameterNodeWrapper")
    for name in names:  # undone at the end of the test, whether or not they were there
        monkeypatch.setitem(sys.modules, f"slicer.{name}", None)
        monkeypatch.setattr(slicer, name, None, raising=False)
    monkeypatch.setattr(slicer, "app", None, raising=False)
    monkeypatch.setattr(slicer, "mrmlScene", None, raising=False)
    return slicer_stand_ins.install()


@pytest.fixture
def lv(slicer, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "LVFunction"))
    monkeypatch.delitem(sys.modules, "LVFunction", raising=False)
    module = importlib.import_module("LVFunction")
    yield module
    sys.modules.pop("LVFunction", None)


@pytest.fixture(scope="module")
def patient():
    from CardioPrecisionLib.phantom import demo_patient

    return demo_patient()


@pytest.fixture
def one_patient(patient, monkeypatch):
    """The phantom is computed once for this file."""
    monkeypatch.setattr("CardioPrecisionLib.phantom.demo_patient", lambda seed=1: patient)
    return patient


@pytest.mark.parametrize("name", SHELLS)
def test_shell_imports_with_nothing_heavy(name, tmp_path):
    """Real slicer-core on the path, the heavy packages blocked: the module registers, hidden."""
    pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, name, ",".join(NOT_AT_IMPORT)],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT / name}:{ROOT / 'Testing/Python'}", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    parent = found["parent"]
    assert parent["hidden"] is True
    assert parent["widgetRepresentationCreationEnabled"] is False
    assert parent["categories"] == ["Cardiac"]
    assert parent["contributors"] == ["CardioPrecision developers"]
    assert parent["title"]
    assert len(parent["helpText"]) > 20
    assert len(parent["acknowledgementText"]) > 20
    assert found["signals"] == (["startupCompleted()"] if name == "LVFunction" else [])
    assert not set(found["imported"]) & {"CardioPrecisionLib", "LVFunctionLib", *NOT_AT_IMPORT}


@pytest.mark.parametrize("name", SHELLS)
def test_strings_are_translatable_and_shells_thin(name):
    tree = ast.parse((ROOT / name / f"{name}.py").read_text(encoding="utf-8"))
    shown = {"title", "helpText", "acknowledgementText"}
    found = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Attribute)
            and node.targets[0].attr in shown
        ):
            assert isinstance(node.value, ast.Call)
            assert node.value.func.id == "_"
            assert isinstance(node.value.args[0], ast.Constant)  # lupdate reads literals only
            found.add(node.targets[0].attr)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            assert not isinstance(node.exc.args[0], ast.Constant), f"line {node.lineno}: an untranslated message"
    assert found == shown
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert name in classes
    assert f"{name}Widget" not in classes  # a module without a widget class gets no widget representation
    top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module.split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert top <= {"os", "shutil", "typing", "slicer", "vtk"}


def test_empty_modules_say_so():
    for name in ("CoronaryPlaque", "FusionRisk"):
        lib = ROOT / name / f"{name}Lib"
        assert [p.name for p in lib.rglob("*.py")] == ["__init__.py"]
        body = ast.parse((lib / "__init__.py").read_text(encoding="utf-8")).body
        assert len(body) == 1  # the docstring and nothing else
        assert "no analysis in this" in ast.get_docstring(ast.parse((ROOT / name / f"{name}.py").read_text()))
        shell = ast.parse((ROOT / name / f"{name}.py").read_text(encoding="utf-8"))
        functions = [node.name for node in ast.walk(shell) if isinstance(node, ast.FunctionDef)]
        assert functions == ["__init__"]


def test_parameters_cover_what_the_analysis_takes(lv):
    from LVFunctionLib.volumes import LVParameters

    hints = lv.LVFunctionParameterNode.allParameters
    assert {
        "inputNode",
        "labelsNode",
        "device",
        "edFrame",
        "esFrame",
        "sex",
        "ageYears",
        "heightCm",
        "weightKg",
    } == set(hints)
    for device in hints["device"].__metadata__[0].choices:
        LVParameters(device=device)
    assert lv.LVFunctionLogic().getParameterNode().parameterNode == "parameter node"


def test_sample_data_only_where_the_module_is(lv, monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    lv.registerSampleData()  # no Sample Data module: nothing happens
    sources = []

    class SampleDataLogic:
        registerCustomSampleDataSource = staticmethod(lambda **source: sources.append(source))

    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=SampleDataLogic))
    lv.registerSampleData()
    assert [source["sampleName"] for source in sources] == ["CardioPrecision: synthetic cine short axis"]
    assert sources[0]["uris"] == ""  # nothing to download


def test_sample_data_button_computes_the_phantom(lv, slicer, one_patient, monkeypatch, tmp_path):
    from CardioPrecisionLib import scene as mrml

    app = mrml.MrmlApplication(str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", app.scene)
    volume, sequence_node, browser = lv.loadSampleData()
    assert browser.GetProxyNode(sequence_node) is volume
    found, truth = mrml.sequence_from_node(volume), one_patient.sample.sequence
    assert found.voxel_hash() == truth.voxel_hash()
    assert found.rr_ms == truth.rr_ms
    assert app.scene.GetSubjectHierarchyNode().GetItemByDataNode(volume) > 0


def test_logic_runs_the_module_test(lv, slicer, one_patient, monkeypatch, tmp_path):
    """LVFunctionTest itself, as Slicer runs it, on slicer-core."""
    from CardioPrecisionLib import scene as mrml

    app = mrml.MrmlApplication(str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", app.scene)
    monkeypatch.setattr(lv.LVFunctionLogic, "getParameterNode", lambda self: types.SimpleNamespace(device="auto"))
    case = lv.LVFunctionTest("test_NodesToNodes")
    outcome = case.defaultTestResult()
    case.run(outcome)
    assert outcome.wasSuccessful(), outcome.failures + outcome.errors
    assert outcome.testsRun == 1


def test_child_process_keeps_the_application_alive(lv, slicer, monkeypatch):
    """The shell hands everything on, with PythonSlicer as the interpreter and an event loop that goes on."""
    from LVFunctionLib import scene_logic

    calls, events = [], []
    monkeypatch.setattr(scene_logic, "run_in_child", lambda scene, node, **more: calls.append((scene, node, more)))
    monkeypatch.setattr(lv.shutil, "which", {"PythonSlicer": "/slicer/bin/PythonSlicer"}.get)
    monkeypatch.setattr(slicer.app, "processEvents", lambda: events.append(1))
    lv.LVFunctionLogic().processInChild("node", "labels", {"tta": 1}, {"sex": "female"}, shouldStop=lambda: True)
    ((scene, node, more),) = calls
    assert (scene, node, more["labels_node"]) == (slicer.mrmlScene, "node", "labels")
    assert (more["parameters"], more["clinical"]) == ({"tta": 1}, {"sex": "female"})
    assert more["python"] == "/slicer/bin/PythonSlicer"
    assert more["should_stop"]() is True
    assert events == [1]
    more["progress"](0.5, "stage")  # no progress wanted: nothing happens


def test_dependencies_are_installed_on_request_only(lv, slicer, monkeypatch):
    """torch through the PyTorch extension first, then the rest by Slicer's own installer."""
    asked = []
    monkeypatch.setattr(slicer.util, "modulePath", lambda name: str(ROOT / name / f"{name}.py"))
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: [line for line in Path(path).read_text().splitlines() if line[:1] != "#"]
    packaging.pip_ensure = lambda requirements, requester: asked.append(requirements)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(RuntimeError, match="extension PyTorch"):
        lv.LVFunctionLogic().ensureDependencies()
    assert asked == []

    class PyTorchUtilsLogic:
        @staticmethod
        def torchInstalled():
            return False

        def installTorch(self, askConfirmation):
            assert askConfirmation
            asked.append("torch")
            return "torch"

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))
    lv.LVFunctionLogic().ensureDependencies()
    assert asked[0] == "torch"
    assert any(line.startswith("monai") for line in asked[1])
    assert not any(line.startswith(("torch", "numpy", "SimpleITK", "pydicom")) for line in asked[1])
    lv.LVFunctionLogic().ensureDependencies(torch=False)
    assert asked.count("torch") == 1
