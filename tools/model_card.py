"""Write what an evaluation measured into the cine bundle: tables of the card, intervals of the metadata, hashes.

    python tools/model_card.py EVALUATION.json

The evaluation comes from the bundle's ``configs/evaluate.yaml``; it is kept beside the card.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parents[1] / "LVFunction" / "LVFunctionLib" / "bundles" / "cine_sax_ventricles"
BEGIN, END = "<!-- evaluation -->", "<!-- /evaluation -->"
STRUCTURES = {"LV": "LV cavity", "MYO": "LV myocardium", "RV": "RV cavity"}
GROUPS = {
    "NOR": "normal",
    "DCM": "dilated cardiomyopathy",
    "HCM": "hypertrophic cardiomyopathy",
    "MINF": "infarct with low EF",
    "RV": "abnormal right ventricle",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def tables(summary: dict[str, Any]) -> str:
    everyone = summary["all"]
    keys = [f"{s}_{p}" for s in STRUCTURES for p in ("ED", "ES")]
    structure_rows = [
        [
            f"{STRUCTURES[k.split('_')[0]]}, {k.split('_')[1]}",
            f"{everyone['dice'][k]:.3f}",
            f"{everyone['hausdorff_mm'][k]:.1f} mm",
        ]
        for k in keys
    ]
    groups = [g for g in GROUPS if g in summary]
    group_rows = [
        [
            f"{GROUPS[g]} ({summary[g]['patients']})",
            f"{summary[g]['dice']['mean']:.3f}",
            f"{summary[g]['mean_absolute_error']['lv_ef']:.1f} ({summary[g]['bias']['lv_ef']:+.1f})",
            f"{summary[g]['mean_absolute_error_pct']['lv_edv']:.1f} %",
            f"{summary[g]['mean_absolute_error_pct']['lv_mass']:.1f} %",
            f"{summary[g]['mean_absolute_error']['rv_ef']:.1f} ({summary[g]['bias']['rv_ef']:+.1f})",
        ]
        for g in [*groups]
    ]
    names = list(everyone["bias"])
    unit = {n: "points" if n.endswith("_ef") else "g" if n == "lv_mass" else "mL" for n in names}
    intervals = summary["intervals"]
    error_rows = [
        [
            f"`{n}`",
            f"{everyone['mean_absolute_error'][n]:.1f} {unit[n]}",
            f"{everyone['bias'][n]:+.1f} {unit[n]}",
            f"{everyone['mean_absolute_error_pct'][n]:.1f} %" if n in everyone["mean_absolute_error_pct"] else "",
            f"{intervals['factors'][n]:.2f}",
            f"{100 * intervals['coverage_left_out'][n]:.0f} %",
        ]
        for n in names
    ]
    return "\n\n".join(
        [
            f"Mean Dice over structures and phases: **{everyone['dice']['mean']:.3f}** "
            f"({everyone['patients']} patients, 3-D per structure and phase).",
            table(["structure, phase", "Dice", "Hausdorff"], structure_rows),
            table(
                [
                    "group (patients)",
                    "mean Dice",
                    "LVEF error (bias), points",
                    "LVEDV error",
                    "mass error",
                    "RVEF error",
                ],
                group_rows,
            ),
            table(
                ["measurement", "mean abs. error", "bias", "relative", "interval factor", "left-out coverage"],
                error_rows,
            ),
            f"Intervals are nominally {100 * intervals['level']:.0f} %, calibrated on these {intervals['patients']} "
            "patients; the last column is the share of patients inside the interval that the other patients give "
            "(near the nominal level by construction; it says nothing of other scanners).",
        ]
    )


def main() -> int:
    from CardioPrecisionLib.bundle import registry

    source = Path(sys.argv[1])
    stored = json.loads(source.read_text(encoding="utf-8"))
    kept = BUNDLE / "docs" / "evaluation.json"
    if source.resolve() != kept.resolve():
        shutil.copyfile(source, kept)
    card = BUNDLE / "docs" / "README.md"
    text = card.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    card.write_text(f"{before}{BEGIN}\n{tables(stored['summary'])}\n{END}{after}", encoding="utf-8")
    file = BUNDLE / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["cardioprecision"]["intervals"] = stored["summary"]["intervals"]
    metadata["eval_metrics"] = {"mean_dice": stored["summary"]["all"]["dice"]["mean"]}
    file.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    registry.seal(BUNDLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
