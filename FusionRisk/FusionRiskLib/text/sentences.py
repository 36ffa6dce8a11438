"""Where sections and sentences of a report begin and end."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from typing import NamedTuple

from .lexicon import sections

#: Longer runs without a full stop are no sentences; they are cut, so that work stays proportional to length.
LONGEST = 1500

_ABBREVIATIONS = frozenset(
    {
        "approx",
        "ca",
        "vs",
        "dr",
        "prox",
        "dist",
        "max",
        "min",
        "resp",
        "seg",
        "incl",
        "est",
        "avg",
        "prev",
        "e.g",
        "i.e",
    }
    | {"cf", "fig", "nr", "pat", "mrs", "dia", "st", "diag"}
)
_OPEN_ENDS = frozenset(
    {"of", "the", "in", "and", "with", "without", "no", "is", "are", "was", "at", "or", "to", "for", "by", "a", "an"}
    | {"its", "from", "mild", "moderate", "severe", "minimal", "than", "shows"}
)
_CANDIDATE = re.compile(r"[.!?]+(?=[\s\"')\]]|[a-z]{2}|$)|\n")
_LABEL = re.compile(r"\s*(?:[-*•]\s|\(?\d{1,2}[.)]\s|[a-z][\w /()%-]{0,40}\s?[:=]|[a-z][\w ]{0,25}\s-\s)")
_LAST_WORD = re.compile(r"([\w.]+)\W*$")


class Sentence(NamedTuple):
    """``text[start:end]``, and whether it is the first of its line."""

    start: int
    end: int
    section: str
    new_section: bool


@cache
def _heading() -> re.Pattern[str]:
    names = "|".join(
        re.escape(name).replace(r"\ ", r"\s") for name in sorted(sections(), key=lambda name: (-len(name), name))
    )
    return re.compile(rf"(?:^|\n)[ ]*(?:\d{{1,2}}[.)]\s?)?({names})[ ]*(?::|-\s|(?=\n)|$)|(?<=[.;:!?]\s)({names})[ ]?:")


def headings(folded: str) -> list[tuple[int, int, str]]:
    """``(start, end, section)`` of every section heading, in order."""
    found = []
    for match in _heading().finditer(folded):
        group = 1 if match[1] else 2
        found.append((match.start(group), match.end(), sections()[re.sub(r"\s", " ", match[group])]))
    return found


def _breaks_line(text: str, folded: str, begin: int, at: int) -> bool:
    """Whether the line break at `at` ends a sentence that began at `begin`."""
    line_start = max(begin, folded.rfind("\n", begin, at) + 1)
    line = folded[line_start:at].strip()
    following = folded[at + 1 : at + 60]
    if not line or not following.strip() or following.lstrip(" ").startswith("\n"):
        return True
    last = _LAST_WORD.search(line[-30:])
    if line.endswith((",", "-")) or (last and last[1] in _OPEN_ENDS):
        return False
    if _LABEL.match(following) or line.endswith(":"):
        return True
    first = text[at + 1 : at + 60].lstrip()[:1]
    return len(line) < 60 and (first.isupper() or first.isdigit())


def split(text: str, folded: str) -> list[Sentence]:
    """All sentences with their sections, in order. Headings are left out."""
    heads = headings(folded)
    starts = [head[0] for head in heads]
    found: list[Sentence] = []

    def add(begin: int, end: int) -> None:
        """Cut at headings, then at `LONGEST`."""
        first = bisect_right(starts, begin - 1)
        cuts = [begin]
        for start, stop, _ in heads[first:]:
            if start >= end:
                break
            cuts += [start, stop]
        cuts.append(end)
        for left, right in zip(cuts[::2], cuts[1::2], strict=True):
            pieces(left, right)

    def pieces(left: int, right: int) -> None:
        while right - left > LONGEST:
            space = folded.rfind(" ", left + LONGEST // 2, left + LONGEST)
            cut = space if space > 0 else left + LONGEST
            piece(left, cut)
            left = cut
        piece(left, right)

    def piece(left: int, right: int) -> None:
        body = folded[left:right]
        lead = len(body) - len(body.lstrip())
        if lead == len(body):
            return
        index = bisect_right(starts, left) - 1
        section = heads[index][2] if index >= 0 else ""
        before = found[-1].start if found else -1
        found.append(Sentence(left + lead, left + len(body.rstrip()), section, index >= 0 and starts[index] > before))

    begin = 0
    for match in _CANDIDATE.finditer(folded):
        at = match.start()
        if folded[at] == "\n":
            if not _breaks_line(text, folded, begin, at):
                continue
        elif folded[at] == "." and match.end() - at == 1:
            after = text[at + 1 : at + 2]
            last = _LAST_WORD.search(folded, max(begin, at - 12), at)
            if last and last[1] in _ABBREVIATIONS:
                continue
            if after and not after.isspace() and after not in "\"')]" and not after.isupper():
                continue
        add(begin, match.end())
        begin = match.end()
    add(begin, len(folded))
    return found
