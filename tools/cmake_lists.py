"""Keeps the file lists in the modules' CMakeLists.txt in step with the tree.

    python tools/cmake_lists.py            rewrite the lists
    python tools/cmake_lists.py --check    say what differs; exit code 1 if anything does

Slicer copies exactly the files that a module's CMakeLists.txt names, with their relative paths, so every Python file
and every data file of a Lib must be in it.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SKIPPED_FOLDERS = {"__pycache__", "Testing"}
_SKIPPED_SUFFIXES = {".pyc", ".pyo", ".part", ".tmp", ".orig"}


def modules(root: Path = ROOT) -> list[str]:
    """The module folders, in the order in which the extension adds them."""
    text = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    return [name for name in re.findall(r"(?m)^add_subdirectory\((\w+)\)", text) if name != "Testing"]


def module_files(folder: Path) -> tuple[list[str], list[str]]:
    """Python files and all other files that a module needs at run time, as relative POSIX paths.

    Left out: caches, hidden and unfinished files, and the folder ``runs`` of a bundle (training output).
    """
    scripts, resources = [], []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        parts = relative.parts
        if not path.is_file() or relative == Path("CMakeLists.txt"):
            continue
        if any(part in _SKIPPED_FOLDERS or part.startswith(".") for part in parts):
            continue
        if path.suffix in _SKIPPED_SUFFIXES or ("bundles" in parts and "runs" in parts[:-1]):
            continue
        (scripts if path.suffix == ".py" else resources).append(relative.as_posix())
    return scripts, resources


def rewritten(folder: Path) -> tuple[str, str]:
    """The module's CMakeLists.txt as it is and as it should be."""
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    wanted = text
    for name, files in zip(("scripts", "resources"), module_files(folder), strict=True):
        strange = [file for file in files if re.search(r"[\s;#$()\"\\]", file)]
        if strange:
            raise SystemExit(f"{folder.name}: CMake cannot list {strange[0]!r}; rename it")
        block = "".join(f"  {file}\n" for file in files)
        wanted, found = re.subn(
            rf"(?ms)^(  # begin {name}\n).*?^(  # end {name}\n)", lambda m, block=block: m[1] + block + m[2], wanted
        )
        if found != 1:
            raise SystemExit(f"{folder.name}/CMakeLists.txt: the marks '# begin {name}' and '# end {name}' are missing")
    return text, wanted


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, only say what differs")
    check = parser.parse_args(arguments).check
    differing = 0
    for name in modules():
        path = ROOT / name / "CMakeLists.txt"
        before, after = rewritten(path.parent)
        if before == after:
            continue
        differing += 1
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
        print(f"{name}/CMakeLists.txt", *(line for line in lines if re.match(r"[+-]  ", line)), sep="\n")
        if not check:
            temporary = path.with_suffix(".part")
            temporary.write_text(after, encoding="utf-8")
            temporary.replace(path)
    if check and differing:
        print("run: python tools/cmake_lists.py", file=sys.stderr)
    return int(bool(check and differing))


if __name__ == "__main__":
    sys.exit(main())
