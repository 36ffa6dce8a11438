"""The output folder of a run: checked before the work starts, complete or not there at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from . import record as run_record
from .analysis import LabelMap, Result, Table
from .errors import InputError
from .measurement import Patient, document, validate, write_csv

RECORD = "run.json"
#: Files that operating systems leave in any folder.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


def partial_prefix(path: Path, pid: int) -> str:
    """How the temporary folder of process `pid` for the output `path` begins."""
    return f".{path.name}.partial-{pid}-"


def _earlier_files(path: Path) -> set[str] | None:
    """The files that the run in this folder wrote; None where it is not one of our runs."""
    try:
        earlier = json.loads((path / RECORD).read_text(encoding="utf-8"))
        if earlier.get("schema") != run_record.SCHEMA:
            return None
        return {RECORD, *earlier["outputs"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class OutputFolder:
    """A folder that appears complete or not at all; a context manager.

    Everything is written below `work` and moved into place by `commit`. Without `commit`, or on any error, nothing is
    left behind and an earlier run stays as it was.

    Parameters
    ----------
    path : path
        The folder to make. An earlier run of ours in it is replaced; anything else in it is not touched.

    Raises
    ------
    InputError
        On entering, where the folder cannot be written, is a file, or holds something that is not an earlier run.

    Examples
    --------
    >>> with OutputFolder("run") as out:  # doctest: +SKIP
    ...     (out.work / "run.json").write_text("{}")
    ...     out.commit()
    """

    def __init__(self, path: str | Path):
        self.shown = Path(path)
        self.path = Path(os.path.abspath(path))
        if self.path.is_symlink():  # replace what the link leads to, not the link
            self.path = self.path.resolve()
        self.work = self.path
        self._made: list[Path] = []
        self._in_place = False

    # -- before the work ---------------------------------------------------------------------------------------------
    def check(self) -> None:
        """Refuse what must not be overwritten, without touching anything."""
        path, shown = self.path, self.shown
        ancestor = path
        while not ancestor.exists() and ancestor != ancestor.parent:
            ancestor = ancestor.parent
        if not ancestor.is_dir():
            what = "is a file" if ancestor == path else f"lies below {ancestor.name}, which is a file"
            raise InputError(f"{shown}: the output folder {what}; choose another name with -o.")
        if not path.exists():
            return
        try:
            present = {entry.name for entry in path.iterdir()} - _LITTER
            # What a killed process left; a run that works in here right now has such a folder, too.
            present = {name for name in present if not name.startswith(f".{path.name}.partial-")}
        except OSError as error:
            raise InputError(f"{shown}: the output folder cannot be read ({error.strerror}).") from None
        if not present:
            return
        earlier = _earlier_files(path)
        if earlier is None:
            raise InputError(
                f"{shown}: this folder holds other files and is not an earlier run; nothing was written. "
                "Choose a new or empty folder with -o."
            )
        foreign = sorted(present - earlier)
        if foreign:
            raise InputError(
                f"{shown}: besides an earlier run this folder holds {foreign[0]}"
                f"{' and more' if len(foreign) > 1 else ''}; nothing was written. Move it or choose "
                "another folder with -o."
            )

    def __enter__(self) -> OutputFolder:
        self.check()
        parent = self.path.parent
        missing = []
        while not parent.exists():
            missing.append(parent)
            parent = parent.parent
        try:
            for folder in reversed(missing):
                folder.mkdir()
                self._made.append(folder)
            self.work = self._make_work()
        except OSError as error:
            self._remove_made()
            raise InputError(
                f"{self.shown}: the output folder cannot be written ({error.strerror}); choose another one with -o."
            ) from None
        return self

    def _make_work(self) -> Path:
        name = partial_prefix(self.path, os.getpid()) + secrets.token_hex(3)
        # A mounted folder (a container's volume), the current folder or one in a locked parent cannot be renamed:
        # there the files are made inside and moved one by one, the record last.
        self._in_place = self.path.is_dir() and (os.path.ismount(self.path) or Path.cwd().is_relative_to(self.path))
        if not self._in_place:
            try:
                work = self.path.parent / name
                work.mkdir()
                return work
            except PermissionError:
                if not self.path.is_dir():
                    raise
                self._in_place = True
        work = self.path / name
        work.mkdir()
        return work

    # -- after it ----------------------------------------------------------------------------------------------------
    def commit(self) -> None:
        """Move the finished files into place, replacing an earlier run."""
        self.check()  # something may have come into the folder during the run
        if self._in_place:
            self._commit_in_place()
            return
        old = None
        if self.path.exists():
            old = self.path.with_name(f".{self.path.name}.replaced-{secrets.token_hex(4)}")
            self.path.rename(old)
        try:
            self.work.rename(self.path)
        except OSError:
            if old is not None:
                old.rename(self.path)
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
        self._made.clear()

    def _commit_in_place(self) -> None:
        new = sorted((entry.name for entry in self.work.iterdir()), key=lambda name: name == RECORD)
        for name in (_earlier_files(self.path) or set()) - set(new):
            (self.path / name).unlink(missing_ok=True)
        for name in new:
            os.replace(self.work / name, self.path / name)
        self.work.rmdir()
        self._made.clear()

    def _remove_made(self) -> None:
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:  # someone else put something into it
                break
        self._made.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.work != self.path:
            shutil.rmtree(self.work, ignore_errors=True)
        self._remove_made()


# -- what a run writes -------------------------------------------------------------------------------------------------
def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _write_table(path: Path, table: Table) -> None:
    import csv

    names = list(table.columns)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in zip(*(table.columns[name] for name in names), strict=True):
            writer.writerow(["" if value is None else value for value in row])


def _write_labels(folder: Path, labels: LabelMap, frame_ms: float | None) -> None:
    from .image import write_nifti
    from .segfile import write_seg_nrrd

    array = labels.array
    write_nifti(folder / "segmentation.nii.gz", array if array.shape[0] > 1 else array[0], labels.affine, frame_ms)
    frames = list(labels.key_frames.items()) or [("", 0)]
    written: set[int] = set()
    for place, (name, frame) in enumerate(frames):
        if frame in written:
            continue
        written.add(frame)
        file = "segmentation.seg.nrrd" if place == 0 else f"segmentation_{name}.seg.nrrd"
        write_seg_nrrd(folder / file, array[frame], labels.affine, labels.segments)


def write_run(
    folder: Path,
    title: str,
    result: Result,
    patient: Patient,
    record: run_record.RunRecord,
    *,
    frame_ms: float | None = None,
) -> dict[str, Any]:
    """Write the files of a finished run.

    Parameters
    ----------
    folder : Path
        An empty folder, usually `OutputFolder.work`.
    title : str
        The analysis' title, for the report.
    result : Result
    patient : Patient
    record : RunRecord
    frame_ms : float, optional
        Time between frames, for the 4-D NIfTI's header.

    Returns
    -------
    dict
        The content of ``measurements.json``, which depends on input and parameters only: on no time, path or machine.
    """
    started = time.perf_counter()
    content = document(record.analysis, patient, result.measurements, result.warnings)
    measured: dict[str, Any] = run_record.json_able(content)
    validate(measured)
    _write_json(folder / "measurements.json", measured)
    with open(folder / "measurements.csv", "w", encoding="utf-8", newline="") as file:
        write_csv(result.measurements, file)
    record.seconds["write"] = round(time.perf_counter() - started, 3)
    write_page(folder, title, result, patient, record, frame_ms=frame_ms)
    return measured


def write_page(
    folder: Path,
    title: str,
    result: Result,
    patient: Patient,
    record: run_record.RunRecord,
    *,
    frame_ms: float | None = None,
) -> None:
    """Write what a run gives besides measurements: tables, documents, labels, ``report.html`` and, last, ``run.json``.

    Parameters as of `write_run`.
    """
    from .report import render

    started = time.perf_counter()
    for table in result.tables:
        _write_table(folder / f"{table.name}.csv", table)
    for name, extra in result.documents.items():
        _write_json(folder / f"{name}.json", run_record.json_able(extra))
    if result.labels is not None:
        _write_labels(folder, result.labels, frame_ms)
    facts = result.record
    page = render(title, result, patient, record.to_json(facts, result.warnings, {}))
    (folder / "report.html").write_text(page, encoding="utf-8")
    record.seconds["write"] = round(record.seconds.get("write", 0.0) + time.perf_counter() - started, 3)
    outputs = {name: run_record.file_sha256(folder / name) for name in _names(folder)}
    finished = record.to_json(facts, result.warnings, outputs)
    run_record.validate(finished)
    _write_json(folder / RECORD, finished)


def _names(folder: Path) -> Iterable[str]:
    return sorted(entry.name for entry in folder.iterdir())
