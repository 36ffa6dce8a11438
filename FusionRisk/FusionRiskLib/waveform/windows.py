"""Windows of one rate, one length and one size, which the encoder reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .found import Found
from .quality import Flag
from .recording import Array, Kind, Recording
from .signal import band, filled, resampled, resampled_mask, robust_spread

#: Kind -> rate in Hz, seconds of a window, pass band in Hz.
_OF_KIND: dict[str, tuple[float, float, tuple[float, float | None]]] = {
    "ecg": (100.0, 4.0, (0.5, 40.0)),
    "pcg": (1000.0, 3.0, (25.0, 400.0)),
}
#: Share of a window that may be missing.
_MISSING = 0.1


@dataclass(frozen=True)
class Layout:
    """What an encoder reads.

    Attributes
    ----------
    kind : {"ecg", "pcg"}
    leads : tuple of str
        Of an ECG, in order; empty for one channel, the clearest of a recording.
    """

    kind: Kind
    leads: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Hz."""
        return _OF_KIND[self.kind][0]

    @property
    def samples(self) -> int:
        """Of a window."""
        return round(self.rate * _OF_KIND[self.kind][1])

    @property
    def channels(self) -> int:
        return max(len(self.leads), 1)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recording as the encoder sees it.

    Attributes
    ----------
    x : numpy.ndarray
        ``(channels, samples)`` float32, of size about 1 whatever its unit was.
    missing : numpy.ndarray
        ``(samples,)`` bool.
    """

    x: Array
    missing: Array

    def starts(self, length: int) -> Array:
        """Where a window of `length` samples may begin: few of its samples are missing."""
        if self.x.shape[1] < length:
            return np.zeros(0, dtype=np.int64)
        before = np.concatenate([[0], np.cumsum(self.missing)])
        return np.flatnonzero(before[length:] - before[:-length] <= _MISSING * length)

    def windows(self, length: int) -> Array:
        """``(windows, channels, length)`` that cover the recording; none where too much is missing."""
        whole = self.x.shape[1]
        if whole < length:
            return np.zeros((0, len(self.x), length), dtype=np.float32)
        count = -(-whole // length)
        at = np.rint(np.linspace(0, whole - length, count)).astype(np.int64)
        at = at[np.isin(at, self.starts(length))]
        return np.stack([self.x[:, a : a + length] for a in at]) if len(at) else np.zeros((0, len(self.x), length))


def usable_leads(recording: Recording, found: Found) -> set[str]:
    """The leads of a recording that can be used."""
    pairs = zip(recording.channels, found.channels, strict=True)
    return {c.lead for c, quality in pairs if c.lead is not None and quality.flag is not Flag.UNUSABLE}


def prepare(recording: Recording, found: Found, layout: Layout) -> Prepared | str:
    """A recording as the encoder sees it, or why it cannot be."""
    if found.quality.flag is Flag.UNUSABLE or found.best is None:
        return "the recording cannot be used"
    if layout.leads:
        at = {c.lead: i for i, c in enumerate(recording.channels)}
        places = [at.get(lead) for lead in layout.leads]
        for lead, place in zip(layout.leads, places, strict=True):
            if place is None or found.channels[place].flag is Flag.UNUSABLE:
                return f"the encoder needs lead {lead}"
        chosen = [place for place in places if place is not None]
    else:
        chosen = [found.best]
    scales = [recording.channels[i].scale for i in chosen]
    known = all(s is not None for s in scales)
    columns, gaps = zip(*(filled(recording.samples[:, i]) for i in chosen), strict=True)
    x = np.stack([c * (s if known and s else 1.0) for c, s in zip(columns, scales, strict=True)], axis=1)
    x = resampled(x - x.mean(axis=0), recording.rate, layout.rate)
    low, high = _OF_KIND[layout.kind][2]
    x = band(x, layout.rate, low, high)
    size = max(robust_spread(x[:, k]) for k in range(x.shape[1]))
    if size <= 0:
        return "the recording is flat where the encoder looks"
    missing = resampled_mask(np.any(gaps, axis=0), recording.rate, layout.rate, len(x))
    ready = Prepared(np.ascontiguousarray(x.T / size, dtype=np.float32), missing)
    return ready if len(ready.starts(layout.samples)) else "no stretch long enough for the encoder"
