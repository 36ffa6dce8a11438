"""Coronary Plaque in 3D Slicer: a thin shell over CoronaryPlaqueLib. It has no user interface yet.

From the Python console::

    import CoronaryPlaque
    logic = CoronaryPlaque.CoronaryPlaqueLogic()
    logic.ensureDependencies()
    result = logic.processInChild(slicer.util.getNode("calcium score"))

To correct a call, move its voxels of ``result.segmentation`` to another segment, then score again without the models::

    corrected = logic.process(slicer.util.getNode("calcium score"), labelsNode=result.segmentation)

``slicer.util.getModuleLogic`` finds the logic of a scripted module through its widget, so it serves only once there is
one.
"""

# ruff: noqa: PT009, UP045

from typing import Annotated, Optional

import slicer
import vtk
from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

SAMPLE_NAME = "CardioPrecision: synthetic cardiac CT"


class CoronaryPlaque(ScriptedLoadableModule):
    """Registers the module; there is no CoronaryPlaqueWidget yet."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Coronary Plaque")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["CardioPrecision", "Segmentations", "SubjectHierarchy"]
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "Coronary calcium by vessel from a CT of heart or chest without contrast: Agatston score, volume, mass, "
            "percentiles. For research, not for diagnosis. It has no user interface yet; use CoronaryPlaqueLogic from "
            "Python."
        )
        parent.acknowledgementText = _(
            "Developed by the CardioPrecision developers. The weights of the models were trained on synthetic chests."
        )
        # Without a CoronaryPlaqueWidget class Slicer makes no widget representation by itself (Base/QTGUI/
        # qSlicerScriptedLoadableModule.cxx, setPythonSource); hidden keeps the module out of the menus as well.
        parent.widgetRepresentationCreationEnabled = False
        parent.hidden = True
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic CT in the module Sample Data."""
    from CardioPrecisionLib.scene_desktop import register_sample

    register_sample(SAMPLE_NAME, "Synthetic cardiac CT", loadSampleData)


def loadSampleData():
    """Compute the synthetic CT and show it; returns its node in a list."""
    from CoronaryPlaqueLib.scene_logic import add_sample

    volumeNode = add_sample(slicer.mrmlScene)
    if slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return [volumeNode]


@parameterNodeWrapper
class CoronaryPlaqueParameterNode:
    """What a user chooses; saved with the scene.

    inputNode: a CT volume without contrast, in HU.
    labelsNode: a reader's own segmentation or label volume, used instead of the models.
    calibrationMgPerMlHu: mass calibration factor from a phantom.
    """

    inputNode: vtkMRMLScalarVolumeNode
    labelsNode: vtkMRMLNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    calibrationMgPerMlHu: Optional[float] = None
    sex: Annotated[str, Choice(["", "female", "male"])] = ""
    ageYears: Optional[float] = None
    race: Annotated[str, Choice(["", "white", "black", "chinese", "hispanic"])] = ""


class CoronaryPlaqueLogic(ScriptedLoadableModuleLogic):
    """Delegates to CoronaryPlaqueLib.scene_logic; nothing is computed here."""

    def getParameterNode(self):
        return CoronaryPlaqueParameterNode(super().getParameterNode())

    def ensureDependencies(self, torch=True):
        """Install what is missing, asking first; call it when the user starts something.

        :param torch: whether the models are needed; a reader's own labels do without.
        """
        from CardioPrecisionLib.scene_desktop import ensure_dependencies

        ensure_dependencies(_("Coronary Plaque"), torch)

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
        from CoronaryPlaqueLib import scene_logic

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
        """Score calcium in a child process, keep the application alive, and load the results.

        :param parameters: values by name, as fields of CoronaryPlaqueLib.calcium.CalciumParameters.
        :param clinical: values by field name (sex, age_years, race).
        :param progress: callable(fraction, stage).
        :param shouldStop: callable that says whether the user has cancelled.
        :return: CoronaryPlaqueLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.analysis import silent
        from CardioPrecisionLib.scene_desktop import child_options
        from CoronaryPlaqueLib import scene_logic

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


class CoronaryPlaqueTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_NodesToNodes()

    def test_NodesToNodes(self):
        """The phantom with its own labels: node to node, with the scores of its voxels; then re-labelled."""
        from CoronaryPlaqueLib.calcium import CalciumParameters
        from CoronaryPlaqueLib.scene_logic import sample_scan
        from CoronaryPlaqueLib.scoring import score
        from CoronaryPlaqueLib.vessels import LCX, RCA, SITES

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

    def addLabels(self, image, labels, volumeNode):
        from CardioPrecisionLib import scene as mrml
        from CardioPrecisionLib.analysis import LabelMap
        from CardioPrecisionLib.scene_batch import SceneBatch
        from CoronaryPlaqueLib.vessels import SEGMENTS

        with SceneBatch(slicer.mrmlScene, "reader") as batch:
            return mrml.segmentation_to_node(
                batch, LabelMap(labels[None], image.affine, SEGMENTS), 0, "Reader", volumeNode
            )
