"""One coronary artery or branch: middle line, lumen, wall and plaques along it, with their exact measures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ...image import Array
from ...polyline import arc_length, even_steps, frames
from .lesion import KINDS, Lesion

STEP_MM = 0.25


@dataclass(frozen=True, eq=False)
class Profile:
    """What a vessel looks like at places along it.

    Attributes
    ----------
    reference, lumen, intima, outer : numpy.ndarray
        ``(n,)`` radii in mm: the healthy lumen, the lumen, the border between plaque and wall, the outside.
    shift : numpy.ndarray
        ``(n, 2)`` the lumen's middle in the vessel's frame, mm.
    """

    reference: Array
    lumen: Array
    intima: Array
    outer: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Vessel:
    """A vessel with circular lumen and circular outside, which need not share their middle.

    Attributes
    ----------
    name, site, parent : str
        `parent` is empty where it leaves the aorta.
    points : numpy.ndarray
        ``(n, 3)`` RAS mm, the axis of the outer wall at even steps of about `STEP_MM`, away from the ostium.
    radii : numpy.ndarray
        ``(n,)`` healthy lumen radius in mm.
    wall_mm : float
        Thickness of the healthy wall.
    lesions : tuple of Lesion
        They do not overlap.
    parent_mm : float
        Where on the parent it begins.
    ostium_mm : float
        Where on itself it leaves the aorta (0 for branches).
    """

    name: str
    site: str
    parent: str
    points: Array
    radii: Array
    wall_mm: float = 0.6
    lesions: tuple[Lesion, ...] = ()
    parent_mm: float = 0.0
    ostium_mm: float = 0.0

    def __post_init__(self) -> None:
        ordered = sorted(self.lesions, key=lambda n: n.at_mm)
        for one, other in pairwise(ordered):
            if one.end_mm > other.start_mm:
                raise ValueError(f"{self.name}: the lesions at {one.at_mm:g} and {other.at_mm:g} mm overlap")
        for lesion in ordered:
            if lesion.start_mm < 0 or lesion.end_mm > self.length_mm:
                raise ValueError(f"{self.name}: the lesion at {lesion.at_mm:g} mm reaches beyond the vessel")

    @classmethod
    def along(cls, name: str, points: Array, radii: Array, **more: Any) -> Vessel:
        """From a polyline ``(n, 3)`` with radii ``(n,)``, at even steps."""
        radii = np.broadcast_to(np.asarray(radii, float), (len(points),))
        line = even_steps(np.column_stack([points, radii]), STEP_MM)
        return cls(name, more.pop("site", name), more.pop("parent", ""), line[:, :3], line[:, 3], **more)

    def with_lesions(self, *lesions: Lesion) -> Vessel:
        return replace(self, lesions=lesions)

    @cached_property
    def s(self) -> Array:
        """Place in mm of every point ``(n,)``."""
        return arc_length(self.points)

    @property
    def length_mm(self) -> float:
        return float(self.s[-1])

    @cached_property
    def frames(self) -> tuple[Array, Array, Array]:
        """Tangents and two normals ``(n, 3)``."""
        return frames(self.points)

    @cached_property
    def bend(self) -> Array:
        """Curvature ``(n, 2)`` in 1/mm along the two normals."""
        t, first, second = self.frames
        turning = np.gradient(t, self.s, axis=0)
        return np.stack([(turning * first).sum(1), (turning * second).sum(1)], 1)

    def profile(self, s: Array | None = None) -> Profile:
        """Radii at places `s` (the points if not given)."""
        s = self.s if s is None else np.asarray(s, float)
        reference = np.interp(s, self.s, self.radii)
        lumen, outer = reference.copy(), reference + self.wall_mm
        shift = np.zeros((len(s), 2))
        for lesion in self.lesions:
            f = lesion.shape(s)
            lumen = lumen * (1 - lesion.stenosis_pct / 100 * f)
            outer = outer * (1 + (lesion.remodelling - 1) * f)
            room = np.maximum(outer - self.wall_mm - lumen, 0) * (f > 0)
            angle = np.radians(lesion.direction_deg)
            shift -= (lesion.eccentricity * room)[:, None] * np.array([np.cos(angle), np.sin(angle)])
        intima = np.maximum(outer - self.wall_mm, lumen)
        return Profile(reference, lumen, intima, np.maximum(outer, lumen), shift)

    @cached_property
    def lumen_line(self) -> Array:
        """The lumen's own middle line ``(n, 3)``, RAS mm."""
        _, first, second = self.frames
        shift = self.profile().shift
        return self.points + shift[:, :1] * first + shift[:, 1:] * second

    def place(self, point: Array) -> float:
        """Where (mm) the axis comes nearest to a point."""
        return float(self.s[np.argmin(np.linalg.norm(self.points - point, axis=1))])

    def measures(self, lesion: Lesion) -> dict[str, Any]:
        """The truth about a lesion: sizes in mm, mm2 and mm3, shares in percent.

        ``plaque_mm3`` holds the plaque by kind; ``wall_mm3`` is all between lumen and outside over the lesion's length,
        healthy wall included. Volumes are integrals in the vessel's own curved coordinates.
        """
        s = np.arange(lesion.start_mm, lesion.end_mm, 0.02) + 0.01
        s = s[s < lesion.end_mm]
        p = self.profile(s)
        worst = int(np.argmax(1 - p.lumen / p.reference))
        least = int(np.argmin(p.lumen))
        ds = lesion.length_mm / len(s)
        angle = (np.arange(72) + 0.5) / 72 * 2 * np.pi
        share = (np.arange(40) + 0.5) / 40
        direction = np.stack([np.cos(angle), np.sin(angle)], 1)
        bend = np.stack([np.interp(s, self.s, self.bend[:, n]) for n in range(2)], 1)
        limit = _reach(p.shift, p.intima, direction)
        volumes = dict.fromkeys(KINDS, 0.0)
        area = 0.5 * np.maximum(limit**2 - p.lumen[:, None] ** 2, 0) * (2 * np.pi / 72)
        for q in share:
            rho = np.sqrt(p.lumen[:, None] ** 2 + q * np.maximum(limit**2 - p.lumen[:, None] ** 2, 0))
            where = p.shift[:, None] + rho[..., None] * direction
            volume = area / len(share) * (1 - (where * bend[:, None]).sum(-1)) * ds
            codes = lesion.codes(np.full(angle.shape, q), angle)
            for code, kind in enumerate(KINDS):
                volumes[kind] += float(volume[:, codes == code].sum())
        between = np.pi * (p.outer**2 - p.lumen**2)
        moved = np.pi * p.lumen**2 * (p.shift * bend).sum(1)
        tip = self.points[int(np.argmin(np.abs(self.s - s[worst])))]
        return {
            "vessel": self.name, "at_mm": lesion.at_mm, "length_mm": lesion.length_mm,
            "center_ras": tuple(float(x) for x in tip),
            "reference_diameter_mm": float(2 * p.reference[worst]),
            "minimal_lumen_diameter_mm": float(2 * p.lumen[least]),
            "minimal_lumen_area_mm2": float(np.pi * p.lumen[least] ** 2),
            "diameter_stenosis_pct": float(100 * (1 - p.lumen[worst] / p.reference[worst])),
            "area_stenosis_pct": float(100 * (1 - (p.lumen[worst] / p.reference[worst]) ** 2)),
            "remodelling_index": float((p.outer / (p.reference + self.wall_mm)).max()),
            "plaque_mm3": {k: v for k, v in volumes.items() if v > 0},
            "plaque_volume_mm3": float(sum(volumes.values())),
            "wall_mm3": float((between + moved).sum() * ds),
            "vessel_mm3": float((np.pi * p.outer**2).sum() * ds),
        }  # fmt: skip


def _reach(shift: Array, radius: Array, direction: Array) -> Array:
    """Distance ``(n, m)`` from the lumen's middle along `direction` ``(m, 2)`` to a circle about the axis."""
    along = shift @ direction.T
    rest = (shift**2).sum(1)[:, None] - along**2
    return np.asarray(-along + np.sqrt(np.maximum(radius[:, None] ** 2 - rest, 0)))
