"""Stage of coronary atherosclerosis by how much plaque there is, 0 to 3.

Min et al., J Cardiovasc Comput Tomogr 2022;16:415: stage 0 no plaque; 1 up to 250 mm3 or 5 %; 2 up to 750 mm3 or 15 %;
3 above. The two measures need not agree; both stages are given.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from CardioPrecisionLib.errors import InputError

_VOLUME_TO_MM3 = (0.0, 250.0, 750.0)  # highest of stages 0, 1, 2, inclusive
_PERCENT_TO = (0.0, 5.0, 15.0)


def stage_by_volume(plaque_mm3: float) -> int:
    """Stage by the total plaque volume of all coronary arteries."""
    if not (math.isfinite(plaque_mm3) and plaque_mm3 >= 0):
        raise InputError(f"A plaque volume is 0 mm3 or more, not {plaque_mm3:g}.")
    return bisect_left(_VOLUME_TO_MM3, plaque_mm3)


def stage_by_percent(percent_atheroma_volume: float) -> int:
    """Stage by the percent atheroma volume of all coronary arteries."""
    if not 0 <= percent_atheroma_volume <= 100:
        raise InputError(f"A percent atheroma volume is 0 to 100, not {percent_atheroma_volume:g}.")
    return bisect_left(_PERCENT_TO, percent_atheroma_volume)
