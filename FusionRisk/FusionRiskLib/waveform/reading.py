"""Reading a recording from a local file: WFDB (``.hea`` with its signal file) or CSV."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256

from ..clinical.files import delimiter_of
from .recording import MAX_BYTES, MAX_HOURS, Array, Recording, RecordingError, check_size, make_recording

_UNIT = re.compile(r"^(?P<name>.*?)\s*[\[(](?P<unit>[^\])]*)[\])]\s*$")
_TIME = "time_s"
#: Of a step between two times: how far it may be from whole samples.
_UNEVEN = 0.4
#: What stands for a missing sample in a CSV.
_MISSING = ["", "nan", "NaN", "NA", "na", "-", "?"]


def read_recording(path: str | Path, rate: float | None = None, place: str | None = None) -> Recording:
    """Read a recording.

    Parameters
    ----------
    path : path
        ``NAME.csv``, or a WFDB record as ``NAME.hea``, ``NAME.dat`` or ``NAME``. A file of this machine; nothing is
        fetched.
    rate : float, optional
        Hz, for a CSV without a column ``time_s``.
    place : str, optional
        What messages call it instead of its path, which may tell who the patient is.

    Returns
    -------
    Recording
        Missing samples are NaN.

    Raises
    ------
    RecordingError
        With the reason in one line.
    """
    place = place or str(path)
    if "://" in str(path):
        raise RecordingError(place, "this is an address; recordings are read from files of this machine only")
    path = Path(path)
    if path.suffix.lower() in (".csv", ".txt", ".tsv"):
        return _read_csv(path, rate, place)
    from .wfdb_files import read_wfdb

    return read_wfdb(path, place)


def check_file(path: Path, place: str) -> None:
    """Raise `RecordingError` where there is no file of a size that is read."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        size = None
    if size is None:
        raise RecordingError(place, "there is no such file")
    if size > MAX_BYTES:
        raise RecordingError(place, f"the file is over {MAX_BYTES >> 20} MiB; cut the recording")


def _read_csv(path: Path, rate: float | None, place: str) -> Recording:
    import pandas as pd

    check_file(path, place)
    try:
        with open(path, encoding="utf-8-sig") as file:
            first = file.readline(100_000)
        delimiter = delimiter_of(first)
        names = [name.strip().strip('"') for name in first.strip().split(delimiter)]
        if not any(re.search(r"[A-Za-z]", name) for name in names):
            raise RecordingError(place, "the first line must name the channels")
        table = pd.read_csv(
            path, sep=delimiter, header=None, skiprows=1, encoding="utf-8-sig", na_values=_MISSING,
            keep_default_na=False, skip_blank_lines=True, dtype=np.float64,
        )  # fmt: skip
    except InputError:
        raise
    except pd.errors.EmptyDataError:
        raise RecordingError(place, "the recording holds no samples") from None
    except (OSError, UnicodeDecodeError):
        raise RecordingError(place, "the file cannot be read as UTF-8 text") from None
    except Exception:  # the parser's errors quote cells
        raise RecordingError(place, "the table holds what is no number, or lines of unequal length") from None
    values = table.to_numpy()
    if values.shape[1] != len(names):
        raise RecordingError(place, f"{values.shape[1]} columns below a header of {len(names)}")
    lower = [name.lower() for name in names]
    if _TIME in lower:
        at = lower.index(_TIME)
        told, values = _on_grid(values[:, at], np.delete(values, at, axis=1), place)
        del names[at]
        if rate is not None and abs(told / rate - 1) > 0.01:
            raise RecordingError(place, f"its times say {told:.4g} Hz, not {rate:.4g} Hz")
        rate = told
    if rate is None:
        raise RecordingError(place, f"there is no column {_TIME}; add it, or say the rate with --rate")
    parts = [_UNIT.match(name) for name in names]
    titles = [m["name"] if m else name for m, name in zip(parts, names, strict=True)]
    units = [m["unit"] if m else None for m in parts]
    return make_recording(values, rate, titles, units, place, file_sha256(path))


def _on_grid(times: Array, values: Array, place: str) -> tuple[float, Array]:
    """Rate and samples on an even grid, from times that may be rounded and have gaps.

    Parameters
    ----------
    times : numpy.ndarray
        ``(rows,)`` seconds.
    values : numpy.ndarray
        ``(rows, channels)``.

    Returns
    -------
    float
        Hz.
    numpy.ndarray
        ``(samples, channels)``, NaN in the gaps.
    """
    if len(times) < 3 or not np.isfinite(times).all():
        raise RecordingError(place, f"{_TIME} must be a number in every row")
    steps = np.diff(times)
    if (steps <= 0).any():
        raise RecordingError(place, f"{_TIME} must rise from row to row")
    near = steps < 1.5 * np.median(steps)
    step = float(steps[near].mean())  # the mean: single steps of rounded times are too coarse
    whole = np.maximum(np.rint(steps / step), 1)
    # a time rounded to milliseconds may be off by half of one at either end
    if (np.abs(steps - whole * step) > _UNEVEN * step).any():
        raise RecordingError(place, f"{_TIME} is not even; resample the recording")
    at = np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)
    if at[-1] * step > MAX_HOURS * 3600:
        raise RecordingError(place, f"the recording is longer than {MAX_HOURS:g} hours; cut it")
    check_size(int(at[-1]) + 1, max(values.shape[1], 1), 1 / step, place)
    grid = np.full((int(at[-1]) + 1, values.shape[1]), np.nan)
    grid[at] = values
    return 1 / step, grid
