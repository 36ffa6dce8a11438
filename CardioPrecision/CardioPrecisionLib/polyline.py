"""Curves in space: arc length, even steps, and frames that do not turn about the curve."""

from __future__ import annotations

import numpy as np

from .image import Array


def arc_length(points: Array) -> Array:
    """Length in mm from the first point ``(n,)`` along points ``(n, 3 or more)``; further columns are not looked at."""
    steps = np.linalg.norm(np.diff(np.asarray(points, float)[:, :3], axis=0), axis=1)
    return np.r_[0.0, np.cumsum(steps)]


def stretches(flags: Array) -> list[tuple[int, int]]:
    """First and last index of every run of true values of ``(n,)``: the parts of a curve that fulfil it."""
    padded = np.r_[False, np.asarray(flags, bool), False].astype(np.int8)
    change = np.flatnonzero(np.diff(padded))
    return [(int(a), int(b) - 1) for a, b in zip(change[::2], change[1::2], strict=True)]


def even_steps(points: Array, step_mm: float) -> Array:
    """The cubic spline through `points`, at even steps of `step_mm` or a little less.

    Parameters
    ----------
    points : numpy.ndarray
        ``(n, 3 or more)``, n >= 2; further columns (a radius) go along. Repeated points are passed over.
    step_mm : float

    Returns
    -------
    numpy.ndarray
        ``(m, columns)`` from the first to the last point.

    Raises
    ------
    ValueError
        Fewer than two different points.
    """
    from scipy.interpolate import CubicSpline

    points = np.asarray(points, float)
    keep = np.r_[True, np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1) > 1e-6]
    points = points[keep]
    if len(points) < 2:
        raise ValueError("a curve needs two different points")
    s = arc_length(points)
    spline = CubicSpline(s, points, bc_type="natural") if len(points) > 2 else None
    fine_s = np.linspace(0.0, s[-1], max(2, int(np.ceil(8 * s[-1] / step_mm)) + 1))
    fine = points[0] + (fine_s / s[-1])[:, None] * (points[1] - points[0]) if spline is None else spline(fine_s)
    along = arc_length(fine)
    even = np.linspace(0.0, along[-1], max(2, int(np.ceil(along[-1] / step_mm - 1e-9)) + 1))
    return np.stack([np.interp(even, along, fine[:, c]) for c in range(fine.shape[1])], 1)


def tangents(points: Array) -> Array:
    """Unit vectors ``(n, 3)`` along the curve, by central differences."""
    g = np.gradient(np.asarray(points, float)[:, :3], axis=0)
    return np.asarray(g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-12))


def frames(points: Array) -> tuple[Array, Array, Array]:
    """Rotation-minimising frames along a curve.

    Double reflection: Wang W, Jüttler B, Zheng D, Liu Y, "Computation of rotation minimizing frames", ACM Transactions
    on Graphics 2008;27:2.

    Parameters
    ----------
    points : numpy.ndarray
        ``(n, 3)``.

    Returns
    -------
    tangent, first, second : numpy.ndarray
        ``(n, 3)`` each, right-handed and orthonormal at every point.
    """
    points = np.asarray(points, float)[:, :3]
    t = tangents(points)
    first = np.empty_like(t)
    start = np.eye(3)[np.argmin(np.abs(t[0]))]
    first[0] = start - (start @ t[0]) * t[0]
    first[0] /= np.linalg.norm(first[0])
    for n in range(len(points) - 1):
        chord = points[n + 1] - points[n]
        c1 = max(float(chord @ chord), 1e-18)
        moved = first[n] - (2 / c1) * (chord @ first[n]) * chord
        turned = t[n] - (2 / c1) * (chord @ t[n]) * chord
        rest = t[n + 1] - turned
        c2 = float(rest @ rest)
        if c2 > 1e-18:
            moved = moved - (2 / c2) * (rest @ moved) * rest
        moved = moved - (moved @ t[n + 1]) * t[n + 1]
        first[n + 1] = moved / np.linalg.norm(moved)
    return t, first, np.cross(t, first)
