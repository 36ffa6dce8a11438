"""LV function from MRML nodes to MRML nodes.

Takes the scene explicitly and uses nothing of the desktop, so that the same code runs in 3D Slicer and on
``slicer-core``. Two ways lead through it:

* `run_on_nodes` analyses in this process;
* `run_in_child` leaves the work to a child process, so that the desktop stays responsive: `export_input`, the job
  ``CardioPrecisionLib.fronts.job``, and `load_results` of its output folder.

Both end in `add_results`, which changes the scene in one batch, all or nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib import scene as mrml
from CardioPrecisionLib import scene_tables as tables
from CardioPrecisionLib.analysis import LabelMap, Loaded, Progress, Result, Table, silent
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Sequence, read_frames
from CardioPrecisionLib.measurement import Measurements, Patient
from CardioPrecisionLib.scene_batch import SceneBatch, remove_run
from CardioPrecisionLib.scene_child import read_json, read_run, run_in_folder
from CardioPrecisionLib.scene_labels import labels_from_node
from CardioPrecisionLib.sequence_file import write_sequence

from . import cine
from .segments import LV, MYOCARDIUM, RV, SEGMENTS

__all__ = [
    "SceneResult",
    "add_results",
    "add_sample",
    "export_input",
    "export_job",
    "export_labels",
    "load_results",
    "read_cine",
    "remove_run",
    "run_in_child",
    "run_on_nodes",
]

ROLE = "cine_sax"
ANALYSIS = "lv-function"
#: Column of the volume curve -> label whose volume it is.
_CURVES = {"lv_ml": LV, "rv_ml": RV, "myocardium_ml": MYOCARDIUM}


@dataclass
class SceneResult:
    """The nodes that a run has put into the scene, and the numbers behind them.

    Attributes
    ----------
    run_id : str
        `remove_run(scene, run_id)` takes all of it away again.
    measurement_table, curve_table : vtkMRMLTableNode
    chart : vtkMRMLPlotChartNode or None
    segmentation : vtkMRMLSegmentationNode or None
        Of a sequence, the node that shows the current frame.
    segmentation_sequence : vtkMRMLSequenceNode or None
    browser : vtkMRMLSequenceBrowserNode or None
        The input's; it shows end-diastole after the run.
    folder : int
        Subject hierarchy item of the folder with the results.
    measurements : Measurements
    warnings : list of str
    """

    run_id: str
    measurement_table: Any = None
    curve_table: Any = None
    chart: Any = None
    segmentation: Any = None
    segmentation_sequence: Any = None
    browser: Any = None
    folder: int = 0
    measurements: Measurements = field(default_factory=Measurements)
    warnings: list[str] = field(default_factory=list)


# -- in ----------------------------------------------------------------------------------------------------------------
def read_cine(scene: Any, input_node: Any) -> Loaded:
    """The cine behind a node, checked as a file would be.

    Parameters
    ----------
    scene : vtkMRMLScene
    input_node : vtkMRMLSequenceNode, vtkMRMLSequenceBrowserNode or vtkMRMLScalarVolumeNode
        A proxy volume stands for its sequence.

    Raises
    ------
    InputError
        It is not a cine short-axis stack; the message says why.
    """
    if input_node is None:
        raise InputError("No input was chosen; choose a volume or a sequence of volumes.")
    if input_node.GetScene() is None or input_node.GetScene() is not scene:
        raise ValueError("the input node is in another scene")
    sequence, warnings = cine.complete(mrml.sequence_from_node(input_node))
    cine.check(sequence, input_node.GetName())
    return Loaded(sequence, warnings=warnings, record={"kind": "mrml", "node": input_node.GetClassName()})


def run_on_nodes(
    scene: Any,
    input_node: Any,
    *,
    parameters: Any | None = None,
    patient: Patient | None = None,
    labels_node: Any | None = None,
    progress: Progress = silent,
    run_id: str | None = None,
) -> SceneResult:
    """Analyse a cine in this process and put the results into the scene.

    Parameters
    ----------
    scene : vtkMRMLScene
    input_node : vtkMRMLNode
        See `read_cine`.
    parameters : LVVolumes.Parameters, optional
    patient : Patient, optional
        Sex, age, height and weight, for indices and reference values.
    labels_node : vtkMRMLNode, optional
        A reader's segmentation or label volume, or a sequence of them, used instead of the model.
    progress : callable
    run_id : str, optional
        Made up where it is not given.

    Raises
    ------
    InputError
        The nodes cannot be used; the scene is as it was.
    Cancelled
        `progress` asked to stop; the scene is as it was.
    """
    from .volumes import LVVolumes

    analysis = LVVolumes()
    parameters = parameters if parameters is not None else analysis.Parameters()
    loaded = read_cine(scene, input_node)
    labels = None
    if labels_node is not None:
        labels = labels_from_node(
            labels_node,
            loaded.data,
            SEGMENTS,
            input_node=input_node,
            ed_frame=parameters.ed_frame,
            es_frame=parameters.es_frame,
        )
    result = analysis.run({ROLE: loaded}, parameters, progress, patient=patient or Patient(), labels=labels)
    result.warnings[:0] = loaded.warnings
    return add_results(scene, input_node, result, run_id)


# -- child process: files out, results in ------------------------------------------------------------------------------
def export_input(scene: Any, input_node: Any, folder: str | Path) -> dict[str, str]:
    """Write the input of a node, uncompressed, for a child process.

    Returns
    -------
    dict
        Role -> path, as ``inputs`` of a job.
    """
    sequence: Sequence = read_cine(scene, input_node).data
    name = f"{ROLE}.seq.nrrd" if sequence.n_frames > 1 else f"{ROLE}.nrrd"
    return {ROLE: str(write_sequence(Path(folder) / name, sequence))}


def export_labels(
    scene: Any,
    labels_node: Any,
    input_node: Any,
    folder: str | Path,
    *,
    ed_frame: int | None = None,
    es_frame: int | None = None,
) -> dict[str, Any]:
    """Write a reader's labels on the input's grid for a child process.

    Returns
    -------
    dict
        ``labels`` of a job.
    """
    sequence: Sequence = read_cine(scene, input_node).data
    labels = labels_from_node(
        labels_node, sequence, SEGMENTS, input_node=input_node, ed_frame=ed_frame, es_frame=es_frame
    )
    name = "labels.seq.nrrd" if sequence.n_frames > 1 else "labels.nrrd"
    path = write_sequence(Path(folder) / name, Sequence.from_array(labels.array, labels.affine))
    return {"paths": [str(path)], "scheme": "cardioprecision", "ed_frame": ed_frame, "es_frame": es_frame}


def export_job(
    scene: Any,
    input_node: Any,
    folder: str | Path,
    labels_node: Any | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the nodes for a child process.

    Returns
    -------
    dict
        ``inputs`` and, where labels are given, ``labels`` of a job.
    """
    job: dict[str, Any] = {"inputs": export_input(scene, input_node, folder)}
    if labels_node is not None:
        frames = {name: (parameters or {}).get(name) for name in ("ed_frame", "es_frame")}
        job["labels"] = export_labels(scene, labels_node, input_node, folder, **frames)
    return job


def run_in_child(
    scene: Any,
    input_node: Any,
    *,
    labels_node: Any | None = None,
    parameters: Mapping[str, Any] | None = None,
    clinical: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    should_stop: Callable[[], bool] = lambda: False,
    python: str | None = None,
    run_id: str | None = None,
) -> SceneResult:
    """Analyse in a child process and put the results into the scene.

    Files go through a private temporary folder that is removed at the end.

    Parameters
    ----------
    scene : vtkMRMLScene
    input_node, labels_node : vtkMRMLNode
        See `run_on_nodes`.
    parameters, clinical : mapping
        Values by name, as in a job's ``parameters`` and in a clinical file.
    progress : callable
        Called in this thread; may raise `Cancelled`.
    should_stop : callable
        Asked continuously in this thread, so it may keep an event loop going.
    python : str, optional
        The child's interpreter; default this one.
    run_id : str, optional

    Raises
    ------
    InputError, Cancelled
        As `run_on_nodes`; the scene is as it was.
    RuntimeError
        The child process failed; the message is what it said.
    """
    given = dict(parameters or {})
    return run_in_folder(
        ANALYSIS,
        lambda folder: export_job(scene, input_node, folder, labels_node, given),
        lambda output: load_results(scene, output, input_node, run_id),
        parameters=given,
        clinical=clinical,
        progress=progress,
        should_stop=should_stop,
        python=python,
    )


def load_results(scene: Any, run_folder: str | Path, input_node: Any, run_id: str | None = None) -> SceneResult:
    """Put the output folder of a run into the scene of its input.

    Parameters
    ----------
    scene : vtkMRMLScene
    run_folder : path
        An ordinary output folder: ``measurements.json``, ``run.json`` and ``segmentation.nii.gz``.
    input_node : vtkMRMLNode
        What was analysed.
    run_id : str, optional
    """
    folder = Path(run_folder)
    document, measurements = read_run(folder, ANALYSIS)
    record = read_json(folder / "run.json")
    result = Result(measurements, warnings=list(document["warnings"]))
    path = folder / "segmentation.nii.gz"
    if path.is_file():
        sequence, _ = cine.complete(mrml.sequence_from_node(input_node))
        array, affine, _ = read_frames(path)
        if array.shape != (sequence.n_frames, *sequence.shape) or not np.allclose(affine, sequence.affine, atol=0.01):
            raise InputError(
                f"{path}: the segmentation does not lie on the grid of {input_node.GetName()}; choose the "
                "volume or sequence that was analysed."
            )
        details = record.get("details") or {}
        named = {name: int(details[f"{name}_frame"]) - 1 for name in ("ed", "es") if details.get(f"{name}_frame")}
        result.labels = LabelMap(array.astype(np.uint8, copy=False), sequence.affine, SEGMENTS, named)
        result.tables.append(_curve(sequence, result.labels))
    return add_results(scene, input_node, result, run_id)


def _curve(sequence: Sequence, labels: LabelMap) -> Table:
    """The volume curve of the frames that carry labels, from the labels of a finished run."""
    times = sequence.frame_time_ms()
    columns: dict[str, list[Any]] = {
        "frame": list(range(1, sequence.n_frames + 1)),
        "time_ms": [None] * sequence.n_frames if times is None else [float(t) for t in times],
    }
    counts = [np.bincount(frame.ravel(), minlength=256) if frame.any() else None for frame in labels.array]
    for column, label in _CURVES.items():
        columns[column] = [None if c is None else float(c[label] * sequence.voxel_ml) for c in counts]
    units = {"frame": "1", "time_ms": "ms", **dict.fromkeys(_CURVES, "mL")}
    return Table("volume_curve", "Volumes over the cardiac cycle", columns, units)


def add_sample(scene: Any, seed: int = 1) -> tuple[Any, Any]:
    """Compute the synthetic patient's cine and add it to the scene.

    Returns
    -------
    sequence_node, browser : vtkMRMLSequenceNode, vtkMRMLSequenceBrowserNode
    """
    from CardioPrecisionLib.phantom import demo_patient

    with SceneBatch(scene, uuid.uuid4().hex) as batch:
        sequence_node, browser = mrml.sequence_to_node(
            batch, demo_patient(seed).sample.sequence, "Synthetic cine short axis"
        )
        batch.item(browser.GetProxyNode(sequence_node))
    return sequence_node, browser


# -- out ---------------------------------------------------------------------------------------------------------------
def add_results(scene: Any, input_node: Any, result: Result, run_id: str | None = None) -> SceneResult:
    """Put a result into the scene, beside its input in the subject hierarchy, in one batch.

    Names never repeat the input's: they could carry a patient's.
    """
    made = SceneResult(run_id or uuid.uuid4().hex, measurements=result.measurements, warnings=result.warnings)
    sequence_node = mrml.sequence_node_of(input_node)
    with SceneBatch(scene, made.run_id) as batch:
        if sequence_node is not None:
            made.browser = mrml.browser_for(batch, sequence_node)
        shown = mrml.shown_volume(input_node)
        made.folder = batch.folder_beside(shown, "LV function")
        made.measurement_table = tables.measurements_to_node(
            batch, result.measurements, "LV function measurements", ANALYSIS
        )
        batch.place(made.measurement_table, made.folder)
        _add_curve(batch, made, result.tables)
        if result.labels is not None:
            _add_labels(batch, made, result.labels, sequence_node, shown)
    return made


def _add_labels(batch: SceneBatch, made: SceneResult, labels: LabelMap, sequence_node: Any | None, shown: Any) -> None:
    name = "LV function segmentation"
    if sequence_node is None:
        made.segmentation = mrml.segmentation_to_node(batch, labels, 0, name, shown)
    else:
        browser = made.browser
        made.segmentation, made.segmentation_sequence, _ = mrml.segmentation_sequence_to_node(
            batch, labels, sequence_node, name
        )
        before = browser.GetSelectedItemNumber()
        batch.on_failure(lambda: browser.SetSelectedItemNumber(before))
        browser.SetSelectedItemNumber(labels.key_frames.get("ed", 0))
    batch.place(made.segmentation, made.folder)


def _add_curve(batch: SceneBatch, made: SceneResult, found: list[Table]) -> None:
    curve: Table | None = next((table for table in found if table.name == "volume_curve"), None)
    if curve is None:
        return
    made.curve_table = tables.table_to_node(batch, curve)
    batch.place(made.curve_table, made.folder)
    if len(curve.columns["frame"]) < 2:
        return
    timed = all(time is not None for time in curve.columns["time_ms"])
    meaning: Mapping[int, Any] = {segment.value: segment for segment in SEGMENTS}
    series = {column: (meaning[label].name, meaning[label].color) for column, label in _CURVES.items()}
    made.chart = tables.chart_to_node(
        batch,
        made.curve_table,
        "time_ms" if timed else "frame",
        series,
        curve.title,
        "Time (ms)" if timed else "Frame",
        "Volume (mL)",
    )
    batch.place(made.chart, made.folder)
