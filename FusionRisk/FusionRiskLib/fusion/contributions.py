"""How much each input contributed to one answer: exact for linear models, Shapley values for the others.

Contributions add up to the answer on an open scale (`model_config.evidence`): log-odds, centred log-probabilities, or
the log cumulative hazard at the horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, Literal

import numpy as np

from .cohort import Array
from .joint import JointModel
from .learners import Cox, Logistic
from .model_config import evidence
from .models import EarlyModel, LateModel, Model
from .prediction import Prediction

#: Up to this many groups all their subsets are gone through.
MAX_EXACT = 10


@dataclass(frozen=True, eq=False)
class Contributions:
    """Of some rows.

    Attributes
    ----------
    groups : tuple of str
        Columns or modalities.
    values : numpy.ndarray
        ``(rows, groups, width)``; width is the number of classes of a multiclass outcome and 1 else.
    base : numpy.ndarray
        ``(rows, width)`` the answer without the inputs: of the mean patient (linear), of typical values, or with the
        modality absent where the model was trained for that.
    total : numpy.ndarray
        ``(rows, width)`` the answer: `base` plus the sum of `values`.
    method : str
    error : numpy.ndarray or None
        ``(rows, groups, width)`` standard error of sampled values.
    """

    groups: tuple[str, ...]
    values: Array
    base: Array
    total: Array
    method: str
    error: Array | None = None


def contributions(
    model: Model,
    values: Array,
    by: Literal["column", "modality"] = "column",
    permutations: int = 100,
    seed: int = 0,
) -> Contributions:
    """Contributions to the answers for some rows.

    Parameters
    ----------
    model : model
    values : numpy.ndarray
        ``(rows, columns)`` as for ``model.predict``.
    by : {"column", "modality"}
    permutations : int
        Of the columns, where there are too many of them for all subsets.
    seed : int

    Notes
    -----
    A regression on joined features: coefficient times (feature - its training mean), of a column with all its features
    and the sign that it is missing. Other models: Shapley values of replacing an input by what is typical in training
    (mean, most frequent word; Sundararajan and Najmi 2020, "The many Shapley values for model explanation"), exactly or
    along random orders and their reverses (Castro et al. 2009). They say what the model uses, not what causes what.
    """
    columns = model.columns
    names = tuple(c.name if by == "column" else c.modality for c in columns)
    groups = tuple(dict.fromkeys(names))
    member = np.array([[name == group for name in names] for group in groups])
    if isinstance(model, EarlyModel) and isinstance(model.learned, Logistic | Cox):
        return _linear(model, model.learned, values, groups, member)
    blank = np.full(len(columns), np.nan)
    if by == "column" or not model.may_lack:
        blank = typical(model)

    def answer(known: Array) -> Array:
        """``(rows, width)`` with the groups that are known."""
        kept = known @ member
        return evidence(model.predict(np.where(kept, values, blank)), model.target)

    if len(groups) <= MAX_EXACT:
        found, base, total = shapley_exact(answer, len(groups))
        return Contributions(groups, found, base, total, "Shapley values of all subsets")
    found, error, base, total = shapley_sampled(answer, len(groups), permutations, seed)
    return Contributions(groups, found, base, total, "Shapley values of sampled orders", error)


def typical(model: Model) -> Array:
    """``(columns,)`` mean of the known numbers of training, most frequent word."""
    if isinstance(model, LateModel):
        return np.concatenate([base.preprocessor.typical for base in model.bases.values()])
    if isinstance(model, JointModel):
        return np.concatenate([p.typical for p in model.preprocessors.values()])
    return model.preprocessor.typical


def _linear(
    model: EarlyModel, learned: Logistic | Cox, values: Array, groups: tuple[str, ...], member: Array
) -> Contributions:
    preprocessor = model.preprocessor
    x = preprocessor.transform(values)
    if isinstance(learned, Cox):
        coef = learned.coef[None]
    elif model.target.kind == "binary":
        coef = learned.coef[1:] - learned.coef[:1]
    else:
        coef = learned.coef - learned.coef.mean(axis=0)
    each = (x - preprocessor.mean)[:, :, None] * coef.T[None]
    # features of columns, columns of groups
    of_group = member[:, preprocessor.owners].astype(np.float64)
    found = np.einsum("gf,rfw->rgw", of_group, each)
    mean = evidence(learned.predict(preprocessor.mean[None]), model.target)
    base = np.repeat(mean, len(x), axis=0)
    return Contributions(groups, found, base, base + found.sum(axis=1), "exact for a linear model")


# -- Shapley values ---------------------------------------------------------------------------------------------------
def shapley_exact(answer: Callable[[Array], Array], n: int) -> tuple[Array, Array, Array]:
    """Shapley values (1953) from the answers to all ``2 ** n`` subsets.

    Parameters
    ----------
    answer : callable
        ``(n,)`` bool, the players that are in, to an array of any shape ``(rows, width)``.
    n : int

    Returns
    -------
    values : numpy.ndarray
        ``(rows, n, width)``.
    base, total : numpy.ndarray
        The answers to nobody and to everybody.
    """
    said: dict[frozenset[int], Array] = {}
    for size in range(n + 1):
        for players in combinations(range(n), size):
            said[frozenset(players)] = answer(np.isin(np.arange(n), players))
    everybody, nobody = said[frozenset(range(n))], said[frozenset()]
    found = np.zeros((len(nobody), n, nobody.shape[1]))
    for group, value in said.items():
        for i in range(n):
            if i not in group:
                weight = 1 / (n * comb(n - 1, len(group)))
                found[:, i] = found[:, i] + weight * (said[group | {i}] - value)
    return found, nobody, everybody


def shapley_sampled(
    answer: Callable[[Array], Array], n: int, permutations: int, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Shapley values along random orders, each also taken backwards; they add up exactly all the same.

    Returns
    -------
    values, error : numpy.ndarray
        ``(rows, n, width)`` and the standard error of each.
    base, total : numpy.ndarray
        As of `shapley_exact`.
    """
    rng = np.random.default_rng(seed)
    nobody, everybody = answer(np.zeros(n, dtype=bool)), answer(np.ones(n, dtype=bool))
    pairs = []
    for _ in range(max(2, permutations // 2)):
        order = rng.permutation(n)
        pairs.append((_along(answer, order, nobody) + _along(answer, order[::-1], nobody)) / 2)
    drawn = np.stack(pairs)
    return drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn)), nobody, everybody


def _along(answer: Callable[[Array], Array], order: Sequence[int] | Array, nobody: Array) -> Array:
    found = np.zeros((len(nobody), len(order), nobody.shape[1]))
    known, before = np.zeros(len(order), dtype=bool), nobody
    for i in order:
        known[i] = True
        after = answer(known)
        found[:, i] = after - before
        before = after
    return found


def without_each(model: Model, values: Array) -> dict[str, Prediction]:
    """What the answers would be without each modality.

    Returns
    -------
    dict
        Modality -> prediction. A model that may lack it answers as it was trained to; others fill it in.
    """
    answers: dict[str, Any] = {}
    for name in dict.fromkeys(column.modality for column in model.columns):
        blank = values.copy()
        blank[:, [column.modality == name for column in model.columns]] = np.nan
        answers[name] = model.predict(blank)
    return answers
