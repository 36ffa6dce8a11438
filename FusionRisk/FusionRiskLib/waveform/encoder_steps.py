"""Finished epochs of a training, so that one that was stopped goes on where it was."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_FILE = "state.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Steps:
    """A hidden folder with the state after the last finished epoch.

    Parameters
    ----------
    folder : Path or None
        Made when the first epoch is done; None keeps nothing.
    key : str
        Names the recordings and settings; what the folder holds of other ones is not used.
    """

    def __init__(self, folder: Path | None, key: str = ""):
        self.folder = folder
        self._own = None if folder is None else folder / key

    @property
    def there(self) -> bool:
        return self._own is not None and (self._own / _FILE).is_file()

    def clear(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, w: Mapping[str, Any], names: Sequence[str], optimizer: Any, done: int, losses: list[float]) -> None:
        """Keep weights and optimizer, all or nothing; a full disk is no reason to stop."""
        if self._own is None:
            return
        from safetensors.torch import save_file

        state: dict[str, Any] = {f"w.{name}": w[name].detach() for name in names}
        for name in names:
            kept = optimizer.state[w[name]]
            state |= {f"o.{moment}.{name}": kept[moment] for moment in _MOMENTS}
        import torch

        state["losses"] = torch.tensor(losses, dtype=torch.float64)
        state["done"] = torch.tensor(done)
        temporary = self._own / f".{_FILE}.{os.getpid()}"
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous().clone() for name, value in state.items()}, temporary)
            temporary.replace(self._own / _FILE)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def load(self, w: Mapping[str, Any], names: Sequence[str], optimizer: Any) -> tuple[int, list[float]]:
        """Put weights and optimizer back; finished epochs and their losses. A damaged file is as good as none."""
        if not self.there or self._own is None:
            return 0, []
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(self._own / _FILE)
            losses = [float(v) for v in state["losses"]]
            done = int(state["done"])
            if any(state[f"w.{name}"].shape != w[name].shape for name in names) or len(losses) != done:
                return 0, []
            moments = {name: {m: state[f"o.{m}.{name}"].clone() for m in _MOMENTS} for name in names}
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0, []
        if not np.isfinite(losses).all():
            return 0, []
        with torch.no_grad():
            for name in names:
                w[name].copy_(state[f"w.{name}"])
        for name in names:
            optimizer.state[w[name]] = moments[name]
        return done, losses
