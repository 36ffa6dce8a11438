"""Fusion Risk in 3D Slicer: a thin shell over FusionRiskLib.

From the Python console::

    logic = slicer.util.getModuleLogic("FusionRisk")
    logic.ensureDependencies()
    recordNode = logic.addRecord({"sex": "male", "age_years": 61, "sbp_mmhg": 148, "total_chol_mg_dl": 228})
    result = logic.processInChild(recordNode)

Measurements of LV Function and Coronary Plaque that are in the scene join the record; no image is needed.
"""

# ruff: noqa: PT009

import slicer
from CardioPrecisionLib import widget_qt as gui
from CardioPrecisionLib.errors import Cancelled, InputError
from CardioPrecisionLib.widget_base import AnalysisLogic, AnalysisWidget
from CardioPrecisionLib.widget_run import why_ended
from CardioPrecisionLib.widget_scene import plain_rows, runs_of
from CardioPrecisionLib.widget_test import PanelTest
from slicer import vtkMRMLTableNode, vtkMRMLTextNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

#: Groups of the form that are unfolded from the start.
OPEN_GROUPS = ("patient", "vitals", "lipids")


class FusionRisk(ScriptedLoadableModule):
    """Registers the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Fusion Risk")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["CardioPrecision"]
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "Published cardiovascular risk scores, the statements of guidelines that follow, and models that you have "
            "trained, from a clinical record and the measurements in the scene. Enter what you know, leave out what "
            "you do not, and press Apply. For research, not for clinical decisions. To cite: see CITATION.cff of "
            '<a href="https://github.com/CardioPrecision/CardioPrecision">CardioPrecision</a>, and the source of each '
            "score in the report."
        )
        parent.acknowledgementText = _(
            "Developed by the CardioPrecision developers. Every score and statement cites its source."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic record in the module Sample Data."""
    from CardioPrecisionLib.scene_desktop import register_sample

    register_sample("CardioPrecision: synthetic clinical record", "Synthetic clinical record", loadSampleData)


def loadSampleData():
    """Add the record of a synthetic patient; returns its node in a list."""
    from FusionRiskLib.scene_logic import add_sample

    return [add_sample(slicer.mrmlScene)]


@parameterNodeWrapper
class FusionRiskParameterNode:
    """What a user chooses; saved with the scene.

    recordNode: the clinical record, JSON in a text node; the form writes it.
    useMeasurements: whether the scene's measurement tables join the record.
    scores: names, families or patterns, separated by blanks; empty for all.
    modelFolder: folder of a trained fusion model.
    earlierNode, laterNode: measurement tables of two studies, to be compared.
    """

    recordNode: vtkMRMLTextNode
    useMeasurements: bool = True
    scores: str = ""
    modelFolder: str = ""
    earlierNode: vtkMRMLTableNode
    laterNode: vtkMRMLTableNode


class FusionRiskLogic(AnalysisLogic):
    """Delegates to FusionRiskLib.scene_logic and scene_fusion; nothing is computed here."""

    title = "Fusion Risk"
    border = "FusionRiskLib.scene_logic"

    def getParameterNode(self):
        return FusionRiskParameterNode(super().getParameterNode())

    def ensureDependencies(self, torch=False):
        """Install what is missing, asking first; call it when the user starts something.

        :param torch: scores and plan need no model.
        """
        super().ensureDependencies(torch)

    def ensureFusion(self):
        """Install what a trained model needs and Slicer does not bundle, asking first."""
        from CardioPrecisionLib.scene_desktop import ensure_list

        ensure_list(self.title, "FusionRisk", "FusionRisk_requirements.txt")

    def addRecord(self, values):
        """Add a clinical record to the scene.

        :param values: field names and values; checked.
        :return: the text node that holds it.
        """
        from FusionRiskLib.clinical.record import record_from_values

        record = record_from_values(values, _("the record"), "entered")
        return self.sceneLogic().add_record(slicer.mrmlScene, record)

    def process(self, recordNode, measurementNodes=None, scores=None, progress=None):
        """Score in this process; the application does not respond meanwhile.

        :param recordNode: text node with the clinical record.
        :param measurementNodes: measurement tables; None for all in the scene.
        :param scores: names, families or patterns; None for all.
        :param progress: callable(fraction, stage); raises Cancelled to stop.
        :return: FusionRiskLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.analysis import silent

        return self.sceneLogic().run_on_nodes(
            slicer.mrmlScene, recordNode, measurementNodes, scores=scores, progress=progress or silent
        )

    def processInChild(self, recordNode, measurementNodes=None, scores=None, progress=None, shouldStop=None):
        """Score in a child process, keep the application alive, wait, and load the results.

        :param recordNode: text node with the clinical record.
        :param measurementNodes: measurement tables; None for all in the scene.
        :param scores: names, families or patterns; None for all.
        :param progress: callable(fraction, stage).
        :param shouldStop: callable that says whether the user has cancelled.
        :return: FusionRiskLib.scene_logic.SceneResult.
        """
        return self.runInChild(recordNode, measurementNodes, scores=scores, progress=progress, shouldStop=shouldStop)

    def predict(self, modelFolder, recordNode=None, measurementNodes=None, progress=None):
        """Ask a trained model about the scene's patient, in this process; some seconds.

        :param modelFolder: folder of ``cardioprecision fusion train``.
        :param measurementNodes: measurement tables; None for all in the scene.
        :param progress: callable(fraction, stage); what it raises stops the work, and the scene is as it was.
        :return: FusionRiskLib.scene_fusion.ScenePrediction.
        """
        from CardioPrecisionLib.analysis import silent
        from FusionRiskLib.scene_fusion import predict_for_scene

        return predict_for_scene(
            slicer.mrmlScene, modelFolder, recordNode, measurementNodes, progress=progress or silent
        )

    def startRun(self, parameterNode, onProgress, onEnd, licences=None, labelsNode=None, replaces=None):
        """Start the run that a parameter node describes and return at once.

        :return: CardioPrecisionLib.widget_run.ChildRun.
        """
        recordNode = parameterNode.recordNode
        measurementNodes = None if parameterNode.useMeasurements else []
        names = parameterNode.scores.split()
        border = self.sceneLogic()
        return self.start(
            recordNode,
            lambda folder: border.export_job(slicer.mrmlScene, recordNode, folder, measurementNodes),
            onProgress,
            onEnd,
            parameters={"score": names} if names else {},
            replaces=replaces,
            names={"clinical.json": recordNode.GetName()},
        )


class FusionRiskWidget(AnalysisWidget):
    """A form in; scores, plan, prediction."""

    analyses = ("risk",)

    def makeLogic(self):
        return FusionRiskLogic()

    def connectWidgets(self):
        from CardioPrecisionLib.widget_form import Form
        from FusionRiskLib.clinical.form import form
        from FusionRiskLib.clinical.record import Record

        self._prediction, self._record = None, Record()
        self._problems, self._readable = {}, True
        self.form = Form(self.ui.formCollapsibleButton, form(), self.onFormChanged, OPEN_GROUPS)
        self._formNode = None
        self.ui.newButton.clicked.connect(self.onNewButton)
        self.ui.openButton.clicked.connect(self.onOpenButton)
        self.ui.chartButton.clicked.connect(self.onChartButton)
        self.ui.modelButton.clicked.connect(self.onModelButton)
        self.ui.predictButton.clicked.connect(self.onPredictButton)
        self.ui.contributionButton.clicked.connect(self.onContributionButton)
        self.ui.predictionReportButton.clicked.connect(self.onPredictionReportButton)
        self.ui.removePredictionButton.clicked.connect(self.onRemovePredictionButton)
        self.showPrediction(None)

    # -- the record
    def setParameterNode(self, parameterNode):
        super().setParameterNode(parameterNode)
        self.showRecord()
        self.updateApply()
        self.showFound()
        self.updatePredict()

    def onParametersChanged(self, caller=None, event=None):
        if self._parameterNode is not None and self._parameterNode.recordNode is not self._formNode:
            self.showRecord()
        super().onParametersChanged(caller, event)
        self.updatePredict()
        self.showChanges()

    def showRecord(self):
        """Fill the form from the record that is chosen."""
        from FusionRiskLib.clinical.entry import shown
        from FusionRiskLib.clinical.record import Record
        from FusionRiskLib.scene_logic import record_from_node

        node = self._parameterNode.recordNode if self._parameterNode is not None else None
        self._formNode, self._record, self._problems, self._readable = node, Record(), {}, True
        if node is not None and (node.GetText() or "").strip():
            try:
                self._record = record_from_node(node)
            except InputError as error:
                self.say(str(error), bad=True)
            except ImportError:
                self.say(_("The record is shown once packages are installed; press Apply."), bad=True)
                self._readable = False
        for name, row in self.form.rows.items():
            typed = shown(self._record, name)
            row.show(typed.text, typed.unit)
        self.form.set_enabled(node is not None and self._readable)

    def onFormChanged(self, row, unitBefore):
        """A row was edited: check it and write the record."""
        from FusionRiskLib.clinical.entry import Typed, converted, with_row
        from FusionRiskLib.scene_logic import set_record

        if self._formNode is None:
            return
        if unitBefore:
            row.show(converted(row.name, row.text, unitBefore, row.unit), row.unit)
        self._record, checked = with_row(self._record, row.name, Typed(row.text, row.unit))
        row.mark(checked.problem, checked.unusual)
        self._problems.pop(row.name, None)
        if checked.problem:
            self._problems[row.name] = checked.problem
        else:
            set_record(self._formNode, self._record)
        self.updateApply()
        self.updatePredict()

    def onNewButton(self):
        from FusionRiskLib.clinical.record import Record
        from FusionRiskLib.scene_logic import add_record

        if self.ensured():
            self._parameterNode.recordNode = add_record(slicer.mrmlScene, Record())

    def onOpenButton(self):
        path = gui.open_file(_("Open a clinical record"), _("Clinical record (*.json *.csv)"))
        if path and self.ensured():
            self.openRecord(path)

    def openRecord(self, path):
        """Take a record from a file: JSON, one-row CSV, or a FHIR R4 bundle."""
        from FusionRiskLib.clinical.files import read_record
        from FusionRiskLib.scene_logic import add_record

        try:
            record = read_record(path)
        except InputError as error:
            self.say(str(error), bad=True)
            return
        self._parameterNode.recordNode = add_record(slicer.mrmlScene, record)
        self.say("\n".join(record.warnings))

    def loadSample(self):
        self._parameterNode.recordNode = loadSampleData()[0]

    def showFound(self):
        """The measurements of other modules that are in the scene."""
        rows = []
        for run in runs_of(slicer.mrmlScene):
            if run.analysis not in self.analyses:
                states = [row[0] for row in plain_rows(run.table, ["state"])]
                there = sum(state in ("measured", "entered") for state in states)
                text = _("{there} measured, {missing} not").format(there=there, missing=len(states) - there)
                rows.append([(run.title, ""), (text, "")])
        gui.fill_table(self.ui.foundTable, [_("Run"), _("Measurements")], rows)

    # -- scores and plan
    def whyNotApply(self):
        node = self._parameterNode
        if node.recordNode is None:
            return _("Choose a record, start a new one, or load the sample.")
        if self._problems:
            return next(iter(self._problems.values()))
        if not self._record.entries and self._readable:
            return _("The record is empty; enter at least sex and age.")
        return ""

    def needsModel(self):
        return False

    def showRun(self, run):
        self.showFound()
        none = _("There are no results yet.") if run is None else ""
        chart = run.first("vtkMRMLPlotChartNode") if run is not None else None
        reason = none or ("" if chart is not None else _("No risk of ten years could be computed."))
        gui.set_reason(self.ui.chartButton, reason, _("Show the ten-year risks in a plot view."))
        plan = run.first("vtkMRMLTableNode", "Plan") if run is not None else None
        columns = ["state", "topic", "text", "strength", "reason", "guideline", "edition", "citation", "inputs"]
        rows = plain_rows(plan, columns) if plan is not None else []
        counts = {state: sum(row[0] == state for row in rows) for state in ("applies", "not_assessable")}
        applying = [row for row in rows if row[0] == "applies"]
        self.ui.planLabel.text = _(
            "What guidelines say: {applies} statements apply, {unknown} cannot be assessed, {other} do not apply."
        ).format(
            applies=counts["applies"],
            unknown=counts["not_assessable"],
            other=len(rows) - sum(counts.values()),
        )
        self.ui.planLabel.visible = bool(rows)
        header = [_("Topic"), _("Statement"), _("Strength"), _("Guideline")]
        shown = [
            [(topic.replace("_", " "), ""), (text, inputs), (strength, ""), (f"{guideline} {edition}", citation)]
            for _state, topic, text, strength, _reason, guideline, edition, citation, inputs in applying
        ]
        gui.fill_table(self.ui.planTable, header, shown, wrap=1)

    def showResult(self, result):
        if not self._readable:  # the packages are there now
            self.showRecord()
        gui.show_chart(result.chart)

    def onChartButton(self):
        gui.show_chart(self.chosenRun.first("vtkMRMLPlotChartNode"))

    # -- a trained model
    def updatePredict(self):
        node = self._parameterNode
        reason = _("Open the module first.") if node is None else ""
        if node is not None and not node.modelFolder:
            reason = _("Choose the folder of a trained model.")
        gui.set_reason(self.ui.predictButton, reason, _("Ask the model about this patient; takes some seconds."))

    def onModelButton(self):
        folder = gui.choose_folder(_("Folder of a trained model"))
        if folder:
            self._parameterNode.modelFolder = folder

    def onPredictButton(self):
        node = self._parameterNode
        measured = None if node.useMeasurements else []
        gui.set_reason(self.ui.predictButton, _("The model is being asked."), "")
        try:
            self.logic.ensureDependencies(torch=True)
            self.logic.ensureFusion()
            with gui.cancellable(_("Asking the model …"), _("Cancel")) as progress:
                made = self.logic.predict(node.modelFolder, node.recordNode, measured, progress)
        except (InputError, Cancelled, RuntimeError) as error:
            self.say(why_ended(error), bad=not isinstance(error, Cancelled))
            return
        finally:
            self.updatePredict()
        if self._prediction is not None:
            self.logic.removeRun(self._prediction)
        self.showPrediction(made)

    def showPrediction(self, made):
        """Show what a model says: probability with model uncertainty, set or bound, contributions."""
        self._prediction = made
        rows, contributions = [], []
        if made is not None:
            [row] = plain_rows(made.prediction_table, gui.column_names(made.prediction_table)[1:])
            rows = [
                [(name, ""), (value, "")]
                for name, value in zip(gui.column_names(made.prediction_table)[1:], row, strict=True)
            ]
            contributions = plain_rows(made.contribution_table, ["input", "class", "contribution"])
            self.say("\n".join(made.warnings))
        gui.fill_table(self.ui.predictionTable, [_("The model says"), _("Value")], rows)
        header = [_("Input"), _("Class"), _("Contribution")]
        gui.fill_table(self.ui.contributionTable, header, [[(text, "") for text in row] for row in contributions])
        none = _("There is no prediction yet.") if made is None else ""
        chart = made.chart if made is not None else None
        reason = none or ("" if chart is not None else _("The model refused; it has nothing to explain."))
        gui.set_reason(self.ui.contributionButton, reason, _("Show the contributions in a plot view."))
        gui.set_reason(self.ui.predictionReportButton, none, _("Show the report of the prediction."))
        gui.set_reason(self.ui.removePredictionButton, none, _("Take the prediction out of the scene."))

    def onContributionButton(self):
        gui.show_chart(self._prediction.chart)

    def onPredictionReportButton(self):
        gui.show_page(self._prediction.report.GetText(), self._prediction.run_id)

    def onRemovePredictionButton(self):
        self.logic.removeRun(self._prediction)
        self.showPrediction(None)

    # -- two studies
    def showChanges(self):
        """What changed between the two tables that are chosen, and whether it is beyond repeatability."""
        from CardioPrecisionLib.report.names import quantity, title_of
        from FusionRiskLib.scene_measured import measurements_from_table
        from FusionRiskLib.serial import changes

        node, rows = self._parameterNode, []
        if node is not None and node.earlierNode is not None and node.laterNode is not None:
            try:
                found = changes(*(measurements_from_table(each) for each in (node.earlierNode, node.laterNode)))
            except InputError as error:
                found = []
                self.say(str(error), bad=True)
            words = {"beyond": _("beyond"), "within": _("within"), "not_assessable": _("not assessable")}
            for change in found:
                title = title_of(change.name) + (f", {change.site}" if change.site else "")
                values = [quantity(v, change.unit) for v in (change.before, change.after, change.difference)]
                rows.append([(text, change.basis) for text in (title, *values, words[change.verdict])])
        header = [_("Measurement"), _("Earlier"), _("Later"), _("Change"), _("Repeatability")]
        gui.fill_table(self.ui.changeTable, header, rows)

    def onSceneStartClose(self, caller, event):
        self._formNode = None
        self.showPrediction(None)
        super().onSceneStartClose(caller, event)


class FusionRiskTest(PanelTest):
    """Runs inside Slicer."""

    module = "FusionRisk"

    def test_NodesToNodes(self):
        """The synthetic record, scored node to node: the numbers of the formulas, a plan, a report; then removed."""
        from FusionRiskLib import scene_logic
        from FusionRiskLib.scores import scores

        self.needPackages()
        recordNode = scene_logic.add_sample(slicer.mrmlScene)
        logic = FusionRiskLogic()
        result = logic.process(recordNode)
        values = scene_logic.record_from_node(recordNode).column_values()
        for name in ("risk_prevent_base_ascvd_10y", "risk_pce_ascvd_10y", "risk_score2_cvd_10y"):
            expected = float(scores()[name].evaluate(values).values[0])
            self.assertGreater(expected, 0)
            self.assertAlmostEqual(result.measurements.value(name), expected, delta=1e-9, msg=name)
        self.assertEqual(result.measurement_table.GetTable().GetNumberOfRows(), len(scores()))
        self.assertGreater(result.plan_table.GetTable().GetNumberOfRows(), 10)
        self.assertGreaterEqual(result.risk_table.GetTable().GetNumberOfRows(), 3)
        self.assertIn("<html", result.report.GetText())
        before = slicer.mrmlScene.GetNumberOfNodes()
        self.assertGreaterEqual(logic.removeRun(result), 6)
        self.assertLess(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.assertTrue(recordNode.GetText())

    def test_ParametersBothWays(self):
        widget = self.panel()
        pairs = {
            "useMeasurements": ("measurementsCheckBox", "checked", False, False),
            "scores": ("scoresLineEdit", "text", "pce", "pce"),
            "modelFolder": ("modelLineEdit", "text", "/a/model", "/a/model"),
        }
        self.checkBothWays(widget, pairs)
        self.assertIn("Choose a record", widget.ui.applyButton.toolTip)

    def test_FormWritesTheRecord(self):
        """What is typed is checked and stands in the record; what cannot be does not."""
        from FusionRiskLib.scene_logic import record_from_node

        self.needPackages()
        widget = self.panel()
        widget.ui.newButton.click()
        node = widget._parameterNode.recordNode
        for name, text in (("age_years", "61"), ("sbp_mmhg", "1480")):
            row = widget.form.rows[name]
            row.edit.text = text
            widget.onFormChanged(row, "")
        self.assertEqual(record_from_node(node).value("age_years"), 61)
        self.assertIsNone(record_from_node(node).value("sbp_mmhg"))
        self.assertFalse(widget.ui.applyButton.enabled)
        self.assertIn("it must be", widget.ui.applyButton.toolTip)
        chol = widget.form.rows["total_chol_mg_dl"]
        chol.edit.text = "232"
        widget.onFormChanged(chol, "")
        chol.unit_box.currentIndex = chol.units.index("mmol/L")
        self.assertAlmostEqual(float(chol.text), 6.0, delta=0.01)
        self.assertAlmostEqual(record_from_node(node).value("total_chol_mg_dl"), 232, delta=0.1)

    def test_RunAndPlan(self):
        """Apply, the numbers of the formulas, statements that apply, remove."""
        from FusionRiskLib.scene_logic import record_from_node
        from FusionRiskLib.scores import scores

        widget = self.ready()
        count = self.nodeCount()
        found = self.values(self.apply(widget))
        values = record_from_node(widget._parameterNode.recordNode).column_values()
        for name in ("risk_prevent_base_ascvd_10y", "risk_pce_ascvd_10y", "risk_score2_cvd_10y"):
            self.assertAlmostEqual(found[name, None], float(scores()[name].evaluate(values).values[0]), delta=1e-9)
        self.assertGreater(widget.ui.planTable.rowCount, 2)
        self.assertTrue(widget.ui.chartButton.enabled, widget.ui.chartButton.toolTip)
        widget.ui.removeRunButton.click()
        self.assertEqual(self.nodeCount(), count)

    def test_Cancel(self):
        self.checkCancel(self.ready())

    def test_SaveAndLoad(self):
        """After a scene went through a file, the form and the results are there again."""
        widget = self.ready()
        age = widget.form.rows["age_years"].text
        before = self.values(self.apply(widget))
        self.saveAndLoad()
        widget = self.panel()
        self.assertEqual(widget.form.rows["age_years"].text, age)
        self.checkSame(self.values(widget.chosenRun), before)
        self.assertGreater(widget.ui.planTable.rowCount, 2)

    def test_SceneCloseWhileRunning(self):
        self.checkSceneClose(self.ready())

    def test_ReloadWhileRunning(self):
        self.checkReload(self.ready())

    def ready(self):
        """The panel with the synthetic record."""
        self.needPackages()
        widget = self.panel()
        widget.loadSample()
        return widget
