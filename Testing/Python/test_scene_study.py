"""A study on its way into a scene: what nothing can be measured on is refused by the panels and the page alike."""

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import write_nifti
from CardioPrecisionLib.scene_study import ROLES, read_study
from ct_cases import affine_of, thorax

pytest.importorskip("slicer")


@pytest.fixture
def torn_ct(tmp_path):
    """A CT that was read rightly and on which nothing can be measured."""
    hu = thorax().astype(np.float32)
    hu[32, 32, 5] = np.inf
    path = tmp_path / "torn.nii.gz"
    write_nifti(path, hu, affine_of())
    return path


def test_what_cannot_be_measured_is_not_opened(torn_ct):
    with pytest.raises(InputError, match=r"torn\.nii\.gz: .*in the middle"):
        read_study("cardiac_ct", torn_ct)


def test_the_page_does_not_open_it_either(torn_ct):
    viewer = pytest.importorskip("CardioPrecisionLib.fronts.web.viewer")
    with pytest.raises(InputError, match="in the middle"):
        viewer._read("cardiac_ct", torn_ct)


def test_every_role_of_the_page_has_an_analysis():
    viewer = pytest.importorskip("CardioPrecisionLib.fronts.web.viewer")
    assert set(viewer.ROLES) == set(viewer.TITLES) == set(ROLES) - {""}
