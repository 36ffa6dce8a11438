"""A bundle's ``inference.yaml`` runs this: one file in, labels out, through the same engine as everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CardioPrecisionError, InputError
from ..image import Sequence, is_image_file, read_frames, write_nifti
from ..replacing import replacing
from .engine import Segmentation, SliceEngine
from .registry import SHIPPED, open_bundle


def segment_file(
    bundle_root: str | Path,
    input: str | Path,
    output: str | Path,
    device: str = "auto",
    precision: str = "auto",
    tta: int = 1,
    **more: Any,
) -> Segmentation:
    """Segment a 3-D or 4-D image file and write the labels as NIfTI on its grid, all or nothing.

    A config that calls this is running already, so its bundle is treated as trusted.

    Raises
    ------
    SystemExit
        With the one line that a user can act on.
    """
    try:
        return _segment_file(Path(bundle_root), Path(input), Path(output), device, precision, int(tta), **more)
    except CardioPrecisionError as error:
        raise SystemExit(str(error)) from None


def _segment_file(
    root: Path, source: Path, target: Path, device: str, precision: str, tta: int, **more: Any
) -> Segmentation:
    if not target.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{target}: the labels are written as NIfTI; give a name that ends in .nii or .nii.gz.")
    if not is_image_file(source):
        raise InputError(f"{source}: an image file (NIfTI, NRRD, MetaImage) is needed.")
    array, affine, _ = read_frames(source)
    sequence = Sequence.from_array(array, affine, source=source.name)
    engine = SliceEngine(open_bundle(root, SHIPPED), device=device, precision=precision, **more)
    found = engine.segment(sequence, tta=tta)
    with replacing(target) as beside:
        write_nifti(beside, found.labels if len(found.labels) > 1 else found.labels[0], affine)
    return found
