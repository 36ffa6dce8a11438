"""What rules are asked about: one fact per name, with its unit and state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from CardioPrecisionLib.measurement import State

from ..clinical.fields import Field, fields
from ..clinical.record import UNKNOWN, Record
from ..scores import Columns, Scored, scores

DERIVED = "derived from other entries"


@dataclass(frozen=True)
class Fact:
    """One clinical field, measurement or score of one patient.

    Attributes
    ----------
    name : str
        Clinical field (``fields.json``), score (registry) or measurement.
    value : float, bool, str or None
    unit : str
        UCUM; ``"1"`` where there is none.
    state : str
        ``measured`` and ``entered`` have a value; any other state has none, whatever `value` says.
    reason : str or None
        Why there is no value, or what limits it.
    source : str
        Where it comes from; no identifiers.
    """

    name: str
    value: float | bool | str | None
    unit: str
    state: str
    reason: str | None = None
    source: str = ""

    @property
    def known(self) -> bool:
        if self.state not in (State.MEASURED, State.ENTERED) or self.value is None:
            return False
        return not isinstance(self.value, float) or math.isfinite(self.value)

    @classmethod
    def missing(cls, name: str) -> Fact:
        """Stands for a fact that nobody gave."""
        return cls(name, None, "1", State.NOT_ASSESSABLE, "not given")

    def words(self, digits: int = 4) -> str:
        """The value with its unit, or why there is none, as a sentence shows it; numbers with so many digits."""
        if not self.known:
            why = self.reason or self.state.replace("_", " ")
            return f"{self.name} is not known ({why.rstrip('.')})"
        if isinstance(self.value, bool):
            return f"{self.name} is {'yes' if self.value else 'no'}"
        if self.value is None or isinstance(self.value, str):
            return f"{self.name} is {self.value}"
        return f"{self.name} is {self.value:.{digits}g} {self._plain_unit()}".rstrip()

    def _plain_unit(self) -> str:
        f = fields().get(self.name)
        if f and f.unit == self.unit:
            return f.plain_unit
        return "" if self.unit == "1" else self.unit.strip("{}")


def record_facts(record: Record) -> dict[str, Fact]:
    """The facts of a clinical record, with those fields that follow from others (other units, eGFR, BMI, implied yes).

    Parameters
    ----------
    record : Record
        With measurements already joined, where there are any.

    Returns
    -------
    dict
        By field name, in the order of the form. Fields that nobody entered and that do not follow are left out.
    """
    columns = Columns(record.column_values())
    found: dict[str, Fact] = {}
    for f in fields().values():
        entry = record.entries.get(f.name)
        if entry is not None and entry.state != UNKNOWN:
            found[f.name] = Fact(f.name, entry.value, f.unit, State.ENTERED, None, entry.source or "")
            continue
        derived = None if f.kind == "date" else _derived(f, float(columns.number(f.name)[0]))
        if derived is not None:
            found[f.name] = Fact(f.name, derived, f.unit, State.ENTERED, None, DERIVED)
        elif entry is not None:
            found[f.name] = Fact(f.name, None, f.unit, UNKNOWN, "entered as unknown", entry.source or "")
    return found


def _derived(f: Field, number: float) -> float | bool | str | None:
    if math.isnan(number):
        return None
    if f.kind == "yes_no":
        return bool(number)
    return f.choices[int(number)] if f.kind == "choice" else number


def score_facts(scored: Mapping[str, Scored], row: int = 0) -> dict[str, Fact]:
    """One patient's scores as facts.

    Parameters
    ----------
    scored : mapping
        Score name -> what `Score.evaluate` returned.
    row : int
    """
    found = {}
    for name, result in scored.items():
        score, state = scores()[name], str(result.state[row])
        value = None if state != State.MEASURED else result.values[row]
        if value is not None and score.kind != "category":
            value = float(value)
        found[name] = Fact(name, value, score.unit, state, result.reason[row], score.citation)
    return found
