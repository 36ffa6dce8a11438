"""Which artery, segment or wall a statement is about.

Coronary segments are those of the SCCT (Leipsic 2014, JCCT 8:342): 1-3 RCA, 4 R-PDA, 5 LM, 6-8 LAD, 9 D1, 10 D2,
11 proximal LCX, 12 OM1, 13 mid and distal LCX, 14 OM2, 15 L-PDA, 16 R-PLB, 17 ramus, 18 L-PLB. Walls are those of the
17-segment model (Cerqueira 2002, Circulation 105:539).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .tokens import Token

_SEGMENT_OF = {
    ("RCA", "proximal"): "scct01",
    ("RCA", "mid"): "scct02",
    ("RCA", "distal"): "scct03",
    ("LAD", "proximal"): "scct06",
    ("LAD", "mid"): "scct07",
    ("LAD", "distal"): "scct08",
    ("LCX", "proximal"): "scct11",
    ("LCX", "mid"): "scct13",
    ("LCX", "distal"): "scct13",
}
_AHA = {
    (level, wall): f"aha{number:02d}"
    for level, first, walls in (
        ("basal", 1, ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")),
        ("mid", 7, ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")),
        ("apical", 13, ("anterior", "septal", "inferior", "lateral")),
    )
    for number, wall in enumerate(walls, first)
}
_PLACES = ("vessel", "branch", "graft", "position")


class Mention(NamedTuple):
    """Tokens `first` up to `stop` (exclusive) name `sites`; `partial`: positions of a vessel named elsewhere."""

    first: int
    stop: int
    sites: tuple[str, ...]
    partial: bool = False
    vessel: str | None = None


def segment_site(number: int) -> str | None:
    """``LM`` for 5, ``scct07`` for 7; None for a number that is no segment."""
    if number == 5:
        return "LM"
    return f"scct{number:02d}" if 1 <= number <= 18 else None


def place(vessel: str | None, position: str | None) -> str | None:
    """The site of a vessel's part; the vessel itself where it has no such segment."""
    if vessel is None or position is None:
        return vessel
    return _SEGMENT_OF.get((vessel, position), vessel)


def _numbers_after(tokens: Sequence[Token], i: int, top: int) -> tuple[list[int], int]:
    """Segment numbers after the word at `i` ("segments 1, 2 and 3", "segments 1-3")."""
    numbers: list[int] = []
    j = i + 1
    while j < len(tokens) and tokens[j].cat == "num":
        number = tokens[j].value
        ends = (number.low, number.high) if number.low is not None and number.high is not None else (number.value,) * 2
        if number.unit is not None or None in ends or ends[0] % 1 or ends[1] > top or ends[0] < 1:
            break
        numbers += range(int(ends[0]), int(ends[1]) + 1)
        i = j
        if j + 1 < len(tokens) and (tokens[j + 1].text in (",", "/", "&") or tokens[j + 1].cat == "and"):
            j += 2
        else:
            break
    return numbers, i + 1


def coronary(tokens: Sequence[Token]) -> list[Mention]:
    """All coronary places of one sentence, in order. Places joined by "and" are one mention."""
    found: list[Mention] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.cat == "segment_word":
            numbers, stop = _numbers_after(tokens, i, 18)
            sites = tuple(site for site in map(segment_site, numbers) if site)
            if sites:
                found.append(Mention(i, stop, sites))
                i = stop
                continue
        if token.cat in _PLACES and not _is_wall(tokens, i) and not _is_direction(tokens, i):
            found.append(_chain(tokens, i))
            i = found[-1].stop
            continue
        i += 1
    return _lists(tokens, found)


def _is_wall(tokens: Sequence[Token], i: int) -> bool:
    """Whether the position word at `i` belongs to a wall of the heart ("mid inferior")."""
    if tokens[i].cat != "position":
        return False
    ahead = [t.cat for t in tokens[i + 1 : i + 6]]
    for cat in ahead:
        if cat in ("wall", "level"):
            return True
        if cat not in ("position", "and", "to", "vessel_glue"):
            return False
    return False


def _is_direction(tokens: Sequence[Token], i: int) -> bool:
    """ "distal to the lesion": no part of a vessel."""
    return tokens[i].cat == "position" and [t.cat for t in tokens[i + 1 : i + 3]] == ["to", "filler"]


def _chain(tokens: Sequence[Token], i: int) -> Mention:
    """One vessel with its positions before or behind it, a branch, a graft with what it goes to, or positions alone."""
    first = i
    if tokens[i].cat == "graft":
        j = i + 1
        while j < len(tokens) and (
            tokens[j].cat in ("to", "filler", "graft", *_PLACES) or tokens[j].text == "-" or tokens[j].text == "segment"
        ):
            j += 1
        return Mention(first, j, (tokens[i].value,))
    positions: list[str] = []
    j = i
    while j < len(tokens):
        token = tokens[j]
        if token.cat == "position":
            positions.append(token.value)
            j += 1
        elif positions and (token.cat in ("and", "to", "or") or token.text in (",", "/", "-", "&")):
            if j + 1 < len(tokens) and tokens[j + 1].cat == "position":
                j += 1
            else:
                break
        elif positions and (
            token.cat in ("segment_word", "vessel_glue", "filler") or token.text == "of" or token.text == "segment"
        ):
            j += 1
        else:
            break
    if positions and (j >= len(tokens) or tokens[j].cat not in ("vessel", "branch")):
        while j > first + 1 and tokens[j - 1].cat == "filler":
            j -= 1
        return Mention(first, j, tuple(dict.fromkeys(positions)), partial=True)
    token = tokens[j]
    j += 1
    if token.cat == "branch":
        return Mention(first, j, (token.value,))
    vessel = token.value
    if not positions:  # "LAD mid segment", "RCA (proximal)"
        k = j + 1 if j < len(tokens) and tokens[j].text == "(" else j
        behind: list[str] = []
        while k < len(tokens) and tokens[k].cat == "position" and not _vessel_follows(tokens, k):
            behind.append(tokens[k].value)
            k += 1
            if k + 1 < len(tokens) and tokens[k].cat in ("and", "to") and tokens[k + 1].cat == "position":
                k += 1
        if behind:
            positions, j = behind, k
    sites = tuple(dict.fromkeys(place(vessel, position) or vessel for position in positions)) or (vessel,)
    return Mention(first, j, sites, vessel=vessel)


def _vessel_follows(tokens: Sequence[Token], k: int) -> bool:
    return any(t.cat in ("vessel", "branch") for t in tokens[k + 1 : k + 2])


def _lists(tokens: Sequence[Token], mentions: list[Mention]) -> list[Mention]:
    """Mentions joined by "and", or by commas where three or more follow each other, become one."""
    out: list[Mention] = []
    i = 0
    while i < len(mentions):
        run, joints = [mentions[i]], []
        while i + len(run) < len(mentions):
            following = mentions[i + len(run)]
            between = tokens[run[-1].stop : following.first]
            joint = [t for t in between if t.cat not in ("filler", "segment_word", "preposition", "vessel_glue")]
            if len(joint) not in (1, 2) or not all(
                t.cat in ("and", "or") or t.text in (",", "/", "&", "nor") for t in joint
            ):
                break
            if following.partial != run[-1].partial or following.sites[0].startswith("graft"):
                break
            joints.append(joint[-1])
            run.append(following)
        if len(run) > 1 and (len(run) > 2 or joints[-1].text != ","):
            sites = tuple(dict.fromkeys(site for mention in run for site in mention.sites))
            vessels = {mention.vessel for mention in run}
            out.append(
                Mention(run[0].first, run[-1].stop, sites, run[0].partial, vessels.pop() if len(vessels) == 1 else None)
            )
            i += len(run)
        else:
            out.append(mentions[i])
            i += 1
    return out


def walls(tokens: Sequence[Token]) -> list[Mention]:
    """All places of the left ventricle's wall in one sentence."""
    found: list[Mention] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.cat == "segment_word":
            numbers, stop = _numbers_after(tokens, i, 17)
            if numbers:
                found.append(Mention(i, stop, tuple(f"aha{number:02d}" for number in numbers)))
                i = stop
                continue
        if token.cat in ("level", "wall") or (token.cat == "position" and _is_wall(tokens, i)):
            mention = _wall(tokens, i)
            if mention.sites:
                found.append(mention)
            i = mention.stop
            continue
        i += 1
    return _lists(tokens, found)


def _wall(tokens: Sequence[Token], i: int) -> Mention:
    levels: list[str] = []
    named: list[str] = []
    j = i
    while j < len(tokens):
        token = tokens[j]
        if token.cat in ("level", "position") and not named:
            levels.append(token.value)
        elif token.cat == "wall":
            if token.value == "apex" and (levels or named):
                break
            named.append(token.value)
        elif (token.cat in ("and", "to", "or") or token.text in (",", "/", "-", "&")) and j > i:
            following = tokens[j + 1] if j + 1 < len(tokens) else None
            wanted = ("wall",) if named else ("level", "position", "wall")
            if following is None or following.cat not in wanted or following.value == "apex":
                break
        elif token.cat not in ("vessel_glue", "segment_word", "filler") or not (levels or named):
            break
        j += 1
    if "apex" in named:
        return Mention(i, j, ("aha17",))
    if "basal" in levels and "apical" in levels:
        levels.append("mid")
    sites = [_AHA.get((level, wall), wall) for wall in named for level in levels] if levels else list(named)
    return Mention(i, max(j, i + 1), tuple(dict.fromkeys(sites)))


def sites_for(
    tokens: Sequence[Token], mentions: Sequence[Mention], first: int, stop: int, vessel: str | None, label: str | None
) -> tuple[str | None, ...]:
    """The sites of a statement that spans the tokens `first` up to `stop`.

    A place that follows with a preposition ("stenosis of the LAD") wins, then the nearest before it, then one right
    behind it. Positions alone take their vessel from before, or from `vessel` (an earlier sentence); `label` is the
    site that heads the paragraph, and holds for statements without any place.
    """
    behind = next((m for m in mentions if m.first >= stop), None)
    before = next((m for m in reversed(mentions) if m.stop <= first), None)
    inside = next((m for m in mentions if m.first >= first and m.stop <= stop), None)
    chosen: Mention | None = None
    if inside is not None:
        chosen = inside
    elif behind is not None and _reaches(tokens, stop, behind.first):
        chosen = behind
    elif before is not None and not _parted(tokens, before.stop, first):
        chosen = before
    elif behind is not None and before is None and not _parted(tokens, stop, behind.first):
        chosen = behind
    if chosen is None:
        return (label,)
    if not chosen.partial:
        return chosen.sites
    named = [m for m in mentions if not m.partial and m.stop <= chosen.first]
    owner = named[-1].vessel if named else vessel
    if owner is None:
        return named[-1].sites if named else (label,)
    return tuple(dict.fromkeys(place(owner, position) for position in chosen.sites))


def _reaches(tokens: Sequence[Token], stop: int, first: int) -> bool:
    """Whether a preposition leads from the statement to the place, and nothing else is said between."""
    preposition = joined = False
    for token in tokens[stop : min(first, stop + 15)]:
        if token.cat in ("stop", "is", "negation", "normal", "now") or token.text in (",", ";"):
            return False
        if joined and token.cat in ("num", "grade"):
            return False
        joined |= token.cat in ("and", "or")
        preposition |= token.cat == "preposition"
    return preposition and first - stop <= 15


def _parted(tokens: Sequence[Token], stop: int, first: int) -> bool:
    """Whether a clause ends between."""
    return any(t.text == ";" or (t.cat == "stop" and t.value != "there") for t in tokens[stop:first])
