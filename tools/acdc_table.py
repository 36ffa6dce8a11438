"""A cohort table of the ACDC patients: height, weight, and what the LV module measures on their labels or images.

    python tools/acdc_table.py ACDC_FOLDER -o table.csv                # the reference labels
    python tools/acdc_table.py ACDC_FOLDER -o table.csv --segment      # the bundle's own labels (minutes on a CPU)

`ACDC_FOLDER` holds ``patients.csv`` and ``patientNNN_{ED,ES}.nii.gz`` with ``_gt`` labels (1 RV, 2 myocardium, 3 LV).
Every patient goes through the public analysis; a row holds all rows of its ``measurements.json`` that have a value.
Beside the table a schema ``….yaml`` for `cardioprecision fusion` is written. The images' orientation is lost in these
files, so nothing here depends on it.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from CardioPrecisionLib.analysis import LabelMap, Loaded, silent
from CardioPrecisionLib.image import Sequence
from CardioPrecisionLib.measurement import Patient
from LVFunctionLib import acdc
from LVFunctionLib.segments import SEGMENTS
from LVFunctionLib.volumes import LVParameters, LVVolumes, relabel

SCHEMA = """schema: cardioprecision/cohort/1
id: patient
outcome: {{kind: multiclass, column: group, classes: [NOR, DCM, HCM, MINF, RV]}}
modalities:
  cine_cmr: [{volumes}]
  wall_thickness: [{walls}]
accept: {{{accepted}}}
"""
#: That a measurement tells the disease which it defines is no leak.
_ACCEPT = "thickness is what defines hypertrophic cardiomyopathy"
_ACCEPT_RATIO = "the size of the right ventricle is what defines its disease"
#: What the five diagnoses are told by, as ratios: numerator, denominator.
_RATIOS = {
    "rv_lv_edv_ratio": ("rv_edv", "lv_edv"),
    "rv_lv_esv_ratio": ("rv_esv", "lv_esv"),
    "wall_thickness_es_unevenness": ("wall_thickness_es_max", "wall_thickness_es_mean"),
}
#: Not a property of the heart, or the same as another row.
_LEFT_OUT = ("body_surface_area", "rv_edv_max", "rv_esv_min")


def measure(case: acdc.Case, patient: Patient, segment: bool) -> dict[str, float]:
    """The measured values of one patient by name."""
    affine = np.diag([*case.spacing, 1.0])
    images = np.stack([case.images["ED"], case.images["ES"]])
    sequence = Sequence.from_array(images, affine, modality="MR", source=case.key)
    labels = None
    if not segment:
        frames = np.stack([relabel(case.labels["ED"]), relabel(case.labels["ES"])])
        labels = LabelMap(frames, affine, SEGMENTS, {"ed": 0, "es": 1})
    parameters = LVParameters(figures=False, ed_frame=1, es_frame=2)
    result = LVVolumes().run({"cine_sax": Loaded(sequence)}, parameters, silent, patient=patient, labels=labels)
    return {
        row.name if row.site is None else f"{row.name}@{row.site}": row.value
        for row in result.measurements
        if isinstance(row.value, float) and row.name not in _LEFT_OUT
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE.csv")
    parser.add_argument("--segment", action="store_true", help="use the bundle's labels instead of the reference")
    asked = parser.parse_args()
    with (asked.folder / "patients.csv").open(encoding="utf-8") as stream:
        known = list(csv.DictReader(stream))
    rows: list[dict[str, object]] = []
    for i, entry in enumerate(known):
        height, weight = float(entry["height_cm"]), float(entry["weight_kg"])
        case = acdc.load(asked.folder, [entry["patient"]])[0]
        found = measure(case, Patient(height_cm=height, weight_kg=weight), asked.segment)
        for name, (above, below) in _RATIOS.items():
            if found.get(above) is not None and found.get(below):
                found[name] = found[above] / found[below]
        head = {"patient": entry["patient"], "group": entry["group"], "height_cm": height, "weight_kg": weight}
        rows.append(head | {name: f"{value:.6g}" for name, value in found.items()})
        if (i + 1) % 10 == 0:
            print(f"{i + 1} of {len(known)}", flush=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with asked.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
    walls = [name for name in names[4:] if name.startswith("wall_")]
    volumes = [name for name in names[4:] if name not in walls]
    said = {
        "volumes": ", ".join(volumes),
        "walls": ", ".join(walls),
        "accepted": ", ".join(
            [f"{name}: {_ACCEPT}" for name in walls]
            + [f"{name}: {_ACCEPT_RATIO}" for name in volumes if name.startswith("rv_lv_")]
        ),
    }
    asked.output.with_suffix(".yaml").write_text(SCHEMA.format(**said), encoding="utf-8")
    print(f"Written: {asked.output}, {len(rows)} patients, {len(names) - 4} measurements")


if __name__ == "__main__":
    main()
