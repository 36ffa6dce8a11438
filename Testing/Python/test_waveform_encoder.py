"""The encoder: what it learns without outcomes, that it goes on where it was, and that a changed one is refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from CardioPrecisionLib.analysis import silent
from CardioPrecisionLib.errors import Cancelled, InputError
from FusionRiskLib.fusion.metrics.classes import auc
from FusionRiskLib.waveform import encoder_net
from FusionRiskLib.waveform.analyse import analyse
from FusionRiskLib.waveform.encoder import Encoder, found_again, train
from FusionRiskLib.waveform.encoder_steps import Steps
from FusionRiskLib.waveform.encoder_store import load_encoder, save_encoder
from FusionRiskLib.waveform.recording import make_recording
from FusionRiskLib.waveform.synthetic import Beat, make_ecg, make_pcg
from FusionRiskLib.waveform.windows import Layout, Prepared, prepare
from waveform_cases import as_recording

pytest.importorskip("wfdb")
ECG = Layout("ecg", ("II",))


def _ecg(i, odd, seconds=10.0, rate=250.0, leads=("II",)):
    """Hearts that differ in rate, size, noise; `odd` ones have a wide QRS complex."""
    rng = np.random.default_rng(i)
    beat = Beat(
        r_mv=rng.uniform(0.6, 1.4), t_mv=rng.uniform(0.15, 0.4), qrs_ms=rng.uniform(*((120, 140) if odd else (75, 95)))
    )
    return make_ecg(seconds, rate, leads, rng.uniform(55, 95), beat=beat, noise_mv=rng.uniform(0.01, 0.04), seed=i)


def _ready(recording, layout):
    found = prepare(recording, analyse(recording, layout.kind), layout)
    assert isinstance(found, Prepared), found
    return found


@pytest.fixture(scope="module")
def hearts():
    odd = np.random.default_rng(0).random(140) < 0.5
    return odd, [_ready(as_recording(_ecg(i, odd[i])), ECG) for i in range(140)]


@pytest.fixture(scope="module")
def trained(hearts):
    encoder, losses = train(hearts[1][:80], ECG, 16, 20, 0, silent, Steps(None))
    return encoder, losses


def _auc_of_ridge(z, odd, n):
    """A ridge regression fitted on the first `n`, judged on the others."""
    x = (z - z[:n].mean(axis=0)) / z[:n].std(axis=0)
    w = np.linalg.solve(x[:n].T @ x[:n] + 5 * np.eye(x.shape[1]), x[:n].T @ (odd[:n] - odd[:n].mean()))
    return auc(odd[n:], x[n:] @ w)


# -- what it learns ----------------------------------------------------------------------------------------------------
def test_it_tells_two_shapes_on_recordings_that_it_has_not_seen(hearts, trained):
    odd, ready = hearts
    encoder, losses = trained
    assert losses[-1] < losses[0] - 0.5
    z = np.array([encoder.embed(r) for r in ready])
    assert _auc_of_ridge(z, odd, 80) > 0.9
    # labels that mean nothing are not found
    assert 0.25 < _auc_of_ridge(z, np.random.default_rng(5).permutation(odd), 80) < 0.75


def test_it_tells_recordings_by_one_half_from_the_other(hearts, trained):
    assert found_again(trained[0], hearts[1][80:]) > 4 / 60
    assert found_again(trained[0], hearts[1][:1]) is None


def test_the_length_hardly_matters(trained):
    """The same heart over 12 and 60 seconds, against how far hearts are from each other."""
    encoder = trained[0]
    pairs = [[_ready(as_recording(_ecg(i, i % 2, seconds)), ECG) for seconds in (12, 60)] for i in range(200, 208)]
    z = np.array([[encoder.embed(r) for r in pair] for pair in pairs])
    within = np.linalg.norm(z[:, 0] - z[:, 1], axis=1).mean()
    between = np.linalg.norm(z[:, None, 1] - z[None, :, 1], axis=2)[~np.eye(len(z), dtype=bool)].mean()
    assert within < 0.35 * between


def test_an_exact_repeat_gives_the_same(trained):
    encoder = trained[0]
    one = _ready(as_recording(_ecg(300, False, 12)), ECG)
    twice = Prepared(np.concatenate([one.x, one.x], axis=1), np.concatenate([one.missing, one.missing]))
    np.testing.assert_allclose(encoder.embed(twice), encoder.embed(one), atol=1e-5)


@pytest.mark.parametrize("rate", [100, 360, 1000])
def test_rate_and_unit_hardly_matter(trained, rate):
    encoder = trained[0]
    base = encoder.embed(_ready(as_recording(make_ecg(20, 500, seed=4)), ECG))
    far = encoder.embed(_ready(as_recording(make_ecg(20, 500, beat=Beat(qrs_ms=135), seed=4)), ECG))
    made = make_ecg(20, rate, seed=4)
    for samples, unit in ((made.samples, "mV"), (made.samples * 1000, "uV"), (made.samples * 17, "adu")):
        z = encoder.embed(_ready(as_recording(made, samples, unit), ECG))
        assert np.linalg.norm(z - base) < 0.3 * np.linalg.norm(far - base)


def test_what_else_is_embedded_does_not_matter(hearts, trained):
    """No statistics of a batch: the numbers of a recording are its own."""
    encoder = trained[0]
    long = Prepared(np.concatenate([r.x for r in hearts[1][:3]], axis=1), np.zeros(3000, dtype=bool))
    windows = long.windows(ECG.samples)
    alone = [encoder.embed(Prepared(w, np.zeros(ECG.samples, dtype=bool))) for w in windows]
    np.testing.assert_allclose(encoder.embed(long), np.mean(alone, axis=0), atol=1e-5)


def test_heart_sounds(tmp_path):
    layout = Layout("pcg")
    murmur = np.arange(30) % 2 == 0
    ready = [
        _ready(as_recording(make_pcg(8, 2000, 60 + i, murmur_db=-8 if m else None, noise=0.02, seed=i)), layout)
        for i, m in enumerate(murmur)
    ]
    encoder, _ = train(ready[:20], layout, 8, 15, 0, silent, Steps(None))
    z = np.array([encoder.embed(r) for r in ready])
    assert z.shape == (30, 8)
    assert _auc_of_ridge(z, murmur, 20) > 0.8


# -- what it reads -----------------------------------------------------------------------------------------------------
def test_leads_are_found_by_name_in_any_order():
    layout = Layout("ecg", ("II", "V1"))
    made = _ecg(1, False, leads=("V1", "II", "V5"))
    one = _ready(as_recording(made), layout)
    other = _ready(as_recording(made, made.samples[:, ::-1], names=made.leads[::-1]), layout)
    np.testing.assert_array_equal(one.x, other.x)
    assert one.x.shape == (2, 1000)
    lacking = as_recording(made, made.samples[:, 1:], names=made.leads[1:])
    assert prepare(lacking, analyse(lacking, "ecg"), layout) == "the encoder needs lead V1"


def test_windows_with_missing_samples_are_left_out():
    missing = np.zeros(1200, dtype=bool)
    missing[450:550] = True
    found = Prepared(np.arange(1200, dtype=np.float32)[None], missing)
    assert found.windows(400)[:, 0, 0].tolist() == [0, 800]
    assert (found.starts(400) <= 90).sum() == 91
    assert Prepared(found.x[:, :300], missing[:300]).windows(400).shape == (0, 1, 400)


def test_a_recording_that_cannot_be_used_has_no_embedding():
    made = make_ecg(10, 250)
    noise = make_recording(np.random.default_rng(0).normal(0, 1, made.samples.shape), 250, ["II"], ["mV"], "here")
    assert prepare(noise, analyse(noise, "ecg"), ECG) == "the recording cannot be used"


# -- training ----------------------------------------------------------------------------------------------------------
def test_a_stopped_training_goes_on_and_comes_to_the_same(hearts, tmp_path):
    ready = hearts[1][:40]
    whole, losses = train(ready, ECG, 6, 4, 3, silent, Steps(None))

    def stop(fraction, stage):
        if stage.startswith("Epoch 3"):
            raise Cancelled

    steps = Steps(tmp_path / ".kept", "key")
    with pytest.raises(Cancelled):
        train(ready, ECG, 6, 4, 3, stop, steps)
    assert steps.there
    assert not Steps(tmp_path / ".kept", "other").there
    seen = []
    again, resumed = train(ready, ECG, 6, 4, 3, lambda f, s: seen.append(s), steps)
    assert "Epoch 1 of 4" not in seen
    assert resumed == losses
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)
    steps.clear()
    assert not (tmp_path / ".kept").exists()


def test_a_damaged_state_is_as_good_as_none(hearts, tmp_path):
    ready = hearts[1][:24]
    steps = Steps(tmp_path / ".kept", "key")
    whole, _ = train(ready, ECG, 6, 2, 3, silent, steps)
    (file,) = (tmp_path / ".kept" / "key").iterdir()
    for damaged in (file.read_bytes()[:-9], b"", pickle.dumps({})):
        file.write_bytes(damaged)
        again, _ = train(ready, ECG, 6, 2, 3, silent, steps)
        np.testing.assert_array_equal(again.weights["out.weight"], whole.weights["out.weight"])


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(hearts, tmp_path):
    (tmp_path / "file").write_text("")
    train(hearts[1][:20], ECG, 4, 1, 0, silent, Steps(tmp_path / "file" / "kept", "key"))


def test_another_seed_is_another_encoder(hearts):
    one, other = (train(hearts[1][:20], ECG, 4, 1, seed, silent, Steps(None))[0] for seed in (0, 1))
    assert not np.array_equal(one.weights["out.weight"], other.weights["out.weight"])


def test_the_loss_by_hand():
    """Pairs on two opposite points: of the likeness of a row to all others, only its partner's is 1/t."""
    import torch

    one = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = float(encoder_net.contrast(one, one, 0.5))
    assert found == pytest.approx(-np.log(np.exp(2) / (np.exp(2) + 2 * np.exp(-2))), abs=1e-6)


# -- the folder --------------------------------------------------------------------------------------------------------
@pytest.fixture
def stored(trained, tmp_path):
    return save_encoder(tmp_path / "enc", trained[0], {"recordings": 80, "recordings_sha256": ["ab" * 32]})


def test_what_was_saved_is_what_is_loaded(trained, hearts, stored):
    found = load_encoder(stored)
    np.testing.assert_array_equal(found.encoder.embed(hearts[1][0]), trained[0].embed(hearts[1][0]))
    assert found.knows("ab" * 32)
    assert not found.knows("cd" * 32)
    assert sorted(file.name for file in stored.iterdir()) == ["encoder.json", "manifest.json", "weights.safetensors"]
    card = json.loads((stored / "encoder.json").read_text())
    assert (card["kind"], card["leads"], card["rate_hz"], card["size"]) == ("ecg", ["II"], 100.0, 16)
    assert "torch" in card["training"]["packages"]


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("harm", "said"), [
    (lambda p: _flip(p / "weights.safetensors"), "weights.safetensors is missing or was changed"),
    (lambda p: (p / "encoder.json").write_text("{}"), "encoder.json is missing or was changed"),
    (lambda p: (p / "weights.pkl").write_bytes(pickle.dumps({})), "weights.pkl is not in the encoder's manifest"),
    (lambda p: (p / "weights.safetensors").unlink(), "weights.safetensors is missing"),
    (lambda p: (p / "manifest.json").unlink(), "no encoder"),
    (lambda p: (p / "manifest.json").write_text('{"sha256": {"x.pkl": "0"}}'), "manifest is not that of an encoder"),
])  # fmt: skip
def test_a_changed_folder_is_refused(stored, harm, said):
    harm(stored)
    with pytest.raises(InputError, match=said):
        load_encoder(stored)


@pytest.mark.parametrize("change", [
    {"kind": "eeg"}, {"leads": ["II", "V1"]}, {"leads": ["../x"]}, {"size": 10**9}, {"size": 8}, {"rate_hz": 500},
    {"training": {}}, {"schema": "other"},
])  # fmt: skip
def test_a_card_that_does_not_fit_is_refused_even_with_a_new_manifest(stored, change):
    from CardioPrecisionLib.record import file_sha256

    card = {**json.loads((stored / "encoder.json").read_text()), **change}
    (stored / "encoder.json").write_text(json.dumps(card))
    manifest = json.loads((stored / "manifest.json").read_text())
    manifest["sha256"]["encoder.json"] = file_sha256(stored / "encoder.json")
    (stored / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"malformed|of another kind"):
        load_encoder(stored)


def test_weights_that_are_no_numbers_are_refused(trained, tmp_path):
    bad = {name: array.copy() for name, array in trained[0].weights.items()}
    bad["out.bias"][0] = np.nan
    save_encoder(tmp_path / "enc", Encoder(ECG, 16, bad), {"recordings_sha256": []})
    with pytest.raises(InputError, match="malformed"):
        load_encoder(tmp_path / "enc")


def test_a_folder_that_holds_something_is_not_written_to(trained, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something"):
        save_encoder(tmp_path, trained[0], {"recordings_sha256": []})
    assert (tmp_path / "note.txt").read_text() == "mine"
