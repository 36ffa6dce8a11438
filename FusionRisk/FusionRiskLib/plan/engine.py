"""From facts to statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import State

from ..clinical.fields import field_name
from .condition import Because
from .facts import Fact
from .rulebook import Rule, rules
from .rulebook import topics as known_topics

APPLIES, DOES_NOT_APPLY, NOT_ASSESSABLE = "applies", "does_not_apply", "not_assessable"
CAD_RADS, CATEGORIES = "cad_rads", ("0", "1", "2", "3", "4A", "4B", "5", "N")
_STATE = {True: APPLIES, False: DOES_NOT_APPLY, None: NOT_ASSESSABLE}


@dataclass(frozen=True)
class Statement:
    """What a rule says of one patient. For research use, not for clinical decisions.

    Attributes
    ----------
    id, topic : str
        Of the rule.
    state : {"applies", "does_not_apply", "not_assessable"}
    text : str
        The guideline's statement in own words; it counts only where the state is ``applies``.
    reason : str
        The comparisons that decided; where not assessable, what is missing and why.
    inputs : tuple of Fact
        The facts behind `reason`, in the order in which the rule names them.
    guideline, edition, citation : str
    strength : str or None
        Class and level as published.
    """

    id: str
    topic: str
    state: str
    text: str
    reason: str
    inputs: tuple[Fact, ...]
    guideline: str
    edition: str
    citation: str
    strength: str | None


def make_plan(facts: Mapping[str, Fact], topics: Sequence[str] | None = None) -> list[Statement]:
    """One statement for every rule.

    Parameters
    ----------
    facts : mapping
        Name -> fact. A clinical field may be given by an alias (``lv_ef`` for ``lv_ef_pct``); its own name comes first.
        ``cad_rads`` may have its prefix and modifiers.
    topics : sequence of str, optional
        Only these.

    Returns
    -------
    list of Statement
        In the order of the rules. A missing, unknown or not assessable fact makes a rule ``not_assessable`` and is
        named, unless the other facts decide without it.

    Raises
    ------
    InputError
        A topic that no rule has.
    """
    for topic in topics or ():
        if topic not in known_topics():
            raise InputError(f"'{topic}' is no topic of the plan; there are {', '.join(known_topics())}.")
    named = _by_own_name(facts)
    return [_state(rule, named) for rule in rules() if topics is None or rule.topic in topics]


def _by_own_name(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    named = dict(facts)
    for given, fact in facts.items():
        own = field_name(given)
        if own is not None and own != given and not (own in facts and facts[own].known):
            named[own] = replace(fact, name=own)
    if CAD_RADS in named:
        named[CAD_RADS] = _bare_category(named[CAD_RADS])
    return named


def _bare_category(fact: Fact) -> Fact:
    """A CAD-RADS category without prefix and modifiers ("CAD-RADS 4A/P2" is 4A); what is none is not assessable."""
    if not fact.known:
        return fact
    text = f"{fact.value:g}" if isinstance(fact.value, float) else str(fact.value)
    bare = text.upper().removeprefix("CAD-RADS").split("/")[0].strip()
    if bare in CATEGORIES:
        return replace(fact, value=bare)
    return replace(fact, value=None, state=State.NOT_ASSESSABLE, reason=f"{text} is no category of CAD-RADS 2.0")


def _state(rule: Rule, facts: Mapping[str, Fact]) -> Statement:
    verdict = rule.applies.judge(facts)
    because = verdict.because
    reason = _sentence(because)
    if verdict.truth is False:
        excluded = [(e, e.when.judge(facts)) for e in rule.exclusions]
        hits = [(e, v) for e, v in excluded if v.truth]
        if hits:
            reason = "; ".join(f"{_sentence(v.because)}: {e.why}" for e, v in hits)
            because = tuple(reason for _, v in hits for reason in v.because)
    order = {name: place for place, name in enumerate(rule.needs)}
    inputs = dict.fromkeys(sorted((b.fact for b in because), key=lambda fact: order[fact.name]))
    return Statement(
        id=rule.id,
        topic=rule.topic,
        state=_STATE[verdict.truth],
        text=rule.text,
        reason=reason,
        inputs=tuple(inputs),
        guideline=rule.guideline.title,
        edition=rule.guideline.edition,
        citation=rule.guideline.reference,
        strength=rule.strength,
    )


def _sentence(because: Sequence[Because]) -> str:
    """One part per fact, with all that it was compared with."""
    tests: dict[Fact, list[Because]] = {}
    for b in because:
        tests.setdefault(b.fact, []).append(b)
    parts = []
    for group in tests.values():
        compared = ", ".join(dict.fromkeys(b.test for b in group if b.test))
        text = max((b.text for b in group), key=len)  # with the most digits
        parts.append(f"{text} ({compared})" if compared else text)
    return "; ".join(parts)
