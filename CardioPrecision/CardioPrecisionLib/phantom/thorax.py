"""What surrounds the heart on a short-axis image: chest wall, lungs, liver, stomach, aorta. It does not move.

Brightness is relative to blood in the left ventricle. Proportions were set by eye against balanced steady-state cine
images; nothing is copied from any of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .texture import edge, over, smooth_noise, splats

Array = NDArray[Any]

FAT, MUSCLE, LIVER, LUNG, BONE = 0.95, 0.22, 0.40, 0.045, 0.55


def thorax(x: Array, y: Array, levels: Array, pixel_mm: float, rng: np.random.Generator) -> Array:
    """The still background.

    Parameters
    ----------
    x, y : numpy.ndarray
        Thorax coordinates of the pixels in mm, ``(i, j)``.
    levels : numpy.ndarray
        ``(k,)`` levels in mm from the base plane to the apex.
    pixel_mm : float
        For soft edges and the scale of texture.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        ``(k, i, j)`` float32.
    """
    x, y = x.astype(np.float32)[None], y.astype(np.float32)[None]
    z = levels.astype(np.float32)[:, None, None]
    shape = (len(levels), x.shape[1], x.shape[2])
    step = max(float(abs(levels[1] - levels[0])) if len(levels) > 1 else 10.0, 1.0)

    def field(scale_mm: float) -> Array:
        return smooth_noise(rng, shape, (18 / step, scale_mm / pixel_mm, scale_mm / pixel_mm))

    coarse, middle, fine = field(16), field(5), field(2)
    # the wobble makes every outline a little irregular
    wx, wy = x + 3 * coarse, y + 3 * np.roll(coarse, 17, axis=2)
    soft = 1.4 * pixel_mm

    # Body: an upright oval, cut more obliquely towards the apex; skin fat, muscle, ribs, then the chest cavity.
    cx, cy = 22 - 0.12 * z, 18 + 0.10 * z
    half_x, half_y = 122 - 0.40 * np.maximum(z, 0), 196 - 0.25 * np.maximum(z, 0)
    angle = np.arctan2((wy - cy) / half_y, (wx - cx) / half_x)
    rim = (np.abs((wx - cx) / half_x) ** 2.6 + np.abs((wy - cy) / half_y) ** 2.6) ** (1 / 2.6)
    to_skin = (rim - 1) * (half_x * np.abs(np.cos(angle)) + half_y * np.abs(np.sin(angle)))
    fat_mm = 12 + 6 * np.sin(angle * 2 + 0.8) + 3 * np.sin(3 * angle + 2)
    wall_mm = fat_mm + 13 + 3 * np.sin(2 * angle)
    picture = np.full(shape, 0.012, np.float32)
    over(picture, edge(to_skin, soft), FAT * (1 + 0.05 * coarse))
    over(picture, edge(to_skin + fat_mm, soft), MUSCLE * (1 + 0.20 * middle))
    ribs = np.clip(1.6 * np.sin(angle * 17 + z / 14) - 0.5, 0, 1)
    band = edge(np.abs(to_skin + fat_mm + 7) - 4, 3.0)
    over(picture, ribs * band, BONE * (1 + 0.15 * middle))

    # Lungs fill the cavity above the diaphragm; vessels grow towards the hilum.
    cavity = edge(to_skin + wall_mm, soft)
    lung = LUNG * (1 + 0.35 * middle)
    hilum = np.exp(-((x - 25) ** 2 + (y + 45) ** 2) / (2 * 45.0**2))
    lung = (
        lung
        + (0.12 + 0.55 * hilum) * splats(rng, shape, 0.004 * pixel_mm**2, 1.5 / pixel_mm)
        + 0.30 * hilum * splats(rng, shape, 0.0015 * pixel_mm**2, 3.0 / pixel_mm)
    )
    over(picture, cavity, lung)

    # Mediastinal fat in front of and above the heart near the base, great vessels within it.
    mx, my = x + 62 + 9 * coarse, y + 30 + 9 * np.roll(coarse, 23, axis=1)
    mediastinum = np.hypot(mx / 0.8, my / 1.9) - 30 + 0.25 * z
    over(picture, cavity * edge(mediastinum, 5.0), np.clip(0.46 + 0.20 * middle + 0.16 * coarse, 0.08, 1))

    # Diaphragm and what lies below: liver under the right heart, stomach and spleen under the left, bowel in fat.
    dome = 42 - 0.04 * z + 0.0022 * (wx - 10) ** 2 - 4 * np.sin(wx / 38)
    below = cavity * edge(dome - wy, soft)
    over(picture, below, 0.68 * (1 + 0.16 * coarse + 0.12 * middle))
    bowel = edge(4 - 9 * np.abs(middle + 0.4 * coarse), 4.0) * edge(110 - wy, 20.0)
    over(picture, below * bowel, 0.22)
    liver = np.maximum(np.hypot((wx + 55) / 1.5, (wy - 78) / 0.95) - 52 + 0.10 * z, dome + 3 - wy)
    vessels = splats(rng, shape, 0.0015 * pixel_mm**2, 2.2 / pixel_mm)
    over(picture, cavity * edge(liver, soft), LIVER * (1 + 0.05 * fine + 0.06 * coarse) + 0.28 * vessels)
    stomach = np.maximum(np.hypot((wx - 48) / 1.25, (wy - 86) / 0.9) - 31, dome + 4 - wy)
    over(picture, cavity * edge(stomach, soft), 0.24 + 0.06 * coarse + 0.03 * middle)
    over(picture, cavity * edge(np.abs(stomach) - 1.6, 1.5), 0.30)
    spleen = np.maximum(np.hypot((wx - 98) / 0.75, (wy - 78) / 1.4) - 20, dome + 2 - wy)
    over(picture, cavity * edge(spleen, soft), 0.47 * (1 + 0.05 * fine))
    over(picture, below * edge(np.abs(dome + 1.2 - wy) - 1.2, 1.2), 0.12)

    # Descending aorta beside the spine, behind the lateral wall.
    aorta = np.hypot((x - 88) / 0.9, (y - 24 - 0.10 * z) / 1.15) - 10.0
    tissue = np.hypot(wx - 104, (wy - 26) / 1.6) - 24
    over(picture, cavity * edge(tissue, 3.0), np.clip(0.55 + 0.16 * middle + 0.12 * coarse, 0.1, 1))
    over(picture, edge(aorta, soft), 0.86 * (1 + 0.03 * middle))
    # A little fine grain in everything that gives signal.
    picture *= 1 + 0.035 * fine
    return picture
