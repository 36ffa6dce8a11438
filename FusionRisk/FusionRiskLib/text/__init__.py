"""Measurements and findings from free-text reports: rules, and a trainable CAD-RADS classifier beside them."""

from __future__ import annotations

from .extraction import extract
from .finding import Finding, Status
from .measured import to_measurements

__all__ = ["Finding", "Status", "extract", "to_measurements"]
