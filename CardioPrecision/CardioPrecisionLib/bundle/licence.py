"""Licences of bundles that restrict use: accepted once by the user, then remembered."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import UTC, datetime
from typing import Any

from ..errors import InputError
from ..replacing import replacing
from ..settings import config_folder
from .registry import Bundle, list_bundles

VARIABLE = "CARDIOPRECISION_ACCEPT_LICENSES"
OPTION = "--accept-license"
_FILE = "licences.json"
_this_run: set[tuple[str, str]] = set()  # where the user's folder cannot be written to


def _plain(text: str) -> str:
    """``CC BY-NC-SA 4.0`` and ``cc-by-nc-sa-4.0`` are the same name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _names(bundle: Bundle, name: str) -> bool:
    return _plain(name) in ("all", _plain(bundle.name), _plain(bundle.licence_name))


def _read() -> dict[str, Any]:
    try:
        data = json.loads((config_folder() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    accepted = data.get("accepted") if isinstance(data, dict) else None
    return accepted if isinstance(accepted, dict) else {}


def _write(accepted: dict[str, Any]) -> None:
    folder = config_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / _FILE) as beside:
        beside.write_text(json.dumps({"accepted": accepted}, indent=2), encoding="utf-8")


def accept(name: str, bundles: list[Bundle] | None = None) -> list[Bundle]:
    """Accept, and remember, the licence of the bundle or the licence called `name` (or ``all``).

    Returns
    -------
    list of Bundle
        The bundles whose licence this accepted.

    Raises
    ------
    InputError
        No bundle and no licence of one has that name.
    """
    known = [b for b in (list_bundles() if bundles is None else bundles) if b.restricted]
    chosen = [b for b in known if _names(b, name)]
    if not chosen:
        names = ", ".join(f"{b.name} ({b.licence_name})" for b in known) or "none"
        raise InputError(f"{OPTION} {name}: no bundle with a licence to accept has that name; there are: {names}.")
    _this_run.update((b.name, b.licence_name) for b in chosen)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    accepted = _read() | {b.name: {"licence": b.licence_name, "when": when} for b in chosen}
    with contextlib.suppress(OSError):  # a read-only home: accepted for this run only
        _write(accepted)
    return chosen


def is_accepted(bundle: Bundle) -> bool:
    """Whether `bundle` may be used: unrestricted, named in the environment, or accepted before.

    An acceptance holds for the licence that the bundle had then; under another one it is asked for again.
    """
    if not bundle.restricted or (bundle.name, bundle.licence_name) in _this_run:
        return True
    if any(_names(bundle, n) for n in os.environ.get(VARIABLE, "").split(",") if n.strip()):
        return True
    entry = _read().get(bundle.name)
    return isinstance(entry, dict) and entry.get("licence") == bundle.licence_name


def require(bundle: Bundle) -> None:
    """Raise `InputError` unless the licence of `bundle` was accepted."""
    if not is_accepted(bundle):
        raise InputError(
            f"The weights of bundle {bundle.name} are licensed {bundle.licence_name} (see its LICENSE). "
            f"To accept, once: {OPTION} {bundle.name}, or {VARIABLE}={bundle.name} (or all) in the "
            "environment, or the dialog in 3D Slicer; it is then remembered."
        )
