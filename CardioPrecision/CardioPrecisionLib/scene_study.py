"""What a scene holds that the modules can analyse: its volumes and cines, what each is for, and what follows from it.

A front: it asks the analyses what an image looks like. Uses nothing of the desktop.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .analysis import Loaded, Progress, part, silent
from .errors import InputError
from .measurement import Patient
from .scene import image_array, image_from_node, image_to_node, sequence_node_of, sequence_to_node, shown_volume
from .scene_batch import RUN_ATTRIBUTE, SceneBatch, nodes_of
from .scene_tables import ANALYSIS_ATTRIBUTE

#: Attribute of a volume node: the role that a user has chosen for it.
ROLE_ATTRIBUTE = "CardioPrecision.Role"
#: Role -> the analysis that it feeds; the empty role feeds none.
ANALYSES = {"cine_sax": "lv-function", "cardiac_ct": "calcium", "ccta": "plaque", "": ""}
ROLES = tuple(ANALYSES)
#: The empty role as an attribute: an empty attribute would be none at all.
_NONE = "none"
#: A CT shows air; MR, ultrasound and maps do not go below this.
_AIR_HU = -300.0


@dataclass(frozen=True)
class Series:
    """One image of a scene.

    Attributes
    ----------
    node : vtkMRMLScalarVolumeNode
        The volume, or the one that shows the cine.
    role : str
        See `ROLES`.
    why : str
        Why it was taken for that; "chosen" where a user did.
    shape : str
        What it measures, for a list.
    """

    node: Any
    role: str
    why: str
    shape: str

    @property
    def analysis(self) -> str:
        return ANALYSES[self.role]


def series_of(scene: Any) -> list[Series]:
    """The images of a scene in its order; what the analyses themselves have added is left out."""
    made = {
        node.GetAttribute(RUN_ATTRIBUTE)
        for node in nodes_of(scene)
        if node.IsA("vtkMRMLTableNode") and node.GetAttribute(ANALYSIS_ATTRIBUTE)
    }
    found = []
    for node in nodes_of(scene):
        if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
            continue
        if node.GetImageData() is None or (node.GetAttribute(RUN_ATTRIBUTE) or None) in made:
            continue
        chosen = node.GetAttribute(ROLE_ATTRIBUTE)
        known = "" if chosen == _NONE else chosen
        role, why = (known, "chosen") if known in ROLES else guess(node)
        found.append(Series(node, role, why, _shape(node)))
    return found


def choose(series: Series, role: str) -> None:
    """Keep the role that a user has chosen; it is saved with the scene."""
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role")
    series.node.SetAttribute(ROLE_ATTRIBUTE, role or _NONE)


def guess(node: Any) -> tuple[str, str]:
    """What a volume is for, and why it is thought so; looked at once as long as its voxels stay the same.

    Returns
    -------
    role, why : str
    """
    key = (node.GetID(), node.GetImageData().GetMTime())  # VTK counts changes over all objects: never the same twice
    if key not in _guessed:
        while len(_guessed) > _REMEMBERED:
            _guessed.pop(next(iter(_guessed)))
        _guessed[key] = _guess(node)
    return _guessed[key]


_REMEMBERED = 100
_guessed: dict[tuple[str, int], tuple[str, str]] = {}


def _guess(node: Any) -> tuple[str, str]:
    sequence = sequence_node_of(node)
    if sequence is not None and sequence.GetNumberOfDataNodes() > 1:
        return "cine_sax", "it has frames over time"
    array = image_array(node.GetImageData(), node.GetName())
    if float(array[::4, ::4, ::4].min()) > _AIR_HU:
        return "", "no frames over time, and no air as on CT"
    hu = contrast_hu(node)
    if hu is None:
        return "cardiac_ct", "CT without bright blood"
    return "ccta", f"CT with contrast: blood measures {hu:.0f} HU"


def contrast_hu(node: Any) -> float | None:
    """How bright the blood of a CT is, where it is brighter than without contrast.

    None, too, where Coronary Plaque is not installed.
    """
    try:
        from CoronaryPlaqueLib.contrast import bright_body
        from CoronaryPlaqueLib.territory import coarse
    except ImportError:
        return None
    hu, _inside, _affine = coarse(image_from_node(node))
    return bright_body(hu)


def _shape(node: Any) -> str:
    size = " × ".join(str(n) for n in node.GetImageData().GetDimensions())
    sequence = sequence_node_of(node)
    return size if sequence is None else f"{size}, {sequence.GetNumberOfDataNodes()} frames"


def steps_of(scene: Any) -> list[tuple[str, Any]]:
    """What "run everything" does, in its order: images first, then the clinical record that is joined with them.

    Returns
    -------
    list of (analysis, node)
        The node is a volume; for ``risk`` the text node of the record.
    """
    steps = [(series.analysis, shown_volume(series.node)) for series in series_of(scene) if series.analysis]
    try:
        from FusionRiskLib.scene_logic import record_nodes
    except ImportError:
        return steps
    return steps + [("risk", node) for node in record_nodes(scene)[:1]]


@dataclass(frozen=True)
class Opened:
    """A study that was read into a scene.

    Attributes
    ----------
    node : vtkMRMLScalarVolumeNode
        The volume, or the one that shows the cine.
    patient : Patient
        What the header says.
    warnings : list of str
        Findings of the reader that a user must see.
    """

    node: Any
    patient: Patient
    warnings: list[str]


def read_study(role: str, path: str | Path, progress: Progress = silent) -> Loaded:
    """Read what the analysis of a role takes out of a folder of DICOM, or a file.

    Its own reader is used, so that a scene holds the voxels that the command line would measure.

    Raises
    ------
    InputError
        There is nothing for the analysis, its module is not installed, or what there is cannot be measured; says what
        was found.
    """
    from .fronts.registry import get_analysis

    loaded = get_analysis(ANALYSES[role]).load(role, str(path), progress)
    if loaded.unusable:
        raise InputError(f"{path}: {loaded.unusable}")
    return loaded


def add_image(batch: SceneBatch, role: str, data: Any, name: str) -> Any:
    """Put an image or a cine into the scene.

    Returns
    -------
    vtkMRMLScalarVolumeNode
        The volume, or the one that shows the cine.
    """
    if role == "cine_sax":
        sequence, browser = sequence_to_node(batch, data, name)
        node = browser.GetProxyNode(sequence)
    else:
        node = image_to_node(batch, data, name)
    batch.item(node)
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    return node


def open_study(scene: Any, role: str, path: str | Path, name: str, progress: Progress = silent) -> Opened:
    """Read a study as `read_study` and put it into the scene, all or nothing.

    Parameters
    ----------
    role : str
        See `ROLES`.
    path : str or Path
    name : str
        Of the node; never taken from the header, which may name the patient.

    Raises
    ------
    InputError
        As `read_study`.
    """
    loaded = read_study(role, path, part(progress, 0.0, 0.9))
    progress(0.9, "Filling the scene")
    with SceneBatch(scene, uuid.uuid4().hex) as batch:
        node = add_image(batch, role, loaded.data, name)
        progress(1.0, "Filling the scene")  # a last chance to cancel, while all of it can still go
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return Opened(node, loaded.patient, list(loaded.warnings))
