"""``extract``: a report in, findings with their places out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

from CardioPrecisionLib.errors import InputError

from .calcium import calcium
from .conflicts import conflicting
from .context import CONCEPTS
from .disease import scars, single, valves, wall_motion
from .finding import Finding
from .plaque import cad_rads, plaques
from .quantities import quantities
from .scope import Carried, Scope
from .sentences import split
from .stenosis import stenoses
from .tokens import Token, fold, tokens_of

#: Longest text that is read; a report has some thousand characters.
MAX_CHARACTERS = 10_000_000
#: Rules in the order in which they take tokens.
RULES = (cad_rads, quantities, calcium, valves, stenoses, plaques, scars, wall_motion, single)
#: A sentence without any of these says nothing that is looked for.
_TRIGGERS = CONCEPTS | {
    "cad",
    "nonobstructive",
    "vessel",
    "branch",
    "graft",
    "segment_word",
    "position",
    "chamber",
    "valve",
}


def extract(text: str) -> list[Finding]:
    """Measurements and findings of an English free-text report (CT, MR, echo, calcium score), in their order.

    Parameters
    ----------
    text : str
        One report. Everything that is found carries its characters ``[start, end)`` of this text.

    Returns
    -------
    list of Finding
        Present, absent, uncertain and historical ones. Conditions ("if EF falls below 35 %"), normal ranges and
        recommendations state nothing and are left out. Contradictions are all kept and marked `conflict`.

    Raises
    ------
    InputError
        It is no text, or longer than `MAX_CHARACTERS`.
    """
    if not isinstance(text, str):
        raise InputError(f"The report is {type(text).__name__}, not text; decode it first (UTF-8).")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"The report has {len(text)} characters; give one report, of {MAX_CHARACTERS} at most.")
    folded = fold(text)
    sentences = split(text, folded)
    tokens = tokens_of(folded, [sentence.start for sentence in sentences])
    starts = [token.start for token in tokens]
    carried = Carried()
    found: list[Finding] = []
    for sentence in sentences:
        own = tokens[bisect_left(starts, sentence.start) : bisect_left(starts, sentence.end)]
        if sentence.section != carried.section or sentence.new_section:
            carried = Carried(section=sentence.section, calcium_table="calcium" in text[: sentence.start][-40:].lower())
        if (
            _TRIGGERS.isdisjoint([token.cat for token in own])
            and "percentile" not in folded[sentence.start : sentence.end]
        ):
            carried.calcium_table &= not own or own[0].cat == "total"
            if not carried.calcium_table:
                continue
        scope = Scope(text, own, sentence, carried)
        _labels(scope, folded)
        for rule in RULES:
            found += rule(scope)
        _remember(scope)
    found.sort(key=lambda finding: (finding.start, finding.end))
    marks = conflicting(found)
    return (
        [replace(f, conflict=True) if mark else f for f, mark in zip(found, marks, strict=True)]
        if any(marks)
        else found
    )


def _label_tokens(tokens: Sequence[Token], folded: str) -> Iterator[Token]:
    """Places that head a sentence: "LAD: …", "RIGHT VENTRICLE" alone, "Mitral valve - …"."""
    for i, token in enumerate(tokens[:4]):
        if token.cat in ("vessel", "branch", "graft", "chamber", "valve") and token.value != "valves":
            following = tokens[i + 1] if i + 1 < len(tokens) else None
            alone = following is None and i == 0
            dash = following is not None and following.text == "-" and folded[following.start - 1] == " "
            if alone or dash or (following is not None and following.text == ":"):
                yield token
        elif token.cat not in ("filler", "global", "num", "punct", "word"):
            return


def _labels(scope: Scope, folded: str) -> None:
    carried = scope.carried
    for token in _label_tokens(scope.tokens, folded):
        carried.vessel = token.value if token.cat == "vessel" else None
        carried.label = token.value if token.cat in ("vessel", "branch", "graft") else None
        carried.chamber = token.value if token.cat == "chamber" else None
        carried.valve = token.value.removesuffix("_bare") if token.cat == "valve" else None
        return


def _remember(scope: Scope) -> None:
    """The last vessel and valve that were named hold for positions ("its mid portion") and bare lesions to come."""
    carried = scope.carried
    valves = [str(t.value).removesuffix("_bare") for t in scope.tokens if t.cat == "valve" and t.value != "valves"]
    if valves:
        carried.valve = valves[-1]
    vessels = [mention.vessel for mention in scope.coronary if mention.vessel]
    if vessels and vessels[-1] != carried.vessel:
        carried.vessel, carried.label = vessels[-1], None
    if scope.coronary:
        carried.valve = None
