"""Arrays with geometry: an Image in RAS millimetres, and a Sequence of frames on one grid.

``array[i, j, k]`` and ``affine @ (i, j, k, 1)`` is a point in RAS mm, as in nibabel and MONAI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Array = NDArray[Any]
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def spacing_of(affine: Array) -> Array:
    """Voxel spacing in mm along i, j, k."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def voxel_ml_of(affine: Array) -> float:
    """Volume of one voxel in mL."""
    return float(abs(np.linalg.det(affine[:3, :3])) / 1000.0)


def usable_affine(affine: Array) -> Array:
    """The affine as float64; an `InputError` where it is not a finite, invertible ``(4, 4)`` matrix."""
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("The image has no usable geometry (its voxel-to-world matrix is singular or not finite).")
    return affine


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar or label volume.

    Attributes
    ----------
    array : numpy.ndarray
        ``(i, j, k)`` in the stored type.
    affine : numpy.ndarray
        ``(4, 4)`` float64, voxel index to RAS mm.
    """

    array: Array
    affine: Array

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"an Image has three axes, not {self.array.ndim}")
        object.__setattr__(self, "affine", usable_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing(self) -> Array:
        return spacing_of(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL."""
        return voxel_ml_of(self.affine)

    def with_array(self, array: Array) -> Image:
        return replace(self, array=array)

    def to_world(self, index: Array) -> Array:
        """Voxel indices ``(n, 3)`` to RAS mm ``(n, 3)``."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world: Array) -> Array:
        """RAS mm ``(n, 3)`` to continuous voxel indices ``(n, 3)``."""
        return (np.asarray(world, float) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def crop(self, lower: tuple[int, int, int], upper: tuple[int, int, int]) -> Image:
        """The box ``lower <= index < upper`` (clipped to the image), as a view."""
        lo = np.maximum(lower, 0)
        hi = np.minimum(upper, self.shape)
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(lo[None])[0]
        return Image(self.array[lo[0] : hi[0], lo[1] : hi[1], lo[2] : hi[2]], affine)

    def resample(self, affine: Array, shape: tuple[int, int, int], order: int = 1, fill: float = 0.0) -> Image:
        """This image on another grid (order 0 for labels)."""
        from scipy.ndimage import affine_transform

        matrix = np.linalg.inv(self.affine) @ np.asarray(affine, float)
        # "constant" drops a label on the outermost voxel when rounding puts its index at -1e-16; "grid-constant" takes
        # the nearest voxel as far as the voxel reaches.
        mode = "grid-constant" if order == 0 else "constant"
        array = affine_transform(
            self.array, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=order, mode=mode, cval=fill
        )
        return Image(array, affine)

    def voxel_hash(self) -> str:
        return voxel_hash(self.array[None], self.affine)


def voxel_hash(frames: Any, affine: Array) -> str:
    """SHA-256 (first 16 hex digits) over geometry and voxels; the same for the same image from any file format.

    Values are hashed as float32 in (frame, i, j, k) order, so the stored type does not matter.
    """
    digest = hashlib.sha256()
    digest.update(np.round(np.asarray(affine, float), 3).__add__(0.0).astype("<f8").tobytes())
    for frame in frames:
        digest.update(np.asarray(frame.shape, "<i8").tobytes())
        digest.update(np.ascontiguousarray(frame, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Sequence:
    """Frames on one grid, loaded one at a time in their stored type.

    Attributes
    ----------
    load : callable
        ``load(t) -> (i, j, k) array``; a view or a fresh read, never to be written to.
    n_frames : int
    shape : tuple of int
        ``(i, j, k)``.
    affine : numpy.ndarray
        ``(4, 4)``, index to RAS mm.
    times_ms : numpy.ndarray or None
        ``(n_frames,)`` or ``(n_frames, k)`` trigger times in ms; None where the file does not say.
    rr_ms : float or None
        RR interval of the cycle that the frames span, where known (median over slices).
    full_cycle : bool
        Whether the frames cover the whole cardiac cycle.
    thickness_mm : float or None
        Slice thickness where it differs from the slice distance (gap or overlap) and is known.
    modality : str
        DICOM modality, "" where unknown.
    source : str
        Series UID(s) or file name stem for the record.
    details : mapping
        Anything else that a header said and a report may show (manufacturer, field strength, sequence name).
    """

    load: Callable[[int], Array]
    n_frames: int
    shape: tuple[int, int, int]
    affine: Array
    times_ms: Array | None = None
    rr_ms: float | None = None
    full_cycle: bool = False
    thickness_mm: float | None = None
    modality: str = ""
    source: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", usable_affine(self.affine))

    @classmethod
    def from_array(cls, array: Array, affine: Array, **more: Any) -> Sequence:
        """From a ``(t, i, j, k)`` array, which is kept, not copied."""
        return cls(lambda t: array[t], array.shape[0], array.shape[1:], affine, **more)  # type: ignore[arg-type]

    @property
    def spacing(self) -> Array:
        return spacing_of(self.affine)

    @property
    def voxel_ml(self) -> float:
        return voxel_ml_of(self.affine)

    def frame(self, t: int) -> Array:
        return self.load(t)

    def image(self, t: int) -> Image:
        return Image(self.load(t), self.affine)

    def __iter__(self) -> Iterator[Array]:
        return (self.load(t) for t in range(self.n_frames))

    def frame_time_ms(self) -> Array | None:
        """One time per frame ``(n_frames,)``: the median over slices; None where unknown."""
        if self.times_ms is None:
            return None
        times = np.asarray(self.times_ms, float)
        return times if times.ndim == 1 else np.median(times, axis=1)

    def voxel_hash(self) -> str:
        return voxel_hash(self, self.affine)


# -- files -------------------------------------------------------------------------------------------------------------
_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def is_image_file(path: Path) -> bool:
    return path.name.lower().endswith(_SUFFIXES)


def _affine_from_sitk(image: Any) -> Array:
    affine = np.eye(4)
    n = min(3, image.GetDimension())
    d = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(d, d)[:n, :n]
    affine[:n, :n] = direction * np.array(image.GetSpacing())[:n]
    affine[:n, 3] = np.array(image.GetOrigin())[:n]
    return _LPS_TO_RAS @ affine


def read_frames(path: str | Path) -> tuple[Array, Array, dict[str, str]]:
    """Read a 2-D to 4-D image file.

    Returns
    -------
    array : numpy.ndarray
        ``(t, i, j, k)`` in the stored type, a view of what was read.
    affine : numpy.ndarray
        ``(4, 4)`` index to RAS mm.
    header : dict
        Key/value pairs of the file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return _read_nifti(path)
    return _read_itk(path)


def _unreadable(path: Path, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    detail = lines[-1].split("ITK ERROR: ")[-1].split("): ")[-1].replace(str(path), path.name)
    return InputError(f"{path}: this file cannot be read as an image ({detail[:160]}).")


def _read_nifti(path: Path) -> tuple[Array, Array, dict[str, str]]:
    """NIfTI by nibabel: ITK's reader turns NaN into 0 without a word."""
    import nibabel as nib

    try:
        image = nib.load(path)
        slope, inter = image.dataobj.slope, image.dataobj.inter  # type: ignore[attr-defined]
        stored = image.dataobj.get_unscaled() if (slope, inter) == (1.0, 0.0) else None  # type: ignore[attr-defined]
        array = np.asarray(image.dataobj, np.float32) if stored is None else np.asarray(stored)  # type: ignore[attr-defined]
    except Exception as error:  # nibabel, zlib and the file system each have their own
        raise _unreadable(path, error) from None
    if array.dtype.byteorder not in ("=", "|", "<" if np.little_endian else ">"):
        array = array.astype(array.dtype.newbyteorder("="))
    while array.ndim > 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim > 4:
        raise InputError(f"{path}: {array.ndim} axes; at most three in space and one in time can be used.")
    array = array.reshape(array.shape + (1,) * (4 - array.ndim))
    header = image.header
    pairs = {f"pixdim[{n}]": str(float(v)) for n, v in enumerate(header["pixdim"])}  # type: ignore[index]
    pairs["xyzt_units"] = str(int(header["xyzt_units"]))  # type: ignore[index]
    return np.moveaxis(array, 3, 0), np.asarray(image.affine, float), pairs  # type: ignore[attr-defined]


def _read_itk(path: Path) -> tuple[Array, Array, dict[str, str]]:
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    header = {k: image.GetMetaData(k) for k in image.GetMetaDataKeys()}
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        # Slicer writes sequences as NRRD with the list axis first, which ITK reads as components.
        if image.GetDimension() != 3:
            raise InputError(
                f"{path}: {image.GetNumberOfComponentsPerPixel()} components per voxel in "
                f"{image.GetDimension()}-D; a sequence has one component and three axes in space."
            )
        array = np.moveaxis(array, -1, 0)
    if image.GetDimension() == 2:
        array = array[None]
    while array.ndim < 4:
        array = array[None]
    if array.ndim > 4:
        raise InputError(f"{path}: {array.ndim} axes; at most three in space and one in time can be used.")
    return array.transpose(0, 3, 2, 1), _affine_from_sitk(image), header


def read_image(path: str | Path) -> Image:
    """Read a 3-D image file."""
    array, affine, _ = read_frames(path)
    if array.shape[0] != 1:
        raise InputError(f"{path}: a single 3-D image is needed here; this file holds {array.shape[0]} frames.")
    return Image(array[0], affine)


def write_nifti(path: str | Path, array: Array, affine: Array, frame_ms: float | None = None) -> None:
    """Write ``(i, j, k)`` or ``(t, i, j, k)`` as NIfTI-1 with the same affine in sform and qform."""
    import nibabel as nib

    data = np.moveaxis(array, 0, 3) if array.ndim == 4 else array
    image = nib.Nifti1Image(data, affine)  # type: ignore[no-untyped-call]
    image.set_sform(affine, 1)  # type: ignore[no-untyped-call]
    try:
        image.set_qform(affine, 1)  # type: ignore[no-untyped-call]
    except Exception:  # a sheared affine has no quaternion; the sform stands
        image.header["qform_code"] = 0
    image.header.set_xyzt_units("mm", "msec" if array.ndim == 4 else None)
    if array.ndim == 4 and frame_ms:
        zooms = list(image.header.get_zooms())
        zooms[3] = frame_ms
        image.header.set_zooms(zooms)
    nib.save(image, str(path))
