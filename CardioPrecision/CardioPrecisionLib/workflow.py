"""The parameters of all modules as a file, so that a lab does the same on every desk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import InputError
from .replacing import replacing

SCHEMA = "cardioprecision/workflow/1"


def values_of(parameters: Any) -> dict[str, Any]:
    """The values of a parameter node that are not nodes: what was chosen, not what it was chosen for."""
    values = {name: getattr(parameters, name) for name in parameters.allParameters}
    return {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str))}


def save(path: str | Path, modules: Mapping[str, Any]) -> Path:
    """Write the parameters of modules (name -> parameter node), all or nothing."""
    target = Path(path)
    document = {"schema": SCHEMA, "modules": {name: values_of(node) for name, node in modules.items()}}
    try:
        with replacing(target) as beside:
            beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: the workflow could not be written ({error.strerror}).") from None
    return target


def load(path: str | Path, modules: Mapping[str, Any]) -> list[str]:
    """Set the parameters of modules from a file.

    Returns
    -------
    list of str
        Modules of the file that are not here.

    Raises
    ------
    InputError
        It is no workflow, or a value does not suit its parameter; nothing was changed then.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path}: this file cannot be read as a workflow.") from None
    given = document.get("modules") if isinstance(document, dict) and document.get("schema") == SCHEMA else None
    if not isinstance(given, dict):
        raise InputError(f"{path}: this is no workflow of CardioPrecision ({SCHEMA}).")
    before = {name: values_of(node) for name, node in modules.items()}
    try:
        for name, values in given.items():
            if name in modules:
                _set(modules[name], values, f"{path}: {name}")
    except InputError:
        for name, values in before.items():
            _set(modules[name], values, name)
        raise
    return [name for name in given if name not in modules]


def _set(parameters: Any, values: Any, place: str) -> None:
    if not isinstance(values, dict):
        raise InputError(f"{place}: parameters by name are needed.")
    known = values_of(parameters)
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{place} has no parameter {name!r}; it has {', '.join(known)}.")
        wanted = type(known[name])
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            raise InputError(f"{place}: {name} is {value!r}; it must be of type {wanted.__name__}.")
        try:
            setattr(parameters, name, value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"{place}: {name} cannot be {value!r} ({error}).") from None
