"""Five diagnoses from what the LV module measures: fusion models judged on the ACDC patients; prints the docs' table.

    python tools/acdc_table.py ACDC_FOLDER -o reference.csv [--segment]
    python tools/acdc_diagnosis.py reference.csv [--repeats 20]

Repeats of stratified 5-fold cross-validation; how much each measurement may count (the ridge penalty), means and
spreads are found in the training patients of each fold. Models are compared on the same folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.models import ModelConfig

MODELS = {
    "imaging and clinical": ModelConfig("early", "logistic"),
    "imaging": ModelConfig("early", "logistic", modalities=("cine_cmr", "wall_thickness")),
    "imaging without thickness, and clinical": ModelConfig("early", "logistic", modalities=("clinical", "cine_cmr")),
    "clinical (height and weight)": ModelConfig("early", "logistic", modalities=("clinical",)),
}


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Binomial 95 % interval of a share of `n` (Wilson 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return middle - half, middle + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="of acdc_table.py, with its .yaml beside it")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    cohort = read_cohort(asked.table, asked.table.with_suffix(".yaml"))
    found = evaluate(
        cohort, MODELS, folds=5, repeats=asked.repeats, seed=asked.seed, level=0.9, resamples=300,
        progress=lambda share, stage: None,
    )  # fmt: skip
    print("| model | accuracy (95 % interval over patients) | SD over repeats | AUC (macro) |")
    print("| --- | --- | --- | --- |")
    for name, report in found.models.items():
        a, u = report.metrics["accuracy"], report.metrics["auc_macro"]
        spread = report.spread.get("accuracy", float("nan"))
        print(f"| {name} | {a.value:.3f} ({a.low:.3f} to {a.high:.3f}) | {spread:.3f} | {u.value:.3f} |")
    for name, difference in found.differences.items():
        d = difference["accuracy"]
        print(f"With all against {name}: {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f}).")
    coverage = found.models["imaging and clinical"].coverage
    if coverage is not None:
        held = coverage.covered.value
        low, high = (100 * limit for limit in wilson(held, cohort.n_patients))
        print(
            f"Conformal sets at 90 %: held for {100 * held:.1f} % (binomial 95 % interval of {cohort.n_patients} "
            f"patients {low:.1f} to {high:.1f}), {coverage.size:.2f} of {coverage.classes} diagnoses in a set."
        )


if __name__ == "__main__":
    main()
