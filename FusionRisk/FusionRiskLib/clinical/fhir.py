"""A clinical record from a FHIR R4 bundle: Patient, Observation, Condition, MedicationStatement.

A small strict reader of the elements that are needed (https://hl7.org/fhir/R4/), without a FHIR library: what is not
understood is counted in a warning, what is malformed is an error with its place in the bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from CardioPrecisionLib.errors import InputError

from .fields import Field, fields
from .record import Entry, Record, make_entry, make_record

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
ICD10 = (
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
)
ATC = ("http://www.whocc.no/atc", "http://fhir.de/CodeSystem/bfarm/atc")
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
_SHORT = (
    {LOINC: "LOINC", SNOMED: "SNOMED CT", RXNORM: "RxNorm"} | dict.fromkeys(ICD10, "ICD-10") | dict.fromkeys(ATC, "ATC")
)
#: What may be repeated in a warning: a code or a type, never a free text.
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,19}")
_USABLE = ("final", "amended", "corrected")
#: History that does not go away when the condition is over.
_STAYS = {"prior_mi", "stroke_tia_te", "prior_ascvd", "vascular_disease", "family_history_cad"}
_HANDLED = ("Patient", "Observation", "Condition", "MedicationStatement")


@cache
def codes() -> dict[str, Any]:
    """Codes of conditions, medications and smoking status, as shipped."""
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("codes.json").read_text(encoding="utf-8"))
    return loaded


@cache
def _by_loinc() -> dict[str, Field]:
    return {code: f for f in fields().values() for code in f.loinc if f.numeric}


def _get(node: Mapping[str, Any], name: str, kind: type | tuple[type, ...], place: str) -> Any:
    value = node.get(name)
    if value is not None and not isinstance(value, kind):
        raise InputError(f"{place}: {name} has the wrong type for FHIR R4.")
    return value


def _codings(node: Mapping[str, Any], name: str, place: str) -> list[tuple[str, str]]:
    """``(system, code)`` of a CodeableConcept."""
    concept = _get(node, name, dict, place) or {}
    found = []
    for coding in _get(concept, "coding", list, place) or []:
        if not isinstance(coding, dict):
            raise InputError(f"{place}: {name}.coding has the wrong type for FHIR R4.")
        found.append((str(coding.get("system", "")), str(coding.get("code", ""))))
    return found


def _named(codings: Iterable[tuple[str, str]]) -> str:
    """The first code that can be shown, with its system; empty where there is none."""
    for system, code in codings:
        if _CODE.fullmatch(code):
            return f"{_SHORT.get(system, '')} {code}".strip()
    return ""


def _status(node: Mapping[str, Any], name: str, place: str) -> set[str]:
    return {code for _, code in _codings(node, name, place)}


def _day(text: Any, place: str) -> date | None:
    """The day of a FHIR date or dateTime; only a year or month counts as its first day."""
    if text is None:
        return None
    parts = str(text)[:10].split("-")
    try:
        return date(*(int(part) for part in (*parts, "1", "1")[:3]))
    except (TypeError, ValueError):
        raise InputError(f"{place}: a date is not written as FHIR R4 has it (YYYY-MM-DD).") from None


class _Reader:
    """Collects entries; of several observations of a field the newest counts."""

    def __init__(self, path: Path):
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.days: dict[str, date] = {}
        self.newest: date | None = None
        self.unused: dict[str, list[str]] = {}
        self.warnings: list[str] = []

    def skip(self, what: str, name: str = "") -> None:
        """Something was not used: `what` in the plural, `name` the code or field."""
        self.unused.setdefault(what, []).append(name)

    def put(self, name: str, entry: Entry, day: date | None, place: str) -> None:
        old, when = self.days.get(name), day or date.min
        if name in self.entries:
            if old == when and self.entries[name].value != entry.value:
                raise InputError(f"{place}: {name} has two different values of the same time; keep one.")
            if old is not None and old != when:
                self.skip("observations that are not the newest", name)
            if old is not None and when < old:
                return
        self.entries[name] = entry
        self.days[name] = when

    def observation(self, node: Mapping[str, Any], place: str) -> None:
        if node.get("status") not in _USABLE:
            self.skip("observations that are not final", _named(_codings(node, "code", place)))
            return
        period = _get(node, "effectivePeriod", dict, place) or {}
        day = _day(node.get("effectiveDateTime") or period.get("end"), place)
        if day:
            self.newest = max(self.newest or day, day)
        parts = [node, *(_get(node, "component", list, place) or [])]
        if not all(isinstance(part, dict) for part in parts):
            raise InputError(f"{place}: component has the wrong type for FHIR R4.")
        used = [self._value(part, day, place) for part in parts]
        if not any(used):
            self.skip("observations of other things", _named(_codings(node, "code", place)))
            return
        for part, was in zip(parts, used, strict=True):
            if not was and any(key.startswith("value") for key in part):
                self.skip("parts of observations", _named(_codings(part, "code", place)))

    def _value(self, node: Mapping[str, Any], day: date | None, place: str) -> bool:
        loinc = [code for system, code in _codings(node, "code", place) if system == LOINC]
        if any(code in codes()["smoking_status"]["loinc"] for code in loinc):
            return self._smoking(node, day, place)
        f = next((_by_loinc()[code] for code in loinc if code in _by_loinc()), None)
        if f is None:
            return False
        where = f"{place}, {f.name}"
        if node.get("dataAbsentReason"):
            self.put(f.name, Entry(None, "unknown", "Observation"), day, place)
            return True
        quantity = _get(node, "valueQuantity", dict, place)
        if quantity is None:
            if "component" in node or not any(key.startswith("value") for key in node):
                return False
            raise InputError(f"{where}: the value is no valueQuantity.")
        number = quantity.get("value")
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise InputError(f"{where}: valueQuantity.value is no number.")
        if quantity.get("comparator"):
            raise InputError(
                f"{where}: the value has the comparator {quantity['comparator']!r}; an exact one is needed."
            )
        unit = quantity.get("code") if quantity.get("system") == UCUM else quantity.get("unit") or quantity.get("code")
        if f.units and (not isinstance(unit, str) or unit not in f.units):
            accepted = ", ".join(f.units)
            raise InputError(f"{where}: the unit is {str(unit)[:20]!r}; it is accepted in {accepted} (UCUM).")
        self.put(f.name, make_entry(f, number, place, unit if f.units else None, "Observation"), day, place)
        return True

    def _smoking(self, node: Mapping[str, Any], day: date | None, place: str) -> bool:
        table = codes()["smoking_status"]
        answers = [code for _, code in _codings(node, "valueCodeableConcept", place)]
        known = next(
            (word for word in ("yes", "former", "never", "unknown") for c in answers if c in table[word]), None
        )
        if known is None:
            raise InputError(f"{place}: the smoking status has a code that is not known here.")
        now = {"yes": True, "former": False, "never": False, "unknown": None}[known]
        ever = {"yes": True, "former": True, "never": False, "unknown": None}[known]
        for name, value in (("current_smoker", now), ("ever_smoker", ever)):
            self.put(name, Entry(value, "unknown" if value is None else "entered", "Observation"), day, place)
        return True

    def condition(self, node: Mapping[str, Any], place: str) -> None:
        verification = _status(node, "verificationStatus", place)
        given = _codings(node, "code", place)
        if "entered-in-error" in verification:
            self.skip("conditions entered in error", _named(given))
            return
        if verification & {"unconfirmed", "provisional", "differential"}:
            self.skip("conditions that are not confirmed", _named(given))
            return
        names = [n for n, table in codes()["conditions"].items() if _matches(given, table)]
        if _status(node, "clinicalStatus", place) & {"inactive", "remission", "resolved"}:
            names = [name for name in names if name in _STAYS]
        if not names:
            self.skip("conditions of other kinds or over", _named(given))
        for name in names:
            refuted = "refuted" in verification
            if refuted and self.entries.get(name, Entry(False)).value is True:
                continue
            self.entries[name] = Entry(not refuted, "entered", "Condition")

    def medication(self, node: Mapping[str, Any], place: str) -> None:
        if node.get("status") not in ("active", "intended", "on-hold", "completed", "stopped", "not-taken", "unknown"):
            raise InputError(f"{place}: status is not one that a MedicationStatement of FHIR R4 has.")
        given = _codings(node, "medicationCodeableConcept", place)
        if node["status"] != "active":
            self.skip("medications that are not taken now", _named(given))
            return
        names = [n for n, table in codes()["medications"].items() if _matches(given, table)]
        if not names:
            self.skip("medications of other kinds", _named(given))
        for name in names:
            self.entries[name] = Entry(True, "entered", "MedicationStatement")


def _matches(given: Iterable[tuple[str, str]], table: Mapping[str, list[str]]) -> bool:
    for system, code in given:
        exact = {SNOMED: "snomed", RXNORM: "rxnorm"}.get(system)
        if exact and code in table.get(exact, ()):
            return True
        prefixed = "icd10" if system in ICD10 else "atc" if system in ATC else None
        if prefixed and any(code.startswith(prefix) for prefix in table.get(prefixed, ())):
            return True
    return False


def record_from_bundle(bundle: Mapping[str, Any], path: Path, on: date | None = None) -> Record:
    """The record of the one patient of a bundle.

    Parameters
    ----------
    bundle : mapping
        A parsed FHIR R4 Bundle.
    path : Path
        For messages.
    on : date or None
        The day at which the patient has its age; else the bundle's time stamp, else the newest observation.

    Raises
    ------
    InputError
        No bundle, no or more than one patient, a malformed resource, a unit that is not accepted, or a value that
        cannot be; the message names the entry and the field.

    Notes
    -----
    A condition or medication that is not in the bundle is not "no": the field stays unknown. No identifier, name or
    birth date is kept.
    """
    if bundle.get("resourceType") != "Bundle":
        raise InputError(f"{path}: a {bundle.get('resourceType')} is no FHIR Bundle; export the whole patient.")
    entries = _get(bundle, "entry", list, str(path)) or []
    reader = _Reader(path)
    patients: list[tuple[Mapping[str, Any], str]] = []
    subjects = set()
    for number, item in enumerate(entries, start=1):
        node = item.get("resource") if isinstance(item, dict) else None
        if not isinstance(node, dict) or not isinstance(node.get("resourceType"), str):
            raise InputError(f"{path}, entry {number}: there is no resource with a resourceType.")
        kind = node["resourceType"]
        place = f"{path}, entry {number} ({kind})"
        subject = _get(node, "subject", dict, place) if kind in _HANDLED else None
        if subject and subject.get("reference"):
            subjects.add(str(subject["reference"]))
        if kind == "Patient":
            patients.append((node, place))
        elif kind == "Observation":
            reader.observation(node, place)
        elif kind == "Condition":
            reader.condition(node, place)
        elif kind == "MedicationStatement":
            reader.medication(node, place)
        else:
            reader.skip(f"resources of type {kind if _CODE.fullmatch(kind) else 'unknown'}")
    if len(patients) != 1:
        raise InputError(f"{path}: {len(patients)} Patient resources; a bundle must hold exactly one.")
    if len(subjects) > 1:
        raise InputError(f"{path}: the resources belong to {len(subjects)} different subjects; keep one patient's.")
    _patient(reader, *patients[0], on or _day(bundle.get("timestamp"), str(path)) or reader.newest)
    warnings = [_left_out(what, found) for what, found in sorted(reader.unused.items())]
    return make_record(reader.entries, (*reader.warnings, *warnings))


def _left_out(what: str, names: list[str]) -> str:
    shown = ", ".join(sorted(set(filter(None, names))))
    return f"Not used: {what} ({len(names)}){f': {shown}' if shown else ''}."


def _patient(reader: _Reader, node: Mapping[str, Any], place: str, on: date | None) -> None:
    gender = node.get("gender")
    if gender not in ("male", "female", "other", "unknown", None):
        raise InputError(f"{place}: gender is not one that FHIR R4 has.")
    if gender is not None:
        known = gender in ("male", "female")
        reader.entries["sex"] = Entry(gender if known else None, "entered" if known else "unknown", "Patient")
    birth = _day(node.get("birthDate"), place)
    if birth is None or "age_years" in reader.entries:
        return
    if on is None:
        reader.warnings.append("The age is not known: neither the bundle nor an observation has a date.")
        return
    age = on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))
    reader.entries["age_years"] = make_entry(fields()["age_years"], age, place, None, "Patient")
    if len(str(node["birthDate"])) < 10:
        reader.warnings.append("The date of birth is not complete: the age may be a year off.")
