"""The same work on several things at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from CardioPrecisionLib.analysis import Progress, stoppable

One = TypeVar("One")
Made = TypeVar("Made")
#: What is worked on at once holds memory of its own.
_MOST = 4
#: So often the caller hears of it, and can stop it (seconds).
_EVERY_S = 0.2


def side_by_side(
    work: Callable[[One, Progress], Made], things: Iterable[One], progress: Progress, text: Callable[[One], str]
) -> list[Made]:
    """What `work` makes of each thing, in their order; on as many threads as there are processors, four at most.

    Parameters
    ----------
    work : callable
        Takes a thing and a progress of its own, which raises `Cancelled` once the whole is stopped. Mostly numpy and
        scipy, which let other threads run.
    things : iterable
    progress : callable
        Called from this thread, several times a second; where it raises, or a piece of work does, the others are
        stopped and the error is passed on.
    text : callable
        What is said of the first thing that is not ready.
    """
    given = list(things)
    if not given:
        return []
    shares = [0.0] * len(given)
    stop = threading.Event()

    def own(n: int) -> Progress:
        def told(fraction: float, stage: str) -> None:
            shares[n] = fraction

        return stoppable(told, stop.is_set)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST, len(given))) as pool:
        waiting: list[Future[Made]] = [pool.submit(work, one, own(n)) for n, one in enumerate(given)]
        try:
            open_ = set(waiting)
            while open_:
                first = next(n for n, one in enumerate(waiting) if one in open_)
                progress(sum(shares) / len(given), text(given[first]))
                done, open_ = wait(open_, _EVERY_S, FIRST_EXCEPTION)
                for one in done:
                    one.result()
                    shares[waiting.index(one)] = 1.0
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [one.result() for one in waiting]
