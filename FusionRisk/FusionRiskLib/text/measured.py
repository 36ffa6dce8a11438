"""What a report states becomes rows of a measurement table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache

from CardioPrecisionLib.measurement import Measurement, Measurements, State

from .conflicts import agree, interval
from .finding import Finding, Status
from .lexicon import terms

#: Measurements that are no quantities of the lexicon.
_OTHERS = frozenset({"diameter_stenosis", "cad_rads", "plaque_burden_grade"})
MODIFIERS = "cad_rads_modifiers"


@cache
def measured_kinds() -> frozenset[str]:
    """Kinds that are measurements; the others (valves, scar, plaque, …) stay findings."""
    kinds = {*_OTHERS, "cac_percentile_mesa", "cac_percentile_hoff"}
    for _, category, quantity in terms():
        if category == "quantity" and quantity.kind != "other":
            names = [quantity.kind.replace("{chamber}", chamber) for chamber in ("lv", "rv")]
            kinds |= {*names, *(f"{name}_index" for name in names if quantity.indexed)}
    return frozenset(kinds)


def to_measurements(findings: Iterable[Finding]) -> Measurements:
    """Rows with state ``entered`` of what a report states of this examination.

    Parameters
    ----------
    findings : iterable of Finding
        As `extract` returns them, of one report.

    Returns
    -------
    Measurements
        One row per (name, site); ``method`` says rule and characters. Of a range the value is its middle, with `low`
        and `high`; `reason` says so. Historical findings, and those of the sections history, indication, comparison
        and recommendation, make no row. A row without a value says why: the report contradicts itself, is not sure,
        gives only a bound, says that it was not measured, or gives a number that is not credible (``out_of_range``).
    """
    groups: dict[tuple[str, str | None], list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.current and finding.kind in measured_kinds():
            groups[(finding.kind, finding.site)].append(finding)
    rows = Measurements()
    for (name, site), group in groups.items():
        rows.add(_row(name, site, group))
        if name == "cad_rads" and rows["cad_rads"].state.has_value:
            stated = next(f for f in group if f.status is Status.PRESENT)
            if stated.modifiers:
                rows.add(
                    Measurement(MODIFIERS, "/".join(stated.modifiers), "1", State.ENTERED, method=_method([stated]))
                )
    return rows


def _row(name: str, site: str | None, group: list[Finding]) -> Measurement:
    unit = group[0].unit
    certain = [f for f in group if f.status is not Status.UNCERTAIN and f.note is None]
    method = _method(certain or group)
    if not certain:
        state, reason = _why_none(group)
        return Measurement.missing(name, unit, reason, state, site=site, method=method)
    clashing = [f for f in certain if f.conflict]
    if clashing:
        said = list(dict.fromkeys(f"{_words(f)} (characters {f.start}-{f.end})" for f in clashing))
        reason = f"the report contradicts itself: {', '.join(said[:4])}"
        return Measurement.missing(name, unit, reason, site=site, method=method)
    chosen = _chosen(name, certain)
    return _entered(name, unit, site, chosen)


def _why_none(group: list[Finding]) -> tuple[State, str]:
    first = group[0]
    if first.status is Status.UNCERTAIN:
        return State.NOT_ASSESSABLE, f"the report is not sure: {_words(first)}"
    if first.note == "not measured":
        return State.NOT_ASSESSABLE, "the report says that it was not measured"
    if first.note == "no degree given":
        return State.NOT_ASSESSABLE, "the report names it and gives no degree"
    if first.note is not None and first.note.startswith("ambiguous"):
        return State.NOT_ASSESSABLE, f"{_words(first)} is {first.note}"
    return State.OUT_OF_RANGE, f"{_words(first)} is {first.note}"


def _chosen(name: str, certain: list[Finding]) -> Finding:
    """Of agreeing statements the most exact; of several stenoses of a site the greatest."""

    def width(finding: Finding) -> float:
        bounds = interval(finding)
        return bounds[1] - bounds[0] if bounds else 0.0

    if name == "diameter_stenosis":
        top = max(certain, key=lambda f: (interval(f) or (-1.0, -1.0))[1])
        return min((f for f in certain if agree(f, top)), key=width)
    return min(certain, key=width)


def _entered(name: str, unit: str, site: str | None, finding: Finding) -> Measurement:
    low, high, value = finding.low, finding.high, finding.value
    method = _method([finding])
    reason = None
    if value is None and name == "diameter_stenosis" and finding.status is Status.PRESENT:
        low, high = (low, 99.0) if low is not None else (0.0, high)
        value = ((low or 0.0) + (high or 0.0)) / 2
        reason = f"the report gives a bound ({_words(finding)}); the value is the middle of what it allows"
    elif value is None:
        said = f"the report gives only a bound: {_words(finding)}"
        if finding.status is Status.ABSENT and high is not None:
            said = f"the report excludes only {high:g} {unit} and more"
        return Measurement.missing(name, unit, said, site=site, method=method)
    elif low is not None and high is not None:
        stated = f"the word “{finding.text}” for {low:g}-{high:g} %" if finding.word else f"a range ({finding.text})"
        reason = f"the report gives {stated}; the value is its middle"
    elif finding.comparator == "~":
        reason = "the report gives an approximate value"
    both = low is not None and high is not None
    return Measurement(
        name,
        value,
        unit,
        State.ENTERED,
        reason,
        site,
        low if both else None,
        high if both else None,
        method=method,
    )


def _words(finding: Finding) -> str:
    """The value as the report has it, on one line, with its comparator."""
    sign = finding.comparator if finding.comparator not in ("=", "~") else ""
    return f"{sign} {' '.join(finding.text.split())}".strip()


def _method(group: list[Finding]) -> str:
    first = group[0]
    return f"text rule {first.rule}, characters {first.start}-{first.end}"
