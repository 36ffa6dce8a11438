"""The one route of a run: load, patient, analyse, write. Every front takes it."""

from __future__ import annotations

import dataclasses
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis import Analysis, Loaded, Progress, Result, part, silent
from ..errors import InputError, NothingAssessable
from ..labels import LabelSource, read_labels
from ..measurement import Patient
from ..output import OutputFolder, write_run
from ..patient import Clinical, merge, read_clinical
from ..record import RunRecord, json_able
from .registry import get_analysis


@dataclass(frozen=True)
class RunOutcome:
    """A finished run.

    Attributes
    ----------
    output : Path
    title : str
    result : Result
        With the warnings of every stage.
    document : dict
        The content of ``measurements.json``.
    seconds : float
    """

    output: Path
    title: str
    result: Result
    document: dict[str, Any]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, or 3 where nothing was assessable."""
        return 0 if self.result.measurements.assessable else NothingAssessable.exit_code


def make_parameters(analysis: Analysis, given: Mapping[str, Any] | None) -> Any:
    """The analysis' frozen parameters from names and values; unknown names and bad values are `InputError`."""
    known = {field.name for field in dataclasses.fields(analysis.Parameters)}
    given = dict(given or {})
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f"{analysis.name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    try:
        return analysis.Parameters(**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{analysis.name}: {error}") from None


def _from_clinical(analysis: Analysis, entered: Clinical | None) -> dict[str, Any]:
    """Parameters that a clinical file fills: fields with ``metadata={"clinical": name}``."""
    wanted = {field.metadata.get("clinical"): field.name for field in dataclasses.fields(analysis.Parameters)}
    entered_fields = entered.fields if entered is not None else {}
    return {wanted[name]: value for name, value in entered_fields.items() if name in wanted}


def _checked_inputs(analysis: Analysis, inputs: Mapping[str, str | Path]) -> dict[str, str]:
    roles = {given.role: given for given in analysis.inputs}
    for role in inputs:
        if _role_of(analysis, role) is None:
            raise InputError(f"{analysis.name} has no input '{role}'; it has {', '.join(roles)}.")
    for role, wanted in roles.items():
        if wanted.required and role not in inputs:
            raise InputError(f"{analysis.name} needs the input '{role}' ({wanted.title}).")
    for path in inputs.values():
        if not Path(path).exists():
            raise InputError(f"{path}: there is no such file or folder.")
    return {role: str(path) for role, path in inputs.items()}


def _role_of(analysis: Analysis, name: str) -> str | None:
    """The role that an input is given for: ``measurements`` of ``measurements_2``; None where there is none."""
    return next((given.role for given in analysis.inputs if given.takes(name)), None)


def _patient(loaded: Mapping[str, Loaded], clinical: Clinical | None) -> tuple[Patient, list[str]]:
    """The patient of the first input with a header that says something, and what was entered."""
    patients = [given.patient for given in loaded.values()]
    header = next((p for p in patients if p != Patient()), Patient())
    keys = {p.key for p in patients if p.key}
    if len(keys) > 1:
        raise InputError("The inputs are of different patients.")
    return merge(header, clinical.patient) if clinical else (header, [])


def _described(role: str, path: str, loaded: Loaded) -> dict[str, Any]:
    """An input for the record: what the reader said of it, and a hash of its voxels."""
    facts: dict[str, Any] = json_able(loaded.record)
    if "voxel_hash" not in facts and hasattr(loaded.data, "voxel_hash"):
        facts["voxel_hash"] = loaded.data.voxel_hash()
    return {**facts, "role": role, "path": path}


def _unique(*parts: list[str]) -> list[str]:
    return list(dict.fromkeys(text for texts in parts for text in texts))


def _frame_ms(loaded: Mapping[str, Loaded]) -> float | None:
    for given in loaded.values():
        times = given.data.frame_time_ms() if hasattr(given.data, "frame_time_ms") else None
        if times is not None and len(times) > 1:
            return float((times[-1] - times[0]) / (len(times) - 1))
    return None


def require_licences(analysis: Analysis) -> None:
    """Refuse where the weights that an analysis needs are under a licence that nobody has accepted.

    The analysis does so itself, after it has read its input: a wrong input is worth knowing first. This is for fronts
    that have something costly to do before.
    """
    names = getattr(analysis, "bundles", ())
    if names:
        from ..bundle import licence, registry

        for name in names:
            licence.require(registry.get_bundle(name))


def run_analysis(
    name: str,
    inputs: Mapping[str, str | Path],
    output: str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    clinical: str | Path | None = None,
    labels: LabelSource | None = None,
    progress: Progress = silent,
    command: list[str] | None = None,
) -> RunOutcome:
    """Run one analysis on one patient and write its output folder.

    Parameters
    ----------
    name : str
        As in the registry, ``"lv-function"``.
    inputs : mapping
        Role to file or folder.
    output : path
        The folder to make; an earlier run of ours in it is replaced, other content is refused.
    parameters : mapping, optional
        Names and values of the analysis' `Parameters`.
    clinical : path, optional
        Entered values; they win over the header.
    labels : LabelSource, optional
        A reader's labels, used instead of the model's.
    progress : callable, optional
        ``progress(fraction, stage)``; may raise `Cancelled`, after which nothing is left of the run.
    command : list of str, optional
        The command line, for the record.

    Raises
    ------
    InputError
        The input, a parameter or the output folder cannot be used. Nothing was written.
    """
    started = time.perf_counter()
    analysis = get_analysis(name)
    paths = _checked_inputs(analysis, inputs)
    if clinical is not None and _role_of(analysis, "clinical"):
        raise InputError(f"{name} reads the clinical record as its input; leave the other clinical file out.")
    if labels is not None and not (hasattr(analysis, "segments") and hasattr(analysis, "label_schemes")):
        raise InputError(f"{name} takes no reader's labels; leave --labels out.")
    entered = read_clinical(clinical) if clinical is not None else None
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    chosen = make_parameters(analysis, _from_clinical(analysis, entered) | given)
    record = RunRecord(name, parameters=json_able(dataclasses.asdict(chosen)), command=command)
    if entered is not None:
        fields = [k for k, v in dataclasses.asdict(entered.patient).items() if v is not None]
        record.extra["clinical"] = {
            "path": str(clinical),
            "sha256": entered.sha256,
            "fields": sorted([*fields, *entered.fields]),
        }
    with OutputFolder(output) as folder:
        loaded: dict[str, Loaded] = {}
        with record.stage("load"):
            for n, (role, path) in enumerate(paths.items()):
                share = part(progress, 0.15 * n / len(paths), 0.15 * (n + 1) / len(paths))
                loaded[role] = analysis.load(_role_of(analysis, role) or role, path, share)
                record.inputs.append(_described(role, path, loaded[role]))
        patient, disagreements = _patient(loaded, entered)
        reader_labels, label_warnings = None, list[str]()
        if labels is not None and not any(given.unusable for given in loaded.values()):
            with record.stage("labels"):
                data = next(iter(loaded.values())).data
                reader_labels, label_warnings, record.extra["labels"] = read_labels(
                    labels,
                    data,
                    analysis.segments,
                    analysis.label_schemes,
                    empty=getattr(analysis, "empty_labels", False),
                )
        with record.stage("run"):
            result = analysis.run(loaded, chosen, part(progress, 0.15, 0.95), patient=patient, labels=reader_labels)
        patient = result.patient or patient
        read = [text for given in loaded.values() for text in given.warnings]
        result.warnings = _unique(
            entered.warnings if entered else [], read, disagreements, label_warnings, result.warnings
        )
        progress(0.95, "Writing")
        try:
            document = write_run(folder.work, analysis.title, result, patient, record, frame_ms=_frame_ms(loaded))
            progress(0.99, "Writing")  # the last moment to cancel
            folder.commit()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
                raise InputError(f"{output}: the results cannot be written ({error.strerror}).") from None
            raise
    progress(1.0, "Done")
    return RunOutcome(Path(output), analysis.title, result, document, time.perf_counter() - started)
