"""Joint fusion: per-modality encoders trained together, where a missing modality is normal and widens the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from CardioPrecisionLib.analysis import Progress, part
from CardioPrecisionLib.errors import InputError

from .cohort import Array, Cohort, Column
from .discrete_time import bootstrap_counts, interval_ends
from .joint_net import MEMBERS, SCOUTS, Goal, Net, probabilities, survival, train
from .leakage import FittedPart
from .model_config import ModelConfig, Target
from .prediction import Interval, Prediction
from .preprocess import Preprocessor
from .sequence_net import Width
from .visits import visit_features

#: Settings that the rows out of the bag choose from, the plainest first.
JOINT_GRID: tuple[Mapping[str, float], ...] = ({"decay": 3.0}, {"decay": 0.3})
#: Plausible values of what is absent, per member.
_DRAWS = 16
#: With fewer rows that have every modality, how modalities go together is not estimated.
_MIN_COMPLETE = 30


@dataclass(frozen=True, eq=False)
class JointModel:
    """Networks on all modalities.

    Attributes
    ----------
    config : ModelConfig
    target : Target
    preprocessors : mapping
        Modality -> preparation, fitted on the training rows that have it.
    net : Net
    ends : numpy.ndarray
        ``(intervals,)`` of discrete time, empty for classes.
    mean, covariance : numpy.ndarray
        ``(members, latents)`` and ``(members, latents, latents)`` of the encoded training rows: how modalities go
        together, so that what an absent one could have been can be drawn.
    setting : mapping
    """

    config: ModelConfig
    target: Target
    preprocessors: Mapping[str, Preprocessor]
    net: Net
    ends: Array
    mean: Array
    covariance: Array
    setting: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column for p in self.preprocessors.values() for column in p.columns)

    @property
    def parts(self) -> list[FittedPart]:
        return [
            FittedPart(f"{name} imputation and scaling", p.columns, p.fitted_on)
            for name, p in self.preprocessors.items()
        ]

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Modalities that may be absent as a whole at prediction."""
        return tuple(self.preprocessors)

    def predict(self, values: Array) -> Prediction:
        """From ``(rows, columns)``, NaN where unknown; the mean of the members."""
        features, present = _features(values, self.preprocessors)
        return self._prediction(self.net.predict(features, present).astype(np.float64))

    def _prediction(self, logits: Array) -> Prediction:
        if self.target.kind == "survival":
            return Prediction(times=self.ends, survival=survival(logits).mean(axis=0))
        return Prediction(probabilities(logits).mean(axis=0))

    def interval(self, values: Array, level: float = 0.9, change: Callable[[Array], Array] | None = None) -> Interval:
        """Model uncertainty of the predicted probabilities.

        Parameters
        ----------
        values : numpy.ndarray
            ``(rows, columns)``, NaN where unknown.
        level : float
        change : callable, optional
            `recalibration.Recalibration.said`, done to what every member says.

        Returns
        -------
        Interval
            Quantiles over the members, which were fitted to bootstrap samples of the patients. Where a modality is
            absent, over members and plausible values of its encoding given the modalities that are there (normal, as
            the training rows have them together). It promises no coverage.
        """
        features, present = _features(values, self.preprocessors)
        latents = self.net.latents(features).astype(np.float64)
        centre = self._said(self._prediction(self.net.logits(latents, present).astype(np.float64)))
        centre = change(centre) if change is not None else centre
        low, high = np.empty_like(centre), np.empty_like(centre)
        patterns, of_row = np.unique(present, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            rows = np.flatnonzero(of_row.ravel() == i)
            samples = self._samples(latents[:, rows], pattern)
            samples = change(samples) if change is not None else samples
            tails = np.quantile(samples, ((1 - level) / 2, (1 + level) / 2), axis=0)
            low[rows], high[rows] = tails
        return Interval(np.minimum(low, centre), np.maximum(high, centre), level)

    def _said(self, predicted: Prediction) -> Array:
        """``(rows, classes)``; of survival ``(rows,)`` risk by the horizon."""
        if self.target.horizon is None:
            return predicted.p
        return predicted.risk(self.target.horizon)

    def _each_said(self, logits: Array) -> Array:
        """The same, of every member."""
        if self.target.horizon is None:
            return probabilities(logits.astype(np.float64))
        curves = survival(logits.astype(np.float64))
        flat = Prediction(times=self.ends, survival=curves.reshape(-1, curves.shape[-1]))
        return flat.risk(self.target.horizon).reshape(curves.shape[:-1])

    def _samples(self, latents: Array, pattern: Array) -> Array:
        """``(samples, rows, ...)``: what the members say, for plausible values of the modalities that are absent."""
        if pattern.all():
            return self._each_said(self.net.logits(latents, np.repeat(pattern[None], latents.shape[1], axis=0)))
        members, n, width = latents.shape
        known = np.repeat(pattern, width // len(pattern))
        # the same draws for every row: what is said of a patient does not depend on who else is asked about
        noise = np.random.default_rng(0).normal(size=(_DRAWS, members, int((~known).sum())))
        drawn = np.empty((_DRAWS, members, n, width))
        drawn[..., known] = latents[None][..., known]
        for m in range(members):
            cov = self.covariance[m]
            solved = np.linalg.solve(cov[np.ix_(known, known)], cov[np.ix_(known, ~known)])
            expected = self.mean[m, ~known] + (latents[m][:, known] - self.mean[m, known]) @ solved
            rest = cov[np.ix_(~known, ~known)] - cov[np.ix_(~known, known)] @ solved
            size, axes = np.linalg.eigh(rest)
            root = axes * np.sqrt(np.maximum(size, 0))
            drawn[:, m][..., ~known] = expected[None] + (noise[:, m] @ root.T)[:, None]
        everything = np.ones((n, len(pattern)), dtype=bool)
        return np.concatenate([self._each_said(self.net.logits(one, everything)) for one in drawn])


def _features(values: Array, preprocessors: Mapping[str, Preprocessor]) -> tuple[list[Array], Array]:
    """``(rows, features)`` of every modality, and ``(rows, modalities)`` whether anything of it is known."""
    features, present, start = [], [], 0
    for preprocessor in preprocessors.values():
        own = values[:, start : start + len(preprocessor.columns)]
        start += len(preprocessor.columns)
        features.append(visit_features(preprocessor, own)[0])
        present.append(np.isfinite(own).any(axis=1))
    return features, np.column_stack(present)


def widths(preprocessors: Mapping[str, Preprocessor]) -> list[Width]:
    """Of the features of every modality."""
    return [visit_features(p, np.zeros((0, len(p.columns))))[1] for p in preprocessors.values()]


def fit_joint(
    cohort: Cohort, config: ModelConfig, seed: int, progress: Progress, setting: Mapping[str, float] | None = None
) -> JointModel:
    """Fit on all rows; the strength of the weight decay is chosen on the rows that members did not draw.

    Raises
    ------
    InputError
        One modality only, or one that no training row has.
    """
    outcome = cohort.target
    if len(cohort.modalities) < 2:
        raise InputError("Joint fusion needs at least two modalities; use early fusion.")
    preprocessors: dict[str, Preprocessor] = {}
    values = []
    for name in cohort.modalities:
        own = cohort.of(name)
        rows = np.isfinite(own.values).any(axis=1)
        if rows.sum() < 2:
            raise InputError(f"Too few training patients have {name} for an encoder of its own; leave {name} out.")
        preprocessors[name] = Preprocessor.fit(own.values[rows], own.columns, config.impute)
        values.append(own.values)
    features, present = _features(np.hstack(values), preprocessors)
    wide = widths(preprocessors)
    ends = interval_ends(outcome) if outcome.kind == "survival" else np.zeros(0)
    goal = Goal.of(outcome, ends)
    counts = bootstrap_counts(outcome.strata, MEMBERS, seed)
    chosen = setting
    if chosen is None:
        losses = []
        for i, candidate in enumerate(JOINT_GRID):
            share = part(progress, i * 0.25, (i + 1) * 0.25)
            losses.append(train(features, present, goal, counts[:SCOUTS], candidate["decay"], seed, share, wide)[1])
        chosen = JOINT_GRID[int(np.argmin(losses))]
    net, _ = train(features, present, goal, counts, chosen["decay"], seed, part(progress, 0.5, 1.0), wide)
    mean, covariance = _together(net, features, present)
    progress(1.0, "joint net")
    return JointModel(config, Target.of(outcome), preprocessors, net, ends, mean, covariance, dict(chosen))


def _together(net: Net, features: list[Array], present: Array) -> tuple[Array, Array]:
    """Mean and covariance of the encodings of training rows, a little towards their variances."""
    rows = np.flatnonzero(present.all(axis=1))
    some = np.random.default_rng(0).permutation(len(present))[:20_000]
    if len(rows) >= _MIN_COMPLETE:
        z = net.latents([f[np.intersect1d(rows, some)] for f in features]).astype(np.float64)
        return z.mean(axis=1), np.stack([_shrunk(np.cov(one.T)) for one in z])
    means, blocks = [], []
    for m, own in enumerate(features):
        have = np.flatnonzero(present[:, m])
        filled = [own[have] if k == m else np.zeros((len(have), f.shape[1])) for k, f in enumerate(features)]
        width = net.absent().shape[1] // len(features)
        z = net.latents(filled)[:, :, m * width : (m + 1) * width].astype(np.float64)
        means.append(z.mean(axis=1))
        blocks.append([_shrunk(np.cov(one.T)) for one in z])
    total = sum(len(b[0]) for b in blocks)
    covariance = np.zeros((net.members, total, total))
    for i in range(net.members):
        start = 0
        for b in blocks:
            end = start + len(b[i])
            covariance[i, start:end, start:end] = b[i]
            start = end
    return np.hstack(means), covariance


def _shrunk(cov: Array) -> Array:
    """Never singular."""
    variance = np.diag(cov)
    return np.asarray(0.95 * cov + 0.05 * np.diag(variance) + 1e-6 * (1 + variance.mean()) * np.eye(len(cov)))
