"""Segment involvement and stenosis score: of grades, and of readings that have these grades."""

import json

from CoronaryPlaqueLib.involvement import involvement, segment_involvement_score, segment_stenosis_score
from CoronaryPlaqueLib.reading import Readings, SegmentReading
from CoronaryPlaqueLib.segments import Dominance, segments_of
from vector_rows import check, compare

STENOSIS_PCT = (0, 30, 55, 85)


def one(row):
    grades = json.loads(row["segment_grade_16_none0_mild1_moderate2_severe3"])
    numbers = segments_of(Dominance.RIGHT)
    read = involvement(
        Readings(SegmentReading(n, STENOSIS_PCT[g], g > 0) for n, g in zip(numbers, grades, strict=True))
    )
    return [
        *compare("SIS", segment_involvement_score(grades), row, "expected_sis"),
        *compare("SSS", segment_stenosis_score(grades), row, "expected_sss"),
        *compare("SIS of readings", read.sis, row, "expected_sis"),
        *compare("SSS of readings", read.sss, row, "expected_sss"),
    ]


def test_sis_sss():
    check("sis_sss", one)
