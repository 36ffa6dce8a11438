"""Precision, recall and F1 of the text rules on our own sentences; prints the table for docs/text.md.

    python Testing/Python/text_accuracy.py [--errors dev]

The sentences in Testing/Data/text are synthetic and were written by the authors of the rules; dev and test were parted
by a hash of the identifier before the rules were tuned on dev. A finding is right when kind, value, site and status
are those of the gold finding and the spans overlap; "span" is the share of right ones whose span is the same to the
character.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from FusionRiskLib.text import Finding, extract

DATA = Path(__file__).resolve().parents[1] / "Data" / "text"


@dataclass
class Counts:
    """Right, too much, missed; and how many of the right ones have the exact span."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    exact: int = 0

    def add(self, other: Counts) -> None:
        self.right += other.right
        self.wrong += other.wrong
        self.missed += other.missed
        self.exact += other.exact

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass
class Score:
    kinds: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    errors: list[str] = field(default_factory=list)

    @property
    def total(self) -> Counts:
        total = Counts()
        for counts in self.kinds.values():
            total.add(counts)
        return total


def rows(split: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def spelled(finding: Finding) -> str | None:
    """The value as the gold files write it: "55", "50..69", "<50", "4A/HRP", "moderate"."""
    if finding.low is not None and finding.high is not None:
        return f"{finding.low:g}..{finding.high:g}"
    if finding.low is not None or finding.high is not None:
        return f"{finding.comparator}{finding.low if finding.low is not None else finding.high:g}"
    if isinstance(finding.value, float):
        return f"{finding.value:g}"
    return "/".join((finding.value, *finding.modifiers)) if finding.value is not None else None


def judge(split: str) -> Score:
    score = Score()
    for row in rows(split):
        gold = Counter()
        spans = defaultdict(list)
        for f in row["findings"]:
            key = (f["kind"], f["value"], f["site"], f["status"])
            gold[key] += 1
            spans[key].append((f["start"], f["end"]))
        for finding in extract(row["text"]):
            key = (finding.kind, spelled(finding), finding.site, finding.status.value)
            near = [s for s in spans[key] if s[0] < finding.end and finding.start < s[1]]
            if near:
                same = (finding.start, finding.end)
                score.kinds[finding.kind].right += 1
                score.kinds[finding.kind].exact += same in near
                spans[key].remove(same if same in near else near[0])
            else:
                score.kinds[finding.kind].wrong += 1
                score.errors.append(f"{row['id']}  too much {key}  {row['text']!r}")
        for key, left in spans.items():
            score.kinds[key[0]].missed += len(left)
            score.errors += [f"{row['id']}  missed   {key}  {row['text']!r}"] * len(left)
    return score


def table(score: Score) -> str:
    lines = [
        "| finding | right | too much | missed | precision | recall | F1 | span |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, c in [*sorted(score.kinds.items()), ("**all**", score.total)]:
        exact = c.exact / c.right if c.right else 1.0
        shares = " | ".join(f"{share:.3f}" for share in (c.precision, c.recall, c.f1, exact))
        lines.append(f"| {name} | {c.right} | {c.wrong} | {c.missed} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--errors", choices=("dev", "test"), help="print what is wrong in this part")
    parser.add_argument("--split", choices=("dev", "test"), help="this part only")
    options = parser.parse_args()
    for split in (options.split,) if options.split else ("dev", "test"):
        score = judge(split)
        print(f"{split}: {len(rows(split))} texts\n\n{table(score)}\n")
        if options.errors == split:
            print("\n".join(score.errors))


if __name__ == "__main__":
    main()
