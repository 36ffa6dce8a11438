"""The inference engine on bundles whose answer is known: geometry, boxes, determinism, memory, precision, guard."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from CardioPrecisionLib.bundle import dihedral, precision
from CardioPrecisionLib.bundle.engine import SliceEngine
from CardioPrecisionLib.bundle.fuse import fused
from CardioPrecisionLib.bundle.memory import bytes_per_pixel, is_out_of_memory
from CardioPrecisionLib.bundle.resample import Lattice, largest, with_context
from CardioPrecisionLib.bundle.runner import Placement
from CardioPrecisionLib.errors import Cancelled, CardioPrecisionError, InputError
from CardioPrecisionLib.image import Sequence, read_frames, write_nifti
from tiny_bundle import THRESHOLDS, make, threshold_weights

FAKE_CUDA = Placement("cuda", torch.device("cpu"))  # an accelerator in name, so that its fall-backs can be walked


def cone(shape=(96, 80, 5), spacing=(1.4, 1.4, 8.0), frames=4, centre=(10.0, -6.0), radius_mm=45.0, dtype=np.int16):
    """Blunt cones whose intensity falls linearly: every threshold v is a circle of known radius ``R (1 - 0.9 v)``.

    Frame t, slice k: ``R = radius_mm * (1 - 0.05 t) * (1 - 0.04 k)``; intensity 1000 within 0.1 R, 0 outside R.
    """
    i = (np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing[0] - centre[0]
    j = (np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing[1] - centre[1]
    r = np.hypot(i[:, None], j[None, :])
    radii = radius_mm * (1 - 0.05 * np.arange(frames))[:, None] * (1 - 0.04 * np.arange(shape[2]))[None]
    value = np.clip((1 - r[None, :, :, None] / radii[:, None, None, :]) / 0.9, 0, 1) * 1000
    affine = np.diag([*spacing, 1.0])
    return Sequence.from_array(value.astype(dtype), affine, modality="MR"), radii


def truth(sequence, thresholds=THRESHOLDS):
    """Labels of the stored values themselves."""
    values = np.stack(list(sequence)).astype(float)
    unit = (values - values.min()) / (values.max() - values.min())
    return np.digitize(unit, thresholds).astype(np.uint8)


def dice(a, b, c):
    return 2 * ((a == c) & (b == c)).sum() / max(1, (a == c).sum() + (b == c).sum())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def engine(bundle):
    return SliceEngine(bundle, device="cpu", precision="float32", threads=1)


# -- geometry ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spacing", [(1.4, 1.4, 8.0), (0.9, 1.9, 8.0), (2.3, 1.1, 10.0)])
def test_labels_and_areas_on_any_spacing(engine, spacing):
    sequence, radii = cone((round(150 / spacing[0]), round(140 / spacing[1]), 5), spacing)
    found = engine.segment(sequence)
    expected = truth(sequence)
    assert found.labels.shape == (4, *sequence.shape)
    assert found.labels.dtype == np.uint8
    for c in (1, 2, 3):
        assert dice(found.labels, expected, c) > (0.97 if spacing == (1.4, 1.4, 8.0) else 0.93)
    disc = np.pi * (radii[..., None] * (1 - 0.9 * np.array(THRESHOLDS))) ** 2
    rings = np.stack([disc[..., 0] - disc[..., 1], disc[..., 1] - disc[..., 2], disc[..., 2]], -1)
    assert found.areas_mm2.shape == (1, 4, 5, 4)
    np.testing.assert_allclose(found.areas_mm2[0, ..., 1:].sum((0, 1)), rings.sum((0, 1)), rtol=0.02)
    counted = np.stack([(found.labels == c).sum((1, 2)) for c in (1, 2, 3)], -1) * spacing[0] * spacing[1]
    np.testing.assert_allclose(counted.sum((0, 1)), rings.sum((0, 1)), rtol=0.02)


def test_an_oblique_twin_gives_the_same_bytes(engine):
    sequence, _ = cone((100, 90, 4), (1.2, 1.7, 9.0))
    a, b = 0.7, -0.4
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation @ sequence.affine[:3, :3] @ np.diag([1, -1, 1])
    affine[:3, 3] = (-40, 12, 300)
    twin = Sequence(sequence.load, sequence.n_frames, sequence.shape, affine, modality="MR")
    assert engine.segment(twin).labels.tobytes() == engine.segment(sequence).labels.tobytes()


def test_a_stored_type_and_byte_order_make_no_difference(engine):
    sequence, _ = cone(frames=2)
    expected = engine.segment(sequence).labels
    values = np.stack(list(sequence))
    for dtype in (np.uint16, ">i2", np.float32, np.float64):
        other = Sequence.from_array(np.asfortranarray(values.astype(dtype)), sequence.affine, modality="MR")
        np.testing.assert_array_equal(engine.segment(other).labels, expected)


def test_slices_are_stacked_below_this_above(tmp_path):
    sequence, _ = cone(frames=1)
    plain = SliceEngine(make(tmp_path / "this"), device="cpu", precision="float32", threads=1).segment(sequence).labels
    for channel, order in ((0, [0, 0, 1, 2, 3]), (2, [1, 2, 3, 4, 4])):
        shifted = make(tmp_path / f"channel{channel}", {"net": threshold_weights(channel=channel)})
        found = SliceEngine(shifted, device="cpu", precision="float32", threads=1).segment(sequence, box=(0, 96, 0, 80))
        np.testing.assert_array_equal(found.labels, plain[..., order])


def test_context_repeats_the_ends():
    x = torch.arange(4.0)[:, None, None]
    assert with_context(x, 1)[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert with_context(x[:1], 2)[:, :, 0, 0].tolist() == [[0] * 5]


def test_the_lattice_keeps_world_positions():
    lattice = Lattice((101, 57), (0.8, 1.9), 1.4, 16)
    for axis, n in enumerate(lattice.native):
        pixels = np.arange(n)
        np.testing.assert_allclose(lattice.to_native(axis, lattice.to_lattice(axis, pixels)), pixels, atol=1e-9)
    ramp = np.add.outer(3.0 * np.arange(101), 5.0 * np.arange(57))[..., None]
    window = lattice.whole()
    there = window.read(ramp, 0.0, float(ramp.max()))
    back = window.back(there)[0].numpy() * ramp.max()
    # A linear image survives both interpolations exactly, away from the zeros around it.
    np.testing.assert_allclose(back[3:-3, 3:-3], ramp[3:-3, 3:-3, 0], atol=1e-2)


@pytest.mark.parametrize("native", [(216, 256), (101, 57), (400, 330)])
@pytest.mark.parametrize("spacing", [(1.4, 1.4), (0.83, 1.9), (3.1, 1.37)])
def test_a_box_leads_back_to_its_window(native, spacing):
    lattice = Lattice(native, spacing, 1.4, 16)
    for lower in ((0, 0), (16, 0), (16, 32)):
        window = lattice.window(lower, (lower[0] + 48, lower[1] + 32))
        again = lattice.window_of_box(window.box)
        assert (again.lower, again.size, again.box) == (window.lower, window.size, window.box)
        i0, i1, j0, j1 = window.box
        assert (again.back(torch.zeros(1, *again.size)).shape) == (1, i1 - i0, j1 - j0)


# -- the box ----------------------------------------------------------------------------------------------------------
def test_the_box_does_not_change_the_result(engine):
    sequence, _ = cone((200, 180, 6), radius_mm=40)
    boxed, whole = engine.segment(sequence), engine.segment(sequence, box=(0, 200, 0, 180))
    assert whole.box == (0, 200, 0, 180)
    i0, i1, j0, j1 = boxed.box
    assert (i1 - i0) * (j1 - j0) < 0.5 * 200 * 180
    assert boxed.labels.tobytes() == whole.labels.tobytes()
    np.testing.assert_array_equal(boxed.areas_mm2[..., 1:], whole.areas_mm2[..., 1:])
    h, w = boxed.record["window"]["size"]
    assert h % 16 == w % 16 == 0


def test_a_heart_that_leaves_its_box_makes_the_box_grow(engine):
    sequence, _ = cone((200, 180, 6), radius_mm=40)
    values = np.zeros((9, 200, 180, 6), np.int16)
    values[:] = sequence.frame(0)
    values[6] = cone((200, 180, 6), radius_mm=75)[0].frame(0)  # not among the frames that are looked at first
    moved = Sequence.from_array(values, sequence.affine, modality="MR")
    found = engine.segment(moved)
    assert found.record["box_growths"] >= 1
    assert found.labels.tobytes() == engine.segment(moved, box=(0, 200, 0, 180)).labels.tobytes()


def test_nothing_found_is_empty_and_says_so(tmp_path):
    never = make(tmp_path / "never", {"net": threshold_weights((1.3, 1.5, 1.7))})
    found = SliceEngine(never, device="cpu", precision="float32", threads=1).segment(cone()[0])
    assert not found.labels.any()
    assert found.box is None
    assert found.record["found"] is False
    assert any("no heart" in w for w in found.warnings)
    assert found.areas_mm2.shape == (1, 4, 5, 4)


def test_chosen_frames(engine):
    sequence, _ = cone()
    every, some = engine.segment(sequence), engine.segment(sequence, frames=[3, 1])
    assert some.frames == (3, 1)
    np.testing.assert_array_equal(some.labels, every.labels[[3, 1]])
    for wrong in ([], [4], [-1]):
        with pytest.raises(InputError, match="Frames"):
            engine.segment(sequence, frames=wrong)


# -- ensemble and symmetries ------------------------------------------------------------------------------------------
def test_each_member_has_its_own_areas_and_labels_are_of_the_mean(tmp_path):
    members = {"low": threshold_weights((0.25, 0.45, 0.65)), "high": threshold_weights((0.35, 0.55, 0.75))}
    found = SliceEngine(make(tmp_path / "two", members), device="cpu", precision="float32").segment(cone()[0])
    assert found.variants == ("low/0", "high/0")
    low, high = found.areas_mm2[0, ..., 3].sum(), found.areas_mm2[1, ..., 3].sum()
    middle = (found.labels == 3).sum() * 1.4**2
    assert high < middle < low
    np.testing.assert_allclose([low, high], [middle * (0.415 / 0.37) ** 2, middle * (0.325 / 0.37) ** 2], rtol=0.04)


def test_symmetries_are_eight_and_undone_exactly():
    x = torch.rand(2, 3, 7, 5)
    seen = set()
    for symmetry in dihedral.SYMMETRIES:
        y = dihedral.forward(x, symmetry)
        assert torch.equal(dihedral.backward(y, symmetry), x)
        seen.add((tuple(y.shape), y.contiguous().numpy().tobytes()))
    assert len(seen) == 8


def test_averaging_over_symmetries(tmp_path, engine):
    sequence, _ = cone((96, 96, 4))
    np.testing.assert_array_equal(engine.segment(sequence, tta=8).labels, engine.segment(sequence).labels)
    # A network that looks one pixel aside is pulled back to the middle, and turns with the image.
    aside = make(tmp_path / "aside", {"net": threshold_weights(tap=(0, 1))})
    engine = SliceEngine(aside, device="cpu", precision="float32", threads=1)
    found = engine.segment(sequence, tta=8, box=(0, 96, 0, 96))
    assert len(found.variants) == 8
    assert found.areas_mm2.shape[0] == 8
    turned = Sequence.from_array(np.rot90(np.stack(list(sequence)), axes=(1, 2)), sequence.affine, modality="MR")
    again = engine.segment(turned, tta=8, box=(0, 96, 0, 96))
    assert (again.labels == np.rot90(found.labels, axes=(1, 2))).mean() > 0.9999
    with pytest.raises(InputError, match="1, 2, 4 or 8"):
        engine.segment(sequence, tta=3)


# -- determinism, progress, memory ------------------------------------------------------------------------------------
def unet_bundle(root, seed=0):
    """A bundle of a MONAI network with random weights: for properties that do not depend on the answer."""
    from monai.networks.nets import UNet

    definition = {
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 4,
        "channels": [8, 16, 24],
        "strides": [2, 2],
        "num_res_units": 1,
        "norm": "BATCH",
    }
    torch.manual_seed(seed)
    network = UNet(**definition)
    network.train()
    for _ in range(3):  # so that the statistics of the normalisation are not those of an untrained network
        network(torch.rand(4, 3, 32, 32) * 2 - 0.5)
    return make(root, {"net": network.state_dict()}, definition={"_target_": "UNet", **definition})


def test_same_input_same_bytes_whatever_the_batch_and_the_threads(tmp_path):
    bundle = unet_bundle(tmp_path / "unet")
    sequence, _ = cone((64, 48, 5), frames=2, radius_mm=30)
    results = set()
    for batch, threads in ((None, 1), (None, 1), (1, 1), (3, 2), (64, 2)):
        engine = SliceEngine(bundle, device="cpu", precision="float32", threads=threads, batch_slices=batch)
        found = engine.segment(sequence, box=(0, 64, 0, 48))
        results.add(found.labels.tobytes() + found.areas_mm2.tobytes())
    assert found.labels.any()
    assert len(results) == 1


def test_settings_are_restored(engine):
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_inference_mode_enabled())
    engine.segment(cone(frames=1)[0])
    with precision.settings(1, True, "cuda"):
        assert torch.are_deterministic_algorithms_enabled()
    assert before == (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_inference_mode_enabled(),
    )


def test_progress_per_batch_and_cancel(bundle):
    engine = SliceEngine(bundle, device="cpu", precision="float32", threads=1, batch_slices=1)
    sequence, _ = cone()
    calls, batches = [], []
    engine.before_batch = lambda placement, n: batches.append(n)
    engine.segment(sequence, progress=lambda fraction, stage: calls.append((fraction, stage)))
    fractions = [f for f, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert len(calls) >= len(batches) > 10
    batches.clear()

    def stop(fraction, stage):
        if len(batches) >= 8:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine.segment(sequence, progress=stop)
    assert len(batches) == 8
    engine.before_batch = None
    assert engine.segment(sequence).labels.any()


def test_cuda_out_of_memory_falls_back_to_smaller_batches_then_the_cpu(bundle):
    sequence, _ = cone()
    expected = SliceEngine(bundle, device="cpu", precision="float32", threads=1).segment(sequence)
    seen = []

    def full(placement, slices):
        seen.append((placement.name, slices))
        if placement.name == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    found = SliceEngine(bundle, device=FAKE_CUDA, precision="float32", threads=1, before_batch=full).segment(sequence)
    assert found.labels.tobytes() == expected.labels.tobytes()
    assert found.record["device_asked_for"] == "cuda"
    assert found.record["device"] == "cpu"
    steps = found.record["fallbacks"]
    assert [s["batch"] for s in steps] == sorted((s["batch"] for s in steps), reverse=True)
    assert steps[-1]["batch"] == 1
    assert steps[-1]["then"] == "CPU, float32"
    assert {s["reason"] for s in steps} == {"out of memory"}
    assert any("ran out of memory" in w for w in found.warnings)
    json.dumps(found.record)
    failed = [s for s in seen if s[0] == "cuda"]
    assert len(failed) == len(steps)  # having moved, it stays on the CPU

    def small(placement, slices):
        if slices > 2:
            raise RuntimeError("CUDA error: out of memory")

    found = SliceEngine(bundle, device=FAKE_CUDA, precision="float32", threads=1, before_batch=small).segment(sequence)
    assert found.record["device"] == "cuda"
    assert found.record["largest_batch"] <= 2
    assert found.labels.tobytes() == expected.labels.tobytes()


def test_out_of_memory_midway_keeps_what_was_done(bundle):
    sequence, _ = cone()
    expected = SliceEngine(bundle, device="cpu", precision="float32", threads=1).segment(sequence)
    calls = []

    def later(placement, slices):
        calls.append(slices)
        if placement.name == "cuda" and len(calls) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    engine = SliceEngine(bundle, device=FAKE_CUDA, precision="float32", threads=1, batch_slices=2, before_batch=later)
    found = engine.segment(sequence)
    assert found.record["device"] == "cpu"
    assert found.labels.tobytes() == expected.labels.tobytes()


def test_no_memory_at_all_and_other_errors(bundle):
    def never(placement, slices):
        raise MemoryError

    engine = SliceEngine(bundle, device="cpu", precision="float32", threads=1, before_batch=never)
    with pytest.raises(CardioPrecisionError, match="not enough memory"):
        engine.segment(cone(frames=1)[0])

    def other(placement, slices):
        raise RuntimeError("something else is wrong")

    engine.before_batch = other
    with pytest.raises(RuntimeError, match="something else"):
        engine.segment(cone(frames=1)[0])
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_the_memory_estimate_bounds_the_batch(bundle, monkeypatch):
    from CardioPrecisionLib.bundle import memory

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 10, 3, padding=1), torch.nn.Conv2d(10, 4, 3, padding=1))
    floats = bytes_per_pixel(network, 3) / 4 / 1.5
    assert 13 <= floats <= 17  # input + hidden, or hidden + output, and perhaps all three
    engine = SliceEngine(bundle, device="cpu", precision="float32", threads=1)
    roomy = engine.starting_pixels()
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2**20)
    assert engine.starting_pixels() < roomy
    assert engine.starting_pixels() * engine._bytes_per_pixel <= 2**19
    found = engine.segment(cone(frames=2)[0])
    assert found.record["memory"]["peak_estimate_mib"] < 1
    assert found.labels.any()


def test_folding_normalisation_keeps_the_function(tmp_path):
    from CardioPrecisionLib.bundle.safety import load_members

    ((_, network),), _ = load_members(unet_bundle(tmp_path / "unet"))
    folded = fused(network, 3)
    assert folded is not network
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    x = torch.rand(2, 3, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), atol=1e-4, rtol=1e-4)


# -- precision --------------------------------------------------------------------------------------------------------
def test_precision_follows_the_processor(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
    assert precision.candidates("cpu", "auto") == ["bfloat16", "float32"]
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    assert precision.candidates("cpu", "auto") == ["float32"]
    assert precision.candidates("cuda", "auto")[0] == "float16"
    assert precision.candidates("mps", "auto") == ["float32"]
    assert precision.candidates("cpu", "bfloat16") == ["bfloat16", "float32"]
    with pytest.raises(InputError, match="not known"):
        precision.candidates("cpu", "int8")


def test_bfloat16_is_used_where_it_agrees_and_refused_where_not(tmp_path):
    sequence, _ = cone((96, 96, 5))
    gentle = make(tmp_path / "gentle", {"net": threshold_weights((0.25, 0.5, 0.75), slope=8.0)})
    found = SliceEngine(gentle, device="cpu", precision="bfloat16", threads=1).segment(sequence)
    assert found.record["precision"] == "bfloat16"
    assert found.record["precision_checks"][0]["agrees"]
    # Logits that need more than the eight bits of bfloat16: 4096 and a little.
    fine = make(tmp_path / "fine", {"net": threshold_weights(slope=8.0, offset=4096.0)})
    exact = SliceEngine(fine, device="cpu", precision="float32", threads=1).segment(sequence)
    found = SliceEngine(fine, device="cpu", precision="bfloat16", threads=1).segment(sequence)
    assert found.record["precision"] == "float32"
    assert not found.record["precision_checks"][0]["agrees"]
    assert found.record["fallbacks"][0]["reason"] == "disagrees with float32"
    assert found.labels.tobytes() == exact.labels.tobytes()


def test_agreement_by_hand():
    a = torch.zeros(40, 40, dtype=torch.uint8)
    b = a.clone()
    a[:20], b[1:20] = 1, 1
    a[30, :5], b[30, 5:10] = 2, 2  # too small to be judged
    assert precision.agreement(a, b, 3) == {1: pytest.approx(2 * 760 / (800 + 760))}
    assert largest(torch.tensor([[[[1.0, 0.0]], [[1.0, 2.0]]]])).tolist() == [[[0, 1]]]


def test_devices_that_are_not_there(bundle):
    with pytest.raises(InputError, match="not known"):
        SliceEngine(bundle, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="--device auto or cpu"):
            SliceEngine(bundle, device="cuda")


# -- guard ------------------------------------------------------------------------------------------------------------
def _volume(array, modality="MR", spacing=(1.4, 1.4, 8.0)):
    return Sequence.from_array(array, np.diag([*spacing, 1.0]), modality=modality)


def test_the_guard_refuses(engine):
    good = np.stack(list(cone(frames=2)[0]))
    spoiled = good.astype(np.float32)
    spoiled[1, 3, 4, 2] = np.nan
    endless = good.astype(np.float32)
    endless[0, 0, 0, 0] = np.inf
    hounsfield = np.where(good > 0, good, -1000).astype(np.int16)
    for sequence, words in (
        (_volume(good, "CT"), "The image is CT"),
        (_volume(hounsfield, ""), "Hounsfield"),
        (_volume(spoiled), "Frame 2 of 2 holds 1 voxels that are NaN"),
        (_volume(endless), "infinite"),
        (_volume(good[:, :2, :2]), "2 x 2"),
        (_volume(np.full_like(good, 7)), "constant"),
        (_volume(good.astype(np.complex64)), "complex64"),
        (_volume(good, spacing=(9.0, 9.0, 9.0)), "9 x 9 mm"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            engine.segment(sequence)
        assert "\n" not in str(caught.value)


def test_the_guard_warns_outside_the_trained_range(engine):
    coarse, _ = cone((60, 50, 4), (3.0, 3.0, 8.0))
    assert any("trained on 0.7 to 2 mm" in w for w in engine.segment(coarse).warnings)
    assert engine.segment(cone()[0]).warnings == []


# -- MONAI's own command ----------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_bundle_runs_with_monai(bundle, engine, tmp_path):
    pytest.importorskip("fire")
    sequence, _ = cone(frames=2)
    write_nifti(tmp_path / "in.nii.gz", np.stack(list(sequence)), sequence.affine)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        "configs/inference.yaml",
        "--input",
        str(tmp_path / "in.nii.gz"),
        "--output",
        str(tmp_path / "out.nii.gz"),
    ]
    subprocess.run(command, cwd=bundle.root, check=True, capture_output=True, timeout=300)
    labels, affine, _ = read_frames(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(affine, sequence.affine)
    # The file keeps its geometry as float32, which decides where a pixel lies exactly on a threshold.
    stored = Sequence.from_array(np.stack(list(sequence)), affine, modality="MR")
    np.testing.assert_array_equal(labels, engine.segment(stored).labels)
    assert [f.name for f in tmp_path.iterdir() if f.name not in ("in.nii.gz", "out.nii.gz")] == []
