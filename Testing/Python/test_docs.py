"""The documentation: it builds without a warning, its generated pages are current, its walk-through is followed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from flat_layout import ROOT

DOCS = ROOT / "docs"


def tool():
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "tools/docs_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current():
    assert tool().main(["--check"]) == 0


def test_a_page_that_is_not_current_is_found(tmp_path, monkeypatch, capsys):
    pages = tool()
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGES", {"a.md": lambda: "new\n"})
    assert pages.main(["--check"]) == 1
    assert "a.md" in capsys.readouterr().err
    assert pages.main([]) == 0
    assert pages.main(["--check"]) == 0
    (tmp_path / "docs/a.md").write_text("old\n")
    assert pages.main(["--check"]) == 1


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="needs mkdocs-material (extra 'docs')")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        text = (tmp_path / "site" / f"{page.stem}.html").read_text(encoding="utf-8")
        assert not re.search(r'(src|href)="https?://(fonts|cdn|unpkg)', text), (
            page.name
        )  # nothing loaded from elsewhere
        assert 'data-md-component="source"' not in text, page.name  # the theme would ask GitHub about it


def test_the_number_of_scores_is_that_of_the_code():
    from FusionRiskLib.scores import scores

    for page, words in (("README.md", "risk scores"), ("docs/index.md", "published scores")):
        assert f"{len(scores())} {words}" in (ROOT / page).read_text(encoding="utf-8"), page


def test_every_page_is_in_the_contents():
    listed = set(re.findall(r"(?m)(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {page.name for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_pictures_are_small_and_used():
    text = "".join(p.read_text(encoding="utf-8") for p in [*DOCS.glob("*.md"), ROOT / "README.md"])
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < 200_000, picture.name
        assert picture.name in text, f"{picture.name} is shown nowhere"


def test_commands_that_the_pages_name_exist():
    from CardioPrecisionLib.fronts import cli
    from typer.main import get_command

    known = set(get_command(cli.app).commands)
    text = "".join(p.read_text(encoding="utf-8") for p in [*DOCS.glob("*.md"), ROOT / "README.md"])
    named = set(re.findall(r"(?m)^cardioprecision ([a-z][a-z-]+)", text))
    assert named
    assert named <= known | {"bright"}, named - known


def test_the_walk_through_is_followed(tmp_path, monkeypatch):
    """The code of add-an-analysis.md, registered, on a phantom through the command line."""
    from CardioPrecisionLib.fronts import registry
    from CardioPrecisionLib.image import write_nifti

    page = (DOCS / "add-an-analysis.md").read_text(encoding="utf-8")
    code, line = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "bright_analysis.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    exec(line, {"register": registry.register})
    try:
        frames = np.zeros((3, 10, 10, 4), np.float32)
        frames[1, :5, :4, :2] = 200
        write_nifti(tmp_path / "image.nii.gz", frames, np.diag([2.0, 2.0, 5.0, 1.0]), 40.0)
        # The commands are made of the registry when the module is loaded.
        script = (
            "import sys; from CardioPrecisionLib.fronts import registry; "
            f"registry.{line.strip()}; from CardioPrecisionLib.fronts import cli; sys.exit(cli.main())"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, "bright", "image.nii.gz", "-o", "OUT", "--above", "100"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        document = json.loads((tmp_path / "OUT/measurements.json").read_text(encoding="utf-8"))
        [row] = document["measurements"]
        assert (row["name"], row["unit"], row["state"]) == ("bright_volume", "mL", "measured")
        assert row["value"] == pytest.approx(40 * 20 / 1000)
        assert (tmp_path / "OUT/report.html").is_file()
        assert json.loads((tmp_path / "OUT/run.json").read_text(encoding="utf-8"))["parameters"]["above"] == 100
    finally:
        registry._ENTRIES.pop("bright", None)
