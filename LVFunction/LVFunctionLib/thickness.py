"""Wall thickness perpendicular to the wall, from labels.

In each slice the endo- and epicardial radius are read along rays from the cavity's centroid, to a fraction of a voxel.
A ray meets the wall at an angle, in the slice where the outline is not a circle about the centroid and through the
slice where the ventricle tapers; the distance along the ray is therefore multiplied by the cosine of the angle between
the ray and the normal of the mid-wall surface r = R(theta, z), whose normal is (1, -R_theta / R, -R_z).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.image import Array
from scipy.ndimage import gaussian_filter, map_coordinates

from .segments import LV, MYOCARDIUM, RV

RAYS = 96
SECTORS = 6
MIN_CAVITY_RADIUS_MM = 5.0
MIN_RING = 0.95  # share of rays that must cross myocardium
MIN_COSINE = 0.6  # steeper than this the ray method is not trusted (apical cap)


@dataclass(frozen=True)
class Clock:
    """Where the sectors of a slice begin and which way they run, so that no storage order changes them.

    Attributes
    ----------
    start_rad : float
        Direction of the first sector's first edge in the slice, from i towards j, in mm space.
    sense : int
        1 where the sectors run from i towards j, -1 the other way: right-handed about base to apex.
    """

    start_rad: float
    sense: int

    def edges_deg(self, sector: int) -> tuple[float, float]:
        """Both edges of a sector (from 0) in degrees from i towards j."""
        width = 360.0 / SECTORS * self.sense
        start = float(np.degrees(self.start_rad)) + sector * width
        return start, start + width


def clock(labels: Array, affine: Array) -> Clock:
    """Sectors from the direction of the right ventricle; where there is none, from the patient's left.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(i, j, k)`` of one frame.
    affine : numpy.ndarray
        ``(4, 4)`` index to RAS mm.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    left, right = (np.argwhere(labels == value) for value in (LV, RV))
    if len(left) and len(right):
        towards = ((right.mean(0) - left.mean(0)) * spacing)[:2]
    else:
        axes = affine[:3, :2] / spacing[:2]
        towards = -axes[0] if np.linalg.norm(axes[0]) > 0.2 else axes[1]
    area = (labels == LV).sum(axis=(0, 1)).astype(float)
    levels = np.arange(len(area)) - (len(area) - 1) / 2
    # The cavity's centre of mass lies nearer to the base than the middle of its extent.
    seen = np.flatnonzero(area)
    apex_up = len(seen) == 0 or (area @ levels) / max(area.sum(), 1) <= (levels[seen[0]] + levels[seen[-1]]) / 2
    sense = int(np.sign(np.linalg.det(affine[:3, :3]))) * (1 if apex_up else -1)
    return Clock(float(np.arctan2(towards[1], towards[0])), sense)


@dataclass(frozen=True)
class WallThickness:
    """Thickness by slice and sector.

    Attributes
    ----------
    mm : numpy.ndarray
        ``(k, SECTORS)``; NaN where it cannot be measured (no closed ring, apical cap).
    """

    mm: Array

    @property
    def slices(self) -> int:
        """Slices that were measured."""
        return int(np.isfinite(self.mm).any(axis=1).sum())

    def statistics(self) -> dict[str, float] | None:
        """min, mean, max and SD over sectors and slices in mm; None where nothing was measured."""
        values = self.mm[np.isfinite(self.mm)]
        if values.size < SECTORS:
            return None
        return {
            "min": float(values.min()),
            "mean": float(values.mean()),
            "max": float(values.max()),
            "sd": float(values.std(ddof=1)),
        }


def _crossing(profile: Array, radii: Array, outward: bool) -> Array:
    """Radius where each profile (rays x radii) falls below one half: first (from inside) or last."""
    inside = profile >= 0.5
    if outward:
        last = inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)
        index = np.minimum(last, profile.shape[1] - 2)
    else:
        index = np.maximum(np.argmax(~inside, axis=1) - 1, 0)
    rows = np.arange(profile.shape[0])
    a, b = profile[rows, index], profile[rows, index + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(a > b, (a - 0.5) / (a - b), 0.0)
    return radii[index] + np.clip(fraction, 0, 1) * (radii[1] - radii[0])


def _smooth_circular(values: Array, keep: int = 8) -> Array:
    spectrum = np.fft.rfft(values, axis=-1)
    spectrum[..., keep + 1 :] = 0
    return np.fft.irfft(spectrum, values.shape[-1], axis=-1)


def wall_thickness(labels: Array, spacing: Array, sectors: Clock) -> WallThickness:
    """Thickness of the LV wall in one frame.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(i, j, k)`` with this module's labels.
    spacing : numpy.ndarray
        mm along i, j, k.
    sectors : Clock
        Sectors are 60 degrees wide and carry no anatomical name.
    """
    n = labels.shape[2]
    angles = sectors.start_rad + sectors.sense * 2 * np.pi * (np.arange(RAYS) + 0.5) / RAYS
    endo = np.full((n, RAYS), np.nan)
    epi = np.full((n, RAYS), np.nan)
    step = 0.25 * float(min(spacing[:2]))
    wall = np.isin(labels, (LV, MYOCARDIUM))
    for k in range(n):
        cavity = labels[:, :, k] == LV
        if cavity.sum() * spacing[0] * spacing[1] < np.pi * MIN_CAVITY_RADIUS_MM**2:
            continue
        box = np.argwhere(wall[:, :, k])
        lower = np.maximum(box.min(0) - 4, 0)
        upper = np.minimum(box.max(0) + 5, labels.shape[:2])
        view = (slice(lower[0], upper[0]), slice(lower[1], upper[1]))
        centre = np.argwhere(cavity[view]).mean(0)
        reach = float(np.hypot(*((upper - lower) * spacing[:2])))
        radii = np.arange(0, reach, step)
        rays = (
            centre[:, None, None]
            + radii[None, None, :] * np.stack([np.cos(angles), np.sin(angles)])[:, :, None] / spacing[:2, None, None]
        )
        # A slight blur turns the staircase of voxels into an outline; it leaves straight edges where they are.
        soft_cavity = gaussian_filter(cavity[view].astype(np.float32), 0.7)
        soft_wall = gaussian_filter(wall[:, :, k][view].astype(np.float32), 0.7)
        cavity_profile = map_coordinates(soft_cavity, rays, order=1)
        wall_profile = map_coordinates(soft_wall, rays, order=1)
        r_endo = _crossing(cavity_profile, radii, outward=False)
        r_epi = _crossing(wall_profile, radii, outward=True)
        muscle = (labels[:, :, k] == MYOCARDIUM)[view]
        middle = centre[:, None] + (r_endo + r_epi) / 2 * np.stack([np.cos(angles), np.sin(angles)]) / spacing[:2, None]
        on_muscle = map_coordinates(muscle.astype(np.float32), middle, order=0) > 0.5
        if on_muscle.mean() < MIN_RING:
            continue
        r_endo[~on_muscle] = np.nan
        endo[k], epi[k] = r_endo, r_epi
        epi[k][~on_muscle] = np.nan
    return WallThickness(_perpendicular(endo, epi, float(spacing[2])))


def _perpendicular(endo: Array, epi: Array, slice_mm: float) -> Array:
    n = endo.shape[0]
    out = np.full((n, SECTORS), np.nan)
    middle = (endo + epi) / 2
    ringed: Array = np.asarray(np.isfinite(middle).any(axis=1))
    radius = np.full_like(middle, np.nan)
    if ringed.any():
        rings = middle[ringed]
        filled = np.where(np.isfinite(rings), rings, np.nanmean(rings, axis=1, keepdims=True))
        radius[ringed] = _smooth_circular(filled)
    sector = (np.arange(RAYS) * SECTORS) // RAYS
    for k in np.flatnonzero(ringed):
        around = (np.roll(radius[k], -1) - np.roll(radius[k], 1)) / (2 * 2 * np.pi / RAYS)
        above = radius[k - 1] if k > 0 and ringed[k - 1] else radius[k]
        below = radius[k + 1] if k + 1 < n and ringed[k + 1] else radius[k]
        neighbours = int(k > 0 and ringed[k - 1]) + int(k + 1 < n and ringed[k + 1])
        along = (below - above) / (slice_mm * max(neighbours, 1))
        cosine = 1 / np.sqrt(1 + (around / radius[k]) ** 2 + along**2)
        mm = np.where(cosine >= MIN_COSINE, (epi[k] - endo[k]) * cosine, np.nan)
        for s in range(SECTORS):
            values = mm[sector == s]
            good = np.isfinite(values)
            if good.mean() >= 0.75:
                out[k, s] = values[good].mean()
    return out
