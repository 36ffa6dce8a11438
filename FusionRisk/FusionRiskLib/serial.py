"""What changed between two studies of a patient, and whether it is more than measuring twice would show.

The limits are published ones (``repeatability.json``) of how far two measurements of the same heart lie apart, at
95 %: for ventricles 1.96 times the coefficient of variability times the mean (the coefficient is the standard deviation
of the differences over the mean), for calcium a factor times the square root of the earlier score. They were found with
other scanners, readers and software than the present ones, and a limit says nothing of why something changed. Where no
limit is published for a measurement, nothing is said of it but the difference, and where both studies carry intervals,
whether these lie apart.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from CardioPrecisionLib.analysis import Table
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.measurement import Measurement, State
from CardioPrecisionLib.replacing import replacing

_NORMAL_95 = 1.96
BEYOND, WITHIN, UNKNOWN = "beyond", "within", "not_assessable"


@dataclass(frozen=True)
class Change:
    """One measurement in two studies.

    Attributes
    ----------
    name, site, unit : str
    before, after, difference : float or None
    percent : float or None
        Of the earlier value; None where that is 0.
    limit : float or None
        Largest difference that measuring twice is likely to show, 95 %.
    verdict : {"beyond", "within", "not_assessable"}
    basis : str
        Where the limit comes from, or why there is no verdict.
    """

    name: str
    site: str | None
    unit: str
    before: float | None
    after: float | None
    difference: float | None
    percent: float | None
    limit: float | None
    verdict: str
    basis: str


@cache
def _document() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("repeatability.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def limit_of(name: str, site: str | None, before: float, after: float) -> tuple[float, str] | None:
    """The published 95 % limit for a pair of values, and its source; None where there is none."""
    for rule in _document()["rules"]:
        if (rule["name"], rule["site"]) == (name, site):
            source = _document()["sources"][rule["source"]]
            if rule["kind"] == "proportional":
                mean = (before + after) / 2
                return _NORMAL_95 * rule["coefficient_of_variability_pct"] / 100 * mean, source
            return (rule["factor"] * math.sqrt(before) if before > 0 else rule["from_zero"]), source
    return None


def changes(earlier: Iterable[Measurement], later: Iterable[Measurement]) -> list[Change]:
    """Every measurement that stands in both studies, in the order of the later one.

    A row without a value in one of them is ``not_assessable`` and says why; text is left out.
    """
    first = {(row.name, row.site): row for row in earlier}
    found = []
    for row in later:
        other = first.get((row.name, row.site))
        if other is not None and not isinstance(row.value, str) and not isinstance(other.value, str):
            found.append(_change(other, row))
    return found


def _change(before: Measurement, after: Measurement) -> Change:
    def said(verdict: str, basis: str, limit: float | None = None) -> Change:
        a, b = before.value, after.value
        both = isinstance(a, float) and isinstance(b, float) and before.unit == after.unit
        difference = b - a if both else None  # type: ignore[operator]
        percent = 100 * difference / a if difference is not None and a else None  # type: ignore[operator]
        return Change(after.name, after.site, after.unit, a, b, difference, percent, limit, verdict, basis)  # type: ignore[arg-type]

    for which, row in (("earlier", before), ("later", after)):
        if row.value is None:
            return said(UNKNOWN, f"no value in the {which} study: {row.reason or State(row.state).value}")
    if before.unit != after.unit:
        return said(UNKNOWN, f"in {before.unit} and in {after.unit}")
    a, b = float(before.value), float(after.value)  # type: ignore[arg-type]
    limit = limit_of(after.name, after.site, a, b)
    if limit is not None:
        verdict = BEYOND if abs(b - a) > limit[0] else WITHIN
        return said(verdict, limit[1], limit[0])
    if None in (before.low, before.high, after.low, after.high):
        return said(UNKNOWN, "no repeatability is published here for this measurement")
    apart = after.low > before.high or after.high < before.low  # type: ignore[operator]
    return said(
        BEYOND if apart else WITHIN, "the intervals of the two studies " + ("lie apart" if apart else "overlap")
    )


def compare_runs(earlier: str | Path, later: str | Path) -> list[Change]:
    """`changes` of two ``measurements.json``.

    Raises
    ------
    InputError
        A file cannot be read, the analyses differ, or both know their patient and it is not the same one.
    """
    from .clinical.measured import read_run

    one, two = read_run(earlier), read_run(later)
    if one.analysis != two.analysis:
        raise InputError(f"{later}: this is a run of {two.analysis}, the earlier one of {one.analysis}.")
    if one.patient.key and two.patient.key and one.patient.key != two.patient.key:
        raise InputError(f"{later}: this is another patient than the earlier study's.")
    return changes(one.rows, two.rows)


def table(found: Iterable[Change]) -> Table:
    """Changes as a table."""
    rows = list(found)
    columns = {
        name: [getattr(row, name) for row in rows]
        for name in ("name", "site", "unit", "before", "after", "difference", "percent", "limit", "verdict", "basis")
    }
    columns["site"] = [site or "" for site in columns["site"]]
    return Table("changes", "Changes between two studies", columns)


def write_csv(path: str | Path, found: Iterable[Change]) -> Path:
    """Write changes as CSV, all or nothing."""
    target, columns = Path(path), table(found).columns
    try:
        with replacing(target) as beside, open(beside, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    except OSError as error:
        raise InputError(f"{target}: the table could not be written ({error.strerror}).") from None
    return target
