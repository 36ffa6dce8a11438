"""Plaques: how they narrow the lumen, widen the vessel, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from ...image import Array

#: Kinds of plaque in the order of their codes, and the HU at which each is painted unless another is given.
KINDS = ("low_attenuation", "fibrofatty", "fibrous", "calcified")
PLAQUE_HU: Mapping[str, float] = MappingProxyType(
    {"low_attenuation": 10.0, "fibrofatty": 80.0, "fibrous": 220.0, "calcified": 900.0}
)


@dataclass(frozen=True)
class Lesion:
    """A plaque on a vessel.

    Attributes
    ----------
    at_mm : float
        Its middle, along the vessel's own middle line.
    length_mm : float
    stenosis_pct : float
        Diameter stenosis against the healthy, tapering lumen at the same place, where it is worst; 100 is an occlusion.
    eccentricity : float
        0: the lumen stays in the middle. 1: it touches the wall opposite to `direction_deg`.
    direction_deg : float
        Where the plaque is thickest, about the vessel's axis in its own frame.
    remodelling : float
        Outer diameter against the healthy one, where it is largest.
    composition : tuple of (kind, share)
        Shares of the cross-section, adding up to 1.
    pattern : str
        ``layers``: in this order from the lumen outwards. ``sectors``: in this order around the lumen, the first one
        centred on `direction_deg`.
    flat : float
        Share of the length over which the narrowing is constant; it falls off as a raised cosine on both sides.
    """

    at_mm: float
    length_mm: float
    stenosis_pct: float = 50.0
    eccentricity: float = 0.0
    direction_deg: float = 0.0
    remodelling: float = 1.0
    composition: tuple[tuple[str, float], ...] = (("fibrous", 1.0),)
    pattern: Literal["layers", "sectors"] = "layers"
    flat: float = 0.3

    def __post_init__(self) -> None:
        shares = [share for _, share in self.composition]
        if not all(kind in KINDS for kind, _ in self.composition) or abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
            raise ValueError(f"composition: shares of {', '.join(KINDS)} that add up to 1")
        if not 0 <= self.stenosis_pct <= 100 or not 0 <= self.eccentricity <= 1 or not 0 <= self.flat < 1:
            raise ValueError("stenosis_pct lies in 0..100, eccentricity in 0..1, flat in 0..1 (below 1)")
        if self.length_mm <= 0 or self.remodelling < 0.5:
            raise ValueError("length_mm is positive and remodelling at least 0.5")

    @property
    def start_mm(self) -> float:
        return self.at_mm - self.length_mm / 2

    @property
    def end_mm(self) -> float:
        return self.at_mm + self.length_mm / 2

    def shape(self, s: Array) -> Array:
        """1 where the plaque is full, 0 outside of it, smooth in between; at places `s` in mm."""
        u = np.abs(np.asarray(s, float) - self.at_mm) / (self.length_mm / 2)
        ramp = np.clip((u - self.flat) / (1 - self.flat), 0, 1)
        return np.asarray(0.5 * (1 + np.cos(np.pi * ramp)))

    def codes(self, share: Array, angle: Array) -> Array:
        """Index into `KINDS`, uint8.

        Parameters
        ----------
        share : numpy.ndarray
            Share of the plaque's area, along the ray from the lumen's middle, that lies nearer to the lumen: 0..1.
        angle : numpy.ndarray
            Radians about the lumen's middle in the vessel's frame.
        """
        if self.pattern == "layers":
            where = share
        else:
            # The first sector is centred on the direction, the others follow counter-clockwise.
            turn = np.asarray(angle) - np.radians(self.direction_deg) + np.pi * self.composition[0][1]
            where = np.mod(turn / (2 * np.pi), 1.0)
        edges = np.cumsum([part for _, part in self.composition])[:-1]
        lookup = np.array([KINDS.index(kind) for kind, _ in self.composition], np.uint8)
        return lookup[np.searchsorted(edges, where, side="right")]
