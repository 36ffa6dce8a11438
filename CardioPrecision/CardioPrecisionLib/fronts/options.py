"""Command-line options from an analysis' inputs and parameters."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..analysis import Analysis
from .tables import TABLE, TABLE_OUTPUT, TableAnalysis

#: Options that every analysis has; a parameter of the same name gets its value from them.
COMMON: dict[str, tuple[Any, Any]] = {
    "output": (
        Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")],
        inspect.Parameter.empty,
    ),
    "clinical": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Sex, age, height, weight … as JSON or one-row CSV; wins over the header."
            ),
        ],
        None,
    ),
    "labels": (
        Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A reader's own labels.")],
        None,
    ),
    "label_scheme": (
        Annotated[str, typer.Option(metavar="NAME", help="What the values in --labels mean.")],
        "cardioprecision",
    ),
    "ed_frame": (
        Annotated[int | None, typer.Option(min=1, metavar="N", help="End-diastolic frame, counted from 1.")],
        None,
    ),
    "es_frame": (
        Annotated[int | None, typer.Option(min=1, metavar="N", help="End-systolic frame, counted from 1.")],
        None,
    ),
    "accept_license": (
        Annotated[
            list[str] | None,
            typer.Option(metavar="NAME", help="Accept the licence of this model's weights; remembered."),
        ],
        None,
    ),
    "json_output": (
        Annotated[bool, typer.Option("--json", help="Print measurements.json to standard output, nothing else.")],
        False,
    ),
    "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="Show library messages and tracebacks.")], False),
}
_SCALARS = (bool, int, float, str)


def _documented(cls: type) -> dict[str, str]:
    """Attribute descriptions from a numpydoc docstring: ``name : type`` and the indented text below."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        entry = re.fullmatch(r"([a-z]\w*(?:, [a-z]\w*)*) : (.+)", line)
        if entry:
            names = entry[1].split(", ")
            choices = re.fullmatch(r"\{(.+)\}", entry[2])
            for name in names:
                found[name] = choices[1].replace('"', "") + "." if choices else ""
        elif line.startswith("    ") and names:
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
        elif line.strip():
            names = []
    return found


def _scalar(annotation: Any) -> Any | None:
    """The scalar type of a field, with None where it is optional; None for anything that is no option."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return type(typing.get_args(annotation)[0])
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        scalar = _scalar(inner[0]) if len(inner) == 1 else None
        return None if scalar is None else scalar | None
    if origin is tuple and typing.get_args(annotation) == (str, ...):
        return list[str] | None
    return annotation if annotation in _SCALARS else None


def parameter_options(parameters: type) -> dict[str, tuple[Any, Any]]:
    """An option ``(annotation, default)`` for each scalar field of a parameters dataclass."""
    hints = typing.get_type_hints(parameters)
    documented = _documented(parameters)
    options: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(parameters):
        scalar = _scalar(hints[field.name])
        if scalar is None or field.name in COMMON or field.default is dataclasses.MISSING:
            continue
        text = field.metadata.get("help") or documented.get(field.name, "")
        several = scalar == list[str] | None
        option = typer.Option(help=text, metavar="NAME" if several else None)
        options[field.name] = (Annotated[scalar, option], None if several else field.default)
    return options


def _schemes_text(analysis: Analysis) -> str:
    """The label schemes of an analysis in words: ``'acdc' (1 RV cavity, …)``."""
    names = {segment.value: segment.name for segment in analysis.segments}
    parts = [
        f"'{scheme}' ({', '.join(f'{given} {names[ours]}' for given, ours in values.items())})"
        for scheme, values in analysis.label_schemes.items()
    ]
    return f"Label values in --labels: {' or '.join(parts)}."


def common_options(analysis: Analysis) -> dict[str, tuple[Any, Any]]:
    """`COMMON` as far as this analysis has use for it.

    Frames are asked for only of a time-resolved input (``time_resolved``, by default yes), a label scheme only where
    there are several. An analysis may give its labels a further option name (``labels_option``).
    """
    options = dict(COMMON)
    if any(given.takes("clinical") for given in analysis.inputs):
        del options["clinical"]
    if not getattr(analysis, "bundles", True):
        del options["accept_license"]
    if isinstance(analysis, TableAnalysis):
        options = {**TABLE, **options, "output": TABLE_OUTPUT}
    timed = getattr(analysis, "time_resolved", True)
    if not timed:
        del options["ed_frame"], options["es_frame"]
    segments, schemes = getattr(analysis, "segments", ()), getattr(analysis, "label_schemes", {})
    if len(schemes) < 2:
        del options["label_scheme"]
    else:
        options["label_scheme"] = (
            Annotated[str, typer.Option(metavar="NAME", help=_schemes_text(analysis))],
            next(iter(schemes)),
        )
    if not segments:
        del options["labels"]
    else:
        names = ["--labels", *([analysis.labels_option] if hasattr(analysis, "labels_option") else [])]
        frames = "; twice for end-diastole and end-systole" if timed else ""
        text = f"A reader's own labels instead of the model's (.nii.gz, .nrrd, .seg.nrrd){frames}."
        if len(schemes) == 1:
            text += f" {_schemes_text(analysis)}"
        options["labels"] = (Annotated[list[Path] | None, typer.Option(*names, metavar="FILE", help=text)], None)
    return options


def input_options(analysis: Analysis) -> tuple[dict[str, str], list[tuple[str, Any, Any]]]:
    """Option or argument name to role, and ``(name, annotation, default)`` of each."""
    needed = [i for i in analysis.inputs if i.required]
    tables = isinstance(analysis, TableAnalysis)  # then the input may be left out
    names: dict[str, str] = {}
    parameters: list[tuple[str, Any, Any]] = []
    for i in analysis.inputs:
        kind: Any = Path | None if tables or not i.required else Path
        if i.required:
            name = "input" if len(needed) == 1 else i.role
            metavar = "CLINICAL" if i.role == "clinical" else name.upper()
            text = i.title if i.role == "clinical" else f"{i.title}: file or folder."
            kind = Annotated[kind, typer.Argument(metavar=metavar, help=text)]
        elif i.many:
            name = i.role
            text = f"{i.title}; may be given several times."
            kind = Annotated[list[Path] | None, typer.Option(metavar="FILE", help=text)]
        else:
            name = i.role
            kind = Annotated[kind, typer.Option(metavar="PATH", help=f"{i.title}.")]
        names[name] = i.role
        parameters.append((name, kind, inspect.Parameter.empty if i.required and not tables else None))
    return names, parameters


def by_role(names: Mapping[str, str], values: dict[str, Any]) -> dict[str, Path]:
    """Takes the inputs out of the options' values; the second file of a role is ``ROLE_2``."""
    inputs: dict[str, Path] = {}
    for name, role in names.items():
        given = values.pop(name)
        for n, path in enumerate(given if isinstance(given, (list, tuple)) else [given] if given else [], start=1):
            inputs[role if n == 1 else f"{role}_{n}"] = path
    return inputs


def analysis_function(analysis: Analysis, run: Callable[..., None]) -> Callable[..., None]:
    """A function with one parameter per input and option, for typer; calls ``run(analysis, values)``."""
    names, parameters = input_options(analysis)
    for name, (kind, default) in {**common_options(analysis), **parameter_options(analysis.Parameters)}.items():
        parameters.append((name, kind, default))

    def command(**values: Any) -> None:
        run(analysis, by_role(names, values), values)

    kinds = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kinds, annotation=kind, default=default) for name, kind, default in parameters]
    )
    command.__annotations__ = {name: kind for name, kind, _ in parameters}
    command.__doc__ = analysis.title + "."
    return command
