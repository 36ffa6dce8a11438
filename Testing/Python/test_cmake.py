"""CMake's lists, the tree, the flat folder and the extension's metadata agree."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
from flat_layout import ROOT, added_modules, build_flat, cmake_lists

MODULES = ("CardioPrecision", "LVFunction", "CoronaryPlaque", "FusionRisk")

# The keys and types of Slicer's slicer-extension-catalog-entry-schema-v1.0.2.json.
ENTRY_SCHEMA = {
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        **{key: {"type": "string"} for key in ("$schema", "category", "scm_url", "scm_revision", "build_subdirectory")},
        "scm_type": {"enum": ["git", "local"]},
        "dicom_support_rule": {"type": "string"},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "enabled": {"type": "boolean"},
        "tier": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}


def load_tool():
    spec = importlib.util.spec_from_file_location("cmake_lists", ROOT / "tools" / "cmake_lists.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_modules_are_added():
    assert tuple(added_modules()) == MODULES
    assert tuple(load_tool().modules()) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_lists_and_tree_agree(name):
    """Walks the tree on its own, so a fault of the tool shows as well."""
    folder = ROOT / name
    lists = cmake_lists(folder)
    assert lists["MODULE_NAME"] == [name]
    tree = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not re.search(
            r"(^|/)(\.|__pycache__/)|/bundles/[^/]+/runs/|\.(pyc|part|tmp)$", "/" + path.relative_to(folder).as_posix()
        )
    } - {"CMakeLists.txt"}
    scripts, resources = lists["MODULE_PYTHON_SCRIPTS"], lists["MODULE_PYTHON_RESOURCES"]
    listed = scripts + resources
    assert len(listed) == len(set(listed))
    assert set(listed) == tree, "run: python tools/cmake_lists.py"
    assert all(file.endswith(".py") for file in scripts)
    assert not [file for file in resources if file.endswith(".py")]
    assert f"{name}.py" in scripts
    assert f"{name}Lib/__init__.py" in scripts


def test_tool_finds_and_mends_a_missing_file(tmp_path, monkeypatch, capsys):
    tool = load_tool()
    shutil.copy(ROOT / "CMakeLists.txt", tmp_path)
    for name in MODULES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "runs", "*.pt"))
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "modules", lambda: list(MODULES))
    tool.main([])
    capsys.readouterr()
    assert tool.main(["--check"]) == 0
    new = tmp_path / "LVFunction" / "LVFunctionLib" / "new" / "table.csv"
    new.parent.mkdir()
    new.write_text("a\n")
    for ignored in ("__pycache__/x.pyc", "bundles/b/runs/log.txt", ".hidden"):
        path = tmp_path / "LVFunction" / "LVFunctionLib" / ignored
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert tool.main(["--check"]) == 1
    assert "+  LVFunctionLib/new/table.csv" in capsys.readouterr().out
    assert "LVFunctionLib/new/table.csv" not in cmake_lists(tmp_path / "LVFunction")["MODULE_PYTHON_RESOURCES"]
    assert tool.main([]) == 0
    assert "LVFunctionLib/new/table.csv" in cmake_lists(tmp_path / "LVFunction")["MODULE_PYTHON_RESOURCES"]
    new.unlink()
    assert tool.main(["--check"]) == 1
    new.with_name("with space.csv").write_text("")
    with pytest.raises(SystemExit, match="cannot list"):
        tool.main([])


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("name", MODULES)
def test_cmake_itself_reads_the_same_lists(tmp_path, name):
    """CMake runs the module's file; the macro of Slicer is replaced by one that prints what it was given."""
    driver = tmp_path / "driver.cmake"
    driver.write_text(
        "macro(slicerMacroBuildScriptedModule)\n"
        '  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})\n'
        "  if(MY_UNPARSED_ARGUMENTS)\n    message(FATAL_ERROR ${MY_UNPARSED_ARGUMENTS})\n  endif()\n"
        "  foreach(kind SCRIPTS RESOURCES)\n    foreach(file ${MY_${kind}})\n"
        '      if(NOT EXISTS "${SOURCE}/${file}")\n        message(FATAL_ERROR "missing ${file}")\n      endif()\n'
        '      message(STATUS "${MY_NAME}|${kind}|${file}")\n    endforeach()\n  endforeach()\nendmacro()\n'
        f'set(SOURCE "{(ROOT / name).as_posix()}")\ninclude("${{SOURCE}}/CMakeLists.txt")\n'
    )
    done = subprocess.run(["cmake", "-P", str(driver)], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    lists = cmake_lists(ROOT / name)
    expected = [
        f"-- {name}|{kind}|{file}" for kind in ("SCRIPTS", "RESOURCES") for file in lists[f"MODULE_PYTHON_{kind}"]
    ]
    assert done.stdout.splitlines() == expected


def test_flat_folder_has_everything_in_its_place(tmp_path):
    flat = build_flat(tmp_path / "qt-scripted-modules")
    top = {path.name for path in flat.iterdir()}
    assert top == {"Resources"} | {f"{m}.py" for m in MODULES} | {f"{m}Lib" for m in MODULES}
    for relative in (
        "CardioPrecisionLib/schemas/measurements-1.schema.json",
        "Resources/Icons/LVFunction.png",
        "LVFunctionLib/bundles/cine_sax_ventricles/configs/train.yaml",
    ):
        assert (flat / relative).is_file()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import CardioPrecisionLib, LVFunctionLib.volumes, CardioPrecisionLib.measurement as m; "
            "m.schema(); print(CardioPrecisionLib.__file__)",
        ],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={"PYTHONPATH": str(flat), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(flat / "CardioPrecisionLib" / "__init__.py")


def test_two_modules_never_install_the_same_file(tmp_path):
    for name in ("A", "B"):
        (tmp_path / name / "Resources").mkdir(parents=True)
        (tmp_path / name / f"{name}.py").write_text("")
        (tmp_path / name / "Resources" / "same.txt").write_text("")
        (tmp_path / name / "CMakeLists.txt").write_text(
            f"set(MODULE_NAME {name})\nset(MODULE_PYTHON_SCRIPTS\n  ${{MODULE_NAME}}.py\n  )\n"
            "set(MODULE_PYTHON_RESOURCES Resources/same.txt) # comment\n"
        )
    (tmp_path / "CMakeLists.txt").write_text("add_subdirectory(A)\nadd_subdirectory(B)\n")
    with pytest.raises(FileExistsError, match=r"Resources/same\.txt"):
        build_flat(tmp_path / "flat", tmp_path)


def test_extension_metadata():
    entry = json.loads((ROOT / "CardioPrecision.json").read_text(encoding="utf-8"))
    jsonschema.validate(entry, ENTRY_SCHEMA)
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert (entry["category"], entry["build_dependencies"], entry["tier"]) == ("Cardiac", ["PyTorch"], 1)
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    values = dict(re.findall(r'set\((EXTENSION_\w+) "([^"]*)"\)', text))
    assert re.search(r"(?m)^project\(CardioPrecision\)", text)  # Slicer wants the entry's file name to be the project's
    assert values["EXTENSION_DEPENDS"].split(";") == entry["build_dependencies"]
    assert values["EXTENSION_CATEGORY"] == entry["category"]
    assert values["EXTENSION_CONTRIBUTORS"] == "CardioPrecision developers"
    assert len(values["EXTENSION_DESCRIPTION"]) > 80
    assert "TODO" not in text
    assert "example.com" not in text


@pytest.mark.parametrize("path", ["CardioPrecision.png", *(f"{m}/Resources/Icons/{m}.png" for m in MODULES)])
def test_icons_are_128_pixels_with_alpha(path):
    head = (ROOT / path).read_bytes()[:26]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (128, 128)
    assert head[25] == 6  # RGBA


def test_requirements_for_slicer_follow_the_project():
    """Everything the wheel asks for, less what Slicer bundles and torch, with the same lower bounds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bundled = {"numpy", "scipy", "simpleitk", "pydicom", "highdicom", "torch"}
    wanted = {line for line in project["dependencies"] if re.match(r"[\w-]+", line)[0].lower() not in bundled}
    folder = ROOT / "CardioPrecision/Resources"
    listed = {}
    for name in ("requirements", "model_requirements"):
        lines = (folder / f"CardioPrecision_{name}.txt").read_text(encoding="utf-8").splitlines()
        listed[name] = {line for line in lines if line and not line.startswith("#")}
    assert listed["requirements"] | listed["model_requirements"] == wanted
    assert {line[:5] for line in listed["model_requirements"]} == {"monai"}  # it would fetch a torch of its own
    lines = [*listed["requirements"], *listed["model_requirements"]]
    assert not any("==" in line or "<" in line for line in lines)


def test_desktop_scripts_are_in_cmake():
    text = (ROOT / "Testing/CMakeLists.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"SCRIPT (\S+)", text))
    scripts = {p.relative_to(ROOT / "Testing").as_posix() for p in Path(ROOT / "Testing/Slicer").glob("*.py")}
    assert listed == scripts - {"Slicer/slicer_run.py"}  # which runs them
