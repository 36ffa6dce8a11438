"""A run in a child process for nodes of a scene: files out through a private folder, the output folder back.

A front: the module's ``scene_logic`` says what to write and how to read the results into the scene.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .analysis import Progress
from .errors import Cancelled, InputError
from .fronts.child import run_child
from .measurement import Measurement, Measurements

T = TypeVar("T")


def run_in_folder(
    analysis: str,
    export: Callable[[Path], Mapping[str, Any]],
    load: Callable[[Path], T],
    *,
    parameters: Mapping[str, Any],
    clinical: Mapping[str, Any] | None,
    progress: Progress,
    should_stop: Callable[[], bool],
    python: str | None,
) -> T:
    """Run an analysis in a child process and hand its output folder to `load`.

    Parameters
    ----------
    analysis : str
        As in the registry.
    export : callable
        ``export(folder)`` writes the inputs and returns ``inputs`` and, where there are some, ``labels`` of the job.
    load : callable
        ``load(output_folder)``; what it returns is returned.
    parameters, clinical, progress, should_stop, python
        See `fronts.child.run_child` and the job's schema.

    Raises
    ------
    InputError, Cancelled
        As the child said.
    RuntimeError
        The child process failed; the message is what it said.
    """
    with tempfile.TemporaryDirectory(prefix="cardioprecision-") as private:
        folder = Path(private)
        job = make_job(analysis, export, folder, parameters, clinical)

        def passed_on(event: dict[str, Any]) -> None:
            if event.get("event") == "progress":
                progress(float(event["fraction"]), str(event["stage"]))

        raise_unless_done(run_child(job, passed_on, should_stop, python=python))
        return load(Path(job["output"]))


def make_job(
    analysis: str,
    export: Callable[[Path], Mapping[str, Any]],
    folder: Path,
    parameters: Mapping[str, Any],
    clinical: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A job whose inputs are written into `folder`, and whose results will lie there; see `run_in_folder`."""
    job: dict[str, Any] = {
        "analysis": analysis,
        **export(folder),
        "output": str(folder / "run"),
        "parameters": dict(parameters),
    }
    if clinical:
        path = folder / "entered.json"
        path.write_text(json.dumps(dict(clinical)), encoding="utf-8")
        job["clinical"] = str(path)
    return job


def raise_unless_done(last: Mapping[str, Any]) -> None:
    """Raise what the last event of a child says; see `run_in_folder`."""
    if last["event"] == "cancelled":
        raise Cancelled
    if last["event"] == "error":
        message = str(last.get("message", "The child process failed."))
        raise InputError(message) if last.get("code") == InputError.exit_code else RuntimeError(message)


def read_run(folder: Path, analysis: str) -> tuple[dict[str, Any], Measurements]:
    """The content of a run's ``measurements.json`` and its rows; an `InputError` where it is of another analysis."""
    document = read_json(folder / "measurements.json")
    if document.get("analysis") != analysis:
        raise InputError(f"{folder}: these are results of '{document.get('analysis')}', not of {analysis}.")
    return document, Measurements(Measurement.from_json(row) for row in document["measurements"])


def record_details(output: Path) -> dict[str, Any]:
    """``details`` of a run's record, and none where there is no record."""
    path = output / "run.json"
    return dict(read_json(path).get("details") or {}) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """A file of a finished run; an `InputError` where it is missing or damaged."""
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path}: this file of a run is missing or cannot be read; run the analysis again.") from None
    return loaded
