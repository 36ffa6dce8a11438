"""What is told of synthetic ECGs and heart sounds in noise, against their exact truth; prints the table of the docs.

    python tools/waveform_accuracy.py [RECORDINGS]

RECORDINGS of each row, 24 if not given: ten seconds, hearts of 55 to 95 beats per minute.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from FusionRiskLib.waveform.analyse import analyse
from FusionRiskLib.waveform.recording import Kind, make_recording
from FusionRiskLib.waveform.synthetic import Beat, make_ecg, make_pcg

#: Share by which a heart rate may be off and still be right.
RIGHT = 0.03


def _errors(found: Iterable[float | None], true: float) -> str:
    errors = [value - true for value in found if value is not None]
    if not errors:
        return "none told"
    return f"{len(errors)}: {np.mean(errors):+.0f} ms, largest {np.max(np.abs(errors)):.0f}"


def _row(n: int, kind: Kind, make: Callable[[int], tuple[object, float]], shown: dict[str, float]) -> list[str]:
    flags: Counter[str] = Counter()
    told = wrong = 0
    values: dict[str, list[float | None]] = {name: [] for name in shown}
    for seed in range(n):
        made, rate = make(seed)
        names = list(getattr(made, "leads", ("sound",)))
        found = analyse(make_recording(made.samples, made.rate, names, ["mV"] * len(names), "synthetic"), kind)  # type: ignore[attr-defined]
        flags[str(found.quality.flag)] += 1
        if "heart_rate" in found.features:
            told += 1
            wrong += abs(found.features["heart_rate"] / rate - 1) > RIGHT
        for name, one in values.items():
            one.append(found.features.get(name))
    counts = " / ".join(str(flags[name]) for name in ("good", "doubtful", "unusable"))
    return [counts, f"{told}, {wrong} wrong", *(_errors(values[name], true) for name, true in shown.items())]


def ecg_rows(n: int) -> list[list[str]]:
    rows = []
    beat = Beat()
    for leads in (("II",), ("II", "V1", "V5")):
        for hertz in (100, 500):
            for noise in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):

                def make(seed: int, leads=leads, hertz=hertz, noise=noise):  # type: ignore[no-untyped-def]
                    made = make_ecg(10, hertz, leads, 55 + 40 * seed / n, beat=beat, noise_mv=noise, seed=seed)
                    return made, 60 / np.diff(made.r_seconds).mean()

                shown = {"qrs_duration_ms": beat.qrs_ms, "qt_tangent_ms": beat.qt_ms}
                rows.append([f"{len(leads)}, {hertz} Hz", f"{noise:g} mV", *_row(n, "ecg", make, shown)])
    return rows


def pcg_rows(n: int) -> list[list[str]]:
    rows = []
    for noise in (0.0, 0.1, 0.3, 0.6, 1.0):

        def make(seed: int, noise=noise):  # type: ignore[no-untyped-def]
            made = make_pcg(10, 2000, 55 + 40 * seed / n, systole_ms=290, noise=noise, seed=seed)
            return made, made.truth["heart_rate"]

        rows.append(["sound, 2000 Hz", f"{noise:g} of S1", *_row(n, "pcg", make, {"systole_ms": 290.0})])
    return rows


def main(arguments: list[str]) -> int:
    n = int(arguments[0]) if arguments else 24
    for head, rows in (
        (["leads", "noise", "good / doubtful / unusable", "heart rate told", "QRS duration", "QT"], ecg_rows(n)),
        (["recording", "noise", "good / doubtful / unusable", "heart rate told", "systole"], pcg_rows(n)),
    ):
        print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
        for row in rows:
            print("| " + " | ".join(row) + " |")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
