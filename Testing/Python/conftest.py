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
