"""From a list of recordings to a table, and to an encoder: what the commands do."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CardioPrecisionLib import __version__
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.errors import InputError

from ..fusion.join_table import ID as PATIENT
from ..fusion.join_table import VISIT, Joined, check_join, check_output, join_columns, write_rows
from .analyse import analyse, features_of
from .encoder import MIN_RECORDINGS, found_again, kept_part, train
from .encoder_steps import Steps
from .encoder_store import MAX_SIZE, StoredEncoder, check_new, load_encoder, save_encoder
from .found import Found
from .listing import Listed, modality_lines, read_list
from .quality import Flag
from .reading import read_recording
from .recording import KINDS, LEADS, Kind, Recording, RecordingError
from .windows import Layout, Prepared, prepare, usable_leads

#: Of many recordings, the share that judges the encoder and does not train it.
_HELD_OUT, _ENOUGH = 10, 60
#: Samples that a training holds in memory at once, 2 GiB of them.
_MAX_HELD = 1 << 29


@dataclass(frozen=True)
class WaveformOutcome:
    """What was done.

    Attributes
    ----------
    output : Path
    warnings : list of str
    seconds : float
    joined : Joined or None
        The cohort table with the columns of a table.
    details : mapping
        Of a table: ``recordings``, ``flags`` (flag -> number), ``lines`` (for the cohort schema). Of an
        encoder: what its card says of the training.
    """

    output: Path
    warnings: list[str]
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)
    joined: Joined | None = None


def _kind(kind: str) -> Kind:
    for known in KINDS:
        if kind == known:
            return known
    raise InputError(f"--kind {kind}: choose {' or '.join(KINDS)}.")


# -- a table ----------------------------------------------------------------------------------------------------------
def make_table(
    listing: Path,
    output: Path,
    *,
    kind: str = "ecg",
    encoder: Path | None = None,
    rate: float | None = None,
    join_to: Path | None = None,
    id_column: str | None = None,
    visit_column: str | None = None,
    progress: Progress = silent,
) -> WaveformOutcome:
    """Turn the recordings of a list into columns.

    Parameters
    ----------
    listing : Path
        As of `listing.read_list`.
    output : Path
        CSV to write: a row per line of the list.
    kind : {"ecg", "pcg"}
    encoder : Path, optional
        Folder of `train_encoder`.
    rate : float, optional
        Hz, for CSV recordings without times.
    join_to : Path, optional
        Cohort table; with the new columns it is written beside `output`, as ``….cohort.csv``.
    id_column, visit_column : str, optional
        Of the cohort.
    progress : callable

    Returns
    -------
    WaveformOutcome
        ``details["usable"]`` is 0 where no recording could be used; the table, with the reasons, is written.

    Raises
    ------
    InputError
        The list, the encoder or the cohort cannot be used; nothing was written.
    """
    started = time.perf_counter()
    own = _kind(kind)
    progress(0.0, "Reading the list")
    mark = f"{own}_quality"
    together = output.with_suffix(".cohort.csv")
    check_output(output, mark, [listing, join_to])
    listed = read_list(listing)
    stored = load_encoder(encoder) if encoder is not None else None
    if stored is not None and stored.encoder.layout.kind != own:
        raise InputError(f"{encoder}: this encoder is for {stored.encoder.layout.kind}, not for {own}.")
    names = _columns(own, stored)
    if join_to is not None:  # what cannot be joined is told before the work
        check_output(together, mark, [listing, join_to])
        check_join(join_to, listing, names, id_column, visit_column)
    cells, flags = [], Counter[str]()
    unread = seen = 0
    for i, one in enumerate(listed):
        progress(0.02 + 0.96 * i / len(listed), "Recordings")
        try:
            recording = read_recording(one.path, rate, one.place)
        except RecordingError as error:
            unread += 1
            flags[str(Flag.UNUSABLE)] += 1
            cells.append([str(Flag.UNUSABLE), error.reason, *[""] * (len(names) - 2)])
            continue
        seen += stored is not None and stored.knows(recording.sha256)
        row = _row(recording, own, stored)
        flags[row[0]] += 1
        cells.append(row)
    progress(0.98, "Writing")
    warnings = _warnings(listed, unread, seen, flags, own)
    with_visit = any(one.visit is not None for one in listed)
    keys = [(one.patient, one.visit or "") if with_visit else (one.patient,) for one in listed]
    write_rows(
        output, [PATIENT, *([VISIT] if with_visit else []), *names],
        [[*key, *row] for key, row in zip(keys, cells, strict=True)],
    )  # fmt: skip
    joined = join_columns(join_to, output, together, id_column, visit_column) if join_to is not None else None
    warnings += joined.warnings if joined is not None else []
    columns = dict(zip(names, zip(*cells, strict=True), strict=True))
    there = names if joined is None else joined.columns
    apart = [name for name in names[:3] if name in there]
    details = {
        "recordings": len(listed),
        "flags": {str(flag): flags[str(flag)] for flag in Flag},
        "usable": len(listed) - flags[str(Flag.UNUSABLE)],
        "unreadable": unread,
        "lines": modality_lines(dict.fromkeys(names[3:], own), columns, apart),
    }
    progress(1.0, "Done")
    return WaveformOutcome(output, warnings, time.perf_counter() - started, details, joined)


def _columns(kind: Kind, stored: StoredEncoder | None) -> list[str]:
    """Always the same for a kind and an encoder, so that a model finds its columns in any later table."""
    size = stored.encoder.size if stored is not None else 0
    return [
        f"{kind}_quality", f"{kind}_reason", f"{kind}_seconds", *(f"{kind}_{name}" for name in features_of(kind)),
        *(f"{kind}_embedding_{k:02d}" for k in range(size)),
    ]  # fmt: skip


def _row(recording: Recording, kind: Kind, stored: StoredEncoder | None) -> list[str]:
    found = analyse(recording, kind)
    reasons = list(found.quality.reasons)
    cells = [_cell(found.features.get(name)) for name in features_of(kind)]
    if stored is not None:
        prepared = prepare(recording, found, stored.encoder.layout)
        if isinstance(prepared, Prepared):
            cells += [_cell(float(v)) for v in stored.encoder.embed(prepared)]
        else:
            cells += [""] * stored.encoder.size
            if found.quality.flag is not Flag.UNUSABLE:
                reasons.append(f"no embedding: {prepared}")
    return [str(found.quality.flag), "; ".join(reasons), f"{recording.seconds:.2f}", *cells]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _warnings(listed: Sequence[Listed], unread: int, seen: int, flags: Counter[str], kind: Kind) -> list[str]:
    warnings = []
    all_of, why = f"of {len(listed)} recordings", f"{kind}_reason says why"
    if unread:
        warnings.append(f"{unread} {all_of} could not be read; {why}.")
    bad, doubtful = flags[str(Flag.UNUSABLE)] - unread, flags[str(Flag.DOUBTFUL)]
    if bad:
        warnings.append(f"{bad} {all_of} cannot be used; their cells are empty, {why}.")
    if doubtful:
        warnings.append(f"{doubtful} {all_of} are doubtful; {why}.")
    if seen:
        warnings.append(
            f"{seen} {all_of} were in the encoder's training. No outcome was used in it, but judge a model on others "
            "where you can."
        )
    return warnings


# -- an encoder -------------------------------------------------------------------------------------------------------
def train_encoder(
    listing: Path,
    output: Path,
    *,
    kind: str = "ecg",
    size: int = 16,
    epochs: int = 60,
    rate: float | None = None,
    leads: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> WaveformOutcome:
    """Train an encoder on the recordings of a list and write its folder.

    A training that was stopped goes on after its last finished epoch.

    Parameters
    ----------
    listing : Path
        As of `listing.read_list`; patients are not needed.
    output : Path
        New folder.
    kind : {"ecg", "pcg"}
    size : int
        Numbers that it makes of a recording.
    epochs : int
    rate : float, optional
        Hz, for CSV recordings without times.
    leads : sequence of str, optional
        Of an ECG; default: those that all recordings have, or else one channel of each, the clearest.
    seed : int
    progress : callable

    Raises
    ------
    InputError
        Too few recordings can be used, or the folder holds something; nothing was written.
    """
    started = time.perf_counter()
    own = _kind(kind)
    check_new(output)
    if not 2 <= size <= MAX_SIZE or epochs < 1:
        raise InputError(f"An encoder has 2 to {MAX_SIZE} numbers and is trained for at least one epoch.")
    chosen = _leads(leads, own)
    progress(0.0, "Reading the list")
    listed = read_list(listing, patients=False)
    layout, ready, hashes, unused = _recordings(listed, own, chosen, rate, part(progress, 0.0, 0.3))
    if len(ready) < MIN_RECORDINGS:
        raise InputError(
            f"{listing}: {len(ready)} of {len(listed)} recordings can be used; an encoder needs {MIN_RECORDINGS}."
        )
    order = sorted(range(len(ready)), key=lambda i: hashes[i])  # the order of the list makes no difference
    ready, hashes = [ready[i] for i in order], [hashes[i] for i in order]
    held = ready[::_HELD_OUT] if len(ready) >= _ENOUGH else []
    of_training = [i for i in range(len(ready)) if not held or i % _HELD_OUT]
    used = [ready[i] for i in of_training]
    asked = {"layout": [layout.kind, layout.leads], "size": size, "epochs": epochs, "seed": seed}
    key = hashlib.sha256(json.dumps([__version__, asked, hashes]).encode()).hexdigest()[:24]
    steps = Steps(output.with_name(f".{output.name}.training"), key)
    if steps.there:
        progress(0.3, "Going on with a training that was stopped")
    encoder, losses = train(used, layout, size, epochs, seed, part(progress, 0.3, 0.97), steps)
    again = found_again(encoder, held) if held else None
    progress(0.98, "Writing")
    facts = {
        "objective": "NT-Xent between two changed windows of a recording",
        "recordings": len(used),
        "held_out": len(held),
        "held_out_found_again": again,
        "unused": unused,
        "epochs": epochs,
        "seed": seed,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "recordings_sha256": [hashes[i] for i in of_training],
    }
    save_encoder(output, encoder, facts)
    steps.clear()
    progress(1.0, "Done")
    warnings = [f"{unused} of {len(listed)} recordings could not be used and were left out."] if unused else []
    facts |= {"leads": list(layout.leads), "kind": own, "size": size}
    return WaveformOutcome(output, warnings, time.perf_counter() - started, facts)


def _leads(leads: Sequence[str] | None, kind: Kind) -> tuple[str, ...] | None:
    if not leads:
        return None
    if kind != "ecg":
        raise InputError("--leads is for ECGs.")
    names = {lead.lower(): lead for lead in LEADS}
    unknown = next((lead for lead in leads if lead.lower() not in names), None)
    if unknown is not None:
        raise InputError(f"--leads: {unknown[:20]!r} is none of {', '.join(LEADS)}.")
    given = {names[lead.lower()] for lead in leads}
    return tuple(lead for lead in LEADS if lead in given)


def _recordings(
    listed: Sequence[Listed], kind: Kind, leads: tuple[str, ...] | None, rate: float | None, progress: Progress
) -> tuple[Layout, list[Prepared], list[str], int]:
    """The layout, the recordings as the encoder sees them, their hashes, and how many cannot be used.

    They are read twice, first to see which leads all of them have, so that never more than one is held as it was read.
    """
    usable: dict[int, Found] = {}
    common: set[str] | None = None
    for i, one in enumerate(listed):
        progress(0.7 * i / len(listed), "Looking at recordings")
        try:
            recording = read_recording(one.path, rate, one.place)
        except RecordingError:
            continue
        found = analyse(recording, kind)
        if found.quality.flag is not Flag.UNUSABLE:
            usable[i] = found
            own = usable_leads(recording, found)
            common = own if common is None else common & own
    if leads is None:
        leads = tuple(lead for lead in LEADS if kind == "ecg" and lead in (common or ()))
    layout = Layout(kind, leads)
    ready: dict[str, Prepared] = {}
    held = 0
    for k, (i, found) in enumerate(usable.items()):
        progress(0.7 + 0.3 * k / len(usable), "Preparing recordings")
        recording = read_recording(listed[i].path, rate, listed[i].place)
        prepared = prepare(recording, found, layout)
        if isinstance(prepared, str):
            continue
        kept = kept_part(prepared, layout)
        if not len(kept.starts(layout.samples)):
            continue
        held += kept.x.size
        if held > _MAX_HELD:
            raise InputError(f"{listed[i].place}: the list holds more than fits into memory; give a shorter list.")
        ready[recording.sha256] = kept  # the same recording twice would be its own stranger
    return layout, list(ready.values()), list(ready), len(listed) - len(ready)
