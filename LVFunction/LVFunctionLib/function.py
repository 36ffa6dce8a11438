"""Ventricular function from volumes: the arithmetic, with nothing else in it.

SCMR post-processing, Schulz-Menger et al., J Cardiovasc Magn Reson 2020;22:19; ASE/EACVI chamber quantification,
Lang et al., J Am Soc Echocardiogr 2015;28:1; EF classes of the universal definition of heart failure 2021.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

MYOCARDIAL_DENSITY_G_ML = 1.05


def stroke_volume(edv_ml: float, esv_ml: float) -> float:
    """EDV - ESV in mL."""
    return edv_ml - esv_ml


def ejection_fraction(edv_ml: float, esv_ml: float) -> float:
    """Percent of the end-diastolic volume that is ejected."""
    if edv_ml <= 0:
        raise ValueError("the end-diastolic volume must be above 0 mL")
    return 100.0 * (edv_ml - esv_ml) / edv_ml


def cardiac_output(stroke_volume_ml: float, heart_rate_bpm: float) -> float:
    """L/min."""
    return stroke_volume_ml * heart_rate_bpm / 1000.0


def myocardial_mass(volume_ml: float) -> float:
    """Grams, at 1.05 g/mL."""
    return MYOCARDIAL_DENSITY_G_ML * volume_ml


def mass_volume_ratio(mass_g: float, edv_ml: float) -> float:
    """g/mL: mass over end-diastolic volume."""
    return mass_g / edv_ml


def ejection_fraction_class(ef_pct: float) -> str:
    """HFrEF (<= 40 %), HFmrEF (< 50 %) or HFpEF (>= 50 %) range; the unrounded EF is compared.

    The class says in which range an EF lies, not that there is heart failure.
    """
    if ef_pct <= 40:
        return "HFrEF"
    return "HFmrEF" if ef_pct < 50 else "HFpEF"


def biplane_disks(diameters_a_mm: ArrayLike, diameters_b_mm: ArrayLike, length_mm: float) -> float:
    """Volume in mL by the modified Simpson rule: pi/4 · sum(a_i · b_i) · L/n.

    Parameters
    ----------
    diameters_a_mm, diameters_b_mm : array_like
        ``(n,)`` diameters of the disks in two perpendicular long-axis planes, at the disks' middle.
    length_mm : float
    """
    a, b = np.asarray(diameters_a_mm, float), np.asarray(diameters_b_mm, float)
    if a.ndim != 1 or a.shape != b.shape or a.size == 0:
        raise ValueError("biplane disks need two equally long rows of diameters")
    return float(math.pi / 4 * np.sum(a * b) * length_mm / a.size / 1000.0)


def area_length(area_a_mm2: float, area_b_mm2: float, length_mm: float) -> float:
    """Volume in mL by the biplane area-length rule: 8 · A1 · A2 / (3 · pi · L)."""
    return 8.0 * area_a_mm2 * area_b_mm2 / (3.0 * math.pi * length_mm) / 1000.0
