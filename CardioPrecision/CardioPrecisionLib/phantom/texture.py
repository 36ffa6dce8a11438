"""Small tools of the painter: soft edges, smooth random fields, the surface coil, Rician noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

Array = NDArray[Any]


def edge(distance: Array, width: Any) -> Array:
    """1 inside (negative distance), 0 outside, linear over `width` across the border: the area share of a pixel."""
    return np.clip(0.5 - distance / np.float32(width), 0, 1)


def over(picture: Array, share: Array, value: Array | float) -> None:
    """Lay a tissue of `value` over `picture` in place, with its share of each pixel."""
    picture += share * (value - picture)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: tuple[float, float, float]) -> Array:
    """A smooth random field of mean 0 and standard deviation 1, ``(k, i, j)`` float32."""
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def splats(rng: np.random.Generator, shape: tuple[int, int, int], density: float, sigma: float) -> Array:
    """Soft bright dots of random strength (0..1 at their centres), `density` of them per pixel; ``(k, i, j)``."""
    field = np.zeros(shape, np.float32)
    n = int(rng.poisson(density * field.size))
    where = tuple(rng.integers(0, size, n) for size in shape)
    np.add.at(field, where, rng.uniform(0.2, 1.0, n).astype(np.float32))
    return np.minimum(gaussian_filter(field, (0, sigma, sigma)) * np.float32(2 * np.pi * sigma**2), 1.2)


def blur(frame: Array, sigma: tuple[float, float]) -> Array:
    """Gaussian point spread along i and j of a ``(k, i, j)`` frame."""
    for axis, s in zip((1, 2), sigma, strict=True):
        if s > 0.05:
            frame = gaussian_filter1d(frame, s, axis=axis, mode="nearest", truncate=3.0)
    return frame


def coil_sensitivity(x: Array, y: Array, strength: float) -> Array:
    """Fall-off of the anterior coil with distance from the chest wall on the image's upper left; 1 at the heart."""
    front = np.hypot(x + 130, y + 45) - np.hypot(130, 45)
    back = np.hypot(x - 190, y - 20) - np.hypot(190, 20)
    raw = 0.62 * np.exp(-front / 85) + 0.38 * np.exp(-back / 110)
    return (raw.astype(np.float32)) ** np.float32(strength)


def rician(signal: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Magnitude of a complex signal with Gaussian noise of `sigma` in either channel (Gudbjartsson and Patz, 1995)."""
    real = rng.standard_normal(signal.shape, dtype=np.float32)
    real *= np.float32(sigma)
    real += signal
    imaginary = rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary *= np.float32(sigma)
    return np.hypot(real, imaginary)
