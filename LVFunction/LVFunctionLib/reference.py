"""Normal values of adults by sex, and where a measurement lies among them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from CardioPrecisionLib.analysis import Table
from CardioPrecisionLib.measurement import Measurements, Patient


@dataclass(frozen=True)
class Normal:
    """Mean and SD of healthy adults of one sex."""

    name: str
    sex: str
    mean: float
    sd: float
    unit: str
    source: str


@cache
def normals() -> tuple[Normal, ...]:
    text = resources.files(__package__).joinpath("data/normal_cmr.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(Normal(r["name"], r["sex"], float(r["mean"]), float(r["sd"]), r["unit"], r["source"]) for r in rows)


def compare(measurements: Measurements, patient: Patient) -> Table | None:
    """Reference interval (mean ± 1.96 SD) and z-score of every measurement that has a normal value.

    None where the sex is not known, or the patient is known to be under 18 years.
    """
    if patient.sex is None or (patient.age_years is not None and patient.age_years < 18):
        return None
    columns: dict[str, list] = {"name": [], "low": [], "high": [], "z": [], "unit": [], "source": []}
    for normal in normals():
        value = measurements.value(normal.name)
        if normal.sex != patient.sex or value is None:
            continue
        for key, item in (
            ("name", normal.name),
            ("low", normal.mean - 1.96 * normal.sd),
            ("high", normal.mean + 1.96 * normal.sd),
            ("z", (value - normal.mean) / normal.sd),
            ("unit", normal.unit),
            ("source", normal.source),
        ):
            columns[key].append(item)
    if not columns["name"]:
        return None
    return Table("reference", f"Reference values ({patient.sex}, adults)", columns)
