"""Diastolic function 2016: every path of the two algorithms."""

import numpy as np
from FusionRiskLib.scores.diastolic import classify
from vector_rows import check

DISEASED = {"normal": False, "normal_with_disease": True, "reduced": True}
EA = {"gte2": (2.0, 1), "mid_range": (1.2, 1), "lt08_high_e": (0.8, 1), "lt08_low_e": (0.7, -1)}
MET = {"positive": 1, "negative": -1, "unavailable": 0}
CRITERIA = ("avg_e_eprime_gt14", "eprime_low", "trv_gt2p8", "lavi_gt34")


def one(row):
    ratio, e_high = EA[row["ea_class"]]
    values = (DISEASED[row["ef_class"]], ratio, e_high, *(MET[row[c]] for c in CRITERIA))
    found = classify(*(np.array([value]) for value in values))[0] or "insufficient_info"
    return [] if found == row["expected_result"] else [f"{found}, expected {row['expected_result']}"]


def test_diastolic_ase2016():
    check("diastolic_ase2016", one)
