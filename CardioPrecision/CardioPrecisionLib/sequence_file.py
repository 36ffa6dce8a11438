"""Sequences as Slicer's own ``.seq.nrrd`` files, uncompressed: quick to write, and read back frame for frame.

The list axis comes last and carries its unit; its index values are kept as a key/value pair, as Slicer's volume
sequence storage writes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .image import Array, Sequence
from .replacing import replacing

_TYPES = {
    "i1": "int8",
    "u1": "uint8",
    "i2": "int16",
    "u2": "uint16",
    "i4": "int32",
    "u4": "uint32",
    "i8": "int64",
    "u8": "uint64",
    "f4": "float",
    "f8": "double",
}


def _vector(values: Array) -> str:
    return "(" + ",".join(f"{v + 0.0:.17g}" for v in values) + ")"


def write_sequence(path: str | Path, sequence: Sequence) -> Path:
    """Write a sequence; a single frame becomes a plain 3-D NRRD file.

    Parameters
    ----------
    path : path
        ``….seq.nrrd`` (or ``….nrrd`` for a single frame).
    sequence : Sequence
        Frames are read one at a time and written in their stored type; frame times in ms go along where known.
    """
    path = Path(path)
    first = sequence.frame(0)
    kind = first.dtype.str[1:]
    if kind not in _TYPES:
        raise ValueError(f"voxels of type {first.dtype} cannot be written to NRRD")
    times = sequence.frame_time_ms()
    with replacing(path) as beside, open(beside, "wb") as file:
        file.write(("\n".join(_header(sequence, _TYPES[kind], times)) + "\n\n").encode())
        for t in range(sequence.n_frames):
            file.write(sequence.frame(t).astype(first.dtype.newbyteorder("<"), copy=False).tobytes(order="F"))
    return path


def _header(sequence: Sequence, kind: str, times: Array | None) -> list[str]:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ sequence.affine
    many = sequence.n_frames > 1
    end = (f" {sequence.n_frames}", " none", " list") if many else ("", "", "")
    header = [
        "NRRD0004",
        f"type: {kind}",
        f"dimension: {4 if many else 3}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, sequence.shape)) + end[0],
        "space directions: " + " ".join(_vector(lps[:3, axis]) for axis in range(3)) + end[1],
        "kinds: domain domain domain" + end[2],
    ]
    if many and times is not None:
        header += ['labels: "" "" "" "time"', 'units: "" "" "" "ms"']
    header += ["endian: little", "encoding: raw", "space origin: " + _vector(lps[:3, 3])]
    if many and times is not None:
        header += ["axis 3 index type:=numeric", "axis 3 index values:=" + " ".join(f"{time:.9g}" for time in times)]
    return header
