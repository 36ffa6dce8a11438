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
from .model_config import Target, evidence, evidence_width
from .models import EarlyModel, LateModel, Model
from .prediction import Prediction
from .preprocess import Preprocessor

_EXACT = "exact for a linear model"
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
    and the sign that it is missing; late fusion of regressions likewise, where no modality is absent. Other models:
    Shapley values of replacing an input by what is typical in training (mean, most frequent word; Sundararajan, Najmi
    2020, "The many Shapley values for model explanation"), exactly or along random orders and their reverses (Castro et
    al. 2009). They say what the model uses, not what causes what.
    """
    columns = model.columns
    names = tuple(c.name if by == "column" else c.modality for c in columns)
    groups = tuple(dict.fromkeys(names))
    member = np.array([[name == group for name in names] for group in groups])
    if isinstance(model, EarlyModel) and isinstance(model.learned, Logistic | Cox):
        return _linear(model, model.learned, values, groups, member)
    if isinstance(model, LateModel) and all(
        isinstance(part.learned, Logistic | Cox) for part in (*model.bases.values(), model.stacker)
    ):
        exact = _linear_late(model, values, groups, member)
        # not where a modality is absent, nor where a probability is as good as 0 and no odds are told any further
        fits = np.isclose(exact.total, evidence(model.predict(values), model.target), rtol=0, atol=1e-6).all(axis=1)
        fits &= _has_all(model, values)
        if fits.all():
            return exact
        others = _shapley(model, values[~fits], by, groups, member, permutations, seed)
        return _mixed(fits, exact, others) if fits.any() else others
    return _shapley(model, values, by, groups, member, permutations, seed)


def _shapley(
    model: Model,
    values: Array,
    by: Literal["column", "modality"],
    groups: tuple[str, ...],
    member: Array,
    permutations: int,
    seed: int,
) -> Contributions:
    columns = model.columns
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
    found = _of_features(model.preprocessor, values, _slopes(learned, model.target), member)
    mean = evidence(learned.predict(model.preprocessor.mean[None]), model.target)
    base = np.repeat(mean, len(values), axis=0)
    return Contributions(groups, found, base, base + found.sum(axis=1), _EXACT)


def _slopes(learned: Any, target: Target) -> Array:
    """``(features, width)`` of a regression, on the scale of `evidence`."""
    if isinstance(learned, Cox):
        return learned.coef[:, None]
    if target.kind == "binary":
        return np.asarray((learned.coef[1:] - learned.coef[:1]).T)
    return np.asarray((learned.coef - learned.coef.mean(axis=0)).T)


def _of_features(preprocessor: Preprocessor, values: Array, slopes: Array, member: Array) -> Array:
    """``(rows, groups, width)`` from ``(features, width)`` slopes; `member` ``(groups, columns)`` of its columns."""
    of_group = member[:, preprocessor.owners].astype(np.float64)
    return np.einsum(
        "gf,rf,fw->rgw", of_group, preprocessor.transform(values) - preprocessor.mean, slopes, optimize=True
    )


def _has_all(model: LateModel, values: Array) -> Array:
    """``(rows,)`` whether something is known of every modality."""
    modality = np.array([column.modality for column in model.columns])
    return np.all([np.isfinite(values[:, modality == name]).any(axis=1) for name in model.bases], axis=0)


def _linear_late(model: LateModel, values: Array, groups: tuple[str, ...], member: Array) -> Contributions:
    """Regressions on what regressions say are linear in the columns."""
    stacker, target = model.stacker, model.target
    width = evidence_width(target)
    outer = _slopes(stacker.learned, target)[: len(stacker.columns)] / stacker.preprocessor.scale[:, None]
    found = np.zeros((len(values), len(groups), width))
    means, start = [], 0
    for m, base in enumerate(model.bases.values()):
        own = slice(start, start + len(base.columns))
        start = own.stop
        slopes = _slopes(base.learned, target) @ outer[m * width : (m + 1) * width]
        found += _of_features(base.preprocessor, values[:, own], slopes, member[:, own])
        means.append(evidence(base.learned.predict(base.preprocessor.mean[None]), target))
    base_answer = np.repeat(evidence(stacker.predict(np.hstack(means)), target), len(values), axis=0)
    return Contributions(groups, found, base_answer, base_answer + found.sum(axis=1), _EXACT)


def _mixed(fits: Array, exact: Contributions, others: Contributions) -> Contributions:
    """The rows that fit exactly, the others by Shapley values."""

    def joined(one: Array, other: Array) -> Array:
        both = one.copy()
        both[~fits] = other
        return both

    error = None
    if others.error is not None:
        error = joined(np.zeros_like(exact.values), others.error)
    return Contributions(
        exact.groups, joined(exact.values, others.values), joined(exact.base, others.base),
        joined(exact.total, others.total), f"{_EXACT}; elsewhere {others.method}", error,
    )  # fmt: skip


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
