"""What a report says of how it was made: chosen facts of the record, never paths, commands or identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HASH_SHOWN = 16


@dataclass(frozen=True)
class Stage:
    """Seconds of one stage and its share of the longest."""

    name: str
    seconds: float
    share: float


def _plain(value: Any) -> str:
    """A small value as text; mappings and lists joined; nothing for nothing."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(k)} {_plain(v)}" for k, v in value.items() if _plain(v))
    if isinstance(value, (list, tuple)):
        return "; ".join(p for p in map(_plain, value) if p)
    return str(value)


def _words(key: Any) -> str:
    return str(key).replace("_", " ")


def _short(value: Any) -> str:
    return str(value)[:_HASH_SHOWN]


def _hashes(model: Mapping[str, Any]) -> str:
    for key in ("weights_sha256", "sha256", "hash", "files", "weights"):
        found = model.get(key)
        if isinstance(found, Mapping):
            return ", ".join(
                f"{str(k).rsplit('/', 1)[-1]} {_short(v)}…"
                for k, v in found.items()
                if isinstance(v, str) and len(v) >= _HASH_SHOWN
            )
        if isinstance(found, str) and found:
            return f"{_short(found)}…"
    return ""


def _models(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = record.get("details") or {}
    given = record.get("models") or record.get("model") or details.get("model") or []
    return [m for m in ([given] if isinstance(given, Mapping) else given) if isinstance(m, Mapping)]


def _model_line(model: Mapping[str, Any]) -> str:
    parts = [str(model.get("name") or model.get("bundle") or "model")]
    if model.get("version"):
        parts[0] += f" {model['version']}"
    licence = _plain(model.get("licence") or model.get("license"))
    if licence:
        parts.append(f"licence {licence}")
    if hashes := _hashes(model):
        parts.append(f"SHA-256 {hashes}")
    return ", ".join(parts)


def _from_models(record: Mapping[str, Any], key: str) -> Any:
    """A fact that stands at the top of the record, or with its models."""
    if record.get(key):
        return record[key]
    return next((m[key] for m in _models(record) if m.get(key)), None)


def facts_of(record: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(label, lines) of everything worth telling about how a run was done."""
    out: list[tuple[str, list[str]]] = []

    def add(label: str, *lines: str) -> None:
        if shown := [line for line in lines if line]:
            out.append((label, shown))

    software = record.get("software")
    if isinstance(software, Mapping):
        git = software.get("git") or {}
        commit = (
            f", commit {str(git['commit'])[:10]}{' (modified)' if git.get('modified') else ''}"
            if isinstance(git, Mapping) and git.get("commit")
            else ""
        )
        packages = software.get("packages") or {}
        add(
            "Software",
            f"{software.get('name', '')} {software.get('version', '')}{commit}".strip(),
            ", ".join(
                [f"Python {software['python']}"] * bool(software.get("python"))
                + [f"{k} {v}" for k, v in packages.items()]
            ),
        )
    else:
        add("Software", _plain(software))
    add("Model", *(_model_line(m) for m in _models(record)))
    add("Device", _plain(_from_models(record, "device")))
    add("Precision", _plain(_from_models(record, "precision")))
    fallbacks = _from_models(record, "fallbacks")
    if _models(record):
        several = isinstance(fallbacks, (list, tuple))
        add("Fallbacks", *map(_plain, fallbacks if several else [fallbacks]), "" if fallbacks else "none")
    inputs = record.get("inputs") or []
    for given in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        if isinstance(given, Mapping):
            add(
                "Input",
                ", ".join(
                    p
                    for p in (
                        _words(given.get("role") or ""),
                        _size(given),
                        f"voxel hash {_short(given['voxel_hash'])}" if given.get("voxel_hash") else "",
                    )
                    if p
                ),
            )
    if record.get("labels"):
        add("Outlines", "given by a reader; no model was used for them" if not _models(record) else "given by a reader")
    parameters = record.get("parameters") or {}
    if isinstance(parameters, Mapping):
        add(
            "Parameters",
            ", ".join(
                f"{_words(k)} {_plain(v)}"
                for k, v in parameters.items()
                if isinstance(v, (bool, int, float)) or (isinstance(v, str) and len(v) < 40 and not set(v) & set("/\\"))
            ),
        )
    if record.get("peak_memory_mb"):
        add("Peak memory", f"{float(record['peak_memory_mb']):.0f} MiB")
    if record.get("started"):
        add("Run", str(record["started"]).replace("T", " ")[:16] + " UTC")
    return out


def _size(given: Mapping[str, Any]) -> str:
    size = given.get("size") or given.get("shape")
    return " × ".join(str(n) for n in size) if isinstance(size, (list, tuple)) else _plain(size)


def stages_of(record: Mapping[str, Any]) -> tuple[list[Stage], float | None]:
    """Seconds by stage, inner stages in place of the stage that holds them, and the total."""
    seconds = record.get("seconds")
    if not isinstance(seconds, Mapping):
        return [], None
    flat: dict[str, float] = {}
    inner = any(isinstance(v, Mapping) and v for v in seconds.values())
    for key, value in seconds.items():
        if isinstance(value, Mapping):
            flat |= {str(k): float(v) for k, v in value.items() if isinstance(v, (int, float))}
        elif isinstance(value, (int, float)) and key != "total" and not (inner and key in ("run", "analyse")):
            flat.setdefault(str(key), float(value))
    total = seconds.get("total")
    longest = max(flat.values(), default=0.0)
    stages = [
        Stage(_words(k).capitalize(), v, round(100 * v / longest, 1) if longest else 0.0) for k, v in flat.items()
    ]
    return stages, float(total) if isinstance(total, (int, float)) else None
