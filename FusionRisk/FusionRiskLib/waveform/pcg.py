"""Numbers and a quality flag of a phonocardiogram.

The heart rate comes from the autocorrelation of the envelope (Schmidt et al. 2010, Physiol Meas 31:513-529); sounds are
peaks of the envelope, told apart by systole being the shorter interval. Where it is not clearly shorter, there are no
intervals and no levels. Units: ``heart_rate`` /min, ``*_ms`` milliseconds, ``*_db`` decibels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .found import Found, examined
from .quality import Flag, Quality, judge_samples, look_at_samples
from .recording import Array, Recording
from .signal import band, filled, resampled, resampled_mask

MIN_RATE = 400.0
_RATE, _SLOW = 1000.0, 100.0
#: Hz: heart sounds, and the bands between them.
_SOUNDS = (25.0, 150.0)
_BANDS = {"60_150_hz": (60.0, 150.0), "150_400_hz": (150.0, 400.0)}
#: Seconds of a heart cycle, and the shortest systole.
_CYCLE, _SYSTOLE = (0.38, 1.75), 0.2
#: Systole is told from diastole below this share of the cycle.
_CLEAR = 0.46
_SOUND_S, _AWAY_S = 0.05, 0.075
#: Height of the autocorrelation under which a channel is doubtful, and unusable.
_PERIODIC = (0.45, 0.25)
#: Windows with a spike (Schmidt: half a second, three times the median of the windows' maxima).
_SPIKE_S, _SPIKE_TIMES, _SPIKES = 0.5, 3.0, (0.0, 0.3)
_MIN_BEATS = 5

FEATURES: Mapping[str, str] = {
    "heart_rate": "60 over the heart cycle, /min",
    "systole_ms": "middle of S1 to middle of S2, median",
    "diastole_ms": "middle of S2 to middle of the next S1, median",
    "s1_s2_db": "energy of S1 over that of S2, median",
    **{
        f"{phase}_{name}_db": f"power in {phase[:-2]}e, {low:g} to {high:g} Hz, over that of S1 and S2"
        for phase in ("systolic", "diastolic")
        for name, (low, high) in _BANDS.items()
    },
}


@dataclass(frozen=True, eq=False)
class _Channel:
    title: str
    quality: Quality
    x: Array
    missing: Array
    envelope: Array
    cycle: float
    systole: float | None
    periodic: float


def analyse_pcg(recording: Recording) -> Found:
    """Quality and numbers of a phonocardiogram; of several channels the one that is most periodic is used."""
    found, channels = examined(recording, _prepare, MIN_RATE)
    if found.quality.flag is Flag.UNUSABLE:
        return found
    best = max(
        (c for c in channels if c.quality.flag is not Flag.UNUSABLE), key=lambda c: (-c.quality.flag, c.periodic)
    )
    features = {"heart_rate": 60.0 / best.cycle}
    sounds = _segment(best)
    if sounds is None:
        found.quality.reasons.append("first and second sound cannot be told apart")
        return replace(found, features=features, best=channels.index(best))
    return replace(found, features=_numbers(best, *sounds, recording.rate), best=channels.index(best))


def _prepare(recording: Recording, i: int) -> _Channel:
    raw, rate = recording.samples[:, i], recording.rate
    quality = judge_samples(look_at_samples(raw, rate))
    none = np.zeros(0)
    if quality.flag is Flag.UNUSABLE:
        return _Channel(recording.title(i), quality, none, none, none, np.nan, None, 0.0)
    x, gaps = filled(raw)
    x = resampled(x - x.mean(), rate, _RATE)
    missing = resampled_mask(gaps, rate, _RATE, len(x))
    x = band(x, _RATE, _SOUNDS[0], None)
    share = _spike_share(x)
    quality.limit(share, _SPIKES, f"spikes in {100 * share:.0f} % of half seconds")
    envelope = _envelope(x)
    cycle, systole, periodic = _cycle(envelope)
    limits = (1 - _PERIODIC[0], 1 - _PERIODIC[1])
    quality.limit(1 - periodic, limits, f"weak rhythm (autocorrelation {periodic:.2f})")
    if not np.isfinite(cycle) and quality.flag is not Flag.UNUSABLE:
        quality.note(Flag.UNUSABLE, "no rhythm")
    return _Channel(recording.title(i), quality, x, missing, envelope, cycle, systole, periodic)


def _spike_share(x: Array) -> float:
    width = round(_SPIKE_S * _RATE)
    tops = np.abs(x[: len(x) // width * width]).reshape(-1, width).max(axis=1)
    return float((tops > _SPIKE_TIMES * np.median(tops)).mean())


def _envelope(x: Array) -> Array:
    """Envelope of heart sounds at `_SLOW` Hz; single spikes are cut down."""
    from scipy.signal import hilbert

    size = np.abs(hilbert(band(x, _RATE, *_SOUNDS)))
    size = np.minimum(size, 3 * np.quantile(size, 0.9))
    return resampled(np.maximum(band(size, _RATE, None, 10.0), 0), _RATE, _SLOW)


def _cycle(envelope: Array) -> tuple[float, float | None, float]:
    """Length of the heart cycle and of systole, s, and the height of the autocorrelation at the cycle."""
    from scipy.signal import correlate, find_peaks

    centred = envelope - envelope.mean()
    full = correlate(centred, centred, mode="full")[len(centred) - 1 :]
    if full[0] <= 0:
        return np.nan, None, 0.0
    # biased, so that the cycle is preferred to twice the cycle
    same = full / full[0]
    peaks, _ = find_peaks(same)
    lags = peaks / _SLOW
    cycles = peaks[(lags >= _CYCLE[0]) & (lags <= _CYCLE[1])]
    if not len(cycles):
        return np.nan, None, 0.0
    best = int(cycles[np.argmax(same[cycles])])
    left, top, right = same[best - 1 : best + 2]
    bend = left - 2 * top + right
    cycle = (best + (0.5 * (left - right) / bend if bend else 0.0)) / _SLOW
    # the share of samples that overlap at this lag is no lack of rhythm
    periodic = float(top) * len(envelope) / max(len(envelope) - best, 1)
    inner = peaks[(lags >= _SYSTOLE) & (lags <= 0.5 * cycle)]
    systole = float(inner[np.argmax(same[inner])]) / _SLOW if len(inner) else None
    return float(cycle), systole, min(periodic, 1.0)


def _segment(c: _Channel) -> tuple[Array, Array] | None:
    """S1 and S2 of the beats that show both, ``(beats,)`` seconds each; None where they cannot be told apart."""
    from scipy.signal import find_peaks

    if c.systole is None or c.systole > _CLEAR * c.cycle:
        return None
    tall = np.quantile(c.envelope, 0.95)
    peaks, _ = find_peaks(c.envelope, distance=round(0.15 * _SLOW), prominence=0.15 * tall, height=0.2 * tall)
    if len(peaks) < 2 * _MIN_BEATS:
        return None
    at = peaks / _SLOW
    left, top, right = (c.envelope[np.clip(peaks + k, 0, len(c.envelope) - 1)] for k in (-1, 0, 1))
    bend = left - 2 * top + right
    at = at + np.where(bend != 0, 0.5 * (left - right) / np.where(bend == 0, 1, bend), 0) / _SLOW
    gaps = np.diff(at)
    slack = 0.2 * c.cycle
    short = np.abs(gaps - c.systole) < np.minimum(slack, 0.5 * (c.cycle - 2 * c.systole) + 0.02)
    starts = np.flatnonzero(short)
    # one sound starts one systole: two short gaps in a row are no heart beat
    starts = starts[~np.isin(starts - 1, starts) & ~np.isin(starts + 1, starts)]
    s1, s2 = at[starts], at[starts + 1]
    before = np.concatenate([[0], np.cumsum(c.missing)])
    low = np.clip(((s1 - 0.1) * _RATE).astype(np.int64), 0, len(c.missing))
    high = np.clip(((s2 + 0.1) * _RATE).astype(np.int64), 0, len(c.missing))
    keep = before[high] == before[low]
    s1, s2 = s1[keep], s2[keep]
    expected = (1 - float(c.missing.mean())) * len(c.x) / _RATE / c.cycle
    return (s1, s2) if len(s1) >= max(_MIN_BEATS, 0.6 * (expected - 1)) else None


def _numbers(c: _Channel, s1: Array, s2: Array, rate: float) -> dict[str, float]:
    to_next = np.diff(s1)
    next_is = np.abs(to_next - c.cycle) < 0.3 * c.cycle  # no beat left out between them
    features = {"heart_rate": 60.0 / (float(to_next[next_is].mean()) if next_is.any() else c.cycle)}
    features["systole_ms"] = 1000 * float(np.median(s2 - s1))
    if next_is.sum() >= _MIN_BEATS - 1:
        features["diastole_ms"] = 1000 * float(np.median((s1[1:] - s2[:-1])[next_is]))
    first, second = _mean_square(c.x, s1 - _SOUND_S, s1 + _SOUND_S), _mean_square(c.x, s2 - _SOUND_S, s2 + _SOUND_S)
    features["s1_s2_db"] = float(np.median(_db(first / second)))
    sounds = 0.5 * (float(np.median(first)) + float(np.median(second)))
    spans = {
        "systolic": (s1 + _AWAY_S, s2 - _AWAY_S),
        "diastolic": (s2[:-1][next_is] + _AWAY_S, s1[1:][next_is] - _AWAY_S),
    }
    for name, (low, high) in _BANDS.items():
        if high > 0.47 * rate:  # the recording cannot hold it
            continue
        y = band(c.x, _RATE, low, high, order=4)
        for phase, (start, end) in spans.items():
            long = end - start >= 0.04
            if long.sum() >= _MIN_BEATS - 1:
                power = float(np.median(_mean_square(y, start[long], end[long])))
                features[f"{phase}_{name}_db"] = float(_db(np.array(max(power, 1e-30) / sounds)))
    return features


def _mean_square(x: Array, start: Array, end: Array) -> Array:
    """``(spans,)`` mean square between times in s."""
    total = np.concatenate([[0.0], np.cumsum(x**2)])
    low = np.clip(np.rint(start * _RATE).astype(np.int64), 0, len(x) - 1)
    high = np.clip(np.rint(end * _RATE).astype(np.int64), low + 1, len(x))
    return np.asarray((total[high] - total[low]) / (high - low))


def _db(ratio: Array) -> Array:
    return np.asarray(10 * np.log10(ratio))
