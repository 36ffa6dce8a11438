"""Non-contrast CT as an input: what the header must say before calcium is scored on it, and what is only told."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from CardioPrecisionLib.analysis import Loaded, Progress, silent
from CardioPrecisionLib.dicom.ct import CTVolume, load_ct, load_ct_file
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import is_image_file

#: Tube voltage that 130 HU was chosen for.
STANDARD_KVP = 120.0
THICK_MM = 3.0
UNCALIBRATED = "uncalibrated_hu"


def load(path: str | Path, progress: Progress = silent) -> Loaded:
    """Read a non-contrast cardiac or chest CT.

    Parameters
    ----------
    path : str or Path
        Folder that holds DICOM (anything else in it is passed over), one DICOM file, or an image file in HU.
    progress : callable

    Raises
    ------
    InputError
        Nothing there can be used, or the stack has gaps; the message says what was found.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    volume = load_ct_file(path) if path.is_file() and is_image_file(path) else load_ct(path, progress)
    return loaded_from(volume, str(path))


def loaded_from(volume: CTVolume, name: str) -> Loaded:
    """A CT volume as the analysis takes it.

    Values that are no HU are let through here: a reader's labels are scored all the same, and a search refuses them.

    Raises
    ------
    InputError
        The stack has gaps or holds voxels that are no numbers.
    """
    if not volume.usable and volume.finding(UNCALIBRATED) is None:
        raise InputError(f"{name}: {volume.unusable_reason}")
    return Loaded(volume.image, volume.patient, _warnings(volume), _record(volume))


def _record(volume: CTVolume) -> dict[str, Any]:
    return {
        "kind": "dicom" if volume.acquisition.series_uid else "file",
        "source": volume.source,
        "size": list(volume.image.shape),
        "acquisition": asdict(volume.acquisition),
        "details": dict(volume.details),
        "findings": [{"code": f.code, "severity": str(f.severity), "message": f.message} for f in volume.findings],
    }


def _warnings(volume: CTVolume) -> list[str]:
    warnings = [f.message for f in volume.findings if f.severity == "warning"]
    acquisition = volume.acquisition
    if not acquisition.series_uid:
        warnings.append(
            "An image file says nothing of tube voltage, kernel or contrast: it is taken as a non-contrast CT in HU at "
            "120 kVp."
        )
        return warnings
    if acquisition.kvp is None:
        warnings.append("The header does not give the tube voltage; 130 HU belongs to 120 kVp.")
    elif acquisition.kvp != STANDARD_KVP:
        warnings.append(
            f"The tube voltage is {acquisition.kvp:g} kVp; 130 HU belongs to 120 kVp, and at other voltages scores "
            "differ. --kvp-adapted scores with thresholds for 70, 80 and 100 kVp."
        )
    if acquisition.sharp_kernel:
        warnings.append(
            f"The kernel {acquisition.kernel} is sharp: it raises noise and edges, and with them the scores. A soft "
            "kernel is the standard."
        )
    thickness = acquisition.thickness_mm
    if thickness is not None and thickness > THICK_MM + 0.05:
        warnings.append(
            f"The slices are {thickness:g} mm thick; beyond 3 mm small calcifications are missed and scores are not "
            "comparable."
        )
    return warnings


def refusal(record: dict[str, Any]) -> str | None:
    """Why calcium must not be searched for on this CT, from its header; None where nothing speaks against it."""
    acquisition = record.get("acquisition") or {}
    if acquisition.get("contrast"):
        why = acquisition.get("contrast_reason")
        return f"This CT was made with contrast{f' ({why})' if why else ''}: bright blood would count as calcium."
    if any(f["code"] == UNCALIBRATED for f in record.get("findings", [])):
        return "The values of this image are not Hounsfield units, so that no threshold can be applied."
    return None
