"""All scores by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from types import MappingProxyType

from CardioPrecisionLib.errors import InputError

from .score import Score

#: Modules with a tuple ``SCORES``, in the order of the table.
MODULES = (
    "prevent",
    "pce",
    "score2",
    "score2_op",
    "score2_diabetes",
    "framingham",
    "mesa_chd",
    "calcium",
    "cad_pretest",
    "cad_consortium",
    "cha2ds2_vasc",
    "maggic",
    "h2fpef",
    "hfa_peff",
    "diastolic",
)


@cache
def scores() -> Mapping[str, Score]:
    """Every score by its name."""
    found: dict[str, Score] = {}
    for module in MODULES:
        for score in import_module(f".{module}", __package__).SCORES:
            if score.name in found:
                raise ValueError(f"score {score.name} is there twice")
            found[score.name] = score
    return MappingProxyType(found)


def families() -> tuple[str, ...]:
    """The models, each with one or more scores."""
    return tuple(dict.fromkeys(score.family for score in scores().values()))


def select(wanted: Iterable[str] | None = None) -> list[Score]:
    """Scores by name, family (``prevent``) or pattern (``risk_prevent_base_*_10y``); all where nothing is asked for.

    Raises
    ------
    InputError
        Something asked for is not there; the message names what there is.
    """
    every = scores()
    if wanted is None:
        return list(every.values())
    chosen: dict[str, Score] = {}
    for word in wanted:
        hits = [s for s in every.values() if word in (s.name, s.family) or fnmatchcase(s.name, word)]
        if not hits:
            raise InputError(
                f"'{word}' is no score; give a name, a pattern such as 'risk_prevent_base_*_10y', "
                f"or a family: {', '.join(families())}."
            )
        chosen |= {score.name: score for score in hits}
    return list(chosen.values())
