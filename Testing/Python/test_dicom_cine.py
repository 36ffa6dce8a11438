"""Sorting of cine DICOM against stacks whose voxels and geometry are known exactly."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.cine import find_cine_stacks, load_cine_sax
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from dicom_cases import (
    STEP,
    STYLES,
    K,
    T,
    affine_of,
    check_same_world,
    codes,
    edit,
    frames_of,
    of_slice,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, JPEG2000Lossless, RLELossless
from scipy.spatial.transform import Rotation


# -- what was written comes back ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("flips", [(1, 1, 1), (1, 1, -1), (-1, 1, 1), (1, -1, -1)])
def test_round_trip(tmp_path, style, flips):
    dtype = np.int16 if flips[2] < 0 else np.uint16
    affine = affine_of(flips=flips)
    frames = frames_of(dtype=dtype) - (1000 if dtype == np.int16 else 0)
    write_cine_dicom(tmp_path, frames.astype(dtype), affine, style=style, thickness_mm=7.0, rr_ms=800.0)
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames.astype(dtype), affine)
    assert stack.usable
    assert stack.findings == []
    assert stack.sequence.frame(0).dtype == dtype
    assert stack.sequence.thickness_mm == 7.0
    assert stack.sequence.full_cycle
    assert stack.sequence.modality == "MR"
    assert stack.sequence.times_ms.shape == (T, K)
    assert (np.diff(stack.sequence.times_ms, axis=0) > 0).all()
    assert len(stack.sequence.source.split("+")) == (K if style == "siemens" else 1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), style=st.sampled_from(STYLES), flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
       gap=st.floats(4.0, 14.0), thickness=st.floats(3.0, 14.0))  # fmt: skip
def test_any_orientation(tmp_path_factory, seed, style, flips, gap, thickness):
    turn = Rotation.random(random_state=seed).as_matrix()
    affine = affine_of(turn, flips, (1.2, 1.9, gap), np.random.default_rng(seed).uniform(-200, 200, 3))
    frames = frames_of(t=3, k=6)
    folder = tmp_path_factory.mktemp("any")
    write_cine_dicom(folder, frames, affine, style=style, thickness_mm=thickness)
    check_same_world(load_cine_sax(folder).sequence, frames, affine)


@pytest.mark.parametrize("style", ["siemens", "ge", "philips"])
def test_names_and_folders_do_not_matter(tmp_path, style):
    files, frames, affine = write(tmp_path / "in", style)
    order = np.random.default_rng(3).permutation(len(files))
    for n, index in enumerate(order):
        target = tmp_path / "out" / f"d{n % 3}" / f"IM{n:04d}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[index], target)
    check_same_world(load_cine_sax(tmp_path / "out").sequence, frames, affine)


def test_each_slice_keeps_its_own_times(tmp_path):
    write(tmp_path, "siemens", rr_ms=900.0, rr_jitter=0.08)
    stack = load_cine_sax(tmp_path)
    times = stack.sequence.times_ms
    assert len(set(times[-1])) > 1
    assert stack.sequence.rr_ms == pytest.approx(np.median(times[-1]) * T / (T - 1), rel=0.01)
    assert stack.heart_rate_bpm == pytest.approx(60000 / stack.sequence.rr_ms)


def test_frames_are_views_decoded_once(tmp_path, monkeypatch):
    from CardioPrecisionLib.dicom import pixels

    write(tmp_path, "philips")
    reads = []
    native = pixels._read_native
    monkeypatch.setattr(pixels, "_read_native", lambda p: reads.append(p) or native(p))
    sequence = load_cine_sax(tmp_path).sequence
    assert reads == []
    first = sequence.frame(2)
    assert len(reads) == K
    assert np.shares_memory(first, sequence.frame(2))
    assert not first.flags.writeable
    assert len(reads) == K


def test_patient_and_no_identifiers(tmp_path):
    write(tmp_path, "ge", patient_id="SECRET77", sex="female", age_years=61, height_cm=165, weight_kg=60)
    stack = load_cine_sax(tmp_path)
    assert (stack.patient.sex, stack.patient.age_years) == ("female", 61)
    assert stack.patient.height_cm == pytest.approx(165)
    text = repr((stack.findings, stack.patient, stack.sequence.details, stack.title()))
    assert "SECRET77" not in text


def test_misleading_slice_location_is_not_read(tmp_path):
    files, _, _ = write(tmp_path, "ge")
    ds = pydicom.dcmread(files[0])
    assert abs(float(ds.SpacingBetweenSlices) - STEP) > 1
    assert load_cine_sax(tmp_path).sequence.spacing[2] == pytest.approx(STEP, abs=1e-4)


# -- compressed --------------------------------------------------------------------------------------------------------
def test_rle(tmp_path):
    files, frames, affine = write(tmp_path, "philips", t=3)
    for f in files:
        ds = pydicom.dcmread(f)
        ds.compress(RLELossless)
        ds.save_as(f)
    check_same_world(load_cine_sax(tmp_path).sequence, frames, affine)


def test_rle_enhanced_multiframe(tmp_path):
    files, frames, affine = write(tmp_path, "philips_enhanced", t=3)
    ds = pydicom.dcmread(files[0])
    ds.compress(RLELossless)
    ds.save_as(files[0])
    check_same_world(load_cine_sax(tmp_path).sequence, frames, affine)


def test_unknown_syntax_is_named(tmp_path):
    files, _, _ = write(tmp_path, "philips", t=2)
    for f in files:
        ds = pydicom.dcmread(f)
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
        ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 16])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(f)
    with pytest.raises(InputError, match="MPEG-4"):
        load_cine_sax(tmp_path)


def test_damaged_code_stream_is_one_line(tmp_path):
    files, _, _ = write(tmp_path, "philips", t=2)
    for f in files:
        ds = pydicom.dcmread(f)
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 16])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(f)
    sequence = load_cine_sax(tmp_path).sequence
    with pytest.raises(InputError, match="cannot be decoded"):
        sequence.frame(0)


# -- nothing to use: one line each -------------------------------------------------------------------------------------
def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no such"):
        load_cine_sax(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        load_cine_sax(tmp_path / "empty")


def test_text_renamed(tmp_path):
    for n in range(3):
        (tmp_path / f"{n}.dcm").write_text("not an image " * 40)
    with pytest.raises(InputError, match="none of the 3 files is DICOM"):
        load_cine_sax(tmp_path)


def test_ct_only(tmp_path):
    files, _, _ = write(tmp_path, "philips")
    for f in files:
        edit(f, Modality="CT", SOPClassUID=CTImageStorage)
    with pytest.raises(InputError, match=r"no MR, only 84 CT images"):
        load_cine_sax(tmp_path)


def test_long_axis_only(tmp_path):
    write(tmp_path, "siemens", k=1)
    with pytest.raises(InputError, match="1 slice of 12 phases"):
        load_cine_sax(tmp_path)


def test_ungated_single_phase(tmp_path):
    files, _, _ = write(tmp_path, "philips", t=1)
    for f in files:
        edit(f, TriggerTime=None, NominalInterval=None, HeartRate=None, CardiacNumberOfImages=None)
    with pytest.raises(InputError, match="7 slices of 1 phase"):
        load_cine_sax(tmp_path)


def test_no_geometry(tmp_path):
    files, _, _ = write(tmp_path, "philips")
    for f in files:
        edit(f, PixelSpacing=None)
    with pytest.raises(InputError, match="pixel spacing"):
        load_cine_sax(tmp_path)


def test_all_truncated(tmp_path):
    files, _, _ = write(tmp_path, "philips_enhanced")
    files[0].write_bytes(files[0].read_bytes()[:-100])
    with pytest.raises(InputError, match="cut off"):
        load_cine_sax(tmp_path)


def test_two_patients(tmp_path):
    write(tmp_path / "a", "philips", patient_id="A")
    write(tmp_path / "b", "philips", patient_id="B", seed=1)
    with pytest.raises(InputError, match="2 different patients"):
        load_cine_sax(tmp_path)


# -- phases ------------------------------------------------------------------------------------------------------------
def test_two_phases(tmp_path):
    _, frames, affine = write(tmp_path, "siemens", t=2, times_ms=[0.0, 300.0])
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert not stack.sequence.full_cycle
    assert codes(stack.findings, "warning", "error") == set()


def test_single_gated_phase(tmp_path):
    _, frames, affine = write(tmp_path, "ge", t=1)
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert codes(stack.findings) == {"single_phase"}
    assert not stack.sequence.full_cycle


def test_prospective_gating_leaves_the_cycle_open(tmp_path):
    write(tmp_path, "ge", times_ms=np.arange(T) * 50.0, rr_ms=900.0, rr_jitter=0.0)
    stack = load_cine_sax(tmp_path)
    assert not stack.sequence.full_cycle
    assert "cycle_incomplete" in codes(stack.findings, "warning")


def test_rr_from_even_triggers_but_no_heart_rate(tmp_path):
    files, _, _ = write(tmp_path, "siemens", rr_ms=960.0, rr_jitter=0.0)
    for f in files:
        edit(f, NominalInterval=None)
    stack = load_cine_sax(tmp_path)
    assert stack.heart_rate_bpm is None
    assert stack.sequence.full_cycle
    assert stack.sequence.rr_ms == pytest.approx(960.0, rel=1e-3)


@pytest.mark.parametrize("style", ["philips", "siemens"])
def test_no_trigger_times(tmp_path, style):
    files, frames, affine = write(tmp_path, style)
    for f in files:
        edit(f, TriggerTime=None if style == "siemens" else "0")
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert stack.sequence.times_ms is None
    assert "no_trigger_times" in codes(stack.findings, "warning")


# -- other things beside it --------------------------------------------------------------------------------------------
def test_long_axis_and_others_beside(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    long = affine_of(Rotation.from_rotvec([1.9, 0.1, 0.3]).as_matrix(), spacing=(1.4, 1.7, 6.0))
    for f in write_cine_dicom(tmp_path, frames_of(k=1, seed=5), long, first_series=30, series_description="4ch"):
        edit(f, SeriesInstanceUID=uid)  # two views in one series
    late = write_cine_dicom(tmp_path, frames_of(t=1, seed=6), affine, style="ge", first_series=50)
    for f in late:  # late enhancement at the same places
        edit(f, InversionTime="280", SequenceVariant="SK", ScanningSequence=["GR", "IR"])
    (tmp_path / "notes.txt").write_text("hello")
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert codes(stack.findings) == {"other_view", "not_used", "not_dicom"}


def test_perfusion_is_no_cine(tmp_path):
    files, _, _ = write(tmp_path, "ge", t=30)
    for k in range(K):
        for n, f in enumerate(of_slice(files, k, 30)):
            edit(f, TriggerTime=str(100 + 12 * k), AcquisitionTime=f"1000{n:02d}.500000")
    with pytest.raises(InputError, match="no cine"):
        load_cine_sax(tmp_path)


def test_description_breaks_the_tie(tmp_path):
    turned = affine_of(Rotation.from_rotvec([0.3, 1.2, 0.9]).as_matrix())
    write(tmp_path, "philips", k=9, affine=turned, seed=2, patient_id="P", series_description="cine_4ch_stack")
    _, frames, affine = write(tmp_path, "philips", patient_id="P", series_description="cine_SAX", first_series=20)
    search = find_cine_stacks(tmp_path)
    assert len(search.stacks) == 2
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert "several_stacks" in codes(stack.findings)


def test_cancel(tmp_path):
    write(tmp_path, "philips")

    def stop(fraction, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        load_cine_sax(tmp_path, stop)
