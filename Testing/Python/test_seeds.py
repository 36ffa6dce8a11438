"""Seed points on coronary arteries: Slicer markups, tables, and one clear line for what is wrong."""

import json

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from CoronaryPlaqueLib.seeds import read_seeds, vessel_name
from hypothesis import given
from hypothesis import strategies as st

TABLE = """vessel,role,r,a,s
LAD,ostium,-1.5,30,12
lcx,ostium,-1,31,12
LAD,distal,-40,80.25,-50
LCx,distal,-20,-10,-40
LAD,via,-20,60,-10
"""


def markup(points, system="LPS", **more):
    controls = [{"label": label, "position": list(p), "positionStatus": "defined"} for label, p in points]
    return {"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": controls} | more]}


def write(tmp_path, data, name="seeds.mrk.json"):
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_a_table_in_any_order(tmp_path):
    lad, lcx = read_seeds(write(tmp_path, TABLE, "seeds.csv"))
    assert (lad.vessel, lcx.vessel) == ("LAD", "LCX")
    np.testing.assert_allclose(lad.points, [[-1.5, 30, 12], [-20, 60, -10], [-40, 80.25, -50]])
    assert lcx.via.shape == (0, 3)


def test_columns_in_another_order_with_others_between_and_a_byte_order_mark(tmp_path):
    text = "﻿note,S,a,r,ROLE,Vessel\nx,3,2,1,Ostium,RCA\n,30,20,10,distal,RCA\n"
    (rca,) = read_seeds(write(tmp_path, text, "seeds.csv"))
    np.testing.assert_allclose(rca.points, [[1, 2, 3], [10, 20, 30]])


@pytest.mark.parametrize(("system", "sign"), [("LPS", -1), ("RAS", 1), ("1", -1), ("0", 1), (1, -1), (0, 1)])
def test_markups_in_either_system(tmp_path, system, sign):
    data = markup([("LAD ostium", (1, 2, 3)), ("LAD_distal", (10, 20, 30))], system)
    (lad,) = read_seeds(write(tmp_path, data))
    np.testing.assert_allclose(lad.ostium, [sign * 1, sign * 2, 3])
    np.testing.assert_allclose(lad.distal, [sign * 10, sign * 20, 30])


def test_numbered_points_of_several_lists_as_slicer_names_them(tmp_path):
    one = markup([("RCA-1", (0, 0, 0)), ("RCA-10", (0, 0, 90)), ("RCA-2", (0, 0, 10))], "RAS")
    two = markup([("Ramus-1", (5, 0, 0)), ("Ramus-2", (5, 0, 10))], "RAS")
    one["markups"] += two["markups"]
    rca, ramus = read_seeds(write(tmp_path, one))
    np.testing.assert_allclose(rca.points[:, 2], [0, 10, 90])
    assert ramus.vessel == "Ramus"


def test_points_that_were_never_placed_are_passed_over(tmp_path):
    data = markup([("LAD ostium", (1, 2, 3)), ("LAD distal", (10, 20, 30))], "RAS")
    data["markups"][0]["controlPoints"].append({"label": "F", "position": [0, 0, 0], "positionStatus": "undefined"})
    assert len(read_seeds(write(tmp_path, data))) == 1


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.csv", "vessel,role,r,a\nLAD,ostium,1,2\n", "missing: s"),
        ("a.csv", "", "missing: vessel"),
        ("a.csv", "vessel,role,r,a,s\n", "no seed point"),
        ("a.csv", TABLE.replace("LAD,ostium", "LAD,start"), "line 2: role is 'start'"),
        ("a.csv", TABLE.replace("80.25", "nan"), "line 4: a point needs three finite numbers"),
        ("a.csv", TABLE.replace("80.25", "80;25"), "line 4"),
        ("a.csv", TABLE.replace("LAD,distal", "LAD,via"), "LAD has no distal point"),
        ("a.csv", TABLE.replace("LAD,via", "LAD,ostium"), "LAD has 2 ostium points"),
        ("a.csv", TABLE.replace("-40,80.25,-50", "-1.5,30,13"), "less than 2 mm apart"),
        ("a.csv", TABLE.replace("LAD,ostium", " ,ostium"), "line 2: the vessel has no name"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[]", "no 'markups'"),
        ("a.json", markup([]), "no seed point"),
        ("a.json", markup([("LAD ostium", (1, 2, 3))], "IJK"), "must be LPS or RAS"),
        ("a.json", markup([("here", (1, 2, 3))]), "point 1 ('here'): label it"),
        ("a.json", markup([("LAD-1", (1, 2, 3))]), "LAD has one numbered point"),
        ("a.json", markup([("LAD ostium", (1, 2))]), "three finite numbers"),
        ("a.json", markup([("LAD ostium", (1, 2, 3))], coordinateUnits="cm"), "must be in mm"),
        ("a.json", {"markups": [{"coordinateSystem": "RAS", "controlPoints": 3}]}, "not a list of points"),
        ("a.txt", "LAD", ".mrk.json or a .csv"),
    ],
)  # fmt: skip
def test_one_clear_line(tmp_path, name, data, part):
    path = write(tmp_path, data, name)
    with pytest.raises(InputError) as error:
        read_seeds(path)
    message = str(error.value)
    assert part in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_no_such_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_seeds(tmp_path / "nothing.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_seeds(tmp_path / "a.csv")


finite = st.floats(-500, 500, allow_nan=False).map(lambda v: round(v, 3))
points = st.tuples(finite, finite, finite)


@given(points, points)
def test_markups_and_table_say_the_same(tmp_path_factory, a, b):
    if np.linalg.norm(np.subtract(a, b)) < 2.5:
        return
    folder = tmp_path_factory.mktemp("seeds")
    lps = [tuple(np.multiply(p, (-1, -1, 1))) for p in (a, b)]
    one = read_seeds(write(folder, markup([("RCA ostium", lps[0]), ("RCA distal", lps[1])])))
    rows = "\n".join(f"RCA,{role},{p[0]},{p[1]},{p[2]}" for role, p in (("distal", b), ("ostium", a)))
    other = read_seeds(write(folder, f"vessel,role,r,a,s\n{rows}\n", "s.csv"))
    np.testing.assert_allclose(one[0].points, other[0].points, atol=1e-9)


def test_names():
    assert [vessel_name(n) for n in (" lad ", "LCx", "Cx", "lmca", "D1", "first  diagonal")] == [
        "LAD", "LCX", "LCX", "LM", "D1", "first diagonal",
    ]  # fmt: skip
