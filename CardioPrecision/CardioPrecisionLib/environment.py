"""What an installation has: packages, the device of the models, memory, bundles. Nothing is installed or fetched."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata, util

from .errors import InputError

OK, MISSING, NOTE = "ok", "missing", "note"
_GIB = 1 << 30


@dataclass(frozen=True)
class Fact:
    """One line of the check.

    Attributes
    ----------
    what : str
    state : {"ok", "missing", "note"}
    detail : str
        Version, size, or what to do.
    """

    what: str
    state: str
    detail: str


def packages(requirements: Iterable[str]) -> list[Fact]:
    """Whether the packages of a requirements list are there, and new enough.

    Parameters
    ----------
    requirements : iterable of str
        Lines like ``nibabel>=5.2``; comments and empty lines are skipped.
    """
    found = []
    for line in requirements:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:>=\s*([0-9][0-9.]*))?", line.split("#")[0])
        if not match:
            continue
        name, least = match[1], match[2]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(Fact(name, MISSING, f"{least} or newer is needed" if least else "is needed"))
            continue
        if least and _numbers(version) < _numbers(least):
            found.append(Fact(name, MISSING, f"{version} is there, {least} or newer is needed"))
        else:
            found.append(Fact(name, OK, version))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])


def device() -> list[Fact]:
    """torch, the device that ``auto`` takes, and its free memory."""
    if util.find_spec("torch") is None:
        return [Fact("PyTorch", MISSING, "needed for the models; a reader's own labels do without")]
    import torch

    facts = [Fact("PyTorch", OK, str(torch.__version__))]
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name = torch.cuda.get_device_name(0) if kind == "cuda" else {"mps": "Apple GPU"}.get(kind, "CPU, no GPU was found")
    facts.append(Fact("Device", OK if kind != "cpu" else NOTE, name))
    if util.find_spec("psutil") is not None or kind == "cuda":
        from .bundle.memory import available_bytes

        free = available_bytes(torch.device(kind)) / _GIB
        facts.append(Fact("Free memory", OK if free > 4 else NOTE, f"{free:.1f} GiB"))
    return facts


def models() -> list[Fact]:
    """The bundles, each file of theirs compared with its hash."""
    from .bundle import registry

    if util.find_spec("platformdirs") is None:
        return [Fact("Models", NOTE, "are looked at once the packages are there")]
    facts = []
    for bundle in registry.list_bundles():
        try:
            count = len(registry.verify(bundle))
            files = f"{count} file{'s' * (count > 1)} as described"
            facts.append(Fact(bundle.name, OK, f"version {bundle.version}, {files}"))
        except InputError as error:
            facts.append(Fact(bundle.name, MISSING, str(error)))
    return facts


def check(requirements: Iterable[str] = ()) -> list[Fact]:
    """All of it."""
    return [Fact("Python", OK, platform.python_version()), *device(), *packages(requirements), *models()]
