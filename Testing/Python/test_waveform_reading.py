"""Recordings as WFDB and CSV: the samples that were written, nothing of the patient, nothing outside of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.waveform import wfdb_files
from FusionRiskLib.waveform.reading import read_recording
from FusionRiskLib.waveform.recording import Channel, RecordingError, make_recording
from FusionRiskLib.waveform.synthetic import make_ecg
from hypothesis import given, settings
from hypothesis import strategies as st
from waveform_cases import write_csv, write_wfdb

wfdb = pytest.importorskip("wfdb")


@pytest.fixture(scope="module")
def ecg():
    return make_ecg(10, 360, ["II", "V1"], noise_mv=0.02, seed=1)


# -- WFDB --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("fmt", "error"), [("16", 1e-4), ("212", 2e-3)])
def test_wfdb_as_written_by_wfdb(tmp_path, ecg, fmt, error):
    path = write_wfdb(tmp_path, "r1", ecg, fmt)
    for given_path in (path, tmp_path / "r1", tmp_path / "r1.dat"):
        found = read_recording(given_path)
        np.testing.assert_allclose(found.samples, ecg.samples, atol=error)
        assert found.rate == 360
        assert [(c.lead, c.scale) for c in found.channels] == [("II", 1.0), ("V1", 1.0)]


def test_missing_samples_of_wfdb_are_nan(tmp_path, ecg):
    samples = ecg.samples.copy()
    samples[100:250, 1] = np.nan
    found = read_recording(write_wfdb(tmp_path, "gap", ecg, samples=samples))
    np.testing.assert_array_equal(np.isnan(found.samples), np.isnan(samples))


def test_comments_of_a_header_are_neither_kept_nor_given_on(tmp_path, ecg, monkeypatch):
    path = write_wfdb(tmp_path, "r1", ecg, comments=["<age>: 81 <sex>: F", "Jane Doe"])
    seen = []
    real = wfdb.rdheader

    def spied(name, *a, **k):
        seen.append(Path(f"{name}.hea").read_text())
        return real(name, *a, **k)

    monkeypatch.setattr(wfdb, "rdheader", spied)
    found = read_recording(path)
    assert seen
    assert not any("Doe" in text or "81" in text or "#" in text for text in seen)
    assert "Doe" not in repr(vars(found))


@pytest.mark.parametrize("name", ["../secret.dat", "/etc/passwd", "sub/secret.dat", "~", "..", "http://x.y/z.dat"])
def test_a_signal_file_outside_of_the_folder_is_refused(tmp_path, ecg, name):
    folder = tmp_path / "in"
    folder.mkdir()
    path = write_wfdb(folder, "r1", ecg)
    (folder / "r1.dat").rename(tmp_path / "secret.dat")
    path.write_text(path.read_text().replace("r1.dat", name))
    with pytest.raises(RecordingError, match="outside of its own folder"):
        read_recording(path)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path, ecg):
    folder = tmp_path / "in"
    folder.mkdir()
    path = write_wfdb(folder, "r1", ecg)
    (folder / "r1.dat").rename(tmp_path / "secret.dat")
    (folder / "r1.dat").symlink_to(tmp_path / "secret.dat")
    with pytest.raises(RecordingError, match="outside of its own folder"):
        read_recording(path)


@pytest.mark.parametrize(("change", "said"), [
    (lambda text: "", "no WFDB header"),
    (lambda text: "#only a comment\n", "no WFDB header"),
    (lambda text: text.replace("r1 2", "r1/2 2"), "several segments"),
    (lambda text: text.replace("r1 2 360", "r1 2 0.001"), "sampling rate is 0.001 Hz"),
    (lambda text: text.replace("r1 2 360 3600", "r1 2 360 99999999"), "longer than 25 hours"),
    (lambda text: text.replace("r1 2", "r1 5"), "malformed|incomplete"),
    (lambda text: text.replace("r1.dat 16", "r1.dat 999"), "malformed"),
    (lambda text: text.replace("r1.dat", "none.dat"), "signal file of the header is missing"),
    (lambda text: text.replace("V1", "II"), "lead II is there more than once"),
])  # fmt: skip
def test_headers_that_cannot_be(tmp_path, ecg, change, said):
    path = write_wfdb(tmp_path, "r1", ecg)
    path.write_text(change(path.read_text()))
    with pytest.raises(RecordingError, match=said):
        read_recording(path)


def test_a_signal_file_that_was_cut(tmp_path, ecg):
    path = write_wfdb(tmp_path, "r1", ecg)
    data = (tmp_path / "r1.dat").read_bytes()
    (tmp_path / "r1.dat").write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=r"malformed|cannot be read"):
        read_recording(path)


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_header_is_read_or_refused_in_one_line(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    (folder / "r.hea").write_bytes(text)
    with pytest.raises(RecordingError) as error:
        read_recording(folder / "r.hea", place="list.csv, line 2")
    assert str(error.value).startswith("list.csv, line 2: ")
    assert "\n" not in str(error.value)


def test_nothing_is_fetched(tmp_path, monkeypatch):
    import socket

    def refuse(*a, **k):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for address in ("s3://bucket/r1", "https://physionet.org/files/mitdb/1.0.0/100.hea", "mitdb/100"):
        with pytest.raises(RecordingError):
            read_recording(address)


def test_a_system_without_links_gets_copies(tmp_path, ecg, monkeypatch):
    path = write_wfdb(tmp_path, "r1", ecg)

    def none(*a, **k):
        raise OSError("not permitted")

    monkeypatch.setattr(wfdb_files.Path, "symlink_to", none)
    np.testing.assert_allclose(read_recording(path).samples, ecg.samples, atol=1e-4)


# -- CSV ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [100, 250, 360, 500, 1000])
def test_csv_with_times(tmp_path, rate):
    made = make_ecg(6, rate, ["II", "V1"], seed=1)
    found = read_recording(write_csv(tmp_path / "r.csv", made))
    np.testing.assert_allclose(found.samples, made.samples, atol=1e-5)
    assert found.rate == pytest.approx(rate, rel=1e-4)


def test_csv_with_a_rate(tmp_path, ecg):
    path = write_csv(tmp_path / "r.csv", ecg, times=False)
    assert read_recording(path, 360).rate == 360
    with pytest.raises(RecordingError, match="say the rate with --rate"):
        read_recording(path)
    with pytest.raises(RecordingError, match="its times say 360 Hz, not 500 Hz"):
        read_recording(write_csv(tmp_path / "t.csv", ecg), 500)


def test_times_rounded_to_milliseconds(tmp_path, ecg):
    path = write_csv(tmp_path / "r.csv", ecg, digits=3)
    found = read_recording(path)
    assert found.rate == pytest.approx(360, rel=1e-3)
    assert len(found.samples) == len(ecg.samples)


def test_gaps_in_the_times_are_missing_samples(tmp_path, ecg):
    path = write_csv(tmp_path / "r.csv", ecg)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:1001] + lines[1101:]) + "\n")
    found = read_recording(path)
    assert len(found.samples) == len(ecg.samples)
    assert np.isnan(found.samples[1000:1100]).all()
    assert np.isfinite(found.samples[:1000]).all()
    np.testing.assert_allclose(found.samples[1100:], ecg.samples[1100:], atol=1e-5)


@pytest.mark.parametrize("cut", [";", "\t"])
def test_other_delimiters_empty_cells_and_units(tmp_path, cut):
    rows = ["lead II [uV]", "aVR (V)", "strange"], *([str(i), "" if i == 3 else "0.001", "1"] for i in range(600))
    path = tmp_path / "r.csv"
    path.write_text("\n".join(cut.join(row) for row in rows))
    found = read_recording(path, 100)
    assert [(c.lead, c.scale) for c in found.channels] == [("II", 1e-3), ("aVR", 1000.0), (None, None)]
    assert np.isnan(found.samples[3, 1])
    assert np.isnan(found.samples).sum() == 1


@pytest.mark.parametrize(("text", "said"), [
    ("", "first line must name the channels"),
    ("II\n", "holds no samples"),
    ("1,2\n3,4\n", "first line must name the channels"),
    ("II\n1\ntwo\n", "no number"),
    ("II,V1\n1,2\n3\n4,5,6\n", "no number, or lines of unequal length"),
    ("time_s,II\n0,1\n0,2\n1,3\n", "must rise"),
    ("time_s,II\n0,1\n,2\n1,3\n", "a number in every row"),
    ("time_s,II\n0,1\n0.002,2\n0.0049,3\n0.006,4\n0.008,1\n", "not even"),
    ("time_s,II\n0,1\n1e-3,2\n1e6,3\n", "longer than 25 hours"),
])  # fmt: skip
def test_csv_that_cannot_be_read(tmp_path, text, said):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(RecordingError, match=said):
        read_recording(path, 500 if "time_s" not in text else None)


def test_a_message_holds_no_path_where_a_place_is_given(tmp_path):
    with pytest.raises(RecordingError) as error:
        read_recording(tmp_path / "Doe^Jane.csv", 500, "list.csv, line 4")
    assert str(error.value) == "list.csv, line 4: there is no such file."
    assert error.value.reason == "there is no such file"


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("II\n1\n")
    os.truncate(path, (1 << 30) + 1)  # sparse
    with pytest.raises(RecordingError, match="over 1024 MiB"):
        read_recording(path, 500)


def test_without_the_package_wfdb_one_line_says_what_to_do(tmp_path, ecg, monkeypatch):
    import sys

    path = write_wfdb(tmp_path, "r1", ecg)
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(InputError, match=r"cardioprecision\[waveforms\]"):
        read_recording(path)


# -- names -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "lead"), [
    ("ii", "II"), ("MLII", "II"), ("ECG II", "II"), ("Lead_aVF", "aVF"), ("v6", "V6"), ("Jane Doe", None), ("", None),
])  # fmt: skip
def test_only_known_leads_become_names(name, lead):
    assert Channel.of(name, "mV").lead == lead


def test_infinite_samples_are_missing():
    found = make_recording(np.array([[np.inf], [1.0]] * 300), 100, ["II"], ["mV"], "here")
    assert np.isnan(found.samples[::2]).all()
