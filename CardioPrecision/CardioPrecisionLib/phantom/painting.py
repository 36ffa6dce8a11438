"""A `CineHeart` as balanced steady-state cine images: true partial volume, point spread, coil, Rician noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cine import CineHeart, Shape
from .sampling import Geometry, heart_box
from .texture import blur, coil_sensitivity, edge, over, rician, smooth_noise
from .thorax import FAT, thorax

Array = NDArray[Any]

LV_BLOOD, RV_BLOOD, MYOCARDIUM, ATRIA = 1.0, 0.90, 0.33, 0.92
#: Sub-slices that are averaged over the slice thickness.
SUBLEVELS = 5


class Box(NamedTuple):
    """Everything about the pixels near the heart that does not move; ``(k, s, i, j)`` float32 unless noted."""

    x: Array  # heart coordinates in mm, (1, 1, i, j)
    y: Array
    z: Array  # (k, s, 1, 1)
    u: Array
    v: Array
    radius: Array
    cos: Array
    sin: Array
    profile: Array
    integral: Array  # (k, s, 1, 1)
    still: Array  # background (k, 1, i, j)
    texture: Array  # (k, 1, i, j)
    grain: Array
    fat_mm: Array
    pixel: float


def paint(
    heart: CineHeart,
    geometry: Geometry,
    phases: Array,
    *,
    seed: int,
    noise: float,
    blur_mm: float,
    coil: float,
    blood: float,
) -> Array:
    """Frames ``(t, i, j, k)`` int16, before the geometry's flips."""
    rng = np.random.default_rng([seed, 7])
    x, y = geometry.plane()
    levels = geometry.levels(heart)
    pixel = float(np.sqrt(geometry.pixel_mm[0] * geometry.pixel_mm[1]))
    shift_x, shift_y = geometry.heart_shift_mm
    still = thorax(x - shift_x, y - shift_y, levels, pixel, rng)
    sensitivity = coil_sensitivity(x - shift_x, y - shift_y, coil)
    rows, columns = heart_box(heart, geometry)
    box = _box(heart, geometry, still, levels, (rows, columns), pixel, rng)
    sigma = blur_mm / geometry.pixel_mm[0], blur_mm / geometry.pixel_mm[1]
    still = blur(still, sigma)
    frames = np.empty((len(phases), *geometry.matrix, len(levels)), np.int16)
    margin = 6  # pixels, so that the blur sees what it needs
    inner = np.s_[:, margin:-margin, margin:-margin]
    known: dict[tuple[float, float], Array] = {}
    for t, phase in enumerate(phases):
        frame = still.copy()
        state = heart.state(float(phase))
        if state not in known:
            known[state] = blur(_heart(heart, box, float(phase)), sigma)
        frame[:, rows, columns][inner] = known[state][inner]
        frame *= sensitivity
        frames[t] = np.moveaxis(np.minimum(rician(frame, noise, rng) * np.float32(blood), 32000), 0, 2)
    return frames


def _box(
    heart: CineHeart,
    geometry: Geometry,
    still: Array,
    levels: Array,
    box: tuple[slice, slice],
    pixel: float,
    rng: np.random.Generator,
) -> Box:
    x, y = geometry.in_heart(*geometry.plane())
    x, y = (a[box].astype(np.float32)[None, None] for a in (x, y))
    sub = ((np.arange(SUBLEVELS) + 0.5) / SUBLEVELS - 0.5) * geometry.thickness_mm
    z = (levels[:, None] + sub)[..., None, None].astype(np.float32)
    u, v = heart.unit_frame(x, y, z)
    profile, integral = heart.rv_angular(u, v, z)
    u, v, profile, integral = (a.astype(np.float32) for a in (u, v, profile, integral))
    radius = np.hypot(u, v) + np.float32(1e-3)
    shape = (len(levels), x.shape[2], x.shape[3])
    scale = geometry.spacing_mm
    texture = smooth_noise(rng, shape, (12 / scale, 3.0 / pixel, 3.0 / pixel))[:, None]
    grain = smooth_noise(rng, shape, (6 / scale, 1.2 / pixel, 1.2 / pixel))[:, None]
    # Fat gathers in the grooves at the insertions and towards the base; over the lateral wall there is next to none.
    lumps = smooth_noise(rng, shape, (15 / scale, 10 / pixel, 10 / pixel))[:, None]
    groove = np.exp(-((profile - 0.15) ** 2) / 0.06)
    lateral = np.clip(
        -(u * np.cos(np.radians(heart.rv_direction_deg)) + v * np.sin(np.radians(heart.rv_direction_deg))) / radius,
        0,
        1,
    )
    fat = np.maximum(3.2 * groove * (profile > 0) + 2.6 * (1 - lateral) + 1.5 * lumps - 0.4 - 0.010 * z, 0.0)
    return Box(
        x,
        y,
        z,
        u,
        v,
        radius,
        u / radius,
        v / radius,
        profile,
        integral,
        still[:, box[0], box[1]][:, None],
        texture,
        grain,
        fat.astype(np.float32),
        pixel,
    )


def _heart(heart: CineHeart, box: Box, phase: float) -> Array:
    """The box at one phase, averaged over the slice thickness: ``(k, i, j)`` float32."""
    shape = heart.shape(phase)
    filling = float(heart.filling(phase))
    endo, epi, rv = (a.astype(np.float32) for a in heart.areas(phase, box.z))
    depth = box.z - np.float32(shape.base_mm)
    pixel = np.float32(box.pixel)
    r_epi, r_endo = np.sqrt(epi / np.pi), np.sqrt(endo / np.pi)
    r_rv = np.sqrt(epi / np.pi + rv / box.integral * box.profile)
    picture = np.broadcast_to(box.still, box.radius.shape).copy()

    _above_base(heart, box, shape, depth, picture, pixel)

    body = depth >= 0
    # Outer surface: free wall over the right ventricle, then fat with the dark line of the chemical shift between.
    wall = np.where(rv > 0, (2.6 + 1.4 * (1 - filling)) * np.clip(box.profile / 0.12, 0, 1), 0).astype(np.float32)
    outer = np.maximum(r_epi, r_rv) + wall
    to_outer = box.radius - outer
    exists = body & (epi > 0)
    fat = exists * edge(to_outer - box.fat_mm, 1.3 * pixel) * (box.fat_mm > 0.3)
    over(picture, fat, FAT * 0.80 * (1 + 0.10 * box.texture))
    picture *= 1 - exists * np.float32(0.40) * np.exp(-(((to_outer - 0.3) / 0.9) ** 2))
    over(picture, exists * edge(to_outer, pixel), MYOCARDIUM * (1 + 0.10 * box.grain))

    # Right ventricle, with trabeculae towards the free wall and the apex.
    along = np.clip(depth / np.float32(shape.rv_length), 0, 1)
    relative = (box.radius - r_epi) / np.maximum(r_rv - r_epi, 1)
    trabeculae = np.clip(0.55 * box.grain + 0.35 * box.texture + 1.1 * relative + 0.9 * along - 1.55, 0, 0.6)
    share = (body & (rv > 0) & (box.profile > 0)) * edge(box.radius - r_rv, pixel)
    over(picture, share, RV_BLOOD * (1 + 0.05 * box.texture) - 0.55 * trabeculae)

    # Left ventricle: wall, cavity, papillary muscles.
    over(picture, exists * edge(box.radius - r_epi, pixel), MYOCARDIUM * (1 + 0.09 * box.grain + 0.05 * box.texture))
    shift_u, shift_v = heart.endo_shift(endo, epi)
    in_u, in_v = box.u - shift_u, box.v - shift_v
    radius = np.hypot(in_u, in_v)
    along = np.clip(depth / np.float32(shape.endo_length), 0, 1)
    trabeculae = np.clip(0.4 * box.grain + 6 * (radius / np.maximum(r_endo, 1) - 0.98) + 0.4 * along - 0.35, 0, 0.4)
    share = (body & (endo > 0)) * edge(radius - r_endo, pixel)
    over(picture, share, LV_BLOOD * (1 + 0.035 * box.texture) - 0.6 * trabeculae)
    present = np.clip((along - 0.22) / 0.1, 0, 1) * np.clip((0.80 - along) / 0.1, 0, 1)
    for place, size in ((-48.0, 0.17), (68.0, 0.16)):
        angle = np.radians(heart.rv_direction_deg - 180 + place)
        reach = r_endo * np.float32(0.66 + 0.06 * filling)
        # the muscles hardly lose volume, so they fill more of the cavity at end-systole
        own = np.maximum(r_endo * np.float32(size), 2.6 * present + np.float32(1.2 * (1 - filling)) * present)
        far = np.hypot(in_u - reach * np.float32(np.cos(angle)), in_v - reach * np.float32(np.sin(angle)))
        over(picture, share * present * edge(far - own * (1 + 0.25 * box.grain), 1.5 * pixel), MYOCARDIUM * 1.15)
    return picture.mean(axis=1)


def _above_base(heart: CineHeart, box: Box, shape: Shape, depth: Array, picture: Array, pixel: np.float32) -> None:
    """Atria, aortic root and outflow tract: blood without a ring of muscle, in fat."""
    # levels ascend from the base to the apex, so only the first slices reach above it
    n = int(np.count_nonzero((depth < 0).any(axis=(1, 2, 3))))
    if n == 0:
        return
    above, height, picture, texture = depth[:n] < 0, -depth[:n], picture[:n], box.texture[:n]
    r_lv = np.float32(np.sqrt(shape.epi_area / np.pi))
    c, s = (np.float32(f(np.radians(heart.rv_direction_deg - 180))) for f in (np.cos, np.sin))

    def place(a: float, b: float) -> Array:
        """Distance from a point given in epicardial radii, turned with the heart."""
        return np.hypot(box.u[:n] - r_lv * (a * c - b * s), box.v[:n] - r_lv * (a * s + b * c))

    fat = place(-0.55, -0.15) - r_lv * np.float32(1.45) * np.sqrt(np.clip(1 - (height / 75) ** 2, 0, 1))
    over(picture, above * edge(fat + 3 * texture, 2 * pixel), FAT * 0.62 * (1 + 0.15 * texture))
    rooms = (  # a, b, radius at the base in epicardial radii, growth per mm of height, brightness
        (0.26, 0.22, 0.80, 0.004, ATRIA),  # left atrium
        (-1.45, 0.45, 0.68, 0.003, ATRIA * 0.93),  # right atrium
        (-0.42, -0.42, 0.42, 0.000, LV_BLOOD * 0.95),  # aortic root
        (-1.10, -0.85, 0.42, -0.001, RV_BLOOD),  # right ventricular outflow tract
    )
    for a, b, size, growth, value in rooms:
        far = place(a, b) - r_lv * (np.float32(size) + np.float32(growth) * height) - 1.2 * texture
        over(picture, above * edge(far - 2.0, pixel), 0.33)
        over(picture, above * edge(far, pixel), value * (1 + 0.06 * texture))
