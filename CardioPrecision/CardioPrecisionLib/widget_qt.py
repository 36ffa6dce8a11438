"""What the module widgets share that needs Qt: a child process, tables, reasons on buttons, reports, an editor.

Runs inside Slicer's desktop only.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import qt
import slicer

from .analysis import Progress
from .errors import Cancelled
from .scene import browser_of_proxy
from .scene_desktop import WHEELS_SETTING
from .widget_run import follow

__all__ = [
    "CHOICE_PX",
    "WHEELS_SETTING",
    "SegmentEditor",
    "busy",
    "cancellable",
    "choice_box",
    "choose_folder",
    "column_names",
    "fill_table",
    "later",
    "launch",
    "name_choices",
    "open_file",
    "save_file",
    "set_reason",
    "set_setting",
    "setting",
    "show_chart",
    "show_page",
    "show_straightened",
    "show_volume",
]

#: Widths in a panel of 400 to 500 pixels: a column of sentences, the widest other column, a choice in a cell.
_SENTENCE_PX, _WIDE_PX, CHOICE_PX = 280, 235, 160
_EDITOR_TAG = "CardioPrecisionEditor"
_webWidgets: list[Any] = []  # a window without a parent lives as long as somebody knows it


def later(milliseconds: int, function: Callable[[], None]) -> None:
    """Call a function once, from the event loop."""
    qt.QTimer.singleShot(milliseconds, function)


def launch(
    command: list[str], variables: dict[str, str], on_line: Callable[[str], None], on_exit: Callable[[int], None]
) -> Any:
    """Start a process and follow it from the event loop; see `widget_run.Launch`.

    ``launchConsoleProcess`` follows by itself from Slicer 5.12 on (parameter ``blocking``); before, `follow` does.
    """
    start = slicer.util.launchConsoleProcess
    given = {"useStartupEnvironment": False, "updateEnvironment": variables}
    if "blocking" in inspect.signature(start).parameters:
        return start(
            command,
            blocking=False,
            logCallback=lambda line: on_line(str(line).rstrip("\r\n")),
            completedCallback=lambda code: on_exit(int(code)),
            **given,
        )
    process = start(command, **given)
    follow(process, on_line, on_exit, later)
    return process


def fill_table(table: Any, header: list[str], rows: Iterable[list[tuple[str, str]]], wrap: int | None = None) -> None:
    """Fill a QTableWidget with rows of (text, tooltip); `wrap` is a column of sentences."""
    rows = list(rows)
    table.clearContents()
    table.setColumnCount(len(header))
    table.setHorizontalHeaderLabels(header)
    table.setRowCount(len(rows))
    for r, row in enumerate(rows):
        for c, (text, tip) in enumerate(row):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tip or text)
            table.setItem(r, c, item)
    table.resizeColumnsToContents()
    for c in range(len(header) - 1):
        if table.columnWidth(c) > _WIDE_PX and c != wrap:
            table.setColumnWidth(c, _WIDE_PX)
    if wrap is not None:
        table.wordWrap = True
        table.setColumnWidth(wrap, _SENTENCE_PX)
    table.resizeRowsToContents()


@contextlib.contextmanager
def busy(text: str, say: Callable[[str], None]) -> Iterator[None]:
    """Say what takes some seconds, and show the waiting cursor meanwhile."""
    say(text)
    slicer.app.processEvents()
    qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()
        say("")


@contextlib.contextmanager
def cancellable(text: str, stop: str) -> Iterator[Progress]:
    """A progress function for work in this process; a window with a button `stop` opens where it takes seconds."""
    asked: list[bool] = []
    dialog = qt.QProgressDialog(text, stop, 0, 100, slicer.util.mainWindow())
    dialog.windowModality = qt.Qt.WindowModal
    dialog.minimumDuration = 1500
    dialog.canceled.connect(lambda: asked.append(True))

    def progress(fraction: float, stage: str) -> None:
        dialog.labelText = stage
        dialog.value = min(99, round(100 * fraction))  # at 100 it would close by itself
        slicer.app.processEvents()
        if asked:
            raise Cancelled

    try:
        yield progress
    finally:
        dialog.close()
        dialog.deleteLater()


def set_reason(button: Any, reason: str | None, tip: str) -> None:
    """Enable a button, or disable it and say why in its tooltip."""
    button.enabled = not reason
    button.toolTip = reason or tip


def name_choices(combo_box: Any, texts: Iterable[str]) -> None:
    """Give the choices of a combo box, which ``connectGui`` has filled with plain values, texts for people."""
    for n, text in enumerate(texts):
        combo_box.setItemText(n, text)


def show_page(html: str, key: str) -> str:
    """Show a page in Slicer's web view where there is one, else in the system's browser; the file that holds it."""
    folder = Path(slicer.app.temporaryPath)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"cardioprecision-report-{key}.html"
    path.write_text(html, encoding="utf-8")
    url = qt.QUrl.fromLocalFile(str(path))
    if slicer.app.testingEnabled():
        return str(path)
    if hasattr(slicer, "qSlicerWebWidget") and slicer.util.mainWindow() is not None:
        view = slicer.qSlicerWebWidget()
        view.url = url.toString()
        view.resize(1000, 900)
        view.show()
        _webWidgets[:] = [view]
    else:
        qt.QDesktopServices.openUrl(url)
    return str(path)


def show_chart(chart_node: Any) -> None:
    """Show a chart in the layout's plot view, where there are views."""
    if chart_node is not None and slicer.app.layoutManager() is not None:
        slicer.modules.plots.logic().ShowChartInLayout(chart_node)


def show_straightened(node: Any) -> None:
    """Show a volume along its own axes in all slice views, where there are views."""
    if slicer.app.layoutManager() is None:
        return
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        view.RotateToVolumePlane(node)
    slicer.util.resetSliceViews()


def show_volume(node: Any) -> None:
    """Show a volume in all slice views, with the player of its frames, where there are views."""
    if slicer.app.layoutManager() is None:
        return
    browser = browser_of_proxy(node)
    if browser is not None:
        slicer.modules.sequences.toolBar().setActiveBrowserNode(browser)
    slicer.util.setSliceViewerLayers(background=node, fit=True)


def column_names(table_node: Any) -> list[str]:
    """The columns of a table node, in their order."""
    table = table_node.GetTable()
    return [str(table.GetColumnName(n)) for n in range(table.GetNumberOfColumns())]


def setting(name: str) -> str:
    """A setting of the application as text; empty where it is not set."""
    return str(slicer.app.userSettings().value(name) or "")


def set_setting(name: str, value: str) -> None:
    slicer.app.userSettings().setValue(name, value)


def choice_box(texts: Iterable[str], index: int, chosen: Callable[[int], None], tip: str = "") -> Any:
    """A combo box for a cell of a table; ``chosen(index)`` when the user chooses."""
    box = qt.QComboBox()
    for text in texts:
        box.addItem(text)
    box.currentIndex = index
    box.toolTip = tip
    box.currentIndexChanged.connect(chosen)
    return box


def open_file(title: str, kinds: str) -> str:
    """A file that the user chooses; empty where the dialog was cancelled."""
    return str(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", kinds) or "")


def save_file(title: str, name: str, kinds: str) -> str:
    """A file to write that the user chooses; empty where the dialog was cancelled."""
    return str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kinds) or "")


def choose_folder(title: str) -> str:
    """A folder that the user chooses; empty where the dialog was cancelled."""
    return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title) or "")


class SegmentEditor:
    """Slicer's Segment Editor inside a frame of a module; made when it is first opened."""

    def __init__(self, frame: Any):
        self._frame = frame
        self._editor: Any = None

    def open(self, segmentation: Any, volume: Any) -> None:
        """Edit a segmentation over a volume."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(_EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(_EDITOR_TAG)
            node = scene.AddNode(node)
        if self._editor is None:
            self._editor = slicer.qMRMLSegmentEditorWidget()
            self._editor.setMaximumNumberOfUndoStates(10)
            self._editor.setSegmentationNodeSelectorVisible(False)
            self._editor.setSourceVolumeNodeSelectorVisible(False)
            self._frame.layout().addWidget(self._editor)
        # The parameter set first, so that the selections that follow are kept in it (as in Slicer's own module).
        self._editor.setMRMLSegmentEditorNode(node)
        self._editor.setMRMLScene(scene)
        self._editor.setSegmentationNode(segmentation)
        self._editor.setSourceVolumeNode(volume)
        self._editor.installKeyboardShortcuts()

    def close(self) -> None:
        """Stop editing."""
        if self._editor is not None:
            self._editor.setActiveEffect(None)
            self._editor.uninstallKeyboardShortcuts()
            self._editor.removeViewObservations()

    def forget(self) -> None:
        """The scene is going."""
        if self._editor is not None:
            self.close()
            self._editor.setSegmentationNode(None)
            self._editor.setSourceVolumeNode(None)
