"""The child process: protocol, cancel, crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from CardioPrecisionLib.fronts import job as job_module
from CardioPrecisionLib.fronts.child import module_folders, run_child

HERE = Path(__file__).resolve().parent
ANALYSIS = "threshold"


@pytest.fixture
def child_folder(tmp_path):
    """A folder whose sitecustomize makes the test analysis known to child processes."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from CardioPrecisionLib.fronts import registry\n"
        "registry.register('threshold', 'threshold_analysis:Threshold', 'Test.')\n"
    )
    return str(folder)


def described(small_cine, tmp_path, **more):
    return {"analysis": ANALYSIS, "inputs": {"image": str(small_cine)}, "output": str(tmp_path / "run"), **more}


def left(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir() if p.name not in ("site", "cine.nii.gz"))


def child(job, folder, should_stop=lambda: False, **more):
    events = []
    last = run_child(job, events.append, should_stop, folders=[folder], **more)
    assert events[-1] == last
    return last, events


def test_done(small_cine, tmp_path, child_folder):
    last, events = child(described(small_cine, tmp_path, parameters={"mode": "noisy"}), child_folder)
    assert last["event"] == "done"
    assert last["output"] == str(tmp_path / "run")
    assert last["code"] == 0
    assert last["seconds"] > 0
    progress = [e for e in events if e["event"] == "progress"]
    assert [e["event"] for e in events] == ["progress"] * len(progress) + ["done"]
    fractions = [e["fraction"] for e in progress]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert "Measuring" in [e["stage"] for e in progress]
    assert (tmp_path / "run" / "measurements.json").is_file()
    assert left(tmp_path) == ["run"]


def test_stdout_holds_json_lines_only(small_cine, tmp_path, child_folder):
    job = {"schema": job_module.SCHEMA, **described(small_cine, tmp_path, parameters={"mode": "noisy"})}
    (tmp_path / "site" / "job.json").write_text(json.dumps(job))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([child_folder, *module_folders()])}
    done = subprocess.run(
        [sys.executable, "-m", "CardioPrecisionLib.fronts.job", str(tmp_path / "site" / "job.json")],
        capture_output=True,
        encoding="utf-8",
        env=env,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["event"] for line in done.stdout.splitlines())
    assert "a library prints" in done.stderr


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"inputs": {"image": "/none"}}, 2, "no such file"),
        ({"inputs": {"other": "/"}}, 2, "no input 'other'"),
        ({"inputs": {}}, 2, "inputs"),
        ({"analysis": "other"}, 2, "no analysis"),
        ({"more": 1}, 2, "more"),
        ({"parameters": {"depth": 3}}, 2, "no parameter depth"),
        ({"parameters": {"above": -1}}, 2, "from 0 to 1000"),
        ({"parameters": {"mode": "crash"}}, 1, "RuntimeError: something broke inside"),
        ({"clinical": "/none.json"}, 2, "none.json"),
        ({"labels": {"paths": ["/none.nii.gz"]}}, 2, "no such file"),
        ({"accept_licenses": ["nonsense"]}, 2, "nonsense"),
    ],
)
def test_error(small_cine, tmp_path, child_folder, change, code, said):
    last, _ = child({**described(small_cine, tmp_path), **change}, child_folder)
    assert last["event"] == "error"
    assert last["code"] == code
    assert said in last["message"]
    assert "\n" not in last["message"]
    assert not left(tmp_path)


def test_job_file_that_cannot_be_read(tmp_path, capsys):
    (tmp_path / "job.json").write_text("{")
    assert job_module.main([str(tmp_path / "job.json")]) == 2
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "error"
    assert "cannot be read" in event["message"]
    assert job_module.main([]) == 2


def test_nothing_assessable(small_cine, tmp_path, child_folder):
    last, _ = child(described(small_cine, tmp_path, parameters={"mode": "nothing"}), child_folder)
    assert (last["event"], last["code"]) == ("done", 3)


def stop_when(condition):
    """A should_stop that says yes once `condition` has been true."""
    return lambda: bool(condition())


def test_cancel_is_heard_and_leaves_nothing(small_cine, tmp_path, child_folder):
    events = []
    started = time.monotonic()
    last = run_child(
        described(small_cine, tmp_path, parameters={"mode": "slow"}),
        events.append,
        stop_when(lambda: any(e.get("stage") == "Waiting" for e in events)),
        folders=[child_folder],
        grace_seconds=30,
    )
    assert last == {"event": "cancelled"}
    assert time.monotonic() - started < 20
    assert not left(tmp_path)


def test_cancel_that_is_not_heard_kills(small_cine, tmp_path, child_folder):
    """An analysis that never looks: killed with what it started, and its temporary folder is removed."""
    partial = tmp_path.glob(".run.partial-*")
    last, _ = child(
        described(small_cine, tmp_path, parameters={"mode": "deaf"}),
        child_folder,
        stop_when(lambda: list(tmp_path.glob(".run.partial-*"))),
        grace_seconds=0.5,
    )
    assert last == {"event": "cancelled"}
    assert not list(partial)
    assert not left(tmp_path)


def test_cancel_keeps_an_earlier_run(small_cine, tmp_path, child_folder):
    child(described(small_cine, tmp_path), child_folder)
    before = (tmp_path / "run" / "run.json").read_bytes()
    last, _ = child(
        described(small_cine, tmp_path, parameters={"mode": "slow"}),
        child_folder,
        stop_when(lambda: list(tmp_path.glob(".run.partial-*"))),
        grace_seconds=30,
    )
    assert last == {"event": "cancelled"}
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert left(tmp_path) == ["run"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kill_by_the_system_is_told(small_cine, tmp_path, child_folder):
    last, _ = child(described(small_cine, tmp_path, parameters={"mode": "kill"}), child_folder)
    assert last["event"] == "error"
    assert "memory" in last["message"]
    assert not left(tmp_path)


def test_interpreter_that_cannot_run_it(small_cine, tmp_path, child_folder):
    (Path(child_folder) / "sitecustomize.py").write_text("import sys; sys.stderr.write('no luck\\n'); sys.exit(7)")
    last, _ = child(described(small_cine, tmp_path), child_folder)
    assert last["event"] == "error"
    assert last["message"].startswith("The analysis ended with code")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_on_the_command_line(small_cine, tmp_path, child_folder, number):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([child_folder, *module_folders()])}
    command = [
        sys.executable,
        "-m",
        "CardioPrecisionLib.fronts.cli",
        "threshold",
        str(small_cine),
        "-o",
        str(tmp_path / "run"),
        "--mode",
        "slow",
    ]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits "ignored"
    )  # fmt: skip
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        while not list(tmp_path.glob(".run.partial-*")) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    finally:
        watchdog.cancel()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "cardioprecision: Cancelled. Nothing was written."
    assert "Traceback" not in err
    assert not left(tmp_path)
