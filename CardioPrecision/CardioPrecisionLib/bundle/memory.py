"""How much memory a network needs, how much there is, and what running out of it looks like."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch

_WORKSPACE = 1.5  # convolution workspaces and the allocator's rounding
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_USES = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this exception says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        s in text for s in ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
    )


def _number(files: tuple[str, ...]) -> int | None:
    for name in files:
        try:
            return int(Path(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return None


def available_bytes(device: torch.device) -> int:
    """Free memory of a device; a container's limit counts."""
    if device.type == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    limit, used = _number(_CGROUP_LIMITS), _number(_CGROUP_USES)
    return max(0, min(free, limit - used)) if limit and used and limit < 1 << 60 else free


def parameter_bytes(network: torch.nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def bytes_per_pixel(network: torch.nn.Module, channels: int, size: int = 64) -> float:
    """Peak memory of the activations of one slice, per pixel of it, float32.

    Measured, not guessed: one small slice goes through the network while the tensors that are alive are counted.
    """
    alive: dict[int, int] = {}
    holders: dict[int, int] = {}
    peak = 0

    def release(key: int) -> None:
        holders[key] -= 1
        if not holders[key]:
            del holders[key]
            alive.pop(key, None)

    def note(values: Any) -> None:
        nonlocal peak
        for value in values if isinstance(values, (tuple, list)) else (values,):
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                key = storage.data_ptr()
                alive[key] = storage.nbytes()
                holders[key] = holders.get(key, 0) + 1
                weakref.finalize(value, release, key)
        peak = max(peak, sum(alive.values()))

    hooks = []
    for module in network.modules():
        if not any(module.children()):
            hooks.append(module.register_forward_pre_hook(lambda _m, inputs: note(inputs)))
            hooks.append(module.register_forward_hook(lambda _m, _inputs, output: note(output)))
    try:
        with torch.inference_mode():
            network(torch.zeros(1, channels, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return _WORKSPACE * peak / size**2
