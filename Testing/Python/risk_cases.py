"""The synthetic patient of ``Testing/Data/risk`` and small variants of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from FusionRiskLib.clinical.files import read_record
from FusionRiskLib.clinical.record import Record, completed

FOLDER = Path(__file__).resolve().parents[1] / "Data" / "risk"
BUNDLE, ENTERED, CLINICAL = (FOLDER / f"{name}.json" for name in ("bundle", "entered", "clinical"))
LV, CALCIUM = (FOLDER / f"{name}.measurements.json" for name in ("lv-function", "calcium"))


def record() -> Record:
    return completed(read_record(BUNDLE), read_record(ENTERED))


def document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def changed(path: Path, to: Path, **patient: Any) -> Path:
    """A copy of a measurements file with other facts of the patient."""
    made = copy.deepcopy(document(path))
    made["patient"] |= patient
    to.write_text(json.dumps(made), encoding="utf-8")
    return to


def value_in(path: Path, name: str, site: str | None) -> float:
    """A value of a measurements file."""
    found: float = next(r["value"] for r in document(path)["measurements"] if (r["name"], r["site"]) == (name, site))
    return found
