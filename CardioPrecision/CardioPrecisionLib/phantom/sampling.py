"""Where a scanner would put its slices through a `CineHeart`, and the images and labels that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import image
from ..errors import InputError
from ..replacing import replacing
from .cine import CineHeart, Volumes, measurements_of

Array = NDArray[Any]

#: Values of the labels.
LABELS: Mapping[int, str] = {1: "LV cavity", 2: "LV myocardium", 3: "RV cavity"}


def _short_axis() -> Array:
    """Directions in RAS of image right, image down and base to apex for an average heart (columns)."""
    apex = np.array([-0.60, 0.60, -0.53])
    apex /= np.linalg.norm(apex)
    down = np.array([0.0, 0.0, -1.0])
    down -= apex * (down @ apex)
    down /= np.linalg.norm(down)
    # On a short-axis image one looks from the apex to the base: right x down points away from the viewer, to the base.
    return np.stack([np.cross(apex, down), down, apex], axis=1)


@dataclass(frozen=True)
class Geometry:
    """A stack of short-axis slices.

    Attributes
    ----------
    pixel_mm : tuple of float
        In-plane spacing along i (image right) and j (image down).
    matrix : tuple of int
        Pixels along i and j.
    thickness_mm, gap_mm : float
        The slices are `thickness_mm` + `gap_mm` apart.
    n_slices : int or None
        None: as many as it takes to pass the apex.
    slices_above_base : int
        Slices whose slab (slice plus half a gap on each side) lies wholly above the end-diastolic base when
        `base_offset_mm` is 0. Then the base lies on the border between two slabs.
    base_offset_mm : float
        How far the base lies beyond that border, towards the apex.
    rotation : numpy.ndarray
        ``(3, 3)`` proper rotation of the whole patient in RAS; identity is a supine patient.
    flips : tuple of bool
        Reverse the voxel order along i, j, k; the affine follows, the anatomy does not change.
    image_rotation_deg : float
        Turn of the field of view about the slice normal.
    heart_rotation_deg : float
        Turn of the heart within the thorax, in plane.
    heart_shift_mm : tuple of float
        Shift of the heart from the middle of the image.
    center_ras_mm : tuple of float
        World position of the middle of the base plane.
    """

    pixel_mm: tuple[float, float] = (1.5625, 1.5625)
    matrix: tuple[int, int] = (192, 192)
    thickness_mm: float = 8.0
    gap_mm: float = 2.0
    n_slices: int | None = None
    slices_above_base: int = 1
    base_offset_mm: float = 0.0
    rotation: Array = field(default_factory=lambda: np.eye(3))
    flips: tuple[bool, bool, bool] = (False, False, False)
    image_rotation_deg: float = 0.0
    heart_rotation_deg: float = 0.0
    heart_shift_mm: tuple[float, float] = (0.0, 0.0)
    center_ras_mm: tuple[float, float, float] = (-20.0, 30.0, 10.0)

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, float)
        if (
            rotation.shape != (3, 3)
            or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
            or np.linalg.det(rotation) < 0
        ):
            raise InputError("phantom: rotation must be a proper 3 x 3 rotation matrix")
        object.__setattr__(self, "rotation", rotation)
        if min(self.pixel_mm) <= 0 or self.thickness_mm <= 0 or self.thickness_mm + self.gap_mm <= 0:
            raise InputError("phantom: pixel_mm, thickness_mm and the slice distance must be positive")
        if min(self.matrix) < 8 or (self.n_slices is not None and self.n_slices < 1) or self.slices_above_base < 0:
            raise InputError("phantom: the matrix needs at least 8 x 8 pixels, and the stack at least one slice")

    @property
    def spacing_mm(self) -> float:
        """Distance between slice centres."""
        return self.thickness_mm + self.gap_mm

    def count(self, heart: CineHeart) -> int:
        """Number of slices."""
        if self.n_slices is not None:
            return self.n_slices
        return self.slices_above_base + ceil((heart.length_mm + self.base_offset_mm) / self.spacing_mm)

    def levels(self, heart: CineHeart) -> Array:
        """Levels ``z`` in mm of the slice centres, base to apex, before `flips`."""
        return (np.arange(self.count(heart)) - self.slices_above_base + 0.5) * self.spacing_mm - self.base_offset_mm

    def plane(self) -> tuple[Array, Array]:
        """Thorax coordinates in mm of the pixel centres, each ``(i, j)``, before `flips`; 0 is the image's middle."""
        x = (np.arange(self.matrix[0]) - (self.matrix[0] - 1) / 2) * self.pixel_mm[0]
        y = (np.arange(self.matrix[1]) - (self.matrix[1] - 1) / 2) * self.pixel_mm[1]
        return turn(x[:, None], y[None, :], self.image_rotation_deg)

    def in_heart(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Thorax to heart coordinates."""
        return turn(x - self.heart_shift_mm[0], y - self.heart_shift_mm[1], -self.heart_rotation_deg)

    def affine(self, heart: CineHeart) -> Array:
        """Voxel index to RAS mm ``(4, 4)``, of the flipped array."""
        levels = self.levels(heart)
        turned = np.eye(3)
        turned[:2, :2] = np.stack(turn(np.array([1.0, 0.0]), np.array([0.0, 1.0]), self.image_rotation_deg))
        steps = np.array([*self.pixel_mm, self.spacing_mm])
        linear = self.rotation @ _short_axis() @ turned * steps
        first = -np.array([(self.matrix[0] - 1) / 2, (self.matrix[1] - 1) / 2, -levels[0] / self.spacing_mm])
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, np.array(self.center_ras_mm) + linear @ first
        for axis, size in enumerate((*self.matrix, len(levels))):
            if self.flips[axis]:
                affine[:3, 3] += affine[:3, axis] * (size - 1)
                affine[:3, axis] *= -1
        return affine

    def flipped(self, array: Array) -> Array:
        """A ``(…, i, j, k)`` array with its last three axes reversed as `flips` says."""
        return np.ascontiguousarray(np.flip(array, tuple(axis - 3 for axis in range(3) if self.flips[axis])))


def turn(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    """Rotate coordinates (from x towards y)."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return x * c - y * s, x * s + y * c


def random_rotation(rng: np.random.Generator) -> Array:
    """A rotation matrix, uniform over all orientations."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


@dataclass(frozen=True, eq=False)
class CineSample:
    """What a scanner and a perfect reader would give, and what is true.

    Attributes
    ----------
    heart : CineHeart
    geometry : Geometry
    sequence : image.Sequence
        int16 frames.
    labels : numpy.ndarray
        ``(t, i, j, k)`` uint8 on the same grid: 1 LV cavity, 2 LV myocardium, 3 RV cavity.
    truth : Volumes
        Exact volumes per frame in mL, each ``(t,)``.
    measurements : dict
        Exact measurements with ED and ES as the extremes of the LV over these frames.
    """

    heart: CineHeart
    geometry: Geometry
    sequence: image.Sequence
    labels: Array
    truth: Volumes

    @property
    def measurements(self) -> dict[str, float]:
        ed, es = self.ed_frame, self.es_frame
        return measurements_of(
            Volumes(*(v[ed] for v in self.truth)), Volumes(*(v[es] for v in self.truth)), self.heart.rr_ms
        )

    @property
    def ed_frame(self) -> int:
        return int(np.argmax(self.truth.lv_ml))

    @property
    def es_frame(self) -> int:
        return int(np.argmin(self.truth.lv_ml))

    def label_volumes(self) -> Volumes:
        """Volumes in mL per frame as counted in the labels."""
        voxel = self.sequence.voxel_ml
        return Volumes(*(np.count_nonzero(self.labels == value, axis=(1, 2, 3)) * voxel for value in LABELS))

    def frames(self) -> Array:
        """All frames, ``(t, i, j, k)`` int16."""
        return np.stack([self.sequence.frame(t) for t in range(self.sequence.n_frames)])

    def write_nifti(self, path: str | Path, labels_path: str | Path | None = None) -> None:
        """The frames as one 4-D NIfTI file; the labels as another on request."""
        step = self.heart.rr_ms / self.sequence.n_frames
        for target, array in ((path, None), (labels_path, self.labels)):
            if target is not None:
                with replacing(target) as beside:
                    image.write_nifti(beside, self.frames() if array is None else array, self.sequence.affine, step)

    def write_dicom(self, folder: str | Path, style: str = "siemens", **header: Any) -> None:
        """The frames as DICOM; `header` goes to `CardioPrecisionLib.phantom.dicom_cine.write_cine_dicom`."""
        from .dicom_cine import write_cine_dicom

        write_cine_dicom(
            Path(folder),
            self.frames(),
            self.sequence.affine,
            style=style,  # type: ignore[arg-type]
            **{
                "times_ms": self.sequence.times_ms,
                "rr_ms": self.heart.rr_ms,
                "patient_id": "PHANTOM-1",
                "thickness_mm": self.geometry.thickness_mm,
                **header,
            },
        )


def label_frames(heart: CineHeart, geometry: Geometry, phases: Array) -> Array:
    """Labels ``(t, i, j, k)``: on each slice the outline that encloses the structure's mean area within the slab.

    A slab (slice and gap) is labelled if its middle lies below the base plane, as a reader does who draws a basal
    slice when at least half of it is ventricle. Within it, as many voxels are taken as the mean area asks for, from
    the inside out. Plain sampling at voxel centres gives the same outlines to within a fraction of a pixel, but its
    counts carry the noise of the pixel grid and of the sloping wall (0.2 to 0.5 % per volume); these carry only what
    the slices themselves do to the base.
    """
    x, y = geometry.in_heart(*geometry.plane())
    levels = geometry.levels(heart)
    labels = np.zeros((len(phases), *geometry.matrix, len(levels)), np.uint8)
    rows, columns = heart_box(heart, geometry)
    bx, by = x[rows, columns][..., None], y[rows, columns][..., None]
    u, v = heart.unit_frame(bx, by, levels)
    f, _ = heart.rv_angular(u, v, levels)
    pixel = geometry.pixel_mm[0] * geometry.pixel_mm[1]
    known: dict[tuple[float, float], int] = {}
    for t, phase in enumerate(phases):
        state = heart.state(float(phase))
        if state in known:  # the heart rests during isovolumic phases and diastasis
            labels[t] = labels[known[state]]
            continue
        known[state] = t
        endo, epi, rv = heart.slab_areas(float(phase), levels, geometry.spacing_mm)
        r2 = u * u + v * v
        shift_u, shift_v = heart.endo_shift(endo, epi)
        in_endo = _innermost((u - shift_u) ** 2 + (v - shift_v) ** 2, endo / pixel)
        in_epi = _innermost(np.where(in_endo, 0, r2), epi / pixel)
        beyond = np.where(in_epi | (f <= 0), np.inf, (r2 - epi / np.pi) / np.maximum(f, 1e-9))
        in_rv = _innermost(beyond, rv / pixel)
        labels[t, rows, columns] = np.where(in_endo, 1, np.where(in_epi, 2, np.where(in_rv, 3, 0)))
    return geometry.flipped(labels)


def _innermost(order: Array, count: Array) -> Array:
    """Per slice ``k`` the ``round(count[k])`` pixels with the smallest `order` ``(i, j, k)``, as a mask."""
    mask = np.zeros(order.shape, bool)
    for k, n in enumerate(np.rint(count).astype(int)):
        if n > 0:
            flat = order[..., k].ravel()
            chosen = np.argpartition(flat, min(n, flat.size) - 1)[:n]
            i, j = np.unravel_index(chosen, order.shape[:2])
            mask[i, j, k] = True
    return mask


def heart_box(heart: CineHeart, geometry: Geometry, margin_mm: float = 20.0) -> tuple[slice, slice]:
    """The pixels that the heart may reach at any phase (i, j slices)."""
    from math import pi, sqrt

    s = heart.shape(heart.ed_phase)
    lean = float(np.hypot(heart.lean_x_mm, heart.lean_y_mm))
    narrowest = radians(heart.rv_inferior_deg + heart.rv_anterior_deg) / 2 * 0.75
    # areas grow by up to 1.6 below the base
    stretch = max(heart.ellipticity, 1 / heart.ellipticity)
    reach = sqrt(1.6 * (s.epi_area / pi + s.rv_area / narrowest)) * stretch + lean + margin_mm
    x, y = geometry.in_heart(*geometry.plane())
    near = np.hypot(x, y) < reach
    if not near.any():
        raise InputError("phantom: the heart lies outside the image; check heart_shift_mm and matrix")
    i, j = np.nonzero(near.any(1))[0], np.nonzero(near.any(0))[0]
    return slice(int(i[0]), int(i[-1]) + 1), slice(int(j[0]), int(j[-1]) + 1)


def sample(
    heart: CineHeart,
    geometry: Geometry,
    n_frames: int = 20,
    *,
    seed: int = 0,
    noise: float = 0.035,
    blur_mm: float = 0.9,
    coil: float = 1.0,
    blood: float = 620.0,
    images: bool = True,
) -> CineSample:
    """Image and label a heart.

    Parameters
    ----------
    heart : CineHeart
    geometry : Geometry
    n_frames : int
        Equally spaced over one cycle.
    seed : int
        Of anatomy around the heart, texture and noise.
    noise : float
        Standard deviation in each channel over the signal of blood.
    blur_mm : float
        Standard deviation of the in-plane point spread.
    coil : float
        Strength of the surface coil's fall-off; 0 for an even image.
    blood : float
        Stored value of blood.
    images : bool
        False gives empty frames, for tests of labels only.

    Returns
    -------
    CineSample
    """
    if not 1 <= n_frames <= 200:
        raise InputError("phantom: n_frames must lie between 1 and 200")
    if noise < 0 or blur_mm < 0 or coil < 0 or not 10 <= blood <= 5000:
        raise InputError("phantom: noise, blur_mm and coil must not be negative, and blood lies between 10 and 5000")
    phases = np.arange(n_frames) / n_frames
    labels = label_frames(heart, geometry, phases)
    if images:
        from .painting import paint

        frames = geometry.flipped(
            paint(heart, geometry, phases, seed=seed, noise=noise, blur_mm=blur_mm, coil=coil, blood=blood)
        )
    else:
        frames = np.zeros(labels.shape, np.int16)
    sequence = image.Sequence.from_array(
        frames,
        geometry.affine(heart),
        times_ms=phases * heart.rr_ms,
        rr_ms=heart.rr_ms,
        full_cycle=True,
        thickness_mm=geometry.thickness_mm,
        modality="MR",
        source="phantom",
        details={"manufacturer": "CardioPrecision"},
    )
    return CineSample(heart, geometry, sequence, labels, Volumes(*(np.asarray(v) for v in heart.truth(phases))))
