"""What the tests of the modules' ``scene_logic`` share: what a scene holds, and ways to fail in the middle of a run."""

from __future__ import annotations

from typing import Any

import pytest
from CardioPrecisionLib.errors import Cancelled
from CardioPrecisionLib.scene_batch import SceneBatch, children_of, nodes_of


def contents(scene: Any) -> tuple[list[tuple[str, str]], list[tuple[int, str]]]:
    """Nodes and subject hierarchy items with their names."""
    hierarchy = scene.GetSubjectHierarchyNode()
    items, stack = [], [hierarchy.GetSceneItemID()]
    while stack:
        item = stack.pop()
        items.append((item, hierarchy.GetItemName(item)))
        stack += children_of(hierarchy, item)
    return sorted((n.GetID(), n.GetName()) for n in nodes_of(scene)), sorted(items)


def cancelling(fraction: float, stage: str) -> None:
    """A progress that asks to stop at once."""
    raise Cancelled


def fail_at(monkeypatch: pytest.MonkeyPatch, node_class: str) -> None:
    """Adding results to a scene fails with "disk full" when a node of a class is put into its folder."""
    place = SceneBatch.place

    def broken(self: SceneBatch, placed: Any, parent: int) -> int:
        if placed.IsA(node_class):
            raise OSError("disk full")
        return place(self, placed, parent)

    monkeypatch.setattr(SceneBatch, "place", broken)
