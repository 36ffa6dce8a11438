"""What the modules' self-tests share: a panel of its own, waiting for a run, a scene through a file.

Runs inside Slicer, started by the module's Reload and Test button, by ``Testing/Slicer/*.py`` or by CTest.
"""

# ruff: noqa: PT009

from __future__ import annotations

import os
import tempfile
import time
import unittest
from collections.abc import Callable, Mapping
from typing import Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

#: Kinds of nodes that a run may add.
ADDED = (
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLMarkupsCurveNode",
)
#: A run with a reader's labels takes some seconds; a loaded machine takes longer.
PATIENCE_SECONDS = 300.0


class PanelTest(ScriptedLoadableModuleTest):
    """Walks through a module's panel as a user would; numbers are compared with the phantoms' truth."""

    #: The module.
    module = ""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def tearDown(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Every test of the class, one after the other."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            try:
                getattr(self, name)()
            except unittest.SkipTest as reason:
                print(f"{name}: skipped, {reason}")
            finally:
                self.tearDown()

    def newFolder(self) -> tempfile.TemporaryDirectory[str]:
        """A folder that goes with its ``with``."""
        return tempfile.TemporaryDirectory()

    def panel(self) -> Any:
        """The module's panel, open and with a parameter node."""
        widget = slicer.util.getModuleWidget(self.module)
        widget.enter()
        return widget

    def needPackages(self, torch: bool = False) -> None:
        """Skip, and say why, where packages are missing: in testing mode Slicer installs nothing."""
        from .environment import MISSING, device, packages
        from .scene_desktop import requirement_lines

        facts = packages(requirement_lines(models=torch)) + (device() if torch else [])
        missing = [fact.what for fact in facts if fact.state == MISSING]
        if missing:
            self.skipTest(f"{', '.join(missing)} is not installed in Slicer's Python")

    def waitFor(self, done: Callable[[], bool], what: str) -> None:
        """Let the application work until something is so."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not done():
            self.assertLess(time.monotonic(), end, f"{what} took too long")
            slicer.app.processEvents()
            time.sleep(0.01)

    def apply(self, widget: Any) -> Any:
        """Press Apply, wait for the end, and return the run; its message is in the failure where it went wrong."""
        self.assertTrue(widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip)
        widget.ui.applyButton.click()
        self.assertTrue(widget.running, widget.ui.statusLabel.text)
        self.assertEqual(widget.ui.applyButton.text, "Cancel")
        self.waitFor(lambda: not widget.running, "the run")
        self.assertEqual(widget.ui.statusLabel.text, "Done.")
        return widget.chosenRun

    def values(self, run: Any) -> dict[tuple[str, str | None], float | None]:
        """(name, site) -> value of a run's measurement table."""
        from .widget_scene import table_columns

        columns = table_columns(run.table)
        rows = zip(columns["name"], columns["site"], columns["value"], strict=True)
        return {(name, site or None): value for name, site, value in rows}

    def checkSame(self, found: dict[Any, Any], before: dict[Any, Any]) -> None:
        """The same values as before a scene went through a file, which keeps six digits of a table."""
        self.assertEqual(set(found), set(before))
        for key, value in before.items():
            if isinstance(value, float):
                self.assertIsInstance(found[key], float, str(key))
                self.assertAlmostEqual(found[key], value, delta=1e-5 * max(abs(value), 1.0), msg=str(key))
            else:
                self.assertFalse(found[key], str(key))

    def nodeCount(self) -> int:
        """Nodes of the scene of the kinds that a run adds; views and editors come and go with the window."""
        return sum(int(slicer.mrmlScene.GetNumberOfNodesByClass(name)) for name in ADDED)

    # -- what every panel must do --------------------------------------------------------------------------------------
    def checkBothWays(self, widget: Any, pairs: Mapping[str, tuple[str, str, Any, Any]]) -> None:
        """Parameter node and widgets follow each other.

        `pairs`: parameter -> (widget, its property, a value of the parameter, what the property is then).
        """
        node = widget._parameterNode
        for parameter, (name, attribute, value, shown) in pairs.items():
            before, first = getattr(node, parameter), getattr(getattr(widget.ui, name), attribute)
            setattr(node, parameter, value)
            now = getattr(getattr(widget.ui, name), attribute)
            self.assertEqual(now, shown, f"{name} does not follow {parameter}")
            setattr(getattr(widget.ui, name), attribute, first)
            self.assertEqual(getattr(node, parameter), before, f"{parameter} does not follow {name}")

    def checkCancel(self, widget: Any) -> None:
        """Cancel ends the run, leaves the scene as it was and nothing on the disk."""
        count = self.nodeCount()
        widget.ui.applyButton.click()
        folder = widget._run.folder
        self.assertTrue(folder.is_dir())
        widget.ui.applyButton.click()
        self.waitFor(lambda: not widget.running, "the cancel")
        self.assertEqual(widget.ui.statusLabel.text, "Cancelled.")
        self.assertEqual(self.nodeCount(), count)
        self.assertFalse(folder.exists())

    def checkSceneClose(self, widget: Any) -> None:
        """A scene may be closed while a run goes on: no result, no process, no folder stays."""
        widget.ui.applyButton.click()
        run = widget._run
        slicer.mrmlScene.Clear()
        self.assertFalse(widget.running)
        self.waitFor(lambda: not run.running, "the end of the child process")
        self.assertFalse(run.folder.exists())
        self.assertEqual(widget.ui.applyButton.text, widget.applyTexts()[0])
        self.assertIsNone(widget.chosenRun)

    def checkReload(self, widget: Any) -> None:
        """The module may be loaded anew while a run goes on."""
        widget.ui.applyButton.click()
        run = widget._run
        slicer.util.reloadScriptedModule(self.module)
        self.waitFor(lambda: not run.running, "the end of the child process")
        self.assertFalse(run.folder.exists())
        self.assertIsNot(self.panel(), widget)

    def saveAndLoad(self) -> None:
        """The scene through a file."""
        with tempfile.TemporaryDirectory(prefix="cardioprecision-") as folder:
            path = os.path.join(folder, "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(path)
