"""What a kept model says of new patients: probability with model uncertainty, set or bound, likeness, contributions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurement

from ..clinical.record import Record
from .calibration import bound_of, sets_of
from .cohort import Array, Column
from .contributions import Contributions, contributions, without_each
from .modalities import clinical_field
from .model_config import Target
from .models import Model
from .out_of_distribution import Judgement, Likeness
from .prediction import Interval, Prediction
from .recalibration import Recalibration
from .store import load_folder
from .uncertainty import interval_of, model_interval, said_of

#: The site of a score of the whole.
WHOLE = "total"


@dataclass(frozen=True, eq=False)
class Said:
    """Of some rows, without contributions.

    Attributes
    ----------
    target : Target
    columns : tuple of Column
        Of the model.
    values : numpy.ndarray
        ``(rows, columns)``, NaN where unknown.
    said : numpy.ndarray
        ``(rows, classes)`` probability; of survival ``(rows, 1)`` risk by the horizon. NaN where refused.
    interval : Interval or None
        Model uncertainty; None where the model has no refitted members.
    sets : numpy.ndarray or None
        ``(rows, classes)`` bool.
    bound : numpy.ndarray or None
        ``(rows,)`` of survival, in the unit of the target's time.
    level : float or None
        Of sets or bound.
    likeness : list of Judgement
    without : mapping
        Modality -> ``(rows, classes)`` or ``(rows, 1)``; empty where the model has one modality.
    """

    target: Target
    columns: tuple[Column, ...]
    values: Array
    said: Array
    interval: Interval | None
    sets: Array | None
    bound: Array | None
    level: float | None
    likeness: list[Judgement]
    without: Mapping[str, Array]

    @property
    def names(self) -> tuple[str, ...]:
        """What `said` has columns for."""
        if self.target.kind == "survival":
            return (f"risk by {self.target.horizon:g} {self.target.time_unit}",)
        return self.target.classes

    @property
    def refused(self) -> Array:
        """``(rows,)`` bool."""
        return np.array([one.likeness is Likeness.REFUSED for one in self.likeness], dtype=bool)


@dataclass(frozen=True, eq=False)
class Answers(Said):
    """With contributions, by column."""

    contributions: Contributions


#: ``(rows, columns)`` to what the model says, ``(members, ...)`` what its members say, and the answers without each.
Everything = Callable[[Array], tuple[Prediction, Array, Mapping[str, Prediction]]]


class KeptModel:
    """A model folder, read once.

    Raises
    ------
    InputError
        As of `store.load_folder`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        found = load_folder(path)
        self.model, self.card, self.members, self.guard = found.model, found.card, found.members, found.guard
        try:
            self.recalibration = Recalibration.of(self.card.get("recalibration"))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: the recalibration of the model cannot be read.") from None

    def answer(self, values: Array) -> Answers:
        """Answers for ``(rows, columns)`` in the order of the model's columns, NaN where unknown."""
        said = self.say(values)
        return Answers(**vars(said), contributions=contributions(self.model, values))

    def say(self, values: Array, everything: Everything | None = None) -> Said:
        """The same without contributions; `everything` is a faster way to ask the model and its members."""
        model: Model = self.model
        target = model.target
        said_by = self.recalibration.said if self.recalibration is not None else lambda values: values
        alone: Mapping[str, Prediction]
        interval, modalities = None, {column.modality for column in model.columns}
        if everything is None:
            raw = model.predict(values)
            alone = without_each(model, values) if len(modalities) > 1 else {}
            if self.members or model.config.kind == "joint":
                interval = model_interval(model, values, self.members, change=said_by)
        else:
            raw, by_members, alone = everything(values)
            interval = interval_of(said_by(said_of(raw, target.horizon)), said_by(by_members))
        predicted = self.recalibration.apply(raw) if self.recalibration is not None else raw
        said = said_by(_said(raw, target))
        without = {name: said_by(_said(p, target)) for name, p in alone.items()}
        conformal = self.card.get("conformal")
        survival = target.kind == "survival"
        found = Said(
            target=target,
            columns=model.columns,
            values=values,
            said=said,
            interval=interval,
            sets=sets_of(conformal, predicted) if conformal and not survival else None,
            bound=bound_of(conformal, predicted) if conformal and survival else None,
            level=float(conformal["level"]) if conformal else None,
            likeness=self.guard.judge(values),
            without=without,
        )
        refused = found.refused
        for table in (said, *without.values()):
            table[refused] = np.nan
        return found


def _said(predicted: Prediction, target: Target) -> Array:
    if target.kind == "survival":
        assert target.horizon is not None
        return predicted.risk(target.horizon)[:, None].copy()
    return predicted.p.copy()


def _names_at(name: str, site: str) -> tuple[str, ...]:
    """What a column with a measurement of a site may be called."""
    return (f"{name}@{site}", name) if site == WHOLE else (f"{name}@{site}",)


def values_of_patient(
    model: Model, record: Record, measured: Sequence[Iterable[Measurement]]
) -> tuple[Array, list[str]]:
    """One patient's values for a model, from a clinical record and the measurements of other runs.

    Parameters
    ----------
    model : model
    record : Record
    measured : sequence of iterables of Measurement
        Runs; a value that two of them measured is taken from the first.

    Returns
    -------
    values : numpy.ndarray
        ``(1, columns)``.
    missing : list of str
        Columns without a value.

    Raises
    ------
    InputError
        Nothing of a modality that the model needs is there.
    """
    found: dict[str, Any] = {}
    for run in measured:
        for row in run:
            # A score of the whole is told as that of the site "total".
            for name in (row.name,) if row.site is None else _names_at(row.name, row.site):
                if row.state.has_value:
                    found.setdefault(name, row.value)
    values = np.full((1, len(model.columns)), np.nan)
    for j, column in enumerate(model.columns):
        name = column.name.removesuffix("_change")
        if name != column.name:
            raise InputError(f"{column.name} is a change between visits; give a table with visits instead.")
        entered = record.value(name) if clinical_field(name) else None
        value = entered if entered is not None else found.get(name)
        if value is None:
            continue
        if column.kind == "choice":
            values[0, j] = column.choices.index(str(value)) if str(value) in column.choices else np.nan
        else:
            values[0, j] = float(value)
    known = {column.modality for j, column in enumerate(model.columns) if np.isfinite(values[0, j])}
    lacking = [m for m in dict.fromkeys(c.modality for c in model.columns) if m not in known]
    if lacking and not set(lacking) <= set(model.may_lack):
        raise InputError(
            f"The model needs {', '.join(m for m in lacking if m not in model.may_lack)}, of which no value was given."
        )
    if not known:
        raise InputError("None of the model's columns was given.")
    return values, [c.name for j, c in enumerate(model.columns) if not np.isfinite(values[0, j])]
