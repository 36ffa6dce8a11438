"""The least of Slicer's desktop that a shell needs to be imported. For tests only; the product never fakes Slicer.

`install` puts it beside the real ``slicer`` of slicer-core: ``slicer.ScriptedLoadableModule``, ``slicer.i18n``,
``slicer.parameterNodeWrapper`` and a recording ``slicer.app``.
"""

from __future__ import annotations

import sys
import types
import unittest
from typing import Any, get_type_hints


class Signals:
    """Records connections, as ``slicer.app``."""

    def __init__(self) -> None:
        self.connected: dict[str, list[Any]] = {}

    def connect(self, signal: str, slot: Any) -> None:
        self.connected.setdefault(signal, []).append(slot)

    def processEvents(self) -> None:
        """The desktop would handle its events here."""

    def layoutManager(self) -> None:
        return None


class Choice:
    """As ``slicer.parameterNodeWrapper.Choice``: the values that a parameter may take."""

    def __init__(self, choices: list[Any]) -> None:
        self.choices = choices


def parameterNodeWrapper(cls: type) -> type:
    """Takes the annotations as the real decorator does: every one is a parameter, and defaults must fit them."""
    hints = get_type_hints(cls, include_extras=True)
    for name, hint in hints.items():
        for extra in getattr(hint, "__metadata__", ()):
            if isinstance(extra, Choice) and getattr(cls, name) not in extra.choices:
                raise ValueError(f"{name}: {getattr(cls, name)!r} is not one of {extra.choices}")
    cls.allParameters = hints
    cls.__init__ = lambda self, node: setattr(self, "parameterNode", node)
    return cls


def install() -> Any:
    """Add the stand-ins to the real slicer package and return it."""
    import slicer

    module = types.ModuleType("slicer.ScriptedLoadableModule")

    class ScriptedLoadableModule:
        def __init__(self, parent: Any) -> None:
            self.parent = parent

    class ScriptedLoadableModuleLogic:
        def getParameterNode(self) -> str:
            return "parameter node"

    class ScriptedLoadableModuleTest(unittest.TestCase):
        pass

    for each in (ScriptedLoadableModule, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest):
        setattr(module, each.__name__, each)
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.Choice, wrapper.parameterNodeWrapper = Choice, parameterNodeWrapper
    for name, each in (("ScriptedLoadableModule", module), ("i18n", i18n), ("parameterNodeWrapper", wrapper)):
        sys.modules[f"slicer.{name}"] = each
        setattr(slicer, name, each)
    slicer.app = Signals()
    return slicer
