"""One user's study: what is open, what runs, what was found. The page shows its state and calls its methods."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import subprocess
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from trame.app import TrameApp
from trame_slicer import module as trame_slicer_module
from trame_slicer.app.logic.segmentation import SegmentEditorLogic
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories

from ... import scene as mrml
from ...analysis import Loaded
from ...errors import Cancelled, InputError
from ...replacing import replacing
from ...scene_batch import SceneBatch, remove_node, remove_run
from ...scene_child import make_job, record_details
from ...scene_study import ANALYSES, add_image, read_study
from ...widget_run import ChildRun, follow, why_ended
from ...widget_scene import keep_edits, load_run, redraw_slices, runs_of, select_frame, shown_rows, shown_value
from ..child import start_child
from . import guard
from .page import Page
from .risk import RiskForm

#: Role -> its analysis' front to the scene, and the bundle whose licence is asked for.
ROLES = {
    "cine_sax": ("LVFunctionLib.scene_logic", "cine_sax_ventricles"),
    "cardiac_ct": ("CoronaryPlaqueLib.scene_logic", ""),
    "ccta": ("CoronaryPlaqueLib.scene_ccta", ""),
}
TITLES = {"cine_sax": "Cine short axis", "cardiac_ct": "CT without contrast", "ccta": "Coronary CT angiogram"}
#: Width and middle of the grey window, HU.
_WINDOWS = {"cardiac_ct": (600, 100), "ccta": (900, 250)}
_SHOWN_ROWS = 60


class Viewer(TrameApp):
    """See the module.

    Parameters
    ----------
    server : trame server
    folder : path
        The session's own: ``uploads`` and ``runs``.
    data : path, optional
        What a user may open.
    """

    def __init__(self, server: Any, folder: Path, data: Path | None):
        super().__init__(server)
        self.folder, self.data = folder, data
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        self.server.enable_module(trame_slicer_module)
        self.slicer = SlicerApp()
        self.scene = self.slicer.scene
        self._sequences = slicer.vtkSlicerSequencesLogic()
        self._sequences.SetMRMLScene(self.scene)
        register_rca_factories(self.slicer.view_manager, self.server)
        self.layouts = LayoutManager(self.scene, self.slicer.view_manager, self.server)
        self.layouts.register_layout_dict(LayoutManager.default_grid_configuration())
        self.editor = SegmentEditorLogic(self.server, self.slicer)
        self.input: Any = None
        self.points: Any = None
        self._run: ChildRun | None = None
        self._task: Any = None
        self.state.update(
            {
                "trame__title": "CardioPrecision",
                "role": "cine_sax",
                "roles": [{"title": title, "value": role} for role, title in TITLES.items()],
                "sources": self._sources(),
                "source": None,
                "opened": "",
                "busy": False,
                "running": False,
                "percent": 0,
                "message": "Open a study, or the synthetic patient.",
                "bad": False,
                "rows": [],
                "headline": "",
                "warnings": [],
                "run_id": "",
                "frames": 0,
                "frame": 1,
                "key_frames": {},
                "editing": False,
                "tab": "images",
                "licence": "",
                "licence_name": "",
                "dark": False,
                "drawer": True,
            }
        )
        self.risk = RiskForm(self)
        self.page = Page(self)
        self.editor.set_ui(self.page.segment_editor)
        drawn = self.editor.data.segment_display  # its sliders begin at nothing, which would hide the labels
        drawn.border_thickness.value, drawn.opacity_2d.value, drawn.opacity_3d.value, drawn.show_3d = 2, 0.5, 1.0, True
        self.layouts.set_layout("Axial Primary")
        self.state.change("frame")(self._on_frame)
        self.state.change("editing")(self._on_editing)

    # -- saying --------------------------------------------------------------------------------------------------------
    def say(self, text: str, bad: bool = False) -> None:
        with self.state:
            self.state.message, self.state.bad = text, bad

    def later(self, milliseconds: int, function: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(milliseconds / 1000, function)

    # -- opening -------------------------------------------------------------------------------------------------------
    def _sources(self) -> list[dict[str, str]]:
        """What can be opened: uploads first, then what lies in the data folder."""
        found = []
        for kind, root in (("upload", self.folder / "uploads"), ("data", self.data)):
            if root is not None and root.is_dir():
                names = sorted(p.name for p in root.iterdir() if not p.name.startswith("."))
                found += [{"title": name, "value": f"{kind}/{name}"} for name in names if not name.endswith(".part")]
        return found

    def refresh_sources(self, chosen: str = "") -> None:
        with self.state:
            self.state.sources = self._sources()
            if chosen:
                self.state.source = f"upload/{chosen}"

    async def open_sample(self) -> None:
        """The synthetic patient for the chosen role."""
        await self._open(self.state.role, None)

    async def open_source(self) -> None:
        """What was chosen in the list."""
        kind, _, name = str(self.state.source or "").partition("/")
        try:
            root = {"upload": self.folder / "uploads", "data": self.data}.get(kind)
            if root is None or not name:
                raise InputError("Choose what to open first.")
            path = guard.inside(root, name)
        except InputError as error:
            self.say(str(error), bad=True)
            return
        await self._open(self.state.role, path)

    async def _open(self, role: str, path: Path | None) -> None:
        if self.state.busy or self._run is not None:
            return
        with self.state:
            self.state.busy = True
            self.state.message, self.state.bad = "Opening …", False
        await asyncio.sleep(0)  # let the page show it
        try:
            loaded, points = await asyncio.to_thread(_read, role, path)
            self._clear()
            self._put(role, loaded, points, path)
        except InputError as error:
            self.say(str(error), bad=True)
        except Exception as error:
            self.say(f"This could not be opened ({type(error).__name__}).", bad=True)
        finally:
            with self.state:
                self.state.busy = False

    def _clear(self) -> None:
        """Take the last study and its runs out of the scene."""
        self._stop_editing()
        for run in runs_of(self.scene):
            if run.analysis != "risk":
                remove_run(self.scene, run.run_id)
        for node in (self.input, self.points):
            if node is not None:
                sequence = mrml.sequence_node_of(node)
                browser = mrml.browser_of_sequence(sequence) if sequence is not None else None
                for each in (browser, sequence, node):
                    if each is not None:
                        remove_node(self.scene, each)
        self.input = self.points = None

    def _put(self, role: str, loaded: Loaded, points: Any, path: Path | None) -> None:
        title = path.name if path is not None else f"Synthetic {TITLES[role].lower()}"
        with SceneBatch(self.scene, uuid.uuid4().hex) as batch:
            self.input = add_image(batch, role, loaded.data, "Study")
            self.points = points(batch) if points is not None else None
        if self.input.GetDisplayNode() is None:
            self.input.CreateDefaultDisplayNodes()
        self.slicer.display_manager.show_volume_in_slice_background(self.input)
        if role in _WINDOWS:
            self.input.GetDisplayNode().SetAutoWindowLevel(False)
            self.input.GetDisplayNode().SetWindowLevel(*_WINDOWS[role])
        self._align(loaded.data)
        frames = loaded.data.n_frames if role == "cine_sax" else 0
        with self.state:
            self.state.opened, self.state.frames, self.state.frame = title, frames, 1
            self.state.role, self.state.message, self.state.bad = role, f"{title} is open.", False
            self.state.tab = "images"
        self._show(None)
        with self.state:
            self.state.warnings = list(loaded.warnings)

    def _align(self, image: Any) -> None:
        """Turn the slice views into the planes of the voxels: a short axis is not along the body."""
        axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
        for view, plane in zip(self.slicer.view_manager.get_slice_views(), _planes(axes), strict=False):
            node = view.get_view_node()
            node.GetSliceToRAS().DeepCopy(mrml.array_to_matrix(plane))
            node.UpdateMatrices()
            view.fit_view_to_content()
        self.draw()

    def draw(self) -> None:
        """Draw all views again, with what a batch has added."""
        redraw_slices(self.scene)
        for view in [*self.slicer.view_manager.get_slice_views(), *self.slicer.view_manager.get_threed_views()]:
            view.schedule_render()

    # -- running -------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Run the analysis of the open study, or cancel the one that runs."""
        if self._run is not None:
            self._run.cancel()
            self.say("Cancelling …")
            return
        if self.input is None:
            self.say("Open a study first.", bad=True)
            return
        bundle = ROLES[self.state.role][1]
        if bundle and not self._accepted(bundle):
            return
        self._start(None, [bundle] if bundle else [])

    async def measure_again(self) -> None:
        """Measure the segmentation as it is now, without the model."""
        run = self._shown()
        if run is None or self._run is not None or run.segmentation is None:
            return
        self._stop_editing()
        self._start(run, [])

    def accept_licence(self) -> None:
        from ...bundle import licence

        licence.accept(self.state.licence)
        with self.state:
            self.state.licence = ""
        self._task = asyncio.ensure_future(self.run())

    def decline_licence(self) -> None:
        with self.state:
            self.state.licence = ""
        self.say(
            "Without the licence of its weights the model cannot be used; your own labels can be measured.", bad=True
        )

    def _accepted(self, name: str) -> bool:
        from ...bundle import licence, registry

        bundle = registry.get_bundle(name)
        if licence.is_accepted(bundle):
            return True
        with self.state:
            self.state.licence, self.state.licence_name = name, bundle.licence_name
        return False

    def _start(self, earlier: Any, licences: list[str]) -> None:
        analysis, border = ANALYSES[self.state.role], importlib.import_module(ROLES[self.state.role][0])
        node, labels = self.input, earlier.segmentation if earlier is not None else None

        def job(folder: Path) -> dict[str, Any]:
            def export(target: Path) -> Any:
                if analysis == "plaque":
                    seeds = [self.points] if self.points is not None else []
                    return border.export_job(self.scene, node, seeds, target, labels)
                return border.export_job(self.scene, node, target, labels)

            made = make_job(analysis, export, folder, {}, self.risk.patient() or None)
            return made | ({"accept_licenses": licences} if licences else {})

        self.launch(job, border, node, earlier.run_id if earlier is not None else None, self._on_end)

    def launch(self, job: Any, border: Any, node: Any, replaces: str | None, on_end: Any) -> None:
        """Start a child process; its results come into the scene, its folder is kept for download."""

        def load(output: Path) -> Any:
            run_id = uuid.uuid4().hex
            result = load_run(
                self.scene,
                lambda name: border.load_results(self.scene, output, node, name),
                run_id,
                input_node=node,
                details=record_details(output),
                replaces=replaces,
            )
            shutil.copytree(output, self.folder / "runs" / run_id)
            return result

        try:
            self._run = ChildRun(job, load, self._on_progress, on_end, launch=self._launch, later=self.later)
        except InputError as error:
            self.say(str(error), bad=True)
            return
        with self.state:
            self.state.running, self.state.percent, self.state.message, self.state.bad = True, 0, "Starting …", False

    def _launch(self, command: list[str], variables: dict[str, str], on_line: Any, on_exit: Any) -> Any:
        process = start_child(command, variables, stderr=subprocess.STDOUT)
        follow(process, on_line, on_exit, self.later)
        return process

    def _on_progress(self, fraction: float, stage: str) -> None:
        with self.state:
            self.state.percent, self.state.message = round(100 * fraction), stage

    def ended(self, error: BaseException | None) -> bool:
        """What both kinds of runs do at their end; whether it was a good one."""
        self._run = None
        with self.state:
            self.state.running = False
        if error is not None:
            self.say(why_ended(error), bad=not isinstance(error, Cancelled))
            return False
        self.say("Done.")
        return True

    def _on_end(self, result: Any, error: BaseException | None) -> None:
        if self.ended(error):
            self._show(result.run_id)

    @property
    def idle(self) -> bool:
        return self._run is None

    # -- showing -------------------------------------------------------------------------------------------------------
    def _shown(self) -> Any:
        return self._found(self.state.run_id)

    def _found(self, run_id: str | None) -> Any:
        return next((run for run in runs_of(self.scene) if run.run_id == run_id), None)

    def _show(self, run_id: str | None) -> None:
        run = self._found(run_id)
        rows = shown_rows(run.table) if run is not None else []
        with self.state:
            self.state.run_id = run_id or ""
            self.state.rows = [vars(row) for row in rows[:_SHOWN_ROWS]]
            self.state.headline = _headline(run, self.state.role) if run is not None else ""
            self.state.warnings = run.warnings if run is not None else []
            self.state.key_frames = {n: run.frame(n) for n in ("ed", "es") if run.frame(n)} if run is not None else {}
        if run is None or run.segmentation is None:
            return
        segmentation = run.segmentation
        if segmentation.GetDisplayNode() is None:
            segmentation.CreateDefaultDisplayNodes()
        segmentation.GetDisplayNode().SetVisibility(True)
        segmentation.GetDisplayNode().SetPreferredDisplayRepresentationName2D("Binary labelmap")
        self.slicer.segmentation_editor.set_active_segmentation(segmentation, self.input)
        self.slicer.segmentation_editor.show_3d(True)
        for view in self.slicer.view_manager.get_threed_views():
            view.reset_view()
        self.draw()

    def _on_frame(self, frame: Any, **_state: Any) -> None:
        sequence = mrml.sequence_node_of(self.input) if self.input is not None else None
        browser = mrml.browser_of_sequence(sequence) if sequence is not None else None
        if browser is not None and 1 <= int(frame) <= browser.GetNumberOfItems():
            browser.SetSelectedItemNumber(int(frame) - 1)
            self.draw()

    def go_to(self, name: str) -> None:
        """Show a key frame."""
        run = self._shown()
        if run is not None and run.frame(name):
            select_frame(run, run.frame(name))
            with self.state:
                self.state.frame = run.frame(name)

    def remove(self) -> None:
        """Take the shown run away, here and on the disk."""
        run = self._shown()
        if run is not None:
            self._stop_editing()
            remove_run(self.scene, run.run_id)
            shutil.rmtree(self.folder / "runs" / run.run_id, ignore_errors=True)
            self._show(None)
            self.say("The run was removed.")

    def _on_editing(self, editing: bool, **_state: Any) -> None:
        run = self._shown()
        if editing and run is not None and run.segmentation is not None:
            keep_edits(run)
        elif not editing:
            self.slicer.segmentation_editor.deactivate_effect()

    def _stop_editing(self) -> None:
        self.slicer.segmentation_editor.deactivate_effect()
        with self.state:
            self.state.editing = False

    def packed(self, run: Path) -> Path:
        """The output folder of a run as a zip archive."""
        target = self.folder / f"cardioprecision-{run.name[:8]}.zip"
        with replacing(target) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(run.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(run))
        return target


#: Role -> what the headline says, by name and site of a measurement.
_HEADLINES = {
    "cine_sax": (("Ejection fraction", "lv_ef", None),),
    "cardiac_ct": (("Agatston score", "agatston_score", "total"), ("CAC-DRS", "cac_drs", None)),
    "ccta": (("CAD-RADS", "cad_rads", None), ("largest stenosis", "diameter_stenosis", None)),
}


def _headline(run: Any, role: str) -> str:
    """The main numbers of a run."""
    return ", ".join(f"{title} {shown_value(run.table, name, site)}" for title, name, site in _HEADLINES[role])


def _planes(axes: Any) -> list[Any]:
    """Three planes along the axes of a grid, as slice to RAS: left on the right, anterior or head up.

    The first is the plane in which the slices lie.
    """
    planes = []
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pair = sorted((axes[:, one], axes[:, other]), key=lambda axis: -abs(axis[0]))
        across, up = pair[0] * (-1 if pair[0][0] > 0 else 1), pair[1] * (-1 if pair[1][1] + pair[1][2] < 0 else 1)
        plane = np.eye(4)
        plane[:3, :3] = np.stack([across, up, np.cross(across, up)], axis=1)
        planes.append(plane)
    return planes


def _read(role: str, path: Path | None) -> tuple[Loaded, Callable[[SceneBatch], Any] | None]:
    """Read a study, or compute the synthetic one, with what adds its points; runs in a thread of its own."""
    return (read_study(role, path), None) if path is not None else _sample(role)


def _sample(role: str) -> tuple[Loaded, Callable[[SceneBatch], Any] | None]:
    if role == "cine_sax":
        from ...phantom import demo_patient

        return Loaded(demo_patient().sample.sequence), None
    if role == "cardiac_ct":
        from CoronaryPlaqueLib.scene_logic import sample_scan

        return Loaded(sample_scan().image), None
    from CoronaryPlaqueLib.scene_ccta import add_points, sample_angiogram

    made = sample_angiogram()
    return Loaded(made.image), lambda batch: add_points(batch, made)
