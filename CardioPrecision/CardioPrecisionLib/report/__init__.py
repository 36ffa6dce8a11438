"""The report of a run: one self-contained HTML file, and what figures are made with."""

from __future__ import annotations

from .html import render

__all__ = ["render"]
