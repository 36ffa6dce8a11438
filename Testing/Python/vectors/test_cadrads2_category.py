"""CAD-RADS 2.0 from segment readings that have the stenoses of the row."""

from CoronaryPlaqueLib.cadrads import Entered, cad_rads
from CoronaryPlaqueLib.reading import Readings, SegmentReading
from CoronaryPlaqueLib.segments import LEFT_MAIN, TRUNK
from vector_rows import check

#: A low and a high value of the range, both must give the row's answer.
RANGES = {"0": (0, 0), "1-24": (1, 24), "25-49": (25, 49), "50-69": (50, 69), "70-99": (70, 99), "100": (100, 100)}
LEFT_MAIN_PCT = {"non_lm": (0, 0), "lm_mild": (1, 49), "lm_significant": (50, 99)}
THREE = (2, 7, 13)
BEFORE = {"none": (False, False), "stent": (True, False), "cabg": (False, True), "both": (True, True)}


def classified(row, end):
    worst = RANGES[row["max_stenosis_pct"]][end]
    pct = dict.fromkeys(TRUNK, 0.0)
    pct[LEFT_MAIN] = min(LEFT_MAIN_PCT[row["left_main"]][end], worst)
    if row["three_vessel_ge70"] == "yes":
        pct |= dict.fromkeys(THREE, 70.0)
    else:
        assert row["three_vessel_ge70"] == "no"
    pct[7] = worst
    stent, graft = BEFORE[row["prior_intervention"]]
    entered = Entered({"none": False, "present": True}[row["hrp"]], stent=stent, graft=graft)
    return cad_rads(
        Readings(SegmentReading(n, p, p > 0) for n, p in pct.items()),
        entered,
        None if row["plaque_burden"] == "none" else row["plaque_burden"],
        study_diagnostic={"diagnostic": True, "non_diagnostic": False}[row["quality"]],
    ).text


def one(row):
    got = {classified(row, end) for end in (0, 1)}
    return [] if got == {row["expected"]} else [f"{sorted(map(str, got))}, expected {row['expected']}"]


def test_cadrads2_category():
    check("cadrads2_category", one)
