"""Every score: names, inputs, missing and out-of-range values, exclusions; scalars and columns go the same way."""

import math

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.clinical.fields import fields
from FusionRiskLib.scores import Columns, families, scores, select
from hypothesis import given, settings
from hypothesis import strategies as st

PERSON = {
    "age_years": 55, "sex": "female", "race": "white", "risk_region": "moderate", "total_chol_mg_dl": 213,
    "hdl_chol_mg_dl": 50, "sbp_mmhg": 120, "bp_treated": "no", "statin": "no", "diabetes": "no", "current_smoker": "no",
    "bmi_kg_m2": 28, "egfr_ckdepi2021_ml_min_173": 90, "uacr_mg_g": 20, "hba1c_pct": 5.6, "sdi_decile": 3,
    "lipid_med": "no", "family_history_mi": "no", "cac_agatston": 30, "chest_pain": "atypical", "dyspnoea": "no",
    "family_history_cad": "no", "ever_smoker": "yes", "dyslipidaemia": "yes", "hypertension": "no",
    "heart_failure": "no", "stroke_tia_te": "no", "vascular_disease": "no",
    "atrial_fibrillation": "yes", "prior_ascvd": "no", "lv_ef_pct": 60,
    "creatinine_umol_l": 80, "nyha": 2, "copd": "no", "hf_dx_ge_18_months_ago": "no", "on_beta_blocker": "no",
    "on_acei_arb": "no", "e_over_eprime": 12, "pasp_mmhg": 40, "n_antihypertensives": 1, "myocardial_disease": "no",
    "tr_velocity_m_s": 2.5, "la_volume_index_ml_m2": 30, "ntprobnp_pg_ml": 300, "septal_eprime_cm_s": 8,
    "lateral_eprime_cm_s": 11, "mitral_e_cm_s": 80, "mitral_ea_ratio": 1.1, "lv_mass_index_g_m2": 80,
}  # fmt: skip
#: What a score needs that PERSON does not have.
OTHER = {
    "score2op": {"age_years": 75},
    "score2diabetes": {"diabetes": "yes", "age_at_diabetes_dx_years": 50},
}


def person(score):
    return PERSON | OTHER.get(score.family, {})


@pytest.mark.parametrize("name", list(scores()))
def test_a_person_within_the_range_has_every_score(name):
    result = scores()[name].evaluate(person(scores()[name]))
    assert result.state[0] == "measured", result.reason[0]
    if scores()[name].kind == "number":
        assert 0 <= result.values[0] <= 100
        assert math.isfinite(result.values[0])


@pytest.mark.parametrize("name", list(scores()))
def test_a_missing_input_is_named(name):
    score = scores()[name]
    for need in (n for n in score.needs if n.required):
        sources = {need.field, *(s.source for s in fields()[need.field].sources), *fields()[need.field].implied_by}
        derived = {"bmi_kg_m2": {"height_cm"}, "egfr_ckdepi2021_ml_min_173": {"creatinine_umol_l"}}
        sources |= derived.get(need.field, set())
        data = {k: v for k, v in person(score).items() if k not in sources}
        result = score.evaluate(data)
        assert result.state[0] == "not_assessable", need.field
        assert need.field in result.reason[0]
        assert result.values[0] is None or np.isnan(result.values[0])


@pytest.mark.parametrize("name", list(scores()))
def test_outside_its_range_a_score_says_so_and_gives_nothing(name):
    score = scores()[name]
    for need in score.needs:
        f = fields()[need.field]
        if not f.numeric:
            continue
        for limit, step in ((need.low, -1), (need.high, 1)):
            if limit is None:
                continue
            result = score.evaluate(person(score) | {need.field: limit + step * max(1.0, abs(limit) * 1e-3)})
            assert result.state[0] == "out_of_range", (need, result.reason[0])
            assert need.field in result.reason[0]
            assert result.values[0] is None or np.isnan(result.values[0])


@pytest.mark.parametrize("name", list(scores()))
def test_exclusions_take_the_value_away(name):
    for exclusion in scores()[name].exclusions:
        result = scores()[name].evaluate(person(scores()[name]) | {exclusion.field: "yes"})
        assert result.state[0] == "not_assessable"
        assert f"{exclusion.field} is yes" in result.reason[0]


def test_every_score_has_a_citation_and_a_known_shape():
    for name, score in scores().items():
        assert score.citation, name
        assert score.doi.startswith("10."), name
        assert name == score.name
        assert score.kind in ("number", "category")
        assert (score.unit == "%") == name.startswith(("risk_", "pretest_", "h2fpef_probability")), name
        if name.startswith("risk_"):
            assert name.endswith(("_1y", "_3y", "_10y", "_30y")), name
    assert {s.name for s in scores().values() if not s.verified} == {"hfapeff_points", "hfapeff_category"}


def test_columns_and_scalars_give_the_same():
    ages = np.array([45.0, 55.0, 65.0])
    for score in select(["pce", "prevent", "framingham"]):
        together = score.evaluate(PERSON | {"age_years": ages})
        alone = [score.evaluate(PERSON | {"age_years": age}) for age in ages]
        assert together.state.tolist() == [a.state[0] for a in alone]
        np.testing.assert_allclose(together.values, [a.values[0] for a in alone], rtol=1e-12)


def test_blocks_do_not_show(monkeypatch):
    """Values, states, reasons and the rows that messages name do not depend on where a block of rows ends."""
    from FusionRiskLib.scores import columns

    rng = np.random.default_rng(1)
    data = PERSON | {
        "age_years": rng.uniform(20, 90, 101),
        "sex": rng.choice(["male", "female", "unknown"], 101),
        "total_chol_mg_dl": np.where(rng.random(101) < 0.1, np.nan, rng.uniform(120, 330, 101)),
        "diabetes": rng.integers(0, 2, 101),
        "race": rng.choice(["white", "black", "other"], 101),
        "prior_ascvd": rng.choice(["yes", "no"], 101),
    }
    whole = {name: score.evaluate(data) for name, score in scores().items()}
    monkeypatch.setattr(columns, "BLOCK", 7)
    shared = Columns(data)
    for name, score in scores().items():
        blocks = score.evaluate(shared)
        if score.kind == "number":
            np.testing.assert_allclose(blocks.values, whole[name].values, rtol=1e-12)
        else:
            assert blocks.values.tolist() == whole[name].values.tolist()
        assert blocks.state.tolist() == whole[name].state.tolist()
        assert blocks.reason.tolist() == whole[name].reason.tolist()
    data["sex"] = data["sex"].astype(object)
    data["sex"][52] = "boy"
    with pytest.raises(InputError, match="row 53: sex"):
        scores()["risk_pce_ascvd_10y"].evaluate(data)


def test_units_of_the_same_quantity_are_read_by_name():
    data = {k: v for k, v in PERSON.items() if "chol" not in k}
    mg = scores()["risk_score2_cvd_10y"].evaluate(data | {"total_chol_mg_dl": 213, "hdl_chol_mg_dl": 50})
    mmol = data | {"total_chol_mmol_l": 213 * 0.02586, "hdl_chol_mmol_l": 50 * 0.02586}
    assert scores()["risk_score2_cvd_10y"].evaluate(mmol).values[0] == pytest.approx(mg.values[0], rel=1e-9)
    mixed = data | {"total_chol_mg_dl": [213, None], "total_chol_mmol_l": [None, 5.50818], "hdl_chol_mg_dl": 50}
    both = scores()["risk_pce_ascvd_10y"].evaluate(mixed).values
    assert both[0] == pytest.approx(both[1], rel=1e-4)


def test_derived_fields():
    columns = Columns({"height_cm": 180, "weight_kg": 81, "creatinine_mg_dl": 1.0, "age_years": 50, "sex": "male"})
    assert columns.number("bmi_kg_m2")[0] == pytest.approx(25.0)
    # CKD-EPI 2021 of the National Kidney Foundation's calculator: 92
    assert columns.number("egfr_ckdepi2021_ml_min_173")[0] == pytest.approx(92, abs=0.5)
    woman = Columns({"creatinine_mg_dl": 1.0, "age_years": 50, "sex": "female"})
    assert woman.number("egfr_ckdepi2021_ml_min_173")[0] == pytest.approx(69, abs=0.5)
    unknown = Columns({"creatinine_mg_dl": 1.0, "age_years": 50})
    assert np.isnan(unknown.number("egfr_ckdepi2021_ml_min_173")[0])
    assert Columns({"hba1c_pct": 7.0}).number("hba1c_mmol_mol")[0] == pytest.approx(53, abs=0.05)


def test_an_implied_no_is_not_made_up():
    assert Columns({"statin": "yes"}).number("lipid_med")[0] == 1
    assert np.isnan(Columns({"statin": "no"}).number("lipid_med")[0])


def test_caveats_stand_beside_the_value():
    full = scores()["risk_prevent_full_cvd_10y"]
    result = full.evaluate({k: v for k, v in PERSON.items() if k != "sdi_decile"})
    assert result.state[0] == "measured"
    assert "sdi_decile is unknown" in result.reason[0]
    bare = {k: v for k, v in PERSON.items() if k not in ("sdi_decile", "uacr_mg_g", "hba1c_pct")}
    assert full.evaluate(bare).state[0] == "not_assessable"
    assert "white people" in scores()["risk_pce_ascvd_10y"].evaluate(PERSON | {"race": "other"}).reason[0]
    assert scores()["risk_mesa_chd_10y"].evaluate(PERSON | {"race": "other"}).state[0] == "not_assessable"


def test_diastolic_function_from_measured_values():
    score = scores()["diastolic_function_ase2016"]
    normal = {"lv_ef_pct": 60, "myocardial_disease": "no", "mitral_e_cm_s": 80, "mitral_ea_ratio": 1.2,
              "septal_eprime_cm_s": 9, "lateral_eprime_cm_s": 12, "tr_velocity_m_s": 2.4,
              "la_volume_index_ml_m2": 28}  # fmt: skip
    assert score.evaluate(normal).values[0] == "normal"
    stiff = normal | {
        "septal_eprime_cm_s": 4,
        "lateral_eprime_cm_s": 5,
        "tr_velocity_m_s": 3.1,
        "la_volume_index_ml_m2": 40,
    }
    assert score.evaluate(stiff).values[0] == "grade-2"
    assert score.evaluate(stiff | {"mitral_ea_ratio": 2.2}).values[0] == "grade-3"
    assert score.evaluate({"lv_ef_pct": 60, "myocardial_disease": "no"}).state[0] == "not_assessable"
    # only septal known: 15 is the limit, not 14
    one_side = {"lv_ef_pct": 40, "myocardial_disease": "no", "mitral_ea_ratio": 1.2, "tr_velocity_m_s": 2.4,
                "e_over_eprime_septal": 14.5}  # fmt: skip
    assert score.evaluate(one_side).values[0] == "grade-1"
    assert score.evaluate(one_side | {"e_over_eprime_septal": 15.5}).values[0] == "indeterminate"


def test_hfa_peff_domains():
    score = scores()["hfapeff_points"]
    base = {"age_years": 70, "sex": "female", "atrial_fibrillation": "no"}
    quiet = base | {"e_over_eprime": 7, "la_volume_index_ml_m2": 20, "ntprobnp_pg_ml": 50}
    assert score.evaluate(quiet).values[0] == 0
    assert score.evaluate(quiet | {"e_over_eprime": 12, "la_volume_index_ml_m2": 30}).values[0] == 2
    loud = quiet | {"e_over_eprime": 16, "la_volume_index_ml_m2": 36, "ntprobnp_pg_ml": 300}
    assert score.evaluate(loud).values[0] == 6
    assert score.evaluate(loud | {"atrial_fibrillation": "yes"}).values[0] == 3
    assert score.evaluate(base | {"e_over_eprime": 7}).state[0] == "not_assessable"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"colesterol": 5}, "colesterol"),
        ({"age_years": [40, 50], "sbp_mmhg": [120, 130, 140]}, "sbp_mmhg"),
        ({"age_years": 40, "age": 40}, "twice"),
        ({"sex": ["male", "boy"]}, "row 2"),
        ({"statin": [0, 2]}, "row 2"),
        ({"sbp_mmhg": ["120", "high"]}, "row 2"),
    ],
)
def test_columns_that_cannot_be_read(data, words):
    def read_all():
        columns = Columns(data)
        return [columns.number(name) for name in data]

    with pytest.raises(InputError, match=words):
        read_all()


def test_select():
    assert len(select(["prevent"])) == 50
    assert [s.name for s in select(["risk_pce_*", "risk_pce_ascvd_10y"])] == ["risk_pce_ascvd_10y"]
    assert len(select()) == len(scores())
    assert "maggic" in families()
    with pytest.raises(InputError, match="is no score"):
        select(["frs"])


@settings(max_examples=60, deadline=None)
@given(
    age=st.floats(-10, 130), chol=st.floats(0.1, 2000), sbp=st.floats(1, 400), sex=st.sampled_from(["male", "female"]),
    unknown=st.sampled_from(["age_years", "sbp_mmhg", "statin", "none of them"]),
)  # fmt: skip
def test_never_a_value_without_its_state(age, chol, sbp, sex, unknown):
    data = PERSON | {"age_years": age, "total_chol_mg_dl": chol, "sbp_mmhg": sbp, "sex": sex}
    if unknown in data:
        data[unknown] = None
    columns = Columns(data)
    for score in select(["pce", "risk_prevent_base_*", "score2", "framingham", "mesa", "maggic"]):
        result = score.evaluate(columns)
        assert np.isfinite(result.values[0]) == (result.state[0] == "measured")
        assert (result.reason[0] is not None) or result.state[0] == "measured"


def test_calcium_in_context():
    data = {
        "cac_agatston": [0, 30, 30],
        "age_years": [55, 55, 55],
        "sex": "female",
        "race": ["white", "white", "other"],
    }
    ages = scores()["arterial_age"].evaluate(data)
    assert ages.values.tolist() == pytest.approx([39.1, 39.1 + 7.25 * math.log(31), 39.1 + 7.25 * math.log(31)])
    result = scores()["cac_percentile_mesa"].evaluate(data)
    assert result.state.tolist() == ["not_assessable", "measured", "not_assessable"]
    assert 50 < result.values[1] < 90
