"""Bundles: which there are, that their files are theirs, that licences are asked for, that strangers run no code."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from CardioPrecisionLib import settings
from CardioPrecisionLib.bundle import licence, registry, safety
from CardioPrecisionLib.errors import InputError
from tiny_bundle import make, threshold_weights

REPOSITORY = Path(__file__).parents[2]
LV = REPOSITORY / "LVFunction/LVFunctionLib/bundles/cine_sax_ventricles"
UNET = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 4, "channels": [4, 8], "strides": [2]}


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv(registry.FOLDER_VARIABLE, str(tmp_path / "bundles"))
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(tmp_path / "config"))
    monkeypatch.delenv(licence.VARIABLE, raising=False)
    monkeypatch.setattr(licence, "_this_run", set())


# -- registry ---------------------------------------------------------------------------------------------------------
def test_shipped_and_installed_are_listed_and_shipped_wins(tmp_path):
    make(tmp_path / "bundles" / "tiny")
    make(tmp_path / "bundles" / "cine_sax_ventricles")  # an impostor of the shipped one
    (tmp_path / "bundles" / "broken" / "configs").mkdir(parents=True)
    (tmp_path / "bundles" / "broken" / "configs" / "metadata.json").write_text("{", encoding="utf-8")
    found = {b.name: b for b in registry.list_bundles()}
    assert found["cine_sax_ventricles"].source == "shipped"
    assert found["tiny"].source == "installed"
    assert not found["tiny"].trusted
    assert "broken" not in found
    assert registry.get_bundle("tiny").version == "1.2.3"
    with pytest.raises(InputError, match="metadata cannot be read"):
        registry.get_bundle("broken")
    with pytest.raises(InputError, match=r"no bundle called.*tiny"):
        registry.get_bundle("../tiny")


def test_changed_missing_and_unlisted_weights_are_refused(tmp_path):
    bundle = make(tmp_path / "tiny")
    assert list(registry.verify(bundle)) == ["models/threshold.pt"]
    file = bundle.root / "models" / "threshold.pt"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InputError, match="SHA-256"):
        registry.verify(bundle)
    with pytest.raises(InputError, match="SHA-256"):
        safety.load_members(bundle)
    file.unlink()
    with pytest.raises(InputError, match="missing"):
        registry.verify(bundle)
    bundle = make(tmp_path / "unlisted")
    bundle.settings["files"].clear()
    with pytest.raises(InputError, match="not loaded"):
        registry.verify(bundle)


@pytest.mark.parametrize("path", ["../secret.pt", "/etc/passwd", "models/../../secret.pt"])
def test_a_path_cannot_leave_the_bundle(tmp_path, path):
    bundle = make(tmp_path / "tiny")
    with pytest.raises(InputError, match="leaves the bundle"):
        bundle.path(path)


def test_the_shipped_metadata_is_complete():
    metadata = json.loads((LV / "configs/metadata.json").read_text(encoding="utf-8"))
    needed = {
        "version",
        "changelog",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "intended_use",
        "references",
        "network_data_format",
    }
    assert needed <= metadata.keys()
    own = metadata["cardioprecision"]
    data = metadata["network_data_format"]
    assert own["classes"] == data["outputs"]["pred"]["num_channels"] == len(own["labels"]) + 1
    assert 2 * own["context_slices"] + 1 == data["inputs"]["image"]["num_channels"]
    assert metadata["version"] in metadata["changelog"]
    training = yaml.safe_load((LV / "configs/train.yaml").read_text(encoding="utf-8"))
    inference = yaml.safe_load((LV / "configs/inference.yaml").read_text(encoding="utf-8"))
    for member in own["members"]:  # what is run is what was trained
        assert inference[member["network"]] == training[member["network"]]
    assert "CC BY-NC-SA 4.0" in (LV / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.skipif(not list((LV / "models").glob("*.pt")), reason="the weights are not in this checkout")
def test_the_shipped_weights_are_those_of_the_metadata():
    bundle = registry.open_bundle(LV, registry.SHIPPED)
    assert registry.verify(bundle)
    members, _ = safety.load_members(bundle)
    assert sum(p.numel() for _, n in members for p in n.parameters()) <= 7_000_000
    assert sum(f.stat().st_size for f in (LV / "models").glob("*.pt")) <= 15e6


def test_the_registry_imports_nothing_heavy():
    code = (
        "import sys, CardioPrecisionLib.bundle.registry as r, CardioPrecisionLib.bundle.licence; r.list_bundles(); "
        "print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, env=os.environ
    )
    assert out.stdout.strip() == "[]"


# -- licences ---------------------------------------------------------------------------------------------------------
def test_licence_is_asked_for_once_and_remembered(tmp_path, monkeypatch):
    bundle = make(tmp_path / "bundles" / "tiny", restricted=True, licence="CC BY-NC-SA 4.0", source="installed")
    with pytest.raises(InputError, match=r"CC BY-NC-SA 4\.0") as caught:
        licence.require(bundle)
    line = str(caught.value)
    assert "\n" not in line
    assert "--accept-license tiny" in line
    assert licence.VARIABLE in line
    with pytest.raises(InputError, match="tiny"):
        licence.accept("tinny")
    assert [b.name for b in licence.accept("tiny")] == ["tiny"]
    monkeypatch.setattr(licence, "_this_run", set())  # a new process
    licence.require(bundle)
    assert not licence.is_accepted(make(tmp_path / "other", restricted=True, licence="CC BY-NC-SA 4.0"))
    changed = make(tmp_path / "bundles" / "tiny", restricted=True, licence="Proprietary")
    assert not licence.is_accepted(changed)


@pytest.mark.parametrize(
    ("value", "accepted"),
    [("tiny", True), ("all", True), ("other, cc-by-nc-sa-4.0", True), ("other", False), ("", False)],
)
def test_licence_by_environment(tmp_path, monkeypatch, value, accepted):
    monkeypatch.setenv(licence.VARIABLE, value)
    bundle = make(tmp_path / "tiny", restricted=True, licence="CC BY-NC-SA 4.0")
    assert licence.is_accepted(bundle) is accepted


def test_licence_where_the_home_is_read_only(tmp_path, monkeypatch):
    bundle = make(tmp_path / "bundles" / "tiny", restricted=True, licence="X")
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(tmp_path / "file" / "below"))
    licence.accept("tiny")
    licence.require(bundle)


def test_unrestricted_needs_no_acceptance_and_silence_counts_as_restricted(tmp_path):
    licence.require(make(tmp_path / "free"))
    silent = make(tmp_path / "silent", settings={"licence": None})
    assert silent.restricted


# -- strangers --------------------------------------------------------------------------------------------------------
def test_a_stranger_may_bring_a_network_of_the_list(tmp_path):
    from monai.networks.nets import UNet

    weights = UNet(**{k: v for k, v in UNET.items() if k != "_target_"}).state_dict()
    for target in ("UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"):
        bundle = make(tmp_path / "unet", {"net": weights}, source="installed", definition=UNET | {"_target_": target})
        ((name, network),) = safety.load_members(bundle)[0]
        assert name == "net"
        assert isinstance(network, UNet)


@pytest.mark.parametrize(
    "definition",
    [
        {"_target_": "os.system", "command": "touch {mark}"},
        {"_target_": "evil.UNet"},
        {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3},
        UNET | {"act": "$__import__('pathlib').Path('{mark}').touch()"},
        UNET | {"act": {"_target_": "pathlib.Path.touch", "self": "{mark}"}},
        UNET | {"_requires_": "$__import__('pathlib').Path('{mark}').touch()"},
        UNET | {"channels": "@channels"},
        UNET | {"_mode_": "debug"},
        "$__import__('pathlib').Path('{mark}').touch()",
    ],
)
def test_a_hostile_definition_is_refused_and_runs_nothing(tmp_path, definition):
    mark = tmp_path / "mark"
    definition = json.loads(json.dumps(definition).replace("{mark}", str(mark)))
    top = {
        "imports": [f"$__import__('pathlib').Path({str(mark)!r}).touch()"],
        "channels": f"$__import__('pathlib').Path({str(mark)!r}).touch()",
    }
    weights = {"net": threshold_weights()}
    bundle = make(tmp_path / "evil", weights, source="installed", definition=definition, config=top)
    with pytest.raises(InputError, match="is not one of ours"):
        safety.load_members(bundle)
    assert not mark.exists()


class _Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("source", ["installed", "shipped"])
def test_weights_are_never_unpickled(tmp_path, source):
    mark = tmp_path / "mark"
    bundle = make(tmp_path / "evil", {"net": threshold_weights()}, source=source, definition=UNET)
    bomb = {"weight": _Bomb(mark)}
    for write in (lambda f: torch.save(bomb, f), lambda f: f.write_bytes(pickle.dumps(bomb, 2))):
        write(bundle.root / "models" / "net.pt")
        registry.seal(bundle.root)
        with pytest.raises(InputError, match="plain weights"):
            safety.load_members(registry.open_bundle(bundle.root, source))
        assert not mark.exists()
    pickle.loads(pickle.dumps(_Bomb(mark)))  # the bomb does go off where it is unpickled
    assert mark.exists()


def test_yaml_tags_of_a_stranger_are_not_followed(tmp_path):
    bundle = make(tmp_path / "evil", {"net": threshold_weights()}, source="installed", definition=UNET)
    mark = tmp_path / "mark"
    (bundle.root / "configs" / "inference.yaml").write_text(
        f"net: !!python/object/apply:os.system ['touch {mark}']\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match="cannot be read"):
        safety.load_members(bundle)
    assert not mark.exists()


def test_transforms_have_their_own_list():
    built = safety.build({"_target_": "ScaleIntensity", "minv": 0.0, "maxv": 2.0}, "x", "pre", kind="transforms")
    assert float(built(torch.tensor([[0.0, 5.0]])).max()) == 2.0
    with pytest.raises(InputError, match="not on the list"):
        safety.build({"_target_": "Lambda", "func": "print"}, "x", "pre", kind="transforms")
