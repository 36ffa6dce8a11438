"""The median beat of an ECG, and where its waves begin and end.

Onset and offset of the QRS complex come from the slope of all leads together, the end of the T wave from the tangent at
its steepest descent. Where noise hides them, there is no number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .recording import Array
from .signal import band

#: Hz of the median beat; seconds of it before and after R.
RATE = 500.0
BEFORE, AFTER = 0.34, 0.66
MIN_BEATS = 5
#: The slope counts as QRS above this share of its top, and this many times its size where the heart is quiet.
_SHARE, _NOISE_TIMES = 0.05, 3.5
#: With a threshold above this share of the top, edges of the QRS complex cannot be told.
_TOO_NOISY = 0.1
_STRETCH_S = 0.06
_QUIET_S = 0.016
_SHORTEST_QRS_S, _LONGEST_QRS_S = 0.05, 0.24
#: Slopes are those of waves up to this frequency: above it there is more noise than heart.
_SLOPE_HZ = 60.0


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """A median beat.

    Attributes
    ----------
    x : numpy.ndarray
        ``(samples, leads)`` in the unit that came in, the level before the QRS complex at zero.
    onset, offset : float or None
        Seconds from R; None where they cannot be told.
    t_peak, t_end : float or None
        Seconds from R.
    beats : int
    """

    x: Array
    onset: float | None
    offset: float | None
    t_peak: float | None
    t_end: float | None
    beats: int

    @property
    def qrs_ms(self) -> float | None:
        return None if self.onset is None or self.offset is None else 1000 * (self.offset - self.onset)

    @property
    def qt_ms(self) -> float | None:
        return None if self.onset is None or self.t_end is None else 1000 * (self.t_end - self.onset)


def windows_at(x: Array, seconds: Array, rate: float = RATE) -> Array:
    """``(beats, samples, leads)`` around beats at `seconds`, between samples by straight lines."""
    offsets = np.arange(-round(BEFORE * RATE), round(AFTER * RATE) + 1) / RATE
    at = (seconds[:, None] + offsets) * rate
    low = np.clip(np.floor(at).astype(np.int64), 0, len(x) - 2)
    share = (at - low)[..., None]
    return np.asarray(x[low] * (1 - share) + x[low + 1] * share)


def usable_beats(seconds: Array, missing: Array, rate: float) -> Array:
    """``(beats,)`` bool: the whole window of the beat lies inside of the recording and holds no missing sample."""
    before = np.concatenate([[0], np.cumsum(missing)])
    first = np.floor((seconds - BEFORE) * rate).astype(np.int64)
    last = np.ceil((seconds + AFTER) * rate).astype(np.int64) + 1
    inside = (first >= 0) & (last < len(missing))
    first, last = np.clip(first, 0, len(missing)), np.clip(last, 0, len(missing))
    return np.asarray(inside & (before[last] == before[first]))


def median_beat(x: Array, seconds: Array, rr: float) -> MedianBeat | None:
    """The median of beats.

    Parameters
    ----------
    x : numpy.ndarray
        ``(samples, leads)`` at `RATE`, without NaN and without baseline wander.
    seconds : numpy.ndarray
        ``(beats,)`` of R of normal beats whose windows are whole.
    rr : float
        Usual interval between beats, s.

    Returns
    -------
    MedianBeat or None
        None with fewer than five beats.
    """
    if len(seconds) < MIN_BEATS:
        return None
    beat = np.median(windows_at(x, seconds), axis=0)
    t = np.arange(len(beat)) / RATE - BEFORE
    onset, offset = _qrs(beat, t)
    if onset is None or offset is None:
        return MedianBeat(beat - np.median(beat, axis=0), None, None, None, None, len(seconds))
    level = np.median(beat[(t >= onset - 0.03) & (t <= onset - 0.004)], axis=0)
    beat = beat - level
    t_peak, t_end = _t_wave(beat, t, onset, offset, rr)
    return MedianBeat(beat, onset, offset, t_peak, t_end, len(seconds))


def _qrs(beat: Array, t: Array) -> tuple[float | None, float | None]:
    slope = np.sqrt((np.gradient(band(beat, RATE, None, _SLOPE_HZ), axis=0) ** 2).sum(axis=1))
    slope[:2] = slope[-2:] = 0
    near = np.abs(t) < 0.12
    top = float(slope[near].max())
    threshold = max(_SHARE * top, _NOISE_TIMES * _quiet(slope[2:-2]))
    if top <= 0 or threshold > _TOO_NOISY * top:
        return None, None
    above = slope > threshold
    middle = int(np.argmax(np.where(near, slope, -1)))
    hold = round(_QUIET_S * RATE)
    first, last = _edge(above, middle, -1, hold), _edge(above, middle, 1, hold)
    if first is None or last is None or not _SHORTEST_QRS_S <= (last - first) / RATE <= _LONGEST_QRS_S:
        return None, None
    return float(t[first]), float(t[last])


def _quiet(slope: Array) -> float:
    """Root mean square of the slope in the quietest tenth of short stretches: of noise, if there is any."""
    width = round(_STRETCH_S * RATE)
    squares = np.convolve(slope**2, np.ones(width) / width, mode="valid")
    return float(np.sqrt(np.quantile(squares, 0.1)))


def _edge(above: Array, start: int, step: int, hold: int) -> int | None:
    """The last place above before `hold` places below; None where the window ends first."""
    edge, k, below = start, start, 0
    while 0 <= k < len(above):
        if above[k]:
            edge, below = k, 0
        else:
            below += 1
            if below >= hold:
                return edge
        k += step
    return None


def _t_wave(beat: Array, t: Array, onset: float, offset: float, rr: float) -> tuple[float | None, float | None]:
    """Peak and end of the T wave of all leads together."""
    smooth = band(beat, RATE, None, 25.0)
    size = np.sqrt((smooth**2).sum(axis=1))
    end = min(onset + 0.72 * rr, float(t[-1]) - 0.06)
    inside = np.flatnonzero((t > offset + 0.06) & (t < end))
    if len(inside) < 20:
        return None, None
    peak = int(inside[np.argmax(size[inside])])
    if peak in (inside[0], inside[-1]):
        return None, None
    # the T wave must stand out of what lies before P and after T
    noise = float(np.sqrt(((beat - smooth) ** 2).sum(axis=1)).mean())
    if size[peak] < max(4 * noise, 0.04 * size.max()):
        return None, None
    after = np.arange(peak, min(peak + round(0.2 * RATE), len(t) - 1))
    slope = np.gradient(size[after]) * RATE
    steep = int(np.argmin(slope))
    if slope[steep] >= 0 or steep == len(after) - 1:
        return None, None
    at = after[steep]
    t_end = float(t[at] - size[at] / slope[steep])
    return (float(t[peak]), t_end) if t_end < min(float(t[-1]), onset + 0.85 * rr) else (float(t[peak]), None)
