"""Text rules on sentences that mislead: negation, history, units, ranges, sites, sections, odd characters."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import text_accuracy
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.text import Status, extract
from FusionRiskLib.text.lexicon import document, expand, schema, terms
from FusionRiskLib.text.tokens import fold
from hypothesis import given, settings
from hypothesis import strategies as st


def said(text: str, *kinds: str) -> list[tuple]:
    """What was found, as the gold files spell it: kind, value, status, site."""
    found = [(f.kind, text_accuracy.spelled(f), f.status.value, f.site) for f in extract(text)]
    return [f for f in found if not kinds or f[0] in kinds]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EF 55-60 %", ("lv_ef", "55..60", "present", None)),
        ("EF 55 % - 60 %", ("lv_ef", "55..60", "present", None)),
        ("EF between 55 and 60 %", ("lv_ef", "55..60", "present", None)),
        ("EF 55 to 60 percent", ("lv_ef", "55..60", "present", None)),
        ("EF ranging from 40 to 45 %", ("lv_ef", "40..45", "present", None)),
        ("ejection\nfraction 45,5 %", ("lv_ef", "45.5", "present", None)),
        ("LVEF\u00a062\u202f%", ("lv_ef", "62", "present", None)),
        ("ＬＶＥＦ ５５ ％", ("lv_ef", "55", "present", None)),
        ("LVEF 50–55 %", ("lv_ef", "50..55", "present", None)),
        ("EF ≥ 50 %", ("lv_ef", ">=50", "present", None)),
        ("EF 50 % or more", ("lv_ef", ">=50", "present", None)),
        ("EF 0.48", ("lv_ef", "48", "present", None)),
        ("LVEDV 0.15 L", ("lv_edv", "150", "present", None)),
        ("Aortic root 4.2 cm", ("aorta_diameter", "42", "present", "sinus")),
        ("Agatston score 1,204.5", ("agatston_score", "1204.5", "present", "total")),
        ("Agatston score of 2010", ("agatston_score", "2010", "present", "total")),
        ("GLS −17,5 %", ("strain_global_longitudinal", "-17.5", "present", None)),
        ("EF from 30 % to 42 %", ("lv_ef", "42", "present", None)),
        ("mLAD: >70 % stenosis", ("diameter_stenosis", ">70", "present", "scct07")),
        ("Segment 5: 50 % stenosis", ("diameter_stenosis", "50", "present", "LM")),
        ("left PDA 50 % stenosis", ("diameter_stenosis", "50", "present", "scct15")),
        ("99 % stenosis of seg. 11", ("diameter_stenosis", "99", "present", "scct11")),
        ("CAD-RADS™ 2022: 4B/P3/HRP/S", ("cad_rads", "4B/HRP/S", "present", None)),
    ],
)
def test_one_value(text, expected):
    assert expected in said(text)
    assert len([f for f in said(text, expected[0]) if f[2] == "present"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n\n\t ",
        "Call 555-0142 or 089/4400-1234, MRN 00512345.",
        "Exam of 12/03/2024, 14:35.",
        "Normal range for EF: 52-72 %.",
        "If EF falls below 35 %, consider a device.",
        "RECOMMENDATION: repeat when EF is below 40 %.",
        "BP 120/80 mmHg, weight 80 kg, contrast 70 mL.",
        "Carotid stenosis of 70 %.",
        "Cardiac MR as planned, as requested.",
        "EF and calcium score are explained on page 3.",
        "%%% --- ??? 55 %",
    ],
)
def test_nothing_is_made_up(text):
    assert [f for f in extract(text) if f.value is not None or f.low is not None or f.high is not None] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "No stenosis in the LAD, moderate stenosis in the RCA.",
            [("diameter_stenosis", "0", "absent", "LAD"), ("diameter_stenosis", "50..69", "present", "RCA")],
        ),
        (
            "No LAD stenosis but severe stenosis of the left main.",
            [("diameter_stenosis", "0", "absent", "LAD"), ("diameter_stenosis", "70..99", "present", "LM")],
        ),
        (
            "No aortic stenosis, moderate mitral regurgitation.",
            [("aortic_stenosis", None, "absent", None), ("mitral_regurgitation", "moderate", "present", None)],
        ),
        ("No mild, moderate or severe aortic stenosis.", [("aortic_stenosis", None, "absent", None)]),
        ("No significant stenosis.", [("diameter_stenosis", "<50", "absent", None)]),
        ("No severe stenosis.", [("diameter_stenosis", "<70", "absent", None)]),
        ("Severe stenosis was ruled out.", [("diameter_stenosis", "<70", "absent", None)]),
        ("Severe stenosis cannot be ruled out.", [("diameter_stenosis", "70..99", "uncertain", None)]),
        ("LGE cannot be excluded.", [("scar", None, "uncertain", None)]),
        ("LGE was excluded.", [("scar", None, "absent", None)]),
        (
            "Pericardial effusion, thrombus and LGE are absent.",
            [
                ("pericardial_effusion", None, "absent", None),
                ("intracardiac_thrombus", None, "absent", None),
                ("scar", None, "absent", None),
            ],
        ),
        ("SVG to LAD occluded.", [("diameter_stenosis", "100", "present", "graft_svg")]),
        ("No change in EF (55 %).", [("lv_ef", "55", "present", None)]),
        ("EF was not calculated.", [("lv_ef", None, "absent", None)]),
        ("Mother had severe aortic stenosis.", [("aortic_stenosis", "severe", "historical", None)]),
        ("EF 50 %, previously 40 %.", [("lv_ef", "50", "present", None), ("lv_ef", "40", "historical", None)]),
        ("EF was 40 % in 2019, now 50 %.", [("lv_ef", "40", "historical", None), ("lv_ef", "50", "present", None)]),
        ("EF 50 % (40 % in 2019).", [("lv_ef", "50", "present", None), ("lv_ef", "40", "historical", None)]),
        ("Compared to the prior study, EF is 47 %.", [("lv_ef", "47", "present", None)]),
        ("HISTORY: EF 30 %.", [("lv_ef", "30", "historical", None)]),
        ("CAD-RADS 1-2", [("cad_rads", "1", "uncertain", None)]),
    ],
)
def test_what_a_cue_reaches(text, expected):
    assert sorted(said(text), key=str) == sorted(expected, key=str)


def test_chambers_are_told_apart():
    text = "LV: EDV 180 mL, EF 55 %.\nRV: EDV 170 mL, EF 50 %."
    assert [(f.kind, f.value) for f in extract(text)] == [
        ("lv_edv", 180.0), ("lv_ef", 55.0), ("rv_edv", 170.0), ("rv_ef", 50.0)
    ]  # fmt: skip


def test_sections_and_labels_carry():
    text = "CORONARY ARTERIES\nLAD:\nProximal: 30 % stenosis.\nMid: no stenosis.\nRCA: There is a 60 % stenosis."
    assert [(f.site, f.value, f.status.value) for f in extract(text)] == [
        ("scct06", 30.0, "present"), ("scct07", 0.0, "absent"), ("RCA", 60.0, "present")
    ]  # fmt: skip


def test_a_label_does_not_reach_into_the_next_section():
    text = "FINDINGS:\nLAD: normal.\nIMPRESSION:\nThere is a 60 % stenosis."
    assert [f.site for f in extract(text)] == ["LAD", None]


def test_contradictions_are_kept_and_marked():
    found = extract("FINDINGS: EF 45 %. Moderate aortic stenosis.\nIMPRESSION: EF 55-60 %. Severe aortic stenosis.")
    assert [(f.kind, f.conflict) for f in found] == [
        ("lv_ef", True), ("aortic_stenosis", True), ("lv_ef", True), ("aortic_stenosis", True)
    ]  # fmt: skip
    assert {f.section for f in found} == {"findings", "impression"}


def test_agreement_within_what_is_written_is_no_contradiction():
    found = extract("FINDINGS: EF 57.4 %. Mid LAD 30 % and 60 % stenosis.\nIMPRESSION: EF 57 %, EF 55-60 %.")
    assert not any(f.conflict for f in found)


def test_spans_and_sentences_are_those_of_the_text():
    text = "Heart rate 60 bpm.\n\nThe LVEF\n is approximately 55 %. ÉF no."
    rate, ef = extract(text)
    assert (text[ef.start : ef.end], ef.comparator) == ("55 %", "~")
    assert text[ef.sentence_start :].startswith(ef.sentence)
    assert ef.sentence == "The LVEF\n is approximately 55 %."
    assert rate.end < ef.start


@pytest.mark.parametrize("bad", [None, b"EF 55 %", 5, ["EF 55 %"]])
def test_what_is_no_text_is_refused(bad):
    with pytest.raises(InputError, match="not text"):
        extract(bad)


def test_a_megabyte_of_reports_is_read():
    texts = [row["text"] for row in text_accuracy.rows("dev")]
    prose = "The examination was well tolerated and without any complication of note. " * 40
    text = ""
    while len(text) < 1_000_000:
        text += "\n\n".join([*texts, prose])
    assert len(extract(text)) > 1000


@pytest.mark.parametrize(
    "unit", ["EF ", "no ", "1 ", "(", "LAD and ", "CAD-RADS ", "mid ", "-", "\n", "history: ", "a"]
)
def test_monotonous_text_comes_back_with_spans_inside(unit):
    text = unit * (200_000 // len(unit))  # quadratic work would not come back from this
    assert all(0 <= f.start < f.end <= len(text) for f in extract(text))


def test_folding_keeps_every_place():
    text = "İSTANBUL ﬁ ß ² ½ é 🫀 LVEF\u200b55 % Ω ﷺ"
    assert len(fold(text)) == len(text)
    assert [(f.kind, f.text) for f in extract("🫀🫀 İİ LVEF 55 %")] == [("lv_ef", "55 %")]


def check_spans(text: str) -> None:
    for f in extract(text):
        assert 0 <= f.start < f.end <= len(text)
        assert text[f.start : f.end] == f.text
        assert text[f.sentence_start : f.sentence_start + len(f.sentence)] == f.sentence
        assert f.sentence_start <= f.start
        assert f.end <= f.sentence_start + len(f.sentence)
        digits = [float(d.replace(",", ".")) for d in re.findall(r"\d+(?:[.,]\d+)?", f.text)]
        if digits and isinstance(f.value, float) and f.low is None and f.unit == "%":
            assert any(abs(abs(f.value) - d) < 1e-6 or abs(f.value - 100 * d) < 1e-6 for d in digits)
        assert isinstance(f.status, Status)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read(text):
    check_spans(text)


WORDS = [term for term, _, _ in terms() if "(" not in term]


@settings(max_examples=250, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(WORDS),
            st.sampled_from(
                ["LVEF", "MR", ".", ",", ";", ":", "\n", "(", ")", "-", "no", "FINDINGS:", "HISTORY:", "%"]
            ),
            st.integers(0, 3000).map(str),
            st.floats(0, 100).map(lambda x: f"{x:.1f} %"),
        ),
        max_size=40,
    )
)
def test_any_mix_of_known_words_is_read(words):
    check_spans(" ".join(words))


@given(
    st.integers(4, 94), st.sampled_from(["LVEF {} %", "EF: {}%", "ejection fraction of {} percent", "EF is {}-{} %"])
)
def test_a_value_is_found_where_it_stands(value, form):
    text = "Some words before. " + form.format(value, value + 1)
    (found,) = extract(text)
    assert str(value) in text[found.start : found.end]
    assert found.value in (value, value + 0.5)


def test_the_lexicon_is_valid_and_no_term_means_two_things():
    jsonschema.validate(document(), schema())
    meaning: dict = {}
    for term, category, value in terms():
        for words in expand(term):
            assert meaning.setdefault(words, (category, value)) == (category, value), words
    assert json.dumps(document()).isascii()
