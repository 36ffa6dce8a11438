"""What a plaque consists of by its CT numbers: volumes per class, percent atheroma volume.

Low attenuation below 30 HU, fibro-fatty 30-130, fibrous 131-350, calcified above 350 (Min et al., J Cardiovasc Comput
Tomogr 2022;16:415). Other limits are in use: they are parameters.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array

OUTSIDE, LOW_ATTENUATION, FIBROFATTY, FIBROUS, CALCIFIED = range(5)


@dataclass(frozen=True)
class HuClasses:
    """Limits between the classes.

    Attributes
    ----------
    low_attenuation_below : float
        HU; a voxel of exactly this value is fibro-fatty.
    fibrofatty_to, fibrous_to : float
        Highest HU of the class, inclusive; above `fibrous_to` a voxel is calcified.
    plaque_from : float
        Lowest HU of plaque, inclusive; what lies below is fat and counts as outside. Default: no limit.
    """

    low_attenuation_below: float = 30.0
    fibrofatty_to: float = 130.0
    fibrous_to: float = 350.0
    plaque_from: float = -math.inf

    def __post_init__(self) -> None:
        limits = (self.plaque_from, self.low_attenuation_below, self.fibrofatty_to, self.fibrous_to)
        if any(math.isnan(v) for v in limits) or not all(a < b for a, b in itertools.pairwise(limits)):
            raise InputError(
                f"Plaque classes: the limits must rise, not {', '.join(f'{v:g}' for v in limits)} HU; correct them."
            )

    def for_lumen(
        self, lumen_hu: float, noise_hu: float, *, lumen_share: float = 0.0, reference_hu: float = 350.0
    ) -> HuClasses:
        """Limits adapted to how bright the lumen is.

        Calcified starts no lower than two noise SD above the lumen: a voxel that is part lumen, part wall cannot be
        brighter than the lumen, so what is brighter is calcium. With a lumen of 450 HU and a fixed limit of 350, the
        lumen's own edge would count as calcium. The price: calcium that shares a voxel with soft plaque and falls below
        the raised limit counts as fibrous.

        The low-attenuation limit moves by `lumen_share` x (lumen - `reference_hu`): contrast raises the CT number of
        the plaque next to it (non-calcified plaque ex vivo 14 HU in saline, 68 HU in contrast with a medium-smooth
        kernel: Eur Radiol, doi 10.1007/s00330-006-0548-z). How much depends on kernel, voxel and plaque, and no
        published curve could be read (nor that of de Graaf et al. 2013), so that it stays where it is unless a share is
        given. It ends below `fibrofatty_to`.

        Parameters
        ----------
        lumen_hu, noise_hu : float
            Mean and SD in the lumen of the same scan.
        lumen_share : float
            0 to below 1; how much of the lumen's brightness plaque takes on.
        reference_hu : float
            Lumen that the fixed limits are held to be made for.

        Raises
        ------
        InputError
            For values that are not finite or a share outside of 0 to 1.
        """
        if not (all(map(math.isfinite, (lumen_hu, noise_hu, reference_hu))) and noise_hu >= 0):
            raise InputError("Plaque classes: the lumen needs a finite mean and a noise of 0 HU or more.")
        if not 0 <= lumen_share < 1:
            raise InputError(f"Plaque classes: the share of the lumen is 0 to below 1, not {lumen_share:g}.")
        low = self.low_attenuation_below + lumen_share * (lumen_hu - reference_hu)
        floor = self.plaque_from if math.isfinite(self.plaque_from) else low - 1.0
        low = min(max(low, floor + 1.0), self.fibrofatty_to - 1.0)
        return replace(self, low_attenuation_below=low, fibrous_to=max(self.fibrous_to, lumen_hu + 2.0 * noise_hu))


MIN_2022 = HuClasses()
#: Another set in use: necrotic core -30 to 75 HU, fibro-fatty 76 to 130, fibrous 131 to 350, dense calcium above.
NECROTIC_TO_75 = HuClasses(low_attenuation_below=76.0, plaque_from=-30.0)


@dataclass(frozen=True)
class Composition:
    """Volumes of a plaque, or of several added up, in mm3."""

    low_attenuation_mm3: float = 0.0
    fibrofatty_mm3: float = 0.0
    fibrous_mm3: float = 0.0
    calcified_mm3: float = 0.0

    @property
    def noncalcified_mm3(self) -> float:
        return self.low_attenuation_mm3 + self.fibrofatty_mm3 + self.fibrous_mm3

    @property
    def total_mm3(self) -> float:
        return self.noncalcified_mm3 + self.calcified_mm3

    def __add__(self, other: Composition) -> Composition:
        return Composition(
            self.low_attenuation_mm3 + other.low_attenuation_mm3,
            self.fibrofatty_mm3 + other.fibrofatty_mm3,
            self.fibrous_mm3 + other.fibrous_mm3,
            self.calcified_mm3 + other.calcified_mm3,
        )


def classify(hu: Array, classes: HuClasses = MIN_2022) -> Array:
    """Class of every voxel: 1 low attenuation, 2 fibro-fatty, 3 fibrous, 4 calcified, 0 outside; uint8, shaped as `hu`.

    Raises
    ------
    InputError
        For HU that are not finite.
    """
    hu = np.asarray(hu)
    if hu.dtype.kind == "f" and not np.isfinite(hu).all():
        raise InputError("The plaque holds CT numbers that are not finite; leave these voxels out.")
    found = np.full(hu.shape, FIBROFATTY, np.uint8)
    found[hu < classes.low_attenuation_below] = LOW_ATTENUATION
    found[hu > classes.fibrofatty_to] = FIBROUS
    found[hu > classes.fibrous_to] = CALCIFIED
    found[hu < classes.plaque_from] = OUTSIDE
    return found


def composition(hu: Array, voxel_mm3: float, classes: HuClasses = MIN_2022) -> Composition:
    """Volumes by class of the plaque's voxels.

    Parameters
    ----------
    hu : numpy.ndarray
        CT numbers of the voxels between lumen and outer wall, any shape; empty where there is no plaque.
    voxel_mm3 : float
        Volume of a voxel.
    classes : HuClasses
    """
    if not (math.isfinite(voxel_mm3) and voxel_mm3 > 0):
        raise InputError(f"The voxel volume must be above 0 mm3, not {voxel_mm3:g}.")
    counts = np.bincount(classify(hu, classes).ravel(), minlength=5)
    return Composition(*(float(n) * voxel_mm3 for n in counts[LOW_ATTENUATION:]))


def percent_atheroma_volume(plaque_mm3: float, lumen_mm3: float) -> float | None:
    """100 x plaque / (plaque + lumen); None where no vessel was measured."""
    if not all(math.isfinite(v) and v >= 0 for v in (plaque_mm3, lumen_mm3)):
        raise InputError("Plaque and lumen volume must be 0 mm3 or more.")
    vessel = plaque_mm3 + lumen_mm3
    return 100.0 * plaque_mm3 / vessel if vessel > 0 else None
