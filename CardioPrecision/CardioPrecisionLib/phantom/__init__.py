"""Synthetic patients with exact truth: for tests, the demo and the modules' sample data."""

from .cine import MYOCARDIAL_DENSITY, CineHeart, Volumes
from .patients import DemoPatient, demo_patient
from .sampling import LABELS, CineSample, Geometry

__all__ = [
    "LABELS",
    "MYOCARDIAL_DENSITY",
    "CineHeart",
    "CineSample",
    "DemoPatient",
    "Geometry",
    "Volumes",
    "demo_patient",
]
