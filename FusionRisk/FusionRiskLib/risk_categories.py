"""The categories that guidelines give to the numbers of a score; a limit belongs to one score and one edition only."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from .plan.rulebook import Guideline, guidelines
from .scores.columns import Columns


@dataclass(frozen=True)
class Category:
    """A category, and the bands that it is one of.

    Attributes
    ----------
    name : str
        ``low``, ``borderline``, …
    limits : tuple of float
        Where one band ends and the next begins, in the unit of the score; a value at a limit is in the higher band.
    names : tuple of str
        One more than limits.
    guideline : Guideline
    verified : bool
        Whether the limits were read in a source.
    """

    name: str
    limits: tuple[float, ...]
    names: tuple[str, ...]
    guideline: Guideline
    verified: bool = True


@cache
def _by_score() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files(__package__).joinpath("risk_categories.json").read_text(encoding="utf-8")
    return {score: row for row in json.loads(text)["categories"] for score in row["scores"]}


def scores_with_categories() -> tuple[str, ...]:
    return tuple(_by_score())


def _band(row: Mapping[str, Any], age_years: float) -> Mapping[str, Any] | None:
    """The bands for an age; None where they depend on an age that is not known."""
    bands: list[Mapping[str, Any]] = row["bands"]
    if len(bands) == 1:
        return bands[0]
    if np.isnan(age_years):
        return None
    return next(band for band in bands if age_years < band.get("age_below", np.inf))


def category_of(score: str, value: float | str | None, columns: Columns) -> Category | None:
    """The published category of a score's value.

    Parameters
    ----------
    score : str
        Name in the registry.
    value : float, str or None
        In the unit of the score.
    columns : Columns
        Of one patient: the limits of SCORE2 depend on the age, and are not for people with diabetes.

    Returns
    -------
    Category or None
        None where the guideline gives no categories to this score in this patient, or there is no number.
    """
    row = _by_score().get(score)
    if row is None or not isinstance(value, float):
        return None
    if "not_with" in row and columns.number(row["not_with"])[0] == 1:
        return None
    band = _band(row, float(columns.number("age_years")[0]))
    if band is None:
        return None
    place = bisect_right(band["limits"], value)
    limits, names = tuple(map(float, band["limits"])), tuple(band["names"])
    return Category(names[place], limits, names, guidelines()[row["guideline"]], row.get("verified", True))
