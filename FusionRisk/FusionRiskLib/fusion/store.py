"""A fusion model as a folder: card, weights as safetensors, trees as skops; checked on load, never unpickled.

``model.json``           card: what it predicts from what, how it was trained, on whom, how good it was
``weights.safetensors``  all arrays
``trees-NAME.skops``     boosted trees, where there are any
``manifest.json``        SHA-256 of the other files

The hashes show damage and tampering with single files; they are no signature of who made the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import package_versions, utc_now

from .cohort import Array, Cohort, Column, align
from .discrete_time import DiscreteTime
from .graph import Graph, GraphModel
from .joint import JointModel, widths
from .joint_net import Goal, Net
from .learners import Boosting, Cox, Learned, Logistic
from .models import EarlyModel, LateModel, Model, ModelConfig, Target
from .out_of_distribution import OutOfDistribution
from .preprocess import Preprocessor
from .recurrent import Recurrent
from .sealed import MANIFEST, SealedFolder, write_weights
from .sequence_net import Width

SCHEMA = "cardioprecision/fusion-model/1"
CARD = "model.json"
FOLDER = SealedFolder(
    "model", "fusion model", SCHEMA, CARD, lambda name: name.startswith("trees-") and name.endswith(".skops")
)
check_new = FOLDER.check_new
#: The only types outside of skops' own list that a model may hold.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
_STACKER = "stacker"
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_ARRAYS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "logistic": (Logistic, ("coef", "intercept")),
    "cox": (Cox, ("coef", "times", "hazard")),
}


_USE = "For research. Holds for patients like those it was trained on; see training and evaluation."
_GRAPH_USE = " Holds the prepared values and outcomes of its training patients: keep it as patient data."


# -- saving -----------------------------------------------------------------------------------------------------------
def save_model(
    path: str | Path,
    model: Model,
    cohort: Cohort,
    evaluation: Mapping[str, Any] | None = None,
    members: Sequence[Model] = (),
    conformal: Mapping[str, Any] | None = None,
    table: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    guard: OutOfDistribution | None = None,
) -> Path:
    """Write a model that was fitted on `cohort`.

    Parameters
    ----------
    path : path
        A folder that is not there yet, or an empty one; it appears complete or not at all.
    model : model
    cohort : Cohort
        That it was trained on; the card holds numbers about it, no row of it, and the weights the ranges that
        `load_folder` reads. Only a graph model holds its training patients.
    evaluation : mapping or None
        `evaluate.Evaluation.to_json`.
    members : sequence of models
        `uncertainty.bootstrap_members` of the model.
    conformal : mapping or None
        `calibration.calibrate` of the model.
    table : mapping or None
        The schema of the table that it was trained on, so that new rows are read alike.
    training : mapping or None
        Facts about all training patients, where `cohort` is a sample of them.
    guard : OutOfDistribution or None
        In the order of the model's columns; None for that of `cohort`.

    Raises
    ------
    InputError
        The folder holds something, or cannot be written.
    """
    path = Path(path)
    with FOLDER.writing(path) as work:
        arrays: dict[str, Array] = {}
        card = {
            "target": asdict(model.target),
            **_describe(model, "", arrays, work),
            "members": [_describe(member, f"m{k}.", arrays, work) for k, member in enumerate(members)],
            "training": {**_training(model, cohort), **(training or {})},
            "evaluation": evaluation,
            "conformal": conformal,
            "table": table,
            "use": _USE + _GRAPH_USE * isinstance(model, GraphModel),
        }
        guard = guard or OutOfDistribution.fit(align(cohort, model.columns), model.columns)
        arrays |= {f"guard.{name}": array for name, array in guard.state().items()}
        write_weights(work, arrays)
        FOLDER.seal(work, card)
    return path


def save_as(source: str | Path, path: str | Path, changes: Mapping[str, Any]) -> Path:
    """A copy of a model folder whose card says something else; the model itself stays.

    Raises
    ------
    InputError
        The source is not what was saved, or the new folder holds something or cannot be written.
    """
    source, path = Path(source), Path(path)
    FOLDER.verify(source)
    with FOLDER.writing(path) as work:
        for file in source.iterdir():
            if file.name not in (CARD, MANIFEST):
                shutil.copyfile(file, work / file.name)
        FOLDER.seal(work, {**FOLDER.read_card(source), **changes})
    return path


def _describe(model: Model, prefix: str, arrays: dict[str, Array], folder: Path) -> dict[str, Any]:
    """The plain facts of a model; its arrays are added to `arrays`, its trees written."""
    if isinstance(model, JointModel):
        parts = [
            {"name": name, **_describe_preparation(p, f"{prefix}{i}.", arrays)}
            for i, (name, p) in enumerate(model.preprocessors.items())
        ]
        own = {"ends": model.ends, "mean": model.mean, "covariance": model.covariance}
        arrays |= {f"{prefix}joint.{name}": array for name, array in own.items()}
        arrays |= {f"{prefix}joint.net.{name}": array for name, array in model.net.weights.items()}
    elif isinstance(model, GraphModel):
        facts = _describe_preparation(model.preprocessor, f"{prefix}0.", arrays)
        learner = _describe_learner(model.learned, f"{prefix}0.", arrays, folder)
        parts = [{"name": "", **facts, **learner, "neighbours": model.graph.neighbours}]
        arrays |= {f"{prefix}graph.{name}": getattr(model.graph, name) for name in ("nodes", "fate", "balance")}
    else:
        early = {"": model} if isinstance(model, EarlyModel) else {**model.bases, _STACKER: model.stacker}
        parts = [
            {
                "name": name,
                "config": asdict(part.config),
                **_describe_preparation(part.preprocessor, f"{prefix}{i}.", arrays),
                **_describe_learner(part.learned, f"{prefix}{i}.", arrays, folder),
                "setting": part.setting,
            }
            for i, (name, part) in enumerate(early.items())
        ]
    facts = {} if isinstance(model, LateModel) else {"setting": model.setting}
    return {"kind": model.config.kind, "config": asdict(model.config), **facts, "parts": parts}


def _describe_preparation(preprocessor: Preprocessor, prefix: str, arrays: dict[str, Array]) -> dict[str, Any]:
    arrays |= {f"{prefix}preprocessor.{key}": array for key, array in preprocessor.state().items()}
    return {
        "columns": [asdict(column) for column in preprocessor.columns],
        "features": preprocessor.features,
        "fitted_on": preprocessor.fitted_on,
    }


def _describe_learner(learned: Learned, prefix: str, arrays: dict[str, Array], folder: Path) -> dict[str, Any]:
    trees = None
    if isinstance(learned, Boosting):
        import skops.io

        trees = f"trees-{prefix}skops"
        skops.io.dump(learned.trees, folder / trees)
        arrays[f"{prefix}learned.ends"] = learned.ends
    elif isinstance(learned, DiscreteTime | Recurrent):
        arrays[f"{prefix}learned.ends"] = learned.ends
        arrays |= {f"{prefix}learned.net.{name}": array for name, array in learned.net.weights.items()}
    else:
        arrays |= {f"{prefix}learned.{key}": getattr(learned, key) for key in _ARRAYS[learned.kind][1]}
    return {"learner": learned.kind, "trees": trees}


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
    FOLDER.verify(path)
    try:
        card, arrays = FOLDER.read_card(path), FOLDER.read_weights(path)
        return _model(path, card, "", _target(card["target"]), arrays), card
    except _MALFORMED as error:
        raise _incomplete(path, error) from None


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """All that a model folder holds.

    Attributes
    ----------
    model : model
    card : dict
    members : tuple of models
        Refitted ones for `uncertainty.model_interval`.
    guard : OutOfDistribution
        Ranges and spread of the training patients, in the order of the model's columns.
    """

    model: Model
    card: dict[str, Any]
    members: tuple[Model, ...]
    guard: OutOfDistribution


def load_folder(path: str | Path) -> ModelFolder:
    """Read all of a model folder, once; refuses what `load_model` refuses."""
    path = Path(path)
    FOLDER.verify(path)
    try:
        card, arrays = FOLDER.read_card(path), FOLDER.read_weights(path)
        target = _target(card["target"])
        model = _model(path, card, "", target, arrays)
        members = tuple(_model(path, entry, f"m{k}.", target, arrays) for k, entry in enumerate(card["members"]))
        return ModelFolder(model, card, members, OutOfDistribution.of_state(_below(arrays, "guard."), model.columns))
    except _MALFORMED as error:
        raise _incomplete(path, error) from None


def _incomplete(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: the model folder is incomplete or malformed ({type(error).__name__}).")


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


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _model(path: Path, entry: Mapping[str, Any], prefix: str, target: Target, arrays: Mapping[str, Array]) -> Model:
    config, parts = _config(entry["config"]), entry["parts"]
    if entry["kind"] == "joint":
        return _joint(entry, prefix, target, arrays)
    prepared = [_preparation(part, f"{prefix}{i}.", arrays) for i, part in enumerate(parts)]
    learned = [
        _learned(path, part, p, f"{prefix}{i}.", target, arrays) for i, (part, p) in enumerate(zip(parts, prepared))
    ]
    if entry["kind"] == "graph":
        graph = Graph(**_below(arrays, f"{prefix}graph."), neighbours=int(parts[0]["neighbours"]))
        if graph.nodes.shape[1] != len(prepared[0].features) or len(graph.fate) != len(graph.nodes):
            raise ValueError("graph and columns do not fit")
        return GraphModel(config, target, prepared[0], graph, learned[0], entry["setting"])
    early = {
        part["name"]: EarlyModel(_config(part["config"]), target, p, one, part["setting"])
        for part, p, one in zip(parts, prepared, learned)
    }
    if entry["kind"] == "early":
        return early[""]
    stacker = early.pop(_STACKER)
    return LateModel(config, target, early, stacker)


def _joint(entry: Mapping[str, Any], prefix: str, target: Target, arrays: Mapping[str, Array]) -> JointModel:
    prepared = {p["name"]: _preparation(p, f"{prefix}{i}.", arrays) for i, p in enumerate(entry["parts"])}
    own = _below(arrays, f"{prefix}joint.")
    net = Net(_below(own, "net."))
    net.check(widths(prepared), Goal.width(target.kind, target.classes, own["ends"]))
    latents = net.absent().shape[1]
    if own["mean"].shape[1:] != (latents,) or own["covariance"].shape[1:] != (latents, latents):
        raise ValueError("net and latents do not fit")
    config = _config(entry["config"])
    return JointModel(config, target, prepared, net, own["ends"], own["mean"], own["covariance"], entry["setting"])


def _preparation(part: Mapping[str, Any], prefix: str, arrays: Mapping[str, Array]) -> Preprocessor:
    columns = [Column(**{**c, "choices": tuple(c["choices"])}) for c in part["columns"]]
    preprocessor = Preprocessor.of_state(_below(arrays, f"{prefix}preprocessor."), columns, part["fitted_on"])
    if len(preprocessor.features) != len(part["features"]) or len(preprocessor.center) != len(columns):
        raise ValueError("weights and columns do not fit")
    return preprocessor


def _learned(
    path: Path, part: Mapping[str, Any], preprocessor: Preprocessor, prefix: str, target: Target,
    arrays: Mapping[str, Array],
) -> Learned:  # fmt: skip
    own = _below(arrays, f"{prefix}learned.")
    if part["learner"] == "boosting":
        return Boosting(_trees(path, f"trees-{prefix}skops"), own["ends"])
    if part["learner"] == "discrete_time":
        net = Net(_below(own, "net."))
        net.check([Width(len(preprocessor.features))], Goal.width("survival", (), own["ends"]))
        return DiscreteTime(net, own["ends"])
    if part["learner"] == "recurrent":
        net = Net(_below(own, "net."))
        wide = widths({"": preprocessor})
        net.check(wide, Goal.width(target.kind, target.classes, own["ends"]))
        return Recurrent(net, own["ends"])
    made, keys = _ARRAYS[part["learner"]]
    learned: Learned = made(*(own[key] for key in keys))
    return learned


def _config(entry: Mapping[str, Any]) -> ModelConfig:
    return ModelConfig(**{**entry, "modalities": tuple(entry["modalities"])})


def _target(entry: Mapping[str, Any]) -> Target:
    return Target(**{**entry, "classes": tuple(entry["classes"])})
