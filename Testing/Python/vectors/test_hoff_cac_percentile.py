"""Percentiles by age band and sex of Hoff 2001: every cell, and the percentile of every cell's score."""

from CardioPrecisionLib.calcium_norms import hoff_cac, hoff_percentile
from vector_rows import check, compare


def age_of(band):
    if band == "<40":
        return 35
    return 80 if band == ">74" else int(band.split("-")[0]) + 2


def one(row):
    age, percentile = age_of(row["age_band"]), int(row["percentile"])
    wrong = compare("score", hoff_cac(age, row["sex"])[percentile], row, "cac_agatston")
    cac = float(row["cac_agatston"])
    got = hoff_percentile(cac, age, row["sex"])
    if cac > 0 and got.low != percentile:
        wrong.append(f"the score's percentile is {got.low:g}")
    if cac == 0 and not got.high > percentile:
        wrong.append(f"fewer than {got.high:g} % have no calcium, but the table says at least {percentile} %")
    return wrong


def test_hoff_cac_percentile():
    check("hoff_cac_percentile", one)
