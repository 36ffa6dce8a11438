"""Points that a reader sets on the coronary arteries: a Slicer markups file or a table."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array

ROLES = ("ostium", "via", "distal")
_COLUMNS = ("vessel", "role", "r", "a", "s")
_LABEL = re.compile(r"^\s*(?P<vessel>.+?)[\s:_/-]+(?P<role>ostium|via|distal)[\s:_-]*\d*\s*$", re.IGNORECASE)
_NUMBERED = re.compile(r"^\s*(?P<vessel>.+?)[\s:_-]+(?P<number>\d+)\s*$")
#: Other spellings of vessels -> the name used here.
_NAMES = {"LCX": "LCX", "CX": "LCX", "LAD": "LAD", "RCA": "RCA", "LM": "LM", "LMCA": "LM"}


@dataclass(frozen=True, eq=False)
class VesselSeeds:
    """Points on one vessel in RAS mm: where it begins, where it ends, and points on the way in their order.

    Attributes
    ----------
    vessel : str
    ostium, distal : numpy.ndarray
        ``(3,)``.
    via : numpy.ndarray
        ``(n, 3)``, often none.
    """

    vessel: str
    ostium: Array
    distal: Array
    via: Array

    @property
    def points(self) -> Array:
        """All points ``(n, 3)`` from the ostium on."""
        return np.vstack([self.ostium[None], self.via.reshape(-1, 3), self.distal[None]])


@dataclass(frozen=True)
class _Row:
    where: str
    vessel: str
    role: str
    point: tuple[float, float, float]


def read_seeds(path: str | Path) -> tuple[VesselSeeds, ...]:
    """Read seed points.

    Parameters
    ----------
    path : str or Path
        ``.mrk.json`` (or ``.json``): a Slicer markups file. Points are labelled ``LAD ostium``, ``LAD distal`` and, on
        the way, ``LAD via``; or numbered ``LAD-1``, ``LAD-2``, … from the ostium on, as Slicer does. LPS and RAS are
        told by the file.
        ``.csv``: columns ``vessel, role, r, a, s`` with role ``ostium``, ``via`` or ``distal``, in RAS mm.

    Returns
    -------
    tuple of VesselSeeds
        In the order in which the vessels first appear.

    Raises
    ------
    InputError
        One line: what is wrong, where, and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: this file cannot be read as text.") from None
    if path.name.lower().endswith(".json"):
        rows = _from_markups(path, text)
    elif path.name.lower().endswith(".csv"):
        rows = _from_csv(path, text)
    else:
        raise InputError(f"{path}: seeds are read from a Slicer .mrk.json or a .csv ({', '.join(_COLUMNS)}).")
    return _collect(path, rows)


def vessel_name(text: str) -> str:
    """The name of a vessel as used here: upper case for the main arteries, otherwise as written."""
    clean = " ".join(text.split())
    return _NAMES.get(clean.upper(), clean)


def _point(where: str, values: Iterable[Any]) -> tuple[float, float, float]:
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers):
        raise InputError(f"{where}: a point needs three finite numbers in mm.")
    return numbers[0], numbers[1], numbers[2]


def _from_csv(path: Path, text: str) -> list[_Row]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    names = {(n or "").strip().lower(): n for n in reader.fieldnames or ()}
    missing = [c for c in _COLUMNS if c not in names]
    if missing:
        raise InputError(f"{path}: the first line must name the columns {', '.join(_COLUMNS)}; "
                         f"missing: {', '.join(missing)}.")  # fmt: skip
    rows = []
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if not any((v or "").strip() for v in row.values() if isinstance(v, str)):
            continue
        role = (row[names["role"]] or "").strip().lower()
        vessel = vessel_name(row[names["vessel"]] or "")
        if not vessel:
            raise InputError(f"{where}: the vessel has no name.")
        if role not in ROLES:
            raise InputError(f"{where}: role is '{role[:40]}'; it must be one of {', '.join(ROLES)}.")
        rows.append(_Row(where, vessel, role, _point(where, (row[names[c]] for c in "ras"))))
    return rows


def _from_markups(path: Path, text: str) -> list[_Row]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: this file is not valid JSON.") from None
    lists = data.get("markups") if isinstance(data, dict) else None
    if not isinstance(lists, list) or not all(isinstance(m, dict) for m in lists):
        raise InputError(f"{path}: this is not a Slicer markups file (it has no 'markups').")
    rows: list[_Row] = []
    numbered: dict[str, list[tuple[int, _Row]]] = {}
    for markup in lists:
        flip = _flip(path, markup)
        _check_units(path, markup)
        points = markup.get("controlPoints") or []
        if not isinstance(points, list) or not all(isinstance(p, dict) for p in points):
            raise InputError(f"{path}: 'controlPoints' is not a list of points.")
        for n, point in enumerate(points, 1):
            if str(point.get("positionStatus", "defined")) != "defined":
                continue
            label = str(point.get("label") or "")
            where = f"{path}, point {n} ('{label[:40]}')"
            x, y, z = _point(where, point.get("position") or ())
            place = (flip * x, flip * y, z)
            named, counted = _LABEL.match(label), _NUMBERED.match(label)
            if named:
                rows.append(_Row(where, vessel_name(named["vessel"]), named["role"].lower(), place))
            elif counted:
                row = _Row(where, vessel_name(counted["vessel"]), "via", place)
                numbered.setdefault(row.vessel, []).append((int(counted["number"]), row))
            else:
                raise InputError(f"{where}: label it with vessel and role, such as 'LAD ostium' or 'LAD distal', or "
                                 "number the points of a vessel from the ostium on ('LAD-1', 'LAD-2').")  # fmt: skip
    for vessel, counted_rows in numbered.items():
        ordered = [row for _, row in sorted(counted_rows, key=lambda item: item[0])]
        if len(ordered) < 2:
            raise InputError(f"{path}: {vessel} has one numbered point; it needs an ostium and a distal point.")
        roles = ["ostium", *["via"] * (len(ordered) - 2), "distal"]
        rows += [_Row(r.where, vessel, role, r.point) for r, role in zip(ordered, roles, strict=True)]
    return rows


def _flip(path: Path, markup: dict[str, Any]) -> float:
    system = str(markup.get("coordinateSystem", "")).upper()
    # Old files write a number: 0 is RAS, 1 is LPS.
    if system in ("LPS", "1"):
        return -1.0
    if system in ("RAS", "0"):
        return 1.0
    raise InputError(f"{path}: coordinateSystem is '{system[:20]}'; it must be LPS or RAS.")


def _check_units(path: Path, markup: dict[str, Any]) -> None:
    units = markup.get("coordinateUnits", "mm")
    if any(u != "mm" for u in (units if isinstance(units, list) else [units])):
        raise InputError(f"{path}: coordinateUnits is '{str(units)[:40]}'; points must be in mm.")


def _collect(path: Path, rows: list[_Row]) -> tuple[VesselSeeds, ...]:
    if not rows:
        raise InputError(f"{path}: there is no seed point in this file.")
    out = []
    for vessel in dict.fromkeys(r.vessel for r in rows):
        mine = [r for r in rows if r.vessel == vessel]
        by_role = {role: [r for r in mine if r.role == role] for role in ROLES}
        for role in ("ostium", "distal"):
            if len(by_role[role]) != 1:
                count = len(by_role[role])
                raise InputError(f"{path}: {vessel} has {count or 'no'} {role} "
                                 f"point{'s' if count > 1 else ''}; it needs exactly one.")  # fmt: skip
        ostium, distal = (np.array(by_role[role][0].point) for role in ("ostium", "distal"))
        if np.linalg.norm(ostium - distal) < 2.0:
            raise InputError(f"{path}: ostium and distal point of {vessel} are less than 2 mm apart.")
        via = np.array([r.point for r in by_role["via"]], float).reshape(-1, 3)
        out.append(VesselSeeds(vessel, ostium, distal, via))
    return tuple(out)
