"""PREVENT, PCE and SCORE2 for a million patients, beside a per-row peer in plain Python in the same run.

    python Testing/Benchmarks/bench_risk.py [--rows 1000000] [--peer-rows 50000]

The peer does per row what a per-row calculator does: it checks presence and range, computes with `math`, and gives
value, state and reason; it knows no words, units, aliases or unknown fields. The second comparison is this interface
called with one patient at a time. Their time is scaled from their rows to all rows; values are compared on the peer's
rows. Reading the columns belongs to the time; states are then codes and reasons are written for the rows that have one,
"in words" is the further time for an array of words per row. CPU time is given beside wall time, since other programs
on the machine change the one less than the other.
"""

from __future__ import annotations

import argparse
import math
import os
import time

import numpy as np
from FusionRiskLib.scores import Columns, scores
from FusionRiskLib.scores import pce as pce_module
from FusionRiskLib.scores.prevent import coefficients
from FusionRiskLib.scores.score2 import SCALES, SURVIVAL, TERMS

REPEATS = 9
SINGLE_ROWS = 2000


def patients(rows: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(20240101)
    yes = lambda: r.integers(0, 2, rows)  # noqa: E731
    return {
        "age_years": r.integers(38, 75, rows).astype(float),
        "sex": np.array(["female", "male"])[yes()],
        "race": np.array(["white", "black"])[yes()],
        "risk_region": np.array(["low", "moderate", "high", "very_high"])[r.integers(0, 4, rows)],
        "total_chol_mg_dl": r.uniform(125, 320, rows),
        "hdl_chol_mg_dl": r.uniform(20, 100, rows),
        "sbp_mmhg": r.uniform(90, 200, rows),
        "bp_treated": yes(),
        "statin": yes(),
        "diabetes": yes(),
        "current_smoker": yes(),
        "bmi_kg_m2": r.uniform(18.5, 39.9, rows),
        "egfr_ckdepi2021_ml_min_173": np.where(r.random(rows) < 0.02, np.nan, r.uniform(15, 140, rows)),
    }


def judged(row: dict, ranges: dict) -> tuple[str, str | None]:
    """State and reason of one row."""
    missing = [n for n in ranges if row.get(n) is None or row[n] != row[n]]
    if missing:
        return "not_assessable", "missing: " + ", ".join(missing)
    outside = [
        f"{n} {row[n]:g} is outside {lo:g} to {hi:g}" for n, (lo, hi) in ranges.items() if not lo <= row[n] <= hi
    ]
    return ("out_of_range", "; ".join(outside)) if outside else ("measured", None)


LIPIDS = {"total_chol_mg_dl": (130, 320), "hdl_chol_mg_dl": (20, 100)}
PREVENT_RANGES = {
    "age_years": (30, 79), **LIPIDS, "statin": (0, 1), "sbp_mmhg": (90, 200), "bp_treated": (0, 1), "diabetes": (0, 1),
    "current_smoker": (0, 1), "egfr_ckdepi2021_ml_min_173": (15, 140),
}  # fmt: skip
PCE_RANGES = {
    "age_years": (40, 79), **LIPIDS, "sbp_mmhg": (90, 200), "bp_treated": (0, 1), "current_smoker": (0, 1),
    "diabetes": (0, 1),
}  # fmt: skip
SCORE2_RANGES = {
    "age_years": (40, 69), "sbp_mmhg": (40, 300), "total_chol_mg_dl": (20, 1000), "hdl_chol_mg_dl": (5, 300),
    "current_smoker": (0, 1), "diabetes": (0, 1),
}  # fmt: skip


def prevent_row(row: dict, beta: dict) -> tuple:
    state, reason = judged(row, PREVENT_RANGES)
    if state != "measured":
        return None, state, reason
    b = beta[row["sex"]]
    age = (row["age_years"] - 55) / 10
    nonhdl = (row["total_chol_mg_dl"] - row["hdl_chol_mg_dl"]) * 0.02586 - 3.5
    hdl = (row["hdl_chol_mg_dl"] * 0.02586 - 1.3) / 0.3
    sbp_low, sbp = (min(row["sbp_mmhg"], 110) - 110) / 20, (max(row["sbp_mmhg"], 110) - 130) / 20
    egfr = row["egfr_ckdepi2021_ml_min_173"]
    egfr_low, egfr_high = (min(egfr, 60) - 60) / -15, (max(egfr, 60) - 90) / -15
    x = (
        b["constant"] + b["age"] * age + b["nonhdl"] * nonhdl + b["hdl"] * hdl + b["sbp_low"] * sbp_low
        + b["sbp_high"] * sbp + b["diabetes"] * row["diabetes"] + b["smoking"] * row["current_smoker"]
        + b["egfr_low"] * egfr_low + b["egfr_high"] * egfr_high + b["treated"] * row["bp_treated"]
        + b["statin"] * row["statin"] + b["treated_sbp"] * row["bp_treated"] * sbp
        + b["treated_nonhdl"] * row["statin"] * nonhdl + b["age_nonhdl"] * age * nonhdl + b["age_hdl"] * age * hdl
        + b["age_sbp"] * age * sbp + b["age_diabetes"] * age * row["diabetes"]
        + b["age_smoking"] * age * row["current_smoker"] + b["age_egfr"] * age * egfr_low
    )  # fmt: skip
    return 100 / (1 + math.exp(-x)), state, reason


def pce_row(row: dict, _: dict) -> tuple:
    state, reason = judged(row, PCE_RANGES)
    if state != "measured":
        return None, state, reason
    group = 2 * (row["sex"] == "male") + (row["race"] == "black")
    age, chol = math.log(row["age_years"]), math.log(row["total_chol_mg_dl"])
    hdl, sbp = math.log(row["hdl_chol_mg_dl"]), math.log(row["sbp_mmhg"])
    treated, smoker = row["bp_treated"], row["current_smoker"]
    values = {
        "age": age, "age2": age * age, "chol": chol, "age_chol": age * chol, "hdl": hdl, "age_hdl": age * hdl,
        "sbp_treated": sbp * treated, "age_sbp_treated": age * sbp * treated, "sbp_untreated": sbp * (1 - treated),
        "age_sbp_untreated": age * sbp * (1 - treated), "smoker": smoker, "age_smoker": age * smoker,
        "diabetes": row["diabetes"],
    }  # fmt: skip
    linear = sum(pce_module._TERMS[term][group] * value for term, value in values.items())
    survival = float(pce_module._SURVIVAL[group])
    return 100 * (1 - survival ** math.exp(linear - float(pce_module._MEAN[group]))), state, reason


def score2_row(row: dict, _: dict) -> tuple:
    state, reason = judged(row, SCORE2_RANGES)
    if state != "measured":
        return None, state, reason
    sex = int(row["sex"] == "male")
    age = (row["age_years"] - 60) / 5
    base = {
        "smoker": row["current_smoker"], "sbp": (row["sbp_mmhg"] - 120) / 20, "diabetes": row["diabetes"],
        "chol": row["total_chol_mg_dl"] * 0.02586 - 6, "hdl": (row["hdl_chol_mg_dl"] * 0.02586 - 1.3) / 0.5,
    }  # fmt: skip
    linear = TERMS["age"][sex] * age
    for name, value in base.items():
        linear += TERMS[name][sex] * value + TERMS[f"age_{name}"][sex] * age * value
    region = ("low", "moderate", "high", "very_high").index(row["risk_region"])
    a, b = SCALES[region, sex].tolist()
    uncalibrated = 1 - SURVIVAL[sex] ** math.exp(linear)
    return 100 * (1 - math.exp(-math.exp(a + b * math.log(-math.log(1 - uncalibrated))))), state, reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=50_000)
    options = parser.parse_args()
    data = patients(options.rows)
    count = min(options.peer_rows, options.rows)
    lists = {name: values[:count].tolist() for name, values in data.items()}
    people = [dict(zip(lists, values)) for values in zip(*lists.values())]
    terms, betas = coefficients("base", 10)
    beta = {sex: dict(zip(terms, betas[2 + i].tolist())) for i, sex in enumerate(("female", "male"))}
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    print(f"{options.rows} patients, {os.cpu_count()} cores{load}; the peer on {count} rows, scaled")
    for name, peer in (
        ("risk_prevent_base_ascvd_10y", prevent_row),
        ("risk_pce_ascvd_10y", pce_row),
        ("risk_score2_cvd_10y", score2_row),
    ):
        scores()[name].evaluate({field: values[:10] for field, values in data.items()})  # tables are read once
        seconds, cpu = [], []
        for _ in range(REPEATS):
            start, cpu_start = time.perf_counter(), time.process_time()
            result = scores()[name].evaluate(Columns(data))
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        start = time.perf_counter()
        assert result.state.size == result.reason.size == options.rows
        words = time.perf_counter() - start
        start, cpu_start = time.perf_counter(), time.process_time()
        expected = [peer(row, beta) for row in people]
        peer_seconds = (time.perf_counter() - start) * options.rows / count
        peer_cpu = (time.process_time() - cpu_start) * options.rows / count
        start = time.perf_counter()
        for row in people[:SINGLE_ROWS]:
            scores()[name].evaluate(row)
        single_seconds = (time.perf_counter() - start) * options.rows / min(SINGLE_ROWS, count)
        states = [e[1] for e in expected]
        assert states == result.state[:count].tolist(), f"{name}: states differ"
        values = np.array([np.nan if e[0] is None else e[0] for e in expected])
        apart = float(np.nanmax(np.abs(values - result.values[:count])))
        assert apart < 1e-6, f"{name}: values differ by {apart}"
        best, least = min(seconds), min(cpu)
        print(
            f"{name}: {best:.3f} s (of {', '.join(f'{s:.3f}' for s in seconds)}; {least:.3f} s of CPU), in words "
            f"{words:.3f} s more; peer {peer_seconds:.1f} s, {peer_seconds / best:.0f}x ({peer_cpu:.1f} s of CPU, "
            f"{peer_cpu / least:.0f}x); row by row through the same interface {single_seconds:.0f} s, "
            f"{single_seconds / best:.0f}x; {states.count('measured') / count:.0%} measured, "
            f"largest difference {apart:.1e}"
        )


if __name__ == "__main__":
    main()
