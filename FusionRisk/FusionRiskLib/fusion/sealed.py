"""A folder of a card, weights as safetensors and a manifest of hashes: appears complete or not at all, checked on load.

The hashes show damage and tampering with single files; they are no signature of who made the folder.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256, json_able

from .cohort import Array

WEIGHTS, MANIFEST = "weights.safetensors", "manifest.json"


@dataclass(frozen=True)
class SealedFolder:
    """A kind of folder.

    Attributes
    ----------
    what, title : str
        As messages name it in short, and in full.
    schema : str
        Of its card and manifest.
    card : str
        Name of the card's file.
    others : callable
        Whether a file of a name may be there besides card and weights.
    """

    what: str
    title: str
    schema: str
    card: str
    others: Callable[[str], bool] = lambda name: False

    def check_new(self, path: Path) -> None:
        """Raise `InputError` where the folder to write holds something already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path}: {_a(self.what)} is written to a new folder; this one holds something.")

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """A folder to write to and to `seal`, which gets its name at a good end and is removed at any other.

        Raises
        ------
        InputError
            There is something already, or it cannot be written.
        """
        self.check_new(path)
        work = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(3)}")
        try:
            work.mkdir(parents=True)
            yield work
            if path.exists():
                path.rmdir()
            work.rename(path)
        except OSError as error:
            raise InputError(f"{path}: the {self.what} cannot be written ({error.strerror}).") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def seal(self, work: Path, card: Mapping[str, Any]) -> None:
        """Write card and manifest of a folder that is complete otherwise."""
        text = json.dumps(json_able({"schema": self.schema, **card}), indent=1, allow_nan=False)
        (work / self.card).write_text(text + "\n", encoding="utf-8")
        hashes = {file.name: file_sha256(file) for file in sorted(work.iterdir())}
        manifest = json.dumps({"schema": self.schema, "sha256": hashes}, indent=1)
        (work / MANIFEST).write_text(manifest + "\n", encoding="utf-8")

    def verify(self, path: Path) -> None:
        """Every file of the manifest is there unchanged, and there is no other; `InputError` in one line else."""
        try:
            expected = dict(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["sha256"])
            present = {entry.name for entry in path.iterdir()} - {MANIFEST}
        except (OSError, KeyError, TypeError, ValueError):
            raise InputError(f"{path}: this is no {self.title} ({MANIFEST} is missing or cannot be read).") from None
        left = f"the {self.what} was not loaded."
        if not {self.card, WEIGHTS} <= set(expected):
            raise InputError(f"{path}: the manifest is not that of {_a(self.title)}; {left}")
        for name in sorted(present - set(expected)):
            raise InputError(f"{path}: {name} is not in the {self.what}'s manifest; {left}")
        for name in sorted(expected):
            if not (name in (self.card, WEIGHTS) or self.others(name)) or Path(name).name != name:
                raise InputError(f"{path}: {name[:60]} is no file that {_a(self.what)} has; {left}")
            file = path / name
            if name not in present or file.is_symlink() or file_sha256(file) != expected[name]:
                raise InputError(f"{path}: {name} is missing or was changed since the {self.what} was saved; {left}")

    def read_card(self, path: Path) -> dict[str, Any]:
        """The card; `InputError` for one of another kind, and what json or a lacking schema raise."""
        card: dict[str, Any] = json.loads((path / self.card).read_text(encoding="utf-8"))
        if card["schema"] != self.schema:
            raise InputError(f"{path}: {self.card} is of another kind ({str(card['schema'])[:60]!r}).")
        return card

    def read_weights(self, path: Path) -> dict[str, Array]:
        """All arrays; `InputError` where the file holds something else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(path / WEIGHTS))
        except (SafetensorError, OSError):
            raise InputError(f"{path}: {WEIGHTS} does not hold plain arrays; the {self.what} was not loaded.") from None


def _a(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def write_weights(work: Path, arrays: Mapping[str, Array]) -> None:
    """Arrays as safetensors."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, work / WEIGHTS)
