"""Expert volumes of the Sunnybrook subjects from their contours (Radau et al., MIDAS 2009)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom


@dataclass(frozen=True)
class Expert:
    """Volumes over the contoured slices, and how many of all slices these are."""

    edv_ml: float
    esv_ml: float
    mass_g: float
    ed_slices: int
    es_slices: int
    all_slices: int

    @property
    def ef_pct(self) -> float:
        return 100 * (1 - self.esv_ml / self.edv_ml)


def polygon_area(xy: np.ndarray) -> float:
    x, y = xy.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def expert(subject: Path) -> Expert:
    """ED is the phase with epicardial contours; position is ImagePositionPatient along the normal."""
    headers = {int(f.stem): pydicom.dcmread(f, stop_before_pixels=True) for f in (subject / "dicom").glob("*.dcm")}
    orientation = np.array(next(iter(headers.values())).ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    position = {n: float(np.dot(normal, np.array(h.ImagePositionPatient, float))) for n, h in headers.items()}
    levels = np.unique(np.round(list(position.values()), 2))
    step = float(np.median(np.diff(levels)))

    def areas(kind: str) -> dict[int, float]:
        found = {}
        for file in (subject / "contours" / f"{kind}-contours").glob("*.txt"):
            n = int(re.search(r"IM-\d+-(\d+)-", file.name).group(1))
            dy, dx = (float(v) for v in headers[n].PixelSpacing)
            found[n] = polygon_area(np.loadtxt(file)) * dx * dy
        return found

    inner, outer = areas("i"), areas("o")
    ed = [n for n in inner if n in outer]
    es = [n for n in inner if n not in outer]
    edv, esv = (sum(inner[n] for n in phase) * step / 1000 for phase in (ed, es))
    mass = 1.05 * sum(outer[n] - inner[n] for n in ed) * step / 1000
    return Expert(edv, esv, mass, len(ed), len(es), len(levels))
