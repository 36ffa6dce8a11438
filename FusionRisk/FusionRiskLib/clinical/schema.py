"""The JSON schema of a record, made from the field table. ``python -m FusionRiskLib.clinical.schema`` prints it."""

from __future__ import annotations

import json
from typing import Any

from .fields import Field, fields
from .record import ENTERED, SCHEMA, UNKNOWN


def _value(f: Field) -> dict[str, Any]:
    if f.kind == "yes_no":
        return {"type": "boolean"}
    if f.kind == "choice":
        return {"enum": list(f.choices)}
    if f.kind == "date":
        return {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
    # a whole number may be written 4.0
    return {"type": "number", "minimum": f.low, "maximum": f.high} | ({"multipleOf": 1} if f.kind == "integer" else {})


def _entry(f: Field) -> dict[str, Any]:
    source = {"type": ["string", "null"]}
    entered = {
        "properties": {"value": _value(f), "state": {"const": ENTERED}, "source": source},
        "required": ["value", "state"],
        "additionalProperties": False,
    }
    unknown = {
        "properties": {"value": {"type": "null"}, "state": {"const": UNKNOWN}, "source": source},
        "required": ["state"],
        "additionalProperties": False,
    }
    about = f"{f.title}" + (f", in {f.unit}" if f.numeric and f.unit != "1" else "")
    return {"description": about, "type": "object", "oneOf": [entered, unknown]}


def build() -> dict[str, Any]:
    """The schema as it must be shipped in ``schema.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "CardioPrecision clinical record",
        "type": "object",
        "required": ["schema", "fields"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": SCHEMA},
            "fields": {
                "type": "object",
                "additionalProperties": False,
                "properties": {f.name: _entry(f) for f in fields().values()},
            },
        },
    }


def text() -> str:
    """The content of ``schema.json``: one line per field."""
    document = build()
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}"
        for name, entry in document["properties"]["fields"]["properties"].items()
    )
    document["properties"]["fields"]["properties"] = "FIELDS"
    head = json.dumps(document, ensure_ascii=False, indent=1)
    return head.replace('"FIELDS"', "{\n" + lines + "\n }") + "\n"


if __name__ == "__main__":
    print(text(), end="")
