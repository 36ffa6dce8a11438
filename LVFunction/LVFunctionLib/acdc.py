"""Reading the ACDC training patients (Bernard et al., IEEE TMI 2018;37:2514) for training and evaluation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from CardioPrecisionLib.bundle.training import LabelledStack

#: Within each diagnosis group, sorted by number, the patients at these places are the validation split.
VALIDATION_PLACES = (2, 7, 12)
LABELS = {1: "RV", 2: "MYO", 3: "LV"}


@dataclass(frozen=True)
class Case:
    """One ACDC patient at both phases; arrays are ``(i, j, k)``."""

    key: str
    group: str
    spacing: tuple[float, float, float]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def split(folder: str | Path) -> tuple[list[str], list[str]]:
    """Training and validation patients: three of each of the five diagnosis groups are held out."""
    groups: dict[str, list[str]] = {}
    with open(Path(folder) / "patients.csv", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            groups.setdefault(row["group"], []).append(row["patient"])
    training: list[str] = []
    validation: list[str] = []
    for patients in groups.values():
        for place, patient in enumerate(sorted(patients)):
            (validation if place in VALIDATION_PLACES else training).append(patient)
    return sorted(training), sorted(validation)


def load(folder: str | Path, patients: Sequence[str]) -> list[Case]:
    """Read the named patients."""
    import SimpleITK as sitk

    folder = Path(folder)
    with open(folder / "patients.csv", encoding="utf-8") as f:
        groups = {row["patient"]: row["group"] for row in csv.DictReader(f)}
    cases = []
    for patient in patients:
        images, labels, spacing = {}, {}, (1.0, 1.0, 1.0)
        for phase in ("ED", "ES"):
            image = sitk.ReadImage(str(folder / f"{patient}_{phase}.nii.gz"))
            label = sitk.ReadImage(str(folder / f"{patient}_{phase}_gt.nii.gz"))
            images[phase] = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
            labels[phase] = sitk.GetArrayFromImage(label).transpose(2, 1, 0).astype(np.uint8)
            spacing = image.GetSpacing()
        cases.append(Case(patient, groups[patient], spacing, images, labels))
    return cases


def stacks(folder: str | Path, patients: Sequence[str]) -> list[LabelledStack]:
    """The named patients as training stacks, normalised as at inference."""
    out = []
    for case in load(folder, patients):
        for phase, image in case.images.items():
            low, high = np.percentile(image, (0.5, 99.5))
            unit = np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float16)
            out.append(
                LabelledStack(
                    f"{case.key}_{phase}",
                    np.ascontiguousarray(unit.transpose(2, 0, 1)),
                    np.ascontiguousarray(case.labels[phase].transpose(2, 0, 1)),
                    case.spacing[:2],
                )
            )
    return out


class DiceCheck:
    """Mean Dice per structure of a network on whole slices, without post-processing: to watch a training."""

    def __init__(self, stacks: Sequence[LabelledStack], spacing_mm: float = 1.4, multiple: int = 16):
        self.stacks, self.spacing_mm, self.multiple = stacks, spacing_mm, multiple

    def __call__(self, network: torch.nn.Module) -> dict[str, float]:
        scores: dict[str, list[float]] = {n: [] for n in LABELS.values()}
        device = next(network.parameters()).device
        for stack in self.stacks:
            x = torch.from_numpy(stack.image.astype(np.float32))
            x = torch.stack([torch.cat([x[:1], x[:-1]]), x, torch.cat([x[1:], x[-1:]])], 1)
            native = x.shape[-2:]
            size = [
                max(self.multiple, round(n * s / self.spacing_mm / self.multiple) * self.multiple)
                for n, s in zip(native, stack.spacing, strict=True)
            ]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            with torch.autocast(device.type, torch.bfloat16):
                p = network(x.to(device, memory_format=torch.channels_last))
            p = F.interpolate(p.float().softmax(1), size=native, mode="bilinear", align_corners=False)
            label = p.argmax(1).cpu().numpy()
            for value, name in LABELS.items():
                a, b = label == value, stack.label == value
                total = a.sum() + b.sum()
                scores[name].append(2 * (a & b).sum() / total if total else 1.0)
        out = {n: round(float(np.mean(v)), 4) for n, v in scores.items()}
        out["mean"] = round(float(np.mean(list(out.values()))), 4)
        return out
