"""Fewer numbers out of many, by a rule that no data were needed for."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def projection(size: int, features: int, seed: int) -> Array | None:
    """Orthonormal directions to project features onto, drawn from `seed` alone.

    Distances between patients are nearly kept, up to one factor (Johnson & Lindenstrauss 1984; Dasgupta & Gupta, Random
    Struct Alg 2003;22:60). Nothing is fitted, so that nothing of a test patient can reach a model by this way.

    Parameters
    ----------
    size, features : int
    seed : int

    Returns
    -------
    numpy.ndarray or None
        ``(size, features)`` float64 with ``P @ P.T`` the identity; None where there are no more features than that.
    """
    if features <= size:
        return None
    drawn = np.random.default_rng(seed).standard_normal((features, size))
    q, r = np.linalg.qr(drawn)
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the factorisation the only one, on any machine
    return np.ascontiguousarray((q * signs).T)


def project(features: Array, directions: Array | None) -> Array:
    """``(..., features)`` to ``(..., size)``; as they are where `directions` is None."""
    return features if directions is None else features @ directions.T
