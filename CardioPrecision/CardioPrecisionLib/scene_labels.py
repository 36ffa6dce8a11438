"""A reader's segmentation or label volume nodes as a label map on the grid of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from . import labels as label_files
from .analysis import LabelMap, Segment
from .errors import InputError
from .image import Array, Image, Sequence
from .measurement import Code
from .scene import image_array, local_affine, matrix_to_array, parent_matrix, proxy_of, sequence_node_of, what
from .segfile import StoredSegment


def labels_from_node(
    node: Any,
    grid: Sequence,
    segments: tuple[Segment, ...],
    *,
    input_node: Any | None = None,
    ed_frame: int | None = None,
    es_frame: int | None = None,
    empty: bool = False,
) -> LabelMap:
    """A reader's labels on the grid of `grid`; frames without labels stay empty.

    Parameters
    ----------
    node : vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, or a sequence or sequence proxy of either
        Segments of a segmentation are known by their coded type, else by their name; voxels of a label volume hold
        the values of `segments`.
    grid : Sequence
        The image that the labels belong to.
    segments : tuple of Segment
        What the analysis reads.
    input_node : vtkMRMLNode, optional
        The node that `grid` came from. A label sequence with fewer frames belongs to its frames with the same index
        values.
    ed_frame, es_frame : int, optional
        Frames, counted from 1, that labels without a time axis of their own belong to.
    empty : bool
        Whether a node without any label says something (that there is nothing) rather than being a mistake.

    Raises
    ------
    InputError
        None of the labels is in the node, or it does not say which frames they belong to.
    """
    sequence_node = sequence_node_of(node)
    if sequence_node is None:
        frames, parent = [node], parent_matrix(node) if node is not None else np.eye(4)
    else:
        frames = [sequence_node.GetNthDataNode(t) for t in range(sequence_node.GetNumberOfDataNodes())]
        proxy = proxy_of(sequence_node)
        parent = parent_matrix(proxy) if proxy is not None else np.eye(4)
    named = {name: frame - 1 for name, frame in (("ed", ed_frame), ("es", es_frame)) if frame is not None}
    numbers = _frame_numbers(node, sequence_node, len(frames), grid.n_frames, input_node, named)
    array = np.zeros((grid.n_frames, *grid.shape), np.uint8)
    for number, frame in zip(numbers, frames, strict=True):
        _draw(array[number], frame, parent, grid.affine, segments)
    if not array.any() and not empty:
        names = ", ".join(segment.name for segment in segments)
        raise InputError(f"{what(node)}: it holds none of the labels that are read here ({names}) inside the image.")
    return LabelMap(array, grid.affine, segments, named)


def _frame_numbers(
    node: Any, sequence_node: Any | None, count: int, n_frames: int, input_node: Any | None, named: dict[str, int]
) -> list[int]:
    """The frame of the image that each frame of labels belongs to."""
    if any(not 0 <= frame < n_frames for frame in named.values()):
        raise InputError(f"The image has frames 1 to {n_frames}; choose the frames of ED and ES among them.")
    if count == n_frames:
        return list(range(n_frames))
    image_sequence = sequence_node_of(input_node)
    if sequence_node is not None and image_sequence is not None:
        place = {image_sequence.GetNthIndexValue(t): t for t in range(n_frames)}
        values = [sequence_node.GetNthIndexValue(t) for t in range(count)]
        if all(value in place for value in values):
            return [place[value] for value in values]
    if count == len(named):
        return sorted(named.values()) if sequence_node is not None else list(named.values())
    raise InputError(
        f"{what(node)}: {count} frame(s) of labels for {n_frames} of the image; give labels for every frame, or a "
        "sequence with the index values of the image's, or say which frame is ED or ES."
    )


def _draw(target: Array, frame: Any, parent: Array, affine: Array, segments: tuple[Segment, ...]) -> None:
    """Draw the labels of one node into ``target``, nearest voxel; a cavity wins over the wall around it."""
    if frame is not None and frame.IsA("vtkMRMLLabelMapVolumeNode"):
        values = {segment.value: segment.value for segment in segments}
        voxels = image_array(frame.GetImageData(), frame.GetName())
        _paste(target, voxels, parent @ local_affine(frame), affine, values)
        return
    if frame is None or not frame.IsA("vtkMRMLSegmentationNode"):
        raise InputError(f"{what(frame)}: a segmentation or a label volume is needed as labels.")
    content = frame.GetSegmentation()
    if not content.ContainsRepresentation("Binary labelmap") and not content.CreateRepresentation("Binary labelmap"):
        raise InputError(
            f"{what(frame)}: its segments cannot be made into voxels; create the binary labelmap in the "
            "module Segmentations."
        )
    found = []
    for identity in content.GetSegmentIDs():
        segment = content.GetSegment(identity)
        value = _meaning(segment, segments)
        if value is not None:
            found.append((value, segment))
    walls = {segment.value for segment in segments if "myocardium" in segment.type.meaning.lower()}
    for value, segment in sorted(found, key=lambda pair: pair[0] not in walls):
        voxels = segment.GetRepresentation("Binary labelmap")
        if voxels is None or voxels.IsEmpty():
            continue
        matrix = vtk.vtkMatrix4x4()
        voxels.GetImageToWorldMatrix(matrix)
        corner = np.eye(4)
        corner[:3, 3] = voxels.GetExtent()[::2]
        source = parent @ matrix_to_array(matrix) @ corner
        _paste(target, image_array(voxels, frame.GetName()), source, affine, {int(segment.GetLabelValue()): value})


def _meaning(segment: Any, segments: tuple[Segment, ...]) -> int | None:
    """Our value for a MRML segment, by the same rules as for label files: by coded type, then by name."""
    parts = str(segment.GetTerminology() or "").split("~")
    coded = parts[2].split("^") if len(parts) > 2 else []
    code = Code(*coded[:3]) if len(coded) >= 3 and coded[1] else None
    return label_files.meaning_of(StoredSegment(segment.GetName() or "", 0, 0, code), segments)


def _paste(target: Array, labels: Array, source: Array, affine: Array, values: dict[int, int]) -> None:
    """Write `values[label]` into `target` where a voxel's nearest voxel in `labels` has that label."""
    wanted = np.zeros(labels.shape, np.uint8)
    for label, value in values.items():
        wanted[labels == label] = value
    shape = (target.shape[0], target.shape[1], target.shape[2])
    moved = Image(wanted, source).resample(affine, shape, order=0).array
    np.copyto(target, moved, where=moved > 0)
