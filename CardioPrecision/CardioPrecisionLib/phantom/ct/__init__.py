"""Synthetic non-contrast CT of the chest with calcium of known site and volume.

Two generators share only solids and scanner: `random_thorax` (for fitting) and `second_thorax` (for judging).
"""

from .calcium import CORONARY, LABELS, NOT_SCORED, Calcification
from .crops import calcified_ellipsoid, close_up
from .patients import ThoraxPatient, random_thorax
from .render import CTGeometry, CTSample, Part, render
from .second import second_thorax
from .shapes import ArcPlate, BentCapsule, Ellipsoid

__all__ = [
    "CORONARY",
    "LABELS",
    "NOT_SCORED",
    "ArcPlate",
    "BentCapsule",
    "CTGeometry",
    "CTSample",
    "Calcification",
    "Ellipsoid",
    "Part",
    "ThoraxPatient",
    "calcified_ellipsoid",
    "close_up",
    "random_thorax",
    "render",
    "second_thorax",
]
