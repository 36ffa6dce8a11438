"""A fusion model asked about the patient of a MRML scene: record and measurement tables in; tables and report out.

Takes the scene explicitly and uses nothing of the desktop, as `scene_logic`.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CardioPrecisionLib import scene_tables as tables
from CardioPrecisionLib.analysis import Progress, Table, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.scene_batch import SceneBatch, remove_run

from .fusion.answer import Answers
from .scene_logic import named, set_text, write_record
from .scene_measured import measurement_tables, write_measurements

__all__ = ["ScenePrediction", "predict_for_scene", "remove_run"]


@dataclass
class ScenePrediction:
    """The nodes that a prediction has put into the scene, and what is behind them.

    Attributes
    ----------
    run_id : str
        `remove_run(scene, run_id)` takes all of it away again.
    prediction_table, without_table, contribution_table : vtkMRMLTableNode
        Probability with model uncertainty, set or bound, and state; the same without each modality; contributions.
    chart : vtkMRMLPlotChartNode or None
        The contributions as bars, of the last class; None where the model refused.
    report : vtkMRMLTextNode
        As HTML.
    folder : int
        Subject hierarchy item.
    answers : Answers
    warnings : list of str
    """

    run_id: str
    answers: Answers
    prediction_table: Any = None
    without_table: Any = None
    contribution_table: Any = None
    chart: Any = None
    report: Any = None
    folder: int = 0
    warnings: list[str] = field(default_factory=list)


def predict_for_scene(
    scene: Any,
    model: str | Path,
    record_node: Any = None,
    measurement_nodes: Iterable[Any] | None = None,
    *,
    progress: Progress = silent,
    run_id: str | None = None,
) -> ScenePrediction:
    """Ask a model about the scene's patient and put the answer into the scene, in one batch.

    Parameters
    ----------
    scene : vtkMRMLScene
    model : path
        Folder of `fusion train`.
    record_node : vtkMRMLTextNode, optional
        The clinical record, where there is one.
    measurement_nodes : iterable of vtkMRMLTableNode or None
        Measurement tables of other modules; None for all that are in the scene.
    progress : callable
    run_id : str, optional

    Raises
    ------
    InputError
        The model, the record or a table cannot be used, or a modality that the model needs is missing; the scene is as
        it was.
    Cancelled
        `progress` asked to stop; the scene is as it was.
    """
    from .fusion import jobs

    chosen = measurement_tables(scene) if measurement_nodes is None else list(measurement_nodes)
    for node in (record_node, *chosen):
        if node is not None and node.GetScene() is not scene:
            raise ValueError("an input node is in another scene")
    if record_node is None and not chosen:
        raise InputError("The scene holds neither a clinical record nor measurements to predict from.")
    with tempfile.TemporaryDirectory(prefix="cardioprecision-") as private:
        folder = Path(private)
        clinical = write_record(record_node, folder) if record_node is not None else None
        measured = write_measurements(chosen, folder)
        with named(folder, record_node) if record_node is not None else nullcontext():
            outcome = jobs.predict(Path(model), measured, folder / "run", clinical=clinical, progress=progress)
        page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    made = ScenePrediction(
        run_id or uuid.uuid4().hex, outcome.details["answers"], warnings=list(outcome.result.warnings)
    )
    by_name = {table.name: table for table in outcome.result.tables}
    with SceneBatch(scene, made.run_id) as batch:
        made.prediction_table = tables.table_to_node(batch, by_name["predictions"])
        beside = record_node if record_node is not None else chosen[0]
        made.folder = batch.folder_beside(beside, "Fusion")
        made.without_table = tables.table_to_node(batch, by_name["without"])
        made.contribution_table = tables.table_to_node(batch, by_name["contributions"])
        made.report = batch.add("vtkMRMLTextNode", "Fusion report")
        set_text(made.report, page)
        nodes = [made.prediction_table, made.without_table, made.contribution_table, made.report]
        bars = _bars(by_name["contributions"])
        if bars.columns["input"]:
            nodes.append(tables.table_to_node(batch, bars))
            made.chart = tables.bars_to_node(
                batch, nodes[-1], "input", "contribution", bars.title, "Input", "Contribution"
            )
            nodes.append(made.chart)
        for node in nodes:
            batch.place(node, made.folder)
    return made


def _bars(contributions: Table) -> Table:
    """The contributions to the last class, which a bar chart has room for."""
    columns = contributions.columns
    last = columns["class"][-1] if columns["class"] else None
    rows = [n for n, name in enumerate(columns["class"]) if name == last]
    shown = {name: [columns[name][n] for n in rows] for name in ("input", "contribution")}
    return Table("contribution_bars", f"Contributions to {last}", shown)
