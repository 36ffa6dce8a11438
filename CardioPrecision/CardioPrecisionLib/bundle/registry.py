"""Which bundles there are, and whether their files are what their metadata says.

A bundle is a folder ``<name>/{LICENSE,configs/{metadata.json,inference.yaml},models/}``. Shipped ones lie inside the
module packages (found with `importlib.resources`), installed ones in the user's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputError
from ..replacing import replacing

#: Packages that may ship bundles. Names only: the ground imports no analysis.
PACKAGES = ("LVFunctionLib", "CoronaryPlaqueLib", "FusionRiskLib")
FOLDER_VARIABLE = "CARDIOPRECISION_BUNDLES"
SHIPPED, INSTALLED = "shipped", "installed"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Bundle:
    """One bundle on disk.

    Attributes
    ----------
    name : str
        Folder name.
    root : pathlib.Path
    metadata : mapping
        ``configs/metadata.json``.
    licence_name : str
        Short name of the licence of the weights.
    restricted : bool
        Whether the licence restricts use, so that the user has to accept it once.
    source : str
        ``"shipped"`` (ours, its config may run) or ``"installed"`` (a stranger's, read with `safety`).
    """

    name: str
    root: Path
    metadata: Mapping[str, Any]
    licence_name: str
    restricted: bool
    source: str = SHIPPED

    @property
    def version(self) -> str:
        return str(self.metadata.get("version", ""))

    @property
    def trusted(self) -> bool:
        return self.source == SHIPPED

    @property
    def settings(self) -> Mapping[str, Any]:
        """The ``cardioprecision`` section of the metadata; raises `InputError` where there is none."""
        settings = self.metadata.get("cardioprecision")
        if not isinstance(settings, dict):
            raise InputError(
                f"Bundle {self.name}: configs/metadata.json has no 'cardioprecision' section, "
                "so this engine cannot know how to run it."
            )
        return settings

    @property
    def files(self) -> dict[str, str]:
        """Weight files, relative to the root, with their SHA-256."""
        files = self.settings.get("files", {})
        if not isinstance(files, dict):
            raise InputError(f"Bundle {self.name}: 'cardioprecision.files' in configs/metadata.json is not a table.")
        return {str(k): str(v) for k, v in files.items()}

    def path(self, relative: str) -> Path:
        """A file inside the bundle; raises `InputError` for a path that leaves it."""
        pure = PurePosixPath(relative)
        target = self.root.joinpath(*pure.parts).resolve()
        if pure.is_absolute() or ".." in pure.parts or not target.is_relative_to(self.root.resolve()):
            raise InputError(f"Bundle {self.name}: the path {relative!r} leaves the bundle; it was not opened.")
        return target


def open_bundle(root: str | Path, source: str = INSTALLED) -> Bundle:
    """Read the metadata of the bundle in folder `root`; raises `InputError` where it cannot be read."""
    root = Path(root).resolve()
    file = root / "configs" / "metadata.json"
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{root}: this is no MONAI bundle (configs/metadata.json is missing).") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: the metadata cannot be read ({type(error).__name__}).") from None
    if not isinstance(metadata, dict):
        raise InputError(f"{file}: the metadata is not a JSON object.")
    settings = metadata.get("cardioprecision")
    licence = settings.get("licence") if isinstance(settings, dict) else None
    if not isinstance(licence, dict):
        licence = {}
    name = str(licence.get("name") or metadata.get("license") or "unknown licence")
    # Where a stranger's bundle says nothing about its licence, use counts as restricted.
    restricted = bool(licence.get("restricted", True))
    return Bundle(root.name, root, metadata, name, restricted, source)


def user_folder() -> Path:
    """Where installed bundles lie: ``$CARDIOPRECISION_BUNDLES`` or the user's data folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("CardioPrecision", appauthor=False) / "bundles"


def _shipped_folders() -> list[Path]:
    folders = []
    for package in PACKAGES:
        if find_spec(package) is not None:
            folder = Path(str(resources.files(package))) / "bundles"
            if folder.is_dir():
                folders.append(folder)
    return folders


def _in_folder(folder: Path, source: str) -> list[Bundle]:
    found = []
    for root in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _NAME.fullmatch(root.name) and (root / "configs" / "metadata.json").is_file():
            try:
                found.append(open_bundle(root, source))
            except InputError:
                if source == SHIPPED:
                    raise
                continue  # one broken installed bundle must not hide the others; opening it by name says why
    return found


def list_bundles() -> list[Bundle]:
    """All bundles, shipped ones first. An installed bundle never replaces a shipped one of the same name."""
    bundles: dict[str, Bundle] = {}
    for folder in _shipped_folders():
        for bundle in _in_folder(folder, SHIPPED):
            bundles.setdefault(bundle.name, bundle)
    for bundle in _in_folder(user_folder(), INSTALLED):
        bundles.setdefault(bundle.name, bundle)
    return list(bundles.values())


def get_bundle(name: str) -> Bundle:
    """The bundle called `name`; raises `InputError` naming those that there are."""
    bundles = {b.name: b for b in list_bundles()}
    if name in bundles:
        return bundles[name]
    if _NAME.fullmatch(name) and (user_folder() / name).is_dir():
        return open_bundle(user_folder() / name, INSTALLED)  # raises with the reason why it was not listed
    raise InputError(f"There is no bundle called {name!r}; there are: {', '.join(sorted(bundles)) or 'none'}.")


def sha256(file: Path) -> str:
    with open(file, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def verify(bundle: Bundle) -> dict[str, str]:
    """Check every weight file against the metadata.

    Returns
    -------
    dict
        Relative path to SHA-256, for the record.

    Raises
    ------
    InputError
        A file is missing, differs, is used but not listed, or nothing is listed.
    """
    files = bundle.files
    used = [str(m.get("file")) for m in bundle.settings.get("members", [])]
    unlisted = [f for f in used if f not in files]
    if not files or unlisted:
        raise InputError(
            f"Bundle {bundle.name}: no SHA-256 is given for {', '.join(unlisted) or 'any weight file'}; "
            "the weights were not loaded."
        )
    for relative, expected in files.items():
        file = bundle.path(relative)
        if not file.is_file():
            raise InputError(f"Bundle {bundle.name}: the weight file {relative} is missing; install the bundle again.")
        if sha256(file) != expected.lower():
            raise InputError(
                f"Bundle {bundle.name}: {relative} is not the file that the bundle describes (SHA-256 "
                "differs); it was not loaded. Install the bundle again."
            )
    return files


def seal(root: str | Path) -> dict[str, str]:
    """Write the SHA-256 of every file in ``models/`` into the bundle's metadata; returns them."""
    root = Path(root)
    file = root / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    hashes = {f"models/{p.name}": sha256(p) for p in sorted((root / "models").glob("*.pt"))}
    metadata.setdefault("cardioprecision", {})["files"] = hashes
    with replacing(file) as beside:
        beside.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return hashes
