"""Survival after a heart attack (WHAS500): fusion's learners judged on the same folds; prints the docs' table.

    pip install scikit-survival        # GPL; only for its copy of the table, the product does not import it
    python tools/whas500.py [--repeats 20] [--compare 2] [-o FOLDER]

Hosmer, Lemeshow and May, Applied Survival Analysis, 2nd edition, Wiley 2008: 500 patients of the Worcester Heart Attack
Study, 215 deaths. Length of stay is left out: at admission nobody knows it. All columns are clinical, so that nothing
is fused here; the table judges the learners, the bounds and their coverage on real follow-up.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.fusion.cohort import Cohort, Outcome
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.evaluate import Evaluation, evaluate
from FusionRiskLib.fusion.figures import calibration
from FusionRiskLib.fusion.models import ModelConfig

SCHEMA = """schema: cardioprecision/cohort/1
id: patient
outcome: {{kind: survival, time: days, event: died, time_unit: days, horizon: 1000}}
modalities: {{clinical: [{columns}]}}
"""
YEAR = 365.25
MODELS = {
    "Cox regression": ModelConfig("early", "cox"),
    "gradient boosting": ModelConfig("early", "boosting"),
    "discrete-time network": ModelConfig("early", "discrete_time"),
}


def write_table(folder: Path) -> tuple[Path, Path]:
    """The table as CSV with its schema."""
    from sksurv.datasets import load_whas500

    x, y = load_whas500()
    columns = [name for name in x.columns if name != "los"]
    # Of their own: the table's codes and words are not those of the clinical fields.
    names = [f"whas_{name}" for name in columns]
    table, schema = folder / "whas500.csv", folder / "whas500.yaml"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *names, "days", "died"])
        for i, (row, (event, time)) in enumerate(zip(x[columns].to_numpy().tolist(), y.tolist(), strict=True)):
            writer.writerow([i, *row, time, int(event)])
    schema.write_text(SCHEMA.format(columns=", ".join(names)), encoding="utf-8")
    return table, schema


def within_a_year(cohort: Cohort) -> Cohort:
    """The same patients with death within a year as the outcome: all were watched for so long."""
    outcome = cohort.target
    known = outcome.e | (outcome.t >= YEAR)
    if not known.all():
        raise InputError(f"{int((~known).sum())} patients were not watched for a year.")
    died = (outcome.e & (outcome.t < YEAR)).astype(np.int64)
    return replace(cohort, outcome=Outcome("binary", ("alive", "dead"), died, names=outcome.names))


def show(found: Evaluation) -> None:
    print("| learner | concordance (IPCW) | AUC at 1000 days | Brier score | calibration slope |")
    print("| --- | --- | --- | --- | --- |")
    for name, report in found.models.items():
        cells = []
        for metric in ("concordance_ipcw", "auc_at_horizon", "brier_at_horizon", "calibration_slope"):
            e = report.metrics[metric]
            cells.append(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})")
        print(f"| {name} | {' | '.join(cells)} |")
    for name, difference in found.differences.items():
        d = difference["concordance_ipcw"]
        print(f"Cox regression against {name}: {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f}).")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="splits that coverage is pooled over")
    parser.add_argument("--compare", type=int, default=2, help="repeats that the learners are compared on")
    parser.add_argument("-o", "--output", type=Path, help="where the calibration plot goes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cohort = read_cohort(*write_table(Path(folder)))
    show(evaluate(cohort, MODELS, folds=5, repeats=asked.compare, level=None, resamples=300))
    alone = {"Cox regression": MODELS["Cox regression"]}
    found = evaluate(cohort, alone, folds=5, repeats=asked.repeats, level=0.9, resamples=200)
    report = found.models["Cox regression"]
    coverage = report.coverage
    assert coverage is not None
    c = coverage.covered
    print(
        f"Lower bound of the survival time at 90 %, {asked.repeats} splits: held for {100 * c.value:.1f} % "
        f"({100 * c.low:.1f} to {100 * c.high:.1f}); {coverage.size:.0f} days on average."
    )
    year = evaluate(
        within_a_year(cohort), {"year": ModelConfig("early", "logistic")}, folds=5, repeats=asked.repeats, level=0.9,
        resamples=200,
    ).models["year"]  # fmt: skip
    assert year.coverage is not None
    held, area = year.coverage.covered, year.metrics["auc"]
    print(
        f"Death within a year, logistic regression: AUC {area.value:.3f}; sets at 90 %, {asked.repeats} splits: "
        f"held for {100 * held.value:.1f} % ({100 * held.low:.1f} to {100 * held.high:.1f}); "
        f"{year.coverage.size:.2f} of 2 classes."
    )
    if asked.output is not None:
        asked.output.mkdir(parents=True, exist_ok=True)
        figure = calibration(report, "Cox regression, WHAS500", "survival")
        (asked.output / "whas500-calibration.svg").write_bytes(figure.data)


if __name__ == "__main__":
    main()
