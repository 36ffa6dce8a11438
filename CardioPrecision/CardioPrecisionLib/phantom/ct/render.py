"""What a CT scanner makes of a set of solids: partial volume, slice profile, kernel, noise, and the truth by voxel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...image import Array, Image, spacing_of
from .calcium import Calcification
from .shapes import Shape, Solid, Tube

Kernel = Literal["none", "soft", "medium", "sharp", "lung"]
AIR = -1000.0
OUTSIDE = -1024
#: Standard deviation (mm) of the in-plane point spread, share and deviation of the overshoot. A Gaussian of 0.47 mm
#: passes half the contrast at 0.40 lp/mm, as the medium-smooth kernels of calcium scoring do.
_KERNELS: dict[str, tuple[float, float, float]] = {
    "none": (0.0, 0.0, 0.0),
    "soft": (0.62, 0.0, 0.0),
    "medium": (0.47, 0.0, 0.0),
    "sharp": (0.32, 0.30, 0.95),
    "lung": (0.28, 1.00, 0.80),  # edges of heart against lung overshoot by a quarter of the step
}
_SLAB = 1_200_000


@dataclass(frozen=True)
class CTGeometry:
    """The grid of a reconstruction.

    Attributes
    ----------
    matrix : tuple of int
        Columns and rows.
    pixel_mm : tuple of float
        Spacing along columns and rows.
    n_slices : int
    thickness_mm, increment_mm : float
        The slice profile is a box of `thickness_mm`; slices are `increment_mm` apart.
    center : tuple of float
        RAS mm of the middle of the volume.
    rotation : numpy.ndarray
        ``(3, 3)`` proper rotation of the grid about `center`; identity is an axial scan of a supine patient.
    flips : tuple of bool
        Voxel order reversed along i, j, k; the affine follows.
    circle : bool
        Outside the reconstruction circle the value is -1024.
    """

    matrix: tuple[int, int] = (256, 256)
    pixel_mm: tuple[float, float] = (0.9, 0.9)
    n_slices: int = 50
    thickness_mm: float = 3.0
    increment_mm: float = 3.0
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: Array = field(default_factory=lambda: np.eye(3))
    flips: tuple[bool, bool, bool] = (False, False, False)
    circle: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.matrix, self.n_slices)

    @property
    def affine(self) -> Array:
        """Index to RAS mm. Unflipped: columns run to the patient's left, rows to the back, slices to the head."""
        signs = np.where(self.flips, -1.0, 1.0) * (-1.0, -1.0, 1.0)
        out = np.eye(4)
        out[:3, :3] = self.rotation @ np.diag(signs * (*self.pixel_mm, self.increment_mm))
        out[:3, 3] = np.asarray(self.center) - out[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return out


@dataclass(frozen=True, eq=False)
class Part:
    """Tissue: a shape painted in layers from its surface inwards.

    Attributes
    ----------
    shape : Shape
    layers : tuple of (depth mm, HU)
        ``((0, 700), (1.5, 150))`` is a shell of 1.5 mm around marrow.
    kind : str
        Name, for masks (``rib``, ``vertebra``, ``sternum``, …).
    smooth_mm : float
        Large and without fine detail: in plane its distance is taken this far apart and interpolated.
    """

    shape: Shape
    layers: tuple[tuple[float, float], ...]
    kind: str = ""
    smooth_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class CTSample:
    """A rendered scan with its truth.

    Attributes
    ----------
    image : Image
        int16 HU.
    labels : numpy.ndarray
        ``(i, j, k)`` uint8: label of the calcification that fills most of the voxel, where calcium fills half of it.
    owner : numpy.ndarray
        ``(i, j, k)`` uint16: 1 + index into ``truth["calcifications"]`` wherever one has a share of 2 % or more.
    bones : numpy.ndarray
        ``(i, j, k)`` bool: at least half bone.
    truth : dict
        ``volume_mm3`` by site (whole bodies, also where the scan cuts them off), ``in_view_mm3`` by site (what lies
        within the slices), ``calcifications`` with site, label, volume_mm3, in_view_mm3, hu, center_ras.
    thickness_mm : float
    """

    image: Image
    labels: Array
    owner: Array
    bones: Array
    truth: dict[str, Any]
    thickness_mm: float

    def write_dicom(self, folder: str | Path, **header: Any) -> list[Path]:
        """One series of classic CT images; see `phantom.dicom_ct.write_ct_dicom`."""
        from ..dicom_ct import write_ct_dicom

        return write_ct_dicom(folder, self.image, **({"thickness_mm": self.thickness_mm} | header))


class _Grid:
    """Sample positions of a geometry: i and j by voxel, k by sub-slices through the thickness."""

    def __init__(self, geometry: CTGeometry):
        self.affine = geometry.affine
        self.inverse = np.linalg.inv(self.affine)
        self.shape = geometry.shape
        self.pixel = float(min(geometry.pixel_mm))
        self.n_sub = max(1, ceil(geometry.thickness_mm / max(1.5, 1.4 * self.pixel)))
        self.reach = geometry.thickness_mm / geometry.increment_mm
        self.width = float(
            (geometry.pixel_mm[0] * geometry.pixel_mm[1] * geometry.thickness_mm / self.n_sub) ** (1 / 3)
        )
        self.width = min(self.width, 1.3 * self.pixel)

    def levels(self, slices: Array, n_sub: int) -> Array:
        """Continuous k ``(len(slices) * n_sub,)`` of the sub-slices."""
        steps = ((np.arange(n_sub) + 0.5) / n_sub - 0.5) * self.reach
        return np.asarray((slices[:, None] + steps).ravel())

    def window(self, box: tuple[Array, Array], margin_mm: float) -> tuple[Array, Array]:
        """Lower and upper continuous index of a box in RAS grown by a margin."""
        return index_box(self.inverse, box[0] - margin_mm, box[1] + margin_mm)

    def world(self, i: Array, j: Array, k: Array) -> list[Array]:
        """x, y, z at an index lattice, each only as large as it varies."""
        axes = (i[:, None, None], j[None, :, None], k[None, None, :])
        out = []
        for row in range(3):
            total: Any = np.full((1, 1, 1), self.affine[row, 3])
            for column, index in enumerate(axes):
                c = self.affine[row, column]
                if abs(c) > 1e-9:
                    total = total + c * index
            out.append(np.asarray(total, np.float32))
        return out


def index_box(inverse: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Lower and upper continuous index ``(3,)`` of a box in RAS, given the inverse of the affine."""
    corners = np.array([[(low, high)[(n >> a) & 1][a] for a in range(3)] for n in range(8)])
    index = corners @ inverse[:3, :3].T + inverse[:3, 3]
    return index.min(0), index.max(0)


def _span(low: float, high: float, n: int) -> tuple[int, int]:
    first = min(max(0, ceil(low)), n)
    return first, max(first, min(n, int(np.floor(high)) + 1))


def _refine(coarse: Array, factor: int, n: int, axis: int) -> Array:
    """Linear interpolation of samples `factor` apart to `n` samples."""
    at_index = np.arange(n, dtype=np.float32) / factor
    left = np.minimum(at_index.astype(int), coarse.shape[axis] - 2)
    weight = (at_index - left).reshape([-1 if a == axis else 1 for a in range(3)])
    first = np.take(coarse, left, axis)
    return first + weight * (np.take(coarse, left + 1, axis) - first)


def _distance(grid: _Grid, part: Part, span: Sequence[tuple[int, int]], k: Array, margin: float) -> Array:
    (i0, i1), (j0, j1) = span
    i, j = np.arange(i0, i1), np.arange(j0, j1)
    if isinstance(part.shape, Tube) and len(part.shape.points) > 2:
        out = np.full((len(i), len(j), len(k)), 1e3, np.float32)
        for piece in part.shape.pieces():
            low, high = grid.window(piece.box(), margin)
            a0, a1 = _span(low[0] - i0, high[0] - i0, len(i))
            b0, b1 = _span(low[1] - j0, high[1] - j0, len(j))
            inside = np.flatnonzero((k >= low[2]) & (k <= high[2]))
            if a0 < a1 and b0 < b1 and len(inside):
                c0, c1 = inside[0], inside[-1] + 1
                view = out[a0:a1, b0:b1, c0:c1]
                np.minimum(view, piece.distance(*grid.world(i[a0:a1], j[b0:b1], k[c0:c1])), out=view)
        return out
    factor = int(part.smooth_mm / grid.pixel)
    if factor < 2 or min(len(i), len(j)) < 4 * factor:
        d = part.shape.distance(*grid.world(i, j, k))
    else:
        coarse = [np.arange(x[0], x[-1] + 2 * factor, factor) for x in (i, j)]
        d = part.shape.distance(*grid.world(coarse[0], coarse[1], k))
        d = np.broadcast_to(d, (len(coarse[0]), len(coarse[1]), len(k)))
        d = _refine(_refine(d, factor, len(i), 0), factor, len(j), 1)
    return np.broadcast_to(d, (len(i), len(j), len(k)))


def _slabs(grid: _Grid) -> Iterator[Array]:
    ni, nj, nk = grid.shape
    step = max(1, _SLAB // (ni * nj * grid.n_sub))
    for k in range(0, nk, step):
        yield np.arange(k, min(k + step, nk))


def _paint(grid: _Grid, parts: Sequence[Part], background: float) -> tuple[Array, Array]:
    """The tissues, averaged through the slices, and where bone is."""
    hu = np.empty(grid.shape, np.float32)
    bones = np.zeros(grid.shape, bool)
    margin = 2 * grid.width
    windows = [grid.window(part.shape.box(), margin) for part in parts]
    for slices in _slabs(grid):
        k = grid.levels(slices, grid.n_sub)
        fine = np.full((*grid.shape[:2], len(k)), background, np.float32)
        bone = np.zeros(fine.shape, bool)
        for part, (low, high) in zip(parts, windows, strict=True):
            inside = np.flatnonzero((k >= low[2]) & (k <= high[2]))
            span = (_span(low[0], high[0], grid.shape[0]), _span(low[1], high[1], grid.shape[1]))
            if not len(inside) or span[0][0] >= span[0][1] or span[1][0] >= span[1][1]:
                continue
            c0, c1 = inside[0], inside[-1] + 1
            d = _distance(grid, part, span, k[c0:c1], margin)
            view = (slice(*span[0]), slice(*span[1]), slice(c0, c1))
            target = fine[view]
            for depth, value in part.layers:
                cover = np.clip(np.float32(0.5 - depth / grid.width) - d * np.float32(1 / grid.width), 0, 1)
                target += cover * (np.float32(value) - target)
            if part.kind in ("rib", "vertebra", "sternum", "scapula"):
                bone[view] |= d < 0
            elif part.kind != "marrow":
                bone[view] &= d >= 0
        hu[:, :, slices] = fine.reshape(*grid.shape[:2], len(slices), grid.n_sub).mean(-1)
        bones[:, :, slices] = bone.reshape(*grid.shape[:2], len(slices), grid.n_sub).mean(-1) >= 0.5
    return hu, bones


def _fractions(
    grid: _Grid, geometry: CTGeometry, calcification: Calcification
) -> tuple[tuple[slice, slice, slice], Array]:
    shape = calcification.shape
    step = float(np.clip(0.2 * shape.thinnest_mm, 0.06, 0.3))
    low, high = grid.window(shape.box(), 0.1)
    spans = [_span(low[a] - 0.5, high[a] + 0.5, grid.shape[a]) for a in range(2)]
    spans.append(_span(low[2] - grid.reach / 2, high[2] + grid.reach / 2, grid.shape[2]))
    view = (slice(*spans[0]), slice(*spans[1]), slice(*spans[2]))
    n = [max(b - a, 0) for a, b in spans]
    if 0 in n:
        return view, np.zeros(n, np.float32)
    spacing = spacing_of(grid.affine)
    sub = [max(1, ceil(s / step)) for s in (spacing[0], spacing[1], geometry.thickness_mm)]
    cell = [s / m for s, m in zip((spacing[0], spacing[1], geometry.thickness_mm), sub, strict=True)]
    width = float(np.prod(cell) ** (1 / 3))
    i, j = (
        (np.arange(a, b)[:, None] + (np.arange(m) + 0.5) / m - 0.5).ravel()
        for (a, b), m in zip(spans[:2], sub[:2], strict=True)
    )
    whole = [np.arange(a - 1, b + 1, c / s) for a, b, c, s in zip(low, high, cell, spacing, strict=True)]
    shift = _balance(shape, shape.distance(*grid.world(whole[0], whole[1], whole[2])), width, float(np.prod(cell)))
    out = np.empty(n, np.float32)
    for c, k in enumerate(range(*spans[2])):
        d = shape.distance(*grid.world(i, j, grid.levels(np.array([k]), sub[2]))) - np.float32(shift)
        cover = np.clip(np.float32(0.5) - d / np.float32(width), 0, 1)
        cover = np.broadcast_to(cover, (len(i), len(j), sub[2]))
        out[:, :, c] = cover.reshape(n[0], sub[0], n[1], sub[1], sub[2]).mean((1, 3, 4))
    return view, out


def _balance(shape: Solid, d: Array, width: float, cell: float) -> float:
    """How far (mm) the border must move for the ramps across it to add up to the exact volume.

    A ramp across a curved surface takes in a little more than it leaves out. `d` are distances on a lattice of cells of
    `cell` mm3 that holds the whole shape.
    """
    shift = 0.0
    for _ in range(3):
        ramp = 0.5 - (d - np.float32(shift)) / np.float32(width)
        sampled = float(np.clip(ramp, 0, 1).sum(dtype=np.float64)) * cell
        surface = float(np.count_nonzero((ramp > 0) & (ramp < 1))) * cell / width
        shift += (shape.volume_mm3 - sampled) / max(surface, 1e-9)
    return shift


def blur(hu: Array, geometry: CTGeometry, kernel: Kernel) -> Array:
    """The in-plane point spread of a kernel; keeps the integral."""
    from scipy.ndimage import gaussian_filter

    sigma, share, wide = _KERNELS[kernel]
    if sigma == 0:
        return hu
    by_axis = [[s / p for p in geometry.pixel_mm] + [0.0] for s in (sigma, wide)]
    out = gaussian_filter(hu, by_axis[0], mode="nearest", truncate=3.0)
    if share:
        out += np.float32(share) * (out - gaussian_filter(hu, by_axis[1], mode="nearest", truncate=3.0))
    return out


def noise(geometry: CTGeometry, kernel: Kernel, sd_hu: float, seed: int) -> Array:
    """Noise of standard deviation `sd_hu`, coloured in plane by the kernel and the ramp of filtered back-projection."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([seed, 7])
    white = rng.standard_normal(geometry.shape, dtype=np.float32)
    if kernel == "none":
        return white * np.float32(sd_hu)
    sigma = _KERNELS[kernel][0]
    near, far = ([f * sigma / p for p in geometry.pixel_mm] + [0.0] for f in (0.9, 2.6))
    grain = gaussian_filter(white, near, truncate=3.0)
    # Back-projected noise has little power at low frequencies.
    grain -= np.float32(0.8) * gaussian_filter(grain, far, truncate=2.5)
    return grain * np.float32(sd_hu / max(float(grain.std()), 1e-6))


def render(
    parts: Sequence[Part],
    calcifications: Sequence[Calcification],
    geometry: CTGeometry,
    *,
    noise_hu: float = 20.0,
    kernel: Kernel = "medium",
    seed: int = 0,
    background: float = AIR,
    artefact: Callable[[Array, CTGeometry], None] | None = None,
) -> CTSample:
    """Scan solids.

    Parameters
    ----------
    parts : sequence of Part
        Tissues, painted in this order.
    calcifications : sequence of Calcification
        Painted last, sampled at 0.3 mm or finer, so that each keeps its volume.
    geometry : CTGeometry
    noise_hu : float
        Standard deviation of the noise.
    kernel : str
        ``none``, ``soft``, ``medium``, ``sharp`` or ``lung``.
    seed : int
        Of the noise.
    background : float
        HU where there is nothing.
    artefact : callable, optional
        Changes the blurred HU array in place (streaks).
    """
    if kernel not in _KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(_KERNELS)}")
    grid = _Grid(geometry)
    hu, bones = _paint(grid, parts, background)
    labels = np.zeros(grid.shape, np.uint8)
    owner = np.zeros(grid.shape, np.uint16)
    most, filled = np.full(grid.shape, 0.02, np.float16), np.zeros(grid.shape, np.float16)
    rows: list[dict[str, Any]] = []
    voxel = float(np.prod(geometry.pixel_mm)) * geometry.increment_mm
    for n, c in enumerate(calcifications):
        view, share = _fractions(grid, geometry, c)
        hu[view] += share * (np.float32(c.hu) - hu[view])
        filled[view] += share.astype(np.float16)
        mine = share > most[view]
        most[view][mine] = share[mine]
        owner[view][mine] = n + 1
        rows.append({"site": c.site, "label": c.label, "volume_mm3": c.volume_mm3, "hu": c.hu,
                     "in_view_mm3": float(share.sum(dtype=np.float64)) * voxel,
                     "center_ras": tuple(float(x) for x in c.center)})  # fmt: skip
    if calcifications:
        lookup = np.array([0, *(c.label for c in calcifications)], np.uint8)
        half = filled >= 0.5
        labels[half] = lookup[owner[half]]
    hu = blur(hu, geometry, kernel)
    if artefact is not None:
        artefact(hu, geometry)
    if noise_hu > 0:
        hu += noise(geometry, kernel, noise_hu, seed)
    if geometry.circle:
        i, j = ((np.arange(n) - (n - 1) / 2) * 2 / n for n in geometry.matrix)
        hu[(i[:, None] ** 2 + j**2) > 1] = OUTSIDE
    image = Image(np.clip(np.rint(hu), OUTSIDE, 3071).astype(np.int16), geometry.affine)
    truth: dict[str, Any] = {"volume_mm3": {}, "in_view_mm3": {}, "calcifications": rows}
    for row in rows:
        for key in ("volume_mm3", "in_view_mm3"):
            truth[key][row["site"]] = truth[key].get(row["site"], 0.0) + row[key]
    return CTSample(image, labels, owner, bones, truth, geometry.thickness_mm)
