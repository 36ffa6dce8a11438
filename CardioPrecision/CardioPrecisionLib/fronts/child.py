"""Starts a job in a child process, follows it, and stops it with everything it started."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..output import partial_prefix
from .job import SCHEMA

#: Seconds between the cancel file and the end by force.
GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_KEPT_LINES = 40


def module_folders() -> list[str]:
    """The folders that hold our packages, for the child's PYTHONPATH."""
    import importlib.util

    from .registry import entries

    folders = [str(Path(__file__).resolve().parents[2])]
    for entry in entries():
        spec = importlib.util.find_spec(entry.package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            folders.append(str(Path(place).resolve().parent))
    return list(dict.fromkeys(folders))


def kill_tree(pid: int) -> None:
    """End a process and all that it started, by force."""
    import psutil

    victims: list[Any] = []
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        victims = [*parent.children(recursive=True), parent]
    for victim in victims:
        with contextlib.suppress(psutil.Error):
            victim.kill()
    psutil.wait_procs(victims, timeout=5)


def reason_of_death(code: int, last_lines: list[str]) -> str:
    """Why a child ended without saying so."""
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            if name == "SIGKILL":
                return (
                    "The analysis was ended by the operating system, most likely because memory ran out. Close "
                    "other programs, or use a smaller input."
                )
            return f"The analysis crashed ({name})."
    said = next((line.strip() for line in reversed(last_lines) if line.strip()), "")
    return f"The analysis ended with code {code} and no result{': ' + said[:300] if said else ''}."


def _follow(stream: Any, put: Callable[[str], None]) -> threading.Thread:
    def read() -> None:
        for line in stream:
            put(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def child_variables(folders: Iterable[str] = ()) -> dict[str, str]:
    """What the child's environment has beside ours: `folders` and our module folders in its PYTHONPATH, UTF-8."""
    paths = [*folders, *module_folders(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PYTHONPATH": os.pathsep.join(p for p in paths if p), "PYTHONIOENCODING": "utf-8"}


def write_job(job: dict[str, Any], folder: Path, python: str | None = None) -> tuple[list[str], Path]:
    """Write a job into `folder`; the command line that runs it, and the file whose appearance cancels it."""
    cancel, file = folder / "cancel", folder / "job.json"
    file.write_text(json.dumps({"schema": SCHEMA, **job, "cancel_file": str(cancel)}), encoding="utf-8")
    return [python or sys.executable, "-m", "CardioPrecisionLib.fronts.job", str(file)], cancel


def event_of(line: str) -> dict[str, Any] | None:
    """The event in a line that a child wrote; None where it is anything else."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def run_child(
    job: dict[str, Any],
    on_event: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    python: str | None = None,
    folders: Iterable[str] = (),
    grace_seconds: float = GRACE_SECONDS,
) -> dict[str, Any]:
    """Run a job in a child process and wait for its end.

    Parameters
    ----------
    job : dict
        As in ``schemas/job-1.schema.json``; schema and cancel file are filled in.
    on_event : callable
        Receives every event, the last one included.
    should_stop : callable
        Asked continuously; once it says yes the cancel file appears, and after `grace_seconds` the child and all that
        it started are killed.
    python : str, optional
        Interpreter; default this one (in 3D Slicer: ``PythonSlicer``).
    folders : iterable of str
        Put before our module folders in the child's PYTHONPATH.
    grace_seconds : float

    Returns
    -------
    dict
        The last event: ``done``, ``error`` or ``cancelled``. A crash, too, is an ``error`` with a message.
    """
    with tempfile.TemporaryDirectory(prefix="cardioprecision-job-") as private:
        command, cancel = write_job(job, Path(private), python)
        process = start_child(command, child_variables(folders))
        try:
            last = _watch(process, on_event, should_stop, cancel, grace_seconds)
        finally:
            if process.poll() is None:
                kill_tree(process.pid)
            _remove_partial(Path(job["output"]), process.pid)
        return last


def start_child(
    command: list[str], variables: Mapping[str, str], stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start a child without a window and without input, whose lines are read as text."""
    return subprocess.Popen(
        command,
        env=os.environ | dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _watch(
    process: subprocess.Popen[str],
    on_event: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    cancel: Path,
    grace_seconds: float,
) -> dict[str, Any]:
    events: queue.Queue[str] = queue.Queue()
    said: list[str] = []

    def keep(line: str) -> None:
        said.append(line)
        del said[:-_KEPT_LINES]

    readers = [_follow(process.stdout, events.put), _follow(process.stderr, keep)]
    last: dict[str, Any] | None = None
    asked: float | None = None
    killed = False

    def pass_on(line: str) -> None:
        nonlocal last
        event = event_of(line)
        if event is None:
            keep(line)
            return
        if event["event"] != "progress":
            last = event
        on_event(event)

    while process.poll() is None:
        with contextlib.suppress(queue.Empty):
            pass_on(events.get(timeout=_POLL_SECONDS))
        if asked is None and should_stop():
            asked = time.monotonic()
            cancel.touch()
        if asked is not None and not killed and time.monotonic() - asked > grace_seconds:
            killed = True
            kill_tree(process.pid)
    for reader in readers:
        reader.join(timeout=2)
    while not events.empty():
        pass_on(events.get())
    if last is None:
        if killed:
            last = {"event": "cancelled"}
        else:
            last = {"event": "error", "code": 1, "message": reason_of_death(process.returncode, said)}
        on_event(last)
    return last


def _remove_partial(output: Path, pid: int) -> None:
    """Remove what a killed child could not."""
    output = Path(os.path.abspath(output))
    for folder in (output.parent, output):
        if folder.is_dir():
            for left in folder.glob(partial_prefix(output, pid).replace("[", "[[]") + "*"):
                shutil.rmtree(left, ignore_errors=True)
