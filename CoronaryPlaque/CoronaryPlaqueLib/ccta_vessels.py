"""The arteries of an angiogram as they were followed: segment by segment what was seen, and what was not, with why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from CardioPrecisionLib.image import Array, Image

from .course import STEP_MM, VesselCourse, plaque_between
from .labelling import SegmentInterval
from .lesions import Lesion, LesionParameters, find_lesions
from .plaque_composition import Composition
from .reading import SMALLEST_MM, Readings, SegmentReading, Sight
from .sections import polygon_area
from .segments import SEGMENTS
from .stenosis import reference, smoothed

NOT_FOLLOWED = "Not followed: no middle line leads through it."
_SMALL = f"Narrower than {SMALLEST_MM:g} mm; not graded."
#: Of a segment that is read at most this share, or this length in mm, may be without a usable section.
_UNSEEN_SHARE, _UNSEEN_MM = 0.25, 3.0
#: Narrowest places of two lines closer than this, and as narrow but for so many points, are those of one lesion.
_SAME_LESION_MM, _SAME_LESION_PCT = 4.0, 25.0


@dataclass(frozen=True, eq=False)
class SeenSegment:
    """One SCCT segment.

    Attributes
    ----------
    number : int
    sight : Sight or None
        None where no line leads through it.
    reason : str or None
        Why it was not read.
    artery : str or None
        The line on which it lies, from `start_mm` to `end_mm` of its ostium.
    stenosis_pct, area_stenosis_pct : float or None
        Worst of its lesions; 0 without.
    plaque : Composition or None
        None where plaque is not assessable.
    lumen_mm3 : float or None
    """

    number: int
    sight: Sight | None = None
    reason: str | None = NOT_FOLLOWED
    artery: str | None = None
    start_mm: float = 0.0
    end_mm: float = 0.0
    stenosis_pct: float | None = None
    area_stenosis_pct: float | None = None
    plaque: Composition | None = None
    lumen_mm3: float | None = None

    @property
    def read(self) -> bool:
        return self.sight is Sight.READ

    @property
    def vessel(self) -> str:
        return SEGMENTS[self.number].vessel


@dataclass(frozen=True, eq=False)
class PlacedLesion:
    """A lesion in a segment that was read: its number (from 1), its artery and its segment."""

    number: int
    artery: str
    segment: int
    lesion: Lesion

    @property
    def site(self) -> str:
        return f"lesion{self.number:03d}"


@dataclass(frozen=True, eq=False)
class Tree:
    """All that was followed.

    Attributes
    ----------
    arteries : dict of str to VesselCourse
    segments : dict of int to SeenSegment
        All 18.
    lesions : tuple of PlacedLesion
    not_traced : dict of str to str
        Arteries without a line, and why.
    plaque_reason : str or None
        Why plaque is not assessable anywhere.
    """

    arteries: Mapping[str, VesselCourse]
    segments: Mapping[int, SeenSegment]
    lesions: tuple[PlacedLesion, ...]
    not_traced: Mapping[str, str] = field(default_factory=dict)
    plaque_reason: str | None = None

    def of(self, vessel: str | None) -> list[SeenSegment]:
        """Segments of a vessel (``LM LAD LCX RCA``), or all."""
        return [s for s in self.segments.values() if vessel is None or s.vessel == vessel]

    def readings(self) -> Readings:
        """What the rules of reading need; segments that were not followed are left out, and so count as missing."""
        made = []
        for s in self.segments.values():
            if s.sight is Sight.READ:
                inside = any(n.segment == s.number or _overlap(n, s) for n in self.lesions)
                made.append(SegmentReading(s.number, s.stenosis_pct, inside))
            elif s.sight is not None:
                made.append(SegmentReading(s.number, sight=s.sight))
        return Readings(made)


def _overlap(placed: PlacedLesion, s: SeenSegment) -> bool:
    """Whether a lesion of the same line reaches into a segment by more than a millimetre."""
    return placed.artery == s.artery and _reach(placed.lesion, s) > 1.0


def build_tree(
    image: Image,
    arteries: Mapping[str, VesselCourse],
    intervals: Iterable[SegmentInterval],
    not_traced: Mapping[str, str],
    coarse: str | None = None,
) -> Tree:
    """Sort what was measured along the lines into segments and lesions.

    Parameters
    ----------
    image : Image
        HU.
    arteries : mapping
    intervals : iterable of SegmentInterval
        Each segment once, so that a stretch that two lines share counts once.
    not_traced : mapping
    coarse : str, optional
        Why nothing can be measured on this grid.
    """
    segments = {number: SeenSegment(number) for number in SEGMENTS}
    plaque_reason = coarse or next((a.plaque_reason for a in arteries.values() if a.plaque_reason), None)
    for i in intervals:
        seen = _seen(image, arteries[i.vessel], i, coarse, plaque_reason)
        known = segments[i.segment]
        # Where a line comes back into a segment, the longer part stands for it.
        if known.sight is None or seen.end_mm - seen.start_mm > known.end_mm - known.start_mm:
            segments[i.segment] = seen
    for number, s in segments.items():
        why = next((text for name, text in not_traced.items() if name == s.vessel), None)
        if s.sight is None and why:
            segments[number] = replace(s, reason=why)
    return Tree(arteries, segments, _placed(arteries, segments), dict(not_traced), plaque_reason)


def _seen(
    image: Image, course: VesselCourse, i: SegmentInterval, coarse: str | None, plaque_reason: str | None
) -> SeenSegment:
    base = SeenSegment(i.segment, Sight.NON_DIAGNOSTIC, coarse, course.name, i.start_mm, i.end_mm)
    if coarse:
        return base
    part = course.between(i.start_mm, i.end_mm)
    width = course.reference_diameter[part]
    if not np.isfinite(width).any():
        return replace(base, reason="No lumen could be drawn in it.")
    wide = width >= SMALLEST_MM
    if not wide.any():
        return replace(base, sight=Sight.TOO_SMALL, reason=_SMALL)
    for stretch in course.unusable:
        if min(stretch.end_mm, i.end_mm) - max(stretch.start_mm, i.start_mm) > 0.5:
            return replace(base, reason=_sentence(stretch.reason))
    unseen = wide & ~course.usable[part]
    if unseen.sum() * STEP_MM > max(_UNSEEN_MM, _UNSEEN_SHARE * (i.end_mm - i.start_mm)):
        return replace(base, reason=f"No lumen could be drawn over {unseen.sum() * STEP_MM:.0f} mm of it.")
    worst, area = 0.0, 0.0
    for lesion in course.lesions:
        inside = course.between(max(lesion.start_mm, i.start_mm), min(lesion.end_mm, i.end_mm))
        if min(lesion.end_mm, i.end_mm) - max(lesion.start_mm, i.start_mm) <= 0:
            continue
        graded = course.reference_diameter[inside] >= SMALLEST_MM
        if graded.any():
            worst = max(worst, float(np.nanmax(np.where(graded, course.diameter_stenosis[inside], 0.0))))
            area = max(area, float(np.nanmax(np.where(graded, course.area_stenosis[inside], 0.0))))
    return replace(
        base,
        sight=Sight.READ,
        reason=None,
        stenosis_pct=worst,
        area_stenosis_pct=area,
        plaque=None if plaque_reason else plaque_between(image, course, i.start_mm, i.end_mm),
        lumen_mm3=float(np.nansum(course.lumen_area[part]) * STEP_MM),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _placed(arteries: Mapping[str, VesselCourse], segments: Mapping[int, SeenSegment]) -> tuple[PlacedLesion, ...]:
    """Lesions by the segment in which they are narrowest; each once, in segments that were read.

    Where two lines share a stretch the narrowest place of one may lie a step beyond the part that counts for its line:
    then the segment that holds most of the lesion has it, unless the other line tells the same lesion.
    """
    inside: list[tuple[int, str, Lesion, Array]] = []
    beside: list[tuple[int, str, Lesion, Array]] = []
    for name, course in arteries.items():
        own = [s for s in segments.values() if s.read and s.artery == name]
        for lesion in course.lesions:
            at = course.between(lesion.at_mm, lesion.at_mm).start
            if not course.reference_diameter[at] >= SMALLEST_MM:
                continue
            home = next((s for s in own if s.start_mm <= lesion.at_mm < s.end_mm), None)
            most = max(own, key=lambda s: _reach(lesion, s), default=None)
            if home is not None:
                inside.append((home.number, name, lesion, course.line[at]))
            elif most is not None and _reach(lesion, most) > 1.0:
                beside.append((most.number, name, lesion, course.line[at]))
    for one in beside:
        if not any(_same(one, other) for other in inside):
            inside.append(one)
    order = list(SEGMENTS)
    inside.sort(key=lambda one: (order.index(one[0]), one[2].at_mm))
    return tuple(PlacedLesion(n, artery, number, lesion) for n, (number, artery, lesion, _) in enumerate(inside, 1))


def _same(one: tuple[int, str, Lesion, Array], other: tuple[int, str, Lesion, Array]) -> bool:
    """Whether two lines tell of one lesion; a neighbour that is far less narrow is another."""
    near = np.linalg.norm(one[3] - other[3]) <= _SAME_LESION_MM
    return bool(near and other[2].diameter_stenosis >= one[2].diameter_stenosis - _SAME_LESION_PCT)


def _reach(lesion: Lesion, s: SeenSegment) -> float:
    """How many mm of a lesion lie in a segment of the same line; below 0 the distance between them."""
    return min(lesion.end_mm, s.end_mm) - max(lesion.start_mm, s.start_mm)


def with_borders(
    image: Image, course: VesselCourse, lumen: Array, plaque: Array, normal_mm: float, reference_mm: float
) -> VesselCourse:
    """The course with a reader's own borders; all that follows from them is new.

    Sections on which the reader drew nothing are unusable; where plaque was drawn and no lumen, the artery is occluded.

    Parameters
    ----------
    image : Image
        HU.
    course : VesselCourse
    lumen, plaque : numpy.ndarray
        ``(n, a)`` mm: how far the lumen reaches, and how far plaque does (the lumen's border where there is none).
    normal_mm : float
        Thickness of the wall that was drawn around; 0 where none was.
    reference_mm : float
        As in `course.CourseParameters`.
    """
    plaque = np.maximum(plaque, lumen)
    usable = plaque.max(1) > 0.15
    wall = plaque + normal_mm
    # As when borders are found in the image: no section stands alone.
    diameter = smoothed(2 * np.sqrt(np.where(usable, polygon_area(lumen), np.nan) / np.pi))
    lumen_area = np.pi * diameter**2 / 4
    wall_area = np.where(usable, polygon_area(wall), np.nan)
    given = replace(
        course,
        lumen=lumen,
        wall=wall,
        lumen_area=lumen_area,
        wall_area=wall_area,
        usable=usable,
        unusable=(),
        normal_wall_mm=normal_mm,
    ).with_reference(reference(course.distance, diameter, reference_mm))
    return replace(given, lesions=find_lesions(image, given, LesionParameters()))
