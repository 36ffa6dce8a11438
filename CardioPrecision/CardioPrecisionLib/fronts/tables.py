"""Analyses that also work on a whole table of patients: the options for that, and the run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import typer

from ..analysis import Analysis, Progress
from ..errors import InputError, NothingAssessable

#: Options beside the common ones.
TABLE: dict[str, tuple[Any, Any]] = {
    "table": (
        Annotated[
            Path | None, typer.Option(metavar="ROWS.csv", help="A table, one patient a row, instead of one patient.")
        ],
        None,
    ),
    "mapping": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                help='With --table: JSON, column to field, or to {"field": …, "unit": …}.',
            ),
        ],
        None,
    ),
}
TABLE_OUTPUT = (
    Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the results; with --table the CSV to write."),
    ],
    inspect.Parameter.empty,
)


class Summary(Protocol):
    """What was done with a table: rows, rows with a value by name, sentences for the user."""

    rows: int
    measured: dict[str, int]
    warnings: list[str]


@runtime_checkable
class TableAnalysis(Protocol):
    """An analysis whose input may be a table."""

    def run_table(
        self, table: Path, output: Path, parameters: Any, progress: Progress, *, mapping: Mapping[str, Any] | None
    ) -> Summary:
        """Write the table with what was found in every row, or nothing at all."""
        ...


def read_mapping(path: Path) -> dict[str, Any]:
    """A column mapping from a JSON file.

    Raises
    ------
    InputError
        The file cannot be read or holds no object.
    """
    try:
        mapping = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: the mapping cannot be read ({error.strerror}).") from None
    except ValueError:
        raise InputError(f"{path}: the mapping is no JSON; write an object of column and field names.") from None
    if not isinstance(mapping, dict) or not all(isinstance(to, (str, dict)) for to in mapping.values()):
        raise InputError(f"{path}: a mapping is a JSON object of column and field names.")
    return mapping


def run_table(
    analysis: Analysis,
    table: Path,
    output: Path,
    parameters: Mapping[str, Any],
    mapping: Path | None,
    progress: Progress,
) -> Summary:
    """Run an analysis on a table; raises `InputError` as `TableAnalysis.run_table`."""
    from .runner import make_parameters

    if not isinstance(analysis, TableAnalysis):
        raise InputError(f"{analysis.name} takes no table.")
    chosen = make_parameters(analysis, {name: value for name, value in parameters.items() if value is not None})
    columns = read_mapping(mapping) if mapping is not None else None
    return analysis.run_table(table, output, chosen, progress, mapping=columns)


def exit_code(summary: Summary) -> int:
    """0, or 3 where no row has any value."""
    return 0 if any(summary.measured.values()) else NothingAssessable.exit_code
