"""A recording: samples of some channels, and what may be known of it. Nothing of the patient."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from CardioPrecisionLib.errors import InputError

Array = np.ndarray[Any, Any]
Kind = Literal["ecg", "pcg"]
KINDS: tuple[Kind, ...] = ("ecg", "pcg")

#: The twelve leads, in their order; only these names ever become names of columns.
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LEAD_OF = {lead.lower(): lead for lead in LEADS} | {"mli": "I", "mlii": "II", "mliii": "III"}
#: Unit -> millivolts.
_MILLIVOLTS = {"v": 1000.0, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}

#: Refused beyond these: a file that is none of ours, or a mistake in its header.
MAX_BYTES = 1 << 30
MAX_HOURS = 25.0
MAX_VALUES = 200_000_000
MIN_RATE, MAX_RATE = 50.0, 100_000.0


class RecordingError(InputError):
    """A recording that cannot be used.

    Attributes
    ----------
    reason : str
        Without the name of the file, which may tell who the patient is.
    """

    def __init__(self, place: str, reason: str):
        super().__init__(f"{place}: {reason}.")
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Channel:
    """One signal of a recording.

    Attributes
    ----------
    lead : str or None
        One of the twelve leads; None where the file's name for it is none of these.
    scale : float or None
        Millivolts per unit of the samples; None where the unit is not known or no voltage.
    """

    lead: str | None
    scale: float | None

    @classmethod
    def of(cls, name: str, unit: str | None) -> Channel:
        """From what a file calls it; the name itself is not kept, it may say anything."""
        word = re.sub(r"^(lead|ecg)[\s_:-]*", "", name.strip().lower())
        return cls(_LEAD_OF.get(word), _MILLIVOLTS.get((unit or "").strip().lower()))


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording as read.

    Attributes
    ----------
    samples : numpy.ndarray
        ``(samples, channels)`` float64 in the file's units; NaN where a sample is missing.
    rate : float
        Samples per second, Hz.
    channels : tuple of Channel
    sha256 : str
        Of the file that holds the samples, to tell whether a recording was used elsewhere.
    """

    samples: Array
    rate: float
    channels: tuple[Channel, ...]
    sha256: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def title(self, i: int) -> str:
        """What messages call channel `i`."""
        return self.channels[i].lead or f"channel {i + 1}"


def make_recording(
    samples: Array, rate: float, names: list[str], units: list[str | None], place: str, sha256: str | None = None
) -> Recording:
    """A recording from samples, checked.

    Parameters
    ----------
    samples : numpy.ndarray
        ``(samples, channels)``, NaN where missing.
    rate : float
        Hz.
    names, units : list
        Of the channels.
    place : str
        For messages.
    sha256 : str, optional
        Default: of the samples themselves.

    Raises
    ------
    RecordingError
        No samples, a rate or a length that cannot be, a lead that is there twice.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 2 or not samples.size:
        raise RecordingError(place, "the recording holds no samples")
    check_size(len(samples), samples.shape[1], rate, place)
    channels = tuple(Channel.of(name, unit) for name, unit in zip(names, units, strict=True))
    leads = [c.lead for c in channels if c.lead]
    twice = next((lead for lead in leads if leads.count(lead) > 1), None)
    if twice:
        raise RecordingError(place, f"the lead {twice} is there more than once")
    samples = np.where(np.isfinite(samples), samples, np.nan)
    return Recording(samples, float(rate), channels, sha256 or hashlib.sha256(samples.tobytes()).hexdigest())


def check_size(samples: int, channels: int, rate: float, place: str) -> None:
    """Raise `RecordingError` where a rate or length cannot be that of an ECG or a heart sound."""
    if not (np.isfinite(rate) and MIN_RATE <= rate <= MAX_RATE):
        shown = f"{rate:g} Hz" if np.isfinite(rate) else "not a number"
        raise RecordingError(place, f"the sampling rate is {shown}; it must be {MIN_RATE:g} to {MAX_RATE:g} Hz")
    if samples / rate > MAX_HOURS * 3600 or samples * channels > MAX_VALUES:
        raise RecordingError(
            place,
            f"the recording is longer than {MAX_HOURS:g} hours or {MAX_VALUES // 1_000_000} million samples; cut it",
        )
