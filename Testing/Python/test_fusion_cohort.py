"""The cohort table: what is read, what is grouped by itself, what is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from fusion_cases import binary_cohort, columns, survival_cohort
from FusionRiskLib.fusion.cohort import Column, Outcome, align, check_trainable, make_cohort
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.modalities import modality_of
from FusionRiskLib.fusion.schema import parse_schema, read_schema
from FusionRiskLib.fusion.visits import one_row_each

BASE = {"schema": "cardioprecision/cohort/1", "id": "pid"}
BINARY = BASE | {"outcome": {"kind": "binary", "column": "died", "positive": "yes"}}
TABLE = """pid;age;sex;Chol;lv_ef;lv_ef_state;wall_thickness@aha01;ward;died;hospital;ok
SECRET1;61;m;5.0;55;measured;9;a;yes;X;yes
SECRET2;47;f;;40;measured;unknown;b;no;Y;yes
SECRET3;70;female;6.2;30;measured;11;;no;X;no
SECRET4;55;male;4;61;measured;8;a;;X;yes
"""


def write(tmp_path, text, name="cohort.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_groups_by_name():
    expected = {
        "age": "clinical", "ntprobnp_pg_ml": "clinical", "cac_agatston": "calcium_ct", "lv_ef": "cine_cmr",
        "wall_thickness@aha07": "cine_cmr", "t1_native": "tissue_cmr", "percent_atheroma_volume": "coronary_ct",
        "risk_prevent_base_ascvd_10y": "clinical", "ecg_qrs_ms": "ecg", "gls_pct": "imaging_entered",
        "prs_cad_z": "genetics", "ward": None, "lv": None,
    }  # fmt: skip
    assert {name: modality_of(name) for name in expected} == expected


def test_table(tmp_path):
    schema = parse_schema(
        BINARY
        | {
            "site": "hospital",
            "consent": "ok",
            "columns": {"Chol": {"field": "total_chol_mg_dl", "unit": "mmol/L"}},
            "modalities": {"administration": ["ward"]},
        }
    )
    cohort = read_cohort(write(tmp_path, TABLE), schema)
    assert cohort.names == ("age_years", "sex", "total_chol_mg_dl", "lv_ef", "wall_thickness@aha01", "ward")
    assert cohort.modalities == ("clinical", "cine_cmr", "administration")
    expected = [[61, 1, 5 * 38.66976, 55, 9, 0], [47, 0, np.nan, 40, np.nan, 1]]
    np.testing.assert_allclose(cohort.values, expected)
    assert cohort.columns[1] == Column("sex", "clinical", "choice", ("female", "male"))
    assert cohort.columns[5].choices == ("a", "b")
    assert cohort.outcome.classes == ("no", "yes")
    assert cohort.outcome.y.tolist() == [1, 0]
    assert (cohort.sites, cohort.site.tolist()) == (("X", "Y"), [0, 1])
    said = " ".join(cohort.warnings)
    assert "1 of 4 rows are without consent" in said
    assert "1 of 3 rows are without an outcome" in said
    assert "'lv_ef_state' belongs to no modality" in said
    assert "SECRET" not in said + repr(cohort)


def test_prediction_needs_no_outcome(tmp_path):
    lines = [line.rsplit(";", 3)[0] for line in TABLE.splitlines()]
    cohort = read_cohort(write(tmp_path, "\n".join(lines)), parse_schema(BINARY), outcome=False)
    assert cohort.outcome is None
    assert len(cohort) == 4
    assert "died" not in cohort.names


@pytest.mark.parametrize(
    ("positive", "events"), [("yes", [1, 0, 1]), (True, [1, 0, 1]), (0, [0, 1, 0]), (None, [1, 0, 1])]
)
def test_yes_and_no_as_anybody_writes_them(tmp_path, positive, events):
    outcome = {"kind": "binary", "column": "died"} | ({} if positive is None else {"positive": positive})
    path = write(tmp_path, "pid,age,died\n1,60,1\n2,50,No\n3,40,true\n")
    assert read_cohort(path, parse_schema(BASE | {"outcome": outcome})).outcome.y.tolist() == events


def test_survival_and_yaml(tmp_path):
    yaml = "schema: cardioprecision/cohort/1\nid: pid\noutcome: {kind: survival, time: t, event: e, time_unit: years}\n"
    path = write(tmp_path, "pid,age,t,e\n1,60,2.5,1\n2,50,4,0\n3,40,1,yes\n")
    outcome = read_cohort(path, write(tmp_path, yaml, "s.yaml")).outcome
    assert outcome.t.tolist() == [2.5, 4, 1]
    assert outcome.e.tolist() == [True, False, True]
    assert outcome.horizon == 1.75
    assert read_schema(write(tmp_path, json.dumps(BINARY), "s.json")).outcome.positive == "yes"


SURVIVAL = BASE | {"outcome": {"kind": "survival", "time": "t", "event": "e", "time_unit": "years"}}
HEAD = "pid,age,lv_ef,died\n"


@pytest.mark.parametrize(
    ("text", "schema", "message"),
    [
        ("", BINARY, "the cohort is empty"),
        (HEAD, BINARY, "the cohort is empty"),
        (HEAD + "1,60,50,no\n2,61,50,no\n", BINARY, "one class only"),
        (HEAD + "1,60,50,no\n2,61,50,yes\n3,61,50,maybe\n", BINARY, "3 classes; a binary outcome has two"),
        (HEAD + "SECRET,60,50,no\nSECRET,61,50,yes\n", BINARY, "line 3: the patient of line 2 is there again"),
        (HEAD + ",60,50,no\n", BINARY, "line 2: pid is empty"),
        ("pid,age,lv_ef\n1,60,50\n", BINARY, "'died', named in the schema as the outcome"),
        ("pid,died\n1,no\n2,yes\n", BINARY, "no column is a predictor"),
        (HEAD + "1,60,50,no\n2,61,low,yes\n", BINARY, "line 3: lv_ef is 'low' among numbers"),
        (HEAD + "1,60,50,no\n2,610,50,yes\n", BINARY, "line 3: age_years"),
        (HEAD + "1,60,=A1,no\n2,61,50,yes\n", BINARY, "line 2: lv_ef holds a formula"),
        (HEAD + "1,60,inf,no\n2,61,50,yes\n", BINARY, "line 2: lv_ef is not a finite number"),
        (HEAD + "1,60,50,no\n2,61,50,yes\n", BINARY | {"exclude": ["weight"]}, "'weight', named in the schema"),
        (HEAD + "1,60,50,no\n2,61,50,yes\n", BINARY | {"modalities": {"x": ["died"]}}, "named as a predictor and as"),
        ("pid,age,age_years,died\n1,60,60,no\n2,61,61,yes\n", BINARY, "two columns are age_years"),
        (HEAD + "1,60,50,no\n2,61,50\n", BINARY, "line 3: 3 cells; the header has 4"),
        ("pid,age,t,e\n1,60,0,1\n", SURVIVAL, "line 2: t must be a number above 0"),
        ("pid,age,t,e\n1,60,2,0\n2,50,3,0\n", SURVIVAL, "e has no event"),
        ("pid,age,t,e\n1,60,2,dead\n", SURVIVAL, "line 2: e must be yes or no"),
    ],
)
def test_refused_tables(tmp_path, text, schema, message):
    with pytest.raises(InputError) as raised:
        read_cohort(write(tmp_path, text), parse_schema(schema))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "id"),
        ({"outcome": {"kind": "binary"}}, "outcome"),
        ({"outcome": {"kind": "survival", "time": "t"}}, "outcome"),
        ({"outcome": {"kind": "regression", "column": "x"}}, "outcome"),
        ({"sites": "x"}, "sites"),
        ({"accept": {"x": "ok"}}, "accept.x"),
        ({"columns": {"x": {"field": "age", "unit": "furlong"}}}, "furlong"),
    ],
)
def test_refused_schemas(change, message):
    with pytest.raises(InputError) as raised:
        parse_schema(BINARY | change)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_trainable():
    good = binary_cohort()
    check_trainable(good)
    with pytest.raises(InputError, match="3 patients; training and judging need at least 20"):
        check_trainable(good.take(np.arange(3)))
    constant = replace(good, values=np.where(np.arange(5) == 2, 7.0, good.values))
    with pytest.raises(InputError, match="clinical_2 has one value only"):
        check_trainable(constant)
    with pytest.raises(InputError, match="clinical_1 holds no value"):
        check_trainable(replace(good, values=np.where(np.arange(5) == 1, np.nan, good.values)))
    rare = Outcome("binary", ("no", "yes"), (np.arange(200) < 4).astype(int))
    with pytest.raises(InputError, match="4 patients are of class 'yes'; 5 folds need 5"):
        check_trainable(replace(good, outcome=rare))
    few = survival_cohort(40)
    few = replace(few, outcome=replace(few.outcome, event=np.arange(40) < 6))
    with pytest.raises(InputError, match="6 patients with an event; 5 folds need 10"):
        check_trainable(few)


def test_visits(tmp_path):
    text = "pid,visit,age,lv_ef,died\na,2020-03-01,61,50,yes\na,2019-03-01,60,58,yes\nb,2020-01-01,50,60,no\n"
    cohort = read_cohort(write(tmp_path, text), parse_schema(BINARY | {"visit": "visit"}))
    assert cohort.patient.tolist() == [0, 0, 1]
    first = one_row_each(cohort, "baseline")
    np.testing.assert_array_equal(first.values, [[60, 58], [50, 60]])
    change = one_row_each(cohort, "change")
    assert change.names == ("age_years", "lv_ef", "age_years_change", "lv_ef_change")
    np.testing.assert_array_equal(change.values, [[61, 50, 1, -8], [50, 60, np.nan, np.nan]])
    assert change.outcome.y.tolist() == [1, 0]
    with pytest.raises(InputError, match="line 3: died differs from the patient's first row"):
        read_cohort(write(tmp_path, text.replace("58,yes", "58,no")), parse_schema(BINARY | {"visit": "visit"}))
    with pytest.raises(InputError, match="the visit of line 2 is there again"):
        read_cohort(write(tmp_path, text.replace("2019", "2020")), parse_schema(BINARY | {"visit": "visit"}))


def test_align():
    cohort = make_cohort(np.array([[1.0, 2, 1]]), [*columns(a=1, b=1), Column("ward", "c", "choice", ("x", "y"))])
    wanted = [Column("ward", "c", "choice", ("y", "z")), *columns(b=1, d=2)]
    with pytest.raises(InputError, match=r"'d_0' \(d\) is missing; the model was trained with it"):
        align(cohort, wanted)
    np.testing.assert_array_equal(align(cohort, wanted, may_lack=["d"]), [[0, 2, np.nan, np.nan]])
    np.testing.assert_array_equal(align(cohort, [Column("ward", "c", "choice", ("x", "z"))]), [[np.nan]])
    with pytest.raises(InputError, match="'b_1'"):  # one column of a modality that is there is not the whole modality
        align(cohort, columns(b=2), may_lack=["b"])
    with pytest.raises(InputError, match="trained with words"):
        align(cohort, [Column("a_0", "a", "choice", ("x",))])


def test_a_pattern_names_columns_of_a_modality(tmp_path):
    text = "pid,sex,net_00,net_01,net_note,died\na,male,1,2,x,yes\nb,female,3,4,y,no\n"
    schema = BINARY | {"modalities": {"image": ["net_0*"]}}
    cohort = read_cohort(write(tmp_path, text), parse_schema(schema))
    assert [(c.name, c.modality) for c in cohort.columns][-2:] == [("net_00", "image"), ("net_01", "image")]
    aside = parse_schema(BINARY | {"modalities": {"image": ["net_*"]}, "exclude": ["net_note"]})
    assert read_cohort(write(tmp_path, text), aside).names[-2:] == ("net_00", "net_01")
    with pytest.raises(InputError, match=r"the column 'web_\*', named in the schema, is not in the table"):
        read_cohort(write(tmp_path, text), parse_schema(BINARY | {"modalities": {"image": ["web_*"]}}))
