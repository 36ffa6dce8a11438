"""How narrow an artery is: its lumen along the middle line, what it would be without disease, and where it is less.

The reference is a tapering line through the wide parts nearby. Diameters are those of circles with the lumen's area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.polyline import even_steps, stretches
from scipy import ndimage

from .centreline import Centreline
from .lumen import estimate_blur
from .sections import Lumen, Rays, cast
from .wall import find_borders

STEP_MM = 0.25
_REACH_MM = 6.0


@dataclass(frozen=True)
class StenosisParameters:
    """How narrowings are looked for.

    Attributes
    ----------
    least_pct : float
        Diameter stenosis from which on a stretch counts as a narrowing.
    least_length_mm : float
        Shorter ones are noise.
    reference_mm : float
        Half width of the stretch over which the healthy lumen is fitted.
    """

    least_pct: float = 20.0
    least_length_mm: float = 1.5
    reference_mm: float = 30.0


@dataclass(frozen=True)
class Narrowing:
    """A stretch of an artery in which the lumen is narrower than its reference.

    Attributes
    ----------
    start_mm, end_mm, at_mm : float
        Distance from the ostium: where it begins and ends, and where the lumen is least.
    reference_diameter_mm, minimal_diameter_mm : float
    minimal_area_mm2 : float
    diameter_stenosis_pct, area_stenosis_pct : float
    """

    start_mm: float
    end_mm: float
    at_mm: float
    reference_diameter_mm: float
    minimal_diameter_mm: float
    minimal_area_mm2: float
    diameter_stenosis_pct: float
    area_stenosis_pct: float

    @property
    def length_mm(self) -> float:
        return self.end_mm - self.start_mm


@dataclass(frozen=True, eq=False)
class LumenCourse:
    """The lumen along an artery.

    Attributes
    ----------
    s : numpy.ndarray
        ``(n,)`` distance from the ostium in mm.
    points : numpy.ndarray
        ``(n, 3)`` RAS mm.
    diameter_mm, reference_mm : numpy.ndarray
        ``(n,)``; NaN where no lumen was seen.
    rays : Rays
    lumen : Lumen
        Borders on every cross-section.
    """

    s: Array
    points: Array
    diameter_mm: Array
    reference_mm: Array
    rays: Rays
    lumen: Lumen

    @property
    def stenosis_pct(self) -> Array:
        """Diameter stenosis ``(n,)`` in %, not below 0; NaN where no lumen was seen."""
        return np.asarray(np.clip(100 * (1 - self.diameter_mm / self.reference_mm), 0, 100))

    def narrowings(self, parameters: StenosisParameters | None = None) -> list[Narrowing]:
        """All narrowings in order from the ostium."""
        p = parameters or StenosisParameters()
        pct = np.nan_to_num(self.stenosis_pct, nan=0.0)
        out = []
        for a, b in stretches(pct >= p.least_pct):
            if self.s[b] - self.s[a] < p.least_length_mm:
                continue
            worst = a + int(pct[a : b + 1].argmax())
            reference, least = float(self.reference_mm[worst]), float(self.diameter_mm[worst])
            out.append(Narrowing(float(self.s[a]), float(self.s[b]), float(self.s[worst]), reference, least,
                                 np.pi * least**2 / 4, float(pct[worst]),
                                 100 * (1 - (least / reference) ** 2)))  # fmt: skip
        return out


def measure(image: Image, line: Centreline, parameters: StenosisParameters | None = None) -> LumenCourse:
    """Lumen and reference along an artery.

    Parameters
    ----------
    image : Image
        HU.
    line : Centreline
    parameters : StenosisParameters, optional
    """
    p = parameters or StenosisParameters()
    dense = even_steps(np.column_stack([line.points, line.lumen_hu]), STEP_MM)
    s = np.linspace(0.0, line.length_mm, len(dense))
    rays = cast(image, dense[:, :3], _REACH_MM)
    blur = estimate_blur(rays, dense[:, 3], line.noise_hu)
    lumen, _ = find_borders(rays, dense[:, 3], line.noise_hu, blur)
    radius = np.where(lumen.found > 0.5, lumen.radius_mm, np.nan)
    diameter = 2 * smoothed(radius)
    return LumenCourse(s, dense[:, :3], diameter, reference(s, diameter, p.reference_mm), rays, lumen)


def smoothed(radius: Array) -> Array:
    """Radius without the odd section, averaged over about a millimetre; NaN stays."""
    known = np.isfinite(radius)
    if not known.any():
        return radius
    n = np.arange(len(radius))
    filled = np.interp(n, n[known], radius[known])
    filled = ndimage.gaussian_filter1d(ndimage.median_filter(filled, 3, mode="nearest"), 2.0, mode="nearest")
    return np.where(known, filled, np.nan)


def reference(s: Array, diameter: Array, reach_mm: float = 30.0) -> Array:
    """The diameter without disease ``(n,)``: lines that taper, fitted to the wide parts within `reach_mm`.

    What is narrower than the line by more than the scatter loses its weight step by step. The reference
    never widens away from the ostium. NaN everywhere where fewer than eight sections were seen.
    """
    out = np.full(len(s), np.nan)
    known = np.isfinite(diameter)
    if known.sum() < 8:
        return out
    x, y = s[known], diameter[known]
    window = int(2 * reach_mm / max(float(np.median(np.diff(x))), 1e-6))
    fit = ndimage.percentile_filter(y, 70, size=min(len(y), max(3, window)))
    spread = np.clip(0.04 * np.median(y), 0.06, 0.2)
    centres = np.arange(x[0], x[-1] + 4.0, 4.0)
    for _ in range(12):
        rest = (y - fit) / spread
        # Narrow parts count less and less; wide ones (ectasia, branch points) a little less.
        weight = np.where(rest < 0, 1 / (1 + rest**2) ** 2, 1 / (1 + rest**2 / 4))
        knots = []
        for c in centres:
            near = weight * np.clip(1 - ((x - c) / reach_mm) ** 2, 0, None) ** 2 + 1e-12
            mean_x, mean_y = (float((near * v).sum() / near.sum()) for v in (x, y))
            width = float((near * (x - mean_x) ** 2).sum())
            slope = float((near * (x - mean_x) * (y - mean_y)).sum()) / max(width, 1e-6)
            knots.append(mean_y + min(slope, 0.0) * (c - mean_x))
        # An artery is nowhere narrower by nature than further on: so a lesion at the ostium is measured as well.
        fit = np.interp(x, centres, np.maximum.accumulate(knots[::-1])[::-1])
    return np.interp(s, x, fit)
