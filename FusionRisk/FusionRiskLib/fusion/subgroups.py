"""Whether a model is as good in every group of patients: by sex, age, ethnicity, scanner and site, with their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .cohort import Array, Cohort, Outcome
from .metrics.bootstrap import Estimate, bootstrap
from .metrics.classes import accuracy, auc
from .metrics.survival import concordance_ipcw, observed_to_expected

#: Columns of words that make groups, by what they are.
_BY_WORD = {"sex": ("sex",), "ethnicity": ("race", "ethnicity"), "scanner": ("scanner", "manufacturer", "vendor")}
_AGE, _BANDS = "age_years", (0.0, 50.0, 65.0, 75.0, np.inf)
#: Fewer patients, or fewer with and without the event, give no number.
MIN_PATIENTS, MIN_EVENTS = 20, 5


@dataclass(frozen=True)
class Subgroup:
    """One group of patients.

    Attributes
    ----------
    by, name : str
        ``sex``, ``female``.
    patients : int
    events : int or None
        None for more than two classes.
    discrimination : Estimate or None
        AUC, accuracy of more than two classes, or IPCW concordance; None where the group is too small.
    calibration : Estimate or None
        Share observed minus mean predicted (classes of two), or observed over expected (survival).
    reason : str or None
        Why there is no number.
    """

    by: str
    name: str
    patients: int
    events: int | None
    discrimination: Estimate | None = None
    calibration: Estimate | None = None
    reason: str | None = None


def groups_of(cohort: Cohort) -> Iterator[tuple[str, str, Array]]:
    """What a cohort can be divided by: kind, name, and rows of each group."""
    by_name = {column.name.lower(): j for j, column in enumerate(cohort.columns)}
    for kind, names in _BY_WORD.items():
        for name in names:
            j = by_name.get(name)
            if j is not None and cohort.columns[j].kind == "choice":
                for place, choice in enumerate(cohort.columns[j].choices):
                    yield kind, choice, np.flatnonzero(cohort.values[:, j] == place)
    age = by_name.get(_AGE)
    if age is not None:
        years = cohort.values[:, age]
        for low, high in pairwise(_BANDS):
            name = f"{low:.0f} and over" if np.isinf(high) else f"{low:.0f} to {high - 1:.0f}" if low else "under 50"
            yield "age", name, np.flatnonzero((years >= low) & (years < high))
    if cohort.site is not None:
        for place, site in enumerate(cohort.sites):
            yield "site", site, np.flatnonzero(cohort.site == place)


def audit(cohort: Cohort, p: Array, resamples: int = 300, seed: int = 0) -> list[Subgroup]:
    """Judge predictions in every group.

    Parameters
    ----------
    cohort : Cohort
    p : numpy.ndarray
        ``(rows, classes)`` or, of survival, ``(rows,)`` risk by the horizon, for rows not trained on.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    list of Subgroup
        Groups without a patient are left out. Differences between small groups are mostly chance, and the more groups
        are looked at the more of them stand out: the intervals are not adjusted for that.
    """
    return [_judge(cohort, p, *group, resamples, seed) for group in groups_of(cohort) if len(group[2])]


def _judge(cohort: Cohort, p: Array, by: str, name: str, rows: Array, resamples: int, seed: int) -> Subgroup:
    outcome = cohort.target.take(rows)
    patients = len(np.unique(cohort.patient[rows]))
    events = None
    if outcome.kind != "multiclass":
        events = int((outcome.e if outcome.kind == "survival" else outcome.y == 1).sum())
    if patients < MIN_PATIENTS:
        return Subgroup(by, name, patients, events, reason=f"fewer than {MIN_PATIENTS} patients")
    if events is not None and min(events, len(rows) - events) < MIN_EVENTS:
        return Subgroup(by, name, patients, events, reason=f"fewer than {MIN_EVENTS} with or without the event")
    own = p[rows]
    found = bootstrap(lambda drawn: _both(outcome.take(drawn), own[drawn]), cohort.patient[rows], resamples, seed)
    return Subgroup(by, name, patients, events, found["discrimination"], found.get("calibration"))


def _both(outcome: Outcome, p: Array) -> dict[str, float]:
    if outcome.kind == "survival":
        assert outcome.horizon is not None
        return {
            "discrimination": concordance_ipcw(outcome.t, outcome.e, p, outcome.horizon),
            "calibration": observed_to_expected(outcome.t, outcome.e, p, outcome.horizon),
        }
    if outcome.kind == "multiclass":
        return {"discrimination": accuracy(outcome.y, p)}
    return {"discrimination": auc(outcome.y, p[:, 1]), "calibration": float(outcome.y.mean() - p[:, 1].mean())}
