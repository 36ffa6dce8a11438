"""Measurement rows of an angiogram by lesion, segment, vessel and patient; what was not seen says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add

from CardioPrecisionLib.measurement import Code, Measurement, Measurements

from .ccta_rows import plaque_rows
from .ccta_vessels import PlacedLesion, SeenSegment, Tree
from .fat import FatAttenuation
from .high_risk import HighRiskFeatures
from .plaque_composition import Composition
from .reading import Sight
from .segments import MAJOR_VESSELS, SEGMENTS, labels

VESSELS = ("LM", *MAJOR_VESSELS)
STENOSIS = {
    "diameter_stenosis": Code("SCT", "408715008", "Lumen Diameter Stenosis"),
    "area_stenosis": Code("SCT", "408714007", "Lumen Area Stenosis"),
}
_STENOSIS_METHOD = "lumen contour against a tapering reference, worst lesion"
_PLAQUE_METHOD = "between lumen and outer wall without the normal wall, classes by HU (Min 2022)"
NO_PLAQUE_PARTS = ("plaque_volume", "percent_atheroma_volume")
NO_LESION = "There is no lesion to describe."


def features(placed: PlacedLesion) -> HighRiskFeatures:
    """The features of a lesion as the rule takes them."""
    n = placed.lesion
    return HighRiskFeatures(n.positive_remodelling, n.low_attenuation, n.spotty_calcium, n.napkin_ring)


def site_rows(tree: Tree, numbers: Iterable[int], source: str, method: str) -> Measurements:
    """Rows of lesions, segments, vessels and the whole tree.

    Parameters
    ----------
    tree : Tree
    numbers : iterable of int
        Segments that get a row: those that this heart can have.
    source, method : str
        `method` says where the borders come from.
    """
    rows = Measurements()
    _whole(rows, tree, source, method)
    for vessel in VESSELS:
        if vessel != "LM":  # the left main is one segment
            _vessel(rows, tree, vessel, source, method)
    for number in sorted(numbers):
        s = tree.segments[number]
        site = SEGMENTS[number].site
        if s.read:
            _given(rows, [s], site, tree.plaque_reason, None, source, method)
        else:
            _missing(rows, site, s.reason or "not read", source)
    for placed in tree.lesions:
        _lesion(rows, placed, tree, source, method)
    return rows


def unread(segments: Iterable[SeenSegment]) -> str | None:
    """Which trunk segments a sum lacks; None where it has them all."""
    lacking = {s.number for s in segments if SEGMENTS[s.number].trunk and s.sight not in (Sight.READ, Sight.TOO_SMALL)}
    return f"Without {labels(lacking)}, which could not be read." if lacking else None


def _whole(rows: Measurements, tree: Tree, source: str, method: str) -> None:
    read = [s for s in tree.of(None) if s.read]
    if read:
        _given(rows, read, None, tree.plaque_reason, unread(tree.of(None)), source, method)
    else:
        _missing(rows, None, tree.plaque_reason or "No coronary segment was read.", source)


def _vessel(rows: Measurements, tree: Tree, vessel: str, source: str, method: str) -> None:
    every = tree.of(vessel)
    read = [s for s in every if s.read]
    if read:
        _given(rows, read, vessel, tree.plaque_reason, unread(every), source, method)
    else:
        reasons = dict.fromkeys(s.reason for s in every if s.reason and SEGMENTS[s.number].trunk)
        _missing(rows, vessel, next(iter(reasons), "not read"), source)


def _given(
    rows: Measurements,
    read: list[SeenSegment],
    site: str | None,
    no_plaque: str | None,
    limit: str | None,
    source: str,
    method: str,
) -> None:
    worst = {
        "diameter_stenosis": max(s.stenosis_pct or 0.0 for s in read),
        "area_stenosis": max(s.area_stenosis_pct or 0.0 for s in read),
    }
    for name, value in worst.items():
        rows.add(
            Measurement(name, value, "%", reason=limit, site=site, method=f"{_STENOSIS_METHOD}; {method}",
                        source=source, code=STENOSIS[name])
        )  # fmt: skip
    if no_plaque:
        for name in NO_PLAQUE_PARTS:
            rows.add(Measurement.missing(name, _unit(name), no_plaque, site=site, source=source))
        return
    total = reduce(add, (s.plaque for s in read if s.plaque is not None), Composition())
    lumen = sum(s.lumen_mm3 or 0.0 for s in read)
    for row in plaque_rows(total, lumen, site=site, method=f"{_PLAQUE_METHOD}; {method}", source=source):
        rows.add(row.with_(reason=limit) if limit and row.state.has_value else row)


def _unit(name: str) -> str:
    return "mm3" if name == "plaque_volume" else "%"


def _missing(rows: Measurements, site: str | None, reason: str, source: str) -> None:
    for name in ("diameter_stenosis", "area_stenosis", *NO_PLAQUE_PARTS):
        rows.add(Measurement.missing(name, _unit(name), reason, site=site, source=source, code=STENOSIS.get(name)))


def _lesion(rows: Measurements, placed: PlacedLesion, tree: Tree, source: str, method: str) -> None:
    n, site = placed.lesion, placed.site
    values = {
        "diameter_stenosis": (n.diameter_stenosis, "%"),
        "area_stenosis": (n.area_stenosis, "%"),
        "minimal_lumen_area": (n.minimal_lumen_area, "mm2"),
        "minimal_lumen_diameter": (n.minimal_lumen_diameter, "mm"),
        "reference_diameter": (n.reference_diameter, "mm"),
        "lesion_length": (n.end_mm - n.start_mm, "mm"),
    }
    for name, (value, unit) in values.items():
        rows.add(Measurement(name, value, unit, site=site, method=method, source=source, code=STENOSIS.get(name)))
    reason = tree.plaque_reason or "The outer wall could not be drawn."
    if n.remodeling_index is None:
        rows.add(Measurement.missing("remodeling_index", "1", reason, site=site, source=source))
    else:
        rows.add(Measurement("remodeling_index", n.remodeling_index, "1", site=site, method=method, source=source))
    if n.volumes is None:
        for name in NO_PLAQUE_PARTS:
            rows.add(Measurement.missing(name, _unit(name), reason, site=site, source=source))
    else:
        about = f"{_PLAQUE_METHOD}; {method}"
        rows.extend(plaque_rows(n.volumes, n.lumen_mm3, site=site, method=about, source=source))
    known = features(placed)
    if known.high_risk is None and known.count == 0 and tree.plaque_reason:
        rows.add(Measurement.missing("high_risk_features", "1", tree.plaque_reason, site=site, source=source))
    else:
        rows.add(
            Measurement("high_risk_features", float(known.count), "1", site=site, source=source,
                        method="of positive remodelling, low attenuation, spotty calcium, napkin-ring sign")
        )  # fmt: skip


def fat_rows(fat: Mapping[str, FatAttenuation | str], source: str) -> list[Measurement]:
    """Pericoronary fat of the three arteries: measured, or the reason why not."""
    rows = []
    for vessel, found in fat.items():
        if isinstance(found, str):
            rows.append(
                Measurement.missing("pericoronary_fat_attenuation", "[hnsf'U]", found, site=vessel, source=source)
            )
        else:
            rows.append(found.measurement(vessel, source))
    return rows


def high_risk_row(found: bool | None, entered: bool, source: str) -> Measurement:
    """Whether any plaque is high-risk by CAD-RADS 2.0: two features or more."""
    from CardioPrecisionLib.measurement import State

    if found is None:
        reason = "The features of high-risk plaque could not all be assessed."
        return Measurement.missing("high_risk_plaque", "1", reason, source=source)
    state = State.ENTERED if entered else State.MEASURED
    method = "two or more features in one lesion (CAD-RADS 2.0)"
    return Measurement("high_risk_plaque", "present" if found else "absent", "1", state, method=method, source=source)
