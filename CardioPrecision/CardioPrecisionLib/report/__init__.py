"""The report of a run: one self-contained HTML file, and what figures are made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .html import render

__all__ = ["render"]


def __getattr__(name: str) -> Any:
    # Only when it is used: Slicer's panels read `report.names` where jinja2 is not installed yet.
    if name == "render":
        from .html import render

        return render
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
