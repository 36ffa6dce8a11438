"""The learner that reads a patient's visits in their order: nets with a recurrent encoder, for classes and survival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from CardioPrecisionLib.analysis import silent

from .cohort import Array, Outcome
from .discrete_time import bootstrap_counts, interval_ends
from .joint_net import MEMBERS, Goal, Net, probabilities, survival, train
from .prediction import Prediction
from .sequence_net import Width


@dataclass(frozen=True, eq=False)
class Recurrent:
    """Nets on features of `visits.visit_features`; `ends` ``(intervals,)`` of discrete time, empty for classes."""

    kind: ClassVar[str] = "recurrent"
    net: Net
    ends: Array

    def predict(self, x: Array) -> Prediction:
        """From ``(rows, static + steps * channels)``."""
        logits = self.net.predict([x], np.ones((len(x), 1), dtype=bool)).astype(np.float64)
        if len(self.ends):
            return Prediction(times=self.ends, survival=survival(logits).mean(axis=0))
        return Prediction(probabilities(logits).mean(axis=0))


def fit_recurrent(x: Array, width: Width, outcome: Outcome, decay: float, seed: int) -> Recurrent:
    """Fit on features ``(rows, static + steps * channels)`` without gaps."""
    ends = interval_ends(outcome) if outcome.kind == "survival" else np.zeros(0)
    counts = bootstrap_counts(outcome.strata, MEMBERS, seed)
    present = np.ones((len(x), 1), dtype=bool)
    net, _ = train([x], present, Goal.of(outcome, ends), counts, decay, seed, silent, [width])
    return Recurrent(net, ends)
