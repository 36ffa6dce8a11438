"""When each frame of each slice was: trigger times, RR interval, whether the whole cycle is there."""

from __future__ import annotations

from collections.abc import Sequence as Sequential
from dataclasses import dataclass

import numpy as np

from ..image import Array
from .findings import Finding, plural
from .planes import Plane
from .runs import Run

#: A slice with fewer of the frames cannot be filled up from its own.
ENOUGH_FRAMES = 0.8


@dataclass
class Timing:
    """Times of a stack.

    Attributes
    ----------
    columns : list of list of Plane
        For every slice, one plane per frame.
    times_ms : numpy.ndarray or None
        ``(n_frames, k)``.
    rr_ms : float or None
    full_cycle : bool
    heart_rate_bpm : float or None
        From HeartRate or RR tags only.
    """

    columns: list[list[Plane]]
    times_ms: Array | None
    rr_ms: float | None
    full_cycle: bool
    heart_rate_bpm: float | None
    findings: list[Finding]


def timing_of(runs: Sequential[Run], n_frames: int) -> Timing:
    """Bring the slices of a stack to the same number of frames, by rank, and read the cycle from their times.

    Parameters
    ----------
    runs : sequence of Run
        One per slice.
    n_frames : int
        Frames of a complete slice. Other slices take, for every frame, their own nearest one in normalised time.
    """
    findings: list[Finding] = []
    reference = _reference(runs, n_frames)
    picks = [np.arange(n_frames) if r.n == n_frames else _nearest(r, reference, n_frames) for r in runs]
    columns = [[r.planes[i] for i in pick] for r, pick in zip(runs, picks)]
    findings += _frame_findings(runs, n_frames)
    times = _times(runs, picks)
    rr_values = [r.rr_ms for r in runs if r.rr_ms]
    rr = float(np.median(rr_values)) if rr_values else None
    rate = 60000.0 / rr if rr else None
    if len(rr_values) > 1 and max(rr_values) > 1.3 * min(rr_values):
        findings.append(
            Finding(
                "warning",
                "rr_varies",
                f"The RR interval differs between slices from "
                f"{min(rr_values):.0f} to {max(rr_values):.0f} ms; frames were matched by rank.",
            )
        )
    rr, full, more = _cycle(times, n_frames, rr, runs)
    if more is not None:
        findings.append(more)
        rate = None if more.code == "rr_disagrees" else rate
    return Timing(columns, times, rr, full, rate, findings)


def _own_rr(run: Run, n_frames: int) -> float:
    """The run's cycle length: from its tags, else what its frames would span."""
    return run.rr_ms or n_frames * (run.step_ms or 1.0)


def _reference(runs: Sequential[Run], n_frames: int) -> Array:
    """Normalised time of every frame: the median over complete slices, evenly spread where there are no times."""
    rows = [r.times / _own_rr(r, n_frames) for r in runs if r.n == n_frames and r.times is not None]
    return np.median(rows, axis=0) if rows else np.arange(n_frames) / n_frames


def _nearest(run: Run, reference: Array, n_frames: int) -> Array:
    if run.times is not None:
        own = run.times / _own_rr(run, n_frames)
    else:
        ranks = [p.temporal_position for p in run.planes]
        if run.ordered_by == "temporal position" and max(r or 0 for r in ranks) <= n_frames:
            own = (np.array(ranks, float) - 1.0) / n_frames
        else:
            own = np.arange(run.n) / run.n
    return np.abs(own[:, None] - reference[None, :]).argmin(axis=0)


def _frame_findings(runs: Sequential[Run], n_frames: int) -> list[Finding]:
    findings = []
    short = [r for r in runs if r.n < n_frames]
    if short:
        lost = sum(n_frames - r.n for r in short)
        findings.append(
            Finding(
                "warning",
                "frames_missing",
                f"{plural(len(short), 'slice')} of {len(runs)} lacked {plural(lost, 'frame')} in all "
                f"({n_frames} per slice are usual); the nearest frame in time of the "
                "same slice stands in.",
                lost,
            )
        )
    long = [r for r in runs if r.n > n_frames]
    if long:
        findings.append(
            Finding(
                "warning",
                "frames_differ",
                f"{plural(len(long), 'slice')} of {len(runs)} had more than "
                f"the {n_frames} frames of the others; the nearest frames in time were taken.",
                len(long),
            )
        )
    repeated = sum(r.repeated_frames for r in runs)
    if repeated:
        findings.append(
            Finding(
                "warning",
                "frame_repeated",
                f"{plural(repeated, 'frame')} came twice at the same place and trigger time; the latest was taken.",
                repeated,
            )
        )
    blind = [r for r in runs if r.times is None and r.n > 1]
    if blind:
        how = " and ".join(sorted({r.ordered_by for r in blind}))
        findings.append(
            Finding(
                "warning",
                "no_trigger_times",
                f"{plural(len(blind), 'slice')} of {len(runs)} had no "
                f"usable trigger times; frames were put in order by {how}.",
                len(blind),
            )
        )
    if runs and all(r.times is not None and r.n > 3 for r in runs):
        holes = sum(bool((np.diff(r.times) > 1.7 * (r.step_ms or 0.0)).any()) for r in runs if r.times is not None)
        if holes == len(runs):
            findings.append(
                Finding(
                    "warning",
                    "times_uneven",
                    "The trigger times of every slice leave out at least one frame of the cycle.",
                    holes,
                )
            )
    return findings


def _times(runs: Sequential[Run], picks: Sequential[Array]) -> Array | None:
    known = [r.times[pick] for r, pick in zip(runs, picks) if r.times is not None]
    if not known:
        return None
    usual = np.median(known, axis=0)  # stands in for a slice without times of its own
    return np.stack([r.times[pick] if r.times is not None else usual for r, pick in zip(runs, picks)], axis=1)


def _cycle(
    times: Array | None, n: int, rr: float | None, runs: Sequential[Run]
) -> tuple[float | None, bool, Finding | None]:
    """RR interval, whether the frames cover it, and what is odd about it."""
    if n < 2:
        return (
            rr,
            False,
            Finding(
                "warning",
                "single_phase",
                "The stack holds a single cardiac phase; volumes of that phase can be measured, no ejection fraction.",
            ),
        )
    few = Finding(
        "info",
        "few_phases",
        f"The stack holds {n} cardiac phases; no full cycle, so no filling or ejection "
        "rates and no cardiac output from its times.",
    )
    if times is None:
        said = {p.cardiac_images for r in runs for p in r.planes}
        return rr, n >= 10 and said == {n}, None if n >= 10 else few
    middle = np.median(times, axis=1)
    steps = np.diff(middle)
    step = float(np.median(steps))
    span = float(middle[-1] - middle[0]) + step
    if n < 10:
        return rr, False, few
    if rr is None:
        even = bool(steps.max() <= 1.25 * step and middle[0] <= 1.5 * step)
        return (n * step, True, None) if even and 240 <= n * step <= 3000 else (None, False, None)
    if span > 1.25 * rr:
        return (
            span,
            True,
            Finding(
                "warning",
                "rr_disagrees",
                f"The trigger times span {span:.0f} ms but the header gives "
                f"an RR interval of {rr:.0f} ms; the heart rate was not taken from it.",
            ),
        )
    if span < 0.8 * rr:
        return (
            rr,
            False,
            Finding(
                "warning",
                "cycle_incomplete",
                f"The frames cover {span:.0f} of the {rr:.0f} ms of the cardiac cycle; late diastole may be missing.",
            ),
        )
    return rr, True, None
