"""All-or-nothing changes of a MRML scene, and the place of results in its subject hierarchy.

Works on the scene that it is given and imports neither ``slicer`` nor ``vtk``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

#: Node and folder attribute that holds the id of the run which made it.
RUN_ATTRIBUTE = "CardioPrecision.Run"


def nodes_of(scene: Any) -> list[Any]:
    """All nodes of a scene, in their order."""
    return [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]


class SceneBatch:
    """One batch of scene changes: shown at once at its end, taken back as a whole when something fails.

    Every node that is in the scene at the end and was not at the start, also the display and proxy nodes that MRML
    makes by itself, gets the attribute `RUN_ATTRIBUTE`, so that `remove_run` can take the run away later.

    Parameters
    ----------
    scene : vtkMRMLScene
    run_id : str
    """

    def __init__(self, scene: Any, run_id: str):
        self.scene = scene
        self.run_id = run_id
        self._before: set[str] = set()
        self._undo: list[Callable[[], Any]] = []

    def __enter__(self) -> SceneBatch:
        self._before = {node.GetID() for node in nodes_of(self.scene)}
        self.scene.StartState(self.scene.BatchProcessState)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for node in self.added():
                    node.SetAttribute(RUN_ATTRIBUTE, self.run_id)
            else:
                for action in reversed(self._undo):
                    action()
                for node in reversed(self.added()):
                    remove_node(self.scene, node)
        finally:
            self.scene.EndState(self.scene.BatchProcessState)

    def added(self) -> list[Any]:
        """The nodes that came since the batch was entered."""
        return [node for node in nodes_of(self.scene) if node.GetID() not in self._before]

    def add(self, class_name: str, name: str) -> Any:
        """A new node with a name that is unique in the scene."""
        node = self.scene.AddNewNodeByClass(class_name, self.scene.GenerateUniqueName(name))
        if node is None:
            raise RuntimeError(f"the scene does not know the node class {class_name}")
        return node

    def on_failure(self, action: Callable[[], Any]) -> None:
        """Register how to take back a change of something that was there before."""
        self._undo.append(action)

    # -- subject hierarchy ---------------------------------------------------------------------------------------------
    def item(self, node: Any) -> int:
        """The subject hierarchy item of `node`, made at the root where there is none (as without the desktop)."""
        hierarchy = self.scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node)
        if item == hierarchy.GetInvalidItemID():
            item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
            self.on_failure(lambda: hierarchy.RemoveItem(item, False, False))
        return int(item)

    def folder_beside(self, node: Any, name: str) -> int:
        """A new folder in the study, else in the folder, that holds `node`."""
        hierarchy = self.scene.GetSubjectHierarchyNode()
        item = self.item(node)
        parent = hierarchy.GetItemAncestorAtLevel(item, "Study")
        if parent == hierarchy.GetInvalidItemID():
            parent = hierarchy.GetItemParent(item)
        folder = int(hierarchy.CreateFolderItem(parent, hierarchy.GenerateUniqueItemName(name)))
        hierarchy.SetItemAttribute(folder, RUN_ATTRIBUTE, self.run_id)
        self.on_failure(lambda: hierarchy.RemoveItem(folder, False, False))
        return folder

    def place(self, node: Any, parent_item: int) -> int:
        """Put `node` under a subject hierarchy item."""
        hierarchy = self.scene.GetSubjectHierarchyNode()
        item = self.item(node)
        hierarchy.SetItemParent(item, parent_item)
        return item


def remove_node(scene: Any, node: Any) -> None:
    """Remove a node with its subject hierarchy item, display and storage nodes."""
    if scene.GetNodeByID(node.GetID()) is None:
        return
    hierarchy = scene.GetSubjectHierarchyNode()
    if hierarchy is not None and node is not hierarchy:
        item = hierarchy.GetItemByDataNode(node)
        if item != hierarchy.GetInvalidItemID():
            hierarchy.RemoveItem(item, False, False)
    helpers = []
    for kind in ("Display", "Storage"):
        if hasattr(node, f"GetNumberOf{kind}Nodes"):
            count = getattr(node, f"GetNumberOf{kind}Nodes")()
            helpers += [getattr(node, f"GetNth{kind}Node")(i) for i in range(count)]
    scene.RemoveNode(node)
    for helper in helpers:
        if helper is not None and scene.GetNodeByID(helper.GetID()) is not None:
            scene.RemoveNode(helper)


def remove_run(scene: Any, run_id: str) -> int:
    """Remove every node and folder that a run has put into the scene.

    Returns
    -------
    int
        How many nodes were removed.
    """
    mine = [node for node in nodes_of(scene) if node.GetAttribute(RUN_ATTRIBUTE) == run_id]
    scene.StartState(scene.BatchProcessState)
    try:
        for browser in nodes_of(scene):
            if browser.IsA("vtkMRMLSequenceBrowserNode"):
                mine += _taken_from(browser, mine)
        count = 0
        for node in reversed(mine):
            if scene.GetNodeByID(node.GetID()) is not None:
                remove_node(scene, node)
                count += 1
        _remove_folders(scene.GetSubjectHierarchyNode(), run_id)
    finally:
        scene.EndState(scene.BatchProcessState)
    return count


def _taken_from(browser: Any, mine: list[Any]) -> list[Any]:
    """Take the run's sequences out of a browser; their proxies, which lose their attributes when frames change."""
    own = any(browser is node for node in mine)
    proxies = []
    for sequence in nodes_of(browser.GetScene()):
        if not sequence.IsA("vtkMRMLSequenceNode") or not browser.IsSynchronizedSequenceNodeID(sequence.GetID(), True):
            continue
        if own or any(sequence is node for node in mine):
            proxy = browser.GetProxyNode(sequence)
            if proxy is not None and not any(proxy is node for node in mine):
                proxies.append(proxy)
            if not own:
                browser.RemoveSynchronizedSequenceNode(sequence.GetID())
    return proxies


def _remove_folders(hierarchy: Any, run_id: str) -> None:
    """Remove the run's folders; what a user has put into one moves up to its parent."""
    stack, found = [hierarchy.GetSceneItemID()], []
    while stack:
        item = stack.pop()
        children = children_of(hierarchy, item)
        stack += children
        if hierarchy.GetItemAttribute(item, RUN_ATTRIBUTE) == run_id:
            found.append((item, children))
    for item, children in found:
        for child in children:
            hierarchy.SetItemParent(child, hierarchy.GetItemParent(item))
        hierarchy.RemoveItem(item, False, False)


def children_of(hierarchy: Any, item: int) -> list[int]:
    """The direct children of a subject hierarchy item."""
    return [hierarchy.GetItemByPositionUnderParent(item, i) for i in range(hierarchy.GetNumberOfItemChildren(item))]
