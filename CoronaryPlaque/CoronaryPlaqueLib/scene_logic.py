"""Coronary calcium on MRML nodes: a CT volume in, a segmentation that a reader re-labels and tables out.

Takes the scene explicitly and uses nothing of the desktop, so that it runs in 3D Slicer and on slicer-core alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from CardioPrecisionLib import scene as mrml
from CardioPrecisionLib import scene_tables as tables
from CardioPrecisionLib.analysis import LabelMap, Loaded, Progress, Result, Segment, Table, silent
from CardioPrecisionLib.dicom.ct_file import ct_of_image, slice_axes
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Image, Sequence, read_frames, write_nifti
from CardioPrecisionLib.measurement import Measurements, Patient
from CardioPrecisionLib.scene_batch import SceneBatch, remove_run
from CardioPrecisionLib.scene_child import read_run, run_in_folder
from CardioPrecisionLib.scene_labels import labels_from_node

from .vessels import SEGMENTS

if TYPE_CHECKING:
    from CardioPrecisionLib.phantom.ct import CTSample

__all__ = [
    "SceneResult",
    "add_results",
    "add_sample",
    "export_job",
    "labels_on",
    "load_results",
    "read_ct",
    "remove_run",
    "run_in_child",
    "run_on_nodes",
    "sample_scan",
]

ROLE = "cardiac_ct"
ANALYSIS = "calcium"


@dataclass
class SceneResult:
    """The nodes that a run has put into the scene, and the numbers behind them.

    Attributes
    ----------
    run_id : str
        `remove_run(scene, run_id)` takes all of it away again.
    measurement_table : vtkMRMLTableNode
    tables : dict of str to vtkMRMLTableNode
        ``vessels`` and ``lesions``, where there are any.
    segmentation : vtkMRMLSegmentationNode or None
        Calcium by vessel. Move a segment's voxels to another one and run again with it as labels to correct a call.
    folder : int
        Subject hierarchy item of the folder with the results.
    measurements : Measurements
    warnings : list of str
    """

    run_id: str
    measurement_table: Any = None
    tables: dict[str, Any] = field(default_factory=dict)
    segmentation: Any = None
    folder: int = 0
    measurements: Measurements = field(default_factory=Measurements)
    warnings: list[str] = field(default_factory=list)


# -- in ----------------------------------------------------------------------------------------------------------------
def read_ct(scene: Any, input_node: Any) -> Loaded:
    """The CT behind a volume node, checked as a file would be.

    Raises
    ------
    InputError
        It is not a CT volume; the message says why.
    """
    from .ct_input import loaded_from

    if input_node is None:
        raise InputError("No input was chosen; choose a CT volume.")
    if input_node.GetScene() is None or input_node.GetScene() is not scene:
        raise ValueError("the input node is in another scene")
    name = mrml.what(input_node)
    loaded = loaded_from(ct_of_image(mrml.image_from_node(input_node), name, move_axes=False), name)
    loaded.record["kind"] = "mrml"
    return loaded


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
    """Score calcium in this process and put the results into the scene.

    Parameters
    ----------
    scene : vtkMRMLScene
    input_node : vtkMRMLScalarVolumeNode
    parameters : CalciumScore.Parameters, optional
    patient : Patient, optional
        Sex and age, for percentiles.
    labels_node : vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode, optional
        A reader's labels, used instead of the model.
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
    from .calcium import CalciumScore

    analysis = CalciumScore()
    parameters = parameters if parameters is not None else analysis.Parameters()
    loaded = read_ct(scene, input_node)
    labels = labels_on(labels_node, loaded) if labels_node is not None else None
    result = analysis.run({ROLE: loaded}, parameters, progress, patient=patient or Patient(), labels=labels)
    result.warnings[:0] = loaded.warnings
    return add_results(scene, input_node, result, run_id)


def labels_on(labels_node: Any, loaded: Loaded) -> LabelMap:
    """A reader's labels on the grid of the CT; none at all also says something."""
    image = loaded.data
    return labels_from_node(labels_node, Sequence.from_array(image.array[None], image.affine), SEGMENTS, empty=True)


# -- child process -----------------------------------------------------------------------------------------------------
def export_job(scene: Any, input_node: Any, folder: str | Path, labels_node: Any | None = None) -> dict[str, Any]:
    """Write the nodes for a child process; ``inputs`` and, where labels are given, ``labels`` of a job."""
    loaded = read_ct(scene, input_node)
    path = Path(folder) / f"{ROLE}.nii"
    write_nifti(path, loaded.data.array, loaded.data.affine)
    job: dict[str, Any] = {"inputs": {ROLE: str(path)}}
    if labels_node is not None:
        labels = labels_on(labels_node, loaded)
        own = Path(folder) / "labels.nii"
        write_nifti(own, labels.array[0], labels.affine)
        job["labels"] = {"paths": [str(own)], "scheme": "cardioprecision"}
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
    """Score calcium in a child process and put the results into the scene.

    Parameters and errors are those of `run_on_nodes` and of `scene_child.run_in_folder`.
    """
    return run_in_folder(
        ANALYSIS,
        lambda folder: export_job(scene, input_node, folder, labels_node),
        lambda output: load_results(scene, output, input_node, run_id),
        parameters=dict(parameters or {}),
        clinical=clinical,
        progress=progress,
        should_stop=should_stop,
        python=python,
    )


def load_results(scene: Any, run_folder: str | Path, input_node: Any, run_id: str | None = None) -> SceneResult:
    """Put the output folder of a run into the scene of its input.

    Raises
    ------
    InputError
        The folder is not a calcium run, or of another image.
    """
    folder = Path(run_folder)
    document, measurements = read_run(folder, ANALYSIS)
    result = Result(measurements, warnings=list(document["warnings"]))
    path = folder / "segmentation.nii.gz"
    if path.is_file():
        result.labels = labels_of_run(path, mrml.image_from_node(input_node))
    for name, title in (("vessels", "Calcium by vessel"), ("lesions", "Calcified lesions")):
        if (folder / f"{name}.csv").is_file():
            result.tables.append(read_table(folder / f"{name}.csv", name, title))
    return add_results(scene, input_node, result, run_id)


def labels_of_run(path: Path, image: Image, segments: tuple[Segment, ...] = SEGMENTS) -> LabelMap:
    """The segmentation of a run on the grid of its input, whose slice axis a file reader may have put last."""
    array, affine, _ = read_frames(path)
    for axes in ((0, 1, 2), slice_axes(image)):
        columns = image.affine[:, [*axes, 3]]
        shape = tuple(image.shape[axis] for axis in axes)
        if array.shape == (1, *shape) and np.allclose(affine, columns, atol=0.01):
            back = array.transpose(0, *(1 + np.argsort(axes)))
            return LabelMap(back.astype(np.uint8, copy=False), image.affine, segments)
    raise InputError(
        f"{path}: the segmentation does not lie on the grid of the chosen volume; choose the one that was analysed."
    )


def read_table(path: Path, name: str, title: str) -> Table:
    import csv

    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
        names = list(rows[0]) if rows else []

    def value(text: str) -> Any:
        if text == "":
            return None
        try:
            return float(text)
        except ValueError:
            return text

    return Table(name, title, {column: [value(row[column]) for row in rows] for column in names})


def sample_scan(seed: int = 5) -> CTSample:
    """A synthetic patient's CT with its true labels: heavy calcium, a stent, a man of 66."""
    from CardioPrecisionLib.phantom.ct import random_thorax

    patient = random_thorax(seed, calcium="heavy", sex="male", age_years=66)
    return patient.render(patient.geometry("cardiac", matrix=320), seed=seed)


def add_sample(scene: Any, seed: int = 5) -> Any:
    """Compute `sample_scan` and add it to the scene as a volume node."""
    sample = sample_scan(seed)
    with SceneBatch(scene, uuid.uuid4().hex) as batch:
        node = mrml.image_to_node(batch, sample.image, "Synthetic non-contrast cardiac CT")
        batch.item(node)
    return node


# -- out ---------------------------------------------------------------------------------------------------------------
def add_results(scene: Any, input_node: Any, result: Result, run_id: str | None = None) -> SceneResult:
    """Put a result into the scene, beside its input in the subject hierarchy, in one batch.

    Names never repeat the input's: they could carry a patient's.
    """
    made = SceneResult(run_id or uuid.uuid4().hex, measurements=result.measurements, warnings=result.warnings)
    with SceneBatch(scene, made.run_id) as batch:
        made.folder = batch.folder_beside(input_node, "Coronary calcium")
        made.measurement_table = tables.measurements_to_node(
            batch, result.measurements, "Coronary calcium measurements", ANALYSIS
        )
        batch.place(made.measurement_table, made.folder)
        for table in result.tables:
            if any(table.columns.values()):
                made.tables[table.name] = tables.table_to_node(batch, table)
                batch.place(made.tables[table.name], made.folder)
        if result.labels is not None:
            made.segmentation = mrml.segmentation_to_node(batch, result.labels, 0, "Coronary calcium", input_node)
            batch.place(made.segmentation, made.folder)
    return made
