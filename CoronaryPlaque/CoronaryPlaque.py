"""Coronary Plaque in 3D Slicer: a thin shell over CoronaryPlaqueLib.

From the Python console::

    logic = slicer.util.getModuleLogic("CoronaryPlaque")
    logic.ensureDependencies()
    result = logic.processInChild(slicer.util.getNode("calcium score"))
    angiogram = logic.processAngiogramInChild(slicer.util.getNode("angiogram"), slicer.util.getNode("points"))
"""

# ruff: noqa: PT009

from typing import Annotated, Union

import slicer
import vtk
from CardioPrecisionLib import widget_qt as gui
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.widget_base import AnalysisLogic, AnalysisWidget
from CardioPrecisionLib.widget_scene import (
    jump_slices,
    place_points,
    plain_rows,
    shown_value,
    table_columns,
)
from CardioPrecisionLib.widget_test import PanelTest
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

CALCIUM, ANGIOGRAM = "calcium", "plaque"
BORDERS = {CALCIUM: "CoronaryPlaqueLib.scene_logic", ANGIOGRAM: "CoronaryPlaqueLib.scene_ccta"}
SAMPLE_NAME = "CardioPrecision: synthetic cardiac CT"
ANGIOGRAM_NAME = "CardioPrecision: synthetic coronary CT angiogram"
ARTERIES = ("LAD", "LCX", "RCA", "LM", "ramus", "D1", "D2", "M1", "M2", "PDA", "PL")


class CoronaryPlaque(ScriptedLoadableModule):
    """Registers the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Coronary Plaque")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["CardioPrecision"]
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "Coronary calcium by vessel from a CT of heart or chest without contrast: Agatston score, volume, mass, "
            "percentiles. Coronary arteries, stenosis, plaque and CAD-RADS 2.0 from a CT angiogram, between your "
            "points or found by themselves. Choose the CT and press Apply; click a lesion to see it, give it "
            "another vessel, and the scores follow. For research, not for diagnosis. To cite: see CITATION.cff of "
            '<a href="https://github.com/CardioPrecision/CardioPrecision">CardioPrecision</a>.'
        )
        parent.acknowledgementText = _(
            "Developed by the CardioPrecision developers. The weights of the models were trained on synthetic chests."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic CTs in the module Sample Data."""
    from CardioPrecisionLib.scene_desktop import register_sample

    register_sample(SAMPLE_NAME, "Synthetic cardiac CT", loadSampleData)
    register_sample(ANGIOGRAM_NAME, "Synthetic coronary CT angiogram", loadSampleAngiogram)


def loadSampleData():
    """Compute the synthetic CT and show it; returns its node in a list."""
    from CoronaryPlaqueLib.scene_logic import add_sample

    volumeNode = add_sample(slicer.mrmlScene)
    if slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return [volumeNode]


def loadSampleAngiogram():
    """Compute the synthetic angiogram and show it; returns its volume and the points on its arteries."""
    from CoronaryPlaqueLib.scene_ccta import add_sample

    volumeNode, pointsNode = add_sample(slicer.mrmlScene)
    pointsNode.CreateDefaultDisplayNodes()
    if slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return [volumeNode, pointsNode]


@parameterNodeWrapper
class CoronaryPlaqueParameterNode:
    """What a user chooses; saved with the scene.

    analysis: calcium on CT without contrast, or the angiogram.
    inputNode: a CT volume in HU.
    labelsNode: a reader's own segmentation or label volume, used instead of the models.
    seedsNode: points on the arteries of an angiogram; without them the arteries are found by themselves.
    calibrationMgPerMlHu: mass calibration factor from a phantom, 0 where it is not known.
    ageYears: 0 where it is not known. cacAgatston: -1 where it is not known.
    dominance, setting, stent, graft, exceptions, ischaemia, highRiskPlaque: what the reader of an angiogram adds.
    """

    analysis: Annotated[str, Choice(["calcium", "plaque"])] = "calcium"
    inputNode: vtkMRMLScalarVolumeNode
    labelsNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    seedsNode: vtkMRMLMarkupsFiducialNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    calibrationMgPerMlHu: Annotated[float, WithinRange(0, 2)] = 0.0
    sex: Annotated[str, Choice(["", "female", "male"])] = ""
    ageYears: Annotated[float, WithinRange(0, 120)] = 0.0
    race: Annotated[str, Choice(["", "white", "black", "chinese", "hispanic"])] = ""
    cacAgatston: Annotated[float, WithinRange(-1, 20000)] = -1.0
    dominance: Annotated[str, Choice(["", "right", "left", "codominant"])] = ""
    setting: Annotated[str, Choice(["stable", "acute"])] = "stable"
    stent: bool = False
    graft: bool = False
    exceptions: bool = False
    ischaemia: Annotated[str, Choice(["", "present", "absent", "borderline"])] = ""
    highRiskPlaque: Annotated[str, Choice(["", "present", "absent"])] = ""


def runParameters(parameterNode):
    """Parameters and clinical values of a job; what is not known is left out."""
    node = parameterNode
    if node.analysis == CALCIUM:
        parameters = {"device": node.device, "calibration_mg_per_ml_hu": node.calibrationMgPerMlHu}
    else:
        parameters = {
            "dominance": node.dominance,
            "setting": node.setting,
            "stent": node.stent,
            "graft": node.graft,
            "exceptions": node.exceptions,
            "ischaemia": node.ischaemia,
            "high_risk_plaque": node.highRiskPlaque,
        }
    clinical = {"sex": node.sex, "age_years": node.ageYears, "race": node.race}
    parameters, clinical = ({k: v for k, v in given.items() if v} for given in (parameters, clinical))
    if node.cacAgatston >= 0 and node.analysis == ANGIOGRAM:
        clinical["cac_agatston"] = node.cacAgatston
    return parameters, clinical


class CoronaryPlaqueLogic(AnalysisLogic):
    """Delegates to CoronaryPlaqueLib.scene_logic and scene_ccta; nothing is computed here."""

    title = "Coronary Plaque"
    border = BORDERS[CALCIUM]

    def getParameterNode(self):
        return CoronaryPlaqueParameterNode(super().getParameterNode())

    def process(self, inputNode, labelsNode=None, parameters=None, patient=None, progress=None):
        """Score calcium in this process; the application does not respond meanwhile.

        :param inputNode: CT volume without contrast, in HU.
        :param labelsNode: a reader's segmentation or label volume.
        :param parameters: CoronaryPlaqueLib.calcium.CalciumParameters.
        :param patient: CardioPrecisionLib.measurement.Patient.
        :param progress: callable(fraction, stage); raises Cancelled to stop.
        :return: CoronaryPlaqueLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.analysis import silent

        return self.sceneLogic().run_on_nodes(
            slicer.mrmlScene,
            inputNode,
            parameters=parameters,
            patient=patient,
            labels_node=labelsNode,
            progress=progress or silent,
        )

    def processInChild(
        self, inputNode, labelsNode=None, parameters=None, clinical=None, progress=None, shouldStop=None
    ):
        """Score calcium in a child process, keep the application alive, wait, and load the results.

        :param parameters: values by name, as fields of CoronaryPlaqueLib.calcium.CalciumParameters.
        :param clinical: values by field name (sex, age_years, race).
        :param progress: callable(fraction, stage).
        :param shouldStop: callable that says whether the user has cancelled.
        :return: CoronaryPlaqueLib.scene_logic.SceneResult.
        """
        return self.runInChild(
            inputNode,
            labels_node=labelsNode,
            parameters=parameters,
            clinical=clinical,
            progress=progress,
            shouldStop=shouldStop,
        )

    def processAngiogramInChild(
        self, inputNode, seedsNode=None, labelsNode=None, parameters=None, clinical=None, progress=None, shouldStop=None
    ):
        """Measure an angiogram in a child process, keep the application alive, wait, and load the results.

        :param inputNode: CT angiogram in HU.
        :param seedsNode: point list on the arteries; None to find them.
        :param parameters: values by name, as fields of CoronaryPlaqueLib.ccta.CCTAParameters.
        :return: CoronaryPlaqueLib.scene_ccta.AngiogramResult.
        """
        return self.runInChild(
            inputNode,
            [seedsNode] if seedsNode is not None else [],
            border=BORDERS[ANGIOGRAM],
            labels_node=labelsNode,
            parameters=parameters,
            clinical=clinical,
            progress=progress,
            shouldStop=shouldStop,
        )

    def relabel(self, run, placeMm, vessel, parameterNode, vesselSoFar=None):
        """Give a calcification another vessel; the scores follow at once and take the place of the run's.

        :param run: CardioPrecisionLib.widget_scene.SceneRun.
        :param placeMm: where it lies, RAS mm.
        :param vessel: a label of CoronaryPlaqueLib.vessels.
        :param vesselSoFar: its label until now, where calcifications of two vessels lie close together.
        :return: CoronaryPlaqueLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.measurement import Patient
        from CoronaryPlaqueLib.calcium import CalciumParameters
        from CoronaryPlaqueLib.scene_relabel import relabel

        node = parameterNode
        calibration, race = node.calibrationMgPerMlHu or None, node.race or None
        patient = Patient(sex=node.sex or None, age_years=node.ageYears or None)
        return self.load(
            run.input,
            lambda runId: relabel(
                slicer.mrmlScene,
                run.input,
                run.segmentation,
                placeMm,
                vessel,
                only=vesselSoFar,
                parameters=CalciumParameters(calibration_mg_per_ml_hu=calibration, race=race),
                patient=patient,
                run_id=runId,
            ),
            replaces=run.run_id,
        )

    def openStudy(self, parameterNode, path, progress):
        """Read the CT that the chosen analysis takes out of a folder of DICOM, or a file, into the scene.

        :return: CardioPrecisionLib.scene_study.Opened.
        """
        from CardioPrecisionLib.scene_study import open_study

        if parameterNode.analysis == CALCIUM:
            return open_study(slicer.mrmlScene, "cardiac_ct", path, _("CT without contrast"), progress)
        return open_study(slicer.mrmlScene, "ccta", path, _("CT angiogram"), progress)

    def startRun(self, parameterNode, onProgress, onEnd, licences=None, labelsNode=None, replaces=None):
        """Start the run that a parameter node describes and return at once.

        :param labelsNode: labels to use instead of the parameter node's.
        :param replaces: id of the run that goes when this one is there.
        :return: CardioPrecisionLib.widget_run.ChildRun.
        """
        inputNode, labelsNode = parameterNode.inputNode, labelsNode or parameterNode.labelsNode
        seeds = [parameterNode.seedsNode] if parameterNode.seedsNode is not None else []
        parameters, clinical = runParameters(parameterNode)
        border = self.sceneLogic(BORDERS[parameterNode.analysis])

        def export(folder):
            if parameterNode.analysis == CALCIUM:
                return border.export_job(slicer.mrmlScene, inputNode, folder, labelsNode)
            return border.export_job(slicer.mrmlScene, inputNode, seeds, folder, labelsNode)

        return self.start(
            inputNode,
            export,
            onProgress,
            onEnd,
            parameters=parameters,
            clinical=clinical,
            licences=licences,
            replaces=replaces,
            border=border,
        )


class CoronaryPlaqueWidget(AnalysisWidget):
    """CT in; lesions to look at and to re-label, CAD-RADS, straightened arteries, correction."""

    analyses = (CALCIUM, ANGIOGRAM)
    unknownPatient = {  # noqa: RUF012
        "labelsNode": None,
        "seedsNode": None,
        "race": "",
        "cacAgatston": -1.0,
        "dominance": "",
        "stent": False,
        "graft": False,
        "exceptions": False,
        "ischaemia": "",
        "highRiskPlaque": "",
    }

    def makeLogic(self):
        return CoronaryPlaqueLogic()

    def connectWidgets(self):
        from CoronaryPlaqueLib.vessels import SEGMENTS

        self._placing = None
        for artery in ARTERIES:
            self.ui.arteryComboBox.addItem(artery)
        for segment in SEGMENTS:
            self.ui.vesselComboBox.addItem(segment.name)
        self.ui.ostiumButton.clicked.connect(self.onOstiumButton)
        self.ui.distalButton.clicked.connect(self.onDistalButton)
        self.ui.lesionsTable.cellClicked.connect(self.onLesionClicked)
        self.ui.relabelButton.clicked.connect(self.onRelabelButton)
        self.ui.straightButton.clicked.connect(self.onStraightButton)

    def nameChoices(self):
        unknown, measured = _("unknown"), _("as measured")
        gui.name_choices(self.ui.analysisComboBox, [_("Calcium, CT without contrast"), _("Arteries, CT angiogram")])
        gui.name_choices(self.ui.sexComboBox, [unknown, _("female"), _("male")])
        gui.name_choices(self.ui.raceComboBox, [unknown, _("white"), _("black"), _("Chinese"), _("Hispanic")])
        gui.name_choices(self.ui.deviceComboBox, [_("automatic"), _("CPU"), _("GPU (CUDA)"), _("GPU (Apple)")])
        gui.name_choices(self.ui.dominanceComboBox, [measured, _("right"), _("left"), _("codominant")])
        gui.name_choices(self.ui.settingComboBox, [_("with stable chest pain"), _("with acute chest pain")])
        gui.name_choices(self.ui.highRiskComboBox, [measured, _("present"), _("absent")])
        tests = [_("no test"), _("ischaemia (I+)"), _("no ischaemia (I-)"), _("borderline (I±)")]
        gui.name_choices(self.ui.ischaemiaComboBox, tests)

    def onParametersChanged(self, caller=None, event=None):
        super().onParametersChanged(caller, event)
        self.updateSections()

    def setParameterNode(self, parameterNode):
        super().setParameterNode(parameterNode)
        self.updateSections()

    def updateSections(self):
        """Show what the chosen analysis needs."""
        node = self._parameterNode
        angiogram = node is not None and node.analysis == ANGIOGRAM
        for section in (self.ui.seedsCollapsibleButton, self.ui.readerCollapsibleButton):
            section.visible = angiogram
        self.ui.calibrationSpinBox.enabled = self.ui.deviceComboBox.enabled = not angiogram
        self.ui.agatstonSpinBox.enabled = angiogram
        self.ui.raceComboBox.enabled = not angiogram
        if angiogram:
            from CoronaryPlaqueLib.scene_ccta import points_seen

            self.ui.seedsLabel.text = points_seen(node.seedsNode)
            tip = _("Then click into a slice view where the artery {place}.")
            gui.set_reason(self.ui.ostiumButton, "", tip.format(place=_("leaves the aorta")))
            gui.set_reason(self.ui.distalButton, "", tip.format(place=_("is last seen")))

    def whyNotApply(self):
        node = self._parameterNode
        if node.inputNode is None:
            return _("Choose the CT volume, or load the sample.")
        if node.analysis == ANGIOGRAM and node.seedsNode is not None and node.seedsNode.GetNumberOfControlPoints():
            from CoronaryPlaqueLib.scene_ccta import seeds_from_nodes

            try:
                seeds_from_nodes([node.seedsNode])
            except InputError as error:
                return str(error)
        return ""

    def needsModel(self):
        return self._parameterNode.labelsNode is None and self._parameterNode.analysis == CALCIUM

    def loadSample(self):
        node = self._parameterNode
        if node.analysis == CALCIUM:
            node.inputNode = loadSampleData()[0]
        else:
            node.inputNode, node.seedsNode = loadSampleAngiogram()

    def chooseInputOf(self, run):
        self._parameterNode.analysis = run.analysis
        self._parameterNode.inputNode = run.input

    # -- points on the arteries
    def onOstiumButton(self):
        self.place("ostium")

    def onDistalButton(self):
        self.place("distal")

    def place(self, role):
        """The next click into a view sets a point on the chosen artery."""
        from CoronaryPlaqueLib.scene_ccta import label_point

        node, artery = self._parameterNode, self.ui.arteryComboBox.currentText
        if node.seedsNode is None:
            node.seedsNode = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLMarkupsFiducialNode", _("Points on the arteries")
            )
            node.seedsNode.CreateDefaultDisplayNodes()

        def placed(pointsNode):
            label_point(pointsNode, artery, role)
            self.updateSections()
            self.updateApply()

        if self._placing is not None:
            self._placing()
        self._placing = place_points(node.seedsNode, placed)

    # -- results
    def showRun(self, run):
        none = _("There are no results yet.")
        angiogram = run is not None and run.analysis == ANGIOGRAM
        self.ui.summaryLabel.text = self.summary(run)
        self.ui.summaryLabel.visible = run is not None
        self.showLesions(run)
        for widget in (self.ui.vesselComboBox, self.ui.relabelButton):
            widget.visible = not angiogram
        for widget in (self.ui.straightComboBox, self.ui.straightButton):
            widget.visible = angiogram
        self.ui.straightComboBox.clear()
        self._straight = run.nodes("vtkMRMLScalarVolumeNode") if angiogram else []
        for node in self._straight:
            self.ui.straightComboBox.addItem(node.GetName().split(" straightened")[0])
        reason = none if run is None else "" if self._straight else _("This run has found no artery.")
        gui.set_reason(self.ui.straightButton, reason, _("Show the artery pulled straight in the slice views."))

    def summary(self, run):
        """The main number of a run."""
        if run is None:
            return ""
        if run.analysis == CALCIUM:
            score, category = shown_value(run.table, "agatston_score", "total"), shown_value(run.table, "cac_drs")
            return _("<b>Agatston score {score}</b>, CAC-DRS {category}").format(score=score, category=category)
        category = shown_value(run.table, "cad_rads")
        stenosis = shown_value(run.table, "diameter_stenosis")
        return _("<b>CAD-RADS {category}</b>, largest stenosis {stenosis}").format(category=category, stenosis=stenosis)

    def showLesions(self, run):
        """The table of lesions; its node's columns r, a, s say where each lies."""
        begins = {CALCIUM: "Calcified lesions", ANGIOGRAM: "Coronary lesions"}
        self._lesions = run.first("vtkMRMLTableNode", begins[run.analysis]) if run is not None else None
        columns = {
            "lesion": _("Lesion"),
            "site": _("Vessel"),
            "segment": _("Segment"),
            "agatston": _("Agatston"),
            "diameter_stenosis": _("Stenosis (%)"),
            "volume": _("Volume (mm³)"),
            "plaque_volume": _("Plaque (mm³)"),
            "maximum": _("Maximum (HU)"),
            "probability": _("Probability"),
        }
        there = table_columns(self._lesions) if self._lesions is not None else {}
        columns = {name: title for name, title in columns.items() if name in there}
        rows = plain_rows(self._lesions, list(columns)) if columns else []
        gui.fill_table(
            self.ui.lesionsTable,
            list(columns.values()),
            [[(text.replace("_", " "), "") for text in row] for row in rows],
        )
        self.ui.lesionsLabel.text = _("Lesions: click one to see it.") if rows else _("No lesions.")
        self.updateRelabel()

    def updateRelabel(self):
        run = self.chosenRun
        reason = ""
        if run is None:
            reason = _("There are no results yet.")
        elif run.input is None or run.segmentation is None:
            reason = _("What was analysed is no longer in the scene.")
        elif self.ui.lesionsTable.currentRow() < 0:
            reason = _("Choose a lesion in the table first.")
        gui.set_reason(self.ui.relabelButton, reason, _("The lesion belongs to this vessel; the scores follow."))

    def lesion(self, row):
        """Where a lesion lies, RAS mm, and its vessel where it is calcium."""
        there = table_columns(self._lesions)
        return tuple(there[axis][row] for axis in "ras"), there["site"][row] if "site" in there else None

    def onLesionClicked(self, row, column=0):
        if self._lesions is not None:
            jump_slices(slicer.mrmlScene, self.lesion(row)[0])
            self.updateRelabel()

    def onRelabelButton(self):
        from CoronaryPlaqueLib.vessels import SEGMENTS, SITES

        run, row = self.chosenRun, self.ui.lesionsTable.currentRow()
        place, site = self.lesion(row)
        chosen = SEGMENTS[self.ui.vesselComboBox.currentIndex]
        soFar = next((label for label, name in SITES.items() if name == site), None)
        try:
            with gui.busy(_("Scoring …"), self.say):
                result = self.logic.relabel(run, place, chosen.value, self._parameterNode, soFar)
        except InputError as error:
            self.say(str(error), bad=True)
            return
        self.updateRuns(select=result.run_id)
        text = _("Lesion {number} is {vessel} now. Measure again for a report.")
        self.say(text.format(number=row + 1, vessel=chosen.name))

    def onStraightButton(self):
        index = self.ui.straightComboBox.currentIndex
        if 0 <= index < len(self._straight):
            gui.show_straightened(self._straight[index])

    def exit(self):
        if self._placing is not None:
            self._placing()
            self._placing = None
        super().exit()


class CoronaryPlaqueTest(PanelTest):
    """Runs inside Slicer."""

    module = "CoronaryPlaque"

    def test_NodesToNodes(self):
        """The phantom with its own labels: node to node, with the scores of its voxels; then re-labelled."""
        from CoronaryPlaqueLib.calcium import CalciumParameters
        from CoronaryPlaqueLib.scene_logic import sample_scan
        from CoronaryPlaqueLib.scoring import score
        from CoronaryPlaqueLib.vessels import LCX, RCA, SITES

        self.needPackages()
        [volumeNode] = loadSampleData()
        sample = sample_scan()
        logic = CoronaryPlaqueLogic()
        quiet = CalciumParameters(figures=False)
        reader = self.addLabels(sample.image, sample.labels, volumeNode)
        result = logic.process(volumeNode, labelsNode=reader, parameters=quiet)
        truth = score(sample.image, sample.labels)
        self.assertGreater(truth.by_label[LCX].agatston, 0)
        for label, site in SITES.items():
            found = result.measurements.value("agatston_score", site)
            self.assertAlmostEqual(found, truth.by_label[label].agatston, delta=1e-6, msg=site)
        self.assertEqual(result.segmentation.GetSegmentation().GetNumberOfSegments(), 8)
        shown = vtk.vtkPolyData()
        self.assertTrue(result.segmentation.CreateClosedSurfaceRepresentation())
        result.segmentation.GetClosedSurfaceRepresentation("lcx_calcium", shown)
        self.assertGreater(shown.GetNumberOfPoints(), 20)

        moved = sample.labels.copy()
        moved[moved == LCX] = RCA
        corrected = self.addLabels(sample.image, moved, volumeNode)
        again = logic.process(volumeNode, labelsNode=corrected, parameters=quiet)
        self.assertEqual(again.measurements.value("agatston_score", "LCX"), 0.0)
        total = result.measurements.value("agatston_score", "total")
        self.assertAlmostEqual(again.measurements.value("agatston_score", "total"), total, delta=1e-6)

        self.assertEqual(logic.getParameterNode().device, "auto")
        self.assertGreater(logic.removeRun(result), 3)

    def test_ParametersBothWays(self):
        widget = self.panel()
        pairs = {
            "sex": ("sexComboBox", "currentIndex", "male", 2),
            "ageYears": ("ageSpinBox", "value", 66.0, 66.0),
            "race": ("raceComboBox", "currentIndex", "hispanic", 4),
            "calibrationMgPerMlHu": ("calibrationSpinBox", "value", 0.78, 0.78),
            "cacAgatston": ("agatstonSpinBox", "value", 120.0, 120.0),
            "dominance": ("dominanceComboBox", "currentIndex", "left", 2),
            "setting": ("settingComboBox", "currentIndex", "acute", 1),
            "ischaemia": ("ischaemiaComboBox", "currentIndex", "absent", 2),
            "highRiskPlaque": ("highRiskComboBox", "currentIndex", "present", 1),
            "stent": ("stentCheckBox", "checked", True, True),
            "graft": ("graftCheckBox", "checked", True, True),
            "exceptions": ("exceptionsCheckBox", "checked", True, True),
            "analysis": ("analysisComboBox", "currentIndex", "plaque", 1),
        }
        self.checkBothWays(widget, pairs)
        self.assertFalse(widget.ui.applyButton.enabled)
        self.assertIn("Choose the CT", widget.ui.applyButton.toolTip)

    def test_DicomFolder(self):
        """The CT of a folder of DICOM, in HU; the reader's labels were another patient's."""
        from CardioPrecisionLib.scene import image_from_node
        from CoronaryPlaqueLib.scene_logic import sample_scan

        widget, sample = self.ready(), sample_scan()
        with self.newFolder() as folder:
            sample.write_dicom(folder)
            widget.openFolder(folder)
        self.assertIn("is open", widget.ui.statusLabel.text)
        node = widget._parameterNode
        self.assertIsNone(node.labelsNode)
        image = image_from_node(node.inputNode)
        self.assertEqual(image.array.shape, sample.image.array.shape)
        self.assertLess(abs(image.array - sample.image.array).max(), 1.0)

    def test_RelabelALesion(self):
        """A run; a lesion of the circumflex becomes the right artery's, and the scores follow at once."""
        from CoronaryPlaqueLib.vessels import RCA

        widget = self.ready()
        count = self.nodeCount()
        before = self.values(self.apply(widget))
        table = widget.ui.lesionsTable
        vessels = [table.item(row, 1).text() for row in range(table.rowCount)]
        row = vessels.index("LCX")
        points = float(table.item(row, 2).text())
        table.setCurrentCell(row, 0)
        widget.onLesionClicked(row)
        widget.ui.vesselComboBox.currentIndex = RCA - 1
        self.assertTrue(widget.ui.relabelButton.enabled, widget.ui.relabelButton.toolTip)
        widget.ui.relabelButton.click()
        after = self.values(widget.chosenRun)
        self.assertAlmostEqual(
            after["agatston_score", "RCA"] - before["agatston_score", "RCA"], points, delta=0.01 * points
        )
        self.assertAlmostEqual(after["agatston_score", "total"], before["agatston_score", "total"], delta=1e-6)
        widget.ui.removeRunButton.click()
        self.assertEqual(self.nodeCount(), count)

    def test_Angiogram(self):
        """The synthetic angiogram between its points: the narrowed artery, CAD-RADS, a straightened volume."""
        self.needPackages()
        widget = self.panel()
        widget._parameterNode.analysis = "plaque"
        widget.loadSample()
        self.assertIn("LAD, LCX, RCA", widget.ui.seedsLabel.text)
        run = self.apply(widget)
        found = self.values(run)
        self.assertAlmostEqual(found["diameter_stenosis", "LAD"], 82, delta=8)
        self.assertAlmostEqual(found["diameter_stenosis", "RCA"], 77, delta=8)
        self.assertLess(found["diameter_stenosis", "LCX"], 25)
        self.assertIn("CAD-RADS 4A", widget.ui.summaryLabel.text)
        self.assertGreaterEqual(widget.ui.lesionsTable.rowCount, 2)
        self.assertEqual(widget.ui.straightComboBox.count, 3)
        widget.ui.straightButton.click()
        widget.onLesionClicked(0)

    def test_Cancel(self):
        self.checkCancel(self.ready())

    def test_SaveAndLoad(self):
        """After a scene went through a file, parameters and results are there again."""
        widget = self.ready()
        widget._parameterNode.race = "black"
        before = self.values(self.apply(widget))
        self.saveAndLoad()
        widget = self.panel()
        self.assertEqual(widget._parameterNode.race, "black")
        self.checkSame(self.values(widget.chosenRun), before)
        self.assertGreater(widget.ui.lesionsTable.rowCount, 3)
        self.assertTrue(widget.ui.recomputeButton.enabled, widget.ui.recomputeButton.toolTip)

    def test_SceneCloseWhileRunning(self):
        self.checkSceneClose(self.ready())

    def test_ReloadWhileRunning(self):
        self.checkReload(self.ready())

    def test_Model(self):
        """The shipped models on the phantom, where torch is there: its coronary score."""
        from CoronaryPlaqueLib.scene_logic import sample_scan
        from CoronaryPlaqueLib.scoring import score

        self.needPackages(torch=True)
        widget = self.panel()
        widget.loadSample()
        found = self.values(self.apply(widget))["agatston_score", "total"]
        sample = sample_scan()
        truth = score(sample.image, sample.labels).total().agatston
        self.assertAlmostEqual(found / truth, 1.0, delta=0.35)

    def ready(self):
        """The panel with the sample and its true labels as the reader's."""
        from CoronaryPlaqueLib.scene_logic import sample_scan

        self.needPackages()
        widget = self.panel()
        [volumeNode] = loadSampleData()
        sample = sample_scan()
        widget._parameterNode.labelsNode = self.addLabels(sample.image, sample.labels, volumeNode)
        widget._parameterNode.inputNode = volumeNode
        return widget

    def addLabels(self, image, labels, volumeNode):
        from CardioPrecisionLib import scene as mrml
        from CardioPrecisionLib.analysis import LabelMap
        from CardioPrecisionLib.scene_batch import SceneBatch
        from CoronaryPlaqueLib.vessels import SEGMENTS

        with SceneBatch(slicer.mrmlScene, "reader") as batch:
            return mrml.segmentation_to_node(
                batch, LabelMap(labels[None], image.affine, SEGMENTS), 0, "Reader", volumeNode
            )
