"""CardioPrecision in 3D Slicer: the home of the modules, and a thin shell over CardioPrecisionLib.

From the Python console::

    logic = slicer.util.getModuleLogic("CardioPrecision")
    for series in logic.series():
        print(series.node.GetName(), series.role, series.why)
"""

# ruff: noqa: PT009

import importlib
import os

import slicer
from CardioPrecisionLib import widget_qt as gui
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.widget_base import AnalysisLogic, AnalysisWidget
from CardioPrecisionLib.widget_run import why_ended
from CardioPrecisionLib.widget_test import PanelTest
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

#: Analysis -> the module that runs it.
MODULES = {
    "lv-function": "LVFunction",
    "calcium": "CoronaryPlaque",
    "plaque": "CoronaryPlaque",
    "risk": "FusionRisk",
}


class CardioPrecision(ScriptedLoadableModule):
    """Registers the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("CardioPrecision")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = []
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "The home of LV Function, Coronary Plaque and Fusion Risk: what the study holds, everything at one press, "
            "all results in one table, models, environment, workflows. For research, not for diagnosis. To cite: see "
            'CITATION.cff of <a href="https://github.com/CardioPrecision/CardioPrecision">CardioPrecision</a>.'
        )
        parent.acknowledgementText = _("Developed by the CardioPrecision developers.")


@parameterNodeWrapper
class CardioPrecisionParameterNode:
    """What a user chooses; saved with the scene. The role of a volume is kept at the volume itself.

    chosenRun: id of the run whose results are shown; empty for all of them together.
    """

    chosenRun: str = ""


class CardioPrecisionLogic(AnalysisLogic):
    """Delegates to CardioPrecisionLib; nothing is computed here."""

    title = "CardioPrecision"

    def getParameterNode(self):
        return CardioPrecisionParameterNode(super().getParameterNode())

    def series(self):
        """The images of the scene with their roles, as CardioPrecisionLib.scene_study.Series."""
        from CardioPrecisionLib.scene_study import series_of

        return series_of(slicer.mrmlScene)

    def steps(self):
        """What "run everything" does: (analysis, node), for the modules that are there."""
        from CardioPrecisionLib.scene_study import steps_of

        return [step for step in steps_of(slicer.mrmlScene) if self.moduleLogic(step[0]) is not None]

    def moduleLogic(self, analysis):
        """The logic of the module that runs an analysis; None where the module is not there."""
        name = MODULES[analysis]
        try:
            return getattr(importlib.import_module(name), f"{name}Logic")()
        except ImportError:
            return None

    def parameterNodes(self):
        """The parameter nodes of the modules that are there, by module."""
        nodes = {}
        for analysis, name in MODULES.items():
            logic = self.moduleLogic(analysis)
            if logic is not None and name not in nodes:
                nodes[name] = logic.getParameterNode()
        return nodes

    def startStep(self, analysis, node, onProgress, onEnd, licences=None):
        """Start one analysis with the parameters of its module and return at once.

        :param node: what `steps` gave.
        :return: CardioPrecisionLib.widget_run.ChildRun.
        """
        logic = self.moduleLogic(analysis)
        parameterNode = logic.getParameterNode()
        if analysis == "risk":
            parameterNode.recordNode = node
        else:
            parameterNode.inputNode = node
        if MODULES[analysis] == "CoronaryPlaque":
            parameterNode.analysis = analysis
        return logic.startRun(parameterNode, onProgress, onEnd, licences)

    def requirements(self):
        """The lines of the list of packages that the modules need."""
        from CardioPrecisionLib.scene_desktop import requirement_lines

        return requirement_lines()


class CardioPrecisionWidget(AnalysisWidget):
    """What the study holds, everything at one press, all results in one table."""

    analyses = tuple(MODULES)
    together = True

    def makeLogic(self):
        return CardioPrecisionLogic()

    def connectWidgets(self):
        self._queue, self._count, self._failed = [], 0, []
        self._series, self._bundles, self._roleBoxes = [], [], []
        ui = self.ui
        ui.refreshButton.clicked.connect(self.updateStudy)
        ui.openModuleButton.clicked.connect(self.onOpenModuleButton)
        ui.checkButton.clicked.connect(self.onCheckButton)
        ui.installButton.clicked.connect(self.onInstallButton)
        ui.wheelsButton.clicked.connect(self.onWheelsButton)
        ui.wheelsLineEdit.editingFinished.connect(self.onWheelsEdited)
        ui.verifyButton.clicked.connect(self.updateModels)
        ui.modelsTable.cellClicked.connect(self.onModelClicked)
        ui.cardButton.clicked.connect(self.onCardButton)
        ui.acceptButton.clicked.connect(self.onAcceptButton)
        ui.saveWorkflowButton.clicked.connect(self.onSaveWorkflowButton)
        ui.loadWorkflowButton.clicked.connect(self.onLoadWorkflowButton)
        ui.wheelsLineEdit.text = gui.setting(gui.WHEELS_SETTING)
        gui.set_reason(ui.installButton, "", _("Install packages that are missing; you are asked before."))
        self.onModelClicked(-1)

    def setParameterNode(self, parameterNode):
        super().setParameterNode(parameterNode)
        if parameterNode is not None:
            self.updateStudy()
            self.updateRuns(select=parameterNode.chosenRun)

    # -- the study
    def updateStudy(self):
        """List the images of the scene with a choice of role."""
        from CardioPrecisionLib.scene_study import ROLES

        titles = {
            "cine_sax": _("cine short axis"),
            "cardiac_ct": _("CT without contrast"),
            "ccta": _("coronary CT angiogram"),
            "": _("nothing"),
        }
        self._series, self._roleBoxes = self.logic.series(), []
        header = [_("Volume"), _("Role"), _("Size")]
        rows = [[(s.node.GetName(), ""), ("", s.why), (s.shape, "")] for s in self._series]
        gui.fill_table(self.ui.studyTable, header, rows)
        for n, series in enumerate(self._series):
            choices = [titles[role] for role in ROLES]
            box = gui.choice_box(choices, ROLES.index(series.role), self.roleChanged(series), series.why)
            self.ui.studyTable.setCellWidget(n, 1, box)
            self._roleBoxes.append(box)
        self.ui.studyTable.setColumnWidth(1, gui.CHOICE_PX)
        self.ui.studyTable.resizeRowsToContents()
        self.updateApply()

    def roleChanged(self, series):
        from CardioPrecisionLib.scene_study import ROLES, choose

        def chosen(index):
            choose(series, ROLES[index])
            self.updateApply()

        return chosen

    def loadSample(self):
        """A synthetic patient: a cine, a CT without contrast, a record."""
        for name in ("LVFunction", "CoronaryPlaque", "FusionRisk"):
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            module.loadSampleData()
        self.updateStudy()

    def onSampleButton(self):
        if self._run is None and self.ensured():
            with gui.busy(_("Computing the sample …"), self.say):
                self.loadSample()

    # -- everything at one press
    def applyTexts(self):
        return _("Run everything"), _("Run the analysis of every volume, one after the other, then the scores.")

    def whyNotApply(self):
        if not self.logic.steps():
            return _("The scene holds nothing that has a role; load a study, or the sample, and choose a role.")
        return ""

    def needsModel(self):
        return any(self.stepNeedsModel(analysis) for analysis, _node in self.logic.steps())

    def stepNeedsModel(self, analysis):
        if analysis not in ("lv-function", "calcium"):
            return False
        return self.logic.moduleLogic(analysis).getParameterNode().labelsNode is None

    @property
    def bundles(self):
        lv = any(analysis == "lv-function" for analysis, _node in self.logic.steps())
        return ("cine_sax_ventricles",) if lv and self.stepNeedsModel("lv-function") else ()

    def launchRun(self, licences, **how):
        self._queue, self._failed, self._licences = self.logic.steps(), [], licences
        self._count = len(self._queue)
        run = self.nextStep()
        if run is None:
            raise InputError("\n".join(self._failed))
        return run

    def nextStep(self):
        """Start the next of the queue; None where none is left."""
        while self._queue:
            analysis, node = self._queue.pop(0)
            self._step = analysis
            try:
                return self.logic.startStep(analysis, node, self.onStepProgress, self.onStepEnd, self._licences)
            except InputError as error:
                self._failed.append(f"{self.titleOf(analysis)}: {error}")
        return None

    def titleOf(self, analysis):
        titles = {"lv-function": _("LV function"), "calcium": _("Calcium"), "plaque": _("Arteries"), "risk": _("Risk")}
        return titles[analysis]

    def onStepProgress(self, fraction, stage):
        done = self._count - len(self._queue) - 1
        self.onProgress((done + fraction) / self._count, f"{self.titleOf(self._step)}: {stage}")

    def onStepEnd(self, result, error):
        if isinstance(error, Cancelled):
            self._queue = []
            self.onRunEnd(None, error)
            return
        if error is not None:
            self._failed.append(f"{self.titleOf(self._step)}: {why_ended(error)}")
        self.updateRuns()
        self._run = self.nextStep()
        if self._run is None:
            self.ui.progressBar.visible = False
            done = self._count - len(self._failed)
            text = _("{done} of {count} done.").format(done=done, count=self._count)
            self.say("\n".join([text, *self._failed]), bad=bool(self._failed))
            self.updateRuns()
        self.updateApply()

    def stopRun(self, now=False):
        self._queue = []
        super().stopRun(now)

    # -- results
    def showRun(self, run):
        if self._parameterNode is not None:
            self._parameterNode.chosenRun = run.run_id if run is not None else ""
        one = "" if run is not None else _("Choose one run first.")
        gui.set_reason(self.ui.openModuleButton, one, _("Go to the module that made this run."))

    def onOpenModuleButton(self):
        slicer.util.selectModule(MODULES[self.chosenRun.analysis])

    # -- environment
    def onCheckButton(self):
        from CardioPrecisionLib.environment import check

        with gui.busy(_("Looking …"), self.say):
            facts = check(self.logic.requirements())
        words = {"ok": _("ok"), "missing": _("missing"), "note": _("note")}
        rows = [[(f.what, ""), (words[f.state], ""), (f.detail, f.detail)] for f in facts]
        gui.fill_table(self.ui.environmentTable, [_("What"), _("State"), _("Detail")], rows)

    def onInstallButton(self):
        if self.ensured():
            try:
                self.logic.ensureDependencies(torch=True)
            except Exception as error:  # the PyTorch extension, the network, or declined: a message
                self.say(str(error) or type(error).__name__, bad=True)
                return
        self.onCheckButton()

    def onWheelsButton(self):
        folder = gui.choose_folder(_("Folder of wheels"))
        if folder:
            self.ui.wheelsLineEdit.text = folder
            self.onWheelsEdited()

    def onWheelsEdited(self):
        gui.set_setting(gui.WHEELS_SETTING, self.ui.wheelsLineEdit.text)

    # -- models
    def updateModels(self):
        """List the models, each file of theirs compared with its hash."""
        from CardioPrecisionLib.bundle import licence, registry
        from CardioPrecisionLib.environment import models

        if not self.ensured():
            return
        with gui.busy(_("Comparing …"), self.say):
            facts = models()
        self._bundles = registry.list_bundles()
        rows = []
        for bundle, fact in zip(self._bundles, facts, strict=True):
            accepted = _("accepted") if licence.is_accepted(bundle) else _("not accepted yet")
            terms = f"{bundle.licence_name} ({accepted})" if bundle.restricted else bundle.licence_name
            rows.append([(bundle.name, ""), (fact.detail, fact.detail), (terms, "")])
        gui.fill_table(self.ui.modelsTable, [_("Model"), _("Files"), _("Licence")], rows)
        self.onModelClicked(self.ui.modelsTable.currentRow())

    def chosenBundle(self):
        row = self.ui.modelsTable.currentRow()
        return self._bundles[row] if 0 <= row < len(self._bundles) else None

    def onModelClicked(self, row, column=0):
        bundle = self.chosenBundle()
        none = _("Press Verify, then choose a model in the table.") if bundle is None else ""
        gui.set_reason(self.ui.cardButton, none, _("What it was trained on, how good it is, what it is not for."))
        reason = none or ("" if bundle.restricted else _("Its licence does not restrict its use."))
        gui.set_reason(self.ui.acceptButton, reason, _("Accept the licence of its weights; this is remembered."))

    def onCardButton(self):
        import html

        bundle = self.chosenBundle()
        card = (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")
        page = f"<html><body><pre style='white-space: pre-wrap'>{html.escape(card)}</pre></body></html>"
        gui.show_page(page, bundle.name)

    def onAcceptButton(self):
        from CardioPrecisionLib.bundle import licence

        licence.accept(self.chosenBundle().name)
        self.updateModels()

    # -- workflow
    def onSaveWorkflowButton(self):
        path = gui.save_file(_("Save the parameters"), "workflow.json", _("Workflow (*.json)"))
        if path:
            self.saveWorkflow(path)

    def saveWorkflow(self, path):
        """Write the parameters of all modules into a file."""
        from CardioPrecisionLib import workflow

        try:
            self.say(_("Saved {path}.").format(path=workflow.save(path, self.logic.parameterNodes())))
        except InputError as error:
            self.say(str(error), bad=True)

    def onLoadWorkflowButton(self):
        path = gui.open_file(_("Load parameters"), _("Workflow (*.json)"))
        if path:
            self.loadWorkflow(path)

    def loadWorkflow(self, path):
        """Read the parameters of all modules from a file."""
        from CardioPrecisionLib import workflow

        try:
            absent = workflow.load(path, self.logic.parameterNodes())
        except InputError as error:
            self.say(str(error), bad=True)
            return
        text = _("The parameters are set.")
        if absent:
            text = _("The parameters are set; not here: {modules}.").format(modules=", ".join(absent))
        self.say(text)

    def onSceneEndClose(self, caller, event):
        super().onSceneEndClose(caller, event)
        self.updateStudy()

    def onSceneEndImport(self, caller, event):
        super().onSceneEndImport(caller, event)
        self.updateStudy()


class CardioPrecisionTest(PanelTest):
    """Runs inside Slicer."""

    module = "CardioPrecision"

    def test_StudyAndWorkflow(self):
        """The synthetic study is told apart, a chosen role stays, parameters go through a file."""
        import tempfile

        from CardioPrecisionLib import workflow
        from CardioPrecisionLib.scene_study import choose

        self.needPackages()
        logic = CardioPrecisionLogic()
        self.assertEqual(logic.steps(), [])
        for name in ("LVFunction", "CoronaryPlaque", "FusionRisk"):
            importlib.import_module(name).loadSampleData()
        series = logic.series()
        self.assertEqual(sorted(s.role for s in series), ["cardiac_ct", "cine_sax"])
        self.assertEqual([analysis for analysis, _node in logic.steps()], ["lv-function", "calcium", "risk"])
        choose(series[0], "")
        self.assertEqual(logic.series()[0].role, "")
        nodes = logic.parameterNodes()
        self.assertEqual(set(nodes), {"LVFunction", "CoronaryPlaque", "FusionRisk"})
        nodes["LVFunction"].sex = "female"
        with tempfile.TemporaryDirectory() as folder:
            path = workflow.save(os.path.join(folder, "w.json"), nodes)
            nodes["LVFunction"].sex = "male"
            workflow.load(path, nodes)
        self.assertEqual(nodes["LVFunction"].sex, "female")

    def test_RunEverything(self):
        """Cine, CT and record with the readers' labels, one after the other; the scores see the measurements."""
        from CardioPrecisionLib.widget_scene import plain_rows

        self.needPackages()
        modules = {name: importlib.import_module(name) for name in ("LVFunction", "CoronaryPlaque", "FusionRisk")}
        for name in ("LVFunction", "CoronaryPlaque"):
            getattr(modules[name], f"{name}Test")().ready()
        modules["FusionRisk"].loadSampleData()
        widget = self.panel()
        self.assertTrue(widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip)
        widget.ui.applyButton.click()
        self.assertTrue(widget.running, widget.ui.statusLabel.text)
        self.waitFor(lambda: not widget.running, "everything")
        self.assertEqual(widget.ui.statusLabel.text, "3 of 3 done.")
        self.assertEqual(widget.ui.runComboBox.count, 4)
        self.assertGreater(widget.ui.measurementsTable.rowCount, 100)
        widget.ui.runComboBox.currentIndex = 3
        values = widget.chosenRun.first("vtkMRMLTableNode", "Clinical values")
        self.assertIn(["lv_ef_pct"], plain_rows(values, ["name"]))

    def test_EnvironmentAndModels(self):
        self.needPackages()
        widget = self.panel()
        widget.ui.checkButton.click()
        self.assertGreater(widget.ui.environmentTable.rowCount, 10)
        widget.ui.verifyButton.click()
        self.assertGreaterEqual(widget.ui.modelsTable.rowCount, 3)
