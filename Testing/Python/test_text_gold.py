"""The rules on the gold sentences: thresholds on the test part, which was not looked at when the rules were made."""

from __future__ import annotations

import hashlib

import pytest
import text_accuracy
from FusionRiskLib.text.finding import Status


@pytest.fixture(scope="module")
def scores():
    return {split: text_accuracy.judge(split) for split in ("dev", "test")}


def test_gold_is_large_enough_and_split_by_identifier():
    seen = {}
    for split in ("dev", "test"):
        for row in text_accuracy.rows(split):
            expected = "test" if hashlib.sha256(row["id"].encode()).digest()[0] % 2 else "dev"
            assert expected == split, row["id"]
            assert seen.setdefault(row["id"], split) == split
    assert len(seen) == len({row["text"] for s in ("dev", "test") for row in text_accuracy.rows(s)}) >= 250


def test_gold_spans_lie_in_their_texts():
    for split in ("dev", "test"):
        for row in text_accuracy.rows(split):
            for f in row["findings"]:
                assert 0 <= f["start"] < f["end"] <= len(row["text"]), row["id"]
                assert Status(f["status"])
                assert row["text"][f["start"] : f["end"]].strip()


def test_accuracy_on_the_test_part(scores):
    total = scores["test"].total
    assert total.right + total.missed > 250
    assert total.precision > 0.94
    assert total.recall > 0.94
    assert total.exact / total.right > 0.93


def test_the_measurements_are_right_on_the_test_part(scores):
    for kind in ("lv_ef", "agatston_score", "diameter_stenosis", "cad_rads"):
        counts = scores["test"].kinds[kind]
        assert counts.right >= 10, kind
        assert counts.f1 > 0.9, kind


def test_accuracy_on_the_development_part(scores):
    assert scores["dev"].total.f1 > 0.98
