"""One analysis in a child process: ``python -m CardioPrecisionLib.fronts.job JOB.json``.

Standard output carries JSON lines and nothing else: ``progress``, then one of ``done``, ``error``, ``cancelled``.
The result is the ordinary output folder. A job is described by ``schemas/job-1.schema.json``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from ..analysis import Progress, stoppable
from ..errors import Cancelled, CardioPrecisionError, InputError
from .streams import own_streams

SCHEMA = "cardioprecision/job/1"
_REPORT_SECONDS = 0.1


def read_job(path: str | Path) -> dict[str, Any]:
    """Read and check a job file; raises `InputError`."""
    import jsonschema

    try:
        job = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: this job cannot be read ({type(error).__name__}).") from None
    text = resources.files("CardioPrecisionLib").joinpath("schemas/job-1.schema.json").read_text(encoding="utf-8")
    try:
        jsonschema.validate(job, json.loads(text))
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "the job"
        raise InputError(f"{path}: {where}: {error.message}") from None
    checked: dict[str, Any] = job
    return checked


def _reporter(send: Callable[..., None]) -> Progress:
    """Progress as events, not more than ten a second and never going back."""
    sent_at, sent_stage, sent_fraction = 0.0, "", 0.0

    def progress(fraction: float, stage: str) -> None:
        nonlocal sent_at, sent_stage, sent_fraction
        now = time.monotonic()
        fraction = max(min(float(fraction), 1.0), sent_fraction)
        if stage != sent_stage or now - sent_at >= _REPORT_SECONDS:
            sent_at, sent_stage, sent_fraction = now, stage, fraction
            send(event="progress", fraction=round(fraction, 4), stage=stage)

    return progress


def run_job(job: dict[str, Any], send: Callable[..., None]) -> int:
    """Run a checked job, reporting with ``send(event=…, …)``; the exit code."""
    from ..labels import LabelSource
    from .runner import run_analysis

    progress = _reporter(send)
    cancel = Path(job["cancel_file"]) if job.get("cancel_file") else None
    if cancel is not None:
        progress = stoppable(progress, cancel.exists)
    labels = None
    if job.get("labels"):
        given = job["labels"]
        labels = LabelSource(
            tuple(Path(p) for p in given["paths"]),
            given.get("scheme", "cardioprecision"),
            given.get("ed_frame"),
            given.get("es_frame"),
        )
    progress(0.0, "Starting")
    if job.get("accept_licenses"):
        from ..bundle import licence

        for name in job["accept_licenses"]:
            licence.accept(name)
    outcome = run_analysis(
        job["analysis"],
        job["inputs"],
        job["output"],
        parameters=job.get("parameters"),
        clinical=job.get("clinical"),
        labels=labels,
        progress=progress,
    )
    send(event="done", output=str(outcome.output), seconds=round(outcome.seconds, 3), code=outcome.exit_code)
    return outcome.exit_code


def _sender(stream: TextIO) -> Callable[..., None]:
    def send(**event: Any) -> None:
        stream.write(json.dumps(event, ensure_ascii=True) + "\n")
        stream.flush()

    return send


def main(arguments: list[str] | None = None) -> int:
    """Run the job file named on the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Library messages go to standard error, which the parent keeps for a crash message.
    with own_streams(verbose=True) as (out, err):
        send = _sender(out)
        try:
            if len(arguments) != 1:
                raise InputError("Usage: python -m CardioPrecisionLib.fronts.job JOB.json")
            return run_job(read_job(arguments[0]), send)
        except (Cancelled, KeyboardInterrupt):
            send(event="cancelled")
            return Cancelled.exit_code
        except CardioPrecisionError as error:
            send(event="error", code=error.exit_code, message=str(error))
            return error.exit_code
        except MemoryError:
            send(event="error", code=1, message="There is not enough memory for this input.")
            return 1
        except Exception as error:
            import traceback

            traceback.print_exception(error, file=err)
            send(event="error", code=1, message=f"This is our own fault ({type(error).__name__}: {error}).")
            return 1


if __name__ == "__main__":
    sys.exit(main())
