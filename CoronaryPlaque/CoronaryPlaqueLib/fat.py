"""Attenuation of the fat around a coronary artery: mean CT number of the voxels that are fat in a given shell.

Antonopoulos et al., Sci Transl Med 2017;9:eaal2658: fat is -190 to -30 HU. Oikonomou et al., Lancet 2018;392:929: shell
of one vessel diameter around the outer wall, RCA from 10 to 50 mm, proximal 40 mm of LAD and LCX; from -70.1 HU around
the RCA cardiac mortality was higher.

This is the plain mean, hence the neutral name: it is not corrected for scanner, tube voltage, age or sex, as commercial
scores are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array
from CardioPrecisionLib.measurement import Measurement

FAT_HU = (-190.0, -30.0)
HIGH_FROM_HU = -70.1
NAME, UNIT = "pericoronary_fat_attenuation", "[hnsf'U]"


@dataclass(frozen=True)
class FatAttenuation:
    """Fat in a shell.

    Attributes
    ----------
    mean_hu : float or None
        None where the shell holds too little fat.
    fat_voxels, shell_voxels : int
    window_hu : tuple of float
        Inclusive at both ends.
    reason : str or None
    """

    mean_hu: float | None
    fat_voxels: int
    shell_voxels: int
    window_hu: tuple[float, float]
    reason: str | None = None

    @property
    def high(self) -> bool | None:
        """-70.1 HU or above, a limit found around the RCA; None without a mean."""
        return None if self.mean_hu is None else self.mean_hu >= HIGH_FROM_HU

    def measurement(self, site: str, source: str | None = None) -> Measurement:
        """The row of one vessel."""
        low, high = self.window_hu
        method = f"mean of the {self.fat_voxels} of {self.shell_voxels} voxels within {low:g} to {high:g} HU"
        if self.mean_hu is None:
            return Measurement.missing(NAME, UNIT, self.reason or "no fat", site=site, method=method, source=source)
        return Measurement(NAME, self.mean_hu, UNIT, site=site, method=method, source=source)


def fat_attenuation(
    hu: Array, shell: Array | None = None, *, window_hu: tuple[float, float] = FAT_HU, min_voxels: int = 1
) -> FatAttenuation:
    """Mean HU of the fat in a shell.

    Parameters
    ----------
    hu : numpy.ndarray
        CT numbers, any shape.
    shell : numpy.ndarray, optional
        Mask in the shape of `hu`; default: all of it.
    window_hu : tuple of float
        Lowest and highest HU of fat, inclusive.
    min_voxels : int
        Below this many fat voxels no mean is given.

    Raises
    ------
    InputError
        For a shell on another grid, HU in the shell that are not finite, or a window that is none.
    """
    low, high = window_hu
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"The HU window of fat must rise, not {low:g} to {high:g}.")
    if min_voxels < 1:
        raise InputError(f"The least number of fat voxels is 1 or more, not {min_voxels}.")
    hu = np.asarray(hu)
    if shell is not None:
        if shell.shape != hu.shape:
            raise InputError(f"The shell is {shell.shape} voxels and the CT is {hu.shape}; both must be on one grid.")
        hu = hu[np.asarray(shell, bool)]
    if hu.dtype.kind == "f" and not np.isfinite(hu).all():
        raise InputError("The shell holds CT numbers that are not finite; leave these voxels out.")
    fat = hu[(hu >= low) & (hu <= high)]
    if fat.size < min_voxels:
        reason = f"{fat.size} of {hu.size} voxels around the vessel are fat; {min_voxels} are needed."
        return FatAttenuation(None, int(fat.size), int(hu.size), window_hu, reason)
    return FatAttenuation(float(fat.mean(dtype=np.float64)), int(fat.size), int(hu.size), window_hu)
