"""``cardioprecision fusion embed``: from a list of images to columns of a cohort, and on to a model; joining tables."""

from __future__ import annotations

import csv
import json

import embedding_cases as cases
import numpy as np
import pytest
from CardioPrecisionLib import record as run_record
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.fronts.cli import main
from CardioPrecisionLib.fronts.embeddings import _made_by_its_analysis
from CardioPrecisionLib.image import write_nifti
from CardioPrecisionLib.phantom import CineHeart, Geometry
from CardioPrecisionLib.phantom.sampling import sample
from FusionRiskLib.embedding import table as jobs
from FusionRiskLib.embedding.images import read_list
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.join_table import join_columns
from FusionRiskLib.fusion.models import ModelConfig
from FusionRiskLib.fusion.schema import parse_schema

CINE = "cine_sax_ventricles"


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*arguments):
    return main(["fusion", "embed", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three images of which one is a series, a file that is no image, a constant image, and one that is not there."""
    made = tmp_path_factory.mktemp("images")
    for n, frames in enumerate((1, 1, 5)):
        image = cases.stack(frames=frames, seed=n)
        array = np.stack([image.frame(t) for t in range(frames)])
        write_nifti(made / f"Meier_{n}.nii.gz", array if frames > 1 else array[0], image.affine)
    write_nifti(made / "flat.nii.gz", np.ones((64, 80, 5), np.float32), cases.IN_ORDER)
    (made / "broken.nii.gz").write_bytes(b"no image")
    rows = [["patient_id", "image"]]
    names = ["Meier_0.nii.gz", "Meier_1.nii.gz", "Meier_2.nii.gz", "flat.nii.gz", "broken.nii.gz", "Schulz.nii.gz"]
    rows += [[f"P{i}", name] for i, name in enumerate(names)]
    write(made / "list.csv", rows)
    return made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return cases.unet(tmp_path_factory.mktemp("bundles") / "tiny", source="installed")


# -- the table ---------------------------------------------------------------------------------------------------------
def test_a_row_for_every_line(folder, bundle, tmp_path, capsys):
    out = tmp_path / "table.csv"
    assert run(folder / "list.csv", "-o", out, "--bundle", bundle.root, "--size", 5) == 0
    said = capsys.readouterr().out
    assert "3 of 6 images, 5 columns (layer model.1)" in said
    assert "3 of 6 images without an embedding" in said
    rows = read(out)
    columns = [f"tiny_embedding_{n:02d}" for n in range(5)]
    assert list(rows[0]) == ["patient_id", *columns, "tiny_embedding_reason"]
    assert [row["patient_id"] for row in rows] == [f"P{i}" for i in range(6)]
    for row in rows[:3]:
        assert all(np.isfinite(float(row[name])) for name in columns)
        assert row["tiny_embedding_reason"] == ""
    for row, why in zip(rows[3:], ("constant", "cannot be read as an image", "there is no such file"), strict=True):
        assert [row[name] for name in columns] == [""] * 5
        assert why in row["tiny_embedding_reason"]
    # Reasons and record name no file, since a file may be named after a patient.
    for text in (out.read_text(encoding="utf-8"), (tmp_path / "table.record.json").read_text(encoding="utf-8")):
        assert "Meier" not in text
        assert "Schulz" not in text
        assert "broken" not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv", "table.record.json"]


def test_the_record(folder, bundle, tmp_path):
    out = tmp_path / "table.csv"
    run(folder / "list.csv", "-o", out, "--bundle", bundle.root, "--size", 5, "--seed", 3)
    record = json.loads((tmp_path / "table.record.json").read_text(encoding="utf-8"))
    run_record.validate(record)
    model = record["models"][0]
    assert model["sha256"] == bundle.files
    assert (model["name"], model["version"], model["layer"]) == ("tiny", "1.2.3", "model.1")
    assert record["seeds"] == {"projection": 3}
    assert record["parameters"] == {
        "layer": "model.1", "member": "net", "sd": False, "size": 5, "features": 12, "frames": None, "projected": True,
    }  # fmt: skip
    assert record["outputs"] == {"table.csv": run_record.file_sha256(out)}
    hashes = [one["voxel_hash"] for one in record["inputs"]]
    assert len({*hashes[:3]}) == 3
    assert hashes[4:] == [None, None]
    assert record["inputs"][2]["frames"] == 5
    assert "torch" in record["software"]["packages"]
    first = out.read_bytes()
    run(folder / "list.csv", "-o", out, "--bundle", bundle.root, "--size", 5, "--seed", 3)
    assert out.read_bytes() == first
    run(folder / "list.csv", "-o", out, "--bundle", bundle.root, "--size", 5, "--seed", 4)
    assert out.read_bytes() != first


def test_frames_by_number(folder, bundle, tmp_path):
    """Images that lack a frame say so; every frame has its own features, projected together."""
    out = tmp_path / "table.csv"
    assert run(folder / "list.csv", "-o", out, "--bundle", bundle.root, "--frame", "1,4", "--size", 99) == 0
    rows = read(out)
    assert len(rows[0]) == 2 + 2 * 12
    assert "The image has 1 frame; frame 4 was asked for." in rows[0]["tiny_embedding_reason"]
    assert rows[2]["tiny_embedding_reason"] == ""
    for wrong in ("0", "a", "1,1", ""):
        assert run(folder / "list.csv", "-o", out, "--bundle", bundle.root, "--frame", wrong) == 2


def test_nothing_at_all_ends_with_3(folder, bundle, tmp_path, capsys):
    listed = write(tmp_path / "list.csv", [["patient_id", "image"], ["P1", "nowhere.nii.gz"]])
    assert run(listed, "-o", tmp_path / "t.csv", "--bundle", bundle.root) == 3
    assert "0 of 1 images" in capsys.readouterr().out
    assert read(tmp_path / "t.csv")[0]["tiny_embedding_00"] == ""


def test_visits_and_images_relative_to_the_list(folder, bundle, tmp_path):
    listed = write(
        tmp_path / "list.csv",
        [["patient_id", "visit", "image"], ["P1", "1", folder / "Meier_0.nii.gz"], ["P1", "2", "here.nii.gz"]],
    )
    (tmp_path / "here.nii.gz").write_bytes((folder / "Meier_1.nii.gz").read_bytes())
    assert run(listed, "-o", tmp_path / "t.csv", "--bundle", bundle.root) == 0
    rows = read(tmp_path / "t.csv")
    assert [(row["patient_id"], row["visit"]) for row in rows] == [("P1", "1"), ("P1", "2")]
    assert rows[0]["tiny_embedding_00"] != rows[1]["tiny_embedding_00"]


def test_dicom_gives_what_the_file_gives(tmp_path, monkeypatch):
    monkeypatch.setenv("CARDIOPRECISION_ACCEPT_LICENSES", CINE)
    made = sample(CineHeart(), Geometry(matrix=(128, 128)), 4)
    made.write_dicom(tmp_path / "dicom")
    made.write_nifti(tmp_path / "cine.nii.gz")
    listed = write(tmp_path / "list.csv", [["patient_id", "image"], ["P1", "dicom"], ["P2", "cine.nii.gz"]])
    assert run(listed, "-o", tmp_path / "t.csv", "--bundle", CINE, "--frame", "1") == 0
    one, other = ([float(v) for v in list(row.values())[1:-1]] for row in read(tmp_path / "t.csv"))
    assert len(one) == 16
    assert np.allclose(one, other, atol=2e-3 * np.abs(one).max())


def test_a_ct_by_the_bundles_own_analysis(tmp_path):
    """The territory bundle takes channels that only its own analysis makes; copies of a CT give the same."""
    rng = np.random.default_rng(0)
    hu = np.full((60, 50, 20), -1000, np.int16)
    hu[10:50, 8:44] = rng.normal(40, 15, (40, 36, 20))
    affine = np.diag([-3.0, -3.0, 5.0, 1.0])
    write_nifti(tmp_path / "ct.nii.gz", hu, affine)
    turned = affine.copy()
    turned[0] = [3.0, 0, 0, -3.0 * 59]
    write_nifti(tmp_path / "turned.nii.gz", hu[::-1], turned)
    listed = write(tmp_path / "list.csv", [["patient_id", "image"], ["P1", "ct.nii.gz"], ["P2", "turned.nii.gz"]])
    assert run(listed, "-o", tmp_path / "t.csv", "--bundle", "calcium_territories") == 0
    rows = read(tmp_path / "t.csv")
    one, other = ([float(v) for v in list(row.values())[1:-1]] for row in rows)
    assert len(one) == 16
    assert np.allclose(one, other, atol=1e-4)


def test_only_our_own_bundle_is_handed_its_analysis(bundle, tmp_path):
    stranger = cases.unet(tmp_path / "calcium_territories", 3, source="installed")
    assert _made_by_its_analysis(stranger) is None
    assert _made_by_its_analysis(bundle) is None


def test_who_trained_the_network_is_said(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CARDIOPRECISION_ACCEPT_LICENSES", CINE)
    run(folder / "list.csv", "-o", tmp_path / "t.csv", "--bundle", CINE)
    said = " ".join(capsys.readouterr().out.split())
    assert "was trained on: ACDC" in said
    assert "judge no model on them" in said


def test_images_unlike_those_of_training_are_counted(tmp_path, capsys):
    strict = cases.unet(tmp_path / "strict", settings={"guard": {"trained_in_plane_spacing_mm": [0.1, 0.2]}})
    image = cases.stack()
    write_nifti(tmp_path / "a.nii.gz", image.frame(0), image.affine)
    listed = write(tmp_path / "list.csv", [["patient_id", "image"], ["P1", "a.nii.gz"], ["P2", "gone.nii.gz"]])
    assert run(listed, "-o", tmp_path / "t.csv", "--bundle", strict.root) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 image was embedded with a warning; the record says which. The first: The pixel spacing" in said
    record = json.loads((tmp_path / "t.record.json").read_text(encoding="utf-8"))
    assert "was trained on 0.1 to 0.2 mm" in record["inputs"][0]["warnings"][0]


def test_bundles_by_name_and_by_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases.unet(tmp_path / CINE)
    odd = cases.unet(tmp_path / "an odd, name")
    assert jobs.find_bundle(CINE).source == "shipped"  # a folder of that name does not take its place
    assert jobs.find_bundle(f"./{CINE}").source == "installed"
    assert jobs.find_bundle("an odd, name").root == odd.root
    with pytest.raises(InputError, match="no bundle called"):
        jobs.find_bundle("none")


def test_the_licence_is_asked_for(folder, tmp_path, capsys):
    restricted = cases.unet(tmp_path / "mine", source="installed", restricted=True, licence="Odd 1.0")
    arguments = (folder / "list.csv", "-o", tmp_path / "t.csv", "--bundle", restricted.root)
    assert run(*arguments) == 2
    assert "To accept, once" in capsys.readouterr().err
    assert run(*arguments, "--accept-license", "mine") == 0
    assert run(*arguments) == 0  # remembered


def test_stopped_it_leaves_nothing(folder, bundle, tmp_path):
    def stop(fraction, stage):
        if stage == "Image 2 of 6" and fraction > 0.2:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.embed_list(folder / "list.csv", tmp_path / "t.csv", bundle, device="cpu", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_forward(folder, bundle, tmp_path):
    seen = []
    jobs.embed_list(
        folder / "list.csv", tmp_path / "t.csv", bundle, device="cpu", progress=lambda f, s: seen.append((f, s))
    )
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {f"Image {n + 1} of 6" for n in range(6)} <= {s for _, s in seen}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["patient_id", "image"]], "empty"),
        ([["patient_id", "picture"], ["P1", "a.nii"]], "'image'"),
        ([["who", "image"], ["P1", "a.nii"]], "'patient_id'"),
        ([["patient_id", "image"], ["P1", ""]], "line 2: image is empty"),
        ([["patient_id", "image"], ["", "a.nii"]], "line 2: patient_id is empty"),
        ([["patient_id", "image"], ["P1", "a.nii"], ["P1", "a.nii"]], "line 3: the image of line 2 is there again"),
        ([["patient_id", "image"], ["P1", "=1+1"]], "formula"),
        ([["patient_id", "image"], ["P1"]], "1 cells"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, rows, said):
    with pytest.raises(InputError, match=said):
        read_list(write(tmp_path / "list.csv", rows))


def test_choices_that_cannot_be_used(folder, bundle, tmp_path, capsys):
    listed = folder / "list.csv"
    for arguments, said in (
        ((listed, "-o", tmp_path / "t.txt"), "ends in .csv"),
        ((listed, "-o", tmp_path / "no" / "t.csv"), "no such folder"),
        ((listed, "-o", listed), "would overwrite an input"),
        ((folder / "none.csv", "-o", tmp_path / "t.csv"), "cannot be read"),
        ((listed, "-o", tmp_path / "t.csv", "--layer", "x"), "no layer 'x'"),
        ((listed, "-o", tmp_path / "t.csv", "--id", "who"), "give --join"),
        ((listed, "-o", tmp_path / "t.csv", "--device", "abacus"), "abacus"),
    ):
        assert run(*arguments, "--bundle", bundle.root) == 2
        assert said in capsys.readouterr().err
    assert run(listed, "-o", tmp_path / "t.csv", "--bundle", "nobodys") == 2
    assert "no bundle called 'nobodys'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# -- joining -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def tables(tmp_path):
    cohort = write(
        tmp_path / "cohort.csv", [["who", "age", "mace"], ["A", "61", "yes"], ["B", "58", "no"], ["C", "", ""]]
    )
    table = write(
        tmp_path / "table.csv",
        [
            ["patient_id", "x_00", "x_01", "x_reason"],
            ["C", "3", "-4", ""],
            ["A", "", "", "no heart"],
            ["Z", "5", "6", ""],
        ],
    )
    return cohort, table, tmp_path / "joined.csv"


def test_join(tables):
    cohort, table, out = tables
    done = join_columns(cohort, table, out, id="who")
    assert out.read_text(encoding="utf-8") == "who,age,mace,x_00,x_01\nA,61,yes,,\nB,58,no,,\nC,,,3,-4\n"
    assert (done.rows, done.matched, done.columns) == (3, 2, ("x_00", "x_01"))
    assert done.warnings == (
        "1 of 3 rows of the cohort are not in the table; their new cells are empty.",
        "1 rows of the table belong to no row of the cohort and were left out.",
    )


def test_join_by_visit(tmp_path):
    cohort = write(tmp_path / "c.csv", [["id", "when", "a"], ["A", "1", "x"], ["A", "2", "y"]])
    table = write(tmp_path / "t.csv", [["patient_id", "visit", "v"], ["A", "2", "22"], ["A", "1", "11"]])
    join_columns(cohort, table, tmp_path / "o.csv", id="id", visit="when")
    assert [row["v"] for row in read(tmp_path / "o.csv")] == ["11", "22"]
    with pytest.raises(InputError, match="no column 'visit' of visits to join by; name it with --visit"):
        join_columns(cohort, table, tmp_path / "o2.csv", id="id")
    alone = write(tmp_path / "a.csv", [["patient_id", "v"], ["A", "2"]])
    with pytest.raises(InputError, match="line 3: the patient of line 2 is there again; keep one row, or tell visits"):
        join_columns(cohort, alone, tmp_path / "o2.csv")
    assert not (tmp_path / "o2.csv").exists()


def test_joins_that_are_refused(tables, tmp_path):
    cohort, table, out = tables
    for id, more, said in (
        ("patient", {}, "'patient'"),
        ("age", {}, "age is empty"),
        ("mace", {}, "mace is empty"),
        ("who", {"visit": "when"}, "there are no visits to join by"),
    ):
        with pytest.raises(InputError, match=said):
            join_columns(cohort, table, out, id=id, **more)
    twice = write(tmp_path / "twice.csv", [["patient_id", "v"], ["A", "1"], ["A", "2"]])
    with pytest.raises(InputError, match=r"twice\.csv, line 3: the patient of line 2 is there again"):
        join_columns(cohort, twice, out, id="who")
    both = write(tmp_path / "both.csv", [["patient_id", "age"], ["A", "1"]])
    with pytest.raises(InputError, match="'age' is there already"):
        join_columns(cohort, both, out, id="who")
    other = write(tmp_path / "other.csv", [["patient_id", "v"], ["Q", "1"]])
    with pytest.raises(InputError, match="no patient of it is in"):
        join_columns(cohort, other, out, id="who")
    none = write(tmp_path / "none.csv", [["patient_id", "v_reason"], ["A", "1"]])
    with pytest.raises(InputError, match="no column to join"):
        join_columns(cohort, none, out, id="who")
    with pytest.raises(InputError, match="would overwrite"):
        join_columns(cohort, table, cohort, id="who")
    with pytest.raises(InputError, match="cannot be written"):
        join_columns(cohort, table, tmp_path / "no" / "o.csv", id="who")
    assert not out.exists()


def test_a_join_that_cannot_be_is_told_before_the_work(folder, bundle, tmp_path, monkeypatch, capsys):
    cohort = write(tmp_path / "cohort.csv", [["patient_id", "age"], ["Q", "1"]])
    monkeypatch.setattr(jobs, "_embed_all", lambda *a: pytest.fail("images were embedded"))
    assert run(folder / "list.csv", "-o", tmp_path / "t.csv", "--bundle", bundle.root, "--join", cohort) == 2
    assert "no patient of it is in" in capsys.readouterr().err
    write(cohort, [["patient_id", "tiny_embedding_03"], ["P1", "1"]])
    assert run(folder / "list.csv", "-o", tmp_path / "t.csv", "--bundle", bundle.root, "--join", cohort) == 2
    assert "'tiny_embedding_03' is there already" in capsys.readouterr().err
    named = write(tmp_path / "t.cohort.csv", [["patient_id", "age"], ["P1", "1"]])
    assert run(folder / "list.csv", "-o", tmp_path / "t.csv", "--bundle", bundle.root, "--join", named) == 2
    assert "would overwrite it" in capsys.readouterr().err


# -- the whole way -----------------------------------------------------------------------------------------------------
def _cohort(folder, n=36):
    """Half of the hearts are dilated, and they have the event; the age of a patient says nothing of it."""
    rng = np.random.default_rng(4)
    listed, rows = [["patient_id", "image"]], [["patient_id", "age", "mace"]]
    for i in range(n):
        large = i % 2 == 1
        edv = rng.normal(240 if large else 130, 15)
        heart = CineHeart(
            lv_edv_ml=edv, lv_esv_ml=0.5 * edv, lv_mass_g=rng.normal(140, 12), rv_edv_ml=rng.normal(160, 12)
        )
        geometry = Geometry(
            matrix=(88, 88), pixel_mm=(2.0, 2.0), n_slices=4, thickness_mm=18,
            heart_shift_mm=tuple(rng.uniform(-4, 4, 2)), flips=tuple(rng.random(3) < 0.5),
        )  # fmt: skip
        sample(heart, geometry, 1, seed=i, blood=rng.uniform(500, 700)).write_nifti(folder / f"{i}.nii.gz")
        listed.append([f"P{i}", f"{i}.nii.gz"])
        rows.append([f"P{i}", f"{rng.normal(60, 10):.1f}", "yes" if large else "no"])
    return write(folder / "list.csv", listed), write(folder / "cohort.csv", rows)


@pytest.mark.slow
def test_embeddings_tell_what_clinical_data_do_not(tmp_path, monkeypatch, capsys):
    import yaml

    monkeypatch.setenv("CARDIOPRECISION_ACCEPT_LICENSES", CINE)
    listed, table = _cohort(tmp_path)
    out = tmp_path / "embedded.csv"
    assert run(listed, "-o", out, "--bundle", CINE, "--join", table) == 0
    said = capsys.readouterr().out
    lines = said[said.index("modalities:") : said.index("Done in")]
    schema = parse_schema(
        {
            "schema": "cardioprecision/cohort/1",
            "id": "patient_id",
            "outcome": {"kind": "binary", "column": "mace", "positive": "yes"},
            "accept": dict.fromkeys(yaml.safe_load(lines)["modalities"][f"{CINE}_embedding"], "it tells a large heart"),
            **yaml.safe_load(lines),
        }
    )
    cohort = read_cohort(tmp_path / "embedded.cohort.csv", schema)
    assert cohort.modalities == ("clinical", f"{CINE}_embedding")
    models = {
        "both": ModelConfig("early", "logistic"),
        "embedding": ModelConfig("early", "logistic", modalities=(f"{CINE}_embedding",)),
        "clinical": ModelConfig("early", "logistic", modalities=("clinical",)),
    }
    found = evaluate(cohort, models, folds=3, repeats=1, seed=0, level=None, resamples=50).models
    auc = {name: report.metrics["auc"].value for name, report in found.items()}
    print(auc)
    assert auc["embedding"] > 0.8
    assert auc["both"] > 0.8
    assert auc["clinical"] < 0.7
