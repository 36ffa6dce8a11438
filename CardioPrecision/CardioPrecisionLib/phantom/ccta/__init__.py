"""Synthetic coronary CT angiograms with exact truth: middle lines, lumen and wall, stenoses, plaque by kind."""

from .contrast import Contrast
from .lesion import KINDS, PLAQUE_HU, Lesion
from .render import CCTASample, Scene, around, render_ccta
from .scenes import heart_view, random_ccta, tube
from .tree import path, segment
from .vessel import Profile, Vessel

__all__ = [
    "KINDS",
    "PLAQUE_HU",
    "CCTASample",
    "Contrast",
    "Lesion",
    "Profile",
    "Scene",
    "Vessel",
    "around",
    "heart_view",
    "path",
    "random_ccta",
    "render_ccta",
    "segment",
    "tube",
]
