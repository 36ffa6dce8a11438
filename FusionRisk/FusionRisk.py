"""Fusion Risk in 3D Slicer: a thin shell over FusionRiskLib. It has no user interface yet.

From the Python console::

    import FusionRisk
    logic = FusionRisk.FusionRiskLogic()
    logic.ensureDependencies()
    recordNode = logic.addRecord({"sex": "male", "age_years": 61, "sbp_mmhg": 148, "total_chol_mg_dl": 228})
    result = logic.processInChild(recordNode)

Measurements of LV Function and Coronary Plaque that are in the scene join the record; no image is needed.
"""

# ruff: noqa: PT009

import slicer
from slicer import vtkMRMLTextNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class FusionRisk(ScriptedLoadableModule):
    """Registers the module; there is no FusionRiskWidget yet."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Fusion Risk")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["CardioPrecision", "SubjectHierarchy"]
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _(
            "Published cardiovascular risk scores and the statements of guidelines that follow, from a clinical record "
            "and the measurements in the scene. For research, not for clinical decisions. It has no user interface "
            "yet; use FusionRiskLogic from Python."
        )
        parent.acknowledgementText = _(
            "Developed by the CardioPrecision developers. Every score and statement cites its source."
        )
        # Without a FusionRiskWidget class Slicer makes no widget representation by itself (Base/QTGUI/
        # qSlicerScriptedLoadableModule.cxx, setPythonSource); hidden keeps the module out of the menus as well.
        parent.widgetRepresentationCreationEnabled = False
        parent.hidden = True


@parameterNodeWrapper
class FusionRiskParameterNode:
    """What a user chooses; saved with the scene.

    recordNode: the clinical record, JSON in a text node.
    useMeasurements: whether the scene's measurement tables join the record.
    scores: names, families or patterns, separated by blanks; empty for all.
    """

    recordNode: vtkMRMLTextNode
    useMeasurements: bool = True
    scores: str = ""


class FusionRiskLogic(ScriptedLoadableModuleLogic):
    """Delegates to FusionRiskLib.scene_logic; nothing is computed here."""

    def getParameterNode(self):
        return FusionRiskParameterNode(super().getParameterNode())

    def ensureDependencies(self, torch=False):
        """Install what is missing, asking first; call it when the user starts something.

        :param torch: scores and plan need no model.
        """
        from CardioPrecisionLib.scene_desktop import ensure_dependencies

        ensure_dependencies(_("Fusion Risk"), torch)

    def addRecord(self, values):
        """Add a clinical record to the scene.

        :param values: field names and values; checked.
        :return: the text node that holds it.
        """
        from FusionRiskLib import scene_logic
        from FusionRiskLib.clinical.record import record_from_values

        return scene_logic.add_record(slicer.mrmlScene, record_from_values(values, _("the record"), "entered"))

    def process(self, recordNode, measurementNodes=None, scores=None, progress=None):
        """Score in this process; the application does not respond meanwhile.

        :param recordNode: text node with the clinical record.
        :param measurementNodes: measurement tables; None for all in the scene.
        :param scores: names, families or patterns; None for all.
        :param progress: callable(fraction, stage); raises Cancelled to stop.
        :return: FusionRiskLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.analysis import silent
        from FusionRiskLib import scene_logic

        return scene_logic.run_on_nodes(
            slicer.mrmlScene, recordNode, measurementNodes, scores=scores, progress=progress or silent
        )

    def processInChild(self, recordNode, measurementNodes=None, scores=None, progress=None, shouldStop=None):
        """Score in a child process, keep the application alive, and load the results.

        :param recordNode: text node with the clinical record.
        :param measurementNodes: measurement tables; None for all in the scene.
        :param scores: names, families or patterns; None for all.
        :param progress: callable(fraction, stage).
        :param shouldStop: callable that says whether the user has cancelled.
        :return: FusionRiskLib.scene_logic.SceneResult.
        """
        from CardioPrecisionLib.analysis import silent
        from CardioPrecisionLib.scene_desktop import child_options
        from FusionRiskLib import scene_logic

        return scene_logic.run_in_child(
            slicer.mrmlScene,
            recordNode,
            measurementNodes,
            scores=scores,
            progress=progress or silent,
            **child_options(shouldStop),
        )

    def removeRun(self, result):
        """Take everything that a run has added out of the scene."""
        from CardioPrecisionLib.scene_batch import remove_run

        return remove_run(slicer.mrmlScene, result.run_id)


class FusionRiskTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_NodesToNodes()

    def test_NodesToNodes(self):
        """The synthetic record, scored node to node: the numbers of the formulas, a plan, a report; then removed."""
        from FusionRiskLib import scene_logic
        from FusionRiskLib.scores import scores

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
