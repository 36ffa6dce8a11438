"""What a recording says, and the beginning that all kinds of recording share: whether there is enough to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from .quality import MIN_SECONDS, Flag, Quality, whole
from .recording import Recording


@dataclass(frozen=True, eq=False)
class Found:
    """What a recording says.

    Attributes
    ----------
    quality : Quality
    features : dict
        Name -> number; what cannot be told is not in it. Empty for an unusable recording.
    channels : tuple of Quality
        Verdicts on the channels, as in the recording.
    best : int or None
        The channel in which beats are clearest.
    """

    quality: Quality
    features: dict[str, float] = field(default_factory=dict)
    channels: tuple[Quality, ...] = ()
    best: int | None = None


class Channel(Protocol):
    """What is known of a channel that was prepared."""

    @property
    def title(self) -> str: ...

    @property
    def quality(self) -> Quality: ...


C = TypeVar("C", bound=Channel)


def examined(recording: Recording, prepare: Callable[[Recording, int], C], min_rate: float) -> tuple[Found, list[C]]:
    """The quality of a recording and its channels, prepared; none where the recording is too short or too coarse.

    Parameters
    ----------
    recording : Recording
    prepare : callable
        The recording and the number of a channel to that channel.
    min_rate : float
        Hz.
    """
    if recording.seconds < MIN_SECONDS:
        return Found(Quality(Flag.UNUSABLE, [f"shorter than {MIN_SECONDS:g} s"])), []
    if recording.rate < min_rate:
        return Found(Quality(Flag.UNUSABLE, [f"sampled at less than {min_rate:g} Hz"])), []
    channels = [prepare(recording, i) for i in range(recording.samples.shape[1])]
    quality = whole({c.title: c.quality for c in channels}, "no channel can be used")
    return Found(quality, channels=tuple(c.quality for c in channels)), channels
