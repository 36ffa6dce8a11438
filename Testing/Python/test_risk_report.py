"""What a reader of the report sees: scores with range and citation, plan with its inputs, values, what was not used."""

import html
import re

import pytest
import risk_cases
from CardioPrecisionLib.report import render
from FusionRiskLib.clinical.record import record_from_values
from FusionRiskLib.risk import TITLE, assess
from FusionRiskLib.risk_figures import make_figures, risk_plot


def page_of(found):
    return render(TITLE, found.to_result(), found.patient, {})


@pytest.fixture(scope="module")
def patient():
    return assess(risk_cases.record(), [risk_cases.LV, risk_cases.CALCIUM])


@pytest.fixture(scope="module")
def page(patient):
    return page_of(patient)


def text_of(part):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def section(page, name):
    return re.search(rf'<section aria-labelledby="section-{name}">.*?</section>', page, re.DOTALL)[0]


def test_research_is_said_once(page):
    assert text_of(page).count("For research use, not for clinical decisions") == 1


def test_every_score_is_there_once_with_its_citation(patient, page):
    shown = section(page, "scores")
    computed, folded = shown.split("<details>")
    for named in patient.scores:
        assert shown.count(f"<code>{named.name}</code>") == 1
        part = computed if named.value is not None else folded
        assert f"<code>{named.name}</code>" in part
        if named.value is None:
            assert named.reason in text_of(folded)
        else:
            assert named.score.doi in text_of(computed)
    text = text_of(computed)
    assert "Holds for age 40 to 79 years" in text
    assert "26.4 % high" in text
    assert "All measurements" not in text_of(page)
    count = sum(named.value is None for named in patient.scores)
    assert f"Not computed {count} scores" in text_of(shown)


def test_statements_with_inputs_and_citation(patient, page):
    shown = section(page, "plan")
    applying = shown.split("<details>")[0]
    for s in patient.statements:
        where = applying if s.state == "applies" else shown
        assert text_of(html.escape(s.text)) in text_of(where), s.id
        assert s.citation in text_of(where)
        assert (f'id="plan-{s.id}"' in applying) == (s.state == "applies")
    assert "Pooled Cohort Equations: ASCVD in 10 years 26.4 %" in text_of(applying)
    assert "Coronary calcium (Agatston) 53.1 Agatston (calcium)" in text_of(applying)
    assert "cad_rads is not known" in text_of(shown)


def test_values_with_unit_state_and_source(page):
    ef = risk_cases.value_in(risk_cases.LV, "lv_ef", None)
    text = text_of(section(page, "values"))
    for words in (
        "Systolic blood pressure sbp_mmhg 148 mmHg entered Observation",
        "Smokes now current_smoker yes entered Observation",
        f"LV ejection fraction lv_ef_pct {ef:.1f} % measured lv-function",
        "eGFR (CKD-EPI 2021) egfr_ckdepi2021_ml_min_173 80.8 mL/min/1.73 m² derived",
        "Race as the score asks for it race white entered JSON",
    ):
        assert words in text, words
    assert re.search(r"lv-function: 1 of \d+ measurements is used here", text)
    assert "Scores that need it" in text


def test_what_was_not_used_is_listed(page):
    text = text_of(page)
    for words in ("LOINC 718-7", "LOINC 2951-2", "SNOMED CT 396275006", "ATC A02BC02", "resources of type Encounter",
                  "observations that are not the newest (1): total_chol_mg_dl"):  # fmt: skip
        assert words in text, words


def test_an_unknown_value_is_shown_as_unknown():
    found = assess(record_from_values({"age_years": 50, "race": "unknown"}, "x"))
    text = text_of(section(page_of(found), "values"))
    assert "race – unknown" in text


def test_one_file_without_anything_from_elsewhere(page):
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "script-src 'none'" in html.unescape(page)
    assert "<script" not in page


def test_names_from_files_are_escaped():
    found = assess(record_from_values({"age_years": 50, "<script>alert(1)</script>": 1}, "x"))
    assert "<script" not in page_of(found)
    assert "&lt;script&gt;" in page_of(found)


def test_figures(patient):
    figures = {f.name: f for f in make_figures(patient.scores, patient.record)}
    assert set(figures) == {"ten_year_risk", "percentile"}
    svg = figures["ten_year_risk"].data.decode()
    for words in ("26.4 %, high", "15.2 %, very high", "Framingham, CVD", "MESA with CAC, CHD"):
        assert words in svg, words
    assert "17.4 %</text>" in svg  # no category: none was published for it
    assert "McClelland" in figures["percentile"].caption
    young = assess(record_from_values({"age_years": 20, "sex": "male"}, "x"))
    assert risk_plot(young.scores) is None
    assert make_figures(young.scores, young.record) == []


def test_a_record_without_anything_still_gives_a_report():
    found = assess(record_from_values({}, "x"))
    text = text_of(page_of(found))
    for words in ("No score could be computed", "The record holds no value", "Nothing could be measured",
                  "Not computed"):  # fmt: skip
        assert words in text, words
