"""An encoder as a folder: ``encoder.json`` (card), ``weights.safetensors``, ``manifest.json`` with SHA-256 of both.

Checked on load, never unpickled. The hashes show damage and tampering; they are no signature of who made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import package_versions, utc_now

from ..fusion.sealed import SealedFolder, write_weights
from .encoder import Encoder
from .encoder_net import check
from .recording import KINDS, LEADS
from .windows import Layout

SCHEMA = "cardioprecision/waveform-encoder/1"
FOLDER = SealedFolder("encoder", "encoder", SCHEMA, "encoder.json")
check_new = FOLDER.check_new
MAX_SIZE = 256


@dataclass(frozen=True, eq=False)
class StoredEncoder:
    """An encoder and its card."""

    encoder: Encoder
    card: dict[str, Any]

    def knows(self, sha256: str) -> bool:
        """Whether a recording was in its training."""
        return sha256 in self.card["training"]["recordings_sha256"]


def save_encoder(path: Path, encoder: Encoder, training: Mapping[str, Any]) -> Path:
    """Write an encoder; the folder appears complete or not at all.

    Raises
    ------
    InputError
        The folder holds something, or cannot be written.
    """
    layout = encoder.layout
    card = {
        "kind": layout.kind,
        "leads": layout.leads,
        "rate_hz": layout.rate,
        "window_samples": layout.samples,
        "size": encoder.size,
        "training": {**training, "saved": utc_now(), "packages": package_versions()},
        "use": "For research. Made without any outcome; holds for recordings like those it was trained on.",
    }
    with FOLDER.writing(path) as work:
        write_weights(work, encoder.weights)
        FOLDER.seal(work, card)
    return path


def load_encoder(path: str | Path) -> StoredEncoder:
    """Read an encoder.

    Raises
    ------
    InputError
        In one line: a file is missing, added, changed or malformed.
    """
    path = Path(path)
    FOLDER.verify(path)
    try:
        card = FOLDER.read_card(path)
        layout, size = Layout(card["kind"], tuple(card["leads"])), int(card["size"])
        known = layout.kind in KINDS and set(layout.leads) <= set(LEADS) and 1 <= size <= MAX_SIZE
        if not known or (card["rate_hz"], card["window_samples"]) != (layout.rate, layout.samples):
            raise ValueError("layout")
        if not all(isinstance(h, str) for h in card["training"]["recordings_sha256"]):
            raise ValueError("hashes")
        weights = FOLDER.read_weights(path)
        check(weights, layout.channels, size)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: the encoder's folder is incomplete or malformed ({type(error).__name__}); it was not loaded."
        ) from None
    return StoredEncoder(Encoder(layout, size, weights), card)
