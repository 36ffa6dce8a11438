"""The record of a run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from CardioPrecisionLib import record
from CardioPrecisionLib.labels import LabelSource


def made(facts=None, **more):
    given = record.RunRecord("lv-function", inputs=[{"role": "cine_sax", "path": "/data/x"}], **more)
    with given.stage("load"):
        pass
    return given.to_json(facts or {}, ["Careful."], {"measurements.json": "0" * 64})


def test_content():
    facts = {
        "model": {
            "bundle": "net",
            "version": "2",
            "weights_sha256": {"a.pt": "f" * 64},
            "licence": "CC0",
            "device": "cuda:0",
            "precision": "float16",
            "fallbacks": [{"reason": "out of memory"}],
        },
        "seeds": {"torch": 7},
        "seconds": {"segment": 2.0},
        "ed_frame": 1,
    }
    document = made(facts, parameters={"tta": 8}, command=["cardioprecision", "lv-function"])
    record.validate(document)
    json.dumps(document, allow_nan=False)
    assert (
        document["models"][0] | {"name": "net", "version": "2", "sha256": {"a.pt": "f" * 64}, "licence": "CC0"}
        == document["models"][0]
    )
    assert (document["device"], document["precision"], document["seeds"]) == ("cuda:0", "float16", {"torch": 7})
    assert document["fallbacks"] == [{"reason": "out of memory"}]
    assert document["details"] == {"ed_frame": 1}
    assert document["seconds"]["analysis"] == {"segment": 2.0}
    assert document["seconds"]["load"] >= 0
    assert document["seconds"]["total"] >= document["seconds"]["load"]
    assert document["software"]["packages"]["numpy"] == np.__version__
    assert document["peak_memory_mb"] > 10
    assert document["started"] <= document["finished"]
    assert document["warnings"] == ["Careful."]
    assert "model" in facts  # the caller's facts are not touched


def test_schema_refuses():
    good = made()
    record.validate(good)
    for wrong in (
        {**good, "schema": "x"},
        {**good, "inputs": []},
        {**good, "outputs": {"a": "short"}},
        {**good, "started": "yesterday"},
        {k: v for k, v in good.items() if k != "software"},
        {**good, "more": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            record.validate(wrong)


def test_json_able(tmp_path):
    source = LabelSource((tmp_path,), "acdc", 1)
    given = {
        "a": np.float32(1.5),
        "b": np.arange(3),
        "c": (1, {2}),
        "d": float("inf"),
        "e": tmp_path,
        "f": source,
        5: None,
    }
    assert record.json_able(given) == {
        "a": 1.5,
        "b": [0, 1, 2],
        "c": [1, [2]],
        "d": None,
        "e": str(tmp_path),
        "5": None,
        "f": {"paths": [str(tmp_path)], "scheme": "acdc", "ed_frame": 1, "es_frame": None},
    }


def test_file_hash(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 3_000_000)
    assert record.file_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_git_state_is_that_of_this_checkout():
    state = record.git_state()
    if state is None:
        pytest.skip("not run from a git checkout")
    from conftest import REPOSITORY

    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    assert state["commit"] == head


def test_import_starts_no_process_and_nothing_heavy():
    code = (
        "import subprocess, sys\n"
        "def refuse(*a, **k): raise SystemExit('a process was started')\n"
        "subprocess.Popen.__init__ = refuse\n"
        "import CardioPrecisionLib.record, CardioPrecisionLib.patient, CardioPrecisionLib.output\n"
        "import CardioPrecisionLib.fronts.registry\n"
        "heavy = {'torch', 'monai', 'SimpleITK', 'pydicom', 'matplotlib', 'jinja2', 'vtk'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
