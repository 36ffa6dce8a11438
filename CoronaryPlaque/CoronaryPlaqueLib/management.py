"""What CAD-RADS 2.0 suggests to consider next, by category, plaque burden, modifiers and how the patient came.

The suggestions lie in ``cad_rads_management.json``, in our own words and with their sources. They are what a guideline
says to consider for a group of patients, not an order for one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from CardioPrecisionLib.errors import InputError

from .cadrads import CadRads


class Setting(StrEnum):
    """How the patient came."""

    STABLE = "stable"
    ACUTE = "acute"


@dataclass(frozen=True)
class Advice:
    """Suggestions for one classification.

    Attributes
    ----------
    meaning : str
        What the category says in this setting.
    consider : tuple of str
        What to consider.
    applies_to : str
        Which patients the setting means.
    sources : tuple of str
        Citations.
    note : str
        How far the texts were checked against their source.
    """

    meaning: str
    consider: tuple[str, ...]
    applies_to: str
    sources: tuple[str, ...]
    note: str


def management(result: CadRads, setting: Setting | str) -> Advice | None:
    """The suggestions for a classification; None where it has no category.

    Raises
    ------
    InputError
        For an unknown setting.
    """
    try:
        setting = Setting(setting)
    except ValueError:
        raise InputError(f"CAD-RADS: the setting {setting!r} is not one of {', '.join(Setting)}.") from None
    if result.category is None:
        return None
    data = _table()
    of_setting = data["settings"][setting.value]
    entry = of_setting["categories"][result.category]
    keys = ("all", result.burden, *result.modifiers)
    consider = tuple(text for key in keys for text in entry.get(key, of_setting["modifiers"].get(key, ())))
    return Advice(
        entry["meaning"],
        consider,
        of_setting["applies_to"],
        tuple(s["citation"] for s in data["sources"]),
        data["note"],
    )


@cache
def _table() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("cad_rads_management.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
