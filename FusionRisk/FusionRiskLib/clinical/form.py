"""The entry form as data: groups, order, widgets, units and help. Slicer and the browser draw it from here."""

from __future__ import annotations

from typing import Any

from .fields import Field, document, fields

#: Kind of field -> widget. ``tristate`` is yes, no, unknown; every other widget has an empty state and "unknown".
WIDGETS = {"number": "number", "integer": "integer", "yes_no": "tristate", "choice": "choice", "date": "date"}


def _decimals(f: Field) -> int:
    if f.kind == "integer":
        return 0
    return 2 if f.usual_high <= 30 else 1 if f.usual_high <= 300 else 0


def _item(f: Field) -> dict[str, Any]:
    item: dict[str, Any] = {"name": f.name, "title": f.title, "widget": WIDGETS[f.kind], "help": f.help}
    if f.numeric:
        item |= {
            "unit": f.unit,
            "unit_title": f.plain_unit,
            "units": list(f.units) or [f.unit],
            "minimum": f.low,
            "maximum": f.high,
            "usual_minimum": f.usual_low,
            "usual_maximum": f.usual_high,
            "decimals": _decimals(f),
        }
    if f.kind == "choice":
        item["choices"] = [{"value": c, "title": c.replace("_", " ").capitalize()} for c in f.choices]
    return item


def form() -> dict[str, Any]:
    """The form: ``{"groups": [{"name", "title", "fields": [{"name", "title", "widget", "unit", …}]}]}``.

    A quantity that has a field per unit is there once, with its units to choose from.
    """
    shown: list[Field] = []
    covered: set[str] = set()
    for f in fields().values():
        if f.name not in covered:
            shown.append(f)
            covered |= {source.source for source in f.sources}
    groups = [
        {"name": name, "title": title, "fields": [_item(f) for f in shown if f.group == name]}
        for name, title in document()["groups"].items()
    ]
    return {"schema": "cardioprecision/clinical-form/1", "groups": groups}
