"""A measured value with its unit, state, interval, site and method, and the table that a run writes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, TextIO

SCHEMA = "cardioprecision/measurements/1"


class State(StrEnum):
    """Why a value is there, or why it is not."""

    MEASURED = "measured"
    ENTERED = "entered"
    NOT_ASSESSABLE = "not_assessable"
    NOT_FOUND = "not_found"
    OUT_OF_RANGE = "out_of_range"

    @property
    def has_value(self) -> bool:
        return self in (State.MEASURED, State.ENTERED)


@dataclass(frozen=True)
class Code:
    """A coded concept: scheme designator as in DICOM (SCT, LN, DCM, RADLEX), value, meaning."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Measurement:
    """One row: a (name, site) pair of one run.

    Attributes
    ----------
    name : str
        Stable snake_case name.
    value : float, str or None
        Null unless `state` is ``measured`` or ``entered``.
    unit : str
        UCUM, ``"1"`` for pure numbers.
    state : State
    reason : str or None
        Why there is no value, or what limits the one that there is.
    site : str or None
        Vessel, segment or lesion; null for the whole organ.
    low, high, level : float or None
        Interval and its nominal level (0.9 for 90 %).
    method, source : str or None
        How it was measured, and on which series, voxels or segment.
    code : Code or None
    """

    name: str
    value: float | str | None
    unit: str
    state: State = State.MEASURED
    reason: str | None = None
    site: str | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    method: str | None = None
    source: str | None = None
    code: Code | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))
        if isinstance(self.value, (int, float)) and not isinstance(self.value, bool):
            number = float(self.value)
            if not math.isfinite(number):
                raise ValueError(f"{self.name}: a measured value must be finite, not {number}; give a state instead")
            object.__setattr__(self, "value", number)
        if self.state.has_value and self.value is None:
            raise ValueError(f"{self.name}: state {self.state} needs a value")
        if not self.state.has_value:
            if self.value is not None:
                raise ValueError(f"{self.name}: state {self.state} must not carry a value")
            if not self.reason:
                raise ValueError(f"{self.name}: state {self.state} needs a reason")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: an interval needs both ends")

    @classmethod
    def missing(
        cls, name: str, unit: str, reason: str, state: State = State.NOT_ASSESSABLE, **more: Any
    ) -> Measurement:
        """A row that says why there is no value."""
        return cls(name, None, unit, state, reason, **more)

    def with_(self, **changes: Any) -> Measurement:
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        row = {k: v for k, v in asdict(self).items() if k != "code"}
        row["state"] = self.state.value
        row["code"] = asdict(self.code) if self.code else None
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Measurement:
        known = {f.name for f in fields(cls)}
        data = {k: v for k, v in row.items() if k in known}
        if data.get("code"):
            data["code"] = Code(**data["code"])
        return cls(**data)


class Measurements:
    """The rows of one run, one per (name, site), in the order they were made."""

    def __init__(self, rows: Iterable[Measurement] = ()):
        self._rows: dict[tuple[str, str | None], Measurement] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Measurement) -> None:
        key = (row.name, row.site)
        if key in self._rows:
            raise ValueError(f"measurement {row.name} (site {row.site}) was given twice")
        self._rows[key] = row

    def extend(self, rows: Iterable[Measurement]) -> None:
        for row in rows:
            self.add(row)

    def get(self, name: str, site: str | None = None) -> Measurement | None:
        return self._rows.get((name, site))

    def __getitem__(self, name: str) -> Measurement:
        return self._rows[(name, None)]

    def __contains__(self, name: str) -> bool:
        return (name, None) in self._rows

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def value(self, name: str, site: str | None = None) -> float | None:
        """The number, or None where there is none."""
        row = self.get(name, site)
        return row.value if row is not None and isinstance(row.value, float) else None

    @property
    def assessable(self) -> bool:
        """Whether at least one row was measured."""
        return any(row.state is State.MEASURED for row in self)


@dataclass(frozen=True)
class Patient:
    """What a run says of its patient. `key` is a keyed hash, never a name, an ID or a birth date."""

    key: str | None = None
    sex: str | None = None  # "male" | "female"
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    study_date: str | None = None  # YYYY-MM-DD


def document(
    analysis: str, patient: Patient, measurements: Iterable[Measurement], warnings: Iterable[str]
) -> dict[str, Any]:
    """The content of ``measurements.json``."""
    return {
        "schema": SCHEMA,
        "analysis": analysis,
        "patient": asdict(patient),
        "measurements": [m.to_json() for m in measurements],
        "warnings": list(warnings),
    }


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of ``measurements.json``, as shipped."""
    text = resources.files(__package__).joinpath("schemas/measurements-1.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(data: dict[str, Any]) -> None:
    """Check a measurements document against the shipped schema; raises ``jsonschema.ValidationError``."""
    import jsonschema

    jsonschema.validate(data, schema())


CSV_COLUMNS = (
    *(f.name for f in fields(Measurement) if f.name != "code"),
    "code_scheme",
    "code_value",
    "code_meaning",
)


def write_csv(measurements: Iterable[Measurement], file: TextIO) -> None:
    """One row per measurement; an empty cell is null."""
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for m in measurements:
        row = m.to_json()
        code = row.pop("code") or {}
        row |= {f"code_{k}": code.get(k) for k in ("scheme", "value", "meaning")}
        writer.writerow({k: "" if v is None else v for k, v in row.items()})
