"""A small real analysis for the tests of the fronts: the volume above a threshold in every frame."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from CardioPrecisionLib.analysis import Input, LabelMap, Loaded, Result, Segment, Table
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Sequence, read_frames
from CardioPrecisionLib.measurement import Code, Measurement, Measurements

NAME = "threshold"
TARGET = "threshold_analysis:Threshold"
_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
SEGMENTS = (
    Segment(1, "LV cavity", (0.8, 0.2, 0.2), _ANATOMY, Code("SCT", "87878005", "Left ventricle")),
    Segment(2, "LV myocardium", (0.2, 0.7, 0.2), _ANATOMY, Code("SCT", "49848007", "Left Ventricle Myocardium")),
    Segment(3, "RV cavity", (0.2, 0.4, 0.8), _ANATOMY, Code("SCT", "53085002", "Right ventricle")),
)
SCHEMES = {"cardioprecision": {1: 1, 2: 2, 3: 3}, "acdc": {3: 1, 2: 2, 1: 3}}


@dataclass(frozen=True)
class ThresholdParameters:
    """What the test analysis can do.

    Attributes
    ----------
    above : float
        Voxels above this value count.
    mode : {"measure", "nothing", "crash", "kill", "slow", "deaf", "noisy"}
        Behaviour.
    """

    above: float = 0.5
    mode: str = "measure"

    def __post_init__(self) -> None:
        if not 0 <= self.above <= 1000:
            raise InputError(f"above is {self.above:g}; it must be from 0 to 1000.")


class Threshold:
    name = NAME
    title = "Volume above a threshold"
    inputs = (Input("image", "Any image"),)
    Parameters = ThresholdParameters
    segments = SEGMENTS
    label_schemes = SCHEMES

    def load(self, role, path, progress):
        array, affine, _ = read_frames(path)
        progress(1.0, "Reading")
        return Loaded(Sequence.from_array(array, affine, source=Path(path).stem), record={"kind": "file"})

    def run(self, inputs, parameters, progress, *, patient, labels=None):
        sequence = inputs["image"].data
        if parameters.mode == "crash":
            raise RuntimeError("something broke inside")
        if parameters.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if parameters.mode == "deaf":  # does not look at the cancel file
            time.sleep(60)
        if parameters.mode == "slow":
            for n in range(600):
                progress(n / 600, "Waiting")
                time.sleep(0.05)
        if parameters.mode == "noisy":
            import logging
            import warnings

            print("a library prints")
            os.write(1, b"native code prints\n")
            os.write(2, b"native code complains\n")
            warnings.warn("a library warns", stacklevel=1)
            logging.getLogger("library").warning("a library logs")
        progress(0.5, "Measuring")
        array = labels.array if labels is not None else np.stack([f > parameters.above for f in sequence]).astype("u1")
        volumes = [float(np.count_nonzero(f) * sequence.voxel_ml) for f in array]
        if parameters.mode == "nothing":
            rows = Measurements([Measurement.missing("volume_max", "mL", "Asked for nothing.")])
        else:
            rows = Measurements(
                [
                    Measurement(
                        "volume_max",
                        max(volumes),
                        "mL",
                        low=max(volumes) * 0.9,
                        high=max(volumes) * 1.1,
                        level=0.9,
                        method="threshold",
                    )
                ]
            )
        key_frames = {"ed": int(np.argmax(volumes)), "es": int(np.argmin(volumes))}
        return Result(
            rows,
            LabelMap(array, sequence.affine, SEGMENTS, key_frames),
            [Table("volume_curve", "Volume", {"frame": list(range(len(volumes))), "ml": volumes})],
            warnings=["A test warning."],
            record={
                "models": [],
                "device": "cpu",
                "precision": "float32",
                "fallbacks": [],
                "seconds": {"measure": 0.1},
                "threshold": parameters.above,
            },
        )
