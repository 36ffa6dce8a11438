"""Synthetic recordings with exact truth: for tests, and to try the commands. They stand for nobody.

An ECG is a sum of waves of finite length placed on a series of beats (the idea of a sum of waves on a series of RR
intervals is that of McSharry et al. 2003, IEEE Trans Biomed Eng 50:289-294; they use Gaussians). A wave here is a
raised cosine, which has an end: onset and offset of the QRS complex and the end of the T wave are known exactly.
A phonocardiogram is a sum of two short tones for every beat and noise of a band between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .recording import LEADS, Array

#: Share of the electrical activity that each lead sees: R and S, T, P. Nobody's heart, but the usual order.
_LEAD_GAINS = {
    "I": (0.6, -0.2, 0.6), "II": (1.0, -0.2, 1.0), "III": (0.5, -0.3, 0.5), "aVR": (-0.8, 0.2, -0.8),
    "aVL": (0.35, -0.25, 0.3), "aVF": (0.7, -0.2, 0.7), "V1": (0.25, -1.0, 0.2), "V2": (0.5, -1.4, 0.5),
    "V3": (0.8, -0.9, 0.8), "V4": (1.3, -0.5, 0.9), "V5": (1.2, -0.3, 0.8), "V6": (0.9, -0.15, 0.6),
}  # fmt: skip


@dataclass(frozen=True)
class Beat:
    """The shape of a beat in lead II.

    Attributes
    ----------
    p_mv, r_mv, t_mv : float
        Heights, mV.
    qrs_ms : float
        From the onset of Q to the offset of S.
    qt_ms : float
        From the onset of Q to the end of T by the tangent at its steepest descent.
    pr_ms : float
        From the onset of P to the onset of Q.
    t_ms : float
        Half length of the T wave.
    """

    p_mv: float = 0.12
    r_mv: float = 1.0
    t_mv: float = 0.3
    qrs_ms: float = 90.0
    qt_ms: float = 390.0
    pr_ms: float = 160.0
    t_ms: float = 110.0


@dataclass(frozen=True, eq=False)
class SyntheticEcg:
    """A synthetic ECG and its truth.

    Attributes
    ----------
    samples : numpy.ndarray
        ``(samples, leads)`` mV.
    rate : float
        Hz.
    leads : tuple of str
    r_seconds : numpy.ndarray
        ``(beats,)`` peaks of R.
    early : numpy.ndarray
        ``(beats,)`` bool: premature.
    beat : Beat
    """

    samples: Array
    rate: float
    leads: tuple[str, ...]
    r_seconds: Array
    early: Array
    beat: Beat

    def amplitudes(self, lead: str) -> tuple[float, float]:
        """Height of R and depth of S of a lead, mV, both at least 0."""
        r, s, _ = _LEAD_GAINS[lead]
        peaks = np.array([0.0, r, s]) * self.beat.r_mv
        return float(peaks.max()), float(-peaks.min())


def _bump(t: Array, centre: float, half: float) -> Array:
    """A raised cosine of height 1 that ends at ``centre +- half``."""
    u = np.clip((t - centre) / half, -1, 1)
    return np.asarray(0.5 * (1 + np.cos(np.pi * u)))


#: Where the tangent at the steepest descent of a raised cosine meets zero, in half lengths: 1/2 + 1/pi.
_TANGENT = 0.5 + 1 / np.pi


def rr_series(
    beats: int, heart_rate: float = 70.0, sdnn_ms: float = 30.0, early_share: float = 0.0, seed: int = 0
) -> tuple[Array, Array]:
    """Intervals between beats and which beats come early.

    Parameters
    ----------
    beats : int
        One more than intervals.
    heart_rate : float
        /min.
    sdnn_ms : float
        Spread of the intervals of normal beats.
    early_share : float
        Share of premature beats: at 0.6 of the interval, with a pause that makes up for it.
    seed : int

    Returns
    -------
    numpy.ndarray
        ``(beats - 1,)`` seconds.
    numpy.ndarray
        ``(beats,)`` bool.
    """
    rng = np.random.default_rng(seed)
    mean = 60.0 / heart_rate
    rr = mean + np.clip(rng.normal(0, sdnn_ms / 1000, beats - 1), -0.15 * mean, 0.15 * mean)
    early = np.zeros(beats, dtype=bool)
    places = np.arange(3, beats - 3)
    for k in rng.permutation(places)[: round(early_share * beats)]:
        if not early[max(k - 3, 0) : k + 4].any():
            early[k] = True
            rr[k - 1], rr[k] = 0.6 * mean, 1.4 * mean
    return rr, early


def make_ecg(
    seconds: float = 10.0,
    rate: float = 500.0,
    leads: Sequence[str] = ("II",),
    heart_rate: float = 70.0,
    sdnn_ms: float = 30.0,
    early_share: float = 0.0,
    beat: Beat | None = None,
    noise_mv: float = 0.0,
    wander_mv: float = 0.0,
    mains_mv: float = 0.0,
    seed: int = 0,
) -> SyntheticEcg:
    """A synthetic ECG.

    Parameters
    ----------
    seconds, rate : float
        Length; Hz.
    leads : sequence of str
        Of the twelve.
    heart_rate, sdnn_ms, early_share
        As of `rr_series`.
    beat : Beat, optional
    noise_mv : float
        Spread of white noise.
    wander_mv, mains_mv : float
        Amplitude of a wander of 0.25 Hz and of 50 Hz.
    seed : int
    """
    beat = beat or Beat()
    rng = np.random.default_rng(seed + 1)
    count = int(seconds * heart_rate / 60 * 1.5) + 4
    rr, early = rr_series(count, heart_rate, sdnn_ms, early_share, seed)
    r = 0.45 + rng.uniform(0, 0.2) + np.concatenate([[0.0], np.cumsum(rr)])
    keep = r < seconds - 0.55
    r, early = r[keep], early[keep]
    t = np.arange(round(seconds * rate)) / rate
    waves = {"rs": np.zeros(len(t)), "s": np.zeros(len(t)), "t": np.zeros(len(t)), "p": np.zeros(len(t))}
    qrs = beat.qrs_ms / 1000
    half_r, half_s = qrs / 3, qrs / 3  # R fills the first two thirds, S the last two, one overlaps the other
    half_t = beat.t_ms / 1000
    for peak in r:
        onset = peak - half_r
        span = slice(max(int((onset - 0.4) * rate), 0), int((onset + 0.9) * rate))
        u = t[span]
        waves["rs"][span] += _bump(u, peak, half_r)
        waves["s"][span] += _bump(u, onset + qrs - half_s, half_s)
        waves["t"][span] += _bump(u, onset + beat.qt_ms / 1000 - _TANGENT * half_t, half_t)
        waves["p"][span] += _bump(u, onset - beat.pr_ms / 1000 + 0.05, 0.05)
    columns = []
    for lead in leads:
        rs, s, rest = _LEAD_GAINS[lead]
        x = beat.r_mv * (rs * waves["rs"] + s * waves["s"]) + rest * (beat.t_mv * waves["t"] + beat.p_mv * waves["p"])
        x = x + rng.normal(0, noise_mv, len(t)) if noise_mv else x
        x = x + wander_mv * np.sin(2 * np.pi * 0.25 * t + rng.uniform(0, 6)) if wander_mv else x
        x = x + mains_mv * np.sin(2 * np.pi * 50.0 * t + rng.uniform(0, 6)) if mains_mv else x
        columns.append(x)
    return SyntheticEcg(np.column_stack(columns), rate, tuple(leads), r, early, beat)


ALL_LEADS = LEADS


@dataclass(frozen=True, eq=False)
class SyntheticPcg:
    """A synthetic phonocardiogram and its truth.

    Attributes
    ----------
    samples : numpy.ndarray
        ``(samples, 1)``, no unit.
    rate : float
        Hz.
    s1_seconds, s2_seconds : numpy.ndarray
        ``(beats,)`` middles of the sounds.
    truth : dict
        ``heart_rate`` /min, ``systole_ms``, ``diastole_ms`` (middle to middle), ``s1_s2_db`` (energy of S1 over S2),
        ``systolic_db`` (power of the murmur over that of the sounds, dB), None without one.
    """

    samples: Array
    rate: float
    s1_seconds: Array
    s2_seconds: Array
    truth: dict[str, Any] = field(default_factory=dict)


#: Length of a heart sound, s, as a raised cosine; frequencies of S1 and S2, Hz.
_SOUND = 0.10
_TONES = (50.0, 65.0)


def make_pcg(
    seconds: float = 12.0,
    rate: float = 2000.0,
    heart_rate: float = 70.0,
    jitter_ms: float = 8.0,
    systole_ms: float = 310.0,
    s2_gain: float = 0.7,
    murmur_db: float | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> SyntheticPcg:
    """A synthetic phonocardiogram.

    Parameters
    ----------
    seconds, rate : float
        Length; Hz.
    heart_rate : float
        /min.
    jitter_ms : float
        Spread of the intervals.
    systole_ms : float
        From the middle of S1 to that of S2.
    s2_gain : float
        Amplitude of S2; S1 has 1.
    murmur_db : float or None
        Power of a systolic murmur (noise of 150 to 350 Hz from sound to sound) over the mean power of the sounds.
    noise : float
        Spread of white noise.
    seed : int
    """
    from .signal import band

    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    mean = 60.0 / heart_rate
    rr = mean + np.clip(rng.normal(0, jitter_ms / 1000, int(seconds / mean) + 4), -0.1 * mean, 0.1 * mean)
    s1 = 0.15 + rng.uniform(0, 0.1) + np.concatenate([[0.0], np.cumsum(rr)])
    s1 = s1[s1 < seconds - systole_ms / 1000 - 0.1]
    s2 = s1 + systole_ms / 1000
    x = np.zeros(len(t))
    for places, tone, gain in ((s1, _TONES[0], 1.0), (s2, _TONES[1], s2_gain)):
        for middle in places:
            span = slice(max(int((middle - 0.1) * rate), 0), int((middle + 0.1) * rate))
            u = t[span]
            x[span] += gain * _bump(u, middle, _SOUND / 2) * np.sin(2 * np.pi * tone * (u - middle))
    # the mean square of a raised cosine is 3/8 over its length, that of a tone 1/2
    power = 3 / 8 * 0.5 * (1 + s2_gain**2) / 2
    if murmur_db is not None:
        hiss = band(rng.normal(0, 1, len(t)), rate, 150.0, 350.0, order=4)
        hiss *= np.sqrt(power * 10 ** (murmur_db / 10)) / hiss.std()
        gate = np.zeros(len(t))
        for a, b in zip(s1, s2, strict=True):
            inner = (t > a + _SOUND / 2) & (t < b - _SOUND / 2)
            gate[inner] = 1.0
        x = x + hiss * gate
    if noise:
        x = x + rng.normal(0, noise, len(t))
    truth = {
        "heart_rate": 60.0 / float(np.diff(s1).mean()),
        "systole_ms": systole_ms,
        "diastole_ms": 1000 * float(np.diff(s1).mean()) - systole_ms,
        "s1_s2_db": -20 * float(np.log10(s2_gain)),
        "systolic_db": murmur_db,
    }
    return SyntheticPcg(x[:, None], rate, s1, s2, truth)
