"""What all tests share: a private configuration, the real images where they are, small volumes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _private_configuration(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's own configuration, and no licence is accepted from outside."""
    monkeypatch.setenv("CARDIOPRECISION_CONFIG", str(tmp_path_factory.mktemp("config")))
    monkeypatch.delenv("CARDIOPRECISION_ACCEPT_LICENSES", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; the test is skipped where it is not there."""
    folder = Path(os.environ.get("CARDIOPRECISION_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real images are not at {folder} (set CARDIOPRECISION_DATA)")
    return folder


@pytest.fixture
def threshold():
    """The test-only analysis ``threshold``, registered for one test."""
    import threshold_analysis
    from CardioPrecisionLib.fronts import registry

    registry.register(threshold_analysis.NAME, threshold_analysis.TARGET, "Volume above a threshold.")
    yield threshold_analysis
    registry._ENTRIES.pop(threshold_analysis.NAME)


@pytest.fixture
def desktop(monkeypatch, tmp_path):
    """Slicer's stand-ins with real MRML and real Qt; undone at the end."""
    pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")
    pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the libraries of the system that it uses")
    import slicer_stand_ins
    from CardioPrecisionLib import scene as mrml

    application = mrml.MrmlApplication(str(tmp_path))
    installed = slicer_stand_ins.fresh(monkeypatch, application.scene)
    installed.app.temporaryPath = str(tmp_path / "pages")
    installed.app.mrml = application  # lives as long as the test: its logics move the frames
    return installed


@pytest.fixture
def widget_of(desktop, monkeypatch):
    """Makes a module's widget, set up, with nothing to install."""
    import importlib

    made = []

    def make(name):
        module = importlib.import_module(name)
        base = importlib.import_module("CardioPrecisionLib.widget_base")
        monkeypatch.setattr(base, "ensure_dependencies", lambda title, torch=True: None)
        made.append(getattr(module, f"{name}Widget")())
        made[-1].setup()
        return made[-1]

    yield make
    for widget in made:
        widget.cleanup()


def oblique_affine(spacing=(1.3, 1.4, 8.0), origin=(-40.0, 25.0, 60.0), degrees=(20.0, -35.0, 50.0), flip=()):
    """Index to RAS mm for a turned grid; the axes in `flip` run backwards."""
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    signs = [-1.0 if axis in flip else 1.0 for axis in range(3)]
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * np.multiply(spacing, signs)
    affine[:3, 3] = origin
    return affine


@pytest.fixture
def small_cine(tmp_path) -> Path:
    """A 4-D NIfTI, 4 frames of 12 x 10 x 5 on an oblique grid, with a box of 60, 48, 24 and 36 voxels above 0.5."""
    from CardioPrecisionLib.image import write_nifti

    frames = np.zeros((4, 12, 10, 5), np.float32)
    for t, width in enumerate((5, 4, 2, 3)):
        frames[t, 2 : 2 + width, 3:7, 1:4] = 1
    path = tmp_path / "cine.nii.gz"
    write_nifti(path, frames, oblique_affine(), 40.0)
    return path
