"""The shipped bundle: what it is, and how well it does on patients that it was not trained on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from CardioPrecisionLib.analysis import silent
from CardioPrecisionLib.bundle import registry
from CardioPrecisionLib.measurement import Patient, State
from LVFunctionLib import acdc, evaluation
from LVFunctionLib.volumes import BUNDLE, LVParameters, LVVolumes
from sunnybrook import expert

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CARDIOPRECISION_DATA", ROOT.parent / "shared" / "data"))
SUNNYBROOK = sorted((DATA / "sunnybrook").glob("SCD*")) if (DATA / "sunnybrook").is_dir() else []
needs_acdc = pytest.mark.skipif(not (DATA / "acdc").is_dir(), reason=f"no real images in {DATA}/acdc")


@pytest.fixture(autouse=True)
def accepted(monkeypatch):
    monkeypatch.setenv("CARDIOPRECISION_ACCEPT_LICENSES", BUNDLE)


@pytest.fixture(scope="module")
def bundle():
    return registry.get_bundle(BUNDLE)


def test_weights_are_what_the_metadata_says(bundle):
    registry.verify(bundle)
    files = bundle.metadata["cardioprecision"]["files"]
    weights = [f for f in files if f.endswith(".pt")]
    assert len(weights) == len(bundle.metadata["cardioprecision"]["members"])
    assert sum((Path(str(bundle.root)) / f).stat().st_size for f in weights) <= 15e6


def test_small_enough(bundle):
    import torch

    parameters = 0
    for member in bundle.metadata["cardioprecision"]["members"]:
        state = torch.load(Path(str(bundle.root)) / member["file"], weights_only=True)
        weights = {v.data_ptr(): v.numel() for k, v in state.items() if v.is_floating_point() and "running_" not in k}
        parameters += sum(weights.values())
    assert parameters <= 7e6


def test_card_states_what_was_measured(bundle):
    """The numbers in the metadata are those of the evaluation file that lies beside the card."""
    docs = Path(str(bundle.root)) / "docs"
    stored = json.loads((docs / "evaluation.json").read_text(encoding="utf-8"))
    assert bundle.metadata["cardioprecision"]["intervals"] == stored["summary"]["intervals"]
    card = (docs / "README.md").read_text(encoding="utf-8")
    assert f"{stored['summary']['all']['dice']['mean']:.3f}" in card
    assert "CC BY-NC-SA" in card


@pytest.mark.slow
@pytest.mark.shared
@needs_acdc
def test_validation_patients(bundle, tmp_path):
    """Every second of the 15; all of them are in the bundle's ``evaluation.json``."""
    made = evaluation.run(Path(str(bundle.root)), DATA / "acdc", tmp_path / "evaluation.json", every=2)
    result = made["summary"]["all"]
    print(json.dumps(result, indent=1))
    assert result["dice"]["mean"] >= 0.90
    assert result["mean_absolute_error"]["lv_ef"] <= 3.0
    assert result["mean_absolute_error_pct"]["lv_edv"] <= 6.0


@needs_acdc
def test_split_keeps_patients_apart():
    training, validation = acdc.split(DATA / "acdc")
    assert not set(training) & set(validation)
    assert len(validation) == 15


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SUNNYBROOK, reason=f"no real images in {DATA}/sunnybrook")
@pytest.mark.parametrize("subject", SUNNYBROOK, ids=lambda p: p.name)
def test_sunnybrook_against_the_experts(subject):
    analysis = LVVolumes()
    cine = analysis.load("cine_sax", str(subject / "dicom"), silent)
    result = analysis.run({"cine_sax": cine}, LVParameters(), silent, patient=Patient())
    truth = expert(subject)
    m = result.measurements
    print(
        f"{subject.name}: EF {m.value('lv_ef'):.1f} % (experts {truth.ef_pct:.1f}), EDV {m.value('lv_edv'):.0f} mL "
        f"({truth.edv_ml:.0f} over {truth.ed_slices} of {truth.all_slices} slices)"
    )
    assert cine.data.n_frames == 20
    assert abs(m.value("lv_ef") - truth.ef_pct) <= 5
    assert abs(m.value("lv_edv") / truth.edv_ml - 1) <= 0.12
    assert m["lv_ef"].low < m.value("lv_ef") < m["lv_ef"].high


@pytest.mark.shared
@needs_acdc
def test_engine_on_turned_and_mirrored_copies(bundle):
    """Orientation is unknown in the training data: a copy in any orientation must give nearly the same volumes."""
    from CardioPrecisionLib.analysis import Loaded
    from CardioPrecisionLib.image import Sequence

    case = acdc.load(DATA / "acdc", acdc.split(DATA / "acdc")[1][:1])[0]
    images = np.stack([case.images["ED"], case.images["ES"]])
    affine = np.diag([*case.spacing, 1.0])
    values = []
    for turned in (images, images[:, ::-1], images[:, :, ::-1, ::-1], images[:, ::-1, :, ::-1]):
        loaded = Loaded(Sequence.from_array(np.ascontiguousarray(turned), affine, modality="MR"))
        m = LVVolumes().run({"cine_sax": loaded}, LVParameters(figures=False), silent, patient=Patient()).measurements
        assert m["lv_ef"].state is State.MEASURED
        values.append([m.value("lv_edv"), m.value("lv_esv"), m.value("lv_mass")])
    assert np.ptp(values, axis=0).max() <= 0.02 * np.max(values)
