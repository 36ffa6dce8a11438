"""Coronary arteries without a reader's points: the aorta, the tree that grows out of it, and the names of its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from CardioPrecisionLib.analysis import Progress, part, silent
from CardioPrecisionLib.image import Array, Image

from .aorta import Aorta, NoAorta, aorta_candidates
from .centreline import Centreline, noise_of
from .centring import centred
from .growing import Grown, grow
from .labelling import Labelling, label_segments
from .segments import MAJOR_VESSELS, SEGMENTS
from .side_by_side import side_by_side

_SPACING_MM = 0.4
#: So many vessels are tried for the aorta; none further once a tree of this length has grown out of one.
#: A shorter tree is none.
_TRIED, _WHOLE_TREE_MM, _LEAST_TREE_MM = 4, 700.0, 80.0
#: Trees that are grown at once; each holds about half a gigabyte.
_AT_ONCE = 2
_NO_TREE = (
    "Vessels with contrast were found, but no coronary tree opens into one: the ascending aorta with the coronary "
    "ostia is not in view, or the arteries hold no contrast. Set ostium and distal points instead (--seeds)."
)
#: A line ends where no lumen has been seen for this long, and is left where little of what only it has shows one.
_BLIND_MM, _SEEN_SHARE, _LEAST_MM = 4.0, 0.85, 10.0
_SIDE = {
    "LAD": "runs to the front of the heart",
    "LCX": "runs from the left main stem to the back",
    "RCA": "runs to the right",
}


@dataclass(frozen=True, eq=False)
class FoundTree:
    """What was found.

    Attributes
    ----------
    lines : dict of str to Centreline
        From the ostium on; named by artery (``LAD LCX RI D1 D2 OM1 OM2 RCA PDA PLB``), ``branch1`` and so on where it
        is none of them. Branches have their trunk in them.
    not_found : dict of str to str
        What is missing (``aorta``, ``LAD``, ``LCX``, ``RCA``), and why.
    aorta : Aorta or None
    labelling : Labelling or None
        Segments of the lines.
    """

    lines: Mapping[str, Centreline]
    not_found: Mapping[str, str]
    aorta: Aorta | None = None
    labelling: Labelling | None = field(default=None)


def find_tree(image: Image, progress: Progress = silent) -> FoundTree:
    """Find the coronary arteries of an angiogram.

    The aorta is found as round bright discs above each other, of several such vessels the one into which the longest
    tree opens; a walker that starts in it follows bright tubes (see `growing`); each way is moved to the lumen's
    middle. Not found are arteries that do not leave the ascending aorta, and what lies
    beyond a closed stretch of more than some 14 mm. A bypass graft is followed like an artery, and gets the name of the
    artery that runs most like it.

    Parameters
    ----------
    image : Image
        HU.
    progress : callable

    Raises
    ------
    Cancelled
        `progress` asked to stop.
    """
    progress(0.0, "Aorta")
    try:
        candidates = aorta_candidates(image)[:_TRIED]
    except NoAorta as error:
        return FoundTree({}, {"aorta": str(error)})
    noise = noise_of(image)
    aorta, grown = _most_grown(image, candidates, noise, part(progress, 0.05, 0.5))
    if grown.open_mm < _LEAST_TREE_MM:
        return FoundTree({}, {"aorta": _NO_TREE}, aorta)
    lines = _centred(image, grown, aorta.blood_hu, noise, part(progress, 0.5, 1.0))
    labelling = label_segments({f"branch{n}": line.points for n, line in enumerate(lines, 1)})
    names = {f"branch{n}": labelling.roles.get(f"branch{n}", f"branch{n}") for n in range(1, len(lines) + 1)}
    named = {}
    for (old, name), line in zip(names.items(), lines, strict=True):
        named[names[old]] = Centreline(name, line.points, line.radius_mm, line.lumen_hu, line.gaps, noise)
    labelling = label_segments({name: line.points for name, line in named.items()})
    there = {SEGMENTS[i.segment].vessel for i in labelling}
    missing = {
        vessel: f"{vessel}: no artery that {_SIDE[vessel]} was found to leave the aorta; set its ostium and distal "
        "point (--seeds)."
        for vessel in MAJOR_VESSELS
        if vessel not in there
    }
    progress(1.0, "Done")
    return FoundTree(named, missing, aorta, labelling)


def _most_grown(image: Image, candidates: list[Aorta], noise: float, progress: Progress) -> tuple[Aorta, Grown]:
    """The vessel into which the longest tree opens: that is the aorta."""
    found: list[tuple[Aorta, Grown]] = []
    for first in range(0, len(candidates), _AT_ONCE):
        some = candidates[first : first + _AT_ONCE]
        share = part(progress, first / len(candidates), (first + len(some)) / len(candidates))
        grown = side_by_side(
            lambda aorta, told: grow(image, aorta, noise, progress=told), some, share, lambda _: "Coronary tree"
        )
        found += zip(some, grown, strict=True)
        if max(one.open_mm for one in grown) > _WHOLE_TREE_MM:
            break
    return max(found, key=lambda pair: pair[1].open_mm)


def _centred(image: Image, grown: Grown, blood: float, noise: float, progress: Progress) -> list[Centreline]:
    made = side_by_side(
        lambda way, _: centred(image, way, blood, noise, _SPACING_MM),
        grown.ways,
        progress,
        lambda _: "Middle of the lumen",
    )
    lines = []
    for (points, radius, level), own_mm in zip(made, grown.own_mm, strict=True):
        end = _end(radius)
        own = slice(max(0, len(points) - round(own_mm / _SPACING_MM)), end)
        seen = np.isfinite(radius[own])
        if end * _SPACING_MM < _LEAST_MM or not seen.size or seen.mean() < _SEEN_SHARE:
            continue
        lines.append(Centreline("", points[:end], radius[:end], level[:end], (), noise))
    return lines


def _end(radius: Array) -> int:
    """Number of points up to the last stretch of `_BLIND_MM` in which mostly no lumen was seen."""
    width = round(_BLIND_MM / _SPACING_MM)
    end = len(radius)
    while end > width and np.isfinite(radius[end - width : end]).mean() < 0.5:
        end -= 1
    return end
