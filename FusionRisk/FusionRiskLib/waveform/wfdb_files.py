"""Reading a WFDB record with the package wfdb, after its header was found to name files of its own folder only.

Comment lines of a header may hold age, sex or names: they are dropped before anything looks at the header.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256

from .reading import check_file
from .recording import Recording, RecordingError, check_size, make_recording

_MAX_HEADER = 1 << 20
_MAX_CHANNELS = 256


def read_wfdb(path: Path, place: str) -> Recording:
    """Read a record of one segment, its samples in physical units.

    Parameters
    ----------
    path : Path
        With or without ``.hea`` or ``.dat``.
    place : str
        For messages.

    Raises
    ------
    RecordingError
        The header is missing or malformed, names a file outside of its folder, or its samples cannot be read.
    """
    header = path if path.suffix.lower() == ".hea" else _header_of(path)
    check_file(header, place)
    lines = _lines(header, place)
    signals = _signal_files(lines, header.parent, place)
    try:
        import wfdb
    except ImportError:
        raise InputError("Reading WFDB needs the package wfdb; pip install 'cardioprecision[waveforms]'.") from None
    # wfdb would read the header's comments as well; it gets a copy without them.
    with tempfile.TemporaryDirectory(prefix="cardioprecision-") as folder:
        copy = Path(folder) / "record"
        copy.with_suffix(".hea").write_text("\n".join(["record " + lines[0].split(None, 1)[1], *lines[1:]]) + "\n")
        try:
            head = wfdb.rdheader(str(copy))
            _check_head(head, signals, place)
            for name, file in signals.items():
                _place_at(Path(folder) / name, file.resolve())
            record = wfdb.rdrecord(str(copy), physical=True, m2s=False)
            samples = np.asarray(record.p_signal, dtype=np.float64)
        except InputError:
            raise
        except OSError as error:
            raise RecordingError(
                place, f"the signal file cannot be read ({error.strerror or 'not complete'})"
            ) from None
        except Exception as error:  # whatever a malformed file makes of the reader
            raise RecordingError(place, f"the WFDB record is malformed ({type(error).__name__})") from None
    names = [str(name or "") for name in record.sig_name]
    units = [str(unit) if unit else None for unit in record.units]
    file = next(iter(signals.values()))
    return make_recording(samples, float(record.fs), names, units, place, file_sha256(file))


def _place_at(link: Path, file: Path) -> None:
    """A link where the system lets us make one, else a copy."""
    try:
        link.symlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, link)


def _header_of(path: Path) -> Path:
    known = path.suffix.lower() == ".dat"
    return path.with_suffix(".hea") if known else path.with_name(path.name + ".hea")


def _lines(header: Path, place: str) -> list[str]:
    """The header without comments and empty lines."""
    if header.stat().st_size > _MAX_HEADER:
        raise RecordingError(place, "the header is too long for a WFDB header")
    try:
        text = header.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise RecordingError(place, "the header cannot be read as text") from None
    lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines or len(lines[0].split()) < 2:
        raise RecordingError(place, "this is no WFDB header")
    return lines


def _signal_files(lines: list[str], folder: Path, place: str) -> dict[str, Path]:
    """Names of the signal files, which lie beside the header."""
    first = lines[0].split()
    if "/" in first[0]:
        raise RecordingError(place, "a WFDB record of several segments is not read; join its segments first")
    files: dict[str, Path] = {}
    for line in lines[1:]:
        name = line.split()[0]
        if Path(name).name != name or name in ("~", "-", ".", "..") or "\\" in name or ":" in name:
            raise RecordingError(place, "the header names a signal file outside of its own folder")
        file = folder / name
        # a link may lead out of the folder as well
        if file.is_symlink() and file.resolve().parent != folder.resolve():
            raise RecordingError(place, "the header names a signal file outside of its own folder")
        if not file.is_file():
            raise RecordingError(place, "the signal file of the header is missing")
        check_file(file, place)
        files[name] = file
    if not files:
        raise RecordingError(place, "the recording holds no samples")
    return files


def _check_head(head: Any, signals: dict[str, Path], place: str) -> None:
    """Sizes before samples are read: a header may promise anything."""
    if set(head.file_name or ()) != set(signals) or not 0 < int(head.n_sig) <= _MAX_CHANNELS:
        raise RecordingError(place, "the WFDB header is malformed (signals)")
    frames = max([1, *(int(s) for s in head.samps_per_frame or [1])])
    if head.sig_len is None:
        # Without a length the file's size tells it; no format of WFDB has less than one byte for a sample but FLAC's.
        return
    check_size(int(head.sig_len) * frames, int(head.n_sig), float(head.fs), place)
