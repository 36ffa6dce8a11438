"""Numbers and a quality flag of an ECG.

Units: ``heart_rate`` /min, ``*_ms`` milliseconds, ``*_percent`` %, ``*_mv`` millivolts. Definitions: `FEATURES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .beats import Beats, Intervals, find_beats, intervals_of
from .found import Found, examined
from .median_beat import BEFORE, RATE, MedianBeat, median_beat, usable_beats, windows_at
from .quality import Flag, Quality, judge_samples, look_at_samples, powers
from .recording import LEADS, Array, Recording
from .signal import band, filled, resampled, resampled_mask

#: Hz at which beats are looked for.
_DETECT = 250.0
MIN_RATE = 100.0
#: Agreement of two detectors, and likeness of beats, under which a channel is doubtful, and unusable.
_AGREE, _ALIKE = (0.85, 0.6), (0.8, 0.6)
#: Power over that of 5 to 40 Hz beyond which a channel is doubtful.
_MAINS, _HIGH, _WANDER = 0.2, 0.3, 1.0
#: A beat is unlike the others below this correlation; the share of such beats that is too much where detectors differ.
_UNLIKE, _ODD = 0.5, 0.05
_MIN_BEATS = 5

#: What every number means.
FEATURES: Mapping[str, str] = {
    "heart_rate": "60 over the mean of all intervals between beats, /min",
    "rr_mean_ms": "mean interval of normal beats",
    "sdnn_ms": "standard deviation of the intervals of normal beats",
    "rmssd_ms": "root mean square of differences of neighbouring normal intervals",
    "pnn50_percent": "neighbouring normal intervals that differ by more than 50 ms",
    "early_beats_percent": "beats after less than 80 % of the median of the intervals around",
    "qrs_duration_ms": "onset to offset of the QRS complex in the median beat, all leads together",
    "qt_tangent_ms": "onset of QRS to the end of T by the tangent, in the median beat",
    **{f"r_mv_{lead.lower()}": f"height of R in lead {lead} over the level before QRS" for lead in LEADS},
    **{f"s_mv_{lead.lower()}": f"depth of Q or S in lead {lead} below that level" for lead in LEADS},
    **{f"t_mv_{lead.lower()}": f"T in lead {lead} at its peak in all leads, with its sign" for lead in LEADS},
}


@dataclass(frozen=True, eq=False)
class _Channel:
    """A channel prepared: at `_DETECT` for beats, at `RATE` for shapes."""

    title: str
    lead: str | None
    scale: float | None
    quality: Quality
    clipped: bool
    beats: Beats
    missing: Array  # at _DETECT
    x: Array  # at RATE, without wander, in the unit of the file
    alike: float


def analyse_ecg(recording: Recording) -> Found:
    """Quality and numbers of an ECG.

    Parameters
    ----------
    recording : Recording
        Any number of channels in any order; beats are taken from the channel in which they are clearest.
    """
    found, channels = examined(recording, _prepare, MIN_RATE)
    if found.quality.flag is Flag.UNUSABLE:
        return found
    usable = [c for c in channels if c.quality.flag is not Flag.UNUSABLE]
    # By what was found in it, not by its place: the order of the leads must not matter.
    first = min(usable, key=lambda c: (c.quality.flag, -round(c.beats.agreement, 3), -c.alike))
    intervals = intervals_of(first.beats.seconds, first.missing, _DETECT)
    features = _rhythm(intervals)
    features |= _shapes(usable, first, intervals)
    return replace(found, features=features, best=channels.index(first))


# -- channels ---------------------------------------------------------------------------------------------------------
def _prepare(recording: Recording, i: int) -> _Channel:
    raw, rate, channel = recording.samples[:, i], recording.rate, recording.channels[i]
    samples = look_at_samples(raw, rate)
    quality = judge_samples(samples)
    nothing = Beats(np.zeros(0), 0.0)
    if quality.flag is Flag.UNUSABLE:
        none = np.zeros(0)
        return _Channel(
            recording.title(i), channel.lead, channel.scale, quality, False, nothing, none.astype(bool), none, 0.0
        )
    _judge_noise(raw, rate, quality)
    x, missing = filled(raw)
    slow = resampled(x, rate, _DETECT)
    gaps = resampled_mask(missing, rate, _DETECT, len(slow))
    beats = find_beats(slow, gaps, _DETECT)
    shape = band(resampled(x, rate, RATE), RATE, 0.5, None)
    alike, odd = _alike(shape, beats.seconds, gaps)
    if len(beats.seconds) < _MIN_BEATS:
        quality.note(Flag.UNUSABLE, f"fewer than {_MIN_BEATS} beats")
    else:
        limits = (1 - _AGREE[0], 1 - _AGREE[1])
        quality.limit(1 - beats.agreement, limits, f"two detectors agree on {100 * beats.agreement:.0f} % of the beats")
        quality.limit(1 - alike, (1 - _ALIKE[0], 1 - _ALIKE[1]), f"beats are unlike one another ({alike:.2f})")
        if beats.agreement < _AGREE[0] and (alike < _ALIKE[0] or odd > _ODD):
            # In noise detectors agree by chance, and places chosen for their peaks look alike; but not both so well.
            quality.note(Flag.UNUSABLE, "beats cannot be told from noise")
    clipped = samples.clipped > 0
    return _Channel(recording.title(i), channel.lead, channel.scale, quality, clipped, beats, gaps, shape, alike)


def _judge_noise(raw: Array, rate: float, quality: Quality) -> None:
    bands = ((5, 40), (0.03, 0.5), (49, 51), (59, 61), (40, min(100.0, 0.5 * rate)))
    heart, wander, fifty, sixty, high = powers(raw, rate, bands)
    if not heart:
        quality.note(Flag.UNUSABLE, "nothing between 5 and 40 Hz, where beats are")
        return
    mains = max(fifty or 0.0, sixty or 0.0)
    if mains > _MAINS * heart:
        hertz = 50 if (fifty or 0.0) >= (sixty or 0.0) else 60
        quality.note(Flag.DOUBTFUL, f"mains hum at {hertz} Hz")
    if rate >= 160 and high is not None and high - (fifty or 0.0) - (sixty or 0.0) > _HIGH * heart:
        quality.note(Flag.DOUBTFUL, "noise above 40 Hz")
    if wander is not None and wander > _WANDER * heart:
        quality.note(Flag.DOUBTFUL, "baseline wander")


def _alike(shape: Array, seconds: Array, missing: Array) -> tuple[float, float]:
    """How beats are like their median from 0.1 s before to 0.3 s after R: median correlation; share of those unlike."""
    seconds = seconds[usable_beats(seconds, missing, _DETECT)]
    if len(seconds) < 3:
        return 0.0, 1.0
    start = round((BEFORE - 0.1) * RATE)
    cut = windows_at(shape[:, None], seconds)[:, start : start + round(0.4 * RATE), 0]
    cut = cut - cut.mean(axis=1, keepdims=True)
    middle = np.median(cut, axis=0)
    middle = middle - middle.mean()
    size = np.sqrt((cut**2).sum(axis=1) * (middle**2).sum())
    likeness = (cut @ middle) / np.where(size > 0, size, np.inf)
    return float(np.median(likeness)), float((likeness < _UNLIKE).mean())


# -- numbers ----------------------------------------------------------------------------------------------------------
def _rhythm(found: Intervals) -> dict[str, float]:
    features: dict[str, float] = {}
    if len(found.rr) >= _MIN_BEATS - 1:
        features["heart_rate"] = 60.0 / float(found.rr.mean())
        features["early_beats_percent"] = 100 * found.early_share
    normal = 1000 * found.rr[found.normal]
    if len(normal) >= _MIN_BEATS - 1:
        features["rr_mean_ms"] = float(normal.mean())
        features["sdnn_ms"] = float(normal.std(ddof=1))
    steps = 1000 * np.diff(found.rr)[found.consecutive]
    if len(steps) >= _MIN_BEATS - 2:
        features["rmssd_ms"] = float(np.sqrt((steps**2).mean()))
        features["pnn50_percent"] = 100 * float((np.abs(steps) > 50).mean())
    return features


def _shapes(usable: list[_Channel], first: _Channel, found: Intervals) -> dict[str, float]:
    """Numbers of the median beat: leads of one unit together for durations, each for its amplitudes."""
    known = [c for c in usable if c.scale is not None]
    group = known or [first]  # without a unit, durations come from the clearest channel alone
    scale = [c.scale or 1.0 for c in group]
    x = np.column_stack([c.x * s for c, s in zip(group, scale, strict=True)])
    missing = np.any([c.missing for c in group], axis=0)
    seconds = _normal_beats(first, found)
    seconds = seconds[usable_beats(seconds, missing, _DETECT)]
    rr = float(np.median(found.rr)) if len(found.rr) else np.nan
    beat = median_beat(x, seconds, rr) if np.isfinite(rr) else None
    if beat is None:
        return {}
    features = {}
    if beat.qrs_ms is not None:
        features["qrs_duration_ms"] = beat.qrs_ms
    if beat.qt_ms is not None:
        features["qt_tangent_ms"] = beat.qt_ms
    if known:
        features |= _amplitudes(beat, group)
    return features


def _normal_beats(first: _Channel, found: Intervals) -> Array:
    """Beats that neither come early nor follow one that does."""
    seconds = first.beats.seconds
    early = np.diff(seconds) < 0.8 * (np.median(found.rr) if len(found.rr) else np.inf)
    odd = np.concatenate([[False], early]) | np.concatenate([[False, False], early[:-1]])[: len(seconds)]
    return np.asarray(seconds[~odd])


def _amplitudes(beat: MedianBeat, group: list[_Channel]) -> dict[str, float]:
    if beat.onset is None or beat.offset is None:
        return {}
    t = np.arange(len(beat.x)) / RATE - BEFORE
    inside = (t >= beat.onset - 0.004) & (t <= beat.offset + 0.004)
    features = {}
    for k, channel in enumerate(group):
        if channel.lead is None or channel.clipped:  # a clipped wave was taller than it looks
            continue
        name, x = channel.lead.lower(), beat.x[:, k]
        features[f"r_mv_{name}"] = max(float(x[inside].max()), 0.0)
        features[f"s_mv_{name}"] = max(float(-x[inside].min()), 0.0)
        if beat.t_peak is not None:
            features[f"t_mv_{name}"] = float(np.median(x[np.abs(t - beat.t_peak) <= 0.01]))
    return features
