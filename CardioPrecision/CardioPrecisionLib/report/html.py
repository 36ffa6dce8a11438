"""One self-contained HTML file with everything a run found: numbers, pictures, tables, and how they came about."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..analysis import Figure, Result, Table
from ..measurement import Patient
from . import names
from .figures import data_uri
from .provenance import facts_of, stages_of
from .rows import REFERENCE, Footnotes, grouped, headline, references_of
from .templating import environment

#: Pictures beyond this size are left out, and the report says so.
MAX_FIGURE_BYTES = 5_000_000
MAX_TABLE_ROWS = 200
OPEN_TABLE_ROWS = 12
_PICTURES = ("image/png", "image/jpeg")
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class _Shown:
    figure: Figure
    kind: str  # "own" markup, "picture" or "omitted"
    content: str
    wide: bool


def _own(figure: Figure) -> str:
    return figure.data.decode("utf-8")


def _figures(figures: list[Figure]) -> list[_Shown]:
    shown: list[_Shown] = []
    left = MAX_FIGURE_BYTES
    for figure in figures:
        own = figure.mime in ("text/html", "image/svg+xml")
        size = len(figure.data) if own else len(figure.data) * 4 // 3
        if size > left:
            shown.append(_Shown(figure, "omitted", f"{size / 1e6:.0f} MB", False))
            continue
        left -= size
        if own:
            # Markup of our own making; the page's security policy lets only scripts run whose hash it knows.
            shown.append(_Shown(figure, "own", Markup(_own(figure)), figure.mime == "text/html"))  # noqa: S704
        elif figure.mime in _PICTURES:
            shown.append(_Shown(figure, "picture", data_uri(figure.data, figure.mime), False))
        else:
            raise ValueError(f"figure {figure.name}: a report cannot show {figure.mime}")
    return shown


def _policy(figures: list[_Shown]) -> str:
    """Content security policy: nothing from anywhere, and only the scripts that the figures brought."""
    hashes = {
        base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        for shown in figures
        if shown.kind == "own" and shown.figure.mime == "text/html"
        for script in _SCRIPT.findall(shown.content)
    }
    scripts = " ".join(f"'sha256-{h}'" for h in sorted(hashes)) or "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; base-uri 'none'; "
        "form-action 'none'"
    )


def _patient_line(patient: Patient) -> list[tuple[str, str]]:
    known = (
        ("Patient", patient.key[:8] if patient.key else None),
        ("Sex", patient.sex),
        ("Age", f"{patient.age_years:.0f} years" if patient.age_years is not None else None),
        ("Height", f"{patient.height_cm:.0f} cm" if patient.height_cm is not None else None),
        ("Weight", f"{patient.weight_kg:.0f} kg" if patient.weight_kg is not None else None),
        ("Study date", patient.study_date),
    )
    return [(label, value) for label, value in known if value]


def _table(table: Table) -> dict[str, Any]:
    columns = list(table.columns)
    count = max((len(table.columns[c]) for c in columns), default=0)
    units = {c: table.units.get(c, "") for c in columns}
    numeric = {
        c: all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in table.columns[c])
        for c in columns
    }
    decimals = {}
    for c in columns:  # one number of decimals for a column
        values = [abs(float(v)) for v in table.columns[c] if v is not None and numeric[c] and v - v == 0]
        if values:
            whole = all(v.is_integer() for v in values)
            decimals[c] = 0 if whole else names.decimals_of(units[c] or None, max(values))
    head = []
    for c in columns:
        unit = names.unit_of(units[c])
        stem = re.sub(r"_(ml|ms|mm|pct|s|g)$", "", c) if unit else c
        head.append({"text": names.title_of(stem), "unit": unit, "numeric": numeric[c]})
    body = []
    for i in range(min(count, MAX_TABLE_ROWS)):
        body.append(
            [
                {
                    "text": names.number(
                        table.columns[c][i] if i < len(table.columns[c]) else None, units[c] or None, decimals.get(c)
                    ),
                    "numeric": numeric[c],
                }
                for c in columns
            ]
        )
    return {
        "title": table.title,
        "head": head,
        "rows": body,
        "left_out": max(0, count - MAX_TABLE_ROWS),
        "name": table.name,
        "open": count <= OPEN_TABLE_ROWS,
    }


def render(analysis_title: str, result: Result, patient: Patient, record: Mapping[str, Any]) -> str:
    """The report of one run.

    Parameters
    ----------
    analysis_title : str
    result : Result
        Measurements, tables, figures and warnings. A table named ``reference`` (columns name, low, high, z, source) is
        shown with the measurements it speaks of. ``record["headline"]`` may list the names of the main measurements.
    patient : Patient
        Of its key the first 8 digits are shown, of the rest sex, age, height, weight and study date.
    record : mapping
        Content of ``run.json``; paths, command line and series UIDs in it are not shown.

    Returns
    -------
    str
        A complete HTML document that needs no other file and no network.

    Raises
    ------
    ValueError
        A figure's type cannot be shown.
    """
    notes = Footnotes()
    chosen = result.record.get("headline") or (record.get("details") or {}).get("headline")
    cards = headline(result, chosen, notes)
    groups = grouped(result, notes)
    rows = [row for _, group in groups for row in group]
    figures = _figures(result.figures)
    stages, total = stages_of(record)
    references = references_of(result.tables)
    shown = {row.name for row in rows}
    levels = sorted({row.level for row in rows if row.level})
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=analysis_title,
            patient=_patient_line(patient),
            policy=_policy(figures),
            cards=cards,
            groups=groups,
            has={
                "site": any(r.site for r in rows),
                "interval": any(r.interval for r in rows),
                "reference": any(r.reference for r in rows),
            },
            levels=levels,
            notes=notes.items(),
            warnings=list(dict.fromkeys(result.warnings)),
            figures=figures,
            sections=[(s.name, s.title, Markup(s.html)) for s in result.sections],  # noqa: S704  # escaped by contract
            general=not any(s.measurements for s in result.sections),
            reference_title=next((t.title for t in result.tables if t.name == REFERENCE), ""),
            reference_sources=sorted({r.source for name, r in references.items() if name in shown and r.source}),
            tables=[_table(t) for t in result.tables if t.name != REFERENCE and any(t.columns.values())],
            facts=facts_of(record),
            stages=stages,
            total=total,
            # A run that asks for no measurement has not failed to measure one.
            assessable=result.measurements.assessable or (bool(result.sections) and not len(result.measurements)),
        )
    )
