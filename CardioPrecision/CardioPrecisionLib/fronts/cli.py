"""The command ``cardioprecision``."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import Cancelled, CardioPrecisionError, InputError
from . import fusion, registry, serve
from .console import fail, show_outcome, show_table, show_warnings, shown_progress
from .options import COMMON, analysis_function
from .streams import own_streams

if TYPE_CHECKING:
    from ..analysis import Analysis

_COMMAND = "cardioprecision"


class _LazyGroup(TyperGroup):
    """The commands of the analyses are built when they are called: only then is the analysis imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in {entry.name for entry in registry.entries()}:
            self.commands[args[0]] = _analysis_command(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_LazyGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Quantitative cardiovascular imaging: images in; measurements, segmentation and report out.",
)
models = typer.Typer(help="The models (MONAI bundles) that are here.", rich_markup_mode=None)
app.add_typer(models, name="models")
if any(entry.package == "FusionRiskLib" for entry in registry.entries()):
    app.add_typer(fusion.app, name="fusion")
    app.command("serve")(serve.serve)

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show library messages and tracebacks.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{_COMMAND} {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# -- analyses ----------------------------------------------------------------------------------------------------------
def accept_licenses(names: list[str]) -> None:
    """Accept the licences of the named models' weights, for good."""
    if names:
        from ..bundle import licence

        for name in names:
            licence.accept(name)


def _run(analysis: Analysis, inputs: dict[str, Path], values: dict[str, Any]) -> None:
    from ..labels import LabelSource
    from .runner import run_analysis

    known = {field.name for field in dataclasses.fields(analysis.Parameters)}
    parameters = {name: values[name] for name in values if name in known}
    if values.get("table") is not None:
        return _run_table(analysis, inputs, parameters, values)
    if values.get("mapping") is not None:
        raise InputError("--mapping is for a table; give --table ROWS.csv.")
    if "table" in values and not inputs:
        raise InputError(f"{analysis.name} needs a patient ({analysis.inputs[0].title}) or a table (--table ROWS.csv).")
    labels = None
    if values.get("labels"):
        scheme = values.get("label_scheme", "cardioprecision")
        labels = LabelSource(tuple(values["labels"]), scheme, values.get("ed_frame"), values.get("es_frame"))
    elif not {"ed_frame", "es_frame"} <= known and (values.get("ed_frame") or values.get("es_frame")):
        raise InputError("--ed-frame and --es-frame say which frames --labels are for; there are no --labels.")
    as_json = values["json_output"]
    with own_streams(values["verbose"]) as (out, err):
        accept_licenses(values.get("accept_license") or [])
        with shown_progress(err, quiet=as_json and not err.isatty()) as progress:
            outcome = run_analysis(
                analysis.name,
                inputs,
                values["output"],
                parameters=parameters,
                clinical=values.get("clinical"),
                labels=labels,
                progress=progress,
                command=[_COMMAND, *_arguments],
            )
        if as_json:
            out.write((outcome.output / "measurements.json").read_text(encoding="utf-8"))
            show_warnings(err, outcome.result.warnings)
        else:
            show_outcome(out, outcome)
        out.flush()
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _run_table(analysis: Analysis, inputs: dict[str, Path], parameters: dict[str, Any], values: dict[str, Any]) -> None:
    from .tables import exit_code, run_table

    if inputs:
        raise InputError(f"--table goes without {next(iter(inputs.values()))}: give one patient or a table, not both.")
    as_json = values["json_output"]
    with own_streams(values["verbose"]) as (out, err):
        with shown_progress(err, quiet=as_json and not err.isatty()) as progress:
            summary = run_table(analysis, values["table"], values["output"], parameters, values["mapping"], progress)
        if as_json:
            document = {"rows": summary.rows, "measured": summary.measured, "warnings": summary.warnings}
            out.write(json.dumps(document, indent=2) + "\n")
        else:
            rows = [[name, str(count)] for name, count in summary.measured.items()]
            show_table(out, f"{summary.rows} rows", ["Score", "Rows with a value"], rows)
            show_warnings(out, summary.warnings)
            out.write(f"Written to {values['output']}\n")
        out.flush()
    if code := exit_code(summary):
        raise typer.Exit(code)


def _analysis_command(name: str) -> Any:
    single = typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
    )
    single.command(name)(analysis_function(registry.get_analysis(name), _run))
    return typer.main.get_command(single)


def _listed(entry: registry.Entry) -> None:
    def listed() -> None:  # replaced by the real command as soon as it is called
        raise NotImplementedError

    app.command(entry.name, help=entry.title)(listed)


for _entry in registry.entries():
    _listed(_entry)


# -- demo and models ---------------------------------------------------------------------------------------------------
@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")] = Path(
        "cardioprecision-demo"
    ),
    accept_license: Annotated[list[str] | None, COMMON["accept_license"][0].__metadata__[0]] = None,
    verbose: Verbose = False,
) -> None:
    """Run a synthetic patient through every module and compare with the truth."""
    from .demo import run_demo

    with own_streams(verbose) as (out, err):
        accept_licenses(accept_license or [])
        with shown_progress(err) as progress:
            outcome, rows = run_demo(output, progress, command=[_COMMAND, *_arguments])
        show_table(out, "Synthetic patient", ["Measurement", "Measured", "Interval", "True"], rows)
        show_warnings(out, outcome.result.warnings)
        out.write(f"Done in {outcome.seconds:.1f} s. Report: {outcome.output / 'report.html'}\n")
        out.flush()
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


@models.command("list")
def models_list(verbose: Verbose = False) -> None:
    """Show the models, their licences and whether they were accepted."""
    from ..bundle.licence import is_accepted
    from ..bundle.registry import list_bundles

    rows = []
    for bundle in list_bundles():
        accepted = "not needed" if not bundle.restricted else "yes" if is_accepted(bundle) else "no"
        rows.append([bundle.name, bundle.version, bundle.licence_name, accepted, bundle.source])
    if rows:
        header = ["Name", "Version", "Licence of the weights", "Accepted", "From"]
        show_table(sys.stdout, "Models", header, rows, numbers=False)
    else:
        typer.echo("There are no models here.")


@models.command("verify")
def models_verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    verbose: Verbose = False,
) -> None:
    """Check the weight files of the models against their SHA-256."""
    from ..bundle.registry import get_bundle, list_bundles, verify

    bundles = [get_bundle(name) for name in names] if names else list_bundles()
    wrong: list[InputError] = []
    for bundle in bundles:
        try:
            files = verify(bundle)
        except InputError as error:
            wrong.append(error)
            continue
        typer.echo(f"{bundle.name} {bundle.version}: {len(files)} file(s) as described")
    for each in wrong[:-1]:
        fail(sys.stderr, str(each))
    if wrong:
        raise wrong[-1]


# -- the way out -------------------------------------------------------------------------------------------------------
_arguments: list[str] = []


def _stop(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _ancestor(cls: type, name: str) -> type:
    return next(c for c in cls.__mro__ if c.__name__ == name)


#: Typer brings its own click or uses the installed one; either way its usage errors descend from this class.
_UsageError: Any = _ancestor(typer.BadParameter, "ClickException")


def _code(error: BaseException, verbose: bool) -> int:
    """Say what went wrong in one line; the exit code."""
    if isinstance(error, (Cancelled, KeyboardInterrupt, typer.Abort)):
        fail(sys.stderr, str(Cancelled()))
        return Cancelled.exit_code
    if isinstance(error, CardioPrecisionError):
        fail(sys.stderr, str(error))
        return error.exit_code
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else _COMMAND
        message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
        fail(sys.stderr, f"{message}{'' if message.endswith(('.', '?')) else '.'} See '{where} --help'.")
        return InputError.exit_code
    if isinstance(error, BrokenPipeError):
        return 1
    if verbose:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, MemoryError):
        fail(sys.stderr, "there is not enough memory for this input.")
    else:
        hint = "" if verbose else " Run it again with -v to see where."
        fail(sys.stderr, f"this is our own fault ({type(error).__name__}: {error}).{hint}")
    return 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 2 wrong input or usage, 3 done but nothing assessable, 1 our own fault, 130 cancelled.
    """
    _arguments[:] = sys.argv[1:] if arguments is None else arguments
    verbose = "-v" in _arguments or "--verbose" in _arguments
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _stop) if in_main else None
    try:
        return _main(verbose)
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _main(verbose: bool) -> int:
    try:
        result = typer.main.get_command(app).main(list(_arguments), prog_name=_COMMAND, standalone_mode=False)
    except SystemExit as end:
        result = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        return _code(error, verbose)
    if result == Cancelled.exit_code:  # typer turns Ctrl-C into an exit code of its own
        return _code(Cancelled(), verbose)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
