"""Stored CT values as Hounsfield units, and whether they can be Hounsfield units at all."""

from __future__ import annotations

from collections.abc import Sequence as Sequential

import numpy as np

from ..analysis import Progress
from ..image import Array
from .ct_layout import CTLayout
from .findings import Finding, plural
from .pixels import PlaneStore, check_decodable, stored_range
from .planes import Plane

#: Nothing lies below air; scanners fill what was not imaged with -1024, -2000 or -3024.
AIR_HU = -1024
_MOST_INT16 = 32767

# What a CT of a body shows, HU: modes of air and of soft tissue, and values that no large part of a body has.
_AIR_MODE = (-1060.0, -940.0)
_SOFT_MODE = (-150.0, 120.0)
_NO_TISSUE_ABOVE = 900.0
_BELOW_FAT = (-500.0, -220.0)
_LARGE_SHARE = 0.08
_PEAK_SHARE = 0.01
_CONTRAST = 300.0
_BIN = 10


def read_hu(layout: CTLayout, progress: Progress) -> tuple[Array, list[Finding]]:
    """Decode the planes of a layout into one volume of HU.

    Returns
    -------
    array : numpy.ndarray
        ``(i, j, k)`` int16 where every slope and intercept is a whole number, else float32; a view with slices
        contiguous. Missing slices hold -1024.
    findings : list of Finding

    Raises
    ------
    InputError
        An image is damaged or its transfer syntax cannot be decoded.
    """
    planes = layout.planes
    check_decodable(planes)
    store = PlaneStore([[p] for p in planes], [(k, k, 0.0) for k in range(len(planes))])
    whole = all(
        p.stored.bits_allocated <= 16 and x.is_integer() and abs(x) <= 16384
        for p in planes
        for x in (p.slope, p.intercept)
    )
    out = np.full((layout.n_slices, planes[0].rows, planes[0].cols), AIR_HU, np.int16 if whole else np.float32)
    as_signed = _wrongly_unsigned(planes, store)
    beyond = padded = 0
    for n, (plane, k) in enumerate(zip(planes, layout.places)):
        pixels = store.decode(plane)
        low, high = stored_range(plane.stored, plane.stored.bits_stored)
        beyond += int(pixels.max()) > high or int(pixels.min()) < low
        if as_signed:
            pixels = pixels.view(np.int16)
        hu: Array
        if whole:
            hu = pixels.astype(np.int32) * int(plane.slope) + int(plane.intercept)
        else:
            hu = pixels.astype(np.float32) * np.float32(plane.slope) + np.float32(plane.intercept)
        padded += _fill_padding(hu, pixels, plane)
        np.clip(hu, AIR_HU, _MOST_INT16 if whole else None, out=hu)
        out[k] = hu
        progress((n + 1) / len(planes), "Reading CT images")
    return out.transpose(2, 1, 0), _reading_findings(planes, beyond, as_signed, padded)


def _reading_findings(planes: Sequential[Plane], beyond: int, as_signed: bool, padded: int) -> list[Finding]:
    findings = []
    if beyond:
        findings.append(
            Finding(
                "warning",
                "bits_stored_wrong",
                f"{plural(beyond, 'image')} hold values beyond the bits that the header promises; whole pixel words "
                "were read.".replace("1 image hold", "1 image holds"),
                beyond,
            )
        )
    if as_signed:
        findings.append(
            Finding(
                "warning",
                "sign_mended",
                "The header calls the stored values unsigned, but they are negative numbers; they were read so.",
                len(planes),
            )
        )
    if padded:
        findings.append(
            Finding(
                "info",
                "padding",
                "Pixels outside of the reconstructed circle were set to -1024 HU.",
                padded,
            )
        )
    if len({(p.slope, p.intercept) for p in planes}) > 1:
        findings.append(
            Finding("info", "rescale_differs", "Rescale slope or intercept differs between images; it was applied.")
        )
    return findings


def _wrongly_unsigned(planes: Sequential[Plane], store: PlaneStore) -> bool:
    """Whether 16-bit words called unsigned are two's complement: many just below 65536, none in the wide gap below."""
    stored = planes[0].stored
    if stored.signed or stored.bits_allocated != 16 or any(p.stored.signed for p in planes):
        return False
    for plane in (planes[0], planes[len(planes) // 2], planes[-1]):
        pixels = store.decode(plane)
        negative = np.count_nonzero(pixels >= 0xF000)
        if negative > 0.001 * pixels.size and not np.count_nonzero((pixels >= 0x8000) & (pixels < 0xF000)):
            return True
    return False


def _fill_padding(hu: Array, pixels: Array, plane: Plane) -> bool:
    """Set padding to air, in place; True where that changed anything that clipping would not have.

    Padding that has the value of a tissue (0 HU in some files) is only taken as such outside of the circle that a
    scanner reconstructs.
    """
    padding = plane.ct.padding if plane.ct else None
    if padding is None:
        return False
    # US or SS, whichever the writer took: compared as 16-bit words.
    first, last = sorted(padding)
    bits = pixels.dtype.itemsize * 8
    if first == last:
        mask = pixels.view(f"u{pixels.dtype.itemsize}") == (first & ((1 << bits) - 1))
    else:
        mask = (pixels >= first) & (pixels <= last)
    if not mask.any():
        return False
    value = float(hu[mask].max())
    if value <= AIR_HU:
        return False
    if AIR_HU < value <= 3071:
        rows, cols = hu.shape
        y, x = np.ogrid[:rows, :cols]
        circle = ((y - (rows - 1) / 2) / (rows / 2)) ** 2 + ((x - (cols - 1) / 2) / (cols / 2)) ** 2
        mask &= circle > 1.0
    hu[mask] = AIR_HU
    return bool(mask.any())


# -- are these Hounsfield units ----------------------------------------------------------------------------------------
def uncalibrated_reason(array: Array, rescale_type: str = "") -> str | None:
    """Why values cannot be Hounsfield units; None where they can.

    Parameters
    ----------
    array : numpy.ndarray
        ``(i, j, k)``, clipped at -1024.
    rescale_type : str
        DICOM RescaleType; "" counts as HU.

    Notes
    -----
    By definition air is -1000 and water 0 HU. Judged are the mode of what is not air or lung (must lie between -150
    and 120, unless it is contrast-filled blood), the picture's border where it is uniform
    and dark (air: -1060 to -940), and whether a large share lies around one value above 900 (stored values whose
    offset of 1024 was lost) or between lung and fat. A shift by less than about 60 HU is not seen.
    """
    if rescale_type not in ("", "HU", "HU_MOD"):
        return f"the header says that the values are of type {rescale_type[:16]}, not Hounsfield units (HU)"
    step = max(1, int(np.cbrt(array.size / 2e6)))
    values = np.asarray(array[::step, ::step, ::step])
    low, high = float(values.min()), float(values.max())
    if low == high:
        return f"every voxel has the value {low:g}"
    if high - low < 50:
        return f"the values only range from {low:g} to {high:g}"
    if array.dtype.itemsize == 1 or (low == 0 and high == 255):
        return "the values are grey levels from 0 to 255"
    body = values[values > AIR_HU]
    if not body.size:
        return None
    counts = np.bincount(((np.minimum(body, 4000) - AIR_HU) // _BIN).astype(np.int64), minlength=504)
    smooth = np.convolve(counts, np.ones(7), "same") / body.size  # the share within 35 HU
    centres = AIR_HU + _BIN * (np.arange(smooth.size) + 0.5)
    nothing = smooth * ((centres > _NO_TISSUE_ABOVE) | ((centres > _BELOW_FAT[0]) & (centres < _BELOW_FAT[1])))
    if nothing.max() > _LARGE_SHARE:
        return f"{nothing.max():.0%} of the picture lie around {centres[nothing.argmax()]:.0f}, which no tissue does"
    tissue = smooth * (centres > -300)
    share = counts[centres > -300].sum() / body.size
    mode = float(centres[tissue.argmax()])
    in_range = _SOFT_MODE[0] <= mode <= _SOFT_MODE[1]
    if share > 0.05 and not in_range and not _is_contrast(mode, tissue, centres):
        return f"soft tissue lies around {mode:.0f} instead of between {_SOFT_MODE[0]:.0f} and {_SOFT_MODE[1]:.0f}"
    return _wrong_air(array, step, smooth, centres)


def _is_contrast(mode: float, tissue: Array, centres: Array) -> bool:
    """Whether contrast-filled blood is the commonest value of a heart: far above tissue, or beside fat or muscle."""
    if not 0 < mode < _CONTRAST:
        return mode > 0
    inside = np.flatnonzero((centres >= _SOFT_MODE[0]) & (centres <= 90))
    best = int(inside[tissue[inside].argmax()])
    return inside[0] < best < inside[-1] and bool(tissue[best] > _PEAK_SHARE)


def _wrong_air(array: Array, step: int, smooth: Array, centres: Array) -> str | None:
    """Judged at the middle of the four borders, where padding is rare, and only where they show one value."""
    ni, nj = array.shape[:2]
    i, j = slice(ni // 4, -(ni // 4) or None), slice(nj // 4, -(nj // 4) or None)
    edge = max(1, min(ni, nj) // 32)
    parts = [array[:edge, j], array[-edge:, j], array[i, :edge], array[i, -edge:]]
    border = np.concatenate([np.asarray(p[..., ::step]).ravel() for p in parts])
    border = border[border > AIR_HU]
    if border.size < 100:
        return None
    middle = float(np.median(border))
    uniform = float(np.mean(np.abs(border - middle) <= 50))
    if uniform < 0.75 or middle > -300 or smooth[centres > middle + 300].sum() == 0:
        return None
    if _AIR_MODE[0] <= middle <= _AIR_MODE[1]:
        return None
    return f"the air around the body lies at {middle:.0f} instead of between {_AIR_MODE[0]:.0f} and {_AIR_MODE[1]:.0f}"


def value_findings(array: Array, rescale_type: str = "") -> tuple[list[Finding], str | None]:
    """The finding ``uncalibrated_hu`` with its reason, or nothing."""
    reason = uncalibrated_reason(array, rescale_type)
    if reason is None:
        return [], None
    text = f"The values are no Hounsfield units: {reason}. Give the images as the scanner made them."
    return [Finding("error", "uncalibrated_hu", text)], text
