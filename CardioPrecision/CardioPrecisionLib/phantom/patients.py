"""Random hearts by diagnosis group, and the one synthetic patient that every front shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .cine import CineHeart

if TYPE_CHECKING:
    from pathlib import Path

    from .sampling import CineSample

# Means of EDV, EF, mass, RV EDV, RV EF and the ratio of length to normal for the size: rounded means of the ACDC
# training groups (Bernard et al., IEEE TMI 2018;37:2514), computed from its public contours.
_GROUPS = {
    "normal": (124.0, 60.0, 96.0, 143.0, 55.0, 1.0),
    "dilated": (276.0, 19.0, 165.0, 173.0, 33.0, 0.92),
    "hypertrophic": (132.0, 68.0, 174.0, 117.0, 61.0, 1.0),
    "rv_dilated": (103.0, 55.0, 78.0, 192.0, 32.0, 1.0),
}


def random_heart(seed: int, group: str = "normal") -> CineHeart:
    """A heart of the group; the same for the same seed."""
    if group not in _GROUPS:
        raise InputError(f"phantom: there is no group '{group}'; choose one of {', '.join(_GROUPS)}")
    rng = np.random.default_rng([seed, *group.encode()])
    edv, ef, mass, rv_edv, rv_ef, slender = _GROUPS[group]
    size = float(rng.uniform(0.85, 1.18))
    edv, mass, rv_edv = (float(v * size * rng.uniform(0.92, 1.08)) for v in (edv, mass, rv_edv))
    ef = float(np.clip(ef + rng.uniform(-6, 6), 12, 80))
    rv_ef = float(np.clip(rv_ef + rng.uniform(-6, 6), 12, 80))
    length = 87 * (edv / 150) ** (1 / 6) * slender * float(rng.uniform(0.98, 1.05))
    return CineHeart(
        lv_edv_ml=edv,
        lv_esv_ml=edv * (1 - ef / 100),
        lv_mass_g=mass,
        rv_edv_ml=rv_edv,
        rv_esv_ml=rv_edv * (1 - rv_ef / 100),
        lv_length_mm=length,
        rv_length_mm=length * float(rng.uniform(0.95, 1.0)),
        apex_wall_mm=6.0 * (mass / edv / 0.73) ** 0.5,
        base_descent_mm=float(np.clip(ef / 60 * rng.uniform(7, 10), 3, 11)),
        lv_bulge=float(rng.uniform(3.8, 4.4)),
        ellipticity=float(rng.uniform(0.95, 1.06)),
        septal_excess=float(rng.uniform(0.25, 0.45) if group == "hypertrophic" else rng.uniform(0, 0.15)),
        rv_direction_deg=float(rng.uniform(175, 195)),
        rv_anterior_deg=float(rng.uniform(66, 78)),
        rv_inferior_deg=float(rng.uniform(70, 84)),
        lean_x_mm=float(rng.uniform(2, 10)),
        lean_y_mm=float(rng.uniform(0, 8)),
        rr_ms=float(rng.uniform(750, 1050)),
    )


@dataclass(frozen=True)
class DemoPatient:
    """The synthetic patient of the demo; nobody's data."""

    heart: CineHeart
    sample: CineSample
    patient_id: str = "PHANTOM-1"
    sex: str = "female"
    age_years: float = 54.0
    height_cm: float = 168.0
    weight_kg: float = 66.0
    study_date: str = "2025-01-15"
    seed: int = 1

    def write_dicom(self, folder: str | Path, style: str = "siemens") -> None:
        """The cine stack as DICOM with this patient's header fields."""
        self.sample.write_dicom(
            folder,
            style,
            patient_id=self.patient_id,
            sex=self.sex,
            age_years=self.age_years,
            height_cm=self.height_cm,
            weight_kg=self.weight_kg,
            study_date=self.study_date,
        )


def demo_patient(seed: int = 1) -> DemoPatient:
    """One fixed synthetic patient: 20 phases, 10 slices of 8 mm with a gap of 2 mm, 192 x 192.

    The end-diastolic base lies on the border between two slabs, and so does the end-systolic one.
    """
    from .sampling import Geometry

    heart = CineHeart(
        lv_edv_ml=142.0,
        lv_esv_ml=54.0,
        lv_mass_g=104.0,
        rv_edv_ml=150.0,
        rv_esv_ml=64.0,
        lv_length_mm=80.0,
        rv_length_mm=77.0,
        base_descent_mm=10.0,
        rr_ms=880.0,
    )
    geometry = Geometry(thickness_mm=8.0, gap_mm=2.0, n_slices=10, base_offset_mm=0.0)
    return DemoPatient(heart, heart.sample(geometry, 20, seed=seed), seed=seed)
