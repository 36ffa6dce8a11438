"""Pages of the documentation that are made from the code: the dictionary of measurements, and the model cards.

python tools/docs_pages.py            write them
python tools/docs_pages.py --check    say which are not current; exit code 1 if any is not
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Testing/Python"))
BUNDLES = ("LVFunction/LVFunctionLib", "CoronaryPlaque/CoronaryPlaqueLib")


def measured() -> dict[str, list[object]]:
    """Every row that an analysis of images writes, on a phantom with its true labels."""
    from CardioPrecisionLib.analysis import LabelMap, Loaded, silent
    from CardioPrecisionLib.measurement import Patient
    from CardioPrecisionLib.phantom import demo_patient
    from ccta_case import analyse, right_side, seeds_of
    from CoronaryPlaqueLib import scene_logic as calcium
    from CoronaryPlaqueLib.calcium import CalciumParameters, CalciumScore
    from CoronaryPlaqueLib.vessels import SEGMENTS as VESSELS
    from LVFunctionLib.segments import SEGMENTS
    from LVFunctionLib.volumes import LVParameters, LVVolumes

    patient = Patient(sex="female", age_years=54, height_cm=168, weight_kg=66)
    cine, scan = demo_patient().sample, calcium.sample_scan()
    lv = LVVolumes().run(
        {"cine_sax": Loaded(cine.sequence)},
        LVParameters(figures=False),
        silent,
        patient=patient,
        labels=LabelMap(cine.labels, cine.sequence.affine, SEGMENTS),
    )
    score = CalciumScore().run(
        {"cardiac_ct": Loaded(scan.image)},
        CalciumParameters(figures=False, race="white", calibration_mg_per_ml_hu=0.8),
        silent,
        patient=patient,
        labels=LabelMap(scan.labels[None], scan.image.affine, VESSELS),
    )
    plaque = analyse(right_side(), seeds_of("RCA"))
    return {
        "LV function": list(lv.measurements),
        "Coronary calcium": list(score.measurements),
        "Coronary CT angiography": list(plaque.measurements),
    }


def dictionary() -> str:
    """``docs/measurements.md``."""
    from CardioPrecisionLib.report import names
    from FusionRiskLib.scores import scores

    lines = [
        "# Dictionary of measurements",
        "",
        "<!-- made by tools/docs_pages.py: do not edit -->",
        "",
        "Names do not change. A row is a name and a site; its state is `measured`, `entered`, `not_assessable`,",
        "`not_found` or `out_of_range`. Units are UCUM. Codes are SNOMED CT (SCT), LOINC (LN), DICOM (DCM) or RadLex.",
        "",
        "The rows are those that runs on the synthetic patients write. Rows and sites that only some studies have are",
        "not listed: `agatston_score_3mm` (thin slices), `cad_rads_modifiers`, further vessels of a plaque row.",
    ]
    for title, rows in measured().items():
        lines += ["", f"## {title}", "", "| name | meaning | unit | sites | code |", "|---|---|---|---|---|"]
        found: dict[str, list] = {}
        for row in rows:
            found.setdefault(row.name, []).append(row)
        for name, those in found.items():
            first = those[0]
            code = f"{first.code.scheme} {first.code.value}" if first.code else ""
            sites = _sites(row.site for row in those)
            lines.append(f"| `{name}` | {names.title_of(name)} | {_unit(first.unit)} | {sites} | {code} |")
    lines += ["", "## Risk scores", "", "| name | score | unit |", "|---|---|---|"]
    lines += [f"| `{name}` | {one.title} | {_unit(one.unit)} |" for name, one in scores().items()]
    return "\n".join(lines) + "\n"


def _unit(unit: str) -> str:
    return "" if unit == "1" else f"`{unit}`"


def _sites(sites: Iterable[str | None]) -> str:
    """Sites in short: numbered ones as a range."""
    plain, numbered = [], {}
    for site in dict.fromkeys(sites):
        if site is None:
            plain.append("whole")
            continue
        match = re.fullmatch(r"(aha|scct|lesion)(\d+)", site)
        if match:
            numbered.setdefault(match[1], []).append(match[2])
        else:
            plain.append(f"`{site}`")
    return ", ".join([*plain, *(f"`{kind}{n[0]}` …" for kind, n in numbered.items())])


def cards() -> str:
    """``docs/models.md``: the cards of the bundles, one after the other."""
    parts = [
        "# Models\n\n<!-- made by tools/docs_pages.py: do not edit -->\n\nMONAI bundles that come with the modules. "
        "`cardioprecision models list` and `verify` show and check them.\n"
    ]
    for folder in BUNDLES:
        for card in sorted((ROOT / folder / "bundles").glob("*/docs/README.md")):
            text = card.read_text(encoding="utf-8").strip()
            text = re.sub(r"(?m)^(#+) ", r"#\1 ", text)  # one level down
            text = re.sub(r"\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)  # files beside the card are not here
            parts.append(text + "\n")
    return "\n".join(parts)


PAGES = {"measurements.md": dictionary, "models.md": cards}


def main(arguments: list[str] | None = None) -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, only say what is not current")
    check = parser.parse_args(arguments).check
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / "docs" / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                temporary = path.with_suffix(".part")
                temporary.write_text(text, encoding="utf-8")
                temporary.replace(path)
    if check and stale:
        print(f"not current: {', '.join(stale)}; run: python tools/docs_pages.py", file=sys.stderr)
    return int(bool(check and stale))


if __name__ == "__main__":
    sys.exit(main())
