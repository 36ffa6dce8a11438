"""Where normal coronary arteries run, how wide they are, and their courses on a given heart.

Positions: Dodge JT Jr, Brown BG, Bolson EL, Dodge HT, "Intrathoracic spatial location of specified coronary segments on
the normal human heart", Circulation 1988;78:1167 (right-dominant men, end-diastole). Calibres and the points between:
the same authors, "Lumen diameter of normal human coronary arteries", Circulation 1992;86:232.

How far they were checked: the papers' pages were not at hand. The 1988 rows (``mid`` points, branches, ostia) were
compared in two transcriptions made independently (repositories jgourassas/corsim, data/dodge_88.csv, and
nicejazaa7/CineTrainingGroud, data/dodge1988.csv): they agree in all rows. The 1992 rows (``p`` and ``d`` points, all
diameters) come from the first of these alone; its left main 4.5, proximal LAD 3.7, RCA 3.9 against 2.8 and LCX 3.4
against 4.2 mm (right against left dominance) are those of the paper's abstract. The crux and the last third of the
branches are not in the tables: they are set here from anatomy and say so below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...image import Array
from ...polyline import arc_length
from .shapes import Shape, at

Dominance = Literal["right", "balanced", "left"]

# Point: lumen diameter (mm) in right, balanced and left dominance; r (cm), theta, phi (degrees) from the ostium of its
# side. theta turns from anterior to the patient's left, phi is the elevation.
_MAIN: dict[str, tuple[float, float, float, float, float, float]] = {
    "LMp": (4.5, 4.3, 4.6, 0.3, 83, 7), "LMm": (4.5, 4.4, 4.5, 0.7, 80, 4), "LMd": (4.5, 4.4, 4.5, 1.1, 79, 0),
    "L1p": (3.7, 3.8, 3.8, 1.6, 70, -3), "L1m": (3.6, 3.6, 3.7, 2.3, 63, -5), "L1d": (3.5, 3.4, 3.5, 3.0, 59, -5),
    "L2p": (2.9, 2.8, 3.1, 4.0, 51, -9), "L2m": (2.5, 2.5, 2.8, 5.3, 44, -12), "L2d": (2.3, 2.3, 2.6, 6.5, 39, -17),
    "L3p": (2.0, 2.0, 2.4, 8.0, 33, -23), "L3m": (1.7, 1.8, 2.0, 10.1, 30, -32), "L3d": (1.4, 1.6, 1.9, 11.8, 31, -40),
    "L4p": (1.4, 1.3, 1.7, 12.2, 32, -46), "L4m": (1.1, 1.2, 1.5, 11.8, 33, -49),
    "C1p": (3.4, 3.6, 4.3, 1.4, 86, -12), "C1m": (3.4, 3.4, 4.2, 1.8, 94, -24), "C1d": (3.3, 3.5, 4.1, 2.2, 102, -31),
    "C2p": (2.8, 3.1, 3.4, 2.6, 107, -33), "C2m": (2.8, 3.2, 3.4, 3.1, 116, -37), "C2d": (2.7, 3.1, 3.3, 3.6, 120, -41),
    "C3p": (1.7, 2.6, 3.3, 4.1, 126, -45), "C3m": (1.6, 2.5, 3.2, 4.8, 135, -51), "C3d": (1.3, 2.3, 2.9, 5.4, 141, -56),
    "C4p": (0.0, 1.7, 2.4, 5.7, 156, -67), "C4m": (0.0, 1.5, 2.2, 5.9, 166, -71),
    "R1p": (4.0, 3.1, 2.8, 0.5, -71, -22), "R1m": (3.9, 3.0, 2.8, 1.7, -68, -24), "R1d": (3.8, 3.0, 2.7, 2.6, -66, -30),
    "R2p": (3.5, 2.7, 2.3, 3.4, -69, -39), "R2m": (3.4, 2.7, 2.2, 4.6, -72, -48), "R2d": (3.2, 2.5, 1.5, 5.6, -77, -55),
    "R3p": (3.2, 2.1, 1.2, 6.2, -84, -62), "R3m": (3.1, 2.0, 1.1, 6.4, -91, -69),
    "R4m": (2.2, 0.0, 0.0, 6.2, 180, -66), "R4d": (1.9, 0.0, 0.0, 6.2, 171, -57),
}  # fmt: skip
# Branches, 1988: origin and mid (half of the visible length), or mid alone; diameters at the origin and mid, 1992.
_BRANCHES: dict[str, tuple[float, float, float, float, float]] = {
    "D1o": (2.1, 1.5, 3.2, 61, -8), "D1m": (2.1, 1.5, 6.2, 61, -23), "D2o": (1.9, 1.4, 4.9, 47, -12),
    "D2m": (1.9, 1.4, 7.7, 49, -24), "MRo": (1.8, 1.3, 1.2, 85, -10), "MRm": (1.8, 1.3, 5.6, 80, -34),
    "M1o": (2.1, 1.5, 2.2, 102, -31), "M1m": (2.1, 1.5, 5.6, 91, -38), "M2o": (2.0, 1.4, 3.4, 118, -41),
    "M2m": (2.0, 1.4, 6.0, 109, -51), "RDm": (2.0, 2.0, 7.6, 80, -76), "RPm": (1.4, 1.4, 8.0, 145, -56),
}  # fmt: skip
_RCA_OSTIUM = (3.7, -25.0, -23.0)
#: Not in the tables: below and behind the right ostium where the right atrioventricular groove meets the septum.
CRUX = np.array([19.0, 8.0, -75.0])


def to_ras(r_cm: float, theta: float, phi: float) -> Array:
    """Dodge's spherical coordinates to RAS mm from the ostium."""
    t, p = np.radians(theta), np.radians(phi)
    return 10.0 * r_cm * np.array([-np.cos(p) * np.sin(t), np.cos(p) * np.cos(t), np.sin(p)])


#: The right ostium from the left one.
RIGHT_OSTIUM = to_ras(*_RCA_OSTIUM)


def normal_point(name: str) -> Array:
    """A tabulated point in RAS mm from the left ostium."""
    position = to_ras(*(_MAIN.get(name) or _BRANCHES[name])[-3:])
    return position + (RIGHT_OSTIUM if name.startswith("R") else 0.0)


@dataclass(frozen=True, eq=False)
class Course:
    """One artery or branch: middle line ``(n, 3)`` RAS mm about 1 mm apart, lumen radius ``(n,)``, and whose it is."""

    name: str
    site: str
    points: Array
    radii: Array

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    def tangent(self, n: int) -> Array:
        a, b = max(n - 2, 0), min(n + 2, len(self.points) - 1)
        step = self.points[b] - self.points[a]
        return step / max(float(np.linalg.norm(step)), 1e-9)


def curve(knots: Array, step_mm: float = 1.0) -> Array:
    """A smooth curve through knots (centripetal parameter), resampled to about `step_mm`."""
    from scipy.interpolate import PchipInterpolator

    knots = np.asarray(knots, float)
    t = np.r_[0.0, np.cumsum(np.sqrt(np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1)))]
    fine = PchipInterpolator(t, knots)(np.linspace(0, t[-1], 40 * len(knots)))
    return resampled(fine, step_mm)


def resampled(line: Array, step_mm: float) -> Array:
    """A polyline ``(n, 3 or more)`` at even steps of about `step_mm`; further columns go along."""
    s = arc_length(line)
    even = np.linspace(0, s[-1], max(3, int(s[-1] / step_mm) + 1))
    return np.stack([np.interp(even, s, line[:, c]) for c in range(line.shape[1])], 1)


def _smoothed(points: Array, rounds: int) -> Array:
    points = points.copy()
    for _ in range(rounds):
        points[1:-1] = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
    return points


def onto(surface: Shape, points: Array, off_mm: Array, rounds: int = 4) -> Array:
    """Points moved along the gradient to `off_mm` outside a surface."""
    p = np.array(points, float)
    e = 0.5
    for _ in range(rounds):
        d = at(surface, p)
        g = np.stack([(at(surface, p + e * v) - at(surface, p - e * v)) / (2 * e) for v in np.eye(3)], 1)
        p -= ((d - off_mm) / np.maximum((g * g).sum(1), 0.25))[:, None] * g
    return p


def _plan(dominance: Dominance, ramus: bool) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> whose calcium it carries, and its tabulated points."""
    plan: dict[str, tuple[str, tuple[str, ...]]] = {
        "LM": ("LM", ("LMp", "LMm", "LMd")),
        "LAD": ("LAD", ("LMd", "L1p", "L1m", "L1d", "L2p", "L2m", "L2d", "L3p", "L3m", "L3d", "L4p", "L4m")),
        "LCX": ("LCX", ("LMd", "C1p", "C1m", "C1d", "C2p", "C2m", "C2d", "C3p", "C3m", "C3d")),
        "RCA": ("RCA", ("R1p", "R1m", "R1d", "R2p", "R2m", "R2d", "R3p", "R3m")),
        "D1": ("LAD", ("D1o", "D1m")),
        "D2": ("LAD", ("D2o", "D2m")),
        "M1": ("LCX", ("M1o", "M1m")),
        "M2": ("LCX", ("M2o", "M2m")),
    }
    if ramus:
        plan["ramus"] = ("LCX", ("MRo", "MRm"))
    if dominance == "left":
        plan["LCX"] = ("LCX", (*plan["LCX"][1], "C4p", "C4m", "crux"))
        plan["PDA"] = ("LCX", ("crux", "RDm"))
    else:
        plan["RCA"] = ("RCA", (*plan["RCA"][1], "crux"))
        plan["PDA"] = ("RCA", ("crux", "RDm"))
    if dominance == "balanced":
        plan["LCX"] = ("LCX", (*plan["LCX"][1], "C4p", "C4m"))
    elif dominance == "right":
        plan["PL"] = ("RCA", ("crux", "R4m", "RPm"))
    return plan


def _diameter(name: str, column: int) -> float:
    if name == "crux":
        return (3.0, 1.9, 1.8)[column]
    if name in _MAIN:
        return max(_MAIN[name][column], 0.8)
    return _BRANCHES[name][0 if name.endswith("o") else 1]


def courses(
    surface: Shape,
    *,
    to_world: tuple[Array, Array],
    dominance: Dominance = "right",
    ramus: bool = False,
    calibre: float = 1.0,
    wander_mm: float = 0.0,
    off_mm: float = 1.2,
    missing: tuple[str, ...] = (),
    rng: np.random.Generator | None = None,
) -> tuple[Course, ...]:
    """The arteries of one heart.

    Parameters
    ----------
    surface : Shape
        The outside of the myocardium; arteries are laid onto it, so that they run in the grooves' fat.
    to_world : (matrix, offset)
        Heart frame (RAS mm from the left ostium of the average heart) to RAS mm.
    dominance, ramus, missing
        Which branches there are.
    calibre : float
        Factor on all diameters.
    wander_mm : float
        Standard deviation of each tabulated segment about its mean (Dodge's own, 5 to 15 mm, holds between patients
        and includes the size and turn of the heart, which are already in `to_world`).
    off_mm : float
        Fat between the lumen and the myocardium.
    """
    rng = rng or np.random.default_rng(0)
    column = {"right": 0, "balanced": 1, "left": 2}[dominance]
    matrix, offset = to_world
    shifts: dict[str, Array] = {}
    made = []
    for name, (site, names) in _plan(dominance, ramus).items():
        if name in missing:
            continue
        knots = []
        for p in names:
            segment = p[:2]
            if segment not in shifts:
                near = {"LM": 0.3, "L1": 0.5, "C1": 0.5, "R1": 0.5}.get(segment, 1.0)
                shifts[segment] = rng.normal(0, wander_mm * near, 3)
            base = CRUX if p == "crux" else normal_point(p)
            knots.append(np.r_[base + shifts[segment], _diameter(p, column) / 2 * calibre])
        if name in ("D1", "D2", "M1", "M2", "ramus", "PDA", "PL"):
            # The tables end half-way: the other half runs on in the same direction, turning with the surface.
            last = knots[-1].copy()
            last[:3] += 0.85 * (knots[-1] - knots[-2])[:3]
            last[3] *= 0.7
            knots.append(last)
        elif name == "LM":
            knots.insert(0, np.r_[np.zeros(3), knots[0][3]])
        elif name == "RCA":
            knots.insert(0, np.r_[RIGHT_OSTIUM, knots[0][3]])
        line = curve(np.array(knots))
        points = line[:, :3] @ matrix.T + offset
        laid = onto(surface, points, line[:, 3] + off_mm)
        # The ostia stay where they are on the aortic wall.
        free = np.clip(np.arange(len(points)) / 6.0, 0, 1)[:, None] if name in ("LM", "RCA") else 1.0
        line[:, :3] = _smoothed(points + free * (laid - points), 8)
        # Where the surface has a crease the laid points may leap: even steps again, and once more onto the surface.
        line = resampled(line, 1.0)
        free = np.clip(np.arange(len(line)) / 6.0, 0, 1)[:, None] if name in ("LM", "RCA") else 1.0
        points = line[:, :3] + free * (onto(surface, line[:, :3], line[:, 3] + off_mm, 1) - line[:, :3])
        made.append(Course(name, site, _smoothed(points, 3), line[:, 3]))
    return tuple(made)
