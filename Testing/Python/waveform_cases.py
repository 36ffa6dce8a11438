"""Synthetic recordings as `Recording`, and as files of both kinds."""

from __future__ import annotations

import csv

import numpy as np
from FusionRiskLib.waveform.recording import make_recording
from FusionRiskLib.waveform.synthetic import SyntheticEcg


def as_recording(made, samples=None, unit="mV", names=None):
    samples = made.samples if samples is None else samples
    if names is None:
        names = made.leads if isinstance(made, SyntheticEcg) else ["sound"]
    return make_recording(samples, made.rate, list(names), [unit] * samples.shape[1], "recording")


def write_csv(path, made, times=True, digits=6):
    names = [f"{lead} [mV]" for lead in made.leads] if isinstance(made, SyntheticEcg) else ["sound"]
    t = np.arange(len(made.samples)) / made.rate
    columns = [t, *made.samples.T] if times else made.samples.T
    with open(path, "w", encoding="utf-8") as file:
        file.write(",".join((["time_s"] if times else []) + names) + "\n")
        np.savetxt(file, np.column_stack(columns), fmt=f"%.{digits}f", delimiter=",")
    return path


def write_wfdb(folder, name, made, fmt="16", samples=None, comments=None):
    import wfdb

    samples = made.samples if samples is None else samples
    n = samples.shape[1]
    names = list(made.leads) if isinstance(made, SyntheticEcg) else ["sound"]
    wfdb.wrsamp(
        name, fs=made.rate, units=["mV"] * n, sig_name=names, p_signal=samples, fmt=[fmt] * n, write_dir=str(folder),
        comments=comments,
    )  # fmt: skip
    return folder / f"{name}.hea"


def write_table(path, head, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    return path


def read_table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
