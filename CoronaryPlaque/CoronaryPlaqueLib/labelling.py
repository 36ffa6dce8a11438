"""The SCCT segments along the middle lines of coronary arteries.

Leipsic et al., J Cardiovasc Comput Tomogr 2014;8:342. Landmarks that middle lines do not show are replaced: the right
coronary artery is divided in thirds from ostium to crux (the guideline: half-way to the acute margin, acute margin,
origin of the posterior descending artery); the proximal anterior descending artery ends at the first diagonal branch,
without one after a quarter of its length, and a large septal branch is not looked for; without a marginal branch the
proximal circumflex is its first third. A third diagonal or marginal branch, septal, conus and acute marginal branches
have no number and are left unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from CardioPrecisionLib.image import Array

from .artery_names import ROLES, crux_mm, roles
from .branching import Twig, evenly, tree
from .segments import Dominance

#: Where nothing else tells its end, the left main stem is taken to be as long as it is on average (Dodge 1988: 11 mm).
USUAL_LM_MM = 11.0
#: An artery that leads on this far beyond the crux is a posterior branch there.
_BEYOND_MM = 8.0
_LEAST_MM = 0.5


@dataclass(frozen=True)
class SegmentInterval:
    """A stretch of a line.

    Attributes
    ----------
    segment : int
        1 to 18.
    vessel : str
        The line's name.
    start_mm, end_mm : float
        From the line's beginning.
    """

    segment: int
    vessel: str
    start_mm: float
    end_mm: float


@dataclass(frozen=True, eq=False)
class Labelling:
    """Segments along lines; iterating gives every segment once, on the line that carries it.

    Attributes
    ----------
    intervals : tuple of SegmentInterval
        Each stretch once, though several lines may run through it; in the order of the numbers.
    lines : dict of str to tuple of SegmentInterval
        All stretches of each line from its beginning on, shared trunks included.
    roles : dict of str to str
        Line -> artery (``LM LAD LCX RI D1 D2 OM1 OM2 RCA PDA PLB``); lines that are none of them are left out.
    dominance : Dominance
        As given, otherwise as told from the posterior descending artery; right where there is none.
    notes : tuple of str
        What was assumed.
    """

    intervals: tuple[SegmentInterval, ...]
    lines: Mapping[str, tuple[SegmentInterval, ...]]
    roles: Mapping[str, str]
    dominance: Dominance
    notes: tuple[str, ...] = field(default=())

    def __iter__(self) -> Iterator[SegmentInterval]:
        return iter(self.intervals)


def label_segments(lines: Mapping[str, Array], dominance: Dominance | str | None = None) -> Labelling:
    """Divide middle lines into segments.

    Parameters
    ----------
    lines : mapping of str to numpy.ndarray
        ``(n, 3)`` RAS mm from the ostium on. Lines may share a trunk, or begin on another line. Names such as ``LAD``,
        ``OM1`` or ``PDA`` say which artery a line is; other lines are told by where they run.
    dominance : {"right", "left", "codominant"}, optional
        Decides on which side a posterior branch counts that leaves neither artery visibly; told from the lines if not
        given.

    Returns
    -------
    Labelling
    """
    even = evenly(lines)
    named = roles(even)
    order = sorted(even, key=lambda n: (ROLES.index(named[n]) if n in named else len(ROLES), -len(even[n])))
    work = _Work(tree({n: even[n] for n in order}), named, Dominance(dominance) if dominance else None)
    work.left()
    work.right()
    own = {n: sorted(work.own[n], key=lambda i: i.start_mm) for n in even}
    every: dict[str, tuple[SegmentInterval, ...]] = {}
    for n in order:
        every[n] = (*_inherited(work.twigs[n], every), *own[n])
    once = sorted((i for found in own.values() for i in found), key=lambda i: (i.segment, i.vessel))
    return Labelling(tuple(once), {n: every.get(n, ()) for n in lines}, named, work.dominance(), tuple(work.notes))


def _inherited(twig: Twig, every: Mapping[str, tuple[SegmentInterval, ...]]) -> list[SegmentInterval]:
    """The parent's segments along the shared trunk, in the line's own mm."""
    if twig.parent is None or twig.start_mm <= 0:
        return []
    scale = twig.start_mm / max(twig.parent_mm, 1e-9)
    return [
        SegmentInterval(i.segment, twig.name, i.start_mm * scale, min(i.end_mm, twig.parent_mm) * scale)
        for i in every[twig.parent]
        if i.start_mm < twig.parent_mm
    ]


class _Work:
    """The segments as they are laid down."""

    def __init__(self, twigs: dict[str, Twig], named: Mapping[str, str], asked: Dominance | None):
        self.twigs, self.asked = twigs, asked
        self.by_role = {role: twigs[name] for name, role in named.items()}
        self.own: dict[str, list[SegmentInterval]] = {name: [] for name in twigs}
        self.notes: list[str] = []
        self.found: Dominance | None = None

    def dominance(self) -> Dominance:
        return self.asked or self.found or Dominance.RIGHT

    def _put(self, segment: int, twig: Twig, start: float, end: float) -> None:
        start, end = max(start, 0.0), min(end, twig.length_mm)
        if end - start >= _LEAST_MM:
            self.own[twig.name].append(SegmentInterval(segment, twig.name, start, end))

    def _on(self, twig: Twig, *others: str) -> list[float]:
        """Where lines of these arteries leave a line, in its mm, in order."""
        return sorted(
            self.by_role[r].parent_mm for r in others if r in self.by_role and self.by_role[r].parent == twig.name
        )

    # -- left ----------------------------------------------------------------------------------------------------------
    def left(self) -> None:
        lm, lad, lcx = (self.by_role.get(r) for r in ("LM", "LAD", "LCX"))
        carrier = lad or lcx
        if carrier is None:
            if lm is not None:
                self._put(5, lm, 0.0, lm.length_mm)
        else:
            end = self._main_stem(lm, carrier)
            if lad is not None:
                self._lad(lad, end)
            if lcx is not None:
                self._lcx(lcx, lcx.start_mm if lcx.parent is not None else end if lcx is carrier else 0.0)
        for role, number in (("RI", 17), ("D1", 9), ("D2", 10), ("OM1", 12), ("OM2", 14)):
            twig = self.by_role.get(role)
            if twig is not None:
                self._put(number, twig, twig.start_mm, twig.length_mm)

    def _main_stem(self, lm: Twig | None, carrier: Twig) -> float:
        """Lay the left main stem; gives its end on the line that carries it on."""
        splits = self._on(carrier, *(r for r in ("LCX", "RI") if self.by_role.get(r) is not carrier))
        if lm is not None:
            self._put(5, lm, 0.0, lm.length_mm)
            return carrier.start_mm if carrier.parent == lm.name else 0.0
        if splits:
            self._put(5, carrier, 0.0, splits[0])
            return splits[0]
        if self.by_role.get("LAD") is carrier and "LCX" in self.by_role:
            return 0.0  # Both have their own ostium: there is no left main stem.
        end = min(USUAL_LM_MM, carrier.length_mm / 3)
        self._put(5, carrier, 0.0, end)
        self.notes.append(
            f"{carrier.name}: no other line shows where the left main stem ends; it is taken to be {end:.0f} mm long."
        )
        return end

    def _lad(self, lad: Twig, start: float) -> None:
        length = lad.length_mm
        branches = [mm for mm in self._on(lad, "D1", "D2") if mm > start]
        first = branches[0] if branches else start + (length - start) / 4
        half = 0.5 * (first + length)
        self._put(6, lad, start, first)
        self._put(7, lad, first, half)
        self._put(8, lad, half, length)

    def _lcx(self, lcx: Twig, start: float) -> None:
        crux = self._posterior(lcx, Dominance.LEFT, descending=15, lateral=18)
        branches = [mm for mm in self._on(lcx, "OM1", "OM2") if mm > start]
        first = branches[0] if branches else start + (crux - start) / 3
        self._put(11, lcx, start, first)
        self._put(13, lcx, first, crux)

    # -- right ---------------------------------------------------------------------------------------------------------
    def right(self) -> None:
        rca = self.by_role.get("RCA") or self._trunk_of_branches()
        if rca is None:
            return
        crux = self._posterior(rca, Dominance.RIGHT, descending=4, lateral=16)
        start = rca.start_mm if rca.parent is not None else 0.0
        third = (crux - start) / 3
        for n in range(3):
            self._put(n + 1, rca, start + n * third, start + (n + 1) * third)

    def _trunk_of_branches(self) -> Twig | None:
        """The posterior branch that carries the right coronary artery where no line ends at the crux."""
        for role in ("PDA", "PLB"):
            twig = self.by_role.get(role)
            if twig is not None and twig.parent is None and not self.own[twig.name]:
                return twig
        return None

    def _posterior(self, trunk: Twig, side: Dominance, descending: int, lateral: int) -> float:
        """Lay the posterior branches of an artery; gives where on it the crux is (its end where it is not reached)."""
        right = side is Dominance.RIGHT
        roles_here = [r for r in ("PDA", "PLB") if self._belongs(r, trunk)]
        starts = [self.by_role[r].parent_mm for r in roles_here if self.by_role[r] is not trunk]
        crux = min(starts) if starts else crux_mm(trunk.points, right) or trunk.length_mm
        numbers = {"PDA": descending, "PLB": lateral}
        for role in roles_here:
            twig = self.by_role[role]
            self._put(numbers[role], twig, crux if twig is trunk else twig.start_mm, twig.length_mm)
        if trunk.length_mm - crux > _BEYOND_MM and self.by_role.get("PDA") is not trunk:
            if self.by_role.get("PLB") is not trunk:
                self._put(lateral if "PDA" in roles_here else descending, trunk, crux, trunk.length_mm)
        else:
            crux = crux if any(self.by_role[r] is trunk for r in roles_here) else trunk.length_mm
        if "PDA" in roles_here or (not starts and crux < trunk.length_mm):
            codominant = not right and self.found is Dominance.RIGHT
            self.found = Dominance.CODOMINANT if codominant else side
        return crux

    def _belongs(self, role: str, trunk: Twig) -> bool:
        """Whether a posterior branch leaves this artery; one that leaves none goes by the dominance asked for."""
        twig = self.by_role.get(role)
        if twig is None:
            return False
        if twig is trunk:
            return True
        if twig.parent is not None:
            up = self.twigs[twig.parent]
            return twig.parent == trunk.name or (up in (self.by_role.get("PDA"), self.by_role.get("PLB"))
                                                 and up.parent == trunk.name)  # fmt: skip
        left = self.asked is Dominance.LEFT or (self.asked is Dominance.CODOMINANT and role == "PLB")
        return left == (self.by_role.get("LCX") is trunk)
