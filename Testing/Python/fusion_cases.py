"""Cohorts with planted truth for the tests of fusion."""

from __future__ import annotations

import numpy as np
from CardioPrecisionLib.fronts.cli import main
from FusionRiskLib.fusion.cohort import Cohort, Column, Outcome, make_cohort


def columns(**modalities: int) -> list[Column]:
    """``clinical=3`` -> clinical_0 .. clinical_2."""
    return [Column(f"{name}_{i}", name) for name, n in modalities.items() for i in range(n)]


def binary_cohort(n: int = 200, seed: int = 0, clinical: int = 3, imaging: int = 2, **more) -> Cohort:
    """Events by a logistic model: the first column of each modality counts, the others are noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, (n, clinical + imaging))
    eta = 0.6 * (x[:, 0] - 3) + 0.6 * (x[:, clinical] - 3)
    y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(np.int64)
    outcome = Outcome("binary", ("no", "yes"), y, names=("outcome",))
    return make_cohort(x, columns(clinical=clinical, imaging=imaging), outcome, **more)


def survival_cohort(n: int = 300, seed: int = 0, beta: float = 0.7, horizon: float = 1.0, **more) -> Cohort:
    """Exponential times with hazard exp(beta (x0 + x2)), independent exponential censoring; x0 clinical, x2 imaging."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, 4))
    t = rng.exponential(np.exp(-beta * (x[:, 0] + x[:, 2])))
    c = rng.exponential(2.0, n)
    outcome = Outcome(
        "survival", time=np.minimum(t, c), event=t <= c, time_unit="years", horizon=horizon, names=("years", "event")
    )
    return make_cohort(x + 5, columns(clinical=2, imaging=2), outcome, **more)


# -- the command -------------------------------------------------------------------------------------------------------
def run(*arguments):
    """``cardioprecision fusion``; its exit code."""
    return main(["fusion", *(str(a) for a in arguments)])


def refused(capsys, *arguments):
    """The one line that a refused command says."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    said = [line for line in lines if line.startswith("cardioprecision:")]
    assert len(said) == 1
    assert not any("Traceback" in line for line in lines)
    return said[0]
