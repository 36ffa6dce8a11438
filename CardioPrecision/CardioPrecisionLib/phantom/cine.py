"""A beating heart in closed form: cavity and wall volumes at every phase are known without any voxel.

Every structure is given by its cross-section area as a function of depth below the base plane,
``A = A0 (1 - u^2) (1 + a u^2 - (a - 1) u^4)`` with ``u = d / L`` in 0..1, a half-ellipsoid times a bulge: the
ventricle is widest below the base, as an ellipsoid cut above its equator, and meets the base plane upright. Its
integral is ``A0 L (2/3 + 2 a / 15 - 2 (a - 1) / 35)``. By Cavalieri's principle the volume is independent of where
in its plane each cross-section lies, so the long axis may lean and the cavity may sit off-centre without a change of
the truth.

* Left ventricular cavity and epicardium are discs of area ``A(d)``; the myocardium is what lies between them.
* The right ventricle hugs the epicardium. In polar coordinates about the epicardial centre it reaches from the
  epicardium ``r`` to ``sqrt(r^2 + c f(angle))`` with ``f = 1 - |angle / w|^m`` over the sector of half-widths ``w``, so
  its area is ``c (w_anterior + w_inferior) m / (2 (m + 1))`` whatever the epicardium does; ``c`` follows from the
  prescribed area. This is the crescent.
* An area-preserving stretch makes the discs elliptic.

Heart coordinates in mm: ``x`` to the lateral wall, ``y`` to the inferior wall, ``z`` from the end-diastolic base
plane to the apex. Seen as on a short-axis image (``x`` right, ``y`` down) the right ventricle is on the left.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from math import isfinite, pi, radians, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

if TYPE_CHECKING:
    from .sampling import CineSample, Geometry

Array = NDArray[Any]

#: Density of myocardium in g/mL, as everywhere in cardiac MR (SCMR post-processing consensus, 2020).
MYOCARDIAL_DENSITY = 1.05
#: Exponent of the angular profile of the right ventricle.
RV_ANGULAR = 3.0
#: How much narrower the right ventricular sector is at the right ventricular apex than at the base.
RV_NARROWING = 0.35
#: The apical wall at end-systole over that at end-diastole, less one.
APICAL_THICKENING = 0.3


class Volumes(NamedTuple):
    """Exact volumes in mL at one phase (or arrays over phases)."""

    lv_ml: Any
    myocardium_ml: Any
    rv_ml: Any


class Shape(NamedTuple):
    """The measures that fix the surfaces at one phase, all in mm or mm^2 (base areas)."""

    base_mm: float  # position of the base plane along z
    endo_area: float
    endo_length: float
    epi_area: float
    epi_length: float
    rv_area: float
    rv_length: float


@dataclass(frozen=True)
class CineHeart:
    """A heart whose volumes over the cycle are exact.

    Attributes
    ----------
    lv_edv_ml, lv_esv_ml, rv_edv_ml, rv_esv_ml : float
        Cavity volumes at the extremes. Papillary muscles and trabeculae belong to the cavity (the convention of ACDC).
    lv_mass_g : float
        End-diastolic mass, 1.05 g/mL.
    mass_change_es : float
        Relative change of the myocardial volume at end-systole; 0 conserves it.
    lv_length_mm : float
        Base plane to endocardial apex at end-diastole.
    rv_length_mm : float
        Base plane to right ventricular apex at end-diastole.
    apex_wall_mm : float
        Wall at the apex at end-diastole.
    base_descent_mm : float
        Motion of the base plane towards the (fixed) apex at end-systole.
    lv_bulge, rv_bulge : float
        ``a`` of the area profile: 4 makes the widest level 1.36 times as large as the base, 1 hardly larger.
    ellipticity : float
        Ratio of the axes of the cross-sections.
    septal_excess : float
        0 for a wall of even thickness; the cavity is off-centre by this part of the mean wall, away from the septum.
    rv_direction_deg : float
        Where the middle of the septum lies: 180 is straight to the image left, 90 is inferior.
    rv_anterior_deg, rv_inferior_deg : float
        From there to the two insertions at the base.
    lean_x_mm, lean_y_mm : float
        How far the axis has moved in plane from the base to the apex.
    rr_ms : float
        Length of the cycle.
    ed_phase : float
        Phase (0..1) of end-diastole within the acquired cycle.
    es_start, es_end : float
        Isovolumic relaxation, as parts of the cycle after `ed_phase`: the volume rests at its minimum in between, so
        any cycle of ``1 / (es_end - es_start)`` frames or more samples it exactly (with `ed_phase` 0).
    rv_delay : float
        Part of the cycle by which the right ventricle is late.
    """

    lv_edv_ml: float = 150.0
    lv_esv_ml: float = 60.0
    lv_mass_g: float = 110.0
    mass_change_es: float = 0.0
    rv_edv_ml: float = 164.0
    rv_esv_ml: float = 74.0
    lv_length_mm: float = 86.0
    rv_length_mm: float = 82.0
    apex_wall_mm: float = 6.0
    base_descent_mm: float = 10.0
    lv_bulge: float = 4.0
    rv_bulge: float = 4.0
    ellipticity: float = 1.04
    septal_excess: float = 0.1
    rv_direction_deg: float = 185.0
    rv_anterior_deg: float = 72.0
    rv_inferior_deg: float = 78.0
    lean_x_mm: float = 6.0
    lean_y_mm: float = 4.0
    rr_ms: float = 900.0
    ed_phase: float = 0.0
    es_start: float = 0.33
    es_end: float = 0.40
    rv_delay: float = 0.0

    def __post_init__(self) -> None:
        for f in fields(self):
            if not isfinite(getattr(self, f.name)):
                raise InputError(f"phantom: {f.name} must be a finite number")
        limits = {
            "lv_edv_ml": (5, 1000),
            "lv_esv_ml": (1, 1000),
            "lv_mass_g": (5, 1000),
            "mass_change_es": (-0.3, 0.3),
            "rv_edv_ml": (5, 1000),
            "rv_esv_ml": (1, 1000),
            "lv_length_mm": (20, 200),
            "rv_length_mm": (20, 200),
            "apex_wall_mm": (0.5, 40),
            "base_descent_mm": (0, 40),
            "lv_bulge": (0, 5),
            "rv_bulge": (0, 5),
            "ellipticity": (0.7, 1.4),
            "septal_excess": (0, 0.8),
            "rv_anterior_deg": (20, 120),
            "rv_inferior_deg": (20, 120),
            "lean_x_mm": (-60, 60),
            "lean_y_mm": (-60, 60),
            "rr_ms": (200, 3000),
            "ed_phase": (0, 1),
            "es_start": (0.15, 0.55),
            "es_end": (0.15, 0.6),
            "rv_delay": (-0.2, 0.2),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"phantom: {name} is {getattr(self, name)}; it must lie between {low} and {high}")
        if self.lv_esv_ml > self.lv_edv_ml or self.rv_esv_ml > self.rv_edv_ml:
            raise InputError("phantom: an end-systolic volume is larger than its end-diastolic volume")
        if self.es_end < self.es_start:
            raise InputError("phantom: es_end lies before es_start")
        shortest = min(self.lv_length_mm - APICAL_THICKENING * self.apex_wall_mm, self.rv_length_mm)
        if shortest - self.base_descent_mm < 10:
            raise InputError("phantom: base_descent_mm leaves no ventricle at end-systole")
        for phase in np.linspace(0, 1, 41):
            endo, epi, _ = self.areas(float(phase), np.linspace(0, self.length_mm, 93)[:-1])
            if ((epi <= endo * 1.01) & (epi > 0)).any():
                raise InputError("phantom: the wall would vanish; raise lv_mass_g or change apex_wall_mm")

    # -- the cycle -----------------------------------------------------------------------------------------------------
    def filling(self, phase: float | Array, delay: float = 0.0) -> Any:
        """Where between end-systole (0) and end-diastole (1) the ventricle is; `phase` counts whole cycles.

        Isovolumic contraction, ejection, isovolumic relaxation, rapid filling (75 %), diastasis, atrial filling.
        """
        p = np.mod(np.asarray(phase, float) - self.ed_phase - delay, 1.0)
        rest = 1.0 - self.es_end
        early, late_start, late_end = self.es_end + 0.38 * rest, self.es_end + 0.68 * rest, self.es_end + 0.95 * rest

        def rise(start: float, end: float) -> Any:
            u = np.clip((p - start) / (end - start), 0, 1)
            return u * u * (3 - 2 * u)

        value = 1 - rise(0.04, self.es_start) + 0.75 * rise(self.es_end, early) + 0.25 * rise(late_start, late_end)
        return np.clip(value, 0.0, 1.0)

    def truth(self, phase: float | Array) -> Volumes:
        """Exact volumes in mL at a phase (0..1) or an array of phases; frame ``t`` of ``n`` is phase ``t / n``."""
        g, h = self.filling(phase), self.filling(phase, self.rv_delay)
        wall = self.lv_mass_g / MYOCARDIAL_DENSITY * (1 + self.mass_change_es * (1 - g))
        return Volumes(
            self.lv_esv_ml + (self.lv_edv_ml - self.lv_esv_ml) * g,
            wall,
            self.rv_esv_ml + (self.rv_edv_ml - self.rv_esv_ml) * h,
        )

    def true_measurements(self, n_frames: int | None = None) -> dict[str, float]:
        """Exact values under the names that the analysis uses.

        Parameters
        ----------
        n_frames : int, optional
            Take the extremes over this many equally spaced frames instead of over the continuous cycle.

        Returns
        -------
        dict
            mL, %, g, 1/min and L/min. Right ventricular volumes are those at the left ventricle's ED and ES.
        """
        if n_frames is None:
            ed, es = self.ed_phase, self.ed_phase + (self.es_start + self.es_end) / 2
        else:
            lv = self.truth(np.arange(n_frames) / n_frames).lv_ml
            ed, es = int(np.argmax(lv)) / n_frames, int(np.argmin(lv)) / n_frames
        return measurements_of(self.truth(ed), self.truth(es), self.rr_ms)

    def state(self, phase: float) -> tuple[float, float]:
        """Filling of both ventricles, rounded: phases of the same state are the same heart."""
        return round(float(self.filling(phase)), 9), round(float(self.filling(phase, self.rv_delay)), 9)

    # -- the surfaces --------------------------------------------------------------------------------------------------
    def shape(self, phase: float) -> Shape:
        """The measures that fix the surfaces at `phase`."""
        volumes = self.truth(phase)
        contraction = 1 - float(self.filling(phase))
        base = self.base_descent_mm * contraction
        epi_length = self.lv_length_mm + self.apex_wall_mm - base
        endo_length = epi_length - self.apex_wall_mm * (1 + APICAL_THICKENING * contraction)
        rv_length = self.rv_length_mm - base
        lv, rv = _fullness(self.lv_bulge), _fullness(self.rv_bulge)
        return Shape(
            base,
            1000 * volumes.lv_ml / (lv * endo_length),
            endo_length,
            1000 * (volumes.lv_ml + volumes.myocardium_ml) / (lv * epi_length),
            epi_length,
            1000 * volumes.rv_ml / (rv * rv_length),
            rv_length,
        )

    def areas(self, phase: float, z: float | Array) -> tuple[Array, Array, Array]:
        """Exact cross-section areas in mm^2 of the LV cavity, the epicardium and the RV cavity at levels `z` in mm."""
        s = self.shape(phase)
        depth = np.asarray(z, float) - s.base_mm
        return (
            _profile(depth, s.endo_area, s.endo_length, self.lv_bulge),
            _profile(depth, s.epi_area, s.epi_length, self.lv_bulge),
            _profile(depth, s.rv_area, s.rv_length, self.rv_bulge),
        )

    def slab_areas(self, phase: float, z: Array, spacing_mm: float) -> tuple[Array, Array, Array]:
        """Exact mean areas as of `areas` over slabs of `spacing_mm` about levels `z`.

        The mean is over the part of the slab below the base plane, for a slab whose middle lies below it, else 0.
        """
        s = self.shape(phase)
        depth = np.asarray(z, float) - s.base_mm
        low, high = np.maximum(depth - spacing_mm / 2, 0), depth + spacing_mm / 2
        return tuple(  # type: ignore[return-value]
            np.where(
                depth >= 0,
                area
                * length
                * (_integral(high / length, bulge) - _integral(low / length, bulge))
                / np.maximum(high - low, 1e-9),
                0.0,
            )
            for area, length, bulge in (
                (s.endo_area, s.endo_length, self.lv_bulge),
                (s.epi_area, s.epi_length, self.lv_bulge),
                (s.rv_area, s.rv_length, self.rv_bulge),
            )
        )

    @cached_property
    def length_mm(self) -> float:
        """From the end-diastolic base plane to the epicardial apex, which does not move."""
        return self.lv_length_mm + self.apex_wall_mm

    def axis(self, z: float | Array) -> tuple[Array, Array]:
        """In-plane position in mm of the epicardial centre at levels `z`."""
        part = np.asarray(z, float) / self.length_mm
        return self.lean_x_mm * part, self.lean_y_mm * part

    def unit_frame(self, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """Coordinates about the axis in which the discs are round (determinant 1)."""
        cx, cy = self.axis(z)
        e = sqrt(self.ellipticity)
        return (x - cx) * e, (y - cy) / e

    def rv_angular(self, u: Array, v: Array, z: Array) -> tuple[Array, Array]:
        """Angular profile ``f`` (0 outside the sector) and its integral ``integral f d angle / 2`` at levels `z`."""
        direction = radians(self.rv_direction_deg)
        cos, sin = np.cos(direction), np.sin(direction)
        # angle from the middle of the septum, positive towards the inferior insertion when the RV is on the left
        angle = np.arctan2(u * sin - v * cos, u * cos + v * sin)
        narrow = 1 - RV_NARROWING * np.clip(z / self.rv_length_mm, 0, 1)
        w_inferior, w_anterior = radians(self.rv_inferior_deg) * narrow, radians(self.rv_anterior_deg) * narrow
        width = np.where(angle > 0, w_inferior, w_anterior)
        f = np.maximum(1 - (np.abs(angle) / width) ** RV_ANGULAR, 0)
        return f, (w_inferior + w_anterior) / 2 * RV_ANGULAR / (RV_ANGULAR + 1)

    def inside(self, x: Array, y: Array, z: Array, phase: float) -> Array:
        """Labels (0 outside, 1 LV cavity, 2 LV myocardium, 3 RV cavity) at points in heart coordinates, broadcast."""
        endo, epi, rv = self.areas(phase, z)
        u, v = self.unit_frame(x, y, z)
        f, integral = self.rv_angular(u, v, np.asarray(z, float))
        r2 = u * u + v * v
        shift_u, shift_v = self.endo_shift(endo, epi)
        in_endo = (u - shift_u) ** 2 + (v - shift_v) ** 2 < endo / pi
        in_epi = r2 < epi / pi
        in_rv = ~in_epi & (f > 0) & (rv > 0) & (r2 < epi / pi + rv / integral * f)
        return np.where(in_endo, 1, np.where(in_epi, 2, np.where(in_rv, 3, 0))).astype(np.uint8)

    def endo_shift(self, endo: Array, epi: Array) -> tuple[Array, Array]:
        """Where the cavity's centre lies in the unit frame; it never leaves the epicardium."""
        away = self.septal_excess * np.maximum(np.sqrt(epi / pi) - np.sqrt(endo / pi), 0)
        direction = radians(self.rv_direction_deg)
        return -away * np.cos(direction), -away * np.sin(direction)

    # -- making hearts and images --------------------------------------------------------------------------------------
    @classmethod
    def random(cls, seed: int, group: str = "normal") -> CineHeart:
        """A heart around a group's mean in ACDC: ``normal``, ``dilated``, ``hypertrophic`` or ``rv_dilated``."""
        from .patients import random_heart

        return random_heart(seed, group)

    def sample(self, geometry: Geometry | None = None, n_frames: int = 20, **more: Any) -> CineSample:
        """Image and label this heart; see `CardioPrecisionLib.phantom.sampling.sample`."""
        from .sampling import Geometry, sample

        return sample(self, geometry or Geometry(), n_frames, **more)


def _fullness(bulge: float) -> float:
    """Volume over base area times length."""
    return float(_integral(1.0, bulge))


def _integral(u: float | Array, bulge: float) -> Array:
    """Integral of the profile of unit base area from the base to `u`."""
    u = np.clip(u, 0, 1)
    return u + (bulge - 1) * u**3 / 3 - (2 * bulge - 1) * u**5 / 5 + (bulge - 1) * u**7 / 7


def _profile(depth: Array, area: float, length: float, bulge: float) -> Array:
    u2 = np.clip(depth / length, 0, 1) ** 2
    return np.where(depth >= 0, area * (1 - u2) * (1 + bulge * u2 - (bulge - 1) * u2 * u2), 0.0)


def measurements_of(ed: Volumes, es: Volumes, rr_ms: float) -> dict[str, float]:
    """The analysis's measurements from exact volumes at ED and ES."""
    lv_sv, rv_sv = ed.lv_ml - es.lv_ml, ed.rv_ml - es.rv_ml
    rate = 60000.0 / rr_ms
    values = {
        "lv_edv": ed.lv_ml,
        "lv_esv": es.lv_ml,
        "lv_sv": lv_sv,
        "lv_ef": 100 * lv_sv / ed.lv_ml,
        "lv_mass": ed.myocardium_ml * MYOCARDIAL_DENSITY,
        "rv_edv": ed.rv_ml,
        "rv_esv": es.rv_ml,
        "rv_sv": rv_sv,
        "rv_ef": 100 * rv_sv / ed.rv_ml,
        "heart_rate": rate,
        "cardiac_output": lv_sv * rate / 1000,
    }
    return {name: float(value) for name, value in values.items()}
