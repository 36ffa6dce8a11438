"""Building the networks of a bundle, and what a bundle that is not ours may do meanwhile: nothing.

A MONAI config can run any Python. Of an installed bundle only the definition of the network is read, as plain data: an
allow list of MONAI networks with literal arguments. Nothing else in its config is looked at. Weights are loaded as
tensors only, after their hash matched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .registry import Bundle, verify

if TYPE_CHECKING:
    import torch

#: Networks of `monai.networks.nets` that only compute. None of them downloads or evaluates its arguments.
NETWORKS = frozenset(
    {
        "AttentionUnet",
        "BasicUNet",
        "BasicUNetPlusPlus",
        "DynUNet",
        "HighResNet",
        "SegResNet",
        "SegResNetDS",
        "SwinUNETR",
        "UNETR",
        "UNet",
        "VNet",
    }
)
#: Transforms of `monai.transforms` that only compute, for ``build(..., kind="transforms")``.
TRANSFORMS = frozenset(
    {
        "Activations",
        "Activationsd",
        "AsDiscrete",
        "AsDiscreted",
        "CropForegroundd",
        "EnsureChannelFirst",
        "EnsureChannelFirstd",
        "EnsureType",
        "EnsureTyped",
        "KeepLargestConnectedComponent",
        "KeepLargestConnectedComponentd",
        "NormalizeIntensity",
        "NormalizeIntensityd",
        "Orientation",
        "Orientationd",
        "ScaleIntensity",
        "ScaleIntensityd",
        "ScaleIntensityRange",
        "ScaleIntensityRanged",
        "ScaleIntensityRangePercentiles",
        "ScaleIntensityRangePercentilesd",
        "Spacing",
        "Spacingd",
        "SpatialPad",
        "SpatialPadd",
    }
)
_PACKAGES = {"networks": ("monai.networks.nets", NETWORKS), "transforms": ("monai.transforms", TRANSFORMS)}
_MAX_CONFIG_BYTES = 1_000_000


def _refuse(bundle_name: str, what: str) -> InputError:
    return InputError(f"Bundle {bundle_name} is not one of ours and its config {what}; it was not loaded.")


def literal(value: Any, bundle_name: str, where: str) -> Any:
    """`value` if it is plain data all the way down: no expression, no reference, no nested object."""
    if isinstance(value, str):
        if value.lstrip().startswith(("$", "@", "%")):
            raise _refuse(bundle_name, f"asks to run an expression or a reference at {where}")
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [literal(v, bundle_name, where) for v in value]
    if isinstance(value, dict):
        for key in value:
            if str(key).startswith("_") or str(key).startswith(("$", "@", "%")):
                raise _refuse(bundle_name, f"has {key!r} at {where}, which is not on the list of what may be built")
        return {str(k): literal(v, bundle_name, where) for k, v in value.items()}
    raise _refuse(bundle_name, f"holds a {type(value).__name__} at {where}")


def build(definition: Any, bundle_name: str, where: str, kind: str = "networks") -> Any:
    """Build one network or transform of an installed bundle from ``{"_target_": ..., arguments}``.

    Raises
    ------
    InputError
        The target is not on the allow list, or an argument is not plain data.
    """
    package, allowed = _PACKAGES[kind]
    if not isinstance(definition, dict) or not isinstance(definition.get("_target_"), str):
        raise _refuse(bundle_name, f"has no network definition with a _target_ at {where}")
    target = definition["_target_"]
    module, _, name = target.rpartition(".")
    if name not in allowed or (module and module != package and not module.startswith(package + ".")):
        raise _refuse(bundle_name, f"names {target!r} at {where}, which is not on the list of what may be built")
    arguments = {k: v for k, v in definition.items() if k not in ("_target_", "_desc_")}
    arguments = literal(arguments, bundle_name, where)
    import importlib

    try:
        return getattr(importlib.import_module(package), name)(**arguments)
    except Exception as error:  # whatever a constructor makes of a stranger's arguments
        raise InputError(
            f"Bundle {bundle_name}: {name} at {where} could not be built ({type(error).__name__})."
        ) from None


def read_config(file: Path, bundle_name: str) -> dict[str, Any]:
    """A config file as plain data; nothing in it is evaluated."""
    import yaml

    try:
        if file.stat().st_size > _MAX_CONFIG_BYTES:
            raise InputError(f"Bundle {bundle_name}: {file.name} is too large for a config.")
        data = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InputError(f"Bundle {bundle_name}: {file.name} cannot be read ({type(error).__name__}).") from None
    if not isinstance(data, dict):
        raise InputError(f"Bundle {bundle_name}: {file.name} is not a table of definitions.")
    return data


def _config_file(bundle: Bundle) -> Path:
    for name in ("inference.yaml", "inference.json"):
        file = bundle.path(f"configs/{name}")
        if file.is_file():
            return file
    raise InputError(f"Bundle {bundle.name}: configs/inference.yaml is missing.")


def load_weights(file: Path, network: torch.nn.Module, bundle_name: str) -> None:
    """Fill `network` from a state dict of tensors; never unpickles anything else."""
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state, strict=True)
    except Exception as error:
        raise InputError(
            f"Bundle {bundle_name}: {file.name} does not hold the plain weights of its network "
            f"({type(error).__name__}); it was not loaded."
        ) from None


def load_members(bundle: Bundle) -> tuple[list[tuple[str, torch.nn.Module]], dict[str, str]]:
    """All networks of a bundle with their weights, in evaluation mode, float32, on the CPU.

    Returns
    -------
    members : list of (name, network)
    hashes : dict
        Relative path to SHA-256 of every weight file.
    """
    entries = bundle.settings.get("members")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"Bundle {bundle.name}: configs/metadata.json names no members to run.")
    hashes = verify(bundle)
    file = _config_file(bundle)
    make: Callable[[str], Any]
    if bundle.trusted:
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        parser.read_config(str(file))
        parser["bundle_root"] = str(bundle.root)
        make = parser.get_parsed_content
    else:
        config = read_config(file, bundle.name)
        make = lambda key: build(config.get(key), bundle.name, key)  # noqa: E731

    members = []
    for entry in entries:
        key = str(entry.get("network"))
        network = make(key)
        load_weights(bundle.path(str(entry.get("file"))), network, bundle.name)
        members.append((key, network.float().eval()))
    return members, hashes
