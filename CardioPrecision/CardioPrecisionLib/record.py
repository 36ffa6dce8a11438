"""The record of a run: what was done to what, by what, so that it can be done again (``run.json``)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = "cardioprecision/run/1"
_PACKAGES = (
    "numpy",
    "scipy",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "torch",
    "monai",
    "matplotlib",
    "jinja2",
    "slicer-core",
    "scikit-learn",
    "lifelines",
    "safetensors",
    "skops",
)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def json_able(value: Any) -> Any:
    """`value` in types that JSON knows; what is not finite becomes null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value if not isinstance(value, str) else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): json_able(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_able(v) for v in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]
    if is_dataclass(value) and not isinstance(value, type):
        return json_able(asdict(value))
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return json_able(value.tolist())
    return str(value)


@cache
def package_versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether tracked files differ; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or not (root / "pyproject.toml").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MiB."""
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0), 1)
    except ImportError:  # Windows
        import psutil

        peak_wset = getattr(psutil.Process().memory_info(), "peak_wset", None)
        return round(peak_wset / 1048576.0, 1) if peak_wset else None


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _model(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A model's facts with name, version, sha256 and licence first."""
    more = dict(facts)
    head = {
        "name": ("name", "bundle"),
        "version": ("version",),
        "sha256": ("sha256", "weights_sha256"),
        "licence": ("licence",),
    }
    found = {name: next((more.pop(key) for key in keys if key in more), None) for name, keys in head.items()}
    return {**found, **more}


@dataclass
class RunRecord:
    """Collects the record while a run goes on.

    Attributes
    ----------
    analysis : str
    parameters : mapping
        As used, defaults included.
    command : list of str or None
        The command line, where there was one.
    inputs : list of dict
        One per role: path as given, and what the reader recorded (series, voxel hash, size).
    extra : dict
        Further JSON-able facts by name: clinical file, labels.
    """

    analysis: str
    parameters: Any = field(default_factory=dict)
    command: list[str] | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    started: str = field(default_factory=utc_now)
    _clock: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the seconds of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)

    def to_json(self, facts: Mapping[str, Any], warnings: list[str], outputs: Mapping[str, str]) -> dict[str, Any]:
        """The record as a document.

        Parameters
        ----------
        facts : mapping
            `Result.record` of the analysis: ``models`` (or one ``model``), ``device``, ``precision``, ``fallbacks``,
            ``seeds``, ``seconds`` go to their own places, everything else under ``details``. Device, precision and
            fall-backs that are not there are taken from the models, which say what they ran on.
        warnings : list of str
        outputs : mapping
            File name to SHA-256.
        """
        facts = dict(facts)
        model = facts.pop("model", None)
        models = facts.pop("models", None) or ([model] if model else [])
        models = [_model(m) for m in models]
        for key in ("device", "precision", "fallbacks"):
            facts.setdefault(key, next((m[key] for m in models if m.get(key)), None))
        by_stage = {str(k): v for k, v in dict(facts.pop("seconds", None) or {}).items()}
        total = round(time.perf_counter() - self._clock, 3)
        document = {
            "schema": SCHEMA,
            "software": {
                "name": "CardioPrecision",
                "version": __version__,
                "git": git_state(),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "machine": platform.machine(),
                "cpus": os.cpu_count(),
                "packages": package_versions(),
            },
            "analysis": self.analysis,
            "parameters": self.parameters,
            "command": self.command,
            "inputs": self.inputs,
            "clinical": self.extra.get("clinical"),
            "labels": self.extra.get("labels"),
            "models": models,
            "device": facts.pop("device", None),
            "precision": facts.pop("precision", None),
            "fallbacks": facts.pop("fallbacks", None) or [],
            "seeds": facts.pop("seeds", None) or {},
            "details": facts,
            "seconds": {**self.seconds, "analysis": by_stage, "total": total},
            "peak_memory_mb": peak_memory_mb(),
            "started": self.started,
            "finished": utc_now(),
            "warnings": warnings,
            "outputs": dict(outputs),
        }
        result: dict[str, Any] = json_able(document)
        return result


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of ``run.json``, as shipped."""
    text = resources.files(__package__).joinpath("schemas/record-1.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: dict[str, Any]) -> None:
    """Check a record against the shipped schema; raises ``jsonschema.ValidationError``."""
    import jsonschema

    jsonschema.validate(document, schema())
