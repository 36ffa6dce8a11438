"""A coronary CT angiogram on MRML nodes: volume and points in; curves, models, straightened volumes and tables out.

Takes the scene explicitly and uses nothing of the desktop, so that it runs in 3D Slicer and on slicer-core alike.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from CardioPrecisionLib import scene as mrml
from CardioPrecisionLib import scene_tables as tables
from CardioPrecisionLib.analysis import LabelMap, Loaded, Progress, Result, silent
from CardioPrecisionLib.dicom.ct_file import ct_of_image
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Image, Sequence, write_nifti
from CardioPrecisionLib.measurement import Measurements, Patient
from CardioPrecisionLib.polyline import frames
from CardioPrecisionLib.scene_batch import SceneBatch, remove_run
from CardioPrecisionLib.scene_child import read_json, read_run, run_in_folder
from CardioPrecisionLib.scene_labels import labels_from_node

from .ccta_labels import SEGMENTS
from .scene_logic import labels_of_run, read_table
from .sections import sample
from .seeds import VesselSeeds, read_seeds

if TYPE_CHECKING:
    from CardioPrecisionLib.phantom.ccta import CCTASample

__all__ = [
    "AngiogramResult",
    "add_points",
    "add_results",
    "add_sample",
    "label_point",
    "load_results",
    "points_seen",
    "read_ct",
    "remove_run",
    "run_in_child",
    "run_on_nodes",
    "sample_angiogram",
]

ANALYSIS = "plaque"
_TITLE = "Coronary CT angiography"
#: Of a straightened volume: half width and pixel across, mm; along it is as fine as the course.
_HALF_MM, _PIXEL_MM = 8.0, 0.25
_CURVE_STEP_MM = 2.0


@dataclass
class AngiogramResult:
    """The nodes that a run has put into the scene, and the numbers behind them.

    Attributes
    ----------
    run_id : str
        `remove_run(scene, run_id)` takes all of it away again.
    measurement_table : vtkMRMLTableNode
    tables : dict of str to vtkMRMLTableNode
        ``segments``, ``lesions``, and ``course LAD`` and so on, by artery.
    segmentation : vtkMRMLSegmentationNode or None
        Lumen, plaque and wall. Correct it and run again with it as labels.
    curves : dict of str to vtkMRMLMarkupsCurveNode
        Middle lines, with the radius at every control point as measurement ``Radius``.
    tree : vtkMRMLModelNode or None
        All arteries as tubes with the point arrays ``DiameterStenosis`` (NaN where not read) and ``Radius``.
    straightened : dict of str to vtkMRMLScalarVolumeNode
        Arteries pulled straight, along the third axis from the ostium on.
    folder : int
        Subject hierarchy item of the folder with the results.
    measurements : Measurements
    warnings : list of str
    """

    run_id: str
    measurement_table: Any = None
    tables: dict[str, Any] = field(default_factory=dict)
    segmentation: Any = None
    curves: dict[str, Any] = field(default_factory=dict)
    tree: Any = None
    straightened: dict[str, Any] = field(default_factory=dict)
    folder: int = 0
    measurements: Measurements = field(default_factory=Measurements)
    warnings: list[str] = field(default_factory=list)


# -- in ----------------------------------------------------------------------------------------------------------------
def read_ct(scene: Any, input_node: Any) -> Loaded:
    """The angiogram behind a volume node, checked as a file would be.

    Raises
    ------
    InputError
        It is not a CT volume; the message says why.
    """
    from .ccta_input import loaded_from

    if input_node is None:
        raise InputError("No input was chosen; choose a CT volume.")
    if input_node.GetScene() is None or input_node.GetScene() is not scene:
        raise ValueError("the input node is in another scene")
    name = mrml.what(input_node)
    loaded = loaded_from(ct_of_image(mrml.image_from_node(input_node), name, move_axes=False), name)
    loaded.record["kind"] = "mrml"
    return loaded


def _points_document(nodes: Iterable[Any]) -> dict[str, Any]:
    """Markups nodes as the content of a markups file in RAS; a curve's points are numbered by its name."""
    markups = []
    for node in nodes:
        if node is None or not node.IsA("vtkMRMLMarkupsNode"):
            raise InputError(
                f"{mrml.what(node)}: points on the arteries are needed here; choose a point list or curves."
            )
        line = node.IsA("vtkMRMLMarkupsCurveNode")
        points = []
        for n in range(node.GetNumberOfControlPoints()):
            where = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(n, where)
            label = f"{node.GetName()}-{n + 1}" if line else node.GetNthControlPointLabel(n)
            points.append({"label": label, "position": where})
        markups.append({"coordinateSystem": "RAS", "coordinateUnits": "mm", "controlPoints": points})
    return {"markups": markups}


def seeds_from_nodes(nodes: Iterable[Any]) -> tuple[VesselSeeds, ...]:
    """Points on arteries from markups nodes: labels as in a seeds file, or curves named by their artery.

    Raises
    ------
    InputError
        As `seeds.read_seeds`.
    """
    with tempfile.TemporaryDirectory(prefix="cardioprecision-") as folder:
        return read_seeds(_write_points(Path(folder), nodes))


def _write_points(folder: Path, nodes: Iterable[Any]) -> Path:
    path = folder / "points.mrk.json"
    path.write_text(json.dumps(_points_document(nodes)), encoding="utf-8")
    return path


def _labels(labels_node: Any, loaded: Loaded) -> LabelMap:
    image = loaded.data
    return labels_from_node(labels_node, Sequence.from_array(image.array[None], image.affine), SEGMENTS)


def run_on_nodes(
    scene: Any,
    input_node: Any,
    seed_nodes: Iterable[Any] = (),
    *,
    curves: bool = False,
    parameters: Any | None = None,
    patient: Patient | None = None,
    labels_node: Any | None = None,
    progress: Progress = silent,
    run_id: str | None = None,
) -> AngiogramResult:
    """Measure an angiogram in this process and put the results into the scene.

    Parameters
    ----------
    scene : vtkMRMLScene
    input_node : vtkMRMLScalarVolumeNode
    seed_nodes : iterable of vtkMRMLMarkupsNode
        Point lists with ostium and distal points; or, with `curves`, middle lines, which are taken as they are. Without
        any the arteries are found by themselves.
    curves : bool
    parameters : CoronaryCTA.Parameters, optional
    patient : Patient, optional
    labels_node : vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode, optional
        A reader's lumen, wall and plaque.
    progress : callable
    run_id : str, optional

    Raises
    ------
    InputError
        The nodes cannot be used; the scene is as it was.
    Cancelled
        `progress` asked to stop; the scene is as it was.
    """
    from .ccta import CoronaryCTA

    analysis = CoronaryCTA()
    parameters = parameters if parameters is not None else analysis.Parameters()
    loaded = read_ct(scene, input_node)
    labels = _labels(labels_node, loaded) if labels_node is not None else None
    inputs = {"ccta": loaded}
    nodes = list(seed_nodes)
    if nodes:
        inputs["centrelines" if curves else "seeds"] = Loaded(seeds_from_nodes(nodes), record={"kind": "mrml"})
    result = analysis.run(inputs, parameters, progress, patient=patient or Patient(), labels=labels)
    result.warnings[:0] = loaded.warnings
    return add_results(scene, input_node, result, run_id)


def label_point(node: Any, vessel: str, role: str) -> None:
    """Name the last point of a point list after what it was set for; an earlier point of that name goes.

    Parameters
    ----------
    node : vtkMRMLMarkupsFiducialNode
    vessel : str
        ``LAD``, ``LCX``, ``RCA``, or any artery's name.
    role : {"ostium", "via", "distal"}
    """
    label, last = f"{vessel} {role}", node.GetNumberOfControlPoints() - 1
    if role != "via":
        for n in range(last - 1, -1, -1):
            if node.GetNthControlPointLabel(n) == label:
                node.RemoveNthControlPoint(n)
                last -= 1
    node.SetNthControlPointLabel(last, label)


def points_seen(node: Any) -> str:
    """What a point list says, or what is wrong with it, in one line."""
    if node is None:
        return "Without points the arteries are found by themselves."
    if not node.GetNumberOfControlPoints():
        return "No points yet; place where each artery begins and ends."
    try:
        return "From ostium to distal end: " + ", ".join(seed.vessel for seed in seeds_from_nodes([node])) + "."
    except InputError as error:
        return str(error)


def sample_angiogram(seed: int = 3) -> CCTASample:
    """A synthetic patient's angiogram with exact truth: a LAD narrowed by 82 %, voxels of 0.6 mm."""
    from CardioPrecisionLib.phantom.ccta import heart_view, random_ccta, render_ccta

    scene = random_ccta(seed)
    return render_ccta(scene, heart_view(scene, matrix=256, pixel_mm=0.6, slice_mm=0.6), noise_hu=18.0, seed=seed)


def add_sample(scene: Any, seed: int = 3) -> tuple[Any, Any]:
    """Compute `sample_angiogram` and add it to the scene with points on its three great arteries.

    Returns
    -------
    volume, points : vtkMRMLScalarVolumeNode, vtkMRMLMarkupsFiducialNode
    """
    made = sample_angiogram(seed)
    with SceneBatch(scene, uuid.uuid4().hex) as batch:
        volume = mrml.image_to_node(batch, made.image, "Synthetic coronary CT angiogram")
        batch.item(volume)
        points = add_points(batch, made)
    return volume, points


def add_points(batch: SceneBatch, sample: CCTASample) -> Any:
    """Add a point list with ostium and distal end of the three great arteries of a synthetic angiogram."""
    from CardioPrecisionLib.phantom.ccta import path

    points = batch.add("vtkMRMLMarkupsFiducialNode", "Points on the arteries")
    for vessel in ("LAD", "LCX", "RCA"):
        line, radii = path(sample.scene.vessels, vessel)
        along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
        wide = np.flatnonzero(radii > 0.75)
        last = int(wide[-1]) if wide.size else len(line) - 1
        begin, end = int(np.searchsorted(along, 4.0)), max(last - 4, 1)
        for n, role in ((begin, "ostium"), (end, "distal")):
            points.AddControlPoint(vtk.vtkVector3d(*line[n]), f"{vessel} {role}")
    batch.item(points)
    return points


# -- child process -----------------------------------------------------------------------------------------------------
def export_job(
    scene: Any,
    input_node: Any,
    seed_nodes: Iterable[Any],
    folder: str | Path,
    labels_node: Any | None = None,
    curves: bool = False,
) -> dict[str, Any]:
    """Write the nodes for a child process; ``inputs`` and, where labels are given, ``labels`` of a job."""
    loaded = read_ct(scene, input_node)
    path = Path(folder) / "ccta.nii"
    write_nifti(path, loaded.data.array, loaded.data.affine)
    job: dict[str, Any] = {"inputs": {"ccta": str(path)}}
    nodes = list(seed_nodes)
    if nodes:
        job["inputs"]["centrelines" if curves else "seeds"] = str(_write_points(Path(folder), nodes))
    if labels_node is not None:
        labels = _labels(labels_node, loaded)
        own = Path(folder) / "labels.nii"
        write_nifti(own, labels.array[0], labels.affine)
        job["labels"] = {"paths": [str(own)], "scheme": "cardioprecision"}
    return job


def run_in_child(
    scene: Any,
    input_node: Any,
    seed_nodes: Iterable[Any] = (),
    *,
    curves: bool = False,
    labels_node: Any | None = None,
    parameters: Mapping[str, Any] | None = None,
    clinical: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    should_stop: Callable[[], bool] = lambda: False,
    python: str | None = None,
    run_id: str | None = None,
) -> AngiogramResult:
    """Measure an angiogram in a child process and put the results into the scene.

    Parameters and errors are those of `run_on_nodes` and of `scene_child.run_in_folder`.
    """
    nodes = list(seed_nodes)
    return run_in_folder(
        ANALYSIS,
        lambda folder: export_job(scene, input_node, nodes, folder, labels_node, curves),
        lambda output: load_results(scene, output, input_node, run_id),
        parameters=dict(parameters or {}),
        clinical=clinical,
        progress=progress,
        should_stop=should_stop,
        python=python,
    )


def load_results(scene: Any, run_folder: str | Path, input_node: Any, run_id: str | None = None) -> AngiogramResult:
    """Put the output folder of a run into the scene of its input.

    Raises
    ------
    InputError
        The folder is not a run of this analysis, or of another image.
    """
    folder = Path(run_folder)
    document, measurements = read_run(folder, ANALYSIS)
    result = Result(measurements, warnings=list(document["warnings"]))
    path = folder / "segmentation.nii.gz"
    if path.is_file():
        result.labels = labels_of_run(path, mrml.image_from_node(input_node), SEGMENTS)
    for name, title in (("segments", "Coronary segments"), ("lesions", "Coronary lesions")):
        if (folder / f"{name}.csv").is_file():
            result.tables.append(read_table(folder / f"{name}.csv", name, title))
    result.documents["courses"] = read_json(folder / "courses.json")
    return add_results(scene, input_node, result, run_id)


# -- out ---------------------------------------------------------------------------------------------------------------
def add_results(scene: Any, input_node: Any, result: Result, run_id: str | None = None) -> AngiogramResult:
    """Put a result into the scene, beside its input in the subject hierarchy, in one batch.

    Names never repeat the input's: they could carry a patient's.
    """
    made = AngiogramResult(run_id or uuid.uuid4().hex, measurements=result.measurements, warnings=result.warnings)
    courses = {
        name: {key: _array(values) for key, values in course.items()}
        for name, course in result.documents.get("courses", {}).get("arteries", {}).items()
    }
    image = mrml.image_from_node(input_node)
    with SceneBatch(scene, made.run_id) as batch:
        made.folder = batch.folder_beside(input_node, _TITLE)
        made.measurement_table = tables.measurements_to_node(
            batch, result.measurements, f"{_TITLE} measurements", ANALYSIS
        )
        batch.place(made.measurement_table, made.folder)
        for table in result.tables:
            if any(table.columns.values()):
                made.tables[table.name] = tables.table_to_node(batch, table)
                batch.place(made.tables[table.name], made.folder)
        if result.labels is not None and result.labels.array.any():
            made.segmentation = mrml.segmentation_to_node(batch, result.labels, 0, "Coronary arteries", input_node)
            batch.place(made.segmentation, made.folder)
        for name, course in courses.items():
            made.curves[name] = _curve(batch, name, course)
            batch.place(made.curves[name], made.folder)
            made.straightened[name] = mrml.image_to_node(
                batch, straight_image(image, course["points"]), f"{name} straightened"
            )
            batch.place(made.straightened[name], made.folder)
            made.tables[f"course {name}"] = _course_table(batch, name, course)
            batch.place(made.tables[f"course {name}"], made.folder)
        if courses:
            made.tree = _tree(batch, courses)
            batch.place(made.tree, made.folder)
    return made


def _array(values: list[Any]) -> Array:
    """Numbers of a courses document, null as NaN."""
    return np.array(values, dtype=float)


def _curve(batch: SceneBatch, name: str, course: Mapping[str, Array]) -> Any:
    """A middle line with a control point every 2 mm and the lumen's radius there."""
    node = batch.add("vtkMRMLMarkupsCurveNode", name)
    step = max(1, round(_CURVE_STEP_MM / float(course["distance"][1] - course["distance"][0])))
    chosen = np.unique(np.r_[np.arange(0, len(course["points"]), step), len(course["points"]) - 1])
    radius = vtk.vtkDoubleArray()
    radius.SetName("Radius")
    for n in chosen:
        index = node.AddControlPoint(vtk.vtkVector3d(*course["points"][n]))
        node.SetNthControlPointLabel(index, f"{name}-{index + 1}")
        radius.InsertNextValue(float(course["diameter"][n]) / 2)
    measurement = slicer.vtkMRMLStaticMeasurement()
    measurement.SetName("Radius")
    measurement.SetUnits("mm")
    measurement.SetPrintFormat("%.2f %s")
    measurement.SetControlPointValues(radius)
    measurement.SetValue(float(np.nanmean(course["diameter"]) / 2) if np.isfinite(course["diameter"]).any() else 0.0)
    node.AddMeasurement(measurement)
    node.SetLocked(True)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
    return node


def _course_table(batch: SceneBatch, name: str, course: Mapping[str, Array]) -> Any:
    from CardioPrecisionLib.analysis import Table

    columns = ("distance", "diameter", "reference_diameter", "wall_diameter", "diameter_stenosis")
    units = dict.fromkeys(columns, "mm") | {"diameter_stenosis": "%"}
    values = {c: [None if np.isnan(v) else float(v) for v in course[c]] for c in columns}
    return tables.table_to_node(batch, Table("course", f"{name} along its course", values, units))


def _tree(batch: SceneBatch, courses: Mapping[str, Mapping[str, Array]]) -> Any:
    """All arteries as tubes, as wide as the lumen, with the stenosis of their lesions as the active scalars."""
    append = vtk.vtkAppendPolyData()
    for course in courses.values():
        points = vtk.vtkPoints()
        line = vtk.vtkCellArray()
        line.InsertNextCell(len(course["points"]))
        radius, stenosis = vtk.vtkDoubleArray(), vtk.vtkDoubleArray()
        radius.SetName("Radius")
        stenosis.SetName("DiameterStenosis")
        known = np.nan_to_num(course["diameter"] / 2, nan=0.5)
        for n, point in enumerate(course["points"]):
            line.InsertCellPoint(points.InsertNextPoint(*point))
            radius.InsertNextValue(max(float(known[n]), 0.05))
            stenosis.InsertNextValue(float(course["grade"][n]))
        poly = vtk.vtkPolyData()
        poly.SetPoints(points)
        poly.SetLines(line)
        poly.GetPointData().AddArray(stenosis)
        poly.GetPointData().AddArray(radius)
        poly.GetPointData().SetActiveScalars("Radius")
        tube = vtk.vtkTubeFilter()
        tube.SetInputData(poly)
        tube.SetNumberOfSides(16)
        tube.SetVaryRadiusToVaryRadiusByAbsoluteScalar()
        tube.CappingOn()
        tube.Update()
        append.AddInputData(tube.GetOutput())
    append.Update()
    surface = append.GetOutput()
    surface.GetPointData().SetActiveScalars("DiameterStenosis")
    node = batch.add("vtkMRMLModelNode", "Coronary tree by stenosis")
    node.SetAndObservePolyData(surface)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetActiveScalarName("DiameterStenosis")
        display.SetScalarVisibility(True)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(0.0, 100.0)
    return node


def straight_image(image: Image, points: Array) -> Image:
    """An artery pulled straight: axes are the two normals and the way from the ostium; its middle line runs along k."""
    _, first, second = frames(points)
    axis = np.arange(-_HALF_MM, _HALF_MM + 1e-6, _PIXEL_MM)
    m = len(axis)
    hu = np.empty((m, m, len(points)), np.int16)
    across = axis[:, None, None, None] * first[None, None] + axis[None, :, None, None] * second[None, None]
    for a in range(0, len(points), 64):
        part = slice(a, a + 64)
        world = points[None, None, part] + across[:, :, part]
        values = sample(image, world.reshape(-1, 3), order=1).reshape(world.shape[:3])
        hu[:, :, part] = np.rint(np.nan_to_num(values, nan=-1024.0))
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    affine = np.diag([_PIXEL_MM, _PIXEL_MM, step, 1.0])
    affine[:2, 3] = -_HALF_MM
    return Image(hu, affine)
