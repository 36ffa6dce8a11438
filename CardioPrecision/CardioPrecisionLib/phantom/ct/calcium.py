"""Calcified (and metal) bodies with exact volume, and the labels that stand for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...image import Array
from .shapes import Solid, at

#: Site -> label value; every other site is 8 (seen, not scored).
LABELS = {"LM": 1, "LAD": 2, "LCX": 3, "RCA": 4, "aorta": 5, "aortic_valve": 6, "mitral_valve": 7}
NOT_SCORED = 8
CORONARY = ("LM", "LAD", "LCX", "RCA")


@dataclass(frozen=True, eq=False)
class Calcification:
    """One body of known volume.

    Attributes
    ----------
    site : str
        A key of `LABELS`, or ``node``, ``pericardium``, ``cartilage``, ``stent``, ``lead``, ``lung`` …
    shape : Solid
        Ellipsoid, bent rod or arc plate; its ``volume_mm3`` is exact.
    hu : float
        CT number of the pure material, before partial volume and blur.
    """

    site: str
    shape: Solid
    hu: float

    @property
    def label(self) -> int:
        return LABELS.get(self.site, NOT_SCORED)

    @property
    def volume_mm3(self) -> float:
        return self.shape.volume_mm3

    @property
    def center(self) -> Array:
        """RAS mm ``(3,)``."""
        return self.shape.center

    def overlaps(self, other: Calcification, gap_mm: float = 0.3) -> bool:
        """Whether the two share space or come nearer than about `gap_mm`."""
        low, high = self.shape.box()
        low2, high2 = other.shape.box()
        low, high = np.maximum(low, low2) - gap_mm, np.minimum(high, high2) + gap_mm
        if (low >= high).any():
            return False
        n = np.clip(((high - low) / 0.5).astype(int), 4, 24)
        grid = np.stack(np.meshgrid(*(np.linspace(a, b, k) for a, b, k in zip(low, high, n, strict=True))), -1)
        points = grid.reshape(-1, 3)
        return bool(((at(self.shape, points) < gap_mm / 2) & (at(other.shape, points) < gap_mm / 2)).any())
