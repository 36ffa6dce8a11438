"""The clinical fields: name, kind, unit, ranges, codes. The table is data (``fields.json``); this reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

#: What a cell may say when a value is asked for and not known.
UNKNOWN_WORDS = frozenset({"", "unknown", "unk", "na", "n/a", "nan", "none", "null", "?"})
YES_NO_WORDS: Mapping[str, float] = MappingProxyType(
    {"yes": 1.0, "y": 1.0, "true": 1.0, "1": 1.0, "1.0": 1.0, "no": 0.0, "n": 0.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
)


@dataclass(frozen=True)
class Conversion:
    """``target = factor * source + offset``; `source` is a field name or a unit."""

    source: str
    factor: float
    offset: float = 0.0


@dataclass(frozen=True)
class Field:
    """One clinical field.

    Attributes
    ----------
    name, title, help, group : str
    kind : {"number", "integer", "yes_no", "choice", "date"}
    unit : str
        UCUM; the unit that the name says.
    low, high : float
        Outside of these a value is a mistake, not a patient.
    usual_low, usual_high : float
        Outside of these a value is possible and worth a second look.
    units : mapping
        Accepted unit -> conversion into `unit`.
    choices : tuple of str
    synonyms : mapping
        Other spellings of a choice.
    aliases : tuple of str
        Other names of the field.
    sources : tuple of Conversion
        Fields of the same quantity in another unit.
    implied_by : tuple of str
        Yes/no fields whose "yes" means "yes" here; their "no" says nothing.
    loinc : tuple of str
    measurement : str or None
        The measurement of another module's run that fills this field.
    measurement_sites : tuple
        Its accepted sites.
    """

    name: str
    title: str
    kind: str
    unit: str
    group: str
    help: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    usual_low: float = float("-inf")
    usual_high: float = float("inf")
    units: Mapping[str, Conversion] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    sources: tuple[Conversion, ...] = ()
    implied_by: tuple[str, ...] = ()
    loinc: tuple[str, ...] = ()
    measurement: str | None = None
    measurement_sites: tuple[str | None, ...] = (None,)

    @property
    def numeric(self) -> bool:
        return self.kind in ("number", "integer")

    @property
    def plain_unit(self) -> str:
        """The unit as a sentence shows it; empty for pure numbers."""
        plain = {"1": "", "a": "years", "mm[Hg]": "mmHg", "mL/min/{1.73_m2}": "mL/min/1.73 m²", "{sd}": "SD"}
        return plain.get(self.unit, self.unit.replace("{", "").replace("}", ""))

    def with_unit(self, text: str) -> str:
        return f"{text} {self.plain_unit}".rstrip()

    def choice(self, text: str) -> str | None:
        """The choice that `text` spells, or None."""
        token = text.strip().lower().replace(" ", "_").replace("-", "_")
        token = self.synonyms.get(token, token)
        return token if token in self.choices else None


def _field(row: dict[str, Any]) -> Field:
    low, high = row.get("range", (float("-inf"), float("inf")))
    usual_low, usual_high = row.get("usual", (low, high))
    return Field(
        name=row["name"],
        title=row["title"],
        kind=row["kind"],
        unit=row["unit"],
        group=row["group"],
        help=row.get("help", ""),
        low=low,
        high=high,
        usual_low=usual_low,
        usual_high=usual_high,
        units={unit: Conversion(unit, *factors) for unit, factors in row.get("units", {}).items()},
        choices=tuple(row.get("choices", ())),
        synonyms=row.get("synonyms", {}),
        aliases=tuple(row.get("aliases", ())),
        sources=tuple(Conversion(s["field"], s["factor"], s["offset"]) for s in row.get("from", ())),
        implied_by=tuple(row.get("implied_by", ())),
        loinc=tuple(row.get("loinc", ())),
        measurement=row.get("measurement"),
        measurement_sites=tuple(row.get("measurement_sites", (None,))),
    )


@cache
def document() -> dict[str, Any]:
    """The field table as shipped."""
    text = resources.files(__package__).joinpath("fields.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def fields() -> Mapping[str, Field]:
    """All fields by name, in the order of the form."""
    return MappingProxyType({row["name"]: _field(row) for row in document()["fields"]})


@cache
def _names() -> Mapping[str, str]:
    return {alias: f.name for f in fields().values() for alias in (f.name, *f.aliases)}


def field_name(given: str) -> str | None:
    """The field that a column or key means, by its name or an alias; None where it is not known."""
    return _names().get(given.strip().lower())
