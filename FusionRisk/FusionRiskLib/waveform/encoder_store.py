"""An encoder as a folder: ``encoder.json`` (card), ``weights.safetensors``, ``manifest.json`` with SHA-256 of both.

Checked on load, never unpickled. The hashes show damage and tampering; they are no signature of who made it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256, json_able, package_versions, utc_now

from .encoder import Encoder
from .encoder_net import check
from .recording import KINDS, LEADS
from .windows import Layout

SCHEMA = "cardioprecision/waveform-encoder/1"
CARD, WEIGHTS, MANIFEST = "encoder.json", "weights.safetensors", "manifest.json"
MAX_SIZE = 256


@dataclass(frozen=True, eq=False)
class StoredEncoder:
    """An encoder and its card."""

    encoder: Encoder
    card: dict[str, Any]

    def knows(self, sha256: str) -> bool:
        """Whether a recording was in its training."""
        return sha256 in self.card["training"]["recordings_sha256"]


def check_new(path: Path) -> None:
    """Raise `InputError` where an encoder's folder holds something already."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: an encoder is written to a new folder; this one holds something.")


def save_encoder(path: Path, encoder: Encoder, training: Mapping[str, Any]) -> Path:
    """Write an encoder; the folder appears complete or not at all.

    Raises
    ------
    InputError
        The folder holds something, or cannot be written.
    """
    from safetensors.numpy import save_file

    check_new(path)
    work = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(3)}")
    layout = encoder.layout
    card = {
        "schema": SCHEMA,
        "kind": layout.kind,
        "leads": layout.leads,
        "rate_hz": layout.rate,
        "window_samples": layout.samples,
        "size": encoder.size,
        "training": {**training, "saved": utc_now(), "packages": package_versions()},
        "use": "For research. Made without any outcome; holds for recordings like those it was trained on.",
    }
    try:
        work.mkdir(parents=True)
        save_file({name: np.ascontiguousarray(a) for name, a in encoder.weights.items()}, work / WEIGHTS)
        (work / CARD).write_text(json.dumps(json_able(card), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        hashes = {name: file_sha256(work / name) for name in (CARD, WEIGHTS)}
        manifest = json.dumps({"schema": SCHEMA, "sha256": hashes}, indent=1)
        (work / MANIFEST).write_text(manifest + "\n", encoding="utf-8")
        if path.exists():
            path.rmdir()
        work.rename(path)
    except OSError as error:
        raise InputError(f"{path}: the encoder cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def load_encoder(path: str | Path) -> StoredEncoder:
    """Read an encoder.

    Raises
    ------
    InputError
        In one line: a file is missing, added, changed or malformed.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(path)
    _verify(path)
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        if card["schema"] != SCHEMA:
            raise InputError(f"{path}: {CARD} is of another kind ({str(card['schema'])[:60]!r}).")
        layout, size = Layout(card["kind"], tuple(card["leads"])), int(card["size"])
        known = layout.kind in KINDS and set(layout.leads) <= set(LEADS) and 1 <= size <= MAX_SIZE
        if not known or (card["rate_hz"], card["window_samples"]) != (layout.rate, layout.samples):
            raise ValueError("layout")
        if not all(isinstance(h, str) for h in card["training"]["recordings_sha256"]):
            raise ValueError("hashes")
        weights = dict(load_file(path / WEIGHTS))
        check(weights, layout.channels, size)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: the encoder's folder is incomplete or malformed ({type(error).__name__}); it was not loaded."
        ) from None
    return StoredEncoder(Encoder(layout, size, weights), card)


def _verify(path: Path) -> None:
    try:
        expected = dict(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["sha256"])
        present = {entry.name for entry in path.iterdir()} - {MANIFEST}
    except (OSError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: this is no encoder ({MANIFEST} is missing or cannot be read).") from None
    if set(expected) != {CARD, WEIGHTS}:
        raise InputError(f"{path}: the manifest is not that of an encoder; it was not loaded.")
    for name in sorted(present - set(expected)):
        raise InputError(f"{path}: {name} is not in the encoder's manifest; it was not loaded.")
    for name in sorted(expected):
        file = path / name
        if name not in present or file.is_symlink() or file_sha256(file) != expected[name]:
            raise InputError(
                f"{path}: {name} is missing or was changed since the encoder was saved; it was not loaded."
            )
