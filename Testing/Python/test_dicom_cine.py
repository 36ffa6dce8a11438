"""Sorting of cine DICOM against stacks whose voxels and geometry are known exactly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from CardioPrecisionLib.dicom.cine import find_cine_stacks, load_cine_sax
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, JPEG2000Lossless, RLELossless
from scipy.spatial.transform import Rotation

STYLES = ("siemens", "ge", "philips", "philips_enhanced")
T, NI, NJ, K = 12, 14, 10, 7
STEP = 9.0


def frames_of(t=T, k=K, dtype=np.uint16, seed=0):
    """Every voxel of every frame differs from its neighbours."""
    return np.random.default_rng(seed).integers(0, 4000, (t, NI, NJ, k)).astype(dtype)


def affine_of(rotation=None, flips=(1, 1, 1), spacing=(1.4, 1.7, STEP), origin=(12.0, -30.0, 55.0)):
    affine = np.eye(4)
    turn = Rotation.from_rotvec([0.5, -0.8, 0.4]).as_matrix() if rotation is None else rotation
    affine[:3, :3] = turn @ np.diag(np.array(flips) * spacing)
    affine[:3, 3] = origin
    return affine


def check_same_world(sequence, frames, affine, atol=1e-3):
    """Every voxel centre that was written has its value at the same point in space, in every frame."""
    assert sequence.n_frames == frames.shape[0]
    assert sorted(sequence.shape) == sorted(frames.shape[1:])
    index = np.stack(np.meshgrid(*map(np.arange, frames.shape[1:]), indexing="ij"), -1).reshape(-1, 3)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    found = (world - sequence.affine[:3, 3]) @ np.linalg.inv(sequence.affine[:3, :3]).T
    rounded = np.rint(found).astype(int)
    assert np.abs((found - rounded) * sequence.spacing).max() < atol
    for t in range(frames.shape[0]):
        assert (sequence.frame(t)[tuple(rounded.T)] == frames[t][tuple(index.T)]).all()


def codes(findings, *severities):
    return {f.code for f in findings if not severities or f.severity in severities}


def write(folder, style="siemens", k=K, t=T, affine=None, seed=0, **more):
    affine = affine_of() if affine is None else affine
    frames = frames_of(t, k, seed=seed)
    files = write_cine_dicom(folder, frames, affine, style=style, seed=seed, **more)
    return files, frames, affine


def of_slice(files, k, t=T):
    """Classic files come slice by slice."""
    return files[k * t : (k + 1) * t]


def edit(path: Path, **values):
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    if "SOPInstanceUID" in values:
        ds.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    ds.save_as(path)


# -- what was written comes back ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("flips", [(1, 1, 1), (1, 1, -1), (-1, 1, 1), (1, -1, -1)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_round_trip(tmp_path, style, flips, dtype):
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


# -- faults ------------------------------------------------------------------------------------------------------------
def interpolated(frames, k):
    mended = frames.copy()
    mended[..., k] = np.rint((frames[..., k - 1].astype(float) + frames[..., k + 1]) / 2)
    return mended


@pytest.mark.parametrize("style", ["siemens", "ge"])
def test_one_interior_slice_missing(tmp_path, style):
    files, frames, affine = write(tmp_path, style)
    for f in of_slice(files, 3):
        f.unlink()
    stack = load_cine_sax(tmp_path)
    assert stack.usable
    assert codes(stack.findings, "warning") == {"slice_missing"}
    assert len(stack.interpolated_slices) == 1
    check_same_world(stack.sequence, interpolated(frames, 3), affine)


@pytest.mark.parametrize("gone", [(2, 3), (2, 4), (1, 2, 3, 4), (1, 3)])
def test_more_slices_missing(tmp_path, gone):
    files, _, _ = write(tmp_path, "siemens")
    for k in gone:
        for f in of_slice(files, k):
            f.unlink()
    stack = load_cine_sax(tmp_path)
    assert not stack.usable
    assert f"{len(gone)} interior slices are missing" in stack.unusable_reason
    assert next(f.count for f in stack.findings if f.code == "slices_missing") == len(gone)


def test_every_other_slice_missing_is_seen_from_the_thickness(tmp_path):
    files, _, _ = write(tmp_path, "siemens", thickness_mm=7.0)
    for k in (1, 3, 5):
        for f in of_slice(files, k):
            f.unlink()
    assert "slices_far_apart" in codes(load_cine_sax(tmp_path).findings, "warning")


def test_missing_frame(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    of_slice(files, 4)[5].unlink()
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"frames_missing"}
    neighbour = frames.copy()
    neighbour[5, ..., 4] = frames[4, ..., 4]
    other = frames.copy()
    other[5, ..., 4] = frames[6, ..., 4]
    k = np.rint((affine @ [0, 0, 4, 1] - stack.sequence.affine[:, 3])[:3] @ stack.sequence.affine[:3, 2] / STEP**2)
    taken = stack.sequence.frame(5)[..., int(k)]
    stand_in = neighbour if (taken == neighbour[5, ..., 4]).all() else other
    check_same_world(stack.sequence, stand_in, affine)


def test_half_of_the_frames_missing_is_a_missing_slice(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    for f in of_slice(files, 4)[6:]:
        f.unlink()
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"slice_incomplete", "slice_missing"}
    check_same_world(stack.sequence, interpolated(frames, 4), affine)


def test_truncated_file(tmp_path):
    files, _, _ = write(tmp_path, "ge")
    broken = of_slice(files, 2)[3]
    broken.write_bytes(broken.read_bytes()[:-20])
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"truncated", "frames_missing"}


def test_cut_off_in_the_header(tmp_path):
    files, _, _ = write(tmp_path, "ge")
    broken = of_slice(files, 2)[3]
    broken.write_bytes(broken.read_bytes()[:700])
    stack = load_cine_sax(tmp_path)
    assert "frames_missing" in codes(stack.findings, "warning")
    assert codes(stack.findings, "warning") & {"truncated", "unreadable"}


def test_file_copied_twice(tmp_path):
    files, frames, affine = write(tmp_path, "ge")
    shutil.copy(files[10], tmp_path / "copy of it")
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert codes(stack.findings) == {"duplicate_file"}


def test_duplicated_slice_in_one_series(tmp_path):
    """The same slice exported twice under new instance UIDs."""
    files, frames, affine = write(tmp_path, "ge")
    for n, f in enumerate(of_slice(files, 2)):
        copy = tmp_path / f"again{n}"
        shutil.copy(f, copy)
        edit(copy, SOPInstanceUID=f"1.2.3.4.{n + 1}")
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, frames, affine)
    assert codes(stack.findings, "warning") <= {"frame_repeated", "slice_repeated"}
    assert codes(stack.findings, "warning")


@pytest.mark.parametrize("same_series", [True, False])
@pytest.mark.parametrize("aside_mm", [0.0, 1.5])
def test_later_acquisition_wins(tmp_path, same_series, aside_mm):
    affine = affine_of()
    files, frames, _ = write(tmp_path, "ge")
    again = frames_of(k=1, seed=9)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 2] / STEP * (3 * STEP + aside_mm)
    later = write_cine_dicom(tmp_path, again, moved, style="ge", seed=0, first_series=40, start_s=38000.0, rr_ms=950.0)
    if same_series:
        uid = pydicom.dcmread(files[0]).SeriesInstanceUID
        for f in later:
            edit(f, SeriesInstanceUID=uid)
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") <= {"slice_repeated", "spacing_uneven"}
    assert "slice_repeated" in codes(stack.findings)
    frames[..., 3] = again[..., 0]
    check_same_world(stack.sequence, frames, affine, atol=1e-2)


def test_mixed_matrix_sizes(tmp_path):
    files, frames, affine = write(tmp_path, "siemens")
    for f in of_slice(files, 3):
        ds = pydicom.dcmread(f)
        ds.Rows, ds.PixelData = NJ - 2, ds.PixelData[: (NJ - 2) * NI * 2]
        ds.save_as(f)
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"grid_differs", "slice_missing"}
    check_same_world(stack.sequence, interpolated(frames, 3), affine)


@pytest.mark.parametrize("degrees", [3.0, 12.0])
def test_non_parallel_slice(tmp_path, degrees):
    files, frames, affine = write(tmp_path, "siemens")
    for f in of_slice(files, 3):
        ds = pydicom.dcmread(f)
        axes = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        turned = Rotation.from_rotvec(np.radians(degrees) * axes[0]).apply(axes[1])
        edit(f, ImageOrientationPatient=[f"{x:.9f}" for x in [*axes[0], *turned]])
    stack = load_cine_sax(tmp_path)
    assert codes(stack.findings, "warning") == {"non_parallel_slice", "slice_missing"}
    check_same_world(stack.sequence, interpolated(frames, 3), affine)


def test_sheared_stack_is_named(tmp_path):
    affine = affine_of()
    affine[:3, 2] += affine[:3, 0] * 2
    write(tmp_path, "philips", affine=affine)
    assert "slice_offset" in codes(load_cine_sax(tmp_path).findings, "warning")


def test_rescale_that_differs_between_slices(tmp_path):
    files, frames, affine = write(tmp_path, "philips", t=3)
    for k in range(K):
        for f in of_slice(files, k, 3):
            edit(f, RescaleSlope=str(1 + k), RescaleIntercept=str(-10 * k))
    scaled = frames * (1.0 + np.arange(K)) - 10.0 * np.arange(K)
    stack = load_cine_sax(tmp_path)
    check_same_world(stack.sequence, scaled.astype(np.float32), affine)
    assert stack.sequence.frame(0).dtype == np.float32


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
