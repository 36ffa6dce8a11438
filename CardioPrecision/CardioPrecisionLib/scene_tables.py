"""Measurements, tables and charts as MRML nodes. Needs ``vtk``; takes the scene through its batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from typing import Any

import numpy as np
import vtk

from .analysis import Table
from .measurement import Measurement
from .scene_batch import SceneBatch


def table_to_node(batch: SceneBatch, table: Table) -> Any:
    """Add a Table as a table node; numbers stay numbers, None becomes NaN."""
    node = batch.add("vtkMRMLTableNode", table.title)
    node.SetDescription(table.title)
    node.SetUseColumnTitleAsColumnHeader(True)
    content = vtk.vtkTable()
    for name, values in table.columns.items():
        content.AddColumn(_column(name, values))
    node.SetAndObserveTable(content)
    for name in table.columns:
        unit = table.units.get(name, "")
        if unit and unit != "1":
            node.SetColumnUnitLabel(name, unit)
    return node


def _column(name: str, values: Iterable[Any]) -> Any:
    values = list(values)
    numeric = all(v is None or (isinstance(v, (int, float, np.number)) and not isinstance(v, bool)) for v in values)
    column = vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
    column.SetName(name)
    for value in values:
        if numeric:
            column.InsertNextValue(math.nan if value is None else float(value))
        else:
            column.InsertNextValue("" if value is None else str(value))
    return column


#: Attribute of a measurement table: the analysis that made it.
ANALYSIS_ATTRIBUTE = "CardioPrecision.Analysis"


def measurements_to_node(
    batch: SceneBatch, measurements: Iterable[Measurement], name: str, analysis: str | None = None
) -> Any:
    """Add measurements as a table node with one row each; a value that is not there is NaN and its state says why.

    `analysis` stands in the node's `ANALYSIS_ATTRIBUTE`, so that who reads the table knows what made it.
    """
    rows = list(measurements)
    columns: dict[str, list[Any]] = {
        "name": [m.name for m in rows],
        "site": [m.site or "" for m in rows],
        "value": [m.value if isinstance(m.value, float) else None for m in rows],
    }
    if any(isinstance(m.value, str) for m in rows):
        columns["text"] = [m.value if isinstance(m.value, str) else "" for m in rows]
    columns |= {
        "unit": [m.unit for m in rows],
        "low": [m.low for m in rows],
        "high": [m.high for m in rows],
        "level": [m.level for m in rows],
        "state": [m.state.value for m in rows],
        "reason": [m.reason or "" for m in rows],
        "method": [m.method or "" for m in rows],
    }
    node = table_to_node(batch, Table("measurements", name, columns))
    if analysis is not None:
        node.SetAttribute(ANALYSIS_ATTRIBUTE, analysis)
    return node


def chart_to_node(
    batch: SceneBatch,
    table_node: Any,
    x: str,
    series: Mapping[str, tuple[str, Many[float]]],
    title: str,
    x_title: str,
    y_title: str,
) -> Any:
    """Add a line chart over columns of a table node.

    Parameters
    ----------
    x : str
        Column of the horizontal axis.
    series : mapping
        Column -> (legend, RGB 0..1).
    """
    chart = batch.add("vtkMRMLPlotChartNode", title)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    for column, (legend, color) in series.items():
        plot = batch.add("vtkMRMLPlotSeriesNode", legend)
        plot.SetAndObserveTableNodeID(table_node.GetID())
        plot.SetPlotType(plot.PlotTypeScatter)
        plot.SetXColumnName(x)
        plot.SetYColumnName(column)
        plot.SetColor(*color)
        plot.SetLineStyle(plot.LineStyleSolid)
        plot.SetMarkerStyle(plot.MarkerStyleCircle)
        chart.AddAndObservePlotSeriesNodeID(plot.GetID())
    return chart


def bars_to_node(
    batch: SceneBatch,
    table_node: Any,
    labels: str,
    values: str,
    title: str,
    x_title: str,
    y_title: str,
    color: Many[float] = (0.16, 0.44, 0.68),
) -> Any:
    """Add a bar chart with a bar for every row of a table node.

    Parameters
    ----------
    labels, values : str
        Columns with the names and the lengths of the bars.
    """
    plot = batch.add("vtkMRMLPlotSeriesNode", title)
    plot.SetAndObserveTableNodeID(table_node.GetID())
    plot.SetPlotType(plot.PlotTypeBar)
    plot.SetLabelColumnName(labels)
    plot.SetYColumnName(values)
    plot.SetColor(*color)
    chart = batch.add("vtkMRMLPlotChartNode", title)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    chart.SetLegendVisibility(False)
    chart.AddAndObservePlotSeriesNodeID(plot.GetID())
    return chart
