"""One analysis in a child process, followed by callbacks: a window stays alive, and a crash is a message.

A front without Qt: what starts a process and what calls a function later are handed in.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import Cancelled, InputError
from .fronts.child import GRACE_SECONDS, child_variables, event_of, kill_tree, reason_of_death, write_job
from .scene_child import raise_unless_done

_KEPT_LINES = 40
_POLL_MS = 100

#: ``launch(command, variables, on_line, on_exit)`` starts a process with `variables` in its environment, calls
#: ``on_line(text)`` for every line that it writes and ``on_exit(code)`` at its end, and returns the process.
Launch = Callable[[list[str], dict[str, str], Callable[[str], None], Callable[[int], None]], Any]
#: ``later(milliseconds, function)`` calls a function once, from the event loop.
Later = Callable[[int, Callable[[], None]], Any]


class ChildRun:
    """One run, from its job to its results.

    Parameters
    ----------
    make_job : callable
        ``make_job(folder)`` writes the inputs into a private folder and returns the job; see `scene_child.make_job`.
    load : callable
        ``load(output_folder)``, called at a good end; what it returns is the result.
    on_progress : callable
        ``on_progress(fraction, stage)``.
    on_end : callable
        ``on_end(result, error)``, once; `error` is None, `Cancelled`, `InputError` or what else went wrong.
    launch, later : callable
        See `Launch` and `Later`.
    python : str, optional
        The child's interpreter; default this one.
    names : mapping, optional
        File of the private folder -> what a message calls it instead.
    grace_seconds : float
        Between the cancel file and the end by force.

    Raises
    ------
    InputError
        The inputs cannot be written; nothing was started and nothing is left behind.
    """

    def __init__(
        self,
        make_job: Callable[[Path], Mapping[str, Any]],
        load: Callable[[Path], Any],
        on_progress: Callable[[float, str], None],
        on_end: Callable[[Any, BaseException | None], None],
        *,
        launch: Launch,
        later: Later,
        python: str | None = None,
        names: Mapping[str, str] | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ):
        self._load, self._on_progress, self._on_end = load, on_progress, on_end
        self._later, self._names, self._grace = later, dict(names or {}), grace_seconds
        self._last: dict[str, Any] | None = None
        self._said: list[str] = []
        self._killed = False
        self.running = True
        self.cancelling = False
        self.folder = Path(tempfile.mkdtemp(prefix="cardioprecision-"))
        try:
            job = dict(make_job(self.folder))
            self._output = Path(job["output"])
            command, self._cancel_file = write_job(job, self.folder, python)
            self._process = launch(command, child_variables(), self._on_line, self._on_exit)
        except InputError as error:
            self._remove_folder()
            raise InputError(self._renamed(str(error))) from None
        except BaseException:
            self._remove_folder()
            raise

    # -- what the user asks for ----------------------------------------------------------------------------------------
    def cancel(self) -> None:
        """Ask the child to stop; after the grace period it is ended with everything that it started."""
        if self.running and not self.cancelling:
            self.cancelling = True
            self._cancel_file.touch()
            self._later(round(self._grace * 1000), self.kill)

    def discard(self) -> None:
        """The scene or the window is going: stop, and call nobody back."""
        self._on_progress, self._on_end = _nothing, _nothing
        self._load = _nothing
        self.cancel()

    def kill(self) -> None:
        """End the child at once, if it still runs."""
        if not self.running:
            return
        self._killed = True
        for pid in self._pids():
            try:
                kill_tree(pid)
            except ImportError:  # psutil is not there: at least the process itself
                with contextlib.suppress(OSError, AttributeError):
                    self._process.kill()

    def _pids(self) -> list[int]:
        """The child; found by its command line where the launcher did not say which process it started."""
        pid = getattr(self._process, "pid", None)
        if pid is not None:
            return [int(pid)]
        import psutil

        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(part.startswith(str(self.folder)) for part in process.cmdline()):
                    found.append(process.pid)
        return found

    # -- what the child says -------------------------------------------------------------------------------------------
    def _on_line(self, line: str) -> None:
        event = event_of(line)
        if event is None:
            self._said.append(line)
            del self._said[:-_KEPT_LINES]
        elif event["event"] == "progress":
            self._on_progress(float(event["fraction"]), str(event["stage"]))
        else:
            self._last = event

    def _on_exit(self, code: int) -> None:
        if not self.running:
            return
        self.running = False
        result: Any = None
        error: BaseException | None = None
        try:
            raise_unless_done(self._ending(code))
            result = self._load(self._output)
        except InputError as problem:
            error = InputError(self._renamed(str(problem)))
        except Exception as problem:
            error = problem
        finally:
            self._remove_folder()
        self._on_end(result, error)

    def _ending(self, code: int) -> dict[str, Any]:
        if self._last is not None:
            return self._last
        if self._killed or self.cancelling:
            return {"event": "cancelled"}
        return {"event": "error", "code": 1, "message": reason_of_death(code, self._said)}

    def _renamed(self, message: str) -> str:
        for file, name in self._names.items():
            message = message.replace(str(self.folder / file), name)
        return message

    def _remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _nothing(*_: Any) -> None:
    """Nobody is there any more."""


def follow(process: Any, on_line: Callable[[str], None], on_exit: Callable[[int], None], later: Later) -> None:
    """Read a process's output in a thread and hand it on from the event loop.

    Parameters
    ----------
    process : subprocess.Popen
        In text mode, with a pipe as standard output.
    """
    said: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in process.stdout:
                said.put(line.rstrip("\n"))
        process.wait()
        said.put(None)

    def pass_on() -> None:
        while True:
            try:
                line = said.get(timeout=0.001)  # gives the reading thread its turn: Qt's loop holds Python's lock
            except queue.Empty:
                break
            if line is None:
                on_exit(process.returncode)
                return
            on_line(line)
        later(_POLL_MS, pass_on)

    threading.Thread(target=read, daemon=True).start()
    later(0, pass_on)


def why_ended(error: BaseException | None) -> str:
    """One line for the user; empty after a good end."""
    if error is None:
        return ""
    return "Cancelled." if isinstance(error, Cancelled) else str(error) or type(error).__name__
