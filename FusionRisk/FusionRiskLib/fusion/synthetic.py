"""A cohort whose outcome hangs on how two modalities go together: fusion must find it, one modality cannot.

The values are drawn at random and stand for nobody.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import numpy as np

from .cohort import Cohort, Column, Outcome, make_cohort

_SCHEMA = """schema: cardioprecision/cohort/1
id: patient
site: site
outcome: {kind: binary, column: outcome, positive: yes}
modalities:
  laboratory: [%s]
  image: [%s]
"""


def interaction_cohort(
    n: int = 1000,
    seed: int = 0,
    kind: Literal["binary", "multiclass", "survival"] = "binary",
    strength: float = 2.5,
    alone: float = 0.2,
    noise: int = 3,
    missing: float = 0.0,
) -> Cohort:
    """Draw a cohort with a known interaction between the modalities ``laboratory`` and ``image``.

    Parameters
    ----------
    n, seed : int
    kind : {"binary", "multiclass", "survival"}
        ``binary``: log-odds ``strength * a * b + alone * (a + b)``, a and b the first column of each modality,
        standard normal. ``survival``: that is the log hazard, with independent exponential censoring.
        ``multiclass``: three classes by the thirds of it, blurred by a logistic draw.
    strength, alone : float
        Of the interaction and of what each modality says alone; with 0.2 one modality has an AUC of about 0.52.
    noise : int
        Columns per modality that mean nothing.
    missing : float
        Share of patients without ``image``.

    Returns
    -------
    Cohort
        Two sites, one row per patient.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, 2 * (1 + noise)))
    eta = strength * x[:, 0] * x[:, 1 + noise] + alone * (x[:, 0] + x[:, 1 + noise])
    if kind == "survival":
        time, censored = rng.exponential(np.exp(-np.clip(eta, -6, 6))), rng.exponential(3.0, n)
        outcome = Outcome(
            "survival", time=np.minimum(time, censored), event=time <= censored, time_unit="years", horizon=1.0,
            names=("years", "event"),
        )  # fmt: skip
    else:
        blurred = eta + rng.logistic(0, 1, n)
        if kind == "binary":
            outcome = Outcome("binary", ("no", "yes"), (blurred > 0).astype(np.int64), names=("outcome",))
        else:
            thirds = np.searchsorted(np.quantile(blurred, (1 / 3, 2 / 3)), blurred).astype(np.int64)
            outcome = Outcome("multiclass", ("low", "middle", "high"), thirds, names=("outcome",))
    # as a laboratory and a scanner would write them: other means and units, few digits
    x = np.round(x * np.repeat((12.0, 0.8), 1 + noise) + np.repeat((100.0, 5.0), 1 + noise), 3)
    if missing:
        x[rng.random(n) < missing, 1 + noise :] = np.nan
    columns = [Column(f"{name}_{i}", name) for name in ("laboratory", "image") for i in range(1 + noise)]
    return make_cohort(x, columns, outcome, site=rng.integers(0, 2, n), sites=("east", "west"))


def write_interaction_table(folder: str | Path, n: int = 1000, seed: int = 0) -> tuple[Path, Path]:
    """Write ``interaction.csv`` and its schema ``interaction.yaml``, the binary `interaction_cohort`, as files.

    Returns
    -------
    tuple of Path
        Table and schema, for `cohort_table.read_cohort`.
    """
    cohort = interaction_cohort(n, seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table, schema = folder / "interaction.csv", folder / "interaction.yaml"
    assert cohort.site is not None
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient", "site", *cohort.names, "outcome"])
        for i, row in enumerate(cohort.values):
            word = cohort.target.classes[cohort.target.y[i]]
            writer.writerow([f"p{i + 1:05d}", cohort.sites[cohort.site[i]], *(f"{v:.3f}" for v in row), word])
    named = (", ".join(c.name for c in cohort.columns if c.modality == m) for m in cohort.modalities)
    schema.write_text(_SCHEMA % tuple(named), encoding="utf-8")
    return table, schema
