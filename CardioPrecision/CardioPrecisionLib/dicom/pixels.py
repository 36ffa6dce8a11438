"""Decode planes on demand, each once, and keep the stored integers (never a float copy of the series)."""

from __future__ import annotations

import threading
from collections.abc import Sequence as Sequential
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from ..errors import InputError
from ..image import Array
from .planes import Plane, Stored
from .values import tolerant

# What the GDCM inside SimpleITK can decode where pydicom has no plug-in: JPEG, JPEG lossless, JPEG-LS, JPEG 2000.
_BY_ITK = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91))

#: Where a slice of the grid comes from: the column of planes below and above and the weight of the one above.
Blend = tuple[int, int, float]


def is_native(syntax: str) -> bool:
    uid = UID(syntax)
    return not uid.is_private and uid.is_transfer_syntax and not uid.is_encapsulated


def _decoder_available(syntax: str) -> bool:
    try:
        return bool(get_decoder(UID(syntax)).is_available)
    except NotImplementedError:
        return False


def check_decodable(planes: Sequential[Plane]) -> None:
    """Raises `InputError` naming the transfer syntax that nothing installed can decode."""
    for syntax in sorted({p.stored.syntax for p in planes}):
        if not (is_native(syntax) or syntax in _BY_ITK or _decoder_available(syntax)):
            name = UID(syntax).name
            raise InputError(
                f"The images are stored in a transfer syntax that cannot be decoded here: {name} "
                f"({syntax}); convert them to Explicit VR Little Endian first."
            )


def stored_type(planes: Sequential[Plane]) -> np.dtype[Any]:
    """The smallest integer type that holds the stored pixels of all planes."""
    kinds = {(p.stored.bits_allocated, p.stored.signed) for p in planes}
    types = []
    for bits, signed in kinds:
        if bits not in (8, 16, 32):
            raise InputError(f"The images have {bits} bits per pixel; 8, 16 or 32 can be read.")
        types.append(np.dtype(f"{'i' if signed else 'u'}{bits // 8}"))
    wide = np.result_type(*types)
    if len(types) > 1 and max(p.stored.bits_stored for p in planes if not p.stored.signed) < 16:
        return np.dtype(np.int16)  # unsigned 12-bit beside signed 16-bit fits
    return wide


class PlaneStore:
    """A grid of planes, ``planes[k][t]``, read as frames ``(i, j, k)``.

    Parameters
    ----------
    planes : sequence of sequence of Plane
        For every acquired slice its planes in time order; all of one size.
    blends : sequence of (int, int, float)
        For every slice of the frames the two acquired slices it comes from and the weight of the second: an acquired
        slice has weight 0; a missing one is interpolated.
    """

    def __init__(self, planes: Sequential[Sequential[Plane]], blends: Sequential[Blend]):
        flat = [p for column in planes for p in column]
        self.planes = [list(column) for column in planes]
        self.blends = list(blends)
        self.dtype = stored_type(flat)
        self.rescale = len({(p.slope, p.intercept) for p in flat}) > 1
        self._plain = self.blends == [(k, k, 0.0) for k in range(len(self.planes))]
        self._rows, self._cols = flat[0].rows, flat[0].cols
        self._n_frames = len(self.planes[0])
        self._pixels: Array | None = None
        self._ready = np.zeros(self._n_frames, bool)
        self._lock = threading.Lock()
        self._open: dict[Path, Any] = {}  # multi-frame files that need a decoder, until every frame is there

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._cols, self._rows, len(self.blends)

    def frame(self, t: int) -> Array:
        """Frame `t` as ``(i, j, k)``, read-only.

        A view of the stored integers; a fresh array of the same type where a slice is interpolated, and of float32
        where slices differ in rescaling.
        """
        with self._lock:
            if self._pixels is None:
                # (t, slice, row, column), so that a frame transposes to (i, j, k) without a copy.
                self._pixels = np.zeros((self._n_frames, len(self.planes), self._rows, self._cols), self.dtype)
            if not self._ready[t]:
                for column, planes in enumerate(self.planes):
                    self._pixels[t, column] = self.decode(planes[t])
                self._ready[t] = True
                if self._ready.all():
                    self._open.clear()
        frame = self._on_grid(t, self._pixels[t])
        view = frame.transpose(2, 1, 0)
        view.flags.writeable = False
        return view

    def _on_grid(self, t: int, acquired: Array) -> Array:
        if self.rescale:
            line = np.array([(c[t].slope, c[t].intercept) for c in self.planes], np.float32)
            acquired = acquired * line[:, 0, None, None] + line[:, 1, None, None]
        if self._plain:
            return acquired
        out = np.empty((len(self.blends), self._rows, self._cols), acquired.dtype)
        for k, (low, high, weight) in enumerate(self.blends):
            if weight == 0.0:
                out[k] = acquired[low]
            else:
                mixed = acquired[low] * np.float32(1.0 - weight) + acquired[high] * np.float32(weight)
                out[k] = mixed if self.rescale else np.rint(mixed)
        return out

    def decode(self, plane: Plane) -> Array:
        """Stored integers of one plane, ``(rows, cols)``; an `InputError` that names the file where it is damaged."""
        stored = plane.stored
        try:
            if stored.offset is not None and stored.bits_allocated in (8, 16) and stored.samples == 1:
                pixels = _read_native(plane)
            else:
                pixels = self._decode_slowly(plane)
        except InputError:
            raise
        except Exception as error:  # a damaged code stream raises whatever its decoder raises
            raise InputError(
                f"{stored.file.name}: the image cannot be decoded ({type(error).__name__}, "
                f"{UID(stored.syntax).name}); remove the file or send it again."
            ) from None
        if pixels.shape != (plane.rows, plane.cols):
            raise InputError(
                f"{stored.file.name}: the image is {pixels.shape}, its header says "
                f"{(plane.rows, plane.cols)}; remove the file or send it again."
            )
        return pixels

    def _decode_slowly(self, plane: Plane) -> Array:
        """Compressed or unusual files: pydicom's decoders first, then the GDCM inside SimpleITK."""
        stored = plane.stored
        by_itk = isinstance(self._open.get(stored.file), np.ndarray)
        if not by_itk and (is_native(stored.syntax) or _decoder_available(stored.syntax)):
            from pydicom.pixels import pixel_array

            with tolerant():
                index = plane.frame if stored.n_frames > 1 else None
                try:
                    return np.asarray(pixel_array(self._dataset(stored), index=index, raw=True))
                except Exception:
                    if stored.syntax not in _BY_ITK:
                        raise
        if stored.syntax not in _BY_ITK:
            check_decodable([plane])
        volume = self._volume_by_itk(plane)
        return volume[plane.frame] if volume.ndim == 3 else volume

    def _dataset(self, stored: Stored) -> FileDataset:
        """Multi-frame files stay open, so that their header is parsed once."""
        if stored.n_frames == 1:
            return dcmread(stored.file, force=True)
        if stored.file not in self._open:
            self._open[stored.file] = dcmread(stored.file, force=True)
        return self._open[stored.file]  # type: ignore[no-any-return]

    def _volume_by_itk(self, plane: Plane) -> Array:
        import SimpleITK as sitk

        stored = plane.stored
        if isinstance(self._open.get(stored.file), np.ndarray):
            return self._open[stored.file]  # type: ignore[no-any-return]
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(stored.file), imageIO="GDCMImageIO"))
        if (plane.slope, plane.intercept) != (1.0, 0.0):  # ITK has rescaled; the store keeps stored integers
            array = np.rint((array - plane.intercept) / plane.slope)
        array = array.astype(self.dtype)
        if stored.n_frames == 1:
            return array.reshape(array.shape[-2:])
        self._open[stored.file] = array
        return array


def _read_native(plane: Plane) -> Array:
    """Uncompressed little-endian pixels straight from their place in the file."""
    stored = plane.stored
    count = plane.rows * plane.cols
    size = stored.bits_allocated // 8
    dtype = np.dtype(f"<{'i' if stored.signed else 'u'}{size}")
    offset = (stored.offset or 0) + plane.frame * count * size
    try:
        pixels = np.fromfile(stored.file, dtype, count, offset=offset)
    except OSError as error:
        raise InputError(f"{stored.file.name}: the file can no longer be read ({error.strerror}).") from None
    if pixels.size < count:
        raise InputError(f"{stored.file.name}: the file is cut off; remove it or send it again.")
    unused = stored.bits_allocated - stored.bits_stored
    if unused > 0 and not (plane.modality == "CT" and _uses_whole_word(pixels, stored)):
        # Bits above BitsStored may hold overlays; shifting there and back clears them and keeps the sign.
        pixels = (pixels << unused) >> unused
    return pixels.reshape(plane.rows, plane.cols)


def _uses_whole_word(pixels: Array, stored: Stored) -> bool:
    """Whether values run a little beyond BitsStored and no overlay can be the reason.

    CT of bone and metal goes beyond the 12 bits that some headers promise; cutting the bits off would wrap it to air.
    """
    low, high = stored_range(stored, stored.bits_stored)
    least, most = int(pixels.min()), int(pixels.max())
    if stored.overlay_bits or (low <= least and most <= high):
        return False
    widest = stored_range(stored, min(stored.bits_stored + 2, stored.bits_allocated))
    return widest[0] <= least and most <= widest[1]


def stored_range(stored: Stored, bits: int) -> tuple[int, int]:
    """Least and greatest value of so many bits with the file's sign."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if stored.signed else (0, (1 << bits) - 1)
