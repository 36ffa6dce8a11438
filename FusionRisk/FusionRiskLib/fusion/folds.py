"""Splits by patient: stratified by outcome, aware of sites, nested, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from CardioPrecisionLib.errors import InputError

from .cohort import Array, Cohort


@dataclass(frozen=True, eq=False)
class Fold:
    """One split.

    Attributes
    ----------
    train, test : numpy.ndarray
        Row numbers of the cohort, ascending.
    repeat, number : int
        Which repeat of the whole split, which fold of it.
    """

    train: Array
    test: Array
    repeat: int = 0
    number: int = 0


def outer_folds(
    cohort: Cohort, folds: int = 5, repeats: int = 1, seed: int = 0, by: Literal["patient", "site"] = "patient"
) -> list[Fold]:
    """Folds of the whole cohort.

    Parameters
    ----------
    cohort : Cohort
    folds, repeats, seed : int
    by : {"patient", "site"}
        ``patient``: every fold holds its share of every class and, within it, of every site; their numbers differ by at
        most one. ``site``: a site lies in one fold as a whole, so that every test is on sites never trained on.

    Returns
    -------
    list of Fold
        ``folds * repeats`` of them; within a repeat every row is tested once.

    Raises
    ------
    InputError
        Fewer folds than two, more than patients or sites, or (by site) a patient who was seen at two sites.
    """
    result: list[Fold] = []
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat))
        where = _by_site(cohort, folds, rng) if by == "site" else _by_patient(cohort, folds, rng)
        fold_of_row = where[cohort.patient]
        result += [
            Fold(np.flatnonzero(fold_of_row != k), np.flatnonzero(fold_of_row == k), repeat, k) for k in range(folds)
        ]
    return result


def inner_folds(cohort: Cohort, rows: Array, folds: int, seed: int) -> Iterator[Fold]:
    """Folds of some rows, by patient; row numbers are those of the whole cohort."""
    part = cohort.take(rows)
    for fold in outer_folds(part, folds, 1, seed):
        yield Fold(rows[fold.train], rows[fold.test], 0, fold.number)


def _first_rows(cohort: Cohort) -> Array:
    """The first row of every patient, patients in the order of their numbers."""
    return np.unique(cohort.patient, return_index=True)[1]


def _by_patient(cohort: Cohort, folds: int, rng: np.random.Generator) -> Array:
    """The fold of every patient: shuffled within class and site, then dealt like cards."""
    first = _first_rows(cohort)
    if not 2 <= folds <= len(first):
        raise InputError(f"{folds} folds of {len(first)} patients cannot be made; choose from 2 to {len(first)}.")
    site = np.zeros(len(first), np.int64) if cohort.site is None else cohort.site[first]
    stratum = cohort.outcome.strata[first] if cohort.outcome is not None else np.zeros(len(first), np.int64)
    # dealing goes on from one stratum to the next, so that the sizes of the folds differ by one at most, too
    dealt = np.lexsort((rng.random(len(first)), site, stratum))
    where = np.empty(len(first), np.int64)
    where[dealt] = rng.permutation(folds)[np.arange(len(first)) % folds]
    return where


def _by_site(cohort: Cohort, folds: int, rng: np.random.Generator) -> Array:
    """The fold of every patient: sites, the largest first, go to the smallest fold."""
    if cohort.site is None:
        raise InputError("Folds by site need a site column; name one in the schema.")
    first = _first_rows(cohort)
    site = cohort.site[first]
    if (cohort.site != site[cohort.patient]).any():
        raise InputError("A patient was seen at two sites; folds by site need one site per patient.")
    present, sizes = np.unique(site, return_counts=True)
    if not 2 <= folds <= len(present):
        raise InputError(f"{folds} folds of {len(present)} sites cannot be made; choose from 2 to {len(present)}.")
    load = np.zeros(folds)
    of_site: dict[int, int] = {}
    for i in np.lexsort((rng.random(len(present)), -sizes)):
        of_site[int(present[i])] = k = int(load.argmin())
        load[k] += sizes[i]
    return np.array([of_site[int(s)] for s in site])
