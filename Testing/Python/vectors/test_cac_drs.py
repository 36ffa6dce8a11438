"""CAC-DRS from score and number of vessels."""

from CardioPrecisionLib.calcium_norms import cac_drs
from vector_rows import check


def one(row):
    got = cac_drs(float(row["cac_agatston"]), int(row["n_vessels"]))
    return [] if got == row["expected"] else [f"{got}, expected {row['expected']}"]


def test_cac_drs():
    check("cac_drs", one)
