"""The words that the rules know, read from ``lexicon.json``: a tree of words for longest-match look-up.

A term is words with one blank between them; ``(a|b|)`` is a choice, an empty one makes it optional. In a report a blank
may be any white space, a hyphen, a slash or an apostrophe.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Quantity:
    """How a measured quantity is written.

    Attributes
    ----------
    kind : str
        Measurement name; ``{chamber}`` stands for ``lv`` or ``rv``, told from the text around.
    unit : str
        UCUM, of the normalised value.
    low, high : float
        A number outside is no credible value of it.
    indexed : tuple of float or None
        Range of the same quantity per body surface area, where its unit says so.
    fraction : bool
        A bare number up to 1 is a fraction of 100 %.
    negative : bool
        Minus signs count.
    site : str or None
    """

    kind: str
    unit: str
    low: float
    high: float
    indexed: tuple[float, float] | None = None
    fraction: bool = False
    negative: bool = False
    site: str | None = None


@dataclass
class Node:
    """One word of the tree: what ends here, and what may follow."""

    entry: tuple[str, Any] | None
    next: dict[str, Node]


def expand(term: str) -> Iterator[tuple[str, ...]]:
    """The word sequences that a term of the lexicon stands for."""
    parts = [part[1:-1].split("|") if part.startswith("(") else [part] for part in re.split(r"(\([^)]*\))", term)]
    for choice in itertools.product(*parts):
        yield tuple(re.split(r"[\s\-/]+", " ".join(choice).strip()))


@cache
def document() -> Mapping[str, Any]:
    """The lexicon as shipped."""
    loaded: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath("lexicon.json").read_text(encoding="utf-8")
    )
    return loaded


@cache
def schema() -> Mapping[str, Any]:
    """The JSON schema of the lexicon, as shipped."""
    loaded: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath("lexicon.schema.json").read_text(encoding="utf-8")
    )
    return loaded


def terms() -> Iterator[tuple[str, str, Any]]:
    """Every ``(term, category, value)`` of the lexicon; quantities come as `Quantity`."""
    for row in document()["quantities"]:
        quantity = Quantity(
            row["kind"],
            row["unit"],
            row["range"][0],
            row["range"][1],
            indexed=tuple(row["indexed"]) if "indexed" in row else None,
            fraction=row.get("fraction", False),
            negative=row.get("negative", False),
            site=row.get("site"),
        )
        for term in row["terms"]:
            yield term, "quantity", quantity
    for category, values in document()["terms"].items():
        for value, words in values.items():
            for term in words:
                yield term, category, value


@cache
def tree() -> dict[str, Node]:
    """All terms as a tree of words; the first of two equal terms counts."""
    root: dict[str, Node] = {}
    for term, category, value in terms():
        for words in expand(term):
            level, node = root, None
            for word in words:
                node = level.setdefault(word, Node(None, {}))
                level = node.next
            if node is not None and node.entry is None:
                node.entry = (category, value)
    return root


@cache
def sections() -> Mapping[str, str]:
    """Heading, lower case → section."""
    return {heading: section for section, headings in document()["sections"].items() for heading in headings}
