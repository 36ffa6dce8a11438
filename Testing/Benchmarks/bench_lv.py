"""This engine beside plain MONAI on the same study with the same members; run by ``make bench``.

Plain MONAI is what one would write with its parts alone: whole slices resampled to the training spacing, a
`SlidingWindowInferer` of the training patch (overlap 0.25, one window per batch), float32, probabilities averaged over
the members and resampled back. Each contestant runs in a process of its own with the same number of threads and both
read the study from the same file. Seconds are from the study in memory to labels in memory, with loading the model
apart.

    python Testing/Benchmarks/bench_lv.py [--input CINE] [--bundle FOLDER] [--threads N] [--repeat N] [--frames N]
        [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

OVERLAP = 0.25
MIB = 1024.0**2


class PeakMemory:
    """The largest resident memory of this process while the block runs, sampled every 5 ms."""

    def __enter__(self) -> PeakMemory:
        import psutil

        self._process, self._stop = psutil.Process(), threading.Event()
        self.before = self.peak = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)


# -- the two contestants, each in its own process ----------------------------------------------------------------------
def run_engine(bundle: Any, frames: np.ndarray, affine: np.ndarray, threads: int, repeat: int, device: str) -> dict:
    start = time.perf_counter()
    from CardioPrecisionLib.bundle.engine import SliceEngine
    from CardioPrecisionLib.image import Sequence

    engine = SliceEngine(bundle, threads=threads, device=device)
    load = time.perf_counter() - start
    sequence = Sequence.from_array(frames, affine, modality="MR")
    seconds = []
    with PeakMemory() as memory:
        for _ in range(repeat):
            start = time.perf_counter()
            found = engine.segment(sequence)
            seconds.append(time.perf_counter() - start)
    return {
        "labels": found.labels,
        "load_seconds": load,
        "seconds": seconds,
        "memory": memory,
        "record": {
            k: found.record[k]
            for k in (
                "device",
                "precision",
                "threads",
                "window",
                "lattice",
                "fallbacks",
                "seconds",
                "memory",
                "members",
            )
        },
    }


def run_plain(bundle: Any, frames: np.ndarray, affine: np.ndarray, threads: int, repeat: int, device: str) -> dict:
    start = time.perf_counter()
    import torch
    import torch.nn.functional as F
    from CardioPrecisionLib.bundle.safety import load_members
    from CardioPrecisionLib.image import spacing_of
    from monai.inferers import SlidingWindowInferer

    torch.set_num_threads(threads)
    networks = [n.to(device) for _, n in load_members(bundle)[0]]
    load = time.perf_counter() - start
    patch = int(bundle.settings["patch"])  # what it was trained on
    inferer = SlidingWindowInferer(roi_size=(patch, patch), sw_batch_size=1, overlap=OVERLAP)
    step = float(bundle.settings["spacing_mm"])
    native = frames.shape[1:3]
    size = [round(n * float(s) / step) for n, s in zip(native, spacing_of(affine)[:2], strict=True)]

    def segment() -> np.ndarray:
        low, high = np.percentile(frames, bundle.settings["intensity_percentiles"])
        labels = []
        for frame in frames:
            x = torch.from_numpy(frame.transpose(2, 0, 1).astype(np.float32))[:, None]
            x = F.interpolate(((x - float(low)) / float(high - low)).clamp(0, 1), size=size, mode="bilinear")[:, 0]
            x = torch.stack([torch.cat([x[:1], x[:-1]]), x, torch.cat([x[1:], x[-1:]])], 1).to(device)
            mean = sum(inferer(x, n).softmax(1) for n in networks) / len(networks)
            mean = F.interpolate(mean, size=native, mode="bilinear")
            labels.append(mean.argmax(1).cpu().numpy().astype(np.uint8).transpose(1, 2, 0))
        return np.stack(labels)

    seconds = []
    with PeakMemory() as memory, torch.inference_mode():
        for _ in range(repeat):
            start = time.perf_counter()
            labels = segment()
            seconds.append(time.perf_counter() - start)
    return {"labels": labels, "load_seconds": load, "seconds": seconds, "memory": memory, "record": {}}


def worker(args: argparse.Namespace) -> None:
    from CardioPrecisionLib.bundle.registry import SHIPPED, open_bundle

    folder = Path(args.worker_folder)
    frames, affine = np.load(folder / "frames.npy"), np.load(folder / "affine.npy")
    contestant = run_engine if args.worker == "engine" else run_plain
    device = "cpu" if args.device == "auto" else args.device
    result = contestant(open_bundle(args.bundle, SHIPPED), frames, affine, args.threads, args.repeat, device)
    np.save(folder / f"{args.worker}.npy", result.pop("labels"))
    memory = result.pop("memory")
    result |= {
        "seconds_best": min(result["seconds"]),
        "peak_mib": memory.peak / MIB,
        "peak_above_start_mib": (memory.peak - memory.before) / MIB,
        "study_mib": frames.nbytes / MIB,
    }
    (folder / f"{args.worker}.json").write_text(json.dumps(result), encoding="utf-8")


# -- the parent --------------------------------------------------------------------------------------------------------
def dice(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    scores = {}
    for c in sorted((set(np.unique(a)) | set(np.unique(b))) - {0}):
        total = int((a == c).sum()) + int((b == c).sum())
        scores[str(c)] = round(2.0 * int(((a == c) & (b == c)).sum()) / total, 5)
    return scores


def heart_only(labels: np.ndarray) -> np.ndarray:
    """The largest connected part of each frame: what an analysis goes on with."""
    from CardioPrecisionLib.bundle.locate import largest_component

    out = np.zeros_like(labels)
    for frame, target in zip(labels, out, strict=True):
        part = largest_component(np.moveaxis(frame > 0, 2, 0))
        if part is not None:
            target[...] = frame * np.moveaxis(part, 0, 2)
    return out


def import_seconds(code: str, times: int = 5) -> float:
    """Best of several fresh processes, without the start of Python itself."""
    script = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
        for _ in range(times)
    ]
    return min(float(r.stdout) for r in runs)


def end_to_end(study: Path, threads: int) -> dict[str, Any]:
    """Seconds of the whole command: process start, reading, inference, numbers, figures, report."""
    command = shutil.which("cardioprecision", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    if command is None:
        return {"skipped": "the command cardioprecision is not installed"}
    with tempfile.TemporaryDirectory() as folder:
        run = [
            command,
            "lv-function",
            str(study),
            "-o",
            str(Path(folder) / "out"),
            "--device",
            "cpu",
            "--threads",
            str(threads),
        ]
        start = time.perf_counter()
        done = subprocess.run(run, capture_output=True, encoding="utf-8", check=False)
        seconds = time.perf_counter() - start
    if done.returncode not in (0, 3):
        lines = (done.stderr or done.stdout).strip().splitlines()
        return {"skipped": f"the command ended with {done.returncode}: {lines[-1] if lines else 'no message'}"}
    return {"seconds": seconds, "exit_code": done.returncode}


def study_files(args: argparse.Namespace, folder: Path) -> tuple[Path, np.ndarray, np.ndarray, str]:
    """The study as a path for the command, and as an array for the contestants."""
    if args.input:
        path, name = Path(args.input), "the given input"
    else:
        from CardioPrecisionLib.phantom import demo_patient

        path, name = folder / "demo", "the synthetic demo patient"
        demo_patient().write_dicom(path)
    from LVFunctionLib import cine

    sequence = cine.load(path).data
    count = min(args.frames or sequence.n_frames, sequence.n_frames)
    chosen = np.linspace(0, sequence.n_frames - 1, count).round().astype(int)
    return path, np.stack([np.asarray(sequence.frame(int(t))) for t in chosen]), sequence.affine, name


def compare(args: argparse.Namespace) -> dict[str, Any]:
    bundle = args.bundle
    if bundle is None:
        from CardioPrecisionLib.bundle.registry import get_bundle

        bundle = str(get_bundle("cine_sax_ventricles").root)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, frames, affine, title = study_files(args, folder)
        np.save(folder / "frames.npy", frames)
        np.save(folder / "affine.npy", affine)
        results: dict[str, Any] = {}
        for who in ("engine", "plain"):
            own = [
                "--worker",
                who,
                "--worker-folder",
                name,
                "--bundle",
                bundle,
                "--threads",
                str(args.threads),
                "--repeat",
                str(args.repeat),
                "--device",
                args.device,
            ]
            environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(
                [sys.executable, __file__, *own], env=environment, capture_output=True, encoding="utf-8", check=False
            )
            if done.returncode:
                raise SystemExit(f"{who}: {done.stderr.strip().splitlines()[-1]}")
            results[who] = json.loads((folder / f"{who}.json").read_text(encoding="utf-8"))
        engine, plain = (np.load(folder / f"{who}.npy") for who in ("engine", "plain"))
        whole = end_to_end(path, args.threads)
    return {
        "study": title,
        "frames": int(frames.shape[0]),
        "shape": list(frames.shape[1:]),
        "dtype": str(frames.dtype),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
        "threads": args.threads,
        **results,
        "dice": dice(engine, plain),
        "dice_of_largest_part": dice(heart_only(engine), heart_only(plain)),
        "speed_up": results["plain"]["seconds_best"] / results["engine"]["seconds_best"],
        "end_to_end": whole,
        "import_seconds": {
            "CardioPrecisionLib": import_seconds("import CardioPrecisionLib"),
            "CardioPrecisionLib.fronts.cli": import_seconds("import CardioPrecisionLib.fronts.cli"),
        },
    }


def show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    i, j, k = report["shape"]
    table = Table(title=f"{report['frames']} frames of {i} x {j} x {k}, {report['study']}, {report['threads']} threads")
    for column in ("", "this engine", "plain MONAI"):
        table.add_column(column, justify="left" if not column else "right")
    engine, plain = report["engine"], report["plain"]
    for title, key, digits in (
        ("inference, s", "seconds_best", 2),
        ("imports and loading the model, s", "load_seconds", 2),
        ("peak memory, MiB", "peak_mib", 0),
        ("peak above the start, MiB", "peak_above_start_mib", 0),
    ):
        table.add_row(title, f"{engine[key]:.{digits}f}", f"{plain[key]:.{digits}f}")
    table.add_row("precision", engine["record"]["precision"], "float32")
    console = Console()
    console.print(table)
    console.print(f"{report['speed_up']:.1f} times as fast")
    for title, key in (("all labels", "dice"), ("largest connected part", "dice_of_largest_part")):
        agreement = ", ".join(f"label {c} {v:.4f}" for c, v in report[key].items())
        console.print(f"Dice between the two, {title}: {agreement or 'both are empty'}")
    whole = report["end_to_end"]
    console.print(
        "cardioprecision lv-function, from start to report: "
        + (f"{whole['seconds']:.1f} s" if "seconds" in whole else f"skipped, {whole['skipped']}")
    )
    console.print(", ".join(f"import {name}: {1000 * v:.0f} ms" for name, v in report["import_seconds"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", help="a cine short-axis study (default: the synthetic demo patient)")
    parser.add_argument("--bundle", help="folder of the bundle (default: the shipped one)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=2, help="the best of so many runs counts")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, help="compare on so many frames only; the whole command takes them all")
    parser.add_argument("-o", "--output", help="also write the report as JSON")
    parser.add_argument("--worker", choices=("engine", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--worker-folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    # The benchmark runs the members on the person's behalf who started it; the licence is shown, and not remembered.
    os.environ.setdefault("CARDIOPRECISION_ACCEPT_LICENSES", "all")
    if args.worker:
        worker(args)
        return
    print("The members are licensed CC BY-NC-SA 4.0; running this benchmark accepts that for this run.")
    report = compare(args)
    show(report)
    if args.output:
        target = Path(args.output)
        temporary = target.with_name(target.name + ".tmp")
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        temporary.replace(target)
        print(f"Written to {target}.")


if __name__ == "__main__":
    main()
