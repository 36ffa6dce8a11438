"""Take the trained weights of the calcium bundles over from their ``runs`` folders, with the numbers that judge them.

    python tools/calcium_bundles.py [territories] [calls]

Metadata, hashes and the tables of the cards are rewritten.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "CoronaryPlaque" / "CoronaryPlaqueLib" / "bundles"
TERRITORIES, CALLS = FOLDER / "calcium_territories", FOLDER / "calcium_calls"
BEGIN, END = "<!-- evaluation -->", "<!-- /evaluation -->"


def _metadata(bundle: Path, changes: dict[str, Any], metrics: dict[str, Any] | None = None) -> None:
    file = bundle / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["cardioprecision"] |= changes
    if metrics:
        metadata["eval_metrics"] = metrics
    file.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _card(bundle: Path, text: str) -> None:
    file = bundle / "docs" / "README.md"
    before, rest = file.read_text(encoding="utf-8").split(BEGIN)
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def territories() -> None:
    runs = TERRITORIES / "runs" / "territory"
    shutil.copyfile(runs / "territory.pt", TERRITORIES / "models" / "territory.pt")
    last = json.loads((runs / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    dice = {name: value for name, value in last.items() if name not in ("step", "loss", "mean")}
    _card(TERRITORIES, _table(["class", "Dice"], [[name, f"{value:.3f}"] for name, value in dice.items()]))
    _metadata(TERRITORIES, {}, {"mean_dice": last["mean"]})


def calls() -> None:
    runs = CALLS / "runs" / "calls"
    settings = json.loads((runs / "settings.json").read_text(encoding="utf-8"))
    members = []
    for file in sorted(runs.glob("call*.pt")):
        shutil.copyfile(file, CALLS / "models" / file.name)
        members.append({"network": file.stem, "file": f"models/{file.name}"})
    _metadata(CALLS, {**settings, "members": members})
    judged = CALLS / "docs" / "evaluation.json"
    if judged.exists():
        stored = json.loads(judged.read_text(encoding="utf-8"))
        names = stored["labels"]
        rows = [[kind, *map(str, counts)] for kind, counts in stored["confusion"].items()]
        _card(
            CALLS,
            f"{stored['patients']} patients of the second generator, {stored['candidates']} candidates: "
            f"**{100 * stored['accuracy']:.1f} %** called rightly; of {stored['coronary']} coronary ones "
            f"{100 * stored['coronary_accuracy']:.1f} % in the right artery, and "
            f"{100 * stored['other_as_coronary']:.1f} % of the others called coronary.\n\n"
            + _table(["truth / called", *names], rows),
        )
        _metadata(CALLS, {}, {"accuracy": stored["accuracy"], "coronary_accuracy": stored["coronary_accuracy"]})


def main() -> int:
    from CardioPrecisionLib.bundle import registry

    for name in sys.argv[1:] or ["territories", "calls"]:
        {"territories": territories, "calls": calls}[name]()
        registry.seal({"territories": TERRITORIES, "calls": CALLS}[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
