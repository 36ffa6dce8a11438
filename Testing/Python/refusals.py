"""What every refusal must look like: exit code 2, one clear line, nothing written, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from CardioPrecisionLib.fronts import cli


def listing(folder: Path) -> list[tuple[str, int]]:
    """Every file below a folder and its size."""
    return sorted((str(p.relative_to(folder)), p.stat().st_size if p.is_file() else -1) for p in folder.rglob("*"))


def refuse(arguments: list[str], folder: Path, capfd: Any, code: int = 2) -> str:
    """Run a command in `folder`, check that it refuses as it should, and return the one line that it says."""
    before = listing(folder)
    found = cli.main(arguments)
    captured = capfd.readouterr()
    said = [line for line in captured.err.splitlines() if not line.startswith("[")]  # progress, plain
    assert found == code, captured.err
    assert len(said) == 1, captured.err
    assert said[0].startswith("cardioprecision: "), captured.err
    assert "Traceback" not in captured.err
    assert "our own fault" not in captured.err
    assert captured.out == ""
    assert listing(folder) == before
    return said[0]


def _without_override() -> None:
    """Take from root, for what is started next, the right to write where the permissions forbid it."""
    import ctypes

    pr_capbset_drop, cap_dac_override = 24, 1
    if ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0):
        raise OSError("the capability cannot be dropped")


def refuse_locked_folder(arguments: list[str], folder: Path) -> None:
    """Run a command that is to write into a folder without permission, as an ordinary user would."""
    if sys.platform == "win32":
        pytest.skip("POSIX permissions")
    root = os.geteuid() == 0
    if root and sys.platform != "linux":
        pytest.skip("root may write anywhere here")
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-m", "CardioPrecisionLib.fronts.cli", *arguments, "-o", str(locked / "run")],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        check=False,
        timeout=120,
        preexec_fn=_without_override if root else None,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("cardioprecision: ")
    assert "cannot be written (Permission denied)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(locked.iterdir())
