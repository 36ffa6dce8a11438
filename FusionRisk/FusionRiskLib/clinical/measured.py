"""Measurements of other runs join a clinical record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from CardioPrecisionLib import measurement as ground
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient

from .fields import Field, fields
from .record import ENTERED, Entry, Record, make_entry, make_record

#: How far an entered and a measured value may differ before the user hears of it.
DISAGREEMENT = 0.05


@dataclass(frozen=True)
class MeasuredRun:
    """What another run measured: its analysis, rows and warnings, and what it knew of its patient."""

    analysis: str
    rows: tuple[Measurement, ...]
    patient: Patient
    warnings: tuple[str, ...] = ()


def read_run(path: str | Path) -> MeasuredRun:
    """A ``measurements.json``.

    Raises
    ------
    InputError
        The file cannot be read, is no measurements document, or holds a row that cannot be; the message names it.
    """
    import jsonschema

    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        ground.validate(document)
    except OSError as error:
        raise InputError(f"{path}: the measurements cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, json.JSONDecodeError, jsonschema.ValidationError):
        raise InputError(f"{path}: this is no measurements.json of a run.") from None
    try:
        rows = tuple(Measurements(Measurement.from_json(row) for row in document["measurements"]))
    except ValueError as error:  # what a schema cannot say: NaN, a row that is there twice
        raise InputError(f"{path}: {error}.") from None
    return MeasuredRun(str(document["analysis"]), rows, Patient(**document["patient"]), tuple(document["warnings"]))


def read_measurements(path: str | Path) -> tuple[str, list[Measurement]]:
    """The analysis and the rows of a ``measurements.json``; errors as of `read_run`."""
    run = read_run(path)
    return run.analysis, list(run.rows)


def _of_field(f: Field, rows: Iterable[Measurement]) -> Measurement | None:
    """The row that fills a field; a row with a number comes before one that says why there is none."""
    found = [row for site in f.measurement_sites for row in rows if (row.name, row.site) == (f.measurement, site)]
    return next((row for row in found if row.state.has_value), found[0] if found else None)


def with_measurements(record: Record, analysis: str, rows: Iterable[Measurement]) -> Record:
    """The record with what an analysis measured.

    Parameters
    ----------
    record : Record
    analysis : str
        Its name; the source of the new entries.
    rows : iterable of Measurement

    Returns
    -------
    Record
        Measured values fill fields that nobody entered. An entered value stays, and a disagreement is a warning, as is
        a measurement without a value where nothing was entered.
    """
    rows = list(rows)
    entries, warnings = dict(record.entries), list(record.warnings)
    for f in fields().values():
        row = _of_field(f, rows) if f.measurement else None
        if row is None:
            continue
        entered = entries.get(f.name)
        if row.state.has_value:
            entry = make_entry(f, row.value, analysis, None, analysis)
            if entered is None or entered.state != ENTERED:
                entries[f.name] = entry
            elif _differ(entered, entry):
                warnings.append(
                    f"{f.name} was entered as {entered.value:g}, {analysis} measured {entry.value:g}; "
                    "the entered value was used."
                )
        elif entered is None:
            warnings.append(f"{f.name} was not measured by {analysis}: {row.reason}.")
    fresh = make_record(entries)
    return Record(fresh.entries, tuple(dict.fromkeys((*warnings, *fresh.warnings))))


def _differ(entered: Entry, measured: Entry) -> bool:
    old, new = entered.value, measured.value
    return isinstance(old, float) and isinstance(new, float) and abs(old - new) > DISAGREEMENT * max(abs(old), 1.0)
