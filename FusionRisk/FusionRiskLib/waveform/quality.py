"""Can a signal be used? Faults of a channel, each with its reason in words.

Limits were set on synthetic recordings with planted faults; none was fitted to real ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from .recording import Array
from .signal import filled, runs

#: Seconds that a recording must have at least.
MIN_SECONDS = 5.0
#: Shares of a channel beyond which it is doubtful, and unusable.
_MISSING, _FLAT, _CLIPPED = (0.05, 0.5), (0.05, 0.5), (0.004, 0.1)
#: A signal of a heart does not stand still for so long, nor at its extreme for so short a time only.
_FLAT_S, _CLIP_S = 1.2, (0.006, 0.3)
_CLIP_RUNS = 3


class Flag(IntEnum):
    """How far a channel or a recording can be used; a larger one is worse."""

    GOOD = 0
    DOUBTFUL = 1
    UNUSABLE = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass
class Quality:
    """A flag that only gets worse, and why.

    Attributes
    ----------
    flag : Flag
    reasons : list of str
    """

    flag: Flag = Flag.GOOD
    reasons: list[str] = field(default_factory=list)

    def note(self, flag: Flag, reason: str) -> None:
        self.flag = max(self.flag, flag)
        self.reasons.append(reason)

    def limit(self, value: float, limits: tuple[float, float], reason: str) -> None:
        """Note a `value` beyond the limit of a doubtful or an unusable one."""
        if value > limits[1]:
            self.note(Flag.UNUSABLE, reason)
        elif value > limits[0]:
            self.note(Flag.DOUBTFUL, reason)


@dataclass(frozen=True)
class Samples:
    """What single samples say of a channel.

    Attributes
    ----------
    missing, flat, clipped : float
        Shares of the samples, 0..1.
    """

    missing: float
    flat: float
    clipped: float


def look_at_samples(x: Array, rate: float) -> Samples:
    """Shares of missing, flat and clipped samples of ``(samples,)``, NaN where missing."""
    known = np.isfinite(x)
    if not known.any():
        return Samples(1.0, 0.0, 0.0)
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    if high == low:
        return Samples(1 - float(known.mean()), 1.0, 0.0)
    tiny = 1e-9 * (high - low)
    still = np.concatenate([[False], (np.abs(np.diff(np.where(known, x, 0.0))) <= tiny) & known[1:] & known[:-1]])
    start, end = runs(still)
    long = end - start >= _FLAT_S * rate
    flat = float((end - start)[long].sum()) / len(x)
    clipped = 0
    for extreme in (low, high):
        start, end = runs(known & (np.abs(x - extreme) <= tiny))
        length = end - start
        own = (length >= max(3, _CLIP_S[0] * rate)) & (length <= _CLIP_S[1] * rate)
        if own.sum() >= _CLIP_RUNS:
            clipped += int(length[own].sum())
    return Samples(1 - float(known.mean()), flat, clipped / len(x))


def judge_samples(found: Samples) -> Quality:
    """Missing, flat and clipped samples as a verdict."""
    quality = Quality()
    quality.limit(found.missing, _MISSING, f"{100 * found.missing:.0f} % of the samples are missing")
    quality.limit(found.flat, _FLAT, f"flat for {100 * found.flat:.0f} % of the time")
    quality.limit(found.clipped, _CLIPPED, f"clipped ({100 * found.clipped:.1f} % of the samples at the limit)")
    return quality


def powers(x: Array, rate: float, bands: Iterable[tuple[float, float]]) -> list[float | None]:
    """Power of a channel in bands, its unit squared; None for a band that the rate cannot hold.

    Parameters
    ----------
    x : numpy.ndarray
        ``(samples,)``, NaN where missing.
    rate : float
        Hz.
    bands : iterable of (low, high)
        Hz.
    """
    from scipy.signal import welch

    whole, _ = filled(x)
    frequency, density = welch(whole - whole.mean(), rate, nperseg=min(len(whole), int(8 * rate)))
    step = frequency[1] - frequency[0]
    found: list[float | None] = []
    for low, high in bands:
        if high > 0.5 * rate:
            found.append(None)
            continue
        found.append(float(density[(frequency >= low) & (frequency < high)].sum() * step))
    return found


def whole(channels: dict[str, Quality], enough: str) -> Quality:
    """The verdict on a recording from those on its channels.

    Parameters
    ----------
    channels : dict
        Title -> verdict.
    enough : str
        What to say where no channel is usable.
    """
    usable = [q for q in channels.values() if q.flag is not Flag.UNUSABLE]
    quality = Quality()
    if not usable:
        quality.note(Flag.UNUSABLE, enough)
    elif any(q.flag is not Flag.GOOD for q in channels.values()):
        quality.flag = Flag.DOUBTFUL
    said: dict[str, list[str]] = {}
    for title, each in channels.items():
        for reason in each.reasons:
            said.setdefault(reason, []).append(title)
    for reason, titles in said.items():
        where = "" if len(channels) == 1 else f"{', '.join(titles)}: " if len(titles) < len(channels) else "all: "
        quality.reasons.append(where + reason)
    return quality
