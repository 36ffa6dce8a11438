"""Scoring all rows of a vector set at once, one value per row for the row tests."""

from __future__ import annotations

from FusionRiskLib.scores import Columns, scores
from vector_rows import rows


def score_table(name, score_of, values_of):
    """``vector_id -> (value, state, reason)``; `score_of` names a row's score, `values_of` gives its fields."""
    groups = {}
    for row in rows(name):
        groups.setdefault(score_of(row), []).append(row)
    found = {}
    for score, members in groups.items():
        values = [values_of(row) for row in members]
        result = scores()[score].evaluate(Columns({field: [v[field] for v in values] for field in values[0]}))
        assert len({row["vector_id"] for row in members}) == len(members)
        for row, value, state, reason in zip(members, result.values, result.state, result.reason, strict=True):
            found[row["vector_id"]] = (value, state, reason)
    return found


def compare_risk(scored, row, expected, tolerance, scale=1.0):
    value, state, reason = scored[row["vector_id"]]
    if state != "measured":
        return [f"{state}: {reason}"]
    wanted, allowed = float(row[expected]), float(row[tolerance])
    return [] if abs(value * scale - wanted) <= allowed else [f"{value * scale:.6g}, expected {wanted:.6g}"]
