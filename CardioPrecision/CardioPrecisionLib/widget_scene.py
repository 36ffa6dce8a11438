"""What the module widgets show of a scene: its runs, their tables as rows, their reports, where a lesion is.

Uses nothing of the desktop, so that it is tested on slicer-core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

from .report import names
from .scene_batch import RUN_ATTRIBUTE, SceneBatch, nodes_of, remove_run
from .scene_tables import ANALYSIS_ATTRIBUTE

#: Attribute of a run's measurement table: a key frame, counted from 1 (``CardioPrecision.Frame.ed``).
FRAME_ATTRIBUTE = "CardioPrecision.Frame."
#: Attribute of a run's measurement table: what the run warned of, a line each.
WARNINGS_ATTRIBUTE = "CardioPrecision.Warnings"
#: Role of the reference from a run's measurement table to what was analysed.
INPUT_ROLE = "cardioPrecisionInput"


@dataclass(frozen=True)
class SceneRun:
    """One run that lies in a scene.

    Attributes
    ----------
    run_id, analysis, title : str
    table : vtkMRMLTableNode
        Its measurements.
    """

    run_id: str
    analysis: str
    title: str
    table: Any

    def nodes(self, class_name: str) -> list[Any]:
        """The nodes of a class that the run has put into the scene, in their order."""
        scene = self.table.GetScene()
        mine = [node for node in nodes_of(scene) if node.GetAttribute(RUN_ATTRIBUTE) == self.run_id]
        return [node for node in mine if node.IsA(class_name)]

    def first(self, class_name: str, begins: str = "") -> Any | None:
        """The first such node whose name begins so."""
        return next((n for n in self.nodes(class_name) if (n.GetName() or "").startswith(begins)), None)

    @property
    def input(self) -> Any | None:
        """What was analysed, where it is still in the scene."""
        return self.table.GetNodeReference(INPUT_ROLE)

    @property
    def segmentation(self) -> Any | None:
        """The run's segmentation; of a sequence, the node that shows the current frame.

        A node that shows frames loses its attributes when they change, so it is found through its sequence.
        """
        from .scene import proxy_of

        for sequence in self.nodes("vtkMRMLSequenceNode"):
            proxy = proxy_of(sequence)
            if proxy is not None and proxy.IsA("vtkMRMLSegmentationNode"):
                return proxy
        return self.first("vtkMRMLSegmentationNode")

    @property
    def report(self) -> Any | None:
        """The text node that holds the report as HTML."""
        return next((node for node in self.nodes("vtkMRMLTextNode") if "<html" in (node.GetText() or "")[:500]), None)

    def frame(self, name: str) -> int | None:
        """A key frame (``ed``, ``es``), counted from 1."""
        text = self.table.GetAttribute(FRAME_ATTRIBUTE + name)
        return int(text) if text else None

    @property
    def warnings(self) -> list[str]:
        return (self.table.GetAttribute(WARNINGS_ATTRIBUTE) or "").splitlines()


def runs_of(scene: Any, analysis: str | None = None) -> list[SceneRun]:
    """The runs in a scene, the latest last; of one analysis, or of all."""
    found = []
    for node in nodes_of(scene):
        run_id, made_by = node.GetAttribute(RUN_ATTRIBUTE), node.GetAttribute(ANALYSIS_ATTRIBUTE)
        if run_id and made_by and node.IsA("vtkMRMLTableNode") and analysis in (None, made_by):
            found.append(SceneRun(run_id, made_by, _title(node.GetName()), node))
    return found


def _title(name: str) -> str:
    """A run as a list shows it: "LV function measurements_1" is the second, "LV function (2)"."""
    plain, _, number = name.partition(" measurements")
    return f"{plain} ({int(number[1:]) + 1})" if number[1:].isdigit() else plain


def load_run(
    scene: Any,
    load: Callable[[str], Any],
    run_id: str,
    *,
    input_node: Any | None = None,
    folder: Path | None = None,
    details: Mapping[str, Any] | None = None,
    replaces: str | None = None,
) -> Any:
    """Put a run into the scene with its report, key frames and warnings, in one batch, all or nothing.

    Parameters
    ----------
    load : callable
        ``load(run_id)`` adds the results and returns what has ``measurement_table`` and ``warnings``.
    run_id : str
    input_node : vtkMRMLNode, optional
        What was analysed.
    folder : path, optional
        The output folder, for its ``report.html``.
    details : mapping, optional
        Of the record: ``ed_frame``, ``es_frame``.
    replaces : str, optional
        An earlier run that goes when this one is there.
    """
    with SceneBatch(scene, run_id) as batch:
        result = load(run_id)
        table = result.measurement_table
        if input_node is not None:
            table.SetNodeReferenceID(INPUT_ROLE, input_node.GetID())
        for name in ("ed", "es"):
            if (details or {}).get(f"{name}_frame"):
                table.SetAttribute(FRAME_ATTRIBUTE + name, str(int((details or {})[f"{name}_frame"])))
        if result.warnings:
            table.SetAttribute(WARNINGS_ATTRIBUTE, "\n".join(result.warnings))
        page = folder / "report.html" if folder is not None else None
        if page is not None and page.is_file() and getattr(result, "report", None) is None:
            node = batch.add("vtkMRMLTextNode", f"{table.GetName().removesuffix(' measurements')} report")
            node.SetText(page.read_text(encoding="utf-8"), vtk.VTK_ENCODING_UTF_8)
            batch.place(node, result.folder)
    if replaces is not None:
        remove_run(scene, replaces)
    return result


# -- tables as rows ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ShownRow:
    """A measurement as a widget shows it: what, how much, in what state, and why (for a tooltip)."""

    title: str
    value: str
    state: str
    why: str


def table_columns(node: Any) -> dict[str, list[Any]]:
    """The columns of a table node by name; text as str, numbers as float, NaN as None."""
    content = node.GetTable()
    columns = {}
    for n in range(content.GetNumberOfColumns()):
        column = content.GetColumn(n)
        values: list[Any] = [column.GetValue(row) for row in range(column.GetNumberOfValues())]
        columns[column.GetName()] = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
    return columns


def shown_rows(node: Any) -> list[ShownRow]:
    """The rows of a measurement table, readable: plain names, units, intervals, and the reason where there is no value.

    A column that is empty throughout may have become one of another kind; its cells then count as empty.
    """
    columns = table_columns(node)
    rows = []
    for n, name in enumerate(columns["name"]):
        cell = {key: values[n] for key, values in columns.items()}
        number = cell["value"] if isinstance(cell["value"], float) else None
        value = number if number is not None else (cell.get("text") or None)
        unit = cell["unit"] if isinstance(cell["unit"], str) else None
        text = names.quantity(value, unit)
        between = [x if isinstance(x, float) else None for x in (cell["low"], cell["high"])]
        if number is not None and any(x is not None for x in between):
            text += f" ({names.span(between[0], between[1], unit)})"
        site = names.site_of(cell["site"] if isinstance(cell["site"], str) else None)
        title = names.title_of(name) + (f", {site}" if site else "")
        reason = cell["reason"] if isinstance(cell["reason"], str) else ""
        method = cell["method"] if isinstance(cell["method"], str) else ""
        rows.append(ShownRow(title, text, str(cell["state"]).replace("_", " "), reason or method))
    return rows


def shown_value(node: Any, name: str, site: str | None = None) -> str:
    """A value of a measurement table with its unit, its state where it has no value, and empty where it has no row."""
    columns = table_columns(node)
    for n, found in enumerate(columns["name"]):
        if found == name and (columns["site"][n] or None) == site:
            there = isinstance(columns["value"][n], float) or bool(columns.get("text", {n: ""})[n])
            return shown_rows(node)[n].value if there else str(columns["state"][n]).replace("_", " ")
    return ""


def plain_rows(node: Any, columns: list[str]) -> list[list[str]]:
    """Chosen columns of a table node as text, one list a row; a column that is not there is empty."""
    found = table_columns(node)
    count = max((len(values) for values in found.values()), default=0)
    return [[_text(found[c][row]) if c in found else "" for c in columns] for row in range(count)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() or abs(value) >= 100 else f"{value:.3g}"
    return str(value)


# -- views -------------------------------------------------------------------------------------------------------------
def jump_slices(scene: Any, position: tuple[float, float, float]) -> None:
    """Centre all slice views of the scene on a place, RAS mm."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *position, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def redraw_slices(scene: Any) -> None:
    """Let slice views draw what a batch has added: they look for segmentations only when their slice node changes."""
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        scene.GetNthNodeByClass(n, "vtkMRMLSliceNode").Modified()


def select_frame(run: SceneRun, frame: int) -> bool:
    """Show a frame, counted from 1, of what a run has analysed; whether there is a browser to show it in."""
    from .scene import browser_of_sequence, sequence_node_of

    sequence = sequence_node_of(run.input)
    browser = browser_of_sequence(sequence) if sequence is not None else None
    if browser is None or not 1 <= frame <= browser.GetNumberOfItems():
        return False
    browser.SetSelectedItemNumber(frame - 1)
    return True


def keep_edits(run: SceneRun) -> None:
    """Let corrections of a run's segmentation over time be written into its sequence when the frame changes."""
    from .scene import browser_of_proxy

    segmentation = run.segmentation
    browser = browser_of_proxy(segmentation) if segmentation is not None else None
    if browser is not None:
        browser.SetSaveChanges(browser.GetSequenceNode(segmentation), True)


def place_points(node: Any, placed: Callable[[Any], None]) -> Callable[[], None]:
    """Let the next click into a view set a point of a markups node.

    Parameters
    ----------
    node : vtkMRMLMarkupsNode
    placed : callable
        ``placed(node)`` once the point is there.

    Returns
    -------
    callable
        Stops waiting; the point that was set stays.
    """
    tags: list[int] = []

    def stop() -> None:
        for tag in tags:
            node.RemoveObserver(tag)
        tags.clear()

    def defined(caller: Any, event: Any) -> None:
        stop()
        placed(node)

    tags.append(node.AddObserver(slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, defined))
    scene = node.GetScene()
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    if selection is not None and interaction is not None:  # a scene without views has neither
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SwitchToSinglePlaceMode()
    return stop
