"""Coronary CT angiograms as an input: what is told, what is refused, and what voxels are too coarse for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.analysis import Loaded, Progress, silent
from CardioPrecisionLib.dicom.ct import CTVolume, load_ct, load_ct_file
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Image, is_image_file

from .course import PLAQUE_VOXEL_MM
from .ct_input import UNCALIBRATED

#: Thickest slice of the header with which lumen and plaque are measured; slices may overlap.
THICKEST_MM = 1.0


def load(path: str | Path, progress: Progress = silent) -> Loaded:
    """Read a coronary CT angiogram.

    Parameters
    ----------
    path : str or Path
        Folder that holds DICOM (of several volumes the one with contrast is taken), one DICOM file, or an image file
        in HU.
    progress : callable

    Raises
    ------
    InputError
        Nothing there can be used, the stack has gaps, or its values are no HU; the message says what was found.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    file = path.is_file() and is_image_file(path)
    volume = load_ct_file(path) if file else load_ct(path, progress, prefer="contrast")
    return loaded_from(volume, str(path))


def loaded_from(volume: CTVolume, name: str) -> Loaded:
    """A CT volume as the analysis takes it.

    Raises
    ------
    InputError
        The stack has gaps, holds voxels that are no numbers, or values that are no HU.
    """
    if not volume.usable:
        raise InputError(f"{name}: {volume.unusable_reason}")
    if volume.finding(UNCALIBRATED) is not None:
        raise InputError(f"{name}: the values are not Hounsfield units; give a CT in HU.")
    record = {
        "kind": "dicom" if volume.acquisition.series_uid else "file",
        "source": volume.source,
        "size": list(volume.image.shape),
        "acquisition": asdict(volume.acquisition),
        "details": dict(volume.details),
        "findings": [{"code": f.code, "severity": str(f.severity), "message": f.message} for f in volume.findings],
    }
    return Loaded(volume.image, volume.patient, _warnings(volume), record)


def _warnings(volume: CTVolume) -> list[str]:
    warnings = [f.message for f in volume.findings if f.severity == "warning"]
    a = volume.acquisition
    if a.sharp_kernel:
        warnings.append(
            f"The kernel {a.kernel} is sharp: noise and edge enhancement shift plaque's HU and blur its classes. A "
            "smooth or medium kernel is the standard."
        )
    if a.contrast is False:
        warnings.append(f"The header says that no contrast was given ({a.contrast_reason}); the pixels decide.")
    if a.gated is False:
        warnings.append("The scan was not synchronised to the heart beat; motion can look like stenosis.")
    if a.thickness_mm and PLAQUE_VOXEL_MM < a.thickness_mm <= THICKEST_MM:
        warnings.append(f"The slices are {a.thickness_mm:g} mm thick; small plaques and narrow lumens are blurred.")
    return warnings


def too_coarse(image: Image, record: dict[str, Any]) -> str | None:
    """Why lumen and plaque cannot be measured on this grid; None where they can."""
    voxel = float(np.max(image.spacing))
    thickness = float((record.get("acquisition") or {}).get("thickness_mm") or 0.0)
    if voxel > PLAQUE_VOXEL_MM + 0.01:
        what, limit = f"The voxels measure {voxel:.2g} mm", f"{PLAQUE_VOXEL_MM:g} mm or less in every direction"
    elif thickness > THICKEST_MM + 0.01:
        what, limit = f"The slices are {thickness:.2g} mm thick", f"{THICKEST_MM:g} mm or less"
    else:
        return None
    return f"{what}; lumen and plaque of a coronary artery need {limit}."
