"""The list of recordings, and what a cohort's schema has to say of the table that is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from CardioPrecisionLib.errors import InputError

from ..fusion.cohort_table import CellTable
from ..fusion.join_table import ID as PATIENT
from ..fusion.join_table import VISIT

RECORDING = "recording"


@dataclass(frozen=True)
class Listed:
    """A line of the list."""

    patient: str
    visit: str | None
    path: Path
    place: str


def read_list(path: Path, patients: bool = True) -> list[Listed]:
    """Read a list of recordings.

    Parameters
    ----------
    path : Path
        Columns ``recording`` (a path, from the folder of the list), ``patient_id`` and, where there is one, ``visit``.
    patients : bool
        ``patient_id`` is needed.

    Raises
    ------
    InputError
        A column or a cell is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    table = CellTable.of_csv(path, "the list is empty; it needs a header line and a line per recording")
    names = table.column(RECORDING, "which says where the recordings are")
    blank = ("",) * len(names)
    who = table.column(PATIENT, "which tells patients apart") if patients else table.cells.get(PATIENT, blank)
    visits = table.cells.get(VISIT)
    listed = []
    for i, name in enumerate(word.strip() for word in names):
        if not name or (patients and not who[i].strip()):
            raise InputError(f"{table.place(i)}: {PATIENT if name else RECORDING} is empty; every line needs it.")
        if "://" in name:
            raise InputError(f"{table.place(i)}: this is an address; recordings are read from files of this machine.")
        visit = visits[i].strip() if visits is not None else None
        listed.append(Listed(who[i].strip(), visit, path.parent / name, table.place(i)))
    return listed


def modality_lines(names: Mapping[str, str], columns: Mapping[str, Sequence[str]], apart: Sequence[str]) -> list[str]:
    """Lines for a cohort schema.

    Parameters
    ----------
    names : mapping
        Column -> modality.
    columns : mapping
        Column -> its cells.
    apart : sequence of str
        Columns that are no predictors.

    Returns
    -------
    list of str
        ``modalities:`` with the columns that differ between rows, ``exclude:`` with all others: a column that is empty
        or always the same is refused there.
    """
    used: dict[str, list[str]] = {}
    left = list(apart)
    for name, modality in names.items():
        known = {cell for cell in columns[name] if cell}
        if len(known) > 1:
            used.setdefault(modality, []).append(name)
        else:
            left.append(name)
    lines = ["modalities:"] + [f"  {modality}: [{', '.join(group)}]" for modality, group in used.items()]
    return (lines if used else []) + [f"exclude: [{', '.join(left)}]"]
