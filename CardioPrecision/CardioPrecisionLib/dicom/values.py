"""Values of a DICOM header as plain Python, without a complaint where they are absent or malformed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset

Vector = tuple[float, ...]


@contextmanager
def tolerant() -> Iterator[None]:
    """Read what scanners and anonymisers wrote without a warning on each malformed value.

    Neither warnings nor log lines: they quote header values, and those may name the patient.
    """
    silenced = config.logger.disabled
    config.logger.disabled = True
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.logger.disabled = silenced


def value_of(ds: Dataset | None, keyword: str) -> Any:
    """A value, or None where it is absent, empty or cannot be understood."""
    if ds is None:
        return None
    try:
        value = ds.get(keyword)
    except Exception:  # a malformed element raises whatever its converter raises; it is as good as absent
        return None
    return None if value is None or value == "" else value


def first_of(value: Any) -> Any:
    """The first of several values, or the value itself."""
    if isinstance(value, Sized) and not isinstance(value, (str, bytes, Dataset)) and hasattr(value, "__getitem__"):
        return value[0] if len(value) else None
    return value


def as_number(value: Any) -> float | None:
    try:
        number = float(first_of(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_integer(value: Any) -> int | None:
    number = as_number(value)
    return None if number is None else round(number)


def as_vector(value: Any, n: int) -> Vector | None:
    try:
        vector = tuple(float(x) for x in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if len(vector) == n and all(math.isfinite(x) for x in vector) else None


def as_text(value: Any) -> str:
    return "" if value is None else str(first_of(value)).strip()


def as_texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value.strip(),) if isinstance(value, str) else tuple(str(x).strip() for x in value)


def moment_of(date: str, time: str) -> float | None:
    """Seconds on a clock that only orders; de-identified dates such as 20120000 are taken as they are."""
    if not time:
        return None
    head, _, fraction = time.replace(":", "").partition(".")
    head = head.ljust(6, "0")
    if not head[:6].isdigit():
        return None
    seconds = int(head[:2]) * 3600 + int(head[2:4]) * 60 + int(head[4:6])
    days = 0
    if len(date) >= 8 and date[:8].isdigit():
        days = int(date[:4]) * 372 + int(date[4:6]) * 31 + int(date[6:8])
    return days * 86400.0 + seconds + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def moment_of_datetime(text: str) -> float | None:
    return moment_of(text[:8], text[8:].split("+")[0].split("-")[0])
