"""What findings become as rows of a measurement table."""

from __future__ import annotations

import pytest
from CardioPrecisionLib import measurement as ground
from CardioPrecisionLib.measurement import Measurements, Patient, State
from FusionRiskLib.clinical.measured import with_measurements
from FusionRiskLib.clinical.record import record_from_values
from FusionRiskLib.text import extract, to_measurements


def rows(text: str) -> Measurements:
    return to_measurements(extract(text))


def test_a_value_is_entered_with_its_place():
    text = "Findings: LVEF 55 %."
    row = rows(text)["lv_ef"]
    assert (row.value, row.unit, row.state, row.low) == (55.0, "%", State.ENTERED, None)
    assert row.method == f"text rule quantity, characters {text.index('55')}-{text.index('55') + 4}"


def test_of_a_range_the_middle_with_its_ends():
    row = rows("LVEF 55-60 %.")["lv_ef"]
    assert (row.value, row.low, row.high) == (57.5, 55.0, 60.0)
    assert "range (55-60 %)" in row.reason


def test_of_a_word_its_range():
    row = rows("Moderate stenosis of the mid LAD.").get("diameter_stenosis", "scct07")
    assert (row.value, row.low, row.high) == (59.5, 50.0, 69.0)
    assert "Moderate" in row.reason


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("<25 % stenosis of the RCA.", 0.0, 25.0), (">70 % stenosis of the RCA.", 70.0, 99.0)],
)
def test_of_a_stenosis_bound_what_it_allows(text, low, high):
    row = rows(text).get("diameter_stenosis", "RCA")
    assert (row.low, row.high, row.value) == (low, high, (low + high) / 2)


@pytest.mark.parametrize(
    "text",
    [
        "HISTORY: EF 30 %.",
        "INDICATION: known EF 30 %.",
        "COMPARISON: EF 30 % in 2019.",
        "EF was 30 % in 2019.",
        "Previously no stenosis in the LAD.",
        "Prior calcium score 20.",
        "History of severe stenosis of the LAD.",
        "Family history: brother with EF of 20 %.",
        "RECOMMENDATION: device if EF stays under 35 %.",
    ],
)
def test_nothing_historical_becomes_a_measurement(text):
    assert len(rows(text)) == 0


@pytest.mark.parametrize(
    ("text", "name", "site", "state", "reason"),
    [
        ("EF > 55 %.", "lv_ef", None, State.NOT_ASSESSABLE, "only a bound: > 55 %"),
        ("EF was not calculated.", "lv_ef", None, State.NOT_ASSESSABLE, "not measured"),
        ("LVEF 550 %.", "lv_ef", None, State.OUT_OF_RANGE, "credible range"),
        ("Possible 60 % stenosis of the LAD.", "diameter_stenosis", "LAD", State.NOT_ASSESSABLE, "not sure"),
        ("No significant stenosis of the LAD.", "diameter_stenosis", "LAD", State.NOT_ASSESSABLE, "only 50 % and more"),
        ("Stenosis of the LAD.", "diameter_stenosis", "LAD", State.NOT_ASSESSABLE, "no degree"),
        ("Agatston score 1.204.", "agatston_score", "total", State.NOT_ASSESSABLE, "ambiguous"),
        ("Findings: EF 45 %. Impression: EF 60 %.", "lv_ef", None, State.NOT_ASSESSABLE, "contradicts itself: 45 %"),
    ],
)
def test_without_a_sure_value_the_row_says_why(text, name, site, state, reason):
    row = rows(text).get(name, site)
    assert row.value is None
    assert row.state is state
    assert reason in row.reason


def test_a_report_that_is_silent_gives_no_zero():
    assert len(rows("The coronary arteries could not be assessed. No calcium was mentioned.")) == 0


def test_no_stenosis_is_zero_only_where_it_is_said():
    found = rows("No stenosis of the left main.")
    assert found.value("diameter_stenosis", "LM") == 0
    assert found.get("diameter_stenosis", "LAD") is None


def test_the_greatest_of_several_stenoses_counts():
    assert rows("Mid LAD: 30 % stenosis and 65 % stenosis.").value("diameter_stenosis", "scct07") == 65


def test_the_more_exact_of_two_statements_counts():
    assert rows("Findings: LVEF 57.4 %. Impression: LVEF 55-60 %.").value("lv_ef") == 57.4


def test_cad_rads_with_burden_and_modifiers():
    found = rows("CAD-RADS 4A/P3/HRP/S.")
    values = {row.name: row.value for row in found}
    assert values == {"cad_rads": "4A", "plaque_burden_grade": "P3", "cad_rads_modifiers": "HRP/S"}


def test_rows_are_a_valid_document_and_fill_a_record():
    found = rows(
        "LVEF 34 %. Agatston score: LAD 120, total 164. Stenosis of the LAD 50-69 %. CAD-RADS 3. EF of RV 41 %."
    )
    ground.validate(ground.document("text", Patient(), found, []))
    record = with_measurements(record_from_values({"age_years": 60}, "x"), "text", found)
    assert record.value("lv_ef_pct") == 34
    assert record.value("cac_agatston") == 164
    assert found.value("rv_ef") == 41
