"""The least of Slicer's desktop that a shell needs, beside the real MRML of slicer-core. For tests only; the product
never fakes Slicer.

`install` adds ``slicer.ScriptedLoadableModule``, ``slicer.i18n``, ``slicer.parameterNodeWrapper``, a recording
``slicer.app`` and, where PySide6 is there, `qt_bench` as ``qt``.
"""

from __future__ import annotations

import sys
import tempfile
import types
import unittest
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("CardioPrecision", "LVFunction", "CoronaryPlaque", "FusionRisk")


class Application:
    """As ``slicer.app``, without windows; records connections."""

    def __init__(self) -> None:
        self.connected: dict[str, list[Any]] = {}
        self.settings: dict[str, Any] = {}
        self.temporaryPath = tempfile.gettempdir()

    def connect(self, signal: str, slot: Any) -> None:
        self.connected.setdefault(signal, []).append(slot)

    def processEvents(self) -> None:
        """The desktop would handle its events here."""

    def layoutManager(self) -> None:
        return None

    def topLevelWidgets(self) -> list[Any]:
        return []

    def testingEnabled(self) -> bool:
        return True

    def userSettings(self) -> Any:
        return types.SimpleNamespace(value=self.settings.get, setValue=self.settings.__setitem__)


class Choice:
    """As ``slicer.parameterNodeWrapper.Choice``: the values that a parameter may take."""

    def __init__(self, choices: list[Any]) -> None:
        self.choices = choices


class WithinRange:
    """As ``slicer.parameterNodeWrapper.WithinRange``."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


def _kind(hint: Any) -> Any:
    return hint.__origin__ if hasattr(hint, "__metadata__") else hint


def _extra(hint: Any, kind: type) -> Any:
    return next((e for e in getattr(hint, "__metadata__", ()) if isinstance(e, kind)), None)


def _is_node(kind: Any) -> bool:
    import slicer

    if get_origin(kind) is Union:
        return all(each is type(None) or _is_node(each) for each in get_args(kind))
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


class _Bound:
    """A parameter in a widget: Slicer's connectors take exactly these widgets for these types, others are an error."""

    def __init__(self, widget: Any, name: str, hint: Any, changed: Any) -> None:
        import qt
        import slicer

        kind = _kind(hint)
        choice, within = _extra(hint, Choice), _extra(hint, WithinRange)
        self.widget, self.choices, self.changed = widget, choice.choices if choice else None, changed
        if type(widget) is qt.QComboBox and kind in (int, float, str, bool):
            if choice is None:
                raise RuntimeError(f"{name}: a combo box needs the annotation Choice")
            widget.clear()
            for each in choice.choices:
                widget.addItem(str(each))
            self.signal, self.attribute = widget.currentIndexChanged, "currentIndex"
        elif (type(widget), kind) in ((qt.QSpinBox, int), (qt.QDoubleSpinBox, float)):
            if within:
                widget.minimum, widget.maximum = within.minimum, within.maximum
            self.signal, self.attribute = widget.valueChanged, "value"
        elif type(widget) is qt.QCheckBox and kind is bool:
            self.signal, self.attribute = widget.stateChanged, "checked"
        elif type(widget) is qt.QLineEdit and kind is str:
            self.signal, self.attribute = widget.textChanged, "text"
        elif type(widget) is slicer.qMRMLNodeComboBox and _is_node(kind):
            kinds = [each for each in get_args(kind) if each is not type(None)] or [kind]
            widget.nodeTypes = [each.__name__ for each in kinds]
            self.signal, self.attribute = widget.currentNodeChanged, None
        else:
            raise RuntimeError(f"{name}: no connector from {hint} to {type(widget).__name__}")

    def start(self) -> None:
        self.slot = lambda *values: self.changed()
        self.signal.connect(self.slot)

    def stop(self) -> None:
        self.signal.disconnect(self.slot)

    def read(self) -> Any:
        if self.attribute is None:
            return self.widget.currentNode()
        value = getattr(self.widget, self.attribute)
        return self.choices[value] if self.choices else value

    def write(self, value: Any) -> None:
        if self.attribute is None:
            self.widget.setCurrentNode(value)
        else:
            setattr(self.widget, self.attribute, self.choices.index(value) if self.choices else value)


class _Parameters:
    """What `parameterNodeWrapper` makes of a class: checked values that live in a MRML node, bound to widgets."""

    allParameters: dict[str, Any]
    defaults: dict[str, Any]

    def __init__(self, node: Any) -> None:
        object.__setattr__(self, "parameterNode", node)
        object.__setattr__(self, "guis", {})
        object.__setattr__(self, "observers", {})
        object.__setattr__(self, "busy", False)
        for name, hint in self.allParameters.items():
            if not _is_node(_kind(hint)) and not node.GetParameter(name):
                setattr(self, name, self.defaults.get(name, _kind(hint)()))

    def __getattribute__(self, name: str) -> Any:
        if name == "allParameters" or name not in type(self).allParameters:
            return object.__getattribute__(self, name)
        kind = _kind(self.allParameters[name])
        if _is_node(kind):
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name).removeprefix("=")
        return text == "True" if kind is bool else kind(text)

    def __setattr__(self, name: str, value: Any) -> None:
        hint = self.allParameters[name]
        kind, choice, within = _kind(hint), _extra(hint, Choice), _extra(hint, WithinRange)
        if choice and value not in choice.choices:
            raise ValueError(f"{name}: {value!r} is not one of {choice.choices}")
        if within and not within.minimum <= value <= within.maximum:
            raise ValueError(f"{name}: {value!r} is out of range")
        if _is_node(kind):
            if value is not None and not isinstance(value, get_args(kind) or kind):
                raise TypeError(f"{name}: {value!r} is no {kind}")
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{name}: {value!r} is no {kind}")
        self.parameterNode.SetParameter(name, f"={kind(value)}")

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        import vtk

        bound = {}
        for name, widget in mapping.items():
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
            bound[name] = _Bound(widget, name, self.allParameters[name], lambda name=name: self._from_gui(name))
        self.guis[len(self.guis)] = bound
        for name, each in bound.items():
            each.write(getattr(self, name))
            each.start()
        tag = len(self.guis) - 1
        self.observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_gui)
        return tag

    def _from_gui(self, name: str) -> None:
        if not self.busy:
            for gui in self.guis.values():
                if name in gui:
                    setattr(self, name, gui[name].read())

    def _to_gui(self, caller: Any = None, event: Any = None) -> None:
        if self.busy:
            return
        object.__setattr__(self, "busy", True)
        try:
            for gui in self.guis.values():
                for name, each in gui.items():
                    each.write(getattr(self, name))
        finally:
            object.__setattr__(self, "busy", False)

    def disconnectGui(self, tag: int) -> None:
        for each in self.guis.pop(tag, {}).values():
            each.stop()
        if tag in self.observers:
            self.RemoveObserver(self.observers.pop(tag))

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)


def parameterNodeWrapper(cls: type) -> type:
    """Takes the annotations as the real decorator does: every one is a parameter, and defaults must fit them."""
    hints = get_type_hints(cls, include_extras=True)
    defaults = {name: getattr(cls, name) for name in hints if hasattr(cls, name)}
    for name, hint in hints.items():
        choice = _extra(hint, Choice)
        if choice and defaults[name] not in choice.choices:
            raise ValueError(f"{name}: {defaults[name]!r} is not one of {choice.choices}")
    return type(cls.__name__, (_Parameters,), {"__doc__": cls.__doc__, "allParameters": hints, "defaults": defaults})


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        import slicer

        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.parent = parent or types.SimpleNamespace(isEntered=True)
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.layout = types.SimpleNamespace(addWidget=lambda widget: None)

    def setup(self) -> None: ...

    def resourcePath(self, name: str) -> str:
        return str(ROOT / self.moduleName / "Resources" / name)


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


#: What is imported anew with the stand-ins and goes with them.
ANEW = (
    "qt",
    "ctk",
    *(f"slicer.{name}" for name in ("ScriptedLoadableModule", "i18n", "parameterNodeWrapper")),
    *(f"CardioPrecisionLib.widget_{name}" for name in ("base", "qt", "form", "study")),
    *MODULES,
)


def fresh(monkeypatch: Any, scene: Any = None) -> Any:
    """`install` for one test: everything is as it was before at its end."""
    import slicer

    for name in ANEW:  # set and deleted: undone at the end, whether or not they were there
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    for name in ("loadUI", "childWidgetVariables"):
        monkeypatch.setattr(slicer.util, name, getattr(slicer.util, name))
    for name in ("ScriptedLoadableModule", "i18n", "parameterNodeWrapper", "app"):
        monkeypatch.setattr(slicer, name, None, raising=False)
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    for name in MODULES:
        monkeypatch.syspath_prepend(str(ROOT / name))
    return install()


def install() -> Any:
    """Add the stand-ins to the real slicer package and return it."""
    import slicer

    module = types.ModuleType("slicer.ScriptedLoadableModule")
    for each in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleTest,
    ):
        setattr(module, each.__name__, each)
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    for each in (Choice, WithinRange, parameterNodeWrapper):
        setattr(wrapper, each.__name__, each)
    for name, each in (("ScriptedLoadableModule", module), ("i18n", i18n), ("parameterNodeWrapper", wrapper)):
        sys.modules[f"slicer.{name}"] = each
        setattr(slicer, name, each)
    slicer.app = Application()
    try:
        import qt_bench
    except ImportError:  # PySide6 or a library of the system that it needs
        sys.modules["qt"] = types.ModuleType("qt")
        return slicer
    sys.modules["qt"] = qt_bench.qt_module()
    sys.modules["ctk"] = types.ModuleType("ctk")
    sys.modules["ctk"].ctkCollapsibleButton = qt_bench.CollapsibleButton
    for name, kind in qt_bench.SLICER_WIDGETS.items():
        if name.startswith("q"):
            setattr(slicer, name, kind)
    slicer.util.loadUI = qt_bench.load_ui
    slicer.util.childWidgetVariables = qt_bench.child_variables
    return slicer
