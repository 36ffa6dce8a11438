"""Times of a survival outcome in order, and what is summed over those still at risk at each of them.

Only a few numbers per row are held (its linear predictor, its place in time); features are not needed here. Ties are
treated as Efron 1977 does, and as lifelines does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln

from ..cohort import Array, Outcome

#: Spans of time, with about as many events each, in which the mean features of those at risk are taken to stay.
BINS = 1000
#: Times at which a baseline hazard is kept; between them it is read as a straight line.
KEPT_TIMES = 500


@dataclass(frozen=True, eq=False)
class Clock:
    """The times.

    Attributes
    ----------
    times : numpy.ndarray
        ``(t,)`` different ones, rising.
    at : numpy.ndarray
        ``(rows,)`` int32 place of each row's.
    event : numpy.ndarray
        ``(rows,)`` bool.
    starts : numpy.ndarray
        ``(bins,)`` places in `times` at which a span begins; all have events.
    kept : numpy.ndarray
        Places in `times` at which a hazard is kept.
    """

    times: Array
    at: Array
    event: Array
    starts: Array
    kept: Array

    @classmethod
    def of(cls, outcome: Outcome) -> Clock:
        times, at = np.unique(outcome.t, return_inverse=True)
        events = np.bincount(at[outcome.e], minlength=len(times))
        with_event = np.flatnonzero(events)
        if len(with_event) > BINS:
            share = np.cumsum(events[with_event]) / events.sum()
            # the last span that begins with a share below each step
            with_event = with_event[np.unique(np.searchsorted(share, np.linspace(0, 1, BINS, endpoint=False)))]
        kept = np.arange(len(times))
        if len(times) > KEPT_TIMES:
            spread = np.searchsorted(np.cumsum(events), np.linspace(1, events.sum(), KEPT_TIMES - 3))
            near = np.searchsorted(times, outcome.horizon or times[-1])
            kept = np.unique(np.clip(np.r_[spread, near - 1, near, len(times) - 1], 0, len(times) - 1))
        return cls(times, at.astype(np.int32), outcome.e, with_event, kept)

    @property
    def span(self) -> Array:
        """``(t,)`` span that each time lies in; -1 before the first event."""
        return np.searchsorted(self.starts, np.arange(len(self.times)), side="right") - 1

    def events(self, weight: Array | None = None) -> Array:
        """``(t,)`` events at each time."""
        own = None if weight is None else weight[self.event]
        return np.bincount(self.at[self.event], own, minlength=len(self.times)).astype(np.float64)

    def at_risk(self, value: Array) -> Array:
        """``(t,)`` sum of ``(rows,)`` values over those who are watched at each time."""
        return np.asarray(np.bincount(self.at, value, minlength=len(self.times))[::-1].cumsum()[::-1])

    def expected(self, eta: Array, weight: Array | None = None) -> Array:
        """``(rows,)`` events that the linear predictor `eta` expects of each row during its time."""
        risk = np.exp(eta) if weight is None else np.exp(eta) * weight
        d, total = self.events(weight), self.at_risk(risk)
        dying = np.bincount(self.at[self.event], risk[self.event], minlength=len(self.times))
        whole, share = np.zeros(len(d)), np.zeros(len(d))
        one = (d > 0) & (d <= 1)
        whole[one] = share[one] = d[one] / total[one]
        tied = d > 1
        if tied.any():
            n, everybody, own = d[tied], total[tied], dying[tied]
            a = n * everybody / own
            # sum over l < n of 1 / (everybody - l / n own), and of (1 - l / n) times that
            whole[tied] = n / own * (digamma(a + 1) - digamma(a - n + 1))
            share[tied] = n / own - (everybody - own) / own * whole[tied]
        hazard = np.cumsum(whole)[self.at]
        hazard[self.event] -= (whole - share)[self.at[self.event]]
        return np.asarray(risk * hazard)

    def loss(self, eta: Array) -> float:
        """Negative log partial likelihood."""
        risk = np.exp(eta)
        d, total = self.events(), self.at_risk(risk)
        dying = np.bincount(self.at[self.event], risk[self.event], minlength=len(self.times))
        one, tied = d == 1, d > 1
        n, own = d[tied], dying[tied]
        a = n * total[tied] / own
        # sum over l < n of log(everybody - l / n own)
        sums = n * np.log(own / n) + gammaln(a + 1) - gammaln(a - n + 1)
        return float(np.log(total[one]).sum() + sums.sum() - eta[self.event].sum())

    def steps(self, eta: Array, weight: Array | None = None) -> Array:
        """``(t,)`` steps of the baseline's cumulative hazard (Breslow), of features 0."""
        risk = np.exp(eta) if weight is None else np.exp(eta) * weight
        d, total = self.events(weight), self.at_risk(risk)
        return np.divide(d, total, out=np.zeros(len(d)), where=total > 0)
