"""Slicer's one flat ``qt-scripted-modules`` folder, built from the modules' own CMake lists."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def added_modules(root: Path = ROOT) -> list[str]:
    """The module folders that the extension's CMakeLists.txt adds outside of any condition."""
    text = re.sub(r"(?m)#.*$", "", (root / "CMakeLists.txt").read_text(encoding="utf-8"))
    text = re.sub(r"(?ms)^if\(.*?^endif\(\)", "", text)
    return re.findall(r"(?m)^\s*add_subdirectory\((\w+)\)", text)


def cmake_lists(module: Path) -> dict[str, list[str]]:
    """The values of every ``set()`` in a module's CMakeLists.txt, variables filled in."""
    text = re.sub(r"(?m)#.*$", "", (module / "CMakeLists.txt").read_text(encoding="utf-8"))
    values: dict[str, list[str]] = {}
    for body in re.findall(r"(?s)\bset\(([^)]*)\)", text):
        name, *items = body.split()
        filled: list[str] = []
        for item in items:
            whole = re.fullmatch(r"\$\{(\w+)\}", item)
            if whole:
                filled += values.get(whole[1], [])
            else:
                filled.append(re.sub(r"\$\{(\w+)\}", lambda m: ";".join(values.get(m[1], [])), item))
        values[name] = filled
    return values


def build_flat(destination: Path, root: Path = ROOT) -> Path:
    """Copy what CMake lists, relative paths kept, all modules into one folder.

    As CTK's ``ctkMacroCompilePythonScript``, which ``slicerMacroBuildScriptedModule`` calls: each script and resource
    goes to ``<destination>/<relative path>``.

    Raises
    ------
    FileNotFoundError
        CMake lists a file that is not there.
    FileExistsError
        Two modules put a file into the same place.
    """
    for name in added_modules(root):
        lists = cmake_lists(root / name)
        for relative in lists["MODULE_PYTHON_SCRIPTS"] + lists["MODULE_PYTHON_RESOURCES"]:
            target = destination / relative
            if target.exists():
                raise FileExistsError(f"{name} and another module both install {relative}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name / relative, target)
    return destination
