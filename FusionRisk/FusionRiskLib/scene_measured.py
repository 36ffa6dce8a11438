"""Measurement tables of a MRML scene as the ``measurements.json`` files that a risk run reads."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, State, document
from CardioPrecisionLib.scene_tables import ANALYSIS_ATTRIBUTE

_COLUMNS = frozenset({"name", "site", "value", "unit", "low", "high", "level", "state", "reason", "method"})


def measurement_tables(scene: Any) -> list[Any]:
    """The measurement tables of other modules in a scene, in its order: `scene_tables.measurements_to_node` makes them.

    Tables of earlier risk runs are left out: scores are computed from measurements, not from scores.
    """
    count = scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    nodes = [scene.GetNthNodeByClass(i, "vtkMRMLTableNode") for i in range(count)]
    return [node for node in nodes if _names(node) >= _COLUMNS and node.GetAttribute(ANALYSIS_ATTRIBUTE) != "risk"]


def _names(node: Any) -> set[str]:
    table = node.GetTable()
    return {table.GetColumnName(i) for i in range(table.GetNumberOfColumns())} if table is not None else set()


def analysis_of(node: Any) -> str:
    """The analysis that made a table: by its attribute, else by its name without the number that makes it unique."""
    known = node.GetAttribute(ANALYSIS_ATTRIBUTE)
    if known:
        return str(known)
    name = re.sub(r"_\d+$", "", node.GetName() or "").removesuffix(" measurements")
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain[:1].isalpha() else "measurements"


def measurements_from_table(node: Any) -> list[Measurement]:
    """The rows of a measurement table.

    Raises
    ------
    InputError
        It is no measurement table, or a row was changed into something that cannot be; the message names table and row.
    """
    name = node.GetName() if node is not None else "no node"
    if node is None or not node.IsA("vtkMRMLTableNode") or not _names(node) >= _COLUMNS:
        raise InputError(f"{name}: this is no table of measurements; choose one that another module has made.")
    table = node.GetTable()
    columns = {column: table.GetColumnByName(column) for column in _names(node)}
    found: list[Measurement] = []
    seen: set[tuple[str, str | None]] = set()
    for row in range(table.GetNumberOfRows()):
        cells = {column: values.GetValue(row) for column, values in columns.items()}
        try:
            measurement = _measurement(cells)
        except ValueError as error:
            raise InputError(f"{name}, row {row + 1}: {error}.") from None
        if (measurement.name, measurement.site) in seen:
            where = f" (site {measurement.site})" if measurement.site else ""
            raise InputError(f"{name}, row {row + 1}: {measurement.name}{where} is there twice; keep one.")
        seen.add((measurement.name, measurement.site))
        found.append(measurement)
    return found


def _measurement(cells: dict[str, Any]) -> Measurement:
    number = _number("value", cells["value"])
    state = str(cells["state"])
    if state not in list(State):
        raise ValueError(f"the state is {state!r}; it must be one of {', '.join(State)}")
    if not cells["name"]:
        raise ValueError("the name is empty")
    return Measurement(
        name=str(cells["name"]),
        value=number if number is not None else _text(cells.get("text", "")),
        unit=str(cells["unit"]),
        state=State(state),
        reason=_text(cells["reason"]),
        site=_text(cells["site"]),
        low=_number("low", cells["low"]),
        high=_number("high", cells["high"]),
        level=_number("level", cells["level"]),
        method=_text(cells["method"]),
    )


def _text(cell: Any) -> str | None:
    """A cell of a text column; a column in which all cells are empty may have become one of numbers."""
    return None if cell == "" or cell is None or isinstance(cell, (int, float)) else str(cell)


def _number(column: str, cell: Any) -> float | None:
    if isinstance(cell, str):
        cell = cell.strip() or math.nan
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"the column {column} holds {str(cell)[:40]!r}, which is no number") from None
    return None if math.isnan(value) else value


def write_measurements(nodes: Iterable[Any], folder: Path) -> list[Path]:
    """Write measurement tables as ``measurements.json`` files, one per analysis.

    Raises
    ------
    InputError
        A table cannot be read, or two tables are of the same analysis.
    """
    written: dict[str, str] = {}
    paths = []
    for node in nodes:
        rows = Measurements(measurements_from_table(node))
        analysis = analysis_of(node)
        if analysis in written:
            raise InputError(
                f"{written[analysis]} and {node.GetName()} are both of {analysis}; choose one of them, or remove a run."
            )
        written[analysis] = node.GetName()
        path = folder / f"{analysis}.measurements.json"
        # A table says nothing of its patient: sex and age come from the record.
        path.write_text(json.dumps(document(analysis, Patient(), rows, [])), encoding="utf-8")
        paths.append(path)
    return paths
