"""The same work on several things at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from CardioPrecisionLib.analysis import Progress

One = TypeVar("One")
Made = TypeVar("Made")
#: What is worked on at once holds memory of its own.
_MOST = 4


def side_by_side(
    work: Callable[[One], Made], things: Iterable[One], progress: Progress, text: Callable[[One], str]
) -> list[Made]:
    """What `work` makes of each thing, in their order; on as many threads as there are processors, four at most.

    Parameters
    ----------
    work : callable
        Mostly numpy and scipy, which let other threads run.
    things : iterable
    progress : callable
        Called from this thread, as each thing is waited for; where it raises, what has not begun is left.
    text : callable
        What is said of a thing.
    """
    given = list(things)
    if not given:
        return []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST, len(given))) as pool:
        waiting = [pool.submit(work, one) for one in given]
        made = []
        try:
            for n, (one, future) in enumerate(zip(given, waiting, strict=True)):
                progress(n / len(given), text(one))
                made.append(future.result())
        finally:
            for future in waiting:
                future.cancel()
    return made
