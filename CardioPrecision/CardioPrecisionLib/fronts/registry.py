"""The list of analyses, resolved lazily, so that a front starts fast and a missing module is only missing."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from ..analysis import Analysis
from ..errors import InputError


@dataclass(frozen=True)
class Entry:
    """One analysis: its command, where its class is, and a line for the list of commands."""

    name: str
    target: str  # "Package.module:Class"
    title: str

    @property
    def package(self) -> str:
        return self.target.split(":")[0].split(".")[0]

    @property
    def present(self) -> bool:
        """Whether the module that holds it is installed."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except (ImportError, ValueError):
            return False


_ENTRIES: dict[str, Entry] = {}


def register(name: str, target: str, title: str) -> None:
    """Add an analysis, or replace one.

    Parameters
    ----------
    name : str
        The command: lower case, with hyphens.
    target : str
        ``"Package.module:Class"``; imported only when the analysis is used.
    title : str
        One line for the list of commands.
    """
    _ENTRIES[name] = Entry(name, target, title)


register(
    "lv-function",
    "LVFunctionLib.volumes:LVVolumes",
    "Volumes, ejection fraction and mass of both ventricles from cine CMR.",
)

register(
    "calcium",
    "CoronaryPlaqueLib.calcium:CalciumScore",
    "Coronary calcium by vessel from non-contrast cardiac or chest CT.",
)

register(
    "plaque",
    "CoronaryPlaqueLib.ccta:CoronaryCTA",
    "Coronary stenosis, plaque and CAD-RADS from CT angiography.",
)

register(
    "risk",
    "FusionRiskLib.risk:Risk",
    "Scores and plan from a clinical record and the measurements of other runs.",
)


def entries() -> list[Entry]:
    """The analyses whose modules are installed."""
    return [entry for entry in _ENTRIES.values() if entry.present]


def absent() -> list[Entry]:
    """The analyses that were skipped because their module is not installed."""
    return [entry for entry in _ENTRIES.values() if not entry.present]


def get_analysis(name: str) -> Analysis:
    """An instance of the named analysis.

    Raises
    ------
    InputError
        There is no such analysis, or its module is not installed.
    """
    entry = _ENTRIES.get(name)
    if entry is None:
        raise InputError(f"There is no analysis '{name}'; there is {', '.join(e.name for e in entries()) or 'none'}.")
    if not entry.present:
        raise InputError(f"The analysis '{name}' needs the module {entry.package}, which is not installed.")
    module, _, attribute = entry.target.partition(":")
    found: Analysis = getattr(importlib.import_module(module), attribute)()
    return found
