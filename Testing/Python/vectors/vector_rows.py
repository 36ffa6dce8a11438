"""Reading the input -> expected rows that a vector test checks.

``$CARDIOPRECISION_VECTORS/<set>*.csv`` is read (default ``Testing/Data/vectors``). A row that the test does not know
fails the test.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[2] / "Data" / "vectors"


def rows(name: str) -> list[dict[str, str]]:
    folder = Path(os.environ.get("CARDIOPRECISION_VECTORS", DEFAULT))
    files = sorted(folder.glob(f"{name}*.csv"))
    assert files, f"no {name}*.csv in {folder}"
    found: list[dict[str, str]] = []
    for file in files:
        with open(file, encoding="utf-8", newline="") as f:
            found += list(csv.DictReader(f))
    assert found, f"{name}: the files hold no row"
    return found


def check(name: str, one: Callable[[dict[str, str]], list[str]]) -> None:
    """Run `one` on every row: it returns what is wrong with the row, an empty list where nothing is."""
    wrong: list[str] = []
    passed = 0
    all_rows = rows(name)
    for row in all_rows:
        try:
            problems = one(row)
        except Exception as error:  # an unknown row is a failure, not a crash of the whole set
            problems = [f"{type(error).__name__}: {error}"]
        if problems:
            wrong.append(f"{row.get('vector_id', '?')}: {'; '.join(problems)}")
        else:
            passed += 1
    print(f"{name}: {passed} / {len(all_rows)} rows passed")
    assert not wrong, f"{name}: {passed} / {len(all_rows)} rows passed\n" + "\n".join(wrong[:20])


def compare(
    label: str, got: float, row: dict[str, str], column: str, rel: float = 0.0, absolute: float = 0.0
) -> list[str]:
    expected = float(row[column])
    if abs(got - expected) <= absolute + rel * abs(expected):
        return []
    return [f"{label} {got:.6g}, expected {expected:.6g}"]
