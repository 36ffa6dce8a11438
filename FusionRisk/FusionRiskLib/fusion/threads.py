"""Threads cost more than they gain where tables are small."""

from __future__ import annotations

from typing import Any

from .cohort import Array

_SMALL = 1_000_000


def one_thread_for(x: Array) -> Any:
    """A context in which libraries take one thread where `x` is small."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1 if x.size < _SMALL else None)
