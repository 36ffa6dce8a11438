"""Real DICOM: two GE cine studies and a chest CT."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.cine import load_cine_sax
from CardioPrecisionLib.errors import InputError

pytestmark = pytest.mark.shared


@pytest.mark.parametrize(
    ("subject", "slices", "distance", "rr"), [("SCD0000101", 12, 10.0, 759.0), ("SCD0000401", 11, 8.0, 1016.0)]
)
def test_sunnybrook(shared_data, subject, slices, distance, rr):
    folder = shared_data / "sunnybrook" / subject / "dicom"
    stack = load_cine_sax(folder)
    sequence = stack.sequence
    assert sequence.shape == (256, 256, slices)
    assert sequence.n_frames == 20
    # The slice locations in these headers are about 30 % closer than the slices are.
    assert sequence.spacing[2] == pytest.approx(distance, abs=0.01)
    assert sequence.full_cycle
    assert sequence.rr_ms == pytest.approx(rr)
    assert stack.heart_rate_bpm == pytest.approx(60000 / rr)
    assert stack.usable
    assert [f for f in stack.findings if f.severity != "info"] == []
    located = []
    for file in sorted(folder.iterdir())[::17]:
        ds = pydicom.dcmread(file)
        lps = np.array(ds.ImagePositionPatient, float)
        index = np.linalg.solve(sequence.affine, [-lps[0], -lps[1], lps[2], 1.0])[:3]
        assert np.abs((index - np.rint(index)) * sequence.spacing).max() < 0.05
        k = round(index[2])
        t = int(np.abs(sequence.times_ms[:, k] - float(ds.TriggerTime)).argmin())
        assert (sequence.frame(t)[:, :, k] == ds.pixel_array.T).all()
        located.append((t, k))
    assert len(set(located)) == len(located)


def test_chest_ct_is_refused(shared_data):
    with pytest.raises(InputError, match="130 CT images"):
        load_cine_sax(shared_data / "chest_ct")
