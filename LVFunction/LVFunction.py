"""LV function in 3D Slicer: a thin shell over LVFunctionLib. It has no user interface yet.

From the Python console::

    import LVFunction
    logic = LVFunction.LVFunctionLogic()
    logic.ensureDependencies()
    result = logic.processInChild(slicer.util.getNode("cine"))

``slicer.util.getModuleLogic`` finds the logic of a scripted module through its widget, so it serves only once there is
one.
"""

# ruff: noqa: PT009, UP045

from typing import Annotated, Optional

import slicer
import vtk
from slicer import vtkMRMLNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

SAMPLE_NAME = "CardioPrecision: synthetic cine short axis"


class LVFunction(ScriptedLoadableModule):
    """Registers the module; there is no LVFunctionWidget yet."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LV Function")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["CardioPrecision", "Sequences", "Segmentations", "SubjectHierarchy"]
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "Left and right ventricular volumes, ejection fraction and mass from a cine short-axis MR sequence. "
            "For research, not for diagnosis. It has no user interface yet; use LVFunctionLogic from Python."
        )
        parent.acknowledgementText = _(
            "Developed by the CardioPrecision developers. The weights of the model were trained on the ACDC data set "
            "(Bernard et al., IEEE Transactions on Medical Imaging 2018) and carry their own licence."
        )
        # Without an LVFunctionWidget class Slicer makes no widget representation by itself (Base/QTGUI/
        # qSlicerScriptedLoadableModule.cxx, setPythonSource); hidden keeps the module out of the menus as well.
        parent.widgetRepresentationCreationEnabled = False
        parent.hidden = True
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

    inputNode: a sequence browser, a sequence of volumes, or a volume that shows one.
    labelsNode: a reader's own labels, used instead of the model.
    edFrame, esFrame: frames counted from 1, 0 where they are found on the volume curve.
    """

    inputNode: vtkMRMLNode
    labelsNode: vtkMRMLNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    edFrame: int = 0
    esFrame: int = 0
    sex: Annotated[str, Choice(["", "female", "male"])] = ""
    ageYears: Optional[float] = None
    heightCm: Optional[float] = None
    weightKg: Optional[float] = None


class LVFunctionLogic(ScriptedLoadableModuleLogic):
    """Delegates to LVFunctionLib.scene_logic; nothing is computed here."""

    def getParameterNode(self):
        return LVFunctionParameterNode(super().getParameterNode())

    def ensureDependencies(self, torch=True):
        """Install what is missing, asking first; call it when the user starts something.

        :param torch: whether the model is needed; a reader's own labels do without.
        """
        from CardioPrecisionLib.scene_desktop import ensure_dependencies

        ensure_dependencies(_("LV Function"), torch)

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
        from LVFunctionLib import scene_logic

        return scene_logic.run_on_nodes(
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
        """Analyse in a child process, keep the application alive, and load the results.

        :param parameters: values by name, as fields of LVFunctionLib.volumes.LVParameters.
        :param clinical: values by field name (sex, age_years, height_cm, weight_kg).
        :param progress: callable(fraction, stage).
        :param shouldStop: callable that says whether the user has cancelled.
        :return: LVFunctionLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.analysis import silent
        from CardioPrecisionLib.scene_desktop import child_options
        from LVFunctionLib import scene_logic

        return scene_logic.run_in_child(
            slicer.mrmlScene,
            inputNode,
            labels_node=labelsNode,
            parameters=parameters,
            clinical=clinical,
            progress=progress or silent,
            **child_options(shouldStop),
        )

    def removeRun(self, result):
        """Take everything that a run has added out of the scene."""
        from CardioPrecisionLib.scene_batch import remove_run

        return remove_run(slicer.mrmlScene, result.run_id)


class LVFunctionTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_NodesToNodes()

    def test_NodesToNodes(self):
        """The phantom with its own labels: node to node, with the phantom's true volumes."""
        from CardioPrecisionLib.phantom import demo_patient

        volumeNode, sequenceNode, browserNode = loadSampleData()
        truth = demo_patient().sample
        labels = self.addTrueLabels(sequenceNode, truth)
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

    def addTrueLabels(self, sequenceNode, truth):
        from CardioPrecisionLib import scene as mrml
        from CardioPrecisionLib.analysis import LabelMap
        from CardioPrecisionLib.scene_batch import SceneBatch
        from LVFunctionLib.segments import SEGMENTS

        labels = LabelMap(truth.labels, truth.sequence.affine, SEGMENTS)
        with SceneBatch(slicer.mrmlScene, "reader") as batch:
            return mrml.segmentation_sequence_to_node(batch, labels, sequenceNode, "Reader")[0]
