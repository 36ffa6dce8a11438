"""The clinical form of the page: its rows as state, checked as they are typed; scores and plan of a run."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from FusionRiskLib.clinical.entry import Typed, check, from_rows, shown
from FusionRiskLib.clinical.form import form
from FusionRiskLib.clinical.record import Record

from ...scene_child import make_job
from ...widget_scene import plain_rows, runs_of, shown_rows

if TYPE_CHECKING:
    from .viewer import Viewer

_BORDER = "FusionRiskLib.scene_logic"


class RiskForm:
    """See the module."""

    def __init__(self, viewer: Viewer):
        self.viewer, self.state = viewer, viewer.state
        self.groups = form()["groups"]
        self.items = {item["name"]: item for group in self.groups for item in group["fields"]}
        self.node: Any = None
        for name, item in self.items.items():
            self.state[f"value_{name}"] = ""
            self.state[f"unit_{name}"] = (item.get("units") or [""])[0]
            self.state[f"problem_{name}"] = ""
            self.state.change(f"value_{name}", f"unit_{name}")(self._checker(name))
        self.state.update({"plan": [], "scores": [], "plan_counts": "", "risk_run_id": ""})

    def _typed(self, name: str) -> Typed:
        unit = self.state[f"unit_{name}"] or None
        value = self.state[f"value_{name}"]
        return Typed("" if value is None else str(value), unit)

    def _checker(self, name: str) -> Any:
        def changed(**_state: Any) -> None:
            checked = check(name, self._typed(name))
            odd = "This is unusual: please check it." if checked.unusual else ""
            self.state[f"problem_{name}"] = checked.problem or odd

        return changed

    def record(self) -> tuple[Record, dict[str, str]]:
        """The record that stands in the form, and what in it cannot be."""
        return from_rows({name: self._typed(name) for name in self.items})

    def patient(self) -> dict[str, Any]:
        """What an analysis of images takes from the form."""
        record, _ = self.record()
        names = ("sex", "age_years", "height_cm", "weight_kg", "race")
        return {name: record.value(name) for name in names if record.value(name) is not None}

    def fill_sample(self) -> None:
        """The synthetic patient's record."""
        from FusionRiskLib.clinical.record import record_from_values

        record = record_from_values(importlib.import_module(_BORDER).SAMPLE, "the sample", "synthetic")
        with self.state:
            for name, item in self.items.items():
                typed = shown(record, name)
                self.state[f"value_{name}"] = typed.text
                self.state[f"unit_{name}"] = typed.unit or (item.get("units") or [""])[0]

    async def run(self) -> None:
        """Score the record with the measurements of the open study."""
        viewer = self.viewer
        if not viewer.idle:
            viewer.say("Another run goes on; cancel it or wait.", bad=True)
            return
        record, problems = self.record()
        if problems:
            viewer.say(next(iter(problems.values())), bad=True)
            return
        if not record.entries:
            viewer.say("The form is empty; enter at least sex and age.", bad=True)
            return
        border = importlib.import_module(_BORDER)
        if self.node is None:
            self.node = border.add_record(viewer.scene, record)
        border.set_record(self.node, record)

        def job(folder: Path) -> dict[str, Any]:
            return make_job("risk", lambda target: border.export_job(viewer.scene, self.node, target), folder, {})

        viewer.launch(job, border, self.node, self.state.risk_run_id or None, self._on_end)

    def _on_end(self, result: Any, error: BaseException | None) -> None:
        if not self.viewer.ended(error):
            return
        run = next(each for each in runs_of(self.viewer.scene) if each.run_id == result.run_id)
        plan = run.first("vtkMRMLTableNode", "Plan")
        columns = ["state", "topic", "text", "strength", "guideline", "edition", "citation"]
        rows = [dict(zip(columns, row, strict=True)) for row in plain_rows(plan, columns)]
        applying = [row for row in rows if row["state"] == "applies"]
        unknown = sum(row["state"] == "not_assessable" for row in rows)
        scores = [vars(row) for row in shown_rows(run.table)]
        with self.state:
            self.state.risk_run_id = run.run_id
            self.state.plan = applying
            self.state.plan_counts = f"{len(applying)} statements apply, {unknown} cannot be assessed."
            self.state.scores = [row for row in scores if row["state"] == "measured"]
