"""A form of Qt widgets from a form's definition: groups, units to choose from, "unknown" allowed.

Runs inside Slicer's desktop only. What the texts mean is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

_BAD, _ODD = "background-color: #f5b7b1; color: black;", "background-color: #fdebd0; color: black;"
#: The first rows of a choice: nothing entered, and known to be unknown.
_EMPTY = ("", "unknown")


class Row:
    """One field: a text or a choice, and its unit."""

    def __init__(self, item: Mapping[str, Any], changed: Callable[[Row, str], None]):
        self.name, self._changed = item["name"], changed
        self.values: list[str] = []
        self.unit_box: Any = None
        self.units: list[str] = list(item.get("units", ()))
        self.widget = qt.QWidget()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self.help = item.get("help") or ""
        if item["widget"] in ("choice", "tristate"):
            shown = item.get("choices") or [
                {"value": "yes", "title": _("yes")},
                {"value": "no", "title": _("no")},
            ]
            self.values = [*_EMPTY, *(choice["value"] for choice in shown)]
            self.edit = qt.QComboBox()
            for title in ("", _("unknown"), *(choice["title"] for choice in shown)):
                self.edit.addItem(title)
            self.edit.currentIndexChanged.connect(self._on_changed)
        else:
            self.edit = qt.QLineEdit()
            self.edit.placeholderText = _("YYYY-MM-DD") if item["widget"] == "date" else ""
            self.edit.editingFinished.connect(self._on_changed)
        layout.addWidget(self.edit)
        if len({item["unit_title"] if unit == item["unit"] else unit for unit in self.units}) > 1:
            self.unit_box = qt.QComboBox()
            for unit in self.units:
                self.unit_box.addItem(item["unit_title"] if unit == item["unit"] else unit)
            self._unit = self.units[0]
            self.unit_box.currentIndexChanged.connect(self._on_unit)
            layout.addWidget(self.unit_box)
        elif item.get("unit_title"):
            layout.addWidget(qt.QLabel(item["unit_title"]))
        self.mark("")

    @property
    def text(self) -> str:
        return self.values[self.edit.currentIndex] if self.values else self.edit.text

    @property
    def unit(self) -> str | None:
        return self._unit if self.unit_box is not None else None

    def show(self, text: str, unit: str | None = None) -> None:
        """Show a text without telling anybody."""
        for widget in (self.edit, self.unit_box):
            if widget is not None:
                widget.blockSignals(True)
        if self.values:
            self.edit.currentIndex = self.values.index(text) if text in self.values else 0
        else:
            self.edit.text = text
        if self.unit_box is not None:
            self._unit = unit if unit in self.units else self.units[0]
            self.unit_box.currentIndex = self.units.index(self._unit)
        for widget in (self.edit, self.unit_box):
            if widget is not None:
                widget.blockSignals(False)
        self.mark("")

    def mark(self, problem: str, odd: bool = False) -> None:
        """Colour the row by what is wrong with it and say so in its tooltip."""
        self.edit.setStyleSheet(_BAD if problem else _ODD if odd else "")
        self.edit.toolTip = problem or (_("This is unusual: please check it.") if odd else self.help)

    def _on_changed(self) -> None:
        self._changed(self, "")

    def _on_unit(self) -> None:
        before, self._unit = self._unit, self.units[self.unit_box.currentIndex]
        self._changed(self, before)


class Form:
    """A form inside a frame that has a layout.

    Parameters
    ----------
    frame : QWidget
    definition : mapping
        ``{"groups": [{"name", "title", "fields": [...]}]}``.
    changed : callable
        ``changed(row, unit_before)`` when a row was edited; `unit_before` is empty unless its unit was changed.
    open_groups : tuple of str
        Groups that are unfolded from the start.
    """

    def __init__(
        self,
        frame: Any,
        definition: Mapping[str, Any],
        changed: Callable[[Row, str], None],
        open_groups: tuple[str, ...] = (),
    ):
        self.rows: dict[str, Row] = {}
        self.groups: dict[str, Any] = {}
        for group in definition["groups"]:
            section = ctk.ctkCollapsibleButton()
            section.text = group["title"]
            layout = qt.QFormLayout(section)
            for item in group["fields"]:
                row = Row(item, changed)
                label = qt.QLabel(item["title"])
                label.toolTip = row.help
                layout.addRow(label, row.widget)
                self.rows[row.name] = row
            section.collapsed = group["name"] not in open_groups
            self.groups[group["name"]] = section
            frame.layout().addWidget(section)

    def set_enabled(self, on: bool) -> None:
        for section in self.groups.values():
            section.enabled = on
