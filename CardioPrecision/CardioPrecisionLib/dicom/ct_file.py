"""A CT volume out of a NIfTI, NRRD or MetaImage file: no header facts, geometry and values from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..image import Array, Image, read_frames, spacing_of, usable_affine
from .ct_acquisition import CTAcquisition, CTVolume
from .ct_series import MIN_SLICES
from .ct_values import AIR_HU, value_findings
from .findings import Finding

#: An axis whose voxels are this much longer than those of the others is the slice axis.
_COARSER = 1.5


def load_ct_file(path: str | Path) -> CTVolume:
    """Read a CT volume from an image file.

    Returns
    -------
    CTVolume
        The image's axes are those of the file, moved around where needed so that ``k`` runs across the slices (see
        `slices_last`); `details` ``["axes"]`` says how.

    Raises
    ------
    InputError
        The file cannot be read, is no single 3-D volume of scalars, has fewer than three slices, no usable geometry,
        or one value throughout.
    """
    path = Path(path)
    array, affine, _ = read_frames(path)
    if array.dtype.fields is not None or array.dtype.kind not in "biuf":
        raise InputError(f"{path}: this is a colour or complex image; a CT volume has one number per voxel.")
    if array.shape[0] != 1:
        raise InputError(
            f"{path}: this file holds {array.shape[0]} frames or components per voxel; give one 3-D CT volume."
        )
    try:
        image = Image(array[0], usable_affine(affine))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return ct_of_image(image, str(path), path.name.split(".")[0])


def ct_of_image(image: Image, name: str, source: str = "", *, move_axes: bool = True) -> CTVolume:
    """A CT volume out of an image that is in memory, judged as one from a file.

    Parameters
    ----------
    image : Image
    name : str
        What messages call it.
    source : str
    move_axes : bool
        Put the slice axis last; otherwise the grid stays as it is.

    Raises
    ------
    InputError
        As `load_ct_file`.
    """
    if min(image.shape) < MIN_SLICES:
        size = " x ".join(map(str, image.shape))
        raise InputError(f"{name}: a volume of {size} voxels has too few slices; at least {MIN_SLICES} are needed.")
    axes = slice_axes(image) if move_axes else (0, 1, 2)
    values, findings, unusable = _as_hu(image.array, name)
    image = _permuted(Image(values, image.affine), axes)
    findings += _geometry_findings(image, axes)
    wrong, reason = value_findings(image.array)
    findings += wrong
    unusable = unusable or reason
    details: dict[str, Any] = {"slices": image.shape[2], "missing_slices": [], "axes": list(axes)}
    return CTVolume(
        image,
        CTAcquisition(increment_mm=_increment(image.affine)),
        findings=findings,
        usable=unusable is None,
        unusable_reason=unusable,
        source=source,
        details=details,
    )


# -- axes --------------------------------------------------------------------------------------------------------------
def slice_axes(image: Image) -> tuple[int, int, int]:
    """The order of axes in which the last one runs across the CT slices.

    The axis with clearly the longest voxels, or else the one closest to head-feet; the other two keep their order.
    """
    order = np.argsort(image.spacing)
    if image.spacing[order[2]] > _COARSER * image.spacing[order[1]]:
        last = int(order[2])
    else:
        last = int(np.abs(image.affine[2, :3] / image.spacing).argmax())
    first, second = (axis for axis in range(3) if axis != last)
    return first, second, last


def slices_last(image: Image) -> Image:
    """The image as a view with ``k`` across the slices, as `load_ct_file` gives it; for labels on the same grid."""
    return _permuted(image, slice_axes(image))


def _permuted(image: Image, axes: tuple[int, int, int]) -> Image:
    affine = image.affine.copy()
    affine[:3, :3] = image.affine[:3, list(axes)]
    return Image(image.array.transpose(axes), affine)


def _increment(affine: Array) -> float:
    """Distance of neighbouring slices along their normal."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return float(abs(affine[:3, 2] @ normal) / np.linalg.norm(normal))


def _geometry_findings(image: Image, axes: tuple[int, int, int]) -> list[Finding]:
    findings = []
    spacing = spacing_of(image.affine)
    if axes != (0, 1, 2):
        findings.append(
            Finding(
                "info", "axes_moved", f"Slices run along axis {axes[2] + 1} of the file; its axes were moved around."
            )
        )
    if np.array_equal(image.affine[:3, :3], np.eye(3)):
        findings.append(
            Finding(
                "warning",
                "geometry_default",
                "The file gives voxels of 1 x 1 x 1 mm and no orientation; its geometry may have been lost, and every "
                "area and volume with it.",
            )
        )
    elif spacing.max() > 12.0 or spacing.min() < 0.05:
        size = " x ".join(f"{x:.3g}" for x in spacing)
        findings.append(
            Finding("warning", "spacing_odd", f"Voxels of {size} mm are unusual for CT; check the file's geometry.")
        )
    return findings


# -- values ------------------------------------------------------------------------------------------------------------
def _as_hu(array: Array, path: str) -> tuple[Array, list[Finding], str | None]:
    """Values clipped at -1024; int16 where all are whole numbers that fit, else float32."""
    if array.dtype.kind == "b" or array.min() == array.max():
        only = "0 and 1" if array.dtype.kind == "b" else f"{float(array.flat[0]):g}"
        raise InputError(f"{path}: the voxels hold only {only}; this is no CT volume.")
    findings: list[Finding] = []
    unusable = None
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            if bad.all():
                raise InputError(f"{path}: no voxel holds a number; this is no CT volume.")
            finding, unusable = _not_finite(bad)
            findings.append(finding)
            array = np.where(bad, array.dtype.type(AIR_HU), array)
        array = np.maximum(array, array.dtype.type(AIR_HU))
        if array.max() <= 32767 and not np.any(array != np.rint(array)):
            return array.astype(np.int16), findings, unusable
        return array.astype(np.float32, copy=False), findings, unusable
    if array.dtype.itemsize == 1 or array.dtype == np.int16:
        low = int(array.min()) < AIR_HU
        return (np.maximum(array, np.int16(AIR_HU)) if low else array), findings, unusable
    clipped = np.maximum(array, AIR_HU) if array.dtype.kind == "i" else array
    kind = np.int16 if int(clipped.max()) <= 32767 else np.float32
    return clipped.astype(kind), findings, unusable


def _not_finite(bad: Array) -> tuple[Finding, str | None]:
    """Fill outside of the field of view is harmless; voxels without a number in the middle are not."""
    n = int(bad.sum())
    middle = tuple(slice(size // 4, size - size // 4) for size in bad.shape[:2])
    if bad[middle].any():
        text = f"{n} voxels hold no number (NaN or infinite), some of them in the middle of the picture."
        return Finding("error", "not_finite", text, n), text
    return Finding(
        "warning", "not_finite", f"{n} voxels at the border hold no number and were set to {AIR_HU} HU.", n
    ), None
