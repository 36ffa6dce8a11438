"""Number formats: which a device runs fast, and whether a network bears it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError

CHOICES = ("auto", "float32", "bfloat16", "float16")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEAST_DICE = 0.99
_LEAST_PIXELS = 100


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this processor computes (not only converts) bfloat16: AMX, AVX512-BF16 or the ARM extension."""
    if not torch.backends.mkldnn.is_available():
        return False
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        probe = getattr(torch.cpu, name, None)
        if probe is not None and probe():
            return True
    if platform.system() != "Linux":
        return False
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return bool(words & ({"bf16"} if platform.machine() == "aarch64" else {"amx_bf16", "avx512_bf16"}))


def candidates(device: str, wanted: str) -> list[str]:
    """The precisions to try on a device, best first; the last one is always float32."""
    if wanted not in CHOICES:
        raise InputError(f"Precision {wanted!r} is not known; there are: {', '.join(CHOICES)}.")
    if wanted == "float32":
        return ["float32"]
    if wanted != "auto":
        return [wanted, "float32"]
    if device == "cuda":
        return ["float16", "bfloat16", "float32"]
    if device == "cpu" and cpu_has_bfloat16():
        return ["bfloat16", "float32"]
    return ["float32"]


def agreement(labels: torch.Tensor, reference: torch.Tensor, classes: int) -> dict[int, float]:
    """Dice per class between two label tensors, for the classes large enough to be judged."""
    scores = {}
    for c in range(1, classes):
        a, b = labels == c, reference == c
        total = int(a.sum()) + int(b.sum())
        if total >= 2 * _LEAST_PIXELS:
            scores[c] = 2.0 * int((a & b).sum()) / total
    return scores


@contextmanager
def settings(threads: int, deterministic: bool, device: str) -> Iterator[None]:
    """Threads and determinism for the time of one run; restored whatever happens.

    On the CPU the operations of inference are deterministic as they are (and independent of the number of threads), so
    torch's switch, which costs half a second to turn for the first time, is turned for accelerators only.
    """
    memory: Any = torch.utils.deterministic
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        memory.fill_uninitialized_memory,
    )
    try:
        torch.set_num_threads(threads)
        if deterministic and device != "cpu":
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Nothing here reads memory that it did not write; filling it first would only cost time.
            memory.fill_uninitialized_memory = False
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        yield
    finally:
        torch.set_num_threads(before[0])
        if torch.are_deterministic_algorithms_enabled() != before[1]:
            torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        torch.backends.cudnn.benchmark = before[3]
        torch.backends.cudnn.allow_tf32 = before[4]
        torch.backends.cuda.matmul.allow_tf32 = before[5]
        memory.fill_uninitialized_memory = before[6]
