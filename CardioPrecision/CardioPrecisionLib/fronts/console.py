"""What the command line shows: tables, progress, one-line errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from ..analysis import Progress, silent
from ..measurement import Measurement, State

if TYPE_CHECKING:
    from .runner import RunOutcome

#: How many names that share a reason are listed.
_NAMES_SHOWN = 4


@contextlib.contextmanager
def shown_progress(stream: TextIO, quiet: bool = False) -> Iterator[Progress]:
    """A progress bar on a terminal, a line per stage elsewhere, nothing when `quiet`."""
    if quiet:
        yield silent
        return
    if not stream.isatty():
        seen: list[str] = []

        def plain(fraction: float, stage: str) -> None:
            if not seen or seen[-1] != stage:
                seen.append(stage)
                stream.write(f"[{100 * min(max(fraction, 0), 1):3.0f} %] {stage}\n")
                stream.flush()

        yield plain
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("Starting", total=1.0)
        yield lambda fraction, stage: bar.update(task, completed=fraction, description=stage)


def fail(stream: TextIO, message: str) -> None:
    """One line on standard error."""
    stream.write("cardioprecision: " + " ".join(str(message).split()) + "\n")
    stream.flush()


def _console(stream: TextIO) -> Any:
    from rich.console import Console

    # Without a terminal to measure, lines are as long as they need to be: a log or a pipe must not be cut.
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 160)


def interval_text(row: Measurement) -> str:
    from ..report.names import span

    if row.low is None or row.high is None:
        return ""
    level = f" ({100 * row.level:.0f} %)" if row.level else ""
    return span(row.low, row.high, row.unit) + level


def _state(row: Measurement) -> str:
    text = row.state.value.replace("_", " ")
    if row.reason and row.state is not State.MEASURED:
        return f"{text}: {row.reason}"
    return f"{text} ({row.reason})" if row.reason else text


def show_outcome(stream: TextIO, outcome: RunOutcome) -> None:
    """The measurements as a table, the warnings, and where the report is."""
    from rich.markup import escape
    from rich.table import Table

    from ..report.names import quantity, site_of, title_of

    table = Table(title=escape(outcome.title), title_justify="left", title_style="bold")
    table.add_column("Measurement")
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("Interval", no_wrap=True)
    table.add_column("State", max_width=60)
    missing: dict[str, list[str]] = {}
    for row in outcome.result.measurements:
        title = outcome.result.titles.get(row.name) or title_of(row.name)
        name = title + (f", {site_of(row.site)}" if row.site else "")
        if row.state.has_value:
            table.add_row(escape(name), escape(quantity(row.value, row.unit)), interval_text(row), escape(_state(row)))
        else:
            missing.setdefault(_state(row), []).append(name)
    console = _console(stream)
    if table.row_count:
        console.print(table)
    for why, names in missing.items():
        # The report names them all; here a list of sixteen scores would hide what is missing.
        more = len(names) - _NAMES_SHOWN + 1
        shown = names if more < 2 else [*names[: _NAMES_SHOWN - 1], f"{more} more"]
        console.print(f"[dim]{escape('; '.join(shown))}[/dim]: {escape(why)}", soft_wrap=True)
    show_warnings(stream, outcome.result.warnings)
    if not outcome.result.measurements.assessable:
        console.print("Nothing was assessable; the report says why.", soft_wrap=True)
    report = escape(str(outcome.output / "report.html"))
    console.print(f"Done in {outcome.seconds:.1f} s. Report: {report}", soft_wrap=True)


def show_warnings(stream: TextIO, texts: list[str]) -> None:
    from rich.markup import escape

    console = _console(stream)
    for text in texts:
        console.print(f"[yellow]Warning:[/yellow] {escape(text)}", soft_wrap=True)


def show_table(stream: TextIO, title: str, header: list[str], rows: list[list[str]], numbers: bool = True) -> None:
    """A plain table; with `numbers` every column but the first is to the right."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for n, name in enumerate(header):
        table.add_column(escape(name), justify="right" if n and numbers else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _console(stream).print(table)
