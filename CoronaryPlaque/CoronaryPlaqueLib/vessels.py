"""What the labels of calcium mean: coronary arteries, aorta, valves, and what is calcified but not scored.

Codes: SNOMED CT as in DICOM PS3.16 CID 3015 (coronary arteries), CID 4 and CID 7160.
"""

from __future__ import annotations

from CardioPrecisionLib.analysis import Segment
from CardioPrecisionLib.measurement import Code

LM, LAD, LCX, RCA, AORTA, AORTIC_VALVE, MITRAL_VALVE, OTHER = range(1, 9)

#: Label -> site of a measurement.
SITES = {
    LM: "LM",
    LAD: "LAD",
    LCX: "LCX",
    RCA: "RCA",
    AORTA: "aorta",
    AORTIC_VALVE: "aortic_valve",
    MITRAL_VALVE: "mitral_valve",
}
CORONARY = (LM, LAD, LCX, RCA)
SCORED = tuple(SITES)

_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
_ABNORMAL = Code("SCT", "49755003", "Morphologically Altered Structure")


def _artery(value: int, name: str, color: tuple[float, float, float], code: str, meaning: str) -> Segment:
    return Segment(value, name, color, _ANATOMY, Code("SCT", code, meaning))


SEGMENTS = (
    _artery(LM, "LM calcium", (0.95, 0.77, 0.06), "3227004", "Left coronary artery main stem"),
    _artery(LAD, "LAD calcium", (0.86, 0.20, 0.18), "59438005", "Anterior descending branch of left coronary artery"),
    _artery(LCX, "LCX calcium", (0.20, 0.45, 0.85), "57396003", "Circumflex branch of left coronary artery"),
    _artery(RCA, "RCA calcium", (0.20, 0.65, 0.32), "13647002", "Right coronary artery"),
    _artery(AORTA, "Aortic calcium", (0.60, 0.35, 0.75), "15825003", "Aorta"),
    _artery(AORTIC_VALVE, "Aortic valve calcium", (0.95, 0.50, 0.10), "34202007", "Aortic valve"),
    _artery(MITRAL_VALVE, "Mitral annular calcium", (0.10, 0.70, 0.75), "91134007", "Mitral valve"),
    Segment(
        OTHER, "Other, not scored", (0.60, 0.60, 0.60), _ABNORMAL, Code("SCT", "18115005", "Pathologic calcification")
    ),
)
