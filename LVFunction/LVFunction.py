"""LV function in 3D Slicer: a thin shell over LVFunctionLib.

From the Python console::

    logic = slicer.util.getModuleLogic("LVFunction")
    logic.ensureDependencies()
    result = logic.processInChild(slicer.util.getNode("cine"))
"""

# ruff: noqa: PT009

from typing import Annotated, Union

import slicer
import vtk
from CardioPrecisionLib import widget_qt as gui
from CardioPrecisionLib.widget_base import AnalysisLogic, AnalysisWidget
from CardioPrecisionLib.widget_scene import select_frame
from CardioPrecisionLib.widget_test import PanelTest
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSequenceNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

SAMPLE_NAME = "CardioPrecision: synthetic cine short axis"


class LVFunction(ScriptedLoadableModule):
    """Registers the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LV Function")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["CardioPrecision"]
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "Left and right ventricular volumes, ejection fraction and mass from a cine short-axis MR sequence. "
            "Choose the cine and press Apply; jump to end-diastole and end-systole, look at the volume curve, correct "
            "the segmentation and measure again. For research, not for diagnosis. To cite: see CITATION.cff of "
            '<a href="https://github.com/CardioPrecision/CardioPrecision">CardioPrecision</a>; the model was trained '
            "on ACDC (Bernard et al., IEEE Trans Med Imaging 2018;37:2514)."
        )
        parent.acknowledgementText = _(
            "Developed by the CardioPrecision developers. The weights of the model were trained on the ACDC data set "
            "(Bernard et al., IEEE Transactions on Medical Imaging 2018) and carry their own licence."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic cine in the module Sample Data."""
    from CardioPrecisionLib.scene_desktop import register_sample

    register_sample(SAMPLE_NAME, "Synthetic cine short axis", loadSampleData)


def loadSampleData():
    """Compute the synthetic cine and show it; returns its nodes, the volume on display first."""
    from LVFunctionLib.scene_logic import add_sample

    sequenceNode, browserNode = add_sample(slicer.mrmlScene)
    volumeNode = browserNode.GetProxyNode(sequenceNode)
    if slicer.app.layoutManager() is not None:
        slicer.modules.sequences.toolBar().setActiveBrowserNode(browserNode)
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return [volumeNode, sequenceNode, browserNode]


@parameterNodeWrapper
class LVFunctionParameterNode:
    """What a user chooses; saved with the scene.

    inputNode: a volume that shows a sequence, a sequence of volumes, or a single volume.
    labelsNode: a reader's own labels, used instead of the model.
    edFrame, esFrame: frames counted from 1, 0 where they are found on the volume curve.
    ageYears, heightCm, weightKg: 0 where they are not known.
    """

    inputNode: Union[vtkMRMLScalarVolumeNode, vtkMRMLSequenceNode, None]  # noqa: UP007
    labelsNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    edFrame: Annotated[int, WithinRange(0, 9999)] = 0
    esFrame: Annotated[int, WithinRange(0, 9999)] = 0
    sex: Annotated[str, Choice(["", "female", "male"])] = ""
    ageYears: Annotated[float, WithinRange(0, 120)] = 0.0
    heightCm: Annotated[float, WithinRange(0, 250)] = 0.0
    weightKg: Annotated[float, WithinRange(0, 400)] = 0.0


class LVFunctionLogic(AnalysisLogic):
    """Delegates to LVFunctionLib.scene_logic; nothing is computed here."""

    title = "LV Function"
    border = "LVFunctionLib.scene_logic"

    def getParameterNode(self):
        return LVFunctionParameterNode(super().getParameterNode())

    def process(self, inputNode, labelsNode=None, parameters=None, patient=None, progress=None):
        """Analyse in this process; the application does not respond meanwhile.

        :param inputNode: sequence browser, sequence of volumes, or volume.
        :param labelsNode: a reader's segmentation or label volume, or a sequence of them.
        :param parameters: LVFunctionLib.volumes.LVParameters.
        :param patient: CardioPrecisionLib.measurement.Patient.
        :param progress: callable(fraction, stage); raises Cancelled to stop.
        :return: LVFunctionLib.scene_logic.SceneResult.
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
        """Analyse in a child process, keep the application alive, wait, and load the results.

        :param parameters: values by name, as fields of LVFunctionLib.volumes.LVParameters.
        :param clinical: values by field name (sex, age_years, height_cm, weight_kg).
        :param progress: callable(fraction, stage).
        :param shouldStop: callable that says whether the user has cancelled.
        :return: LVFunctionLib.scene_logic.SceneResult.
        """
        return self.runInChild(
            inputNode,
            labels_node=labelsNode,
            parameters=parameters,
            clinical=clinical,
            progress=progress,
            shouldStop=shouldStop,
        )

    def openStudy(self, parameterNode, path, progress):
        """Read the cine of a folder of DICOM, or of a file, into the scene.

        :return: CardioPrecisionLib.scene_study.Opened.
        """
        from CardioPrecisionLib.scene_study import open_study

        return open_study(slicer.mrmlScene, "cine_sax", path, _("Cine short axis"), progress)

    def startRun(self, parameterNode, onProgress, onEnd, licences=None, labelsNode=None, replaces=None):
        """Start the run that a parameter node describes and return at once.

        :param labelsNode: labels to use instead of the parameter node's.
        :param replaces: id of the run that goes when this one is there.
        :return: CardioPrecisionLib.widget_run.ChildRun.
        """
        inputNode, labelsNode = parameterNode.inputNode, labelsNode or parameterNode.labelsNode
        parameters, clinical = runParameters(parameterNode)
        border = self.sceneLogic()
        return self.start(
            inputNode,
            lambda folder: border.export_job(slicer.mrmlScene, inputNode, folder, labelsNode, parameters),
            onProgress,
            onEnd,
            parameters=parameters,
            clinical=clinical,
            licences=licences,
            replaces=replaces,
        )


def runParameters(parameterNode):
    """Parameters and clinical values of a job; what is not known is left out."""
    parameters = {"device": parameterNode.device}
    for name, frame in (("ed_frame", parameterNode.edFrame), ("es_frame", parameterNode.esFrame)):
        if frame:
            parameters[name] = frame
    clinical = {
        "sex": parameterNode.sex,
        "age_years": parameterNode.ageYears,
        "height_cm": parameterNode.heightCm,
        "weight_kg": parameterNode.weightKg,
    }
    return parameters, {name: value for name, value in clinical.items() if value}


class LVFunctionWidget(AnalysisWidget):
    """Cine in; table, curve, key frames, correction."""

    analyses = ("lv-function",)
    bundles = ("cine_sax_ventricles",)
    unknownPatient = {"labelsNode": None, "edFrame": 0, "esFrame": 0}  # noqa: RUF012

    def makeLogic(self):
        return LVFunctionLogic()

    def connectWidgets(self):
        self.ui.edButton.clicked.connect(self.onEdButton)
        self.ui.esButton.clicked.connect(self.onEsButton)
        self.ui.curveButton.clicked.connect(self.onCurveButton)

    def nameChoices(self):
        gui.name_choices(self.ui.sexComboBox, [_("unknown"), _("female"), _("male")])
        gui.name_choices(self.ui.deviceComboBox, [_("automatic"), _("CPU"), _("GPU (CUDA)"), _("GPU (Apple)")])

    def whyNotApply(self):
        node = self._parameterNode
        if node.inputNode is None:
            return _("Choose the cine, or load the sample.")
        if node.edFrame and node.edFrame == node.esFrame:
            return _("End-diastole and end-systole cannot be the same frame.")
        return ""

    def needsModel(self):
        return self._parameterNode.labelsNode is None

    def showRun(self, run):
        none = "" if run is not None else _("There are no results yet.")
        frames = {name: run.frame(name) if run is not None else None for name in ("ed", "es")}
        for name, button in (("ed", self.ui.edButton), ("es", self.ui.esButton)):
            tip = _("Show frame {frame}.").format(frame=frames[name]) if frames[name] else ""
            gui.set_reason(button, none or ("" if tip else _("The run does not say which frame it is.")), tip)
        chart = run.first("vtkMRMLPlotChartNode") if run is not None else None
        gui.set_reason(
            self.ui.curveButton,
            none or ("" if chart is not None else _("A single frame has no curve.")),
            _("Show the volumes over the cardiac cycle in a plot view."),
        )

    def showResult(self, result):
        if slicer.app.layoutManager() is None:
            return
        run = self.chosenRun
        if run is not None and run.input is not None:
            from CardioPrecisionLib.scene import shown_volume

            slicer.util.setSliceViewerLayers(background=shown_volume(run.input), fit=True)
        if result.browser is not None:
            slicer.modules.sequences.toolBar().setActiveBrowserNode(result.browser)
        gui.show_chart(result.chart)

    def loadSample(self):
        self._parameterNode.inputNode = loadSampleData()[0]

    def chooseInputOf(self, run):
        self._parameterNode.inputNode = run.input

    def onEdButton(self):
        select_frame(self.chosenRun, self.chosenRun.frame("ed"))

    def onEsButton(self):
        select_frame(self.chosenRun, self.chosenRun.frame("es"))

    def onCurveButton(self):
        gui.show_chart(self.chosenRun.first("vtkMRMLPlotChartNode"))


class LVFunctionTest(PanelTest):
    """Runs inside Slicer."""

    module = "LVFunction"

    def test_NodesToNodes(self):
        """The phantom with its own labels: node to node, with the phantom's true volumes."""
        from CardioPrecisionLib.phantom import demo_patient

        self.needPackages()
        volumeNode, sequenceNode, browserNode = loadSampleData()
        truth = demo_patient().sample
        labels = self.addTrueLabels(sequenceNode)
        logic = LVFunctionLogic()
        result = logic.process(volumeNode, labelsNode=labels)
        for name in ("lv_edv", "lv_esv", "lv_ef", "lv_mass"):
            self.assertAlmostEqual(
                result.measurements.value(name) / truth.measurements[name], 1.0, delta=0.03, msg=name
            )
        self.assertEqual(result.segmentation_sequence.GetNumberOfDataNodes(), sequenceNode.GetNumberOfDataNodes())
        self.assertEqual(result.browser.GetID(), browserNode.GetID())
        self.assertTrue(browserNode.IsSynchronizedSequenceNodeID(result.segmentation_sequence.GetID()))
        self.assertEqual(result.segmentation.GetSegmentation().GetNumberOfSegments(), 3)
        shown = vtk.vtkPolyData()
        self.assertTrue(result.segmentation.CreateClosedSurfaceRepresentation())
        result.segmentation.GetClosedSurfaceRepresentation("lv_cavity", shown)
        self.assertGreater(shown.GetNumberOfPoints(), 100)
        self.assertEqual(logic.getParameterNode().device, "auto")
        self.assertGreater(logic.removeRun(result), 5)

    def test_ParametersBothWays(self):
        widget = self.panel()
        pairs = {
            "sex": ("sexComboBox", "currentIndex", "female", 1),
            "ageYears": ("ageSpinBox", "value", 61.0, 61.0),
            "heightCm": ("heightSpinBox", "value", 178.5, 178.5),
            "weightKg": ("weightSpinBox", "value", 92.0, 92.0),
            "edFrame": ("edFrameSpinBox", "value", 3, 3),
            "esFrame": ("esFrameSpinBox", "value", 9, 9),
            "device": ("deviceComboBox", "currentIndex", "cpu", 1),
        }
        self.checkBothWays(widget, pairs)
        self.assertFalse(widget.ui.applyButton.enabled)
        self.assertIn("Choose the cine", widget.ui.applyButton.toolTip)
        volumeNode, _sequenceNode, _browserNode = loadSampleData()
        widget.ui.inputSelector.setCurrentNode(volumeNode)
        self.assertEqual(widget._parameterNode.inputNode, volumeNode)
        self.assertTrue(widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip)
        widget._parameterNode.edFrame = widget._parameterNode.esFrame = 4
        self.assertFalse(widget.ui.applyButton.enabled)
        self.assertIn("same frame", widget.ui.applyButton.toolTip)

    def test_DicomFolder(self):
        """The cine of a folder of DICOM; the reader's labels were another patient's."""
        from CardioPrecisionLib import scene as mrml
        from CardioPrecisionLib.phantom import demo_patient

        widget, patient = self.ready(), demo_patient()
        with self.newFolder() as folder:
            patient.write_dicom(folder)
            widget.openFolder(folder)
        self.assertIn("is open", widget.ui.statusLabel.text)
        node = widget._parameterNode
        self.assertIsNone(node.labelsNode)
        sequence = mrml.sequence_from_node(mrml.sequence_node_of(node.inputNode))
        self.assertEqual(sequence.n_frames, patient.sample.sequence.n_frames)
        self.assertEqual(sequence.shape, patient.sample.sequence.shape)
        count = self.nodeCount()
        with self.newFolder() as folder:
            widget.openFolder(folder)
        self.assertIn("is empty", widget.ui.statusLabel.text)
        self.assertEqual(self.nodeCount(), count)

    def test_RunAndWhatFollows(self):
        """Apply, the numbers of the phantom, the frames, measure again, remove."""
        from CardioPrecisionLib.phantom import demo_patient

        widget = self.ready()
        count = self.nodeCount()
        run = self.apply(widget)
        truth, found = demo_patient().sample.measurements, self.values(run)
        for name in ("lv_edv", "lv_esv", "lv_ef", "lv_mass"):
            self.assertAlmostEqual(found[name, None] / truth[name], 1.0, delta=0.03, msg=name)
        self.assertGreater(widget.ui.measurementsTable.rowCount, 10)
        browser = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
        for button, name in ((widget.ui.esButton, "es"), (widget.ui.edButton, "ed")):
            self.assertTrue(button.enabled, button.toolTip)
            button.click()
            self.assertEqual(browser.GetSelectedItemNumber(), run.frame(name) - 1)
        self.assertTrue(widget.ui.curveButton.enabled, widget.ui.curveButton.toolTip)
        widget.ui.curveButton.click()
        self.assertIn("<html", run.report.GetText())
        widget.ui.correctButton.click()
        self.assertTrue(widget.ui.correctButton.checked)
        widget.ui.correctButton.click()
        widget._parameterNode.labelsNode = None
        widget.ui.recomputeButton.click()
        self.waitFor(lambda: not widget.running, "measuring again")
        again = widget.chosenRun
        self.assertNotEqual(again.run_id, run.run_id)
        self.assertAlmostEqual(self.values(again)["lv_ef", None], found["lv_ef", None], delta=0.5)
        widget.ui.removeRunButton.click()
        self.assertIsNone(widget.chosenRun)
        self.assertEqual(self.nodeCount(), count)

    def test_Cancel(self):
        self.checkCancel(self.ready())

    def test_SaveAndLoad(self):
        """After a scene went through a file, parameters and results are there again."""
        widget = self.ready()
        widget._parameterNode.sex = "male"
        before = self.values(self.apply(widget))
        self.saveAndLoad()
        widget = self.panel()
        self.assertEqual(widget._parameterNode.sex, "male")
        self.assertIsNotNone(widget._parameterNode.inputNode)
        run = widget.chosenRun
        self.checkSame(self.values(run), before)
        self.assertIsNotNone(run.segmentation)
        self.assertIn("<html", run.report.GetText())
        self.assertTrue(widget.ui.recomputeButton.enabled, widget.ui.recomputeButton.toolTip)

    def test_SceneCloseWhileRunning(self):
        self.checkSceneClose(self.ready())

    def test_ReloadWhileRunning(self):
        self.checkReload(self.ready())

    def test_Model(self):
        """The shipped model on the phantom, where torch is there and its licence was accepted."""
        from CardioPrecisionLib.bundle import licence, registry
        from CardioPrecisionLib.phantom import demo_patient

        self.needPackages(torch=True)
        if not licence.is_accepted(registry.get_bundle("cine_sax_ventricles")):
            self.skipTest("the licence of cine_sax_ventricles was not accepted (CARDIOPRECISION_ACCEPT_LICENSES)")
        widget = self.panel()
        widget.loadSample()
        run = self.apply(widget)
        self.assertAlmostEqual(self.values(run)["lv_ef", None], demo_patient().sample.measurements["lv_ef"], delta=8)

    def ready(self):
        """The panel with the sample and its true labels as the reader's."""
        self.needPackages()
        widget = self.panel()
        volumeNode, sequenceNode, _browserNode = loadSampleData()
        widget._parameterNode.labelsNode = self.addTrueLabels(sequenceNode)
        widget._parameterNode.inputNode = volumeNode
        return widget

    def addTrueLabels(self, sequenceNode):
        from CardioPrecisionLib import scene as mrml
        from CardioPrecisionLib.analysis import LabelMap
        from CardioPrecisionLib.phantom import demo_patient
        from CardioPrecisionLib.scene_batch import SceneBatch
        from LVFunctionLib.segments import SEGMENTS

        truth = demo_patient().sample
        labels = LabelMap(truth.labels, truth.sequence.affine, SEGMENTS)
        with SceneBatch(slicer.mrmlScene, "reader") as batch:
            return mrml.segmentation_sequence_to_node(batch, labels, sequenceNode, "Reader")[0]
