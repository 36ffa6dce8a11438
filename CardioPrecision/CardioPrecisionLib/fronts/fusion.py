"""``cardioprecision fusion``: train, evaluate and predict with fusion models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, NothingAssessable
from . import waveforms
from .console import show_table, show_warnings, shown_progress
from .embeddings import embed
from .imputation import imputation
from .streams import own_streams

if TYPE_CHECKING:
    from FusionRiskLib.fusion.jobs import FusionOutcome

app = typer.Typer(
    help="Fusion models: clinical data joined with the measurements of the other modules.", rich_markup_mode=None
)

Table = Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or Parquet: a row per patient, or per visit.")]
Schema = Annotated[Path, typer.Option("--schema", "-s", metavar="FILE", help="YAML or JSON: what its columns are.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to make.")]
Learner = Annotated[
    str | None,
    typer.Option(
        help="logistic, boosting; for survival cox, boosting, discrete_time; for visits in sequence recurrent. "
        "Default: logistic or cox."
    ),
]
Impute = Annotated[str, typer.Option(help="How gaps are filled: median, chained regressions, or vae.")]
Visits = Annotated[
    str | None,
    typer.Option(help="Of repeated visits: baseline, change (last minus first), or sequence (the last few)."),
]
Sample = Annotated[int | None, typer.Option(min=20, metavar="N", help="Only N patients, drawn at random.")]
Seed = Annotated[int, typer.Option(help="Of folds and draws.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show library messages and tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")]


def _command() -> list[str]:
    from . import cli

    return ["cardioprecision", *cli._arguments]


def _need() -> None:
    """A line instead of a traceback where the extra is not installed."""
    import importlib.util

    for package in ("sklearn", "lifelines", "safetensors", "skops"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"Fusion needs {package}; pip install 'cardioprecision[fusion]'.")


def _done(
    work: Callable[..., FusionOutcome],
    show: Callable[[Any, FusionOutcome], None],
    verbose: bool,
    as_json: bool = False,
) -> Any:
    _need()
    with own_streams(verbose) as (out, err):
        with shown_progress(err, quiet=as_json and not err.isatty()) as progress:
            outcome = work(progress)
        show(out, outcome)
        show_warnings(err if as_json else out, outcome.result.warnings)
        out.flush()
    return outcome


def _many(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


@app.command()
def train(
    table: Table,
    schema: Schema,
    output: Output,
    model: Annotated[str, typer.Option(help="early, late, joint or graph.")] = "late",
    learner: Learner = None,
    impute: Impute = "median",
    modalities: Annotated[str | None, typer.Option(help="Only these, by comma. Default: all.")] = None,
    visits: Visits = None,
    members: Annotated[int, typer.Option(min=10, max=500, help="Refitted models that show model uncertainty.")] = 40,
    sample: Sample = None,
    seed: Seed = 0,
    verbose: Verbose = False,
) -> None:
    """Train a model on a cohort and write it as a folder."""
    from FusionRiskLib.fusion import jobs

    def work(progress: Any) -> FusionOutcome:
        return jobs.train(
            table, schema, output, kind=model, learner=learner, impute=impute, modalities=_many(modalities),
            visits=visits, members=members, sample=sample, seed=seed, progress=progress,
        )  # fmt: skip

    def show(out: Any, outcome: FusionOutcome) -> None:
        facts = outcome.details
        if judged := facts.get("judged"):  # of a table that was streamed
            words = {"auc": "AUC", "brier": "Brier score at the horizon", "log_loss": "log loss"}
            found = ", ".join(f"{name} {judged[key]:.3f}" for key, name in words.items() if key in judged)
            out.write(f"{found} on {judged['rows']} patients whom the model asked had not seen.\n")
        out.write(
            f"{facts['kind']} fusion of {facts['patients']} patients, {facts['columns']} columns. Judge it with "
            f"'cardioprecision fusion evaluate'.\nDone in {outcome.seconds:.1f} s. Model: {outcome.output}\n"
        )

    _done(work, show, verbose)


@app.command()
def evaluate(
    table: Table,
    schema: Schema,
    output: Output,
    models: Annotated[str, typer.Option(help="By comma; the first is compared with the rest.")] = "late,early",
    learner: Learner = None,
    impute: Impute = "median",
    visits: Visits = None,
    folds: Annotated[int, typer.Option(min=2, max=50)] = 5,
    repeats: Annotated[int, typer.Option(min=1, max=100)] = 1,
    by: Annotated[str, typer.Option(help="Folds of patients, or of whole sites: patient, site.")] = "patient",
    sets: Annotated[bool, typer.Option(help="Judge conformal sets as well, which takes five more fits each.")] = True,
    sample: Sample = None,
    seed: Seed = 0,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Judge models by nested cross-validation; the same command goes on where a stopped one was."""
    from FusionRiskLib.fusion import jobs

    if by not in ("patient", "site"):
        raise InputError(f"--by {by}: choose patient or site.")

    def work(progress: Any) -> FusionOutcome:
        return jobs.judge(
            table, schema, output, kinds=_many(models), learner=learner, impute=impute, visits=visits, folds=folds,
            repeats=repeats, by=by, level=0.9 if sets else None, sample=sample, seed=seed,  # type: ignore[arg-type]
            progress=progress, command=_command(),
        )  # fmt: skip

    def show(out: Any, outcome: FusionOutcome) -> None:
        if json_output:
            out.write((outcome.output / "evaluation.json").read_text(encoding="utf-8"))
            return
        found = outcome.details["evaluation"]
        names = list(next(iter(found.models.values())).metrics)
        shown = [name for name in names if name in _SHOWN] or names[:3]
        rows = [
            [name, *(_estimate(report.metrics[metric]) for metric in shown)] for name, report in found.models.items()
        ]
        header = ["Model", *(name.replace("_", " ") for name in shown)]
        show_table(out, f"{outcome.details['patients']} patients", header, rows)
        out.write(f"Done in {outcome.seconds:.1f} s. Report: {outcome.output / 'report.html'}\n")

    _done(work, show, verbose, json_output)


_SHOWN = ("auc", "auc_macro", "accuracy", "brier", "concordance_ipcw", "brier_at_horizon", "calibration_slope")


def _estimate(e: Any) -> str:
    if e.value is None:
        return "–"
    return f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" if e.low is not None else f"{e.value:.3f}"


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.")],
    rows: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ROWS", help="A CSV or Parquet table of patients, or measurements.json of one patient's runs."
        ),
    ] = None,
    output: Output = Path("prediction"),
    schema: Annotated[
        Path | None, typer.Option("--schema", "-s", metavar="FILE", help="Of the CSV; default: as in training.")
    ] = None,
    clinical: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clinical record of the patient of the measurements.")
    ] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask a model about new patients: probability, uncertainty, contributions, and when it does not answer."""
    from FusionRiskLib.fusion import jobs

    def work(progress: Any) -> FusionOutcome:
        return jobs.predict(
            model, rows or [], output, schema=schema, clinical=clinical, progress=progress, command=_command()
        )

    def show(out: Any, outcome: FusionOutcome) -> None:
        if json_output:
            text = (outcome.output / "predictions.json").read_text(encoding="utf-8")
            out.write(json.dumps(json.loads(text), indent=2) + "\n")
            return
        if "summary" in outcome.details:
            _show_summary(out, outcome)
            return
        answers = outcome.details["answers"]
        table = []
        for i in range(min(outcome.details["rows"], 20)):
            said = ["–" if answers.refused[i] else f"{100 * v:.1f} %" for v in answers.said[i]]
            table.append([f"Row {i + 1}", *said, str(answers.likeness[i].likeness)])
        show_table(out, f"{outcome.details['rows']} rows", ["", *answers.names, "Likeness"], table)
        out.write(f"Done in {outcome.seconds:.1f} s. Report: {outcome.output / 'report.html'}\n")

    outcome = _done(work, show, verbose, json_output)
    if outcome.details["refused"] == outcome.details["rows"]:
        raise typer.Exit(NothingAssessable.exit_code)


def _show_summary(out: Any, outcome: FusionOutcome) -> None:
    """Of a table that is too large to be shown."""
    found = outcome.details["summary"]
    rows = [[name, str(found.likeness[name])] for name in ("inside", "flagged", "refused")]
    for k, name in enumerate(found.names if found.answered else ()):
        rows.append([f"mean of {name}", f"{100 * found.total[k] / found.answered:.1f} %"])
    show_table(out, f"{found.rows} rows", ["", ""], rows)
    out.write(f"Done in {outcome.seconds:.1f} s. Answers: {outcome.output / 'answers.parquet'}\n")


@app.command()
def recalibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.")],
    table: Table,
    output: Output,
    schema: Annotated[
        Path | None, typer.Option("--schema", "-s", metavar="FILE", help="Of the CSV; default: as in training.")
    ] = None,
    seed: Seed = 0,
    verbose: Verbose = False,
) -> None:
    """Make a model fit the patients of another place, by their outcomes; it is written to a new folder."""
    from FusionRiskLib.fusion import jobs

    def work(progress: Any) -> FusionOutcome:
        return jobs.recalibrate(model, table, output, schema=schema, seed=seed, progress=progress)

    def show(out: Any, outcome: FusionOutcome) -> None:
        facts = outcome.details
        names = {
            "log_loss": "Log loss",
            "brier": "Brier score at the horizon",
            "auc": "AUC",
            "mean_predicted": "Mean prediction",
            "observed": "Share observed",
        }
        rows = [
            [names[key], f"{facts['before'][key]:.3f}", f"{facts['after'][key]:.3f}"]
            for key in names
            if key in facts["before"]
        ]
        show_table(out, f"{facts['patients']} patients, not seen by what judged them", ["", "Before", "After"], rows)
        out.write(
            f"Changed: {facts['how']} (slope {facts['slope']:.2f}).\nDone in {outcome.seconds:.1f} s. "
            f"Model: {outcome.output}\n"
        )

    _done(work, show, verbose)


@app.command()
def compare(
    earlier: Annotated[Path, typer.Argument(metavar="EARLIER", help="measurements.json of the earlier study.")],
    later: Annotated[Path, typer.Argument(metavar="LATER", help="measurements.json of the later study.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="CSV to write.")] = None,
    verbose: Verbose = False,
) -> None:
    """What changed between two studies of a patient, and whether it is beyond the measurements' repeatability."""
    from FusionRiskLib import serial

    from ..report.names import quantity, site_of, title_of

    with own_streams(verbose) as (out, _err):
        found = serial.compare_runs(earlier, later)
        rows = []
        for row in found:
            if row.difference is None or (row.limit is None and row.verdict == serial.UNKNOWN):
                continue
            site = site_of(row.site)
            limit = quantity(row.limit, row.unit) if row.limit is not None else "–"
            values = [quantity(value, row.unit) for value in (row.before, row.after, row.difference)]
            rows.append([title_of(row.name) + (f", {site}" if site else ""), *values, limit, row.verdict])
        show_table(out, "Changes", ["Measurement", "Earlier", "Later", "Change", "Repeatability", "Verdict"], rows)
        if output is not None:
            out.write(f"Table: {serial.write_csv(output, found)}\n")
        out.write(f"{len(found)} measurements stand in both; {len(rows)} can be judged.\n")
        out.flush()
    if not rows:
        raise typer.Exit(NothingAssessable.exit_code)


for _command_of in (imputation, embed):
    app.command()(_command_of)
waveforms.register(app)
