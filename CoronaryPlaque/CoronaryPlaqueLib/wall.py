"""The outer wall of an artery on its cross-sections, and how thick the wall is where there is no plaque."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array
from scipy import ndimage, special

from .lumen import blurred_share, find_lumen
from .sections import FAT_HU, WALL_HU, Lumen, Rays
from .surface import first_basin, rounded, smooth_surface

#: Walls without plaque that are believed. Coronary walls of healthy people are 0.75 (SD 0.17) mm thick in MRI (Fayad et
#: al., Circulation 2000;102:506, from memory); what CT shows of them depends on the scanner, so it is measured.
NORMAL_WALL_MM = (0.0, 1.0)
USUAL_WALL_MM = 0.75
#: Beyond this much wall there is a neighbour, not plaque.
_THICKEST_MM = 4.0
_EVIDENCE_HU = 75.0
#: Plaque that exceeds a wall by this much blooms.
_BRIGHT_HU = 80.0


@dataclass(frozen=True, eq=False)
class OuterWall:
    """Where an artery ends.

    Attributes
    ----------
    border : numpy.ndarray
        ``(n, rays)`` mm from the point; never inside of the lumen.
    fat : numpy.ndarray
        ``(n, rays)`` whether there is fat beyond; towards muscle and veins the wall is drawn on from its neighbours.
    """

    border: Array
    fat: Array

    @property
    def fat_from(self) -> Array:
        """``(n, rays)`` where fat begins; infinite where there is none."""
        return np.where(self.fat, self.border, np.inf)


def find_borders(rays: Rays, lumen_hu: Array, noise_hu: float, blur_mm: float) -> tuple[Lumen, OuterWall]:
    """Borders of lumen and artery, each found again with what the other one says.

    Parameters
    ----------
    rays : Rays
    lumen_hu : numpy.ndarray
        ``(n,)`` blood.
    noise_hu : float
    blur_mm : float
        Standard deviation of the scan's point spread.
    """
    lumen = find_lumen(rays, lumen_hu, noise_hu, blur_mm)
    outer = find_wall(rays, lumen.border, lumen_hu, blur_mm)
    lumen = find_lumen(rays, lumen_hu, noise_hu, blur_mm, outer.fat_from)
    return lumen, find_wall(rays, lumen.border, lumen_hu, blur_mm)


def find_wall(rays: Rays, lumen: Array, lumen_hu: Array, blur_mm: float) -> OuterWall:
    """The border between wall and fat, half-way between their HU.

    Blood is first replaced by wall, its blur included, so that a thin wall is seen beside a bright lumen.

    Parameters
    ----------
    rays : Rays
    lumen : numpy.ndarray
        ``(n, rays)`` the lumen's border in mm.
    lumen_hu : numpy.ndarray
        ``(n,)`` blood.
    blur_mm : float
        Standard deviation of the scan's point spread.
    """
    r = rays.radius
    share = blurred_share(lumen, r, blur_mm)
    hu = np.nan_to_num(rays.hu, nan=FAT_HU)
    hu = ndimage.gaussian_filter(hu, (1.0, 0.7, 0), mode=("nearest", "wrap", "nearest"))
    hu = hu - share * (np.asarray(lumen_hu, float)[:, None, None] - WALL_HU)
    hu = _without_bloom(hu, lumen, r, blur_mm)
    halfway = 0.5 * (WALL_HU + FAT_HU)
    # What speaks against ending the wall here, added up from the lumen on: least where it turns to fat.
    against = np.clip(halfway - hu, -_EVIDENCE_HU, _EVIDENCE_HU)
    inside = r < lumen[..., None]
    against = np.where(inside, -_EVIDENCE_HU, against)
    against += np.where(r > lumen[..., None] + _THICKEST_MM, 2 * _EVIDENCE_HU, 0.05 * _EVIDENCE_HU * ~inside)
    step = float(r[1] - r[0])
    cost = np.cumsum(against, -1) - 0.5 * against
    place = smooth_surface(first_basin(cost, 3 * _EVIDENCE_HU), 20.0, 20.0) * step
    met = _meets_fat(hu, place, r, halfway)
    border = _drawn_on(place, lumen, met)
    border = rounded(border, 5, 1.0)
    # Blur moves the half-way place on a round body inwards.
    border = np.maximum(border + blur_mm**2 / (2 * np.maximum(border, 0.5)), lumen)
    return OuterWall(border, met)


def _without_bloom(hu: Array, lumen: Array, r: Array, blur_mm: float) -> Array:
    """HU with bright plaque taken off beyond its outer border: the blur of calcium would widen the wall."""
    plaque = np.where((r >= lumen[..., None]) & (r <= lumen[..., None] + _THICKEST_MM), hu, -np.inf)
    top = plaque.argmax(-1)[..., None]
    rise = np.take_along_axis(hu, top, -1) - WALL_HU
    beyond = np.arange(len(r)) > top
    fallen = beyond & (hu < WALL_HU + 0.5 * rise)
    end = r[np.where(fallen.any(-1), fallen.argmax(-1), len(r) - 1)][..., None] - 0.5 * (r[1] - r[0])
    bloom = rise * special.ndtr((end - r) / blur_mm)
    return np.where(beyond & (rise > _BRIGHT_HU), hu - bloom, hu)


def _meets_fat(hu: Array, border: Array, r: Array, halfway: float) -> Array:
    """Whether it is fat just beyond the border."""
    out = np.zeros(border.shape, bool)
    for beyond in (0.4, 0.6, 0.8):
        n = np.minimum(np.rint((border + beyond) / (r[1] - r[0])).astype(int), len(r) - 1)
        out |= np.take_along_axis(hu, n[..., None], -1)[..., 0] < halfway
    return out


def _drawn_on(border: Array, lumen: Array, met: Array) -> Array:
    """Rays that meet no fat get the wall thickness of the rays around them, in their own and nearby sections."""
    weight = met.astype(float)
    thick = (border - lumen) * weight
    size = ((8.0, 3.0), ("nearest", "wrap"))
    near = ndimage.gaussian_filter(weight, size[0], mode=size[1])
    mean = ndimage.gaussian_filter(thick, size[0], mode=size[1]) / np.maximum(near, 1e-6)
    mean = np.where(near > 1e-3, mean, USUAL_WALL_MM)
    return np.where(met, border, np.minimum(border, lumen + mean))


def thickness(lumen_area: Array, wall_area: Array) -> Array:
    """Wall thickness of circles of these areas, mm."""
    return np.asarray(np.sqrt(wall_area / np.pi) - np.sqrt(lumen_area / np.pi))


def normal_thickness(thick: Array, stenosis_pct: Array, step_mm: float) -> float:
    """Wall thickness without plaque in mm: the middle of the sections that are thin and not narrowed.

    Wall counts as plaque only beyond this. An artery that is ill from end to end has no such section: then its thinnest
    quarter stands in, and no more than 1 mm is believed.
    """
    good = np.isfinite(thick) & np.isfinite(stenosis_pct)
    if good.sum() < 4:
        return USUAL_WALL_MM
    filled = np.interp(np.arange(len(thick)), np.flatnonzero(good), thick[good])
    smooth = ndimage.gaussian_filter1d(filled, 1.0 / step_mm, mode="nearest")
    low = float(np.percentile(smooth[good], 25))
    healthy = good & (smooth < low + 0.15) & (stenosis_pct < 15)
    value = float(np.median(smooth[healthy])) if healthy.sum() >= 4 else low
    return float(np.clip(value, *NORMAL_WALL_MM))
