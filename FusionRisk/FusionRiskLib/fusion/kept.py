"""Finished fits of a judging or a training that was stopped, so that it goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from CardioPrecisionLib import __version__
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.record import json_able
from CardioPrecisionLib.replacing import replacing

from .cohort import Cohort
from .models import Model
from .store import load_model, save_model


def key_of(cohort: Cohort, **asked: Any) -> str:
    """Names a judging: the same cohort, models and folds, by the same version, have the same."""
    digest = hashlib.sha256()
    outcome = cohort.target
    facts = {
        "version": __version__,
        "columns": [asdict(column) for column in cohort.columns],
        "outcome": [outcome.kind, outcome.classes, outcome.horizon],
        "asked": asked,
    }
    digest.update(json.dumps(json_able(facts), sort_keys=True).encode())
    truth = (outcome.t, outcome.e) if outcome.kind == "survival" else (outcome.y,)
    for array in (cohort.values, cohort.patient, cohort.site, *truth):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


class _Folder:
    """What is finished of a question.

    Parameters
    ----------
    folder : Path
        Made when the first thing is kept. What it holds of another `key` is not used.
    key : str
        Of `key_of`.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self._own = folder, folder / key

    def clear(self) -> None:
        """Throw all of it away, that of older questions too."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Kept(_Folder):
    """A folder of finished fits of a judging."""

    def _file(self, fold: int, name: str) -> Path:
        return self._own / f"{fold}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.npz"

    @property
    def count(self) -> int:
        """Fits that are there."""
        return len(list(self._own.glob("[!.]*.npz"))) if self._own.is_dir() else 0

    def get(self, fold: int, name: str) -> dict[str, Any] | None:
        """What a fit found, or None; a damaged file is as good as none."""
        try:
            with np.load(self._file(fold, name), allow_pickle=False) as stored:
                done: dict[str, Any] = {key: stored[key] for key in stored.files}
            done["setting"] = json.loads(str(done["setting"]))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None
        return done

    def put(self, fold: int, name: str, done: Mapping[str, Any]) -> None:
        """Keep what a fit found, all of it or nothing; a full disk is no reason to stop."""
        with suppress(OSError):
            self._own.mkdir(parents=True, exist_ok=True)
            with replacing(self._file(fold, name)) as beside:
                np.savez(beside, **{**done, "setting": json.dumps(json_able(done["setting"]))})


class KeptModels(_Folder):
    """A folder of finished models of a training."""

    @property
    def count(self) -> int:
        """Models that are there."""
        return len(list(self._own.glob("[!.]*/model.json"))) if self._own.is_dir() else 0

    def __call__(self, name: str, cohort: Cohort, fit: Callable[[], Model]) -> Model:
        """The model that was kept under a name, else what ``fit()`` makes; a damaged one is as good as none."""
        path = self._own / name
        try:
            return load_model(path)[0]
        except InputError:
            shutil.rmtree(path, ignore_errors=True)
        model = fit()
        with contextlib.suppress(InputError):  # a full disk is no reason to stop
            self._own.mkdir(parents=True, exist_ok=True)
            save_model(path, model, cohort)
        return model
