"""Read the headers of everything in a folder, whatever the files are called, into planes."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from ..analysis import Progress, silent
from ..errors import InputError
from .findings import Finding, plural
from .planes import OVERLAY_BIT, TAGS, Plane, Stored, planes_of
from .values import tolerant

_PIXEL_TAGS = ((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009))


class _Skip(Exception):
    """Why a file gave no planes: ``not_dicom``, ``not_image``, ``truncated`` or ``unreadable``."""


@dataclass
class Scan:
    """What the headers of a folder say.

    Attributes
    ----------
    path : Path
    planes : list of Plane
        One row per image plane with pixels, sorted by file and frame.
    n_files : int
    skipped : Counter
        Files that gave no plane, by reason (``not_dicom``, ``not_image``, ``truncated``, ``unreadable``).
    findings : list of Finding
    """

    path: Path
    planes: list[Plane] = field(default_factory=list)
    n_files: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


def scan(folder: str | Path, progress: Progress = silent) -> Scan:
    """Read every header below `folder` (or of one file).

    Parameters
    ----------
    folder : path
        A folder tree of anything, or a single DICOM file.
    progress : callable
        ``progress(fraction, stage)``.

    Returns
    -------
    Scan
        Files that are not DICOM, hold no image, are truncated or cannot be read are counted, never raised.

    Raises
    ------
    InputError
        If `folder` does not exist.
    """
    path = Path(folder)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    unreadable_folders: list[OSError] = []
    files = [path] if path.is_file() else sorted(_files(path, unreadable_folders))
    found = Scan(path, n_files=len(files))
    found.skipped["unreadable"] += len(unreadable_folders)
    progress(0.0, "Reading DICOM headers")
    # Threads hide the latency of network discs; parsing itself is short because only the needed tags are read.
    with tolerant(), ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 2) * 2)) as pool:
        try:
            for index, result in enumerate(pool.map(_read, files)):
                if isinstance(result, str):
                    found.skipped[result] += 1
                else:
                    found.planes += result
                if index % 50 == 0:
                    progress((index + 1) / len(files), "Reading DICOM headers")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    progress(1.0, "Reading DICOM headers")
    _drop_copies(found)
    _report(found)
    return found


def _files(folder: Path, errors: list[OSError]) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=errors.append):
        folders.sort()
        for name in names:
            if Path(root, name).is_file():
                yield Path(root, name)


def _read(path: Path) -> list[Plane] | str:
    try:
        return _planes_in(path)
    except _Skip as reason:
        return str(reason)
    except Exception:  # any damaged header; pydicom raises whatever it stumbled over
        return "unreadable"


def _looks_like_dicom(file: BinaryIO) -> bool:
    """By content: the DICM mark, or a bare data set whose first element is a plausible group 2 or 8."""
    head = file.read(140)
    file.seek(0)
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element = struct.unpack("<HH", head[:4])
    known_vr = head[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH", b"DA", b"TM", b"LO")
    small_length = struct.unpack("<I", head[4:8])[0] < 128
    return group in (0x0002, 0x0008) and element <= 0x0070 and (known_vr or small_length)


def _planes_in(path: Path) -> list[Plane]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if not _looks_like_dicom(file):
            raise _Skip("not_dicom")
        try:
            ds = dcmread(file, stop_before_pixels=True, specific_tags=TAGS, force=True)
        except (EOFError, struct.error):
            raise _Skip("truncated") from None
        syntax = UID(str(ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)))
        n_frames = max(1, int(ds.get("NumberOfFrames") or 1))
        samples = int(ds.get("SamplesPerPixel") or 1)
        bits = int(ds.get("BitsAllocated") or 16)
        if "Rows" not in ds or "Columns" not in ds:
            raise _Skip(_why_no_image(ds, file, size))
        expected = int(ds.Rows) * int(ds.Columns) * samples * n_frames * bits // 8
        offset = None
        if syntax != DeflatedExplicitVRLittleEndian:  # a deflated stream is read as a whole: no place in the file
            offset = _pixel_offset(file, size, syntax, expected)
    stored = Stored(
        path,
        str(syntax),
        offset,
        bits,
        int(ds.get("BitsStored") or bits),
        bool(ds.get("PixelRepresentation") or 0),
        samples,
        n_frames,
        OVERLAY_BIT in ds and int(ds[OVERLAY_BIT].value or 0) > 0,
    )
    return planes_of(ds, stored)


def _why_no_image(ds: FileDataset, file: BinaryIO, size: int) -> str:
    """Reports and directories have no rows; so does an image file that was cut off inside its header."""
    sop_class = str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or "")
    if not sop_class:
        return "unreadable"
    return "truncated" if "Image Storage" in UID(sop_class).name and file.tell() >= size else "not_image"


def _pixel_offset(file: BinaryIO, size: int, syntax: UID, expected: int) -> int | None:
    """Where native little-endian pixels start; checks that all of the pixels are there.

    The reader stops right before the pixel element, so its header comes next in the file.
    """
    big = syntax == ExplicitVRBigEndian
    order = ">" if big else "<"
    head = file.read(12)
    if len(head) < 12 or struct.unpack(f"{order}HH", head[:4]) not in _PIXEL_TAGS:
        raise _Skip("truncated")
    start = file.tell()
    if syntax == ImplicitVRLittleEndian:
        start -= 4
    if _encapsulated(syntax):
        _check_fragments(file, size)
        return None
    if size - start < expected:
        raise _Skip("truncated")
    return None if big else start


def _encapsulated(syntax: UID) -> bool:
    """Whether pixels come in fragments; private syntaxes are taken as not."""
    return not syntax.is_private and syntax.is_transfer_syntax and syntax.is_encapsulated


def _check_fragments(file: BinaryIO, size: int) -> None:
    """Walk the items of encapsulated pixels up to their delimiter."""
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise _Skip("truncated")
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000) or file.tell() + length > size:
            raise _Skip("truncated")
        file.seek(length, os.SEEK_CUR)


def _drop_copies(found: Scan) -> None:
    """The same instance in two files counts once."""
    seen: dict[tuple[object, ...], Plane] = {}
    copies = 0
    for plane in found.planes:
        # Place and time belong to the key: some anonymisers give one UID to many instances.
        key = (
            plane.sop_uid or str(plane.stored.file),
            plane.frame,
            plane.position,
            plane.trigger_ms,
            plane.instance_number,
        )
        if key in seen:
            copies += plane.frame == 0
        else:
            seen[key] = plane
    found.planes = list(seen.values())
    if copies:
        found.findings.append(
            Finding(
                "info",
                "duplicate_file",
                f"{plural(copies, 'file')} held the same DICOM instance as another one and counted once.",
                copies,
            )
        )


def _report(found: Scan) -> None:
    sentences = {
        "truncated": ("warning", "{} cut off before the end of the image; left out.", "is", "are"),
        "unreadable": ("warning", "{} not readable; left out.", "is", "are"),
        "not_dicom": ("info", "{} not DICOM; left out.", "is", "are"),
        "not_image": ("info", "{} no image (report, directory, presentation state); left out.", "holds", "hold"),
    }
    for code, (severity, text, one, many) in sentences.items():
        n = found.skipped[code]
        if n:
            files = f"{plural(n, 'file')} {one if n == 1 else many}"
            found.findings.append(Finding(severity, code, text.format(files), n))  # type: ignore[arg-type]
    bare = sum(not p.has_geometry for p in found.planes if p.modality == "MR")
    if bare:
        found.findings.append(
            Finding(
                "warning",
                "no_geometry",
                f"{plural(bare, 'MR image')} left out: position, orientation or pixel spacing is "
                "missing or not usable.",
                bare,
            )
        )
