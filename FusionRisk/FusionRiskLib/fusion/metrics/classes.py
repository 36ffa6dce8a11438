"""Discrimination and accuracy of predicted classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

Array = np.ndarray[Any, Any]


def auc(y: Array, score: Array) -> float:
    """Area under the ROC curve: the chance that an event scores above a non-event, ties counting half.

    Parameters
    ----------
    y : numpy.ndarray
        ``(n,)`` bool or 0/1.
    score : numpy.ndarray
        ``(n,)``.

    Returns
    -------
    float
        NaN where only one class is there.
    """
    y = np.asarray(y, dtype=bool)
    events = int(y.sum())
    others = len(y) - events
    if not events or not others:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[y].sum() - events * (events + 1) / 2) / (events * others))


def macro_auc(y: Array, p: Array) -> float:
    """Mean over the classes of each against the rest; ``y`` ``(n,)`` int, ``p`` ``(n, classes)``."""
    return float(np.mean([auc(y == k, p[:, k]) for k in range(p.shape[1])]))


def accuracy(y: Array, p: Array) -> float:
    """Share of rows whose most probable class is right."""
    return float(np.mean(p.argmax(axis=1) == y))


def balanced_accuracy(y: Array, p: Array) -> float:
    """Mean over the classes that are there of the share that is found."""
    right = p.argmax(axis=1) == y
    return float(np.mean([right[y == k].mean() for k in np.unique(y)]))


def brier(y: Array, p: Array) -> float:
    """Mean squared distance of probabilities from the truth (Brier 1950).

    Parameters
    ----------
    y : numpy.ndarray
        ``(n,)`` int.
    p : numpy.ndarray
        ``(n, classes)``. With two classes the result is that of the event alone, in 0..1; with more it is the sum over
        the classes, in 0..2.
    """
    if p.shape[1] == 2:
        return float(np.mean((p[:, 1] - y) ** 2))
    truth = np.eye(p.shape[1])[y]
    return float(np.mean(((p - truth) ** 2).sum(axis=1)))


def log_loss(y: Array, p: Array) -> float:
    """Mean negative log-probability of the true class; probabilities below 1e-15 count as that."""
    return float(-np.mean(np.log(np.maximum(p[np.arange(len(y)), y], 1e-15))))
