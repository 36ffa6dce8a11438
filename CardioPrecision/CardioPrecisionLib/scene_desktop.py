"""What the module shells share inside 3D Slicer's desktop: missing packages, sample data, a child process.

Unlike the other scene files this one needs the desktop. A shell imports it when something is started.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import slicer

SAMPLE_CATEGORY = "CardioPrecision"
REQUIREMENTS = "CardioPrecision_requirements.txt"
#: For the models alone; what is in it would fetch a torch of its own, so torch comes first.
MODEL_REQUIREMENTS = "CardioPrecision_model_requirements.txt"
#: Setting of the application: a folder of wheels, for sites without a network.
WHEELS_SETTING = "CardioPrecision/WheelsFolder"


def ensure_dependencies(requester: str, torch: bool = True) -> None:
    """Install what is missing, asking first: torch through the PyTorch extension, the rest by the module's list.

    Parameters
    ----------
    requester : str
        The module as the user knows it.
    torch : bool
        Whether the model is needed; a reader's own labels do without.

    Raises
    ------
    RuntimeError
        torch cannot be had; the message is for the user.
    """
    from slicer.i18n import tr as _

    with _wheels_folder():
        if torch and importlib.util.find_spec("torch") is None:
            try:
                from PyTorchUtils import PyTorchUtilsLogic
            except ImportError:
                message = _("Install the extension PyTorch in the Extensions Manager, then restart Slicer.")
                raise RuntimeError(message) from None
            if (
                not PyTorchUtilsLogic.torchInstalled()
                and PyTorchUtilsLogic().installTorch(askConfirmation=True) is None
            ):
                raise RuntimeError(_("PyTorch is needed for the model and was not installed."))
        ensure_list(requester, "CardioPrecision", REQUIREMENTS)
        if torch:
            ensure_list(requester, "CardioPrecision", MODEL_REQUIREMENTS)


def requirement_lines(models: bool = True) -> list[str]:
    """The lines of the lists of packages that the modules need, with or without those of the models."""
    names = (REQUIREMENTS, MODEL_REQUIREMENTS) if models else (REQUIREMENTS,)
    return [
        line for name in names for line in _list_of("CardioPrecision", name).read_text(encoding="utf-8").splitlines()
    ]


def _list_of(module: str, file: str) -> Path:
    return Path(slicer.util.modulePath(module)).with_name("Resources") / file


def ensure_list(requester: str, module: str, file: str) -> None:
    """Install what a requirements file in a module's ``Resources`` names and what is missing, asking first."""
    import slicer.packaging

    path = _list_of(module, file)
    with _wheels_folder():
        slicer.packaging.pip_ensure(slicer.packaging.load_requirements(str(path)), requester=requester)


@contextlib.contextmanager
def _wheels_folder() -> Iterator[None]:
    """Where the settings name a folder of wheels, pip (or uv) takes packages from there, not from the network."""
    folder = str(slicer.app.userSettings().value(WHEELS_SETTING) or "")
    options = {"NO_INDEX": "1", "FIND_LINKS": folder}
    wanted = {f"{tool}_{name}": value for tool in ("PIP", "UV") for name, value in options.items()}
    before = {name: os.environ.get(name) for name in wanted}
    if folder:
        os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def register_sample(name: str, node_name: str, load: Callable[[], Any]) -> None:
    """Offer a synthetic patient in the module Sample Data, where that module is there.

    Nothing is downloaded: `load` computes the images when the button is clicked.
    """
    try:
        from SampleData import SampleDataLogic
    except ImportError:
        return
    SampleDataLogic.registerCustomSampleDataSource(
        category=SAMPLE_CATEGORY,
        sampleName=name,
        uris="",
        fileNames="",
        nodeNames=node_name,
        customDownloader=lambda source=None: load(),
    )


def child_options(should_stop: Callable[[], bool] | None) -> dict[str, Any]:
    """Arguments of a ``scene_logic.run_in_child`` that keeps the application alive.

    Inside Slicer ``sys.executable`` is the application; its Python with the right library paths is PythonSlicer.
    """

    def asked() -> bool:
        slicer.app.processEvents()
        return bool(should_stop and should_stop())

    return {"should_stop": asked, "python": shutil.which("PythonSlicer")}
