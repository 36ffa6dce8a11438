"""The same measurements from the source tree, from an installed wheel, and from Slicer's one flat scripts folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from flat_layout import build_flat

ROOT = Path(__file__).resolve().parents[2]
MODEL = "cine_sax_ventricles"

pytestmark = pytest.mark.slow


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """No PYTHONPATH of ours, and a settings folder that the three runs share."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CARDIOPRECISION"))}
    return env | {"CARDIOPRECISION_CONFIG": str(tmp_path / "config"), "CARDIOPRECISION_ACCEPT_LICENSES": MODEL} | more


def run(command: list[str], cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=1500)
    assert done.returncode == 0, f"{' '.join(command[:6])} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def demo(python: Path, cwd: Path, env: dict[str, str], out: Path) -> dict:
    run([str(python), "-m", "CardioPrecisionLib.fronts.cli", "demo", "-o", str(out)], cwd, env)
    for name in ("measurements.json", "report.html", "run.json", "segmentation.nii.gz", "segmentation.seg.nrrd"):
        assert (out / name).stat().st_size > 0, name
    return json.loads((out / "measurements.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A virtual environment with nothing but pip, and a folder to work in."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return folder, python


def test_three_layouts_give_the_same_measurements(empty, tmp_path):
    folder, python = empty
    env = environment(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    from_source = demo(Path(sys.executable), elsewhere, env, tmp_path / "source")

    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)], folder, env)
    wheel = next((folder / "dist").glob("*.whl"))
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "install", "--constraint", str(ROOT / "constraints.txt"), "torch"], folder, env)
    run([*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel)], folder, env)
    script = python.with_name("cardioprecision")
    assert run([str(script), "--version"], elsewhere, env).strip()
    from_wheel = demo(python, elsewhere, env, tmp_path / "wheel")

    run([*pip, "uninstall", "--yes", "cardioprecision"], folder, env)
    gone = subprocess.run([str(python), "-c", "import CardioPrecisionLib"], cwd=elsewhere, env=env, capture_output=True)
    assert gone.returncode != 0, "the wheel is still importable"
    flat = build_flat(tmp_path / "qt-scripted-modules")
    from_flat = demo(python, elsewhere, environment(tmp_path, PYTHONPATH=str(flat)), tmp_path / "flat")

    assert from_source["measurements"]
    assert from_source == from_wheel
    assert from_source == from_flat
