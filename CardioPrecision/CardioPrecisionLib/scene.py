"""MRML nodes <-> images, sequences and segmentations: the ground's border to Slicer.

Needs ``slicer``, inside the desktop or as ``slicer-core``; only fronts import this module. The scene is always handed
in, and nothing of the desktop (``slicer.mrmlScene``, ``slicer.app``, ``slicer.modules``, Qt) is used.

MRML volumes are stored k, j, i; arrays here are i, j, k: the transposition is a view, voxels are not copied on the way
in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .analysis import LabelMap, Segment
from .errors import InputError
from .image import Array, Image, Sequence
from .scene_batch import SceneBatch, nodes_of
from .segfile import segment_id, terminology_entry

_FACTOR_MS = {"ms": 1.0, "msec": 1.0, "s": 1000.0, "sec": 1000.0}
#: What a Sequence knows beside its frames, kept as attributes of its node.
_ATTRIBUTES: dict[str, Callable[[str], Any]] = {
    "rr_ms": float,
    "full_cycle": lambda text: text == "true",
    "thickness_mm": float,
    "modality": str,
}
_PREFIX = "CardioPrecision."


# -- geometry ----------------------------------------------------------------------------------------------------------
def matrix_to_array(matrix: Any) -> Array:
    """``(4, 4)`` float64 of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def array_to_matrix(array: Array) -> Any:
    """A vtkMatrix4x4 of a ``(4, 4)`` array."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def parent_matrix(node: Any) -> Array:
    """The node's parent transforms to world, ``(4, 4)``.

    Raises
    ------
    InputError
        A transform is not linear, or changes over time.
    """
    parent = node.GetParentTransformNode() if hasattr(node, "GetParentTransformNode") else None
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()}: it is under a transform that bends space; harden or remove the transform "
            "(module Transforms), then run again."
        )
    ancestor = parent
    while ancestor is not None:
        if browser_of_proxy(ancestor) is not None:
            raise InputError(
                f"{node.GetName()}: it is under a transform that changes over time; remove the transform "
                "(module Transforms), then run again."
            )
        ancestor = ancestor.GetParentTransformNode()
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return matrix_to_array(matrix)


def local_affine(node: Any) -> Array:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix_to_array(matrix)


def image_array(image: Any, name: str) -> Array:
    """The ``(i, j, k)`` view of a vtkImageData."""
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError(f"{name}: this node holds no voxels; choose a volume that has been loaded.")
    if scalars.GetNumberOfComponents() != 1:
        raise InputError(
            f"{name}: {scalars.GetNumberOfComponents()} values per voxel (a colour or vector volume); "
            "choose a scalar volume."
        )
    i, j, k = image.GetDimensions()
    return vtk_to_numpy(scalars).reshape(k, j, i).transpose(2, 1, 0)


def _vtk_image(array: Array, image: Any) -> Any:
    """Fill a vtkImageData (or a subclass) with a copy of an ``(i, j, k)`` array."""
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    image.SetDimensions(*array.shape)
    image.GetPointData().SetScalars(numpy_to_vtk(array.transpose(2, 1, 0).ravel(), deep=True))
    return image


# -- volumes and sequences in ------------------------------------------------------------------------------------------
def image_from_node(node: Any) -> Image:
    """A scalar or label volume node as an Image in world RAS, parent transforms included; voxels are a view."""
    if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"{what(node)}: a scalar volume is needed here.")
    array = image_array(node.GetImageData(), node.GetName())
    return Image(array, parent_matrix(node) @ local_affine(node))


def browsers(scene: Any) -> list[Any]:
    """The sequence browsers of a scene."""
    return [node for node in nodes_of(scene) if node.IsA("vtkMRMLSequenceBrowserNode")] if scene else []


def browser_of_sequence(sequence_node: Any) -> Any | None:
    """The first browser that shows this sequence node."""
    for browser in browsers(sequence_node.GetScene()):
        if browser.IsSynchronizedSequenceNodeID(sequence_node.GetID(), True):
            return browser
    return None


def browser_of_proxy(node: Any) -> Any | None:
    """The first browser whose proxy this node is."""
    for browser in browsers(node.GetScene()):
        if node.GetID() and browser.IsProxyNodeID(node.GetID()):
            return browser
    return None


def sequence_node_of(node: Any) -> Any | None:
    """The sequence node behind a sequence, a sequence browser or a browser's proxy; None for any other node."""
    if node is None:
        return None
    if node.IsA("vtkMRMLSequenceNode"):
        return node
    if node.IsA("vtkMRMLSequenceBrowserNode"):
        return node.GetMasterSequenceNode()
    browser = browser_of_proxy(node)
    return browser.GetSequenceNode(node) if browser is not None else None


def proxy_of(sequence_node: Any) -> Any | None:
    browser = browser_of_sequence(sequence_node)
    return browser.GetProxyNode(sequence_node) if browser is not None else None


def shown_volume(node: Any) -> Any | None:
    """The volume of the scene that shows the input: the volume itself, or the proxy of its sequence."""
    sequence_node = sequence_node_of(node)
    return node if sequence_node is None else proxy_of(sequence_node)


def sequence_from_node(node: Any) -> Sequence:
    """A volume sequence as a Sequence; a single volume becomes one frame.

    Parameters
    ----------
    node : vtkMRMLSequenceNode, vtkMRMLSequenceBrowserNode or vtkMRMLScalarVolumeNode
        A browser stands for its master sequence, a proxy volume for the sequence that it shows.

    Returns
    -------
    Sequence
        Frames are views of the nodes' voxels. Times come from the index values where their unit is ms or s.

    Raises
    ------
    InputError
        No voxels, frames that do not share one grid, not scalar, or under a non-linear transform.
    """
    sequence_node = sequence_node_of(node)
    if sequence_node is None:
        image = image_from_node(node)
        return Sequence(lambda t: image.array, 1, image.shape, image.affine, **_known(node))
    name, count = sequence_node.GetName(), sequence_node.GetNumberOfDataNodes()
    if count == 0:
        raise InputError(f"{name}: this sequence is empty; choose a sequence of volumes.")
    frames: list[Any] = []
    local = shape = None
    for t in range(count):
        frame = sequence_node.GetNthDataNode(t)
        if frame is None or not frame.IsA("vtkMRMLScalarVolumeNode"):
            raise InputError(f"{name}: frame {t + 1} is not a scalar volume; choose a sequence of volumes.")
        array, affine = image_array(frame.GetImageData(), name), local_affine(frame)
        if local is None:
            local, shape = affine, array.shape
        elif array.shape != shape or not np.allclose(affine, local, atol=1e-3):
            raise InputError(f"{name}: frame {t + 1} lies on another grid than frame 1; all frames must share one.")
        frames.append(frame)
    assert local is not None
    assert shape is not None
    proxy = proxy_of(sequence_node)
    world = (parent_matrix(proxy) if proxy is not None else np.eye(4)) @ local
    return Sequence(
        lambda t: image_array(frames[t].GetImageData(), name),
        count,
        shape,
        world,
        times_ms=_times_ms(sequence_node),
        **_known(sequence_node),
    )


def _times_ms(sequence_node: Any) -> Array | None:
    factor = _FACTOR_MS.get((sequence_node.GetIndexUnit() or "").strip().lower())
    count = sequence_node.GetNumberOfDataNodes()
    if factor is None or count < 2:
        return None
    try:
        times = np.array([float(sequence_node.GetNthIndexValue(t)) for t in range(count)]) * factor
    except ValueError:
        return None
    return times if np.isfinite(times).all() and (np.diff(times) > 0).all() else None


def _known(node: Any) -> dict[str, Any]:
    found = {}
    for key, read in _ATTRIBUTES.items():
        text = node.GetAttribute(_PREFIX + key)
        if text:
            found[key] = read(text)
    return found


def what(node: Any) -> str:
    return "no node" if node is None else f"{node.GetName()} ({node.GetClassName()})"


# -- volumes and sequences out -----------------------------------------------------------------------------------------
def image_to_node(batch: SceneBatch, image: Image, name: str, class_name: str = "vtkMRMLScalarVolumeNode") -> Any:
    """Add an Image as a volume node."""
    node = batch.add(class_name, name)
    node.SetIJKToRASMatrix(array_to_matrix(image.affine))
    node.SetAndObserveImageData(_vtk_image(image.array, vtk.vtkImageData()))
    node.CreateDefaultDisplayNodes()
    return node


def index_values(sequence: Sequence) -> tuple[list[str], str, str]:
    """Index values, name and unit of the frames: times in ms where known, else frame numbers from 0."""
    times = sequence.frame_time_ms()
    if times is None or len(set(np.round(times, 3))) != sequence.n_frames:
        return [str(t) for t in range(sequence.n_frames)], "frame", ""
    return [f"{time:.3f}".rstrip("0").rstrip(".") for time in times], "time", "ms"


def sequence_to_node(batch: SceneBatch, sequence: Sequence, name: str) -> tuple[Any, Any]:
    """Add a Sequence as a sequence node with a browser.

    Returns
    -------
    sequence_node, browser : vtkMRMLSequenceNode, vtkMRMLSequenceBrowserNode
    """
    node = batch.add("vtkMRMLSequenceNode", name)
    values, index_name, unit = index_values(sequence)
    node.SetIndexName(index_name)
    node.SetIndexUnit(unit)
    for key in _ATTRIBUTES:
        value = getattr(sequence, key)
        if value not in (None, "", False):
            node.SetAttribute(_PREFIX + key, "true" if value is True else str(value))
    matrix = array_to_matrix(sequence.affine)
    for t, value in enumerate(values):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetIJKToRASMatrix(matrix)
        frame.SetAndObserveImageData(_vtk_image(sequence.frame(t), vtk.vtkImageData()))
        node.SetDataNodeAtValue(frame, value)
    return node, browser_for(batch, node)


def browser_for(batch: SceneBatch, sequence_node: Any) -> Any:
    """The browser that shows a sequence; a new one where there is none. It has a proxy node afterwards."""
    browser = browser_of_sequence(sequence_node)
    if browser is None:
        browser = batch.add("vtkMRMLSequenceBrowserNode", f"{sequence_node.GetName()} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence_node.GetID())
    if browser.GetProxyNode(sequence_node) is None:
        selected = max(browser.GetSelectedItemNumber(), 0)
        proxy = browser.AddProxyNode(sequence_node.GetNthDataNode(selected), sequence_node, True)
        if proxy.GetDisplayNode() is None:
            proxy.CreateDefaultDisplayNodes()
    return browser


# -- segmentations -----------------------------------------------------------------------------------------------------
def _fill(node: Any, array: Array, affine: Array, segments: Iterable[Segment]) -> Any:
    """Fill a segmentation node with the labels of one frame; all segments share one labelmap."""
    labels = _vtk_image(np.asarray(array, np.uint8), slicer.vtkOrientedImageData())
    labels.SetGeometryFromImageToWorldMatrix(array_to_matrix(affine))
    content = node.GetSegmentation()
    content.SetSourceRepresentationName("Binary labelmap")
    content.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(labels),
    )
    for meaning in segments:
        segment = slicer.vtkSegment()
        segment.SetName(meaning.name)
        segment.SetColor(*meaning.color)
        segment.SetLabelValue(meaning.value)
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(meaning))
        segment.AddRepresentation("Binary labelmap", labels)
        content.AddSegment(segment, segment_id(meaning))
    return node


def segmentation_to_node(batch: SceneBatch, labels: LabelMap, t: int, name: str, reference: Any | None = None) -> Any:
    """Add frame `t` of a label map as a segmentation node, under the transform of its reference volume."""
    node = batch.add("vtkMRMLSegmentationNode", name)
    _fill(node, labels.array[t], _under(reference, labels.affine), labels.segments)
    node.CreateDefaultDisplayNodes()
    _refer(node, reference)
    return node


def segmentation_sequence_to_node(
    batch: SceneBatch,
    labels: LabelMap,
    input_sequence: Any,
    name: str,
) -> tuple[Any, Any, Any]:
    """Add a label map over time as a sequence of segmentations, synchronised with the input's browser.

    Parameters
    ----------
    input_sequence : vtkMRMLSequenceNode
        The sequence that was analysed; as many frames as the label map.

    Returns
    -------
    segmentation, sequence_node, browser
        The proxy that shows the current frame, the sequence of all frames, and the browser of the input.
    """
    count = input_sequence.GetNumberOfDataNodes()
    if count != len(labels.array):
        raise ValueError(f"{len(labels.array)} label frames for a sequence of {count}")
    browser = browser_for(batch, input_sequence)
    reference = browser.GetProxyNode(input_sequence)
    affine = _under(reference, labels.affine)
    node = batch.add("vtkMRMLSequenceNode", name)
    node.SetIndexName(input_sequence.GetIndexName())
    node.SetIndexUnit(input_sequence.GetIndexUnit())
    node.SetIndexType(input_sequence.GetIndexType())
    for t in range(count):
        frame = slicer.vtkMRMLSegmentationNode()
        frame.SetName(name)
        _fill(frame, labels.array[t], affine, labels.segments)
        node.SetDataNodeAtValue(frame, input_sequence.GetNthIndexValue(t))
    batch.on_failure(lambda: browser.RemoveSynchronizedSequenceNode(node.GetID()))
    browser.AddSynchronizedSequenceNode(node)
    proxy = browser.GetProxyNode(node)
    if proxy is None:
        proxy = browser.AddProxyNode(node.GetNthDataNode(max(browser.GetSelectedItemNumber(), 0)), node, True)
    if proxy.GetDisplayNode() is None:
        proxy.CreateDefaultDisplayNodes()
    _refer(proxy, reference)
    return proxy, node, browser


def _under(reference: Any | None, affine: Array) -> Array:
    """A world affine as seen under the reference's parent transform, so that results move with their input."""
    return affine if reference is None else np.linalg.inv(parent_matrix(reference)) @ affine


def _refer(node: Any, reference: Any | None) -> None:
    if reference is None:
        return
    transform = reference.GetParentTransformNode()
    node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), reference.GetID())


# -- a scene without the desktop ---------------------------------------------------------------------------------------
class MrmlApplication:
    """A MRML scene with the logics that keep sequences, segmentations and the subject hierarchy alive.

    For everything outside the desktop (tests, ``scene.mrb`` of the command line); inside it, use ``slicer.mrmlScene``.

    Parameters
    ----------
    cache : str
        A folder that exists; MRML unpacks scene bundles there.

    Attributes
    ----------
    scene : vtkMRMLScene
    """

    def __init__(self, cache: str):
        self.scene = slicer.vtkMRMLScene()
        self._cache = slicer.vtkCacheManager()
        self._cache.SetRemoteCacheDirectory(str(cache))
        self.scene.SetCacheManager(self._cache)
        self._io = slicer.vtkDataIOManager()
        self._io.SetCacheManager(self._cache)
        self.scene.SetDataIOManager(self._io)
        self._logics = [
            make()
            for make in (
                slicer.vtkSlicerSubjectHierarchyModuleLogic,
                slicer.vtkSlicerSequencesLogic,
                slicer.vtkSlicerSegmentationsModuleLogic,
            )
        ]
        for logic in self._logics:
            logic.SetMRMLScene(self.scene)

    def save(self, path: str) -> None:
        """Write the scene with all its data as a ``.mrb`` file, which the desktop opens."""
        if not self.scene.WriteToMRB(str(path)):
            raise OSError(f"{path}: the scene could not be written")

    def open(self, path: str) -> None:
        """Read a ``.mrb`` or ``.mrml`` file into the scene."""
        if str(path).lower().endswith(".mrb"):
            done = self.scene.ReadFromMRB(str(path))
        else:
            self.scene.SetURL(str(path))
            done = self.scene.Import()
        if not done:
            raise InputError(f"{path}: this file cannot be opened as a scene.")
