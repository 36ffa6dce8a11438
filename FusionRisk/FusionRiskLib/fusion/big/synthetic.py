"""A large Parquet table with a known truth, written a piece at a time: four modalities, gaps, words, two outcomes.

The values are drawn at random and stand for nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Shares of the columns, and what is missing: single values, and the modality as a whole.
_SHARES = {"history": 0.3, "laboratory": 0.3, "image": 0.2, "signal": 0.2}
_GAPS = {"history": 0.0, "laboratory": 0.03, "image": 0.0, "signal": 0.01}
_ABSENT = {"history": 0.0, "laboratory": 0.0, "image": 0.2, "signal": 0.05}
_WORDS = ("never", "former", "current")
_SCHEMA = """schema: cardioprecision/cohort/1
id: patient
exclude: [%s]
outcome: %s
modalities:
%s"""


def coefficients(columns: int) -> dict[str, Array]:
    """Modality -> ``(columns,)`` log-odds (or log hazard) per standard deviation; every third column means nothing."""
    rng = np.random.default_rng(2026)
    made = {}
    for name, share in _SHARES.items():
        beta = rng.normal(0, 2.0 / np.sqrt(columns), max(2, round(share * columns)))
        beta[2::3] = 0.0
        made[name] = beta
    return made


def write_large_table(
    folder: str | Path, rows: int, columns: int = 200, seed: int = 0, piece: int = 50_000
) -> tuple[Path, Path, Path]:
    """Write ``large.parquet`` and the schemas ``binary.yaml`` and ``survival.yaml``.

    Parameters
    ----------
    folder : path
    rows, columns : int
        Patients and predictors. In ``history`` the first column holds words and the second yes and no.
    seed, piece : int
        The first rows are the same whatever `rows` is; `piece` rows are held at a time.

    Returns
    -------
    tuple of Path
        Table, schema of the binary outcome, schema of survival.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "large.parquet"
    writer = None
    for number, start in enumerate(range(0, rows, piece)):
        made = pa.table(_piece(start, min(piece, rows - start), columns, (seed, number)))
        writer = writer or pq.ParquetWriter(table, made.schema)
        writer.write_table(made)
    assert writer is not None
    writer.close()
    groups = "".join(
        f"  {name}: [{', '.join(f'{name}_{j}' for j in range(len(beta)))}]\n"
        for name, beta in coefficients(columns).items()
    )
    binary, survival = folder / "binary.yaml", folder / "survival.yaml"
    text = _SCHEMA % ("months, died", "{kind: binary, column: mace, positive: yes}", groups)
    binary.write_text(text, encoding="utf-8")
    spec = "{kind: survival, time: months, event: died, time_unit: months, horizon: 24}"
    survival.write_text(_SCHEMA % ("mace", spec, groups), encoding="utf-8")
    return table, binary, survival


def _piece(start: int, n: int, columns: int, seed: tuple[int, int]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    data: dict[str, Any] = {"patient": [f"P{i:08d}" for i in range(start, start + n)]}
    common, eta = rng.normal(0, 1, n), np.zeros(n)
    for name, beta in coefficients(columns).items():
        # columns of a modality go together a little, as measurements do
        z = 0.9 * rng.normal(0, 1, (n, len(beta))) + 0.43 * common[:, None]
        words = None
        if name == "history":
            words = rng.integers(0, 3, n)
            z[:, 0], z[:, 1] = words - 1.0, rng.random(n) < 0.3
        eta += z @ beta
        absent = rng.random(n) < _ABSENT[name]
        for j in range(len(beta)):
            if words is not None and j == 0:
                data[f"{name}_{j}"] = [_WORDS[k] for k in words]
                continue
            if words is not None and j == 1:
                data[f"{name}_{j}"] = z[:, j] > 0
                continue
            values = np.round(10 * z[:, j] + 50, 2)
            values[absent | (rng.random(n) < _GAPS[name])] = np.nan
            data[f"{name}_{j}"] = values
    data["mace"] = np.where(rng.random(n) < 1 / (1 + np.exp(1.0 - eta)), "yes", "no").tolist()
    event, censored = rng.exponential(60 * np.exp(-eta)), rng.uniform(6, 60, n)
    data["months"] = np.round(np.minimum(event, censored) + 0.01, 2)
    data["died"] = event <= censored
    return data
