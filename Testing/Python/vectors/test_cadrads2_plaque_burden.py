"""P1 to P4 by calcium score, by segments and by eye."""

import re

from CoronaryPlaqueLib.plaque_burden import burden_by_cac, burden_by_eye, burden_by_sis
from CoronaryPlaqueLib.segments import MAJOR_VESSELS
from vector_rows import check


def by_eye(text):
    """The grades of every picture that a line such as "1-2 vessels mild" means, one by one."""
    first, last, amount = re.fullmatch(r"(\d)(?:-(\d))? vessels? (none|mild|moderate|severe)", text).groups()
    return {
        burden_by_eye({v: amount if i < count else "none" for i, v in enumerate(MAJOR_VESSELS)})
        for count in range(int(first), int(last or first) + 1)
    }


def one(row):
    got = {
        "CAC": lambda v: {burden_by_cac(float(v))},
        "SIS": lambda v: {burden_by_sis(int(v))},
        "visual": by_eye,
    }[row["method"]](row["value"])
    expected = re.fullmatch(r"(P\d)(?: \(no modifier\))?", row["expected_P"])[1]
    return [] if got == {expected} else [f"{got}, expected {expected}"]


def test_cadrads2_plaque_burden():
    check("cadrads2_plaque_burden", one)
