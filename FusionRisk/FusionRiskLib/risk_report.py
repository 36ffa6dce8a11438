"""The parts of a risk report that are its own: plan, scores by family, the patient's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from CardioPrecisionLib.analysis import Section
from CardioPrecisionLib.report import names
from CardioPrecisionLib.report.rows import Footnotes
from CardioPrecisionLib.report.templating import environment

from .clinical.fields import document, fields
from .clinical.record import Record
from .plan import Fact, Statement
from .plan.facts import DERIVED
from .plan.rulebook import headings
from .risk_rows import FAMILIES, NamedScore, unit_of, validity

#: Topics of the plan in the order of the report; one that is not here comes last.
TOPICS = (
    *("lipids_prevent", "lipids_pce", "lipids_esc", "calcium_statin"),
    *("blood_pressure", "aspirin", "cad_rads", "heart_failure", "follow_up"),
)


def _render(template: str, **values: Any) -> str:
    package = __package__ or "FusionRiskLib"
    return environment(package).get_template(template).render(**values)


def _words(value: Any, unit: str) -> str:
    if isinstance(value, str):
        return value.replace("_", " ").replace("-", " ")
    return names.quantity(value, unit)


def _field_value(fact: Fact) -> str:
    """A fact's value, of a clinical field in the words of the form."""
    f = fields().get(fact.name)
    if f is None or not f.numeric or isinstance(fact.value, str):
        return _words(fact.value, fact.unit)
    return f"{names.number(fact.value, f.unit)}\u00a0{unit_of(f)}".rstrip("\u00a0")


def fact_title(name: str) -> str:
    """A fact's name in words."""
    f = fields().get(name)
    return f.title if f else names.title_of(name)


def _fact(fact: Fact, titles: Mapping[str, str]) -> dict[str, str]:
    state = fact.state.replace("_", " ")
    text = _field_value(fact) if fact.known else f"{state}{f' ({fact.reason})' if fact.reason else ''}"
    source = "" if fact.name in titles else fact.source  # of a score: the citation, which stands with the scores
    return {"title": titles.get(fact.name) or fact_title(fact.name), "value": text, "source": source}


def plan_section(statements: Sequence[Statement], titles: Mapping[str, str]) -> Section:
    """Statements that apply with rule and inputs; the others folded with their reasons."""
    groups: dict[str, list[dict[str, Any]]] = {topic: [] for topic in TOPICS}
    folded: dict[str, list[dict[str, Any]]] = {"not_assessable": [], "does_not_apply": []}
    for s in statements:
        shown = {
            "id": s.id,
            "text": s.text,
            "reason": s.reason or "",
            "strength": s.strength or "",
            "guideline": f"{s.guideline}, {s.edition}",
            "citation": s.citation,
            "inputs": [_fact(fact, titles) for fact in s.inputs],
        }
        if s.state == "applies":
            groups.setdefault(s.topic, []).append(shown)
        else:
            folded[s.state].append(shown)
    html = _render(
        "plan.html.j2",
        groups=[(headings()[topic], rows) for topic, rows in groups.items() if rows],
        folded=[(state.replace("_", " ").capitalize(), rows) for state, rows in folded.items() if rows],
    )
    return Section("plan", "Plan", html)


def _score_row(named: NamedScore, notes: Footnotes) -> dict[str, Any]:
    score = named.score
    value = "" if named.value is None else _words(named.value, "1" if score.kind == "category" else score.unit)
    marks = [notes.mark(validity(score)), notes.mark(f"{score.citation}. doi:{score.doi}")]
    if named.category:
        guideline = named.category.guideline
        unverified = "" if named.category.verified else " Unverified: the limits were not read in it."
        text = f"Categories: {guideline.title}, {guideline.edition}. {guideline.reference}.{unverified}"
        marks.append(notes.mark(text))
    if score.note:
        marks.append(notes.mark(score.note))
    return {
        "name": score.name,
        "title": score.title,
        "value": value,
        "category": named.category.name if named.category else "",
        "state": named.state.replace("_", " "),
        "reason": named.reason or "",
        "unverified": not score.verified,
        "marks": marks,
    }


def scores_section(scores: Iterable[NamedScore]) -> Section:
    """Scores by family with value, category and remarks, notes with range and citation; the rest folded."""
    scores = list(scores)
    families: list[dict[str, Any]] = []
    for family in dict.fromkeys(s.family for s in scores):
        notes = Footnotes()
        rows = [_score_row(s, notes) for s in scores if s.family == family and s.value is not None]
        if rows:
            families.append({"title": FAMILIES.get(family, family), "rows": rows, "notes": notes.items(), "id": family})
    missing: dict[str, dict[str, Any]] = {}
    for s in scores:
        if s.value is None:
            row = missing.setdefault(s.family, {"title": FAMILIES.get(s.family, s.family), "rows": []})
            row["rows"].append({"title": s.title, "name": s.name, "state": s.state.replace("_", " "),
                                "reason": s.reason or "", "range": validity(s.score)})  # fmt: skip
    count = sum(len(row["rows"]) for row in missing.values())
    html = _render("scores.html.j2", families=families, missing=list(missing.values()), count=count)
    return Section("scores", "Scores", html, measurements=True)


def values_section(
    record: Record, facts: Mapping[str, Fact], used: Sequence[tuple[str, int, int]], wanted: Sequence[tuple[str, int]]
) -> Section:
    """The patient's values with unit, state and source.

    Parameters
    ----------
    record : Record
    facts : mapping
        `risk_rows.record_facts`.
    used : sequence of (str, int, int)
        Analysis, its rows, and how many of them are used here.
    wanted : sequence of (str, int)
        Field that is not known, and how many scores need it.
    """
    groups = []
    for group, title in document()["groups"].items():
        rows = []
        for f in fields().values():
            fact = facts.get(f.name)
            if f.group != group or fact is None:
                continue
            # The same quantity in another unit says nothing new.
            if f.name not in record.entries and any(source.source in record.entries for source in f.sources):
                continue
            state = "derived" if fact.source == DERIVED else fact.state.replace("_", " ")
            rows.append({"title": f.title, "name": f.name, "value": _field_value(fact) if fact.known else "–",
                         "state": state, "reason": fact.reason or "", "source": fact.source})  # fmt: skip
        if rows:
            groups.append((title, rows))
    gaps = [(fields()[name].title, name, count) for name, count in wanted]
    return Section("values", "Values", _render("values.html.j2", groups=groups, used=used, gaps=gaps))
