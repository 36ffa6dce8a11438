"""What a reader noticed about its input, in sentences with stable codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know about the input.

    Attributes
    ----------
    severity : str
        ``info`` (nothing lost), ``warning`` (something was left out, mended or assumed), ``error`` (no number stands).
    code : str
        Stable snake_case word.
    message : str
        One sentence; no patient identifiers.
    count : int
        How many files, slices or frames it is about.
    """

    severity: Severity
    code: str
    message: str
    count: int = 1

    def __str__(self) -> str:
        return self.message


def plural(n: int, word: str, many: str | None = None) -> str:
    """``1 slice``, ``3 slices``."""
    return f"{n} {word}" if n == 1 else f"{n} {many or word + 's'}"
