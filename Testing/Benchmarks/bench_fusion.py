"""Training and scoring from Parquet in passes, beside pandas and scikit-learn on the whole table in the same run.

    python Testing/Benchmarks/bench_fusion.py [--rows 1000000] [--columns 200] [--survival] [--folder DIR] [-o FILE]

The peer is what one would write with pandas and scikit-learn alone: the table as a whole, median and most frequent
word, standardised, one logistic regression on all columns, probabilities for all rows. It has no gap features, no
choice of penalty, no refitted models, no sets, and judges no patient unlike the others; ours does all of that in the
time given. Early fusion is asked for as well, since it is the same model as the peer's; late fusion is the default.
Every step is a process of its own, whose peak resident memory is the kernel's count (``ru_maxrss``). The table is
drawn here with known coefficients (`FusionRiskLib.fusion.big.synthetic`); its writing is not part of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PEER = """
import json, sys
import numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
table = pd.read_parquet(sys.argv[1])
y = (table.pop("mace") == "yes").to_numpy()
x = pd.get_dummies(table.drop(columns=["patient", "months", "died"]), dtype=float)
del table
x = x.fillna(x.median())
x = (x - x.mean()) / x.std()
p = LogisticRegression(C=0.01, max_iter=1000).fit(x, y).predict_proba(x)[:, 1]
np.save(sys.argv[2], p)
"""


def timed(command: list[str]) -> dict[str, float]:
    """Seconds and peak memory of a child process."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(said[-2000:])
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_gb": peak / 1e9,
    }


def discrimination(table: Path, answers: Path, outcome: str) -> float:
    """AUC of the answers; of survival, of having died within the time watched."""
    import numpy as np
    import pyarrow.parquet as pq
    from FusionRiskLib.fusion.metrics.classes import auc

    column = "died" if outcome == "survival" else "mace"
    truth = pq.read_table(table, columns=[column])[column].to_numpy(zero_copy_only=False)
    truth = truth.astype(bool) if outcome == "survival" else truth == "yes"
    if answers.suffix == ".npy":
        return auc(truth, np.load(answers))
    name = "p risk by 24 months" if outcome == "survival" else "p yes"
    p = pq.read_table(answers, columns=[name])[name].to_numpy(zero_copy_only=False)
    known = ~np.isnan(p)
    return auc(truth[known], p[known])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--survival", action="store_true", help="Cox regression; it has no peer on the whole here.")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--folder", type=Path, help="Where the table is kept; default: a temporary folder.")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    from FusionRiskLib.fusion.big.synthetic import write_large_table

    outcome = "survival" if args.survival else "binary"
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        table, *schemas = write_large_table(folder, args.rows, args.columns)
        schema = schemas[args.survival]
        cli = [sys.executable, "-m", "CardioPrecisionLib.fronts.cli", "fusion"]
        found: dict[str, Any] = {}
        for kind in ("late", "early"):
            model, answers = Path(temporary) / kind, Path(temporary) / f"{kind}-answers"
            command = [*cli, "train", str(table), "--schema", str(schema), "-o", str(model), "--model", kind]
            found[f"{kind} fusion, training"] = timed(command)
            scored = timed([*cli, "predict", str(model), str(table), "-o", str(answers)])
            scored["auc"] = discrimination(table, answers / "answers.parquet", outcome)
            found[f"{kind} fusion, scoring"] = scored
        if not args.survival and not args.no_peer:
            said = Path(temporary) / "peer.npy"
            peer = timed([sys.executable, "-c", _PEER, str(table), str(said)])
            peer["auc"] = discrimination(table, said, outcome)
            found["pandas and scikit-learn, both"] = peer
        print(f"{args.rows} rows x {args.columns} columns, {outcome} outcome, {table.stat().st_size / 1e6:.0f} MB")
        for name, one in found.items():
            auc = f"   AUC {one['auc']:.4f}" if "auc" in one else ""
            print(
                f"  {name:32} {one['seconds']:7.1f} s  ({one['cpu_seconds']:6.1f} s CPU)  {one['peak_gb']:6.2f} GB{auc}"
            )
        if args.output is not None:
            args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
