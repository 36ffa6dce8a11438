"""The base of the module widgets and logics in Slicer: one run at a time in a child process, and what it has found.

A module's ``.ui`` file has, beside its own, these widgets: ``applyButton``, ``progressBar``, ``statusLabel``,
``runComboBox``, ``measurementsTable``, ``warningsLabel``, ``reportButton``, ``removeRunButton``; and, where a
segmentation can be corrected, ``correctButton``, ``recomputeButton`` and ``editorCollapsibleButton``.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import uuid
from typing import Any, ClassVar

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from . import widget_qt as gui
from .errors import Cancelled, InputError
from .scene_batch import remove_run
from .scene_child import make_job, record_details
from .scene_desktop import child_options, ensure_dependencies
from .widget_run import ChildRun, why_ended
from .widget_scene import SceneRun, keep_edits, load_run, redraw_slices, runs_of, shown_rows


class AnalysisLogic(ScriptedLoadableModuleLogic):
    """Delegates to a module's ``scene_logic``; nothing is computed here."""

    #: The module as the user knows it.
    title: ClassVar[str] = ""
    #: Its front to the scene: ``"LVFunctionLib.scene_logic"``.
    border: ClassVar[str] = ""

    def sceneLogic(self, border: str | None = None) -> Any:
        """The module's front to the scene, or another one of it by name; imported when it is first used."""
        return importlib.import_module(border or self.border)

    def ensureDependencies(self, torch: bool = True) -> None:
        """Install what is missing, asking first; call it when the user starts something.

        :param torch: whether a model is needed; a reader's own labels do without.
        """
        ensure_dependencies(self.title, torch)

    def runInChild(
        self, *nodes: Any, progress: Any = None, shouldStop: Any = None, border: str | None = None, **more: Any
    ) -> Any:
        """Run in a child process, keep the application alive, wait, and load the results."""
        from .analysis import silent

        return self.sceneLogic(border).run_in_child(
            slicer.mrmlScene, *nodes, progress=progress or silent, **more, **child_options(shouldStop)
        )

    def start(
        self,
        inputNode: Any,
        export: Any,
        onProgress: Any,
        onEnd: Any,
        *,
        parameters: dict[str, Any] | None = None,
        clinical: dict[str, Any] | None = None,
        licences: list[str] | None = None,
        replaces: str | None = None,
        border: Any = None,
        names: dict[str, str] | None = None,
    ) -> ChildRun:
        """Start a child process and return at once.

        :param inputNode: what is analysed.
        :param export: ``export(folder)`` writes the nodes; returns inputs and labels of a job.
        :param onProgress: callable(fraction, stage).
        :param onEnd: callable(result, error).
        :param licences: bundles whose licence the user has accepted.
        :param replaces: id of a run that goes when this one is there.
        :param border: another front to the scene than the module's own.
        :param names: file of the job's folder -> what a message calls it.
        """
        border = border or self.sceneLogic()

        def job(folder: Any) -> dict[str, Any]:
            made = make_job(border.ANALYSIS, export, folder, parameters or {}, clinical)
            return made | ({"accept_licenses": licences} if licences else {})

        def load(output: Any) -> Any:
            if inputNode.GetScene() is not slicer.mrmlScene:
                raise InputError(_("The input was removed from the scene while it was analysed; there is no result."))
            return self.load(
                inputNode,
                lambda run_id: border.load_results(slicer.mrmlScene, output, inputNode, run_id),
                replaces=replaces,
                folder=output,
                details=record_details(output),
            )

        return ChildRun(
            job,
            load,
            onProgress,
            onEnd,
            launch=gui.launch,
            later=gui.later,
            python=shutil.which("PythonSlicer"),
            names=names,
        )

    def load(self, inputNode: Any, load: Any, replaces: str | None = None, **more: Any) -> Any:
        """Put a run into the scene in one batch.

        :param load: ``load(run_id)`` adds the results.
        :param replaces: id of the run that goes when this one is there.
        """
        return load_run(slicer.mrmlScene, load, uuid.uuid4().hex, input_node=inputNode, replaces=replaces, **more)

    def removeRun(self, result: Any) -> int:
        """Take everything that a run has added out of the scene.

        :param result: what a run returned, or its id.
        """
        return remove_run(slicer.mrmlScene, result if isinstance(result, str) else result.run_id)


class AnalysisWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Apply becomes Cancel; progress and stage; results in one batch; safe when the scene or the module goes."""

    #: The module's analyses, as in the registry.
    analyses: ClassVar[tuple[str, ...]] = ()
    #: Whether all runs are shown together, in one table, where none is chosen.
    together: ClassVar[bool] = False
    #: Bundles whose licence may have to be accepted.
    bundles: ClassVar[tuple[str, ...]] = ()
    #: Parameters that belong to one patient beside sex, age, height and weight, with what says "unknown".
    unknownPatient: ClassVar[dict[str, Any]] = {}

    def __init__(self, parent: Any = None):
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.ui: Any = None
        self._parameterNode: Any = None
        self._guiTag: Any = None
        self._run: ChildRun | None = None
        self._runs: list[SceneRun] = []
        self._measuringAgain = False
        self.editor: Any = None
        # Last: without a parent it sets the widget up.
        ScriptedLoadableModuleWidget.__init__(self, parent)

    # -- what a module says of itself ----------------------------------------------------------------------------------
    def makeLogic(self) -> AnalysisLogic:
        """A new logic of the module."""
        raise NotImplementedError

    def connectWidgets(self) -> None:
        """Connect what the module's own widgets do; called once."""

    def nameChoices(self) -> None:
        """Give choices texts for people; called whenever the parameter node was connected."""

    def whyNotApply(self) -> str:
        """Why the analysis cannot be started, for the tooltip; empty where it can."""
        raise NotImplementedError

    def applyTexts(self) -> tuple[str, str]:
        """Text and tooltip of the Apply button."""
        return _("Apply"), _("Start the analysis in a process of its own.")

    def needsModel(self) -> bool:
        """Whether what would be started needs torch."""
        return True

    def launchRun(self, licences: list[str], **how: Any) -> ChildRun:
        """Start the run that the parameter node describes, reporting to `onProgress` and `onRunEnd`."""
        run: ChildRun = self.logic.startRun(self._parameterNode, self.onProgress, self.onRunEnd, licences, **how)
        return run

    def showRun(self, run: SceneRun | None) -> None:
        """Show what is the module's own of a run; None where there is none."""

    def showResult(self, result: Any) -> None:
        """Show new results in the views."""

    def loadSample(self) -> None:
        """Put the module's synthetic patient into the scene and choose it."""

    def chooseInputOf(self, run: SceneRun) -> None:
        """Choose again what a run was made of, before it is measured again."""

    # -- life of the widget --------------------------------------------------------------------------------------------
    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        self.uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(self.uiWidget)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        self.uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.ui.applyButton.clicked.connect(self.onApplyButton)
        self.ui.runComboBox.currentIndexChanged.connect(self.onRunChosen)
        self.ui.reportButton.clicked.connect(self.onReportButton)
        self.ui.removeRunButton.clicked.connect(self.onRemoveRunButton)
        if hasattr(self.ui, "sampleButton"):
            self.ui.sampleButton.clicked.connect(self.onSampleButton)
        if hasattr(self.ui, "folderButton"):
            self.ui.folderButton.clicked.connect(self.onFolderButton)
        if hasattr(self.ui, "correctButton"):
            self.editor = gui.SegmentEditor(self.ui.editorCollapsibleButton)
            self.ui.editorCollapsibleButton.visible = False
            self.ui.correctButton.toggled.connect(self.onCorrectToggled)
            self.ui.recomputeButton.clicked.connect(self.onRecomputeButton)
        self.connectWidgets()
        self.ui.progressBar.visible = False
        self.initializeParameterNode()
        self.updateRuns()

    def cleanup(self) -> None:
        """The application closes, or the module is loaded anew."""
        self.stopCorrecting(forget=True)
        self.stopRun(now=True)
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        self.initializeParameterNode()
        self.updateRuns()

    def exit(self) -> None:
        self.stopCorrecting()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        self.stopCorrecting(forget=True)
        self.stopRun()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        self.say("")
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.updateRuns()

    def onSceneEndImport(self, caller: Any, event: Any) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.updateRuns()

    # -- parameter node ------------------------------------------------------------------------------------------------
    def initializeParameterNode(self) -> None:
        """Make sure that a parameter node is there and shown."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: Any) -> None:
        """Show a parameter node and follow its changes; None for none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            # Not connectGui: before Slicer 5.14 it does not return the tag that disconnectGui needs.
            bound = {w.property("SlicerParameterName"): w for w in vars(self.ui).values()}
            bound.pop(None, None)
            self._guiTag = parameterNode.connectParametersToGui(bound)
            self.nameChoices()
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.updateApply()

    def onParametersChanged(self, caller: Any = None, event: Any = None) -> None:
        self.updateApply()

    def updateApply(self) -> None:
        """Apply or Cancel, and why not."""
        button = self.ui.applyButton
        if self._run is not None:
            stopping = _("It is being cancelled.") if self._run.cancelling else ""
            button.text = _("Cancel")
            gui.set_reason(button, stopping, _("Stop the analysis; the scene stays as it is."))
            return
        button.text, tip = self.applyTexts()
        reason = self.whyNotApply() if self._parameterNode is not None else _("Open the module first.")
        gui.set_reason(button, reason, tip)

    # -- a run ---------------------------------------------------------------------------------------------------------
    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self._run is not None

    def onApplyButton(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self.say(_("Cancelling …"))
            self.updateApply()
        else:
            self.startRun()

    def startRun(self, **how: Any) -> None:
        """Start a run; what goes wrong is shown, not raised."""
        if self._run is not None:
            return
        try:
            model = self.needsModel() and not self._measuringAgain
            self.logic.ensureDependencies(torch=model)
            licences = self.acceptedLicences() if model else []
            self._run = self.launchRun(licences, **how)
            if self._run is None:
                raise InputError(_("Nothing could be started."))
        except (InputError, RuntimeError) as error:
            self.say(str(error), bad=True)
        except Exception as error:  # pip, the disk: a message, and the traceback in the log
            logging.exception("The analysis could not be started.")
            self.say(str(error) or type(error).__name__, bad=True)
        else:
            self.ui.progressBar.value = 0
            self.ui.progressBar.visible = True
            self.say(_("Starting …"))
        self.updateApply()

    def stopRun(self, now: bool = False) -> None:
        """Stop what runs and want nothing of it any more."""
        run, self._run = self._run, None
        if run is not None:
            run.discard()
            if now:
                run.kill()
            self.ui.progressBar.visible = False

    def onProgress(self, fraction: float, stage: str) -> None:
        self.ui.progressBar.value = round(100 * fraction)
        self.say(stage)

    def onRunEnd(self, result: Any, error: BaseException | None) -> None:
        self._run = None
        self.ui.progressBar.visible = False
        if error is None:
            self.say(_("Done."))
            self.updateRuns(select=result.run_id)
            self.showResult(result)
            redraw_slices(slicer.mrmlScene)
        else:
            if not isinstance(error, (InputError, Cancelled)):
                logging.error("The analysis failed: %s", error)
            self.say(why_ended(error), bad=not isinstance(error, Cancelled))
        self.updateApply()

    def onSampleButton(self) -> None:
        """Load sample and run."""
        if self._run is None and self._parameterNode is not None and self.ensured():
            with gui.busy(_("Computing the sample …"), self.say):
                self.loadSample()
            self.startRun()

    def onFolderButton(self) -> None:
        """Open a folder of DICOM."""
        if self._run is not None or self._parameterNode is None:
            return
        folder = gui.choose_folder(_("Folder of the study"))
        if folder and self.ensured():
            self.openFolder(folder)

    def openFolder(self, folder: str) -> None:
        """Read the module's images out of a folder into the scene and choose them.

        What belongs to a patient becomes what the header says, or unknown: it may have been another patient's.
        """
        node = self._parameterNode
        try:
            with gui.cancellable(_("Reading the folder …"), _("Cancel")) as progress:
                opened = self.logic.openStudy(node, folder, progress)
        except (InputError, Cancelled) as error:
            self.say(why_ended(error), bad=not isinstance(error, Cancelled))
            return
        except Exception as error:  # a stranger's file: a message, and the traceback in the log
            logging.exception("The folder could not be read.")
            self.say(_("The folder could not be read ({kind}).").format(kind=type(error).__name__), bad=True)
            return
        patient = opened.patient
        known = self.unknownPatient | {
            "sex": patient.sex or "",
            "ageYears": patient.age_years or 0.0,
            "heightCm": patient.height_cm or 0.0,
            "weightKg": patient.weight_kg or 0.0,
        }
        for name, value in known.items():
            if hasattr(node, name):
                setattr(node, name, value)
        node.inputNode = opened.node
        gui.show_volume(opened.node)
        said = _("{name} is open.").format(name=opened.node.GetName())
        self.say(" ".join([said, *opened.warnings]))

    def ensured(self) -> bool:
        """Whether the packages are there, or were installed now: the user is asked, a refusal is shown."""
        try:
            self.logic.ensureDependencies(torch=False)
        except Exception as error:  # pip, the network, or declined: a message, and the traceback in the log
            logging.exception("Packages could not be installed.")
            self.say(str(error) or type(error).__name__, bad=True)
            return False
        return True

    def acceptedLicences(self) -> list[str]:
        """Ask, once, for the licences of weights that restrict their use; raises where one is declined."""
        from .bundle import licence, registry

        for name in self.bundles:
            bundle = registry.get_bundle(name)
            if not licence.is_accepted(bundle):
                text = _(
                    "The weights of the model {name} are licensed {licence}, which restricts their use (see its file "
                    "LICENSE). Do you accept this licence?"
                ).format(name=name, licence=bundle.licence_name)
                if not slicer.util.confirmYesNoDisplay(text, windowTitle=self.logic.title):
                    raise RuntimeError(_("Without the licence of its weights the model cannot be used."))
                licence.accept(name)
        return list(self.bundles)

    def say(self, text: str, bad: bool = False) -> None:
        """One line below the Apply button."""
        self.ui.statusLabel.text = text
        self.ui.statusLabel.setStyleSheet("color: #c0392b;" if bad else "")

    # -- runs in the scene ---------------------------------------------------------------------------------------------
    @property
    def chosenRun(self) -> SceneRun | None:
        """The run whose results are shown."""
        index = self.ui.runComboBox.currentIndex - self.together
        return self._runs[index] if 0 <= index < len(self._runs) else None

    def updateRuns(self, select: str | None = None) -> None:
        """List the runs of the scene and show one: `select`, else the one that was shown, else the latest."""
        shown = self.chosenRun
        wanted = select or (shown.run_id if shown is not None else "")
        self._runs = [run for run in runs_of(slicer.mrmlScene) if run.analysis in self.analyses]
        box = self.ui.runComboBox
        blocked = box.blockSignals(True)
        box.clear()
        if self.together:
            box.addItem(_("All runs"))
        for run in self._runs:
            box.addItem(run.title)
        ids = [run.run_id for run in self._runs]
        last = 0 if self.together else len(ids) - 1
        box.currentIndex = ids.index(wanted) + self.together if wanted in ids else last
        box.blockSignals(blocked)
        self.onRunChosen()

    def onRunChosen(self, index: int = -1) -> None:
        run = self.chosenRun
        none = "" if run is not None else _("There are no results yet.")
        if self.together and self._runs and run is None:
            none = _("Choose one run first.")
        listed = [run] if run is not None else self._runs if self.together else []
        header = [_("Measurement"), _("Value"), _("State")]
        rows = []
        for each in listed:
            for r in shown_rows(each.table):
                title = r.title if run is not None else f"{each.title}: {r.title}"
                rows.append([(title, r.why), (r.value, r.why), (r.state, r.why)])
        gui.fill_table(self.ui.measurementsTable, header, rows)
        self.ui.warningsLabel.text = "\n".join(run.warnings) if run is not None else ""
        self.ui.warningsLabel.visible = bool(run is not None and run.warnings)
        no_report = none or ("" if run is not None and run.report is not None else _("This run has no report."))
        gui.set_reason(self.ui.reportButton, no_report, _("Show the report."))
        gui.set_reason(self.ui.removeRunButton, none, _("Take everything that this run has added out of the scene."))
        self.updateCorrection(run)
        self.showRun(run)

    def onReportButton(self) -> None:
        run = self.chosenRun
        if run is not None and run.report is not None:
            gui.show_page(run.report.GetText(), run.run_id)

    def onRemoveRunButton(self) -> None:
        run = self.chosenRun
        if run is not None:
            self.logic.removeRun(run.run_id)
            self.updateRuns()

    # -- correction ----------------------------------------------------------------------------------------------------
    def updateCorrection(self, run: SceneRun | None) -> None:
        """Whether the run that is shown can be corrected, and why not."""
        if self.editor is None:
            return
        missing = ""
        if run is None:
            missing = _("There are no results yet.")
        elif run.segmentation is None:
            missing = _("This run has no segmentation.")
        elif run.input is None:
            missing = _("What was analysed is no longer in the scene.")
        gui.set_reason(self.ui.correctButton, missing, _("Edit the segmentation that is shown."))
        gui.set_reason(
            self.ui.recomputeButton,
            missing,
            _("Measure the corrected segmentation, without the model; the results take the place of this run's."),
        )
        if missing:
            self.stopCorrecting()

    def stopCorrecting(self, forget: bool = False) -> None:
        """Close the Segment Editor; `forget` its nodes where the scene is going."""
        if self.editor is None:
            return
        self.ui.correctButton.checked = False
        if forget:
            self.editor.forget()

    def onCorrectToggled(self, on: bool) -> None:
        run = self.chosenRun
        self.ui.editorCollapsibleButton.visible = on
        self.ui.editorCollapsibleButton.collapsed = not on
        if not on or run is None or run.segmentation is None:
            self.editor.close()
            return
        from .scene import shown_volume

        keep_edits(run)
        self.editor.open(run.segmentation, shown_volume(run.input))

    def onRecomputeButton(self) -> None:
        """Measure the segmentation of the shown run as it is now."""
        run = self.chosenRun
        if run is None or self._run is not None:
            return
        self.stopCorrecting()
        self.chooseInputOf(run)
        self._measuringAgain = True
        try:
            self.startRun(labelsNode=run.segmentation, replaces=run.run_id)
        finally:
            self._measuringAgain = False
