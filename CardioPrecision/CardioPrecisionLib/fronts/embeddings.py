"""``cardioprecision fusion embed``: image embeddings as columns of a cohort table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, NothingAssessable
from .console import show_warnings, shown_progress
from .streams import own_streams

if TYPE_CHECKING:
    from FusionRiskLib.embedding.inputs import Made

    from ..bundle.registry import Bundle


def _frames(text: str | None) -> list[int] | None:
    """``1,12`` as frames counted from 0; None where none are named."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) >= 1 for word in words) or len(set(words)) < len(words):
        raise InputError(f"--frame {text}: give frames by number, counted from 1, each once, as 1 or 1,12.")
    return [int(word) - 1 for word in words]


def _accept(names: list[str], bundle: Bundle) -> None:
    """Accept licences by name, that of a bundle in a folder too."""
    from ..bundle import licence
    from ..bundle.registry import list_bundles

    for name in names:
        licence.accept(name, [*list_bundles(), bundle])


def _made_by_its_analysis(bundle: Bundle) -> Made | None:
    """How an image becomes the input of a bundle whose own analysis alone knows."""
    if not bundle.trusted or bundle.name != "calcium_territories":
        return None
    from CoronaryPlaqueLib.territory import coarse, network_input

    def made(image):  # type: ignore[no-untyped-def]
        hu, inside, _ = coarse(image)
        return network_input(hu, inside), inside

    return made


def embed(
    images: Annotated[
        Path, typer.Argument(metavar="LIST", help="CSV: patient_id, image (file or DICOM folder), visit if any.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TABLE.csv", help="Table to write.")],
    bundle: Annotated[str, typer.Option(metavar="NAME", help="A model by name (models list), or its folder.")],
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Layer to read. Default: the deepest.")] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of the bundle's networks. Default: the first.")
    ] = None,
    sd: Annotated[bool, typer.Option("--sd", help="Also the spread of every channel over the image.")] = False,
    size: Annotated[int, typer.Option(min=1, max=4096, help="Columns at most; more are projected.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the projection.")] = 0,
    frame: Annotated[
        str | None,
        typer.Option(metavar="N[,N]", help="Frames of a series, each by itself. Default: 4 evenly spaced, pooled."),
    ] = None,
    join: Annotated[
        Path | None, typer.Option(metavar="COHORT.csv", help="Also write this table with the new columns.")
    ] = None,
    patient: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Of --join: the patient.")] = None,
    visit: Annotated[str | None, typer.Option(metavar="COLUMN", help="Of --join: the visit.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    accept_license: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Accept the licence of this model's weights; remembered.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show library messages and tracebacks.")] = False,
) -> None:
    """Run the frozen encoder of a model on images: embeddings as columns of a cohort table."""
    from FusionRiskLib.embedding import table

    from . import cli

    if join is None and (visit is not None or patient is not None):
        raise InputError("--id and --visit name columns of the table to join; give --join COHORT.csv.")
    chosen = table.find_bundle(bundle)
    numbers = _frames(frame)
    with own_streams(verbose) as (out, err):
        _accept(accept_license or [], chosen)
        with shown_progress(err) as progress:
            done = table.embed_list(
                images, output, chosen, layer=layer, member=network, sd=sd, size=size, seed=seed, frames=numbers,
                device=device, made=_made_by_its_analysis(chosen), join=join, id=patient, visit=visit,
                progress=progress, command=["cardioprecision", *cli._arguments],
            )  # fmt: skip
        show_warnings(out, done.warnings)
        out.write(f"{done.embedded} of {done.rows} images, {len(done.columns)} columns (layer {done.layer}).\n")
        if done.joined is not None:
            out.write(f"Cohort: {done.joined.output}. Its schema needs:\n{done.modalities}\n")
        out.write(f"Done in {done.seconds:.1f} s. Table: {done.output}\n")
        out.flush()
    if not done.embedded:
        raise typer.Exit(NothingAssessable.exit_code)
