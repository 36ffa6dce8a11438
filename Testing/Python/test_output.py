"""The output folder: complete or not there; never over what is not ours."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from CardioPrecisionLib import measurement, record
from CardioPrecisionLib.analysis import LabelMap, Result, Table
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.image import read_frames
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient
from CardioPrecisionLib.output import OutputFolder, write_run
from CardioPrecisionLib.replacing import replacing
from conftest import oblique_affine
from threshold_analysis import SEGMENTS


def snapshot(folder: Path):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def make(path, content="1", extra=()):
    with OutputFolder(path) as out:
        (out.work / "measurements.json").write_text(content)
        for name in extra:
            (out.work / name).write_text("x")
        names = [p.name for p in out.work.iterdir()]
        (out.work / "run.json").write_text(json.dumps({"schema": record.SCHEMA, "outputs": dict.fromkeys(names, "")}))
        out.commit()


def test_appears_at_once_and_parents_are_made(tmp_path):
    target = tmp_path / "a" / "b" / "run"
    with OutputFolder(target) as out:
        (out.work / "f").write_text("x")
        assert not target.exists()
        out.commit()
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "b", "run", "f"]
    if sys.platform != "win32":
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE(target.stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("error", [RuntimeError, Cancelled, KeyboardInterrupt])
def test_error_leaves_nothing(tmp_path, error):
    def fails(path):
        with OutputFolder(path) as out:
            (out.work / "f").write_text("x")
            raise error

    with pytest.raises(error):
        fails(tmp_path / "new" / "run")
    assert not list(tmp_path.iterdir())
    make(tmp_path / "run")
    before = snapshot(tmp_path)
    with pytest.raises(error):
        fails(tmp_path / "run")
    assert snapshot(tmp_path) == before


def test_without_commit_nothing_is_left(tmp_path):
    with OutputFolder(tmp_path / "run") as out:
        (out.work / "f").write_text("x")
    assert not list(tmp_path.iterdir())


def test_earlier_run_is_replaced_whole(tmp_path):
    make(tmp_path / "run", "old", extra=["report.html"])
    (tmp_path / "run" / ".DS_Store").write_text("litter")
    make(tmp_path / "run", "new")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["measurements.json", "run.json"]
    assert (tmp_path / "run" / "measurements.json").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_empty_folder_is_used(tmp_path):
    (tmp_path / "run").mkdir()
    make(tmp_path / "run")
    assert (tmp_path / "run" / "run.json").is_file()


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.docx": "x"},
        {"run.json": "{}"},
        {"run.json": "not json"},
        {"run.json": '{"schema": "other/run/1"}'},
        {"run.json": "[1]"},
        {"run.json": '{"schema": "cardioprecision/run/1"}'},
    ],
)
def test_foreign_folder_is_refused(tmp_path, files):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="not an earlier run"), OutputFolder(folder):
        pass
    assert snapshot(tmp_path) == before


def test_own_notes_in_an_earlier_run_are_not_deleted(tmp_path):
    make(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"notes\.txt"), OutputFolder(tmp_path / "run"):
        pass
    assert snapshot(tmp_path) == before


def test_file_that_comes_during_the_run_is_not_deleted(tmp_path):
    make(tmp_path / "run", "old")
    with OutputFolder(tmp_path / "run") as out:
        (tmp_path / "run" / "late.txt").write_text("mine")
        with pytest.raises(InputError, match="late"):
            out.commit()
    assert (tmp_path / "run" / "late.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_file_in_the_way(tmp_path):
    (tmp_path / "f").write_text("x")
    for path in (tmp_path / "f", tmp_path / "f" / "run"):
        with pytest.raises(InputError, match="is a file"), OutputFolder(path):
            pass
    assert (tmp_path / "f").read_text() == "x"


def test_unwritable_parent(tmp_path, monkeypatch):
    """A parent that refuses (for root, too: the system call itself is made to refuse)."""
    locked = tmp_path / "locked"
    locked.mkdir()
    real = Path.mkdir

    def refuse(self, *arguments, **more):
        if self.parent == locked:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="cannot be written"), OutputFolder(locked / "run"):
        pass
    assert not list(locked.iterdir())


def test_locked_parent_of_a_writable_folder(tmp_path, monkeypatch):
    """As a container's volume: the folder can be written, its parent cannot."""
    target = tmp_path / "out"
    make(target, "old", extra=["report.html"])
    real = Path.mkdir

    def refuse(self, *arguments, **more):
        if self.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    make(target, "new")
    assert sorted(p.name for p in target.iterdir()) == ["measurements.json", "run.json"]
    assert (target / "measurements.json").read_text() == "new"


def test_current_folder_stays_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("."))
    make(Path("."), "again")
    assert Path("measurements.json").read_text() == "again"
    assert sorted(os.listdir(".")) == ["measurements.json", "run.json"]


def test_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real")
    except OSError:
        pytest.skip("no symbolic links here")
    make(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "run.json").is_file()


def result(frames=4):
    labels = np.zeros((frames, 6, 5, 3), np.uint8)
    for t in range(frames):
        labels[t, : 2 + t % 2, 1:4, 1] = 1
    labels[:, 4, 4, 2] = 3
    rows = Measurements(
        [
            Measurement("lv_edv", np.float32(10.5), "mL", low=9, high=12, level=0.9),
            Measurement.missing("lv_ef", "%", "One phase only."),
        ]
    )
    return Result(
        rows,
        LabelMap(labels, oblique_affine(), SEGMENTS, {"ed": frames - 1, "es": 0} if frames > 1 else {}),
        [Table("volume_curve", "Volume", {"frame": [1, 2], "ml": [10.5, None]})],
        [],
        ["Look here."],
        {
            "model": {
                "bundle": "b",
                "version": "1",
                "weights_sha256": {"w.pt": "0" * 64},
                "licence": "CC0",
                "device": "cpu",
                "precision": "bfloat16",
                "fallbacks": [],
            },
            "seconds": {"segment": np.float64(1.5)},
            "other": np.arange(2),
            "nan": float("nan"),
        },
    )


def written(folder, frames=4, **more):
    folder.mkdir()
    given = record.RunRecord("lv-function", parameters={"tta": 1}, inputs=[{"role": "cine_sax", "path": "x"}], **more)
    write_run(folder, "LV function", result(frames), Patient(sex="female"), given, frame_ms=40.0)
    return folder


def test_files_of_a_run(tmp_path):
    folder = written(tmp_path / "run")
    assert sorted(p.name for p in folder.iterdir()) == [
        "measurements.csv",
        "measurements.json",
        "report.html",
        "run.json",
        "segmentation.nii.gz",
        "segmentation.seg.nrrd",
        "segmentation_es.seg.nrrd",
        "volume_curve.csv",
    ]
    document = json.loads((folder / "measurements.json").read_text())
    measurement.validate(document)
    assert document["measurements"][0]["value"] == 10.5
    assert document["warnings"] == ["Look here."]
    assert (folder / "volume_curve.csv").read_text() == "frame,ml\n1,10.5\n2,\n"
    array, affine, _ = read_frames(folder / "segmentation.nii.gz")
    assert np.array_equal(array, result().labels.array)
    assert np.allclose(affine, oblique_affine(), atol=1e-4)
    for name, frame in (("segmentation.seg.nrrd", 3), ("segmentation_es.seg.nrrd", 0)):
        assert np.array_equal(read_frames(folder / name)[0][0], result().labels.array[frame])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Look here." in page


def test_static_labels_are_three_dimensional(tmp_path):
    import nibabel

    folder = written(tmp_path / "run", frames=1)
    assert nibabel.load(folder / "segmentation.nii.gz").shape == (6, 5, 3)
    assert (folder / "segmentation.seg.nrrd").is_file()
    assert not (folder / "segmentation_es.seg.nrrd").exists()


def test_results_do_not_depend_on_time_or_place(tmp_path):
    one, two = written(tmp_path / "a"), written(tmp_path / "elsewhere", command=["cardioprecision", "x"])
    for name in ("measurements.json", "measurements.csv", "segmentation.nii.gz", "segmentation.seg.nrrd"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


# -- one file ----------------------------------------------------------------------------------------------------------
def write_and_fail(target, error):
    with replacing(target) as beside:
        if not target.suffix:
            beside.mkdir()
        (beside / "x" if beside.is_dir() else beside).write_text("broken")
        raise error


def test_a_file_gets_its_name_when_it_is_complete(tmp_path):
    target = tmp_path / "numbers.csv"
    target.write_text("earlier")
    with replacing(target) as beside:
        beside.write_text("whole")
        assert target.read_text() == "earlier"
        assert beside.suffix == ".csv"
    assert target.read_text() == "whole"
    for error in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(error):
            write_and_fail(target, error)
    assert target.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["numbers.csv"]


def test_a_folder_gets_its_name_when_it_is_complete(tmp_path):
    with replacing(tmp_path / "study") as beside:
        beside.mkdir()
        (beside / "x").write_text("x")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(tmp_path / "other", ZeroDivisionError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["study"]


def test_two_who_write_the_same_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "x") as one, replacing(tmp_path / "x") as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
    assert (tmp_path / "x").read_text() == "one"
