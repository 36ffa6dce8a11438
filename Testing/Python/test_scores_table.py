"""Scores for a table: values as one by one, states and reasons beside them, all or nothing."""

import csv

import numpy as np
import pytest
from CardioPrecisionLib.analysis import stoppable
from CardioPrecisionLib.errors import Cancelled, InputError
from FusionRiskLib.scores import scores
from FusionRiskLib.table import score_table

HEADER = "patient_id,age_years,sex,race,total_chol_mg_dl,hdl_chol_mg_dl,sbp_mmhg,bp_med,smoking,diabetes,ward"
ROWS = [
    "p1,55,female,white,213,50,120,no,no,no,A",
    "p2,85,male,black,213,50,120,0,0,0,B",
    "p3,55,male,white,,50,120,no,unknown,no,",
    "p4,55,male,other,213,50,120,n,n,n,C",
]
PCE = "risk_pce_ascvd_10y"


def table(tmp_path, *rows, header=HEADER, name="rows.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_values_states_reasons(tmp_path, chunk):
    out = tmp_path / "out.csv"
    summary = score_table(table(tmp_path, *ROWS), out, [PCE], chunk_rows=chunk)
    rows = read(out)
    assert [row["patient_id"] for row in rows] == ["p1", "p2", "p3", "p4"]
    assert rows[0]["ward"] == "A"
    assert [row[f"{PCE}_state"] for row in rows] == ["measured", "out_of_range", "not_assessable", "measured"]
    assert float(rows[0][PCE]) == pytest.approx(2.05, abs=0.06)
    assert rows[1][PCE] == rows[2][PCE] == ""
    assert rows[1][f"{PCE}_reason"] == "age_years 85 is outside 40 to 79 years"
    assert rows[2][f"{PCE}_reason"] == "missing: total_chol_mg_dl, current_smoker"
    assert rows[0][f"{PCE}_reason"] == ""
    assert "white people" in rows[3][f"{PCE}_reason"]
    assert (summary.rows, summary.measured) == (4, {PCE: 2})
    assert any("ward" in w for w in summary.warnings)


def test_a_table_gives_what_single_patients_give(tmp_path):
    rng = np.random.default_rng(3)
    data = [
        {"age_years": rng.integers(35, 85), "sex": rng.choice(["male", "female"]), "sbp_mmhg": rng.integers(85, 210),
         "total_chol_mmol_l": round(rng.uniform(3, 9), 2), "hdl_chol_mmol_l": round(rng.uniform(0.6, 2.6), 2),
         "current_smoker": rng.choice(["yes", "no", ""]), "diabetes": rng.choice(["yes", "no"]),
         "risk_region": rng.choice(["Low", "Very high"])}
        for _ in range(40)
    ]  # fmt: skip
    path = table(tmp_path, *(",".join(str(v) for v in row.values()) for row in data), header=",".join(data[0]))
    score_table(path, tmp_path / "out.csv", ["score2", "score2op"], chunk_rows=11)
    for row, given in zip(read(tmp_path / "out.csv"), data, strict=True):
        for name in ("risk_score2_cvd_10y", "risk_score2op_cvd_10y"):
            alone = scores()[name].evaluate(given)
            assert row[f"{name}_state"] == alone.state[0]
            assert row[f"{name}_reason"] == (alone.reason[0] or "")
            if alone.state[0] == "measured":
                assert float(row[name]) == pytest.approx(alone.values[0], rel=1e-5)


def test_a_mapping_with_a_unit(tmp_path):
    path = table(tmp_path, "55,female,white,5.50818,1.293,120,no,no,no", header="a,s,r,tc,hdl,bp,med,smk,dm")
    mapping = {"a": "age_years", "s": "sex", "r": "race", "tc": {"field": "total_chol_mg_dl", "unit": "mmol/L"},
               "hdl": "hdl_chol_mmol_l", "bp": "sbp", "med": "bp_treated", "smk": "current_smoker",
               "dm": "diabetes"}  # fmt: skip
    score_table(path, tmp_path / "out.csv", [PCE], mapping)
    assert float(read(tmp_path / "out.csv")[0][PCE]) == pytest.approx(2.05, abs=0.06)


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([], "", "empty"),
        ([], HEADER, "no row"),
        ([ROWS[0], ROWS[1], ROWS[0]], HEADER, "line 4: the patient of line 2 is there again"),
        ([ROWS[0].replace("213", "5.2")], HEADER, "line 2: total_chol_mg_dl is 5.2 mg/dL.*total_chol_mmol_l"),
        ([ROWS[0], ROWS[1].replace("120", "=A1")], HEADER, "line 3: sbp_mmhg holds a formula"),
        ([ROWS[0].replace(",A", ",@x")], HEADER, "line 2: ward holds a formula"),
        ([ROWS[0].replace("55", "555")], HEADER, "line 2: age_years is 555"),
        ([ROWS[0].replace("female", "fmale")], HEADER, "line 2: sex is 'fmale'"),
        ([ROWS[0] + ",1"], HEADER, "line 2: 12 cells; the header has 11"),
        (["1,2"], "age_years,risk_pce_ascvd_10y", "has a column 'risk_pce_ascvd_10y' already"),
        (["200,7.5"], "total_chol_mg_dl,total_chol_mmol_l", "line 2: .*do not agree"),
        (['55,"x'], "age_years,note", "not a CSV"),
    ],
)
def test_tables_that_are_refused_leave_nothing_behind(tmp_path, rows, header, words):
    path = table(tmp_path, *rows, header=header)
    if not header:
        path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        score_table(path, tmp_path / "out.csv", [PCE])
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_an_earlier_output_survives_a_refused_table(tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("earlier", encoding="utf-8")
    with pytest.raises(InputError):
        score_table(table(tmp_path, ROWS[0], "p9,555,male,white,1,1,1,no,no,no,"), out, [PCE], chunk_rows=1)
    assert out.read_text(encoding="utf-8") == "earlier"


def test_cancel_and_wrong_paths(tmp_path):
    path = table(tmp_path, *ROWS)
    with pytest.raises(Cancelled):
        score_table(path, tmp_path / "out.csv", [PCE], progress=stoppable(lambda f, s: None, lambda: True))
    with pytest.raises(InputError, match="overwrite"):
        score_table(path, path, [PCE])
    with pytest.raises(InputError, match="cannot be read"):
        score_table(tmp_path / "no.csv", tmp_path / "out.csv", [PCE])
    with pytest.raises(InputError, match="cannot be written"):
        score_table(path, tmp_path / "no" / "out.csv", [PCE])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.csv"]
