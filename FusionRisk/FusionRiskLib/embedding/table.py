"""From a list of images to a table of their embeddings, with a record beside it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.bundle.registry import Bundle, get_bundle, list_bundles, open_bundle
from CardioPrecisionLib.dicom.findings import plural
from CardioPrecisionLib.errors import Cancelled, CardioPrecisionError, InputError
from CardioPrecisionLib.record import RunRecord, file_sha256
from CardioPrecisionLib.replacing import replacing

from ..fusion.join_table import Joined, check_join, check_output, join_columns, write_rows
from .images import ID, VISIT, ListedImage, read_image, read_list
from .projection import Array, project, projection

if TYPE_CHECKING:
    from .encoder import Encoder
    from .inputs import Made

#: Columns where the layer has more channels.
SIZE = 16
SEED = 0
ANALYSIS = "image-embeddings"


@dataclass(frozen=True)
class Embedded:
    """What was done with a list.

    Attributes
    ----------
    output, record : Path
    rows, embedded : int
        Lines of the list, and how many have an embedding.
    columns : tuple of str
    warnings : list of str
    seconds : float
    layer : str
    joined : Joined or None
    """

    output: Path
    record: Path
    rows: int
    embedded: int
    columns: tuple[str, ...]
    warnings: list[str]
    seconds: float
    layer: str
    joined: Joined | None = None

    @property
    def modalities(self) -> str:
        """What the schema of the cohort has to say of the new columns."""
        return f"modalities:\n  {self.columns[0].rsplit('_', 1)[0]}: [{', '.join(self.columns)}]"


@dataclass
class _Rows:
    """Vectors, reasons, facts and warnings of the images so far, in the order of the list."""

    vectors: list[Array | None] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_bundle(name: str) -> Bundle:
    """A bundle by its name, or by its folder; a folder's is a stranger's, of which no code runs."""
    if all(bundle.name != name for bundle in list_bundles()) and Path(name).is_dir():
        return open_bundle(name)
    return get_bundle(name)


def embed_list(
    listed: Path,
    output: Path,
    bundle: Bundle,
    *,
    layer: str | None = None,
    member: str | None = None,
    sd: bool = False,
    size: int = SIZE,
    seed: int = SEED,
    frames: Sequence[int] | None = None,
    device: str = "auto",
    made: Made | None = None,
    join: Path | None = None,
    id: str | None = None,
    visit: str | None = None,
    progress: Progress = silent,
    command: list[str] | None = None,
) -> Embedded:
    """Embed the images of a list and write the table; nothing is written where nothing could be embedded at all.

    Parameters
    ----------
    listed : Path
        See `images.read_list`.
    output : Path
        CSV: ``patient_id``, ``visit`` if the list has it, the embedding, and why it is empty where it is. The record
        goes beside it.
    bundle : Bundle
    layer, member, sd, device, made
        See `Encoder`.
    size, seed : int
        At most so many columns; more features are projected by a rule that hangs on `seed` alone.
    frames : sequence of int, optional
        Counted from 0; see `Encoder.embed`.
    join : Path, optional
        A cohort table; with the new columns it is written beside `output`, as ``….cohort.csv``.
    id, visit : str, optional
        Its columns of patients and visits; by default the usual names.
    progress : callable

    Raises
    ------
    InputError
        The list, the bundle or a choice cannot be used.
    Cancelled
        Nothing was written.
    """
    started = time.perf_counter()
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", bundle.name)  # a stranger's folder may be called anything
    reason = f"{name}_embedding_reason"
    check_output(output, reason, [listed, join])
    if size < 1:
        raise InputError(f"An embedding of {size} columns was asked for; it needs at least one.")
    together = output.with_suffix(".cohort.csv")
    if join is not None and together.resolve() == join.resolve():
        raise InputError(f"{join}: the cohort with the new columns would overwrite it; give another -o.")
    images, visits = read_list(listed)
    from .encoder import Encoder

    note = RunRecord(ANALYSIS, command=command)
    encoder = Encoder(bundle, layer=layer, member=member, sd=sd, device=device, made=made)
    features = encoder.features * (1 if frames is None else len(frames))
    directions = projection(size, features, seed)
    width = features if directions is None else size
    digits = max(2, len(str(width - 1)))
    columns = tuple(f"{name}_embedding_{n:0{digits}d}" for n in range(width))
    if join is not None:
        check_join(join, listed, columns, id, visit)
    found = _embed_all(encoder, images, frames, progress)
    cells = [
        [""] * width if vector is None else [f"{v:.6g}" for v in project(vector, directions)]
        for vector in found.vectors
    ]
    warnings = _warnings(bundle, found)
    head = [ID, VISIT] if visits else [ID]
    keys = [[one.patient, one.visit] if visits else [one.patient] for one in images]
    write_rows(
        output, [*head, *columns, reason],
        [[*key, *row, why] for key, row, why in zip(keys, cells, found.reasons, strict=True)],
    )  # fmt: skip
    outputs = {output.name: file_sha256(output)}
    joined = None
    if join is not None:
        joined = join_columns(join, output, together, id, visit)
        outputs[joined.output.name] = file_sha256(joined.output)
        warnings += joined.warnings
    note.parameters = {
        "layer": encoder.layer.name, "member": encoder.member, "sd": sd, "size": width, "features": features,
        "frames": None if frames is None else [t + 1 for t in frames], "projected": directions is not None,
    }  # fmt: skip
    note.inputs = [{"role": "image", "path": f"line {one.line} of the list", **facts}
                   for one, facts in zip(images, found.facts, strict=True)]  # fmt: skip
    document = note.to_json({"model": encoder.record(), "seeds": {"projection": seed}}, warnings, outputs)
    record = output.with_suffix(".record.json")
    _write(record, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    progress(1.0, "Done")
    embedded = sum(vector is not None for vector in found.vectors)
    return Embedded(
        output, record, len(images), embedded, columns, warnings, time.perf_counter() - started, encoder.layer.name,
        joined,
    )  # fmt: skip


def _embed_all(
    encoder: Encoder, images: Sequence[ListedImage], frames: Sequence[int] | None, progress: Progress
) -> _Rows:
    """One image after the other; one at a time is in memory. What one image cannot be used for is its own reason."""
    found = _Rows()
    for n, one in enumerate(images):
        share = _named(part(progress, n / len(images), (n + 1) / len(images)), f"Image {n + 1} of {len(images)}")
        share(0.0, "")
        facts: dict[str, Any] = {"voxel_hash": None}
        vector, why = None, ""
        try:
            sequence, odd = read_image(one.path, encoder.bundle, part(share, 0.0, 0.2))
            facts |= {"voxel_hash": sequence.voxel_hash(), "frames": sequence.n_frames, "size": list(sequence.shape)}
            vector = encoder.embed(sequence, frames, part(share, 0.2, 1.0))
            odd = [_without_path(text, one.path) for text in [*odd, *encoder.warnings]]
            facts |= {"warnings": odd, **encoder.facts}
            found.warnings += odd[:1]
        except Cancelled:
            raise
        except (CardioPrecisionError, OSError) as error:
            why = _why(error, one.path)
        found.vectors.append(vector)
        found.reasons.append(why)
        found.facts.append(facts)
    return found


def _named(progress: Progress, stage: str) -> Callable[[float, str], None]:
    return lambda fraction, _stage: progress(fraction, stage)


def _why(error: Exception, path: Path) -> str:
    """The reason in one line, without a path or a file name that may name a patient."""
    text = str(error) if isinstance(error, CardioPrecisionError) else f"it cannot be read ({type(error).__name__})"
    return _without_path(text, path)


def _without_path(text: str, path: Path) -> str:
    text = re.sub(re.escape(str(path)) + r"([/\\][^\s:;,]+)?", "The image", text).replace(path.name, "the image")
    return " ".join(text.split())


def _warnings(bundle: Bundle, found: _Rows) -> list[str]:
    warnings = []
    empty = [why for why in found.reasons if why]
    if empty:
        kinds = {why: empty.count(why) for why in empty}
        usual = max(kinds, key=lambda why: kinds[why])
        warnings.append(
            f"{len(empty)} of {plural(len(found.reasons), 'image')} without an embedding; the table says why. "
            f"Most often ({kinds[usual]}): {usual}"
        )
    if found.warnings:
        many = len(found.warnings)
        warnings.append(
            f"{plural(many, 'image')} {'was' if many == 1 else 'were'} embedded with a warning; the record says which. "
            f"The first: {found.warnings[0]}"
        )
    data = str(bundle.metadata.get("data_source") or "").strip().rstrip(".")
    if data:
        warnings.append(
            f"Bundle {bundle.name} was trained on: {data}. Embeddings of patients whom it was trained on are not those "
            "of strangers; judge no model on them."
        )
    return warnings


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: the record cannot be written ({error.strerror}).") from None
