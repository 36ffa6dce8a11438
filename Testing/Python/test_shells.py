"""The module shells: cheap to import, translatable, and only delegating."""

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
#: Shells with an analysis of images; FusionRisk, which has none, is tested in test_risk_scene.py.
WORKING = ("LVFunction", "CoronaryPlaque")
#: Shells that offer a sample in the module Sample Data.
SAMPLES = ("LVFunction", "CoronaryPlaque", "FusionRisk")
NOT_AT_IMPORT = (
    "torch",
    "monai",
    "dask",
    "matplotlib",
    "pydicom",
    "highdicom",
    "nibabel",
    "jsonschema",
    "psutil",
    "jinja2",
)

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
    import slicer_stand_ins

    return slicer_stand_ins.fresh(monkeypatch)


def shell_of(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / name))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def lv(slicer, monkeypatch):
    yield shell_of("LVFunction", monkeypatch)
    sys.modules.pop("LVFunction", None)


@pytest.fixture
def plaque(slicer, monkeypatch):
    yield shell_of("CoronaryPlaque", monkeypatch)
    sys.modules.pop("CoronaryPlaque", None)


@pytest.fixture
def shell(slicer, monkeypatch, request):
    """The shell of a module that does something; give its name as the parameter."""
    yield shell_of(request.param, monkeypatch)
    sys.modules.pop(request.param, None)


def logic_of(shell):
    return getattr(shell, f"{shell.__name__}Logic")()


@pytest.fixture(scope="module")
def patient():
    from CardioPrecisionLib.phantom import demo_patient

    return demo_patient()


@pytest.fixture
def one_patient(patient, monkeypatch):
    """The phantom is computed once for this file."""
    monkeypatch.setattr("CardioPrecisionLib.phantom.demo_patient", lambda seed=1: patient)
    return patient


@pytest.fixture(scope="module")
def scan():
    from CoronaryPlaqueLib.scene_logic import sample_scan

    return sample_scan()


@pytest.fixture
def one_scan(scan, monkeypatch):
    monkeypatch.setattr("CoronaryPlaqueLib.scene_logic.sample_scan", lambda seed=5: scan)
    return scan


#: What Slicer does not bundle: before it was installed a panel must open all the same.
NOT_IN_SLICER = ("torch", "monai", "nibabel", "yaml", "typer", "rich", "jinja2", "matplotlib", "jsonschema", "psutil")
NOT_IN_SLICER += ("platformdirs", "pandas", "sklearn", "lifelines", "skops", "safetensors", "dask")

PANELS = """
import importlib.metadata, importlib.util, json, sys, tempfile

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name}")

def version(name, known=importlib.metadata.version):
    if name.lower().replace("pyyaml", "yaml") in BLOCKED:
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)

def find_spec(name, package=None, known=importlib.util.find_spec):
    return None if name in BLOCKED else known(name, package)

importlib.metadata.version, importlib.util.find_spec = version, find_spec
BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Block())
import slicer_stand_ins
slicer = slicer_stand_ins.install()
slicer.util.modulePath = lambda name: str(slicer_stand_ins.ROOT / name / f"{name}.py")
from CardioPrecisionLib import scene as mrml
application = mrml.MrmlApplication(tempfile.mkdtemp())
slicer.mrmlScene = application.scene
found = {}
for name in slicer_stand_ins.MODULES[1:] + slicer_stand_ins.MODULES[:1]:
    module = __import__(name)
    widget = getattr(module, f"{name}Widget")()
    widget.setup()
    widget.loadSample()
    if name == "CoronaryPlaque":
        widget._parameterNode.analysis = "plaque"
    if name == "CardioPrecision":
        widget.ui.checkButton.click()
        table = widget.ui.environmentTable
        rows = [(table.item(r, 0).text(), table.item(r, 1).text()) for r in range(table.rowCount)]
        found["missing"] = [name for name, state in rows if state == "missing"]
    found[name] = widget.ui.statusLabel.text
print(json.dumps(found))
"""


def test_panels_open_and_samples_load_before_anything_is_installed(tmp_path):
    pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
    pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the libraries of the system that it uses")
    done = subprocess.run(
        [sys.executable, "-c", PANELS, ",".join(NOT_IN_SLICER)],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(map(str, (*(ROOT / n for n in SHELLS), ROOT / "Testing/Python"))), "PATH": ""},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "shown once packages are installed" in found["FusionRisk"]
    assert {"PyTorch", "jinja2", "monai", "nibabel"} <= set(found["missing"])
    assert found["LVFunction"] == found["CoronaryPlaque"] == ""


@pytest.mark.parametrize("name", SHELLS)
def test_shell_imports_with_nothing_heavy(name, tmp_path):
    """Real slicer-core on the path, the heavy packages blocked: the module registers, also with what it imports."""
    pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, name, ",".join(NOT_AT_IMPORT)],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(map(str, (*(ROOT / n for n in SHELLS), ROOT / "Testing/Python"))), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    parent = found["parent"]
    assert "hidden" not in parent
    assert "widgetRepresentationCreationEnabled" not in parent
    if name != "CardioPrecision":
        assert parent["dependencies"] == ["CardioPrecision"]
    assert parent["categories"] == ["Cardiac"]
    assert parent["contributors"] == ["CardioPrecision developers"]
    assert parent["title"]
    assert len(parent["helpText"]) > 20
    assert len(parent["acknowledgementText"]) > 20
    assert found["signals"] == (["startupCompleted()"] if name in SAMPLES else [])
    assert not set(found["imported"]) & {*(f"{n}Lib" for n in SHELLS[1:] if n != name), *NOT_AT_IMPORT}


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
    assert f"{name}Widget" in classes
    top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module.split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert top <= {"importlib", "os", "typing", "slicer", "vtk", "qt", "ctk", "CardioPrecisionLib", f"{name}Lib"}


@pytest.mark.parametrize("name", SHELLS[1:])
def test_a_logic_offers_what_scripts_use(name, slicer, monkeypatch):
    shell = shell_of(name, monkeypatch)
    logic = getattr(shell, f"{name}Logic")
    for method in ("ensureDependencies", "process", "processInChild", "startRun", "removeRun", "getParameterNode"):
        assert callable(getattr(logic, method))
    assert logic.title
    assert getattr(shell, f"{name}Widget").analyses[0] == importlib.import_module(logic.border).ANALYSIS
    sys.modules.pop(name, None)


def test_parameters_cover_what_the_lv_analysis_takes(lv):
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


def test_parameters_cover_what_the_calcium_analysis_takes(plaque):
    from CoronaryPlaqueLib.calcium import CalciumParameters
    from CoronaryPlaqueLib.ccta import CCTAParameters

    hints = plaque.CoronaryPlaqueParameterNode.allParameters
    named = {
        "device": "device",
        "calibrationMgPerMlHu": "calibration_mg_per_ml_hu",
        "race": "race",
        "cacAgatston": "cac_agatston",
        "highRiskPlaque": "high_risk_plaque",
        **{name: name for name in ("dominance", "setting", "stent", "graft", "exceptions", "ischaemia")},
    }
    nodes, patient = {"inputNode", "labelsNode", "seedsNode"}, {"sex", "ageYears"}
    assert set(hints) == {*named, *nodes, *patient, "analysis"}
    taken = {*CalciumParameters.__dataclass_fields__, *CCTAParameters.__dataclass_fields__}
    assert set(named.values()) <= taken
    assert plaque.BORDERS.keys() == set(hints["analysis"].__metadata__[0].choices)
    for name in ("dominance", "setting", "ischaemia", "highRiskPlaque"):
        for choice in hints[name].__metadata__[0].choices:
            CCTAParameters(**{named[name]: choice or None} if choice else {})
    for device in hints["device"].__metadata__[0].choices:
        CalciumParameters(device=device)
    from CardioPrecisionLib.calcium_norms import MESA_RACES

    assert set(hints["race"].__metadata__[0].choices) == {"", *MESA_RACES}


@pytest.mark.parametrize("shell", WORKING, indirect=True)
def test_sample_data_only_where_the_module_is(shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    shell.registerSampleData()  # no Sample Data module: nothing happens
    sources, loaded = [], []

    class SampleDataLogic:
        registerCustomSampleDataSource = staticmethod(lambda **source: sources.append(source))

    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=SampleDataLogic))
    monkeypatch.setattr(shell, "loadSampleData", lambda: loaded.append(1))
    shell.registerSampleData()
    source = sources[0]
    assert source["sampleName"] == shell.SAMPLE_NAME
    assert source["sampleName"].startswith("CardioPrecision: synthetic ")
    assert source["category"] == "CardioPrecision"
    assert source["uris"] == ""  # nothing to download
    assert loaded == []
    source["customDownloader"](source)
    assert loaded == [1]


def test_sample_data_button_computes_the_cine(lv, slicer, one_patient, monkeypatch, tmp_path):
    from CardioPrecisionLib import scene as mrml

    app = mrml.MrmlApplication(str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", app.scene)
    volume, sequence_node, browser = lv.loadSampleData()
    assert browser.GetProxyNode(sequence_node) is volume
    found, truth = mrml.sequence_from_node(volume), one_patient.sample.sequence
    assert found.voxel_hash() == truth.voxel_hash()
    assert found.rr_ms == truth.rr_ms
    assert app.scene.GetSubjectHierarchyNode().GetItemByDataNode(volume) > 0


def test_sample_data_button_computes_the_ct(plaque, slicer, one_scan, monkeypatch, tmp_path):
    from CardioPrecisionLib import scene as mrml

    app = mrml.MrmlApplication(str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", app.scene)
    [volume] = plaque.loadSampleData()
    assert mrml.image_from_node(volume).voxel_hash() == one_scan.image.voxel_hash()
    assert app.scene.GetSubjectHierarchyNode().GetItemByDataNode(volume) > 0


@pytest.mark.parametrize("shell", WORKING, indirect=True)
def test_child_process_keeps_the_application_alive(shell, slicer, monkeypatch):
    """The shell hands everything on, with PythonSlicer as the interpreter and an event loop that goes on."""
    from CardioPrecisionLib import scene_desktop

    scene_logic = importlib.import_module(f"{shell.__name__}Lib.scene_logic")
    calls, events = [], []
    monkeypatch.setattr(scene_logic, "run_in_child", lambda scene, node, **more: calls.append((scene, node, more)))
    monkeypatch.setattr(scene_desktop.shutil, "which", {"PythonSlicer": "/slicer/bin/PythonSlicer"}.get)
    monkeypatch.setattr(slicer.app, "processEvents", lambda: events.append(1))
    logic_of(shell).processInChild("node", "labels", {"threads": 1}, {"sex": "female"}, shouldStop=lambda: True)
    ((scene, node, more),) = calls
    assert (scene, node, more["labels_node"]) == (slicer.mrmlScene, "node", "labels")
    assert (more["parameters"], more["clinical"]) == ({"threads": 1}, {"sex": "female"})
    assert more["python"] == "/slicer/bin/PythonSlicer"
    assert more["should_stop"]() is True
    assert events == [1]
    more["progress"](0.5, "stage")  # no progress wanted: nothing happens
    logic_of(shell).processInChild("node")
    assert calls[1][2]["should_stop"]() is False


@pytest.mark.parametrize("shell", WORKING, indirect=True)
def test_dependencies_are_installed_on_request_only(shell, slicer, monkeypatch):
    """torch through the PyTorch extension first, then the rest by Slicer's own installer."""
    asked = []
    monkeypatch.setattr(slicer.util, "modulePath", lambda name: str(ROOT / name / f"{name}.py"))
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: [line for line in Path(path).read_text().splitlines() if line[:1] != "#"]

    def pip_ensure(requirements, requester):
        assert requester.replace(" ", "") == shell.__name__
        asked.append(requirements)

    packaging.pip_ensure = pip_ensure
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    monkeypatch.setattr("CardioPrecisionLib.scene_desktop.importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="extension PyTorch"):
        logic_of(shell).ensureDependencies()
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
    logic_of(shell).ensureDependencies()
    assert asked[0] == "torch"
    assert any(line.startswith("nibabel") for line in asked[1])
    assert [line for line in asked[2] if line] == ["monai>=1.4"]  # after torch: it would fetch one of its own
    assert not any(line.startswith(("torch", "numpy", "SimpleITK", "pydicom", "monai")) for line in asked[1])
    logic_of(shell).ensureDependencies(torch=False)
    assert asked[3:] == [asked[1]]
