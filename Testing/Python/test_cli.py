"""The command line: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from CardioPrecisionLib import __version__, measurement, record
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts import cli, registry
from CardioPrecisionLib.fronts.options import parameter_options
from CardioPrecisionLib.image import read_frames
from conftest import REPOSITORY

HERE = os.path.dirname(os.path.abspath(__file__))
#: A process with the test analysis in its list, as a user would start it.
START = (
    "import sys; from CardioPrecisionLib.fronts import registry, cli; "
    "registry.register('threshold', 'threshold_analysis:Threshold', 'Test.'); sys.exit(cli.main())"
)


def run(*arguments, cwd=None, start=START, **environment):
    env = {**os.environ, "PYTHONPATH": HERE, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", start, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env=env,
        cwd=cwd,
        check=False,
        timeout=120,
    )


def one_line(text):
    assert text.startswith("cardioprecision: "), text
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_human_output(small_cine, tmp_path):
    done = run("threshold", small_cine, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "Volume, maximum" in done.stdout
    assert "measured" in done.stdout
    assert "(90 %)" in done.stdout
    assert "Warning: A test warning." in done.stdout
    assert str(tmp_path / "run" / "report.html") in done.stdout
    assert "Reading" in done.stderr  # progress, plain where there is no terminal
    assert "\x1b" not in done.stdout + done.stderr
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    record.validate(document)
    assert document["command"] == ["cardioprecision", "threshold", str(small_cine), "-o", str(tmp_path / "run")]
    assert document["parameters"] == {"above": 0.5, "mode": "measure"}
    assert document["inputs"][0]["path"] == str(small_cine)
    assert len(document["inputs"][0]["voxel_hash"]) == 16
    for name, digest in document["outputs"].items():
        assert record.file_sha256(tmp_path / "run" / name) == digest


def test_json_output_is_measurements_and_nothing_else(small_cine, tmp_path):
    done = run("threshold", small_cine, "-o", tmp_path / "run", "--json", "--mode", "noisy")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    measurement.validate(document)
    assert done.stdout == (tmp_path / "run" / "measurements.json").read_text(encoding="utf-8")
    assert document["measurements"][0]["value"] == pytest.approx(60 * 1.3 * 1.4 * 8 / 1000, rel=1e-4)


def test_libraries_are_silent_without_v(small_cine, tmp_path):
    said = ("a library prints", "native code prints", "native code complains", "a library warns", "a library logs")
    done = run("threshold", small_cine, "-o", tmp_path / "a", "--mode", "noisy")
    assert done.returncode == 0
    assert not [text for text in said if text in done.stdout + done.stderr]
    done = run("threshold", small_cine, "-o", tmp_path / "b", "--mode", "noisy", "--json", "-v")
    assert [text for text in said if text in done.stderr] == list(said)
    json.loads(done.stdout)


def test_nothing_assessable_is_3(small_cine, tmp_path):
    done = run("threshold", small_cine, "-o", tmp_path / "run", "--mode", "nothing")
    assert done.returncode == 3
    assert "not assessable: Asked for nothing." in done.stdout
    assert (tmp_path / "run" / "report.html").is_file()


def test_our_own_fault_is_1_and_v_shows_where(small_cine, tmp_path):
    done = run("threshold", small_cine, "-o", tmp_path / "run", "--mode", "crash")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "our own fault (RuntimeError: something broke inside)" in last
    assert "-v" in last
    assert "Traceback" not in done.stderr
    assert "Traceback" in run("threshold", small_cine, "-o", tmp_path / "run", "--mode", "crash", "-v").stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command"),
        (("threshold",), "INPUT"),
        (("threshold", "x", "-o", "out"), "no such file"),
        (("threshold", "x"), "output"),
        (("threshold", "x", "-o", "out", "--nonsense"), "--nonsense"),
        (("threshold", "x", "-o", "out", "--above", "wide"), "--above"),
        (("threshold", HERE, "-o", "out", "--above", "-5"), "must be from 0 to 1000"),
        (("threshold", HERE, "-o", "out", "--ed-frame", "2"), "there are no --labels"),
        (("threshold", HERE, "-o", "out", "--clinical", "none.json"), "none.json"),
        (("models", "verify", "nonsense"), "nonsense"),
    ],
)
def test_usage_errors_are_2_and_one_line(tmp_path, threshold, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert cli.main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert said in one_line(captured.err.splitlines(keepends=True)[-1])
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_help_and_version(capsys, threshold):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cardioprecision {__version__}\n"
    assert cli.main([]) == 0
    overview = capsys.readouterr().out
    assert all(name in overview for name in ("demo", "lv-function", "models"))
    assert cli.main(["threshold", "--help"]) == 0
    options = capsys.readouterr().out
    for name in ("--above", "--mode", "--clinical", "--labels", "--json", "--accept-license"):
        assert name in options
    assert "Voxels above this value count." in options


def test_only_what_is_there(capsys):
    """The commands are the analyses that are installed and what works on all of them; nothing that is planned."""
    cli.main(["--help"])
    overview = capsys.readouterr().out
    listed = set(re.findall(r"(?m)^[^\w-]*([a-z][a-z-]*) {2,}[A-Z]", overview))
    assert listed == {"demo", "models", "fusion", "serve", *(entry.name for entry in registry.entries())}


def test_start_is_light():
    code = (
        "import sys; from CardioPrecisionLib.fronts import cli; cli.main(['--version']); "
        "heavy = {'torch', 'monai', 'SimpleITK', 'pydicom', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = run(start=code)
    assert done.returncode == 0, done.stderr


def test_clinical_and_labels(small_cine, tmp_path):
    from CardioPrecisionLib.image import write_nifti
    from conftest import oblique_affine

    labels = np.zeros((12, 10, 5), np.uint8)
    labels[3:6, 3:6, 2] = 3
    for name in ("ed", "es"):
        write_nifti(tmp_path / f"{name}.nii.gz", labels, oblique_affine())
    (tmp_path / "clinical.json").write_text('{"sex": "F", "height_cm": 170, "weight_kg": 70, "hobby": "chess"}')
    done = run(
        "threshold",
        small_cine,
        "-o",
        tmp_path / "run",
        "--clinical",
        tmp_path / "clinical.json",
        "--labels",
        tmp_path / "ed.nii.gz",
        "--labels",
        tmp_path / "es.nii.gz",
        "--ed-frame",
        1,
        "--es-frame",
        3,
        "--label-scheme",
        "acdc",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["patient"] == {
        "key": None,
        "sex": "female",
        "age_years": None,
        "height_cm": 170.0,
        "weight_kg": 70.0,
        "study_date": None,
    }
    assert any("hobby" in text for text in document["warnings"])
    run_record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run_record["clinical"]["fields"] == ["height_cm", "hobby", "sex", "weight_kg"]
    assert run_record["clinical"]["sha256"] == record.file_sha256(tmp_path / "clinical.json")
    assert run_record["labels"]["frames"] == [1, 3]
    array, _, _ = read_frames(tmp_path / "run" / "segmentation.nii.gz")
    assert array.shape == (4, 12, 10, 5)
    assert [int(f.sum()) for f in array] == [9, 0, 9, 0]  # ACDC's 3 is our 1


def test_same_measurements_again(small_cine, tmp_path):
    for name in ("a", "b"):
        assert run("threshold", small_cine, "-o", tmp_path / name).returncode == 0
    assert (tmp_path / "a" / "measurements.json").read_bytes() == (tmp_path / "b" / "measurements.json").read_bytes()
    assert run("threshold", small_cine, "-o", tmp_path / "a").returncode == 0  # onto an earlier run
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "cine.nii.gz"]


def test_registry(threshold):
    assert registry.get_analysis("threshold").name == "threshold"
    with pytest.raises(InputError, match="no analysis 'other'"):
        registry.get_analysis("other")
    registry.register("gone", "GoneLib.x:Y", "Gone.")
    try:
        assert "gone" in [e.name for e in registry.absent()]
        assert "gone" not in [e.name for e in registry.entries()]
        with pytest.raises(InputError, match="GoneLib, which is not installed"):
            registry.get_analysis("gone")
    finally:
        registry._ENTRIES.pop("gone")


def test_options_from_parameters():
    @dataclass(frozen=True)
    class Parameters:
        """Some.

        Attributes
        ----------
        size_mm, width_mm : float
            How large.
        kind : {"a", "b"}
        table : dict
            No option.
        """

        size_mm: float = 1.0
        width_mm: float | None = None
        kind: str = "a"
        table: tuple = ()
        ed_frame: int | None = None

    options = parameter_options(Parameters)
    assert list(options) == ["size_mm", "width_mm", "kind"]
    assert options["width_mm"][0].__metadata__[0].help == "How large."
    assert options["kind"][0].__metadata__[0].help == "a, b."


def bundle_is_ready():
    from CardioPrecisionLib.bundle.registry import get_bundle, verify

    try:
        verify(get_bundle("cine_sax_ventricles"))
    except InputError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not bundle_is_ready(), reason="the weights of cine_sax_ventricles are not in this checkout")
def test_demo(tmp_path):
    refused = run("demo", "-o", tmp_path / "demo")
    assert refused.returncode == 2
    assert "--accept-license" in refused.stderr
    assert not (tmp_path / "demo").exists()
    done = run("demo", "-o", tmp_path / "demo", "--accept-license", "cine_sax_ventricles")
    assert done.returncode == 0, done.stderr
    assert "LV ejection fraction" in done.stdout
    assert "True" in done.stdout
    document = json.loads((tmp_path / "demo" / "measurements.json").read_text())
    assert document["patient"]["sex"] == "female"
    assert len(document["patient"]["key"]) == 32
    models = json.loads((tmp_path / "demo" / "run.json").read_text())["models"]
    assert models[0]["name"] == "cine_sax_ventricles"
    assert models[0]["licence"]
    assert models[0]["sha256"]


def test_models_list(capsys):
    assert cli.main(["models", "list"]) == 0
    assert capsys.readouterr().out
    assert REPOSITORY.is_dir()


@pytest.mark.slow
def test_lv_function_on_dicom_with_a_readers_labels(tmp_path):
    """The whole route without a network: DICOM in, the phantom's own labels from a NIfTI, numbers out."""
    from CardioPrecisionLib.phantom import demo_patient

    patient = demo_patient()
    patient.write_dicom(tmp_path / "dicom")
    patient.sample.write_nifti(tmp_path / "cine.nii.gz", tmp_path / "labels.nii.gz")
    done = run(
        "lv-function", tmp_path / "dicom", "--labels", tmp_path / "labels.nii.gz", "-o", tmp_path / "run", "--json"
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["warnings"] == []
    assert document["patient"] | {"key": None} == {
        "key": None,
        "sex": "female",
        "age_years": 54.0,
        "height_cm": 168.0,
        "weight_kg": 66.0,
        "study_date": "2025-01-15",
    }
    found = {row["name"]: row["value"] for row in document["measurements"]}
    for name in ("lv_edv", "lv_esv", "lv_ef", "rv_edv", "lv_mass"):
        assert found[name] == pytest.approx(patient.sample.measurements[name], rel=0.03), name
    text = "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "run").glob("*.json"))
    assert patient.patient_id not in text
    array, _, _ = read_frames(tmp_path / "run" / "segmentation.nii.gz")
    assert array.shape[0] == 20
