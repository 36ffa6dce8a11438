"""What the columns of a cohort table are: a small YAML or JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from CardioPrecisionLib.errors import InputError

from ..clinical.fields import fields
from ..clinical.files import read_text
from .modalities import clinical_field

SCHEMA = "cardioprecision/cohort/1"
Kind = Literal["binary", "multiclass", "survival"]
DAYS_IN = {"days": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25}


@dataclass(frozen=True)
class OutcomeSpec:
    """The columns of the outcome.

    Attributes
    ----------
    kind : {"binary", "multiclass", "survival"}
    column : str
        Class of a patient; empty for survival.
    positive : str or None
        The class that counts as the event of a binary outcome.
    classes : tuple of str
        Their order; empty for the order of the alphabet.
    time, event, time_unit : str
        Survival: time from baseline to event or last contact, yes/no, unit.
    horizon : float or None
        The time at which survival is judged; None for the median of the event times.
    """

    kind: Kind
    column: str = ""
    positive: str | None = None
    classes: tuple[str, ...] = ()
    time: str = ""
    event: str = ""
    time_unit: str = "days"
    horizon: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return (self.time, self.event) if self.kind == "survival" else (self.column,)


def like(name: str, names: Iterable[str]) -> list[str]:
    """The columns that a name of the schema means: itself, or with ``*`` all that fit."""
    names = list(names)
    return [name] if name in names else [n for n in names if "*" in name and fnmatchcase(n, name)]


@dataclass(frozen=True)
class CohortSchema:
    """What the columns of a table are.

    Attributes
    ----------
    id : str
        Tells patients apart; never a predictor, never repeated in a message.
    visit, site, consent : str or None
    outcome : OutcomeSpec or None
        None for a table to predict on.
    modalities : mapping
        Modality -> columns, beside and before what the names say themselves; see `like`.
    columns : mapping
        Column of the table -> name of the project, or ``{"field": name, "unit": unit}``.
    exclude : tuple of str
        Columns that are not read.
    baseline_at, outcome_at : str or None
        Columns with the time of the baseline and of the outcome.
    measured_at : mapping
        Modality -> column with the time of its examination.
    accept : mapping
        Column -> why the leakage checks may let it through.
    """

    id: str
    visit: str | None = None
    site: str | None = None
    consent: str | None = None
    outcome: OutcomeSpec | None = None
    modalities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    baseline_at: str | None = None
    outcome_at: str | None = None
    measured_at: Mapping[str, str] = field(default_factory=dict)
    accept: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, str]:
        """Column -> what it is for, of all columns that are no predictors."""
        uses = {"the patient": self.id, "the visit": self.visit, "the site": self.site, "the consent": self.consent}
        uses |= {"the time of the baseline": self.baseline_at, "the time of the outcome": self.outcome_at}
        uses |= {f"the time of {name}": column for name, column in self.measured_at.items()}
        if self.outcome is not None:
            uses |= {f"the outcome ({column})": column for column in self.outcome.names}
        return {column: use for use, column in uses.items() if column}

    def target(self, column: str) -> tuple[str, str | None]:
        """Name of the project and unit that a column is read as."""
        to = self.columns.get(column, column)
        return (str(to["field"]), to.get("unit")) if isinstance(to, Mapping) else (str(to), None)


@cache
def _json_schema() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("cohort.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def parse_schema(document: Any, place: str = "the cohort schema") -> CohortSchema:
    """A schema from its document.

    Raises
    ------
    InputError
        What does not fit, where, and what is expected.
    """
    import jsonschema

    if not isinstance(document, dict):
        raise InputError(f"{place}: a cohort schema is a table of names (schema, id, outcome, …).")
    try:
        jsonschema.validate(document, _json_schema())
    except jsonschema.ValidationError as error:
        # of "one of these" the branch of the given kind is the one to explain
        error = jsonschema.exceptions.best_match([error]) or error
        where = ".".join(str(part) for part in error.absolute_path) or "the document"
        raise InputError(f"{place}: {where}: {error.message[:160]}; see docs/fusion.md.") from None
    spec = document.get("outcome")
    outcome = None
    if spec is not None:
        positive = spec.get("positive")
        outcome = OutcomeSpec(
            **{k: v for k, v in spec.items() if k not in ("positive", "classes")},
            positive=None if positive is None else _word(positive),
            classes=tuple(_word(c) for c in spec.get("classes", ())),
        )
        if outcome.kind == "multiclass" and outcome.positive is not None:
            raise InputError(f"{place}: outcome.positive belongs to a binary outcome; leave it out.")
    times = document.get("times", {})
    schema = CohortSchema(
        id=document["id"],
        visit=document.get("visit"),
        site=document.get("site"),
        consent=document.get("consent"),
        outcome=outcome,
        modalities={name: tuple(columns) for name, columns in document.get("modalities", {}).items()},
        columns=document.get("columns", {}),
        exclude=tuple(document.get("exclude", ())),
        baseline_at=times.get("baseline"),
        outcome_at=times.get("outcome"),
        measured_at=times.get("measured", {}),
        accept=document.get("accept", {}),
    )
    for column in schema.columns:
        name, unit = schema.target(column)
        known = clinical_field(name)
        if unit is not None and (known is None or unit not in fields()[known].units):
            raise InputError(f"{place}: columns.{column}: {unit!r} is no unit of a clinical field {name!r}.")
    return schema


def _word(value: Any) -> str:
    """A class as its cell would be written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_schema(path: str | Path) -> CohortSchema:
    """A schema from YAML or JSON.

    Raises
    ------
    InputError
        The file cannot be read, or something in it does not fit.
    """
    import yaml

    try:
        document = yaml.safe_load(read_text(Path(path)))  # JSON is YAML
    except yaml.YAMLError:
        raise InputError(f"{path}: this is neither YAML nor JSON.") from None
    return parse_schema(document, str(path))
