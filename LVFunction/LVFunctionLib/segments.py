"""What the labels of this module mean.

Codes as in DICOM PS3.16: category and type from CID 7150/7151 and CID 12305.
"""

from __future__ import annotations

from CardioPrecisionLib.analysis import Segment
from CardioPrecisionLib.measurement import Code

LV, MYOCARDIUM, RV = 1, 2, 3

_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
SEGMENTS = (
    Segment(LV, "LV cavity", (0.86, 0.24, 0.24), _ANATOMY, Code("SCT", "87878005", "Left ventricle")),
    Segment(
        MYOCARDIUM, "LV myocardium", (0.30, 0.69, 0.31), _ANATOMY, Code("SCT", "49848007", "Left Ventricle Myocardium")
    ),
    Segment(RV, "RV cavity", (0.25, 0.47, 0.85), _ANATOMY, Code("SCT", "53085002", "Right ventricle")),
)

#: Order of the bundle's and ACDC's labels: 1 RV cavity, 2 LV myocardium, 3 LV cavity.
FROM_ACDC = {1: RV, 2: MYOCARDIUM, 3: LV}
