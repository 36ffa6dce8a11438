"""The territory bundle's ``inference.yaml`` runs this: one CT file in, the class of every place out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from CardioPrecisionLib.errors import CardioPrecisionError
from CardioPrecisionLib.image import read_image, write_nifti
from CardioPrecisionLib.replacing import replacing

from .territory import coarse, find_territories


def territories_file(source: str | Path, target: str | Path, device: str = "auto", precision: str = "auto") -> None:
    """Write the most probable class on the coarse grid as NIfTI, all or nothing.

    Raises
    ------
    SystemExit
        With the one line that a user can act on.
    """
    try:
        found = find_territories(coarse(read_image(source)), device=device, precision=precision)
    except CardioPrecisionError as error:
        raise SystemExit(str(error)) from None
    with replacing(target) as beside:
        write_nifti(beside, found.probability.argmax(0).astype(np.uint8), found.affine)
