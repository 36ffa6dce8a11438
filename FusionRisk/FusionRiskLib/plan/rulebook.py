"""Rules and guidelines, read from their files and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from CardioPrecisionLib.errors import InputError

from .condition import Condition, Join, Not, read_condition

UNVERIFIED = "unverified"
#: Facts whose names begin so are estimates of risk: a cut-off on one belongs to that one alone.
RISK = "risk_"


@dataclass(frozen=True)
class Guideline:
    """A published document. `scores`: the only risk scores that its cut-offs belong to."""

    key: str
    title: str
    edition: str
    citation: str
    doi: str
    scores: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        return f"{self.citation}. doi:{self.doi}"


@dataclass(frozen=True)
class Exclusion:
    """Who a rule is not for, and why."""

    when: Condition
    why: str


@dataclass(frozen=True)
class Rule:
    """One statement of one guideline and when it applies.

    Attributes
    ----------
    id, topic : str
    heading : str
        The topic in words, as the title of its file.
    guideline : Guideline
    strength : str or None
        Class and level of evidence as published; ends with "(unverified)" where it is known from memory only.
    needs : tuple of str
        Names of all facts that the rule may ask for.
    when : Condition
    exclusions : tuple of Exclusion
    text : str
    verified : bool
        False where cut-offs or statement are known from memory only.
    checked : str
        Where cut-offs and statement were read.
    """

    id: str
    topic: str
    heading: str
    guideline: Guideline
    strength: str | None
    needs: tuple[str, ...]
    when: Condition
    exclusions: tuple[Exclusion, ...]
    text: str
    verified: bool
    checked: str

    @property
    def applies(self) -> Condition:
        """`when`, and none of the exclusions."""
        return Join((self.when, *(Not(exclusion.when) for exclusion in self.exclusions)), every=True)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, where the plain loader keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_guidelines(text: str, place: str) -> dict[str, Guideline]:
    """Guidelines by key. Raises `InputError` naming file and place of what is wrong."""
    document = _checked(text, place, "guidelines")
    return {
        key: Guideline(key, **{**row, "edition": str(row["edition"]), "scores": tuple(row.get("scores", ()))})
        for key, row in document["guidelines"].items()
    }


def read_rules(text: str, place: str, known: Mapping[str, Guideline]) -> list[Rule]:
    """The rules of one file.

    Parameters
    ----------
    text : str
        YAML.
    place : str
        The file's name, for messages.
    known : mapping
        Guidelines by key.

    Raises
    ------
    InputError
        Not YAML, not as the schema says, a guideline that is not known, facts that `needs` and the conditions do not
        both name, or a risk score that is not the guideline's own. One line with file and rule.
    """
    document = _checked(text, place, "rule_file")
    return [_rule(row, document, place, known) for row in document["rules"]]


def _rule(row: Mapping[str, Any], file: Mapping[str, Any], place: str, known: Mapping[str, Guideline]) -> Rule:
    where = f"{place}: rule {row['id']}"
    guideline = known.get(row["guideline"])
    if guideline is None:
        raise InputError(f"{where}: the guideline {row['guideline']} is not in guidelines.yaml; add it there.")
    when = read_condition(row["when"])
    exclusions = tuple(Exclusion(read_condition(e["when"]), e["why"]) for e in row.get("exclusions", ()))
    asked = dict.fromkeys(n for condition in (when, *(e.when for e in exclusions)) for n in condition.names())
    needs = tuple(row["needs"])
    if set(asked) != set(needs):
        odd = sorted(set(asked) ^ set(needs))
        raise InputError(f"{where}: needs and the conditions must name the same facts; see {', '.join(odd)}.")
    foreign = [name for name in asked if name.startswith(RISK) and name not in guideline.scores]
    if foreign:
        raise InputError(f"{where}: {foreign[0]} is no score of {guideline.key}; a cut-off belongs to one score.")
    return Rule(
        id=row["id"],
        topic=file["topic"],
        heading=file["title"],
        guideline=guideline,
        strength=_strength(row),
        needs=needs,
        when=when,
        exclusions=exclusions,
        text=" ".join(row["text"].split()),
        verified=row["verified"],
        checked=row["checked"],
    )


def _strength(row: Mapping[str, Any]) -> str | None:
    strength: str | None = row["strength"]
    if row["verified"] and row.get("strength_verified", True):
        return strength
    return f"{strength} ({UNVERIFIED})" if strength else UNVERIFIED


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of the rule files, as shipped."""
    loaded: dict[str, Any] = json.loads(_shipped("rules.schema.json"))
    return loaded


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _checked(text: str, place: str, kind: str) -> dict[str, Any]:
    """A document that the schema's definition `kind` accepts."""
    import jsonschema

    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise InputError(
            f"{place}:{line} this is no YAML ({getattr(error, 'problem', None) or 'unreadable'})."
        ) from None
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema()["$defs"]})
    wrong = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if wrong is not None:
        raise InputError(f"{place}: {_location(wrong.absolute_path, document)}{_one_line(wrong.message)}.")
    loaded: dict[str, Any] = document
    return loaded


def _location(path: Any, document: Any) -> str:
    """The place of an error; a rule by its id, where it has one."""
    steps = list(path)
    if len(steps) > 1 and steps[0] == "rules":
        row = document["rules"][steps[1]]
        name = row.get("id") if isinstance(row, dict) else None
        steps = [f"rule {name or f'number {steps[1] + 1}'}", *steps[2:]]
    return "".join(f"{step}: " for step in steps)


def _one_line(message: str, most: int = 160) -> str:
    message = " ".join(message.split())
    return message if len(message) <= most else f"{message[:most]} …"


@cache
def guidelines() -> Mapping[str, Guideline]:
    """All guidelines by key."""
    return read_guidelines(_shipped("guidelines.yaml"), "guidelines.yaml")


@cache
def rules() -> tuple[Rule, ...]:
    """All rules that ship, by file name and in the order of each file.

    Raises
    ------
    InputError
        A file is wrong, or two rules have one id; one line with file and rule.
    """
    folder = resources.files(__package__).joinpath("rules")
    found: dict[str, Rule] = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".yaml"):
            continue
        for rule in read_rules(file.read_text(encoding="utf-8"), file.name, guidelines()):
            if rule.id in found:
                raise InputError(f"{file.name}: rule {rule.id} is there twice; every id is used once.")
            found[rule.id] = rule
    return tuple(found.values())


def headings() -> dict[str, str]:
    """Topic -> its title in words, in the order of the rules."""
    return {rule.topic: rule.heading for rule in rules()}


def topics() -> tuple[str, ...]:
    """The topics of the rules, in their order."""
    return tuple(headings())
