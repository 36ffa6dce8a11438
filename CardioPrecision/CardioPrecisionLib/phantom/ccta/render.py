"""A coronary angiogram of a scene: tissue, then arteries sampled several times per voxel, then the scanner's blur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ...image import Array, Image, spacing_of
from ..ct.render import OUTSIDE, CTGeometry, Kernel, Part, index_box, noise, render
from ..ct.shapes import Shape, at
from .lesion import KINDS, PLAQUE_HU
from .tree import segment
from .vessel import Profile, Vessel

_WALL, _MARGIN_MM = len(KINDS), 0.6


@dataclass(frozen=True, eq=False)
class Scene:
    """What is scanned.

    Attributes
    ----------
    vessels : tuple of Vessel
    parts : tuple of Part
        Tissue around them, in painting order; without any, `background` everywhere.
    aorta : Shape or None
        Blood into which the arteries open: no coronary wall is painted inside.
    lumen_hu, wall_hu : float
        Blood at the ostium, healthy wall.
    fall_hu_per_cm : float
        By how much the lumen gets darker with the distance from the ostium.
    plaque_hu : mapping
        HU by kind of plaque.
    background : float
    landmarks : dict of str to (3,) RAS mm
    dominance : str
    """

    vessels: tuple[Vessel, ...]
    parts: tuple[Part, ...] = ()
    aorta: Shape | None = None
    lumen_hu: float = 400.0
    wall_hu: float = 60.0
    fall_hu_per_cm: float = 0.0
    plaque_hu: Mapping[str, float] = field(default_factory=lambda: dict(PLAQUE_HU))
    background: float = -90.0
    landmarks: Mapping[str, Array] = field(default_factory=dict)
    dominance: str = "right"

    def vessel(self, name: str) -> Vessel:
        return next(v for v in self.vessels if v.name == name)

    def from_ostium(self, vessel: Vessel) -> float:
        """Distance (mm) from the ostium to the beginning of a vessel."""
        if not vessel.parent:
            return -vessel.ostium_mm
        return self.from_ostium(self.vessel(vessel.parent)) + vessel.parent_mm

    def truth(self) -> dict[str, Any]:
        """Lesions with all that is known of them, in the order of the vessels."""
        rows = []
        for v in self.vessels:
            for lesion in v.lesions:
                row = v.measures(lesion)
                row["from_ostium_mm"] = self.from_ostium(v) + lesion.at_mm
                if v.name in _NAMED:
                    row["scct_segment"] = segment(self.vessels, v.name, lesion.at_mm)
                rows.append(row)
        return {"lesions": rows, "dominance": self.dominance}


_NAMED = ("LM", "LAD", "LCX", "RCA", "D1", "D2", "M1", "M2", "ramus", "PDA", "PL")


@dataclass(frozen=True, eq=False)
class CCTASample:
    """A rendered angiogram with its truth.

    Attributes
    ----------
    image : Image
        int16 HU.
    scene : Scene
    truth : dict
        As of `Scene.truth`.
    thickness_mm : float
    """

    image: Image
    scene: Scene
    truth: dict[str, Any]
    thickness_mm: float

    def write_dicom(self, folder: str | Path, **header: Any) -> list[Path]:
        """One series of classic CT images; see `phantom.dicom_ct.write_ct_dicom`."""
        from ..dicom_ct import write_ct_dicom

        usual: dict[str, Any] = {
            "thickness_mm": self.thickness_mm, "contrast_agent": "Iodinated contrast", "kernel": "Bv40d",
                 "series_description": "coronary CTA", "protocol": "CorCTA"}  # fmt: skip
        return write_ct_dicom(folder, self.image, **(usual | header))


def render_ccta(
    scene: Scene,
    geometry: CTGeometry,
    *,
    noise_hu: float = 20.0,
    blur_fwhm_mm: float = 0.6,
    kernel: Kernel = "medium",
    supersample: int = 2,
    seed: int = 0,
) -> CCTASample:
    """Scan a scene.

    Parameters
    ----------
    scene : Scene
    geometry : CTGeometry
    noise_hu : float
        Standard deviation of the noise.
    blur_fwhm_mm : float
        Full width at half maximum of the point spread, the same in all directions; calcium blooms by it.
    kernel : str
        Colour of the noise, as in `phantom.ct.render.noise`.
    supersample : int
        Samples per voxel and axis around the arteries.
    seed : int
        Of the noise.
    """
    from scipy.ndimage import gaussian_filter

    spacing = spacing_of(geometry.affine)
    if scene.parts:
        base = render(scene.parts, (), geometry, noise_hu=0.0, kernel="none").image.array
        hu = base.astype(np.float32)
    else:
        hu = np.full(geometry.shape, scene.background, np.float32)
    _paint(hu, scene, geometry, supersample)
    if blur_fwhm_mm > 0:
        sigma = blur_fwhm_mm / sqrt(8 * log(2))
        gaussian_filter(hu, sigma / spacing, output=hu, mode="nearest", truncate=3.5)
    if noise_hu > 0:
        hu += noise(geometry, kernel, noise_hu, seed)
    np.rint(hu, out=hu)
    image = Image(np.clip(hu, OUTSIDE, 3071).astype(np.int16), geometry.affine)
    return CCTASample(image, scene, scene.truth(), geometry.thickness_mm)


def _near(vessel: Vessel, reach: float, affine: Array, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """Voxels (flat index) within `reach` of a vessel's axis, and the nearest point of it for each."""
    from scipy.spatial import cKDTree

    inverse = np.linalg.inv(affine)
    tree = cKDTree(vessel.points)
    step = max(2, int(4.0 / max(vessel.length_mm / (len(vessel.points) - 1), 1e-6)))
    found = []
    for a in range(0, len(vessel.points), step):
        piece = vessel.points[a : a + step + 1]
        low, high = index_box(inverse, piece.min(0) - reach, piece.max(0) + reach)
        first = np.clip(np.floor(low).astype(int), 0, shape)
        last = np.clip(np.ceil(high).astype(int) + 1, 0, shape)
        if (first >= last).any():
            continue
        ijk = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), -1).reshape(-1, 3)
        # Without the tree: most voxels of the box are too far from the piece's chord.
        far = _chord_distance(ijk @ affine[:3, :3].T + affine[:3, 3], piece[0], piece[-1])
        sag = np.abs(_chord_distance(piece, piece[0], piece[-1])).max()
        ijk = ijk[far <= reach + sag]
        found.append(np.ravel_multi_index(tuple(ijk.T), shape))
    if not found:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    flat = np.unique(np.concatenate(found))
    world = np.stack(np.unravel_index(flat, shape), 1) @ affine[:3, :3].T + affine[:3, 3]
    distance, nearest = tree.query(world, distance_upper_bound=reach)
    near = np.isfinite(distance)
    return flat[near], nearest[near]


def _chord_distance(points: Array, a: Array, b: Array) -> Array:
    chord = b - a
    t = np.clip((points - a) @ chord / max(float(chord @ chord), 1e-12), 0, 1)
    return np.asarray(np.linalg.norm(points - a - t[:, None] * chord, axis=1))


def _offsets(affine: Array, n: int) -> Array:
    """Places of the samples within a voxel ``(n**3, 3)``, mm from its middle."""
    steps = (np.arange(n) + 0.5) / n - 0.5
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    return np.asarray(grid @ affine[:3, :3].T)


class _Sampler:
    """Distances and materials of one vessel at sample points."""

    def __init__(self, vessel: Vessel):
        self.vessel = vessel
        self.profile: Profile = vessel.profile()
        self.step = vessel.length_mm / (len(vessel.points) - 1)

    def __call__(self, nearest: Array, world: Array) -> tuple[Array, Array, Array]:
        """Signed distances to lumen and outside, and material, at `world` ``(n, 3)`` near points `nearest` ``(n,)``."""
        v, p = self.vessel, self.profile
        t, first, second = v.frames
        rel = world - v.points[nearest]
        along = np.einsum("nd,nd->n", rel, t[nearest])
        x = np.einsum("nd,nd->n", rel, first[nearest])
        y = np.einsum("nd,nd->n", rel, second[nearest])
        bend = v.bend[nearest]
        along /= np.maximum(1 - x * bend[:, 0] - y * bend[:, 1], 0.3)
        place = np.clip(nearest + along / self.step, 0, len(v.points) - 1.0)
        left = np.minimum(place.astype(np.intp), len(v.points) - 2)
        w = place - left

        def at_place(values: Array) -> Array:
            return np.asarray(values[left] * (1 - w) + values[left + 1] * w)

        lumen, outer = at_place(p.lumen), at_place(p.outer)
        cx, cy = at_place(p.shift[:, 0]), at_place(p.shift[:, 1])
        dx, dy = x - cx, y - cy
        rho = np.hypot(dx, dy)
        d_lumen, d_outer = rho - lumen, np.hypot(x, y) - outer
        beyond = np.maximum(np.where(nearest == len(v.points) - 1, along, -1e3),
                            np.where(nearest == 0, -along, -1e3))  # fmt: skip
        d_lumen, d_outer = np.maximum(d_lumen, beyond), np.maximum(d_outer, beyond)
        # An occluded lumen has no inside.
        d_lumen = np.where(lumen < 1e-3, 1e3, d_lumen)
        code = np.full(len(x), _WALL, np.uint8)
        for lesion in v.lesions:
            s = place * self.step
            inside = np.flatnonzero((s > lesion.start_mm) & (s < lesion.end_mm) & (d_outer < 0.5))
            if not len(inside):
                continue
            ux, uy, r = dx[inside], dy[inside], np.maximum(rho[inside], 1e-9)
            toward = (cx[inside] * ux + cy[inside] * uy) / r
            rest = cx[inside] ** 2 + cy[inside] ** 2 - toward**2
            limit = -toward + np.sqrt(np.maximum(at_place(p.intima)[inside] ** 2 - rest, 0))
            inner = lumen[inside] ** 2
            share = (r * r - inner) / np.maximum(limit**2 - inner, 1e-6)
            kind = lesion.codes(np.clip(share, 0, 1), np.arctan2(uy, ux))
            code[inside] = np.where((r < limit) & (limit > lumen[inside] + 1e-3), kind, _WALL)
        return d_lumen, d_outer, code


def _paint(hu: Array, scene: Scene, geometry: CTGeometry, n: int) -> None:
    affine = geometry.affine
    width = float(np.prod(spacing_of(affine)) ** (1 / 3)) / n
    offsets = _offsets(affine, n)
    near = []
    for v in scene.vessels:
        reach = float(v.profile().outer.max()) + _MARGIN_MM + float(np.linalg.norm(spacing_of(affine))) / 2
        near.append(_near(v, reach, affine, geometry.shape))
    voxels = np.unique(np.concatenate([flat for flat, _ in near])) if near else np.zeros(0, np.intp)
    if not len(voxels):
        return
    size = (len(voxels), len(offsets))
    to_lumen, to_outer = np.full(size, 1e3, np.float32), np.full(size, 1e3, np.float32)
    code = np.full(size, _WALL, np.uint8)
    blood = np.full(len(voxels), scene.lumen_hu, np.float32)
    for v, (flat, nearest) in zip(scene.vessels, near, strict=True):
        sampler = _Sampler(v)
        start = scene.from_ostium(v)
        world = np.stack(np.unravel_index(flat, geometry.shape), 1) @ affine[:3, :3].T + affine[:3, 3]
        here = np.searchsorted(voxels, flat)
        for a in range(0, len(flat), 60_000):
            part, i = here[a : a + 60_000], nearest[a : a + 60_000]
            points = (world[a : a + 60_000, None] + offsets).reshape(-1, 3)
            d_lumen, d_outer, kind = sampler(np.repeat(i, len(offsets)), points)
            shape = (len(part), len(offsets))
            d_lumen, d_outer, kind = d_lumen.reshape(shape), d_outer.reshape(shape), kind.reshape(shape)
            # A plaque keeps its place where another vessel's plain wall comes near.
            mine = (kind != _WALL) | ((d_outer < to_outer[part]) & (code[part] == _WALL))
            code[part] = np.where(mine, kind, code[part])
            first = d_lumen.min(1) < to_lumen[part].min(1)
            fall = scene.fall_hu_per_cm / 10 * np.maximum(v.s[i] + start, 0)
            blood[part] = np.where(first, scene.lumen_hu - fall, blood[part])
            to_lumen[part] = np.minimum(to_lumen[part], d_lumen)
            to_outer[part] = np.minimum(to_outer[part], d_outer)
    tissue = np.array([*(scene.plaque_hu[k] for k in KINDS), scene.wall_hu], np.float32)
    base = hu.reshape(-1)[voxels][:, None]
    wall = np.clip(0.5 - to_outer / width, 0, 1)
    if scene.aorta is not None:
        world = np.stack(np.unravel_index(voxels, geometry.shape), 1) @ affine[:3, :3].T + affine[:3, 3]
        wall *= np.clip(0.5 + at(scene.aorta, world) / (width * n), 0, 1)[:, None].astype(np.float32)
    value = base + wall * (tissue[code] - base)
    value += np.clip(0.5 - to_lumen / width, 0, 1) * (blood[:, None] - value)
    hu.reshape(-1)[voxels] = value.mean(1)


def around(
    points: Array | Sequence[Array],
    *,
    spacing_mm: tuple[float, float, float] = (0.4, 0.4, 0.4),
    margin_mm: float = 8.0,
    rotation: Array | None = None,
    flips: tuple[bool, bool, bool] = (False, False, False),
) -> CTGeometry:
    """A grid, turned or not, that holds points ``(n, 3)`` with a margin around them.

    The slice profile is as thick as the slices are apart.
    """
    turn = np.eye(3) if rotation is None else np.asarray(rotation, float)
    local = np.atleast_2d(points) @ turn
    low, high = local.min(0) - margin_mm, local.max(0) + margin_mm
    nx, ny, nz = (ceil(float(e) / s) for e, s in zip(high - low, spacing_mm, strict=True))
    c = turn @ ((low + high) / 2)
    return CTGeometry((nx, ny), spacing_mm[:2], nz, spacing_mm[2], spacing_mm[2],
                      (float(c[0]), float(c[1]), float(c[2])), turn, flips)  # fmt: skip
