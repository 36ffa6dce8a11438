"""Solid shapes as signed distances in RAS mm, negative inside.

Distances are exact or correct to first order at the surface, which is what anti-aliased painting needs. Coordinates
come in as arrays that broadcast against each other: on an axis-aligned grid x, y and z stay one-dimensional until they
meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import pi
from typing import Any, Protocol

import numpy as np

from ...image import Array

Box = tuple[Array, Array]
FAR = 1e3


class Shape(Protocol):
    """A solid with a box around it."""

    def box(self) -> Box:
        """Lower and upper corner ``(3,)`` in RAS mm."""
        ...

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance in mm at the points."""
        ...


class Solid(Shape, Protocol):
    """A shape whose volume is known."""

    @property
    def volume_mm3(self) -> float: ...

    @property
    def center(self) -> Array: ...

    @property
    def thinnest_mm(self) -> float: ...


def at(shape: Shape, points: Array) -> Array:
    """Signed distances ``(n,)`` at points ``(n, 3)``."""
    p = np.asarray(points, float).reshape(-1, 3)
    return np.asarray(shape.distance(p[:, 0], p[:, 1], p[:, 2]))


def unit(vector: Any) -> Array:
    v = np.asarray(vector, float)
    return v / np.linalg.norm(v)


def frame(axis: Any, toward: Any = (0.31, 0.83, 0.47)) -> Array:
    """Right-handed orthonormal rows: across (as near to `toward` as can be), across, along `axis`."""
    w = unit(axis)
    u = np.asarray(toward, float)
    u = u - w * (u @ w)
    if np.linalg.norm(u) < 1e-6:
        u = np.cross(w, [1.0, 0.0, 0.0] if abs(w[0]) < 0.9 else [0.0, 1.0, 0.0])
    u = unit(u)
    return np.stack([u, np.cross(w, u), w])


def _local(axes: Array, center: Array, x: Array, y: Array, z: Array) -> list[Array]:
    """Coordinates along the rows of `axes`; terms that vanish are left out, so that aligned arrays stay small."""
    parts = (x - center[0], y - center[1], z - center[2])
    out = []
    for row in axes:
        terms = [part if c == 1.0 else c * part for c, part in zip(row.astype(np.float32), parts, strict=True) if c]
        out.append(sum(terms[1:], terms[0]))
    return out


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Ellipsoid with `radii` along the rows of `axes`."""

    center: Array
    radii: Any
    axes: Array = field(default_factory=lambda: np.eye(3))

    def box(self) -> Box:
        half = np.sqrt(((self.axes * np.asarray(self.radii)[:, None]) ** 2).sum(0))
        return self.center - half, self.center + half

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        q2: Any = 0.0
        g2: Any = 0.0
        for c, r in zip(_local(self.axes, self.center, x, y, z), self.radii, strict=True):
            scaled = c * np.float32(1 / r)
            square = scaled * scaled
            q2 = q2 + square
            g2 = g2 + square * np.float32(1 / (r * r))
        q = np.sqrt(q2)
        return q * (q - 1) / np.sqrt(g2 + np.float32(1e-12))

    @property
    def volume_mm3(self) -> float:
        return float(4.0 / 3.0 * pi * np.prod(self.radii))

    @property
    def thinnest_mm(self) -> float:
        return float(2 * min(self.radii))


@dataclass(frozen=True, eq=False)
class BentCapsule:
    """A rod of `radius` bent along a circular arc, with hemispherical ends.

    The arc lies in the plane of ``axes[0]`` and ``axes[1]``, has the bend radius `bend_mm` about `pivot` and reaches
    `half_angle` (radians) to both sides of ``axes[0]``. Its volume is exact (Pappus), as long as the ends do not touch.
    """

    pivot: Array
    axes: Array
    bend_mm: float
    half_angle: float
    radius: float

    @property
    def center(self) -> Array:
        return self.pivot + self.axes[0] * self.bend_mm

    @property
    def length_mm(self) -> float:
        return 2.0 * self.half_angle * self.bend_mm

    def course(self, n: int = 33) -> Array:
        """Points ``(n, 3)`` along its middle line."""
        a = np.linspace(-self.half_angle, self.half_angle, n)[:, None]
        return self.pivot + self.bend_mm * (np.cos(a) * self.axes[0] + np.sin(a) * self.axes[1])

    def box(self) -> Box:
        sag = self.bend_mm * (1 - np.cos(self.half_angle / 32))
        points = self.course()
        return points.min(0) - self.radius - sag, points.max(0) + self.radius + sag

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        u, v, w = _local(self.axes, self.pivot, x, y, z)
        angle = np.clip(np.arctan2(v, u), -self.half_angle, self.half_angle)
        du, dv = u - self.bend_mm * np.cos(angle), v - self.bend_mm * np.sin(angle)
        return np.sqrt(du * du + dv * dv + w * w) - self.radius

    @property
    def volume_mm3(self) -> float:
        return float(pi * self.radius**2 * self.length_mm + 4.0 / 3.0 * pi * self.radius**3)

    @property
    def thinnest_mm(self) -> float:
        return 2.0 * self.radius


@dataclass(frozen=True, eq=False)
class ArcPlate:
    """A piece of the wall of a straight tube: radius `wall_mm` about `origin` along ``axes[2]``, `thickness` deep,
    `length` long, `half_angle` (radians) to both sides of ``axes[0]``; a closed ring at pi."""

    origin: Array
    axes: Array
    wall_mm: float
    thickness: float
    length: float
    half_angle: float

    @property
    def center(self) -> Array:
        return self.origin if self.half_angle >= pi else self.origin + self.axes[0] * self.wall_mm

    def box(self) -> Box:
        a = np.linspace(-self.half_angle, self.half_angle, 65)[:, None]
        outer = self.wall_mm + self.thickness / 2
        inner = self.wall_mm - self.thickness / 2
        ring = np.concatenate([r * (np.cos(a) * self.axes[0] + np.sin(a) * self.axes[1]) for r in (inner, outer)])
        ends = self.axes[2] * self.length / 2
        points = self.origin + np.concatenate([ring - ends, ring + ends])
        return points.min(0) - 0.01 * outer, points.max(0) + 0.01 * outer

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        u, v, w = _local(self.axes, self.origin, x, y, z)
        rho = np.sqrt(u * u + v * v)
        d = np.maximum(np.abs(rho - self.wall_mm) - self.thickness / 2, np.abs(w) - self.length / 2)
        if self.half_angle >= pi:
            return d
        return np.maximum(d, (np.abs(np.arctan2(v, u)) - self.half_angle) * rho)

    @property
    def volume_mm3(self) -> float:
        return float(2 * self.half_angle * self.wall_mm * self.thickness * self.length)

    @property
    def thinnest_mm(self) -> float:
        return self.thickness


@dataclass(frozen=True, eq=False)
class Tube:
    """A chain of round cones through `points` ``(n, 3)`` with `radii` ``(n,)``.

    `stretch` makes the cross-section taller or wider: the tube is round after division by it.
    """

    points: Array
    radii: Any
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        points = np.asarray(self.points, float)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "radii", np.broadcast_to(np.asarray(self.radii, float), (len(points),)))

    def box(self) -> Box:
        reach = self.radii[:, None] * np.asarray(self.stretch)
        return (self.points - reach).min(0), (self.points + reach).max(0)

    def pieces(self) -> Iterator[Tube]:
        """Its cones one by one."""
        for n in range(len(self.points) - 1):
            yield Tube(self.points[n : n + 2], self.radii[n : n + 2], self.stretch)

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        s = 1.0 / np.asarray(self.stretch)
        points = self.points * s
        sx, sy, sz = (c if f == 1.0 else c * np.float32(f) for c, f in zip((x, y, z), s, strict=True))
        best: Any = None
        for a, b, ra, rb in zip(points[:-1], points[1:], self.radii[:-1], self.radii[1:], strict=True):
            e = (b - a).astype(np.float32)
            dx, dy, dz = sx - np.float32(a[0]), sy - np.float32(a[1]), sz - np.float32(a[2])
            t = np.clip((dx * e[0] + dy * e[1] + dz * e[2]) / np.float32(max(e @ e, 1e-9)), 0, 1)
            d = np.sqrt((dx - t * e[0]) ** 2 + (dy - t * e[1]) ** 2 + (dz - t * e[2]) ** 2)
            d = d - (ra + t * np.float32(rb - ra))
            best = d if best is None else np.minimum(best, d)
        return np.asarray(best)


@dataclass(frozen=True, eq=False)
class Column:
    """A body along z: at each of `levels` a squircle with half-axes `a` (x) and `b` (y) about (`cx`, `cy`).

    `square` from 0 (ellipse) to about 0.85 (nearly a rectangle).
    """

    levels: Array
    a: Any
    b: Any
    cx: Any
    cy: Any
    square: float = 0.5

    def at_level(self, z: Any) -> tuple[Any, Any, Any, Any]:
        """a, b, cx, cy at heights `z`."""
        return tuple(  # type: ignore[return-value]
            np.interp(z, self.levels, np.broadcast_to(v, np.shape(self.levels))).astype(np.float32)
            for v in (self.a, self.b, self.cx, self.cy)
        )

    def rim(self, angle: Any, z: Any) -> tuple[Any, Any]:
        """x and y of the outline at `angle` (0 back, pi/2 right, pi front) and height `z`."""
        a, b, cx, cy = self.at_level(z)
        sin, cos = np.sin(angle), np.cos(angle)
        k = self.square**2 * (sin * cos) ** 2
        m = np.sqrt(np.where(k > 1e-9, (1 - np.sqrt(1 - 4 * k)) / np.maximum(2 * k, 1e-9), 1.0))
        return cx + a * m * sin, cy - b * m * cos

    def box(self) -> Box:
        cx, cy = np.broadcast_to(self.cx, np.shape(self.levels)), np.broadcast_to(self.cy, np.shape(self.levels))
        low = np.array([np.min(cx - self.a), np.min(cy - self.b), np.min(self.levels)])
        return low, np.array([np.max(cx + self.a), np.max(cy + self.b), np.max(self.levels)])

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        a, b, cx, cy = self.at_level(z)
        # Beyond the corners the squircle's function turns round; the clip keeps it growing.
        u, v = np.clip((x - cx) / a, -1.25, 1.25), np.clip((y - cy) / b, -1.25, 1.25)
        uu, vv = u * u, v * v
        q = np.sqrt(uu + vv - np.float32(self.square**2) * uu * vv)
        d = (q - 1) * q / np.sqrt(uu / (a * a) + vv / (b * b) + np.float32(1e-12))
        return np.maximum(d, np.maximum(self.levels[0] - z, z - self.levels[-1]))


@dataclass(frozen=True, eq=False)
class SmoothUnion:
    """The union of `shapes`, its creases filled over about `blend` mm, grown by `grow` mm."""

    shapes: Sequence[Shape]
    blend: float
    grow: float = 0.0

    def box(self) -> Box:
        boxes = [s.box() for s in self.shapes]
        more = self.grow + self.blend / 2
        return np.min([b[0] for b in boxes], 0) - more, np.max([b[1] for b in boxes], 0) + more

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        total: Any = None
        for shape in self.shapes:
            d = shape.distance(x, y, z)
            if total is None:
                total = d
            elif self.blend > 0:
                h = np.maximum(self.blend - np.abs(total - d), 0) * np.float32(1 / self.blend)
                total = np.minimum(total, d) - h * h * np.float32(self.blend / 4)
            else:
                total = np.minimum(total, d)
        return np.asarray(total - np.float32(self.grow))


@dataclass(frozen=True, eq=False)
class Cut:
    """`shape` inside `within` and outside all of `without`."""

    shape: Shape
    within: Shape | None = None
    without: tuple[Shape, ...] = ()

    def box(self) -> Box:
        low, high = self.shape.box()
        if self.within is not None:
            low2, high2 = self.within.box()
            low, high = np.maximum(low, low2), np.minimum(high, high2)
        return low, high

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        d = self.shape.distance(x, y, z)
        if self.within is not None:
            d = np.maximum(d, self.within.distance(x, y, z))
        for other in self.without:
            d = np.maximum(d, -other.distance(x, y, z))
        return d


@dataclass(frozen=True, eq=False)
class HalfSpace:
    """Everything on the far side of a plane: ``normal . (p - point) < 0``."""

    point: Array
    normal: Array

    def box(self) -> Box:
        return np.full(3, -FAR), np.full(3, FAR)

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        terms = [
            float(n) * (c - float(p)) for n, c, p in zip(unit(self.normal), (x, y, z), self.point, strict=True) if n
        ]
        return np.asarray(sum(terms[1:], terms[0]))
