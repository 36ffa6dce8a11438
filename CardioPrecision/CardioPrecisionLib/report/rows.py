"""Measurements as a report shows them: headline cards, table rows, reference ranges, footnotes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis import Result, Table
from ..measurement import Measurement, State
from . import names

#: Name of the table that carries reference ranges: columns name, low, high, z, source.
REFERENCE = "reference"
MAX_CARDS = 9


@dataclass(frozen=True)
class Reference:
    """The reference range of one measurement and where it comes from."""

    low: float | None
    high: float | None
    z: float | None
    source: str

    def side(self, value: float | str | None) -> str:
        """ "below", "above" or "within"; "" where that cannot be said."""
        if not isinstance(value, float):
            return ""
        if self.low is not None and value < self.low:
            return "below"
        if self.high is not None and value > self.high:
            return "above"
        return "within" if self.low is not None or self.high is not None else ""


@dataclass(frozen=True)
class Row:
    """One measurement in words and shown numbers."""

    name: str
    title: str
    group: str
    site: str
    value: str
    unit: str
    interval: str
    level: str
    reference: str
    z: str
    side: str
    state: str
    reason: str
    note: str
    bar: Bar | None

    @property
    def missing(self) -> bool:
        return self.value == ""


@dataclass(frozen=True)
class Bar:
    """A value on its reference range, in percent of the bar's width."""

    start: float
    width: float
    mark: float
    low: float | None
    high: float | None


@dataclass
class Footnotes:
    """Long texts that many rows share, each written once."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str | None) -> str:
        """The mark of a text: "a", "b", …, "aa"; "" for none."""
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        n, mark = self.texts.index(text) + 1, ""
        while n:
            n, rest = divmod(n - 1, 26)
            mark = chr(97 + rest) + mark
        return mark

    def items(self) -> list[tuple[str, str]]:
        return [(self.mark(t), t) for t in list(self.texts)]


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number - number == 0 else None


def references_of(tables: Iterable[Table]) -> dict[str, Reference]:
    """Reference ranges by measurement name, from the table ``reference`` where an analysis gave one."""
    found = {}
    for table in tables:
        if table.name != REFERENCE or "name" not in table.columns:
            continue
        n = len(table.columns["name"])
        column = {key: table.columns.get(key) or [None] * n for key in ("low", "high", "z", "source")}
        for i, name in enumerate(table.columns["name"]):
            found[str(name)] = Reference(
                _float(column["low"][i]),
                _float(column["high"][i]),
                _float(column["z"][i]),
                str(column["source"][i] or ""),
            )
    return found


def bar_of(value: float, low: float | None, high: float | None, reference: Reference | None) -> Bar | None:
    """Where a value and its interval lie on the reference range; the range fills the middle half of the bar."""
    if reference is None or reference.low is None or reference.high is None or reference.high <= reference.low:
        return None
    width = reference.high - reference.low

    def place(x: float) -> float:
        return round(min(max(25 + 50 * (x - reference.low) / width, 0.0), 100.0), 1)  # type: ignore[operator]

    return Bar(
        25.0, 50.0, place(value), place(low) if low is not None else None, place(high) if high is not None else None
    )


def row_of(m: Measurement, reference: Reference | None, notes: Footnotes, title: str | None = None) -> Row:
    """One measurement in shown form; `title` instead of the words made of its name."""
    number = m.value if isinstance(m.value, float) else None
    decimals = names.decimals_of(m.unit, number) if number is not None else None
    shown = names.number(m.value, m.unit) if m.state.has_value else ""
    interval = names.span(m.low, m.high, m.unit, decimals)
    level = f"{m.level * 100:.0f} %" if m.level is not None and interval else ""
    comparable = reference if reference is not None and number is not None else None
    return Row(
        m.name,
        title or names.title_of(m.name),
        names.group_of(m.name),
        names.site_of(m.site),
        shown,
        names.unit_of(m.unit),
        interval,
        level,
        names.span(reference.low, reference.high, m.unit, decimals) if reference is not None else "",
        names.number(comparable.z, None, 1) if comparable is not None and comparable.z is not None else "",
        comparable.side(number) if comparable is not None else "",
        "" if m.state is State.MEASURED else m.state.value.replace("_", " "),
        m.reason or "",
        notes.mark(m.method),
        bar_of(number, m.low, m.high, comparable) if number is not None else None,
    )


@dataclass(frozen=True)
class Card:
    """A headline number, with its value per body surface area where there is one."""

    row: Row
    index: Row | None


def headline(result: Result, record_names: Sequence[str] | None, notes: Footnotes) -> list[Card]:
    """The main measurements as cards.

    `record_names` (an analysis' own choice), else the known main names, else the first ones for the whole organ.
    """
    rows = {m.name: m for m in result.measurements if m.site in (None, "total")}
    chosen = [n for n in (record_names or names.HEADLINE) if n in rows]
    if not chosen:
        chosen = [n for n, m in rows.items() if m.state.has_value and not n.endswith("_index")][:6]
    references = references_of(result.tables)
    cards = []
    for name in chosen[:MAX_CARDS]:
        index = rows.get(f"{name}_index")
        if index is not None and not index.state.has_value:
            index = None
        cards.append(
            Card(
                row_of(rows[name], references.get(name), notes, result.titles.get(name)),
                row_of(index, references.get(index.name), notes) if index is not None else None,
            )
        )
    return cards


def grouped(result: Result, notes: Footnotes) -> list[tuple[str, list[Row]]]:
    """All rows under their headings, in the order they were made within each."""
    references = references_of(result.tables)
    groups: dict[str, list[Row]] = {}
    for m in result.measurements:
        reference = references.get(m.name) if m.site is None else None
        row = row_of(m, reference, notes, result.titles.get(m.name))
        groups.setdefault(row.group, []).append(row)
    return sorted(groups.items(), key=lambda item: names.group_order(item[0]))
