"""One door to both kinds of recording."""

from __future__ import annotations

from collections.abc import Mapping

from . import ecg, pcg
from .found import Found
from .recording import Kind, Recording


def analyse(recording: Recording, kind: Kind) -> Found:
    """Quality and numbers of a recording."""
    return ecg.analyse_ecg(recording) if kind == "ecg" else pcg.analyse_pcg(recording)


def features_of(kind: Kind) -> Mapping[str, str]:
    """Name of every number of a kind, without prefix -> what it means."""
    return ecg.FEATURES if kind == "ecg" else pcg.FEATURES
