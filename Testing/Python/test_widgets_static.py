"""What can be known of the panels without running them: files, names, bindings, connections, imports, translations."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree

import pytest
from flat_layout import ROOT

MODULES = ("CardioPrecision", "LVFunction", "CoronaryPlaque", "FusionRisk")
LIB = ROOT / "CardioPrecision/CardioPrecisionLib"
#: The Slicer side of the ground: what a shell imports at file scope, and what that imports.
SLICER_SIDE = [LIB / f"widget_{name}.py" for name in ("base", "form", "qt", "run", "scene", "test")]
#: Widgets of a panel that the base class uses where they are there.
OPTIONAL = {"sampleButton", "folderButton", "correctButton", "recomputeButton", "editorCollapsibleButton"}
#: A parameter's type -> the widgets that Slicer can bind it to.
CONNECTORS = {
    "str": {"QComboBox", "QLineEdit"},
    "int": {"QSpinBox"},
    "float": {"QDoubleSpinBox"},
    "bool": {"QCheckBox"},
    "node": {"qMRMLNodeComboBox"},
}


def ui_of(name):
    return ElementTree.parse(ROOT / name / f"Resources/UI/{name}.ui").getroot()


def source(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def shell(name):
    return source(ROOT / name / f"{name}.py")


def class_of(tree, name):
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return found


def widgets(name):
    return {w.attrib["name"]: w for w in ui_of(name).iter("widget")}


def used(tree):
    """Names after ``ui.`` anywhere in a file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            value = node.value
            if (isinstance(value, ast.Attribute) and value.attr == "ui") or (
                isinstance(value, ast.Name) and value.id == "ui"
            ):
                found.add(node.attr)
    return found


@pytest.mark.parametrize("name", MODULES)
def test_ui_file(name):
    """A qMRMLWidget on top; names once; every MRML widget gets the scene; every class of a library declared."""
    root = ui_of(name)
    [top] = root.findall("widget")
    assert top.attrib == {"class": "qMRMLWidget", "name": name}
    names = [w.attrib["name"] for w in root.iter("widget")]
    assert len(names) == len(set(names))
    declared = {c.findtext("class"): c for c in root.iter("customwidget")}
    used_classes = {w.attrib["class"] for w in root.iter("widget")}
    assert {c for c in used_classes if not c.startswith("Q")} == set(declared)
    for entry in declared.values():
        assert entry.findtext("header") == entry.findtext("class") + ".h"
    wanted = {n for n, w in widgets(name).items() if w.attrib["class"].startswith("qMRML") and n != name}
    given = set()
    for connection in root.iter("connection"):
        assert connection.findtext("sender") == name
        assert connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        assert connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
        given.add(connection.findtext("receiver"))
    assert given == wanted


@pytest.mark.parametrize("name", MODULES)
def test_advanced_is_closed_and_results_are_open(name):
    collapsed = {}
    for n, w in widgets(name).items():
        if w.attrib["class"] == "ctkCollapsibleButton":
            values = {p.attrib["name"]: p[0].text for p in w.findall("property")}
            collapsed[n] = values.get("collapsed") == "true"
    assert not collapsed["resultsCollapsibleButton"]
    assert all(on for n, on in collapsed.items() if n.startswith(("advanced", "environment", "workflow", "editor")))


@pytest.mark.parametrize("name", MODULES)
def test_texts_can_be_translated(name):
    """No text for people is marked as one that is not translated, and none is put together in the file."""
    for w in ui_of(name).iter("widget"):
        for p in w.findall("property"):
            if p.attrib["name"] in ("text", "toolTip", "specialValueText", "suffix", "placeholderText"):
                assert p[0].tag == "string"
                assert "notr" not in p[0].attrib, w.attrib["name"]
            if p.attrib["name"] == "SlicerParameterName":
                assert p.attrib.get("stdset") == "0"
                assert p[0].attrib.get("notr") == "true"


@pytest.mark.parametrize("name", MODULES)
def test_every_widget_that_code_uses_exists(name):
    there = set(widgets(name))
    assert used(shell(name)) <= there
    missing = used(source(LIB / "widget_base.py")) - there
    assert missing <= OPTIONAL
    assert ("correctButton" in missing) == ("recomputeButton" in missing) == ("editorCollapsibleButton" in missing)


@pytest.mark.parametrize("name", MODULES)
def test_every_button_does_something(name):
    """A button that nothing is connected to would be a promise that is not kept."""
    buttons = {n for n, w in widgets(name).items() if w.attrib["class"] == "QPushButton"}
    connected = set()
    for tree in (shell(name), source(LIB / "widget_base.py")):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect":
                signal = node.func.value
                if isinstance(signal, ast.Attribute) and isinstance(signal.value, ast.Attribute):
                    connected.add(signal.value.attr)
    assert buttons <= connected, buttons - connected


def hints(name):
    """Parameter -> kind, as `CONNECTORS` calls it, from the parameter node's source."""
    found = {}
    for node in class_of(shell(name), f"{name}ParameterNode").body:
        if isinstance(node, ast.AnnAssign):
            text = ast.unparse(node.annotation)
            plain = re.sub(r"^Annotated\[(\w+),.*", r"\1", text)
            found[node.target.id] = plain if plain in CONNECTORS else "node"
    return found


@pytest.mark.parametrize("name", MODULES)
def test_every_binding_is_a_parameter_that_suits(name):
    parameters, bound = hints(name), {}
    for n, w in widgets(name).items():
        for p in w.findall("property"):
            if p.attrib["name"] == "SlicerParameterName":
                bound[p[0].text] = (n, w)
    assert set(bound) <= set(parameters)
    for parameter, (n, w) in bound.items():
        assert w.attrib["class"] in CONNECTORS[parameters[parameter]], n
        if parameters[parameter] == "node":
            [types] = [p for p in w.findall("property") if p.attrib["name"] == "nodeTypes"]
            annotation = next(
                ast.unparse(node.annotation)
                for node in class_of(shell(name), f"{name}ParameterNode").body
                if isinstance(node, ast.AnnAssign) and node.target.id == parameter
            )
            assert {t.text for t in types.iter("string")} == set(re.findall(r"vtkMRML\w+", annotation))
    unbound = set(parameters) - set(bound)
    assert unbound <= {"chosenRun"}  # kept by the list of runs itself


@pytest.mark.parametrize("name", MODULES)
def test_every_slot_exists(name):
    tree, base = shell(name), source(LIB / "widget_base.py")
    methods = {n.name for n in ast.walk(class_of(base, "AnalysisWidget")) if isinstance(n, ast.FunctionDef)}
    own = {n.name for n in ast.walk(class_of(tree, f"{name}Widget")) if isinstance(n, ast.FunctionDef)}
    count = 0
    for file in (tree, base):
        for node in ast.walk(file):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect":
                slot = node.args[-1]
                if isinstance(slot, ast.Attribute):
                    assert slot.attr in methods | own, slot.attr
                    count += 1
    assert count > 5


@pytest.mark.parametrize("name", MODULES)
def test_every_message_can_be_translated(name):
    """Texts that are shown go through ``_()``, and as literals, which is what lupdate reads."""
    shown = {"say", "fill_table", "set_reason", "name_choices", "busy", "open_file", "save_file", "choose_folder"}
    for node in ast.walk(shell(name)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "_":
                assert len(node.args) == 1
                assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
            if called in shown:
                for argument in node.args:
                    literal = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                    words = literal and re.search("[A-Za-z]{3}", argument.value) and "." not in argument.value
                    assert not words, ast.unparse(node)


@pytest.mark.parametrize("path", [*(ROOT / n / f"{n}.py" for n in MODULES), *SLICER_SIDE], ids=lambda p: p.name)
def test_nothing_runs_when_a_file_is_imported(path):
    """Definitions, imports and constants only, and no import of what Slicer does not bundle."""
    allowed = {"slicer", "vtk", "qt", "ctk", "numpy", "scipy", "SimpleITK", *(f"{n}Lib" for n in MODULES)}
    import sys

    for node in source(path).body:
        assert isinstance(
            node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.ClassDef | ast.Expr
        ), ast.unparse(node)
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots = {node.module.split(".")[0]}
        else:
            continue
        assert roots <= allowed | set(sys.stdlib_module_names) | {"__future__"}, roots


@pytest.mark.parametrize("name", MODULES)
def test_module_says_what_it_is(name):
    text = ast.unparse(class_of(shell(name), name))
    assert "translate('qSlicerAbstractCoreModule', 'Cardiac')" in text
    wanted = [] if name == "CardioPrecision" else ["CardioPrecision"]
    assert f"parent.dependencies = {wanted}" in text
    assert "CITATION.cff" in text
    assert "research" in text
    assert (ROOT / name / f"Resources/Icons/{name}.png").is_file()
    cmake = (ROOT / name / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"Resources/UI/{name}.ui" in cmake
    assert "WITH_GENERIC_TESTS" in cmake


def test_the_extension_index_has_what_it_asks_for():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    fields = dict(re.findall(r'(?m)^set\(EXTENSION_(\w+) "([^"]*)"\)', text))
    assert fields["CATEGORY"] == "Cardiac"
    assert len(fields["DESCRIPTION"]) > 80
    for word in ("calcium", "CT angiography", "risk", "ejection fraction"):
        assert word in fields["DESCRIPTION"]
    raw = "https://raw.githubusercontent.com/CardioPrecision/CardioPrecision/main/"
    for key in ("ICONURL", "SCREENSHOTURLS"):
        for url in fields[key].split():
            assert url.startswith(raw)
            assert (ROOT / url.removeprefix(raw)).is_file(), url
    assert fields["ICONURL"]
    assert (ROOT / "LICENSE.txt").read_text(encoding="utf-8").lstrip().startswith("Apache License")
    assert "cine" in (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("keywords")[1][:200]
