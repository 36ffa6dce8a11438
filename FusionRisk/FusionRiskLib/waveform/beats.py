"""Heart beats of an ECG: two detectors of the package wfdb, how far they agree, and intervals between beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.errors import InputError

from .recording import Array
from .signal import band, robust_spread

#: Two detectors mean the same beat within this time (Li et al. 2008, Physiol Meas 29:15-32).
_SAME_S = 0.15
#: Beats so near to an end are not compared: a detector needs a moment on either side.
_EDGE_S = 0.6
#: A beat after less than this share of the usual interval is early.
EARLY = 0.8
#: Intervals on either side that tell what is usual.
_AROUND = 5
_SHORTEST_S, _LONGEST_S = 0.2, 3.0


@dataclass(frozen=True, eq=False)
class Beats:
    """Beats of one channel.

    Attributes
    ----------
    seconds : numpy.ndarray
        ``(beats,)`` of the largest deflection, finer than a sample.
    agreement : float
        Beats that both detectors found over all that any found (bSQI), 0..1.
    """

    seconds: Array
    agreement: float


def find_beats(x: Array, missing: Array, rate: float) -> Beats:
    """Beats of one channel.

    Parameters
    ----------
    x : numpy.ndarray
        ``(samples,)`` without NaN, any unit, either polarity.
    missing : numpy.ndarray
        ``(samples,)`` bool: no beat is told there.
    rate : float
        Hz, 100 or more.
    """
    try:
        from wfdb.processing import XQRS, gqrs_detect
    except ImportError:
        raise InputError("ECGs need the package wfdb; pip install 'cardioprecision[waveforms]'.") from None

    clean = band(x, rate, 0.5, 40.0)
    size = robust_spread(clean)
    if size <= 0 or len(x) < 3 * rate:
        return Beats(np.zeros(0), 0.0)
    clean = clean / size
    first = XQRS(clean, rate)
    first.detect(verbose=False)
    found = np.asarray(first.qrs_inds, dtype=np.int64)
    try:
        other = np.asarray(gqrs_detect(sig=clean, fs=rate, adc_gain=200, adc_zero=0), dtype=np.int64)
    except (IndexError, ValueError):  # of a signal that is none
        other = np.zeros(0, dtype=np.int64)
    found = found[~missing[found]]
    other = other[~missing[np.clip(other, 0, len(x) - 1)]]
    seconds = _refined(clean, _on_complex(clean, found, rate), rate)
    return Beats(seconds, agreement(seconds, other / rate, len(x) / rate))


def agreement(one: Array, other: Array, seconds: float) -> float:
    """Share of beats that two detectors both found, of all that at least one found; times in s."""

    def inner(times: Array) -> Array:
        return times[(times > _EDGE_S) & (times < seconds - _EDGE_S)]

    a, b = inner(one), inner(other)
    if not len(a) or not len(b):
        return 0.0
    matched, lonely = int(_near(a, other).sum()), int((~_near(b, one)).sum())
    return matched / (len(a) + lonely)


def _near(times: Array, others: Array) -> Array:
    """``(times,)`` bool: one of the others is within `_SAME_S`."""
    others = np.sort(others)
    right = np.searchsorted(others, times)
    after = others[np.minimum(right, len(others) - 1)]
    before = others[np.maximum(right - 1, 0)]
    return np.asarray(np.minimum(np.abs(after - times), np.abs(before - times)) <= _SAME_S)


def _on_complex(x: Array, at: Array, rate: float) -> Array:
    """Places moved to the sharpest wave within 160 ms: with few beats to learn from, the detector may take P for R."""
    half = round(0.16 * rate)
    inside = np.clip(at, half, len(x) - half - 1)
    sharp = band(np.abs(band(x, rate, 8.0, 35.0)), rate, None, 12.0)
    windows = sharp[inside[:, None] + np.arange(-half, half + 1)]
    moved = np.sort(inside - half + np.argmax(windows, axis=1))
    apart = np.concatenate([[True], np.diff(moved) > _SHORTEST_S * rate])[: len(moved)]
    return np.asarray(moved[apart])


def _refined(x: Array, at: Array, rate: float) -> Array:
    """The top of the largest deflection within 60 ms, by a parabola through three samples, in seconds."""
    half = max(round(0.06 * rate), 1)
    at = at[(at > half) & (at < len(x) - half - 1)]
    if not len(at):
        return np.zeros(0)
    offsets = np.arange(-half, half + 1)
    windows = x[at[:, None] + offsets]
    middle = np.median(windows, axis=1, keepdims=True)
    # One direction for all beats: with R and S alike the larger one changes with the noise.
    up = np.median((windows - middle).max(axis=1)) >= np.median((middle - windows).max(axis=1))
    tall = windows if up else -windows
    best = at + offsets[np.argmax(tall, axis=1)]
    left, top, right = (x[best + k] for k in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = np.where(bend != 0, 0.5 * (left - right) / np.where(bend == 0, 1, bend), 0.0)
    return np.unique(best + np.clip(shift, -0.5, 0.5)) / rate


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals between beats.

    Attributes
    ----------
    rr : numpy.ndarray
        ``(intervals,)`` seconds, of neighbouring beats without a gap between them.
    normal : numpy.ndarray
        ``(intervals,)`` bool: neither ends with an early beat nor follows one.
    consecutive : numpy.ndarray
        ``(intervals - 1,)`` bool: an interval and the next share a beat, and both are normal.
    early_share : float
        Early beats of all that could be judged.
    early : numpy.ndarray
        ``(intervals,)`` bool.
    """

    rr: Array
    normal: Array
    consecutive: Array
    early_share: float
    early: Array


def intervals_of(seconds: Array, missing: Array, rate: float) -> Intervals:
    """Intervals of beats at `seconds`; those over missing samples, or no heart's, are left out."""
    rr = np.diff(seconds)
    before = np.concatenate([[0], np.cumsum(missing)])
    places = np.clip((seconds * rate).astype(np.int64), 0, len(missing))
    whole = (np.diff(before[places]) == 0) & (rr >= _SHORTEST_S) & (rr <= _LONGEST_S)
    usual = _usual(rr, whole)
    early = whole & (rr < EARLY * usual)
    after = np.concatenate([[False], early[:-1]])
    normal = whole & ~early & ~after
    consecutive = normal[1:] & normal[:-1]
    keep = np.flatnonzero(whole)
    # what was left out breaks the chain
    joined = (consecutive[keep[:-1]] & (np.diff(keep) == 1)) if len(keep) > 1 else np.zeros(0, dtype=bool)
    share = float(early.sum() / len(keep)) if len(keep) else np.nan
    return Intervals(rr[keep], normal[keep], joined, share, early[keep])


def _usual(rr: Array, whole: Array) -> Array:
    """``(intervals,)`` median of the intervals around each."""
    values = np.where(whole, rr, np.nan)
    if not whole.any():
        return np.full(len(rr), np.inf)
    padded = np.concatenate([np.full(_AROUND, np.nan), values, np.full(_AROUND, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1)
    known = np.isfinite(windows).any(axis=1)
    usual = np.full(len(rr), np.nanmedian(values))
    usual[known] = np.nanmedian(windows[known], axis=1)
    return usual
