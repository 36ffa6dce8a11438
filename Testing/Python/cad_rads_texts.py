"""Synthetic coronary CT reports with their CAD-RADS category in two ways of writing, for the text classifier.

    python Testing/Python/cad_rads_texts.py

prints how well a classifier that learned one way of writing (or both) does on unseen reports of each. The reports are
made from phrases of ours: the numbers say that the classifier works, not how it does on a hospital's reports.
"""

from __future__ import annotations

import random

VESSELS = ("left main", "LAD", "LCx", "RCA")
GRADES = {"1": (1, 24), "2": (25, 49), "3": (50, 69), "4A": (70, 99), "5": (100, 100)}
ORDER = ("0", "1", "2", "3", "4A", "5")


def _plain(rng: random.Random, vessel: str, category: str) -> str:
    if category == "0":
        return rng.choice([f"{vessel}: no plaque or stenosis.", f"{vessel}: normal.", f"{vessel}: no stenosis."])
    if category == "5":
        return rng.choice([f"{vessel}: occluded.", f"{vessel}: total occlusion.", f"{vessel}: 100% stenosis."])
    low, high = GRADES[category]
    word = {"1": "minimal", "2": "mild", "3": "moderate", "4A": "severe"}[category]
    part = rng.choice(["proximal", "mid", "distal"])
    plaque = rng.choice(["calcified", "noncalcified", "mixed"])
    return rng.choice(
        [
            f"{vessel}: {plaque} plaque in the {part} segment with {word} stenosis.",
            f"{vessel}: {rng.randint(low, high)}% stenosis of the {part} segment.",
            f"{vessel}: {word} ({low}-{high}%) stenosis, {plaque} plaque.",
        ]
    )


def _narrative(rng: random.Random, vessel: str, category: str) -> str:
    if category == "0":
        return rng.choice([f"The {vessel} is free of disease.", f"There is no plaque within the {vessel}."])
    if category == "5":
        return rng.choice(
            [f"The {vessel} is completely occluded.", f"There is a chronic total occlusion of the {vessel}."]
        )
    low, high = GRADES[category]
    word = {"1": "minimal", "2": "mild", "3": "moderate", "4A": "severe"}[category]
    place = rng.choice(["first portion", "middle third", "far end"])
    return rng.choice(
        [
            f"In the {place} of the {vessel} a plaque narrows the lumen by {rng.randint(low, high)} percent.",
            f"The {vessel} has {word} luminal narrowing at its {place}.",
            f"Atheroma causes {word} narrowing in the {vessel}, about {rng.randint(low, high)}%.",
        ]
    )


def report(rng: random.Random, narrative: bool) -> tuple[str, str]:
    """A report and its category."""
    limited = rng.random() < 0.1
    worst = rng.choice(ORDER)
    levels = [rng.choice(ORDER[: ORDER.index(worst) + 1]) for _ in VESSELS]
    levels[rng.randrange(1, 4)] = worst
    levels[0] = min(levels[0], rng.choice("012"))
    if worst == "4A" and rng.random() < 0.4:
        levels[0] = "3"
    say = _narrative if narrative else _plain
    lines = [say(rng, vessel, level) for vessel, level in zip(VESSELS, levels, strict=True)]
    severe = sum(level in ("4A", "5") for level in levels[1:])
    category = max(levels, key=ORDER.index)
    if category != "5" and (severe == 3 or ORDER.index(levels[0]) >= 3):
        category = "4B"
    if limited:
        category = "N"
        lines = [
            rng.choice(["Severe motion artefact, the study is non-diagnostic.", "Not evaluable because of motion."])
            for _ in range(2)
        ]
    head = "Coronary CT angiography." if not narrative else "We performed a CT of the coronary arteries."
    return " ".join([head, *lines, f"CAD-RADS {category}." if rng.random() < 0.3 else ""]).strip(), category


def reports(n: int, seed: int, narrative: bool) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    made = [report(rng, narrative) for _ in range(n)]
    return [text for text, _ in made], [category for _, category in made]


def main() -> None:
    from FusionRiskLib.text.classifier import CadRadsTextClassifier

    plain, narrative = reports(600, 1, False), reports(600, 2, True)
    both = (plain[0] + narrative[0], plain[1] + narrative[1])
    tests = {"plain": reports(300, 3, False), "narrative": reports(300, 4, True)}
    print("| learned from | judged on | answered | right of answered | right of all, unrefused |")
    print("|---|---|---|---|---|")
    for name, (texts, categories) in {"plain": plain, "narrative": narrative, "both": both}.items():
        model = CadRadsTextClassifier().fit(texts, categories)
        for other, (asked, truth) in tests.items():
            said = model.predict(asked)
            sure = [(p.category, t) for p, t in zip(said, truth, strict=True) if p.category]
            right = sum(p == t for p, t in sure) / max(len(sure), 1)
            forced = [model.classes[i] for i in model.predict_proba(asked).argmax(axis=1)]
            every = sum(p == t for p, t in zip(forced, truth, strict=True)) / len(truth)
            print(f"| {name} | {other} | {len(sure) / len(truth):.2f} | {right:.3f} | {every:.3f} |")


if __name__ == "__main__":
    main()
