"""``cardioprecision fusion waveforms`` and ``fusion encoder``: recordings as columns of a cohort table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, NothingAssessable
from .console import show_table, show_warnings, shown_progress
from .streams import own_streams

if TYPE_CHECKING:
    from FusionRiskLib.waveform.jobs import WaveformOutcome

Listing = Annotated[
    Path, typer.Argument(metavar="LIST", help="CSV: patient_id, recording (a path from here), optional visit.")
]
Kind = Annotated[str, typer.Option(help="ecg or pcg (heart sounds).")]
Rate = Annotated[
    float | None, typer.Option(metavar="HZ", help="Sampling rate of CSV recordings without a column time_s.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show library messages and tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="Write what was done as JSON to standard output.")]


def register(app: typer.Typer) -> None:
    """Add both commands to a group."""
    app.command()(waveforms)
    app.command()(encoder)


def _need() -> None:
    """A line instead of a traceback where the extra is not installed."""
    import importlib.util

    for package in ("wfdb", "pandas", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"Waveforms need {package}; pip install 'cardioprecision[waveforms]'.")


def _done(
    work: Callable[[Any], WaveformOutcome], show: Callable[[Any, WaveformOutcome], None], verbose: bool, as_json: bool
) -> WaveformOutcome:
    _need()
    with own_streams(verbose) as (out, err):
        with shown_progress(err, quiet=as_json and not err.isatty()) as progress:
            outcome = work(progress)
        if as_json:
            facts = {**outcome.details, "output": str(outcome.output), "warnings": outcome.warnings}
            facts |= {"cohort": str(outcome.joined.output)} if outcome.joined is not None else {}
            facts.pop("recordings_sha256", None)
            out.write(json.dumps(facts, indent=2) + "\n")
        else:
            show(out, outcome)
        show_warnings(err if as_json else out, outcome.warnings)
        out.flush()
    return outcome


def waveforms(
    listing: Listing,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TABLE.csv", help="Table to write.")],
    kind: Kind = "ecg",
    encoder: Annotated[Path | None, typer.Option(metavar="ENCODER", help="Folder of a trained encoder.")] = None,
    rate: Rate = None,
    join: Annotated[
        Path | None, typer.Option(metavar="COHORT.csv", help="Also write this table with the new columns.")
    ] = None,
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Of --join: the patient.")] = None,
    visit: Annotated[str | None, typer.Option(metavar="COLUMN", help="Of --join: the visit.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Turn recordings (WFDB or CSV) into columns: quality, numbers and, with an encoder, an embedding."""
    from FusionRiskLib.waveform import jobs

    if join is None and (visit is not None or id_column is not None):
        raise InputError("--id and --visit name columns of the table to join; give --join COHORT.csv.")

    def work(progress: Any) -> WaveformOutcome:
        return jobs.make_table(
            listing, output, kind=kind, encoder=encoder, rate=rate, join_to=join, id_column=id_column,
            visit_column=visit, progress=progress,
        )  # fmt: skip

    def show(out: Any, outcome: WaveformOutcome) -> None:
        facts = outcome.details
        rows = [[flag, str(count)] for flag, count in facts["flags"].items()]
        show_table(out, f"{facts['recordings']} recordings", ["Quality", "Recordings"], rows)
        cohort = f"Cohort: {outcome.joined.output}. Its schema needs:" if outcome.joined else "For a cohort's schema:"
        out.write("\n".join([cohort, *facts["lines"]]) + "\n")
        out.write(f"Done in {outcome.seconds:.1f} s. Table: {outcome.output}\n")

    outcome = _done(work, show, verbose, json_output)
    if not outcome.details["usable"]:
        raise typer.Exit(NothingAssessable.exit_code)


def encoder(
    listing: Listing,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="ENCODER", help="Folder to make.")],
    kind: Kind = "ecg",
    size: Annotated[int, typer.Option(min=2, max=256, help="Numbers made of a recording.")] = 16,
    epochs: Annotated[int, typer.Option(min=1, max=10_000)] = 60,
    leads: Annotated[
        str | None, typer.Option(help="Of an ECG, by comma. Default: those of all recordings, or the clearest one.")
    ] = None,
    rate: Rate = None,
    seed: Annotated[int, typer.Option(help="Of weights and draws.")] = 0,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train an encoder on recordings alone, without outcomes; the same command goes on where a stopped one was."""
    from FusionRiskLib.waveform import jobs

    def work(progress: Any) -> WaveformOutcome:
        return jobs.train_encoder(
            listing, output, kind=kind, size=size, epochs=epochs, rate=rate, seed=seed, progress=progress,
            leads=[word.strip() for word in (leads or "").split(",") if word.strip()],
        )  # fmt: skip

    def show(out: Any, outcome: WaveformOutcome) -> None:
        facts = outcome.details
        what = f"{facts['recordings']} recordings, " + (", ".join(facts["leads"]) or "one channel of each")
        out.write(f"Encoder of {facts['size']} numbers from {what}; loss {facts['loss_first']:.2f} to ")
        out.write(f"{facts['loss_last']:.2f}.\n")
        if facts["held_out_found_again"] is not None:
            share, n = 100 * facts["held_out_found_again"], facts["held_out"]
            out.write(
                f"Of {n} other recordings it tells {share:.0f} % by one half from the other (chance {100 / n:.0f} %).\n"
            )
        out.write(f"Done in {outcome.seconds:.1f} s. Encoder: {outcome.output}\n")

    _done(work, show, verbose, json_output)
