"""``cardioprecision fusion imputation``: which way of filling gaps knows a table best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from FusionRiskLib.fusion.jobs import FusionOutcome


def imputation(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV: a row per patient, or per visit.")],
    schema: Annotated[Path, typer.Option("--schema", "-s", metavar="FILE", help="YAML or JSON: what its columns are.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to make.")],
    share: Annotated[float, typer.Option(help="Of the known values that is hidden.")] = 0.2,
    repeats: Annotated[int, typer.Option(min=1, max=100)] = 1,
    folds: Annotated[int, typer.Option(min=2, max=50)] = 5,
    visits: Annotated[str | None, typer.Option(help="Of repeated visits: baseline, or change.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, hidden values and draws.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show library messages and tracebacks.")] = False,
) -> None:
    """Hide known values at random and compare what fills them in: median, chained regressions, autoencoder."""
    from FusionRiskLib.fusion.imputation_run import METRICS
    from FusionRiskLib.fusion.imputation_run import imputation as compare

    from .console import show_table
    from .fusion import _command, _done, _estimate

    def work(progress: Any) -> FusionOutcome:
        return compare(
            table, schema, output, share=share, repeats=repeats, folds=folds, visits=visits, seed=seed,
            progress=progress, command=_command(),
        )  # fmt: skip

    def show(out: Any, outcome: FusionOutcome) -> None:
        if json_output:
            out.write((outcome.output / "imputation.json").read_text(encoding="utf-8"))
            return
        found = outcome.details["imputation"]
        shown = [name for name in METRICS if any(name in own for own in found.overall.values())]
        rows = [
            [method, *(_estimate(own[m]) if m in own else "–" for m in shown)] for method, own in found.overall.items()
        ]
        title = f"{found.patients} patients, {100 * found.share:.0f} % of the known values hidden"
        show_table(out, title, ["Imputation", *(name.replace("_", " ") for name in shown)], rows)
        out.write(
            "rmse in units of each column's standard deviation; coverage of draws at "
            f"{100 * found.level:.0f} %; by column in imputation.csv.\n"
            f"Done in {outcome.seconds:.1f} s. Report: {outcome.output / 'report.html'}\n"
        )

    _done(work, show, verbose, json_output)
