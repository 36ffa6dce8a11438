"""Severe aortic stenosis by the valve's calcium score."""

from CardioPrecisionLib.calcium_norms import aortic_stenosis
from vector_rows import check


def one(row):
    got = aortic_stenosis(float(row["avc_agatston"]), row["sex"])
    return [] if got == row["expected"] else [f"{got}, expected {row['expected']}"]


def test_avc_severe_as():
    check("avc_severe_as", one)
