"""Stage by plaque volume and by percent atheroma volume."""

from CoronaryPlaqueLib.plaque_stage import stage_by_percent, stage_by_volume
from vector_rows import check, compare


def one(row):
    by_volume = stage_by_volume(float(row["tpv_mm3"]))
    by_percent = stage_by_percent(float(row["pav_pct"]))
    return [
        *compare("stage by volume", by_volume, row, "expected_stage_by_tpv"),
        *compare("stage by percent", by_percent, row, "expected_stage_by_pav"),
    ]


def test_plaque_stage_min2022():
    check("plaque_stage_min2022", one)
