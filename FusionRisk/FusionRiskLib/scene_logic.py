"""Risk scores and plan in a MRML scene: the entered record and the measurement tables in; tables, plot and report out.

Takes the scene explicitly and uses nothing of the desktop, so that it runs in 3D Slicer and on slicer-core alike. No
image is needed, and no measurement either: a record alone can be scored.

The record lives in a text node as JSON, so that it is saved with the scene. A run reads it, and what other modules have
measured, in this process (`run_on_nodes`) or in a child process (`run_in_child`); both write an ordinary output folder
into a private place and put it into the scene with `load_results`, in one batch.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vtk
from CardioPrecisionLib import scene_tables as tables
from CardioPrecisionLib.analysis import Progress, Table, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurements
from CardioPrecisionLib.scene_batch import SceneBatch, remove_run
from CardioPrecisionLib.scene_child import read_json, read_run, run_in_folder

from .clinical.files import read_record
from .clinical.record import Record, record_from_values
from .scene_measured import measurement_tables, write_measurements

__all__ = [
    "SceneResult",
    "add_record",
    "add_sample",
    "export_job",
    "load_results",
    "measurement_tables",
    "record_from_node",
    "record_nodes",
    "remove_run",
    "run_in_child",
    "run_on_nodes",
    "set_record",
]

ANALYSIS = "risk"
#: Attribute of a text node that holds a clinical record.
RECORD_ATTRIBUTE = "CardioPrecision.ClinicalRecord"
_BAR = (0.30, 0.45, 0.69)
#: A synthetic patient, for a first look. Nobody is behind it.
SAMPLE: Mapping[str, Any] = {
    "sex": "female", "age_years": 58, "race": "white", "risk_region": "moderate", "height_cm": 166, "weight_kg": 74,
    "sbp_mmhg": 138, "total_chol_mg_dl": 226, "hdl_chol_mg_dl": 47, "ldl_chol_mg_dl": 146, "bp_treated": True,
    "statin": False, "diabetes": False, "current_smoker": True, "creatinine_mg_dl": 0.9, "prior_ascvd": False,
    "heart_failure": False, "hypertension": True, "family_history_mi": False, "lipid_med": False,
}  # fmt: skip


@dataclass
class SceneResult:
    """The nodes that a run has put into the scene, and what is behind them.

    Attributes
    ----------
    run_id : str
        `remove_run(scene, run_id)` takes all of it away again.
    measurement_table : vtkMRMLTableNode
        One row per score: value, state, reason.
    plan_table : vtkMRMLTableNode
        One row per rule of the plan.
    values_table : vtkMRMLTableNode
        The record that was scored, measurements included.
    risk_table : vtkMRMLTableNode or None
        Ten-year risks, which the chart shows; None where there is none.
    chart : vtkMRMLPlotChartNode or None
    report : vtkMRMLTextNode
        The report as HTML.
    folder : int
        Subject hierarchy item of the folder with the results.
    measurements : Measurements
    record : Record
        As it was scored.
    statements : list of dict
        As in ``plan.json``.
    warnings : list of str
    """

    run_id: str
    measurement_table: Any = None
    plan_table: Any = None
    values_table: Any = None
    risk_table: Any = None
    chart: Any = None
    report: Any = None
    folder: int = 0
    measurements: Measurements = field(default_factory=Measurements)
    record: Record = field(default_factory=Record)
    statements: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


# -- the entered record ------------------------------------------------------------------------------------------------
def record_nodes(scene: Any) -> list[Any]:
    """The text nodes of a scene that hold a clinical record."""
    nodes = (scene.GetNthNodeByClass(i, "vtkMRMLTextNode") for i in range(_count(scene, "vtkMRMLTextNode")))
    return [node for node in nodes if node.GetAttribute(RECORD_ATTRIBUTE)]


def _count(scene: Any, class_name: str) -> int:
    return int(scene.GetNumberOfNodesByClass(class_name))


def add_record(scene: Any, record: Record, name: str = "Clinical record") -> Any:
    """Add a record to the scene as a text node."""
    with SceneBatch(scene, uuid.uuid4().hex) as batch:
        node = batch.add("vtkMRMLTextNode", name)
        set_record(node, record)
        batch.item(node)
    return node


def set_record(node: Any, record: Record) -> None:
    """Write a record into a text node; what the node held before is replaced."""
    node.SetAttribute(RECORD_ATTRIBUTE, "1")
    set_text(node, json.dumps(record.to_json(), indent=1, ensure_ascii=False))


def set_text(node: Any, text: str) -> None:
    """Give a text node its text."""
    node.SetText(text, vtk.VTK_ENCODING_UTF_8)


def record_from_node(node: Any) -> Record:
    """The record in a text node, checked as a file would be.

    Parameters
    ----------
    node : vtkMRMLTextNode
        JSON: a record as `set_record` writes it, plain field names and values, or a FHIR R4 bundle.

    Raises
    ------
    InputError
        It is no text node, or no record; the message says which field.
    """
    with tempfile.TemporaryDirectory(prefix="cardioprecision-") as private, named(private, node):
        return read_record(write_record(node, Path(private)))


def write_record(node: Any, folder: Path) -> Path:
    """The record of a text node as ``clinical.json``."""
    if node is None:
        raise InputError("No clinical record was chosen; choose the text node that holds it.")
    if not node.IsA("vtkMRMLTextNode"):
        raise InputError(
            f"{node.GetName()} ({node.GetClassName()}): a text node with a clinical record is needed here."
        )
    text = node.GetText() or ""
    if not text.strip():
        raise InputError(f"{node.GetName()}: the clinical record is empty; enter at least sex and age.")
    path = folder / "clinical.json"
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def named(folder: str | Path, node: Any) -> Iterator[None]:
    """Messages about the private copy of a record name the node instead."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(Path(folder) / "clinical.json"), node.GetName())) from None


def add_sample(scene: Any) -> Any:
    """Add the record of a synthetic patient to the scene."""
    record = record_from_values(SAMPLE, "the sample", "synthetic")
    return add_record(scene, record, "Synthetic clinical record")


# -- in ----------------------------------------------------------------------------------------------------------------
def _export(
    scene: Any, record_node: Any, measurement_nodes: Iterable[Any] | None, folder: Path
) -> tuple[Path, list[Path]]:
    """The record and the measurement tables as files."""
    clinical = write_record(record_node, folder)
    chosen = measurement_tables(scene) if measurement_nodes is None else list(measurement_nodes)
    for node in (record_node, *chosen):
        if node.GetScene() is not scene:
            raise ValueError("an input node is in another scene")
    return clinical, write_measurements(chosen, folder)


def run_on_nodes(
    scene: Any,
    record_node: Any,
    measurement_nodes: Iterable[Any] | None = None,
    *,
    scores: Sequence[str] | None = None,
    figures: bool = True,
    progress: Progress = silent,
    run_id: str | None = None,
) -> SceneResult:
    """Score a record and the scene's measurements in this process and put the results into the scene.

    Parameters
    ----------
    scene : vtkMRMLScene
    record_node : vtkMRMLTextNode
        See `record_from_node`.
    measurement_nodes : iterable of vtkMRMLTableNode or None
        Measurement tables of other modules, one run of each analysis; None for all that are in the scene.
    scores : sequence of str or None
        Names, families or patterns; None for all.
    figures : bool
        Draw the plots of the report.
    progress : callable
    run_id : str, optional
        Made up where it is not given.

    Raises
    ------
    InputError
        The record or a table cannot be used; the scene is as it was.
    Cancelled
        `progress` asked to stop; the scene is as it was.
    """
    from .risk import assess

    with tempfile.TemporaryDirectory(prefix="cardioprecision-") as private:
        folder = Path(private)
        clinical, measured = _export(scene, record_node, measurement_nodes, folder)
        with named(folder, record_node):
            found = assess(read_record(clinical), measured, scores=scores, progress=progress)
        found.write(folder / "run", figures=figures)
        progress(1.0, "Done")
        return load_results(scene, folder / "run", record_node, run_id)


def export_job(
    scene: Any, record_node: Any, folder: str | Path, measurement_nodes: Iterable[Any] | None = None
) -> dict[str, Any]:
    """Write the record, as ``clinical.json``, and the measurement tables for a child process; ``inputs`` of a job."""
    clinical, measured = _export(scene, record_node, measurement_nodes, Path(folder))
    inputs = {"clinical": str(clinical)}
    for n, path in enumerate(measured, 1):
        inputs["measurements" if n == 1 else f"measurements_{n}"] = str(path)
    return {"inputs": inputs}


def run_in_child(
    scene: Any,
    record_node: Any,
    measurement_nodes: Iterable[Any] | None = None,
    *,
    scores: Sequence[str] | None = None,
    figures: bool = True,
    progress: Progress = silent,
    should_stop: Callable[[], bool] = lambda: False,
    python: str | None = None,
    run_id: str | None = None,
) -> SceneResult:
    """Score in a child process and put the results into the scene.

    Parameters and errors are those of `run_on_nodes` and of `scene_child.run_in_folder`.
    """
    private = Path()

    def export(folder: Path) -> dict[str, Any]:
        nonlocal private
        private = folder
        return export_job(scene, record_node, folder, measurement_nodes)

    parameters: dict[str, Any] = {"figures": figures}
    if scores is not None:
        parameters["score"] = list(scores)
    try:
        return run_in_folder(
            ANALYSIS,
            export,
            lambda output: load_results(scene, output, record_node, run_id),
            parameters=parameters,
            clinical=None,
            progress=progress,
            should_stop=should_stop,
            python=python,
        )
    except InputError as error:
        if record_node is None:
            raise
        with named(private, record_node):
            raise error from None


# -- out ---------------------------------------------------------------------------------------------------------------
def load_results(scene: Any, run_folder: str | Path, record_node: Any = None, run_id: str | None = None) -> SceneResult:
    """Put the output folder of a risk run into the scene, in one batch.

    Parameters
    ----------
    scene : vtkMRMLScene
    run_folder : path
    record_node : vtkMRMLTextNode, optional
        The results go beside it in the subject hierarchy; at the root where it is not given.
    run_id : str, optional

    Raises
    ------
    InputError
        The folder is not a complete risk run; the scene is as it was.
    """
    folder = Path(run_folder)
    document, measurements = read_run(folder, ANALYSIS)
    statements = read_json(folder / "plan.json")["statements"]
    record = read_record(folder / "record.json")
    try:
        page = (folder / "report.html").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{folder}: the report of the run is missing or cannot be read; run it again.") from None
    made = SceneResult(
        run_id or uuid.uuid4().hex,
        measurements=measurements,
        record=record,
        statements=statements,
        warnings=list(document["warnings"]),
    )
    with SceneBatch(scene, made.run_id) as batch:
        _add(batch, made, record_node, page)
    return made


def _add(batch: SceneBatch, made: SceneResult, record_node: Any, page: str) -> None:
    made.measurement_table = tables.measurements_to_node(batch, made.measurements, "Risk scores", ANALYSIS)
    made.folder = batch.folder_beside(record_node if record_node is not None else made.measurement_table, "Risk")
    made.plan_table = tables.table_to_node(batch, _plan(made.statements))
    made.values_table = tables.table_to_node(batch, _values(made.record))
    risks = _risks(made.measurements, made.record)
    if risks.columns["risk"]:
        made.risk_table = tables.table_to_node(batch, risks)
        made.chart = tables.bars_to_node(
            batch, made.risk_table, "score", "risk", risks.title, "Score", "Risk (%)", _BAR
        )
    made.report = batch.add("vtkMRMLTextNode", "Risk report")
    set_text(made.report, page)
    for node in (made.measurement_table, made.plan_table, made.values_table, made.risk_table, made.chart, made.report):
        if node is not None:
            batch.place(node, made.folder)


def _plan(statements: Iterable[Mapping[str, Any]]) -> Table:
    names = ("state", "topic", "text", "reason", "strength", "guideline", "edition", "citation", "id")
    columns = {name: [str(row[name]) if row[name] is not None else "" for row in statements] for name in names}
    inputs = [", ".join(_fact(given) for given in row["inputs"]) for row in statements]
    return Table("plan", "Plan", {**columns, "inputs": inputs})


def _fact(given: Mapping[str, Any]) -> str:
    value = given["value"]
    shown = given["state"] if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{given['name']} {shown}"


def _values(record: Record) -> Table:
    from .clinical.fields import fields

    def shown(value: float | bool | str | None) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "" if value is None else f"{value:g}" if isinstance(value, float) else value

    rows = record.entries.items()
    columns = {
        "field": [fields()[name].title for name, _ in rows],
        "value": [shown(entry.value) for _, entry in rows],
        "unit": [fields()[name].plain_unit for name, _ in rows],
        "state": [entry.state for _, entry in rows],
        "source": [entry.source or "" for _, entry in rows],
        "name": [name for name, _ in rows],
    }
    return Table("values", "Clinical values", columns)


def _risks(measurements: Measurements, record: Record) -> Table:
    """The main risks of 10 years that there are, with the category of the guideline that uses the score."""
    from .risk_categories import category_of
    from .risk_rows import HEADLINE
    from .scores import Columns, scores

    columns = Columns(record.column_values())
    values = {name: measurements.value(name) for name in HEADLINE if name.startswith("risk_") and name.endswith("_10y")}
    known = {name: value for name, value in values.items() if value is not None}
    categories = [category_of(name, value, columns) for name, value in known.items()]
    return Table(
        "ten_year_risk",
        "Risk in 10 years",
        {
            "score": [scores()[name].title for name in known],
            "risk": list(known.values()),
            "category": [category.name if category else "" for category in categories],
            "guideline": [f"{c.guideline.title} {c.guideline.edition}" if c else "" for c in categories],
        },
        {"risk": "%"},
    )
