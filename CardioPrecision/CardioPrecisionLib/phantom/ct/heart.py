"""The heart and the great vessels of generator one, as solids in RAS mm.

The chambers are ellipsoids set so that their grooves lie where the coronary arteries of `coronaries` run: the plane of
the mitral ring through the circumflex, that of the tricuspid ring through the right coronary artery, the ventricular
septum between the anterior and the posterior descending artery. Sizes are those of normal adults (left ventricle 75 mm
across and 100 mm long outside, aortic root 34 mm, pulmonary trunk 26 mm, left atrium 38 mm deep), varied per patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...image import Array
from .coronaries import RIGHT_OSTIUM, Course, curve
from .render import Part
from .shapes import Ellipsoid, Shape, SmoothUnion, Tube, frame, unit

BLOOD, MUSCLE, FAT = 42.0, 48.0, -100.0
SMOOTH = 1.6
# Average heart, RAS mm from the left ostium.
_ROOT = np.array([7.0, 15.0, -8.0])
_ROOT_AXIS = unit([0.34, 0.25, 0.90])
_APEX = np.array([-44.0, 71.0, -86.0])
_BASE = np.array([-1.0, 4.0, -27.0])
_MITRAL = np.array([-4.0, -3.0, -33.0])
_PULMONARY_VALVE = np.array([-11.0, 37.0, 6.0])
_CENTER = np.array([0.0, 22.0, -42.0])


@dataclass(frozen=True)
class HeartShape:
    """How one heart differs from the average: factors around 1, turns in degrees, thickness in mm.

    `build` are factors on the three half-axes of left ventricle, right ventricle, left atrium, right atrium, aortic
    root and left atrial appendage, in this order.
    """

    size: float = 1.0
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lv: float = 1.0
    rv: float = 1.0
    atria: float = 1.0
    root: float = 1.0
    fat_mm: float = 5.0
    groove_mm: float = 18.0
    aorta_mm: float = 16.0
    build: tuple[tuple[float, float, float], ...] = ((1.0, 1.0, 1.0),) * 6


@dataclass(frozen=True, eq=False)
class Heart:
    """A placed heart.

    Attributes
    ----------
    myocardium : Shape
        Everything inside the epicardium: chambers, walls, aortic and pulmonary root.
    pericardium : Shape
        The sac around it and its fat.
    to_world : (matrix, offset)
        From the average heart's frame to RAS mm.
    landmarks : dict
        RAS mm: ``heart_center``, ``apex``, ``aortic_root``, ``left_ostium``, ``right_ostium``, ``mitral_center``.
    root_axis, mitral_axis : numpy.ndarray
        Unit vectors: along the aortic root upwards; from the mitral ring to the apex.
    vessels : dict of str to Tube
        ``ascending``, ``arch``, ``descending``, ``pulmonary``, ``right_pulmonary``, ``left_pulmonary``, ``svc``, …
    """

    shape: HeartShape
    myocardium: Shape
    pericardium: Shape
    to_world: tuple[Array, Array]
    landmarks: dict[str, Array]
    root_axis: Array
    mitral_axis: Array
    vessels: dict[str, Tube]

    def wrapped(self) -> list[Shape]:
        """Pericardium and vessels, the latter with few points, as what the mediastinal fat lies around."""
        thin = [replace(t, points=t.points[::3], radii=t.radii[::3]) if len(t.points) > 6 else t
                for t in self.vessels.values()]  # fmt: skip
        return [self.pericardium, *thin]

    def parts(self, courses: tuple[Course, ...], wall_mm: float = 0.6) -> list[Part]:
        """Pericardium, fat, chambers, arteries in their grooves, great vessels; for a scan without contrast."""
        out = [
            Part(self.pericardium, ((0.0, 15.0), (1.3, FAT)), "pericardium", smooth_mm=SMOOTH),
            Part(self.myocardium, ((0.0, MUSCLE), (8.0, BLOOD)), "heart", smooth_mm=SMOOTH),
        ]
        # Fat around an artery, but not on the myocardium's side.
        for c in courses:
            out.append(Part(Tube(c.points[::4], c.radii[::4] + 2.6), ((0.0, FAT),), "groove"))
        out.append(Part(self.myocardium, ((1.2, MUSCLE), (8.0, BLOOD)), "heart", smooth_mm=SMOOTH))
        for c in courses:
            out.append(Part(Tube(c.points[::2], c.radii[::2] + wall_mm), ((0.0, BLOOD),), "artery"))
        out += [Part(v, ((0.0, BLOOD + 6.0), (1.6, BLOOD)), name) for name, v in self.vessels.items()]
        return out


def _by(point: Array, x: float, y: float, z: float) -> Array:
    return point + np.array([x, y, z])


def _grown(shape: Ellipsoid | Tube, by: float) -> Ellipsoid | Tube:
    return replace(shape, radii=np.asarray(shape.radii) + by)


def _turn(degrees: tuple[float, float, float]) -> Array:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix())


def build_heart(shape: HeartShape, left_ostium: Array, arch_top: float, spine_y: float) -> Heart:
    """Place a heart.

    Parameters
    ----------
    shape : HeartShape
    left_ostium : numpy.ndarray
        RAS mm where the average heart's left ostium would be; the heart turns about its own middle.
    arch_top : float
        z of the top of the aortic arch.
    spine_y : float
        y of the front of the vertebral bodies.
    """
    rotation = _turn(shape.turn_deg)
    matrix = rotation * shape.size
    offset = left_ostium + _CENTER - matrix @ _CENTER

    def world(p: Array) -> Array:
        return np.asarray(p @ matrix.T + offset)

    def ellipsoid(center: Array, radii: Any, axis: Any, toward: Any = (0.3, 0.8, 0.5)) -> Ellipsoid:
        return Ellipsoid(world(center), np.asarray(radii) * shape.size, frame(axis, toward) @ rotation.T)

    axis = unit(_APEX - _BASE)
    lv_radius = 36.0 * shape.lv
    lv = ellipsoid(_BASE + 40.0 * axis, [lv_radius, lv_radius * 1.03, 61.0 * shape.lv**0.5], axis)
    rv_axis = unit([-0.66, 0.52, -0.50])
    # The right ventricle grows forwards and to the right, away from the septum.
    rv_center = np.array([7.0, 44.0, -62.0]) + (shape.rv - 1) * np.array([14.0, 16.0, -4.0])
    rv = ellipsoid(rv_center, np.array([34.0, 24.0, 47.0]) * shape.rv, rv_axis, np.array([0.35, 0.1, -0.9]))
    outflow = world(np.array([[4.0, 52.0, -42.0], [-3.0, 46.0, -18.0], _PULMONARY_VALVE]))
    rvot = Tube(outflow, np.array([22.0 * shape.rv, 18.0, 14.0]) * shape.size)
    la = ellipsoid(
        np.array([7.0, -25.0 - 10 * (shape.atria - 1), -15.0]),
        np.array([31.0, 20.0, 25.0]) * shape.atria,
        (0.1, 0.1, 1.0),
        (1.0, 0.0, 0.0),
    )
    ra = ellipsoid(
        np.array([39.0, 3.0, -42.0]) + (shape.atria - 1) * np.array([10.0, 0, 0]),
        np.array([22.0, 28.0, 33.0]) * shape.atria,
        (0.0, 0.1, 1.0),
        (1.0, 0.0, 0.0),
    )
    root = ellipsoid(_ROOT, np.array([17.5, 17.5, 17.0]) * shape.root, _ROOT_AXIS)
    laa = ellipsoid(np.array([-28.0, -4.0, 11.0]), np.array([8.5, 12.0, 7.0]) * shape.atria, np.array([0.0, 0.2, 1.0]))
    lv, rv, la, ra, root, laa = (
        replace(c, radii=np.asarray(c.radii) * f) for c, f in zip((lv, rv, la, ra, root, laa), shape.build, strict=True)
    )
    chambers: tuple[Ellipsoid | Tube, ...] = (lv, rv, rvot, la, ra, root, laa)
    myocardium = SmoothUnion(chambers, 3.0)
    # Fat is thickest over the right ventricle and thin over the left one; an artery with its wall always fits in.
    share = np.array([0.5, 1.5, 1.2, 0.6, 1.0, 1.0, 0.8])
    sacs = [_grown(c, float(max(shape.fat_mm * f, 3.6))) for c, f in zip(chambers, share, strict=True)]
    pericardium = SmoothUnion(sacs, shape.groove_mm)

    landmarks = {
        "heart_center": world(_CENTER),
        "apex": lv.center + rotation @ axis * lv.radii[2],
        "aortic_root": world(_ROOT),
        "left_ostium": world(np.zeros(3)),
        "right_ostium": world(RIGHT_OSTIUM),
        "mitral_center": world(_MITRAL),
    }
    vessels = _great_vessels(shape, world, rotation, arch_top, spine_y)
    return Heart(shape, myocardium, pericardium, (matrix, offset), landmarks, rotation @ _ROOT_AXIS,
                 rotation @ unit(_APEX - _MITRAL), vessels)  # fmt: skip


def _great_vessels(
    shape: HeartShape, place: Callable[[Array], Array], rotation: Array, arch_top: float, spine_y: float
) -> dict[str, Tube]:
    root = place(_ROOT)
    up = rotation @ _ROOT_AXIS
    r = shape.aorta_mm
    top = arch_top - 0.85 * r
    mid = root + up * 42
    mid[2] = min(mid[2], top - 22)
    back = np.array([-20.0, spine_y + 9.0, top - 24.0])
    ascending = curve(np.stack([root + up * 8, root + up * 22, mid, np.array([mid[0] - 2, mid[1] - 4, top - 10])]), 5.0)
    front = ascending[-1]
    arch = curve(np.stack([front, _by(front, -6, -10, 8.0), _by(0.5 * (front + back), 0, 0, 20.0),
                           _by(back, 2, 6, 14.0), back]), 5.0)  # fmt: skip
    down = np.stack([back, [-23.0, spine_y + 3.0, top - 50], [-22.0, spine_y + 2, -20.0],
                     [-16.0, spine_y + 6, -90.0], [-5.0, spine_y + 12, -190.0]])  # fmt: skip
    valve = place(_PULMONARY_VALVE)
    fork = place(np.array([-15.0, 4.0, 34.0]))
    right_hilum, left_hilum = np.array([46.0, spine_y + 22.0, 16.0]), np.array([-54.0, spine_y + 20.0, 26.0])
    la = place(np.array([7.0, -26.0, -12.0]))
    ra = place(np.array([38.0, 2.0, -20.0]))
    cava_top = np.array([20.0, mid[1] - 6.0, arch_top + 10])
    tubes: dict[str, Tube] = {
        "right_pulmonary": Tube(curve(np.stack([fork, _by(fork, 26, -6, -3.0), right_hilum]), 6.0), 9.5),
        "left_pulmonary": Tube(curve(np.stack([fork, _by(fork, -16, -14, 4.0), left_hilum]), 6.0), 10.0),
        "pulmonary": Tube(curve(np.stack([valve, _by(0.5 * (valve + fork), -4, 6, 4.0), fork]), 6.0), 12.8),
        "svc": Tube(curve(np.stack([ra, _by(ra, 2, 2, 30.0), cava_top]), 6.0), 9.0),
        "ivc": Tube(np.stack([place(np.array([36.0, -4.0, -66.0])), np.array([26.0, spine_y + 32.0, -190.0])]), 12.0),
        "ascending": Tube(ascending, np.linspace(0.95 * r, r, len(ascending))),
        "arch": Tube(arch, np.linspace(0.95 * r, 0.78 * r, len(arch))),
        "descending": Tube(curve(down, 8.0), 0.76 * r),
    }
    for n, (x, y) in enumerate(((9.0, 0.0), (-6.0, -8.0), (-17.0, -20.0))):
        foot = arch[min(2 + 3 * n, len(arch) - 1)]
        tubes[f"arch_branch_{n}"] = Tube(np.stack([foot, [x, foot[1] + y / 3, arch_top + 70.0]]), (5.5, 3.6, 4.4)[n])
    tubes["brachiocephalic"] = Tube(np.stack([cava_top, [-34.0, cava_top[1] + 6, arch_top + 26.0]]), 6.0)
    for n, (side, dz) in enumerate(((1, -8.0), (1, -26.0), (-1, -6.0), (-1, -24.0))):
        hilum = np.array([side * 48.0, spine_y + 20.0, dz + 6])
        tubes[f"pulmonary_vein_{n}"] = Tube(np.stack([_by(la, side * 16.0, 0, dz / 3), hilum]), 5.5)
    return tubes
