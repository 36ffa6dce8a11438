"""Five diagnoses from image embeddings, from measurements, and from both, on the ACDC patients; prints the docs' table.

    python tools/acdc_table.py ACDC_FOLDER -o reference.csv
    python tools/embedding_table.py ACDC_FOLDER reference.csv -o embeddings.csv [--size 16] [--repeats 2]

Of every patient the frames at end-diastole and end-systole are embedded, each by itself, with the shipped bundle for
short-axis cine; nothing but the frames is looked at. `reference.csv` holds what the LV module measures on the reference
labels. Of the 70 patients 55 trained the network, so that this judges no model: it shows what is in an embedding.
The licence of the bundle must have been accepted.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from CardioPrecisionLib.bundle.registry import get_bundle
from CardioPrecisionLib.image import Sequence, read_image
from FusionRiskLib.embedding.encoder import Encoder
from FusionRiskLib.embedding.projection import project, projection
from FusionRiskLib.fusion.cohort_table import read_cohort
from FusionRiskLib.fusion.evaluate import evaluate
from FusionRiskLib.fusion.join_table import join_columns, write_rows
from FusionRiskLib.fusion.models import ModelConfig
from FusionRiskLib.fusion.schema import read_schema
from LVFunctionLib import acdc

BUNDLE, EMBEDDED = "cine_sax_ventricles", "embedding"
MEASURED = ("cine_cmr", "wall_thickness")
MODELS = {
    "both, late fusion": ModelConfig("late", "logistic", modalities=(*MEASURED, EMBEDDED)),
    "both, early fusion": ModelConfig("early", "logistic", modalities=(*MEASURED, EMBEDDED)),
    "embeddings": ModelConfig("early", "logistic", modalities=(EMBEDDED,)),
    "measurements": ModelConfig("early", "logistic", modalities=MEASURED),
}


def embed(folder: Path, patients: list[str], sd: bool) -> np.ndarray:
    """``(patients, features)``: both frames of every patient, one after the other."""
    encoder, rows = Encoder(get_bundle(BUNDLE), sd=sd), []
    for i, patient in enumerate(patients):
        images = [read_image(folder / f"{patient}_{phase}.nii.gz") for phase in ("ED", "ES")]
        frames = np.stack([image.array for image in images])
        rows.append(encoder.embed(Sequence.from_array(frames, images[0].affine, modality="MR"), (0, 1)))
        if (i + 1) % 10 == 0:
            print(f"{i + 1} of {len(patients)}", flush=True)
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("reference", type=Path, help="of acdc_table.py, with its .yaml beside it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE.csv")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[16], help="columns of the embedding; several are compared"
    )
    parser.add_argument("--sd", action="store_true", help="the spread of every channel as well")
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    if not asked.folder.is_dir():
        raise SystemExit(f"{asked.folder}: the ACDC patients are not here; nothing was done.")
    training, validation = acdc.split(asked.folder)
    patients = sorted([*training, *validation])
    started = time.perf_counter()
    features = embed(asked.folder, patients, asked.sd)
    print(f"{len(patients)} patients ({len(training)} of them trained the network), {features.shape[1]} features each, "
          f"embedded in {time.perf_counter() - started:.0f} s\n")  # fmt: skip
    schema = read_schema(asked.reference.with_suffix(".yaml"))
    for size in asked.size:
        values = project(features, projection(size, features.shape[1], 0))
        names = [f"{EMBEDDED}_{n:03d}" for n in range(values.shape[1])]
        rows = [[who, *(f"{v:.6g}" for v in row)] for who, row in zip(patients, values, strict=True)]
        write_rows(asked.output, ["patient_id", *names], rows)
        joined = join_columns(asked.reference, asked.output, asked.output.with_suffix(".cohort.csv"), schema.id)
        own = replace(schema, modalities={**schema.modalities, EMBEDDED: tuple(names)})
        found = evaluate(
            read_cohort(joined.output, own), MODELS, folds=5, repeats=asked.repeats, seed=0, level=None, resamples=300,
            progress=lambda share, stage: None,
        )  # fmt: skip
        print(f"| {values.shape[1]} columns | accuracy (95 % interval over patients) | AUC (macro) |")
        print("| --- | --- | --- |")
        for name, report in found.models.items():
            a, u = report.metrics["accuracy"], report.metrics["auc_macro"]
            print(f"| {name} | {a.value:.3f} ({a.low:.3f} to {a.high:.3f}) | {u.value:.3f} |")
        for name, difference in found.differences.items():
            d = difference["accuracy"]
            print(f"Late fusion against {name}: {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f}).")
        print(f"{time.perf_counter() - started:.0f} s so far\n", flush=True)


if __name__ == "__main__":
    main()
