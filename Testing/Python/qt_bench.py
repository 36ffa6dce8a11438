"""Real Qt for the module widgets, outside of Slicer: PySide6 without a screen, speaking PythonQt's dialect. Tests only.

What PythonQt does differently is added to PySide6's classes: Qt properties are attributes (``button.text = …``).
Slicer's own widgets are the least that the module widgets need of them; a name that they do not have is an error here
as it is in Slicer.
"""

from __future__ import annotations

import os
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

_APPLICATION: list[Any] = []


def _property(name: str) -> property:
    return property(
        lambda self: QtCore.QObject.property(self, name),
        lambda self, value: QtCore.QObject.setProperty(self, name, value),
    )


class CollapsibleButton(QtWidgets.QGroupBox):
    """As ``ctkCollapsibleButton``."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False

    def _get(self) -> bool:
        return self._collapsed

    def _set(self, on: bool) -> None:
        self._collapsed = on
        self._fold()

    def _fold(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                QtWidgets.QWidget.setVisible(child, not self._collapsed)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        if self._collapsed:
            self._fold()

    collapsed = QtCore.Property(bool, _get, _set)
    text = QtCore.Property(
        str, lambda self: QtCore.QObject.property(self, "title"), lambda self, value: self.setTitle(value)
    )


class NodeComboBox(QtWidgets.QComboBox):
    """As ``qMRMLNodeComboBox``: nodes of given classes, or none."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._own: dict[str, Any] = {}

    def setMRMLScene(self, scene: Any) -> None:
        self.scene = scene

    def currentNode(self) -> Any:
        return self._node

    @property
    def currentNodeID(self) -> str:
        return self._node.GetID() if self._node is not None else ""

    def setCurrentNode(self, node: Any) -> None:
        kinds = self.nodeTypes
        if node is not None and kinds and not any(node.IsA(kind) for kind in kinds):
            return  # as the real one, which offers nothing else
        if node is not self._node:
            self._node = node
            self.clear()
            self.addItem(node.GetName() if node is not None else "None")
            self.currentNodeChanged.emit(node)


for _name, _kind, _default in (
    ("nodeTypes", "QStringList", ()),
    ("noneEnabled", bool, False),
    ("addEnabled", bool, True),
    ("removeEnabled", bool, True),
    ("renameEnabled", bool, False),
    ("editEnabled", bool, False),
    ("hideChildNodeTypes", "QStringList", ()),
    ("noneDisplay", str, "None"),
    ("baseName", str, ""),
):
    setattr(
        NodeComboBox,
        _name,
        property(
            lambda self, name=_name, default=_default: self._own.get(name, default),
            lambda self, value, name=_name: self._own.__setitem__(name, value),
        ),
    )


class MRMLWidget(QtWidgets.QWidget):
    """As ``qMRMLWidget``: hands its scene to the widgets inside of it."""

    def setMRMLScene(self, scene: Any) -> None:
        for box in self.findChildren(NodeComboBox):
            box.setMRMLScene(scene)


class SegmentEditorWidget(QtWidgets.QLabel):
    """As ``qMRMLSegmentEditorWidget``, which it does not draw; remembers what it edits."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__("Segment Editor", parent)
        self.calls: list[tuple[str, Any]] = []
        self.segmentation: Any = None

    def setSegmentationNode(self, node: Any) -> None:
        self.segmentation = node
        self.calls.append(("setSegmentationNode", node))


for _name in (
    "setMaximumNumberOfUndoStates", "setSegmentationNodeSelectorVisible", "setSourceVolumeNodeSelectorVisible",
    "setMRMLSegmentEditorNode", "setMRMLScene", "setSourceVolumeNode", "setActiveEffect", "installKeyboardShortcuts",
    "uninstallKeyboardShortcuts", "removeViewObservations", "setupViewObservations",
):  # fmt: skip
    setattr(SegmentEditorWidget, _name, lambda self, *given, name=_name: self.calls.append((name, *given)))

#: Class in a ``.ui`` file -> what stands for it.
SLICER_WIDGETS = {
    "ctkCollapsibleButton": CollapsibleButton,
    "qMRMLNodeComboBox": NodeComboBox,
    "qMRMLWidget": MRMLWidget,
    "qMRMLSegmentEditorWidget": SegmentEditorWidget,
}


def application() -> Any:
    """The Qt application, made once."""
    if not _APPLICATION:
        _APPLICATION.append(QtWidgets.QApplication.instance() or QtWidgets.QApplication([]))
        _speak_pythonqt()
    return _APPLICATION[0]


def _speak_pythonqt() -> None:
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            kind = getattr(module, name)
            if not isinstance(kind, type) or not issubclass(kind, QtCore.QObject):
                continue
            if kind is QtCore.QTimer:  # its static singleShot has the name of a property
                continue
            meta = kind.staticMetaObject
            for n in range(meta.propertyOffset(), meta.propertyCount()):
                name = meta.property(n).name()
                if name not in ("sizeHint", "minimumSizeHint"):  # virtual: Qt calls them as methods
                    setattr(kind, name, _property(name))
            kind.name = _property("objectName")


def qt_module() -> types.ModuleType:
    """A module that stands for ``qt``."""
    application()
    qt = types.ModuleType("qt")
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            if not name.startswith("_"):
                setattr(qt, name, getattr(module, name))
    return qt


def load_ui(path: str) -> Any:
    """As ``slicer.util.loadUI``."""
    application()
    loader = QtUiTools.QUiLoader()
    for kind in SLICER_WIDGETS.values():
        loader.registerCustomWidget(kind)
    for name, kind in SLICER_WIDGETS.items():  # the loader goes by the class's own name
        kind.__name__ = name
        loader.registerCustomWidget(kind)
    file = QtCore.QFile(path)
    assert file.open(QtCore.QIODevice.OpenModeFlag.ReadOnly), path
    widget = loader.load(file)
    assert widget is not None, loader.errorString()
    return widget


def child_variables(widget: Any) -> Any:
    """As ``slicer.util.childWidgetVariables``."""
    named = {child.objectName: child for child in widget.findChildren(QtWidgets.QWidget) if child.objectName}
    return types.SimpleNamespace(**named)


def turn(until: Callable[[], bool], seconds: float = 120.0) -> None:
    """Turn the event loop until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it took too long"
        application().processEvents()
        time.sleep(0.01)


def picture(widget: Any, name: str, width: int = 460) -> None:
    """Keep what a panel looks like for the documentation, where ``CARDIOPRECISION_PICTURES`` names a folder."""
    folder = os.environ.get("CARDIOPRECISION_PICTURES")
    if not folder:
        return
    widget.resize(width, 10)
    widget.show()
    for _ in range(3):
        application().processEvents()
    widget.resize(width, max(widget.sizeHint().height(), 200))
    application().processEvents()
    assert widget.grab().save(str(Path(folder) / f"{name}.png"))
    widget.hide()


def cells(table: Any, column: int = 0) -> list[str]:
    """The texts of a column of a QTableWidget."""
    found = [table.item(row, column) for row in range(table.rowCount)]
    return [item.text() if item is not None else "" for item in found]
