"""A fusion model as a folder: card, weights as safetensors, trees as skops; checked on load, never unpickled.

``model.json``           card: what it predicts from what, how it was trained, on whom, how good it was
``weights.safetensors``  all arrays
``trees-NAME.skops``     boosted trees, where there are any
``manifest.json``        SHA-256 of the other files

The hashes show damage and tampering with single files; they are no signature of who made the model.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import file_sha256, json_able, package_versions, utc_now

from .cohort import Array, Cohort, Column
from .learners import Boosting, Cox, Learned, Logistic
from .models import EarlyModel, LateModel, Model, ModelConfig, Target
from .preprocess import Preprocessor

SCHEMA = "cardioprecision/fusion-model/1"
CARD, WEIGHTS, MANIFEST = "model.json", "weights.safetensors", "manifest.json"
#: The only types outside of skops' own list that a model may hold.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
_STACKER = "stacker"
_ARRAYS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "logistic": (Logistic, ("coef", "intercept")),
    "cox": (Cox, ("coef", "times", "hazard")),
}


# -- saving -----------------------------------------------------------------------------------------------------------
def save_model(path: str | Path, model: Model, cohort: Cohort, evaluation: Mapping[str, Any] | None = None) -> Path:
    """Write a model that was fitted on `cohort`.

    Parameters
    ----------
    path : path
        A folder that is not there yet, or an empty one; it appears complete or not at all.
    model : EarlyModel or LateModel
    cohort : Cohort
        That it was trained on; the card holds numbers about it, no row of it.
    evaluation : mapping or None
        `evaluate.Evaluation.to_json`.

    Raises
    ------
    InputError
        The folder holds something, or cannot be written.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: a model is written to a new folder; this one holds something.")
    parts = {"": model} if isinstance(model, EarlyModel) else {**model.bases, _STACKER: model.stacker}
    work = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(3)}")
    try:
        work.mkdir(parents=True)
        arrays: dict[str, Array] = {}
        described = []
        for i, (name, part) in enumerate(parts.items()):
            described.append(_describe(i, name, part, arrays, work))
        card = {
            "schema": SCHEMA,
            "kind": model.config.kind,
            "config": asdict(model.config),
            "target": asdict(model.target),
            "parts": described,
            "training": _training(model, cohort),
            "evaluation": evaluation,
            "use": "For research. Holds for patients like those it was trained on; see training and evaluation.",
        }
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, work / WEIGHTS)
        (work / CARD).write_text(json.dumps(json_able(card), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        hashes = {file.name: file_sha256(file) for file in sorted(work.iterdir())}
        manifest = json.dumps({"schema": SCHEMA, "sha256": hashes}, indent=1)
        (work / MANIFEST).write_text(manifest + "\n", encoding="utf-8")
        if path.exists():
            path.rmdir()
        work.rename(path)
    except OSError as error:
        raise InputError(f"{path}: the model cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def _describe(i: int, name: str, part: EarlyModel, arrays: dict[str, Array], folder: Path) -> dict[str, Any]:
    """The plain facts of one part; its arrays are added to `arrays`, its trees written."""
    for key, array in part.preprocessor.state().items():
        arrays[f"{i}.preprocessor.{key}"] = array
    learned = part.learned
    trees = None
    if isinstance(learned, Boosting):
        import skops.io

        trees = f"trees-{i}.skops"
        skops.io.dump(learned.trees, folder / trees)
        arrays[f"{i}.learned.ends"] = learned.ends
    else:
        for key in _ARRAYS[learned.kind][1]:
            arrays[f"{i}.learned.{key}"] = getattr(learned, key)
    return {
        "name": name,
        "config": asdict(part.config),
        "columns": [asdict(column) for column in part.columns],
        "features": part.preprocessor.features,
        "learner": learned.kind,
        "setting": part.setting,
        "fitted_on": part.preprocessor.fitted_on,
        "trees": trees,
    }


def _training(model: Model, cohort: Cohort) -> dict[str, Any]:
    outcome = cohort.target
    places = {name: i for i, name in enumerate(cohort.names)}
    columns = {}
    for column in model.columns:
        values = cohort.values[:, places[column.name]]
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, (0.005, 0.995)) if len(known) else (None, None)
        columns[column.name] = {"known": len(known), "low": low, "high": high}
    facts: dict[str, Any] = {
        "patients": cohort.n_patients,
        "sites": len(cohort.sites),
        "columns": columns,
        "saved": utc_now(),
        "packages": package_versions(),
    }
    if outcome.kind == "survival":
        return facts | {"events": int(outcome.e.sum()), "time_unit": outcome.time_unit}
    return facts | {"classes": {name: int((outcome.y == k).sum()) for k, name in enumerate(outcome.classes)}}


# -- loading ----------------------------------------------------------------------------------------------------------
def load_model(path: str | Path) -> tuple[Model, dict[str, Any]]:
    """Read a model and its card.

    Raises
    ------
    InputError
        In one line: a file is missing, added, changed, pickled, or holds a type that is not on the trusted list.
    """
    path = Path(path)
    _verify(path)
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        if card["schema"] != SCHEMA:
            raise InputError(f"{path}: {CARD} is of another kind ({str(card['schema'])[:60]!r}).")
        arrays = _weights(path)
        parts = {entry["name"]: _part(path, i, entry, card, arrays) for i, entry in enumerate(card["parts"])}
        target, config = _target(card["target"]), _config(card["config"])
        if card["kind"] == "early":
            return parts[""], card
        stacker = parts.pop(_STACKER)
        return LateModel(config, target, parts, stacker), card
    except (KeyError, TypeError, ValueError, AttributeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: the model folder is incomplete or malformed ({type(error).__name__}).") from None


def _verify(path: Path) -> None:
    """Every file of the manifest is there unchanged, and there is no other."""
    try:
        expected = dict(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["sha256"])
        present = {entry.name for entry in path.iterdir()} - {MANIFEST}
    except (OSError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: this is no fusion model ({MANIFEST} is missing or cannot be read).") from None
    for name in sorted(present - set(expected)):
        raise InputError(f"{path}: {name} is not in the model's manifest; the model was not loaded.")
    for name in sorted(expected):
        allowed = name in (CARD, WEIGHTS) or (name.startswith("trees-") and name.endswith(".skops"))
        if not allowed or Path(name).name != name:
            raise InputError(f"{path}: {name[:60]} is no file that a model has; the model was not loaded.")
        file = path / name
        if name not in present or file.is_symlink() or file_sha256(file) != expected[name]:
            raise InputError(f"{path}: {name} is missing or was changed since the model was saved; it was not loaded.")


def _weights(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path / WEIGHTS))
    except (SafetensorError, OSError):
        raise InputError(f"{path}: {WEIGHTS} does not hold plain arrays; the model was not loaded.") from None


def _trees(path: Path, name: str) -> Any:
    """Boosted trees, after every type in the file was found on the list."""
    import skops.io

    file = path / name
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED))
        if unknown:
            raise InputError(f"{path}: {name} holds {unknown[0][:80]}, which is not trusted; the model was not loaded.")
        trees = skops.io.load(file, trusted=list(TRUSTED))
    except InputError:
        raise
    except Exception as error:  # whatever a stranger's file makes of the reader
        raise InputError(f"{path}: {name} does not hold trees ({type(error).__name__}); it was not loaded.") from None
    if type(trees).__name__ != "HistGradientBoostingClassifier":
        raise InputError(f"{path}: {name} holds a {type(trees).__name__}, not trees; the model was not loaded.")
    return trees


def _part(
    path: Path, i: int, entry: Mapping[str, Any], card: Mapping[str, Any], arrays: Mapping[str, Array]
) -> EarlyModel:
    columns = [Column(**{**c, "choices": tuple(c["choices"])}) for c in entry["columns"]]
    state = {k.split(".", 2)[2]: a for k, a in arrays.items() if k.startswith(f"{i}.preprocessor.")}
    learned: Learned
    if entry["learner"] == "boosting":
        name = f"trees-{i}.skops"
        learned = Boosting(_trees(path, name), arrays[f"{i}.learned.ends"])
    else:
        made, keys = _ARRAYS[entry["learner"]]
        learned = made(*(arrays[f"{i}.learned.{key}"] for key in keys))
    preprocessor = Preprocessor.of_state(state, columns, entry["fitted_on"])
    if len(preprocessor.features) != len(entry["features"]) or len(state["center"]) != len(columns):
        raise ValueError("weights and columns do not fit")
    return EarlyModel(_config(entry["config"]), _target(card["target"]), preprocessor, learned, entry["setting"])


def _config(entry: Mapping[str, Any]) -> ModelConfig:
    return ModelConfig(**{**entry, "modalities": tuple(entry["modalities"])})


def _target(entry: Mapping[str, Any]) -> Target:
    return Target(**{**entry, "classes": tuple(entry["classes"])})
