"""Work on several things at once: order, progress, a stop that is heard soon, errors passed on."""

from __future__ import annotations

import threading
import time

import pytest
from CardioPrecisionLib.analysis import silent
from CardioPrecisionLib.errors import Cancelled
from CoronaryPlaqueLib.side_by_side import side_by_side


def test_results_are_in_the_order_of_the_things():
    def work(seconds, _):
        time.sleep(seconds)
        return seconds

    assert side_by_side(work, [0.2, 0.0, 0.1], silent, str) == [0.2, 0.0, 0.1]
    assert side_by_side(work, [], silent, str) == []


def test_progress_hears_of_the_pieces():
    said = []

    def work(_, told):
        for n in range(5):
            told(n / 5, "")
            time.sleep(0.15)

    side_by_side(work, ["a", "b"], lambda share, text: said.append((share, text)), str)
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert 0.2 < max(shares) <= 1.0
    assert {text for _, text in said} <= {"a", "b"}


def test_a_stop_is_heard_while_work_goes_on():
    stopped = threading.Event()

    def work(_, told):
        try:
            for _ in range(400):
                told(0.0, "")
                time.sleep(0.05)
        except Cancelled:
            stopped.set()
            raise

    def progress(share, text):
        if time.perf_counter() - started > 0.5:
            raise Cancelled

    started = time.perf_counter()
    with pytest.raises(Cancelled):
        side_by_side(work, range(8), progress, str)
    assert stopped.wait(2)
    assert time.perf_counter() - started < 5


def test_an_error_stops_the_rest():
    begun = []

    def work(n, told):
        begun.append(n)
        if n == 0:
            raise ValueError("no")
        for _ in range(200):
            told(0.0, "")
            time.sleep(0.02)

    with pytest.raises(ValueError, match="no"):
        side_by_side(work, range(30), silent, str)
    assert len(begun) < 30
