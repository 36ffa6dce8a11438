"""Gaps, sampling rates and filters, as all of this package treats them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .recording import Array


def filled(x: Array) -> tuple[Array, Array]:
    """Gaps bridged by straight lines, so that filters can run over them.

    Parameters
    ----------
    x : numpy.ndarray
        ``(samples,)``, NaN where missing.

    Returns
    -------
    numpy.ndarray
        ``(samples,)`` without NaN; zeros where nothing is known at all.
    numpy.ndarray
        ``(samples,)`` bool: was missing.
    """
    missing = ~np.isfinite(x)
    if missing.all():
        return np.zeros(len(x)), missing
    if not missing.any():
        return np.asarray(x, dtype=np.float64), missing
    at = np.arange(len(x))
    return np.interp(at, at[~missing], x[~missing]), missing


def resampled(x: Array, rate: float, to: float) -> Array:
    """Samples at another rate, without aliasing (polyphase filter).

    Parameters
    ----------
    x : numpy.ndarray
        ``(samples,)`` or ``(samples, channels)`` without NaN.
    rate, to : float
        Hz.
    """
    from scipy.signal import resample_poly

    share = Fraction(to / rate).limit_denominator(1000)
    if share == 1 or not len(x):
        return np.asarray(x, dtype=np.float64)
    return np.asarray(resample_poly(x, share.numerator, share.denominator, axis=0, padtype="line"))


def resampled_mask(missing: Array, rate: float, to: float, samples: int) -> Array:
    """A mask at another rate: missing where any sample nearby was."""
    if not missing.any():
        return np.zeros(samples, dtype=bool)
    wide = np.convolve(missing, np.ones(3), mode="same") > 0
    at = np.clip(np.rint(np.arange(samples) * rate / to).astype(np.int64), 0, len(missing) - 1)
    if to >= rate:
        return np.asarray(wide[at])
    steps = np.maximum.reduceat(wide, np.minimum(np.arange(samples) * len(wide) // samples, len(wide) - 1))
    return np.asarray(steps | wide[at])


def band(x: Array, rate: float, low: float | None, high: float | None, order: int = 2) -> Array:
    """A Butterworth filter run in both directions: no shift in time.

    Parameters
    ----------
    x : numpy.ndarray
        ``(samples, ...)`` without NaN.
    rate, low, high : float
        Hz; None for an open end. A `high` beyond what the rate can hold is left open.
    """
    from scipy.signal import butter, sosfiltfilt

    if high is not None and high >= 0.45 * rate:
        high = None
    if low is None and high is None:
        return np.asarray(x, dtype=np.float64)
    if low is None:
        sos = butter(order, high, "lowpass", fs=rate, output="sos")
    elif high is None:
        sos = butter(order, low, "highpass", fs=rate, output="sos")
    else:
        sos = butter(order, (low, high), "bandpass", fs=rate, output="sos")
    # the end of the recording must not ring into it
    pad = int(min(len(x) - 1, max(3 * rate / max(low or 0.5, 0.2), 30)))
    return np.asarray(sosfiltfilt(sos, x, axis=0, padlen=max(pad, 0)))


def runs(mask: Array) -> tuple[Array, Array]:
    """First and one past the last place of every run of True, ``(runs,)`` each."""
    edge = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)


def robust_spread(x: Array) -> float:
    """Half of the span of the middle 98 % of values: the size of a signal whatever its outliers are."""
    low, high = np.quantile(x, (0.01, 0.99)) if len(x) else (0.0, 0.0)
    return float(high - low) / 2
