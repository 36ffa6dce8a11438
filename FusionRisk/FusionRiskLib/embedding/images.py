"""The list of images, and reading one of them with the project's own readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from CardioPrecisionLib.analysis import Progress, silent
from CardioPrecisionLib.bundle.registry import Bundle
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Sequence, is_image_file, read_frames

from ..fusion.cohort_table import CellTable

ID, IMAGE, VISIT = "patient_id", "image", "visit"


@dataclass(frozen=True)
class ListedImage:
    """A line of the list.

    Attributes
    ----------
    line : int
        In the file, for messages: a patient is never named.
    patient, visit : str
    path : Path
        Absolute, or relative to the list's folder.
    """

    line: int
    patient: str
    visit: str
    path: Path


def read_list(path: Path) -> tuple[list[ListedImage], bool]:
    """The images of a list, and whether it has visits.

    Parameters
    ----------
    path : Path
        CSV with the columns ``patient_id``, ``image`` (relative to the list) and maybe ``visit``.

    Raises
    ------
    InputError
        No table, a column missing, an empty cell, or the same line twice.
    """
    table = CellTable.of_csv(path, "the list is empty; it needs a header line and a line per image")
    patients = table.column(ID, "which tells patients apart")
    images = table.column(IMAGE, "which says where the images are")
    with_visits = VISIT in table.cells
    visits = table.cells[VISIT] if with_visits else ("",) * len(images)
    found: list[ListedImage] = []
    seen: dict[tuple[str, str, str], int] = {}
    for i, (patient, image, visit) in enumerate(zip(patients, images, visits, strict=True)):
        key = (patient.strip(), visit.strip(), image.strip())
        for name, cell in ((ID, key[0]), (IMAGE, key[2])):
            if not cell:
                raise InputError(f"{table.place(i)}: {name} is empty; every line needs it.")
        if key in seen:
            raise InputError(f"{table.place(i)}: the image of line {seen[key]} is there again; keep it once.")
        seen[key] = table.lines[i]
        found.append(ListedImage(table.lines[i], key[0], key[1], path.parent / key[2]))
    return found, with_visits


def read_image(path: Path, bundle: Bundle, progress: Progress = silent) -> tuple[Sequence, list[str]]:
    """One image as frames on a grid, and what its reader found odd.

    Parameters
    ----------
    path : Path
        An image file, or a folder of DICOM (or one DICOM file): for bundles of MR the short-axis cine in it, for
        bundles of CT the volume.
    bundle : Bundle

    Raises
    ------
    InputError
        There is none, or it cannot stand for the whole: a stack with gaps, values that are no HU.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    kind = str(bundle.settings.get("modality", ""))
    if kind == "CT":
        from CardioPrecisionLib.dicom.ct import load_ct

        volume = load_ct(path, progress)
        if not volume.usable:
            raise InputError(f"{path}: {volume.unusable_reason}")
        image = Sequence.from_array(volume.image.array[None], volume.image.affine, modality="CT")
        return image, [f.message for f in volume.findings if f.severity == "warning"]
    if path.is_file() and is_image_file(path):
        array, affine, _ = read_frames(path)
        return Sequence.from_array(array, affine), []
    if kind != "MR":
        raise InputError(
            f"{path}: bundle {bundle.name} does not say that it is for MR or CT, so DICOM is not read for it; give "
            "image files."
        )
    from CardioPrecisionLib.dicom.cine import load_cine_sax

    stack = load_cine_sax(path, progress)
    if not stack.usable:
        raise InputError(f"{path}: {stack.unusable_reason}")
    return stack.sequence, [f.message for f in stack.findings if f.severity == "warning"]
