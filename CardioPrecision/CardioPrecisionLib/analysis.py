"""The one shape of every analysis, with progress and cancel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from .errors import Cancelled
from .image import Array
from .measurement import Code, Measurements, Patient

#: ``progress(fraction 0..1, stage)``; raises `Cancelled` when asked to stop.
Progress = Callable[[float, str], None]


def silent(fraction: float, stage: str) -> None:
    """A progress that says nothing and never stops."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """The share ``start..end`` of a longer progress."""
    return lambda fraction, stage: progress(start + (end - start) * min(max(fraction, 0.0), 1.0), stage)


def stoppable(progress: Progress, should_stop: Callable[[], bool]) -> Progress:
    """`progress` that raises `Cancelled` as soon as `should_stop` says so."""

    def checked(fraction: float, stage: str) -> None:
        if should_stop():
            raise Cancelled
        progress(fraction, stage)

    return checked


@dataclass(frozen=True)
class Segment:
    """One label of a label image and what it means.

    Attributes
    ----------
    value : int
        Voxel value.
    name : str
        English name as shown.
    color : tuple of float
        RGB 0..1.
    category, type, modifier : Code
        Terminology as in DICOM segmentation objects.
    """

    value: int
    name: str
    color: tuple[float, float, float]
    category: Code
    type: Code
    modifier: Code | None = None


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels on the input's grid, over time or for one frame.

    Attributes
    ----------
    array : numpy.ndarray
        ``(t, i, j, k)`` uint8; ``t`` is 1 for a static label map.
    affine : numpy.ndarray
        ``(4, 4)`` index to RAS mm.
    segments : tuple of Segment
    key_frames : mapping
        Named frames (``{"ed": 0, "es": 8}``), the first of which is written as ``segmentation.seg.nrrd``.
    """

    array: Array
    affine: Array
    segments: tuple[Segment, ...]
    key_frames: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A small table for the report, the CSV front and MRML: equal-length columns with a unit each."""

    name: str
    title: str
    columns: Mapping[str, list[Any]]
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A finished picture for the report.

    Attributes
    ----------
    name, title, caption : str
    data : bytes
        The picture file, or an HTML fragment.
    mime : str
        ``image/png``, ``image/svg+xml``, ``image/jpeg`` or ``text/html`` (own markup only).
    """

    name: str
    title: str
    caption: str
    data: bytes
    mime: str = "image/png"


@dataclass(frozen=True)
class Section:
    """A part of the report that an analysis writes itself, after the figures.

    Attributes
    ----------
    name, title : str
    html : str
        Own markup; every value in it is escaped.
    measurements : bool
        It shows the measurements, so that the general table of them is left out.
    """

    name: str
    title: str
    html: str
    measurements: bool = False


@dataclass
class Result:
    """What an analysis found.

    Attributes
    ----------
    measurements : Measurements
    labels : LabelMap or None
    tables, figures : list
    warnings : list of str
        Sentences for the user, each saying what, where and what it means.
    record : dict
        JSON-able facts for the run record: models and their hashes, device, precision, fall-backs, seconds by stage.
    sections : list of Section
    titles : dict
        Measurement name to words, where `report.names.title_of` does not know them.
    documents : dict
        Further files of the run, ``{"record": {…}}`` for ``record.json``.
    patient : Patient or None
        Where the analysis knows more of the patient than headers and clinical file say.
    """

    measurements: Measurements = field(default_factory=Measurements)
    labels: LabelMap | None = None
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    patient: Patient | None = None


@dataclass(frozen=True)
class Input:
    """One role that an analysis reads: ``cine_sax``, ``ccta``, …

    Of a role that takes `many` files the further ones are given as ``ROLE_2``, ``ROLE_3``, …
    """

    role: str
    title: str
    required: bool = True
    many: bool = False

    def takes(self, name: str) -> bool:
        """Whether an input given as `name` is of this role."""
        number = name.removeprefix(f"{self.role}_")
        return name == self.role or (self.many and number != name and number.isdecimal())


@dataclass
class Loaded:
    """An input as an analysis reads it.

    Attributes
    ----------
    data : Image or Sequence
    patient : Patient
        What the header says; nothing from a header-less file.
    warnings : list of str
        Findings of the reader that a user must see.
    record : dict
        JSON-able description for the run record: series UIDs, voxel hash, size, vendor; no identifiers.
    unusable : str or None
        Why nothing can be measured on this input although it was read: the run is done and reports
        ``not_assessable`` throughout (exit code 3).
    """

    data: Any
    patient: Patient = field(default_factory=Patient)
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    unusable: str | None = None


@runtime_checkable
class Analysis(Protocol):
    """Every analysis has this shape, so that any front can run any of them.

    It may also say ``time_resolved = False`` (its input has no frames), ``labels_option`` (a second name for the option
    ``--labels``) and ``empty_labels = True`` (a label file without labels is a finding, not a mistake). A field of its
    `Parameters` with ``metadata={"clinical": NAME}`` takes the entered clinical value of that name where the parameter
    itself is not given.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    inputs: ClassVar[tuple[Input, ...]]
    Parameters: ClassVar[type]
    #: What its labels mean; empty where it makes none.
    segments: ClassVar[tuple[Segment, ...]]
    #: Other numberings that a reader's labels may come in: scheme -> {their value: ours}.
    label_schemes: ClassVar[Mapping[str, Mapping[int, int]]]
    #: MONAI bundles that it runs unless labels are given.
    bundles: ClassVar[tuple[str, ...]]

    def load(self, role: str, path: str, progress: Progress) -> Loaded:
        """Read the input for `role` from a file or folder."""
        ...

    def run(
        self,
        inputs: Mapping[str, Loaded],
        parameters: Any,
        progress: Progress,
        *,
        patient: Patient,
        labels: LabelMap | None = None,
    ) -> Result:
        """Analyse. `labels` are a reader's own, used instead of the model's."""
        ...
